"""Random numbers of simulators: repeatable, and a member's own however many stand beside it."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from gemel.core.values import Floats, Ints


def draw(seed: int, time: int, rows: int, members: int, columns: Ints | None = None) -> Floats:
    """Standard normal noise [rows, members] of the step that ends at `time`; a member's is the same among few or many.

    `columns` [members]: whose noise each member meets, where that is not its own place."""
    key = np.array([seed, time], np.int64).view(np.uint64)
    rng = np.random.Generator(np.random.Philox(key=key))  # a third of default_rng's cost
    if columns is None:
        return rng.standard_normal((members, rows)).T
    return rng.standard_normal((int(columns.max()) + 1, rows)).T[:, columns]


def exact(normal: Floats) -> Floats:
    """Standard normal draws [k, m] made to have mean 0 and covariance 1 exactly, where m allows it."""
    k, m = normal.shape
    if m < k + 2:
        return normal
    normal = normal - normal.mean(axis=1, keepdims=True)
    return np.asarray(np.linalg.solve(np.linalg.cholesky(normal @ normal.T / (m - 1)), normal), np.float64)


def cut(normal: Floats, mean: float, sd: float, low: float, high: float) -> Floats:
    """Standard normal draws [m] as draws of a normal distribution cut at `low` and `high`, in the same order."""
    if sd <= 0:
        return np.full_like(normal, mean)
    unit = NormalDist()
    below, above = unit.cdf((low - mean) / sd), unit.cdf((high - mean) / sd)
    shares = below + (above - below) * np.clip([unit.cdf(z) for z in normal], 1e-12, 1 - 1e-12)
    return np.clip([mean + sd * unit.inv_cdf(s) for s in np.clip(shares, 1e-300, 1 - 1e-16)], low, high)
