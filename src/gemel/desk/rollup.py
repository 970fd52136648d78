"""A history at the width of a screen: cells of equal length, or the points themselves where there are few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gemel.core.errors import InputError
from gemel.core.rollup import Rolls, Rollup, rolled, together
from gemel.core.units import instant
from gemel.core.values import BAD, Frame
from gemel.desk.history import Reading, numbers, pieces

MOST = 10_000
"""Cells that are given out for a signal."""
SIGNALS = 50
"""Signals that are given out at a time."""


def rollup(
    desk: Reading,
    signals: Sequence[str] | None,
    start: str | int | None = None,
    end: str | int | None = None,
    points: int = 1200,
) -> dict[str, Any]:
    """`start`, `end`, `every` (width of a cell, ns) and `series`: a column set a signal, `raw` where they are the
    points themselves. Cells lie on multiples of `every`, so that a chart that moves on does not flicker."""
    names = numbers(desk, signals) if signals else numbers(desk, None)[:SIGNALS]
    for name in names:
        desk.twin.signals.place(name)
    if not 1 <= points <= MOST:
        raise InputError(f"points {points} must be from 1 to {MOST:,}", "1200 are as many as a screen shows")
    if len(names) > SIGNALS:
        raise InputError(f"{len(names)} signals are too many at a time", f"ask for {SIGNALS} at most")
    stop = desk.newest() if end is None else instant(end)
    begin = min((e["start"] for e in extent(desk, names) if e["points"]), default=stop) if start is None else start
    begin = instant(begin)
    if begin > stop:
        raise InputError("start lies after end", "a roll-up goes from start to end")
    if stop - begin >= 2**62:
        raise InputError("start and end lie too far apart", "a roll-up spans 146 years at most")
    width = max(-(-(stop - begin) // points), 1)
    first = begin // width * width
    cells = (stop - first) // width + 1
    found = _rolled(desk, names, first, width, cells)
    return {"start": begin, "end": stop, "every": width, "series": [
        _series(desk, name, one, begin, stop, first, width, points) for name, one in zip(names, found, strict=True)
    ]}  # fmt: skip


def extent(desk: Reading, signals: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """How far the history of each signal reaches: `signal`, `start`, `end` (None for one never heard), `points`."""
    names = list(signals or desk.twin.signals.names)
    store = desk.twin.store
    if isinstance(store, Rolls):
        return [
            {"signal": name, "start": oldest, "end": newest, "points": count} if count else _never(name)
            for name, (oldest, newest, count) in zip(names, store.extent(names), strict=True)
        ]
    found = []
    for name in names:
        held = store.window([name], 0, 2**62)
        ends = {"start": int(held.time[0]), "end": int(held.time[-1])} if len(held) else {}
        found.append({"signal": name, **ends, "points": len(held)} if ends else _never(name))
    return found


def _never(name: str) -> dict[str, Any]:
    return {"signal": name, "start": None, "end": None, "points": 0}


def _rolled(desk: Reading, names: Sequence[str], first: int, width: int, cells: int) -> list[Rollup]:
    if isinstance(desk.twin.store, Rolls):
        return desk.twin.store.rollup(names, first, width, cells)
    nothing = np.zeros(0)
    none = rolled(nothing.astype(np.int64), nothing, nothing.astype(np.uint8), first, width, cells)
    found = [none] * len(names)
    for piece in pieces(desk, names, start=first, end=first + width * cells - 1):
        for i in range(len(names)):
            time, value, quality = _own(piece, i)
            found[i] = together(found[i], rolled(time, value, quality, first, width, cells))
    return found


def _own(frame: Frame, i: int) -> tuple[Any, Any, Any]:
    """The points of one signal: on the union of stamps a cell without one is NaN and bad."""
    there = ~(np.isnan(frame.values[:, i]) & (frame.quality[:, i] == BAD))
    return frame.time[there], frame.values[there, i], frame.quality[there, i]


def _series(
    desk: Reading, name: str, one: Rollup, begin: int, stop: int, first: int, width: int, points: int
) -> dict[str, Any]:
    """The columns of a signal; there may be few enough points to give them as they are."""
    if int((one.count + one.bad).sum()) <= points:
        frame = desk.twin.store.window([name], begin, stop)
        usable = (frame.quality[:, 0] != BAD) & np.isfinite(frame.values[:, 0])
        value, good = np.where(usable, frame.values[:, 0], np.nan), usable.astype(np.int64)
        time, one, raw = frame.time, Rollup(value, value, value, good, 1 - good), True
    else:
        time, raw = first + width * np.arange(len(one.count), dtype=np.int64), False
    return {
        "signal": name, "raw": raw, "time": time, "min": one.low, "mean": one.mean, "max": one.high,
        "count": one.count, "bad": one.bad,
    }  # fmt: skip
