"""dev.py: what a stranger meets before anything is installed."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def dev() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "dev.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_an_old_python_can_read_it_and_needs_nothing_installed() -> None:
    tree = ast.parse((ROOT / "dev.py").read_text(encoding="utf-8"), feature_version=(3, 8))
    named = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    named += [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert {name.split(".")[0] for name in named} <= sys.stdlib_module_names


def test_an_old_python_is_told_so(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(SystemExit) as caught:
        dev.set_up({"demo"})
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: this is Python 3.9, Gemel needs 3.11 or newer\nhint: ")


def test_usage_and_unknown_benchmark() -> None:
    assert call("--help").returncode == 0
    assert call().returncode == 2
    assert "dev.py demo" in call("dmo").stdout
    wrong = call("bench", "stoer")
    assert wrong.returncode == 2
    assert re.fullmatch(r"error: there is no benchmark 'stoer'\nhint: known: .*store.*\n", wrong.stderr)


def test_an_installation_depends_on_both_files(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    seen = set()
    for project, pins in (("a", "b"), ("a", "c"), ("d", "c"), ("a", "b")):
        (tmp_path / "pyproject.toml").write_text(project)
        (tmp_path / "constraints.txt").write_text(pins)
        seen.add(dev._hash())
    assert len(seen) == 3


def test_a_running_step_is_shown_and_kept(dev: ModuleType, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    code, said = dev.watch([sys.executable, "-c", "print('3 passed'); raise SystemExit(4)"], live=True)
    assert (code, said.split()) == (4, ["3", "passed"])
    assert capfdbinary.readouterr().out.split() == [b"3", b"passed"]


def test_every_dependency_is_pinned_at_what_is_installed() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    names = {re.split(r"[\[<>=~! ]", r)[0].lower() for r in wanted} - {"gemel"}
    assert names <= set(pins)
    differ = [f"{n}: {pins[n]}, installed {version(n)}" for n in names & set(pins) if _held(n) != pins[n]]
    assert not differ


def _held(name: str) -> str:
    try:
        return version(name).partition("+")[0]  # torch says which build it is
    except ImportError:  # an extra the tests do not need
        return dict([line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line])[name]


@pytest.mark.skipif(os.name == "nt", reason="CI's shell")
def test_ci_says_what_the_readme_says() -> None:
    script = ROOT / ".ci" / "run"
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert script.stat().st_mode & 0o111
    assert script.read_text("utf-8").rstrip().endswith("exec python3 dev.py test")
    assert "python3 dev.py test" in (ROOT / "README.md").read_text("utf-8")
