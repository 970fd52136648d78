"""Blobs: content by its code, on disk, whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from gemel.core import png
from gemel.core.blobs import Blobs, Kept, code_of, media
from gemel.core.errors import InputError, NotFound, StoreError

PICTURE = png.encode(np.zeros((4, 4), np.uint8))


@pytest.fixture(params=["disk", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "a.gemel.blobs" if request.param == "disk" else None, largest=10_000)


def test_what_is_put_comes_back_by_its_code(blobs: Blobs) -> None:
    code = blobs.put(PICTURE)
    assert code == int(code) < 2**52
    assert float(np.float64(code)) == code, "it travels like every number"
    assert blobs.get(code) == PICTURE
    assert code in blobs
    assert 17.0 not in blobs
    assert blobs.put(PICTURE) == code, "the same again is the same"
    other = blobs.put(b"something else")
    assert sorted(blobs) == sorted([code, other])
    assert blobs.kept() == Kept(2, len(PICTURE) + 14)


@given(some.binary(min_size=1, max_size=64))
def test_any_content_comes_back(content: bytes) -> None:
    held = Blobs(None)
    assert held.get(held.put(content)) == content


def test_the_file_has_its_whole_hash_as_its_name(tmp_path: Path) -> None:
    import hashlib

    held = Blobs(tmp_path)
    code = held.put(PICTURE)
    whole = hashlib.sha256(PICTURE).hexdigest()
    assert code == int(whole[:13], 16)
    assert (tmp_path / whole[:2] / f"{whole}.png").read_bytes() == PICTURE
    assert not list(tmp_path.rglob("*.new*"))
    assert Blobs(tmp_path).get(code) == PICTURE, "another process finds it"


def test_nothing_and_too_much_are_refused(blobs: Blobs) -> None:
    with pytest.raises(InputError, match="0 bytes"):
        blobs.put(b"")
    with pytest.raises(InputError, match="10,001 bytes is too large"):
        blobs.put(bytes(10_001))
    assert blobs.kept() == Kept(0, 0)


def test_what_is_not_there_and_what_is_no_code(blobs: Blobs) -> None:
    with pytest.raises(NotFound, match="no blob 0000000000011"):
        blobs.get(17.0)
    for wrong in (-1.0, 0.5, float("nan"), float("inf"), 2.0**53):
        with pytest.raises(InputError, match="not the code of a blob"):
            blobs.get(wrong)
        assert wrong not in blobs
    assert code_of(3.0) == 3


def test_a_file_that_was_changed_is_noticed(tmp_path: Path) -> None:
    held = Blobs(tmp_path)
    code = held.put(PICTURE)
    (path,) = tmp_path.rglob("*.png")
    path.write_bytes(PICTURE[:-1])
    with pytest.raises(StoreError, match="was changed"):
        held.get(code)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        Blobs(tmp_path / "file" / "blobs").put(PICTURE)


def test_it_is_synced_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    Blobs(tmp_path / "x.blobs").put(PICTURE)
    kinds = [Path(one).suffix[:4] for one in synced]
    assert kinds[0] == ".new", "the content first"
    assert len(synced) >= 2, "then the folder that names it"


def test_kinds_are_read_off_the_first_bytes() -> None:
    assert media(PICTURE) == "image/png"
    assert media(b"\xff\xd8\xff\xe0 and so on") == "image/jpeg"
    assert media(b"<svg onload='x'>") == "application/octet-stream", "nothing that could run in a browser"
