"""From a score to a probability, by rank among the scores of a normal time, and from alarms a week to a limit on it.

Letters: n calibration scores, p the share of normal rows that score at least as high.
Sources: conformal anomaly detection, Laxhammar and Falkman 2014, Annals of Mathematics and Artificial Intelligence 74;
exponential tail beyond a high quantile, Pickands 1975, Annals of Statistics 3; clusters of exceedances (the extremal
index by runs), Smith and Weissman 1994, Journal of the Royal Statistical Society B 56; the combination of dependent
p-values, Liu and Xie 2020, Journal of the American Statistical Association 115; of independent ones, Fisher 1925.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from gemel.core.values import Float32s, Floats

WEEK = 7 * 86_400 * 10**9
TAIL, MOST = 0.1, 200  # share of the scores that shape the tail, and at most how many: far out it is truer
WHOLE = 0.95  # a rank of 1 would outweigh, in a sum of Cauchy variables, any other's small p-value
LEAST = 30  # scores without which nothing can be said


@dataclass(slots=True)
class Calibration:
    """Scores of a normal time, and what follows from them for a new one.

    Down to the tail (the highest tenth, or the highest 200) a p-value is a rank; in it, the excesses over its start are
    taken as exponential. Rows that exceed together count as one alarm: `cluster` is the mean number of rows in a run.
    """

    memory: int = 3000  # scores kept; the oldest go
    scores: Float32s = field(default_factory=lambda: np.empty(0, np.float32))
    cluster: float = 1.0
    _share: float = TAIL
    _start: float = math.inf  # of the tail
    _excess: float = 1.0
    _sorted: Floats = field(default_factory=lambda: np.empty(0))

    def add(self, scores: Floats) -> None:
        """More scores of a normal time, [n]; those that are not finite are left out."""
        fresh = scores[np.isfinite(scores)].astype(np.float32)
        self.scores = np.concatenate([self.scores, fresh])[-self.memory :]
        kept = self.scores.astype(np.float64)
        self._sorted = np.sort(kept)
        if len(kept) < LEAST:
            return
        self._share = min(TAIL, MOST / len(kept))
        self._start = float(np.quantile(kept, 1 - self._share))
        above = kept > self._start
        if not above.any():  # all the same: what is higher than ever before is judged by the size of the numbers
            self._excess = max(abs(self._start), 1.0) * 0.1
            return
        self._excess = max(float((kept[above] - self._start).mean()), 1e-12)
        runs = int((above[1:] & ~above[:-1]).sum()) + int(above[0])
        self.cluster = float(above.sum()) / max(runs, 1)

    @property
    def ready(self) -> bool:
        """Whether there are enough scores."""
        return len(self.scores) >= LEAST

    def p(self, scores: Floats) -> Floats:
        """p-values, [n]; 1 for a score that is NaN."""
        if not self.ready:
            return np.ones(len(scores))
        n = len(self._sorted)
        higher = n - np.searchsorted(self._sorted, scores, "left")
        rank = (1.0 + higher) / (n + 1.0)
        tail = self._share * np.exp(-np.maximum(scores - self._start, 0.0) / self._excess)
        found: Floats = np.where(scores > self._start, np.maximum(tail, 1e-300), rank)
        return np.where(np.isnan(scores), 1.0, found)

    def surprise(self, scores: Floats) -> Floats:
        """-log p of scores of any shape, without an end: what lies far out can still be told apart. 0 for NaN."""
        if not self.ready:
            return np.zeros(scores.shape)
        n = len(self._sorted)
        higher = n - np.searchsorted(self._sorted, scores, "left")
        rank = np.log((n + 1.0) / (1.0 + higher))
        tail = -math.log(self._share) + np.maximum(scores - self._start, 0.0) / self._excess
        return np.where(np.isnan(scores), 0.0, np.where(scores > self._start, tail, rank))

    def score(self, p: float) -> float:
        """The score in the tail that has this p-value."""
        return self._start + self._excess * math.log(max(self._share / p, 1.0))


def cauchy(p: Floats) -> Floats:
    """One p-value a row from those of several dependent tests, [m, n] -> [n] (Cauchy combination)."""
    p = np.clip(p, 1e-300, WHOLE)
    small = 1.0 / (p * math.pi)  # tan((1/2 - p) pi), which cannot be had from a p below 1e-16
    mean = np.where(p < 1e-9, small, np.tan((0.5 - p) * math.pi)).mean(axis=0)
    plain = 0.5 - np.arctan(mean) / math.pi
    return np.asarray(np.where(mean > 1e9, 1.0 / (np.maximum(mean, 1.0) * math.pi), plain))


def together(surprises: Floats, way: str) -> Floats:
    """The same two of -log p, [m, ...] -> [...], without an end. By `cauchy` it is the harmonic mean of the p-values,
    to which Cauchy's combination comes down where they are small (Wilson 2019, PNAS 116)."""
    if way == "cauchy":
        top = surprises.max(axis=0)
        return np.asarray(top + np.log(np.exp(surprises - top).mean(axis=0)))
    half = surprises.sum(axis=0)
    term, total = np.ones_like(half), np.ones_like(half)
    for i in range(1, surprises.shape[0]):
        term = term * half / i
        total += term
    return np.asarray(half - np.log(total))


def fisher(p: Floats) -> Floats:
    """The same for independent tests: the tail of chi-squared with 2 m degrees of freedom at -2 sum log p."""
    half = -np.log(np.clip(p, 1e-300, 1.0)).sum(axis=0)
    term, total = np.ones_like(half), np.ones_like(half)
    for i in range(1, p.shape[0]):
        term = term * half / i
        total += term
    return np.asarray(np.minimum(np.exp(-half) * total, 1.0))
