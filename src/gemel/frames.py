"""Data frames in and out, in whatever library the caller uses: `gemel.forecast(df, horizon)`, and values as tables.

Letters in shapes: s series or signals, h steps ahead, q levels.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np

from gemel.core.calendar import Steps, infer
from gemel.core.errors import InputError, nearest
from gemel.core.units import SECOND, duration
from gemel.core.values import DECILES, GOOD, Float32s, Floats, Forecast, Frame, Times
from gemel.forecasters.member import member
from gemel.loop.forecast import Forecaster

ROWS = 16_384
"""Rows of a series that a forecast looks at; older ones are left out."""

_TOGETHER = 64  # series of one length forecast by one call

_LONG = (("unique_id", "ds", "y"), ("item_id", "timestamp", "target"))
_TIMES = ("ds", "timestamp", "time", "date", "datetime")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = {"month": 1, "quarter": 3, "year": 12}


@dataclass(frozen=True, slots=True)
class _Table:
    """Series as columns, and how to write an answer back."""

    names: list[Any]
    times: list[Times]  # [n] each: ns UTC, or whole numbers when `counted`
    values: list[Floats]  # [n] each
    id: str
    time: str
    counted: bool
    zone: str
    dtype: Any  # of the time column; None when it was text
    backend: Any


def forecast(
    df: Any,
    horizon: int | str,
    levels: Sequence[float] = DECILES,
    freq: str | int | None = None,
    kind: str | Mapping[str, Any] = "foundation",
) -> Any:
    """What comes next in every series of a data frame, in the caller's own library.

    df: pandas, polars, Arrow, or anything with the Arrow PyCapsule interface. Long: `unique_id, ds, y` or
    `item_id, timestamp, target` (the id may be missing when there is one series); or wide: a time column (or a pandas
    DatetimeIndex) and a column of numbers for each series. Times are datetimes, dates, ISO texts or whole numbers, in
    any order, with gaps and repeats: the values of one step are averaged. Times without a zone are taken for UTC.
    horizon: steps, or a duration (`"24h"`).
    levels: the quantiles wanted.
    freq: the spacing (`"15min"`, `"month"`, `"quarter"`, `"year"`, a number where times are); by default each series
    has that of most of its times.
    kind: a forecaster of `gemel.forecasters` (`"theta"`), or its table (`{"kind": "theta", "season": "24h"}`);
    by default the pre-trained network that comes with Gemel, in its best way.

    Returns a long frame: the id, the time, `mean`, `median`, and a column for each level (`q0.1`). Raises `InputError`
    for a frame it cannot read.
    """
    table = _read(df)
    levels = tuple(levels)
    every = tuple(sorted({*levels, 0.5}))
    grids = _grids(table, freq)
    ends = [int(times[-1]) for times in table.times]
    frames = [_gridded(table, [i], grids[i], ends[i]) for i in range(len(grids))]
    alike: dict[tuple[int, int, int], list[int]] = {}
    for i, frame in enumerate(frames):
        alike.setdefault((grids[i].spacing, len(frame), _rows(horizon, grids[i], table)), []).append(i)
    found: dict[int, Float32s] = {}
    for (_, _, ahead), members in alike.items():
        for start in range(0, len(members), _TOGETHER):
            part = members[start : start + _TOGETHER]
            answer = _forecaster(kind).forecast(_beside([frames[i] for i in part]), ahead, levels=every)
            found |= dict(zip(part, answer.values, strict=True))
    order = range(len(grids))
    columns = {
        table.id: [table.names[i] for i in order for _ in found[i]],
        table.time: np.concatenate([grids[i].ahead(ends[i], len(found[i])) for i in order]),
        **_columns(np.concatenate([found[i] for i in order]).astype(np.float64), every, levels),
    }
    return _written(columns, table).to_native()


def forecast_file(path: str | Path, horizon: int | str, levels: Sequence[float] = DECILES) -> tuple[Frame, Forecast]:
    """Every series of a CSV or Parquet file up to the newest time in it, and the forecast from there on.

    The rows of the history are `Steps.spacing` apart: a month counts as one of average length."""
    table = _read(_load(Path(path)))
    ends = [int(times[-1]) for times in table.times]
    newest = int(np.argmax(ends))
    steps, end = _grids(table, None)[newest], ends[newest]
    context = _gridded(table, range(len(ends)), steps, end)
    answer = _forecaster("foundation").forecast(context, _rows(horizon, steps, table), levels=levels)
    past = replace(context, time=end + steps.spacing * np.arange(1 - len(context), 1, dtype=np.int64))
    return past, replace(answer, time=steps.ahead(end, len(answer)), issued=end)


def to_frame(value: Frame | Forecast, like: Any = None) -> Any:
    """A Frame as a wide table (`time` and a column a signal), a Forecast as a long one (`signal`, `time`, `mean`,
    `median`, a column a level).

    The library is that of `like`, else one that is already imported: polars, then pandas, then pyarrow."""
    if like is not None:
        backend = nw.from_native(like, eager_only=True).implementation
    else:
        backend = next((name for name in ("polars", "pandas") if sys.modules.get(name)), "pyarrow")
    utc = _Table([], [], [], "signal", "time", False, "UTC", nw.Datetime("ns", "UTC"), backend)
    if isinstance(value, Frame):
        wide = {name: value.values[:, i] for i, name in enumerate(value.signals)}
        return _written({"time": value.time, **wide}, utc).to_native()
    s, h, q = value.values.shape
    names = [name for name in value.signals for _ in range(h)]
    flat = value.values.reshape(s * h, q).astype(np.float64)
    columns = {"signal": names, "time": np.tile(value.time, s), **_columns(flat, value.levels, value.levels)}
    return _written(columns, utc).to_native()


# -- reading -----------------------------------------------------------------------------------------------------------


def _read(df: Any) -> _Table:
    frame = _native(df)
    if not len(frame):
        raise InputError("the data frame has no rows", "give at least one row a series")
    columns = frame.columns
    for id, time, target in _LONG:
        if time in columns and target in columns:
            return _split(frame, id, time, target)
    time = _time_column(frame)
    rest = [c for c in columns if c != time]
    text = [c for c in rest if not (frame[c].dtype.is_numeric() or frame[c].dtype == nw.Boolean)]
    if text:
        raise InputError(
            f"column '{text[0]}' holds {frame[text[0]].dtype}, not numbers",
            "drop it, or name the columns of a long frame unique_id, ds, y",
        )
    if not rest:
        raise InputError("there is no column of numbers beside the time column", f"there is: {', '.join(columns)}")
    stamps, counted, zone, dtype = _stamps(frame[time])
    order = np.argsort(stamps, kind="stable")
    values = [_numbers(frame[c])[order] for c in rest]
    return _Table(
        rest, [stamps[order]] * len(rest), values, "unique_id", time, counted, zone, dtype, frame.implementation
    )


def _native(df: Any) -> nw.DataFrame[Any]:
    if hasattr(df, "index") and hasattr(df, "reset_index"):  # pandas and its kin
        if hasattr(df, "to_frame"):
            df = df.to_frame(name=df.name if df.name is not None else "y")
        if getattr(df.index.dtype, "kind", "") == "M":
            df = df.rename_axis(index=df.index.name or "time").reset_index()
        names = [str(name) for name in df.columns]
        for name, times in Counter(names).most_common(1):
            if times > 1:
                raise InputError(f"{times} columns are named '{name}'", "give each a name of its own")
        df = df.set_axis(names, axis="columns")
    try:
        return nw.from_native(df, eager_only=True)
    except TypeError:
        if hasattr(df, "__arrow_c_stream__"):
            return nw.DataFrame.from_arrow(df, backend="pyarrow")
        raise InputError(
            f"a {type(df).__name__} is not a data frame", "give pandas, polars or Arrow; collect a lazy frame first"
        ) from None


def _time_column(frame: nw.DataFrame[Any]) -> str:
    named = [c for c in frame.columns if c.lower() in _TIMES]
    typed = [c for c in frame.columns if frame[c].dtype.is_temporal()]
    found = named if len(named) == 1 else typed
    if len(found) != 1:
        what = f"{len(found)} time columns ({', '.join(found)})" if found else "no time column"
        raise InputError(
            f"{what} among {', '.join(frame.columns)}", "name one 'time', or use unique_id, ds, y (long frames)"
        )
    return found[0]


def _split(frame: nw.DataFrame[Any], id: str, time: str, target: str) -> _Table:
    """The series of a long frame, in the order in which they first appear."""
    stamps, counted, zone, dtype = _stamps(frame[time])
    if not (frame[target].dtype.is_numeric() or frame[target].dtype == nw.Boolean):
        raise InputError(f"column '{target}' holds {frame[target].dtype}, not numbers", "turn it into numbers first")
    values = _numbers(frame[target])
    ids = frame[id].to_list() if id in frame.columns else [target] * len(frame)
    first = {name: k for k, name in enumerate(dict.fromkeys(ids))}
    group = np.array([first[name] for name in ids])
    order = np.lexsort((stamps, group))
    cuts = np.nonzero(np.diff(group[order]))[0] + 1
    return _Table(
        list(first), np.split(stamps[order], cuts), np.split(values[order], cuts),
        id, time, counted, zone, dtype, frame.implementation,
    )  # fmt: skip


def _stamps(column: nw.Series[Any]) -> tuple[Times, bool, str, Any]:
    """Times as whole numbers, whether they only count, their zone, and their type."""
    dtype = column.dtype
    if column.null_count():
        raise InputError(f"column '{column.name}' has {column.null_count()} rows without a time", "drop them first")
    if dtype.is_integer():
        return column.cast(nw.Int64).to_numpy().astype(np.int64), True, "", dtype
    if dtype in (nw.String, nw.Object, nw.Categorical):
        try:
            texts = [datetime.fromisoformat(str(text)) for text in column.to_list()]
        except ValueError as error:
            raise InputError(
                f"column '{column.name}': {error}", "write times as ISO 8601, or parse them first"
            ) from None
        bare = sum(t.tzinfo is None for t in texts)
        if 0 < bare < len(texts):
            raise InputError(f"{bare} times of column '{column.name}' have no zone, the others have", "give all one")
        _held(min(t.year for t in texts), max(t.year for t in texts), column.name)
        true = [t.replace(tzinfo=UTC) if bare else t for t in texts]
        return np.array([(t - _EPOCH) // timedelta(microseconds=1) * 1000 for t in true], np.int64), False, "", None
    if not dtype.is_temporal() or dtype == nw.Duration or dtype == nw.Time:
        raise InputError(f"column '{column.name}' holds {dtype}, not times", "give datetimes, dates or whole numbers")
    zone = getattr(dtype, "time_zone", None) or ""
    years = column.dt.year()
    _held(years.min(), years.max(), column.name)
    whole = column.cast(nw.Datetime("ns")) if dtype == nw.Date else column
    return whole.dt.timestamp("ns").to_numpy().astype(np.int64), False, zone, dtype


def _held(first: int, last: int, name: str) -> None:
    if first < 1678 or last > 2261:
        raise InputError(f"column '{name}' goes from {first} to {last}", "times in ns lie between 1678 and 2261")


def _numbers(column: nw.Series[Any]) -> Floats:
    values = np.asarray(column.cast(nw.Float64).fill_null(float("nan")).to_numpy(), np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _load(path: Path) -> Any:
    """A CSV or Parquet file as an Arrow table."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(path)
    from pyarrow import ArrowInvalid, csv

    try:
        return csv.read_csv(path)
    except ArrowInvalid as error:
        raise InputError(f"cannot read {path} as CSV: {error}", "give a CSV or Parquet file with a header") from None


