"""How worn each asset is, as one index that never falls until it is repaired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.explain import Sight
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration, instant_id
from gemel.core.values import Finding, Floats, Times
from gemel.detectors.reading import Reading, spans
from gemel.detectors.statistics.degradation import Degradation
from gemel.loop.decide import Situation

LEAST_ROWS = 100
STEP = 1.25  # an open finding is told again when the index has grown by this factor


@declared
class Health:
    """Follows a degradation index of each asset: 1 is the edge of the normal time, 2 twice as far out.

    The index is monotone, it begins anew after a repair, and it says when it is not to be believed (signals missing,
    or the measurements have come back). A finding opens when a believed index has passed `limit`; its evidence holds
    the index, how much it grows a day, and what each signal adds. It is no alarm by chance and has no rate of them.

    - `limit`: of the index. `window`: rows averaged. `fresh`: rows as good as new after which it begins anew.
    - `signals`: those to watch, by default every measured or derived number.
    - `learn`: the normal time it begins with, read from the history if there is one, else waited for. `step`: spacing
      of the rows, by default the twin's `every`.
    """

    def __init__(
        self,
        limit: float = 1.5,
        window: int = 20,
        fresh: int = 40,
        signals: Sequence[str] = (),
        learn: str = "7d",
        step: str = "",
    ) -> None:
        problems = []
        if limit <= 1 or window < 1 or fresh < 1:
            problems.append("health: limit must be above 1, window and fresh 1 or more")
        problems += spans("health", learn, step)
        if problems:
            raise ConfigError(problems, "limit = 1.5 is half as far out again as the edge of the normal")
        self.limit, self.window, self.fresh = limit, window, fresh
        self._learn = duration(learn)
        self._reading = Reading("health", signals, learn, step)
        self._wear: list[_Wear] = []

    def bind(self, setting: Setting) -> None:
        assets = self._reading.bind(setting)
        need = max(self._learn // self._reading.step, LEAST_ROWS, 2 * self.window)
        self._wear = [
            _Wear(asset or setting.twin, names, Degradation(self.window, self.fresh), need, self.limit)
            for asset, names in assets.items()
        ]

    def inspect(self, situation: Situation) -> list[Finding]:
        time, values = self._reading.rows(situation)
        if not len(time):
            return []
        found = [w.take(situation.now, time, values[:, self._reading.places(w.names)]) for w in self._wear]
        return [finding for some in found for finding in some]

    def sight(self, finding: Finding) -> Sight | None:
        wear = next((w for w in self._wear if w.subject == finding.subject and finding.by == "health"), None)
        return wear.sight(self._reading.step) if wear else None

    def scored(self, finding: Finding, windows: Floats) -> Floats:
        return next(w for w in self._wear if w.subject == finding.subject).scored(windows)

    def snapshot(self) -> Mapping[str, Any]:
        return {"reading": self._reading.snapshot(), "wear": [wear.snapshot() for wear in self._wear]}

    def restore(self, state: Mapping[str, Any]) -> None:
        if len(state["wear"]) == len(self._wear) and self._reading.restore(state["reading"]):
            for wear, memory in zip(self._wear, state["wear"], strict=True):
                wear.restore(memory)


class _Wear:
    """One asset's index and the finding that stands about it."""

    def __init__(self, subject: str, names: Sequence[str], index: Degradation, need: int, limit: float) -> None:
        self.subject, self.names, self._index, self._need, self._limit = subject, tuple(names), index, need, limit
        self._rows: Floats = np.empty((0, len(self.names)))
        self._fitted = False
        self._passed: tuple[int, float] = (0, 0.0)  # when the index left the normal, and where it stood
        self._open: Finding | None = None

    def take(self, now: int, time: Times, values: Floats) -> list[Finding]:
        """What is new after these rows, [t] and [t, c]."""
        if not self._fitted:
            rows = np.vstack([self._rows, values])
            heard = np.flatnonzero(np.isfinite(rows).any(axis=1))
            self._rows = rows[heard[0] if len(heard) else len(rows) :]
            if len(self._rows) >= self._need:
                self._index.fit(self._rows)
                self._fitted, self._rows = True, np.empty((0, len(self.names)))
            return []
        index, valid, parts = self._index.index(values)
        for stamp, one in zip(time.tolist(), index.tolist(), strict=True):
            if one < 1.0 or not self._passed[0]:
                self._passed = (stamp, one)
        return self._told(now, float(index[-1]), bool(valid[-1]), parts[-1])

    def sight(self, step: int) -> Sight | None:
        """What it looks at."""
        return Sight(self.names, step, self._index.window, self._limit) if self._fitted else None

    def scored(self, windows: Floats) -> Floats:
        """How far the last rows of windows are from new, [b, t, c] -> [b]."""
        return self._index.apart(windows)

    def _told(self, now: int, index: float, valid: bool, parts: Floats) -> list[Finding]:
        held = self._open
        if held is not None and index < 1.0:
            self._open = None
            return [replace(held, time=now, open=False, text=f"{self.subject} is as good as new")]
        if not valid or index < self._limit or (held and index < STEP * held.evidence["index"]):
            return []
        days = max((now - self._passed[0]) / 8.64e13, 1e-9)
        share = parts / max(float(parts.sum()), 1e-300)
        lead = np.argsort(-share, kind="stable")[:8]
        evidence = {"index": index, "a day": (index - self._passed[1]) / days}
        evidence |= {self.names[i]: float(share[i]) for i in lead if share[i] >= 0.01}
        self._open = Finding(
            held.id if held else f"worn-{self.subject}-{instant_id(now)}".replace(" ", "-"), f"worn {self.subject}",
            self.subject, held.start if held else min(self._passed[0], now), now, 1.0 - 1.0 / index, 1.0 - 0.1**index,
            f"{self.subject} is {index:.1f} times as far from new as it should be, most in {self.names[lead[0]]}",
            evidence=evidence, by="health",
        )  # fmt: skip
        return [self._open]

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        index = self._index.snapshot() if self._fitted else None
        return {"index": index, "rows": self._rows, "passed": list(self._passed), "open": self._open}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        if state["index"] is not None:
            self._index.restore(state["index"])
            self._fitted = True
        self._rows, self._open = np.asarray(state["rows"]), state["open"]
        self._passed = (int(state["passed"][0]), float(state["passed"][1]))
