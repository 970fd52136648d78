"""Ensemble smoother with multiple data assimilation: states and parameters from a whole history at once.

Legend: k states and parameters, m members, p measurements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gemel.core.errors import InputError
from gemel.core.values import Belief, Bools, Floats, Frame
from gemel.estimators import analysis
from gemel.estimators.history import History, Priors
from gemel.loop.simulate import Assignable

_PASSES = 30
"""No more than this; four to eight are usual."""


def esmda(
    simulator: Assignable,
    frame: Frame,
    noise: Mapping[str, float],
    priors: Priors | None = None,
    *,
    members: int = 100,
    seed: int = 0,
) -> Belief:
    """What the simulator's states and parameters are at the end of `frame`, all of it taken into account.

    The ensemble of first states and parameters runs over the frame a few times, and each time meets the same
    measurements with their variance enlarged, so that all passes together count them once (Emerick and Reynolds 2013,
    Computers and Geosciences 55). By how much follows from the misfit: from a poor prior small steps are taken first
    (Iglesias and Yang 2021, Inverse Problems 37). The square root filter takes the place of perturbed measurements, so
    in a linear Gaussian case the result is exact for the prior's draws; its rotations keep an ensemble that has passed
    it many times from growing outliers. A member that the simulator cannot run takes the place of another one.

    `noise`: `{output = standard deviation}` of what is measured, and of what the simulator does not describe; `priors`:
    `{name: (mean, sd)}` where they differ from the simulator's own.
    """
    if members < 3:
        raise InputError("esmda: members must be 3 or more")
    history = History(simulator, frame, noise, seed)
    free = history.prior(members, priors)
    rng = np.random.default_rng((seed, 1))
    left = 1.0  # of what the measurements say
    for passes in range(_PASSES):
        observed = _repaired(free, history.run(free)[0], rng)
        part = left if passes == _PASSES - 1 else min(_part(observed, history.value, history.sd), left)
        free = analysis.etkf(free, observed, history.value, history.sd / math.sqrt(part), rng)
        left -= part
        if left <= 1e-9:
            break
    return history.belief(free)


def _part(observed: Floats, value: Floats, sd: Floats) -> float:
    """How much of the measurements a pass may take in: what keeps the update within the spread of the misfits."""
    miss = (observed - value[:, None]) / sd[:, None]
    half = 0.5 * np.einsum("ij,ij->j", miss, miss)
    p = len(value) / 2.0
    return max(p / max(float(half.mean()), 1e-12), math.sqrt(p / max(float(half.var(ddof=1)), 1e-12)))


def _repaired(free: Floats, observed: Floats, rng: np.random.Generator) -> Floats:
    """`observed` with members that are not finite replaced, in `free` (in place) too."""
    good: Bools = np.asarray(np.isfinite(observed).all(axis=0))
    if good.all():
        return observed
    if good.sum() * 2 < len(good):
        raise InputError(
            f"the simulator fails for {(~good).sum()} of {len(good)} draws",
            "narrow the priors, or bound the parameters",
        )
    index = np.arange(len(good))
    index[~good] = rng.choice(index[good], (~good).sum())
    free[:] = free[:, index]
    return observed[:, index]
