"""Ensemble Kalman filter: states and parameters of any simulator that can be read and overwritten.

Legend: A anomalies (members less their mean) [k, m], P their covariance, Q covariance of the noise of a step,
k states, p measured outputs, m members.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, nearest
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.values import BAD, Belief, Bools, Floats, Frame
from gemel.loop.simulate import Assignable, Noisy, Simulator

SCHEMES = ("square_root", "denkf", "perturbed")


@declared
class Enkf:
    """Ensemble Kalman filter over the twin's simulator (Evensen 2003, Ocean Dynamics 53).

    Every frame row moves the ensemble with `Simulator.step` and then takes in the measured outputs one after the other.
    The noise of the steps is the process noise. A simulator that can be quiet has it added by a linear map of the
    anomalies that gives them exactly the covariance they should have (after Raanes, Carrassi and Bertino 2015): no
    chance is involved, and a small ensemble learns slow parameters without being misled. States that the simulator
    bounds (`bounds = {name: (low, high)}`) are updated on a logarithmic or logistic scale, so they never leave their
    bounds. An input that is not usable is given to the simulator as NaN; if it has no answer to that, the belief
    stands still over the row.

    - `noise`: `{output = standard deviation}` of the measurements; only these outputs teach.
    - `members`: size of the ensemble.
    - `scheme`: `square_root`, exact in the linear case (Whitaker and Hamill 2002, serial); `denkf` (Sakov and Oke
      2008); `perturbed` (Burgers et al. 1998).
    - `gate`: a measurement further than this many predicted standard deviations weighs only as much as one at that
      distance; when the turn before was off to the same side too, it is news and not an outlier, and counts in full.
      0 turns it off.
    - `inflation`: factor on the anomalies before an update.
    """

    def __init__(
        self,
        noise: Mapping[str, float],
        members: int = 64,
        scheme: str = "square_root",
        gate: float = 5.0,
        inflation: float = 1.0,
    ) -> None:
        problems = [f"enkf: noise of '{n}' is {sd:g}, it must be above 0" for n, sd in noise.items() if sd <= 0]
        if not noise:
            problems.append("enkf: noise names no output: nothing would teach the ensemble")
        if members < 3:
            problems.append(f"enkf: members {members} must be 3 or more")
        if scheme not in SCHEMES:
            problems.append(f"enkf: scheme '{scheme}' is not one of {', '.join(SCHEMES)}{nearest(scheme, SCHEMES)}")
        if inflation < 1 or gate < 0:
            problems.append("enkf: inflation must be 1 or more, gate 0 or more")
        if problems:
            raise ConfigError(problems, "noise = { oil = 0.3 } gives an output's standard deviation")
        self.noise, self.members, self.scheme, self.gate = dict(noise), members, scheme, gate
        self.inflation = inflation

    def bind(self, setting: Setting) -> None:
        simulator: Simulator = setting.simulator
        if not isinstance(simulator, Assignable):
            raise ConfigError(
                ["enkf: the twin's simulator cannot be read and overwritten"],
                "choose a simulator with extract, assign and observe, such as kind = 'thermal'",
            )
        unknown = [n for n in self.noise if n not in simulator.outputs]
        if unknown:
            raise ConfigError(
                [f"enkf: noise names '{n}', not an output{nearest(n, simulator.outputs)}" for n in unknown],
                f"outputs: {', '.join(simulator.outputs)}",
            )
        self._every, self._seed = setting.every, setting.seed
        self._simulator = simulator
        self._access: Assignable = simulator
        self._observed = [(n, list(simulator.outputs).index(n), sd) for n, sd in self.noise.items()]
        self._noisy = simulator if isinstance(simulator, Noisy) else None
        self._scale = Scale(simulator.states, getattr(simulator, "bounds", {}))

    def update(self, belief: Belief | None, frame: Frame) -> Belief:
        if belief is None:
            memory = self._simulator.init(None, self._seed, self.members)
            now = int(frame.time[0]) - self._every
            memory = self._access.assign(memory, self._access.extract(memory), now)
        else:
            memory, now = self._simulator.init(belief, self._seed), belief.time
        if self._noisy:
            memory = self._noisy.quiet(memory)
        good = _usable(frame)
        place = {n: i for i, n in enumerate(frame.signals)}
        fed = [(i, place[n]) for i, n in enumerate(self._simulator.inputs) if n in place]
        heard = [(n, i, place[n], sd) for n, i, sd in self._observed if n in place]
        last = {} if belief is None else dict(belief.innovation)
        for row in range(len(frame)):
            time = int(frame.time[row])
            if time <= now:
                continue
            memory, expected = self._forecast(memory, now, time, fed, frame.values[row], good[row])
            now = time
            measured = [(n, i, frame.values[row, s], sd) for n, i, s, sd in heard if good[row, s]]
            memory, last = self._analyse(memory, expected, measured, now, last)
        return Belief(tuple(self._simulator.states), self._access.extract(memory), now, last)

    def _forecast(
        self, memory: Any, now: int, time: int, fed: list[tuple[int, int]], values: Floats, good: Bools
    ) -> tuple[Any, Floats]:
        """The memory and its outputs at `time`; a long gap is crossed in steps of the turn's length (100 at most)."""
        before = self._access.extract(memory)
        inputs = np.full((len(self._simulator.inputs), before.shape[1]), np.nan)
        for i, s in fed:
            if good[s]:
                inputs[i] = values[s]
        steps = min(max(round((time - now) / self._every), 1), 100)
        expected, dt = np.empty(0), (time - now) / 1e9 / steps
        for _ in range(steps):
            memory, expected = self._simulator.step(memory, inputs, dt)
        if self._noisy:
            states = widen(
                self._access.extract(memory), self._noisy.noise(memory, inputs, dt * steps), self._seed, time
            )
            memory = self._noisy.quiet(self._access.assign(memory, states, time))
            expected = self._access.observe(memory, inputs)
        if not np.isfinite(expected).all():
            memory = self._access.assign(memory, before, time)
            expected = self._access.observe(memory, inputs)
        return memory, expected

    def _analyse(
        self,
        memory: Any,
        expected: Floats,
        measured: list[tuple[str, int, float, float]],
        now: int,
        last: Mapping[str, tuple[float, float]],
    ) -> tuple[Any, dict[str, tuple[float, float]]]:
        """The memory after its measurements, and (innovation, its standard deviation) of each."""
        measured = [entry for entry in measured if np.isfinite(expected[entry[1]]).all()]
        if not measured:
            return memory, {}
        k = len(self._scale)
        joint = np.empty((k + len(measured), expected.shape[1]))  # states above, outputs below
        joint[:k] = self._scale.forward(self._access.extract(memory))
        joint[k:] = expected[[i for _, i, _, _ in measured]]
        mean = joint.mean(axis=1)
        joint -= mean[:, None]
        joint *= self.inflation
        variance = np.einsum("ij,ij->i", joint, joint) / (joint.shape[1] - 1)
        taught: dict[str, tuple[float, float]] = {}
        weights = []
        for j, (name, _, value, sd) in enumerate(measured, start=k):
            innovation, spread = float(value - mean[j]), math.sqrt(variance[j] + sd * sd)
            taught[name] = (innovation, spread)
            weights.append(self._noise_of(innovation, spread, sd, last.get(name)))
        rng = np.random.default_rng((self._seed, now % 2**63)) if self.scheme == "perturbed" else None
        for j, (_, _, value, _) in enumerate(measured, start=k):
            self._take(joint, mean, j, value, weights[j - k], rng)
        states = self._scale.back(joint[:k] + mean[:k, None])
        return self._access.assign(memory, states, now), taught

    def _noise_of(self, innovation: float, spread: float, sd: float, last: tuple[float, float] | None) -> float:
        """The noise variance a measurement is given: its own, or more when it is an outlier."""
        far = abs(innovation) / spread
        if not self.gate or far <= self.gate:
            return sd * sd
        if last and innovation * last[0] > 0 and abs(last[0]) > self.gate * last[1] / 2:
            return sd * sd
        return sd * sd + (far**2 / self.gate**2 - 1.0) * spread * spread

    def _take(
        self, joint: Floats, mean: Floats, j: int, value: float, noise: float, rng: np.random.Generator | None
    ) -> None:
        """In place: one scalar measurement of row `j` of the joint anomalies."""
        m = joint.shape[1]
        a = joint[j].copy()
        covariance = joint @ a / (m - 1)
        own = float(covariance[j])
        if own <= 0.0:
            return
        gain = covariance / (own + noise)
        mean += gain * (value - mean[j])
        if rng is not None:
            kick = np.sqrt(noise) * rng.standard_normal(m)
            joint -= gain[:, None] * (a + kick - kick.mean())
        elif self.scheme == "denkf":
            joint -= (0.5 * gain)[:, None] * a
        else:
            joint -= (gain / (1.0 + math.sqrt(noise / (own + noise))))[:, None] * a


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


