"""Artifacts on a shelf: every version kept, one promoted, no file changed unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from gemel.core.artifact import Shelf
from gemel.core.errors import PartError


def test_a_version_holds_what_was_added(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "plant.artifacts")
    made = shelf.add("head", {"head.npz": b"weights"}, {"rows": 12})
    held = shelf.version("head", made.version)
    assert held.files["head.npz"].read_bytes() == b"weights"
    assert held.card["rows"] == 12
    assert held == made
    assert shelf.promoted("head") == ""  # nobody said it is to be used


def test_the_same_again_is_the_same_version(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    versions = [shelf.add("head", {"head.npz": b"weights"}, {"rows": rows}).version for rows in (12, 12, 13)]
    assert versions[0] == versions[1] != versions[2]
    assert sorted(p.name for p in (tmp_path / "head").iterdir()) == sorted(set(versions))


def test_promoted_and_back(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    first, second = (shelf.add("head", {"head.npz": b"weights"}, {"rows": rows}).version for rows in (1, 2))
    for version in (first, second, second):  # the same again is not one more to take back
        shelf.promote("head", version)
    assert Shelf(tmp_path).promoted("head") == second
    assert shelf.promoted("other") == ""
    assert shelf.back("head") == first == shelf.promoted("head")
    assert shelf.back("head") == "" == shelf.promoted("head")
    assert shelf.back("head") == ""
    assert shelf.promote("head", second).card["rows"] == 2  # what was taken back is still there


@pytest.mark.parametrize("file", ["head.npz", "head.json"])
def test_a_changed_file_is_refused(tmp_path: Path, file: str) -> None:
    shelf = Shelf(tmp_path)
    version = shelf.add("head", {"head.npz": b"weights"}, {"rows": 1}).version
    path = tmp_path / "head" / version / file
    path.write_bytes(path.read_bytes().replace(b"1", b"2") if file == "head.json" else b"wEights")
    with pytest.raises(PartError, match=r"changed|not the file") as caught:
        shelf.promote("head", version)
    assert caught.value.hint
    assert shelf.promoted("head") == ""


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PartError, match="no card"):
        Shelf(tmp_path).promote("head", "0123456789ab")
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "promoted.json").write_text("{")
    with pytest.raises(PartError, match=r"promoted\.json"):
        Shelf(tmp_path).promoted("head")
