"""Virtual metrology: what a measurement would say, foretold from process signals: the numerics of `metrology`.

Rows come at one rhythm; in a few of them the quality was measured. Every signal is averaged over bands of the past (the
part was at an early station longer ago than at a late one), over the rows in which its station was at work. On these,
and on the last few measurements, kernel ridge regresses the quality; which kernel, and how much ridge, is what foretold
the newest quarter of the past best from what came before it. How far off each measured part was, before it was learned
from, makes the distribution of the next (conformal prediction); intervals follow their misses, so that they hold in the
long run whatever drifts. A part is accepted where it is unlikely enough to be bad: as unlikely as would have let
through the share that is allowed, had the measured parts of the past been judged so (conformal risk control).

Letters: t rows, s signals, b bands, f features, n measured rows that are learned from; K kernel matrix [n, n].
Sources: virtual metrology, Khan, Moyne and Tilbury 2007, IEEE Transactions on Semiconductor Manufacturing 20; kernel
ridge and its variance, Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, chapter 2; conformal
prediction, Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World; levels that follow the misses,
Gibbs and Candes 2021, NeurIPS 34; conformal risk control, Angelopoulos, Bates, Fisch, Lei and Schuster 2024, ICLR 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from gemel.core.values import Bools, Float32s, Floats

ACCEPT, MEASURE, REJECT = 0, 1, 2
BANDS = (0, 30, 120)
"""Rows ago between which signals are averaged."""
MEMORY = 4
"""Features of the last measurements: means of the last 2, 5 and 15, and how long ago the last was."""
KEPT, SCORED = 500, 500
"""Measured rows that are learned from, and that intervals are made of, at most."""
FEWEST, AGAIN, CHOOSE = 60, 40, 5
"""Measured rows before anything is foretold, and from one fit to the next; fits from one choice of kernel on."""
COVER = 0.9
"""The share of parts inside their interval."""
STEP = 0.01
"""By how much a miss moves the level of the intervals."""
CALM = 10
"""Measured parts from which it is told how much they scatter now; and as many count as if they had been usual."""
SURE = 0.05
"""A part that is bad with a higher probability is never accepted, one that is good with a higher never rejected."""
_TRIED = (
    *(("linear", 1.0, ridge) for ridge in (0.1, 1.0, 10.0)),
    *(("both", 2.0, ridge) for ridge in (0.1, 0.3, 1.0)),
)


class Foretold(NamedTuple):
    """Of rows [t]: the quality, its 90 % interval, the answer; NaN and MEASURE while it learns."""

    value: Floats
    low: Floats
    high: Floats
    answer: Any


class Gauge:
    """Foretells a measured quality and says of each row whether its part can be accepted or rejected, or be measured.

    - `lower`, `upper`: of what is good; None where there is no limit.
    - `escape`: the share of parts that may be accepted though they are bad; `waste`: rejected though they are good.
    - `bands`: edges, in rows ago. `kernels`: which are tried, "linear" and "both" (linear and radial).
    """

    def __init__(
        self,
        lower: float | None,
        upper: float | None,
        escape: float = 0.01,
        waste: float = 0.05,
        bands: tuple[int, ...] = BANDS,
        kernels: tuple[str, ...] = ("linear", "both"),
    ) -> None:
        self.limits = (-np.inf if lower is None else lower, np.inf if upper is None else upper)
        self.rates, self.bands, self.kernels = (escape, waste), bands, kernels
        self._rows: Floats = np.empty((0, 0))  # [bands[-1], s] the newest
        self._busy: Bools = np.empty((0, 0), bool)
        self._said: list[float] = []  # the newest measurements
        self._age = 0  # rows since the last
        self._x: Float32s = np.empty((0, 0), np.float32)  # [n, f], as last fitted to, and those since; kept every turn
        self._y: Floats = np.empty(0)  # [n]
        self._doubt: Floats = np.empty(0)  # [n] variance of each, 1 as a rule
        self._late: list[float] = []  # squares of the last scores, before they are seen in their own light
        self._scores: Floats = np.empty(0)  # signed, in standard deviations foretold
        self._risks: Floats = np.empty((0, 3))  # of the same parts: probability of being bad, of being good, was bad
        self._level = 1.0 - COVER  # as misses have moved it
        self._due = FEWEST
        self._kernel, self._noise, self._fits = ("linear", 1.0, 1.0), 1.0, 0
        self._fit: dict[str, Floats] = {}

    @property
    def ready(self) -> bool:
        """Whether it foretells."""
        return bool(self._fit) and len(self._scores) >= FEWEST // 2

    def take(self, values: Floats, quality: Floats, busy: Bools | None = None) -> Foretold:
        """What it says of the rows that follow, [t, s], each before its own measurement, [t] (NaN: none), is learned
        from. `busy` [t, s]: whether the station of a signal was at work."""
        busy = np.isfinite(values) if busy is None else busy & np.isfinite(values)
        x = np.hstack([self._averaged(values, busy), self._remembered(quality)])
        unknown = np.full((3, len(x)), np.nan)
        out = Foretold(unknown[0], unknown[1], unknown[2], np.full(len(x), MEASURE))
        start = 0
        while start < len(x):
            left = np.flatnonzero(np.isfinite(quality[start:]))
            stop = start + int(left[self._due - 1]) + 1 if len(left) >= self._due else len(x)
            self._portion(x, quality, out, start, stop)
            self._due -= int(np.isfinite(quality[start:stop]).sum())
            if self._due <= 0:
                self._learn()
                self._due = AGAIN
            start = stop
        return out

    def parts(self) -> Floats:
        """By how much each signal moves what is foretold of the newest row away from what is usual, [s]."""
        s, b = self._rows.shape[1], len(self.bands) - 1
        if not self._fit or not len(self._rows):
            return np.zeros(s)
        x = self._averaged(np.empty((0, s)), np.empty((0, s), bool))
        x = np.hstack([x, np.full((1, MEMORY), np.nan)])
        others = np.repeat(x, s + 1, axis=0)  # the last one stays as it is
        for i in range(s):
            others[i, i * b : (i + 1) * b] = np.nan
        value = self._predict(others)[0]
        return np.asarray(value[-1] - value[:-1])

    def _portion(self, x: Floats, quality: Floats, out: Foretold, start: int, stop: int) -> None:
        """Rows between two fits."""
        value, spread = self._predict(x[start:stop]) if self._fit else (out.value[start:stop], out.value[start:stop])
        out.value[start:stop] = value
        limits, ends = self._limits(), self._ends()
        plain, spread = spread, spread * self._unrest()
        for i, y in enumerate(quality[start:stop].tolist()):
            risk = self._risk(value[i], spread[i]) if self.ready else (1.0, 1.0)
            if self.ready:
                out.low[start + i], out.high[start + i] = value[i] + spread[i] * ends
                if risk[0] <= limits[0]:
                    out.answer[start + i] = ACCEPT
                elif risk[1] <= limits[1]:
                    out.answer[start + i] = REJECT
            if not np.isfinite(y):
                continue
            if self._fit:
                score = float((y - value[i]) / spread[i])
                if self.ready:
                    missed = not ends[0] <= score <= ends[1]
                    self._level = min(max(self._level + STEP * (1.0 - COVER - missed), 0.0), 0.5)
                    bad = float(not self.limits[0] <= y <= self.limits[1])
                    self._risks = np.vstack([self._risks, [*risk, bad]])[-SCORED:]
                self._scores = np.append(self._scores, score)[-SCORED:]
                self._late = [*self._late, min(float((y - value[i]) / plain[i]) ** 2, CALM**2)][-CALM:]
                spread = plain * self._unrest()
                limits, ends = self._limits(), self._ends()
            newest = np.clip(x[start + i], -1e30, 1e30)  # what float32 can hold
            self._x = np.vstack([self._x.reshape(-1, x.shape[1]), newest]).astype(np.float32)
            self._y, self._doubt = np.append(self._y, y), np.append(self._doubt, self._unrest() ** 2)

    def _risk(self, value: float, spread: float) -> tuple[float, float]:
        """The probabilities that a part is bad, and that it is good, each rather too high."""
        n = len(self._scores)
        may = value + spread * self._scores
        good = int(((may >= self.limits[0]) & (may <= self.limits[1])).sum())
        return (n - good + 1) / (n + 1), (good + 1) / (n + 1)

    def _unrest(self) -> float:
        """By how much parts scatter more now than as a rule: what a loose fixture does, for as long as it is loose."""
        return float(((CALM + sum(self._late)) / (CALM + len(self._late))) ** 0.5)

    def _limits(self) -> tuple[float, float]:
        """The risks up to which parts are accepted, and rejected."""
        n, bad = len(self._risks), self._risks[:, 2] > 0.5
        found = []
        for rate, risk, wrong in zip(self.rates, self._risks.T[:2], (bad, ~bad), strict=True):
            allowed = int(np.floor((n + 1) * rate)) - 1  # of the parts of the past, and the next may be one more
            against = np.sort(risk[wrong])
            if allowed < 0:  # too few to tell
                found.append(rate)
            else:
                found.append(min(float(against[allowed]) - 1e-12, SURE) if len(against) > allowed else SURE)
        return found[0], found[1]

    def _ends(self) -> Floats:
        """Ends of the interval, in standard deviations foretold, [2]."""
        n = len(self._scores)
        beyond = int(np.floor((n + 1) * self._level / 2))  # scores that may lie outside, on each side
        if beyond < 1:
            return np.array([-np.inf, np.inf])
        ordered = np.sort(self._scores)
        return np.array([ordered[beyond - 1], ordered[-beyond]])

    def _averaged(self, values: Floats, busy: Bools) -> Floats:
        """Means of every signal over every band up to each row, [t, s b]; the newest remembered row where t is 0."""
        old = len(self._rows)
        rows = np.vstack([self._rows.reshape(-1, values.shape[1]), values])
        work = np.vstack([self._busy.reshape(-1, values.shape[1]), busy])
        zero = np.zeros((1, values.shape[1]))
        sums = np.vstack([zero, np.cumsum(np.where(work, rows, 0.0), axis=0)])
        counts = np.vstack([zero, np.cumsum(work, axis=0)])
        at = np.arange(old, len(rows)) if len(values) else np.array([len(rows) - 1])
        found: list[Floats] = []
        for near, far in pairwise(self.bands):
            hi, lo = np.maximum(at + 1 - near, 0), np.maximum(at + 1 - far, 0)
            n = counts[hi] - counts[lo]
            found.append(np.where(n > 0, (sums[hi] - sums[lo]) / np.maximum(n, 1), np.nan))
        for k in range(len(found) - 2, -1, -1):  # nothing in a band: what was before it
            found[k] = np.where(np.isfinite(found[k]), found[k], found[k + 1])
        self._rows, self._busy = rows[-self.bands[-1] :], work[-self.bands[-1] :]
        return np.stack(found, axis=2).reshape(len(at), -1)

    def _remembered(self, quality: Floats) -> Floats:
        """Of the measurements before each row, [t, MEMORY]."""
        out = np.full((len(quality), MEMORY), np.nan)
        for i, y in enumerate(quality.tolist()):
            if self._said:
                out[i, :3] = [float(np.mean(self._said[-n:])) for n in (2, 5, 15)]
                out[i, 3] = np.log1p(self._age)
            self._age += 1
            if np.isfinite(y):
                self._said, self._age = [*self._said, y][-15:], 0
        return out

    def _learn(self) -> None:
        """Fit the kernel to the newest; it is chosen anew now and then."""
        self._x, self._y, self._doubt = self._x[-KEPT:], self._y[-KEPT:], self._doubt[-KEPT:]
        x, y = np.asarray(self._x, np.float64), self._y
        there = np.isfinite(x)
        centre = np.where(there, x, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        scale = np.sqrt((np.where(there, x - centre, 0.0) ** 2).sum(axis=0) / np.maximum(there.sum(axis=0), 1))
        scale = np.where(scale > 1e-9 * np.maximum(np.abs(centre), 1.0), scale, np.inf)
        z = _scaled(x, centre, scale)
        if self._fits % CHOOSE == 0:
            self._choose(z, y)
        self._fits += 1
        mean = float(np.average(y, weights=1.0 / self._doubt))
        inverse = self._inverse(z, self._doubt)
        self._fit = {
            "x": z, "centre": centre, "scale": scale, "mean": np.array(mean), "doubt": self._doubt,
            "weights": inverse @ (y - mean), "inverse": inverse,
        }  # fmt: skip

    def _inverse(self, z: Floats, doubt: Floats) -> Floats:
        """Of the kernel matrix with its ridge, [n, n]."""
        k = _kernel(z, z, self._kernel) + self._kernel[2] * np.diag(doubt)
        return np.asarray(np.linalg.inv(k), np.float64)

    def _choose(self, z: Floats, y: Floats) -> None:
        """The kernel and the ridge that foretell the newest quarter of [n, f] best from the rest, and how well."""
        early = np.arange(len(y)) < 0.75 * len(y)
        mean, loss, doubt = float(np.average(y[early], weights=1.0 / self._doubt[early])), {}, self._doubt
        for tried in [one for one in _TRIED if one[0] in self.kernels]:
            k = _kernel(z, z, tried)
            weights = np.linalg.solve(k[np.ix_(early, early)] + tried[2] * np.diag(doubt[early]), y[early] - mean)
            off = y[~early] - mean - k[np.ix_(~early, early)] @ weights
            loss[tried] = float(np.average(off**2, weights=1.0 / doubt[~early]))
        self._kernel = min(loss, key=lambda one: loss[one])
        self._noise = max(loss[self._kernel], 1e-18) ** 0.5

    def _predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation foretold, [t]."""
        fit, ridge = self._fit, self._kernel[2]
        z = _scaled(x, fit["centre"], fit["scale"])
        k = _kernel(z, fit["x"], self._kernel)
        own = np.array([_kernel(row[None], row[None], self._kernel)[0, 0] for row in z])
        left = np.maximum(own - np.einsum("tn,nm,tm->t", k, fit["inverse"], k, optimize=True), 0.0)
        return fit["mean"] + k @ fit["weights"], self._noise * np.sqrt(1.0 + left / ridge)

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory; without the largest part of it, which `restore` works out again."""
        held = {k: v for k, v in vars(self).items() if k.startswith("_")}
        return held | {"_fit": {k: v for k, v in self._fit.items() if k not in ("x", "doubt", "inverse")}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        vars(self).update(state)
        self._kernel = tuple(state["_kernel"])
        self._said, self._late = list(state["_said"]), list(state["_late"])
        self._fit = {k: np.asarray(v) for k, v in state["_fit"].items()}
        if self._fit:
            n = len(self._fit["weights"])
            self._fit["x"] = _scaled(self._x[:n].astype(float), self._fit["centre"], self._fit["scale"])
            self._fit["doubt"] = self._doubt[:n]
            self._fit["inverse"] = self._inverse(self._fit["x"], self._fit["doubt"])


def _scaled(x: Floats, centre: Floats, scale: Floats) -> Floats:
    """Standardised; what is missing is as usual, what is absurd is cut."""
    return np.clip(np.nan_to_num((x - centre) / scale, nan=0.0), -6.0, 6.0)


def _kernel(a: Floats, b: Floats, kind: tuple[str, float, float]) -> Floats:
    """[t, f] and [n, f] -> [t, n]."""
    linear = a @ b.T / a.shape[1]
    if kind[0] == "linear":
        return linear
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
    return np.asarray(linear + np.exp(-np.maximum(squares, 0.0) / (2.0 * kind[1] ** 2 * a.shape[1])))
