"""When a detector would say so: a rule of a few limits, read off its answers.

Letters: n windows, f features, s signals, t rows.
Sources: rules that hold around one case, Ribeiro, Singh and Guestrin 2018, AAAI; greedy conjunctions, Clark and Niblett
1989, Machine Learning 3; the lower end of an interval for a share, Wilson 1927, JASA 22.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.explain import Explanation, Question, Rule, Sentence
from gemel.core.registry import declared
from gemel.core.values import Bools, Floats
from gemel.explainers.answer import nothing, thinned

FEATURES = ("mean", "low", "high", "spread", "change")
SAID = {
    "mean": ("the mean of {0}", "{0}的均值"),
    "low": ("the lowest {0}", "{0}的最小值"),
    "high": ("the highest {0}", "{0}的最大值"),
    "spread": ("the spread of {0}", "{0}的波动"),
    "change": ("the change of {0}", "{0}的变化"),
}
CUTS = 32
"""Limits tried for each feature."""


def features(windows: Floats) -> Floats:
    """Features [n, s, 5] of windows [n, t, s], see `FEATURES`: `change` is the mean of the last quarter less that of
    the first. A signal that was not heard has zeros."""
    x = np.where(np.isfinite(windows), windows, np.nan)
    x = np.where(np.isfinite(x).any(axis=1, keepdims=True), x, 0.0)
    quarter = max(x.shape[1] // 4, 1)
    ends = np.nan_to_num(x[:, -quarter:]).mean(axis=1) - np.nan_to_num(x[:, :quarter]).mean(axis=1)
    parts = [np.nanmean(x, axis=1), np.nanmin(x, axis=1), np.nanmax(x, axis=1), np.nanstd(x, axis=1), ends]
    return np.stack(parts, axis=2)


@dataclass(frozen=True, slots=True)
class Grown:
    """A conjunction: columns of the features, the sides and the limits; and on windows that it was not grown on, how
    many of those that fulfil it are strange, and how many of the strange fulfil it."""

    columns: tuple[int, ...]
    above: tuple[bool, ...]
    limits: tuple[float, ...]
    precision: float = float("nan")
    coverage: float = float("nan")

    def holds(self, x: Floats) -> Bools:
        """Which rows [n, f] fulfil it."""
        found = np.ones(len(x), bool)
        for column, above, limit in zip(self.columns, self.above, self.limits, strict=True):
            found &= (x[:, column] > limit) == above
        return found


def grow(x: Floats, strange: Bools, case: Floats, most: int, precision: float) -> Grown:
    """The shortest greedy conjunction that `case` [f] fulfils and that is precise on rows [n, f]; every second row is
    held back for its measures."""
    held = np.arange(len(x)) % 2 == 1
    fit, label = x[~held], strange[~held]
    grown, left = Grown((), (), ()), np.ones(len(fit), bool)
    tried = _tried(fit, case)
    while len(grown.columns) < most and left.any() and label[left].mean() < precision:
        best = (_worth(left, label & left), grown)
        for column, above, limit in tried:
            inside = left & ((fit[:, column] > limit) == above)
            if (worth := _worth(inside, label & left)) > best[0] + 1e-9:
                best = worth, Grown((*grown.columns, column), (*grown.above, above), (*grown.limits, limit))
        if best[1] is grown:
            break
        grown = best[1]
        left = grown.holds(fit)
    inside, label = grown.holds(x[held]), strange[held]
    return Grown(
        grown.columns, grown.above, grown.limits,
        float(label[inside].mean()) if inside.any() else float("nan"),
        float(inside[label].mean()) if label.any() else float("nan"),
    )  # fmt: skip


def _tried(x: Floats, case: Floats) -> list[tuple[int, bool, float]]:
    """Limits between the case and the rest: column, side of the case, limit."""
    found = []
    for column in range(x.shape[1]):
        values = np.unique(x[:, column])
        if len(values) < 2:
            continue
        middle = 0.5 * (values[1:] + values[:-1])
        for limit in middle[np.unique(np.linspace(0, len(middle) - 1, CUTS).round().astype(int))].tolist():
            found.append((column, bool(case[column] > limit), limit))  # noqa: PERF401
    return found


def _worth(inside: Bools, strange: Bools) -> float:
    """What a conjunction is worth: sure precision first, then how many of the strange rows stay."""
    n, hits = int(inside.sum()), int((inside & strange).sum())
    if not hits:
        return -1.0
    z, share = 1.64, hits / n
    sure = (share + z * z / (2 * n) - z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))) / (1 + z * z / n)
    return float(sure + 0.25 * hits / int(strange.sum()))


@declared
class Rules:
    """Asks the detector about windows between what came and what is normal, and says by a few limits which of them it
    calls strange: "the mean of flow is below 12 and the spread of hum is above 0.3".

    What came fulfils the rule. `fit` is its precision and `coverage` the share of strange windows that it takes in,
    both on windows that were held back.

    - `most`: limits in a rule, at most. `precision`: at which it is not made longer.
    - `draws`: windows judged. `windows`: normal windows that they lead to, at most.
    """

    def __init__(self, most: int = 3, precision: float = 0.95, draws: int = 1500, windows: int = 32) -> None:
        if most < 1 or not 0 < precision <= 1 or draws < 50 or windows < 1:
            raise ConfigError(
                ["rules: most and windows must be 1 or more, precision between 0 and 1, draws 50 or more"],
                "most = 3, precision = 0.95, draws = 1500",
            )
        self.most, self.precision, self.draws, self.windows = most, precision, draws, windows

    def explain(self, question: Question) -> Explanation:
        normal = thinned(question.background, self.windows)
        if not len(normal) or not len(question.values):
            return nothing("rules", "rule", question)
        here = float(question.score(question.values[None])[0])
        usual = question.score(normal)
        limit = question.limit if np.isfinite(question.limit) else 0.5 * (here + float(np.max(usual)))
        count = 1 + len(normal)
        if not here > limit:
            why = ("the detector would not call it strange by itself", "检测器单独看并不认为异常")
            return nothing("rules", "rule", question, *why, count)
        windows = self._drawn(question, normal)
        strange = question.score(windows) > limit
        x = features(windows).reshape(len(windows), -1)
        grown = grow(x, strange, features(question.values[None]).ravel(), self.most, self.precision)
        rules = tuple(
            Rule(question.signals[c // len(FEATURES)], FEATURES[c % len(FEATURES)], above, cut)
            for c, above, cut in zip(grown.columns, grown.above, grown.limits, strict=True)
        )
        return Explanation(
            "rules", question.finding.id, "rule", here, float(usual.mean()), _sentence(question, rules, grown),
            rules=rules, fit=grown.precision, measure="precision", coverage=grown.coverage,
            evaluations=count + len(windows),
        )  # fmt: skip

    def _drawn(self, question: Question, normal: Floats) -> Floats:
        """Windows in which some signals are as they came, some normal, some between or a little beyond."""
        rng = np.random.default_rng(zlib.crc32(question.finding.id.encode()))
        s = len(question.signals)
        part = np.clip(rng.uniform(-0.5, 1.4, (self.draws, s)), 0.0, 1.2)
        part = np.where(rng.random((self.draws, s)) < rng.random((self.draws, 1)), part, 0.0)
        near = normal[rng.integers(len(normal), size=self.draws)]
        return np.asarray(near + part[:, None, :] * (question.values - near))


def _sentence(question: Question, rules: tuple[Rule, ...], grown: Grown) -> tuple[Sentence, ...]:
    if not rules:
        return (Sentence("No limit tells it from a normal time.", "没有哪个界限能把它与正常时段区分开。"),)
    english, chinese = [], []
    for rule in rules:
        unit = question.units.get(rule.signal, "")
        said = f"{rule.limit:.4g}{' ' if unit else ''}{unit}"
        english.append(f"{SAID[rule.feature][0].format(rule.signal)} is {'above' if rule.above else 'below'} {said}")
        chinese.append(f"{SAID[rule.feature][1].format(rule.signal)}{'高于' if rule.above else '低于'}{said}")
    words: dict[str, str | float] = {
        "rule": " and ".join(english), "chinese": "且".join(chinese),
        "precision": f"{100 * grown.precision:.0f}", "coverage": f"{100 * grown.coverage:.0f}",
    }  # fmt: skip
    return (
        Sentence(
            "It is strange when {rule} ({precision} % of such windows are; they make {coverage} % of all strange).",
            "当{chinese}时判为异常（此类窗口中{precision}%确为异常，占全部异常窗口的{coverage}%）。",
            words,
        ),
    )
