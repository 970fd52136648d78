"""Explain: why a finding says what it says, and what would have had to be otherwise.

Letters in shapes: t grid times, s signals, b windows, n segments of time, u inputs and y outputs of a simulator,
c controls, p paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gemel.core.values import Belief, Finding, Floats, Signal, Times

Scorer = Callable[[Floats], Floats]
"""Windows [b, t, s] -> how strange each is [b], higher is stranger. Many windows in one call cost far less than many
calls. It has no memory: the same window always has the same score."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a detector looks at when it judges a window by itself.

    `step`: ns between rows; `rows`: the least number of them that make a window worth judging; `limit`: the score at
    which it would raise an alarm (NaN: none). `of`: windows hold the values of the `signals`, or the `residuals` of
    the virtual model, each in the standard deviations that it should have. `gaps`: what was not measured is missing
    (NaN) in a window, where else the value before holds.
    """

    signals: tuple[str, ...]
    step: int
    rows: int
    limit: float = float("nan")
    of: str = "signals"
    gaps: bool = False


@runtime_checkable
class Scores(Protocol):
    """A detector (or any part that makes findings) that can judge windows by themselves: what makes it explainable.

    It answers from what it has learned and leaves its own memory alone, so it can be asked at any time and about
    windows that never were. NaN in a window is a missing value.
    """

    def sight(self, finding: Finding) -> Sight | None:
        """What it looks at for such a finding; None where it cannot say (nothing learned yet, not its finding)."""

    def scored(self, finding: Finding, windows: Floats) -> Floats:
        """How strange windows [b, t, s] are, [b], higher is stranger; columns as in `sight(finding).signals`."""


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What really came, to be run again with other inputs.

    Row i of a window lies one step of the `simulator` (a `Simulator` that `Branches`) after row i - 1, the first one
    after `belief.time`, under inputs[i]. `controls` are those inputs that could have been set otherwise; their limits,
    slew and states bound by how much. `healthy`, inputs and outputs [t, p] by name -> [p], is by how much a path stays
    healthy (negative: it does not); without one, a path is healthy whose window the question's score does not find
    strange.
    """

    simulator: Any
    belief: Belief
    inputs: Floats  # [t, u]
    controls: tuple[Signal, ...]
    healthy: Callable[[Mapping[str, Floats]], Floats] | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Why this finding? `values` is the window that it is about, `background` windows of a normal time that it is held
    against, `limit` the score up to which a window is usual. `units` of the signals, for what is said."""

    finding: Finding
    time: Times  # [t]
    values: Floats  # [t, s]
    signals: tuple[str, ...]
    background: Floats  # [b, t, s]
    score: Scorer
    limit: float = float("nan")
    past: Past | None = None
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence in two languages: templates, and the words that both put in."""

    english: str
    chinese: str
    words: Mapping[str, str | float] = field(default_factory=dict)

    def say(self, language: str = "en") -> str:
        """It, in "en" or "zh"; numbers with three digits."""
        said = {k: v if isinstance(v, str) else f"{v:.3g}" for k, v in self.words.items()}
        return (self.chinese if language.startswith("zh") else self.english).format(**said)


@dataclass(frozen=True, slots=True)
class Change:
    """`signal` was `actual` from `start` to `end`, and would have had to be `needed`; the means over that time."""

    signal: str
    start: int
    end: int
    actual: float
    needed: float


@dataclass(frozen=True, slots=True)
class Rule:
    """`signal` `feature` `above` (or not) the `limit`; a feature is mean, low, high, spread or change of a window."""

    signal: str
    feature: str
    above: bool
    limit: float


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """An answer to a question. What an explainer has nothing to say about is left empty.

    `kind` is what sort of answer it is: `shares`, `change` or `rule`. `score` is that of the window, `baseline` that of
    a normal time, both in the detector's own unit. `shares` are how much of the difference each signal accounts for,
    largest first, and add up to it; `segments` [s, n] the same by segments of time, whose `edges` are [n + 1], a row a
    signal in the order of `shares`; `errors` are standard errors of the shares. `fit`: how far the explanation can be
    trusted (R2, precision, the share of members in which a change keeps it healthy), with its own name in `measure`.
    `paths` are signals [t] as they would have been, at `time`. `verified`: the change was run through the simulator
    (or judged by the detector) again, apart from the search that found it. `coverage`: the share of strange windows
    that the rules take in. `evaluations`: windows judged.
    """

    by: str
    subject: str  # the id of the finding
    kind: str
    score: float
    baseline: float
    sentence: tuple[Sentence, ...]
    shares: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    edges: Times = field(default_factory=lambda: np.empty(0, np.int64))
    segments: Floats = field(default_factory=lambda: np.empty((0, 0)))
    changes: tuple[Change, ...] = ()
    rules: tuple[Rule, ...] = ()
    time: Times = field(default_factory=lambda: np.empty(0, np.int64))
    paths: Mapping[str, Floats] = field(default_factory=dict)
    fit: float = float("nan")
    measure: str = ""
    coverage: float = float("nan")
    verified: bool = False
    evaluations: int = 0

    def say(self, language: str = "en") -> str:
        """All of it in words, "en" or "zh"."""
        return (" " if not language.startswith("zh") else "").join(one.say(language) for one in self.sentence)


@runtime_checkable
class Explainer(Protocol):
    """Says why, from windows and their scores alone; it never needs to know which detector it explains.

    The same question has the same answer. A question that it cannot answer (no simulator, nothing found) gets an
    explanation whose sentence says so, with no shares, changes or rules; never an exception.
    """

    def explain(self, question: Question) -> Explanation:
        """The answer."""


def background(values: Floats, rows: int, most: int = 64) -> Floats:
    """Windows [b, t, s] of `rows` rows out of a normal time [T, s], evenly spaced, `most` at most; none from a time
    that is too short. Windows that were not heard at all are left out."""
    count = len(values) - rows + 1
    if count < 1:
        return np.empty((0, rows, values.shape[1]))
    starts = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))
    windows = np.stack([values[i : i + rows] for i in starts])
    return np.asarray(windows[np.isfinite(windows).any(axis=(1, 2))], float)


def listed(words: Sequence[str], language: str = "en") -> str:
    """ "a, b and c", or the same in Chinese."""
    last, between = ("和", "、") if language.startswith("zh") else (" and ", ", ")
    return last.join(filter(None, (between.join(words[:-1]), words[-1]))) if words else ""
