"""What a simulator gets wrong, as a linear function of what is known along the way: fitted in closed form, and no more
of it than proves itself on other stretches of time.

Legend: w windows, h steps ahead, f features, j shapes over lead, m members; z a feature in units of its own spread.
Source: ridge regression, Hoerl and Kennard 1970, Technometrics 12; folds are stretches of time, as neighbouring
windows share their weather (Roberts et al. 2017, Ecography 40).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from gemel.core.values import Floats

FOLDS = 5
PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4, np.inf)
"""Pseudo-rows of a feature that explains nothing; the last one leaves the simulator as it is."""
SHAPES = (1 / 24, 1 / 6, 2 / 3)
"""Of the horizon: with these time constants an error grows from nothing at the start."""
EDGE = 0.25
"""A correction fades out over this part of a feature's range beyond what was seen."""


@dataclass(frozen=True, slots=True)
class Correction:
    """Adds to one output. Features stand in the order in which `Residual` gathers them."""

    centre: Floats  # [f] of the range seen
    reach: Floats  # [f] from the centre to its ends; 0: a feature that is not used
    shapes: Floats  # [j] seconds
    weights: Floats  # [j, f + 1], the last of the constant 1; on z
    lead: Floats  # [h] seconds
    missed: Floats  # [2, h] standard deviation that the ensemble lacks: without the correction, with it
    penalty: float

    def add(self, features: Floats, lead: Floats) -> tuple[Floats, Floats]:
        """From features [t, f, m] at `lead` [t] seconds: the correction, and the deviation the ensemble lacks, [t, m].

        What is not known (NaN) counts as the centre. Beyond the range of any feature nothing is added."""
        used = self.reach > 0
        z = (features - self.centre[:, None]) / np.where(used, self.reach, 1.0)[:, None]
        z = np.where(np.isfinite(z) & used[:, None], z, 0.0)
        trust = np.clip((1.0 + EDGE - np.abs(z).max(axis=1, initial=0.0)) / EDGE, 0.0, 1.0)  # [t, m]
        lead = np.minimum(lead, self.lead[-1])
        along = (1.0 - np.exp(-lead[:, None] / self.shapes)) @ self.weights  # [t, f + 1]
        added = np.einsum("tf,tfm->tm", along[:, :-1], z) + along[:, -1:]
        without, within = (np.interp(lead, np.r_[0.0, self.lead], np.r_[0.0, row])[:, None] for row in self.missed)
        return trust * added, np.sqrt(trust * within**2 + (1.0 - trust) * without**2)

    def plain(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @staticmethod
    def of(held: Mapping[str, Any]) -> Correction:
        return Correction(**{f.name: held[f.name] for f in fields(Correction)})


def fit(
    features: Floats, missed: Floats, variance: Floats, lead: Floats, apart: int, used: Sequence[bool]
) -> tuple[Correction, Floats]:
    """The correction, and what it says of each window when fitted to the others, [w, h].

    `features` [w, h, f]; `missed` [w, h] measured less simulated, NaN where nothing was measured; `variance` [h] of the
    ensemble that simulated; windows less than `apart` places from each other overlap.
    """
    shapes = np.array(SHAPES) * lead[-1]
    low, high = (_ends(features, q) for q in (0.0, 1.0))
    centre, reach = (low + high) / 2.0, (high - low) / 2.0
    reach = np.where(np.asarray(used) & (reach > 1e-9 * (1.0 + np.abs(centre))), reach, 0.0)
    z = (features - centre) / np.where(reach > 0, reach, 1.0)
    z = np.where(np.isfinite(z) & (reach > 0), z, 0.0)
    z = np.concatenate([z, np.ones((*z.shape[:2], 1))], axis=2)
    basis = 1.0 - np.exp(-lead[:, None] / shapes)  # [h, j]
    x = (basis[None, :, :, None] * z[:, :, None, :]).reshape(len(z), len(lead), -1)  # [w, h, jf]
    scale = np.sqrt((x * x).mean(axis=(0, 1))) + 1e-12
    x = x / scale
    grams = [_gram(x, missed, part) for part in _folds(len(x))]
    held = np.zeros((len(PENALTIES), *missed.shape))
    for part, own in zip(_folds(len(x)), grams, strict=True):
        near = np.arange(len(x))
        near = near[(near < part[0]) & (near >= part[0] - apart) | (near > part[-1]) & (near <= part[-1] + apart)]
        mine, other = _sum([own, _gram(x, missed, near)]), _sum(grams)
        weights = _solve(other[0] - mine[0], other[1] - mine[1])  # [p, jf]
        held[:, part] = np.einsum("whf,pf->pwh", x[part], weights)
    best = int(np.nanargmin(np.nanmean((missed - held) ** 2, axis=(1, 2))))
    weights = (_solve(*_sum(grams))[best] / scale).reshape(len(shapes), -1)
    lacks = [
        np.sqrt(np.maximum(np.nanmean(e**2, axis=0, initial=0.0) - variance, 0.0)) if False else _lack(e, variance)
        for e in (missed, missed - held[best])
    ]
    return Correction(centre, reach, shapes, weights, lead, np.array(lacks), PENALTIES[best]), held[best]