class Scale:
    """Between states and unbounded coordinates: log above a lower bound, logistic between two."""

    def __init__(self, states: Any, bounds: Mapping[str, tuple[float, float]]) -> None:
        names = list(states)
        self._size = len(names)
        self._one = [(names.index(n), low) for n, (low, high) in bounds.items() if math.isinf(high)]
        both = [(names.index(n), low, high) for n, (low, high) in bounds.items() if not math.isinf(high)]
        self._both = [i for i, _, _ in both]
        self._low = np.array([[low] for _, low, _ in both])
        self._width = np.array([[high - low] for _, low, high in both])

    def __len__(self) -> int:
        return self._size

    def forward(self, states: Floats) -> Floats:
        """States [k, m] to unbounded coordinates; what lies on a bound is taken a millionth inside."""
        for i, low in self._one:
            states[i] = np.log(np.maximum(states[i] - low, 1e-6))
        if self._both:
            part = np.clip((states[self._both] - self._low) / self._width, 1e-6, 1.0 - 1e-6)
            states[self._both] = np.log(part / (1.0 - part))
        return states

    def back(self, free: Floats) -> Floats:
        """Unbounded coordinates [k, m] to states."""
        for i, low in self._one:
            free[i] = low + np.exp(free[i])
        if self._both:
            free[self._both] = self._low + self._width / (1.0 + np.exp(-free[self._both]))
        return free


def _usable(frame: Frame) -> Bools:
    """Cells to learn from, [t, s]: measured, finite, not bad and not imputed."""
    return np.isfinite(frame.values) & (frame.quality < BAD)
