"""Remaining useful life of each asset, from its whole history and what was learned of a fleet like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.explain import Sight
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration
from gemel.core.values import IMPUTED, Finding, Floats, Signal, Times
from gemel.detectors.life.ensemble import Ensemble
from gemel.detectors.life.unit import Unit
from gemel.detectors.life.windowed import Windowed, is_windowed
from gemel.loop.decide import Situation

HOUR = 3_600_000_000_000
MOST = 50_000
"""Rows read at once, after a pause."""


@declared
class Life:
    """Says how long each asset will last: an open finding about it whose evidence holds the quantiles `life 0.05` ...
    `life 0.95` in hours, as the policy `maintenance` reads them.

    It asks trees and networks that learned from a fleet's whole lives (`gemel lab life`), or one network that learned
    from windows (`gemel lab train --task rul`). A channel that is missing or
    stands still, and an operating condition never learned from, are refused by name: the finding then holds no life.
    A channel far outside what was learned (another unit of measure?) is left out, and the confidence falls. Of a unit
    with few rows no more is said than its age tells.

    - `model`: the folder with what was learned.
    - `signals`: channel or setting -> the signal's name, where `{asset}` stands for the asset; by default the asset's
      signal of that name, or one that ends with `_` and that name.
    - `counter`: a signal (`{asset}` as above) that counts cycles since the unit was new; when it falls, the unit is a
      new one. Without it rows are counted from the first one heard.
    - `cycle`: how long a cycle is while the asset runs; `step`: spacing of the rows, one a cycle. By default both are
      the twin's `every`. `history`: how far back a life may have begun.
    - `assets`: only these; by default all that have such signals.
    """

    def __init__(
        self,
        model: str,
        signals: Mapping[str, str] | None = None,
        counter: str = "",
        cycle: str = "",
        step: str = "",
        history: str = "365d",
        assets: Sequence[str] = (),
    ) -> None:
        problems = []
        for key, text in (("cycle", cycle), ("step", step), ("history", history)):
            try:
                if text and duration(text) <= 0:
                    problems.append(f"life: {key} must be above zero")
            except InputError as error:
                problems.append(f"life: {key}: {error.message}")
        if not model:
            problems.append("life: model names the folder of what was learned")
        problems += [
            f"life: signals: '{n}' must be the name of a signal, not {v!r}"
            for n, v in (signals or {}).items()
            if not isinstance(v, str)
        ]
        if problems:
            raise ConfigError(problems, 'cycle = "1h" is an hour of running a cycle')
        self.model, self.signals, self.counter, self.assets = model, dict(signals or {}), counter, tuple(assets)
        self._cycle, self._step = (duration(text) if text else 0 for text in (cycle, step))
        self._history = duration(history)
        self._names: tuple[str, ...] = ()
        self._last = 0
        self._units: list[Unit] = []

    def bind(self, setting: Setting) -> None:
        """Open what was learned and find each asset's signals; raises `ConfigError` naming those that are missing."""
        folder = setting.folder / self.model
        self._setting, self._ensemble = setting, Windowed(folder) if is_windowed(folder) else Ensemble(folder)
        self._step = self._step or setting.every
        hours = (self._cycle or self._step) / HOUR
        usual = self._ensemble.meaning.usual
        if unknown := [n for n in self.signals if n not in (*usual.channels, *usual.settings)]:
            known = (*usual.channels, *usual.settings)
            raise ConfigError([f"life: nothing was learned of '{n}'{nearest(n, known)}" for n in unknown], "")
        held: dict[str, list[Signal]] = {}
        for signal in setting.signals:
            held.setdefault(signal.asset, []).append(signal)
        if lost := [a for a in self.assets if a not in held]:
            raise ConfigError([f"life: no signals of an asset '{a}'{nearest(a, held)}" for a in lost], "")
        problems: list[str] = []
        self._units = []
        for asset, signals in held.items():
            if self.assets and asset not in self.assets:
                continue
            found = {n: self._signal(n, asset, signals, setting) for n in (*usual.settings, *usual.channels)}
            lacking = [n for n, signal in found.items() if not signal]
            if len(lacking) == len(found) and not self.assets:
                continue  # an asset of another kind
            if lacking:
                problems.append(f"life: {asset or 'the twin'} has no signal for {', '.join(lacking)}")
                continue
            counter = self.counter.replace("{asset}", asset)
            if counter and counter not in setting.signals.names:
                problems.append(f"life: unknown counter '{counter}'{nearest(counter, setting.signals.names)}")
            names = [*found.values(), *([counter] if counter else [])]
            self._units.append(Unit(asset or setting.twin, tuple(names), bool(counter), self._ensemble, hours))
        if not self._units and not problems:
            problems.append(f"life: no asset has signals for {', '.join(usual.channels[:4])} ...")
        if problems:
            hint = 'name them: signals = { CHANNEL = "{asset}_temperature" }, or choose: assets = [...]'
            raise ConfigError(problems, hint)
        self._names = tuple(dict.fromkeys(n for unit in self._units for n in unit.names))

    def _signal(self, name: str, asset: str, signals: Sequence[Signal], setting: Setting) -> str:
        """The signal that is a channel of an asset, "" where there is none."""
        if name in self.signals:
            wanted = self.signals[name].replace("{asset}", asset)
            fits = wanted in setting.signals.names and setting.signals.named(wanted).type != "blob"
            return wanted if fits else ""
        exact = [s.name for s in signals if s.name == name]
        return next(iter(exact or [s.name for s in signals if s.name.endswith(f"_{name}")]), "")

    def inspect(self, situation: Situation) -> list[Finding]:
        time, values = self._rows(situation)
        if not len(time):
            return []
        self._last = int(time[-1])
        found = [u.take(situation.now, time, values[:, [self._names.index(n) for n in u.names]]) for u in self._units]
        return [finding for some in found for finding in some]

    def _rows(self, situation: Situation) -> tuple[Times, Floats]:
        """Rows [t, c] not seen so far."""
        step = self._step
        if self._setting.history is None:
            row = [[situation.latest.get(name, np.nan) for name in self._names]]
            return np.array([situation.now], np.int64), np.array(row, float)
        end = situation.now // step * step
        start = max(self._last + step if self._last else end - self._history + step, end - MOST * step)
        if start > end:
            return np.empty(0, np.int64), np.empty((0, len(self._names)))
        frame = self._setting.history(self._names, start, end, every=step)
        measured = np.isin(self._names, [n for unit in self._units for n in unit.channels])
        # a setting or a counter holds until it is told anew; a channel says nothing where it was not measured
        return frame.time, np.where((frame.quality == IMPUTED) & measured, np.nan, np.asarray(frame.values, float))

    def sight(self, finding: Finding) -> Sight | None:
        """The asset's signals; windows of 30 rows or more say something."""
        unit = next((u for u in self._units if u.subject == finding.subject), None)
        return None if unit is None else Sight(unit.looked_at, self._step, 30)

    def scored(self, finding: Finding, windows: Floats) -> Floats:
        """By how much less than the longest life each window [b, t, s] of an asset has left, [b], in rows; a window
        counts as all that was heard of a unit."""
        meaning = self._ensemble.meaning
        s = len(meaning.usual.settings)
        answer = self._ensemble.ask([meaning.usual.deviations(w[:, :s], w[:, s:]) for w in windows])[0]
        return meaning.cap - answer

    def snapshot(self) -> Mapping[str, Any]:
        return {"last": self._last, "units": {unit.subject: unit.snapshot() for unit in self._units}}

    def restore(self, state: Mapping[str, Any]) -> None:
        units = {unit.subject: unit for unit in self._units}
        if set(units) != set(state["units"]):
            return
        if all(unit.restore(state["units"][name]) for name, unit in units.items()):
            self._last = int(state["last"])
