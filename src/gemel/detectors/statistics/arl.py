"""The average run length of control charts: points until a chart signals, and the limits that give a stated one.

All charts see independent standard normal points, shifted by `shift`; a limit holds from the first point on.

Letters: z a standardised point, u where the chart stands, L(u) its run length from there, k slack, h height, Q
transition probabilities between states that do not signal.
Sources: Shewhart 1931; EWMA, Roberts 1959, Lucas and Saccucci 1990, Technometrics 32 (the table of limits), by the
integral equation of Crowder 1987, Technometrics 29; CUSUM, Page 1954, Brook and Evans 1972, Biometrika 59 (the chain,
here with Gauss-Legendre nodes for states), both sides by Kemp 1961; run rules, Western Electric 1956 and Champ and
Woodall 1987, Technometrics 29 (the chain over what is remembered of the last points).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from gemel.core.values import Floats, Times
from gemel.detectors.statistics.samples import solved

NODES = 60
Rule = tuple[int, int, float]
"""(m, n, k): m of n points in a row beyond k sigma, all on one side."""
POINT: tuple[Rule, ...] = ((1, 1, 3.0),)
WESTERN: tuple[Rule, ...] = ((1, 1, 3.0), (2, 3, 2.0), (4, 5, 1.0), (8, 8, 0.0))
"""The four Western Electric rules."""


def shewhart_arl(limit: float, shift: float = 0.0) -> float:
    """Of a chart that signals beyond `limit` sigma on either side."""
    beyond = _above(limit - shift) + _above(limit + shift)
    return 1.0 / max(beyond, 1e-300)


def shewhart_limit(arl: float) -> float:
    """The limit, in sigma, that gives this run length while nothing has shifted."""
    return NormalDist().inv_cdf(1.0 - 0.5 / arl)


def ewma_arl(weight: float, limit: float, shift: float = 0.0) -> float:
    """Of e = (1 - weight) e + weight z from e = 0, which signals beyond `limit` of its own long-run deviations."""
    h = limit * math.sqrt(weight / (2.0 - weight))
    x, w = np.polynomial.legendre.leggauss(NODES)
    x, w = h * x, h * w
    kernel = w * _density((x - (1 - weight) * x[:, None]) / weight - shift) / weight
    runs = np.linalg.solve(np.eye(NODES) - kernel, np.ones(NODES))
    return float(1.0 + (w * _density(x / weight - shift) / weight) @ runs)


@lru_cache(maxsize=64)
def ewma_limit(weight: float, arl: float) -> float:
    """The limit, in long-run deviations of the average, that gives this run length."""
    return solved(lambda limit: ewma_arl(weight, limit) - arl, 0.1, 6.0)


def cusum_arl(slack: float, height: float, shift: float = 0.0) -> float:
    """Of two sums, up and down, that signal above `height`."""
    return 1.0 / (1.0 / _one_sided(slack, height, shift) + 1.0 / _one_sided(slack, height, -shift))


@lru_cache(maxsize=64)
def cusum_height(slack: float, arl: float) -> float:
    """The height, in sigma, that gives this run length."""
    return solved(lambda height: cusum_arl(slack, height) - arl, 0.05, 40.0)


def _one_sided(slack: float, height: float, shift: float) -> float:
    """L(0) of s = max(0, s + z - slack): L(u) = 1 + L(0) P(to 0) + integral of L over (0, h)."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    x, w = height * (x + 1) / 2, height * w / 2
    at = np.append(0.0, x)
    chain = np.empty((NODES + 1, NODES + 1))
    chain[:, 0] = [1.0 - _above(slack - u - shift) for u in at.tolist()]
    chain[:, 1:] = w * _density(x - at[:, None] + slack - shift)
    return float(np.linalg.solve(np.eye(NODES + 1) - chain, np.ones(NODES + 1))[0])


def rules_arl(rules: Sequence[Rule], shift: float = 0.0) -> float:
    """Of a chart with run rules."""
    edges, chain, zones = _states(tuple(rules))
    share = np.diff([0.0, *(1.0 - _above(edge - shift) for edge in edges), 1.0])
    n = int(chain[:, 0].max()) + 1
    q = np.zeros((n, n))
    np.add.at(q, (chain[:, 0], chain[:, 1]), share[zones])
    return float(np.linalg.solve(np.eye(n) - q, np.ones(n))[0])


_State = tuple[tuple[tuple[bool, ...], tuple[bool, ...]], ...]


@lru_cache(maxsize=8)
def _states(rules: tuple[Rule, ...]) -> tuple[tuple[float, ...], Times, Times]:
    """Edges of the zones; which state follows on which without a signal, [transitions, 2]; by a point in which zone.

    A state is what each rule remembers of the last points on either side, less what cannot count any more.
    """
    edges = tuple(sorted({sign * k for _, _, k in rules for sign in (-1.0, 1.0)}))
    middles = [(a + b) / 2 for a, b in zip((edges[0] - 2, *edges), (*edges, edges[-1] + 2), strict=True)]
    empty: _State = tuple(((), ()) for _ in rules)
    places = {empty: 0}
    queue, found, zones = [empty], [], []
    for state in queue:
        for zone, z in enumerate(middles):
            new, signals = [], False
            for (m, n, k), sides in zip(rules, state, strict=True):
                both = []
                for sign, past in zip((1, -1), sides, strict=True):
                    held = ((sign * z > k), *past)[:n]
                    signals |= sum(held) >= m
                    both.append(_trimmed(held[: n - 1], m, n))
                new.append((both[0], both[1]))
            if signals:
                continue
            after = tuple(new)
            if after not in places:
                places[after] = len(places)
                queue.append(after)
            found.append((places[state], places[after]))
            zones.append(zone)
    return edges, np.array(found), np.array(zones)


def _trimmed(held: tuple[bool, ...], m: int, n: int) -> tuple[bool, ...]:
    """What is remembered, newest first, without points that cannot be among m of n any more."""
    kept = [bit and sum(held[: a + 1]) + n - (a + 1) >= m for a, bit in enumerate(held)]
    while kept and not kept[-1]:
        kept.pop()
    return tuple(kept)


def _above(x: float) -> float:
    """The share of a standard normal above x."""
    return 0.5 * math.erfc(x / math.sqrt(2.0))


def _density(x: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi))
