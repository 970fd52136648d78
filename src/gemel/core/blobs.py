"""Pictures, sounds and other bytes of a twin: kept as files beside its store, named by their own hash.

A point is a number, so what travels for a blob is a number too: its *code*, the first 13 hexadecimal digits of its
SHA-256 as an integer, which a float64 holds exactly. The same content is the same file and the same code; one is never
changed, and what comes back is what was put in, or an error.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gemel.core.errors import InputError, NotFound, StoreError, StoreFull

LARGEST = 8_000_000
"""Bytes of one blob at most."""
DIGITS = 13

_KINDS = {b"\x89PNG": ("png", "image/png"), b"\xff\xd8\xff": ("jpg", "image/jpeg"), b"RIFF": ("wav", "audio/wav")}
_TYPES = dict(_KINDS.values())


@dataclass(frozen=True, slots=True)
class Kept:
    """What there is in all."""

    count: int
    bytes: int


class Blobs:
    """Blobs in a folder, made with the first one: `ab/abcdef....png`, two digits a folder; `None` holds them in memory.

    `largest`: bytes of one at most.
    """

    def __init__(self, folder: str | Path | None, largest: int = LARGEST) -> None:
        self.folder = None if folder is None else Path(folder)
        self.largest = largest
        self._memory: dict[int, bytes] = {}

    def put(self, content: bytes | bytearray, suffix: str = "") -> float:
        """Keep `content`; on disk when it returns. The result is its code, the value of a point.

        `suffix` names the kind ("png"); without one it is read off the first bytes. Raises `InputError` for nothing and
        for too much, `StoreFull` when the disk is full.
        """
        if not content:
            raise InputError("a blob of 0 bytes", "send the picture again")
        if len(content) > self.largest:
            raise InputError(f"a blob of {len(content):,} bytes is too large", f"at most {self.largest:,} are kept")
        whole = hashlib.sha256(content).hexdigest()
        code = int(whole[:DIGITS], 16)
        if self.folder is None:
            self._memory[code] = bytes(content)
        elif (there := self._file(code)) is None:
            self._write(self.folder / whole[:2] / f"{whole}.{suffix or _kind(content)}", bytes(content))
        elif there.stem != whole:  # one in 2^52 a pair
            raise StoreError(f"two blobs share the code {code:0{DIGITS}x}", "the second is not kept")
        return float(code)

    def get(self, value: float) -> bytes:
        """The content of a code. Raises `NotFound` when there is none, `StoreError` when its file was changed."""
        code = code_of(value)
        if self.folder is None:
            if code not in self._memory:
                raise _missing(code)
            return self._memory[code]
        path = self._file(code)
        if path is None:
            raise _missing(code)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError(f"blob {path.name} cannot be read: {error.strerror}", "restore a copy") from None
        if hashlib.sha256(content).hexdigest() != path.stem:
            raise StoreError(f"blob {path.name} is not what was kept: the file was changed", "restore a copy of it")
        return content

    def __contains__(self, value: object) -> bool:
        try:
            code = code_of(value)  # type: ignore[arg-type]
        except InputError:
            return False
        return code in self._memory if self.folder is None else self._file(code) is not None

    def __iter__(self) -> Iterator[float]:
        """The codes of all, in no order."""
        if self.folder is None:
            yield from map(float, self._memory)
        else:
            yield from (float(int(path.name[:DIGITS], 16)) for path in self._files())

    def kept(self) -> Kept:
        """How many there are, and how many bytes they take."""
        if self.folder is None:
            return Kept(len(self._memory), sum(map(len, self._memory.values())))
        sizes = [path.stat().st_size for path in self._files()]
        return Kept(len(sizes), sum(sizes))

    def _files(self) -> Iterator[Path]:
        assert self.folder is not None
        return (path for path in self.folder.glob("??/*") if len(path.stem) == 64)

    def _file(self, code: int) -> Path | None:
        assert self.folder is not None
        name = f"{code:0{DIGITS}x}"
        return next((path for path in (self.folder / name[:2]).glob(f"{name}*") if len(path.stem) == 64), None)

    def _write(self, path: Path, content: bytes) -> None:
        """Written aside, synced, and put in place whole."""
        aside = path.with_suffix(".new" + str(os.getpid()))
        try:
            new = not path.parent.exists()
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(aside, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
            for folder in (path.parent, *((path.parent.parent, path.parent.parent.parent) if new else ())):
                _sync(folder)
        except OSError as error:
            with suppress(OSError):
                aside.unlink()
            full = error.errno in (27, 28, 122)  # EFBIG, ENOSPC, EDQUOT
            raise (StoreFull if full else StoreError)(
                f"blob {path} cannot be written: {error.strerror}", "make room, or choose another path for the store"
            ) from None


def code_of(value: float) -> int:
    """The code of a point's value; raises `InputError` for a number that is none."""
    if not (isinstance(value, int | float) and 0 <= value < 2**52 and value == int(value)):
        raise InputError(f"{value} is not the code of a blob", "it is a whole number below 2^52")
    return int(value)


def media(content: bytes) -> str:
    """The content type of what was kept, read off its first bytes."""
    return _TYPES.get(_kind(content), "application/octet-stream")


def _kind(content: bytes | bytearray) -> str:
    return next((suffix for mark, (suffix, _) in _KINDS.items() if content[: len(mark)] == mark), "bin")


def _missing(code: int) -> NotFound:
    return NotFound(f"there is no blob {code:0{DIGITS}x}", "it was removed, or belongs to another twin")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
