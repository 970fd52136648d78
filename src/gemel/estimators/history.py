"""A simulator run over a whole frame, from draws of its first states and parameters: what batch calibration asks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gemel.core.errors import InputError, nearest
from gemel.core.grid import held
from gemel.core.values import BAD, Belief, Floats, Frame, Times
from gemel.estimators.scale import Scale
from gemel.loop.simulate import Assignable, Noisy, Runs

Priors = Mapping[str, tuple[float, float]]
"""State or parameter -> (mean, standard deviation) in its own unit; a deviation of 0 holds it there."""


class History:
    """What was measured in a frame, and what any first states and parameters would have given.

    `noise` is `{output = standard deviation}`; only these outputs count, where the frame has a usable value. The noise
    of a simulator that can be quiet is left out. An input that is missing keeps its last value. The time before the
    first row is as long as that between the first two. `value` and `sd` [p] are the usable measurements in the order
    of `run`; `inputs` [t, u] what drove it.
    """

    def __init__(self, simulator: Assignable, frame: Frame, noise: Mapping[str, float], seed: int = 0) -> None:
        unknown = [n for n in noise if n not in simulator.outputs]
        if unknown:
            raise InputError(
                f"noise names '{unknown[0]}', not an output{nearest(unknown[0], simulator.outputs)}",
                f"outputs: {', '.join(simulator.outputs)}",
            )
        if len(frame) < 2:
            raise InputError("a calibration needs two rows of telemetry or more", "choose a longer stretch of time")
        self.simulator, self.noise, self.seed = simulator, noise, seed
        self.scale = Scale(simulator.states, getattr(simulator, "bounds", {}))
        self.time: Times = np.concatenate([[2 * frame.time[0] - frame.time[1]], frame.time])
        self.inputs = held(frame.usable(simulator.inputs))  # [t, u]
        self._frame = frame
        heard = [n for n in noise if n in frame.signals]
        columns = [frame.signals.index(n) for n in heard]
        self._rows = [list(simulator.outputs).index(n) for n in heard]
        self._usable = np.isfinite(frame.values[:, columns]) & (frame.quality[:, columns] < BAD)  # [t, y]
        self.value = frame.values[:, columns][self._usable]
        self.sd = np.broadcast_to(np.array([float(noise[n]) for n in heard]), self._usable.shape)[self._usable]
        if not len(self.value):
            raise InputError(
                f"nothing usable was measured of {', '.join(noise)} in these rows", "choose another stretch of time"
            )

    def prior(self, members: int, priors: Priors | None = None) -> Floats:
        """Draws [k, m] on the unbounded scale, from the simulator's own prior where `priors` says nothing."""
        memory = self.simulator.init(None, self.seed, members)
        free = self.scale.forward(np.array(self.simulator.extract(memory), np.float64))
        if not priors:
            return free
        names = list(self.simulator.states)
        for name in priors:
            if name not in names:
                raise InputError(f"prior of '{name}', neither a state nor a parameter{nearest(name, names)}")
        rows = [names.index(n) for n in priors]
        mean, sd = np.zeros(len(names)), np.zeros(len(names))
        mean[rows], sd[rows] = np.array([priors[n] for n in priors], np.float64).T
        free_mean, free_sd = (x[rows, None] for x in self.scale.around(mean, sd))
        free[rows] = free_mean + free_sd * np.random.default_rng(self.seed).standard_normal((len(rows), members))
        return free

    def run(self, free: Floats) -> tuple[Floats, Floats]:
        """From first states and parameters [k, m] on the unbounded scale: what would have been measured [p, m], and
        the states at the end [k, m] on their own."""
        simulator, m = self.simulator, free.shape[1]
        states = self.scale.back(free.copy())
        memory = simulator.init(Belief(tuple(simulator.states), states, int(self.time[0])), self.seed)
        if isinstance(simulator, Noisy):
            memory = simulator.quiet(memory)
        gaps = np.diff(self.time) / 1e9
        inputs = np.broadcast_to(self.inputs[:, :, None], (*self.inputs.shape, m))
        if isinstance(simulator, Runs) and (gaps == gaps[0]).all():
            memory, outputs = simulator.run(memory, inputs, float(gaps[0]))
            kept = outputs[:, self._rows]
        else:
            kept = np.empty((len(gaps), len(self._rows), m))
            for i, dt in enumerate(gaps.tolist()):
                memory, outputs = simulator.step(memory, inputs[i], dt)
                kept[i] = outputs[self._rows]
        return kept[self._usable], simulator.extract(memory)

    def belief(self, free: Floats) -> Belief:
        """What is believed at the end of the frame, for the estimator to go on from."""
        return Belief(tuple(self.simulator.states), self.run(free)[1], int(self.time[-1]))
