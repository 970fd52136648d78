"""Telemetry in another unit than its signal's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.setting import Setting
from gemel.core.units import conversion
from gemel.core.values import Batch, Floats


class Units:
    """Converts values on their way in.

    - `have`: the unit that the telemetry of a signal comes in, by signal name: `{oil = "degF"}`. What it is converted
      to is the signal's own `unit`.
    """

    def __init__(self, have: Mapping[str, str]) -> None:
        if not have:
            raise ConfigError(["units: 'have' is empty"], 'name the units telemetry comes in: have = { oil = "degF" }')
        self.have = dict(have)
        self._factor: Floats = np.ones(0)
        self._offset: Floats = np.zeros(0)

    def bind(self, setting: Setting) -> None:
        signals = setting.signals
        self._factor, self._offset = np.ones(len(signals)), np.zeros(len(signals))
        problems = []
        for name, unit in self.have.items():
            if name not in signals:
                problems.append(f"units: unknown signal '{name}'{nearest(name, signals.names)}")
                continue
            i = signals.place(name)
            try:
                self._factor[i], self._offset[i] = conversion(unit, signals[i].unit)
            except InputError as error:
                problems.append(f"units: signal '{name}': {error}")
        if problems:
            raise ConfigError(problems)

    def apply(self, batch: Batch) -> Batch:
        value = batch.value * self._factor[batch.signal] + self._offset[batch.signal]
        return replace(batch, value=value)
