"""One tool for this repository, standard library only:

    python3 dev.py demo             set up, then show a living twin (what follows goes to `gemel demo`)
    python3 dev.py test             format, lint, types, floors, docs and tests, in two minutes; with --all (or CI
                                    set) also those that take seconds each: browsers, kills, long runs
    python3 dev.py check            the same without the tests that start servers
    python3 dev.py bench NAME       run bench/NAME.py (what follows goes to it, such as --json)
    python3 dev.py docs             write the reference of parts, check links, run the examples of README.md and docs/

The first call makes `.venv` and installs the package and what the verb needs, at the versions of constraints.txt. Later
calls install again only when pyproject.toml, constraints.txt or the extras have changed. GEMEL_EXTRAS="lab" adds
that extra, without which its tests are skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

# This file must parse on an old Python, which is then told so: hence no `match`, and annotations as text.

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
SCRIPTS = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = SCRIPTS / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "gemel.json"
EXTRAS = {"demo": {"demo"}, "test": {"test"}, "check": {"test"}, "bench": {"bench"}, "docs": {"test"}}
FLOORS, DOCS = "tests/test_house.py", "tests/test_docs.py"


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in EXTRAS:
        print(__doc__.strip())
        return 0 if arguments in (["-h"], ["--help"]) else 2
    verb, rest = arguments[0], arguments[1:]
    if verb == "bench":
        _benchmark(rest)
    planned = {"schedule"} if verb == "demo" and "line" in rest else set()  # that demo plans services
    set_up(EXTRAS[verb] | planned | set(os.environ.get("GEMEL_EXTRAS", "").split()))
    if verb == "demo":
        return run([str(SCRIPTS / "gemel"), "demo", *rest])
    if verb == "bench":
        return run([str(PYTHON), "-m", f"bench.{rest[0]}", *rest[1:]])
    return check(verb, every="--all" in rest or bool(os.environ.get("CI")))


# -- set-up ---------------------------------------------------------------------------------------------------------


def set_up(extras: set[str]) -> None:
    """Make `.venv` hold the package with these extras; does nothing when it already does."""
    if sys.version_info < (3, 11):  # noqa: UP036
        newer = [f"python3.{n}" for n in range(14, 10, -1) if shutil.which(f"python3.{n}")]
        fail(
            f"this is Python {sys.version_info[0]}.{sys.version_info[1]}, Gemel needs 3.11 or newer",
            f"run: {newer[0]} dev.py" if newer else "install Python 3.11 or newer and run dev.py with it",
        )
    if not PYTHON.exists():
        _make_venv()
    held = _stamp()
    every = sorted(extras | set(held.get("extras", [])))  # those of earlier verbs stay
    wanted = {"hash": [_hash()], "extras": every}
    if held == wanted and (SCRIPTS / "gemel").with_suffix(".exe" if os.name == "nt" else "").exists():
        return
    _install(every)
    STAMP.write_text(json.dumps(wanted), encoding="utf-8")


def _make_venv() -> None:
    hint = "Debian and Ubuntu: apt-get install python3-venv; Fedora: dnf install python3-pip"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        fail(f"this Python cannot make a virtual environment: {error.name} is missing", hint)
    say("making .venv")
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
    if made.returncode:
        fail("making .venv failed:\n" + _tail(made.stdout + made.stderr), f"remove .venv and try again; {hint}")


def _install(extras: list[str]) -> None:
    say(f"installing gemel[{','.join(extras)}] into .venv (a minute or two the first time)")
    target = f"{ROOT}[{','.join(extras)}]"
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--constraint", str(ROOT / "constraints.txt"), "--editable", target]
    began = time.monotonic()
    try:
        pip = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    except OSError as error:
        fail(f"{PYTHON} does not run: {error.strerror}", "remove .venv and try again")
    assert pip.stdout is not None
    output = ""
    for line in pip.stdout:
        output += line
        found = re.match(r"(?:Collecting|Installing) (.{1,60})", line)
        if found and sys.stdout.isatty():
            print(f"\r  {found[1].strip():<60}", end="", flush=True)
    if sys.stdout.isatty():
        print(f"\r{'':<62}\r", end="")
    if pip.wait():
        fail(
            "pip could not install the package:\n" + _tail(output),
            "check the network (behind a proxy set HTTPS_PROXY, with a mirror PIP_INDEX_URL) and try again; "
            "a half-made .venv may be removed",
        )
    say(f"ready after {time.monotonic() - began:.0f} s")


def _stamp() -> dict[str, list[str]]:
    try:
        held = json.loads(STAMP.read_text(encoding="utf-8"))
        return held if isinstance(held, dict) else {}
    except (OSError, ValueError):
        return {}


def _hash() -> str:
    """What an installation depends on: the two files, the Python, and where the repository stands."""
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    parts += [sys.version.encode(), str(ROOT).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


# -- check ----------------------------------------------------------------------------------------------------------


def check(verb: str, every: bool) -> int:
    """One line a step with its seconds; the output of a step that fails; at the end what failed, and the counts."""
    pytest = [str(PYTHON), "-m", "pytest"]
    side_by_side = ["-n", str(min(os.cpu_count() or 1, 4))]  # many wait for a server: two at once take half the time
    others = [*pytest, "tests", f"--ignore={FLOORS}", f"--ignore={DOCS}", *side_by_side, "--dist", "loadfile"]
    left_out = " and ".join(["not slow"] * (not every) + ["not server"] * (verb == "check"))
    steps: list[tuple[str, list[str]]] = [
        ("format", [str(SCRIPTS / "ruff"), "format", "--check", "."]),
        ("lint", [str(SCRIPTS / "ruff"), "check", "."]),
        ("types", [str(PYTHON), "-m", "mypy"]),
        ("floors", [*pytest, FLOORS]),
        ("docs", [*pytest, DOCS, *side_by_side]),
        ("tests", [*others, *(["-m", left_out] if left_out else [])]),
    ]
    if verb == "docs":
        written = subprocess.run([str(PYTHON), "docs/parts.py"], cwd=ROOT, capture_output=True, check=False)
        if written.returncode == 0:  # else the check says what is wrong
            (ROOT / "docs" / "parts.md").write_bytes(written.stdout)
        steps = [step for step in steps if step[0] == "docs"]
    broken, passed, failed, skipped = [], 0, 0, 0
    for name, command in steps:
        began = time.monotonic()
        code, output = watch(command, live=name == "tests")
        pytests = _tail(output, 1) if "pytest" in command else ""
        counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error|skipped)", pytests)}
        passed += counts.get("passed", 0)
        skipped += counts.get("skipped", 0)
        wrong = counts.get("failed", 0) + counts.get("error", 0)
        failed += max(wrong, 1) if code else 0
        if code:
            broken.append(name)
            if name != "tests":
                print(output.rstrip())
        say(f"{name:<8}{'failed' if code else 'ok':<8}{time.monotonic() - began:6.1f} s")
    if broken:
        print(f"error: failed: {', '.join(broken)}")
        print(f"hint: what is wrong stands above; `{SCRIPTS.relative_to(ROOT)}/ruff format .` mends the format")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    if not every and verb == "test":
        print("slow tests were left out; all of them, as CI does: python3 dev.py test --all")
    return 1 if broken else 0


def watch(command: list[str], live: bool) -> tuple[int, str]:
    """Run and collect what is said; `live` shows it as it comes."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_one_thread(), bufsize=0
    )
    assert process.stdout is not None
    said = b""
    with process.stdout as pipe:
        for chunk in iter(lambda: pipe.read(4096), b""):
            said += chunk
            if live:
                sys.stdout.buffer.write(chunk)
                sys.stdout.flush()
    return process.wait(), said.decode(errors="replace")


# -- small things ---------------------------------------------------------------------------------------------------


def run(command: list[str]) -> int:
    """Hand over to a command; Ctrl-C is the command's to answer."""
    process = subprocess.Popen(command, cwd=ROOT, env=_one_thread())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def _benchmark(rest: list[str]) -> None:
    known = sorted(p.stem for p in (ROOT / "bench").glob("*.py") if p.stem not in ("__init__", "harness"))
    if not rest or rest[0] not in known:
        fail(f"there is no benchmark '{rest[0]}'" if rest else "which benchmark?", f"known: {', '.join(known)}")


def _one_thread() -> dict[str, str]:
    """Figures and results that do not hang on the number of cores; a second BLAS thread costs more than it brings."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
    return {**dict.fromkeys(names, "1"), **os.environ}


def _tail(text: str, lines: int = 12) -> str:
    return "\n".join(text.rstrip().splitlines()[-lines:])


def say(text: str) -> None:
    print(text, flush=True)


def fail(message: str, hint: str) -> NoReturn:
    print(f"error: {message}\nhint: {hint}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
