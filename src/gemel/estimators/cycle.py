"""The cycle of a filter over an ensemble: from row to row, step the simulator, then take in what was measured.

Legend: A anomalies (members less their mean) [k, m], P their covariance, Q covariance of the noise of a step,
k states, p measured outputs, m members.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gemel.core.errors import ConfigError, PartError, nearest
from gemel.core.setting import Setting
from gemel.core.units import stamp
from gemel.core.values import BAD, Belief, Bools, Floats, Frame
from gemel.estimators.scale import Scale
from gemel.loop.simulate import Assignable, Noisy

log = logging.getLogger("gemel")

REFUSED = 3
"""Rows of a frame that a simulator may refuse: beyond them the rows up to the newest are passed over."""
Taught = Mapping[str, tuple[float, float]]
"""Output -> (innovation, the standard deviation it should have)."""


class Measured(NamedTuple):
    """What one row says of one output, and the standard deviation of its noise."""

    name: str
    value: float
    sd: float


class Row(NamedTuple):
    """What is to be taken in at `time`, `gap` nanoseconds after the row before, of which `last` was learned."""

    time: int
    gap: int
    measured: list[Measured]  # [p]
    last: Taught


Analyse = Callable[[Floats, Row], tuple[Floats, Taught]]
"""States on the unbounded scale with the measured outputs below them, [k + p, m], to the states after the row (rows
after the k-th are not read) and what they were taught. The array given may be written to."""


class Cycle:
    """What every filter part has in common: the simulator, seen through the twin's setting.

    `kind` is the part's, for messages; `noise` as in the twin file; `members` the size of the first ensemble. With
    `quiet` the noise of the steps is added by `widen`, otherwise the simulator draws it.
    """

    def __init__(
        self, kind: str, setting: Setting, noise: Mapping[str, float], members: int, quiet: bool = True
    ) -> None:
        simulator = setting.simulator
        if not isinstance(simulator, Assignable):
            raise ConfigError(
                [f"{kind}: the twin's simulator cannot be read and overwritten"],
                "choose a simulator with extract, assign and observe, such as kind = 'thermal'",
            )
        unknown = [n for n in noise if n not in simulator.outputs]
        if unknown:
            raise ConfigError(
                [f"{kind}: noise names '{n}', not an output{nearest(n, simulator.outputs)}" for n in unknown],
                f"outputs: {', '.join(simulator.outputs)}",
            )
        self.simulator, self.seed = simulator, setting.seed
        self._every, self._members = setting.every, members
        self._observed = [(n, list(simulator.outputs).index(n), sd) for n, sd in noise.items()]
        self._noisy = simulator if quiet and isinstance(simulator, Noisy) else None
        self._scale = Scale(simulator.states, getattr(simulator, "bounds", {}))

    def update(self, belief: Belief | None, frame: Frame, analyse: Analyse) -> Belief:
        """The belief at the end of the frame. A row that the simulator refuses, such as one with an absurd input, is
        stood still over, as the belief could never leave it behind; raises `PartError` where that is the newest."""
        simulator, refused = self.simulator, 0
        if belief is None:
            memory = simulator.init(None, self.seed, self._members)
            now = int(frame.time[0]) - self._every
            memory = simulator.assign(memory, simulator.extract(memory), now)
        else:
            memory, now = simulator.init(belief, self.seed), belief.time
        if self._noisy:
            memory = self._noisy.quiet(memory)
        good = _usable(frame)
        place = {n: i for i, n in enumerate(frame.signals)}
        fed = [(i, place[n]) for i, n in enumerate(simulator.inputs) if n in place]
        heard = [(i, place[n], n, sd) for n, i, sd in self._observed if n in place]
        last: Taught = {} if belief is None else dict(belief.innovation)
        for row in range(len(frame)):
            time = int(frame.time[row])
            newest = row == len(frame) - 1
            if time <= now or (refused > REFUSED and not newest):
                continue
            try:
                memory, expected = self._forecast(memory, now, time, fed, frame.values[row], good[row])
            except PartError as error:
                if newest:
                    raise
                log.warning("estimator: %s; it stands still over this row", error.message)
                memory = simulator.assign(memory, simulator.extract(memory), time)
                now, last, refused = time, {}, refused + 1
                continue
            found = [(i, Measured(n, frame.values[row, s], sd)) for i, s, n, sd in heard if good[row, s]]
            found = [(i, one) for i, one in found if np.isfinite(expected[i]).all()]
            taught: Taught = {}
            if found:
                joint = np.concatenate(
                    [self._scale.forward(simulator.extract(memory)), expected[[i for i, _ in found]]]
                )
                joint, taught = analyse(joint, Row(time, time - now, [one for _, one in found], last))
                memory = simulator.assign(memory, self._scale.back(joint[: len(self._scale)]), time)
            now, last = time, taught
        return Belief(tuple(simulator.states), simulator.extract(memory), now, last)

    def _forecast(
        self, memory: Any, now: int, time: int, fed: list[tuple[int, int]], values: Floats, good: Bools
    ) -> tuple[Any, Floats]:
        """The memory and its outputs at `time`; a long gap is crossed in steps of the turn's length (100 at most)."""
        simulator = self.simulator
        before = simulator.extract(memory)
        inputs = np.full((len(simulator.inputs), before.shape[1]), np.nan)
        for i, s in fed:
            if good[s]:
                inputs[i] = values[s]
        steps = min(max(round((time - now) / self._every), 1), 100)
        expected, dt = np.empty(0), (time - now) / 1e9 / steps
        for i in range(1, steps + 1):
            memory, expected = simulator.step(memory, inputs, dt)
            memory, expected = self._redrawn(memory, expected, inputs, now + round(i * dt * 1e9))
        if self._noisy:
            states = widen(simulator.extract(memory), self._noisy.noise(memory, inputs, dt * steps), self.seed, time)
            memory = self._noisy.quiet(simulator.assign(memory, states, time))
            expected = simulator.observe(memory, inputs)
        if not np.isfinite(expected).all():
            memory = simulator.assign(memory, before, time)
            expected = simulator.observe(memory, inputs)
        return memory, expected

    def _redrawn(self, memory: Any, expected: Floats, inputs: Floats, time: int) -> tuple[Any, Floats]:
        """The same, with members that the simulator has lost (NaN states) as copies of others, drawn at random."""
        if np.isfinite(expected).all():
            return memory, expected
        states = self.simulator.extract(memory)
        lost: Bools = np.asarray(~np.isfinite(states).all(axis=0))
        if not lost.any() or lost.all():
            return memory, expected
        log.warning("estimator: %d of %d members failed at %s; drawn again", lost.sum(), len(lost), stamp(time))
        index, rng = np.arange(len(lost)), np.random.default_rng((self.seed, time % 2**63, 1))
        index[lost] = rng.choice(np.flatnonzero(~lost), lost.sum())
        memory = self.simulator.assign(memory, states[:, index], time)
        return memory, self.simulator.observe(memory, inputs)


