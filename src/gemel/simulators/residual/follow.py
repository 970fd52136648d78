"""Following telemetry with a simulator: its inputs as heard, and its ensemble kept near what was measured.

It is the plain square-root filter (Whitaker and Hamill 2002), enough to start runs from; a twin's own belief is kept by
its estimator. Legend: k states, u inputs, t rows, m members.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from gemel.core.grid import held
from gemel.core.values import Belief, Floats, Frame
from gemel.loop.simulate import Assignable

_GATE = 5.0  # beyond as many standard deviations a measurement weighs less


def roughness(values: Floats) -> float:
    """The standard deviation of a series' noise, from how far each value lies from the line through its neighbours; a
    hundredth of its spread at least."""
    bend = values[2:] - 2.0 * values[1:-1] + values[:-2]
    bend = bend[np.isfinite(bend)]
    noise = 1.4826 * float(np.median(np.abs(bend))) / math.sqrt(6.0) if len(bend) else 0.0
    return max(noise, 0.01 * float(np.nanstd(values)), 1e-9)


def followed(simulator: Assignable, frame: Frame, belief: Belief, noise: Mapping[str, float]) -> Iterator[Belief]:
    """The belief at each row; `belief` is where to start from, whatever its time. `noise`: output -> deviation."""
    dt = int(frame.time[1] - frame.time[0])
    memory = simulator.init(Belief(belief.names, belief.members, int(frame.time[0]) - dt), 0)
    inputs, m = held(frame.usable(simulator.inputs)), belief.members.shape[1]
    measured = [(list(simulator.outputs).index(n), n, frame.usable([n])[:, 0], sd) for n, sd in noise.items()]
    bounds = [(list(simulator.states).index(n), *edges) for n, edges in getattr(simulator, "bounds", {}).items()]
    for row, time in enumerate(frame.time.tolist()):
        memory, out = simulator.step(memory, np.repeat(inputs[row][:, None], m, axis=1), dt / 1e9)
        states, innovation = simulator.extract(memory), {}
        joint = np.concatenate([states, out])
        for i, name, values, sd in measured:
            if not (np.isfinite(values[row]) and np.isfinite(joint).all()):
                continue
            joint, innovation[name] = _take(joint, len(states) + i, float(values[row]), sd)
        states = joint[: len(states)]
        for i, low, high in bounds:
            np.clip(states[i], low, high, out=states[i])
        memory = simulator.assign(memory, states, time)
        yield Belief(tuple(simulator.states), states, time, innovation)


def _take(joint: Floats, row: int, value: float, sd: float) -> tuple[Floats, tuple[float, float]]:
    """States and outputs after one measurement of the row; its innovation, and the deviation that should have."""
    mean = joint.mean(axis=1)
    a = joint - mean[:, None]
    covariance = a @ a[row] / (joint.shape[1] - 1)
    own, off = float(covariance[row]), value - float(mean[row])
    spread = math.sqrt(own + sd * sd)
    total = spread**2 * max(off**2 / (_GATE * spread) ** 2, 1.0)
    gain = covariance / total
    a -= np.outer(gain / (1.0 + math.sqrt(max(total - own, 0.0) / total)), a[row])
    return mean[:, None] + gain[:, None] * off + a, (off, spread)
