"""How the engine's values look outside: plain JSON, tables of Arrow and CSV.

Times are whole nanoseconds, UTC. What is not a number (NaN) is null. Grids are lists a signal, not a row a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import msgspec
import numpy as np

from gemel.core.values import Belief, Codes, Floats, Forecast, Frame, Times

DIGITS = 6
"""Of a forecast: nobody knows more of what is to come."""


def encoded(value: Any) -> bytes:
    """JSON; the engine's values as objects, arrays as lists."""
    return msgspec.json.encode(value, enc_hook=_plain)


def shaped(value: Any) -> Any:
    """The value with its large arrays laid out for readers."""
    if isinstance(value, Forecast):
        return {
            "id": value.id,
            "by": value.by,
            "issued": value.issued,
            "signals": value.signals,
            "levels": value.levels,
            "time": value.time.tolist(),
            "values": _rounded(value.values),  # [s][q][h]
            "because": value.because,
        }
    if isinstance(value, Belief):
        return {"id": value.id, "time": value.time, "mean": value.mean(), "spread": value.spread()}
    if isinstance(value, list | tuple):
        return [shaped(v) for v in value]
    return value


def pieces(frame: Frame, most: int = 50_000) -> Iterator[bytes]:
    """The JSON of a frame in pieces of so many numbers: a large one would keep everybody else waiting."""

    def listed(column: Any) -> Iterator[bytes]:
        for i in range(0, max(len(column), 1), most):
            text = msgspec.json.encode(column[i : i + most].tolist())
            yield (b"[" if i == 0 else b"," if len(text) > 2 else b"") + text[1:-1]
        yield b"]"

    yield b'{"signals":' + encoded(frame.signals) + b',"time":'
    yield from listed(frame.time)
    for name, grid in (("values", frame.values), ("quality", frame.quality)):
        yield f',"{name}":['.encode()
        for i, column in enumerate(grid.T):
            yield b"," if i else b""
            yield from listed(column)
        yield b"]"
    yield b"}"


def latest(frames: list[Frame]) -> dict[str, Any]:
    """The newest value of each signal, a frame of one row each, in columns."""
    values = np.array([f.values[0, 0] for f in frames], np.float64)
    times = np.where(np.isfinite(values), np.array([f.time[0] for f in frames], np.int64), 0)
    codes = np.array([f.quality[0, 0] for f in frames], np.uint8)
    return columns([f.signals[0] for f in frames], times, values, codes)


def columns(signals: Sequence[str], time: Times, value: Floats, quality: Codes) -> dict[str, Any]:
    """Newest values; a signal never heard (time 0) has null for time and value."""
    times = [t or None for t in time.tolist()]
    return {"signals": signals, "time": times, "value": value.tolist(), "quality": quality.tolist()}


def table(frame: Frame) -> Any:
    """An Arrow table: `time`, a column a signal, and its quality codes in `NAME quality`."""
    import pyarrow as pa

    found = frame.to_arrow()
    for i, name in enumerate(frame.signals):
        found = found.append_column(f"{name} quality", pa.array(frame.quality[:, i]))
    return found


def arrow(frame: Frame) -> bytes:
    """`table` as an Arrow IPC stream."""
    import pyarrow as pa

    found = table(frame)
    sink = BytesIO()
    with pa.ipc.new_stream(sink, found.schema) as writer:
        writer.write_table(found)
    return sink.getvalue()


def csv(frame: Frame) -> bytes:
    """`time` and a column a signal; an empty cell is missing."""
    from pyarrow import csv as written

    sink = BytesIO()
    written.write_csv(frame.to_arrow(), sink)
    return sink.getvalue()


def _rounded(values: Any) -> list[Any]:
    """Quantiles [s, h, q] as [s][q][h], with as many digits as a person could use."""
    held: Floats = np.swapaxes(values, 1, 2).astype(np.float64)
    return [_round(signal).tolist() for signal in held]


def _round(values: Floats) -> Floats:
    most = float(np.abs(values).max(initial=0.0, where=np.isfinite(values)))
    return np.round(values, max(DIGITS - 1 - math.floor(math.log10(most)), 0)) if most > 0 else values


def _plain(thing: Any) -> Any:
    if isinstance(thing, np.ndarray):
        return thing.tolist()
    if isinstance(thing, np.generic):
        return thing.item()
    raise NotImplementedError(f"a {type(thing).__name__} has no shape in JSON")
