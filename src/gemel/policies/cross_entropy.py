"""Searching plans: what a control may do, how plans are ranked, and the search itself.

Letters: c controls, b blocks, p plans, m members.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from gemel.core.errors import InputError
from gemel.core.values import Bools, Floats, Signal

ELITE = 0.1  # share of a round's plans that the next round is drawn around


@dataclass(frozen=True, slots=True)
class Choice:
    """The values a control may take: a list in order, or the whole range between two of them."""

    name: str
    values: Floats
    range: bool

    @staticmethod
    def of(row: tuple[str, Any]) -> Choice:
        """From a twin file: a name and `[0, 1, 2]` or `{ low = 0, high = 1 }`."""
        name, allowed = row
        if isinstance(allowed, Mapping) and set(allowed) == {"low", "high"} and allowed["low"] < allowed["high"]:
            return Choice(name, np.array([allowed["low"], allowed["high"]], np.float64), True)
        if isinstance(allowed, Sequence) and not isinstance(allowed, str) and len(allowed):
            return Choice(name, np.array(sorted(allowed), np.float64), False)
        raise InputError(f"controls: '{name}' needs its values [0, 1, 2] or a range {{ low = 0, high = 1 }}")

    @staticmethod
    def from_signal(signal: Signal) -> Choice:
        """Every state of a signal that has states, else the range between its limits."""
        if signal.states:
            return Choice(signal.name, np.arange(len(signal.states), dtype=np.float64), False)
        if signal.low is None or signal.high is None:
            raise InputError(f"controlled signal '{signal.name}' has no limits to choose between")
        return Choice.of((signal.name, {"low": signal.low, "high": signal.high}))

    @property
    def grain(self) -> float:
        """The least standard deviation of a draw, as a part of the way: it keeps neighbours of a list in sight."""
        return 0.001 if self.range else 0.4 / max(len(self.values) - 1, 1)

    def nearest(self, value: float) -> float:
        """The allowed value next to `value`."""
        if self.range:
            return float(np.clip(value, *self.values))
        return float(self.values[np.argmin(np.abs(self.values - value))])

    def at(self, part: Floats) -> Floats:
        """Values at `part` of the way, 0 .. 1, from the least to the most."""
        part = np.clip(part, 0.0, 1.0)
        if self.range:
            low, high = self.values
            return np.asarray(low + part * (high - low))
        return self.values[np.rint(part * (len(self.values) - 1)).astype(np.int64)]

    def part(self, value: Floats) -> Floats:
        """How far along each value is, 0 .. 1."""
        if self.range:
            low, high = self.values
            return np.asarray((value - low) / (high - low))
        return np.searchsorted(self.values, value) / max(len(self.values) - 1, 1)


@dataclass(frozen=True, slots=True)
class Scores:
    """What plans promise: each array is [p]. `chance` is the share of members that keep every constraint all along,
    `margin` what the asked-for share of them keeps to spare (negative: not allowed), `overshoot` the mean over the
    members of the worst a constraint is broken by."""

    cost: Floats
    chance: Floats
    margin: Floats
    overshoot: Floats

    @staticmethod
    def of(cost: Floats, margin: Floats, probability: float) -> Scores:
        """From costs [p] and the smallest margin [p, m] of each path, negative where a constraint is broken."""
        margin = np.where(np.isnan(margin), -np.inf, margin)
        chance = (margin >= 0).mean(axis=1)
        spared = int((1 - probability) * margin.shape[1] + 1e-9)  # how many members may break one
        overshoot = np.maximum(-margin, 0.0).mean(axis=1)
        return Scores(np.where(np.isnan(cost), np.inf, cost), chance, np.sort(margin)[:, spared], overshoot)

    @property
    def allowed(self) -> Bools:
        return self.margin >= 0

    def order(self) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        """Best first: allowed plans by cost, then the others by overshoot."""
        return np.lexsort((self.cost, np.where(self.allowed, 0.0, self.overshoot), ~self.allowed))


def search(
    score: Callable[[Floats], Scores],
    choices: Sequence[Choice],
    starts: Floats,
    samples: int,
    iterations: int,
    rng: np.random.Generator,
) -> Floats:
    """The best plan [b, c] found; `starts` [p, b, c] are tried too.

    All plans are tried where there are no more than `samples * iterations`. Otherwise a normal distribution a block
    and control, over the way from the least to the most of the control, is fitted to the best plans of each round.
    """
    blocks = starts.shape[1]
    if not choices:
        return np.asarray(starts[0])
    finite = not any(c.range for c in choices)
    if finite and np.prod([float(len(c.values)) ** blocks for c in choices]) <= samples * iterations:
        table = list(product(*(c.values for _ in range(blocks) for c in choices)))
        plans = np.array(table).reshape(len(table), blocks, len(choices))
        return np.asarray(plans[score(plans).order()[0]])
    mean, spread = np.full(starts.shape[1:], 0.5), np.full(starts.shape[1:], 0.5)
    best = starts
    for _ in range(iterations):
        draw = rng.normal(mean, spread, (samples, *mean.shape))
        drawn = np.stack([c.at(draw[..., i]) for i, c in enumerate(choices)], axis=-1)
        plans = np.concatenate([best, drawn])
        elite = plans[score(plans).order()[: max(2, round(ELITE * samples))]]
        part = np.stack([c.part(elite[..., i]) for i, c in enumerate(choices)], axis=-1)
        mean, spread = part.mean(axis=0), np.maximum(part.std(axis=0), [c.grain for c in choices])
        best = elite[:1]
    return np.asarray(best[0])
