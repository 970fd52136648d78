"""One judgement from many statistics: each is ranked among its own scores of a normal time, then they are combined.

    judge = Judge(Level(10), Components(10), alarms_per_week=1.0, step=1_000_000_000, wait=10)
    judge.fit(normal)                                # [t, c]
    strange, shares = judge.score(fresh)             # [t] and [t, c]
    alarm = delayed(strange < 1, 30)

Letters: t rows, c signals, k statistics of one member, m members.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gemel.core.values import Bools, Floats
from gemel.detectors.statistics.calibration import WEEK, Calibration, cauchy, fisher, together
from gemel.detectors.statistics.scale import plausible

AGAIN = 20
"""A share of the scores; when so many rows have come, theirs join."""
ENOUGH = 3000
"""Rows of its own past by which a judge sets its rate."""
PAST = 10_000
"""Rows of it that are kept."""
FIRST = 5
"""Rows of an alarm that count as if it were a false one."""
USUAL = 1e-3
"""Rows with a p-value above this join; a twin's own false alarms are too few for the rest to be missed."""
COMBINE: Mapping[str, Callable[[Floats], Floats]] = {"cauchy": cauchy, "fisher": fisher}


class Statistics(Protocol):
    """Numbers that are small while all is normal. It remembers what it has scored, so rows may come in any portions.

    NaN is a missing value, and as a statistic no evidence.
    """

    def fit(self, values: Floats) -> None:
        """Learn from the rows of a normal time, [t, c]. What is scored next follows on them."""

    def score(self, values: Floats) -> tuple[Floats, Floats]:
        """Of the rows that follow, [t, c]: the statistics [t, k] and what each signal has to do with it [t, c] >= 0."""

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""


@runtime_checkable
class Apart(Protocol):
    """Statistics that can judge windows by themselves too, from what they have learned and without remembering."""

    @property
    def need(self) -> int:
        """Rows that such a window should have."""

    def apart(self, windows: Floats) -> Floats:
        """Of windows [b, t, c]: the statistics [b, t, k]."""


