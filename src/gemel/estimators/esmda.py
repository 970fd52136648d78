"""Ensemble smoother with multiple data assimilation: states and parameters from a whole history at once.

Legend: w coordinates as in `posterior` [r, m]; k states and parameters, m members, p measurements.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from gemel.core.errors import InputError
from gemel.core.values import Belief, Bools, Floats, Frame
from gemel.estimators import analysis
from gemel.estimators.amortised import Amortised
from gemel.estimators.history import History, Priors
from gemel.estimators.importance import LEAN, Sample, linearised, normal, sample
from gemel.estimators.posterior import Posterior
from gemel.loop.simulate import Assignable

_PASSES = 30
"""No more than this; four to eight are usual."""
_LEADS = 6
"""From a guess to the posterior: no more steps than this, or it is no good."""
_SURE = 0.3
"""Doubt below which the last of these steps is sampled from."""


def esmda(
    simulator: Assignable,
    frame: Frame,
    noise: Mapping[str, float],
    priors: Priors | None = None,
    *,
    members: int = 100,
    seed: int = 0,
    start: Amortised | None = None,
) -> Belief:
    """What the simulator's states and parameters are at the end of `frame`, all of it taken into account.

    The ensemble of first states and parameters runs over the frame a few times, and each time meets the same
    measurements with their variance enlarged, so that all passes together count them once (Emerick and Reynolds 2013,
    Computers and Geosciences 55). By how much follows from the misfit: from a poor prior small steps are taken first
    (Iglesias and Yang 2021, Inverse Problems 37). The square root filter takes the place of perturbed measurements, so
    in a linear Gaussian case the result is exact for the prior's draws; its rotations keep an ensemble that has passed
    it many times from growing outliers. A member that the simulator cannot run takes the place of another one.

    Where the simulator is not linear that is nearly the posterior. Importance sampling around it makes the rest, where
    there are few enough states and parameters for that (see `importance`); otherwise the ensemble stays as it is.

    `noise`: `{output = standard deviation}` of what is measured, and of what the simulator does not describe; `priors`:
    `{name: (mean, sd)}` where they differ from the simulator's own. `start`: a network trained for this simulator that
    says where to look: the posterior is the same, sooner; where it does not lead there it is left aside.
    """
    if members < 3:
        raise InputError("esmda: members must be 3 or more")
    history = History(simulator, frame, noise, seed)
    posterior = Posterior(history, priors, start.coordinates if start and not priors else None)
    rng = np.random.default_rng((seed, 1))
    if start is not None and (found := started(posterior, start, members, rng)):
        return posterior.belief(found.states)
    *_, cloud = passes(posterior, members, rng)
    found = sample(posterior, normal(cloud), members, rng, cloud=cloud) if len(cloud) <= members / 5 else None
    return posterior.belief(found.states if found else posterior.run(cloud)[1])


def started(posterior: Posterior, start: Amortised, members: int, rng: np.random.Generator) -> Sample | None:
    """`members` draws of the posterior, from where a network says it is; None if that does not lead there soon.

    A few draws of the network's are moved to where the posterior would be if the simulator were linear about them,
    again and again until it nearly is; then a sample is drawn and weighed."""
    r = len(posterior.coordinates)
    few = min(max(32, 4 * r), members)
    if few < r + 2:
        return None
    near = start.normal(posterior.history)
    w = near.mean + near.low @ rng.standard_normal((r, few))
    if posterior.coordinates is not start.coordinates:  # the priors are others
        w = posterior.coordinates.forward(start.coordinates.back(w))
    for _ in range(_LEADS):
        observed = posterior.run(w)[0]
        if np.isfinite(observed).all(axis=0).sum() < r + 2:
            return None
        near, doubt = linearised(posterior, w, observed)
        if doubt < _SURE:
            found = sample(posterior, near, members, rng, rounds=4, size=LEAN)
            return found if found and found.effective >= 1.0 else None
        w = near.mean + near.low @ rng.standard_normal((r, few))
    return None


def passes(posterior: Posterior, members: int, rng: np.random.Generator) -> Iterator[Floats]:
    """The ensemble smoother alone: from draws of the prior, the cloud [r, m] after each pass; the last one lies
    about the posterior."""
    w, history = posterior.prior(members), posterior.history
    left = 1.0  # of what the measurements say
    for count in range(_PASSES):
        observed = _repaired(w, posterior.run(w)[0], rng)
        part = left if count == _PASSES - 1 else min(_part(observed, history.value, history.sd), left)
        w = analysis.etkf(w, observed, history.value, history.sd / math.sqrt(part), rng)
        left -= part
        yield w
        if left <= 1e-9:
            return


def _part(observed: Floats, value: Floats, sd: Floats) -> float:
    """How much of the measurements a pass may take in: what keeps the update within the spread of the misfits."""
    miss = (observed - value[:, None]) / sd[:, None]
    half = 0.5 * np.einsum("ij,ij->j", miss, miss)
    p = len(value) / 2.0
    return max(p / max(float(half.mean()), 1e-12), math.sqrt(p / max(float(half.var(ddof=1)), 1e-12)))


def _repaired(w: Floats, observed: Floats, rng: np.random.Generator) -> Floats:
    """`observed` with members that are not finite replaced, in `w` (in place) too."""
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
    w[:] = w[:, index]
    return observed[:, index]
