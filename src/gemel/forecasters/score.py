"""How good a forecast was: MASE, CRPS, coverage, pinball loss. Cells without a truth do not count.

Letters in shapes: q levels; everything before that axis is free, so `quantiles` is [..., q] and `truth` is [...].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gemel.core.errors import InputError
from gemel.core.values import Floats

Numbers = npt.NDArray[np.floating]


def pinball(truth: Numbers, quantiles: Numbers, levels: Sequence[float]) -> Floats:
    """The quantile loss of each level, [..., q]: `level * e` for e = truth - quantile >= 0, else `(level - 1) * e`."""
    p = np.asarray(levels)
    error = truth[..., None] - quantiles
    return np.maximum(p * error, (p - 1.0) * error)


def crps(truth: Numbers, quantiles: Numbers, levels: Sequence[float]) -> float:
    """Twice the mean pinball loss over levels, over the mean size of the truth.

    This is the weighted quantile loss of the GIFT-Eval and fev benchmarks: a discrete, scaled CRPS (Gneiting and
    Raftery 2007, JASA 102)."""
    loss = pinball(truth, quantiles, levels)
    there = np.isfinite(truth) & np.isfinite(loss).all(axis=-1)
    return float(2.0 * loss[there].mean() / np.abs(truth[there]).mean())


def mase(truth: Numbers, middle: Numbers, past: Numbers, season: int) -> float:
    """Mean absolute error over that of the seasonal naive within `past` [t] (Hyndman and Koehler 2006)."""
    if len(past) <= season:
        raise InputError(f"MASE with a season of {season} steps needs a longer past than {len(past)} rows")
    scale = np.nanmean(np.abs(past[season:] - past[:-season]))
    return float(np.nanmean(np.abs(truth - middle)) / scale)


def coverage(truth: Numbers, low: Numbers, high: Numbers) -> float:
    """The share of truths inside [low, high]."""
    there = np.isfinite(truth)
    return float(((truth >= low) & (truth <= high))[there].mean())
