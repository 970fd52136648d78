"""One asset's life so far, what it has left, and the finding that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gemel.core.units import instant_id
from gemel.core.values import Finding, Floats, Times
from gemel.detectors.life.condition import standing
from gemel.detectors.life.ensemble import Ensemble
from gemel.detectors.life.windowed import Windowed

RECENT = 10
"""Rows in which a channel must have been heard, have moved, and have been where it can be."""
EARLY = 10
"""Rows below which only a unit's age is taken into account."""
MARGIN = 0.5
"""How far beyond the range that was learned a channel may go, as a part of that range."""
STEP = 0.1
"""A life is told again when a quantile has changed by so much."""
SURE = 0.9
OLDEST = 3
"""Times the longest life that was learned from, beyond which a unit is refused: a row is hardly a cycle then."""
MOST = 10_000
"""Rows kept of a unit, where what was learned knows no whole lives."""


class Unit:
    """Rows of an asset since it was new; `names`: its settings, its channels, and a counter if it has one."""

    def __init__(
        self, subject: str, names: Sequence[str], counts: bool, ensemble: Ensemble | Windowed, hours: float
    ) -> None:
        self.subject, self.names, self._counts = subject, tuple(names), counts
        self._ensemble, self._usual, self._hours = ensemble, ensemble.meaning.usual, hours
        self._s = len(self._usual.settings)
        self.looked_at = self.names[: self._s + len(self._usual.channels)]
        self.channels = self.looked_at[self._s :]
        self._longest = max(ensemble.meaning.lives, default=0.0)
        self._most = max(OLDEST * int(self._longest), 200) if self._longest else MOST
        self._begin()
        self._open: Finding | None = None

    def _begin(self) -> None:
        """A new unit."""
        self._rows: Floats = np.empty((0, len(self.looked_at)))
        self._start, self._missed, self._dropped, self._count = 0, 0, 0, 0.0

    def take(self, now: int, time: Times, values: Floats) -> list[Finding]:
        """What is new after these rows, [t] and [t, c]. A row without any channel is no cycle: the asset stood."""
        news: list[Finding] = []
        fresh: list[Floats] = []
        heard = np.isfinite(values[:, self._s : len(self.looked_at)]).any(axis=1)
        for stamp, row in zip(time[heard].tolist(), values[heard], strict=True):
            count = float(row[-1]) if self._counts else np.nan
            if count < self._count:  # counted anew
                news += self._over(now)
                self._begin()
                fresh = []
            if np.isfinite(count):
                self._count = count
            if not len(self._rows) and not fresh:
                self._start = stamp
                self._missed = int(np.clip(count - 1, 0, 1e9)) if np.isfinite(count) else 0
            fresh.append(row[: len(self.looked_at)])
        if fresh:
            rows = np.vstack([self._rows, *fresh])
            first, extra = self._ensemble.meaning.view.first, max(len(rows) - self._most, 0)
            self._rows, self._dropped = np.delete(rows, slice(first, first + extra), axis=0), self._dropped + extra
            news += self._told(now)
        return news

    def _over(self, now: int) -> list[Finding]:
        held, self._open = self._open, None
        return [] if held is None else [replace(held, time=now, open=False, text=f"{self.subject} was renewed")]

    def _told(self, now: int) -> list[Finding]:
        if self._longest and self._missed + self._dropped + len(self._rows) > self._most:
            learned = f"{OLDEST} times as old as the oldest that was learned from ({self._longest:g} cycles)"
            why = f"it is more than {learned}; is a row a cycle? Set step or counter"
            return self._say(now, {}, 0.0, 0.0, f"nobody can say what {self.subject} has left: {why}")
        x, odd = self._deviations()
        wrong = self._refused(x, odd)
        age = len(x) + self._dropped
        young = len(self._rows) < EARLY and bool(self._ensemble.meaning.lives)
        levels = self._ensemble.meaning.table.levels
        if wrong:
            return self._say(now, {}, 0.0, 0.0, f"nobody can say what {self.subject} has left: {'; '.join(wrong)}")
        rows = self._ensemble.meaning.young(age) if young else self._ensemble.ask([x])[1][0]
        hours = {f"life {level:g}": float(q) * self._hours for level, q in zip(levels, rows, strict=True)}
        median = float(np.interp(0.5, levels, rows))
        sure = SURE * 0.5 ** len(odd) * (0.3 if young else 0.7 if self._missed or age < 2 * EARLY else 1.0)
        low, high = (float(q) * self._hours for q in (rows[0], rows[-1]))
        text = f"{self.subject} will last some {median * self._hours:.4g} h ({low:.4g} to {high:.4g})"
        text += "; too early to say more than its age tells" if young else ""
        text += f"; its first {self._missed} cycles were not heard" if self._missed else ""
        if odd:
            text += f"; {', '.join(odd)} left out: far from all that was learned (another unit of measure?)"
        severity = float(np.clip(1.0 - median / self._ensemble.meaning.cap, 0.0, 1.0))
        return self._say(now, hours | {"age": age * self._hours}, severity, sure, text)

    def _say(self, now: int, evidence: Mapping[str, float], severity: float, sure: float, text: str) -> list[Finding]:
        held = self._open
        if held is not None and held.confidence == sure and set(held.evidence) == set(evidence):
            was = np.array([held.evidence[k] for k in evidence if k.startswith("life")])
            new = np.array([v for k, v in evidence.items() if k.startswith("life")])
            moved = np.abs(new - was) > STEP * np.maximum(was, self._hours)
            if not moved.any() and (len(new) or held.text == text):
                return []
        id = held.id if held else f"life-{self.subject}-{instant_id(now)}".replace(" ", "-")
        self._open = Finding(
            id, f"life of {self.subject}", self.subject, held.start if held else min(self._start, now), now,
            severity, sure, text, evidence=dict(evidence), by="life",
        )  # fmt: skip
        return [self._open]

    def _deviations(self) -> tuple[Floats, list[str]]:
        """Deviations [t, c] since it was new, and the channels that are left out of them."""
        usual = self._usual
        x = usual.deviations(self._rows[:, : self._s], self._rows[:, self._s :])
        low, high = np.array(usual.low), np.array(usual.high)
        beyond = MARGIN * (high - low)
        with np.errstate(invalid="ignore"):
            outside = (x < low - beyond) | (x > high + beyond)
        x = np.where(outside, np.nan, x)
        recent = outside[-RECENT:]
        odd = [self._name(i) for i in np.flatnonzero(recent.mean(axis=0) > 0.5).tolist()]
        return np.vstack([np.full((min(self._missed, MOST), x.shape[1]), np.nan), x]), odd

    def _refused(self, x: Floats, odd: Sequence[str]) -> list[str]:
        """Why nothing can be said."""
        usual, s = self._usual, self._s
        recent, found = self._rows[-RECENT:], []
        missing = np.flatnonzero(~np.isfinite(recent).any(axis=0))
        if len(missing) and len(recent) == RECENT:  # of a younger unit only its age is asked for
            found.append(f"{', '.join(self.names[i] for i in missing)} not heard for {len(recent)} rows")
        elif s and (usual.condition(recent[:, :s]) < 0).all():
            found.append(f"{', '.join(self.names[:s])}: as in no condition that was learned")
        run = standing(self._rows[-200:, s:])[-1]
        most = np.maximum(2 * np.array(usual.still) + 5, 2 * RECENT)
        if still := np.flatnonzero(run >= most).tolist():
            found.append(f"{', '.join(self._name(i) for i in still)} stands still")
        if 2 * len(odd) > len(usual.channels):
            found.append(f"{', '.join(odd)} are far from all that was learned")
        return found

    def _name(self, channel: int) -> str:
        return self.channels[channel]

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {
            "names": self.names,
            "rows": self._rows,
            "open": self._open,
            "start": self._start,
            "missed": self._missed,
            "dropped": self._dropped,
            "count": self._count,
        }

    def restore(self, state: Mapping[str, Any]) -> bool:
        """Take it up again; False where the signals were others."""
        if tuple(state["names"]) != self.names:
            return False
        self._rows, self._open = np.asarray(state["rows"], float).reshape(-1, len(self.looked_at)), state["open"]
        self._start, self._missed, self._dropped = (int(state[k]) for k in ("start", "missed", "dropped"))
        self._count = float(state["count"])
        return True
