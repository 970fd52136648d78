"""Shares of a score among players: the numerics of `attribution`, for any game.

A player is a segment of time of one signal; a coalition keeps its own players and takes the rest from a normal window
(interventional, as nothing is known about how the rest would have been). Signals come and go as a whole, the segments
of a signal one after the other: the share of a signal is its Shapley value whatever the segments, and those of its
segments are the Owen values, which add up to it.

Letters: b normal windows, t rows, s signals, n segments, p = s n players (segments of a signal side by side), k
coalitions.
Sources: Shapley 1953, Contributions to the Theory of Games II; coalition structures, Owen 1977, Mathematical Economics
and Game Theory; sampling by permutations, Castro, Gomez and Tejada 2009, Computers and Operations Research 36, one
normal row for each, Strumbelj and Kononenko 2014, Knowledge and Information Systems 41; a permutation and its reverse,
Mitchell, Cooper, Frank and Holmes 2022, JMLR 23.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import comb

import numpy as np

from gemel.core.explain import Scorer
from gemel.core.values import Bools, Floats

CELLS = 4_000_000
"""Numbers in the windows of one call."""
Order = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Shares:
    """`values` [s, n] add up to `score` less `baseline`; `errors` [s, n] and `whole` [s], of the sums, are standard
    errors, 0 where nothing was drawn by chance."""

    values: Floats
    errors: Floats
    whole: Floats
    score: float
    baseline: float
    evaluations: int


class Game:
    """A window held against normal ones. `segment` [t] is the segment of each row, 0 .. n - 1."""

    def __init__(self, score: Scorer, window: Floats, normal: Floats, segment: Order) -> None:
        self._score, self._window, self._normal, self._segment = score, window, normal, segment
        self.signals, self.segments = window.shape[1], int(segment.max()) + 1
        self.evaluations = 0
        self.top = float(self._scored(window[None])[0])
        self.bottom = self._scored(normal)  # [b]

    def worth(self, kept: Bools, which: Order) -> Floats:
        """Scores [k] of coalitions [k, p], each before the normal window `which` [k]."""
        out = np.empty(len(kept))
        many = max(CELLS // self._window.size, 1)
        for i in range(0, len(kept), many):
            some = kept[i : i + many].reshape(-1, self.signals, self.segments)
            mask = some[:, :, self._segment].transpose(0, 2, 1) if self.segments > 1 else some.transpose(0, 2, 1)
            out[i : i + many] = self._scored(np.where(mask, self._window, self._normal[which[i : i + many]]))
        return out

    def _scored(self, windows: Floats) -> Floats:
        self.evaluations += len(windows)
        return np.asarray(self._score(windows), float)

    # -- all coalitions ------------------------------------------------------------------------------------------------

    def exact(self) -> Shares:
        """By all coalitions of all players before all normal windows."""
        p, b = self.signals * self.segments, len(self._normal)
        code = np.arange(1, 2**p - 1)
        kept = (code[:, None] >> np.arange(p)) & 1 == 1
        worth = np.empty(2**p)
        worth[0], worth[-1] = self.bottom.mean(), self.top
        found = self.worth(np.repeat(kept, b, axis=0), np.tile(np.arange(b), len(kept)))
        worth[1:-1] = found.reshape(-1, b).mean(axis=1)
        values = np.array([self._owen(worth, i) for i in range(p)]).reshape(self.signals, self.segments)
        nothing = np.zeros(values.shape)
        return Shares(values, nothing, nothing.sum(axis=1), self.top, float(worth[0]), self.evaluations)

    def _owen(self, worth: Floats, player: int) -> float:
        signal, own = divmod(player, self.segments)
        others = [g for g in range(self.signals) if g != signal]
        rest = [signal * self.segments + i for i in range(self.segments) if i != own]
        whole = (1 << self.segments) - 1
        share = 0.0
        for outer, w in _subsets([whole << (g * self.segments) for g in others]):
            for inner, v in _subsets([1 << i for i in rest]):
                share += w * v * (worth[outer | inner | 1 << player] - worth[outer | inner])
        return share

    # -- by chance -----------------------------------------------------------------------------------------------------

    def sampled(self, enough: Callable[[Shares], bool], rng: np.random.Generator) -> Shares:
        """By permutations, until it is `enough`: in each round every normal window meets one and its reverse. Rounds
        differ only by chance, which is what the errors are made of."""
        rounds = []  # [b, s, n] each
        while True:
            rounds.append(self._round(rng))
            if len(rounds) < 2:
                continue
            held = np.stack(rounds)
            shares = Shares(
                held.mean(axis=(0, 1)), _error(held), _error(held.sum(axis=3)),
                self.top, float(self.bottom.mean()), self.evaluations,
            )  # fmt: skip
            if enough(shares):
                return shares

    def _round(self, rng: np.random.Generator) -> Floats:
        b, p = len(self._normal), self.signals * self.segments
        order = np.empty((b, p), np.int64)
        for row, signals in zip(order, _orders(self.signals, b, rng), strict=True):
            inside = rng.permuted(np.tile(np.arange(self.segments), (self.signals, 1)), axis=1)
            row[:] = (signals[:, None] * self.segments + inside[signals]).ravel()
        both = np.concatenate([order, order[:, ::-1]])  # [2 b, p]
        which = np.tile(np.arange(b), 2)
        place = np.argsort(both, axis=1)
        kept = place[:, None, :] < np.arange(1, p)[:, None]  # [2 b, p - 1, p], those that have come after so many
        inner = self.worth(kept.reshape(-1, p), np.repeat(which, p - 1)).reshape(2 * b, p - 1)
        steps = np.diff(np.hstack([self.bottom[which, None], inner, np.full((2 * b, 1), self.top)]), axis=1)
        gained = np.take_along_axis(steps, place, axis=1)
        return (0.5 * (gained[:b] + gained[b:])).reshape(b, self.signals, self.segments)


def _orders(count: int, rows: int, rng: np.random.Generator) -> Iterator[Order]:
    """Permutations, so many in a row turned by one place each that every player has been in every place."""
    turn, base = 0, rng.permutation(count)
    for _ in range(rows):
        if turn == count:
            turn, base = 0, rng.permutation(count)
        yield np.roll(base, turn)
        turn += 1


def _subsets(codes: list[int]) -> list[tuple[int, float]]:
    """Every union of `codes`, and the weight that Shapley gives to it."""
    m = len(codes)
    found = []
    for chosen in range(2**m):
        union = sum(code for i, code in enumerate(codes) if chosen >> i & 1)
        found.append((union, 1.0 / ((m + 1) * comb(m, chosen.bit_count()))))
    return found


def _error(rounds: Floats) -> Floats:
    """The standard error of the mean over rounds and windows, [r, b, ...] -> [...]: windows are all there are."""
    r, b = rounds.shape[:2]
    return np.asarray(np.sqrt(rounds.var(axis=0, ddof=1).sum(axis=0) / r) / b)
