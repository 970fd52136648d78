"""Signals that go together, until they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gemel.core.errors import ConfigError
from gemel.core.explain import Sight
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.values import Finding, Floats
from gemel.detectors.statistics.components import Components
from gemel.detectors.statistics.judge import Statistics
from gemel.detectors.watch import Watch, Watching
from gemel.loop.decide import Situation


@declared
class Subspace:
    """Finds rows that lie outside (T2) or beside (Q) the principal components of a normal time.

    The signals of an asset are looked at together; the finding names those that contribute most. How strange a row is,
    is its rank among the rows of the normal time; rows that are no alarm join these.

    - `window`: rows looked at together; `share`: of the variance that the kept components explain.
    - `signals`: those to watch, by default every measured or derived number.
    - `alarms_per_week`: false ones, in all. `learn`: the normal time it begins with, read from the history if there is
      one, else waited for. `step`: spacing of the rows, by default the twin's `every`.
    - `raise_after`, `clear_after`: rows in a row that are strange before a finding opens, and usual before it closes.
    """

    def __init__(
        self,
        window: int = 10,
        share: float = 0.9,
        signals: Sequence[str] = (),
        alarms_per_week: float = 1.0,
        learn: str = "1d",
        step: str = "",
        raise_after: int = 3,
        clear_after: int = 10,
    ) -> None:
        if window < 1 or not 0 < share < 1:
            raise ConfigError(["subspace: window must be 1 or more, share between 0 and 1"], "window = 10, share = 0.9")
        self.window, self.share = window, share
        self._watch = Watch(
            Watching(
                "subspace", "unusual", self.statistics, signals, alarms_per_week, learn, step, raise_after, clear_after
            )
        )

    def statistics(self) -> Sequence[Statistics]:
        """Its numerics, for a committee."""
        return [Components(self.window, self.share)]

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
