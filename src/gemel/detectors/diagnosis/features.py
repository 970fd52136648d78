"""What residuals look like at an instant: how high, since when, how unsteady, whether they move at all.

Each is taken over a short and a long stretch, and beside the day before, so that what comes slowly (wear) can be told
from what came of late. Sizes are in the spread of a row, on a logarithmic scale.

Letters: t rows, c columns, f features, b windows (any number of leading axes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gemel.core.values import Bools, Floats

FEATURES = (
    "level", "change", "shift", "slope", "spread", "rough", "stuck", "missing", "aside", "alone", "lately alone",
    "rate", "slower rate", "rate before", "sure rate", "at rest", "with work",
)  # fmt: skip
OF_STATES = 3
"""A state has only the first of them."""
OF_ROUGHNESS = ("spread", "rough", "sure rate")
HALF = 0.25
"""A size up to which the scale is about linear."""
LITTLE = 0.02
"""Variance of the share of usual rows that keeps what it explains small where it hardly varies."""
FEW = 3
"""Rows of a stretch without which nothing is said of it."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """In rows: the `short` and the `long` stretch that end now, and the `base` before them."""

    short: int = 60
    long: int = 360
    base: int = 1440

    @property
    def rows(self) -> int:
        """How far back an instant looks."""
        return self.long + self.base


def features(
    residuals: Floats,
    values: Floats,
    aside: Bools,
    end: int,
    spans: Stretches,
    states: Bools,
    kin: Sequence[Sequence[int]],
    before: Floats | None = None,
    since: Bools | None = None,
    steps: Bools | None = None,
) -> Floats:
    """Features [..., c, f] at row `end` (the one after the last), of residuals and values [..., t, c].

    `aside` [..., t, c]: rows in which the asset does not do what it usually does. `states` [c]: which columns are
    states. `kin` [c]: the columns of the same quantity on other assets, against whose median a column is alone with
    what it shows. `before` [c]: the mean residual of the base, where the rows do not reach back to it.
    `since` [..., t, c]: rows since the asset was last mended. `steps` [c]: columns held from turn to turn, of whose
    roughness nothing is said. What there is too little of to be said is 0."""
    first, begin, late = max(end - spans.rows, 0), max(end - spans.long, 0), max(end - spans.short, 0)
    long = residuals[..., begin:end, :]
    there = np.isfinite(long)
    count = there.sum(axis=-2)
    filled = np.where(there, long, 0.0)
    level = _over(filled.sum(axis=-2), count)
    short = _mean(residuals[..., late:end, :])
    short = np.where(np.isfinite(short), short, level)
    if before is None:
        before = _mean(residuals[..., first:begin, :], spans.base // 24)
    base = np.nan_to_num(before)
    other = _mean(np.where(aside[..., begin:end, :], long, np.nan))
    third = spans.long // 3
    slope = _mean(long[..., -third:, :]) - _mean(long[..., :third, :])
    spread = np.sqrt(np.maximum(_over((filled**2).sum(axis=-2), count) - level**2, 1e-4))
    both = there[..., 1:, :] & there[..., :-1, :]
    rough = _over((np.abs(np.diff(filled, axis=-2)) * both).sum(axis=-2), both.sum(axis=-2))
    heard = np.isfinite(values[..., late:end, :])
    pairs = heard[..., 1:, :] & heard[..., :-1, :]
    with np.errstate(invalid="ignore"):
        still = (np.diff(values[..., late:end, :], axis=-2) == 0) & pairs
    stuck = _over(still.sum(axis=-2), pairs.sum(axis=-2))
    found = np.stack([
        _log(level), _log(short - base), _log(level - base), _log(slope),
        np.log(np.maximum(spread, 1e-2)), np.log(np.maximum(rough, 1e-2)), stuck, 1.0 - heard.mean(axis=-2),
        _log(other), _log(_alone(level, kin)), _log(_alone(short - base, kin)),
        *_rates(residuals[..., :end, :], aside[..., :end, :], since, spans),
        *_burdened(long, ~aside[..., :end, :], spans),
    ], axis=-1)  # fmt: skip
    kept = np.arange(len(FEATURES)) < np.where(states, OF_STATES, len(FEATURES))[:, None]
    if steps is not None:
        kept &= ~(steps[:, None] & np.isin(FEATURES, OF_ROUGHNESS))
    return np.asarray(np.where(kept, np.nan_to_num(found), 0.0))


def _rates(residuals: Floats, aside: Bools, since: Bools | None, spans: Stretches) -> list[Floats]:
    """How fast columns rise with every usual row (what wears does it by work, not by time), for `long` of these: over
    the long stretch, twice as long, before that, and how sure the second is, all [..., c]."""
    work = np.cumsum(~aside, axis=-2, dtype=float)
    good = np.isfinite(residuals) & ~aside
    if since is not None:
        good &= since[..., : good.shape[-2], :]
    filled = np.where(good, residuals, 0.0)
    late, least = 2 * spans.long, spans.long // 4
    parts = ((-spans.long, None, least), (-late, None, least), (-spans.rows, -late, 2 * least))
    found = [
        _line(work[..., a:b, :], filled[..., a:b, :], good[..., a:b, :], least) for a, b, least in parts
    ]  # (slope, sureness) each
    return [*(_log(slope * spans.long) for slope, _ in found), _log(found[1][1])]


def _burdened(residuals: Floats, work: Bools, spans: Stretches) -> list[Floats]:
    """What columns would be off by in the long stretch had there been no usual row lately, and how much more with
    nothing else: what is hot when it rests too is told from what is hot when it works."""
    short, n = spans.short, residuals.shape[-2]
    sums = np.cumsum(np.concatenate([np.zeros_like(work[..., :1, :], float), work], axis=-2), axis=-2)
    at = np.arange(work.shape[-2] - n, work.shape[-2])
    back = np.maximum(at + 1 - short, 0)
    busy = (sums[..., at + 1, :] - sums[..., back, :]) / np.maximum(at + 1 - back, 1)[:, None]
    good = np.isfinite(residuals)
    filled = np.where(good, residuals, 0.0)
    count = np.maximum(good.sum(axis=-2), 1)
    centre, middle = np.where(good, busy, 0.0).sum(axis=-2) / count, filled.sum(axis=-2) / count
    off = np.where(good, busy - centre[..., None, :], 0.0)
    slope = (off * filled).sum(axis=-2) / ((off**2).sum(axis=-2) + LITTLE * count)
    return [_log(middle - slope * centre), _log(slope)]


def _line(x: Floats, y: Floats, good: Bools, least: int) -> tuple[Floats, Floats]:
    """Slope of the least-squares line of the rows that are `good`, [..., c], and in its standard errors; 0 for few."""
    count = good.sum(axis=-2)
    n = np.maximum(count, 1)
    dx = np.where(good, x - (np.where(good, x, 0.0).sum(axis=-2) / n)[..., None, :], 0.0)
    dy = np.where(good, y - (y.sum(axis=-2) / n)[..., None, :], 0.0)
    square = np.maximum((dx**2).sum(axis=-2), 1e-9)
    slope = (dx * dy).sum(axis=-2) / square
    error = np.sqrt(np.maximum((dy**2).sum(axis=-2) / n - slope**2 * square / n, 1e-4) / square)
    enough = count >= least
    return np.where(enough, slope, 0.0), np.where(enough, slope / error, 0.0)


def _alone(sizes: Floats, kin: Sequence[Sequence[int]]) -> Floats:
    """Sizes [..., c] less the median of those of their kin; 0 for a column that has less than two."""
    sizes = np.nan_to_num(sizes)
    found = np.zeros_like(sizes)
    for i, others in enumerate(kin):
        if len(others) > 1:
            found[..., i] = sizes[..., i] - np.median(sizes[..., list(others)], axis=-1)
    return found


def base(residuals: Floats, end: int, spans: Stretches) -> Floats:
    """The mean residual of the base of row `end`, [c]; NaN where too little of it was heard."""
    return _mean(residuals[..., max(end - spans.rows, 0) : max(end - spans.long, 0), :], spans.base // 24)


def _mean(rows: Floats, least: int = FEW) -> Floats:
    there = np.isfinite(rows)
    return _over(np.where(there, rows, 0.0).sum(axis=-2), there.sum(axis=-2), least)


def _over(total: Floats, count: Floats, least: int = FEW) -> Floats:
    return np.asarray(np.where(count >= least, total / np.maximum(count, 1), np.nan))


def _log(size: Floats) -> Floats:
    return np.asarray(np.sign(size) * np.log1p(np.abs(size) / HALF))
