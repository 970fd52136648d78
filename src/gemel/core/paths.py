"""Sample paths of what lies ahead: a forecast's quantiles say how high, not for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gemel.core.errors import InputError
from gemel.core.values import Bools, Floats, Forecast, Times


def futures(
    names: Sequence[str],
    times: Times,
    latest: Mapping[str, float],
    forecasts: Sequence[Forecast],
    members: int,
    seed: int,
    fixed: Mapping[str, Floats | float] | None = None,
) -> Floats:
    """A simulator's inputs ahead, [t, u, m]: what `fixed` says, else paths drawn from a forecast, else the latest value
    held. Each input has noise of its own, so fixing one leaves the others as they were.

    Raises `InputError` for an input nobody knows.
    """
    fixed = fixed or {}
    inputs = np.empty((len(times), len(names), members))
    for i, name in enumerate(names):
        ahead = next((f for f in forecasts if name in f.signals), None)
        if name in fixed:
            value = np.asarray(fixed[name], np.float64)
            inputs[:, i, :] = value if value.ndim == 2 else value.reshape(-1, 1)
        elif ahead is not None:
            inputs[:, i, :] = paths(ahead, name, times, members, np.random.default_rng((seed, i)))
        elif np.isfinite(latest.get(name, np.nan)):
            inputs[:, i, :] = latest[name]
        else:
            raise InputError(f"the simulator's input '{name}' has no value yet", "wait for its telemetry, or set it")
    return inputs


def paths(ahead: Forecast, name: str, times: Times, members: int, rng: np.random.Generator) -> Floats:
    """Values of one signal at `times`, [t, m].

    A member walks through the forecast's quantiles with a rank that wanders slowly (a first-order process with a memory
    of half a day), so that a member that is high now is high for a while."""
    levels = np.array(ahead.levels)
    held = ahead.of(name).astype(np.float64)  # [h, q]
    row = np.clip(np.searchsorted(ahead.time, times), 0, len(ahead) - 1)
    step = float(times[1] - times[0]) / 1e9 if len(times) > 1 else 900.0
    keep = np.exp(-step / 43_200.0)
    z = np.empty((len(times), members))
    z[0] = rng.standard_normal(members)
    noise = rng.standard_normal((len(times), members)) * np.sqrt(1 - keep**2)
    for t in range(1, len(times)):
        z[t] = keep * z[t - 1] + noise[t]
    rank = np.clip(_normal(z), levels[0], levels[-1])  # [t, m]
    place = np.clip(np.searchsorted(levels, rank) - 1, 0, len(levels) - 2)
    low = np.take_along_axis(held[row], place, axis=1)
    high = np.take_along_axis(held[row], place + 1, axis=1)
    part = (rank - levels[place]) / (levels[place + 1] - levels[place])
    return low + part * (high - low)


def _normal(z: Floats) -> Floats:
    # logistic approximation of the normal distribution function, within 0.0002 (Bowling et al. 2009)
    return 1.0 / (1.0 + np.exp(-(0.07056 * z**3 + 1.5976 * z)))


def whole(paths: Floats) -> Floats:
    """Paths [t, y, m] in which members that were lost on the way (NaN anywhere) are copies of others, in turn; as they
    are where every member is NaN, for then something is not known."""
    lost: Bools = np.asarray(~np.isfinite(paths).all(axis=(0, 1)))
    good = np.flatnonzero(~lost)
    if len(good) == len(lost) or not len(good):
        return paths
    index = np.arange(len(lost))
    index[lost] = np.resize(good, int(lost.sum()))
    return paths[:, :, index]