# -- grids -------------------------------------------------------------------------------------------------------------


def _grids(table: _Table, freq: str | int | None) -> list[Steps]:
    """The steps of each series; one with a single time takes those that most others have."""
    if freq is not None:
        return [_given(freq, table)] * len(table.names)
    found = [_inferred(np.unique(times), table) for times in table.times]
    known = [steps for steps in found if steps is not None]
    if not known:
        raise InputError(
            f"series '{table.names[0]}' has a single time, so its spacing is unknown", 'say it: freq="15min"'
        )
    usual = Counter(known).most_common(1)[0][0]
    return [steps or usual for steps in found]


def _inferred(times: Times, table: _Table) -> Steps | None:
    if table.counted:
        return Steps(max(int(np.median(np.diff(times))), 1)) if len(times) > 1 else None
    return infer(times, table.zone)


def _given(freq: str | int, table: _Table) -> Steps:
    if table.counted != isinstance(freq, int):
        kind = "whole numbers" if table.counted else "times"
        raise InputError(f"freq {freq!r} does not fit a time column of {kind}", 'write 1 for counts, "15min" for times')
    if isinstance(freq, int):
        if freq < 1:
            raise InputError(f"freq {freq} must be 1 or more")
        return Steps(freq)
    if freq in _MONTHS:
        return Steps(0, _MONTHS[freq], table.zone)
    try:
        return Steps(duration(freq), 0, table.zone)
    except InputError:
        raise InputError(
            f"freq '{freq}' is unknown{nearest(freq, _MONTHS)}", 'write "15min", "1d", "month", "quarter" or "year"'
        ) from None


