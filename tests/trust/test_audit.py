"""The audit: what was written cannot be unwritten unseen."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.core.errors import GemelError, StoreError
from gemel.trust.audit import Audit, verify


def _written(path: Path, lines: int = 6) -> Path:
    book = Audit(path)
    for i in range(lines):
        book.write(action="approve", caller="ann", which=i, text="ü")
    book.close()
    return path


def test_an_audit_is_whole_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = _written(_written(tmp_path / "a.jsonl", 3), 2)
    lines, head = verify(path)
    assert lines == 5
    assert verify(path, head) == (5, head)
    assert path.stat().st_mode & 0o777 == 0o600


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_line_changed_removed_or_put_in_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = _written(tmp_path_factory.mktemp("audit") / "a.jsonl")
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    i = data.draw(st.integers(0, len(lines) - 1))
    how = data.draw(st.sampled_from(["byte", "remove", "double", "swap", "foreign"]))
    if how == "byte":
        place = data.draw(st.integers(0, len(lines[i]) - 2))
        new = bytearray(lines[i])
        new[place] ^= 1 << data.draw(st.integers(0, 6))
        lines[i] = bytes(new)
    elif how == "remove":
        del lines[i]
    elif how == "double":
        lines.insert(i, lines[i])
    elif how == "swap":
        lines[i], lines[i - 1] = lines[i - 1], lines[i]
    else:
        other = _written(path.with_name("b.jsonl"), 1).read_bytes()
        lines.insert(i, other)
    path.write_bytes(b"".join(lines))
    with pytest.raises(GemelError):
        verify(path)


def test_an_end_cut_off_is_found_by_the_head(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.jsonl")
    head = verify(path)[1]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    with pytest.raises(GemelError, match="at the end were removed"):
        verify(path)
    path.with_name("a.jsonl.head").unlink()
    with pytest.raises(GemelError, match="is gone"):
        verify(path)
    with pytest.raises(GemelError, match="at the end were removed"):
        verify(path, head)


def test_half_a_line_that_a_crash_left_is_taken_back(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.jsonl", 2)
    with path.open("ab") as file:
        file.write(b'{"n":3,"action":"appr')
    assert verify(_written(path, 1))[0] == 3


def test_two_processes_do_not_write_one_audit(tmp_path: Path) -> None:
    book = Audit(tmp_path / "a.jsonl")
    with pytest.raises(StoreError, match="another process writes"):
        Audit(tmp_path / "a.jsonl")
    book.close()
    Audit(tmp_path / "a.jsonl").close()


def test_a_line_that_did_not_reach_the_disk_is_told(tmp_path: Path) -> None:
    book = Audit(tmp_path / "a.jsonl")
    book.write(action="approve")
    os.dup2(full := os.open("/dev/full", os.O_WRONLY), book._file)
    os.close(full)
    with pytest.raises(StoreError, match="cannot be written"):
        book.write(action="approve")
    book.close()
    assert verify(tmp_path / "a.jsonl")[0] == 1


def test_keys_and_passwords_stay_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with contextlib.closing(Audit(path)) as book:
        book.write(action="x", asked='{"url":"mqtt://ann:sesame@host/plant"}', why="with gemel_" + "k" * 43)
    text = path.read_text()
    assert "mqtt://...@host/plant" in text
    assert "sesame" not in text
    assert "kkk" not in text
    verify(path)
