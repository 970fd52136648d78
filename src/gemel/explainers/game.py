"""Shares of a score among players: the numerics of `attribution`, for any game.

A player is a segment of time of one signal. A coalition keeps what really came of its own players and takes the rest
from a normal window (interventional: nothing is assumed about how the rest would have been); its worth is the mean
score over the normal windows. The share of a player is its Shapley value.

Of a coalition and its complement only half the difference of their worths matters to a Shapley value. That is an odd
function on the corners of a cube, z = 1 or -1 a player, and is learned as a Gaussian process whose kernel gives less to
interactions of more players; their Shapley values then are linear in what was measured, with a standard deviation
beside. How fast it falls off is fitted. Every coalition is asked before a few normal windows only: what each window
adds by itself is known from the coalitions of one, and taken out.

Letters: b normal windows, t rows, s signals, n segments, p = s n players (of the first segment first), k pairs.
Sources: Shapley 1953, Contributions to the Theory of Games II; pairs and sizes of coalitions, Covert and Lee 2021,
AISTATS, and Musco and Witter 2025, ICLR; functions on the cube, O'Donnell 2014, Analysis of Boolean Functions; Gaussian
processes for integrals, O'Hagan 1991, Journal of Statistical Planning and Inference 29.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np

from gemel.core.explain import Scorer
from gemel.core.values import Bools, Floats

CELLS = 2_000_000
"""Numbers in the windows of one call."""
FALLS = {0.0005: -6.0, 0.02: 0.0, 0.08: 0.0, 0.3: 0.0}
"""What an interaction of two players more weighs, and how likely that is beforehand (its logarithm): that there are
next to none takes proof."""
DEGREES = 15
"""Interactions of more players are taken for none."""
FIRST, MIDDLE, LAST = 48, 128, 1024
"""Pairs: before a few normal windows each, before ever more of them, and at most."""
FITTED = 64
"""Pairs from which the kernel is fitted."""
JITTER = 1e-8
FAR = 1.5
"""An error that should still be so many times too large is not worked out."""
Order = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Shares:
    """`values` [n, s] add up to `score` less `baseline`. `errors` [n, s], and `whole` [s] those of a signal's sum, are
    standard deviations; 0 where all coalitions were tried."""

    values: Floats
    errors: Floats
    whole: Floats
    score: float
    baseline: float
    evaluations: int


class Game:
    """A window [t, s] held against normal ones [b, t, s]. `segment` [t] is the segment of each row, 0 .. n - 1."""

    def __init__(self, score: Scorer, window: Floats, normal: Floats, segment: Order) -> None:
        self._score, self._window, self._normal, self._segment = score, window, normal, segment
        self.shape = int(segment.max()) + 1, window.shape[1]
        self.players, self.evaluations = self.shape[0] * self.shape[1], 0
        self.top = float(self._scored(window[None])[0])
        self.bottom = self._scored(normal)  # [b]

    def worth(self, kept: Bools, which: Order) -> Floats:
        """Scores of coalitions [k, p], each before the normal window `which` [k]."""
        out = np.empty(len(kept))
        many = max(CELLS // self._window.size, 1)
        for i in range(0, len(kept), many):
            mask = kept[i : i + many].reshape(-1, *self.shape)
            mask = mask[:, self._segment] if self.shape[0] > 1 else mask
            out[i : i + many] = self._scored(np.where(mask, self._window, self._normal[which[i : i + many]]))
        return out

    def _scored(self, windows: Floats) -> Floats:
        self.evaluations += len(windows)
        found = np.asarray(self._score(windows), float)
        return np.where(np.isfinite(found), found, 0.0)  # of what cannot be judged nothing is known to be strange

    def exact(self) -> Shares:
        """By all coalitions before all normal windows."""
        p, b = self.players, len(self._normal)
        code = np.arange(2**p)
        kept = (code[:, None] >> np.arange(p)) & 1 == 1
        worth = np.empty(2**p)
        worth[0], worth[-1] = self.bottom.mean(), self.top
        found = self.worth(np.repeat(kept[1:-1], b, axis=0), np.tile(np.arange(b), 2**p - 2))
        worth[1:-1] = found.reshape(-1, b).mean(axis=1)
        weight = np.array([1.0 / (p * comb(p - 1, size)) for size in range(p)])
        size = kept.sum(axis=1)
        values = np.empty(p)
        for i in range(p):
            without = code[~kept[:, i]]
            values[i] = (weight[size[without]] * (worth[without | 1 << i] - worth[without])).sum()
        return self._shares(values, np.zeros((p, p)))

    def sampled(self, lack: Callable[[Shares], float], most: int, rng: np.random.Generator) -> Shares:
        """By pairs of a coalition and its complement, ever more of them until the errors are small enough (`lack` says
        how many times too large they are), or about `most` evaluations are used, or there are no more."""
        p, b = self.players, len(self._normal)
        basis, kept = Basis(p), pairs(p, LAST, rng)
        turn = (rng.permutation(b) + rng.integers(b, size=(len(kept), 1))) % b  # a window's place in a pair's queue
        half = np.full((len(kept), b), np.nan)  # half the difference of a pair's scores, before each window
        half[0] = 0.5 * (self.top - self.bottom)
        few = max(b // 8, min(b, 2))
        plan = [(p + 1, b), (2 * p + 4, few)]  # pairs, and windows of each; nothing is learned from the first alone
        plan += [(FIRST, few), (MIDDLE, few), (MIDDLE, min(3 * few, b)), (MIDDLE, b), (2 * MIDDLE, b), (4 * MIDDLE, b)]
        plan += [(LAST, b)]
        shares, known = None, 0
        for k, m in plan:
            row, window = np.nonzero(np.isnan(half[:k]) & (turn[:k] < m))
            last = m == b and k >= len(kept)
            if not len(row) and not last:
                continue
            found = self.worth(np.concatenate([kept[row], ~kept[row]]), np.tile(window, 2))
            half[row, window] = 0.5 * (found[: len(row)] - found[len(row) :])
            last = last or 2 * self.evaluations > most
            far = shares is not None and lack(shares) * (known / self.evaluations) ** 0.75 > FAR
            if not last and (far or (k, m) == plan[0]):
                continue
            heard = np.flatnonzero(np.isfinite(half).any(axis=1))
            shares = self._shares(*learned(basis, np.where(kept[heard], 1.0, -1.0), half[heard]))
            known = self.evaluations
            if last or lack(shares) <= 1:
                break
        assert shares is not None
        return shares

    def _shares(self, values: Floats, covariance: Floats) -> Shares:
        baseline = float(self.bottom.mean())
        values = values + (self.top - baseline - values.sum()) / self.players
        n, s = self.shape
        errors = np.sqrt(np.maximum(np.diag(covariance), 0.0)).reshape(n, s)
        whole = np.sqrt(np.maximum(np.einsum("iaja->a", covariance.reshape(n, s, n, s)), 0.0))
        return Shares(values.reshape(n, s), errors, whole, self.top, baseline, self.evaluations)


def pairs(p: int, most: int, rng: np.random.Generator) -> Bools:
    """Coalitions [k, p] of which no two are the same or complements: everybody, everybody but one, then as many of each
    size; at most so many, fewer where there are no more."""
    first = np.concatenate([np.ones((1, p), bool), ~np.eye(p, dtype=bool)])
    if 2 ** (p - 1) <= most:
        code = rng.permutation(2 ** (p - 1))
        drawn = np.hstack([np.ones((len(code), 1), bool), (code[:, None] >> np.arange(p - 1)) & 1 == 1])
    else:
        size = rng.integers(1, p, 2 * most)
        drawn = rng.random((2 * most, p)).argsort(axis=1) < size[:, None]
    every = np.concatenate([first, drawn])
    every = np.where(every[:, :1], every, ~every)  # one of the two
    code = every @ rng.integers(2**62, size=p)  # of as many as there are, no two sums are likely to be the same
    place = np.unique(code, return_index=True)[1]
    return np.asarray(every[np.sort(place)[:most]])


class Basis:
    """Kernels on the corners of a cube of p players, by the odd degrees they are made of: how much each weighs is
    fitted to the first pairs."""

    def __init__(self, p: int) -> None:
        self.p, self._fitted = p, 0
        self.odd = np.arange(1, min(p, DEGREES) + 1, 2)
        self.whole = _walsh(p, self.odd)  # [d, p + 1], of two corners that differ in so many players
        self.rest = _walsh(p - 1, self.odd - 1)  # [d, p], of the players beside one
        self.weights, self.scale = np.ones(len(self.odd)) / len(self.odd), 1.0

    def prior(self) -> Floats:
        """The covariance of the Shapley values, [p, p], before anything is measured, in units of the scale."""
        between = 4.0 * float(self.weights @ ((self.odd - 1) / self.odd)) / (self.p * max(self.p - 1, 1))
        found = np.full((self.p, self.p), between)
        np.fill_diagonal(found, 4.0 * float((self.weights / self.odd).sum()) / self.p)
        return found

    def fit(self, measured: Floats, noise: Floats, apart: Order) -> None:
        """Take the weights of the degrees, and the variance of it all, under which what was measured is likeliest."""
        n = min(len(measured), FITTED)
        if n <= self._fitted:
            return
        self._fitted, best, measured = n, -np.inf, measured[:n]
        guess = float((measured**2).mean()) + 1e-300
        for fall, prior in FALLS.items():
            weights = fall ** ((self.odd - 1) / 2)
            weights = weights / weights.sum()
            kernel = (weights @ self.whole)[apart[:n, :n]]
            kernel[np.diag_indices(n)] += noise[:n] / guess + JITTER
            root = np.linalg.cholesky(kernel)
            white = np.linalg.solve(root, measured)
            scale = float(white @ white) / n + 1e-300
            likely = prior - 0.5 * n * np.log(scale) - float(np.log(np.diag(root)).sum())
            if likely > best:
                best, self.weights, self.scale = likely, weights, scale


def learned(basis: Basis, z: Floats, half: Floats) -> tuple[Floats, Floats]:
    """Shapley values [p] and their covariance [p, p], from pairs z [k, p] of 1 and -1, and half the difference of their
    scores [k, b] before some normal windows (NaN before the others; the first p + 1 rows before all)."""
    k, p = z.shape
    b = half.shape[1]
    alone = z @ np.linalg.lstsq(z[: p + 1], half[: p + 1], rcond=None)[0]  # [k, b], what windows add by themselves
    rest, heard = half - alone, np.isfinite(half)
    count = heard.sum(axis=1)
    mean = np.where(heard, rest, 0.0).sum(axis=1) / count
    part = (count > 1) & (count < b)
    spread = np.where(heard, (rest - mean[:, None]) ** 2, 0.0).sum(axis=1)[part].sum() / max((count[part] - 1).sum(), 1)
    noise = spread * (1.0 / count - 1.0 / b)  # drawn without being put back
    measured = alone.mean(axis=1) + mean
    apart = ((p - z @ z.T) / 2 + 0.5).astype(np.int64)  # players in which two pairs differ
    basis.fit(measured, noise, apart)
    kernel = (basis.weights @ basis.whole)[apart]
    kernel[np.diag_indices(k)] += noise / basis.scale + JITTER
    others = (z < 0).sum(axis=1, keepdims=True) - (z < 0)  # [k, p] who else is left out
    cross = 2.0 / p * z * (basis.weights @ basis.rest)[others]
    solved = np.linalg.solve(kernel, np.column_stack([measured, cross]))
    scale = float(measured @ solved[:, 0]) / k
    return cross.T @ solved[:, 0], scale * (basis.prior() - cross.T @ solved[:, 1:])


def _walsh(p: int, degrees: Order) -> Floats:
    """The mean product of so many coordinates over two corners of the cube that differ in 0 .. p of them, [d, p + 1]:
    Krawtchouk polynomials, 1 at their beginning."""
    x = np.arange(p + 1.0)
    rows = [np.ones(p + 1), 1.0 - 2.0 * x / max(p, 1)]
    for d in range(1, int(degrees.max(initial=1))):
        rows.append(((p - 2.0 * x) * rows[d] - d * rows[d - 1]) / max(p - d, 1))
    return np.stack([rows[int(d)] for d in degrees])
