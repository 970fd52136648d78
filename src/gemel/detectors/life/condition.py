"""What is usual for a fleet: its operating conditions, and each channel's level and spread under each of them.

Letters: t rows, s settings of operation, c channels, k conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gemel.core.values import Bools, Floats, Ints

APART = 8.0
"""Conditions are those groups of settings whose centres are so many times further apart than they are wide."""
MOST = 12
"""Conditions looked for, at most."""
MOVES = 1.5
"""A channel tells of wear if it moves from a unit's first rows to its last so many times as far as chance would."""
EDGE = 10
"""Rows at either end of a life that are compared."""


@dataclass(frozen=True)
class Usual:
    """How rows of settings and channels become deviations from what is usual; part of an artifact's card."""

    channels: tuple[str, ...]
    settings: tuple[str, ...]
    middle: tuple[float, ...]  # of each setting, [s]
    width: tuple[float, ...]  # [s]
    centres: tuple[tuple[float, ...], ...]  # of the conditions, scaled, [k, s]
    reach: float  # of a condition: what lies further from every centre was never trained on
    level: tuple[tuple[float, ...], ...]  # of each channel under each condition, [k, c]
    spread: tuple[tuple[float, ...], ...]  # [k, c]
    low: tuple[float, ...]  # of the deviations seen, [c]
    high: tuple[float, ...]
    still: tuple[int, ...]  # the most rows a channel has stood still, [c]

    def condition(self, settings: Floats) -> Ints:
        """The condition of rows of settings [t, s]; -1 for one never trained on."""
        if not self.settings:
            return np.zeros(len(settings), np.int32)
        near, place = _nearest((settings - np.array(self.middle)) / np.array(self.width), np.array(self.centres))
        return np.where(np.sqrt(near) <= self.reach, place, -1).astype(np.int32)

    def deviations(self, settings: Floats, values: Floats) -> Floats:
        """Rows [t, s] and [t, c] as deviations [t, c]; NaN where missing, or under a condition never trained on."""
        place = self.condition(settings)
        found = (values - np.array(self.level)[place]) / np.array(self.spread)[place]
        return np.where((place >= 0)[:, None], found, np.nan)


def usual(settings: Sequence[Floats], values: Sequence[Floats], names: Sequence[str], of: Sequence[str]) -> Usual:
    """Fit to a fleet's units, each [t, s] and [t, c] from new to failure. Channels of `names` that stand still, or that
    do not tell a unit that is new from one that is worn, are left out; `of` names the settings."""
    rows, whole = np.vstack(settings), np.vstack(values)
    middle, width = rows.mean(axis=0), rows.std(axis=0)
    width = np.where(width > 1e-9 * np.maximum(np.abs(middle), 1.0), width, 1.0)
    scaled = (rows - middle) / width
    centres = conditions(scaled)
    near, place = _nearest(scaled, centres)
    k = len(centres)
    level = np.array([np.nanmean(whole[place == i], axis=0) for i in range(k)])
    spread = np.array([np.nanstd(whole[place == i], axis=0) for i in range(k)])
    alive = spread > 1e-6 * np.maximum(np.abs(level), 1e-3)
    spread = np.where(alive, spread, 1.0)
    found = (whole - level[place]) / spread[place]
    starts = np.cumsum([0, *map(len, values)])
    units = [found[a:b] for a, b in pairwise(starts)]
    keep = np.flatnonzero((alive.mean(axis=0) > 0.5) & (moves(units) > MOVES)).tolist()
    low, high = np.nanquantile(found[:, keep], [0.0005, 0.9995], axis=0) if keep else np.empty((2, 0))
    return Usual(
        tuple(names[i] for i in keep), tuple(of), tuple(middle.tolist()), tuple(width.tolist()),
        tuple(tuple(c) for c in centres.tolist()), float(3.0 * np.sqrt(near.max(initial=0.0)) + 1e-6),
        tuple(tuple(r) for r in level[:, keep].tolist()), tuple(tuple(r) for r in spread[:, keep].tolist()),
        tuple(low.tolist()), tuple(high.tolist()),
        tuple(int(max(standing(v[:, keep])[:, i].max() for v in values)) for i in range(len(keep))),
    )  # fmt: skip


def conditions(scaled: Floats, rows: int = 4000) -> Floats:
    """The centres [k, s] of the conditions in scaled settings [n, s]: as many groups as stand clearly apart, else one.

    k-means from the points that are furthest apart (Gonzalez 1985), on some rows.
    """
    some = scaled[:: max(1, len(scaled) // rows)]
    best = some.mean(axis=0, keepdims=True)
    for k in range(2, MOST + 1):
        places = [0]
        for _ in range(k - 1):
            places.append(int(_nearest(some, some[places])[0].argmax()))
        centres = some[places]
        for _ in range(20):
            near, place = _nearest(some, centres)
            centres = np.array([some[place == i].mean(axis=0) if (place == i).any() else centres[i] for i in range(k)])
        near, _ = _nearest(some, centres)
        gap = np.sqrt(((centres[:, None] - centres) ** 2).sum(axis=2)) + np.diag(np.full(k, np.inf))
        if gap.min() > APART * max(float(np.sqrt(near.mean())), 1e-9):
            best = centres
    return best


def moves(units: Sequence[Floats]) -> Floats:
    """How far each channel [c] moves from the first rows of a unit to its last, as a multiple of chance."""
    off, noise = [], []
    for x in units:
        if len(x) >= 3 * EDGE:
            off.append(np.nanmean(x[-EDGE:], axis=0) - np.nanmean(x[:EDGE], axis=0))
            noise.append(np.nanmean(np.diff(x, axis=0) ** 2, axis=0) / 2)
    if not off:
        return np.full(units[0].shape[1], np.inf)
    chance = np.sqrt(np.nanmean(noise, axis=0) * 2 / EDGE)
    return np.asarray(np.sqrt(np.nanmean(np.square(off), axis=0)) / np.maximum(chance, 1e-12))


def standing(values: Floats) -> Ints:
    """For every row [t, c] how many rows before it had the same value."""
    run = np.zeros(values.shape, np.int32)
    same: Bools = values[1:] == values[:-1]
    for i, row in enumerate(same, 1):
        run[i] = np.where(row, run[i - 1] + 1, 0)
    return run


def _nearest(rows: Floats, centres: Floats) -> tuple[Floats, Ints]:
    """Squared distance [n] to the nearest centre, and which that is [n]."""
    with np.errstate(over="ignore"):  # an absurd reading is far from all
        apart = ((rows[:, None] - centres) ** 2).sum(axis=2)
    place = apart.argmin(axis=1)
    return apart[np.arange(len(rows)), place], place.astype(np.int32)