def _rows(horizon: int | str, steps: Steps, table: _Table) -> int:
    """How many steps a horizon is."""
    if isinstance(horizon, str):
        if table.counted:
            raise InputError(f"a horizon of '{horizon}' does not fit a time column of whole numbers", "give steps")
        return max(round(duration(horizon) / steps.spacing), 1)
    if not isinstance(horizon, int | np.integer):
        raise InputError(f"a horizon of {horizon} is not a whole number of steps", 'ask for 96, or "24h"')
    if horizon < 1:
        raise InputError(f"a horizon of {horizon} steps is not ahead", 'ask for 1 step or more, or "24h"')
    return int(horizon)


def _gridded(table: _Table, members: Sequence[int], steps: Steps, end: int) -> Frame:
    """Series on one grid up to `end`: the mean of each cell, NaN where there is nothing, at most the last `ROWS` rows.

    The times of the frame are as far apart as the steps, and start at zero."""
    places = [steps.place(table.times[i], end) for i in members]
    n = min(max(-int(p[0]) for p in places) + 1, ROWS)
    values = np.full((n, len(members)), np.nan)
    for k, (i, place) in enumerate(zip(members, places, strict=True)):
        there = np.isfinite(table.values[i]) & (place > -n)
        row, held = place[there] + n - 1, table.values[i][there]
        count = np.bincount(row, minlength=n)
        values[count > 0, k] = np.bincount(row, held, n)[count > 0] / count[count > 0]
    time = (SECOND if table.counted else steps.spacing) * np.arange(n, dtype=np.int64)
    return Frame(time, values, np.full(values.shape, GOOD, np.uint8), tuple(str(table.names[i]) for i in members))


