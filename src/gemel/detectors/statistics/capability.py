"""Capability of a process: how its spread and place compare with what is specified, and how sure that is.

Cp, Cpk speak of the spread within samples (what the process could do), Pp, Ppk of the spread over all (what it did).

Letters: n values, f degrees of freedom of the spread, z normal quantile.
Sources: Kane 1986, Journal of Quality Technology 18; Montgomery 2013, Introduction to Statistical Quality Control,
chapter 8; interval of Cp from chi-squared, there 8.3.5; of Cpk and Ppk, and degrees of freedom of a spread from ranges,
Bissell 1990, Applied Statistics 39; of one from moving ranges, Cryer and Ryan 1990, Journal of Quality Technology 22.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from gemel.core.errors import InputError
from gemel.core.values import Floats
from gemel.detectors.statistics.samples import c4, chi2_quantile, d2

Interval = tuple[float, float, float]
"""Estimate, and the ends of its confidence interval."""


@dataclass(frozen=True, slots=True)
class Capability:
    """The indices with their confidence intervals; `cp` and `pp` are NaN where only one side is specified."""

    cp: Interval
    cpk: Interval
    pp: Interval
    ppk: Interval
    within: float  # standard deviation within samples
    overall: float
    mean: float
    n: int


def capability(
    values: Floats, lower: float | None, upper: float | None, subgroup: int = 1, confidence: float = 0.95
) -> Capability:
    """Of values in the order in which they were made, [n]; NaN is left out. `subgroup` values in a row are a sample;
    for 1 the spread within is that of neighbours (the mean moving range).

    Raises `InputError` where nothing is specified, or fewer than 10 values are there, or they do not move.
    """
    x = values[np.isfinite(values)]
    if lower is None and upper is None:
        raise InputError("capability needs a lower or an upper limit", "give one: upper = 10.2")
    if lower is not None and upper is not None and lower >= upper:
        raise InputError(f"the lower limit {lower:g} is not below the upper {upper:g}", "swap them")
    n = len(x)
    if n < 10 * subgroup or not float(np.std(x)) > 0:
        raise InputError(f"capability needs {10 * subgroup} values that differ; there are {n}", "wait for more")
    within, f = _within(x, subgroup)
    overall, mean = float(np.std(x, ddof=1)), float(x.mean())
    return Capability(
        _whole(lower, upper, within, f, confidence),
        _nearer(lower, upper, mean, within, n, f, confidence),
        _whole(lower, upper, overall, n - 1.0, confidence),
        _nearer(lower, upper, mean, overall, n, n - 1.0, confidence),
        within, overall, mean, n,
    )  # fmt: skip


def _within(x: Floats, subgroup: int) -> tuple[float, float]:
    """Spread within samples, and its degrees of freedom."""
    if subgroup == 1:
        moves = np.abs(np.diff(x))
        return max(float(moves.mean()) / d2(2), 1e-300), 0.62 * (len(x) - 1)
    rows = x[: len(x) // subgroup * subgroup].reshape(-1, subgroup)
    spread = float(rows.std(axis=1, ddof=1).mean()) / c4(subgroup)
    return max(spread, 1e-300), 0.9 * len(rows) * (subgroup - 1)


def _whole(lower: float | None, upper: float | None, sd: float, f: float, confidence: float) -> Interval:
    if lower is None or upper is None:
        return math.nan, math.nan, math.nan
    found, rest = (upper - lower) / (6.0 * sd), (1.0 - confidence) / 2.0
    ends = (math.sqrt(chi2_quantile(p, f) / f) for p in (rest, 1.0 - rest))
    return found, found * next(ends), found * next(ends)


def _nearer(
    lower: float | None, upper: float | None, mean: float, sd: float, n: int, f: float, confidence: float
) -> Interval:
    sides = [(upper - mean) if upper is not None else math.inf, (mean - lower) if lower is not None else math.inf]
    found = min(sides) / (3.0 * sd)
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    off = z * math.sqrt(1.0 / (9.0 * n) + found * found / (2.0 * f))
    return found, found - off, found + off
