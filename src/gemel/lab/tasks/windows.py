"""From a table to windows that a network can learn from: scaled, cut, and which of them may be asked for.

Letters: n rows, c channels, w windows, t rows of a window, f features.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gemel.core.errors import InputError
from gemel.core.values import Bools, Float32s, Floats, Ints
from gemel.detectors.trained import Meaning
from gemel.lab.tasks.labelled import Table
from gemel.lab.tasks.task import Task


class Windows:
    """Windows of scaled rows [n, c], each named by its last row. Where a unit has not so many rows yet, its first row
    stands for those before."""

    def __init__(self, table: Table, meaning: Meaning) -> None:
        self.length, self.first = meaning.length, table.first
        centre = own_centre(table, meaning.own, meaning.centre[-1]) if meaning.own else None
        self.rows = meaning.scaled(table.values, table.condition, centre)

    def at(self, ends: Ints) -> Float32s:
        """Windows [w, t, c] that end at some rows."""
        rows = np.maximum(ends[:, None] + np.arange(1 - self.length, 1), self.first[ends][:, None])
        found: Float32s = self.rows[rows]
        return found


def scaling(table: Table, rows: Bools, task: Task) -> Meaning:
    """What a network will answer, and how its windows are scaled, from the rows [n] it learns from."""
    if task.own:
        first = table.first
        rows = rows & (np.arange(len(table.unit)) - first < task.own)
        values = table.values - own_centre(table, task.own, tuple(np.zeros(len(table.channels))))
        centre, wide = [_level(table.values[rows])[0]], [_level(values[rows])[1]]
    else:
        centre, wide = (list(x) for x in zip(_level(table.values[rows]), strict=True))
        for k in range(len(table.conditions)):
            assert table.condition is not None
            mine = rows & (table.condition == k)
            level = _level(table.values[mine]) if mine.sum() >= 10 else (centre[-1], wide[-1])
            centre.insert(-1, level[0])
            wide.insert(-1, np.where(level[1] > 1e-6 * wide[-1], level[1], wide[-1]))  # what stands still there
    return Meaning(
        task.task, task.task == "detect" and task.network == "autoencoder", table.channels, task.window, table.step,
        table.stamped, tuple(tuple(x.tolist()) for x in centre), tuple(tuple(x.tolist()) for x in wide),
        () if task.own else table.conditions, task.own, table.classes, task.levels if task.task == "rul" else (),
    )  # fmt: skip


def _level(values: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of every channel [c]; 0 and 1 where there is nothing to say."""
    seen = np.isfinite(values)
    count = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, values, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(seen, values - mean, 0.0) ** 2).sum(axis=0) / count)
    return mean, np.where(spread > 1e-9 * np.maximum(np.abs(mean), 1e-9), spread, 1.0)


def own_centre(table: Table, own: int, otherwise: tuple[float, ...]) -> Floats:
    """The mean of the first `own` rows of every row's unit, [n, c]."""
    first = np.searchsorted(table.unit, np.arange(len(table.units)))
    found = np.empty((len(table.units), len(table.channels)))
    for u, start in enumerate(first):
        rows = table.values[start : start + own][table.unit[start : start + own] == u]
        seen = np.isfinite(rows)
        mean = np.where(seen, rows, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        found[u] = np.where(seen.any(axis=0), mean, otherwise)
    return np.asarray(found[table.unit])


def askable(table: Table, rows: Bools, task: Task, every: bool = False) -> Ints:
    """The last rows of windows that can be learned from, among `rows` [n]: with a label, and behind them as many rows
    as a window has (of a unit that has not so many, the last row alone). `every`: those after a unit's first rows too.

    An autoencoder learns what is normal: windows with nothing abnormal in them; a unit without any label counts as
    normal, and so do a unit's `own` first rows.
    """
    place = np.arange(len(table.unit)) - table.first
    last = np.r_[table.unit[1:] != table.unit[:-1], True]
    good = rows & (every | (place >= task.window - 1) | (last & (place < task.window - 1)))
    if task.task == "detect" and task.network == "autoencoder" and not every:
        good &= undisturbed(table, task)
    else:
        good &= np.isfinite(table.label)
    found = np.flatnonzero(good).astype(np.int32)
    if not len(found):
        longest = int(place[rows].max(initial=-1)) + 1
        raise InputError(
            f"no window of {task.window} rows to learn from: the longest unit has {longest} rows",
            "choose a shorter --window, or give more labels",
        )
    return found


def undisturbed(table: Table, task: Task) -> Bools:
    """Rows whose window has nothing abnormal in it, [n]."""
    place = np.arange(len(table.unit)) - table.first
    labelled = np.zeros(len(table.units), bool)
    labelled[table.unit[np.isfinite(table.label)]] = True
    normal = np.where(labelled[table.unit], table.label == 0, True) | (place < task.own)
    odd = np.cumsum(~normal)
    start = np.maximum(np.arange(len(place)) - task.window, table.first - 1)  # the row before the window
    return np.asarray(odd == np.where(start >= 0, odd[np.maximum(start, 0)], 0))


def short_units(table: Table, window: int) -> Table:
    """With a note about the units that are shorter than a window."""
    rows = np.bincount(table.unit, minlength=len(table.units))
    short = rows < window
    if not short.any():
        return table
    told = ", ".join(f"{table.units[i]} ({rows[i]})" for i in np.flatnonzero(short)[:3])
    note = f"{int(short.sum())} of {len(rows)} units are shorter than the window of {window} rows: {told}; "
    return replace(table, notes=(*table.notes, note + "their first row stands for those before"))


def features(x: Float32s) -> Float32s:
    """What boosting is told of windows [w, t, c] -> [w, f]: last value, mean, deviation, slope, least, most."""
    t = np.arange(x.shape[1], dtype=np.float32)
    t = (t - t.mean()) / (t - t.mean()).dot(t - t.mean()) * x.shape[1]
    slope = np.einsum("t,wtc->wc", t, x)
    parts = (x[:, -1], x.mean(axis=1), x.std(axis=1), slope, x.min(axis=1), x.max(axis=1))
    found: Float32s = np.concatenate(parts, axis=1)
    return found
