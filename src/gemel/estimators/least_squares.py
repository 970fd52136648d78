"""Regularised least squares: a fast first answer, with the covariance of what was found.

Legend: x states and parameters on the unbounded scale [k], J what the scaled residuals do with x [p + k, k], C the
posterior's covariance (J'J)^-1, k states and parameters that are free, p measurements.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gemel.core.errors import InputError
from gemel.core.values import Belief, Floats, Frame
from gemel.estimators.history import History, Priors
from gemel.loop.simulate import Assignable

_DAMPING = np.array([0.0, 1e-3, 1e-2, 0.1, 1.0, 10.0, 1e3])
_NUDGE = 1e-4  # of a prior standard deviation, for the slopes


def least_squares(
    simulator: Assignable,
    frame: Frame,
    noise: Mapping[str, float],
    priors: Priors | None = None,
    *,
    members: int = 100,
    iterations: int = 20,
    seed: int = 0,
) -> Belief:
    """The most probable states and parameters over `frame`, and an ensemble around them as wide as they are uncertain.

    Levenberg and Marquardt's method with the prior as a penalty, so that what the measurements cannot tell stays where
    the prior has it. The simulator runs all slopes, and then all lengths of step, as members of one ensemble: two runs
    an iteration. The posterior is the Gaussian one at the optimum, on a scale on which bounds cannot be left. Keywords
    as in `esmda`.
    """
    if members < 2 or iterations < 1:
        raise InputError("least_squares: members must be 2 or more, iterations 1 or more")
    history = History(simulator, frame, noise, seed)
    draws = history.prior(max(members, 200), priors)
    mean, spread = draws.mean(axis=1), draws.std(axis=1, ddof=1)
    if priors:  # as they were given, not as they were drawn
        names = list(simulator.states)
        given = np.zeros((2, len(names)))
        for name in priors:
            given[:, names.index(name)] = priors[name]
        exact = history.scale.around(given[0], given[1])
        rows = [names.index(n) for n in priors]
        mean[rows], spread[rows] = exact[0][rows], exact[1][rows]
    fit = _Fit(history, mean, spread)
    x, cost = np.zeros(len(fit.free)), np.inf
    for _ in range(iterations):
        r, j = fit.slopes(x)
        if not (np.isfinite(r).all() and np.isfinite(j).all()):
            raise InputError("the simulator fails at the most probable parameters", "narrow or move the priors")
        normal, gradient = j.T @ j, j.T @ r
        scale = np.diag(np.diagonal(normal))
        steps = np.stack([np.linalg.solve(normal + d * scale, gradient) for d in _DAMPING], axis=1)
        costs = fit.costs(x[:, None] - steps)
        best, before = int(np.argmin(costs)), float(r @ r)
        if costs[best] >= before:
            break
        x, cost = x - steps[:, best], float(costs[best])
        if before - cost < 1e-6 * before:
            break
    _, j = fit.slopes(x)
    half = np.linalg.cholesky(np.linalg.inv(j.T @ j))
    return history.belief(fit.whole(x[:, None] + half @ _normal(len(x), members, seed)))


class _Fit:
    """Residuals in units of prior standard deviations from the prior's mean, over the rows that are free to move."""

    def __init__(self, history: History, mean: Floats, spread: Floats) -> None:
        self._history, self._mean, self._spread = history, mean, spread
        self.free = np.flatnonzero(spread > 0)
        if not len(self.free):
            raise InputError("no state or parameter is free to move", "give one a prior with sd above 0")

    def whole(self, x: Floats) -> Floats:
        """All states and parameters [k, m] for free ones [f, m]."""
        out = np.repeat(self._mean[:, None], x.shape[1], axis=1)
        out[self.free] += self._spread[self.free, None] * x
        return out

    def residuals(self, x: Floats) -> Floats:
        """[p + f, m]: measured over its noise, then the prior's penalty."""
        h = self._history
        with np.errstate(all="ignore"):  # a step too long may overflow: its cost is then infinite
            observed = h.run(self.whole(x))[0]
        return np.concatenate([(observed - h.value[:, None]) / h.sd[:, None], x])

    def slopes(self, x: Floats) -> tuple[Floats, Floats]:
        """The residuals at `x`, and their derivatives [p + f, f]."""
        r = self.residuals(x[:, None] + np.concatenate([np.zeros((len(x), 1)), _NUDGE * np.eye(len(x))], axis=1))
        return r[:, 0], (r[:, 1:] - r[:, :1]) / _NUDGE

    def costs(self, x: Floats) -> Floats:
        """Sum of squares of each candidate [m]; infinite where the simulator fails."""
        with np.errstate(all="ignore"):
            r = self.residuals(x)
            total = np.einsum("ij,ij->j", r, r)
        return np.where(np.isfinite(total), total, np.inf)


def _normal(k: int, m: int, seed: int) -> Floats:
    """Standard normal draws [k, m], with mean 0 and covariance 1 exactly where m allows it."""
    draw = np.random.default_rng((seed, 2)).standard_normal((k, m))
    if m < k + 2:
        return draw
    draw -= draw.mean(axis=1, keepdims=True)
    return np.asarray(np.linalg.solve(np.linalg.cholesky(draw @ draw.T / (m - 1)), draw), np.float64)
