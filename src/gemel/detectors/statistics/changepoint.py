"""Change points of standardised signals, as they come: the numerics of `drift` beside `level`.

Letters: t rows, c signals, l run lengths (rows since the last change).
Sources: CUSUM, Page 1954, Biometrika 41 (with a running mean it is the Page-Hinkley test, Hinkley 1971); Bayesian
online change points, Adams and MacKay 2007, arXiv 0710.3742.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gemel.core.values import Floats
from gemel.detectors.statistics.scale import abreast, apiece, standard

MOST = 60.0
"""A sum that has come so far goes no further: it must find back when the trouble is over."""


def whitened(z: Floats, before: Floats, keep: Floats) -> Floats:
    """What a row, [t, c], brings beyond what the one before foretells; `before` precedes the first, NaN counts as 0."""
    filled = np.nan_to_num(z)
    past = np.vstack([before, filled[:-1]])
    return np.asarray((filled - keep * past) / np.sqrt(1.0 - keep**2))


class Cusum:
    """Scores rows by the larger of two cumulative sums, upwards and downwards, of each signal.

    - `slack`: standard deviations that a row may be off without being summed.
    """

    def __init__(self, slack: float = 0.5) -> None:
        self.slack = slack
        self._centre: Floats = np.empty(0)
        self._scale: Floats = np.empty(0)
        self._keep: Floats = np.empty(0)  # [c] correlation with the row before
        self._last: Floats = np.empty(0)  # [c]
        self._sums: Floats = np.empty((2, 0))  # up, down

    def fit(self, values: Floats) -> None:
        """Learn from the rows of a normal time, [t, c]."""
        self._centre, self._scale = standard(values)
        z = np.nan_to_num((values - self._centre) / self._scale)
        power = np.maximum((z[:-1] ** 2).sum(axis=0), 1e-12)
        self._keep = np.clip((z[1:] * z[:-1]).sum(axis=0) / power, 0.0, 0.98)
        self._last, self._sums = z[-1], np.zeros((2, z.shape[1]))

    def score(self, values: Floats) -> tuple[Floats, Floats]:
        """Of the rows that follow, [t, c]: the sums [t, c], twice."""
        z = (values - self._centre) / self._scale
        fresh = np.clip(whitened(z, self._last, self._keep), -6.0, 6.0)
        out = np.empty(z.shape)
        for i, row in enumerate(fresh):
            self._sums = np.clip(self._sums + np.stack([row, -row]) - self.slack, 0.0, MOST)
            out[i] = self._sums.max(axis=0)
        if len(z):
            self._last = np.nan_to_num(z[-1])
        return out, out

    @property
    def need(self) -> int:
        """Rows that a window judged by itself should have."""
        return 20

    def apart(self, windows: Floats) -> Floats:
        """The statistics [b, t, c] of windows [b, t, c], each by itself: its sums begin at zero."""
        b, _, c = windows.shape
        z = np.nan_to_num((windows[:, 0] - self._centre) / self._scale).reshape(-1)
        other, rows = abreast(self, windows, _last=z, _sums=np.zeros((2, b * c)))
        return apiece(other.score(rows)[0], b)

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {k: v for k, v in vars(self).items() if k != "slack"}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        vars(self).update(state)


class Bayes:
    """Scores rows by the log odds that each signal's mean or spread changed within the last `window` rows.

    - `window`: rows; `rare`: rows from one change to the next, as expected beforehand.
    """

    def __init__(self, window: int = 10, rare: float = 1000.0) -> None:
        self.window, self.rare = window, rare
        self._centre: Floats = np.empty(0)
        self._scale: Floats = np.empty(0)
        # sufficient statistics of a run, [l, c]: rows, sum, sum of squares; and the log weight of that run length
        self._n: Floats = np.empty((0, 0))
        self._sum: Floats = np.empty((0, 0))
        self._square: Floats = np.empty((0, 0))
        self._weight: Floats = np.empty((0, 0))

    def fit(self, values: Floats) -> None:
        """Learn scales from the rows of a normal time, [t, c], and begin with its end as one run."""
        self._centre, self._scale = standard(values)
        c = values.shape[1]
        self._n = self._sum = self._square = np.zeros((1, c))
        self._weight = np.zeros((1, c))
        self.score(values[-10 * self.window :])

    def score(self, values: Floats) -> tuple[Floats, Floats]:
        """Of the rows that follow, [t, c]: the log odds [t, c] and their positive part."""
        z = np.nan_to_num((values - self._centre) / self._scale)
        out = np.empty(z.shape)
        most, hazard = 20 * self.window, 1.0 / self.rare
        for i, row in enumerate(z):
            # normal-gamma prior: mean 0 counted as a tenth of a row, variance 1 counted as two rows
            rows = self._n + 0.1
            shape = 1.0 + self._n / 2.0
            rate = 1.0 + 0.5 * np.maximum(self._square - self._sum**2 / rows, 0.0)
            mean, spread = self._sum / rows, rate * (rows + 1.0) / (shape * rows)
            like = self._weight + _student(row, mean, spread, 2.0 * shape)
            begin = _logsum(like) + math.log(hazard)
            weight = np.vstack([begin[None], like + math.log1p(-hazard)])
            zero = np.zeros((1, z.shape[1]))
            self._n = np.vstack([zero, self._n + 1.0])
            self._sum, self._square = np.vstack([zero, self._sum + row]), np.vstack([zero, self._square + row**2])
            if len(weight) > most:  # the two longest runs become one
                weight[-2] = np.logaddexp(weight[-2], weight[-1])
                weight = weight[:-1]
                self._n, self._sum, self._square = self._n[:-1], self._sum[:-1], self._square[:-1]
            self._weight = weight - _logsum(weight)
            recent = _logsum(self._weight[: self.window])
            long = _logsum(self._weight[self.window :]) if len(self._weight) > self.window else np.full_like(recent, 0)
            out[i] = recent - np.maximum(long, -60.0)
        return out, np.maximum(out, 0.0)

    @property
    def need(self) -> int:
        """Rows that a window judged by itself should have."""
        return 3 * self.window

    def apart(self, windows: Floats) -> Floats:
        """The statistics [b, t, c] of windows [b, t, c], each by itself: its first row begins a run."""
        b, t, c = windows.shape
        other, rows = abreast(self, windows)
        other._n = other._sum = other._square = other._weight = np.zeros((1, b * c))
        found = other.score(rows)[0]
        found[: min(self.window, t)] = np.nan  # the beginning of the window is no change
        return apiece(found, b)

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {k: v for k, v in vars(self).items() if k not in ("window", "rare")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        vars(self).update(state)


def _student(x: Floats, mean: Floats, spread: Floats, freedom: Floats) -> Floats:
    """Log density of Student's t with squared scale `spread`, [l, c]; log gamma by Stirling's series."""
    a, b = (freedom + 1.0) / 2.0, freedom / 2.0
    front = _log_gamma(a) - _log_gamma(b) - 0.5 * np.log(math.pi * freedom * spread)
    return np.asarray(front - a * np.log1p((x - mean) ** 2 / (freedom * spread)))


def _log_gamma(x: Floats) -> Floats:
    y = x + 3.0
    series = (y - 0.5) * np.log(y) - y + 0.9189385332046727 + 1 / (12 * y) - 1 / (360 * y**3) + 1 / (1260 * y**5)
    return np.asarray(series - np.log(x * (x + 1) * (x + 2)))


def _logsum(x: Floats) -> Floats:
    """Log of the sum of exponentials over the first axis."""
    top = x.max(axis=0)
    return np.asarray(top + np.log(np.exp(x - top).sum(axis=0)))
