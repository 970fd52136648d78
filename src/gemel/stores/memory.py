"""A store that forgets when the process ends: for tests, for trying things out, and as the oracle of other stores."""

from __future__ import annotations

from collections.abc import Sequence
from threading import RLock
from typing import Any, Self

import numpy as np

from gemel.core import codec
from gemel.core.values import Batch, Codes, Floats, Frame, Signals, Times
from gemel.stores.entry import Entry, digest, entry
from gemel.stores.tail import Columns, Tail, find


class Memory:
    """Keeps everything in this process, nothing on disk. It has no settings.

    Closing and opening it again keeps what it holds.
    """

    path = ""

    def __init__(self) -> None:
        self._lock = RLock()
        self._numbers: dict[str, int] = {}
        self._places = np.zeros(0, np.int32)
        self._tail = Tail()
        self._entries: list[Entry] = []
        self._snapshots: dict[str, Entry] = {}
        self._revisions = self._duplicates = 0

    def open(self, signals: Signals) -> None:
        """Be ready for batches over these signals; a signal keeps its history by its name."""
        with self._lock:
            self._places = np.array(
                [self._numbers.setdefault(name, len(self._numbers)) for name in signals.names], np.int32
            )
            self._tail.widen(len(self._numbers))

    def close(self) -> None:
        """Nothing to do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, batch: Batch, notes: Sequence[Any] = ()) -> int:
        entries = [entry(value) for value in (*batch.events, *notes)]
        with self._lock:
            points = Columns(self._places[batch.signal], batch.time, batch.value, batch.quality)
            keep, revisions = self._tail.sift(points)
            fresh = points.take(keep)
            self._tail.add(fresh)
            self._revisions += revisions
            self._duplicates += len(batch) - len(fresh.time)
            self._entries += [e for e in entries if e.kind != "snapshot"]
            self._snapshots |= {e.id: e for e in entries if e.kind == "snapshot"}
        return len(fresh.time)

    def window(self, signals: Sequence[str], start: int, end: int, every: int | None = None) -> Frame:
        with self._lock:
            return self._tail.window(find(self._numbers, signals), signals, start, end, every)

    def latest(self, signals: Sequence[str], at: int | None = None) -> Frame:
        with self._lock:
            return self._tail.latest(find(self._numbers, signals), signals, at)

    def each(self, signals: Sequence[str]) -> tuple[Times, Floats, Codes]:
        """The newest usable value of each signal with its own time, 0 where there is none: columns [s]."""
        with self._lock:
            return self._tail.each(find(self._numbers, signals))

    def record(self, *values: Any) -> None:
        self.append(Batch.of([], [], []), values)

    def read(self, kind: str, start: int | None = None, end: int | None = None, last: int | None = None) -> list[Any]:
        with self._lock:
            held = [*self._snapshots.values()] if kind == "snapshot" else [e for e in self._entries if e.kind == kind]
        inside = [e for e in held if (start is None or e.time >= start) and (end is None or e.time <= end)]
        place = {e.id or i: i for i, e in enumerate(inside)}  # the newest of an id; without one, each is its own
        found = sorted((inside[i] for i in sorted(place.values())), key=lambda e: e.time)
        return [codec.decode(e.body) for e in (found if last is None else found[max(len(found) - last, 0) :])]

    def counts(self) -> dict[str, int]:
        """Points kept, how many of them revise an earlier one, duplicates turned away, journal entries."""
        with self._lock:
            return {
                "points": len(self._tail.points().time),
                "revisions": self._revisions,
                "duplicates": self._duplicates,
                "entries": len(self._entries) + len(self._snapshots),
            }

    def digest(self) -> str:
        """SHA-256 of points and journal without `received`: equal for two runs that heard and thought the same."""
        with self._lock:
            points = self._tail.points()
            held = []
            for name, number in sorted(self._numbers.items()):
                own = points.take(points.signal == number)
                if len(own.time):
                    held.append((name, *own[1:]))
            entries = [*self._entries, *self._snapshots.values()]
        return digest(held, sorted(entries, key=lambda e: e[:3]))
