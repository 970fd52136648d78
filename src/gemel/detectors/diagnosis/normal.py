"""What is usual: every signal given what its machine is doing, learned from a normal time.

A signal is regressed on the context of its asset: the state that it is in and was in a row ago, for how long it has been
so (exponential means, for what is slow), and what the whole is set to. The fit is robust (Huber weights), ridge, and its
residual is measured in the spread of the state at hand. In a state that the normal time did not hold nothing is judged.

Letters: t rows, c columns, k regressors.
Source: Huber, Robust Statistics (1981), chapter 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gemel.core.values import Bools, Floats
from gemel.detectors.diagnosis.view import View

HUBER, ROUNDS = 1.5, 4
RIDGE = 3.0  # rows' worth
FEW = 15  # rows of a state without which it is not judged
FAR = 12.0  # standard deviations beyond which a residual says no more
SLOW = (30.0, 120.0)  # rows of the exponential means


@dataclass
class Normal:
    """Learned by `fit`; `residuals` then judges rows."""

    view: View
    settings: tuple[str, ...] = ()  # signals that say what the plant is set to
    weights: dict[str, Floats] = field(default_factory=dict)  # asset -> [k, own columns]
    scales: dict[str, Floats] = field(default_factory=dict)  # asset -> [states + 1, own columns]
    kinds: dict[str, Floats] = field(default_factory=dict)  # setting -> its usual values, none: a number
    ranges: dict[str, Floats] = field(default_factory=dict)  # setting -> centre and scale
    centre: Floats = field(default_factory=lambda: np.empty(0))  # of state columns, their usual share
    rows: int = 0

    def fit(self, columns: Floats, settings: Floats) -> None:
        """From rows of a normal time: columns [t, c], settings [t, u]."""
        self.rows = len(columns)
        self.centre = np.nan_to_num(_mean(columns))
        for i, name in enumerate(self.settings):
            held = settings[:, i][np.isfinite(settings[:, i])]
            values = np.unique(held)
            few = 1 < len(values) <= 8
            self.kinds[name] = values if few else np.empty(0)
            self.ranges[name] = np.array([held.mean(), max(held.std(), 1e-9)]) if len(held) else np.array([0.0, 1.0])
        for asset in self.view.assets:
            own = self._numbers(asset)
            if not own:
                continue
            regressors, states = self._context(asset, columns, settings)
            weights = np.zeros((regressors.shape[1], len(own)))
            scales = np.ones((states.shape[1] + 1, len(own)))
            for j, column in enumerate(own):
                weights[:, j], scales[:, j] = _robust(regressors, columns[:, column], states)
            self.weights[asset], self.scales[asset] = weights, scales

    def residuals(self, columns: Floats, settings: Floats) -> Floats:
        """How far off each column is [t, c], in its own spread; NaN where it cannot be judged. States: off their share."""
        found = columns - self.centre
        for asset, weights in self.weights.items():
            own = self._numbers(asset)
            regressors, states = self._context(asset, columns, settings)
            off = columns[:, own] - regressors @ weights
            spread = self.scales[asset][_which(states)]
            with np.errstate(invalid="ignore"):
                found[:, own] = np.clip(off / spread, -FAR, FAR)
        return found

    def _numbers(self, asset: str) -> list[int]:
        return [i for i, c in enumerate(self.view.columns) if c.asset == asset and c.state < 0]

    def _context(self, asset: str, columns: Floats, settings: Floats) -> tuple[Floats, Floats]:
        """Regressors [t, k] of an asset, and its states [t, n]; the whole has the mean state of its parts."""
        place = self.view.columns
        if asset == self.view.whole:
            words = list(dict.fromkeys(c.quantity for c in place if c.state >= 0))
            groups = [[i for i, c in enumerate(place) if c.state >= 0 and c.quantity == w] for w in words]
            states = np.stack([np.nan_to_num(columns[:, g]).mean(axis=1) for g in groups], 1) if groups else None
            hard = np.zeros((len(columns), 0))
        else:
            own = [i for i, c in enumerate(place) if c.asset == asset and c.state >= 0]
            states = np.nan_to_num(columns[:, own]) if own else None
            hard = states if states is not None else np.zeros((len(columns), 0))
        parts = [np.ones((len(columns), 1))]
        if states is not None and states.shape[1]:
            before = np.vstack([states[:1], states[:-1]])
            parts += [states, before, *(_smooth(states, rows) for rows in SLOW)]
        for i, name in enumerate(self.settings):
            value, usual = settings[:, i : i + 1], self.kinds[name]
            if len(usual):
                parts.append((value == usual).astype(float))
            else:
                centre, scale = self.ranges[name]
                parts.append(np.nan_to_num((value - centre) / scale).clip(-3, 3))
        return np.hstack(parts), hard

    def snapshot(self) -> Mapping[str, Any]:
        """What was learned."""
        return {
            "weights": self.weights, "scales": self.scales, "kinds": self.kinds, "ranges": self.ranges,
            "centre": self.centre, "rows": self.rows,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        for name in ("weights", "scales", "kinds", "ranges"):
            setattr(self, name, {k: np.asarray(v) for k, v in state[name].items()})
        self.centre, self.rows = np.asarray(state["centre"]), int(state["rows"])


def _smooth(rows: Floats, span: float) -> Floats:
    """Exponential means [t, n] over about so many rows; they begin at the mean of the first ones."""
    keep = 1.0 - 1.0 / span
    found = np.empty_like(rows)
    held = rows[: int(span)].mean(axis=0)
    for i, row in enumerate(rows):
        held = keep * held + (1 - keep) * row
        found[i] = held
    return found


def _which(states: Floats) -> Any:
    """The place of the state that holds in each row, the last place for none."""
    if not states.shape[1]:
        return np.zeros(len(states), int)
    return np.where(states.any(axis=1), states.argmax(axis=1), states.shape[1])


def _robust(x: Floats, y: Floats, states: Floats) -> tuple[Floats, Floats]:
    """Ridge weights [k] by Huber's iteration, and the spread in each state and in none of them [n + 1]."""
    there: Bools = np.isfinite(y)
    scales = np.full(states.shape[1] + 1, np.nan)
    if there.sum() < FEW:
        return np.zeros(x.shape[1]), scales
    a, b, which = x[there], y[there], _which(states)[there]
    ridge = RIDGE * np.eye(a.shape[1])
    ridge[0, 0] = 1e-9
    middle, wide = float(np.median(b)), float(max(b.std(), 1e-9))
    b = (b - middle) / wide
    weight = np.ones(len(b))
    for _ in range(ROUNDS):
        found = np.linalg.solve((a * weight[:, None]).T @ a + ridge, (a * weight[:, None]).T @ b)
        off = b - a @ found
        scale = max(_mad(off), 1e-6)
        weight = np.minimum(1.0, HUBER * scale / np.maximum(np.abs(off), 1e-12))
    overall = max(float(np.sqrt((np.clip(off, -4 * scale, 4 * scale) ** 2).mean())), 1e-4)
    for i in range(len(scales)):
        inside = off[which == i]
        if len(inside) >= FEW:
            held = max(_mad(inside), float(np.sqrt((np.clip(inside, -3 * overall, 3 * overall) ** 2).mean())) * 0.5)
            scales[i] = max(held, 0.2 * overall)
    if not states.shape[1]:
        scales[:] = overall
    found, scales = found * wide, scales * wide
    found[0] += middle
    return found, scales


def _mad(values: Floats) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if len(values) else 0.0


def _mean(values: Floats) -> Floats:
    there = np.isfinite(values)
    return np.asarray(np.where(there, values, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1))


def chosen_settings(names: Sequence[str], roles: Mapping[str, str], types: Mapping[str, str]) -> tuple[str, ...]:
    """The signals that say what the plant is set to: controlled and known numbers and states."""
    return tuple(n for n in names if roles[n] in ("controlled", "known") and types[n] in ("number", "state"))
