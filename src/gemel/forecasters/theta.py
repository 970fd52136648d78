"""The Theta method: simple exponential smoothing with half the trend, on seasonally adjusted values.

Letters: a smoothing constant, b slope of the straight line through the context, m steps of a season,
t rows, s signals, k smoothing constants tried.
Sources: Assimakopoulos and Nikolopoulos 2000, Int. J. Forecasting 16; Hyndman and Billah 2003, Int. J. Forecasting 19
(the form used here); classical decomposition and the seasonality test as in the M3 and M4 competitions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gemel.core.values import DECILES, Floats, Forecast, Frame
from gemel.forecasters.context import (
    answer,
    autocorrelation,
    bell,
    check,
    filled,
    never_zero,
    period,
    periods,
    seasonal,
    spacing,
)

_CONSTANTS = np.array([0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99])
_BLOCK = 64  # rows smoothed by one product of matrices


class Theta:
    """The Theta method; seasonal where a test says so.

    - `season`: `"24h"`, a number of steps, or `"auto"` (found by autocorrelation, a signal at a time).

    Seasonal adjustment is by classical decomposition: multiplicative for values well above zero whose swing follows
    their level, else additive. The smoothing constant is the one with the least one-step error in the context; bands
    are those of the method's state space form.
    """

    def __init__(self, season: str | int = "auto") -> None:
        self.season = period(season, "theta")

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        check(context, horizon, levels)
        values = filled(context.values)
        t, s = values.shape
        adjusted = values.copy()
        found = periods(self.season, values, spacing(context, known))
        plus, times = np.zeros((s, horizon)), np.ones((s, horizon))
        for m in sorted({m for m in found if 1 < m <= t // 2}):
            rho = autocorrelation(values, m)
            for i in (i for i in range(s) if found[i] == m and seasonal(rho[:, i], m, t)):
                index, ratio = _indices(values[:, i], m)
                phase = index[np.arange(t + horizon) % m]
                if ratio:
                    adjusted[:, i] /= phase[:t]
                    times[i] = phase[t:]
                else:
                    adjusted[:, i] -= phase[:t]
                    plus[i] = phase[t:]
        middle, spread = _smooth(adjusted, horizon)
        return answer(bell(middle * times + plus, spread * times, levels), context, levels, "theta", known)


def _indices(y: Floats, m: int) -> tuple[Floats, bool]:
    """Seasonal index by phase [m], and whether it multiplies."""
    width = np.ones(m + 1 - m % 2)
    if m % 2 == 0:
        width[[0, -1]] = 0.5
    half = len(width) // 2
    trend = np.convolve(y, width / m, "valid")
    phase = np.arange(half, half + len(trend)) % m
    count = np.maximum(np.bincount(phase, minlength=m), 1)
    rest = y[half : half + len(trend)] - trend
    swing = np.abs(rest)
    if y.min() > 0.05 * y.mean() and np.corrcoef(swing, trend)[0, 1] > 0.2:
        index = np.bincount(phase, rest / trend + 1.0, m) / count
        index /= index.mean()
        if index.min() > 0.1:
            return index, True
    index = np.bincount(phase, rest, m) / count
    return index - index.mean(), False


def _smooth(y: Floats, horizon: int) -> tuple[Floats, Floats]:
    """Middle and standard deviation [s, h] of columns y [t, s]."""
    t, s = y.shape
    x = np.arange(t) - (t - 1) / 2
    b = x @ (y - y.mean(axis=0)) / max(float(x @ x), 1.0)
    level, error = _levels(y)  # [k, s], [k, s]
    best = np.argmin(np.nan_to_num(error, nan=np.inf), axis=0)
    pick = (best, np.arange(s))
    a, last = _CONSTANTS[best], level[pick]
    ahead = np.arange(horizon)
    drift = 0.5 * b[:, None] * (ahead + ((1.0 - (1.0 - a) ** t) / a)[:, None])
    sigma = never_zero(np.sqrt(error[pick]), t - 1, y[-1])
    return last[:, None] + drift, sigma[:, None] * np.sqrt(1.0 + ahead * (a**2)[:, None])


def _levels(y: Floats) -> tuple[Floats, Floats]:
    """The last level and the mean squared one-step error of every smoothing constant, [k, s] each.

    The recursion level += a (y - level) runs in blocks: within a block all levels are one triangular product.
    """
    t = len(y)
    a = _CONSTANTS[:, None]
    n = min(_BLOCK, t)
    lag = np.arange(n)[:, None] - np.arange(n)
    keep = (1.0 - a) ** np.arange(1, n + 1)  # [k, n], what remains of the level before the block
    weights = np.where(lag >= 0, a[:, :, None] * (1.0 - a[:, :, None]) ** np.maximum(lag, 0), 0.0)  # [k, n, n]
    level = np.repeat(y[:1], len(a), axis=0)
    square = np.zeros_like(level)
    for start in range(0, t, n):
        block = y[start : start + n]
        r = len(block)
        path = weights[:, :r, :r] @ block + keep[:, :r, None] * level[:, None]  # [k, r, s]
        before = np.concatenate([level[:, None], path[:, :-1]], axis=1)
        square += ((block - before) ** 2).sum(axis=1)
        level = path[:, -1]
    return level, square / max(t - 1, 1)
