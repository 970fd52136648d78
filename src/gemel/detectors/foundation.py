"""Courses that the pre-trained network did not foresee, or that it reads as unlike the normal ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gemel.core.errors import ConfigError
from gemel.core.explain import Sight
from gemel.core.foundation import load
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.values import Finding, Floats
from gemel.detectors.statistics.foresight import Foresight
from gemel.detectors.statistics.judge import Statistics
from gemel.detectors.watch import Watch, Watching
from gemel.loop.decide import Situation

PATCHES = 4
"""A window is a multiple of so many patches."""


@declared
class Foundation:
    """Asks the pre-trained network about every signal: rows outside the quantiles that it foretold, and windows whose
    hidden features lie far from those of the normal time, are strange. It knows many kinds of signals but looks at each
    by itself; put it in a committee beside detectors that look at them together.

    How strange a row is, is its rank among the rows of the normal time; rows that are no alarm join these.

    - `window`: rows the network sees, a multiple of 128. `ahead`: rows from one question to the next, up to 32, whose
      mean is measured; a prime, or the questions fall on the same few places of a daily cycle.
    - `model`: a folder with another exported network (`gemel lab export`); the one that ships when empty. `way`:
      `"fast"` (int8) or `"best"` (float32).
    - `signals`: those to watch, by default every measured or derived number.
    - `alarms_per_week`: false ones, in all. `learn`: the normal time it begins with, read from the history if there is
      one, else waited for. `step`: spacing of the rows, by default the twin's `every`.
    - `raise_after`, `clear_after`: rows in a row that are strange before a finding opens, and usual before it closes.
    """

    def __init__(
        self,
        window: int = 128,
        ahead: int = 7,
        model: str = "",
        way: str = "fast",
        signals: Sequence[str] = (),
        alarms_per_week: float = 1.0,
        learn: str = "1d",
        step: str = "",
        raise_after: int = 3,
        clear_after: int = 10,
    ) -> None:
        problems = []
        if way not in ("best", "fast"):
            problems.append(f'foundation: way \'{way}\' is unknown: write "fast" or "best"')
        if window < 128 or window % 128 or window > 2048:
            problems.append(f"foundation: window {window} must be a multiple of 128, at most 2048")
        if not 1 <= ahead <= 32:
            problems.append(f"foundation: ahead {ahead} must be 1 to 32")
        if problems:
            raise ConfigError(problems, "window = 128, ahead = 7")
        self.window, self.ahead, self.model, self.way = window, ahead, model, way
        self._watch = Watch(
            Watching(
                "foundation", "unusual", self.statistics, signals, alarms_per_week, learn, step, raise_after,
                clear_after,
            )
        )  # fmt: skip

    def statistics(self) -> Sequence[Statistics]:
        """Its numerics, for a committee."""
        return [Foresight(self.window, self.ahead, self.model, self.way == "fast")]

    def bind(self, setting: Setting) -> None:
        self.model = str(setting.folder / self.model) if self.model else ""
        load(self.model, self.way == "fast")  # a missing or damaged network is told now, not at some turn
        self._watch.bind(setting)

    def inspect(self, situation: Situation) -> list[Finding]:
        return self._watch.inspect(situation)

    def sight(self, finding: Finding) -> Sight | None:
        return self._watch.sight(finding)

    def scored(self, finding: Finding, windows: Floats) -> Floats:
        return self._watch.scored(finding, windows)

    def snapshot(self) -> Mapping[str, Any]:
        return self._watch.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._watch.restore(state)
