"""The default store: one DuckDB file a twin, points and journal in it, every append on disk when it returns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Any, Self

import numpy as np

from gemel.core import codec
from gemel.core.clock import FOREVER, NEVER
from gemel.core.errors import ConfigError, StoreError
from gemel.core.rollup import Rollup
from gemel.core.setting import Setting
from gemel.core.values import BAD, QUALITIES, Batch, Bools, Codes, Floats, Frame, Ints, Signals, Times
from gemel.stores.entry import Entry, digest, entry
from gemel.stores.file import File, arrow
from gemel.stores.tail import Columns, Tail, find

FORMAT = 1
_SCHEMA = f"""
CREATE TABLE store (format INTEGER, revisions BIGINT, duplicates BIGINT);
INSERT INTO store VALUES ({FORMAT}, 0, 0);
CREATE TABLE signals (number INTEGER, name VARCHAR, type VARCHAR, unit VARCHAR, role VARCHAR, asset VARCHAR);
CREATE TABLE points (
    sequence BIGINT, signal INTEGER, time BIGINT, received BIGINT, value DOUBLE, quality UTINYINT);
CREATE TABLE journal (sequence BIGINT, kind VARCHAR, id VARCHAR, time BIGINT, body BLOB);
CREATE TABLE snapshots (id VARCHAR, time BIGINT, body BLOB);
CREATE VIEW history AS
    SELECT name AS signal, make_timestamp_ns(time) AS time, value, unit, {list(QUALITIES)}[quality + 1] AS quality
    FROM points JOIN signals ON number = points.signal ORDER BY sequence;
