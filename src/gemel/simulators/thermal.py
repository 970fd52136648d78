"""Thermal model of an oil-immersed power transformer, after the loading guide IEC 60076-7:2018.

Legend: K load over rated load, R load loss over no-load loss at rated load, x and y oil and winding exponents,
k11 k21 k22 the guide's model constants, g cooling relative to no fans; k rows of a memory, m members.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.registry import declared
from gemel.core.units import duration
from gemel.core.values import Belief, Floats, Ints
from gemel.simulators.draw import draw, exact

DAY, YEAR = 86_400.0, 365.2425 * 86_400.0
CELLS = 16_384
"""Steps x members that are run at once: more no longer fit the processor's cache."""

CONSTANTS = ("x", "y", "k11", "k21", "k22", "tau_winding", "R")
_CHARACTERISTICS = (*CONSTANTS, "tau_oil", "oil_rise", "hot_rise")
COOLING = {  # the guide's recommended characteristics; R and rises of its example units; minutes and K
    name: dict(zip(_CHARACTERISTICS, row, strict=True))
    for name, row in {
        "distribution": (0.8, 1.6, 1.0, 1.0, 2.0, 4.0, 5.0, 180.0, 55.0, 23.0),
        "ONAN": (0.8, 1.3, 0.5, 2.0, 2.0, 10.0, 6.0, 210.0, 52.0, 26.0),
        "ONAF": (0.8, 1.3, 0.5, 2.0, 2.0, 7.0, 6.0, 150.0, 52.0, 26.0),
        "OF": (1.0, 1.3, 1.0, 1.3, 1.0, 7.0, 6.0, 90.0, 56.0, 22.0),
        "OD": (1.0, 2.0, 1.0, 1.0, 1.0, 7.0, 6.0, 90.0, 49.0, 29.0),
    }.items()
}

# What a latent quantity is like where nothing says more: a first-order process around `mean` with standard deviation
# `sd` that forgets in `memory`, kept within low and high.
_KEYS = ("mean", "sd", "memory", "low", "high")
PRIORS: dict[str, dict[str, float | str]] = {
    name: dict(zip(_KEYS, row, strict=True))
    for name, row in {
        "load": (0.5, 0.2, "12h", 0.0, math.inf),  # K, while the load is not heard
        "ambient": (15.0, 10.0, "1d", -math.inf, math.inf),  # while it is not heard
        "oil_rise": (52.0, 4.0, "365d", 5.0, 100.0),
        "hot_rise": (26.0, 2.0, "365d", 2.0, 60.0),
        "hot_offset": (0.0, 1.0, "6h", -math.inf, math.inf),  # what the equations miss on the hot spot, K
        "tau_oil": (210.0, 20.0, "365d", 10.0, 600.0),
        "fan_health": (1.0, 0.1, "30d", 0.0, 1.2),
        "ambient_mean": (12.0, 5.0, "300d", -math.inf, math.inf),
        "year_cos": (0.0, 5.0, "3650d", -math.inf, math.inf),
        "year_sin": (0.0, 5.0, "3650d", -math.inf, math.inf),
        "day_cos": (0.0, 2.0, "1000d", -math.inf, math.inf),
        "day_sin": (0.0, 2.0, "1000d", -math.inf, math.inf),
        "day2_cos": (0.0, 0.5, "1000d", -math.inf, math.inf),
        "day2_sin": (0.0, 0.5, "1000d", -math.inf, math.inf),
        "weather": (0.0, 3.0, "2d", -math.inf, math.inf),
    }.items()
}
_LATENT = ("ambient_mean", "year_cos", "year_sin", "day_cos", "day_sin", "day2_cos", "day2_sin", "weather")


@dataclass(frozen=True, slots=True)
class Memory:
    """States of all members at a time. `draw` is the noise column of each member (None: its own place), so that
    copies made by `select` meet the same weather and candidate plans are compared on equal terms. Without a seed
    there is no noise."""

    time: int
    states: Floats  # [k, m]
    seed: int | None
    draw: Ints | None = None  # [m]


