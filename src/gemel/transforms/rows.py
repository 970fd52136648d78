"""What the views stand on: the cells of a frame that can be used, and the rows before each row."""

from __future__ import annotations

import numpy as np

from gemel.core import grid
from gemel.core.values import BAD, Floats, Frame


def seen(frame: Frame) -> Floats:
    """The values [t, s] with bad cells as NaN; a copy."""
    return np.where((frame.quality != BAD) & np.isfinite(frame.values), frame.values, np.nan)


def trailing(values: Floats, window: int) -> Floats:
    """Each row and the `window` - 1 before it, oldest first, [t, s, window]; NaN before the first row."""
    if len(values) == 0:
        return np.empty((0, values.shape[1], window))
    padded = np.concatenate((np.full((window - 1, values.shape[1]), np.nan), values))
    found: Floats = np.lib.stride_tricks.sliding_window_view(padded, window, axis=0)
    return found


def held(values: Floats) -> Floats:
    """Gaps filled with the last value; a copy."""
    filled = values.copy()
    grid.fill(filled, np.zeros(values.shape, np.uint8), len(values))
    return filled
