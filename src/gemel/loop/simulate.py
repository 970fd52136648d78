"""Simulate: the virtual copy, and rolling it out from what the twin believes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gemel.core.errors import InputError
from gemel.core.values import Belief, Floats, Forecast, Frame, Times


@runtime_checkable
class Simulator(Protocol):
    """A virtual copy of the plant, for many members at once; members are always the last axis.

    `inputs` and `outputs` are names: a name that is also a signal is that signal. `states` are the names of the states
    and parameters that a belief holds, in order. `memory` goes in and comes out, so that a branch is free and nothing
    is hidden; `start` is the time the memory is at, for simulators that know the season.
    """

    inputs: Sequence[str]
    outputs: Sequence[str]
    states: Sequence[str]

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Any:
        """The memory at `belief.time`, a column a member; without a belief, `members` draws from the prior."""

    def step(self, memory: Any, inputs: Floats, dt: float) -> tuple[Any, Floats]:
        """`dt` seconds on, under inputs [u, m] held constant: the new memory, and outputs [y, m] at its end."""


@runtime_checkable
class Runs(Protocol):
    """A simulator that can run a whole horizon at once."""

    def run(self, memory: Any, inputs: Floats, dt: float) -> tuple[Any, Floats]:
        """inputs [t, u, m] -> outputs [t, y, m]."""


@runtime_checkable
class Branches(Protocol):
    """A simulator whose memory can be copied and re-drawn."""

    def select(self, memory: Any, index: Sequence[int]) -> Any:
        """The memory whose members are `index` of this one's, repeats allowed."""


@runtime_checkable
class Assignable(Protocol):
    """A simulator whose states can be read and overwritten: what an ensemble filter needs."""

    def assign(self, memory: Any, states: Floats, time: int) -> Any:
        """The memory with states [k, m] put in, at `time`."""

    def extract(self, memory: Any) -> Floats:
        """The states of a memory, [k, m]."""

    def observe(self, memory: Any, inputs: Floats) -> Floats:
        """Outputs [y, m] of a memory as it stands, without moving it."""


def rollout(simulator: Simulator, memory: Any, inputs: Floats, dt: float) -> Floats:
    """Outputs [t, y, m] under inputs [t, u, m], from `memory` on; `memory` itself is left alone."""
    if isinstance(simulator, Runs):
        return simulator.run(memory, inputs, dt)[1]
    out = np.empty((len(inputs), len(simulator.outputs), inputs.shape[2]))
    for i, row in enumerate(inputs):
        memory, out[i] = simulator.step(memory, row, dt)
    return out


def futures(
    simulator: Simulator,
    times: Times,
    latest: Mapping[str, float],
    forecasts: Sequence[Forecast],
    members: int,
    seed: int,
    fixed: Mapping[str, Floats | float] | None = None,
) -> Floats:
    """Inputs [t, u, m] ahead: what `fixed` says, else paths drawn from a forecast, else the latest value held.

    A path of a member walks through the forecast's quantiles with a rank that wanders slowly (first-order, half a
    day), so that a member that is high now is high for a while. Raises `InputError` for an input nobody knows.
    """
    fixed = fixed or {}
    rng = np.random.default_rng(seed)
    inputs = np.empty((len(times), len(simulator.inputs), members))
    for i, name in enumerate(simulator.inputs):
        ahead = next((f for f in forecasts if name in f.signals), None)
        if name in fixed:
            value = np.asarray(fixed[name], np.float64)
            inputs[:, i, :] = value if value.ndim == 2 else value.reshape(-1, 1)
        elif ahead is not None:
            inputs[:, i, :] = _paths(ahead, name, times, members, rng)
        elif np.isfinite(latest.get(name, np.nan)):
            inputs[:, i, :] = latest[name]
        else:
            raise InputError(
                f"the simulator's input '{name}' has no value yet",
                "wait for its first telemetry, add it to the forecaster, or set it",
            )
    return inputs


def quantiles(
    outputs: Floats, names: Sequence[str], times: Times, levels: Sequence[float], issued: int, by: str
) -> Forecast:
    """Rolled-out outputs [t, y, m] as a forecast."""
    values = np.quantile(outputs, levels, axis=2)  # [q, t, y]
    return Forecast(times, tuple(levels), values.transpose(2, 1, 0).astype(np.float32), tuple(names), issued, by)


def _paths(ahead: Forecast, name: str, times: Times, members: int, rng: np.random.Generator) -> Floats:
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
    rank = np.clip(_normal_cdf(z), levels[0], levels[-1])  # [t, m]
    place = np.clip(np.searchsorted(levels, rank) - 1, 0, len(levels) - 2)
    low = np.take_along_axis(held[row], place, axis=1)
    high = np.take_along_axis(held[row], place + 1, axis=1)
    part = (rank - levels[place]) / (levels[place + 1] - levels[place])
    return low + part * (high - low)


def _normal_cdf(z: Floats) -> Floats:
    # logistic approximation of the normal distribution function, within 0.0002 (Bowling et al. 2009)
    return 1.0 / (1.0 + np.exp(-(0.07056 * z**3 + 1.5976 * z)))


def frame_inputs(simulator: Simulator, frame: Frame, members: int) -> Floats:
    """Measured inputs [t, u, m] of a frame, the last value held where one is missing (NaN before the first)."""
    names = list(frame.signals)
    inputs = np.full((len(frame), len(simulator.inputs), members), np.nan)
    for i, name in enumerate(simulator.inputs):
        if name in names:
            column = frame.values[:, names.index(name)]
            last = np.maximum.accumulate(np.where(np.isfinite(column), np.arange(len(column)), 0))
            inputs[:, i, :] = column[last][:, None]
    return inputs