class Judge:
    """Says of rows how likely a normal time is to bring something as strange.

    It is fitted on the first half of a normal time and ranked on the second, which it has not seen: a statistic that
    strays by itself is thereby trusted less. Then it is fitted again on all of it, and goes on to rank: the scores of
    rows that are no alarm join those of the normal time, so that what ages or follows the seasons is not an alarm.

    - `alarms_per_week`, `step` (ns between rows): how many false alarms there may be. At first p-values are taken at
      their word; after some thousand rows the rate is what the judge's own quiet past shows.
    - `wait`: rows in a row that must be strange.
    - `combine`: `cauchy` (members may say the same) or `fisher` (members that have nothing to do with each other).
    """

    def __init__(
        self,
        *members: Statistics,
        alarms_per_week: float = 1.0,
        step: int = 60 * 10**9,
        wait: int = 1,
        combine: str = "cauchy",
    ) -> None:
        self.members, self._wait = members, wait
        self._rate, self._combine, self._way = alarms_per_week * step / WEEK, COMBINE[combine], combine
        self.calibrations: list[list[Calibration]] = []  # [m][k]
        self._pending: list[Floats] = []  # [m] scores of normal rows that are not ranked among yet, [n, k]
        self._heard = 0  # rows since the last time they were
        self._last: Floats = np.empty(0)  # [wait - 1] p-values before the next row
        self._past = Calibration(PAST)  # of the judge itself: what -log p has lasted for `wait` rows
        self._quiet: list[float] = []  # what joins it next
        self._run = 0  # rows that the present alarm has lasted

    def fit(self, values: Floats) -> None:
        """Learn from the rows of a normal time, [t, c]."""
        values, half = plausible(values), len(values) // 2
        self.calibrations = []
        for member in self.members:
            trial = deepcopy(member)
            trial.fit(values[:half])
            scores = trial.score(values[half:])[0]
            self.calibrations.append([Calibration() for _ in range(scores.shape[1])])
            _add(self.calibrations[-1], scores)
            member.fit(values)
        self._empty()

    @property
    def ready(self) -> bool:
        """Whether it has been fitted."""
        return bool(self.calibrations)

    @property
    def limit(self) -> float:
        """The p-value below which a row is an alarm, as long as p-values are taken at their word."""
        cluster = float(np.mean([one.cluster for held in self.calibrations for one in held]))
        return min(self._rate * cluster, 0.5)

    def score(self, values: Floats) -> tuple[Floats, Floats]:
        """Of the rows that follow, [t, c]: how unlikely each is, in units of what makes an alarm [t] (below 1 is one);
        and the share of every signal in what is strange [t, c]. In whatever portions rows come, the answer is alike.
        """
        found, shares, start = [], [], 0
        while start < len(values):
            every = max(max(len(one.scores) for held in self.calibrations for one in held) // AGAIN, 1)
            rows = values[start : start + every - self._heard]
            p, parts = self._portion(rows)
            found.append(self._held(p))
            shares.append(parts)
            start += len(rows)
            self._heard += len(rows)
            if self._heard >= every:
                for held, scores in zip(self.calibrations, self._pending, strict=True):
                    _add(held, scores)
                self._past.add(np.array(self._quiet))
                self._empty()
        if not found:
            return np.empty(0), np.empty(values.shape)
        return np.concatenate(found), np.vstack(shares)

    @property
    def need(self) -> int:
        """Rows that a window judged by itself should have; 0 where no member can do that."""
        needs = [member.need for member in self.members if isinstance(member, Apart)]
        return max(needs) + self._wait - 1 if needs else 0

    @property
    def bar(self) -> float:
        """What `apart` says of a window at the edge of an alarm."""
        if len(self._past.scores) < ENOUGH:
            return -float(np.log10(self.limit))
        return self._past.score(min(self._rate * self._past.cluster, 0.5)) / float(np.log(10.0))

    def apart(self, windows: Floats) -> Floats:
        """How unlikely windows [b, t, c] are, each judged by itself and without being remembered: -log10 of the p-value
        that its strangest rows have, [b]. A statistic far out can still be told from one still farther. Members that
        cannot do that are not asked."""
        found = []
        for member, held in zip(self.members, self.calibrations, strict=True):
            if not isinstance(member, Apart):
                continue
            scores = member.apart(windows)
            each = np.stack([one.surprise(scores[..., i]) for i, one in enumerate(held)])
            found.append(together(each, "cauchy"))
        rows = found[0] if len(found) == 1 else together(np.stack(found), self._way)
        wait = min(self._wait, rows.shape[1])
        lasting = np.lib.stride_tricks.sliding_window_view(rows, wait, axis=1).min(axis=2)
        return np.asarray(lasting.max(axis=1) / np.log(10.0))

    def _portion(self, values: Floats) -> tuple[Floats, Floats]:
        found, shares, every = [], np.zeros(values.shape), []
        for member, held in zip(self.members, self.calibrations, strict=True):
            scores, parts = member.score(values)
            p = cauchy(np.stack([one.p(column) for one, column in zip(held, scores.T, strict=True)]))
            found.append(p)
            every.append(scores)
            shares += -np.log(p)[:, None] * parts / np.maximum(parts.sum(axis=1, keepdims=True), 1e-300)
        p = found[0] if len(found) == 1 else self._combine(np.stack(found))
        usual = p > max(self.limit, USUAL)
        self._pending = [np.vstack([old, new[usual]]) for old, new in zip(self._pending, every, strict=True)]
        return p, shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)

    def _held(self, p: Floats) -> Floats:
        """How unlikely it is that p was so low for `wait` rows, in units of the limit."""
        before = np.concatenate([np.ones(self._wait - 1), self._last])[-self._wait + 1 :] if self._wait > 1 else p[:0]
        rows = np.concatenate([before, p])
        self._last = rows[len(rows) - self._wait + 1 :]
        lasting = np.lib.stride_tricks.sliding_window_view(rows, self._wait).max(axis=1)
        score = -np.log(lasting)
        if len(self._past.scores) < ENOUGH:
            strange, top = lasting / self.limit, 3.0 - float(np.log(self.limit))
        else:
            limit = min(self._rate * self._past.cluster, 0.5)
            strange, top = self._past.p(score) / limit, self._past.score(limit * np.exp(-3.0))
        for one, usual in zip(np.minimum(score, top).tolist(), (strange >= 1.0).tolist(), strict=True):
            self._run = 0 if usual else self._run + 1
            if self._run <= FIRST:  # false alarms are a part of the quiet past, the rest of a long one is not
                self._quiet.append(one)
        return np.asarray(strange)

    def _empty(self) -> None:
        self._pending, self._heard = [np.empty((0, len(held))) for held in self.calibrations], 0
        self._quiet = []

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {
            "members": [member.snapshot() for member in self.members],
            "calibrations": [[one.scores for one in held] for held in self.calibrations],
            "pending": self._pending,
            "heard": self._heard,
            "last": self._last,
            "past": self._past.scores,
            "quiet": self._quiet,
            "run": self._run,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        self.calibrations = []
        for member, memory, rows in zip(self.members, state["members"], state["calibrations"], strict=False):
            member.restore(memory)
            self.calibrations.append([Calibration() for _ in rows])
            for one, scores in zip(self.calibrations[-1], rows, strict=True):
                one.add(np.asarray(scores))
        self._pending, self._heard = list(state["pending"]), state["heard"]
        self._last, self._quiet, self._past = np.asarray(state["last"]), list(state["quiet"]), Calibration(PAST)
        self._past.add(np.asarray(state["past"]))
        self._run = state["run"]


def _add(held: Sequence[Calibration], scores: Floats) -> None:
    for one, column in zip(held, scores.T, strict=True):
        one.add(column)


class Delay:
    """An alarm that stands until `off` rows in a row have been usual."""

    def __init__(self, off: int = 0) -> None:
        self.off, self.raised, self._usual = off, False, 0

    def take(self, strange: bool) -> bool:
        """Whether the alarm stands after one more row."""
        self._usual = 0 if strange else self._usual + 1
        self.raised = strange or (self.raised and self._usual <= self.off)
        return self.raised

    def snapshot(self) -> Sequence[int]:
        """Its memory."""
        return [int(self.raised), self._usual]

    def restore(self, state: Sequence[int]) -> None:
        """Take it up again."""
        self.raised, self._usual = bool(state[0]), state[1]


def delayed(strange: Bools, off: int = 0) -> Bools:
    """`Delay` over rows, [t]."""
    delay = Delay(off)
    return np.array([delay.take(bool(one)) for one in strange], bool)
