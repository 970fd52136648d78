"""Points that come late, and points that come twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, InputError
from gemel.core.setting import Setting
from gemel.core.units import duration
from gemel.core.values import UNCERTAIN, Batch, Bools, Signals
from gemel.transforms.memory import Grouped, Memory, marked, times


class Late:
    """Marks late points and removes a point that says again what the one before it said.

    A point more than `lateness` older than the newest of its signal is kept and marked uncertain. One with the stamp
    and the value of its signal's last point is dropped and counted; a copy that comes later than that is left to the
    store, which keeps a point once. Known signals (a tariff, a weather forecast) have no now and are left alone.

    - `lateness`: a duration, "1h".
    """

    def __init__(self, lateness: str = "1h") -> None:
        try:
            self._lateness = duration(lateness)
        except InputError as error:
            raise ConfigError([f"late: lateness: {error.message}"], error.hint) from None
        self.lateness = lateness
        self._names: tuple[str, ...] = ()
        self._which: Bools = np.zeros(0, bool)
        self._memory = Memory(Signals(()))

    def bind(self, setting: Setting) -> None:
        signals = setting.signals
        self._names = signals.names
        self._which = np.array([s.role != "known" for s in signals], bool)
        self._memory = Memory(
            signals,
            newest=times(signals),
            time=times(signals),
            value=np.full(len(signals), np.nan),
            dropped=np.zeros(len(signals), np.int64),
        )

    @property
    def dropped(self) -> dict[str, int]:
        """How many copies were dropped, by signal."""
        return {name: int(n) for name, n in zip(self._names, self._memory["dropped"], strict=True) if n}

    def apply(self, batch: Batch) -> Batch:
        memory = self._memory
        group = Grouped.of(batch, self._which[batch.signal])
        if not len(group):
            return batch
        time, value = batch.time[group.index], batch.value[group.index]
        newest = group.running(np.maximum, time, memory["newest"])
        last = group.before(value, memory["value"])
        again = (time == group.before(time, memory["time"])) & ((value == last) | (np.isnan(value) & np.isnan(last)))
        for name, column in (("newest", newest), ("time", time), ("value", value)):
            group.keep(memory[name], column)
        batch = marked(batch, group.index[time < newest - self._lateness], UNCERTAIN)
        if not again.any():
            return batch
        np.add.at(memory["dropped"], group.signal[again], 1)
        kept = np.ones(len(batch), bool)
        kept[group.index[again]] = False
        return batch.take(kept)

    def snapshot(self) -> Mapping[str, Any]:
        return self._memory.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._memory.restore(state)
