"""Values that cannot be: outside what is physical, faster than the thing can move, or not a number at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gemel.core.setting import Setting
from gemel.core.values import BAD, UNCERTAIN, Batch, Bools, Floats, Signals
from gemel.transforms.memory import Grouped, Memory, marked, times, usable


class Limits:
    """Holds points against the limits that stand on their signal.

    NaN, an infinity, and a value outside `low`/`high` are bad. A change from the signal's last usable value that is
    faster than `slew` (units per second) is uncertain: of a jump up and down again both flanks are, as nobody knows at
    the first one which side is true. Late points are not held against `slew`.
    """

    def __init__(self) -> None:
        self._low: Floats = np.zeros(0)
        self._high: Floats = np.zeros(0)
        self._slew: Floats = np.zeros(0)
        self._steep: Bools = np.zeros(0, bool)  # [s], signals with a slew limit
        self._memory = Memory(Signals(()))

    def bind(self, setting: Setting) -> None:
        signals = setting.signals
        self._low = np.array([-np.inf if s.low is None else s.low for s in signals], np.float64)
        self._high = np.array([np.inf if s.high is None else s.high for s in signals], np.float64)
        self._slew = np.array([np.inf if s.slew is None else s.slew for s in signals], np.float64)
        self._steep = np.isfinite(self._slew)
        self._memory = Memory(signals, time=times(signals), value=np.full(len(signals), np.nan))

    def apply(self, batch: Batch) -> Batch:
        value, signal = batch.value, batch.signal
        inside = np.isfinite(value) & (value >= self._low[signal]) & (value <= self._high[signal])
        if not inside.all():
            batch = marked(batch, np.flatnonzero(~inside), BAD)
        return self._slopes(batch) if self._steep.any() else batch

    def _slopes(self, batch: Batch) -> Batch:
        group = Grouped.of(batch, usable(batch, self._steep))
        if not len(group):
            return batch
        memory = self._memory
        before = memory["time"].copy()
        group = group.only(group.fresh(batch.time[group.index], memory["time"]))
        if not len(group):
            return batch
        time, value = batch.time[group.index], batch.value[group.index]
        # a difference of stamps, not of seconds since 1970: those would lose the nanoseconds
        elapsed = (time - group.before(time, before)) / 1e9
        with np.errstate(invalid="ignore"):  # no value before the first one
            fast = np.abs(value - group.before(value, memory["value"])) > self._slew[group.signal] * elapsed
        group.keep(memory["value"], value)
        return marked(batch, group.index[fast], UNCERTAIN)

    def snapshot(self) -> Mapping[str, Any]:
        return self._memory.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._memory.restore(state)
