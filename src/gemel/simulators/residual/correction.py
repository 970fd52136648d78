"""What a simulator gets wrong, as a linear function of what is known along the way: fitted in closed form, and no more
of it than proves itself on other stretches of time.

Legend: w windows, t or h times ahead, f features, j shapes over lead, p penalties, m members; z a feature in units of
half its range; X, y the regression, G = X'X, c = X'y.
Sources: ridge regression, Hoerl and Kennard 1970, Technometrics 12; folds are stretches of time, as neighbouring
windows share their weather, Roberts et al. 2017, Ecography 40.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from gemel.core.values import Bools, Floats

FOLDS = 5
PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4, np.inf)
"""In windows that say a weight is zero; the last one leaves the simulator as it is."""
SHAPES = (1 / 24, 1 / 6, 2 / 3)
"""Time constants, in horizons, with which an error grows from nothing at the start."""
EDGE = 1.0
"""Beyond what was seen of a feature it counts as at its end, and the correction fades to nothing over this much of half
the range."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What is added to one output."""

    centre: Floats  # [f] of the range seen
    reach: Floats  # [f] half of it; 0: a feature that is not used
    shapes: Floats  # [j] seconds
    weights: Floats  # [j, f + 1], on z and, last, on 1
    lead: Floats  # [h] seconds
    missed: Floats  # [2, h] standard deviation that the ensemble lacks: without the correction, and with it
    penalty: float

    def add(self, features: Floats, lead: Floats) -> tuple[Floats, Floats]:
        """For features [t, f, m] at `lead` [t] seconds: the correction, and the deviation that the ensemble lacks,
        [t, m]. A feature that is not known (NaN) is at its centre."""
        z = _scaled(features.transpose(0, 2, 1), self.centre, self.reach)  # [t, m, f]
        trust = np.clip((1.0 + EDGE - np.abs(z).max(axis=2, initial=0.0)) / EDGE, 0.0, 1.0)
        lead = np.minimum(lead, self.lead[-1])
        along = _grown(lead, self.shapes) @ self.weights  # [t, f + 1]
        added = (np.clip(z, -1.0, 1.0) @ along[:, :-1, None])[:, :, 0] + along[:, -1:]
        without, within = (np.interp(lead, np.r_[0.0, self.lead], np.r_[0.0, row])[:, None] for row in self.missed)
        return trust * added, np.sqrt(trust * within**2 + (1.0 - trust) * without**2)

    def plain(self) -> dict[str, Any]:
        """As plain values, for `of`."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @staticmethod
    def of(held: Mapping[str, Any]) -> Correction:
        return Correction(**{f.name: held[f.name] for f in fields(Correction)})


def fit(features: Floats, missed: Floats, variance: Floats, lead: Floats, used: Bools, apart: int) -> Correction:
    """The correction that does best on windows it was not fitted to.

    `features` [w, h, f], of which `used` [f] may count; `missed` [w, h] is measured less simulated, NaN where nothing
    was measured; `variance` [h] that of the ensemble; `lead` [h] seconds. Windows up to `apart` places from each other
    overlap.
    """
    shapes = np.array(SHAPES) * lead[-1]
    low, high = np.nanmin(features, axis=(0, 1)), np.nanmax(features, axis=(0, 1))
    centre, reach = np.nan_to_num((low + high) / 2.0), np.nan_to_num((high - low) / 2.0)
    reach = np.where(used & (reach > 1e-9 * (1.0 + np.abs(centre))), reach, 0.0)
    z = _scaled(features, centre, reach)
    z = np.concatenate([z, np.ones((*z.shape[:2], 1))], axis=2)
    x = (_grown(lead, shapes)[None, :, :, None] * z[:, :, None, :]).reshape(*z.shape[:2], -1)  # [w, h, jf]
    there = np.isfinite(missed)
    y = np.where(there, missed, 0.0)
    x *= there[:, :, None]
    scale = np.sqrt((x * x).mean(axis=(0, 1)))
    scale[scale == 0] = 1.0
    x /= scale
    folds = np.arange(len(x)) * FOLDS // len(x)
    held = np.zeros((len(PENALTIES), *y.shape))
    for i in range(FOLDS):
        own = np.flatnonzero(folds == i)
        far = np.r_[: max(own[0] - apart, 0), min(own[-1] + 1 + apart, len(x)) : len(x)]
        held[:, own] = np.einsum("whf,pf->pwh", x[own], _ridge(x[far], y[far]))
    best = int(np.argmin(((y - held * there) ** 2).sum(axis=(1, 2))))
    weights = (_ridge(x, y)[best] / scale).reshape(len(shapes), -1)
    count = np.maximum(there.sum(axis=0), 1)
    squares = [((y - e * there) ** 2).sum(axis=0) / count for e in (0.0, held[best])]
    lacks = np.sqrt(np.maximum(np.array(squares) - variance, 0.0))
    return Correction(centre, reach, shapes, weights, lead, lacks, PENALTIES[best])


def _scaled(features: Floats, centre: Floats, reach: Floats) -> Floats:
    """z [..., f]; 0 for what is not known or not used."""
    z = (features - centre) / np.where(reach > 0, reach, 1.0)
    return np.where(np.isfinite(z) & (reach > 0), z, 0.0)


def _grown(lead: Floats, shapes: Floats) -> Floats:
    """The shapes at `lead`, [t, j]: 0 at the start."""
    return np.asarray(1.0 - np.exp(-lead[:, None] / shapes), np.float64)


def _ridge(x: Floats, y: Floats) -> Floats:
    """Weights of every penalty, [p, jf], from one decomposition."""
    rows = x.reshape(-1, x.shape[2])
    value, vector = np.linalg.eigh(rows.T @ rows / x.shape[1])
    turned = vector.T @ (rows.T @ y.ravel() / x.shape[1])
    return np.stack([vector @ (turned / (np.maximum(value, 0.0) + penalty)) for penalty in PENALTIES])
