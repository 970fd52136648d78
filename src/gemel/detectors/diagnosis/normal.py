"""What is usual: every signal given what its machine is doing, learned from a normal time.

A signal is regressed on the context of its asset: the state that it is in and was in a row ago, for how long it has
been so (exponential means, for what is slow), and what the whole is set to. The fit is robust (Huber weights), ridge,
and its residual is measured in the spread of the state at hand. In a state that the normal time did not hold nothing is
judged.

Letters: t rows, c columns, u settings, k regressors, n states, b windows (any number of leading axes).
Source: Huber, Robust Statistics (1981), chapter 7.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """Learned by `fit`; `residuals` then judges rows. `settings` are signals that say what the plant is set to."""

    view: View
    settings: tuple[str, ...] = ()
    weights: dict[str, Floats] = field(default_factory=dict)  # asset -> [k, own numbers]
    scales: dict[str, Floats] = field(default_factory=dict)  # asset -> [n + 1, own numbers]
    kinds: dict[str, Floats] = field(default_factory=dict)  # setting -> its usual values; none: a number
    ranges: dict[str, Floats] = field(default_factory=dict)  # setting -> centre and scale; none: it never moved
    centre: Floats = field(default_factory=lambda: np.empty(0))  # [c], of states their usual share

    def fit(self, columns: Floats, settings: Floats) -> None:
        """From rows of a normal time: columns [t, c], settings [t, u]."""
        self.weights, self.scales = {}, {}
        there = np.isfinite(columns)
        count = np.maximum(there.sum(axis=0), 1)
        self.centre = np.where(there, columns, 0.0).sum(axis=0) / count
        for i, name in enumerate(self.settings):
            held = settings[:, i][np.isfinite(settings[:, i])]
            values = np.unique(held)
            self.kinds[name] = values if 1 < len(values) <= 8 else np.empty(0)
            self.ranges[name] = np.array([held.mean(), held.std()]) if len(values) > 8 else np.empty(0)
        slow, _ = self.slow(columns)
        for asset in self.view.assets:
            own = self._numbers(asset)
            if not own:
                continue
            regressors, states = self._context(asset, columns, settings, slow, columns[:1])
            pairs = [_robust(regressors, columns[:, column], states) for column in own]
            self.weights[asset] = np.stack([weights for weights, _ in pairs], axis=1)
            self.scales[asset] = np.stack([scales for _, scales in pairs], axis=1)

    def residuals(
        self, columns: Floats, settings: Floats, memory: tuple[Floats, Floats] | None = None
    ) -> tuple[Floats, tuple[Floats, Floats]]:
        """How far off each column is [..., t, c], in its own spread, NaN where it cannot be judged; states: off their
        share. `memory` is what the call for the rows before gave back."""
        slow, last = self.slow(columns, None if memory is None else memory[0])
        before = columns[..., :1, :] if memory is None else memory[1]
        found = columns - self.centre
        for asset, weights in self.weights.items():
            own = self._numbers(asset)
            regressors, states = self._context(asset, columns, settings, slow, before)
            off = columns[..., own] - regressors @ weights
            with np.errstate(invalid="ignore"):
                found[..., own] = np.clip(off / self.scales[asset][_which(states)], -FAR, FAR)
        return found, (last, columns[..., -1:, :])

    def aside(self, columns: Floats) -> Bools:
        """Rows in which a column's asset is not in its usual state, [..., t, c]; none for one without states."""
        found = np.zeros(columns.shape, bool)
        place, states = self.view.columns, self._states()
        for asset in self.view.parts:
            own = [i for i in states if place[i].asset == asset]
            if own:
                usual = own[int(np.argmax(self.centre[own]))]
                found[..., self._numbers(asset)] = (columns[..., usual] == 0)[..., None]
        return found

    def slow(self, columns: Floats, last: Floats | None = None) -> tuple[Floats, Floats]:
        """Exponential means of the states [..., t, spans, c'], and where they ended; without `last` they begin at the
        mean of the first rows."""
        states = np.nan_to_num(columns[..., self._states()])
        keep = 1.0 - 1.0 / np.array(SLOW)[:, None]
        if last is None:
            last = np.stack([states[..., : int(rows), :].mean(axis=-2) for rows in SLOW], axis=-2)
        found = np.empty((*states.shape[:-1], len(SLOW), states.shape[-1]))
        for i in range(states.shape[-2]):
            last = keep * last + (1 - keep) * states[..., i, None, :]
            found[..., i, :, :] = last
        return found, last

    def _numbers(self, asset: str) -> list[int]:
        return [i for i, c in enumerate(self.view.columns) if c.asset == asset and c.state < 0]

    def _states(self) -> list[int]:
        return [i for i, c in enumerate(self.view.columns) if c.state >= 0]

    def _context(
        self, asset: str, columns: Floats, settings: Floats, slow: Floats, before: Floats
    ) -> tuple[Floats, Floats]:
        """Regressors [..., t, k] of an asset and its states [..., t, n]; the whole has the mean state of its parts, and
        none of its own."""
        place, states = self.view.columns, self._states()
        words = list(dict.fromkeys(place[i].quantity for i in states))
        if asset == self.view.whole:
            groups = [[j for j, i in enumerate(states) if place[i].quantity == word] for word in words]
        else:
            groups = [[j] for j, i in enumerate(states) if place[i].asset == asset]
        now = np.nan_to_num(columns[..., states])
        past = np.concatenate([np.nan_to_num(before[..., states]), now[..., :-1, :]], axis=-2)
        shape = columns.shape[:-1]
        parts = [np.ones((*shape, 1))]
        for group in groups:
            parts += [now[..., group].mean(-1)[..., None], past[..., group].mean(-1)[..., None]]
            parts.append(slow[..., group].mean(-1))
        for i, name in enumerate(self.settings):
            value = settings[..., i : i + 1]
            if len(self.kinds[name]):
                parts.append((value == self.kinds[name]).astype(float))
            elif len(self.ranges[name]):
                centre, scale = self.ranges[name]
                parts.append(np.nan_to_num((value - centre) / max(scale, 1e-9)).clip(-3, 3))
        own = [] if asset == self.view.whole else [g[0] for g in groups]
        return np.concatenate(parts, axis=-1), now[..., own]

    def snapshot(self) -> Mapping[str, Any]:
        """What was learned."""
        return {k: getattr(self, k) for k in ("weights", "scales", "kinds", "ranges", "centre")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        for name in ("weights", "scales", "kinds", "ranges"):
            setattr(self, name, {k: np.asarray(v) for k, v in state[name].items()})
        self.centre = np.asarray(state["centre"])


def _which(states: Floats) -> Any:
    """The place of the state that holds in each row, the last place for none."""
    count = states.shape[-1]
    if not count:
        return np.zeros(states.shape[:-1], int)
    return np.where(states.any(axis=-1), states.argmax(axis=-1), count)


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
    return np.asarray(found, float), np.asarray(scales, float)


def _mad(values: Floats) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if len(values) else 0.0
