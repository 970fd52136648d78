"""An emulated machining line: saw, mill, drill, grind, wash; orders, set-ups, operators, sensors, faults on schedule.

It knows more than a simulator of the line would: see `machines.py` (what a machine is), `flow.py` (how parts go
through it) and `faults.py` (what can go wrong). A twin has to be right about it without being it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gemel.core.errors import ConfigError, InputError
from gemel.core.units import SECOND, duration, instant
from gemel.core.values import Floats, Times
from gemel.packs.manufacturing.faults import FAULTS, MACHINES, Fault
from gemel.packs.manufacturing.flow import CENTRE, FAMILIES, TOLERANCE, Flow
from gemel.packs.manufacturing.machines import DOWN, RELEASE, SERVICE, STATES, Machine, Part

__all__ = ["COLUMNS", "FAULTS", "MACHINES", "STATES", "Fault", "Happening", "Plant", "Truth"]

MARGIN = 30.0
"""What a part that could have been sold and was not made costs, EUR."""
SCRAP_COST = 18.0
"""What a scrapped part costs beside that, EUR."""
SERVICE_COST = {"saw": 250.0, "mill": 420.0, "drill": 300.0, "grind": 480.0, "wash": 350.0}
FAILURE_COST = {"saw": 1900.0, "mill": 3600.0, "drill": 2200.0, "grind": 4200.0, "wash": 2600.0}
"""What a service and a failure cost by themselves, EUR; output lost meanwhile comes on top."""

BUFFERS = tuple(f"{a}_{b}" for a, b in pairwise(MACHINES))
SENSORS = ("state", "parts", "power", "vibration", "kurtosis", "temperature", "cycle")
COLUMNS = (
    *(f"{m}_{s}" for m in MACHINES for s in SENSORS),
    *BUFFERS,
    *("orders", "good", "scrap", "size", "family", "release"),
    *(f"{m}_service" for m in MACHINES),
)
MINUTE = 60 * SECOND
NOISE = np.tile((0.0, 0.0, 0.015, 0.05, 0.08, 0.0, 0.0), len(MACHINES))  # of the value
FLOOR = np.tile((0.0, 0.0, 0.01, 0.01, 0.0, 0.25, 0.2), len(MACHINES))  # beside that
DIGITS = np.tile((0.0, 0.0, 3.0, 3.0, 2.0, 1.0, 1.0), len(MACHINES))
WIDE = len(SENSORS) * len(MACHINES)

Row = tuple[int, dict[str, float]]
"""The time (ns) and what was measured; what there is nothing to say of is left out."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened: `what` is failure, service, renewed, or fault and its kind; `machine` or `line`."""

    time: int
    what: str
    machine: str
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """What nobody can measure. Per machine: `wear` (0 new, about 1 at failure), `limit` (the wear at which its tool
    will fail), `bearing` damage (0 to 1), `life` (hours until it fails as things are); the `faults` at work; `counts`
    since the plant began (entered, good, scrap, inside, services, failures); `costs` in EUR (lost, scrap, service,
    failure, total)."""

    wear: Mapping[str, float]
    limit: Mapping[str, float]
    bearing: Mapping[str, float]
    life: Mapping[str, float]
    faults: tuple[Fault, ...]
    counts: Mapping[str, float]
    costs: Mapping[str, float]


