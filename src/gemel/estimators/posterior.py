"""What a calibration is after: the posterior of a simulator's first states and parameters over a frame.

It is worked on in coordinates in which the prior is a standard normal distribution, however bounded and skewed it is
in units (Gaussian anamorphosis: Bertino, Evensen and Wackernagel 2003, International Statistical Review 71).

Legend: w coordinates [r, m], z normal scores of states and parameters, x those on the unbounded scale of `Scale`
[k, m]; k states and parameters, r how many of their directions are uncertain, m members, p measurements.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from gemel.core.errors import InputError
from gemel.core.values import Belief, Floats
from gemel.estimators.history import History, Priors

DRAWS = 1000
"""Of the prior, to learn its shape from."""
_Z = np.linspace(-2.5, 2.5, 41)
_SHARES = [NormalDist().cdf(z) for z in _Z]
_SKEWED = 9.2
"""Of the Jarque-Bera statistic: a margin below it is taken as normal (one in a hundred normal ones is above)."""


class Coordinates:
    """Between the unbounded scale and coordinates in which draws of the prior [k, n] are standard normal.

    Margins are matched by quantiles, with straight tails; one that cannot be told from a normal one by its skewness
    and kurtosis is scaled only. What is the same in all draws stays, and what follows from others (by a linear relation
    of normal scores) has no coordinate of its own.
    """

    def __init__(self, draws: Floats) -> None:
        self._fixed = draws[:, :1].copy()
        spread = draws.std(axis=1, ddof=1)
        self.free = np.flatnonzero(spread > 1e-12 * np.maximum(np.abs(draws).max(axis=1), 1e-300))
        self._knots = np.array([_knots(draws[i]) for i in self.free]).reshape(-1, len(_Z))
        z = self._scores(draws).reshape(len(self.free), draws.shape[1])
        self._mean = z.mean(axis=1, keepdims=True)
        self._own, self._root = _triangular(np.cov(z).reshape(len(z), len(z)) if len(z) else np.empty((0, 0)))

    def __len__(self) -> int:
        return len(self._own)

    def forward(self, x: Floats) -> Floats:
        """[k, m] on the unbounded scale to [r, m]."""
        return np.linalg.solve(self._root[self._own], (self._scores(x) - self._mean)[self._own])

    def back(self, w: Floats) -> Floats:
        """[r, m] to [k, m] on the unbounded scale."""
        z = self._mean + self._root @ w
        x = np.repeat(self._fixed, w.shape[1], axis=1)
        for i, row, knots in zip(self.free, z, self._knots, strict=True):
            x[i] = _through(row, _Z, knots)
        return x

    def _scores(self, x: Floats) -> Floats:
        return np.array([_through(x[i], knots, _Z) for i, knots in zip(self.free, self._knots, strict=True)])


class Posterior:
    """Likelihood of a history times its prior, on coordinates [r, m]."""

    def __init__(self, history: History, priors: Priors | None = None, coordinates: Coordinates | None = None) -> None:
        self.history, self._priors = history, priors
        self.coordinates = coordinates or Coordinates(history.prior(DRAWS, priors))
        if not len(self.coordinates):
            raise InputError("no state or parameter is free to move", "give one a prior with sd above 0")

    def prior(self, members: int) -> Floats:
        """Draws [r, m] of the prior."""
        return self.coordinates.forward(self.history.prior(members, self._priors))

    def run(self, w: Floats) -> tuple[Floats, Floats]:
        """What would have been measured [p, m], and the states at the end [k, m]."""
        return self.history.run(self.coordinates.back(w))

    def log(self, w: Floats, observed: Floats) -> Floats:
        """Logarithm of the density [m], but for a constant; minus infinity where the simulator failed."""
        miss = (observed - self.history.value[:, None]) / self.history.sd[:, None]
        found = -0.5 * (np.einsum("ij,ij->j", miss, miss) + np.einsum("ij,ij->j", w, w))
        return np.where(np.isfinite(found), found, -np.inf)

    def belief(self, states: Floats) -> Belief:
        """At the end of the frame, for an estimator to go on from."""
        history = self.history
        return Belief(tuple(history.simulator.states), states, int(history.time[-1]))


def _triangular(covariance: Floats) -> tuple[list[int], Floats]:
    """The rows that do not follow from earlier ones, and all rows [k, r] as sums of as many independent unit normals,
    each of which is mostly its own row: eigenvectors would turn at the last digit where variances are alike."""
    own: list[int] = []
    root = np.zeros(covariance.shape)
    for i, row in enumerate(covariance):
        for j, other in enumerate(own):
            root[i, j] = (row[other] - root[i, :j] @ root[other, :j]) / root[other, j]
        rest = row[i] - float(root[i] @ root[i])
        if rest > 1e-4 * row[i]:
            root[i, len(own)] = np.sqrt(rest)
            own.append(i)
    return own, root[:, : len(own)]


def _knots(draws: Floats) -> Floats:
    """Where a margin's quantiles of `_SHARES` lie, strictly rising."""
    mean, sd = draws.mean(), draws.std(ddof=1)
    z = (draws - mean) / sd
    bera = len(z) / 6.0 * (np.mean(z**3) ** 2 + (np.mean(z**4) - 3.0) ** 2 / 4.0)
    if bera < _SKEWED:
        return np.asarray(mean + sd * _Z)
    return np.asarray(np.quantile(draws, _SHARES) + 1e-6 * sd * _Z)


def _through(x: Floats, knots: Floats, values: Floats) -> Floats:
    """Piecewise linear, with the mean slope of the outer tenths beyond the ends."""
    out = np.interp(x, knots, values)
    n = len(knots) // 10
    below, above = x < knots[0], x > knots[-1]
    out[below] += (x[below] - knots[0]) * (values[n] - values[0]) / (knots[n] - knots[0])
    out[above] += (x[above] - knots[-1]) * (values[-1] - values[-1 - n]) / (knots[-1] - knots[-1 - n])
    return out
