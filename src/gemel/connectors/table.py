"""Reads telemetry from CSV and Parquet files, block by block, as columns. `replay` and `play` stand on it.

What cannot be read is told, never raised: a row with an unreadable stamp is left out, a row with too many or too few
cells too. A file that is not there, or not what it is said to be, is a `ConfigError`; one that breaks off in the
middle a `ConnectorError`.
"""

from __future__ import annotations

import csv as text
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from gemel.connectors.stamps import NONE, Stamps, cast
from gemel.core.errors import ConfigError, ConnectorError, nearest
from gemel.core.values import Bools, Floats, Times

TIMES = ("time", "timestamp", "date", "datetime", "ds", "ts", "__index_level_0__")
NAMES = ("signal", "unique_id", "item_id", "name", "series", "tag")
VALUES = ("value", "y", "target")
_EMPTY = pa.array(["", "na", "n/a", "null", "none"])
_TRUTH = {"true": 1.0, "false": 0.0}


class Trouble(NamedTuple):
    """What could not be read, and where: a time (or `NONE`), a column, what is wrong with it."""

    time: int
    column: str
    text: str


class Heading(NamedTuple):
    """What the first line of a file says."""

    names: list[str]
    separator: str = ","
    encoding: str = "utf8"


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a file, in their order."""

    time: Times  # [r]
    columns: tuple[pa.Array, ...]  # of r cells each, in the order asked for
    trouble: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True)
class Cells:
    """A column as numbers: `odd` are the cells with a text in them that is no number."""

    value: Floats  # [r], NaN where there is none
    here: Bools  # [r], false where the cell is empty
    odd: dict[int, str]


class Table:
    """One file: its columns, which of them is the time, and its rows in blocks.

    `layout` is `wide` (a column a signal) or `long` (a row a point: time, name, value). Time and layout are guessed
    from the names of the columns when they are empty. Raises `ConfigError`.
    """

    def __init__(self, path: Path, time: str = "", layout: str = "", zone: str = "UTC") -> None:
        self.path = path
        self.names, self._separator, self._encoding = heading(path)
        self._zone = zone
        Stamps(zone)  # an unknown zone is said now
        self.time = time or self._one_of(TIMES)
        if self.time not in self.names:
            said = f"'{time}' is not a column{nearest(time, self.names)}" if time else "no column is named like a time"
            raise ConfigError([f"{path.name}: {said}"], f'time = "..."; it has {", ".join(self.names)}')
        self.name, self.value = self._one_of(NAMES), self._one_of(VALUES)
        both = bool(self.name and self.value)
        self.layout = layout or ("long" if both else "wide")
        if self.layout not in ("wide", "long"):
            raise ConfigError([f"layout '{layout}' is not wide or long"])
        if self.layout == "long" and not both:
            hint = f"names: one of {', '.join(NAMES)}; values: one of {', '.join(VALUES)}"
            raise ConfigError([f"{path.name}: a long file needs a column of names and a column of values"], hint)

    @property
    def series(self) -> list[str]:
        """The columns of a wide file beside the time."""
        return [name for name in self.names if name != self.time]

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        """All rows, some tens of thousands at a time."""
        stamps, skipped = Stamps(self._zone), [0]
        for batch in self._batches([self.time, *columns], skipped):
            time, told = stamps.read(batch.column(0))
            there = time != NONE
            trouble = [Trouble(int(time[row]), self.time, said) for row, said in told]
            if skipped[0]:
                trouble.append(Trouble(NONE, "", f"{skipped[0]} rows without {len(self.names)} cells left out"))
                skipped[0] = 0
            found = [batch.column(1 + j) for j in range(len(columns))]
            if not there.all():
                trouble.append(Trouble(NONE, self.time, f"{np.count_nonzero(~there)} rows without a time left out"))
                time, found = time[there], [column.filter(pa.array(there)) for column in found]
            yield Block(time, tuple(found), tuple(trouble))

    def _batches(self, columns: list[str], skipped: list[int]) -> Iterator[pa.RecordBatch]:
        def skip(_: csv.InvalidRow) -> str:
            skipped[0] += 1
            return "skip"

        try:
            if _is_parquet(self.path):
                with parquet.ParquetFile(self.path) as file:
                    for batch in file.iter_batches(65_536, columns=columns, use_threads=False):
                        yield pa.record_batch([_plain(column) for column in batch.select(columns)], columns)
                return
            reader = csv.open_csv(
                self.path,
                csv.ReadOptions(use_threads=False, encoding=self._encoding),
                csv.ParseOptions(delimiter=self._separator, invalid_row_handler=skip),
                csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()), include_columns=columns),
            )
            with reader:
                yield from reader
        except (OSError, pa.ArrowInvalid) as error:
            raise ConnectorError(
                f"{self.path.name} cannot be read on: {str(error).splitlines()[0]}",
                "the file is damaged, or still being written: fetch it again",
            ) from error

    def _one_of(self, words: Sequence[str]) -> str:
        lower = {name.strip().lower(): name for name in reversed(self.names)}
        return next((lower[word] for word in words if word in lower), "")


def heading(path: Path) -> Heading:
    """The names of the columns of a file; also the separator and the encoding of a CSV file."""
    if not path.is_file():
        hint = "`gemel fetch ett` fetches it" if "ETT" in path.name else "relative paths start at the twin file"
        raise ConfigError([f"there is no file {path}"], hint)
    try:
        if _is_parquet(path):
            return Heading(list(parquet.read_schema(path).names))
        with pa.input_stream(path, compression="detect") as file:
            head = file.read(1 << 18)
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError([f"{path.name} cannot be read: {str(error).splitlines()[0]}"]) from error
    if not head.strip():
        raise ConfigError([f"{path.name} is empty"])
    encoding = "utf8"
    try:
        line = head[: head.rfind(b"\n") + 1 or None].decode("utf-8-sig").splitlines()[0]
    except UnicodeDecodeError:
        encoding = "latin-1"  # degree signs from an old logger
        line = head.decode(encoding).splitlines()[0]
    separator = max(",;\t|", key=line.count)
    names = next(text.reader([line], delimiter=separator))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError([f"{path.name}: column '{name}' is there twice" for name in twice])
    return Heading(names, separator, encoding)


def _is_parquet(path: Path) -> bool:
    return path.suffix in (".parquet", ".pq")


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def numbers(column: pa.Array) -> Cells:
    """A column as numbers. An empty cell, or one that says so (na, null, none), is not there; NaN is, as NaN."""
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _parsed(pc.utf8_trim_whitespace(column))
    here = column.is_valid().to_numpy(zero_copy_only=False)
    value = cast(column, pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return Cells(value, here, {})


def _parsed(column: pa.Array) -> Cells:
    here = pc.invert(pc.is_in(pc.utf8_lower(column), _EMPTY)).to_numpy(zero_copy_only=False)
    here &= column.is_valid().to_numpy(zero_copy_only=False)
    cells = column if here.all() else pc.if_else(pa.array(here), column, None)
    found = cast(cells, pa.float64())
    value = found.fill_null(np.nan).to_numpy(zero_copy_only=False).copy()
    odd = {}
    for row in np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False) & here).tolist():
        said = column[row].as_py()
        if said.lower() in _TRUTH:
            value[row] = _TRUTH[said.lower()]
        else:
            odd[row] = said
    return Cells(value, here, odd)


def located(path: str, folder: Path) -> Path:
    """The file a path of the twin file means: `${NAME}` is an environment variable, relative starts at `folder`."""
    for name in re.findall(r"\$\{(\w+)\}", path):
        if not os.environ.get(name):
            also = ", or `gemel fetch ett` for the public transformer data" if name == "GEMEL_DATA" else ""
            raise ConfigError([f"path {path}: the environment variable {name} is not set"], f"export {name}=...{also}")
        path = path.replace(f"${{{name}}}", os.environ[name])
    return folder / Path(path).expanduser()
