"""Which signals, and when, a score comes from."""

from __future__ import annotations

import zlib

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.explain import Explanation, Question, Sentence, listed
from gemel.core.registry import declared
from gemel.core.units import stamp
from gemel.core.values import Floats, Times
from gemel.explainers.answer import nothing, thinned
from gemel.explainers.game import Game, Shares

EXACT = 12
"""Players up to which all coalitions may be tried."""
FEW = 4096
"""Windows up to which all coalitions are tried, and no fewer."""
MOST = 60
"""Players: where there are many signals, time is cut into fewer segments."""


@declared
class Attribution:
    """Shares of what is strange among signals and segments of time, as Shapley values (see `game`).

    A share is by how much the score rises, on average over all orders, when what really came takes the place of what
    is normal; shares add up to the score less what is normal.

    - `segments`: of time, that the window is cut into (fewer where there are many signals).
    - `windows`: normal windows that it is held against, at most.
    - `error`: it goes on until no signal's share has a standard error above this part of the whole; 0 tries all
      coalitions of up to twelve players.
    - `evaluations`: windows that may be judged, about.
    """

    def __init__(self, segments: int = 4, windows: int = 32, error: float = 0.01, evaluations: int = 12_000) -> None:
        if segments < 1 or windows < 1 or error < 0 or evaluations < 1:
            raise ConfigError(
                ["attribution: segments, windows and evaluations must be 1 or more, error 0 or more"],
                "segments = 4, windows = 32, error = 0.01",
            )
        self.segments, self.windows, self.error, self.evaluations = segments, windows, error, evaluations

    def explain(self, question: Question) -> Explanation:
        normal = thinned(question.background, self.windows)
        rows = len(question.values)
        if not len(normal) or not rows:
            return nothing("attribution", "shares", question)
        count = min(self.segments, max(MOST // question.values.shape[1], 1), rows)
        segment = np.arange(rows) * count // rows
        game = Game(question.score, question.values, normal, segment)
        every = 2**game.players * len(normal)
        if game.players <= EXACT and (every <= FEW or not self.error):
            shares = game.exact()
        else:
            rng = np.random.default_rng(zlib.crc32(question.finding.id.encode()))
            shares = game.sampled(self._lack, self.evaluations, rng)
        return self._told(question, shares, edges(question.time, segment))

    def _lack(self, shares: Shares) -> float:
        """How many times too large the largest error is."""
        allowed = max(self.error, 1e-6) * max(abs(shares.score - shares.baseline), 1e-12)
        return float(shares.whole.max()) / allowed

    def _told(self, question: Question, shares: Shares, ends: Times) -> Explanation:
        sums = shares.values.sum(axis=0)
        order = np.argsort(-sums, kind="stable")
        names = [question.signals[i] for i in order]
        segments = shares.values.T[order]
        return Explanation(
            "attribution", question.finding.id, "shares", shares.score, shares.baseline,
            _sentence(question, names, segments, ends, shares.score - shares.baseline),
            dict(zip(names, sums[order].tolist(), strict=True)),
            dict(zip(names, shares.whole[order].tolist(), strict=True)),
            ends, segments, evaluations=shares.evaluations,
        )  # fmt: skip


def _sentence(
    question: Question, names: list[str], segments: Floats, ends: Times, whole: float
) -> tuple[Sentence, ...]:
    sums = segments.sum(axis=1)
    if whole <= 0 or sums[0] <= 0:
        return (Sentence("What came is no stranger than a normal time.", "所见情况并不比正常时段更异常。"),)
    lead = [i for i in range(len(names)) if sums[i] >= max(0.5 * sums[0], 0.1 * whole)][:3] or [0]
    part = min(100.0 * float(sums[lead].sum()) / whole, 100.0)
    low, high = _most(segments[lead].sum(axis=0))
    named = [names[i] for i in lead]
    words: dict[str, str | float] = {
        "names": listed(named), "chinese": listed(named, "zh"), "part": f"{part:.0f}",
        "since": stamp(int(ends[low]), True), "until": stamp(int(ends[high]), True),
    }  # fmt: skip
    verb = "accounts" if len(lead) == 1 else "account"
    told = [
        Sentence(f"{{names}} {verb} for {{part}} % of what is strange.", "{chinese}解释了异常程度的{part}%。", words)
    ]
    if segments.shape[1] > 1 and high - low < segments.shape[1]:
        told.append(
            Sentence("Most of it lies between {since} and {until} UTC.", "主要出现在UTC {since}至{until}。", words)
        )
    return tuple(told)


def _most(by_time: Floats) -> tuple[int, int]:
    """The shortest stretch of segments that holds 60 % of what there is, as [low, high)."""
    n, held = len(by_time), np.maximum(by_time, 0.0)
    for length in range(1, n + 1):
        sums = np.convolve(held, np.ones(length), "valid")
        if sums.max() >= 0.6 * held.sum():
            low = int(sums.argmax())
            return low, low + length
    return 0, n


def edges(time: Times, segment: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Times:
    """Where segments begin, and where the last one ends: [n + 1]."""
    begins = time[np.flatnonzero(np.diff(segment, prepend=-1))]
    step = time[-1] - time[-2] if len(time) > 1 else 0
    return np.append(begins, time[-1] + step)
