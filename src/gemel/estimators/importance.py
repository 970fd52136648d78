"""Importance sampling: from a normal distribution near a posterior to draws of the posterior itself.

Legend: w coordinates [r, m] as in `posterior`, q what is drawn from: a normal distribution and a wider one of the same
centre, L lower triangular with LL' its covariance; r directions, m members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gemel.core.values import Floats
from gemel.estimators.posterior import Posterior

SIZE, LEAN = 2.0, 1.7
"""Draws of a round, to the members that are asked for; of one that begins close by."""
WIDE, SHARE = 2.0, 0.25
"""Standard deviations of the wider part of q to those of the other, and how much of q it is."""
RIGHT = 0.1
"""The posterior is normal when the logarithm of the ratio of both densities varies by less."""
LEAST = 0.25
"""Of the members asked for: how many draws must count for an answer."""
_ROUNDS = 10


class Normal(NamedTuple):
    """A normal distribution: its centre [r, 1], and L [r, r]."""

    mean: Floats
    low: Floats


@dataclass(frozen=True, slots=True)
class Sample:
    """Draws of the posterior [r, m], the states at the end [k, m] that they lead to, and `effective`: how many draws
    count, in members."""

    w: Floats
    states: Floats
    effective: float


def sample(
    posterior: Posterior,
    near: Normal,
    members: int,
    rng: np.random.Generator,
    rounds: int = _ROUNDS,
    cloud: Floats | None = None,
    size: float = SIZE,
) -> Sample | None:
    """`members` draws of the posterior, found from a normal distribution near it; None where they would be too few.

    A few times as many are drawn from that and a wider one, run, and weighed by how much more probable they are under
    prior and measurements than there. Until as many count as are asked for (effective sample size), another round draws
    around those that do, and all draws are weighed against all that they may have come from (adaptive multiple
    importance sampling: Cornuet, Marin, Mira and Robert 2012, Scandinavian J. of Statistics 39). For large numbers the
    result is exact, wherever it began. A `cloud` [r, members] with the moments of `near` has less chance in it than
    draws have: it is the answer where the posterior turns out to be that normal distribution.
    """
    shapes = [near]
    found: list[tuple[Floats, Floats, Floats]] = []  # draws, their states at the end, log density of each
    for _ in range(rounds):
        w = _draws(shapes[-1], round(size * members), rng)
        observed, states = posterior.run(w)
        found.append((w, states, posterior.log(w, observed)))
        if cloud is not None and len(found) == 1 and _right(found[0][2], w, near):
            return Sample(cloud, posterior.run(cloud)[1], 1.0)
        w, states, log = (np.concatenate(x, axis=-1) for x in zip(*found, strict=True))
        if not np.isfinite(log).any():
            return None
        ratio = log - np.logaddexp.reduce([_density(w, shape) for shape in shapes], axis=0)
        weight = _weights(ratio)
        effective = 1.0 / float((weight**2).sum()) / members
        if effective >= 1.0:
            break
        shapes.append(normal(w, _tempered(ratio, 5 * len(w))))
    if effective < LEAST:
        return None
    index = _resampled(weight, members, rng)
    return Sample(w[:, index], states[:, index], effective)


def linearised(posterior: Posterior, w: Floats, observed: Floats) -> tuple[Normal, float]:
    """What the posterior would be if the simulator were linear, with the slopes that best fit a cloud [r, m] and what
    it would have measured [p, m]; and how far that can be trusted: 0 is fully, and beyond 1 it says where to look next.

    What is missed counts as noise, as related from measurement to measurement as it is among the cloud (posterior
    linearisation: Garcia-Fernandez, Svensson, Morelande and Sarkka 2015, IEEE Trans. Signal Processing 63). The cloud
    only says where to look: prior and measurements are taken into account once, wherever it came from.
    """
    history = posterior.history
    good = np.isfinite(observed).all(axis=0)
    mean, seen = w[:, good].mean(axis=1), observed[:, good].mean(axis=1)
    a, s = w[:, good] - mean[:, None], (observed[:, good] - seen[:, None]) / history.sd[:, None]
    slopes = np.linalg.solve(a @ a.T + 1e-9 * np.eye(len(a)), a @ s.T).T  # [p, r]
    missed = s - slopes @ a  # [p, m]
    inner = missed.T @ missed
    size = float(np.trace(inner)) / len(inner)  # of what the fit misses, in squares of standard deviations
    inner.flat[:: len(inner) + 1] += len(inner)
    weighted = slopes - missed @ np.linalg.solve(inner, missed.T @ slopes)
    precision = np.eye(len(a)) + slopes.T @ weighted
    shift = np.linalg.solve(precision, weighted.T @ ((history.value - seen) / history.sd) - mean)
    beyond = float(shift @ np.linalg.solve(a @ a.T / a.shape[1], shift)) / 9.0  # three of the cloud's deviations
    low = np.asarray(np.linalg.cholesky(np.linalg.inv(precision)), np.float64)
    centre = np.asarray((mean + shift)[:, None], np.float64)
    return Normal(centre, low), max(size, beyond) / len(a)


def normal(w: Floats, weight: Floats | None = None) -> Normal:
    """The one with centre and covariance of a weighted cloud [r, m]."""
    mean = np.average(w, axis=1, weights=weight)[:, None]
    covariance = np.atleast_2d(np.cov(w, aweights=weight))
    covariance.flat[:: len(w) + 1] += 1e-9 + 1e-6 * np.diagonal(covariance)
    return Normal(mean, np.asarray(np.linalg.cholesky(covariance), np.float64))


def _draws(near: Normal, count: int, rng: np.random.Generator) -> Floats:
    """Draws of q [r, m], those of its wider part first."""
    unit = rng.standard_normal((len(near.mean), count))
    unit[:, : round(SHARE * count)] *= WIDE
    return np.asarray(near.mean + near.low @ unit)


def _density(w: Floats, near: Normal) -> Floats:
    """Logarithm of q [m], but for a constant."""
    unit, low = np.linalg.solve(near.low, w - near.mean), near.low
    far = np.einsum("ij,ij->j", unit, unit)
    wide = -0.5 * far / WIDE**2 - len(low) * np.log(WIDE)
    both = np.logaddexp(np.log(1 - SHARE) - 0.5 * far, np.log(SHARE) + wide)
    return np.asarray(both - np.log(np.diagonal(low)).sum())


def _right(log: Floats, w: Floats, near: Normal) -> bool:
    """Whether the posterior's log density at the narrower draws of q is that of the normal distribution itself."""
    few = slice(round(SHARE * len(log)), None)
    unit = np.linalg.solve(near.low, w[:, few] - near.mean)
    return float(np.std(log[few] + 0.5 * np.einsum("ij,ij->j", unit, unit))) < RIGHT


def _weights(log: Floats) -> Floats:
    weight = np.exp(log - log.max())
    return np.asarray(weight / weight.sum())


def _tempered(log: Floats, least: float) -> Floats:
    """Weights flattened until `least` draws count: they point the way when the true ones stand on one or two."""
    power = 1.0
    while True:
        weight = _weights(power * log)
        if 1.0 / float((weight**2).sum()) >= min(least, 0.5 * len(log)) or power < 1e-6:
            return weight
        power /= 1.5


def _resampled(weight: Floats, count: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Systematic: each draw as often as its weight says, give or take one."""
    at = (rng.random() + np.arange(count)) / count
    return np.asarray(np.minimum(np.searchsorted(np.cumsum(weight), at), len(weight) - 1), np.int64)