"""

# the newest of an id is found without touching the bodies; an entry without an id is its own newest
_NEWEST = """SELECT body FROM journal SEMI JOIN (SELECT max(sequence) AS sequence FROM journal
    WHERE kind = $1 AND {}
    GROUP BY CASE id WHEN '' THEN sequence::VARCHAR ELSE ' ' || id END) USING (sequence)"""


class Duckdb:
    """Keeps all history in one DuckDB file.

    - `path`: the file, beside the twin file unless absolute; made when it is not there.
    - `recent`: how many of the newest points are also held in memory (about 50 bytes each), so that what the loop
      reads every turn needs no query.
    - `memory`: the most memory that queries of older history may take ("1GB").

    One process holds the file; a second gets `StoreBusy`. Anyone may read the file with DuckDB while no twin holds
    it: `SELECT * FROM history`.
    """

    def __init__(self, path: str, recent: int = 1_000_000, memory: str = "1GB") -> None:
        problems = []
        if not path:
            problems.append("store: path is empty")
        if recent < 0:
            problems.append(f"store: recent {recent} is below zero")
        if not re.fullmatch(r"\d+(\.\d+)? ?[KMGT]i?B", memory):
            problems.append(f"store: memory '{memory}' is not a size")
        if problems:
            raise ConfigError(problems, 'write path = "harbour.gemel", recent = 1000000, memory = "1GB"')
        self.path, self.recent, self.memory = path, recent, memory
        self._lock = RLock()
        self._file = File(Path(path), memory)
        self._numbers: dict[str, int] = {}
        self._places = np.zeros(0, np.int32)
        self._tail = Tail()
        self._stale = False  # whether memory may differ from the file, after a failed append

    def bind(self, setting: Setting) -> None:
        """A relative path starts at the twin file's folder."""
        self._file = File(setting.folder / self.path, self.memory)

    @property
    def file(self) -> Path:
        """Where the file is."""
        return self._file.path

    # -- opening and closing ---------------------------------------------------------------------------------------

    def open(self, signals: Signals) -> None:
        """Take the file, make it if need be, and be ready for batches over these signals.

        Raises `StoreBusy` when it is held already, `StoreError` when it is not a twin's store or is damaged.
        """
        with self._lock:
            self._file.open(_SCHEMA)
            try:
                self._check()
                self._declare(signals)
                self._load()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Let go of the file. Nothing is lost without it: it only folds the log into the file."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self) -> None:
        tables = {
            name for (name,) in self._file.ask("SELECT table_name FROM duckdb_tables() WHERE NOT temporary").fetchall()
        }
        if not {"store", "signals", "points", "journal", "snapshots"} <= tables:
            raise StoreError(
                f"'{self.file}' is a DuckDB file, but not the store of a twin", "choose another path in the twin file"
            )
        ((held,),) = self._file.ask("SELECT format FROM store").fetchall()
        if held != FORMAT:
            raise StoreError(
                f"'{self.file}' has format {held}; this version of Gemel reads {FORMAT}",
                "open it with the version that wrote it",
            )

    def _declare(self, signals: Signals) -> None:
        """Give each signal its number; a name that the file knows keeps the one it has."""
        self._numbers = {n: i for i, n in self._file.ask("SELECT number, name FROM signals ORDER BY number").fetchall()}
        self._places = np.array([self._numbers.setdefault(n, len(self._numbers)) for n in signals.names], np.int32)
        if len(signals):
            told = arrow(number=self._places, **_table(signals, "name", "type", "unit", "role", "asset"))
            with self._file.transaction():
                self._file.ask("DELETE FROM signals WHERE name IN (SELECT name FROM rows)", rows=told)
                self._file.ask("INSERT INTO signals SELECT * FROM rows", rows=told)

    def _load(self) -> None:
        """Read the newest points and what is known of all points."""
        ((self._revisions, self._duplicates),) = self._file.ask("SELECT revisions, duplicates FROM store").fetchall()
        ((self._points,),) = self._file.ask("SELECT coalesce(max(sequence) + 1, 0) FROM points").fetchall()
        ((self._entries,),) = self._file.ask("SELECT coalesce(max(sequence) + 1, 0) FROM journal").fetchall()
        self._extents: dict[int, tuple[int, int, int]] = {}
        self._measured = 0  # points that `_extents` knows of
        newest = np.full(len(self._numbers), NEVER, np.int64)
        for number, time in self._file.ask("SELECT signal, max(time) FROM points GROUP BY signal").fetchall():
            newest[number] = time
        floor = NEVER
        if self._points > self.recent:
            ((floor,),) = self._file.ask(
                "SELECT time FROM points ORDER BY time DESC LIMIT 1 OFFSET $1", self.recent
            ).fetchall()
        self._tail = Tail(len(self._numbers), self, self.recent)
        self._tail.fill(self._columns("WHERE time > $1", floor), floor, newest)
        self._stale = False

    # -- writing ---------------------------------------------------------------------------------------------------

    def append(self, batch: Batch, notes: Sequence[Any] = ()) -> int:
        entries = [entry(value) for value in (*batch.events, *notes)]
        with self._lock:
            if self._stale:
                self._recover()
            points = Columns(self._places[batch.signal], batch.time, batch.value, batch.quality)
            keep, revisions = self._tail.sift(points)
            new = len(batch)
            received = batch.received
            if not keep.all():
                points, received, new = points.take(keep), received[keep], int(keep.sum())
            duplicates = len(batch) - new
            if not new and not entries and not duplicates:
                return 0
            try:
                with self._file.transaction():
                    self._write_points(points, received)
                    self._write_entries(entries)
                    if revisions or duplicates:
                        counters = (self._revisions + revisions, self._duplicates + duplicates)
                        self._file.ask("UPDATE store SET revisions = $1, duplicates = $2", *counters)
            except StoreError:
                self._stale = True
                with suppress(StoreError):
                    self._recover()
                raise
            if new:
                self._tail.add(points)
            self._points += new
            self._entries += sum(e.kind != "snapshot" for e in entries)
            self._revisions += revisions
            self._duplicates += duplicates
        return new

    def record(self, *values: Any) -> None:
        self.append(Batch.of([], [], []), values)

    def _write_points(self, points: Columns, received: Times) -> None:
        n = len(points.time)
        if n:
            sequence = np.arange(self._points, self._points + n)
            rows = arrow(a=sequence, b=points.signal, c=points.time, d=received, e=points.value, f=points.quality)
            self._file.ask("INSERT INTO points SELECT * FROM rows", rows=rows)

    def _write_entries(self, entries: Sequence[Entry]) -> None:
        kept = [e for e in entries if e.kind != "snapshot"]
        if kept:
            sequence = np.arange(self._entries, self._entries + len(kept))
            rows = arrow(sequence=sequence, **_table(kept, "kind", "id", "time", "body"))
            self._file.ask("INSERT INTO journal SELECT * FROM rows", rows=rows)
        snapshots = {e.id: e for e in entries if e.kind == "snapshot"}
        if snapshots:
            rows = arrow(**_table(snapshots.values(), "id", "time", "body"))
            self._file.ask(
                """MERGE INTO snapshots USING rows ON (snapshots.id = rows.id)
                WHEN MATCHED THEN UPDATE SET time = rows.time, body = rows.body
                WHEN NOT MATCHED THEN INSERT VALUES (rows.id, rows.time, rows.body)""",
                rows=rows,
            )

    def _recover(self) -> None:
        """After a failed append: memory as the file has it; a connection that DuckDB gave up is made anew."""
        try:
            self._load()
        except StoreError:
            self._file.reopen()
            self._load()

    # -- reading ---------------------------------------------------------------------------------------------------

    def window(self, signals: Sequence[str], start: int, end: int, every: int | None = None) -> Frame:
        with self._lock:
            return self._tail.window(find(self._numbers, signals), signals, start, end, every)

    def latest(self, signals: Sequence[str], at: int | None = None) -> Frame:
        with self._lock:
            return self._tail.latest(find(self._numbers, signals), signals, at)

    def each(self, signals: Sequence[str]) -> tuple[Times, Floats, Codes]:
        """The newest usable value of each signal with its own time, 0 where there is none: columns [s]."""
        with self._lock:
            return self._tail.each(find(self._numbers, signals))

    def read(self, kind: str, start: int | None = None, end: int | None = None, last: int | None = None) -> list[Any]:
        query, inside = f"{_NEWEST} ORDER BY time DESC, sequence DESC", "time BETWEEN $2 AND $3"
        if kind == "snapshot":
            query = """SELECT body FROM snapshots
                WHERE $1 = 'snapshot' AND time BETWEEN $2 AND $3 ORDER BY time DESC, id DESC"""
        with self._lock:
            bounds = (NEVER if start is None else int(start), FOREVER if end is None else int(end))
            found = self._file.ask(
                f"{query.format(inside)} LIMIT $4", kind, *bounds, 2**62 if last is None else last
            ).fetchall()
        return [codec.decode(body) for (body,) in reversed(found)]

    def pick(self, kind: str, times: Sequence[int]) -> list[Any]:
        query = f"{_NEWEST} ORDER BY time, sequence".format("time IN (SELECT time FROM rows)")
        with self._lock:
            found = self._file.ask(query, kind, rows=arrow(time=np.array(times, np.int64))).fetchall()
        return [codec.decode(body) for (body,) in found]

    def rollup(self, signals: Sequence[str], start: int, width: int, cells: int) -> list[Rollup]:
        numbers = find(self._numbers, signals)
        where = f"signal IN ({', '.join(map(str, numbers))}) AND time BETWEEN $1 AND $1 + $2::BIGINT * $3 - 1"
        source = (
            "points"
            if not self._revisions
            else f"""(SELECT signal, time, arg_max(value, sequence) AS value,
            arg_max(quality, sequence) AS quality FROM points WHERE {where} GROUP BY signal, time)"""
        )
        found = self._file.scan(
            f"""SELECT signal, cell, min(v) AS low, avg(v) AS mean, max(v) AS high, count(v) AS usable, count(*) AS held
            FROM (SELECT signal, ((time - $1) // $2)::USMALLINT AS cell,
                CASE WHEN quality <> {BAD} AND isfinite(value) THEN value END AS v FROM {source} WHERE {where})
            GROUP BY signal, cell""",
            start, width, cells,
        )  # fmt: skip
        return [_rollup(found, found["signal"] == number, cells) for number in numbers]

    def extent(self, signals: Sequence[str]) -> list[tuple[int, int, int]]:
        numbers = find(self._numbers, signals)
        while (known := self._measured) < (upto := self._points):
            fresh = self._file.scan(
                """SELECT signal, min(time) AS oldest, max(time) AS newest, count(*) AS held FROM points
                WHERE sequence BETWEEN $1 AND $2 GROUP BY signal""",
                known,
                upto - 1,
            )
            with self._lock:
                if self._measured == known:  # else somebody else was faster
                    self._measured = upto
                    for number, *new in zip(*(column.tolist() for column in fresh.values()), strict=True):
                        oldest, newest, held = self._extents.get(number, (FOREVER, NEVER, 0))
                        self._extents[number] = (min(oldest, new[0]), max(newest, new[1]), held + new[2])
        return [self._extents.get(number, (0, 0, 0)) for number in numbers]

    def index(self, kind: str, start: int | None = None, end: int | None = None) -> list[tuple[int, str]]:
        bounds = (NEVER if start is None else int(start), FOREVER if end is None else int(end))
        with self._lock:
            return self._file.ask(
                "SELECT DISTINCT time, id FROM journal WHERE kind = $1 AND time BETWEEN $2 AND $3 ORDER BY time",
                kind, *bounds,
            ).fetchall()  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Points kept, how many of them revise an earlier one, duplicates turned away, journal entries."""
        with self._lock:
            ((snapshots,),) = self._file.ask("SELECT count(*) FROM snapshots").fetchall()
            return {
                "points": self._points,
                "revisions": self._revisions,
                "duplicates": self._duplicates,
                "entries": self._entries + snapshots,
            }

    def digest(self) -> str:
        """SHA-256 of points and journal without `received`: equal for two runs that heard and thought the same."""
        with self._lock:
            return digest(self._sorted_points(), self._sorted_entries())

    def _sorted_points(self) -> Iterator[tuple[str, Times, Floats, Codes]]:
        for name, number in sorted(self._numbers.items()):
            own = self._columns("WHERE signal = $1", number, order="time, sequence")
            if len(own.time):
                yield name, *own[1:]

    def _sorted_entries(self) -> Iterator[Entry]:
        found = self._file.ask(
            """SELECT kind, id, time, body FROM
                (FROM journal UNION ALL SELECT 0, 'snapshot', id, time, body FROM snapshots)
            ORDER BY kind, id, time, sequence"""
        )
        while rows := found.fetchmany(1000):
            yield from (Entry(*row) for row in rows)

    def between(self, signals: Sequence[int], start: int, end: int) -> Columns:
        """For `Tail`: points of these signals by number, in arrival order."""
        chosen = "" if len(set(signals)) >= len(self._numbers) else f" AND signal IN ({', '.join(map(str, signals))})"
        return self._columns(f"WHERE time BETWEEN $1 AND $2{chosen}", int(start), int(end))

    def sharing(self, signal: Ints, time: Times) -> Columns:
        """For `Tail`: points that have the (signal, time) of one of these."""
        keys = arrow(signal=signal, time=time)
        return self._columns(
            "SEMI JOIN rows USING (signal, time) WHERE time BETWEEN $1 AND $2",
            int(time.min()),
            int(time.max()),
            rows=keys,
        )

    def _columns(self, where: str, *values: int, order: str = "sequence", rows: Any = None) -> Columns:
        query = f"SELECT signal, time, value, quality FROM points {where} ORDER BY {order}"
        found = self._file.ask(query, *values, rows=rows).fetchnumpy()
        return Columns(*(np.asarray(found[name]) for name in Columns._fields))


def _rollup(found: Mapping[str, Any], own: Bools, cells: int) -> Rollup:
    """The rows of one signal, spread over all cells."""

    def spread(name: str, kind: Any, empty: float) -> Any:
        column = np.full(cells, empty, kind)
        column[found["cell"][own]] = np.ma.filled(found[name][own], empty)
        return column

    usable, held = spread("usable", np.int64, 0), spread("held", np.int64, 0)
    low, mean, high = (spread(name, np.float64, np.nan) for name in ("low", "mean", "high"))
    return Rollup(low, mean, high, usable, held - usable)


def _table(things: Iterable[Any], *names: str) -> dict[str, Any]:
    """Attributes of things as columns."""
    held = list(things)
    table = {name: [getattr(thing, name) for thing in held] for name in names}
    return table | ({"time": np.array(table["time"], np.int64)} if "time" in table else {})
