"""Residuals: what was measured less what the virtual copy expected, watched until it is no chance any more."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.explain import Sight
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration, instant_id
from gemel.core.values import Belief, Finding, Floats
from gemel.detectors.chart import Chart
from gemel.loop.decide import Situation
from gemel.loop.simulate import Assignable, Simulator

WEEK = 7 * 86_400 * 10**9
CALM = 3.0  # predicted standard deviations within which a residual is normal
KEEP = 256  # residuals kept for slope and size
UP, DOWN = 0, 1


@dataclass(frozen=True, slots=True)
class Cause:
    """A row of the signature table, see `Residual`."""

    name: str
    signal: str
    sign: str = ""
    unless: str = ""
    state: str = ""
    below: float = -np.inf
    above: float = np.inf
    distrust: bool = False
    explains: Sequence[str] = ()
    severity: float = 0.5


@declared
class Residual:
    """Finds signals that leave their expectation, and names the cause by a small signature table.

    Every observed signal of the belief's innovation has a two-sided CUSUM chart, whose threshold follows from the
    stream itself so that there are `alarms_per_week` false alarms in all. An alarm is named by the first row of
    `causes` that fits, else "unexpected <signal>". A finding closes when its signal has been as expected for `calm`.

    - `causes`: `{ name, signal }` and, as needed: `sign` "+" or "-" (measured above or below expected); `unless`, a
      signal that must not leave its expectation to the same side; `state` with `below` or `above`: the finding is open
      for as long as the belief is 95 % sure of that, whatever the residual; `distrust` (the signal shall not teach the
      estimator while it is open; its residual is then taken from the simulator); `explains`, signals that need no
      finding of their own while it is open; `severity` 0 to 1.
    - `least`: `{ signal = size }`, the smallest mean residual of five turns worth a finding, in the signal's unit.
    - `warmup`: time after the first turn in which nothing is reported. `settle`: time after a new finding in which no
      unnamed one is opened. `slack`: how many standard deviations a residual may be off without being summed.
    """

    def __init__(
        self,
        causes: Sequence[Mapping[str, Any]] = (),
        alarms_per_week: float = 0.2,
        least: Mapping[str, float] | None = None,
        warmup: str = "2h",
        settle: str = "30min",
        calm: str = "1h",
        slack: float = 0.5,
    ) -> None:
        known = tuple(Cause.__dataclass_fields__)
        problems = []
        for row in causes:
            label = f"residual: cause '{row.get('name', '?')}'"
            problems += [f"{label} has no key '{k}'{nearest(k, known)}" for k in row if k not in known]
            problems += [f"{label} needs {k}" for k in ("name", "signal") if not row.get(k)]
            if row.get("sign", "") not in ("", "+", "-"):
                problems.append(f"{label}: sign '{row['sign']}' is not + or -")
            if row.get("state") and not {"below", "above"} & set(row):
                problems.append(f"{label}: state '{row['state']}' needs below or above")
        if alarms_per_week <= 0 or slack <= 0:
            problems.append("residual: alarms_per_week and slack must be above 0")
        try:
            self._warmup, self._settle, self._calm = duration(warmup), duration(settle), duration(calm)
        except InputError as error:
            problems.append(f"residual: {error.message}")
        if problems:
            raise ConfigError(problems, 'a cause is { name = "fan failed", signal = "fan_power", sign = "-" }')
        self.causes = [Cause(**row) for row in causes]
        self.alarms_per_week, self.slack, self.least = alarms_per_week, slack, dict(least or {})
        self._charts: dict[str, Chart] = {}
        self._recent: dict[str, deque[tuple[int, float, float]]] = {}  # signal -> (time, residual, its sd)
        self._open: dict[str, Finding] = {}  # subject -> finding
        self._first = self._last = self._opened = self._every = 0

    def bind(self, setting: Setting) -> None:
        self._every = setting.every
        simulator = setting.simulator
        states = () if simulator is None else tuple(simulator.states)
        outputs = () if simulator is None else tuple(simulator.outputs)
        problems = []
        for cause in self.causes:
            names = [cause.signal, cause.unless, *cause.explains]
            unknown = [n for n in names if n and n not in setting.signals and n not in outputs]
            known = (*setting.signals.names, *outputs)
            problems += [
                f"residual: cause '{cause.name}' names unknown signal '{n}'{nearest(n, known)}" for n in unknown
            ]
            if cause.state and cause.state not in states:
                problems.append(
                    f"residual: cause '{cause.name}' names unknown state '{cause.state}'{nearest(cause.state, states)}"
                )
        if problems:
            raise ConfigError(problems)

    def inspect(self, situation: Situation) -> list[Finding]:
        belief = situation.belief
        if belief is None or belief.time <= self._last:
            return []
        self._first, self._last = self._first or belief.time, belief.time
        warm = belief.time - self._first >= self._warmup
        self._hear(situation, belief)
        news = [f for subject in list(self._open) if (f := self._review(subject, belief)) is not None]
        if not warm:
            for chart in self._charts.values():
                chart.reset()
            return news
        alarms = self.alarms_per_week * situation.every / WEEK / max(2 * len(self._charts), 1)
        heights = {signal: chart.threshold(alarms) for signal, chart in self._charts.items()}
        opened = [f for cause in self.causes if (f := self._named(cause, heights, belief)) is not None]
        if not opened:
            opened = [f for signal in heights if (f := self._unnamed(signal, heights, belief)) is not None]
        for finding in opened:
            if old := self._open.get(finding.subject):
                news.append(replace(old, time=belief.time, open=False, text=f"{old.name}: it is {finding.name}"))
            self._open[finding.subject] = finding
            self._opened = belief.time
            for chart in self._charts.values() if finding.evidence["distrust"] else [self._charts[finding.subject]]:
                chart.reset()
        return news + opened

    def sight(self, finding: Finding) -> Sight | None:
        if finding.by != "residual" or not self._charts:
            return None
        return Sight(tuple(self._charts), self._every, 20, 1.0, "residuals")

    def scored(self, finding: Finding, windows: Floats) -> Floats:
        alarms = self.alarms_per_week * self._every / WEEK / max(2 * len(self._charts), 1)
        charts = list(self._charts.values())
        return np.stack([c.apart(windows[..., i]) / c.threshold(alarms) for i, c in enumerate(charts)]).max(axis=0)

    def snapshot(self) -> Mapping[str, Any]:
        return {
            "charts": {name: asdict(chart) for name, chart in self._charts.items()},
            "recent": {name: [list(entry) for entry in held] for name, held in self._recent.items()},
            "open": list(self._open.values()),
            "times": [self._first, self._last, self._opened],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        lists = ("sums", "peaks", "starts")
        self._charts = {}
        for name, held in state["charts"].items():
            fields: dict[str, Any] = {k: list(v) if k in lists else v for k, v in held.items()}
            self._charts[name] = Chart(**fields)
        self._recent = {
            name: deque([(int(t), float(r), float(sd)) for t, r, sd in held], KEEP)
            for name, held in state["recent"].items()
        }
        self._open = {f.subject: f for f in state["open"]}
        self._first, self._last, self._opened = state["times"]

    # -- residuals -----------------------------------------------------------------------------------------------------

    def _hear(self, situation: Situation, belief: Belief) -> None:
        """Residuals of this turn into the charts; those of distrusted signals, which taught nothing, are made here."""
        for signal, (residual, sd) in belief.innovation.items():
            if not (np.isfinite(residual) and sd > 0):
                continue
            chart = self._charts.setdefault(signal, Chart(self.slack))
            usual = signal not in self._open and not any(signal in self._explained(f) for f in self._open.values())
            chart.update(residual, sd, belief.time, learn=usual)
            self._remember(signal, belief.time, residual, sd)
        for signal in [s for s, f in self._open.items() if f.evidence["distrust"] and s not in belief.innovation]:
            own = self._own(signal, situation, belief)
            if own is not None:
                self._remember(signal, belief.time, own, self._charts[signal].sd)

    def _own(self, signal: str, situation: Situation, belief: Belief) -> float | None:
        """What a signal reads less what the simulator says it should, from the belief as it is."""
        simulator = situation.simulator
        measured = situation.latest.get(signal, np.nan)
        if not isinstance(simulator, Simulator) or not isinstance(simulator, Assignable) or not np.isfinite(measured):
            return None
        inputs = np.array([situation.latest.get(n, np.nan) for n in simulator.inputs])
        outputs = simulator.observe(simulator.init(belief, 0), np.repeat(inputs[:, None], belief.members.shape[1], 1))
        return measured - float(outputs[list(simulator.outputs).index(signal)].mean())

    def _remember(self, signal: str, time: int, residual: float, sd: float) -> None:
        self._recent.setdefault(signal, deque(maxlen=KEEP)).append((time, residual, sd))

    # -- findings ------------------------------------------------------------------------------------------------------

    def _named(self, cause: Cause, heights: Mapping[str, float], belief: Belief) -> Finding | None:
        """A new finding of this cause, if there is one."""
        held = self._open.get(cause.signal)
        if cause.signal not in heights or (held and held.name != _unexpected(cause.signal)):
            return None
        side = self._side(cause, heights, 1.0) if self._matters(cause.signal) else None
        if side is None and not self._sure(cause, belief):
            return None
        return self._finding(cause, side, heights, belief)

    def _unnamed(self, signal: str, heights: Mapping[str, float], belief: Belief) -> Finding | None:
        """A finding without a cause; not while one settles or explains it, nor while a named one is halfway there."""
        chart = self._charts[signal]
        side = UP if chart.sums[UP] >= chart.sums[DOWN] else DOWN
        if chart.sums[side] < heights[signal] or signal in self._open or not self._matters(signal):
            return None
        if belief.time - self._opened < self._settle or any(signal in self._explained(f) for f in self._open.values()):
            chart.reset()
            return None
        coming = [c for c in self.causes if c.signal not in self._open and c.signal in heights]
        if any(self._side(c, heights, 0.5) is not None for c in coming) and chart.sums[side] < 2 * heights[signal]:
            return None
        return self._finding(Cause(_unexpected(signal), signal), side, heights, belief)

    def _side(self, cause: Cause, heights: Mapping[str, float], share: float) -> int | None:
        """The side on which the cause's signal has passed this share of its threshold, as its row asks for."""
        for side, sign in ((UP, "+"), (DOWN, "-")):
            passed = self._charts[cause.signal].sums[side] >= share * heights[cause.signal]
            if not passed or cause.sign not in ("", sign):
                continue
            other = self._charts.get(cause.unless)
            if other is None or other.sums[side] < 0.3 * heights[cause.unless]:
                return side
        return None

    def _matters(self, signal: str) -> bool:
        """Whether the signal's residual is large enough to be worth a finding."""
        last = [r for _, r, _ in list(self._recent.get(signal, ()))[-5:]]
        return abs(sum(last)) >= self.least.get(signal, 0.0) * len(last)

    def _sure(self, cause: Cause, belief: Belief) -> bool:
        """Whether the belief is 95 % sure that the cause's state is beyond its limit."""
        return bool(cause.state) and cause.state in belief.names and self._share(cause, belief) >= 0.95

    @staticmethod
    def _share(cause: Cause, belief: Belief) -> float:
        """The share of the members whose state is beyond the cause's limit."""
        members = belief.row(cause.state)
        return float(((members < cause.below) | (members > cause.above)).mean())

    def _finding(self, cause: Cause, side: int | None, heights: Mapping[str, float], belief: Belief) -> Finding:
        chart, height = self._charts[cause.signal], heights[cause.signal]
        start = self._onset(cause.signal, side, chart.starts[side]) if side is not None else belief.time
        score = chart.sums[side] if side is not None else height
        size, slope = self._shape(cause.signal, start)
        evidence = {
            "score": score,
            "threshold": height,
            "size": size,
            "slope": slope,
            "side": 0.0 if side is None else (1.0 if side == UP else -1.0),
            "distrust": float(cause.distrust),
            # how much of what raises an alarm each signal has gathered
            **{name: max(held.sums) / heights[name] for name, held in self._charts.items()},
        }
        text = _text(cause.signal, size)
        if side is None:  # no residual speaks for it, but what the twin believes
            low = np.isfinite(cause.below)
            limit = f"{cause.state} {'<' if low else '>'} {cause.below if low else cause.above:g}"
            evidence[f"P({limit})"] = self._share(cause, belief)
            text = f"{cause.state} is {belief.row(cause.state).mean():.2g}; the twin is sure that {limit}"
        return Finding(
            f"{cause.name}-{instant_id(belief.time)}".replace(" ", "-"), cause.name, cause.signal, start, belief.time,
            cause.severity, 1.0 - 0.1 ** (score / height),
            text, evidence=evidence, by="residual",
        )  # fmt: skip

    def _review(self, subject: str, belief: Belief) -> Finding | None:
        """An open finding again if it is over, or has grown by half."""
        finding = self._open[subject]
        cause = next((c for c in self.causes if c.name == finding.name), None)
        size, slope = self._shape(subject, finding.start)
        since = [(r, sd) for t, r, sd in self._recent.get(subject, ()) if t > belief.time - self._calm]
        heard = bool(self._recent.get(subject)) and self._recent[subject][-1][0] == belief.time
        quiet = heard and belief.time - finding.time >= self._calm and all(abs(r) < CALM * sd for r, sd in since)
        quiet = quiet and abs(sum(r / sd for r, sd in since)) < len(since)
        if quiet and not (cause and self._sure(cause, belief)):
            del self._open[subject]
            self._charts[subject].reset(learned=finding.evidence["threshold"])
            return replace(finding, time=belief.time, open=False, text=f"{subject} is as expected again")
        if abs(size) < 1.5 * abs(finding.evidence["size"]) or abs(size) < CALM * self._charts[subject].sd:
            return None
        text = _text(subject, size)
        evidence = {**finding.evidence, "size": size, "slope": slope}
        self._open[subject] = replace(finding, text=text, evidence=evidence)
        return replace(self._open[subject], time=belief.time)

    def _onset(self, signal: str, side: int, since: int) -> int:
        """When it began, as a person would say: after three residuals were last within one standard deviation together.
        The chart's own start is when its sum last stood at zero, which a slight bias can put hours earlier."""
        held = [(t, r / sd) for t, r, sd in self._recent.get(signal, ()) if t >= since]
        sign = 1 if side == UP else -1
        for i in range(len(held) - 1, 1, -1):
            if sign * (held[i][1] + held[i - 1][1] + held[i - 2][1]) < 3:
                return held[min(i + 1, len(held) - 1)][0]
        return held[0][0] if held else since

    def _shape(self, signal: str, start: int) -> tuple[float, float]:
        """Size (mean of the last five residuals) and slope per hour (least squares) since `start`."""
        held = [(t, r) for t, r, _ in self._recent.get(signal, ()) if t >= start]
        if not held:
            return 0.0, 0.0
        last = [r for _, r in held[-5:]]
        size = sum(last) / len(last)
        hours = np.array([t - held[0][0] for t, _ in held]) / 3.6e12
        hours -= hours.mean()
        slope = float(hours @ [r for _, r in held] / (hours @ hours)) if len(held) > 2 else 0.0
        return size, slope

    def _explained(self, finding: Finding) -> Sequence[str]:
        return next((c.explains for c in self.causes if c.name == finding.name), ())


def _unexpected(signal: str) -> str:
    return f"unexpected {signal}"


def _text(signal: str, size: float) -> str:
    return f"{signal} is {abs(size):.2g} {'above' if size > 0 else 'below'} what the twin expects"
