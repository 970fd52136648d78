"""A level that wanders, and how far the newest readings have left it: the numerics of `drift`.

Every signal is taken for a level that moves a little at each step (variance q) under readings that scatter (variance
r); both are fitted by maximum likelihood on a normal time. Where the level stands, and how unsure that is, comes from
a Kalman filter that ends `window` rows ago; the mean of the newest `window` rows is measured against it. A signal
that holds still is therefore held to its level for good, one that wanders only to how far it usually goes.

Letters: t rows, c signals, w window, q and r variances, P variance of the level.
Sources: local level model, Harvey 1989, Forecasting, Structural Time Series Models and the Kalman Filter; its use for
telling a change from wandering, Atienza, Tang and Ang 1998, Journal of Applied Statistics 25.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gemel.core.values import Bools, Floats, Times
from gemel.detectors.statistics.scale import abreast, apiece, standard

RATIOS = 10.0 ** np.arange(-6.0, 2.1, 0.5)  # q / r
MOST = 5000  # rows used for the fit
WANDERS = 10.0  # see `wandering`
HELD = 8.0
FROZEN = 15.0  # a squared deviation above this teaches nothing about the level,
STAYS = 50  # until it has been so for so many windows: then that is where the level is now


def fit_level(values: Floats) -> tuple[Floats, Floats]:
    """q and r of every signal, [c], from [t, c]; NaN is skipped, a constant signal has q = 0."""
    x = values[-MOST:]
    there = np.isfinite(x)
    m: Floats = np.zeros((len(RATIOS), x.shape[1]))
    P: Floats = np.full_like(m, 1e6)
    squares, logs = np.zeros_like(m), np.zeros_like(m)
    count = np.maximum(there.sum(axis=0) - 6, 1)
    seen = np.zeros(x.shape[1])
    for row, ok in zip(np.where(there, x, 0.0), there, strict=True):
        P = P + RATIOS[:, None]
        error, spread = row - m, P + 1.0
        gain = np.where(ok, P / spread, 0.0)
        scored = ok & (seen > 5)
        squares += np.where(scored, error**2 / spread, 0.0)
        logs += np.where(scored, np.log(spread), 0.0)
        m, P = m + gain * error, P * (1.0 - gain)
        seen += ok
    r = squares / count
    likely = -0.5 * (count * np.log(np.maximum(r, 1e-300)) + logs)
    best = likely.argmax(axis=0)
    r = r[best, np.arange(x.shape[1])]
    return RATIOS[best] * r, r


def wandering(q: Floats, r: Floats, rows: int) -> Bools:
    """Which signals have no fixed place, [c]: over so many rows their level moves by more than their readings scatter,
    and it does not come back either. q and r are those of signals of variance 1, and a level that moved freely would
    have brought about a variance of q rows / 6: where that is far above 1, something holds it."""
    return np.asarray((q * rows > WANDERS * r) & (q * rows / 6.0 < HELD))


class Level:
    """Scores rows by how far each signal has left its wandering level, in squared standard deviations.

    - `window`: rows whose mean is measured against the level before them. What has stayed away from its level for fifty
      of them has found a new one.
    - `fixed`: the level is where it was in the normal time, and stays there.
    """

    def __init__(self, window: int = 10, fixed: bool = False) -> None:
        self.window, self.fixed = window, fixed
        self.q: Floats = np.empty(0)
        self.r: Floats = np.empty(0)
        self._centre: Floats = np.empty(0)
        self._scale: Floats = np.empty(0)
        self._m: Floats = np.empty(0)  # [c] the level, standardised
        self._P: Floats = np.empty(0)  # [c]
        self._recent: Floats = np.empty((0, 0))  # [w, c]
        self._frozen: Bools = np.empty(0, bool)
        self._away: Times = np.empty(0, np.int64)  # [c] rows that it has been frozen for

    def fit(self, values: Floats) -> None:
        """Learn from a normal time, [t, c]; scoring then goes on where it ended."""
        self._centre, self._scale = standard(values)
        z = (values - self._centre) / self._scale
        self._m, self._P = np.zeros(z.shape[1]), np.zeros(z.shape[1])
        self._recent = np.empty((0, z.shape[1]))
        self._frozen, self._away = np.zeros(z.shape[1], bool), np.zeros(z.shape[1], np.int64)
        self.q, self.r = fit_level(z)
        self.r = np.maximum(self.r, 1e-6)
        self._P = self.r + 1.0
        if self.fixed:
            self._centre = np.where(wandering(self.q, self.r, len(z)), np.nan, self._centre)
            self.q, self.r, self._P = 0.0 * self.q, 0.0 * self.r + 1.0, 0.0 * self.q
        self.score(values)

    def score(self, values: Floats) -> tuple[Floats, Floats]:
        """Of the rows that follow, [t, c]: the squared deviation of each signal [t, c], NaN where there is nothing to
        say; and the same with 0 for NaN."""
        z = (values - self._centre) / self._scale
        w = self.window
        rows = np.vstack([self._recent, z])
        shares, heard = np.zeros(z.shape), np.zeros(z.shape, bool)
        sums = np.cumsum(np.vstack([np.zeros(z.shape[1]), np.where(np.isfinite(rows), rows, 0.0)]), axis=0)
        counts = np.cumsum(np.vstack([np.zeros(z.shape[1]), np.isfinite(rows)]), axis=0)
        before = len(self._recent)
        for i in range(len(z)):
            j = before + i  # the newest row; the one that the level learns from is j - w
            if j >= w and not self.fixed:
                old = rows[j - w]
                self._P = self._P + self.q
                learn = np.isfinite(old) & ~self._frozen
                gain = np.where(learn, self._P / (self._P + self.r), 0.0)
                self._m = self._m + gain * np.where(learn, old - self._m, 0.0)
                self._P = self._P * (1.0 - gain)
            lo = max(j + 1 - w, 0)
            n = counts[j + 1] - counts[lo]
            heard[i] = n > 0
            mean = (sums[j + 1] - sums[lo]) / np.maximum(n, 1)
            shares[i] = np.where(n > 0, (mean - self._m) ** 2 / (self._P + self.q * w + self.r / np.maximum(n, 1)), 0.0)
            self._frozen = shares[i] > FROZEN
            self._away = np.where(self._frozen & (not self.fixed), self._away + 1, 0)
            if (stays := self._away > STAYS * w).any():
                self._m, self._P = np.where(stays, mean, self._m), np.where(stays, self.r, self._P)
                self._away = np.where(stays, 0, self._away)
        self._recent = rows[-w:]
        return np.where(heard, shares, np.nan), shares

    @property
    def need(self) -> int:
        """Rows that a window judged by itself should have."""
        return self.window if self.fixed else 3 * self.window

    def apart(self, windows: Floats) -> Floats:
        """The statistics [b, t, c] of windows [b, t, c], each by itself: the level it begins with is not known."""
        b, _, c = windows.shape
        fresh = {"_recent": np.empty((0, b * c)), "_frozen": np.zeros(b * c, bool), "_away": np.zeros(b * c, np.int64)}
        other, rows = abreast(self, windows, **fresh)
        if not self.fixed:
            other._m, other._P = np.zeros(b * c), np.full(b * c, 1e6)
        return apiece(other.score(rows)[0], b)

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {k: v for k, v in vars(self).items() if k not in ("window", "fixed")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        vars(self).update(state)
        if len(self._away) != len(self._m):  # of a version that did not count
            self._away = np.zeros(len(self._m), np.int64)
