"""A conformance check for simulators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gemel.core.values import Belief, Floats
from gemel.loop.simulate import Assignable, Branches, Noisy, Runs, Simulator, rollout


def check_simulator(make: Callable[[], Simulator], inputs: Floats, dt: float) -> None:
    """Checks what `Simulator` and the capabilities it claims promise; raises `AssertionError`.

    `inputs` [t, u] is a plausible course, of four rows or more, `dt` seconds apart.
    """
    simulator, m = make(), 5
    assert inputs.shape[1] == len(simulator.inputs), "inputs has a column an input"
    paths = np.repeat(inputs[:, :, None], m, axis=2)  # [t, u, m]
    memory = simulator.init(None, 1, m)
    outputs = rollout(simulator, memory, paths, dt)
    assert outputs.shape == (len(inputs), len(simulator.outputs), m), "outputs are [t, y, m], members last"
    assert np.isfinite(outputs).all(), "plausible inputs give finite outputs"
    np.testing.assert_array_equal(outputs, rollout(simulator, memory, paths, dt), "a rollout leaves its memory alone")
    fresh = make()
    again = rollout(fresh, fresh.init(None, 1, m), paths, dt)
    np.testing.assert_array_equal(outputs, again, "the same seed gives the same run")
    stepped, steps = memory, []
    for row in paths:
        stepped, out = simulator.step(stepped, row, dt)
        steps.append(out)
    np.testing.assert_allclose(outputs, np.stack(steps), rtol=1e-9, err_msg="a run is its steps")
    if isinstance(simulator, Runs):
        end, _ = simulator.run(memory, paths, dt)
        np.testing.assert_allclose(
            simulator.step(end, paths[0], dt)[1], simulator.step(stepped, paths[0], dt)[1], rtol=1e-9
        )
    if isinstance(simulator, Branches):
        _branches(simulator, memory, paths, dt)
    if isinstance(simulator, Assignable):
        _assignable(simulator, stepped, paths, dt)
    if isinstance(simulator, Noisy):
        _noisy(simulator, memory, paths, dt)


def _branches(simulator: Any, memory: Any, paths: Floats, dt: float) -> None:
    index = [3, 0, 3]
    whole = rollout(simulator, memory, paths, dt)
    chosen = rollout(simulator, simulator.select(memory, index), paths[:, :, index], dt)
    np.testing.assert_allclose(chosen[:, :, 0], chosen[:, :, 2], err_msg="copies of a member meet the same noise")
    np.testing.assert_allclose(chosen, whole[:, :, index], rtol=1e-9, err_msg="a chosen member runs as it did")


def _assignable(simulator: Any, memory: Any, paths: Floats, dt: float) -> None:
    states = simulator.extract(memory)
    k, m = len(simulator.states), paths.shape[2]
    assert states.shape == (k, m), "states are [k, m]"
    kept = states.copy()
    rng = np.random.default_rng(2)
    moved = states + 0.01 * np.abs(states) * rng.standard_normal(states.shape)
    for name, (low, high) in getattr(simulator, "bounds", {}).items():
        i = list(simulator.states).index(name)
        assert low < high, f"bounds of '{name}'"
        assert (low <= kept[i]).all(), f"'{name}' starts and stays within its bounds"
        assert (kept[i] <= high).all(), f"'{name}' starts and stays within its bounds"
        moved[i] = np.clip(moved[i], low, high)
    time = 1_600_000_000_000_000_000
    put = simulator.assign(memory, moved, time)
    np.testing.assert_array_equal(simulator.extract(put), moved, "what was assigned is extracted")
    np.testing.assert_array_equal(simulator.extract(memory), kept, "assign leaves its memory alone")
    seen = simulator.observe(put, paths[0])
    assert seen.shape == (len(simulator.outputs), m), "observe gives [y, m]"
    np.testing.assert_array_equal(simulator.extract(put), moved, "observe moves nothing")
    belief = Belief(tuple(simulator.states), moved, time)
    np.testing.assert_allclose(simulator.extract(simulator.init(belief, 1)), moved, err_msg="init takes the belief")
    after, out = simulator.step(put, paths[0], dt)
    np.testing.assert_allclose(out, simulator.observe(after, paths[0]), rtol=1e-9, err_msg="observe agrees with step")


def _noisy(simulator: Any, memory: Any, paths: Floats, dt: float) -> None:
    quiet = simulator.quiet(memory)
    one = rollout(simulator, quiet, paths, dt)
    other = rollout(simulator, simulator.quiet(simulator.init(None, 2, paths.shape[2])), paths, dt)
    assert one.shape == other.shape, "quiet runs have the same shape"
    sd = simulator.noise(memory, paths[0], dt)
    assert sd.shape == (len(simulator.states),), "noise is [k]"
    assert (sd >= 0).all(), "noise is standard deviations"
    assert np.isfinite(sd).all(), "noise is standard deviations"
    assert (simulator.noise(memory, paths[0], 4 * dt) >= sd - 1e-12).all(), "a longer step is not less noisy"
