"""Is the filter right about itself? Questions to its innovations and its ensembles, with answers a person can act on.

z [n] are innovations over the standard deviation they should have, oldest first: `belief.innovation` of many beliefs.
With a right simulator and right noise they are standard normal, and each is news: unrelated to those before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gemel.core.values import Floats

SURE = 0.01
"""A test speaks when chance alone would do so less often than this."""


@dataclass(frozen=True, slots=True)
class Innovations:
    """What the innovations of one signal say.

    `bias`: their mean, in the standard deviations they should have; `ratio`: predicted spread over what they really
    have (1 is right, below 1 the twin is too sure); `coverage`: how many lie within the predicted 90 %; `p_white`: how
    likely they are to be as related to each other if none is to the next; `advice`: what to do, empty when all is well.
    """

    count: int
    bias: float
    ratio: float
    coverage: float
    p_white: float
    advice: str


def innovations(z: Floats, lags: int = 10) -> Innovations:
    """Judge normalised innovations [n]; NaN is left out. 20 or more are needed, and more than twice `lags`."""
    z = z[np.isfinite(z)]
    n = len(z)
    if n < max(20, 2 * lags + 1):
        return Innovations(n, math.nan, math.nan, math.nan, math.nan, "too few innovations to judge")
    bias, size = float(z.mean()), float(np.sqrt(np.mean(z * z)))
    ratio, p = 1.0 / size if size > 0 else math.inf, whiteness(z, lags)
    covered = float(np.mean(np.abs(z) < 1.6448536269514722))
    steady = 1.0 / math.sqrt(n)
    if abs(bias) > 3.0 * steady and abs(bias) > 0.2:
        advice = "biased: a sensor is off, or the simulator lacks a term or a parameter to learn"
    elif p < SURE:
        advice = "related in time: the simulator lacks something slow; let a parameter drift, or raise its noise"
    elif ratio < 1.0 - 2.0 * steady and ratio < 0.9:
        advice = "too sure: raise the noise of the measurement or of the steps, or the inflation"
    elif ratio > 1.0 + 2.0 * steady and ratio > 1.2:
        advice = "too unsure: lower the noise of the measurement, or have it learned"
    else:
        advice = ""
    return Innovations(n, bias, ratio, covered, p, advice)


def whiteness(z: Floats, lags: int = 10) -> float:
    """The p-value of no correlation up to `lags` (an even number), after Ljung and Box (1978, Biometrika 65)."""
    if lags < 2 or lags % 2 or len(z) <= lags:
        raise ValueError("lags must be even, 2 or more, and less than the number of values")
    n, x = len(z), z - z.mean()
    power = float(x @ x)
    if power <= 0.0:
        return 1.0
    r = np.array([float(x[i:] @ x[:-i]) / power for i in range(1, lags + 1)])
    half = float(n * (n + 2) * np.sum(r * r / (n - np.arange(1, lags + 1)))) / 2.0
    term, total = 1.0, 1.0  # upper tail of chi-square with an even number of degrees: a finite sum
    for i in range(1, lags // 2):
        term *= half / i
        total += term
    return math.exp(-half) * total if half < 700.0 else 0.0


@dataclass(frozen=True, slots=True)
class Identified:
    """What telemetry told about one parameter.

    `learned`: 0 is nothing and 1 everything, one less the ratio of posterior to prior standard deviation; `like`: the
    parameter it cannot be told from, with `correlation` between the two, where that is beyond 0.95.
    """

    name: str
    learned: float
    like: str = ""
    correlation: float = 0.0


def identifiability(names: Sequence[str], prior: Floats, posterior: Floats) -> list[Identified]:
    """Which parameters telemetry tells, from ensembles [k, m] of one time that were not and were taught by it.

    Those without a spread in the prior (held, or heard directly) are left out.
    """
    before, after = prior.std(axis=1, ddof=1), posterior.std(axis=1, ddof=1)
    free = np.flatnonzero(before > 1e-12 * np.maximum(np.abs(prior).max(axis=1), 1e-300))
    a = posterior[free] - posterior[free].mean(axis=1, keepdims=True)
    a /= np.maximum(np.sqrt(np.einsum("ij,ij->i", a, a)), 1e-300)[:, None]
    alike = a @ a.T
    np.fill_diagonal(alike, 0.0)
    found = []
    for i, row in enumerate(free.tolist()):
        learned = max(1.0 - float(after[row] / before[row]), 0.0)
        j = int(np.abs(alike[i]).argmax())
        r = float(alike[i, j])
        found.append(Identified(names[row], learned, *((names[free[j]], r) if abs(r) > 0.95 else ())))
    return found


def rank(truth: Floats, members: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where each truth [n] stands among its members [n, m], 0 to m: flat over many cases when spreads are honest."""
    return np.asarray((members < truth[:, None]).sum(axis=1), np.int64)
