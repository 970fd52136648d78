"""A journal entry, the same in every store; and the digest by which two stores are compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple

from gemel.core import codec
from gemel.core.errors import InputError
from gemel.core.values import Ack, Codes, Command, Event, Floats, Forecast, Times


class Entry(NamedTuple):
    """A value of the journal as it is kept: what it is found by, and its bytes (`core.codec`)."""

    kind: str
    id: str  # "" for a value that no later one supersedes
    time: int
    body: bytes


def entry(value: Any) -> Entry:
    """The entry of a value; raises `InputError` for one that says no time."""
    id = value.command if isinstance(value, Ack) else getattr(value, "id", "")
    time: Any
    if isinstance(value, Forecast):
        time = value.issued
    elif isinstance(value, Command):
        time = value.expires
    else:
        time = getattr(value, "time", None)
    if not isinstance(time, int):
        raise InputError(f"a {type(value).__name__} cannot go into the journal: it says no time")
    return Entry(codec.kind(value), id, time, codec.encode(value))


def digest(points: Iterable[tuple[str, Times, Floats, Codes]], entries: Iterable[Entry]) -> str:
    """SHA-256 of what a store holds, without what depends on when it was heard.

    `points` are (name, time, value, quality) sorted by name, those of a signal by time and then arrival; `entries` are
    sorted by kind, id, time and then arrival.
    """
    seen = sha256()
    for name, time, value, quality in points:
        seen.update(f"{name}\0{len(time)}\0".encode())
        for column in (time, value, quality):
            seen.update(column.tobytes())
    for found in entries:
        body = found.body
        if found.kind == "event":
            event: Event = codec.decode(body)
            body = codec.encode(replace(event, received=0))
        seen.update(f"{found.kind}\0{found.id}\0{found.time}\0{len(body)}\0".encode())
        seen.update(body)
    return seen.hexdigest()
