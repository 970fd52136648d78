"""A history, read so that the telemetry coming in never waits long for the store."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from gemel.core.clock import ticks
from gemel.core.errors import InputError
from gemel.core.units import SECOND, duration, instant
from gemel.core.values import Floats, Frame, Times

MOMENT = 0.05
"""Seconds that a read may keep the store to itself, about."""
HOUR = 3600 * SECOND
COARSEST = 2**58
"""Nanoseconds of a grid's step, nine years: a few of them before the first time there can be are still a time."""
CELLS = 5_000_000
"""The largest grid that is given out."""
ROWS = 20_000
"""Rows that means are taken of, at most."""


class Reading(Protocol):
    """What is needed of a desk."""

    twin: Any

    def newest(self) -> int:
        """The time of the newest point that was measured."""


def pieces(
    desk: Reading,
    signals: Sequence[str] | None = None,
    last: str | None = None,
    start: str | int | None = None,
    end: str | int | None = None,
    every: str | None = None,
) -> Iterator[Frame]:
    """A history in pieces that each keep the store busy for a moment only."""
    names = numbers(desk, signals) if every else list(signals or desk.twin.signals.names)
    for name in names:
        desk.twin.signals.place(name)
    span = duration(last) if last else None
    step = duration(every) if every else None
    stop = desk.newest() if end is None else instant(end)
    at = stop - span + 1 if span else (0 if start is None else instant(start))
    if step and step > COARSEST:
        raise InputError(f"a grid of '{every}' is too coarse", "ask for a shorter every")
    if step and not at:  # a grid begins where the history does
        at = _oldest(desk, names, stop)
    if step and (cells := (stop - at) // step * len(names)) > CELLS:
        raise InputError(f"a grid of {cells:,} cells is too large", "ask for a longer every, or a shorter time")
    width = min(max((stop - at) // 4, 1), HOUR)
    while True:
        cut = min(at + width, stop + 1)
        cut = -(-cut // step) * step if step and cut <= stop else cut
        began = ticks()
        yield desk.twin.store.window(names, at, min(cut - 1, stop), every=step)
        took, at = ticks() - began, cut
        width = width * 2 if took < MOMENT / 4 else max(int(width * MOMENT / took), 1) if took > MOMENT else width
        if at > stop:
            return


def numbers(desk: Reading, signals: Sequence[str] | None) -> list[str]:
    """The signals that were asked for, or all that can be averaged; raises `InputError` for a blob among them."""
    known = desk.twin.signals
    blobs = {s.name for s in known if s.type == "blob"}
    for name in signals or ():
        if name in blobs:
            raise InputError(
                f"'{name}' holds pictures or sounds: they have no mean", "ask for its points, without every"
            )
    return list(signals or [name for name in known.names if name not in blobs])


def some(ahead: Iterator[Frame]) -> tuple[list[Frame], bool]:
    """The next pieces, as many as come in a moment, and whether that was all."""
    began, found = ticks(), []
    for piece in ahead:
        found.append(piece)
        if ticks() - began > MOMENT / 4:
            return found, False
    return found, True


def joined(pieces: Sequence[Frame]) -> Frame:
    """The pieces as one frame."""
    if len(pieces) == 1:
        return pieces[0]
    return Frame(
        np.concatenate([p.time for p in pieces]),
        np.concatenate([p.values for p in pieces]),
        np.concatenate([p.quality for p in pieces]),
        pieces[0].signals,
    )


def means(window: Callable[..., Frame], names: Sequence[str], start: int, times: Times) -> dict[str, Floats] | None:
    """Means of the telemetry over each step, [t]; the first begins at `start`, which need not lie on the grid of the
    steps. NaN: nothing; None: the grid that has both would be too fine."""
    step = int(times[0]) - start
    every = math.gcd(step, start)
    if len(times) * step // every > ROWS:
        return None
    frame = window(names, start + every, int(times[-1]), every=every)
    cells = frame.values.reshape(len(times), step // every, len(names))
    count = np.isfinite(cells).sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = np.nansum(cells, axis=1) / np.where(count, count, np.nan)
    return {n: mean[:, i] for i, n in enumerate(names)}


def _oldest(desk: Reading, names: Sequence[str], stop: int) -> int:
    return next((int(piece.time[0]) for piece in pieces(desk, names, end=stop) if len(piece)), stop)
