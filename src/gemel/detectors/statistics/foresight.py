"""What the pre-trained network makes of a signal's course: the numerics of `foundation`.

Every few rows the network is asked about the window that ends there. Of its answer two things are kept: the quantiles
of the rows to come, against which these are measured when they come, and its hidden features of the window, whose
distance to those of a normal time is measured. A course may be unusual in either: it was not foreseeable, or it was,
but the normal time had none like it.

Letters: t rows, c signals, w window, n windows, p points a patch, h rows ahead, q levels, d features, k components.
Sources: the probability integral transform of forecasts, Dawid 1984, Journal of the Royal Statistical Society A 147;
distance of hidden features, Lee, Lee, Lee and Shin 2018, NeurIPS 31; a covariance of few components and one variance
for the rest, Tipping and Bishop 1999, Journal of the Royal Statistical Society B 61.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from gemel.core.foundation import load, windowed
from gemel.core.values import DECILES, Bools, Float32s, Floats, Times

CHUNK = 64
"""Windows asked at once."""
FEWEST = 8
"""Values of a window below which the network is not asked."""
KEPT = 16
"""Components of the features, at most."""
ALONE = 8
"""Questions about a window that is judged by itself."""
STRANGE = 4.0
"""A score beyond which a row is not shown to the network, which would get used to it, ..."""
PATIENCE = 8
"""... unless it has been so for so many windows."""
FAR = 10.0
"""A reading counts as no further out than so many standard deviations."""
SCORES = np.array([NormalDist().inv_cdf(p) for p in DECILES])


class Foresight:
    """Scores rows by how far the newest ones together are outside the quantiles that were foretold, and by how far the
    hidden features of the last window are from those of a normal time; of each signal by itself.

    - `window`: rows that the network sees, four patches of 32 or a multiple. `ahead`: rows from one question to the
      next, of which the mean is measured; a prime, or the questions fall on the same few places of a daily cycle.
    - `model`: a folder with another network. `small`: ask its int8 file.
    """

    def __init__(self, window: int = 128, ahead: int = 7, model: str = "", small: bool = True) -> None:
        self.window, self.ahead, self.model, self.small = window, ahead, model, small
        self._centre: Floats = np.empty((0, 0))  # [c, d] of the features
        self._axes: Float32s = np.empty((0, 0, 0), np.float32)  # [c, d, k]
        self._weight: Floats = np.empty((0, 0))  # [c, k + 1] one over the variances; the last is the rest's
        self._context: Floats = np.empty((0, 0))  # [w, c] rows that were as foretold, the newest last
        self._gap: Times = np.empty(0, np.int64)  # [c] rows since then that were not
        self._fan: Floats = np.empty((0, 0, 0))  # [c, h, q] as foretold last
        self._late: Floats = np.empty((0, 0))  # [h, c] normal scores of the last rows
        self._held: Floats = np.empty(0)  # [c] how far the last features were
        self._since = 0  # rows since the last question

    def fit(self, values: Floats) -> None:
        """Learn from the rows of a normal time, [t, c]; what is scored next follows on them."""
        first = min(self.window // 2, len(values) // 4) + 1
        ends = range(len(values), first - 1, -self.ahead)[::-1]
        fans, features = self._asked(values, ends)
        self._centre, axes, self._weight = _usual(features)
        self._axes = axes.astype(np.float32)  # short, for they are kept at every turn
        c = values.shape[1]
        head = np.full((max(self.window - len(values), 0), c), np.nan)
        self._context, self._gap = np.vstack([head, values[-self.window :]]), np.zeros(c, np.int64)
        self._fan, self._since, self._late = fans[-1], 0, np.full((self.ahead, c), np.nan)
        self._held = self._distance(features[-1:])[0]

    def score(self, values: Floats) -> tuple[Floats, Floats]:
        """Of the rows that follow, [t, c]: mean score of the newest rows, then distance of the features, both
        [t, c] beside each other; the sum of both as shares [t, c]."""
        c = values.shape[1]
        out = np.empty((len(values), 2 * c))
        for i, row in enumerate(values):
            z = _normal(row, self._fan[:, self._since])
            self._late = np.vstack([self._late[1:], z[None]])
            out[i, :c], out[i, c:] = self._together(self._late), self._held
            self._take(row, np.abs(np.nan_to_num(z)) > STRANGE)
            self._since += 1
            if self._since == self.ahead:
                self._since = 0
                fans, features = self._asked(self._context, [self.window], self._gap)
                self._fan, self._held = fans[0], self._distance(features)[0]
        return out, np.nan_to_num(out[:, :c]) ** 2 + np.exp(np.nan_to_num(out[:, c:], nan=-np.inf))

    def _take(self, row: Floats, strange: Bools) -> None:
        """One more row into the context, where it is not strange: the network goes on to foretell what would have been.
        Where it has been strange for long, that is how the signal is now."""
        self._gap += 1
        for i in np.flatnonzero(~strange | (self._gap > PATIENCE * self.window)):
            column, gap = self._context[:, i], min(int(self._gap[i]), self.window)
            column[:-gap], column[-gap:] = column[gap:].copy(), np.nan
            column[-1], self._gap[i] = row[i], 0

    def _asked(self, rows: Floats, ends: Sequence[int], gaps: Times | None = None) -> tuple[Floats, Floats]:
        """What the network says of the windows that end before rows `ends` and have a gap after them, [c] rows:
        quantiles [n, c, h, q] of the rows that follow, in the unit of the signal, and features [n, c, d]; NaN where
        there is hardly a value, or none moves."""
        c = rows.shape[1]
        if not len(ends) or not c:
            return np.empty((0, c, self.ahead, len(DECILES))), np.empty((0, *self._centre.shape))
        gap = np.minimum(np.zeros(c, np.int64) if gaps is None else gaps, self.window // 2)
        fans, features = self._thought(
            [
                np.concatenate([_finite(rows[max(0, end - self.window) : end, i]), np.full(gap[i], np.nan)])
                for end in ends
                for i in range(c)
            ]
        )
        return fans.reshape(len(ends), c, self.ahead, -1), features.reshape(len(ends), c, -1)

    def _thought(self, columns: Sequence[Floats]) -> tuple[Floats, Floats]:
        """Quantiles [n, h, q] and features [n, d] of the ends of columns."""
        graph = load(self.model, self.small)
        p = graph.reach.patch
        fans, thoughts = [], []
        for start in range(0, len(columns), CHUNK):
            x, held, mean, deviation = windowed(columns[start : start + CHUNK], self.window)
            patches = (len(x), 1, self.window // p, p)
            given = x.reshape(patches).astype(np.float32), held.reshape(patches).astype(np.float32)
            levels, features = graph.features(*given, np.array([self.window // p - 1]))
            fan = levels[:, 0, 0, : self.ahead].astype(np.float64) * deviation[:, :, None] + mean[:, :, None]
            mute = (held.sum(axis=1) < FEWEST) | ~_moves(x, held)
            fan[mute] = np.nan
            fans.append(np.sort(fan, axis=2))
            thoughts.append(np.where(mute[:, None], np.nan, _centred(features[:, 0, 0])))
        return np.concatenate(fans), np.concatenate(thoughts)

    def _together(self, scores: Floats) -> Floats:
        """The size of the mean of scores [..., h, c], [..., c]; that of fewer than `ahead` varies more by itself, so it
        counts less. NaN for none. (Not its square: these scores have longer tails than a normal.)"""
        heard = np.isfinite(scores)
        count = heard.sum(axis=-2)
        size = np.abs(np.where(heard, scores, 0.0).sum(axis=-2)) / np.sqrt(self.ahead * np.maximum(count, 1))
        return np.where(count > 0, size, np.nan)

    @property
    def need(self) -> int:
        """Rows that a window judged by itself should have."""
        return self.window + ALONE * self.ahead

    def apart(self, windows: Floats) -> Floats:
        """The same of windows [b, t, c], each by itself: scores [b, t, 2 c] of its last rows, NaN before."""
        b, t, c = windows.shape
        out = np.full((b, t, 2 * c), np.nan)
        ends = [end for end in range(t - ALONE * self.ahead, t, self.ahead) if end >= self.window // 2]
        if not ends or not b:
            return out
        columns = [_finite(w[max(0, end - self.window) : end, i]) for end in ends for w in windows for i in range(c)]
        fans, features = self._thought(columns)
        fans, features = fans.reshape(len(ends), b, c, self.ahead, -1), features.reshape(len(ends), b, c, -1)
        z = np.full((b, t, c), np.nan)
        for end, fan in zip(ends, fans, strict=True):
            z[:, end : end + self.ahead] = _normal(windows[:, end : end + self.ahead], fan.transpose(0, 2, 1, 3))
        for end, thought in zip(ends, features, strict=True):
            for row in range(end, end + self.ahead):
                out[:, row, :c] = self._together(z[:, max(row + 1 - self.ahead, 0) : row + 1])
                out[:, row, c:] = self._distance(thought)
        return out

    def _distance(self, features: Floats) -> Floats:
        """The logarithm of how far features [n, c, d] are, [n, c]: few windows say little about the tail of distances
        themselves. NaN where there are none, or the normal time had none."""
        if not len(features):
            return np.empty((0, len(self._centre)))
        off = features - self._centre
        along = np.einsum("ncd,cdk->nck", off, self._axes)
        rest = np.maximum((off**2).sum(axis=2) - (along**2).sum(axis=2), 0.0)
        squares = (along**2 * self._weight[:, :-1]).sum(axis=2) + rest * self._weight[:, -1]
        return np.asarray(np.log(squares / off.shape[2] + 1e-9))

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {k: v for k, v in vars(self).items() if k.startswith("_")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        vars(self).update(state)


def _usual(features: Floats) -> tuple[Floats, Floats, Floats]:
    """Centre [c, d], main axes [c, d, k] and what squares along them and beside them weigh [c, k + 1], of features
    [n, c, d]. Variances are pulled to their mean, as much as the few windows leave them unsure."""
    n, c, d = features.shape
    k = int(np.clip(n // 5, 1, KEPT))
    centre, axes, weight = np.full((c, d), np.nan), np.zeros((c, d, k)), np.zeros((c, k + 1))
    for i in range(c):
        x = features[np.isfinite(features[:, i, 0]), i]
        if len(x) < 3:
            continue
        centre[i] = x.mean(axis=0)
        _, singular, turned = np.linalg.svd(x - centre[i], full_matrices=False)
        variances = np.zeros(d)
        variances[: len(singular)] = singular**2 / (len(x) - 1)
        mean = float(variances.mean()) + 1e-9
        sure = len(x) / (len(x) + 2.0 * k)
        main = sure * variances[:k] + (1 - sure) * mean
        rest = sure * float(variances[k:].mean()) + (1 - sure) * mean
        m = min(k, len(turned))
        axes[i, :, :m] = turned[:m].T
        weight[i] = 1.0 / np.append(main, rest)
    return centre, axes, weight


def _normal(row: Floats, fan: Floats) -> Floats:
    """Readings [..., c] as normal scores in their quantiles [..., c, q]: straight lines between these, the outermost go
    on; NaN where either is missing."""
    there = np.isfinite(row) & np.isfinite(fan[..., 0])
    y, x = np.where(there, row, 0.0), np.where(there[..., None], fan, SCORES)
    j = np.clip((x < y[..., None]).sum(axis=-1), 1, len(DECILES) - 1)[..., None]
    low, high = (np.take_along_axis(x, k, axis=-1)[..., 0] for k in (j - 1, j))
    spread = x[..., -1] - x[..., 0]
    width = np.maximum(np.maximum(high - low, 0.05 * spread), 1e-9 * np.maximum(np.abs(high), 1e-3))
    base = np.where(y > high, j[..., 0], j[..., 0] - 1)
    start = np.where(y > high, high, low)
    found = SCORES[base] + (y - start) / width * (SCORES[j[..., 0]] - SCORES[j[..., 0] - 1])
    return np.where(there, np.clip(found, -FAR, FAR), np.nan)


def _finite(x: Floats) -> Floats:
    return np.where(np.isfinite(x), x, np.nan)


def _moves(x: Floats, held: Bools) -> Bools:
    return np.asarray(np.where(held, x, np.inf).min(axis=1) < np.where(held, x, -np.inf).max(axis=1))


def _centred(features: Float32s) -> Floats:
    """Features [n, d] as the network's own head reads them: each window's with mean 0 and deviation 1."""
    x = features.astype(np.float64)
    x = x - x.mean(axis=1, keepdims=True)
    return np.asarray(x / (x.std(axis=1, keepdims=True) + 1e-5))
