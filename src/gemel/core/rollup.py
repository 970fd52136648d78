"""Roll-ups: many points as few cells of equal width, each with its least, mean and most: what a chart is drawn of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gemel.core.values import BAD, Codes, Floats, Times


@dataclass(frozen=True, slots=True)
class Rollup:
    """One signal over c cells. A cell without a usable point has NaN and `count` 0; `bad` counts unusable points."""

    low: Floats  # [c]
    mean: Floats  # [c]
    high: Floats  # [c]
    count: Times  # [c]
    bad: Times  # [c]


@runtime_checkable
class Rolls(Protocol):
    """A store that can roll up where the points are, and knows how far they reach."""

    def rollup(self, signals: Sequence[str], start: int, width: int, cells: int) -> list[Rollup]:
        """One a signal; cell i holds start + i * width <= time < start + (i + 1) * width; up to 65 535 cells."""

    def extent(self, signals: Sequence[str]) -> list[tuple[int, int, int]]:
        """Oldest time, newest time and number of points of each signal; (0, 0, 0) for one never heard."""


@runtime_checkable
class Indexed(Protocol):
    """A journal that can say what it holds without reading it."""

    def index(self, kind: str, start: int | None = None, end: int | None = None) -> list[tuple[int, str]]:
        """(time, id) of every entry of a kind with start <= time <= end, oldest first."""

    def pick(self, kind: str, times: Sequence[int]) -> list[Any]:
        """The entries of a kind that have one of these times, oldest first; the newest of an id."""


def rolled(time: Times, value: Floats, quality: Codes, start: int, width: int, cells: int) -> Rollup:
    """Points of one signal, each within the cells, as a roll-up."""
    place = (time - start) // width
    usable = (quality != BAD) & np.isfinite(value)
    held, seen = value[usable], place[usable]
    count = np.bincount(seen, minlength=cells)
    low, high = np.full(cells, np.inf), np.full(cells, -np.inf)
    np.minimum.at(low, seen, held)
    np.maximum.at(high, seen, held)
    empty = count == 0
    low[empty] = high[empty] = np.nan
    mean = np.bincount(seen, held, cells) / np.where(empty, np.nan, count)
    return Rollup(low, mean, high, count, np.bincount(place[~usable], minlength=cells))


def together(one: Rollup, other: Rollup) -> Rollup:
    """The roll-up of the points of both, over the same cells."""
    count = one.count + other.count
    total = np.nan_to_num(one.mean) * one.count + np.nan_to_num(other.mean) * other.count
    return Rollup(
        np.fmin(one.low, other.low),
        total / np.where(count == 0, np.nan, count),
        np.fmax(one.high, other.high),
        count,
        one.bad + other.bad,
    )