def noise_problems(kind: str, noise: Mapping[str, float]) -> list[str]:
    """What is wrong with the `noise` of a part of this kind: each must be a number above 0, and finite."""
    return [
        f"{kind}: noise of '{n}' is {sd!r}, it must be a number above 0"
        for n, sd in noise.items()
        if not isinstance(sd, int | float) or not 0 < sd < math.inf
    ]


def gated(innovation: float, spread: float, sd: float, last: tuple[float, float] | None, gate: float) -> float:
    """The noise variance a measurement is given: its own, or more when it is an outlier.

    Beyond `gate` predicted standard deviations it weighs as much as one at that distance, unless the innovation before
    was off to the same side too: then it is news. A gate of 0 lets everything through.
    """
    far = abs(innovation) / spread
    if not gate or far <= gate:
        return sd * sd
    if last and innovation * last[0] > 0 and abs(last[0]) > gate * last[1] / 2:
        return sd * sd
    return sd * sd + (far**2 / gate**2 - 1.0) * spread * spread


def widen(states: Floats, noise: Floats, seed: int, time: int) -> Floats:
    """The ensemble [k, m] with independent noise of standard deviations [k] added to its covariance.

    The anomalies of the noisy rows become L A with L = chol(P + Q) chol(P)^-1, so their covariance P becomes P + Q
    exactly and no chance is involved. Rows without spread, and an ensemble too small, get random draws.
    """
    noisy = noise > 0
    spread = states.std(axis=1)
    mapped = np.flatnonzero(noisy & (spread > 1e-4 * noise))
    mean = states[mapped].mean(axis=1, keepdims=True)
    a = states[mapped] - mean
    p = a @ a.T / (a.shape[1] - 1)
    try:
        low = np.linalg.cholesky(p)
        wide = np.linalg.cholesky(p + np.diag(noise[mapped] ** 2))
        states[mapped] = mean + wide @ np.linalg.solve(low, a)
        noisy[mapped] = False
    except np.linalg.LinAlgError:
        pass
    drawn = np.flatnonzero(noisy)
    if len(drawn):
        rng = np.random.default_rng((seed, time % 2**63))
        states[drawn] += noise[drawn, None] * rng.standard_normal((len(drawn), states.shape[1]))
    return states


def _usable(frame: Frame) -> Bools:
    """Cells to learn from, [t, s]: measured, finite, not bad and not imputed."""
    return np.isfinite(frame.values) & (frame.quality < BAD)