def _beside(frames: Sequence[Frame]) -> Frame:
    values = np.concatenate([f.values for f in frames], axis=1)
    quality = np.concatenate([f.quality for f in frames], axis=1)
    return Frame(frames[0].time, values, quality, tuple(str(i) for i in range(len(frames))))


def _forecaster(kind: str | Mapping[str, Any]) -> Forecaster:
    return member({"kind": kind} if isinstance(kind, str) else kind, "forecast")


# -- writing -----------------------------------------------------------------------------------------------------------


def _columns(values: Floats, held: Sequence[float], wanted: Sequence[float]) -> dict[str, Floats]:
    """mean, median and a column a level, of quantiles [rows, q]. The mean is the integral of the quantile function,
    straight between levels and flat outside them."""
    edges = np.concatenate([[0.0], (np.array(held[1:]) + held[:-1]) / 2, [1.0]])
    i = min(max(int(np.searchsorted(held, 0.5)), 1), len(held) - 1)
    share = min(max((0.5 - held[i - 1]) / (held[i] - held[i - 1]), 0.0), 1.0) if i else 0.0
    columns = {"mean": values @ np.diff(edges), "median": values[:, i - 1] * (1 - share) + values[:, i] * share}
    return columns | {f"q{level:g}": values[:, list(held).index(level)] for level in wanted}


def _written(columns: Mapping[str, Any], table: _Table) -> nw.DataFrame[Any]:
    """A frame of the caller's library, its time column of the caller's type and zone."""
    times = columns[table.time]
    frame = nw.from_dict(
        {**columns, table.time: times if table.counted else times.view("datetime64[ns]")}, backend=table.backend
    )
    if table.counted or table.dtype is None:
        return frame
    time = nw.col(table.time)
    if table.zone:
        time = time.dt.replace_time_zone("UTC").dt.convert_time_zone(table.zone)
    return frame.with_columns(time.cast(table.dtype))
