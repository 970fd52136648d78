"""The line on the clock: it ticks, it is measured, it takes pictures, it obeys. A Source and an Actuator too."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from gemel.core import png
from gemel.core.errors import ConfigError, InputError
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import SECOND, duration
from gemel.core.values import Ack, Batch, Codes, Command
from gemel.lab import defects
from gemel.packs.doors import Doors, Orders, Row
from gemel.packs.manufacturing.faults import MACHINES, Fault
from gemel.packs.manufacturing.line import COLUMNS, MINUTE, Plant

DAY = 86_400 * SECOND
HIGHEST = {"release": 60.0, "family": 2.0, **{f"{m}_service": 1.0 for m in MACHINES}}
"""Signals that take commands, from 0 up to this."""


@declared
class Line:
    """The machining line as a plant on the clock, without a broker; a `Station` puts it on one.

    `start`: when the live part begins; `history`: how much plant time has passed before it; `faults`: rows `{ kind =
    "coolant loss", machine = "mill", at = "4h" }` with `lasts` and `size` where they are not as usual, times after the
    start; `upkeep`: the share of a tool's usual life after which the plant's own people service a machine while no
    command for any machine's service is valid (0: it runs to failure); `bearings`: how often a bearing begins to fail
    by itself, a machine and year; `dropouts`: how often a single reading is missing; `camera`: how often a picture is
    taken of the part that left last ("" never; of its past there are those of the last day). `seed` fixes everything
    random.

    Signals are found by the field of their address, or by the address itself: `plant:mill_power`, `plant:any#size`,
    `plant:camera`. `M_service` (1: as soon as the part in work is done), `family` (0, 1, 2: which orders go first) and
    `release` (orders let in an hour) take commands; a command holds until it expires, then the plant looks after
    itself.
    """

    def __init__(
        self,
        start: str = "2025-05-20T06:00",
        history: str = "10d",
        faults: Sequence[Mapping[str, object]] = (),
        upkeep: float = 0.6,
        bearings: float = 4.0,
        dropouts: float = 0.0005,
        camera: str = "5min",
        seed: int = 1,
    ) -> None:
        listed = [f if isinstance(f, Fault) else fault(f) for f in faults]
        self.plant = Plant(start, history, listed, upkeep, bearings, dropouts, seed)
        self.start = self.plant.start
        try:
            self._camera = duration(camera) if camera else 0
        except InputError as error:
            raise ConfigError([error.message], error.hint, "line") from None
        if self._camera % MINUTE:
            raise ConfigError([f"camera '{camera}' must be whole minutes"], where="line")
        self._light = np.random.default_rng((seed, 40))
        self._orders = Orders()
        self._given: dict[str, float] = {}

    @property
    def time(self) -> int:
        """Plant time."""
        return self.plant.time

    @cached_property
    def past(self) -> list[Row]:
        """What was measured before the start; the plant is at its start afterwards."""
        before = (self.start - self.plant.time) // MINUTE
        watched = min(before, DAY // MINUTE)
        rows: list[Row] = list(self.plant.advance(f"{before - watched}min")) if before > watched else []
        return rows + [self._minute() for _ in range(watched)]

    def tick(self) -> Row:
        """A minute on."""
        _ = self.past
        self._command()
        return self._minute()

    def obey(self, command: Command) -> Ack:
        """What comes of a command now; the same id again gets the same answer."""
        return self._orders.take(command, self.time, self._trouble)

    def bind(self, setting: Setting) -> None:
        """Finds the signals."""
        self._doors = Doors(setting, "line", (*COLUMNS, "camera"))

    def stream(self) -> AsyncIterator[Batch]:
        """First the past in one batch, then a batch a row, at its time on the clock."""
        return self._doors.stream(self)

    def confirm(self, batch: Batch) -> None:
        """Nothing is kept here."""

    async def send(self, command: Command) -> Ack:
        """Obeys, on the twin's clock."""
        return self._doors.send(self, command)

    def _trouble(self, command: Command) -> str:
        name, value = command.signal, command.value
        if name not in HIGHEST:
            return f"{name} takes no commands"
        if command.expires <= self.time:
            return "expired"
        if not 0 <= value <= HIGHEST[name] or (name != "release" and value % 1):
            return f"{value:g} is not one of 0 .. {HIGHEST[name]:g}"
        return ""

    def _command(self) -> None:
        """Orders that are new or have expired, to the plant. A service is asked for when its value rises to 1."""
        valid = {name: order.value for name, order in self._orders.held.items() if self.time < order.expires}
        self.plant.governed = any(name.endswith("_service") for name in valid)
        for name in valid.keys() | self._given.keys():
            value = valid.get(name, 0.0 if name.endswith("_service") else math.nan)
            if value != self._given.get(name):
                self.plant.command({name: value})
        self._given = valid

    def _minute(self) -> Row:
        time, values = self.plant.advance("1min")[0]
        row: dict[str, float | bytes] = {**values}
        if self._camera and time % self._camera == 0 and self.plant.left:
            row["camera"] = png.encode(self._picture())
        return time, row

    def _picture(self) -> Codes:
        image, _ = defects.part(self._light, self.plant.left[-1].defect)
        self.plant.left.clear()  # no part is taken twice
        dirt = self.plant.dirt
        if dirt:  # a film over the glass: dimmer, flatter
            image = np.asarray(70 * dirt + image * (1 - 0.75 * dirt), np.uint8)
        return image


def fault(keys: Mapping[str, object]) -> Fault:
    """A fault of a twin file's row; raises `ConfigError` for keys it does not have."""
    try:
        return Fault(**keys)  # type: ignore[arg-type]
    except TypeError as error:
        raise ConfigError([f"a fault has kind, machine, at, lasts, size: {error}"], where="line") from None
