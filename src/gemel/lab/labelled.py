"""Telemetry of many units with labels: read from files, looked over, and split by unit or condition.

A table has a row a time: a column `unit` (or a file a unit), `time` (numbers or stamps), one with the label, optionally
one with the condition of operation, and channels: every other column of numbers. A label may be empty: such a row is
context for others and is never asked for. C-MAPSS text files (`train_FD001.txt`) are read as their readme says.

Letters: n rows, c channels, u units.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gemel.core.artifact import digest
from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.values import Floats, Ints
from gemel.lab.turbofan import is_turbofan, turbofan

TASKS = ("rul", "classify", "detect")
NORMAL = ("", "0", "0.0", "false", "normal", "ok", "good", "healthy")
"""What a label of `detect` says of a row with nothing wrong."""
SUFFIXES = (".csv", ".csv.gz", ".parquet")
SPARSE = 0.95
"""A channel with a larger share missing is left out."""
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Columns:
    """Which column is what. `channels`: only these; `without`: all but these."""

    unit: str = "unit"
    time: str = "time"
    label: str = ""  # "rul" for the task rul, else "label"
    condition: str = "condition"
    channels: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    step: float = 0.0  # seconds (or whatever time counts) a row; 0: as it came


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
    if is_turbofan(place):
        if task == "classify":
            raise InputError(f"{place.name} has no classes", "C-MAPSS is for the tasks rul and detect")
        names, unit, time, values, channels, label, condition = turbofan(place)
        table = Table(
            names, unit, time, values, channels, label if task == "rul" else np.full(len(label), np.nan),
            ("normal", "abnormal") if task == "detect" else (), *_codes(condition), digest=digest(place),
        )  # fmt: skip
    else:
        table = _table(place, task, columns)
    table = _steady(_rebinned(table, columns.step) if columns.step else table, bool(columns.step))
    return _as(table, like) if like else _channels(table)


def files(place: Path) -> list[Path]:
    """The tables in a folder, or the one file."""
    if place.is_file():
        return [place]
    found = [p for p in sorted(place.rglob("*")) if p.name.endswith(SUFFIXES)]
    if not found:
        raise InputError(f"no CSV or Parquet file in {place}", "give a file, or a folder of them")
    return found


def _table(place: Path, task: str, columns: Columns) -> Table:
    parts = files(place)
    notes: list[str] = []
    whole: dict[str, list[Any]] = {}
    units: list[Texts] = []
    held = [_read(p) for p in parts]
    names = list(dict.fromkeys(name for part in held for name in part))
    label = columns.label or ("rul" if task == "rul" else "label")
    if label not in names and not (task == "detect" and not columns.label):
        hint = "name the column: --label NAME" + ("; rul needs what is left at each row" if task == "rul" else "")
        raise InputError(f"no label column '{label}' in {place}{nearest(label, names)}: it has {', '.join(names)}", hint)
    for p, part in zip(parts, held, strict=True):
        rows = len(next(iter(part.values())))
        for name in names:
            whole.setdefault(name, []).append(part.get(name, np.full(rows, np.nan)))
        own = p.relative_to(place).as_posix().split(".")[0] if place.is_dir() else "all"
        units.append(part[columns.unit].astype(str) if columns.unit in part else np.full(rows, own))
    if columns.unit not in names and place.is_file():
        raise InputError(
            f"no column '{columns.unit}' in {place}{nearest(columns.unit, names)}: which unit a row is of is not said",
            "name it: --unit NAME; or give a folder with a file a unit",
        )
    table = {name: _together(found) for name, found in whole.items()}
    unit = np.concatenate(units)
    rows = len(unit)
    if not rows:
        raise InputError(f"{place} has no rows", "give a table with telemetry in it")
    stamped = False
    if columns.time in table:
        time, stamped = _time(table[columns.time], columns.time)
    else:
        time = np.arange(rows, dtype=float)
        notes.append(f"no column '{columns.time}': rows are taken as evenly spaced, in the order of the file")
    order = np.lexsort((time, unit))
    again = np.r_[(unit[order][1:] == unit[order][:-1]) & (time[order][1:] == time[order][:-1]), False]
    if again.any():
        notes.append(f"{int(again.sum())} rows came twice; the last of each counts")
        order = order[~again]
    kept = [n for n in names if n not in (columns.unit, columns.time, label, columns.condition, *columns.without)]
    if columns.channels:
        if unknown := [n for n in columns.channels if n not in kept]:
            raise ConfigError([f"unknown channel '{n}'{nearest(n, kept)}" for n in unknown], f"known: {', '.join(kept)}")
        kept = list(columns.channels)
    texts = [n for n in kept if table[n].dtype.kind not in "fiub"]
    if texts:
        notes.append(f"no numbers, left out: {', '.join(texts)}")
    channels = tuple(n for n in kept if n not in texts)
    if not channels:
        raise InputError(f"{place} has no channel of numbers", "a channel is a column of numbers; see --channels")
    values = np.stack([table[n].astype(float) for n in channels], axis=1)[order]
    known, place_of = np.unique(unit[order], return_inverse=True)
    target, classes, said = _labels(table.get(label), rows, task, label)
    hash_ = hashlib.sha256("".join(digest(p) for p in parts).encode()).hexdigest()
    condition = _codes(table[columns.condition][order].astype(str)) if columns.condition in table else (None, ())
    return Table(
        tuple(known.tolist()), place_of.astype(np.int32), time[order], np.where(np.isfinite(values), values, np.nan),
        channels, target[order], classes, *condition, stamped=stamped, notes=(*notes, *said), digest=hash_,
    )  # fmt: skip


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The columns of one file."""
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    try:
        if path.name.endswith(".parquet"):
            table = pq.read_table(path)
        else:
            with pa.input_stream(str(path), compression="detect") as stream:
                head = stream.read(4096).split(b"\n")[0]
            mark = max(b",;\t", key=lambda one: head.count(bytes([one])))
            options = pc.ConvertOptions(strings_can_be_null=True)
            table = pc.read_csv(path, parse_options=pc.ParseOptions(delimiter=chr(mark)), convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise InputError(f"cannot read {path}: {error}", "give a CSV with a head line, or Parquet") from None
    found = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            column = column.cast(pa.timestamp("ns"))
        found[name] = np.asarray(column.to_numpy())
    return found


def _together(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """One column of many files, which may disagree about its type."""
    empty = [p.dtype.kind == "f" and bool(np.isnan(p).all()) for p in parts]
    kinds = {p.dtype.kind for p, none in zip(parts, empty, strict=True) if not none}
    if kinds <= set("fiub"):
        return np.concatenate([p.astype(float) for p in parts])
    if len(kinds) == 1 and not any(empty):
        return np.concatenate(parts)
    return np.concatenate([p.astype(object) for p in parts])


def _time(column: npt.NDArray[Any], name: str) -> tuple[Floats, bool]:
    """Numbers as they are, stamps as seconds; and whether they are stamps."""
    if column.dtype.kind == "M":
        time, stamped = column.astype("datetime64[ns]").astype(np.int64) / 1e9, True
        time[np.isnat(column)] = np.nan
    elif column.dtype.kind in "fiu":
        time, stamped = column.astype(float), False
    else:
        raise InputError(f"column '{name}' is no time: {column[0]!r}", "numbers, or stamps as in 2026-03-01T12:00:00")
    if missing := int((~np.isfinite(time)).sum()):
        raise InputError(f"{missing} rows have no {name}", "fill them in, or leave these rows out")
    return time, stamped


def _labels(
    column: npt.NDArray[Any] | None, rows: int, task: str, name: str
) -> tuple[Floats, tuple[str, ...], list[str]]:
    """Label [n], the classes, and what is to be said."""
    two = ("normal", "abnormal")
    if column is None:
        return np.full(rows, np.nan), two, ["no labels: nothing can be scored"]
    number = column.dtype.kind in "fiub"
    hole = ~np.isfinite(column.astype(float)) if number else np.array([x is None or x != x or x == "" for x in column])
    if hole.all():
        raise InputError(f"every label in '{name}' is empty", "fill in some, or name another column: --label NAME")
    notes = [f"{int(hole.sum())} of {rows} rows have no label; only the others are asked for"] if hole.any() else []
    if task == "rul":
        if not number or (column[~hole].astype(float) < 0).any():
            raise InputError(f"'{name}' is no remaining life", "it needs numbers of 0 and more: what is left at each row")
        return column.astype(float), (), notes
    text = np.array([_word(x) for x in column], dtype=str)
    target = np.full(rows, np.nan)
    if task == "detect":
        target[~hole] = [float(x.lower() not in NORMAL) for x in text[~hole]]
        return target, two, notes
    classes, place = np.unique(text[~hole], return_inverse=True)
    target[~hole] = place
    if len(classes) < 2 or len(classes) > 100:
        raise InputError(f"'{name}' has {len(classes)} classes", "classify needs 2 to 100; for a number see --task rul")
    return target, tuple(classes.tolist()), notes


def _word(x: Any) -> str:
    """A class by its name: 3.0 is "3"."""
    return f"{x:g}" if isinstance(x, float | np.floating) else str(x)


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
        table, unit=table.unit[last], time=bins[last] * step, values=values, label=label,
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
