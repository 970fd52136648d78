"""What every forecaster does with its context: its spacing, its gaps, its season, and a Forecast made of numbers.

Letters in shapes: t rows of the context, s signals, h steps ahead, q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from gemel.core.errors import ConfigError, InputError
from gemel.core.units import SECOND, duration
from gemel.core.values import Bools, Floats, Forecast, Frame, Times

HOUR = 3600 * SECOND
DAY = 24 * HOUR


def spacing(context: Frame, known: Frame | None = None) -> int:
    """Nanoseconds between rows. One row alone has none: that of `known` is taken, else one hour."""
    times = context.time if len(context) > 1 or known is None else known.time
    return int(np.median(np.diff(times))) if len(times) > 1 else HOUR


def check(context: Frame, horizon: int, levels: Sequence[float]) -> None:
    """Raises `InputError` for what no forecaster can answer."""
    if not len(context):
        raise InputError("the context of the forecast has no rows", "wait for telemetry, or widen the window")
    if horizon < 1:
        raise InputError(f"a horizon of {horizon} steps is not ahead", "ask for 1 step or more")
    if not levels or any(not 0.0 < p < 1.0 for p in levels) or any(np.diff(levels) <= 0):
        raise InputError(f"levels {list(levels)} do not rise between 0 and 1", "write levels such as 0.1, 0.5, 0.9")


def answer(values: Floats, context: Frame, levels: Sequence[float], by: str, known: Frame | None = None) -> Forecast:
    """A Forecast of values [s, h, q]; levels that cross are put in order."""
    ordered = np.sort(values, axis=2).astype(np.float32)
    step = spacing(context, known)
    issued = int(context.time[-1])
    time: Times = issued + step * np.arange(1, values.shape[1] + 1, dtype=np.int64)
    return Forecast(time, tuple(levels), ordered, context.signals, issued, by)


def bell(middle: Floats, deviation: Floats, levels: Sequence[float]) -> Floats:
    """Normal quantiles [s, h, q] around middle [s, h] with standard deviation [s, h]."""
    return middle[:, :, None] + deviation[:, :, None] * scores(tuple(levels))


@lru_cache(maxsize=64)
def scores(levels: tuple[float, ...]) -> Floats:
    """The standard normal quantile of each level, [q]."""
    return np.array([NormalDist().inv_cdf(p) for p in levels])


def filled(values: Floats) -> Floats:
    """Gaps bridged by straight lines, the ends held; a column without one finite value stays NaN. [t, s]"""
    finite = np.isfinite(values)
    if finite.all():
        return values
    out = np.where(finite, values, np.nan)
    rows = np.arange(len(values))
    for i in np.nonzero(finite.any(axis=0) & ~finite.all(axis=0))[0]:
        out[:, i] = np.interp(rows, rows[finite[:, i]], values[finite[:, i], i])
    return out


def deviation(values: Floats, lag: int = 1) -> Floats:
    """Root mean square of the differences over `lag` rows of [t, s], gaps skipped, never zero; [s]."""
    known = np.where(np.isfinite(values), values, np.nan)
    moves = known[lag:] - known[:-lag]
    count = np.isfinite(moves).sum(axis=0)
    found = np.sqrt(np.nan_to_num(moves**2).sum(axis=0) / np.maximum(count, 1))
    return never_zero(found, count, filled(values)[-1])


def never_zero(found: Floats, count: npt.ArrayLike, level: Floats) -> Floats:
    """Deviations from `count` differences each, or a guess: a signal that has been constant may vary by a thousandth
    of its level, one seen once by a tenth. [s]"""
    size = np.where(level == 0, 1.0, np.abs(level))
    return np.where(found > 1e-12 * size, found, size * np.where(np.asarray(count) > 0, 1e-3, 0.1))


def period(season: str | int, where: str) -> str | int:
    """Checks a `season` argument: `"auto"`, a duration, or a number of steps."""
    if isinstance(season, str):
        if season != "auto":
            try:
                duration(season)
            except InputError as error:
                raise ConfigError([f"{where}: season: {error.message}"], error.hint) from None
    elif season < 1:
        raise ConfigError([f"{where}: season {season} must be 1 or more steps"], 'or write "auto" or "24h"')
    return season


def periods(season: str | int, values: Floats, step: int) -> list[int]:
    """The steps of a season of each column of filled values [t, s]; 1 where there is none."""
    if season == "auto":
        return detect(values, step)
    steps = season if isinstance(season, int) else max(round(duration(season) / step), 1)
    return [steps] * values.shape[1]


def detect(values: Floats, step: int) -> list[int]:
    """The season of each column, in steps: the calendar's (day, week, year) where autocorrelation bears it out,
    else the shortest lag whose autocorrelation is a peak of at least 0.3 and nearly the highest, else 1."""
    t, s = values.shape
    most = t // 3
    if most < 2:
        return [1] * s
    rho = autocorrelation(detrended(values), most)
    calendar = [m for m in _calendar(step) if m <= most]
    return [_season(rho[:, i], calendar, t) for i in range(s)]


def autocorrelation(values: Floats, lags: int) -> Floats:
    """Autocorrelation at lags 0 .. `lags` of each column of [t, s]; 0 for a constant or unknown one."""
    t = len(values)
    centred = values - values.mean(axis=0)
    size = 1 << (t + lags).bit_length()  # long enough that no wanted lag wraps around
    spectrum = np.fft.rfft(centred, size, axis=0)
    cover = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, size, axis=0)[: lags + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        rho: Floats = np.where(cover[0] > 1e-12 * t * values.mean(axis=0) ** 2, cover / cover[0], 0.0)
    return np.nan_to_num(rho)


def detrended(values: Floats) -> Floats:
    """Columns less their straight line."""
    x = np.arange(len(values)) - (len(values) - 1) / 2
    slope = (x @ (values - values.mean(axis=0))) / max(float(x @ x), 1.0)
    rest: Floats = values - x[:, None] * slope
    return rest


def seasonal(rho: Floats, m: int, t: int) -> bool:
    """The seasonality test of the M3 and M4 competitions: |r_m| > 1.645 sqrt((1 + 2 sum r_i^2) / t), i < m."""
    limit = 1.645 * np.sqrt((1.0 + 2.0 * float(rho[1:m] @ rho[1:m])) / t)
    return bool(1 < m < len(rho) and abs(rho[m]) > limit)


def _calendar(step: int) -> list[int]:
    if step >= DAY:
        days = step / DAY
        table = {1: (0.9, 1.1, 7), 7: (6.5, 7.5, 52), 30: (28, 31.1, 12), 91: (89, 93, 4)}
        return [m for low, high, m in table.values() if low <= days <= high]
    return [length // step for length in (DAY, 7 * DAY) if length % step == 0 and length // step > 1]


def _season(rho: Floats, calendar: Sequence[int], t: int) -> int:
    inner = rho[1:-1]
    peaks: Bools = (inner >= rho[:-2]) & (inner > rho[2:]) & (inner >= 0.3)
    fair = rho * t / (t - np.arange(len(rho)))  # the sums behind long lags have fewer terms
    lags = [int(k) + 1 for k in np.nonzero(peaks)[0] if k > 0]
    best = max((float(fair[k]) for k in lags), default=0.0)
    # with three seasons of a smooth cycle the test sees nothing: the lags before m are as high as m itself
    passed = [m for m in calendar if rho[m] > 0 and (seasonal(rho, m, t) or fair[m] >= 0.7)]
    top = max((float(fair[m]) for m in passed), default=0.0)
    if passed and top >= 0.8 * best:  # the day before the week, unless the week is clearly better
        return next(m for m in passed if fair[m] >= top - 0.1)
    return next((k for k in lags if fair[k] >= 0.9 * best), 1)
