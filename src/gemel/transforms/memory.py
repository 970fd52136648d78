"""What the stateful transforms stand on: a memory of arrays by signal, and a batch read signal by signal.

Every test here looks at a point and at points of the same signal that came before it, never at the batch as such.
So the answer does not depend on where a stream is cut into batches: a file read in blocks of 50 000 points and the
same file heard through a broker leave the same qualities.

Letters in shapes: s signals of the twin, n points of the batch, k points under test, p signals among them, w memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from gemel.core.clock import NEVER
from gemel.core.errors import ConfigError, nearest
from gemel.core.values import BAD, Batch, Bools, Codes, Floats, Signals, Times

Places = npt.NDArray[np.intp]
Column = npt.NDArray[Any]
RANK = np.array([0, 2, 3, 1], np.uint8)
"""How bad a quality code is: good, imputed, uncertain, bad."""


class Memory:
    """Named arrays whose first axis is the signal, [s, ...]."""

    def __init__(self, signals: Signals, **columns: Column) -> None:
        self._names = signals.names
        self._columns = columns

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def snapshot(self) -> dict[str, Any]:
        """A copy as plain data, with the signals' names."""
        return {"signals": self._names, **{name: column.copy() for name, column in self._columns.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a `snapshot()`: by name, as signals may have come, gone or moved; another window starts afresh."""
        then = {name: i for i, name in enumerate(state["signals"])}
        pairs = [(i, then[name]) for i, name in enumerate(self._names) if name in then]
        now, old = [i for i, _ in pairs], [j for _, j in pairs]
        shapes = {name: column.shape[1:] for name, column in self._columns.items()}
        if all(name in state and state[name].shape[1:] == shape for name, shape in shapes.items()):
            for name, column in self._columns.items():
                column[now] = state[name][old]


@dataclass(frozen=True, slots=True)
class Grouped:
    """Some points of a batch, signal by signal and in arrival order within a signal."""

    index: Places  # [k], places in the batch
    signal: Places  # [k]
    start: Places  # [p], where each signal's points begin
    end: Places  # [p], where its last point is

    def __len__(self) -> int:
        return len(self.index)

    @staticmethod
    def of(batch: Batch, which: Bools) -> Grouped:
        """The points of `which` [n]."""
        index = np.flatnonzero(which)
        signal = batch.signal[index]
        small = signal.astype(np.int16) if signal.max(initial=0) < 2**15 else signal  # sorts by radix: 5x as fast
        order = small.argsort(kind="stable")
        return _grouped(index[order], signal[order].astype(np.intp))

    def only(self, which: Bools) -> Grouped:
        """The points of `which` [k]."""
        return self if which.all() else _grouped(self.index[which], self.signal[which])

    def last(self, memory: Column) -> Column:
        """The memory [s, ...] of the signals here, [p, ...]."""
        return memory[self.signal[self.start]]

    def keep(self, memory: Column, column: Column) -> None:
        """Remember the last point of each signal: `column` [k] into `memory` [s]."""
        memory[self.signal[self.end]] = column[self.end]

    def before(self, column: Column, memory: Column) -> Column:
        """For each point the one before it of its signal, [k]; the first one's is in `memory` [s]."""
        shifted = np.empty_like(column)
        shifted[1:] = column[:-1]
        shifted[self.start] = self.last(memory)
        return shifted

    def running(self, fold: np.ufunc, column: Column, memory: Column) -> Column:
        """`fold` (maximum, minimum) over the points of a signal up to each, [k], beginning with `memory` [s]."""
        out = column.copy()
        out[self.start] = fold(out[self.start], self.last(memory))
        if len(self.start) < len(out):
            for a, b in pairwise([*self.start.tolist(), len(out)]):
                fold.accumulate(out[a:b], out=out[a:b])
        return out

    def windows(self, column: Column, memory: Column) -> Column:
        """Each point and the `w` of its signal before it, oldest first, [k, w + 1]; `memory` [s, w] is kept up."""
        w = memory.shape[1]
        which = np.repeat(np.arange(len(self.start)), self.end - self.start + 1)
        place = np.arange(len(column)) + (which + 1) * w
        line = np.empty(len(column) + len(self.start) * w, column.dtype)  # each signal: its memory, then its points
        line[place] = column
        line[(place[self.start] - w)[:, None] + np.arange(w)] = self.last(memory)
        # row i is line[i : i + w + 1], as sliding_window_view makes it in ten times the time
        rows: Column = np.ndarray((len(line) - w, w + 1), line.dtype, line, strides=line.strides * 2)
        found: Column = rows[place - w]
        memory[self.signal[self.end]] = found[self.end, 1:]
        return found

    def fresh(self, time: Times, newest: Times) -> Bools:
        """Whether a point is newer than all of its signal before it, [k]; `newest` [s] is brought up to date.

        A late point says nothing about the present, so the tests below leave it alone."""
        before = self.before(time, newest)
        fresh = time > before
        if not fresh.all():
            top = self.running(np.maximum, time, newest)
            fresh = time > self.before(top, newest)
            time = top
        self.keep(newest, time)
        return fresh


def _grouped(index: Places, signal: Places) -> Grouped:
    change = np.flatnonzero(signal[1:] != signal[:-1])
    if len(signal) == 0:
        return Grouped(index, signal, change, change)
    start = np.concatenate(([0], change + 1))
    return Grouped(index, signal, start, np.concatenate((change, [len(signal) - 1])))


def times(signals: Signals) -> Times:
    """A memory of stamps before anything was heard, [s]."""
    return np.full(len(signals), NEVER, np.int64)


def chosen(part: str, signals: Signals, only: Iterable[str], skip: Iterable[str]) -> Bools:
    """Which signals a test looks at, [s]: measured numbers, or those of `only`, without those of `skip`."""
    unknown = [name for name in (*only, *skip) if name not in signals]
    if unknown:
        raise ConfigError([f"{part}: unknown signal '{name}'{nearest(name, signals.names)}" for name in unknown])
    wanted = set(only) or {s.name for s in signals if s.type == "number" and s.role == "measured"}
    return np.array([name in wanted and name not in set(skip) for name in signals.names], bool)


def marked(batch: Batch, index: Places, code: int) -> Batch:
    """The batch with the points at `index` of quality `code`, or of their own where that is worse."""
    if len(index) == 0:
        return batch
    quality: Codes = batch.quality.copy()
    quality[index] = np.where(RANK[quality[index]] < RANK[code], code, quality[index])
    return replace(batch, quality=quality)


def usable(batch: Batch, which: Bools) -> Bools:
    """Points of the signals of `which` [s] that have a value to be judged, [n]."""
    found: Bools = which[batch.signal] & (batch.quality != BAD) & np.isfinite(batch.value)
    return found


def floats(signals: Signals, given: Mapping[str, float], part: str) -> Floats:
    """One number a signal, [s]: as given by name, else 0."""
    chosen(part, signals, given, ())
    return np.array([float(given.get(name, 0.0)) for name in signals.names])
