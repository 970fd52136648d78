"""The newest value of each signal, as columns: what is asked most often, by everybody who looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gemel.core.values import Codes, Floats, Signals, Times


def newest(store: Any, known: Signals, signals: Sequence[str]) -> tuple[Times, Floats, Codes]:
    """The newest usable value of each signal: times (0: never heard), values (NaN) and qualities, columns [s]. Raises
    `InputError` for a signal that is not known. A store that has them at hand says so by a method `each(signals)`."""
    for name in signals:
        known.place(name)
    if hasattr(store, "each"):
        time, value, quality = store.each(signals)
        return time, value, quality
    found = [store.latest([name]) for name in signals]
    value = np.array([f.values[0, 0] for f in found], np.float64)
    time = np.array([f.time[0] for f in found], np.int64)
    return np.where(np.isfinite(value), time, 0), value, np.array([f.quality[0, 0] for f in found], np.uint8)
