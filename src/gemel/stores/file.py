"""One DuckDB file, held by this process: made whole, asked in SQL, its errors told as ours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from gemel.core.errors import StoreBusy, StoreError, StoreFull


class File:
    """Holds the file from `open` to `close`. `memory` bounds what queries may take ("1GB")."""

    def __init__(self, path: Path, memory: str) -> None:
        self.path = path
        self._memory = memory
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._aside: duckdb.DuckDBPyConnection | None = None
        self._reading = Lock()

    def open(self, schema: str) -> None:
        """Take the file; one that is not there is made with `schema`. Raises `StoreBusy` or `StoreError`."""
        if self._connection is not None:
            raise StoreBusy(f"'{self.path}' is open already", "close it first")
        if not self.path.exists():
            self._create(schema)
        self._connection = self._connect(self.path)

    def close(self) -> None:
        """Let go of the file. Nothing is lost without it: it only folds the log into the file."""
        if aside := self._aside:
            with suppress(duckdb.Error):
                aside.interrupt()
        with self._reading:
            if self._connection is not None:
                with suppress(duckdb.Error):
                    self._connection.close()
                self._connection = None

    def reopen(self) -> None:
        """Give up a connection that DuckDB has declared dead (it does so when it cannot write) and make a new one."""
        self.close()
        self._connection = self._connect(self.path)

    def ask(self, query: str, *values: Any, rows: pa.Table | None = None) -> duckdb.DuckDBPyConnection:
        """Run one query. A table called `rows` in it is the argument: DuckDB finds it in this function's frame."""
        if self._connection is None:
            raise StoreError(f"'{self.path}' is not open", "open the store first")
        try:
            return self._connection.execute(query, values)
        except duckdb.Error as error:
            raise _trouble(error, self.path) from error

    def scan(self, query: str, *values: Any) -> dict[str, Any]:
        """Columns of a long query, on a connection of its own: appends go on meanwhile. One at a time; `close` breaks
        it off with a `StoreError`."""
        with self._reading:
            if self._connection is None:
                raise StoreError(f"'{self.path}' is not open", "open the store first")
            try:
                with self._connection.cursor() as self._aside:
                    found: dict[str, Any] = self._aside.execute(query, values).fetchnumpy()
                    return found
            except duckdb.Error as error:
                raise _trouble(error, self.path) from error
            finally:
                self._aside = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; on disk when the context ends."""
        self.ask("BEGIN")
        try:
            yield
            self.ask("COMMIT")
        except BaseException:
            with suppress(StoreError):  # a failed commit has rolled back already
                self.ask("ROLLBACK")
            raise

    def _create(self, schema: str) -> None:
        """Build the empty file aside and put it in place whole, so that no crash leaves half of one."""
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            aside.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"the folder of '{self.path}' cannot be made: {error.strerror}", "choose another path"
            ) from error
        connection = self._connect(aside)
        try:
            connection.execute(schema)
        except duckdb.Error as error:
            raise _trouble(error, self.path) from error
        finally:
            connection.close()
        try:
            os.link(aside, self.path)
        except FileExistsError:
            pass  # another process was faster: its file stands
        except OSError:
            aside.rename(self.path)  # a file system without hard links
        aside.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def _connect(self, path: Path) -> duckdb.DuckDBPyConnection:
        settings = {
            "threads": "1",
            "memory_limit": self._memory,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        try:
            connection = duckdb.connect(str(path), config=settings)
        except duckdb.Error as error:
            raise _trouble(error, self.path) from error
        try:
            connection.execute(
                "ATTACH ':memory:' AS held_by_this_process"
            )  # in one process DuckDB shares a file: notice a second holder
        except duckdb.Error as error:
            connection.close()
            raise _busy(self.path, "this process already") from error
        return connection


def arrow(**columns: Any) -> pa.Table:
    """Columns to insert: arrays of numbers, or sequences of text or bytes.

    Built from buffers without a copy; `pa.table` would import pandas wherever that is installed.
    """
    return pa.Table.from_arrays([_column(column) for column in columns.values()], names=list(columns))


def _column(column: Any) -> pa.Array:
    if isinstance(column, np.ndarray):
        kind = pa.from_numpy_dtype(column.dtype)
        return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(np.ascontiguousarray(column))])
    kind = pa.large_string() if len(column) and isinstance(column[0], str) else pa.large_binary()
    cells: Sequence[bytes] = [cell.encode() if isinstance(cell, str) else cell for cell in column]
    ends = np.zeros(len(cells) + 1, np.int64)
    np.cumsum([len(cell) for cell in cells], out=ends[1:])
    return pa.Array.from_buffers(kind, len(cells), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(cells))])


def _busy(path: Path, holder: str) -> StoreBusy:
    return StoreBusy(f"'{path}' is held by {holder}", "attach to it with gemel.open while it runs, or stop it first")


def _trouble(error: duckdb.Error, path: Path) -> StoreError:
    """What DuckDB says, as our error."""
    said = str(error).partition("\n")[0]
    if "Could not set lock" in said:
        pid = re.search(r"PID (\d+)", said)
        return _busy(path, f"process {pid[1]}" if pid else "another process")
    if "different configuration" in said:
        return _busy(path, "this process already")
    if any(sign in said for sign in ("No space left", "File too large", "Disk quota", "quota exceeded")):
        return StoreFull(
            f"no space left for '{path}': the last append is not kept, all before it is",
            "make room; appends work again then",
        )
    if any(sign in said for sign in ("not a valid DuckDB", "Corrupt", "checksum", "Is a directory")):
        return StoreError(f"'{path}' is not a store, or is damaged: {said}", "restore a copy, or choose another path")
    return StoreError(f"'{path}': {said}", "what was acknowledged is kept; open the store again")
