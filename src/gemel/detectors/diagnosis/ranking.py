"""From what is seen to ranked candidates: known cases, rules, and a hint from other detectors, as odds that multiply.

Letters: a assets, c causes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gemel.core.values import Floats
from gemel.detectors.diagnosis.classifier import Known
from gemel.detectors.diagnosis.rules import Rule, said
from gemel.detectors.diagnosis.sight import Eyes

SMOOTH = 0.5
"""How much of the odds of the judgement before stays."""
HINT = 5.0
"""How many times as likely a cause becomes on an asset that another detector has found something about."""
RULE_ONLY = math.log(1 / 20)
"""Log-odds of a cause that only rules know, before they speak."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Ranked:
    """Candidates with their probabilities, most probable first: (probability, asset, cause, place in what is known or
    None). `trouble` is the probability that anything is wrong; `odds` are those of what is known, smoothed [a, c]."""

    candidates: tuple[tuple[float, int, str, tuple[int, int] | None], ...]
    trouble: float
    fits: bool
    odds: Floats | None
    assets: tuple[str, ...]
    odd: int  # the asset that is farthest off
    off: float  # and how far, in standard deviations of a row
    known: Known | None
    seen: Floats

    @property
    def names(self) -> list[str]:
        """All candidates, as findings are called."""
        return [said(self.assets[asset], cause) for _, asset, cause, _ in self.candidates]

    @property
    def name(self) -> str:
        """Of the finding."""
        if not self.fits:
            return UNKNOWN
        _, asset, cause, _ = self.candidates[0]
        return said(self.assets[asset], cause)

    @property
    def subject(self) -> str:
        """The asset it is about."""
        return self.assets[self.candidates[0][1] if self.fits else self.odd]

    @property
    def top(self) -> float:
        """How probable the first candidate is, given that something is wrong; of "unknown", that none is right."""
        first = self.candidates[0][0] / max(self.trouble, 1e-12) if self.candidates else 0.0
        return first if self.fits else 1.0 - first * 0.5

    @property
    def score(self) -> float:
        """Log-odds of trouble."""
        p = min(max(self.trouble, 1e-12), 1 - 1e-12)
        return math.log(p / (1 - p))

    def shown(self, most: int) -> dict[str, float]:
        """The first candidates as evidence, given that something is wrong."""
        whole = max(self.trouble, 1e-12)
        found = {f"P({said(self.assets[a], cause)})": p / whole for p, a, cause, _ in self.candidates[:most]}
        if not self.fits:
            found = {f"P({UNKNOWN})": self.top} | {k: v * (1 - self.top) for k, v in found.items()}
        return {k: v for k, v in found.items() if v >= 0.01}

    def signals(self, eyes: Eyes, most: int) -> dict[str, float]:
        """What each signal adds to the first candidate, as shares of what speaks for it."""
        place = self.candidates[0][3] if self.candidates else None
        if place is None or self.known is None:
            return {}
        adds: dict[str, float] = {}
        for name, size in zip(eyes.names(place[0]), self.known.contributions(self.seen, *place), strict=True):
            if name:
                adds[name] = adds.get(name, 0.0) + float(size)
        good = {n: v for n, v in adds.items() if v > 0}
        total = sum(good.values())
        lead = sorted(good.items(), key=lambda one: -one[1])[:most]
        return {n: v / total for n, v in lead if v >= 0.03 * total}


def rank(
    eyes: Eyes, known: Known | None, rules: Sequence[Rule], subjects: Sequence[str], before: Floats | None
) -> Ranked:
    """The candidates now. `subjects` of other detectors' findings are hints; `before`: the odds of last time."""
    seen, assets = eyes.seen(), eyes.view.assets
    odds = None
    held: dict[tuple[int, str], float] = {}
    place: dict[tuple[int, str], tuple[int, int]] = {}
    if known is not None:
        odds = known.log_odds(seen)
        if before is not None and before.shape == odds.shape:
            fresh = np.where(np.isfinite(odds), SMOOTH * before + (1 - SMOOTH) * odds, odds)
            still = np.full(len(assets), True) if eyes.halted() else eyes.standing()
            odds = np.where(still[:, None], before, fresh)  # one that is down shows nothing, others that it is down
        for i, j in zip(*np.nonzero(np.isfinite(odds)), strict=True):
            held[int(i), known.causes[j]] = float(odds[i, j])
            place[int(i), known.causes[j]] = (int(i), int(j))
    for rule in rules:
        key = (assets.index(rule.asset), rule.cause)
        held[key] = held.get(key, RULE_ONLY) + rule.weight * math.log(10) * rule.truth(eyes.truth)
    hinted = {_owner(eyes, subject) for subject in subjects}
    odds_of = {k: v + (math.log(HINT) if k[0] in hinted else 0.0) for k, v in held.items()}
    top = max(odds_of.values(), default=0.0)
    whole = math.exp(-max(top, 0.0)) + sum(math.exp(v - max(top, 0.0)) for v in odds_of.values())
    ps = {k: math.exp(v - max(top, 0.0)) / whole for k, v in odds_of.items()}
    trouble = min(sum(ps.values()), 1.0)
    ordered = tuple((p, a, cause, place.get((a, cause))) for (a, cause), p in sorted(ps.items(), key=lambda o: -o[1]))
    fits = _fits(known, seen, ordered, trouble)
    odd = eyes.odd() if subjects or not fits else np.zeros(len(assets))  # nobody asks for it otherwise
    return Ranked(ordered, trouble, fits, odds, assets, int(np.argmax(odd)), float(odd.max()), known, seen)


def _fits(
    known: Known | None, seen: Floats, ordered: Sequence[tuple[float, int, str, tuple[int, int] | None]], trouble: float
) -> bool:
    """Whether the first candidate is anything like what is there: likely enough, and like its known cases."""
    if not ordered or ordered[0][0] < 0.25 * max(trouble, 0.2):
        return False
    place = ordered[0][3]
    return place is None or known is None or known.fits(seen, *place) <= 1.0


def _owner(eyes: Eyes, subject: str) -> int:
    """The place of the asset that a finding is about, -1 for none."""
    assets = eyes.view.assets
    if subject in assets:
        return assets.index(subject)
    owners = [c.asset for c in eyes.view.columns if c.signal == subject]
    return assets.index(owners[0]) if owners else -1
