"""Tables of telemetry as files: CSV and Parquet, one or a folder of them, as columns; what a label and a time are.

Letters: n rows, c channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gemel.core.artifact import digest
from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.values import Floats

NORMAL = ("", "0", "0.0", "false", "normal", "ok", "good", "healthy")
"""What a label of `detect` says of a row with nothing wrong."""
SUFFIXES = (".csv", ".csv.gz", ".parquet")
Column = npt.NDArray[Any]
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
class Rows:
    """What a file or a folder holds, sorted by unit and time, each time once."""

    unit: Texts  # [n]
    time: Floats  # [n]
    stamped: bool  # time is seconds since 1970
    values: Floats  # [n, c], NaN where missing
    channels: tuple[str, ...]
    label: Floats  # [n], NaN where there is none
    classes: tuple[str, ...]
    condition: Texts | None  # [n]
    notes: tuple[str, ...]
    digest: str


def read_rows(place: Path, task: str, columns: Columns) -> Rows:
    """All rows of a file or a folder; raises `InputError` and `ConfigError` for columns that are not there."""
    parts = files(place)
    held = [_read(p) for p in parts]
    names = list(dict.fromkeys(name for part in held for name in part))
    label = columns.label or ("rul" if task == "rul" else "label")
    _wanted(place, names, task, columns, label)
    rows = [len(next(iter(part.values()), ())) for part in held]
    own = [p.relative_to(place).as_posix().split(".")[0] if place.is_dir() else "" for p in parts]
    unit = np.concatenate([
        part[columns.unit].astype(str) if columns.unit in part else np.full(n, word)
        for part, n, word in zip(held, rows, own, strict=True)
    ])  # fmt: skip
    if not len(unit):
        raise InputError(f"{place} has no rows", "give a table with telemetry in it")
    table = {
        name: _together([part.get(name, np.full(n, np.nan)) for part, n in zip(held, rows, strict=True)])
        for name in names
    }
    notes: list[str] = []
    if columns.time in table:
        time, stamped = _time(table[columns.time], columns.time)
    else:
        time, stamped = np.arange(len(unit), dtype=float), False
        notes.append(f"no column '{columns.time}': rows are taken as evenly spaced, in the order of the file")
    order = np.lexsort((time, unit))
    again = np.r_[(unit[order][1:] == unit[order][:-1]) & (time[order][1:] == time[order][:-1]), False]
    if again.any():
        notes.append(f"{int(again.sum())} rows came twice; the last of each counts")
        order = order[~again]
    channels = _channels(table, columns, label, notes)
    values = np.stack([table[n].astype(float) for n in channels], axis=1)[order]
    target, classes, said = _labels(table.get(label), len(unit), task, label)
    return Rows(
        unit[order], time[order], stamped, np.where(np.isfinite(values), values, np.nan), channels, target[order],
        classes, table[columns.condition][order].astype(str) if columns.condition in table else None, (*notes, *said),
        hashlib.sha256("".join(digest(p) for p in parts).encode()).hexdigest(),
    )  # fmt: skip


def _wanted(place: Path, names: Sequence[str], task: str, columns: Columns, label: str) -> None:
    """The columns without which nothing can be done."""
    if label not in names and not (task == "detect" and not columns.label):
        hint = "name the column: --label NAME" + ("; rul needs what is left at each row" if task == "rul" else "")
        raise InputError(
            f"no label column '{label}' in {place.name}{nearest(label, names)}: it has {', '.join(names)}", hint
        )
    if columns.unit not in names and place.is_file():
        raise InputError(
            f"no column '{columns.unit}' in {place.name}{nearest(columns.unit, names)}: which unit is a row of?",
            "name it: --unit NAME; or give a folder with a file a unit",
        )


def _channels(table: Mapping[str, Column], columns: Columns, label: str, notes: list[str]) -> tuple[str, ...]:
    """The columns of numbers that are left."""
    taken = (columns.unit, columns.time, label, columns.condition)
    kept = [n for n in table if n not in taken and n not in columns.without]
    if unknown := [n for n in columns.channels if n not in kept]:
        raise ConfigError([f"unknown channel '{n}'{nearest(n, kept)}" for n in unknown], f"known: {', '.join(kept)}")
    if columns.channels:
        kept = list(columns.channels)
    texts = [n for n in kept if table[n].dtype.kind not in "fiub"]
    if texts:
        notes.append(f"no numbers, left out: {', '.join(texts)}")
    channels = tuple(n for n in kept if n not in texts)
    if not channels:
        raise InputError("there is no channel of numbers", "a channel is a column of numbers; see --channels")
    return channels


def files(place: Path) -> list[Path]:
    """The tables in a folder, or the one file."""
    if place.is_file():
        return [place]
    found = [p for p in sorted(place.rglob("*")) if p.name.endswith(SUFFIXES)]
    if not found:
        raise InputError(f"no CSV or Parquet file in {place}", "give a file, or a folder of them")
    return found


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
            raise InputError(
                f"'{name}' is no remaining life", "it needs numbers of 0 and more: what is left at each row"
            )
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
