"""Series with a known future, as frames."""

from __future__ import annotations

import numpy as np

from gemel.core.units import duration
from gemel.core.values import BAD, GOOD, Floats, Frame


def frame(*columns: Floats, every: str = "15min") -> Frame:
    values = np.stack(columns, axis=1)
    quality = np.where(np.isfinite(values), GOOD, BAD).astype(np.uint8)
    time = duration(every) * np.arange(len(values), dtype=np.int64)
    return Frame(time, values, quality, tuple(f"s{i}" for i in range(values.shape[1])))


def noise(rows: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(rows)


def walk(rows: int, seed: int = 0) -> Floats:
    return np.cumsum(noise(rows, seed))


def daily(rows: int, steps: int = 96) -> Floats:
    return np.sin(2 * np.pi * np.arange(rows) / steps)
