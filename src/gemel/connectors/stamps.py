"""Stamps of a file to nanoseconds, UTC.

A stamp with an offset is what it says. A naive one is in the file's zone. Where the clocks go back an hour comes
twice: the first pass is the earlier one, and from the row where the stamps step back (or stand still) the later one.
Where they go forward an hour is missing: a stamp in it is read with the offset before the change, and told, as such
a file was most likely written in standard time all year (`zone = "Etc/GMT-1"`, which is UTC+1).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gemel.core.errors import ConfigError
from gemel.core.units import SECOND, stamp
from gemel.core.values import Times

NONE = np.iinfo(np.int64).min
"""Not a time."""

_DAY, _STEP = 86_400 * SECOND, 900 * SECOND  # zones change on quarter hours
_OFFSET = r"(?:[zZ]|[+-]\d\d:?\d\d)$"


class Stamps:
    """Reads stamps in the order of the file; raises `ConfigError` for a zone nobody knows."""

    def __init__(self, zone: str = "UTC") -> None:
        try:
            self._zone = ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise ConfigError([f"unknown time zone '{zone}'"], 'write an IANA name: zone = "Europe/Berlin"') from None
        self._utc = zone == "UTC"
        self._last = NONE

    def read(self, column: pa.Array) -> tuple[Times, list[tuple[int, str]]]:
        """Nanoseconds UTC [r], `NONE` where a cell is no stamp; and what is wrong, as (row, text)."""
        trouble: list[tuple[int, str]] = []
        if pa.types.is_timestamp(column.type) and column.type.tz:
            time = _ns(cast(column, pa.timestamp("ns", column.type.tz)))
        elif pa.types.is_temporal(column.type):
            time = self._placed(_ns(cast(column, pa.timestamp("ns"))), trouble)
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            time = self._texts(pc.utf8_trim_whitespace(column), trouble)
        else:
            time = _epoch(column)
        wrong = np.flatnonzero(time == NONE)[:3].tolist()
        trouble += [(row, f"'{column[row].as_py() or ''}' is not a time") for row in wrong]
        return time, trouble

    def _texts(self, column: pa.Array, trouble: list[tuple[int, str]]) -> Times:
        first = next((cell for cell in column.slice(0, 100).to_pylist() if cell), "")
        if first.replace(".", "", 1).isdecimal():
            return _epoch(cast(column, pa.float64() if "." in first else pa.int64()))
        said = pc.match_substring_regex(column, _OFFSET).fill_null(False)  # a cell with an offset of its own
        if not said.true_count:
            return self._placed(_ns(cast(column, pa.timestamp("ns"))), trouble)
        whole = _ns(cast(pc.if_else(said, column, None), pa.timestamp("ns", "UTC")))
        naive = self._placed(_ns(cast(pc.if_else(said, None, column), pa.timestamp("ns"))), trouble)
        return np.where(said.to_numpy(zero_copy_only=False), whole, naive)

    def _placed(self, local: Times, trouble: list[tuple[int, str]]) -> Times:
        """Naive stamps, in the zone's own reading."""
        if self._utc or not len(local):
            return local
        there = local != NONE
        early, late = np.zeros_like(local), np.zeros_like(local)
        early[there], late[there] = self._offsets(local[there])
        time = np.where(there, local - early, NONE)
        for row in np.flatnonzero(early < late)[:1].tolist():
            text = f"{stamp(int(local[row]))} does not exist in {self._zone.key}: standard time all year?"
            trouble.append((row, f"{text} (zone Etc/GMT...)"))
        for row in np.flatnonzero(early > late).tolist():  # an hour that comes twice
            before = self._last if row == 0 else int(time[row - 1])
            if time[row] <= before:
                time[row] = local[row] - late[row]
        self._last = int(time[-1])
        return time

    def _offsets(self, local: Times) -> tuple[Times, Times]:
        """The offsets from UTC of each naive stamp, as first and as second reading; equal nearly always."""
        days, which = np.unique(local // _DAY, return_inverse=True)
        ends = np.array([(*self._both(int(d) * _DAY), *self._both(int(d + 1) * _DAY)) for d in days.tolist()])
        early, late = ends[which, 0], ends[which, 1]
        change = (ends != ends[:, :1]).any(axis=1)[which]
        if change.any():
            steps, which = np.unique(local[change] // _STEP, return_inverse=True)
            fine = np.array([self._both(int(s) * _STEP) for s in steps.tolist()])
            early[change], late[change] = fine[which, 0], fine[which, 1]
        return early, late

    def _both(self, local: int) -> tuple[int, int]:
        when = datetime(1970, 1, 1, tzinfo=self._zone) + timedelta(seconds=local // SECOND)  # wall-clock arithmetic
        early, late = when.utcoffset(), when.replace(fold=1).utcoffset()
        assert early is not None
        assert late is not None
        return round(early.total_seconds()) * SECOND, round(late.total_seconds()) * SECOND


def cast(column: pa.Array, to: pa.DataType) -> pa.Array:
    """The column as another type, null where a cell does not read as one."""
    try:
        return column.cast(to)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        half = len(column) // 2  # bad cells are rare: halving finds them in log n casts
        if half == 0:
            return pa.nulls(1, to)
        return pa.concat_arrays([cast(column.slice(0, half), to), cast(column.slice(half), to)])


def spelled(time: Times) -> list[str]:
    """ISO 8601 with Z, as short as says all: seconds, else nanoseconds."""
    when = time.view("datetime64[ns]")
    texts: list[str] = np.datetime_as_string(when, "ns" if (time % SECOND).any() else "s").tolist()
    return [f"{text}Z" for text in texts]


def _ns(column: pa.Array) -> Times:
    found: Times = column.cast(pa.int64()).fill_null(NONE).to_numpy(zero_copy_only=False).copy()
    return found


def _epoch(column: pa.Array) -> Times:
    """Seconds, milli-, micro- or nanoseconds since 1970, told apart by their size."""
    exact = pa.types.is_integer(column.type)
    number = cast(column, pa.int64() if exact else pa.float64())
    there = number.is_valid().to_numpy(zero_copy_only=False)
    number = number.fill_null(0).to_numpy(zero_copy_only=False)
    there &= np.isfinite(number)
    size = float(np.median(np.abs(number[there]))) if there.any() else 0.0
    factor = next(f for limit, f in ((9e9, SECOND), (9e12, 1_000_000), (9e15, 1_000), (np.inf, 1)) if size < limit)
    there &= np.abs(number) < 9.2e18 / factor
    time = np.full(len(number), NONE, np.int64)
    whole = number[there] if exact else np.floor(number[there])
    time[there] = whole.astype(np.int64) * factor
    if not exact:  # the part below a second by itself: the whole stamp has more digits than a float
        time[there] += np.round((number[there] - whole) * factor).astype(np.int64)
    return time
