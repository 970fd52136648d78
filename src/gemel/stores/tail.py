"""The newest points of a store in memory, sorted by time: a window is two binary searches and a slice.

Also here, because both stores need it alike: which points are new, windows as frames, and latest values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from gemel.core.clock import FOREVER, NEVER
from gemel.core.errors import InputError, nearest
from gemel.core.grid import HOLD, newest, regular, union
from gemel.core.units import SECOND
from gemel.core.values import BAD, Bools, Codes, Floats, Frame, Ints, Times

Index = npt.NDArray[np.intp] | npt.NDArray[np.int32] | Bools | slice


class Columns(NamedTuple):
    """Points in columns; `signal` holds the store's own numbers, which a change of the twin file leaves alone."""

    signal: Ints
    time: Times
    value: Floats
    quality: Codes

    @staticmethod
    def none(n: int = 0) -> Columns:
        """`n` rows that say that there is no point."""
        return Columns(
            np.zeros(n, np.int32), np.full(n, NEVER, np.int64), np.full(n, np.nan), np.full(n, BAD, np.uint8)
        )

    @staticmethod
    def join(parts: Sequence[Columns]) -> Columns:
        """The points of all parts, in this order."""
        return Columns(
            np.concatenate([p.signal for p in parts]),
            np.concatenate([p.time for p in parts]),
            np.concatenate([p.value for p in parts]),
            np.concatenate([p.quality for p in parts]),
        )

    def take(self, index: Index) -> Columns:
        """The points at `index`: a view for a slice, else a copy."""
        return Columns(self.signal[index], self.time[index], self.value[index], self.quality[index])

    def put(self, index: Index, points: Columns) -> None:
        """Overwrite the rows at `index`."""
        self.signal[index], self.time[index] = points.signal, points.time
        self.value[index], self.quality[index] = points.value, points.quality


class Archive(Protocol):
    """All points, on disk."""

    def between(self, signals: Sequence[int], start: int, end: int) -> Columns:
        """Points of these signals with start <= time <= end, in arrival order."""

    def sharing(self, signal: Ints, time: Times) -> Columns:
        """Points that have the (signal, time) of one of these."""


