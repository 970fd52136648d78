"""Small buildings of one, two and three thermal nodes, a plant that is one of them, and its telemetry.

Temperatures in degC, capacities in kWh/K, conductances in kW/K, heat in kW; a row an hour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.clock import Virtual
from gemel.core.setting import Setting
from gemel.core.values import BAD, GOOD, Belief, Floats, Frame, Ints, Signal, Signals
from gemel.simulators.candidates import Candidates
from gemel.simulators.draw import draw, exact

HOUR = 3600 * 10**9
DAY = 24 * HOUR
FORGET = 60 * 24.0  # hours after which a parameter has forgotten where it was
START = 1_700_006_400 * 10**9  # a midnight
PRIORS = {  # mean and relative standard deviation
    "capacity": (3.0, 0.3), "wall": (15.0, 0.3), "inside": (1.0, 0.3), "outside": (0.3, 0.3), "leak": (0.1, 0.3),
    "mass": (3.0, 0.3), "floor": (0.5, 0.3), "window": (0.03, 0.5),
}  # fmt: skip
TRUTH = {"capacity": 2.5, "leak": 0.1, "wall": 18.0, "inside": 1.2, "outside": 0.25}
OF = {
    1: ("capacity", "leak"),
    2: ("capacity", "leak", "wall", "inside", "outside"),
    3: ("capacity", "leak", "wall", "inside", "outside", "mass", "floor"),
}


@dataclass(frozen=True)
class Memory:
    states: Floats
    time: int
    seed: int | None
    draw: Ints | None = None


class Building:
    """`nodes` thermal masses; with `window` the wind blows through one, which the plant may open."""

    outputs: Sequence[str] = ("T_room",)

    def __init__(self, nodes: int, window: bool = False, noise: float = 0.03) -> None:
        self.nodes, self._noise = nodes, noise
        self.inputs = ("heat", "outdoor", *(["wind"] if window else []))
        self.parameters = (*OF[nodes], *(["window"] if window else []))
        self.states = (*("T_room", "T_wall", "T_mass")[:nodes], *self.parameters)
        wide = {1: {"capacity": (10.0, 0.3), "leak": (0.35, 0.3)}}.get(nodes, {})
        self._priors = [(20.0, 1.5), (17.0, 1.5), (20.0, 1.5)][:nodes]
        self._priors += [(m, m * s) for m, s in ((PRIORS | wide)[n] for n in self.parameters)]
        self._mean, self._sd = np.array([[m] for m, _ in self._priors]), np.array([s for _, s in self._priors])
        self.bounds = dict.fromkeys(self.parameters, (1e-3, 100.0))

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Memory:
        if belief is not None:
            return Memory(belief.members.copy(), belief.time, seed)
        normal = exact(np.random.default_rng(seed).standard_normal((len(self.states), members)))
        states = self._mean + self._sd[:, None] * np.clip(normal, -3.0, 3.0)
        return Memory(states, 0, seed)

    def rates(self, x: Floats, u: Floats, p: Mapping[str, Floats]) -> list[Floats]:
        """K per hour of each node."""
        heat, outdoor = u[:2]
        out = (p["leak"] + (p["window"] * u[2] if "window" in p else 0.0)) * (x[0] - outdoor)
        if self.nodes == 1:
            return [(heat - out) / p["capacity"]]
        wall = p["inside"] * (x[0] - x[1])
        mass = p["floor"] * (x[0] - x[2]) if self.nodes > 2 else 0.0
        rates = [(heat - out - wall - mass) / p["capacity"], (wall - p["outside"] * (x[1] - outdoor)) / p["wall"]]
        return [*rates, mass / p["mass"]] if self.nodes > 2 else rates

    def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        states, hours = memory.states.copy(), dt / 3600.0
        p, x = dict(zip(self.parameters, states[self.nodes :], strict=True)), states[: self.nodes]
        parts = max(math.ceil(hours / 0.34), 1)
        for _ in range(parts):
            for row, rate in zip(x, self.rates(x, inputs, p), strict=True):
                row += rate * hours / parts
        time = memory.time + round(dt * 1e9)
        keep = math.exp(-hours / FORGET)
        states[self.nodes :] = self._mean[self.nodes :] + keep * (states[self.nodes :] - self._mean[self.nodes :])
        if memory.seed is not None:
            kick = draw(memory.seed, time, len(states), states.shape[1], memory.draw)
            states += self.noise(memory, inputs, dt)[:, None] * kick
            states[self.nodes :] = np.clip(states[self.nodes :], 1e-3, 100.0)
        return replace(memory, states=states, time=time), states[:1].copy()

    def select(self, memory: Memory, index: Sequence[int]) -> Memory:
        i = np.asarray(index, np.int32)
        return replace(memory, states=memory.states[:, i], draw=i if memory.draw is None else memory.draw[i])

    def assign(self, memory: Memory, states: Floats, time: int) -> Memory:
        return replace(memory, states=np.array(states), time=time)

    def extract(self, memory: Memory) -> Floats:
        return memory.states.copy()

    def observe(self, memory: Memory, inputs: Floats) -> Floats:
        return memory.states[:1].copy()

    def quiet(self, memory: Memory) -> Memory:
        return replace(memory, seed=None)

    def noise(self, memory: Memory, inputs: Floats, dt: float) -> Floats:
        sd = self._sd * math.sqrt(1.0 - math.exp(-dt / 1800.0 / FORGET))
        sd[: self.nodes] = 0.0
        sd[0] = self._noise * math.sqrt(dt / 3600.0)
        return sd


def telemetry(days: int, seed: int, window: Callable[[int], float] = lambda day: 0.0) -> Frame:
    """A plant of two nodes, heated by day and by whim; `window`: what one lets out on each day, kW/K a m/s of wind."""
    rng, n = np.random.default_rng(seed), days * 24
    hour, weather = np.arange(n), np.zeros(n)
    for i in range(1, n):
        weather[i] = 0.98 * weather[i - 1] + 0.4 * rng.standard_normal()
    outdoor = 5.0 + 4.0 * np.sin(2.0 * math.pi * (hour - 9) / 24.0) + weather
    wind = np.abs(3.0 + 2.5 * np.convolve(rng.standard_normal(n + 5), np.ones(6) / 6**0.5, "valid"))
    by_day = np.where((hour % 24 > 6) & (hour % 24 < 22), 5.5, 1.0) + 1.5 * (rng.random(days)[hour // 24] - 0.5)
    heat = np.maximum(by_day + 0.15 * (8.0 - outdoor), 0.0)
    plant, chance, room = Building(2, window=True), rng.standard_normal((2, n)), np.empty(n)
    p = {name: np.array([v]) for name, v in TRUTH.items()}
    x, u = np.array([[20.0], [17.0]]), np.column_stack([heat, outdoor, wind])
    for i in range(n):
        p["window"] = np.array([window(i // 24)])
        for _ in range(3):
            x += np.array(plant.rates(x, u[i][:, None], p)) / 3.0
        x[0] += 0.02 * chance[0, i]
        room[i] = x[0, 0] + 0.1 * chance[1, i]
    values = np.column_stack([u, room])
    times = START + HOUR * np.arange(1, n + 1)
    return Frame(
        times, values, np.where(np.isfinite(values), GOOD, BAD).astype(np.uint8), ("heat", "outdoor", "wind", "T_room")
    )


def bound(part: Any, simulator: Any, seed: int = 1) -> Any:
    signals = Signals([Signal(n) for n in dict.fromkeys((*simulator.inputs, *simulator.outputs))])
    part.bind(Setting("t", "", signals, Virtual(), HOUR, 24 * HOUR, seed, Path(), simulator))
    return part


def champions(simulator: Candidates, beliefs: Sequence[Belief]) -> list[tuple[float, str]]:
    """(day, champion) of the first belief and of each that has another one than the belief before."""
    found: list[tuple[float, str]] = []
    for belief in beliefs:
        ledger = simulator.ledger(belief)
        name = max(ledger, key=lambda n: ledger[n]["champion"])
        if not found or found[-1][1] != name:
            found.append(((belief.time - START) / DAY, name))
    return found
