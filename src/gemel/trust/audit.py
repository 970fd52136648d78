"""The audit: a file of JSON lines, one for everything somebody did or was not allowed to do.

Each line holds the hash of the line before it and its own, so that a line that was changed, removed or put in later
breaks the chain. Lines cut off at the end leave the chain whole; a second file, `FILE.head`, says where it ended. Who
can write both files can write both anew: keep the head somewhere else too (`gemel audit verify` prints it).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from gemel.core.clock import Wall
from gemel.core.errors import GemelError, InputError, StoreError
from gemel.core.units import instant_id

ORIGIN = "0" * 64
"""The hash before the first line."""
_SECRETS = re.compile(r"gemel_[\w-]{20,}|(?<=://)[^\s/@\"]+(?=@)")
"""Keys, and who logs in where: somebody may write them where none belong."""


class Audit:
    """Appends to a file, and has it on disk when it returns. One process writes a file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = Lock()
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise StoreError(
                f"another process writes {self.path}", "give this one a file of its own: --audit"
            ) from None
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror}", "choose another: --audit") from None
        self._n, self._hash = self._mended()

    def write(self, **what: Any) -> int:
        """Append a line, less what looks like a key; returns its number. Raises `StoreError` when it is not on disk."""
        what = {name: _SECRETS.sub("...", text) if isinstance(text, str) else text for name, text in what.items()}
        with self._lock:
            line = {"n": self._n + 1, "time": instant_id(Wall().now()), **what, "before": self._hash}
            found = _hash(line)
            try:
                _append(self._file, msgspec.json.encode({**line, "hash": found}) + b"\n")
                self._n, self._hash = self._n + 1, found  # from here on the line stands, whatever comes of the head
                _replace(_head(self.path), msgspec.json.encode({"n": self._n, "hash": found}))
            except OSError as error:
                raise StoreError(
                    f"{self.path} cannot be written: {error.strerror}", "nothing is done unaudited"
                ) from None
            return self._n

    def close(self) -> None:
        """Let another process write it."""
        os.close(self._file)

    def _mended(self) -> tuple[int, str]:
        """Number and hash of the last line. Half a line at the end was never promised to anyone: it goes."""
        content = self.path.read_bytes()
        if whole := content.rfind(b"\n") + 1:
            line = content[content.rfind(b"\n", 0, whole - 1) + 1 : whole]
        if whole < len(content):
            os.ftruncate(self._file, whole)
        if not whole:
            return 0, ORIGIN
        try:
            held = msgspec.json.decode(line, type=dict[str, Any])
            return int(held["n"]), str(held["hash"])
        except (msgspec.DecodeError, KeyError, ValueError):
            os.close(self._file)
            raise StoreError(
                f"{self.path} is not an audit, or is damaged", f"run: gemel audit verify {self.path}"
            ) from None


def verify(path: str | Path, head: str = "") -> tuple[int, str]:
    """How many lines there are, and the hash of the last one. Raises `GemelError` at the first line that was changed,
    removed or put in; with `head`, a hash noted earlier, also when that line is no longer there."""
    last, seen = ORIGIN, set()
    n = 0
    for n, line in enumerate(_lines(Path(path)), 1):
        try:
            held = msgspec.json.decode(line, type=dict[str, Any])
            found = held.pop("hash")
        except (msgspec.DecodeError, KeyError):
            raise GemelError(f"{path}, line {n}: not a line of an audit", "it was changed or damaged") from None
        if held.get("n") != n or held.get("before") != last:
            raise GemelError(f"{path}, line {n}: does not follow the line before it", "lines were removed or put in")
        if found != _hash(held):
            raise GemelError(f"{path}, line {n}: was changed", "its hash is not that of its text")
        last = found
        seen.add(found)
    wanted = head or _noted(Path(path), n)
    if wanted and wanted not in seen:
        raise GemelError(
            f"{path}: lines at the end were removed", f"a line with the hash {wanted[:12]} was there before"
        )
    return n, last


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", "gemel serve writes one: gemel.audit.jsonl"
        ) from None


def _noted(path: Path, n: int) -> str:
    with contextlib.suppress(FileNotFoundError):
        try:
            return str(msgspec.json.decode(_head(path).read_bytes())["hash"])
        except (msgspec.DecodeError, KeyError, TypeError):
            raise GemelError(f"{_head(path)} was changed", "it says where the audit ended") from None
    if n:
        raise GemelError(f"{_head(path)} is gone", "it says where the audit ended; --head HASH does so too")
    return ""


def _head(path: Path) -> Path:
    return path.with_name(path.name + ".head")


def _hash(line: dict[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(line, order="sorted")).hexdigest()


def _append(file: int, content: bytes) -> None:
    start = os.fstat(file).st_size
    try:
        if os.write(file, content) < len(content):
            raise OSError(28, "no space left")
        os.fsync(file)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(file, start)
        raise


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
