"""Signals, or what the virtual copy was off by, that have left their level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gemel.core.errors import ConfigError, nearest
from gemel.core.explain import Sight
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.values import Finding, Floats
from gemel.detectors.statistics.changepoint import Bayes, Cusum
from gemel.detectors.statistics.judge import Statistics
from gemel.detectors.statistics.level import Level
from gemel.detectors.watch import Watch, Watching
from gemel.loop.decide import Situation

WAYS = ("level", "fixed", "cusum", "bayes")
OF = ("signals", "residuals")


@declared
class Drift:
    """Finds change points: a signal has left the level that it had, further than it wanders by itself.

    - `way`: `level` compares the mean of the newest `window` rows with a level that may wander as it did in the normal
      time; `fixed` with the level of the normal time; `cusum` sums small deviations up; `bayes` weighs for how long
      there has been no change.
    - `of`: the `signals`, or the `residuals` of the virtual model (a twin with an estimator; one row a turn).
    - `window`: rows (cusum has none).
    - `signals`: those to watch, by default every measured or derived number.
    - `alarms_per_week`: false ones, in all. `learn`: the normal time it begins with, read from the history if there is
      one, else waited for. `step`: spacing of the rows, by default the twin's `every`.
    - `raise_after`, `clear_after`: rows in a row that are strange before a finding opens, and usual before it closes.
    """

    def __init__(
        self,
        way: str = "level",
        of: str = "signals",
        window: int = 10,
        signals: Sequence[str] = (),
        alarms_per_week: float = 1.0,
        learn: str = "1d",
        step: str = "",
        raise_after: int = 3,
        clear_after: int = 10,
    ) -> None:
        problems = [
            f"drift: {key} '{value}' is none{nearest(value, known)}"
            for key, value, known in (("way", way, WAYS), ("of", of, OF))
            if value not in known
        ]
        if window < 1:
            problems.append(f"drift: window {window} must be 1 or more")
        if problems:
            raise ConfigError(problems, f"way: {', '.join(WAYS)}; of: {', '.join(OF)}")
        self.way, self.of, self.window = way, of, window
        self._watch = Watch(
            Watching(
                "drift", "changed", self.statistics, signals, alarms_per_week, learn, step, raise_after, clear_after,
                of == "residuals",
            )
        )  # fmt: skip

    def statistics(self) -> Sequence[Statistics]:
        """Its numerics, for a committee."""
        if self.way == "cusum":
            return [Cusum()]
        return [Bayes(self.window)] if self.way == "bayes" else [Level(self.window, fixed=self.way == "fixed")]

    def bind(self, setting: Setting) -> None:
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
