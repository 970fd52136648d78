"""The documentation says what is so: its Python runs, its twin files load, its commands and links exist.

A page's ```python blocks run as one script in an empty folder, on the page's own line numbers. A comment before a block
changes what happens to it:

    <!-- file: plant.toml -->     the block is put in the folder under that name first
    <!-- skip: why -->            the block is only shown

The Chinese pages hold the same blocks, so they need not run again.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CHINESE = {ROOT / "README.zh.md": ROOT / "README.md"} | {
    p: ROOT / "docs" / p.name for p in sorted((ROOT / "docs" / "zh").glob("*.md"))
}
"""A page in Chinese -> the same in English."""
ALL = [*PAGES, *CHINESE]
NAMES = [p.relative_to(ROOT).as_posix() for p in ALL]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the comment before it, its text and the number of its first line."""

    language: str
    note: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    i = 0
    while i < len(lines):
        if fence := re.match(r"```(\w*)", lines[i]):
            note = re.match(r"<!-- (.*) -->", next((x for x in reversed(lines[:i]) if x.strip()), ""))
            end = next(j for j in range(i + 1, len(lines)) if lines[j].startswith("```"))
            yield Block(fence[1], note[1] if note else "", "\n".join(lines[i + 1 : end]) + "\n", i + 2)
            i = end
        i += 1


def lay_out(page: Path, folder: Path) -> None:
    """Write the files of a page."""
    for block in blocks(page):
        if block.note.startswith("file: "):
            path = folder / block.note.removeprefix("file: ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=NAMES[: len(PAGES)])
def test_python_runs(page: Path, tmp_path: Path) -> None:
    script: list[str] = []
    for block in blocks(page):
        if block.language == "python" and not block.note:
            script += [""] * (block.line - 1 - len(script)) + block.text.splitlines()
    if not script:
        pytest.skip("no Python on this page")
    lay_out(page, tmp_path)
    (tmp_path / "page.py").write_text("\n".join(script) + "\n", encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, f"{page.name} (page.py has its line numbers):\n{ran.stdout}{ran.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES[: len(PAGES)])
def test_twin_files_load(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gemel.config import load

    whole = [b for b in blocks(page) if b.language == "toml" and re.search(r"^name = ", b.text, re.MULTILINE)]
    whole = [b for b in whole if "signals" in b.text and not b.note.startswith("skip")]
    if not whole:
        pytest.skip("no twin file on this page")
    lay_out(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for block in whole:
        twin = load(block.text)
        if '"replay"' not in block.text:  # its file is only there when the page's Python has run
            twin.stages()  # every part is told its setting, and may object


@pytest.mark.parametrize("page", CHINESE, ids=NAMES[len(PAGES) :])
def test_a_chinese_page_shows_what_the_english_one_runs(page: Path) -> None:
    ours, theirs = ([(b.language, b.note, b.text) for b in blocks(p)] for p in (page, CHINESE[page]))
    assert ours == theirs, f"{page.name} is behind: copy its blocks from {CHINESE[page].relative_to(ROOT)}"


@cache
def commands() -> dict[str, str]:
    """Command -> its help."""
    from typer.testing import CliRunner

    from gemel.cli import app

    top = CliRunner().invoke(app, ["--help"], terminal_width=200).output
    names = [c.name or getattr(c.callback, "__name__", "") for c in app.registered_commands]
    assert all(name in top for name in names)
    for group in app.registered_groups:
        assert group.typer_instance
        word = group.typer_instance.info.name
        inner = group.typer_instance.registered_commands
        names += [f"{word} {c.name or getattr(c.callback, '__name__', '')}" for c in inner]
    return {name: CliRunner().invoke(app, [*name.split(), "--help"], terminal_width=200).output for name in names}


@pytest.mark.parametrize("page", ALL, ids=NAMES)
def test_commands_exist(page: Path) -> None:
    """Every `gemel VERB --option` on the page, in a block or in a line, is one the program has."""
    wrong = []
    for verb, rest in re.findall(
        r"(?:^|[`$/] ?)gemel ((?:(?:lab|key|audit) )?[a-z]+)((?: [^\n`|&]*)?)", page.read_text("utf-8"), re.MULTILINE
    ):
        if verb not in commands():
            wrong.append(f"gemel {verb}")
            continue
        wrong += [f"gemel {verb} {o}" for o in re.findall(r"(--[a-z]+)", rest) if o not in commands()[verb]]
    assert not wrong, f"{page.name}: {', '.join(wrong)}"


def test_every_command_has_help_and_a_line_in_the_docs() -> None:
    texts = "\n".join(p.read_text("utf-8") for p in PAGES)
    for name, said in commands().items():
        assert len(said.splitlines()) > 4, name
        assert f"gemel {name}" in texts, f"no page shows `gemel {name}`"


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", ALL, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue  # the world outside is not ours to test
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        if not other.exists() or (anchor and anchor not in anchors(other)):
            wrong.append(target)
    assert not wrong, f"{page.name}: {', '.join(wrong)}"


def test_the_index_leads_to_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    lost = [p.name for p in PAGES if p.parent.name == "docs" and p.name != "index.md" and f"({p.name})" not in index]
    assert not lost, f"docs/index.md does not lead to {', '.join(lost)}"


def test_the_reference_of_parts_is_fresh() -> None:
    made = subprocess.run([sys.executable, "docs/parts.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    held = (ROOT / "docs" / "parts.md").read_text("utf-8")
    if made.stdout != held:
        pytest.fail("docs/parts.md is not what the docstrings say; run: python3 dev.py docs", pytrace=False)