@declared
class Thermal:
    """Top-oil and hot-spot temperature and ageing of an oil-immersed transformer.

    The guide's differential equations (IEC 60076-7, clause 8.2), solved exactly for inputs held over a step:
    `k11 tau_oil dT/dt = ((1 + R K^2)/(1 + R))^x oil_rise - (T - ambient)` for the top oil, and a hot-spot rise in two
    parts, a fast one with `k22 tau_winding` to `k21 hot_rise K^y` less a slow one with `tau_oil / k22` to
    `(k21 - 1) hot_rise K^y`. A cooling stage multiplies the cooling by `g = 1 + fan_gain * stage * fan_health`;
    oil rise and oil time constant shrink by `g^x`. Relative ageing (clause 6): `2^((T - 98)/6)` for normal paper,
    `exp(15000/383 - 15000/(T + 273))` for thermally upgraded paper.

    What is not measured is latent: states and parameters are first-order processes around their prior, and their
    noise is drawn from (seed, time), so a branch is repeatable. An ambient temperature that no signal gives is a mean
    with a yearly and two daily harmonics and slow weather. An input that is NaN holds (the stage) or wanders from its
    last value to its prior (load, ambient).

    - `load`: input names, combined as the root of their sum of squares (active and reactive power, say); `rated`:
      the load at K = 1, in the same unit.
    - `oil`, `hot_spot`, `ageing`: names of the outputs, degC, degC and per unit of normal ageing.
    - `fan`: input name of the cooling stage (0, 1, ...); with it, the output `fan_power` = stage x `fan_kw` x
      health, and `fan_gain`, how much a stage adds to the cooling.
    - `ambient`: input name of the ambient temperature, degC; without it `ambient` is latent and an output.
    - `cooling`: ONAN, ONAF, OF, OD or distribution: the guide's recommended constants; `constants` overrides some of
      `x y k11 k21 k22 tau_winding R` (minutes). `paper`: normal or upgraded.
    - `oil_noise`: what the equations miss, K per square root of an hour, on the top oil.
    - `priors`: `{name = {mean, sd, memory, low, high}}` for any of `load ambient oil_rise hot_rise hot_offset tau_oil
      fan_health` and, latent, `ambient_mean year_cos year_sin day_cos day_sin day2_cos day2_sin weather`; keys left
      out keep their defaults, `sd = 0` makes a quantity a known number. `hot_offset` is what the equations miss on the
      hot spot. Rises and temperatures in K, `tau_oil` in minutes, `memory` a duration.
    """

    def __init__(
        self,
        load: str | Sequence[str] = "load",
        rated: float = 1.0,
        oil: str = "oil",
        hot_spot: str = "hot_spot",
        ageing: str = "ageing",
        fan: str = "",
        fan_power: str = "fan_power",
        fan_kw: float = 1.0,
        fan_gain: float = 0.25,
        ambient: str = "",
        cooling: str = "ONAN",
        constants: Mapping[str, float] | None = None,
        paper: str = "normal",
        oil_noise: float = 0.1,
        priors: Mapping[str, Mapping[str, float | str]] | None = None,
    ) -> None:
        self.load = [load] if isinstance(load, str) else list(load)
        self.rated, self.oil, self.hot_spot, self.ageing = rated, oil, hot_spot, ageing
        self.fan, self.fan_power, self.fan_kw, self.fan_gain = fan, fan_power, fan_kw, fan_gain
        self.ambient, self.cooling, self.constants = ambient, cooling, dict(constants or {})
        self.paper, self.oil_noise, self.priors = paper, oil_noise, {k: dict(v) for k, v in (priors or {}).items()}
        self._check()
        self._c = {**COOLING[cooling], **self.constants}
        self.inputs = (*self.load, *([fan] if fan else []), *([ambient] if ambient else []))
        self.outputs = (oil, hot_spot, ageing, *([fan_power] if fan else []), *([] if ambient else ["ambient"]))
        drifting = ["load", "ambient"] if ambient else ["load"]
        drifting += ["oil_rise", "hot_rise", "hot_offset", "tau_oil"]
        drifting += [*(["fan_health"] if fan else []), *([] if ambient else _LATENT)]  # the latent stand last
        plain = ["top_oil", "rise_fast", "rise_slow", *(["stage"] if fan else []), *([] if ambient else ["ambient"])]
        self.states = (*plain, *drifting)
        kelvins = dict.fromkeys(("rise_fast", "rise_slow", "oil_rise", "hot_rise", "hot_offset"), "K")
        warm = dict.fromkeys(("top_oil", ambient or "ambient", oil, hot_spot), "degC")
        self.units = {**kelvins, **warm, "tau_oil": "min", **({fan_power: "kW"} if fan else {})}
        self._row = {name: i for i, name in enumerate(self.states)}
        self._drift = len(plain)
        self._table(drifting)
        self._decays = lru_cache(64)(self._decays_of)

    def _check(self) -> None:
        problems = []
        if not self.load or self.rated <= 0:
            problems.append(f"thermal: rated {self.rated:g} must be above 0, and load must name an input")
        if self.cooling not in COOLING:
            problems.append(f"thermal: cooling '{self.cooling}' is not one of {', '.join(COOLING)}")
        if self.paper not in ("normal", "upgraded"):
            problems.append(f"thermal: paper '{self.paper}' is not one of normal, upgraded")
        strange = [n for n in self.constants if n not in CONSTANTS]
        problems += [f"thermal: unknown constant '{n}'{nearest(n, CONSTANTS)}" for n in strange]
        problems += [f"thermal: unknown prior '{n}'{nearest(n, PRIORS)}" for n in self.priors if n not in PRIORS]
        for name, prior in self.priors.items():
            wrong = [k for k in prior if k not in _KEYS]
            problems += [f"thermal: prior '{name}' has no key '{k}'{nearest(k, _KEYS)}" for k in wrong]
            try:
                duration(str(prior.get("memory", "1d")))
            except InputError as error:
                problems.append(f"thermal: memory of prior '{name}': {error.message}")
        if problems:
            raise ConfigError(problems, "see the keys of gemel.simulators.thermal:Thermal")

    def _table(self, names: Sequence[str]) -> None:
        """The priors as columns [k, 1], and the bounds of bounded states."""
        rows = []
        for name in names:
            named = {"mean": self._c[name]} if name in ("oil_rise", "hot_rise", "tau_oil") else {}
            rows.append({**PRIORS[name], **named, **self.priors.get(name, {})})

        def column(key: str) -> Floats:
            return np.array([[float(r[key])] for r in rows])

        self._mean, self._sd = column("mean"), column("sd")
        self._low, self._high = column("low"), column("high")
        self._forget = np.array([[duration(str(r["memory"])) / 1e9] for r in rows])
        self.bounds: dict[str, tuple[float, float]] = {
            name: (low, high)
            for name, (low,), (high,), (sd,) in zip(names, self._low, self._high, self._sd, strict=True)
            if sd > 0 and (np.isfinite(low) or np.isfinite(high))
        }

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Memory:
        if belief is not None and belief.names == self.states:
            return Memory(belief.time, belief.members.copy(), seed)
        rng = np.random.default_rng(seed)
        m = members if belief is None else belief.members.shape[1]
        states = np.zeros((len(self.states), m))
        normal = exact(rng.standard_normal((len(self._mean) + 1, m)))
        states[self._drift :] = np.clip(self._mean + self._sd * normal[1:], self._low, self._high)
        when = 0 if belief is None else belief.time
        if not self.ambient:
            states[self._row["ambient"]] = self._basis(when) @ states[-len(_LATENT) :]
        k = states[self._row["load"]]
        self._settle(states, k)
        states[0] += 10.0 * normal[0] * (self.oil_noise > 0)  # it need not be at its steady state
        if belief is not None:
            for i, name in enumerate(self.states):
                if name in belief.names:
                    states[i] = belief.row(name)
        return Memory(when, states, seed)

    def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        states = self._advance(memory, inputs[:, None], dt)[:, 0]
        moved = Memory(memory.time + round(dt * 1e9), states, memory.seed, memory.draw)
        return moved, self._outputs(states)

    def run(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        steps, m = len(inputs), memory.states.shape[1]
        out = np.empty((steps, len(self.outputs), m))
        # an input that is missing holds what was before: step by step then
        many = max(CELLS // m, 1) if np.isfinite(inputs).all() else 1
        for i in range(0, steps, many):
            states = self._advance(memory, inputs[i : i + many].transpose(1, 0, 2), dt)
            out[i : i + many] = self._outputs(states).transpose(1, 0, 2)
            time = memory.time + states.shape[1] * round(dt * 1e9)
            memory = Memory(time, states[:, -1].copy(), memory.seed, memory.draw)
        return memory, out

    def select(self, memory: Memory, index: Sequence[int]) -> Memory:
        i = np.asarray(index, np.int32)
        return replace(memory, states=memory.states[:, i], draw=i if memory.draw is None else memory.draw[i])

    def assign(self, memory: Memory, states: Floats, time: int) -> Memory:
        return Memory(time, np.array(states, np.float64), memory.seed)

    def extract(self, memory: Memory) -> Floats:
        return memory.states.copy()

    def observe(self, memory: Memory, inputs: Floats) -> Floats:
        states = memory.states.copy()
        self._hear(states, inputs)
        return self._outputs(states)

    def quiet(self, memory: Memory) -> Memory:
        return replace(memory, seed=None)

    def noise(self, memory: Memory, inputs: Floats, dt: float) -> Floats:
        spread = np.zeros(len(self.states))
        spread[self._drift :] = self._decays(dt)[2][:, 0]
        spread[0] = self.oil_noise * math.sqrt(dt / 3600.0)
        missing = [bool(np.isnan(row).any()) for row in inputs]
        spread[self._row["load"]] *= any(missing[: len(self.load)])
        if self.ambient:
            spread[self._row["ambient"]] *= missing[-1]
        return spread

    def _advance(self, memory: Memory, inputs: Floats, dt: float) -> Floats:
        """States [k, t, m] under inputs [u, t, m], `dt` seconds each. Only what depends on the step before is done step
        by step; several steps at once need inputs that are all known."""
        c, row, before, count = self._c, self._row, memory.states, inputs.shape[1]
        states = np.empty((len(before), count, before.shape[1]))
        states[3 : self._drift] = before[3 : self._drift, None]
        shock = self._drifted(memory, dt, states[self._drift :])
        self._hear(states, inputs)
        if not self.ambient:
            basis = np.array([self._basis(memory.time + (i + 1) * round(dt * 1e9)) for i in range(count)])
            states[row["ambient"]] = np.einsum("tk,ktm->tm", basis, states[-len(_LATENT) :])
        k, tau = states[row["load"]], states[row["tau_oil"]] * 60.0
        if inputs.strides[-1] == 0 and np.isfinite(inputs[..., 0]).all():
            k = k[:, :1]  # one load for all members: a power is dear
        ultimate, slower = self._ultimate(states, k)
        rise = states[row["hot_rise"]] * k ** c["y"]
        keep, due, moved = (np.empty((count, 3, before.shape[1])) for _ in range(3))
        keep[:, 0] = np.exp(-dt / (c["k11"] * tau * slower))
        keep[:, 1], keep[:, 2] = self._decays(dt)[3], np.exp(-dt * c["k22"] / tau)
        due[:, 0], due[:, 1], due[:, 2] = ultimate, c["k21"] * rise, (c["k21"] - 1.0) * rise
        due *= 1.0 - keep
        due[:, 0] += shock
        now = before[:3]
        for t in range(count):
            now = np.multiply(now, keep[t], out=moved[t])
            now += due[t]
        states[:3] = moved.transpose(1, 0, 2)
        return states

    def _drifted(self, memory: Memory, dt: float, out: Floats) -> Floats | float:
        """Into `out` [k, t, m] the drifting states after each step; returns the noise of the top oil [t, m]."""
        keep, pull, spread, _ = self._decays(dt)
        now, count = memory.states[self._drift :], out.shape[1]
        if memory.seed is None:
            np.subtract(now[:, None], self._mean[:, :, None], out=out)
            out *= keep[:, :, None] ** np.arange(1, count + 1)[:, None]
            out += self._mean[:, :, None]
            return 0.0
        shock = np.empty(out.shape[1:])
        for i in range(count):
            time = memory.time + (i + 1) * round(dt * 1e9)
            normal = draw(memory.seed, time, len(now) + 1, now.shape[1], memory.draw)
            now = np.multiply(now, keep, out=out[:, i])
            now += pull
            now += spread * normal[1:]
            np.maximum(now, self._low, out=now)
            np.minimum(now, self._high, out=now)
            shock[i] = normal[0]
        shock *= self.oil_noise * math.sqrt(dt / 3600.0)
        return shock

    def _hear(self, states: Floats, inputs: Floats) -> None:
        """In place: inputs [u, ..., m] that are known replace the held ones [k, ..., m]."""
        n = len(self.load)
        squares = inputs[0] * inputs[0]
        for other in inputs[1:n]:
            squares += other * other
        heard = [("load", np.sqrt(squares) / self.rated)]
        if self.fan:
            heard.append(("stage", inputs[n]))
        if self.ambient:
            heard.append(("ambient", inputs[-1]))
        for name, value in heard:
            np.copyto(states[self._row[name]], value, where=value == value)

    def _ultimate(self, states: Floats, k: Floats) -> tuple[Floats, Floats]:
        """The top oil's steady state [..., m], and the factor on rise and time constant from forced cooling."""
        c = self._c
        slower: Floats = np.ones(1)
        if self.fan:
            g = 1.0 + self.fan_gain * states[self._row["stage"]] * states[self._row["fan_health"]]
            slower = g ** -c["x"]
        losses = ((1.0 + c["R"] * k * k) / (1.0 + c["R"])) ** c["x"]
        return states[self._row["ambient"]] + states[self._row["oil_rise"]] * losses * slower, slower

    def _settle(self, states: Floats, k: Floats) -> None:
        """In place: temperatures at the steady state of load and ambient."""
        rise = states[self._row["hot_rise"]] * k ** self._c["y"]
        states[0] = self._ultimate(states, k)[0]
        states[1], states[2] = self._c["k21"] * rise, (self._c["k21"] - 1.0) * rise

    def _outputs(self, states: Floats) -> Floats:
        out = np.empty((len(self.outputs), *states.shape[1:]))
        out[0] = states[0]
        out[1] = states[0] + states[1] - states[2] + states[self._row["hot_offset"]]
        if self.paper == "normal":
            out[2] = np.exp2((out[1] - 98.0) / 6.0)
        else:
            out[2] = np.exp(15_000.0 / 383.0 - 15_000.0 / (out[1] + 273.0))
        if self.fan:
            out[3] = states[self._row["stage"]] * states[self._row["fan_health"]] * self.fan_kw
        if not self.ambient:
            out[-1] = states[self._row["ambient"]]
        return out

    def _decays_of(self, dt: float) -> tuple[Floats, Floats, Floats, float]:
        keep = np.exp(-dt / self._forget)
        fast = math.exp(-dt / (self._c["k22"] * self._c["tau_winding"] * 60.0))
        return keep, self._mean * (1.0 - keep), self._sd * np.sqrt(1.0 - keep**2), fast

    def _basis(self, time: int) -> Floats:
        """What the latent states weigh in the ambient temperature at `time`, [8]."""
        sin, cos = math.sin, math.cos
        year, day = 2 * math.pi * (time / 1e9 / YEAR), 2 * math.pi * (time / 1e9 % DAY / DAY)
        return np.array([1.0, cos(year), sin(year), cos(day), sin(day), cos(2 * day), sin(2 * day), 1.0])
