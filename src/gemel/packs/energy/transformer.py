"""An emulated 40 MVA power transformer: weather, load, oil and winding, two fan banks, sensors, faults on schedule.

It knows more physics than the twin's own simulator: oil that thickens in the cold (Susa, Lehtonen and Nordman 2005),
a tank between oil and air, sun, air density at the fans, a local thermostat, sensors that lag, round and fall silent.
A twin has to be right about it without being it.

Letters: K load over rated load. Temperatures in degC, heat in parts of the losses at rated load, time in minutes.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from functools import cached_property

import numpy as np

from gemel.core.clock import Data
from gemel.core.errors import ConfigError, InputError
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import SECOND, duration, instant
from gemel.core.values import Ack, Batch, Command
from gemel.packs.doors import Doors, Orders

RATED = 40.0  # MVA
NO_LIMIT = 60.0  # MVA: what the load limit reads while nobody sets one
DIGITS = (2, 1, 1, 1, 0, 2, 1)
COLUMNS = ("load", "ambient", "oil", "winding", "fan", "fan_power", "load_limit")
MINUTE, DAY, YEAR = 60 * SECOND, 86_400.0, 365.2425 * 86_400.0

Row = tuple[int, dict[str, float]]
"""The time (ns) and what was measured; a sensor that fell silent is left out."""


class Weather:
    """Air temperature and sun at 50 degrees north: year, day, fronts of days, gusts of an hour, clouds of six."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._front, self._gust, self._cloud = rng.standard_normal(3).tolist()

    def step(self, seconds: float) -> tuple[float, float]:
        """A minute on, at `seconds` since 1970: degC, and sunshine from 0 to 1."""
        a, b, c = self._rng.standard_normal(3).tolist()
        self._front = _drift(self._front, a, 3600.0)
        self._gust = _drift(self._gust, b, 60.0)
        self._cloud = _drift(self._cloud, c, 360.0)
        season = math.cos(2 * math.pi * (seconds / YEAR - 0.545))  # warmest on about 19 July
        hour = seconds % DAY / 3600
        day = math.cos(2 * math.pi * (hour - 15) / 24) + 0.2 * math.cos(4 * math.pi * (hour - 14) / 24)
        air = 11 + 9.5 * season + (4 + 2.5 * season) * day + 2.5 * self._front + 0.5 * self._gust
        height = 0.30 * season + 0.60 * math.cos(2 * math.pi * (hour - 12) / 24)  # about the sine of the elevation
        return air, max(height, 0.0) * (1 - 0.7 / (1 + math.exp(-2 * self._cloud)))


class Demand:
    """What the town wants, K: working days and weekends, two peaks a day, air conditioning, works that start up."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._slow, self._fast, self._works, self._left = 0.0, 0.0, 0.0, 0

    def step(self, seconds: float, air: float) -> float:
        a, b = self._rng.standard_normal(2).tolist()
        start, size, length = self._rng.random(3).tolist()
        self._slow, self._fast = _drift(self._slow, a, 180.0), _drift(self._fast, b, 5.0)
        if self._left == 0 and start < 1 / 2880:  # once in two days
            self._left = 60 + int(180 * length)
            self._works = 0.05 + 0.1 * size
        self._left = max(self._left - 1, 0)
        hour, weekend = seconds % DAY / 3600, (seconds // DAY + 3) % 7 >= 5  # 1970 began on a Thursday
        shape = 0.60 + 0.30 * _bump(hour, 12.0, 3.8) + 0.26 * _bump(hour, 19.0, 2.4) - 0.06 * _bump(hour, 3.5, 3.0)
        wanted = shape * (0.84 if weekend else 1.0) + 0.012 * max(air - 20, 0.0) + 0.008 * max(8 - air, 0.0)
        return wanted + 0.025 * self._slow + 0.006 * self._fast + (self._works if self._left else 0.0)


class Tank:
    """Oil and tank as two masses, and the hot spot above the oil in two parts (it overshoots)."""

    OIL_MASS, TANK_MASS = 2.4, 1.2  # minutes per kelvin, at rated losses
    INSIDE, OUTSIDE = 12.0, 50.0  # rated rises, K: oil over tank, tank over air without fans
    GRADIENT, EXPONENT, OVERSHOOT = 26.0, 1.4, 1.8

    def __init__(self, air: float) -> None:
        self.oil, self.metal = air + 30.0, air + 24.0
        self._fast = self._slow = 0.0

    def step(self, load: float, air: float, sun: float, cooling: float) -> None:
        """A minute on; `cooling` is 1 without fans."""
        thick = math.exp(2797.3 / (self.oil + 273) - 2797.3 / (75 + 273))  # viscosity relative to that at 75 degC
        losses = (1 + 6 * load * load) / 7
        inside = max(self.oil - self.metal, 0.0) / self.INSIDE * thick**-0.15
        outside = cooling * (max(self.metal - air, 0.0) / self.OUTSIDE) ** 1.25
        self.oil += (losses - inside) / self.OIL_MASS
        self.metal += (inside + 0.04 * sun - outside) / self.TANK_MASS
        rise = self.GRADIENT * load**self.EXPONENT * thick**0.06
        self._fast += (self.OVERSHOOT * rise - self._fast) / 14
        self._slow += ((self.OVERSHOOT - 1) * rise - self._slow) / 105

    @property
    def hot_spot(self) -> float:
        return self.oil + self._fast - self._slow


class Fans:
    """Two banks, one on either side; every stage starts one more fan in each. The stage is the commanded one while a
    command is valid, else a thermostat's on the oil; a hot winding overrules both."""

    POWER, GAIN = 3.0, 0.3  # kW and cooling of a stage

    def __init__(self) -> None:
        self.stage = 0
        self.broken = False  # bank 1

    def step(self, wanted: int | None, oil: float, winding: float) -> None:
        if wanted is None:  # on at 65 and 75, off at 58 and 68
            least = 2 if oil > 75 else 1 if oil > 65 else 0
            most = 2 if oil > 68 else 1 if oil > 58 else 0
            wanted = min(max(self.stage, least), most)
        self.stage = 2 if winding > 115 else wanted

    @property
    def running(self) -> float:
        """Stages' worth of fans that turn."""
        return self.stage / 2 if self.broken else float(self.stage)


