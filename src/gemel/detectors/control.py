"""Control charts: whether a process is as it was when it was in control, and whether that is good enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration, instant_id
from gemel.core.values import Finding
from gemel.detectors.reading import Reading, spans
from gemel.detectors.statistics.capability import Capability, capability
from gemel.detectors.statistics.charts import Band, Chart, Cusum, Ewma, Shewhart, Signal
from gemel.detectors.statistics.phase import Phase, learned
from gemel.detectors.statistics.samples import deviation_quantile, range_quantile
from gemel.loop.decide import Situation

CHARTS = ("shewhart", "ewma", "cusum")
RULES = ("", "western", "nelson")
SPREADS = ("deviation", "range")
LEAST = 25
"""Points of a learning time without which no limit is set."""
HINT = 'chart = "ewma", arl = 500; lower = { size = -30 }, upper = { size = 30 }'
KEPT = 1000
"""Values that the capability is told from."""


@declared
class Control:
    """A control chart of every signal. The points are its values, one by one, or the means of `subgroup` in a row, then
    with a chart of their spread beside. A learning time gives centre and spread (phase I: what lay outside the limits
    is left out and they are set again); from then on a finding opens where the chart signals, and names the rule.

    The limits hold for values that are normal and know nothing of each other. Values that follow each other closely do:
    take them further apart (`step`), or set `related`.

    - `chart`: `shewhart`, `ewma` or `cusum`; the latter two find small shifts that stay.
    - `arl`: points from one false alarm to the next, on average and for each signal. With `subgroup`, both charts
      together. `rules` ("western", "nelson") come on top of it; see the docs.
    - `weight` of the newest point in the EWMA; `slack` of the CUSUM, half the shift in sigma that is to be found.
    - `subgroup`: values in a sample; `spread`: of it, "deviation" (Xbar-S) or "range" (Xbar-R).
    - `related`: chart what each point brings beyond what the one before foretells.
    - `lower`, `upper`: specification limits by signal, by default the signal's own `low` and `high`. `capable`: a
      finding opens where Ppk is surely (95 %) below this; 0 for never.
    - `signals`: those to watch, by default every measured or derived number. `learn`: the learning time, read from the
      history if there is one, else waited for. `step`: spacing of the rows, by default the twin's `every`.
    - `clear_after`: points in control after which a finding closes.
    """

    def __init__(
        self,
        chart: str = "shewhart",
        arl: float = 370.4,
        rules: str = "",
        weight: float = 0.1,
        slack: float = 0.5,
        subgroup: int = 1,
        spread: str = "deviation",
        related: bool = False,
        lower: Mapping[str, float] | None = None,
        upper: Mapping[str, float] | None = None,
        capable: float = 0.0,
        signals: Sequence[str] = (),
        learn: str = "7d",
        step: str = "",
        clear_after: int = 10,
    ) -> None:
        problems = [
            f"control: {key} '{value}' is none{nearest(value, known)}"
            for key, value, known in (("chart", chart, CHARTS), ("rules", rules, RULES), ("spread", spread, SPREADS))
            if value not in known
        ]
        if arl < 10 or not 0 < weight <= 1 or slack <= 0 or capable < 0:
            problems.append("control: arl must be 10 or more, weight in (0, 1], slack above 0, capable 0 or more")
        if not 1 <= subgroup <= 25 or clear_after < 1:
            problems.append("control: subgroup must be 1 to 25, clear_after 1 or more")
        if rules and chart != "shewhart":
            problems.append(f"control: rules are for the shewhart chart, not for {chart}")
        self.lower, self.upper = dict(lower or {}), dict(upper or {})
        problems += [
            f"control: {key} of '{name}' must be a number, not {value!r}"
            for key, given in (("lower", self.lower), ("upper", self.upper))
            for name, value in given.items()
            if not isinstance(value, int | float) or not np.isfinite(value)
        ]
        if problems:
            raise ConfigError(problems, HINT)
        both = self.lower.keys() & self.upper.keys()
        problems += [f"control: lower of '{n}' is not below its upper" for n in both if self.lower[n] >= self.upper[n]]
        problems += spans("control", learn, step)
        if problems:
            raise ConfigError(problems, HINT)
        self.chart, self.arl, self.rules, self.weight, self.slack = chart, arl, rules, weight, slack
        self.subgroup, self.spread, self.related, self.capable = subgroup, spread, related, capable
        self.clear_after = clear_after
        self._learn = duration(learn)
        self._reading = Reading("control", signals, learn, step)
        self._lines: dict[str, _Line] = {}

    def bind(self, setting: Setting) -> None:
        known = setting.signals.names
        named = {**self.lower, **self.upper}
        if unknown := [f"control: unknown signal '{n}'{nearest(n, known)}" for n in named if n not in known]:
            raise ConfigError(unknown, f"known: {', '.join(known)}")
        self._reading.bind(setting)
        self._lines = {}
        for name in self._reading.names:
            signal = setting.signals.named(name)
            limits = self.lower.get(name, signal.low), self.upper.get(name, signal.high)
            self._lines[name] = _Line(name, self, self._learn - self._reading.step, limits)

    def inspect(self, situation: Situation) -> list[Finding]:
        time, values = self._reading.rows(situation)
        news = []
        for name, column in zip(self._reading.names, values.T, strict=True):
            for stamp, value in zip(time.tolist(), column.tolist(), strict=True):
                if np.isfinite(value):
                    news += self._lines[name].take(situation.now, stamp, value)
        return news

    def capability(self, signal: str) -> Capability:
        """The indices of a signal with their 95 % intervals, from its last thousand values; raises `InputError` where
        nothing is specified, or too few values are there."""
        line = self._lines[signal]
        return capability(np.array(line.values), *line.limits, self.subgroup)

    def charts(self) -> tuple[Chart, Chart | None]:
        """Fresh ones: of the points, and of the spread of samples."""
        arl = self.arl if self.subgroup == 1 else 1.0 / (1.0 - (1.0 - 1.0 / self.arl) ** 0.5)
        made: Chart = Shewhart(arl, self.rules)
        if self.chart != "shewhart":
            made = Ewma(arl, self.weight) if self.chart == "ewma" else Cusum(arl, self.slack)
        if self.subgroup == 1:
            return made, None
        quantile = range_quantile if self.spread == "range" else deviation_quantile
        ends = [quantile(p, self.subgroup) for p in (0.5 / arl, 1.0 - 0.5 / arl)]
        return made, Band(ends[0], ends[1], self.spread)

    def snapshot(self) -> Mapping[str, Any]:
        lines = {name: line.snapshot() for name, line in self._lines.items()}
        return {"reading": self._reading.snapshot(), "lines": lines}

    def restore(self, state: Mapping[str, Any]) -> None:
        if self._reading.restore(state["reading"]):
            for name, line in self._lines.items():
                line.restore(state["lines"][name])


class _Line:
    """One signal's charts, and the findings that stand about it."""

    def __init__(self, name: str, control: Control, learn: int, limits: tuple[float | None, float | None]) -> None:
        self.name, self.limits, self._control, self._learn = name, limits, control, learn
        self.values: list[float] = []  # while it learns all, then the last ones
        self._first = 0
        self._phase: Phase | None = None
        self._chart, self._band = control.charts()
        self._sample: list[float] = []
        self._times: list[int] = []  # of the last points
        self._open: dict[str, Finding] = {}
        self._calm, self._before = 0, 0.0

    def take(self, now: int, stamp: int, value: float) -> list[Finding]:
        """What is new after one more value."""
        self._first = self._first or stamp
        self.values.append(value)
        size = self._control.subgroup
        if self._phase is None:
            if stamp - self._first >= self._learn and len(self.values) >= LEAST * size:
                self._phase = learned(np.array(self.values), size, self._control.related, self._control.spread)
            return []
        self.values = self.values[-KEPT:]
        self._sample.append(value)
        if len(self._sample) < size:
            return []
        sample, self._sample = np.array(self._sample), []
        self._times = [*self._times, stamp][-200:]
        z, self._before = self._phase.point(sample, self._before)
        signal = self._chart.take(z)
        if self._band is not None:
            signal = signal or self._band.take(self._phase.width(sample, self._control.spread))
        return self._told(now, signal, float(sample.mean())) + self._rated(now)

    def _told(self, now: int, signal: Signal | None, value: float) -> list[Finding]:
        held, phase = self._open.get("control"), self._phase
        if signal is None or phase is None:
            self._calm += 1
            if held is None or self._calm < self._control.clear_after:
                return []
            del self._open["control"]
            return [replace(held, time=now, open=False, text=f"{self.name} is in control again")]
        self._calm = 0
        if held is not None and signal.score < 1.5 * held.evidence["score"]:
            return []
        side = {1: "high", -1: "low", 0: "neither"}[signal.side]
        start = held.start if held else min(self._times[-min(signal.points, len(self._times))], now)
        text = f"{self.name}: {signal.rule}, on the {side} side" if signal.side else f"{self.name}: {signal.rule}"
        evidence = {
            "score": signal.score, "side": float(signal.side), "value": value,
            "centre": phase.centre, "sigma": phase.sigma, self.name: 1.0,
        }  # fmt: skip
        name, sure = f"out of control {self.name}", 1.0 - 1.0 / self._control.arl
        found = Finding(
            held.id if held else f"{name}-{instant_id(now)}".replace(" ", "-"), name, self.name, start, now,
            1.0 - 0.5**signal.score, sure,
            f"{text}; last {value:.4g}, centre {phase.centre:.4g}, sigma {phase.sigma:.3g}",
            evidence=evidence, by="control",
        )  # fmt: skip
        self._open["control"] = found
        return [found]

    def _rated(self, now: int) -> list[Finding]:
        """What the capability says, every so many values."""
        held, least = self._open.get("capable"), self._control.capable
        if not least or self.limits == (None, None) or len(self._times) % LEAST:
            return []
        try:
            found = self._control.capability(self.name)
        except InputError:  # it does not move, or there are too few
            return []
        index, low, high = found.ppk
        evidence = {
            "Ppk": index,
            "Ppk low": low,
            "Ppk high": high,
            "Pp": found.pp[0],
            "Cpk": found.cpk[0],
            self.name: 1.0,
        }
        text = f"{self.name}: Ppk {index:.2f} ({low:.2f} to {high:.2f}), {least:g} is asked"
        if held is not None and index >= least:
            del self._open["capable"]
            return [replace(held, time=now, open=False, text=text)]
        if held is not None or high >= least:
            return []
        evidence = {key: value for key, value in evidence.items() if np.isfinite(value)} | {self.name: 1.0}
        name = f"not capable {self.name}"
        self._open["capable"] = Finding(
            f"{name}-{instant_id(now)}".replace(" ", "-"), name, self.name, now, now, 0.3, 0.95, text,
            evidence=evidence, by="control",
        )  # fmt: skip
        return [self._open["capable"]]

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {
            "values": np.array(self.values),
            "first": self._first,
            "phase": list(self._phase) if self._phase else None,
            "chart": self._chart.snapshot(),
            "sample": list(self._sample),
            "times": list(self._times),
            "open": dict(self._open),
            "calm": self._calm,
            "before": self._before,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        self.values, self._first, self._calm = np.asarray(state["values"]).tolist(), state["first"], state["calm"]
        self._before = float(state["before"])
        self._phase = Phase(*state["phase"]) if state["phase"] else None
        self._chart.restore(state["chart"])
        self._sample, self._times, self._open = list(state["sample"]), list(state["times"]), dict(state["open"])
