"""Simulate: the virtual copy, and rolling it out from what the twin believes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gemel.core.paths import futures, whole
from gemel.core.values import Belief, Floats, Forecast, Times


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
class Assignable(Simulator, Protocol):
    """A simulator whose states can be read and overwritten: what an ensemble filter needs.

    It may have an attribute `bounds`, state -> (low, high): a filter then keeps within them."""

    def assign(self, memory: Any, states: Floats, time: int) -> Any:
        """The memory with states [k, m] put in, at `time`."""

    def extract(self, memory: Any) -> Floats:
        """The states of a memory, [k, m]."""

    def observe(self, memory: Any, inputs: Floats) -> Floats:
        """Outputs [y, m] of a memory as it stands, without moving it."""


@runtime_checkable
class Noisy(Protocol):
    """A simulator whose steps draw noise, and that can leave this to the caller: a filter adds it without chance."""

    def quiet(self, memory: Any) -> Any:
        """The memory, whose steps draw no noise any more."""

    def noise(self, memory: Any, inputs: Floats, dt: float) -> Floats:
        """The standard deviation [k] of what a step of `dt` seconds would add to each state."""


def rollout(simulator: Simulator, memory: Any, inputs: Floats, dt: float) -> Floats:
    """Outputs [t, y, m] under inputs [t, u, m], from `memory` on; `memory` is left alone. None lost: see `whole`."""
    if isinstance(simulator, Runs):
        return whole(simulator.run(memory, inputs, dt)[1])
    out = np.empty((len(inputs), len(simulator.outputs), inputs.shape[2]))
    for i, row in enumerate(inputs):
        memory, out[i] = simulator.step(memory, row, dt)
    return whole(out)


def ahead(
    simulator: Simulator,
    belief: Belief,
    times: Times,
    latest: Mapping[str, float],
    forecasts: Sequence[Forecast],
    seed: int,
    levels: Sequence[float],
    fixed: Mapping[str, Floats | float] | None = None,
) -> Forecast:
    """What the simulator foresees from a belief: quantiles of every output at `times` (evenly spaced)."""
    inputs = futures(simulator.inputs, times, latest, forecasts, belief.members.shape[1], seed, fixed)
    dt = float(times[0] - belief.time if len(times) < 2 else times[1] - times[0]) / 1e9
    outputs = rollout(simulator, simulator.init(belief, seed), inputs, dt)
    values = np.quantile(outputs, levels, axis=2).transpose(2, 1, 0)  # [q, t, y] -> [y, t, q]
    return Forecast(times, tuple(levels), values.astype(np.float32), tuple(simulator.outputs), belief.time, "physics")
