"""Sensors that stand still although the thing moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, InputError
from gemel.core.setting import Setting
from gemel.core.units import duration
from gemel.core.values import UNCERTAIN, Batch, Bools, Floats, Signals
from gemel.transforms.memory import Column, Grouped, Memory, chosen, marked, times, usable


class Stuck:
    """Marks points uncertain once a signal that normally moves has shown the same value for longer than `longer`.

    What is normal is learned: the share of its points that differed from the one before, up to the present
    standstill. With that share, a standstill of k points has the chance (1 - share)^k; it must be below `chance`. So a
    coarse sensor, which often repeats itself, is given longer, and one that hardly ever moves is never called stuck.
    A value on the signal's own `low` or `high` is at rest or saturated, not stuck.

    - `longer`: a duration, "2h".
    - `chance`: of taking a normal standstill for a stuck sensor, each time.
    - `signals`, `skip`: look at these only; leave these out. Measured numbers otherwise, never a state or a setpoint.
    """

    def __init__(
        self, longer: str = "2h", chance: float = 1e-6, signals: Sequence[str] = (), skip: Sequence[str] = ()
    ) -> None:
        try:
            self._longer = duration(longer)
        except InputError as error:
            raise ConfigError([f"stuck: longer: {error.message}"], error.hint) from None
        if not 0 < chance < 1:
            raise ConfigError([f"stuck: chance {chance} is not between 0 and 1"])
        self.longer, self.chance = longer, chance
        self.signals, self.skip = tuple(signals), tuple(skip)
        self._which: Bools = np.zeros(0, bool)
        self._low: Floats = np.zeros(0)
        self._high: Floats = np.zeros(0)
        self._memory = Memory(Signals(()))

    def bind(self, setting: Setting) -> None:
        signals = setting.signals
        self._which = chosen("stuck", signals, self.signals, self.skip)
        self._which &= np.array([s.type == "number" and s.role != "controlled" for s in signals], bool)
        self._low = np.array([np.nan if s.low is None else s.low for s in signals], np.float64)
        self._high = np.array([np.nan if s.high is None else s.high for s in signals], np.float64)
        zeros = np.zeros(len(signals), np.int64)
        self._memory = Memory(
            signals,
            time=times(signals),
            value=np.full(len(signals), np.nan),
            since=times(signals),  # when the value last changed
            points=zeros,  # heard so far
            moves=zeros.copy(),  # of them, how many differed from the one before
            stood=zeros.copy(),  # points heard before the present standstill
        )

    def apply(self, batch: Batch) -> Batch:
        memory = self._memory
        group = Grouped.of(batch, usable(batch, self._which))
        if not len(group):
            return batch
        group = group.only(group.fresh(batch.time[group.index], memory["time"]))
        if not len(group):
            return batch
        k = np.arange(len(group))
        value, time = batch.value[group.index], batch.time[group.index]
        moved = value != group.before(value, memory["value"])
        first = k - np.repeat(group.start, group.end - group.start + 1)  # rank within the signal's points here
        points = first + memory["points"][group.signal]  # heard before this one
        moves = np.cumsum(moved)
        moves += (memory["moves"][group.signal[group.start]] - moves[group.start] + moved[group.start]).repeat(
            group.end - group.start + 1
        )
        # the last change: its place here, or (before the first one here) what the memory holds
        change = np.where(moved, k, -1)
        change[group.start] = group.start
        change = np.maximum.accumulate(change)
        known = moved[change]
        since = np.where(known, time[change], memory["since"][group.signal])
        stood = np.where(known, points[change], memory["stood"][group.signal])
        group.keep(memory["value"], value)
        group.keep(memory["points"], points + 1)
        for name, column in (("moves", moves), ("since", since), ("stood", stood)):
            group.keep(memory[name], column)
        return marked(
            batch, group.index[self._judge(group, value, time - since, points - stood, moves, stood)], UNCERTAIN
        )

    def _judge(
        self, group: Grouped, value: Floats, stands: Column, repeats: Column, moves: Column, stood: Column
    ) -> Bools:
        """Whether each point belongs to a standstill that is too long; the change that began it is a move too."""
        share = (moves - 1) / (stood + 2)  # the first point is no move; always below 1, and 0 before the first move
        odd = repeats * np.log1p(-share) < np.log(self.chance)
        rests = (value == self._low[group.signal]) | (value == self._high[group.signal])
        found: Bools = (stands > self._longer) & odd & ~rests
        return found

    def snapshot(self) -> Mapping[str, Any]:
        return self._memory.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._memory.restore(state)
