"""The rules of the house, read off the source: floors, sizes, tables, words."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gemel.core.registry import WINGS, part, rows

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "gemel"
SOURCES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
LONGEST_LOOP = 900

FLOORS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("loop",),
    WINGS,
    ("testing", "frames", "attach", "fetch"),
    ("desk",),
    ("twin", "report", "lab", "trust"),
    ("config", "packs"),
    ("discover",),
    ("serve",),
    ("__init__",),
    (
        "demo",
        "commands_calibrate",
        "commands_challenge",
        "commands_desk",
        "commands_inspect",
        "commands_lab",
        "commands_life",
        "commands_new",
        "commands_past",
        "commands_serve",
        "commands_train",
        "commands_why",
    ),
    ("cli", "__main__"),
)
"""Rooms, lowest floor first. A room may import itself and lower floors, never a neighbour."""


def room(module: str) -> str:
    """`gemel.core.clock` -> `core`; `gemel` itself is `__init__`."""
    return ([*module.split("."), "__init__"])[1]


def floor(name: str) -> int:
    for i, rooms in enumerate(FLOORS):
        if name in rooms:
            return i
    raise AssertionError(f"'{name}' stands on no floor: add it to FLOORS of {__file__}")


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import in a file, those for types and those inside functions too."""
    here = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            if module == "gemel":  # `from gemel import core` names rooms, `from gemel import open` the face
                names = [
                    a.name for a in node.names if (PACKAGE / a.name).is_dir() or (PACKAGE / f"{a.name}.py").exists()
                ]
                yield from ((node.lineno, f"gemel.{name}") for name in names)
                if len(names) == len(node.names):
                    continue
            yield node.lineno, module


def test_imports_point_down_the_floors() -> None:
    wrong = []
    for path in SOURCES:
        mine = room(module_of(path))
        for line, module in imports(path):
            if module.split(".")[0] != "gemel":
                continue
            other = room(module)
            if other != mine and floor(other) >= floor(mine):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {mine} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_only_the_lab_imports_torch() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in SOURCES
        for line, module in imports(path)
        if module.split(".")[0] == "torch" and room(module_of(path)) != "lab"
    ]
    assert not wrong, "\n".join(wrong)


def test_rooms_stay_small() -> None:
    wrong = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > LONGEST_FILE:
            wrong.append(f"{path.relative_to(ROOT)}: {lines} lines, make it two rooms")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                length = node.end_lineno - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {length} lines")
    loop = sum(p.read_text(encoding="utf-8").count("\n") for p in (PACKAGE / "loop").glob("*.py"))
    if loop > LONGEST_LOOP:
        wrong.append(f"loop/ has {loop} lines")
    assert not wrong, "\n".join(wrong)


FORBIDDEN = {
    r"\btime\.time(_ns)?\(|\btime\.sleep\(|\basyncio\.sleep\(|\bdatetime\.(now|utcnow|today)\(": {"core/clock.py"},
    r"/home/|/root/|/work/|/tmp/|C:\\\\": set(),
    r"\bprint\(": {
        "cli.py",
        "commands_calibrate.py",
        "commands_challenge.py",
        "commands_desk.py",
        "commands_inspect.py",
        "commands_lab.py",
        "commands_life.py",
        "commands_new.py",
        "commands_past.py",
        "commands_why.py",
        "commands_serve.py",
        "commands_train.py",
        "demo/",
        "serve/",
        "lab/",
    },
    r"# (TODO|FIXME|XXX)": set(),
}
"""Pattern -> the files (or folders, with a slash at the end) that may hold it."""


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_words_that_do_not_belong(pattern: str) -> None:
    wrong = []
    for path in SOURCES:
        name = path.relative_to(PACKAGE).as_posix()
        if any(name == free or (free.endswith("/") and name.startswith(free)) for free in FORBIDDEN[pattern]):
            continue
        for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(pattern, line):
                wrong.append(f"{name}:{n}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def test_async_only_at_the_edges() -> None:
    contracts = ("core/clock.py", "loop/acquire.py", "loop/act.py", "loop/run.py", "testing/")
    socket = ("attach.py", "desk/", "twin.py")
    allowed = ("connectors/", "serve/", "packs/", "demo/", *contracts, *socket)
    wrong = [
        f"{name}:{node.lineno}"
        for path in SOURCES
        if not (name := path.relative_to(PACKAGE).as_posix()).startswith(allowed)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.AsyncFunctionDef)
    ]
    assert not wrong, "\n".join(wrong)


PARTS = [(wing, kind) for wing in WINGS for kind, row in rows(wing).items() if row.startswith("gemel.")]


@pytest.mark.parametrize(("wing", "kind"), PARTS)
def test_every_row_is_a_documented_part(wing: str, kind: str) -> None:
    cls = part(wing, kind)
    assert cls.__doc__, f"{cls.__qualname__} has no docstring"
    keys = list(inspect.signature(cls).parameters)
    missing = [key for key in keys if not re.search(rf"\b{key}\b", cls.__doc__)]
    assert not missing, f"the docstring of {cls.__qualname__} does not name: {', '.join(missing)}"


CHECKS = {"connectors": "check_(source|actuator)", "transforms": "check_(transform|view)", "policies": "check_policy"}


@pytest.mark.parametrize("wing", WINGS)
def test_every_row_is_put_to_its_conformance_check(wing: str) -> None:
    """A test file that calls `check_forecaster(...)`, say, names the class or its kind."""
    check = CHECKS.get(wing, f"check_{wing.removesuffix('s')}")
    if not any(re.search(rf"\bdef {check}\b", p.read_text("utf-8")) for p in PACKAGE.glob("testing/*.py")):
        pytest.skip(f"no {check} yet")
    texts = [p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py")]
    checked = "\n".join(t for t in texts if re.search(rf"\b{check}\(", t))
    table = {kind: row.partition(":")[2] for kind, row in rows(wing).items() if row.startswith("gemel.")}
    missing = [kind for kind, name in table.items() if not re.search(rf'\b{name}\b|"{kind}"', checked)]
    assert not missing, f"{check} is not called for: {', '.join(missing)}"


def test_few_direct_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert len(project["dependencies"]) <= 10


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("gemel", {"duckdb", "pyarrow", "pandas", "polars", "narwhals", "torch", "paho", "typer", "rich", "amqtt"}),
        ("gemel.core.registry", {"duckdb", "pyarrow", "pandas", "polars", "narwhals", "torch", "paho"}),
        ("gemel.core.codec", {"duckdb", "pyarrow", "pandas", "polars", "torch"}),
    ],
)
def test_imports_stay_light(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*{{m.split('.')[0] for m in sys.modules}})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not heavy & set(said.split())
