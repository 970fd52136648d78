"""Vibration that sounds unlike itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gemel.core.errors import ConfigError
from gemel.core.explain import Sight
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.values import Finding, Floats
from gemel.detectors.statistics.judge import Statistics
from gemel.detectors.statistics.waveform import Waveform
from gemel.detectors.watch import Watch, Watching
from gemel.loop.decide import Situation


@declared
class Spectrum:
    """Finds windows of a fast signal whose spectrum or shape is unusual: band energies, root mean square, kurtosis,
    crest factor, and the highest line of the envelope's spectrum, each against a normal time.

    `step` should be the sampling interval of the signal ("1ms"); all rows between two turns are read. How strange a
    window is, is its rank among the rows of the normal time; rows that are no alarm join these.

    - `window`: rows of one window; `bands`: that the spectrum is divided into.
    - `signals`: those to watch, by default every measured or derived number.
    - `alarms_per_week`: false ones, in all. `learn`: the normal time it begins with, read from the history if there is
      one, else waited for. `step`: spacing of the rows, by default the twin's `every`.
    - `raise_after`, `clear_after`: rows in a row that are strange before a finding opens, and usual before it closes.
    """

    def __init__(
        self,
        window: int = 256,
        bands: int = 8,
        signals: Sequence[str] = (),
        alarms_per_week: float = 1.0,
        learn: str = "1d",
        step: str = "",
        raise_after: int = 3,
        clear_after: int = 10,
    ) -> None:
        if bands < 1 or window < 4 * bands:
            raise ConfigError(["spectrum: bands must be 1 or more, window at least 4 times that"], "window = 256")
        self.window, self.bands = window, bands
        self._watch = Watch(
            Watching(
                "spectrum", "unusual", self.statistics, signals, alarms_per_week, learn, step, raise_after, clear_after
            )
        )

    def statistics(self) -> Sequence[Statistics]:
        """Its numerics, for a committee."""
        return [Waveform(self.window, self.bands)]

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
