"""One machine of the line: its figures, and what wears, warms up, shakes and draws power in it.

It is richer than a simulator would have it: wear is a gamma process whose rate depends on the product's cutting speed
(Taylor 1907: life falls with a power of the speed), on hardness, coolant and the quality of the tool that happens to be
in; a tool fails at a wear of its own (hazard rising by exp(14 w), a Gumbel law); bearing damage grows by itself and is
heard in the kurtosis before it is seen in the rms (as Dyer and Stewart 1978 found); heat has mass.

Letters: w wear (0 new, about 1 at the end), d bearing damage (0 to 1), power in kW, vibration in mm/s, times in s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

IDLE, BUSY, BLOCKED, STARVED, SETUP, DOWN, SERVICE = range(7)
STATES = ("idle", "busy", "blocked", "starved", "setup", "down", "service")
RELEASE = 36.0
"""Parts an hour that the market asks for."""
BEARING = 10.0 * 3600  # running seconds in which damage grows by e
STEEP = 14.0  # of the hazard over wear


@dataclass(frozen=True, slots=True)
class Figures:
    """What a machine is like: `cycle` s, `idle` and `cutting` kW, `life` of its tool in hours at `RELEASE` parts an
    hour, `vibration` mm/s, `heat` K at usual load, `setup`, `service` and `repair` in minutes, `wears_um` and
    `warms_um` what wear and a kelvin do to the size, `defect` what its faults leave on a part."""

    cycle: float
    idle: float
    cutting: float
    life: float
    vibration: float
    heat: float
    setup: float
    service: float
    repair: float
    wears_um: float
    warms_um: float
    defect: str
    hard: float  # how much of the material's hardness it feels


FIGURES: dict[str, Figures] = {
    "saw": Figures(66.0, 1.1, 4.2, 110.0, 1.5, 24.0, 5.0, 30.0, 200.0, 2.0, 0.05, "scratch", 1.0),
    "mill": Figures(78.0, 1.8, 7.5, 80.0, 1.1, 30.0, 9.0, 45.0, 300.0, 13.0, 0.20, "scratch", 0.9),
    "drill": Figures(72.0, 0.9, 3.1, 95.0, 0.9, 20.0, 6.0, 30.0, 220.0, 6.0, 0.10, "dent", 0.6),
    "grind": Figures(75.0, 2.2, 5.4, 130.0, 0.7, 26.0, 8.0, 50.0, 320.0, 19.0, 0.30, "texture", 0.1),
    "wash": Figures(58.0, 1.4, 2.6, 320.0, 1.0, 16.0, 3.0, 35.0, 240.0, 0.0, 0.0, "stain", 0.0),
}
SPEED = (1.0, 0.93, 1.08)  # cutting speed of the product families
FORCE = (1.0, 0.85, 1.12)
MATTER = (1.0, 1.0, 1.4)  # how much a change to or from this family takes


class Draws:
    """Random numbers of one kind, drawn in blocks. It can be copied, so a plant can."""

    __slots__ = ("_gamma", "_left", "_rng")

    def __init__(self, seed: tuple[int, ...], gamma: float = 0.0) -> None:
        self._rng, self._gamma, self._left = np.random.default_rng(seed), gamma, list[float]()

    def next(self) -> float:
        """A standard normal number, or a gamma one of mean 1."""
        if not self._left:
            block = self._rng.standard_gamma(self._gamma, 512) / self._gamma if self._gamma else None
            self._left = (self._rng.standard_normal(512) if block is None else block).tolist()
        return self._left.pop()


@dataclass(slots=True)
class Effects:
    """What faults do to one machine; the defaults are health."""

    wearing: float = 1.0
    broken: float = 0.0
    bearing: float = 0.0
    unbalance: float = 0.0
    coolant: float = 1.0
    friction: float = 1.0
    airflow: float = 1.0
    play: float = 0.0
    slip: float = 0.0
    jam: float = 0.0
    vibration_bias: float = 0.0
    stuck: float = 0.0


@dataclass(slots=True)
class Part:
    """A part on its way: product family, when it came in (s), its size so far (um), what is wrong with it."""

    family: int
    entered: float
    size: float = 0.0
    defect: str = ""


@dataclass(slots=True)
class Machine:
    """A machine's memory."""

    place: int
    name: str
    figures: Figures
    seed: int
    effects: Effects = field(default_factory=Effects)
    state: int = IDLE
    since: float = 0.0  # the time up to which `busy_s` counts
    until: float = math.inf  # when its next event is
    part: Part | None = None
    family: int = 0
    cycle: float = 0.0  # s, of the part in work
    cutting: float = 0.0  # kW, of the part in work
    asked: bool = False  # for a service
    gate: float = 0.0  # when the conveyor behind it takes the next part
    broken_down: bool = False
    # of this minute
    busy_s: float = 0.0
    work: float = 0.0  # kW s
    parts: int = 0
    cycles: float = 0.0
    # hidden
    wear: float = 0.0
    quality: float = 1.0  # of the tool: how fast it wears
    limit: float = 1.0  # the wear at which it fails
    damage: float = 0.0
    age: int = 0  # parts since it was renewed
    temperature: float = 22.0
    shown: float = 22.0  # what a sensor that got stuck goes on to say
    lives: int = 0
    normal: Draws = field(init=False)
    gamma: Draws = field(init=False)

    def __post_init__(self) -> None:
        self.normal, self.gamma = Draws((self.seed, self.place, 1)), Draws((self.seed, self.place, 2), 0.06)
        self.renew()
        first = np.random.default_rng((self.seed, self.place, 3)).random()
        self.wear = 0.55 * first * self.limit
        self.age = round(self.wear * self.figures.life * RELEASE / self.quality)

    @property
    def rate(self) -> float:
        """Wear a part, on average, as things are; hardness apart."""
        e = self.effects
        return self.quality * e.wearing * (1 + 0.8 * (1 - e.coolant)) / (self.figures.life * RELEASE)

    @property
    def life(self) -> float:
        """Hours until it fails, as things are, when parts come as the market asks for them."""
        tool = max(self.limit - self.wear, 0.0) / self.rate / RELEASE
        if self.damage <= 0:
            return tool
        running = self.figures.cycle * RELEASE / 3600
        return min(tool, max(-math.log(self.damage), 0.0) * BEARING / 3600 / running)

    def renew(self) -> None:
        """A new tool, a sound bearing. What it is like is drawn by its number, whenever it comes."""
        self.lives += 1
        rng = np.random.default_rng((self.seed, self.place, 4, self.lives))
        self.quality = math.exp(min(max(0.32 * rng.standard_normal(), -0.7), 0.7))
        self.limit = max(1 + math.log(rng.standard_exponential()) / STEEP, 0.6)
        self.wear, self.damage, self.age = 0.0, 0.0, 0
        self.effects = Effects()

    def load(self, part: Part, hardness: float, voltage: float) -> float:
        """Begins a part: how long it takes, s."""
        f, e, w = self.figures, self.effects, self.wear
        speed = SPEED[part.family]
        n = self.normal.next()
        self.cycle = f.cycle / speed * (1 + 0.02 * n + 0.05 * max(w - 0.6, 0.0)) * (1 + e.slip) / voltage
        hard = 1 + (hardness - 1) * f.hard
        blunt = (1 - 0.7 * e.broken) * (1 - 0.6 * e.slip)
        self.cutting = f.cutting * FORCE[part.family] * hard * (1 + 0.45 * w**1.3) * blunt
        return self.cycle

    def wear_out(self, part: Part, hardness: float) -> bool:
        """A part is done: wear, and what it does to the part. Whether the machine has failed."""
        f, e = self.figures, self.effects
        hard = 1 + (hardness - 1) * f.hard
        self.wear += self.rate * SPEED[part.family] ** 4 * hard**2 * self.gamma.next()
        self.age += 1
        self.parts += 1
        self.cycles += self.cycle
        w = self.wear
        if f.wears_um:
            n = self.normal.next()
            spread = 1.5 + 14.0 * e.play
            part.size += f.wears_um * w + f.warms_um * (self.temperature - 22 - f.heat) + spread * n + 25 * e.broken
        chance = 0.0006 + 0.02 * max(w - 0.75, 0.0) + 0.35 * e.broken + 0.03 * (1 - e.coolant) + 0.02 * e.play
        if 0.5 * math.erfc(self.normal.next() / 1.4142135623730951) < chance:
            part.defect = f.defect
        return w >= self.limit or self.damage >= 1

    def minute(self, hall: float, voltage: float) -> tuple[float, float, float]:
        """A minute's heat and shaking: what power, vibration and kurtosis truly are."""
        f, e, d = self.figures, self.effects, self.damage
        busy = self.busy_s / 60
        on = 0.1 if self.state >= DOWN else 1.0
        idle = f.idle * e.friction * on * (1 + 0.12 * d)
        cut = self.work / 60 * (1 + 0.08 * (e.friction - 1) + 0.1 * d)
        heat = 0.3 * idle / f.idle / e.airflow * e.friction + 0.85 * cut / f.cutting * (1 + 0.9 * (1 - e.coolant))
        heat *= 1 + 0.35 * (1 / e.airflow - 1)
        steady = hall + f.heat * heat + 12 * d * busy
        self.temperature += (steady - self.temperature) * 0.025 * e.airflow**0.5
        if d > 0:
            self.damage = min(d * math.exp(self.busy_s / BEARING), 1.0)
        power = (idle + cut) * voltage
        if busy < 0.15:
            return power, 0.12, 3.0
        w = self.wear
        shaking = f.vibration * FORCE[self.family] * (1 + 0.9 * w * w + 0.5 * e.play + 0.8 * e.broken)
        shaking = math.sqrt(shaking**2 + (1.5 * e.unbalance) ** 2 + (4.5 * d) ** 2)
        knocks = 3 + (8.5 * math.sqrt(d) * math.exp(-0.9 * d) if d else 0.0) + 1.2 * e.play + 1.6 * e.broken
        return power, shaking, knocks
