"""Control charts, a point at a time: the numerics of `control`. Points are standardised: mean 0, deviation 1.

Sources: Shewhart 1931; run rules, Western Electric 1956 and Nelson 1984, Journal of Quality Technology 16; EWMA,
Roberts 1959; CUSUM, Page 1954. Limits come from `arl`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from gemel.detectors.statistics.arl import (
    POINT,
    WESTERN,
    Rule,
    cusum_height,
    ewma_limit,
    shewhart_limit,
)

NELSON: tuple[Rule, ...] = ((1, 1, 3.0), (9, 9, 0.0), (2, 3, 2.0), (4, 5, 1.0))
"""Nelson's tests 1, 2, 5, 6; the others are about the course, see `Shewhart`."""
_NUMBER = {"western": (1, 2, 3, 4), "nelson": (1, 2, 5, 6)}
_LONGEST = 15


class Signal(NamedTuple):
    """A chart's answer: which rule fired, on which side (1 high, -1 low, 0 neither), how many points tell of it, and by
    how much the limit is passed (1: just)."""

    rule: str
    side: int
    points: int
    score: float


class Chart(Protocol):
    """One chart of one statistic."""

    def take(self, z: float) -> Signal | None:
        """What the next point says; None while all is in control."""

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""


class Shewhart:
    """Signals at a point beyond a limit, and by run rules.

    `arl` sets the limit; run rules ("western", "nelson") stand as published and come on top of it. The four Western
    Electric rules signal every 92 points while nothing is wrong (`arl.rules_arl`), Nelson's eight tests every 70 or so.
    """

    def __init__(self, arl: float = 370.4, rules: str = "") -> None:
        self.rules = {"": POINT, "western": WESTERN, "nelson": NELSON}[rules]
        self._name = rules
        self.limit = shewhart_limit(arl)
        self._past: deque[float] = deque(maxlen=_LONGEST)  # newest first

    def take(self, z: float) -> Signal | None:
        self._past.appendleft(z)
        if abs(z) > self.limit:
            side = 1 if z > 0 else -1
            word = f" ({_title(self._name)} 1)" if self._name else ""
            return Signal(f"beyond {self.limit:.3g} sigma{word}", side, 1, abs(z) / self.limit)
        return self._runs() or (self._courses() if self._name == "nelson" else None)

    def _runs(self) -> Signal | None:
        for number, (m, n, k) in zip(_NUMBER.get(self._name, (1,)), self.rules, strict=True):
            for side in (1, -1):
                said = [side * z > k for z in list(self._past)[:n]]
                if n > 1 and said[0] and sum(said) >= m:
                    where = f"beyond {k:g} sigma" if k else "on one side"
                    count = f"{m} in a row" if m == n else f"{m} of {n}"
                    return Signal(f"{count} {where} ({_title(self._name)} {number})", side, n, 1.0)
        return None

    def _courses(self) -> Signal | None:
        """Nelson's tests 3, 4, 7 and 8."""
        past = list(self._past)[::-1]
        steps = [b - a for a, b in pairwise(past)]
        for side, word in ((1, "rising"), (-1, "falling")):
            if len(steps) >= 5 and all(side * d > 0 for d in steps[-5:]):
                return Signal(f"6 in a row {word} (Nelson 3)", side, 6, 1.0)
        turns = [a * b < 0 for a, b in pairwise(steps[-13:])]
        if len(turns) == 12 and all(turns):
            return Signal("14 in a row alternating (Nelson 4)", 0, 14, 1.0)
        if len(past) == 15 and all(abs(z) < 1 for z in past):
            return Signal("15 in a row within 1 sigma (Nelson 7)", 0, 15, 1.0)
        if len(past) >= 8 and all(abs(z) > 1 for z in past[-8:]):
            return Signal("8 in a row beyond 1 sigma on either side (Nelson 8)", 0, 8, 1.0)
        return None

    def snapshot(self) -> Mapping[str, Any]:
        return {"past": list(self._past)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._past = deque(map(float, state["past"]), _LONGEST)


class Ewma:
    """Signals when an average that forgets with `weight` leaves its limits."""

    def __init__(self, arl: float = 370.4, weight: float = 0.1) -> None:
        self.weight = weight
        self.limit = ewma_limit(weight, arl) * math.sqrt(weight / (2.0 - weight))
        self._mean, self._points = 0.0, 0

    def take(self, z: float) -> Signal | None:
        before = self._mean
        z = max(min(z, 10.0 / self.weight * self.limit), -10.0 / self.weight * self.limit)  # it must find back
        self._mean += self.weight * (z - self._mean)
        self._points = self._points + 1 if before * self._mean > 0 else 1
        if abs(self._mean) <= self.limit:
            return None
        side = 1 if self._mean > 0 else -1
        return Signal(
            f"EWMA (weight {self.weight:g}) beyond its limit", side, self._points, abs(self._mean) / self.limit
        )

    def snapshot(self) -> Mapping[str, Any]:
        return {"mean": self._mean, "points": self._points}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._mean, self._points = float(state["mean"]), int(state["points"])


class Cusum:
    """Signals when the sum of what points are off by, less `slack` each, passes its height, upwards or downwards."""

    def __init__(self, arl: float = 370.4, slack: float = 0.5) -> None:
        self.slack, self.height = slack, cusum_height(slack, arl)
        self._sums, self._points = [0.0, 0.0], [0, 0]

    def take(self, z: float) -> Signal | None:
        for i, sign in enumerate((1.0, -1.0)):
            self._sums[i] = min(max(self._sums[i] + sign * z - self.slack, 0.0), 2.0 * self.height)
            self._points[i] = self._points[i] + 1 if self._sums[i] else 0
        i = int(self._sums[1] > self._sums[0])
        if self._sums[i] <= self.height:
            return None
        rule = f"CUSUM (slack {self.slack:g}) above its height"
        return Signal(rule, 1 - 2 * i, self._points[i], self._sums[i] / self.height)

    def snapshot(self) -> Mapping[str, Any]:
        return {"sums": list(self._sums), "points": list(self._points)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._sums, self._points = [float(s) for s in state["sums"]], [int(n) for n in state["points"]]


class Band:
    """Signals when the spread of a sample, in sigma, leaves the limits `low` .. `high`."""

    def __init__(self, low: float, high: float, word: str) -> None:
        self.low, self.high, self._word = low, high, word

    def take(self, z: float) -> Signal | None:
        if self.low <= z <= self.high:
            return None
        side = 1 if z > self.high else -1
        score = z / self.high if side > 0 else self.low / max(z, 1e-9)
        return Signal(f"{self._word} of the sample {'above' if side > 0 else 'below'} its limit", side, 1, score)

    def snapshot(self) -> Mapping[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """There is none."""


def _title(rules: str) -> str:
    return {"western": "Western Electric", "nelson": "Nelson"}[rules]
