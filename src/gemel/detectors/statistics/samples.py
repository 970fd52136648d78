"""What the ranges and deviations of small samples of a normal variable say about its spread.

Letters: n values in a sample, S their standard deviation, R their range, f degrees of freedom.
Sources: the distribution of the range, Tippett 1925, Biometrika 17; the tables of d2, d3, c4, Montgomery 2013,
Introduction to Statistical Quality Control, appendix VI; incomplete gamma function, Abramowitz and Stegun 6.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from gemel.core.values import Floats

MEDIAN = 0.953872552418
"""Median of the distance of two standard normal values: sqrt(2) times the normal's upper quartile."""
_X = np.linspace(-9.0, 9.0, 3601)
_PHI = np.exp(-0.5 * _X**2) / math.sqrt(2 * math.pi)
_CDF = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in _X.tolist()])


def c4(n: int) -> float:
    """Mean of S over sigma."""
    return math.sqrt(2.0 / (n - 1)) * math.exp(math.lgamma(n / 2) - math.lgamma((n - 1) / 2))


@lru_cache(maxsize=32)
def d2(n: int) -> float:
    """Mean of R over sigma."""
    return float(np.trapezoid(1.0 - _CDF**n - (1.0 - _CDF) ** n, _X))


def range_below(r: float, n: int) -> float:
    """The share of samples whose range is below r sigma."""
    if r <= 0:
        return 0.0
    ahead: Floats = np.interp(_X + r, _X, _CDF, right=1.0)
    return min(float(np.trapezoid(n * _PHI * np.clip(ahead - _CDF, 0.0, 1.0) ** (n - 1), _X)), 1.0)


@lru_cache(maxsize=64)
def range_quantile(p: float, n: int) -> float:
    """The range, in sigma, below which a share p of samples lie."""
    return solved(lambda r: range_below(r, n) - p, 0.0, 12.0)


def deviation_quantile(p: float, n: int) -> float:
    """The standard deviation, in sigma, below which a share p of samples lie."""
    return math.sqrt(chi2_quantile(p, n - 1) / (n - 1))


@lru_cache(maxsize=256)
def chi2_quantile(p: float, f: float) -> float:
    """The quantile of chi-squared with f degrees of freedom; above 200 by the cube of a normal (Wilson and Hilferty
    1931), which is then within 1e-4."""
    if f > 200:
        off = 2.0 / (9.0 * f)
        return float(f * (1.0 - off + NormalDist().inv_cdf(p) * math.sqrt(off)) ** 3)
    top = f + 10.0 * math.sqrt(2.0 * f) + 40.0
    return solved(lambda x: _gamma_below(f / 2.0, x / 2.0) - p, 0.0, top)


def _gamma_below(a: float, x: float) -> float:
    """The regularised lower incomplete gamma function: a series below a + 1, a continued fraction above."""
    if x <= 0:
        return 0.0
    front = math.exp(-x + a * math.log(x) - math.lgamma(a))
    if x < a + 1:
        term = total = 1.0 / a
        k = a
        while abs(term) > 1e-16 * abs(total):
            k += 1.0
            term *= x / k
            total += term
        return front * total
    b = x + 1.0 - a
    c, d = 1e300, 1.0 / b
    h = d
    for i in range(1, 10_000):
        step = -i * (i - a)
        b += 2.0
        d = 1.0 / (step * d + b)
        c = b + step / c
        h *= d * c
        if abs(d * c - 1.0) < 1e-15:
            break
    return 1.0 - front * h


def solved(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function of one number crosses zero, by halving."""
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return 0.5 * (low + high)
