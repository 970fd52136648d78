"""What was seen of each thing in a source: its stamps, its numbers, its texts.

A file is read to its end, of which the last some hundred thousand rows are kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gemel.connectors.stamps import NONE, Stamps
from gemel.connectors.table import TIMES, Table, heading, numbers
from gemel.core.errors import ConfigError, InputError
from gemel.core.values import Floats, Times

KEPT = 5_000_000
"""Cells of a file that are kept."""

_SAMPLE = 1000  # cells that tell what a column of texts is
_TEXTS = 1000  # different texts of a column
_TIME_WORDS = re.compile(r"time|date|datum|zeit|stamp|时间|日期|shijian|riqi", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Series:
    """One thing a source speaks of. `texts` counts what was said that is no number; `unit` is one the source declares;
    `levels` are the names above `label` (the levels of a topic)."""

    label: str
    address: str
    time: Times  # [n], rising
    value: Floats  # [n], NaN where a text was said
    texts: Mapping[str, int] = field(default_factory=dict)
    unit: str = ""
    levels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, slots=True)
class Source:
    """What was read: the series, the connector that hears them (its table of a twin file), the clock that suits it, and
    what a person should know."""

    name: str
    connector: str
    spec: Mapping[str, str]
    series: Sequence[Series]
    clock: str
    notes: tuple[str, ...] = ()


def read(path: Path) -> Source:
    """The series of a CSV or Parquet file, wide or long. Raises `ConfigError` or `InputError` when it is no such file,
    or has no stamps."""
    time = _time_column(path)
    table = Table(path, time)
    spec = {"kind": "replay", "path": str(path)}
    if time.strip().lower() not in TIMES:
        spec["time"] = time
    if _naive(path, time):
        spec["zone"] = "UTC"  # written down, for a person to mend
    gathered = _Gathered()
    columns = table.series if table.layout == "wide" else [table.name, table.value]
    trouble = gathered.notes
    for block in table.blocks(columns):
        trouble.update(t.text for t in block.trouble)
        if table.layout == "wide":
            for name, cells in zip(columns, block.columns, strict=True):
                gathered.add(name, block.time, cells, KEPT // max(len(columns), 1))
        else:
            names = block.columns[0].cast(pa.string()).dictionary_encode()
            index = names.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            for code, name in enumerate(names.dictionary.to_pylist()):
                rows = np.flatnonzero(index == code)
                gathered.add(name, block.time[rows], block.columns[1].take(pa.array(rows)), KEPT)
    if not gathered.newest():
        told = f": {trouble.most_common(1)[0][0]}" if trouble else ""
        raise InputError(f"{path.name} has no rows with a time{told}", "write times as ISO 8601: 2024-05-01T12:00:00Z")
    series = [gathered.series(name) for name in gathered.names()]
    notes = tuple(text for text, _ in trouble.most_common(3))
    return Source(path.name.split(".")[0], "file", spec, series, "data", notes)


def _time_column(path: Path) -> str:
    """The column of stamps: one named like a time, else one that holds times."""
    names = heading(path).names
    usual = [name for word in TIMES for name in names if name.strip().lower() == word]
    if usual:
        return usual[0]
    named = [name for name in names if _TIME_WORDS.search(name)]
    for name in [*named, *(n for n in names if n not in named)]:
        block = next(iter(Table(path, name).blocks([name])), None)
        if block is None or not len(block.time):
            continue
        cells = block.columns[0].slice(0, _SAMPLE)
        counted = pc.count(cells).as_py() > 0 and _numeric(cells)
        if name not in named and counted:
            continue  # a column of numbers reads as seconds since 1970
        when = Stamps().read(cells)[0]
        if np.mean(when != NONE) > 0.9 and (not counted or np.median(when) > 5e17):
            return name
    hint = "give it one of stamps, named time: ISO 8601, or a count since 1970"
    raise ConfigError([f"{path.name} has no column of times among {', '.join(map(repr, names[:8]))}"], hint)


def _naive(path: Path, time: str) -> bool:
    """Whether the stamps say no zone."""
    block = next(iter(Table(path, time).blocks([time])), None)
    if block is None:
        return False
    cells = block.columns[0]
    if not pa.types.is_string(cells.type):
        return pa.types.is_temporal(cells.type) and not getattr(cells.type, "tz", None)
    first = next((cell.strip() for cell in cells.slice(0, _SAMPLE).to_pylist() if cell and cell.strip()), "")
    return not re.search(r"(?:[zZ]|[+-]\d\d:?\d\d)$|^[\d.]+$", first)


def _numeric(cells: pa.Array) -> bool:
    if pa.types.is_temporal(cells.type):
        return False
    found = numbers(cells)
    return bool(np.isfinite(found.value).sum() > len(found.odd))


class _Gathered:
    """Columns of a file as they grow."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[Times, Floats]]] = {}
        self._texts: dict[str, Counter[str]] = {}
        self.notes = Counter[str]()

    def names(self) -> Iterator[str]:
        yield from self._parts

    def newest(self) -> int:
        ends = [int(time[-1]) for parts in self._parts.values() for time, _ in parts if len(time)]
        return max(ends, default=0)

    def add(self, name: str | None, time: Times, cells: pa.Array, most: int) -> None:
        if not name:
            return
        if pa.types.is_temporal(cells.type) or pa.types.is_nested(cells.type) or pa.types.is_binary(cells.type):
            self.notes[f"column '{name}' holds {cells.type}: left out"] += 1
            return
        value, here = _values(cells, self._texts.setdefault(name, Counter()))
        parts = self._parts.setdefault(name, [])
        parts.append((time[here], value[here]))
        while len(parts) > 1 and sum(len(t) for t, _ in parts[1:]) >= most:
            parts.pop(0)

    def series(self, name: str) -> Series:
        parts = self._parts[name]
        time, value = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.argsort(time, kind="stable")
        address = f"file:#{name}" if "#" in name else f"file:{name}"
        return Series(name, address, time[order], value[order], dict(self._texts[name]))


def _values(cells: pa.Array, texts: Counter[str]) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Numbers [r] and where a cell says something. A column of texts is looked at once for each text."""
    if not (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)):
        found = numbers(cells)
        return found.value, found.here
    coded = cells.dictionary_encode()
    index = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    head = numbers(coded.dictionary.slice(0, _SAMPLE))
    if len(coded.dictionary) > _SAMPLE and len(head.odd) > 0.5 * _SAMPLE:  # prose
        texts.update(head.odd.values())
        return np.full(len(cells), np.nan), index >= 0
    found = numbers(coded.dictionary) if len(coded.dictionary) > _SAMPLE else head
    counts = np.bincount(index[index >= 0], minlength=len(coded.dictionary))
    for code, text in list(found.odd.items())[:_TEXTS]:
        texts[text] += int(counts[code])
    value = np.append(found.value, np.nan)[index]
    here = np.append(found.here, False)[index]
    return value, here
