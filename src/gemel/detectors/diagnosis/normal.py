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

HUBER, ROUNDS = 1.5, 3
RIDGE = 3.0  # rows' worth
FEW = 15  # rows of a state without which it is not judged
FAR = 12.0  # standard deviations beyond which a residual says no more
SLOW = (30.0, 120.0)  # rows of the exponential means


@dataclass(frozen=True, slots=True)
class Memory:
    """What rows need of those before them: exponential means of the states [..., t, spans, n] (their last one counts),
    the last row [..., 1, c], and what each asset was set to last [..., u]."""

    slow: Floats
    before: Floats
    set_to: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Context:
    """Regressors [..., t, k] of an asset, its states [..., t, n], what it is set to [..., t, u], and whether the normal
    time held that [..., t]."""

    regressors: Floats
    states: Floats
    set_to: Floats
    known: Bools


@dataclass
class Normal:
    """Learned by `fit`; `residuals` then judges rows. `settings` are signals that say what the plant is set to; an
    asset with a state called `changeover` takes them over when it is in it, any other at once."""

    view: View
    settings: tuple[str, ...] = ()
    changeover: str = "setup"
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
        memory = self._begin(columns, settings)
        for asset in self.view.assets:
            own = self._numbers(asset)
            if not own:
                continue
            context = self._context(asset, columns, settings, memory)
            pairs = [_robust(context.regressors, columns[:, column], context.states) for column in own]
            self.weights[asset] = np.stack([weights for weights, _ in pairs], axis=1)
            self.scales[asset] = np.stack([scales for _, scales in pairs], axis=1)

    def residuals(self, columns: Floats, settings: Floats, memory: Memory | None = None) -> tuple[Floats, Memory]:
        """How far off each column is [..., t, c], in its own spread, NaN where it cannot be judged; states: off their
        share. `memory` is what the call for the rows before gave back."""
        held = self._begin(columns, settings) if memory is None else self._follow(columns, memory)
        found = columns - self.centre
        set_to = {}
        for asset in self.view.assets:
            context = self._context(asset, columns, settings, held)
            set_to[asset] = context.set_to[..., -1, :]
            if asset not in self.weights:
                continue
            own = self._numbers(asset)
            off = columns[..., own]
            for i, weights in enumerate(
                self.weights[asset]
            ):  # to the last bit the same, however many rows come at once
                off = off - context.regressors[..., i, None] * weights
            off = np.where(context.known[..., None], off, np.nan)
            with np.errstate(invalid="ignore"):
                found[..., own] = np.clip(off / self.scales[asset][_which(context.states)], -FAR, FAR)
        return found, Memory(held.slow[..., -1:, :, :], columns[..., -1:, :], set_to)

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

    def _begin(self, columns: Floats, settings: Floats) -> Memory:
        """Without a past: exponential means begin at the mean of the first rows, settings as they are at first."""
        states = np.nan_to_num(columns[..., self._states()])
        first = np.stack([states[..., : int(rows), :].mean(axis=-2) for rows in SLOW], axis=-2)
        set_to = dict.fromkeys(self.view.assets, settings[..., 0, :])
        return self._follow(columns, Memory(first[..., None, :, :], columns[..., :1, :], set_to))

    def _follow(self, columns: Floats, memory: Memory) -> Memory:
        """The same with the exponential means of these rows."""
        states = np.nan_to_num(columns[..., self._states()])
        keep = 1.0 - 1.0 / np.array(SLOW)[:, None]
        last = memory.slow[..., -1, :, :]
        found = np.empty((*states.shape[:-1], len(SLOW), states.shape[-1]))
        for i in range(states.shape[-2]):
            last = keep * last + (1 - keep) * states[..., i, None, :]
            found[..., i, :, :] = last
        return Memory(found, memory.before, memory.set_to)

    def _numbers(self, asset: str) -> list[int]:
        return [i for i, c in enumerate(self.view.columns) if c.asset == asset and c.state < 0]

    def _states(self) -> list[int]:
        return [i for i, c in enumerate(self.view.columns) if c.state >= 0]

    def _context(self, asset: str, columns: Floats, settings: Floats, memory: Memory) -> Context:
        """What an asset is doing; the whole has the mean state of its parts, and none of its own."""
        place, states = self.view.columns, self._states()
        words = list(dict.fromkeys(place[i].quantity for i in states))
        if asset == self.view.whole:
            groups = [[j for j, i in enumerate(states) if place[i].quantity == word] for word in words]
        else:
            groups = [[j] for j, i in enumerate(states) if place[i].asset == asset]
        now = np.nan_to_num(columns[..., states])
        past = np.concatenate([np.nan_to_num(memory.before[..., states]), now[..., :-1, :]], axis=-2)
        parts = [np.ones((*columns.shape[:-1], 1))]
        for group in groups:
            parts += [now[..., group].mean(-1)[..., None], past[..., group].mean(-1)[..., None]]
            parts.append(memory.slow[..., group].mean(-1))
        own = [] if asset == self.view.whole else [g[0] for g in groups]
        over = [j for j in own if place[states[j]].quantity.endswith(f"={self.changeover}")]
        set_to = _held(settings, now[..., over[0]] > 0, memory.set_to[asset]) if over else settings
        usual = [max(own, key=lambda j: self.centre[states[j]])] if own else []
        known = np.ones(columns.shape[:-1], bool)
        for i, name in enumerate(self.settings):
            value = set_to[..., i : i + 1]
            if len(self.kinds[name]):
                each = (value == self.kinds[name]).astype(float)
                known &= each.any(axis=-1)
                parts += [each, *(each * now[..., [j]] for j in usual)]
            elif len(self.ranges[name]):
                centre, scale = self.ranges[name]
                parts.append(np.nan_to_num((value - centre) / max(scale, 1e-9)).clip(-3, 3))
        return Context(np.concatenate(parts, axis=-1), now[..., own], set_to, known)

    def snapshot(self) -> Mapping[str, Any]:
        """What was learned."""
        return {k: getattr(self, k) for k in ("weights", "scales", "kinds", "ranges", "centre")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        for name in ("weights", "scales", "kinds", "ranges"):
            setattr(self, name, {k: np.asarray(v) for k, v in state[name].items()})
        self.centre = np.asarray(state["centre"])


def _held(values: Floats, taken: Bools, first: Floats) -> Floats:
    """Values [..., t, u] as they were when they were last `taken` [..., t]; before that `first` [..., u]."""
    taken = taken & np.isfinite(values).all(axis=-1)
    place = np.maximum.accumulate(np.where(taken, np.arange(taken.shape[-1]), -1), axis=-1)[..., None]
    found = np.take_along_axis(values, np.maximum(place, 0), axis=-2)
    return np.asarray(np.where(place < 0, first[..., None, :], found))


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
        weighed = (a * weight[:, None]).T
        found = np.linalg.solve(weighed @ a + ridge, weighed @ b)
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