class Plant:
    """The line as a plant that can be recorded, or controlled step by step. Offline, without a clock.

    `start`: when the live part begins; `history`: how much plant time there is before it; `faults`: what comes and
    when; `upkeep`: the share of a tool's usual life after which the plant's own people service a machine while nobody
    else decides (0: never, so it runs to failure); `bearings`: how often a bearing begins to fail by itself, a machine
    and year; `dropouts`: how often a single reading is missing. `seed` fixes
    everything random; commands change as little of it as they can.
    """

    def __init__(
        self,
        start: str = "2025-05-20T06:00",
        history: str = "",
        faults: Sequence[Fault] = (),
        upkeep: float = 0.0,
        bearings: float = 4.0,
        dropouts: float = 0.0005,
        seed: int = 1,
    ) -> None:
        try:
            self.start = instant(start)
            self._history = duration(history) if history else 0
        except InputError as error:
            raise ConfigError([error.message], error.hint, "line") from None
        problems = []
        if not 0 <= upkeep < 2 or bearings < 0 or not 0 <= dropouts < 1:
            problems.append("upkeep must be 0 to 2, bearings at least 0, dropouts at least 0 and below 1")
        if problems:
            raise ConfigError(problems, where="line")
        self.faults = tuple(faults)
        self.time = self.start - self._history
        self.happenings: list[Happening] = []
        self._upkeep, self._bearings, self._dropouts = upkeep, bearings, dropouts
        self._flow = Flow(seed, self.time / SECOND, self._happened)
        self._pending = sorted(((self.start + duration(f.at), i) for i, f in enumerate(self.faults)), reverse=True)
        self._active: dict[int, int] = {}  # fault -> when it began
        self._released, self.governed = RELEASE, False
        self._sensors, self._drops, self._luck = (np.random.default_rng((seed, 20 + i)) for i in range(3))
        self._dust = np.random.default_rng((seed, 23))
        self._minutes = 0
        self._good = self._scrap = self._seen = 0
        self.dirt, self.flow_s = 0.0, 0.0
        self._bill = {"service": 0.0, "failure": 0.0}
        self._count = {"service": 0, "failure": 0}
        self.left: list[Part] = []  # lately, for the camera

    @property
    def truth(self) -> Truth:
        """What nobody can measure, now."""
        machines = self._flow.machines
        costs = {
            "lost": MARGIN * max(self._demand - self._good - self._flow.inside, 0.0),
            "scrap": SCRAP_COST * (self._scrap + self._flow.lost),
            **self._bill,
        }
        return Truth(
            {m.name: m.wear for m in machines},
            {m.name: m.limit for m in machines},
            {m.name: m.damage for m in machines},
            {m.name: m.life for m in machines},
            tuple(self.faults[i] for i in sorted(self._active)),
            {
                "entered": self._flow.entered,
                "good": self._good,
                "scrap": self._scrap + self._flow.lost,
                "inside": self._flow.inside,
                "services": self._count["service"],
                "failures": self._count["failure"],
            },
            {**costs, "total": sum(costs.values())},
        )

    def record(self, span: str | float) -> tuple[Times, Floats, tuple[str, ...]]:
        """So much plant time on (times, values [t, s], names), a row a minute; NaN where there is nothing to say."""
        count = duration(span) // MINUTE
        raw = [self._minute() for _ in range(count)]
        times = self.time - MINUTE * np.arange(count - 1, -1, -1, dtype=np.int64)
        return times, self._measured(np.array(raw).reshape(count, -1)), COLUMNS

    def advance(self, span: str | float, commands: Mapping[str, float] | None = None) -> list[Row]:
        """So much plant time on under `commands`, a row a minute. `M_service` 1 asks for a service once; `release` and
        `family` hold until another is given, NaN gives them back to the plant.

        Raises `InputError` for what takes no commands.
        """
        self.command(commands or {})
        times, values, names = self.record(span)
        return [
            (t, {n: v for n, v in zip(names, row, strict=True) if v == v})
            for t, row in zip(times.tolist(), values.tolist(), strict=True)
        ]

    def command(self, commands: Mapping[str, float]) -> None:
        """Takes setpoints; see `advance`."""
        for name, value in commands.items():
            machine, _, what = name.partition("_")
            if what == "service" and machine in MACHINES:
                at = self._flow.machines[MACHINES.index(machine)]
                at.asked = value > 0 and at.state != SERVICE and not at.broken_down
            elif name == "release":
                self._released = RELEASE if math.isnan(value) else min(max(value, 0.0), 60.0)
            elif name == "family":
                self._flow.wanted = None if math.isnan(value) else FAMILIES[int(value)]
            else:
                raise InputError(f"{name} takes no commands", "M_service, family and release do")

    @property
    def _demand(self) -> float:
        return RELEASE * self._minutes / 60

    def _happened(self, time: float, what: str, machine: str) -> None:
        self.happenings.append(Happening(round(time * SECOND), what, machine))
        if what == "renewed":
            gone = [i for i in self._active if self.faults[i].machine == machine]
            for i in gone:
                del self._active[i]
            return
        self._count[what] += 1
        self._bill[what] += (SERVICE_COST if what == "service" else FAILURE_COST)[machine]

    def _minute(self) -> list[float]:
        """Everything a minute on; what is true then."""
        self.time += MINUTE
        self._minutes += 1
        flow, now = self._flow, self.time / SECOND
        if self._pending or self._active:
            self._ill(now)
        hour = now / 3600 % 24
        flow.staffed(1 if hour < 6 or hour >= 22 else 2 - min(round(flow.missing), 1), now - 60)
        flow.orders.step(self._released)
        if self._minutes % 60 == 0:
            self._wear()
        flow.look(now - 60)
        flow.run(now)
        hall = 21 + 2.5 * math.sin(2 * math.pi * (hour - 9) / 24)
        raw: list[float] = []
        for m in flow.machines:
            power, vibration, kurtosis = m.minute(hall, flow.voltage)
            if not m.effects.stuck:
                m.shown = m.temperature
            cycle = m.cycles / m.parts if m.parts else math.nan
            raw += (m.state, m.parts, power, vibration + m.effects.vibration_bias, kurtosis, m.shown, cycle)
            m.busy_s = m.work = m.cycles = 0.0
            m.parts = 0
        raw += map(len, flow.buffers)
        raw += (flow.orders.waiting, *self._judge(), flow.machines[0].family, self._released)
        raw += [1.0 if m.asked or m.state == SERVICE else 0.0 for m in flow.machines]
        raw += [m.effects.stuck for m in flow.machines]
        return raw

    def _judge(self) -> tuple[float, float, float]:
        """Parts that left within the minute: how many are good, how many are scrap, the size of a measured one."""
        good = scrap = 0
        size = math.nan
        for when, part in self._flow.done:
            self.flow_s += when - part.entered
            self._seen += 1
            if self._seen % 10 == 0:
                size = part.size
            wrong = bool(part.defect) or abs(part.size - CENTRE) > TOLERANCE
            if not wrong and self.dirt:
                wrong = self._dust.random() < 0.12 * self.dirt
            scrap += wrong
            good += not wrong
        if self._flow.done:
            self.left = [part for _, part in self._flow.done]
            self._flow.done.clear()
        self._good += good
        self._scrap += scrap
        return good, scrap, size

    def _wear(self) -> None:
        """Once an hour: bearings that begin to fail, and the habit of the plant's own people."""
        for m, luck in zip(self._flow.machines, self._luck.random(len(MACHINES)).tolist(), strict=True):
            if m.damage <= 0 and luck < self._bearings / 8760:
                m.damage = 0.03
            if self._upkeep and not self.governed and m.state < DOWN:
                m.asked = m.asked or m.age > self._upkeep * m.figures.life * RELEASE

    def _ill(self, now: float) -> None:
        """Faults begin, grow and end."""
        while self._pending and self._pending[-1][0] <= self.time:
            began, i = self._pending.pop()
            self._active[i] = began
            self.happenings.append(Happening(began, "fault", self.faults[i].asset, self.faults[i]))
        ended = [i for i, began in self._active.items() if self._over(i, began)]
        machines, flow = {m.name: m for m in self._flow.machines}, self._flow
        flow.hardness, flow.voltage, flow.missing, self.dirt = 1.0, 1.0, 0.0, 0.0
        for i, began in self._active.items():
            fault = self.faults[i]
            level = 0.0 if i in ended else fault.level(self.time - began)
            for effect, change in FAULTS[fault.kind].effects.items():
                if fault.machine in machines:
                    _affect(machines[fault.machine], effect, change * level)
                elif effect == "dirt":
                    self.dirt = change * level
                else:
                    setattr(flow, effect, (0.0 if effect == "missing" else 1.0) + change * level)
        for i in ended:
            del self._active[i]

    def _over(self, i: int, began: int) -> bool:
        lasts = self.faults[i].lasts or FAULTS[self.faults[i].kind].lasts
        return bool(lasts) and self.time - began >= duration(lasts)

    def _measured(self, raw: Floats) -> Floats:
        """The sensors: noise, rounding, and readings that go missing."""
        stuck = raw[:, len(COLUMNS) :]
        values = raw[:, : len(COLUMNS)]
        noise = self._sensors.standard_normal((len(raw), WIDE))
        shake = noise * (FLOOR + NOISE * np.abs(values[:, :WIDE]))
        shake[:, SENSORS.index("temperature") :: len(SENSORS)][stuck > 0] = 0.0
        values[:, :WIDE] += shake
        scale = 10.0**DIGITS
        values[:, :WIDE] = np.round(values[:, :WIDE] * scale) / scale
        lost = self._drops.random((len(raw), len(COLUMNS))) < self._dropouts
        return np.where(lost, np.nan, values)


def _affect(machine: Machine, effect: str, change: float) -> None:
    if effect == "bearing":
        if change and machine.damage < change:
            machine.damage = change
        return
    neutral = 1.0 if effect in ("wearing", "coolant", "friction", "airflow") else 0.0
    setattr(machine.effects, effect, neutral + change)
