"""Which signals a detector looks at, and the rows of them that it has not seen yet.

Rows are read from the twin's history, at once as far back as they are needed and then turn by turn; a twin without one
is watched by its newest values, a row a turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.setting import Setting
from gemel.core.units import duration
from gemel.core.values import Floats, Times
from gemel.loop.decide import Situation

MOST = 50_000
"""Rows read at once, after a pause."""
ABSURD = 1e60
"""No reading counts as larger: the fourth power of one must still be a number."""


def spans(by: str, learn: str, step: str) -> list[str]:
    """What is wrong with a detector's `learn` and `step`; a step may be "", the twin's own."""
    problems = []
    for key, text in (("learn", learn), ("step", step)):
        try:
            if text or key == "learn":
                duration(text)
        except InputError as error:
            problems.append(f"{by}: {key}: {error.message}")
    return problems


class Reading:
    """Rows of the chosen signals. `residuals`: not of these, but of what the belief's last update was off by; `all`: of
    every kind and role, not only of what is measured as a number."""

    def __init__(
        self, by: str, signals: Sequence[str], learn: str, step: str, residuals: bool = False, all: bool = False
    ) -> None:
        self._by, self._chosen, self._residuals, self._all = by, tuple(signals), residuals, all
        self._learn, self.step = duration(learn), duration(step) if step and not residuals else 0
        self._setting: Setting | None = None
        self._last = 0
        self.names: tuple[str, ...] = ()

    def bind(self, setting: Setting) -> dict[str, list[str]]:
        """Choose the signals: asset ("" for none) -> names; raises `ConfigError` for a name that is none."""
        known = setting.signals.names
        unknown = [f"{self._by}: unknown signal '{n}'{nearest(n, known)}" for n in self._chosen if n not in known]
        if unknown:
            raise ConfigError(unknown, f"known: {', '.join(known)}")
        numbers = [s for s in setting.signals if s.type == "number"]
        usual = [s for s in numbers if s.role in ("measured", "derived") or s.name in self._chosen]
        outputs = getattr(setting.simulator, "outputs", ()) if self._residuals else known
        chosen = [s for s in usual if (not self._chosen or s.name in self._chosen) and s.name in outputs]
        if not chosen:
            why = "the simulator foretells none of the signals" if self._residuals else "no measured number to watch"
            raise ConfigError([f"{self._by}: {why}"], "name some: signals = [...]")
        self._setting, self.step = setting, self.step or setting.every
        self.names = tuple(s.name for s in chosen)
        assets: dict[str, list[str]] = {}
        for signal in chosen:
            assets.setdefault(signal.asset, []).append(signal.name)
        return assets

    def places(self, names: Sequence[str]) -> list[int]:
        """The columns of some of the signals."""
        return [self.names.index(name) for name in names]

    def rows(self, situation: Situation) -> tuple[Times, Floats]:
        """Times [t] and values [t, c] of the rows not seen so far."""
        time, values = self._off(situation) if self._residuals else self._heard(situation)
        if len(time):
            self._last = int(time[-1])
        return time, np.clip(values, -ABSURD, ABSURD)

    def _heard(self, situation: Situation) -> tuple[Times, Floats]:
        setting, step = self._setting, self.step
        if setting is None or setting.history is None:
            row = [[situation.latest.get(name, np.nan) for name in self.names]]
            return np.array([situation.now], np.int64), np.array(row, float)
        end = situation.now // step * step
        start = max(self._last + step if self._last else end - self._learn + step, end - MOST * step)
        if start > end:
            return np.empty(0, np.int64), np.empty((0, len(self.names)))
        frame = setting.history(self.names, start, end, every=step)
        return frame.time, np.asarray(frame.values, float)

    def _off(self, situation: Situation) -> tuple[Times, Floats]:
        """What the last update of the belief was off by, in the standard deviations that it should have."""
        belief = situation.belief
        if belief is None or belief.time <= self._last:
            return np.empty(0, np.int64), np.empty((0, len(self.names)))
        found = [belief.innovation.get(name, (np.nan, 1.0)) for name in self.names]
        return np.array([belief.time], np.int64), np.array([[r / max(sd, 1e-300) for r, sd in found]])

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {"last": self._last, "names": self.names}

    def restore(self, state: Mapping[str, Any]) -> bool:
        """Take it up again; False, and nothing is taken up, where the signals were others."""
        if tuple(state["names"]) != self.names:
            return False
        self._last = state["last"]
        return True
