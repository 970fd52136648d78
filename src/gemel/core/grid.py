"""Points to frames: the union of stamps, or a regular grid with gaps filled and flagged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gemel.core.values import BAD, GOOD, IMPUTED, UNCERTAIN, Codes, Floats, Frame, Ints, Times

HOLD = 4
"""A gap of up to this many grid steps is filled with the last value (flagged `IMPUTED`); a longer one is missing."""


def newest(signal: Ints, time: Times) -> Ints:
    """Places of the last-arrived point of each (signal, time), by signal then time. Points come in arrival order."""
    order = np.lexsort((time, signal))  # stable: equal keys keep their arrival order
    s, t = signal[order], time[order]
    last = np.ones(len(order), bool)
    last[:-1] = (s[1:] != s[:-1]) | (t[1:] != t[:-1])
    return order[last].astype(np.int32)


def union(
    signal: Ints, time: Times, value: Floats, quality: Codes, places: Sequence[int], names: Sequence[str]
) -> Frame:
    """All stamps of any of the signals; where a signal has no point it is NaN and `BAD`. Points of one time come in
    arrival order: the last one of a signal stands."""
    if np.any(time[1:] < time[:-1]):
        order = np.argsort(time, kind="stable")
        signal, time, value, quality = signal[order], time[order], value[order], quality[order]
    fresh = np.ones(len(time), bool)
    fresh[1:] = time[1:] != time[:-1]
    stamps = time[fresh]
    values = np.full((len(stamps), len(places)), np.nan)
    codes = np.full((len(stamps), len(places)), BAD, np.uint8)
    cell = (np.cumsum(fresh) - 1) * len(places) + _columns(signal, places)
    values.ravel()[cell] = value  # of an index that comes twice the last one is kept
    codes.ravel()[cell] = quality
    return Frame(stamps, values, codes, tuple(names))


def regular(
    signal: Ints,
    time: Times,
    value: Floats,
    quality: Codes,
    places: Sequence[int],
    names: Sequence[str],
    start: int,
    end: int,
    every: int,
    hold: int = HOLD,
) -> Frame:
    """Grid times are multiples of `every` in [start, end]; a cell is the mean of the usable points of (g - every, g].

    Bad points do not count. An empty cell takes the last usable value of the signal if it is at most `hold` steps old.
    """
    first = -(-start // every) * every
    grid = first + every * np.arange(max((end - first) // every + 1, 0), dtype=np.int64)
    t, s = len(grid), len(places)
    total, count, doubt = np.zeros((t, s)), np.zeros((t, s)), np.zeros((t, s))
    keep = newest(signal, time)
    keep = keep[(quality[keep] != BAD) & np.isfinite(value[keep])]
    row = -((first - time[keep]) // every)  # ceil of (time - first) / every
    column = _columns(signal[keep], places)
    inside = (row >= 0) & (row < t)
    row, column, keep = row[inside], column[inside], keep[inside]
    np.add.at(total, (row, column), value[keep])
    np.add.at(count, (row, column), 1.0)
    np.add.at(doubt, (row, column), quality[keep] != GOOD)
    with np.errstate(invalid="ignore"):
        values = total / count  # NaN where the cell is empty
    codes = np.where(count == 0, BAD, np.where(doubt > 0, UNCERTAIN, GOOD)).astype(np.uint8)
    if hold and t:
        fill(values, codes, hold)
    return Frame(grid, values, codes, tuple(names))


def held(values: Floats) -> Floats:
    """Gaps take the value before, those at the beginning the first; [t] or [t, s]. What was never heard stays NaN."""
    if not len(values):
        return values
    rows = np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    there = np.isfinite(values)
    last = np.maximum.accumulate(np.where(there, rows, -1), axis=0)
    return np.asarray(np.take_along_axis(values, np.where(last < 0, there.argmax(axis=0), last), axis=0))


def fill(values: Floats, quality: Codes, hold: int) -> None:
    """In place: hold the last value over gaps of up to `hold` rows, flagged `IMPUTED`."""
    rows = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, rows), axis=0)
    gap = np.isnan(values) & (last >= 0) & (rows - last <= hold)
    r, c = np.nonzero(gap)
    values[r, c] = values[last[r, c], c]
    quality[r, c] = IMPUTED


def _columns(signal: Ints, places: Sequence[int]) -> Ints:
    table = np.full(max(max(places, default=0), int(signal.max(initial=0))) + 1, -1, np.int32)
    table[list(places)] = np.arange(len(places), dtype=np.int32)
    return table[signal]
