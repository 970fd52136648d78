"""Signals on one scale, and stretches of them. Letters: t rows, c signals, w window."""

from __future__ import annotations

from copy import copy
from typing import Any, TypeVar

import numpy as np

from gemel.core.values import Floats

S = TypeVar("S")


def abreast(one: S, windows: Floats, **fresh: Any) -> tuple[S, Floats]:
    """A statistic whose memory is arrays [..., c] of signals that do not concern each other, made to judge windows
    [b, t, c] side by side: a copy of it with b c signals and the memory `fresh`, and the rows [t, b c]."""
    b, t, c = windows.shape
    other = copy(one)
    for name, held in vars(one).items():
        if isinstance(held, np.ndarray):
            setattr(other, name, np.tile(held, (1,) * (held.ndim - 1) + (b,)))
    vars(other).update(fresh)
    return other, windows.transpose(1, 0, 2).reshape(t, b * c)


def apiece(scores: Floats, b: int) -> Floats:
    """What such a copy says, [t, b c], by window: [b, t, c]."""
    return scores.reshape(len(scores), b, -1).transpose(1, 0, 2)


FAR = 1000.0
"""Interquartile ranges from the median beyond which a reading is none."""


def standard(values: Floats) -> tuple[Floats, Floats]:
    """Centre and scale of every column, [c]; a constant one is scaled by what its size suggests, an empty one has none
    (NaN): what comes later is no evidence."""
    there = np.isfinite(values)
    count = np.maximum(there.sum(axis=0), 1)
    centre = np.where(there, values, 0.0).sum(axis=0) / count
    scale = np.sqrt((np.where(there, values - centre, 0.0) ** 2).sum(axis=0) / count)
    floor = np.maximum(np.abs(centre) * 1e-9, 1e-12)
    centre = np.where(there.any(axis=0), centre, np.nan)
    return centre, np.where(scale > floor, scale, np.where(np.abs(centre) > 0, np.abs(centre) * 0.01, 1.0))


def plausible(values: Floats) -> Floats:
    """The rows of a normal time, [t, c], without readings that are absurdly far from the rest (NaN): a single one would
    make all that comes later look small."""
    out = values.copy()
    for i in np.flatnonzero(np.isfinite(values).any(axis=0)):
        column = values[np.isfinite(values[:, i]), i]
        low, middle, high = np.quantile(column, (0.25, 0.5, 0.75))
        if high > low:
            out[np.abs(values[:, i] - middle) > FAR * (high - low), i] = np.nan
    return out


def stretches(recent: Floats, z: Floats, window: int) -> tuple[Floats, Floats]:
    """The stretch of `window` rows that ends at each row of `z`, [t, w, c], and the rows to remember, [w - 1, c].

    `recent` are the rows remembered last time; without any, the first row is taken to have stood before.
    """
    head = recent if len(recent) == window - 1 else np.repeat(z[:1], window - 1, axis=0)
    rows = np.vstack([head, z])
    if not len(z):
        return np.empty((0, window, z.shape[1])), recent
    view = np.lib.stride_tricks.sliding_window_view(rows, window, axis=0)  # [t, c, w]
    return view.transpose(0, 2, 1), rows[len(rows) - window + 1 :]
