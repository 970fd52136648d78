"""Telemetry of many units with labels: read from files, looked over, and split by unit or condition.

A table has a row a time: a column `unit` (or a file a unit), `time` (numbers or stamps), one with the label, optionally
one with the condition of operation, and channels: every other column of numbers. A label may be empty: such a row is
context for others and is never asked for. C-MAPSS text files (`train_FD001.txt`) are read as their readme says.

Letters: n rows, c channels, u units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gemel.core.artifact import digest
from gemel.core.errors import InputError
from gemel.core.values import Floats, Ints
from gemel.lab.tasks.tables import Columns as Columns
from gemel.lab.tasks.tables import Texts, read_rows
from gemel.lab.tasks.turbofan import SENSORS, is_turbofan, turbofan

TASKS = ("rul", "classify", "detect")
SPARSE = 0.95
"""A channel with a larger share missing is left out."""


@dataclass(frozen=True)
class Table:
    """Rows of units, those of a unit together and in time order."""

    units: tuple[str, ...]  # [u]
    unit: Ints  # [n], places in `units`
    time: Floats  # [n], seconds, or what the file counts
    values: Floats  # [n, c], NaN where missing
    channels: tuple[str, ...]
    label: Floats  # [n], hours or cycles left, or the place of the class; NaN where there is none
    classes: tuple[str, ...] = ()  # of classify and detect
    condition: Ints | None = None  # [n], places in `conditions`
    conditions: tuple[str, ...] = ()
    step: float = 1.0
    stamped: bool = False  # time is seconds since 1970
    notes: tuple[str, ...] = ()  # what a person should know of it
    digest: str = ""

    @property
    def first(self) -> Ints:
        """The first row of the unit of every row, [n]."""
        starts = np.searchsorted(self.unit, np.arange(len(self.units)))
        return np.asarray(starts[self.unit], np.int32)

    def of(self, units: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """The rows of some units, [n]."""
        return np.isin(self.unit, units)


def read_table(path: str | Path, task: str, columns: Columns, like: Table | None = None) -> Table:
    """A file or a folder of files as a table, looked over; `like` is the table a network was trained on.

    Raises `InputError` for what cannot be used, with all that is wrong and what to do about it; what can be used with
    care stands in `notes`.
    """
    place = Path(path)
    if not place.exists():
        raise InputError(f"there is no {place}", "give a CSV, Parquet or C-MAPSS file, or a folder of them")
    table = _engines(place, task) if is_turbofan(place) else _table(place, task, columns)
    if len(table.conditions) == 1:  # says nothing
        table = replace(table, condition=None, conditions=())
    table = _steady(_rebinned(table, columns.step) if columns.step else table, bool(columns.step))
    return _as(table, like) if like else _channels(table)


def _table(place: Path, task: str, columns: Columns) -> Table:
    rows = read_rows(place, task, columns)
    unit, units = _codes(rows.unit)
    condition, conditions = (None, ()) if rows.condition is None else _codes(rows.condition)
    return Table(
        units, unit, rows.time, rows.values, rows.channels, rows.label, rows.classes, condition, conditions,
        stamped=rows.stamped, notes=rows.notes, digest=rows.digest,
    )  # fmt: skip


def _engines(place: Path, task: str) -> Table:
    if task == "classify":
        raise InputError(f"{place.name} has no classes", "C-MAPSS is for the tasks rul and detect")
    engines = turbofan(place)
    regime = engines.settings[:, [0, 2]].round(0) + 0.0  # -0 is 0; the second setting goes with these two
    condition, conditions = _codes(np.array([f"{high:g}/{throttle:g}" for high, throttle in regime]))
    label = engines.left if task == "rul" else np.full(len(engines.left), np.nan)
    classes = ("normal", "abnormal") if task == "detect" else ()
    return Table(
        engines.names, engines.unit, engines.cycle, engines.sensors, SENSORS, label, classes, condition, conditions,
        digest=digest(place),
    )  # fmt: skip


def _codes(column: Texts) -> tuple[Ints, tuple[str, ...]]:
    known, place = np.unique(column, return_inverse=True)
    return place.astype(np.int32), tuple(known.tolist())


def _steady(table: Table, rebinned: bool) -> Table:
    """The spacing of rows; units that are sampled at another rate are refused by name."""
    gap = np.diff(table.time)[table.unit[1:] == table.unit[:-1]]
    if not len(gap):
        raise InputError("every unit has one row only", "windows need rows that follow on each other")
    inside = table.unit[1:][table.unit[1:] == table.unit[:-1]]
    usual = np.array([np.median(gap[inside == u]) if (inside == u).any() else np.nan for u in range(len(table.units))])
    step = float(np.nanmedian(usual))
    other = [i for i in range(len(usual)) if np.isfinite(usual[i]) and abs(usual[i] / max(step, 1e-12) - 1) > 0.1]
    if other and not rebinned:
        told = ", ".join(f"{table.units[i]} every {usual[i]:g}" for i in other[:3])
        raise InputError(
            f"{len(other)} of {len(usual)} units are sampled at another rate than every {step:g}: {told}",
            f"bring all to one spacing: --step {max(step, float(np.nanmax(usual))):g}",
        )
    notes = table.notes
    if wide := int((gap > 1.5 * step).sum()):
        notes = (*notes, f"{wide} gaps in time, the longest {gap.max():g}; rows around one count as neighbours")
    return replace(table, step=step, notes=notes)


def _rebinned(table: Table, step: float) -> Table:
    """Rows of one spacing: the mean of what fell into each, its last label and condition."""
    bins = np.floor(table.time / step).astype(np.int64)
    start = np.r_[True, (np.diff(bins) != 0) | (np.diff(table.unit) != 0)]
    group = np.cumsum(start) - 1
    seen = np.isfinite(table.values)
    total, count = (
        np.stack([np.bincount(group, x, minlength=group[-1] + 1) for x in part.T.astype(float)], axis=1)
        for part in (np.where(seen, table.values, 0.0), seen)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(count > 0, total / count, np.nan)
    label = np.full(group[-1] + 1, np.nan)
    there = np.isfinite(table.label)
    label[group[there]] = table.label[there]  # the last one stays
    last = np.flatnonzero(np.r_[start[1:], True])
    return replace(
        table, unit=table.unit[last], time=np.asarray(bins[last] * step, float), values=values, label=label,
        condition=None if table.condition is None else table.condition[last],
        notes=(*table.notes, f"{len(table.unit)} rows averaged into {len(last)}, one each {step:g}"),
    )  # fmt: skip


def _channels(table: Table) -> Table:
    """Without the channels that say nothing."""
    missing = np.isnan(table.values).mean(axis=0)
    with np.errstate(invalid="ignore"):
        low, high = np.nanmin(table.values, axis=0, initial=np.inf), np.nanmax(table.values, axis=0, initial=-np.inf)
    sparse, still = missing > SPARSE, (missing <= SPARSE) & (high - low <= 1e-9 * np.maximum(np.abs(high), 1e-9))
    notes = list(table.notes)
    for which, word in ((sparse, "nearly all missing"), (still, "constant")):
        if which.any():
            notes.append(f"{word}, left out: {', '.join(np.array(table.channels)[which])}")
    keep = ~sparse & ~still
    if not keep.any():
        raise InputError("every channel is constant or missing", "check the columns: --channels, --without")
    worst = int(np.where(keep, missing, 0).argmax())
    if missing[worst] > 0.01:
        share = float(np.isnan(table.values[:, keep]).mean())
        notes.append(f"{share:.1%} of the values are missing, most in {table.channels[worst]} ({missing[worst]:.0%})")
    channels = tuple(np.array(table.channels)[keep].tolist())
    return replace(table, values=table.values[:, keep], channels=channels, notes=tuple(notes))


def _as(table: Table, like: Table) -> Table:
    """The channels, classes and conditions of another table, in its order."""
    if lacking := [n for n in like.channels if n not in table.channels]:
        raise InputError(f"the test data lack the channels {', '.join(lacking)}", "give data of the same kind")
    if fresh := [c for c in table.classes if c not in like.classes]:
        raise InputError(f"the test data have classes never trained on: {', '.join(fresh)}", "train on them too")
    if abs(table.step / like.step - 1) > 0.1:
        raise InputError(f"the test data are sampled every {table.step:g}, not {like.step:g}", f"--step {like.step:g}")
    label = table.label
    if table.classes != like.classes:
        place = np.array([like.classes.index(c) for c in table.classes], float)
        there = np.isfinite(label)
        label = np.where(there, place[np.where(there, label, 0).astype(int)], np.nan)
    condition = table.condition
    if condition is not None:
        place = np.array([like.conditions.index(c) if c in like.conditions else -1 for c in table.conditions], np.int32)
        condition = place[condition].astype(np.int32)
    values = table.values[:, [table.channels.index(n) for n in like.channels]]
    return replace(
        table, values=values, channels=like.channels, label=label, classes=like.classes,
        condition=condition, conditions=like.conditions,
    )  # fmt: skip


@dataclass(frozen=True)
class Split:
    """Units to learn from, to calibrate on, and to be scored on; places in `Table.units`."""

    train: Ints
    calibrate: Ints
    test: Ints


def split(table: Table, by: str, seed: int, test: float = 0.2, calibrate: float = 0.2, again: int = 0) -> Split:
    """Whole units go one way or another, never windows of one: `by` "unit", or "condition", where those to be scored on
    ran under conditions that the others never saw. Units with the same classes are dealt out alike. `again` draws those
    to calibrate on anew, and leaves those to be scored on.

    Raises `InputError` where a class has one unit only, or units run through several conditions.
    """
    rng = np.random.default_rng((seed, 77))
    every = np.arange(len(table.units), dtype=np.int32)
    if by == "condition":
        scored = _of_conditions(table, rng, test)
        kind = np.zeros(len(every), int)
    else:
        kind = _kinds(table)
        scored = _dealt(every, kind, test, rng) if test else every[:0]
    rest = np.setdiff1d(every, scored)
    held = _dealt(rest, kind[rest], calibrate, np.random.default_rng((seed, 78, again)))
    learn = np.setdiff1d(rest, held)
    if not len(learn) or not len(held) or (test and not len(scored)):
        raise InputError(f"{len(every)} units are too few to split", "give at least 3 units; better some dozens")
    return Split(learn, held, scored)


def _kinds(table: Table) -> npt.NDArray[Any]:
    """Units with the same classes have the same number, [u]."""
    if not table.classes or np.isnan(table.label).all():
        return np.zeros(len(table.units), int)
    seen = np.zeros((len(table.units), len(table.classes)), bool)
    there = np.isfinite(table.label)
    seen[table.unit[there], table.label[there].astype(int)] = True
    alone = [table.classes[i] for i in np.flatnonzero(seen.sum(axis=0) == 1)]
    if alone:
        raise InputError(
            f"class {', '.join(alone)} is seen on one unit only: nothing can say how well others would be told",
            "give more units of it, or leave it out",
        )
    return np.asarray(np.unique(seen, axis=0, return_inverse=True)[1]).ravel()


def _dealt(units: Ints, kind: npt.NDArray[Any], share: float, rng: np.random.Generator) -> Ints:
    """A share of the units, of every kind as near as can be, and never all of one that has two."""
    found: list[Ints] = []
    owed = 0.0
    for one in np.unique(kind):
        mine = rng.permutation(units[kind == one])
        owed += share * len(mine)
        take = min(max(round(owed - sum(map(len, found))), int(len(mine) > 2)), len(mine) - 1)
        found.append(mine[: max(take, 0)])
    chosen = np.sort(np.concatenate(found))
    return chosen if len(chosen) or len(units) < 2 else np.sort(rng.permutation(units)[:1])


def _of_conditions(table: Table, rng: np.random.Generator, share: float) -> Ints:
    if table.condition is None or len(table.conditions) < 2:
        raise InputError("there are no two conditions to split by", "name their column: --condition NAME")
    pairs = np.unique(np.stack([table.unit, table.condition]), axis=1)
    if pairs.shape[1] > len(table.units):
        raise InputError("units run through several conditions", "such data can only be split by unit")
    chosen = rng.permutation(len(table.conditions))[: max(1, round(share * len(table.conditions)))]
    return np.asarray(pairs[0][np.isin(pairs[1], chosen)], np.int32)


def described(table: Table) -> Mapping[str, Any]:
    """What a card says of the data."""
    return {
        "sha256": table.digest,
        "units": len(table.units),
        "rows": len(table.unit),
        "labelled": int(np.isfinite(table.label).sum()),
        "missing": float(np.isnan(table.values).mean()),
        "notes": list(table.notes),
    }
