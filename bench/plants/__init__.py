"""Three plants to calibrate, as twin files, and a day or two of what drives them.

The truth of a run is a draw of the simulator's own prior; what drives it is made here, and the measurements are its
outputs with the noise that the twin file's estimator says. So a posterior that is right holds the truth as often as it
claims to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import gemel
from gemel.core.units import duration
from gemel.core.values import BAD, GOOD, Floats, Frame
from gemel.loop.simulate import Assignable, Noisy

Rng = np.random.Generator
START = 1_700_000_000 * 10**9
FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Plant:
    """A simulator, the noise of its measurements, and `drive(rng, hours) -> inputs [t, u]` at its rhythm."""

    name: str
    simulator: Assignable
    noise: Mapping[str, float]
    every: int  # ns
    rows: int
    parameters: tuple[str, ...]
    drive: Callable[[Rng, Floats], Floats]

    def telemetry(self, seed: int) -> tuple[Frame, Floats]:
        """A window of a plant drawn from the prior, and its states and parameters [k] at the end of it."""
        simulator, rng = self.simulator, np.random.default_rng((seed, 77))
        time = START + self.every * np.arange(1, self.rows + 1, dtype=np.int64)
        inputs = self.drive(rng, (time - START) / 3.6e12)
        memory = simulator.init(None, 1_000_000 + seed, 1)
        memory = simulator.assign(memory, simulator.extract(memory), START)
        if isinstance(simulator, Noisy):
            memory = simulator.quiet(memory)
        outputs = np.empty((self.rows, len(simulator.outputs)))
        for i, row in enumerate(inputs):
            memory, found = simulator.step(memory, row[:, None], self.every / 1e9)
            outputs[i] = found[:, 0]
        heard = [list(simulator.outputs).index(n) for n in self.noise]
        seen = outputs[:, heard] + np.array(list(self.noise.values())) * rng.standard_normal((self.rows, len(heard)))
        seen[rng.random(seen.shape) < 0.05] = np.nan  # lost on the way
        values = np.concatenate([inputs, seen], axis=1)
        quality = np.where(np.isfinite(values), GOOD, BAD).astype(np.uint8)
        frame = Frame(time, values, quality, (*simulator.inputs, *self.noise))
        return frame, simulator.extract(memory)[:, 0]


def _slow(rng: Rng, t: Floats, hours: float) -> Floats:
    """Weather: unit variance, forgotten in `hours`."""
    keep = np.exp(-(t[1] - t[0]) / hours)
    out = rng.standard_normal(len(t))
    for i in range(1, len(t)):
        out[i] = keep * out[i - 1] + np.sqrt(1 - keep**2) * out[i]
    return out


def _switched(rng: Rng, t: Floats, hours: float, levels: Floats) -> Floats:
    """One of `levels` at a time, changed every few `hours`."""
    changes = np.cumsum(rng.random(len(t)) < (t[1] - t[0]) / hours)
    return np.asarray(rng.choice(levels, changes[-1] + 1)[changes])


def _transformer(rng: Rng, t: Floats) -> Floats:
    day = np.cos((t - 14 - rng.uniform(-3, 3)) * np.pi / 12)
    load = rng.uniform(0.5, 0.9) + rng.uniform(0.1, 0.35) * day + 0.08 * _slow(rng, t, 3)
    air = rng.uniform(-5, 25) + rng.uniform(2, 6) * day + 2 * _slow(rng, t, 12)
    return np.stack([np.clip(load, 0.0, 1.4), _switched(rng, t, 6, np.arange(3.0)), air], axis=1)


def _building(rng: Rng, t: Floats) -> Floats:
    day = np.cos((t - 14) * np.pi / 12)
    heat = [_switched(rng, t, 3, np.array([0.0, 1.0, 2.0, 3.5])) for _ in range(2)]
    outdoor = rng.uniform(-5, 12) + 4 * day + 2 * _slow(rng, t, 12)
    sun = np.maximum(day - 0.2, 0) * rng.uniform(0.2, 0.9) * np.clip(1 + 0.5 * _slow(rng, t, 2), 0.1, 1.2)
    return np.stack([*heat, outdoor, np.minimum(sun, 0.9)], axis=1)


def _tank(rng: Rng, t: Floats) -> Floats:
    valve = np.clip(_switched(rng, t, 0.4, np.linspace(0.3, 1.0, 8)), 0, 1)
    inflow = np.clip(rng.uniform(8, 15) + 4 * _slow(rng, t, 0.5), 0, 30)
    return np.stack([inflow, valve], axis=1)


def plants(rows: int = 0) -> tuple[Plant, ...]:
    """All three; `rows` of telemetry instead of two days, two days and four hours."""
    found = []
    for name, length, drive, parameters in (
        ("transformer", 192, _transformer, ("oil_rise", "hot_rise", "tau_oil", "fan_health")),
        ("building", 192, _building, ()),
        ("tank", 240, _tank, ()),
    ):
        twin = gemel.open(FOLDER / f"{name}.toml")
        simulator = twin.simulator
        noise = twin.estimator.part.noise
        those = parameters or simulator.parameters
        found.append(Plant(name, simulator, noise, duration(twin.every), rows or length, tuple(those), drive))
    return tuple(found)