class Tail:
    """Holds every point later than `floor`; earlier ones are asked of the archive.

    Once there are a quarter more than `most` points, the earliest are let go. Without an archive nothing is.
    """

    def __init__(self, signals: int = 0, archive: Archive | None = None, most: int = 2**62) -> None:
        self.floor = NEVER
        self.newest: Times = np.full(signals, NEVER, np.int64)  # [s], of any quality
        self._archive = archive
        self._most = most
        self._room = Columns.none(1024)
        self._start, self._stop = 0, 0  # the rows of `_room` in use, sorted by time and then by arrival
        self._latest = Columns.none()  # [s], the newest usable point of each signal; time NEVER when there is none
        self.widen(signals)

    def widen(self, signals: int) -> None:
        """Make place for signals up to number `signals - 1`."""
        more = signals - len(self._latest.time)
        if more > 0:
            self._latest = Columns.join([self._latest, Columns.none(more)])
            self.newest = np.concatenate([self.newest, np.full(signals - len(self.newest), NEVER, np.int64)])

    def points(self) -> Columns:
        """All that is held (a view)."""
        return self._room.take(slice(self._start, self._stop))

    # -- writing ---------------------------------------------------------------------------------------------------

    def sift(self, points: Columns) -> tuple[Bools, int]:
        """Which points are not held yet [n], and how many of those revise a point that is.

        A point whose key (signal, time) was ever held with the same value is a duplicate, so that telemetry which is
        delivered twice, in whatever order, changes nothing. NaN equals NaN. No time later than everything held of its
        signal can be a duplicate; the archive is asked only about points before `floor`.
        """
        n = len(points.time)
        doubtful = points.time <= self.newest[points.signal]
        anything = bool(doubtful.any())
        if n == 1 and not anything:
            return np.ones(1, bool), 0
        held = self._sharing(points.signal[doubtful], points.time[doubtful]) if anything else Columns.none()
        every = Columns.join([held, points])
        bits = np.where(np.isnan(every.value), np.nan, every.value + 0.0).view(np.int64)  # one NaN, and no -0.0
        order = np.lexsort((bits, every.time, every.signal))  # stable: held points stand before equal new ones
        signal, time, bits = every.signal[order], every.time[order], bits[order]
        key = np.ones(len(order), bool)  # whether a row begins another key
        key[1:] = (signal[1:] != signal[:-1]) | (time[1:] != time[:-1])
        first = key.copy()
        first[1:] |= bits[1:] != bits[:-1]
        keep = np.zeros(len(order), bool)
        keep[order[first]] = True
        keep = keep[len(held.time) :]
        known = np.unique(np.cumsum(key)[order < len(held.time)])
        return keep, int(keep.sum() - (key.sum() - len(known)))

    def add(self, points: Columns) -> None:
        """Hold these points, which came after all that are held."""
        np.maximum.at(self.newest, points.signal, points.time)
        late = points.time <= self.floor
        fresh = points.take(~late) if late.any() else points
        if len(fresh.time):
            self._insert(fresh)
        self._update(points)
        if self._stop - self._start > self._most * 1.25:
            time = self._room.time
            self.floor = int(time[self._stop - self._most - 1])
            self._start += int(np.searchsorted(time[self._start : self._stop], self.floor, "right"))

    def _insert(self, points: Columns) -> None:
        if np.any(points.time[1:] < points.time[:-1]):
            points = points.take(np.argsort(points.time, kind="stable"))
        held = self.points()
        place = int(np.searchsorted(held.time, points.time[0], "right"))
        if place < len(held.time):  # some of the new ones are earlier than some held ones
            points = Columns.join([held.take(slice(place, None)), points])
            points = points.take(np.argsort(points.time, kind="stable"))
        start, stop = self._start + place, self._start + place + len(points.time)
        if stop > len(self._room.time):
            room = Columns.none(2 * (stop - self._start))
            room.put(slice(0, len(held.time)), held)
            self._room, start, stop, self._start = room, start - self._start, stop - self._start, 0
        self._room.put(slice(start, stop), points)
        self._stop = stop

    def _update(self, points: Columns) -> None:
        last = points.take(newest(points.signal, points.time))
        fine = _usable(last)
        better = last.take(fine & (last.time >= self._latest.time[last.signal]))  # sorted by signal, then time
        self._latest.put(better.signal, better)
        revoked = last.signal[~fine & (last.time == self._latest.time[last.signal])]
        if len(revoked):  # the newest usable value was revised to a bad one: the one before it is the newest now
            self._latest.put(revoked, Columns.none(len(revoked)))
            found = self._before(revoked.tolist(), FOREVER)
            self._latest.put(found.signal, found)

    def fill(self, points: Columns, floor: int, newest: Times) -> None:
        """Start over with the archive's points later than `floor`, given in arrival order."""
        self.floor, self.newest = floor, newest
        if len(points.time):
            self._insert(points)
        found = self._before(np.flatnonzero(newest > NEVER).tolist(), FOREVER)
        self._latest.put(found.signal, found)

    # -- reading ---------------------------------------------------------------------------------------------------

    def between(self, signals: Sequence[int], start: int, end: int) -> Columns:
        """Points of these signals with start <= time <= end; those of one key in arrival order."""
        if start <= self.floor and self._archive is not None:
            return self._archive.between(signals, start, end)
        held = self.points()
        first, stop = np.searchsorted(held.time, start, "left"), np.searchsorted(held.time, end, "right")
        found = held.take(slice(int(first), int(stop)))
        return found if len(set(signals)) >= len(self.newest) else found.take(self._of(signals)[found.signal])

    def window(self, signals: Sequence[int], names: Sequence[str], start: int, end: int, every: int | None) -> Frame:
        """`Store.window` for signals by number; `names` go into the frame."""
        if every is None:
            return union(*self.between(signals, start, end), signals, names)
        first = -(-start // every) * every - HOLD * every  # rows before `start` are read so that gaps can be held
        points = self.between(signals, first - every + 1, end)
        frame = regular(*points, signals, names, first, end, every)
        return frame.rows(HOLD, len(frame))

    def latest(self, signals: Sequence[int], names: Sequence[str], at: int | None) -> Frame:
        """`Store.latest` for signals by number."""
        numbers = np.asarray(signals, np.intp)
        row = self._latest.take(numbers)
        if at is not None and len(later := np.flatnonzero(row.time > at)):
            found = self._before(numbers[later].tolist(), at)
            table = Columns.none(len(self.newest))
            table.put(found.signal, found)
            row.put(later, table.take(numbers[later]))
        stamp = row.time.max(initial=NEVER)
        if stamp == NEVER:
            stamp = np.int64(at or 0)
        return Frame(np.array([stamp], np.int64), row.value[None, :], row.quality[None, :], tuple(names))

    def each(self, signals: Sequence[int]) -> tuple[Times, Floats, Codes]:
        """The newest usable value of each signal with its own time, 0 where there is none."""
        row = self._latest.take(np.asarray(signals, np.intp))
        return np.where(row.time == NEVER, 0, row.time), row.value, row.quality

    def _before(self, signals: Sequence[int], at: int) -> Columns:
        """The newest usable point of each signal with time <= at, sorted by signal; a signal may have none."""
        held = self.points()
        missing = self._of(signals)
        found = [Columns.none()]
        stop = int(np.searchsorted(held.time, at, "right"))
        rows = 8 * len(self.newest)
        while stop > 0 and missing.any():
            start = int(np.searchsorted(held.time, held.time[max(stop - rows, 0)]))  # a key is never cut in two
            found.append(_last_usable(held.take(slice(start, stop)), missing))
            missing[found[-1].signal] = False
            stop, rows = start, rows * 8
        if self._archive is not None and self.floor > NEVER:
            for span in (*(3600 * SECOND * 16**i for i in range(5)), FOREVER):
                if not missing.any():
                    break
                end = min(at, self.floor)
                points = self._archive.between(np.flatnonzero(missing).tolist(), max(end - span, NEVER), end)
                found.append(_last_usable(points, missing))
                missing[found[-1].signal] = False
        every = Columns.join(found)
        return every.take(np.argsort(every.signal))

    def _of(self, signals: Sequence[int]) -> Bools:
        wanted = np.zeros(len(self.newest), bool)
        wanted[list(signals)] = True
        return wanted

    def _sharing(self, signal: Ints, time: Times) -> Columns:
        """Held points with one of these times, and archived ones with one of these keys."""
        recent = time > self.floor
        held = self.points()
        times = np.unique(time[recent])
        start = np.searchsorted(held.time, times, "left")
        count = np.searchsorted(held.time, times, "right") - start
        rows = np.repeat(start - np.cumsum(count) + count, count) + np.arange(count.sum())
        found = held.take(rows)
        if self._archive is not None and not recent.all():
            found = Columns.join([found, self._archive.sharing(signal[~recent], time[~recent])])
        return found


def _usable(points: Columns) -> Bools:
    return (points.quality != BAD) & np.isfinite(points.value)


def _last_usable(points: Columns, wanted: Bools) -> Columns:
    points = points.take(wanted[points.signal])
    last = points.take(newest(points.signal, points.time))  # sorted by signal, then time
    last = last.take(_usable(last))
    final = np.ones(len(last.time), bool)
    final[:-1] = last.signal[1:] != last.signal[:-1]
    return last.take(final)


def find(numbers: dict[str, int], signals: Sequence[str]) -> list[int]:
    """The store's numbers of signals; raises `InputError` naming the nearest known one."""
    unknown = [name for name in signals if name not in numbers]
    if unknown:
        raise InputError(
            f"unknown signal '{unknown[0]}'{nearest(unknown[0], numbers)}", f"known: {', '.join(sorted(numbers))}"
        )
    return [numbers[name] for name in signals]
