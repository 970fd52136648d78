"""What residuals look like at an instant: how high, since when, how unsteady, whether they move at all.

Each is taken over a short and a long stretch, and beside the day before, so that what comes slowly (wear) can be told
from what came of late. Sizes are in the spread of a row, on a logarithmic scale.

Letters: t rows, c columns, e instants, f features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gemel.core.values import Floats, Ints

FEATURES = ("level", "change", "shift", "slope", "spread", "rough", "stuck", "missing")
OF_STATES = 3
"""A state has only the first of them."""
HALF = 0.25
"""A size up to which the scale is about linear."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """In rows: the `short` and the `long` stretch that end now, and the `base` before them."""

    short: int = 60
    long: int = 360
    base: int = 1440

    @property
    def rows(self) -> int:
        """How far back an instant looks."""
        return self.long + self.base + 1


def features(residuals: Floats, values: Floats, ends: Ints, spans: Stretches, states: int | Floats = 0) -> Floats:
    """Features [e, c, f] at `ends` (the row after the last one of each), of residuals and values [t, c].

    `states`: [c], 1 for a column that is a state. What there is too little of to be said is 0."""
    there = np.isfinite(residuals)
    sums = _sums(np.where(there, residuals, 0.0))
    squares = _sums(np.where(there, residuals, 0.0) ** 2)
    counts = _sums(there.astype(float))
    heard = np.isfinite(values)
    moves = np.zeros_like(residuals)
    both = np.zeros_like(there)
    both[1:] = there[1:] & there[:-1]
    moves[1:] = np.where(both[1:], np.abs(np.diff(np.where(there, residuals, 0.0), axis=0)), 0.0)
    still = np.zeros_like(residuals)
    pairs = np.zeros_like(there)
    pairs[1:] = heard[1:] & heard[:-1]
    still[1:] = pairs[1:] & (values[1:] == values[:-1])
    moved, movable, stood, paired, known = (_sums(x.astype(float)) for x in (moves, both, still, pairs, heard))
    end = np.asarray(ends)
    short, long, base = end - spans.short, end - spans.long, end - spans.long - spans.base
    third = spans.long // 3

    def mean(of: Floats, by: Floats, a: Ints, b: Ints, least: float) -> Floats:
        a, b = np.maximum(a, 0), np.maximum(b, 0)
        n = by[b] - by[a]
        return np.asarray(np.where(n >= least, (of[b] - of[a]) / np.maximum(n, 1), np.nan))

    few = 3.0
    level = mean(sums, counts, long, end, few)
    late = mean(sums, counts, short, end, few)
    before = np.nan_to_num(mean(sums, counts, base, long, spans.base / 24))
    late = np.where(np.isfinite(late), late, level)
    square = mean(squares, counts, long, end, few)
    spread = np.sqrt(np.maximum(square - level**2, 1e-4))
    slope = mean(sums, counts, end - third, end, few) - mean(sums, counts, long, long + third, few)
    rough = mean(moved, movable, long, end, few)
    stuck = mean(stood, paired, short, end, few)
    missing = 1.0 - (known[end] - known[np.maximum(short, 0)]) / spans.short
    found = np.stack([
        _log(level), _log(late - before), _log(level - before), _log(slope),
        np.log(np.maximum(spread, 1e-2)), np.log(np.maximum(rough, 1e-2)), stuck, missing,
    ], axis=2)  # fmt: skip
    found = np.nan_to_num(found)
    return np.asarray(found * np.where(np.arange(len(FEATURES)) < OF_STATES, 1.0, 1.0 - _flag(states, residuals)))


def _flag(states: int | Floats, residuals: Floats) -> Floats:
    flags = np.zeros(residuals.shape[1]) if isinstance(states, int) else states
    return np.asarray(flags, float)[:, None]


def _sums(rows: Floats) -> Floats:
    return np.vstack([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])


def _log(size: Floats) -> Floats:
    return np.asarray(np.sign(size) * np.log1p(np.abs(size) / HALF))