@declared
class Plant:
    """The transformer as a plant: it ticks, it is measured, it obeys. Also a Source and an Actuator without a broker.

    `start`: when the live part begins (empty: the clock's time); `history`: how much plant time has passed before
    it; `every`: spacing of the telemetry. `fan_fails` and `sensor_drifts` are times after the start at which fan bank
    1 stops and the oil sensor begins to drift by `drift` K per hour; an empty text means never. `noise`: standard
    deviation of the oil sensor, K. `dropouts`: how often a single reading is missing. `seed` fixes weather, load and
    noise; commands change none of them.

    Signals are found by the field of their address, or by the address itself: `plant:oil`, `plant:any#oil`. There are
    `load` and `load_limit` (MVA), `ambient`, `oil` and `winding` (degC), `fan` (stage 0, 1, 2), `fan_power` (kW).
    `fan` and `load_limit` take commands; a command holds until it expires, then the plant looks after itself.
    """

    def __init__(
        self,
        start: str = "2025-05-20T10:00",
        history: str = "14d",
        every: str = "1min",
        fan_fails: str = "2.5h",
        sensor_drifts: str = "5h",
        drift: float = 2.0,
        noise: float = 0.3,
        dropouts: float = 0.002,
        seed: int = 1,
    ) -> None:
        problems = []
        try:
            self.start = instant(start) if start else 0
            self._history = duration(history) if history else 0
            self._every = duration(every)
            self._fan_fails = duration(fan_fails) if fan_fails else None
            self._sensor_drifts = duration(sensor_drifts) if sensor_drifts else None
        except InputError as error:
            raise ConfigError([error.message], error.hint, "transformer") from None
        if self._every % MINUTE:
            problems.append(f"every '{every}' must be whole minutes")
        if not 0 <= dropouts < 1:
            problems.append(f"dropouts {dropouts} must be at least 0 and below 1")
        if problems:
            raise ConfigError(problems, where="transformer")
        self._drift, self._noise, self._dropouts = drift, noise, dropouts
        streams = [np.random.default_rng((seed, i)) for i in range(3)]
        self._weather, self._demand, self._rng = Weather(streams[0]), Demand(streams[1]), streams[2]
        self.time = self.start - self._history
        self.tank, self.fans = Tank(self._weather.step(self.time / SECOND)[0]), Fans()
        self._load, self._winding, self._silent = 0.6, self.tank.oil, 0
        self._air, self._sun, self._drifted, self._limit = 0.0, 0.0, 0.0, NO_LIMIT
        self._orders = Orders()

    @cached_property
    def past(self) -> list[Row]:
        """What was measured before the start; the plant is at its start afterwards."""
        rows = []
        while self.time < self.start:
            rows.append(self._measured())
        return rows

    def tick(self) -> Row:
        """`every` on; a row whose station was silent is empty."""
        _ = self.past
        return self._measured()

    def obey(self, command: Command) -> Ack:
        """What comes of a command now; the same id again gets the same answer."""
        return self._orders.take(command, self.time, self._trouble)

    def bind(self, setting: Setting) -> None:
        """Finds the signals; the clock's time is the start when none was given."""
        self._doors = Doors(setting, "transformer", COLUMNS)
        if not self.start and not isinstance(setting.clock, Data):
            self.time += setting.clock.now() - self.start
            self.start = setting.clock.now()

    def stream(self) -> AsyncIterator[Batch]:
        """First the past in one batch, then a batch a row, at its time on the clock."""
        return self._doors.stream(self)

    def confirm(self, batch: Batch) -> None:
        """Nothing is kept here."""

    async def send(self, command: Command) -> Ack:
        """Obeys, on the twin's clock."""
        return self._doors.send(self, command)

    def _trouble(self, command: Command) -> str:
        if command.signal not in ("fan", "load_limit"):
            return f"{command.signal} takes no commands"
        if command.expires <= self.time:
            return "expired"
        if command.signal == "fan" and command.value not in (0, 1, 2):
            return f"there is no stage {command.value:g}"
        if not 0 <= command.value <= NO_LIMIT:
            return f"{command.value:g} MVA is outside 0 .. {NO_LIMIT:g}"
        return ""

    def _ordered(self, name: str) -> float | None:
        order = self._orders.held.get(name)
        return order.value if order and self.time < order.expires else None

    def _measured(self) -> Row:
        for _ in range(self._every // MINUTE):
            self._minute()
        return self.time, self._read()

    def _minute(self) -> None:
        """Everything a minute on."""
        self.time += MINUTE
        seconds, since = self.time / SECOND, self.time - self.start
        self._air, self._sun = self._weather.step(seconds)
        wanted = self._demand.step(seconds, self._air)
        limit = self._ordered("load_limit")
        self._limit = NO_LIMIT if limit is None else limit
        self._load += min(max(min(wanted, self._limit / RATED) - self._load, -0.05), 0.05)  # tap by tap
        self.fans.broken = self._fan_fails is not None and since >= self._fan_fails
        stage = self._ordered("fan")
        self.fans.step(None if stage is None else int(stage), self.tank.oil, self._winding)
        self.tank.step(self._load, self._air, self._sun, 1 + Fans.GAIN * self.fans.running)
        self._winding += (self.tank.hot_spot - self._winding) / 4  # the indicator lags
        drifted = 0 if self._sensor_drifts is None else max(since - self._sensor_drifts, 0)
        self._drifted = self._drift * drifted / (3600 * SECOND)

    def _read(self) -> dict[str, float]:
        """The sensors: noise, rounding, and readings that go missing, one by one or all for some minutes."""
        noise = self._rng.standard_normal(5).tolist()
        lost = self._rng.random(len(COLUMNS) + 1).tolist()
        self._silent = max(self._silent - 1, 0) or (3 + int(6 * noise[0] ** 2) if lost[-1] < self._dropouts / 4 else 0)
        power = Fans.POWER * self.fans.running * (1.09 - 0.003 * self._air)  # thin air is easier to move
        true = (
            RATED * self._load * (1 + 0.004 * noise[0]),
            self._air + 0.8 * self._sun + 0.2 * noise[1],  # the sun warms the sensor
            self.tank.oil + self._drifted + self._noise * noise[2],
            self._winding + 0.4 * noise[3],
            float(self.fans.stage),
            max(power + 0.03 * noise[4], 0.0),
            self._limit,
        )
        if self._silent:
            return {}
        return {
            name: round(value, digits)
            for name, value, digits, chance in zip(COLUMNS, true, DIGITS, lost, strict=False)
            if chance >= self._dropouts
        }


def _drift(value: float, noise: float, minutes: float) -> float:
    """A minute on of a process with unit variance that forgets in `minutes`."""
    keep = math.exp(-1 / minutes)
    return keep * value + math.sqrt(1 - keep * keep) * noise


def _bump(hour: float, at: float, width: float) -> float:
    """A smooth bump a day, 1 at `at`."""
    away = (hour - at + 12) % 24 - 12
    return math.exp(-0.5 * (away / width) ** 2)
