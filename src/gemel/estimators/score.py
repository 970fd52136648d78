"""How well a simulator foretells what it has not heard yet: runs without learning, and their log score.

Letters in shapes: t rows, s signals, y outputs, m members.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gemel.core.values import Belief, Floats, Frame
from gemel.loop.simulate import Assignable

_LONGEST = 100  # steps that a gap between two rows is crossed in, at most


def drive(simulator: Assignable, belief: Belief, frame: Frame, every: int, seed: int) -> tuple[Belief, Floats]:
    """A belief moved through a frame by the inputs alone, with the noise a plan would meet; outputs [t, y, m].

    An input that is not usable is NaN. Where outputs then are not finite, the states stand still over the row, as in a
    filter. `every`: nanoseconds between turns, the longest step.
    """
    used = frame.usable(simulator.inputs)
    outputs = np.empty((len(frame), len(simulator.outputs), belief.members.shape[1]))
    memory, now = simulator.init(belief, seed), belief.time
    for i, (time, row) in enumerate(zip(frame.time.tolist(), used, strict=True)):
        inputs = np.repeat(row[:, None], outputs.shape[2], axis=1)
        before, steps = memory, min(max(round((time - now) / every), 1), _LONGEST)
        for _ in range(steps):
            memory, outputs[i] = simulator.step(memory, inputs, (time - now) / 1e9 / steps)
        if not np.isfinite(outputs[i]).all():
            memory = simulator.assign(before, simulator.extract(before), time)
        now = time
    return Belief(tuple(simulator.states), simulator.extract(memory), now), outputs


def log_score(simulator: Assignable, outputs: Floats, frame: Frame, noise: Mapping[str, float]) -> Floats:
    """Log density of what was measured, [t, n] for the n outputs that `noise` names, in nats; NaN where nothing was.

    The density is Gaussian, with the ensemble's mean and its variance plus that of the measurement's noise. No value
    scores below -100: beyond that nothing more is learned from how wrong it was.
    """
    rows = [list(simulator.outputs).index(n) for n in noise]
    cloud, sd = outputs[:, rows], np.array(list(noise.values()))
    with np.errstate(over="ignore", invalid="ignore"):
        variance = cloud.var(axis=2, ddof=1) + sd * sd
        miss = frame.usable(list(noise)) - cloud.mean(axis=2)
        score: Floats = -0.5 * (miss * miss / variance + np.log(2.0 * math.pi * variance))
    return np.maximum(score, -100.0)
