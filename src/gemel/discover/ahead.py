"""The history of a few series on one grid, for a first forecast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gemel.core.grid import regular
from gemel.core.values import GOOD, Frame
from gemel.discover.series import Series

_BACK = 4096  # rows


def history(series: Sequence[Series], names: Sequence[str], every: int) -> Frame | None:
    """The newest rows, `every` ns apart; None when there are no values."""
    held = [s for s in series if len(s)]
    if not held:
        return None
    end = max(int(s.time[-1]) for s in held)
    start = max(end - _BACK * every, min(int(s.time[0]) for s in held))
    signal = np.concatenate([np.full(len(s), i, np.int32) for i, s in enumerate(series)])
    time = np.concatenate([s.time for s in series])
    value = np.concatenate([s.value for s in series])
    quality = np.full(len(value), GOOD, np.uint8)
    last = -(-end // every) * every  # the newest points belong to the cell that ends after them
    return regular(signal, time, value, quality, range(len(series)), names, start, last, every)
