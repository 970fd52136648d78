"""Ensemble Kalman filter: states and parameters of any simulator that can be read and overwritten.

Legend: k states, p measured outputs, m members.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, nearest
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration
from gemel.core.values import Belief, Floats, Frame
from gemel.estimators import analysis
from gemel.estimators.cycle import Cycle, Measured, Row, Taught, gated, noise_problems

SERIAL = ("square_root", "denkf", "perturbed")
SCHEMES = (*SERIAL, "etkf", "enkf_n", "letkf")


@declared
class Enkf:
    """Ensemble Kalman filter over the twin's simulator (Evensen 2003, Ocean Dynamics 53).

    Every frame row moves the ensemble with `Simulator.step` and then takes in the measured outputs.
    The noise of the steps is the process noise. A simulator that can be quiet has it added by a linear map of the
    anomalies that gives them exactly the covariance they should have (after Raanes, Carrassi and Bertino 2015): no
    chance is involved, and a small ensemble learns slow parameters without being misled. States that the simulator
    bounds (`bounds = {name: (low, high)}`) are updated on a logarithmic or logistic scale, so they never leave their
    bounds. An input that is not usable is given to the simulator as NaN; if it has no answer to that, the belief
    stands still over the row.

    - `noise`: `{output = standard deviation}` of the measurements; only these outputs teach.
    - `members`: size of the ensemble.
    - `scheme`: `square_root`, exact in the linear case (Whitaker and Hamill 2002, serial); `denkf` (Sakov and Oke
      2008); `perturbed` (Burgers et al. 1998): these take one measurement after the other. All at once do `etkf`, as
      exact, turned at random; `enkf_n` (Bocquet 2011), which finds the inflation by itself at each row; and `letkf`
      (Hunt et al. 2007), for plants of many places and few members, where far measurements count less.
    - `gate`: a measurement further than this many predicted standard deviations weighs only as much as one at that
      distance; when the turn before was off to the same side too, it is news and not an outlier, and counts in full.
      0 turns it off.
    - `inflation`: factor on the anomalies before an update.
    - `place`, `radius`: for `letkf`, `{name = [x, y]}` of states and outputs, and the distance over which a measurement
      loses its weight (it has none beyond 3.65 radii). What has no place, such as a parameter, hears everything.
    - `noise_memory`: a duration, such as "7d", over which the noise of each measurement is learned from how far it lies
      before and after its update (Desroziers et al. 2005), from a tenth to ten times of `noise`. Empty: as given.
    """

    def __init__(
        self,
        noise: Mapping[str, float],
        members: int = 64,
        scheme: str = "square_root",
        gate: float = 5.0,
        inflation: float = 1.0,
        place: Mapping[str, Sequence[float]] | None = None,
        radius: float = 0.0,
        noise_memory: str = "",
    ) -> None:
        problems = noise_problems("enkf", noise)
        if not noise:
            problems.append("enkf: noise names no output: nothing would teach the ensemble")
        if members < 3:
            problems.append(f"enkf: members {members} must be 3 or more")
        if scheme not in SCHEMES:
            problems.append(f"enkf: scheme '{scheme}' is not one of {', '.join(SCHEMES)}{nearest(scheme, SCHEMES)}")
        if inflation < 1 or gate < 0:
            problems.append("enkf: inflation must be 1 or more, gate 0 or more")
        if scheme == "letkf" and not (place and radius > 0):
            problems.append("enkf: scheme 'letkf' needs places, and a radius above 0")
        if len({len(xy) for xy in (place or {}).values()}) > 1:
            problems.append("enkf: places have different numbers of coordinates")
        if problems:
            raise ConfigError(problems, "noise = { oil = 0.3 } gives an output's standard deviation")
        self.noise, self.members, self.scheme, self.gate = dict(noise), members, scheme, gate
        self.inflation, self.place, self.radius = inflation, dict(place or {}), radius
        self._memory = duration(noise_memory) if noise_memory else 0
        self._learned: dict[str, float] = {}  # output -> variance of its noise

    def snapshot(self) -> dict[str, Any]:
        return {"noise": dict(self._learned)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._learned = {n: float(v) for n, v in state["noise"].items() if n in self.noise}

    def bind(self, setting: Setting) -> None:
        self._cycle = cycle = Cycle("enkf", setting, self.noise, self.members)
        simulator = cycle.simulator
        unknown = [n for n in self.place if n not in simulator.states and n not in simulator.outputs]
        if unknown:
            near = [nearest(n, [*simulator.states, *simulator.outputs]) for n in unknown]
            raise ConfigError(
                [f"enkf: place names '{n}', neither state nor output{m}" for n, m in zip(unknown, near, strict=True)]
            )

    def update(self, belief: Belief | None, frame: Frame) -> Belief:
        return self._cycle.update(belief, frame, self._analyse)

    def _analyse(self, joint: Floats, row: Row) -> tuple[Floats, Taught]:
        """States and outputs [k + p, m] after the row's measurements; (innovation, its standard deviation) of each."""
        measured = [one._replace(sd=self._sd(one)) for one in row.measured]
        k = len(joint) - len(measured)
        mean = joint.mean(axis=1)
        joint -= mean[:, None]
        joint *= self.inflation
        variance = np.einsum("ij,ij->i", joint, joint) / (joint.shape[1] - 1)
        taught: dict[str, tuple[float, float]] = {}
        noise = []
        for j, (name, value, sd) in enumerate(measured, start=k):
            innovation, spread = float(value - mean[j]), math.sqrt(variance[j] + sd * sd)
            taught[name] = (innovation, spread)
            noise.append(gated(innovation, spread, sd, row.last.get(name), self.gate))
        if self.scheme in SERIAL:
            rng = self._rng(row) if self.scheme == "perturbed" else None
            for j, (_, value, _) in enumerate(measured, start=k):
                self._take(joint, mean, j, value, noise[j - k], rng)
            joint += mean[:, None]
        else:
            joint = self._take_all(joint + mean[:, None], measured, np.sqrt(noise), self._rng(row))
        if self._memory:
            self._learn(taught, joint[k:].mean(axis=1), measured, 1.0 - math.exp(-row.gap / self._memory))
        return joint, taught

    def _rng(self, row: Row) -> np.random.Generator:
        return np.random.default_rng((self._cycle.seed, row.time % 2**63))

    def _take_all(self, joint: Floats, measured: list[Measured], sd: Floats, rng: np.random.Generator) -> Floats:
        """States and outputs [k + p, m] after all measurements at once."""
        observed, value = joint[-len(measured) :], np.array([one.value for one in measured])
        if self.scheme == "etkf":
            return analysis.etkf(joint, observed, value, sd, rng)
        if self.scheme == "enkf_n":
            return analysis.enkf_n(joint, observed, value, sd, rng)
        return analysis.letkf(joint, observed, value, sd, self._taper([one.name for one in measured]), rng)

    def _taper(self, names: Sequence[str]) -> Floats:
        """How much each output of `names` counts for each state, and for each of them [k + p, p]."""
        rows = [*self._cycle.simulator.states, *names]
        nowhere = [math.nan] * len(next(iter(self.place.values())))
        a, b = (np.array([self.place.get(n, nowhere) for n in some]) for some in (rows, names))
        apart = np.sqrt(((a[:, None] - b) ** 2).sum(axis=2))
        return analysis.gaspari_cohn(np.nan_to_num(apart), self.radius)

    def _sd(self, one: Measured) -> float:
        """The standard deviation of a measurement's noise as it is believed now."""
        return math.sqrt(self._learned[one.name]) if one.name in self._learned else one.sd

    def _learn(self, taught: Taught, after: Floats, measured: list[Measured], rate: float) -> None:
        """Innovation times residual is the noise variance on average, where the ensemble's spread is right."""
        for (name, value, sd), expected in zip(measured, after.tolist(), strict=True):
            innovation, spread = taught[name]
            seen = innovation * (value - expected)
            if self.gate:
                seen = min(seen, (self.gate * spread) ** 2)
            given = self.noise[name] ** 2
            self._learned[name] = float(np.clip(sd * sd + rate * (seen - sd * sd), given / 100.0, given * 100.0))

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
