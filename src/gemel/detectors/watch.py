"""From statistics to findings: what a detector of this wing does around its own numerics.

Signals that belong to one asset are judged together, each asset by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.explain import Sight
from gemel.core.setting import Setting
from gemel.core.units import duration, instant_id
from gemel.core.values import Finding, Floats, Times
from gemel.detectors.reading import Reading, spans
from gemel.detectors.statistics.judge import Delay, Judge, Statistics
from gemel.loop.decide import Situation

LEAST_ROWS = 100
"""Rows of a normal time without which nothing is judged."""
ODD = 100.0
"""A row so many times as likely as an alarm is where it began, if odder ones only follow."""


@dataclass(frozen=True)
class Watching:
    """What all these detectors let a person set, as keywords of their own."""

    by: str
    word: str  # of a finding: "unusual", "changed"
    make: Callable[[], Sequence[Statistics]]
    signals: Sequence[str] = ()
    alarms_per_week: float = 1.0
    learn: str = "1d"
    step: str = ""
    raise_after: int = 3
    clear_after: int = 10
    residuals: bool = False
    combine: str = "cauchy"

    def __post_init__(self) -> None:
        problems = spans(self.by, self.learn, self.step)
        if self.alarms_per_week <= 0:
            problems.append(f"{self.by}: alarms_per_week {self.alarms_per_week} must be above 0")
        if self.raise_after < 1 or self.clear_after < 0:
            problems.append(f"{self.by}: raise_after must be 1 or more, clear_after 0 or more")
        if problems:
            raise ConfigError(
                problems, "one false alarm in a month is alarms_per_week = 0.25; durations are texts: '1d'"
            )


class Group:
    """One asset's signals, or all: their judge, and the finding that stands about them."""

    def __init__(self, watching: Watching, subject: str, names: Sequence[str], rate: float, step: int) -> None:
        self._watching, self.subject, self.names = watching, subject, tuple(names)
        self._judge = Judge(
            *watching.make(), alarms_per_week=rate, step=step, wait=watching.raise_after, combine=watching.combine
        )
        self._need = max(duration(watching.learn) // step, LEAST_ROWS)
        self._delay = Delay(watching.clear_after)
        self._rows: Floats = np.empty((0, len(self.names)))  # until there are enough to learn from
        self._past: deque[tuple[int, float]] = deque(maxlen=256)  # (time, how strange) of the last rows
        self._open: Finding | None = None
        self._worst = 0.0

    def take(self, now: int, time: Times, values: Floats) -> list[Finding]:
        """What is new after these rows, [t] and [t, c]."""
        if not self._judge.ready:
            rows = np.vstack([self._rows, values])
            heard = np.flatnonzero(np.isfinite(rows).any(axis=1))
            self._rows = rows[heard[0] if len(heard) else len(rows) :]
            if len(self._rows) >= self._need:
                self._judge.fit(self._rows)
                self._rows = np.empty((0, len(self.names)))
            return []
        strange, shares = self._judge.score(values)
        news = []
        for stamp, one, share in zip(time.tolist(), strange.tolist(), shares, strict=True):
            self._past.append((stamp, one))
            if (found := self._told(now, self._delay.take(one < 1.0), one, share)) is not None:
                news.append(found)
        return news

    def _told(self, now: int, raised: bool, strange: float, share: Floats) -> Finding | None:
        held = self._open
        if held is not None and not raised:
            self._open = None
            return replace(held, time=now, open=False, text=f"{held.subject} is as usual again")
        if not raised or strange >= 1.0:
            return None
        score = 1.0 - float(np.log10(max(strange, 1e-300)))
        if held is not None and score < 1.5 * self._worst:
            return None
        self._worst = score
        lead = np.argsort(-share, kind="stable")[:8]
        evidence = {"score": score, **{self.names[i]: float(share[i]) for i in lead if share[i] >= 0.01}}
        most = [self.names[i] for i in lead if share[i] >= max(0.5 * share[lead[0]], 0.1)][:3] or [self.names[lead[0]]]
        subject = held.subject if held else (most[0] if len(most) == 1 or not self.subject else self.subject)
        name = held.name if held else f"{self._watching.word} {subject}"
        self._open = Finding(
            held.id if held else f"{name}-{instant_id(now)}".replace(" ", "-"), name, subject,
            held.start if held else min(self._began(), now), now, 1.0 - 0.5**score, 1.0 - 0.1**score,
            f"{', '.join(most)} {self._watching.word} as in no normal time", evidence=evidence, by=self._watching.by,
        )  # fmt: skip
        return self._open

    def _began(self) -> int:
        """The first row of the odd ones that led here."""
        back = self._watching.raise_after  # the judge speaks of so many rows at once
        while back < len(self._past) and self._past[-back][1] < ODD:
            back += 1
        return self._past[-min(back, len(self._past))][0]

    def about(self, finding: Finding) -> bool:
        """Whether a finding is one of this group's."""
        return finding.by == self._watching.by and any(name in self.names for name in finding.evidence)

    def sight(self, step: int) -> Sight | None:
        """What it looks at."""
        if not self._judge.ready or not self._judge.need:
            return None
        of = "residuals" if self._watching.residuals else "signals"
        return Sight(self.names, step, self._judge.need, self._judge.bar, of)

    def scored(self, windows: Floats) -> Floats:
        """How strange windows are, [b, t, c] -> [b]."""
        return self._judge.apart(windows)

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {
            "judge": self._judge.snapshot() if self._judge.ready else None,
            "rows": self._rows,
            "past": [list(one) for one in self._past],
            "delay": self._delay.snapshot(),
            "open": self._open,
            "worst": self._worst,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        if state["judge"] is not None:
            self._judge.restore(state["judge"])
        self._rows, self._open, self._worst = np.asarray(state["rows"]), state["open"], state["worst"]
        self._past = deque([(int(stamp), float(p)) for stamp, p in state["past"]], 256)
        self._delay.restore(state["delay"])


class Watch:
    """All groups of one detector; `together`: all its signals are one group, whatever assets they belong to."""

    def __init__(self, watching: Watching, together: bool = False) -> None:
        self._watching, self._together = watching, together
        self._reading = Reading(watching.by, watching.signals, watching.learn, watching.step, watching.residuals)
        self._groups: list[Group] = []

    def bind(self, setting: Setting) -> None:
        """Choose the signals; raises `ConfigError` for a name that is none."""
        assets = self._reading.bind(setting)
        if self._together:
            assets = {next(iter(assets)): list(self._reading.names)}
        rate = self._watching.alarms_per_week / len(assets)
        self._groups = [Group(self._watching, a, names, rate, self._reading.step) for a, names in assets.items()]

    def inspect(self, situation: Situation) -> list[Finding]:
        """What is new since the last turn."""
        time, values = self._reading.rows(situation)
        if not len(time):
            return []
        found = [g.take(situation.now, time, values[:, self._reading.places(g.names)]) for g in self._groups]
        return [finding for some in found for finding in some]

    def sight(self, finding: Finding) -> Sight | None:
        """What it looks at for such a finding, see `Scores`."""
        return next((g.sight(self._reading.step) for g in self._groups if g.about(finding)), None)

    def scored(self, finding: Finding, windows: Floats) -> Floats:
        """How strange windows are, [b, t, s] -> [b]."""
        return next(g for g in self._groups if g.about(finding)).scored(windows)

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {"reading": self._reading.snapshot(), "groups": [group.snapshot() for group in self._groups]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again; a twin whose signals are others now learns anew."""
        if len(state["groups"]) == len(self._groups) and self._reading.restore(state["reading"]):
            for group, memory in zip(self._groups, state["groups"], strict=True):
                group.restore(memory)
