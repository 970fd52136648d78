"""What makes a plant a Source and an Actuator of a twin without a broker: its signals found, its rows as batches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Protocol

from gemel.core.clock import Data
from gemel.core.errors import ConfigError, nearest
from gemel.core.setting import Setting
from gemel.core.values import Ack, Batch, Command

Row = tuple[int, Mapping[str, float | bytes]]
"""The time (ns) and what was measured: a number, or a picture as PNG. A sensor that fell silent is left out."""


class Ticking(Protocol):
    """A plant that goes on, is measured and obeys."""

    start: int

    @property
    def past(self) -> Sequence[Row]:
        """Rows measured before the start."""

    def tick(self) -> Row:
        """The next row; empty while the plant is silent."""

    def obey(self, command: Command) -> Ack:
        """What comes of a command."""


class Orders:
    """The commands a plant was given: `held`, the newest taken of each signal."""

    def __init__(self) -> None:
        self.held: dict[str, Command] = {}
        self._acks: dict[str, Ack] = {}

    def take(self, command: Command, now: int, trouble: Callable[[Command], str]) -> Ack:
        """What comes of a command; `trouble` says why it is refused, "" for nothing. The same id again gets the same
        answer."""
        if command.id not in self._acks:
            why = trouble(command)
            if not why:
                self.held[command.signal] = command
            self._acks[command.id] = Ack(command.id, "refused" if why else "done", now, why)
        return self._acks[command.id]


class Doors:
    """The doors of a plant that calls itself `kind` and measures `columns` (none: whatever is asked for).

    Signals are found by the field of their address, or by the end of the address itself: `plant:oil`, `plant:any#oil`,
    `plant:any/oil`. Raises `ConfigError` for one that the plant does not have.
    """

    def __init__(self, setting: Setting, kind: str = "", columns: Sequence[str] = ()) -> None:
        self._setting = setting
        places = setting.signals.at(setting.connector)
        self._places = {_named(address, part): place for address, held in places.items() for place, part in held}
        strange = [f"{kind} has no '{name}'{nearest(name, columns)}" for name in self._places if name not in columns]
        if columns and strange:
            raise ConfigError(strange, f"it has {', '.join(columns)}")

    async def stream(self, plant: Ticking) -> AsyncIterator[Batch]:
        """First the past in one batch, then a batch a row, at its time on the clock."""
        clock = self._setting.clock
        if plant.past:
            yield self.batch(plant.past, 0)
        for sequence in count(1):
            row = plant.tick()
            if not isinstance(clock, Data) and not await clock.until(row[0], order=0):
                return
            if row[1]:
                yield self.batch([row], sequence)

    def send(self, plant: Ticking, command: Command) -> Ack:
        """What comes of a command for a signal, now on the clock."""
        address, _, part = self._setting.signals.named(command.signal).address.partition(":")[2].partition("#")
        return replace(plant.obey(replace(command, signal=_named(address, part))), time=self._setting.clock.now())

    def batch(self, rows: Sequence[Row], sequence: int = 0) -> Batch:
        """Rows as points of the bound signals; pictures are kept where the twin keeps its blobs."""
        points = [
            (place, time, self._number(values[name]))
            for time, values in rows
            for name, place in self._places.items()
            if name in values
        ]
        signal, time, value = zip(*points, strict=True) if points else ((), (), ())
        return Batch.of(signal, time, value, sequence=sequence)

    def _number(self, value: float | bytes) -> float:
        if not isinstance(value, bytes):
            return value
        return self._setting.blobs.put(value) if self._setting.blobs else float("nan")


def _named(address: str, part: str) -> str:
    return part or address.rpartition("/")[2]
