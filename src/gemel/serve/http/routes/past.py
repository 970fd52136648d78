"""What was: a history at the width of a screen, and any past instant again."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gemel.core.values import Frame
from gemel.serve import shapes
from gemel.serve.http import schema
from gemel.serve.http.errors import DOCUMENTED
from gemel.serve.http.hot import MIMES, TIME, moment
from gemel.serve.http.routing import PREFIX, Name, When, hosted, needs, reply

route = APIRouter(prefix=PREFIX)
Names = Annotated[str, Query(description="Only these, separated by commas. Default: all.", max_length=10_000)]
Instant = Annotated[str, Query(description="ISO 8601 or nanoseconds.", json_schema_extra={"pattern": TIME})]
_BINARY = {"schema": {"type": "string", "contentEncoding": "binary"}}
_ROLLED: dict[int | str, Any] = {200: {"description": "Columns, a set a signal.", "content": {MIMES["arrow"]: _BINARY}}}


@route.get(
    "/twins/{twin}/rollup", tags=["past"],
    **{**needs("read", schema.Rolled), "responses": {**DOCUMENTED, **_ROLLED}},
)  # fmt: skip
async def rollup(
    request: Request,
    twin: Name,
    signals: Names = "",
    start: When = None,
    end: When = None,
    points: Annotated[int, Query(description="How many cells.", ge=1, le=10_000)] = 1200,
    format: Annotated[Literal["json", "arrow"], Query(description="Arrow: one table, a row a cell.")] = "json",
) -> Response:
    """Least, mean and most of equal cells of a history; the points themselves (`raw`) where there are no more than
    that. Zoom by asking again."""
    begin, stop = (None if t is None else moment(t) for t in (start, end))
    found = await hosted(request, twin).ask("rollup", signals=_names(signals), start=begin, end=stop, points=points)
    if format == "arrow":
        return Response(await asyncio.to_thread(_arrow, found["series"]), media_type=MIMES["arrow"])
    return reply(found)


@route.get("/twins/{twin}/extent", tags=["past"], **needs("read", list[schema.Extent]))
async def extent(request: Request, twin: Name, signals: Names = "") -> Response:
    """How far the history of each signal reaches, and how many points it has."""
    return reply(await hosted(request, twin).ask("extent", signals=_names(signals)))


@route.get("/twins/{twin}/at", tags=["past"], **needs("read", schema.Then))
async def at(request: Request, twin: Name, time: Instant) -> Response:
    """A past instant: what was known, believed, foreseen, found and decided then, and what came of it."""
    found = await hosted(request, twin).ask("at", time=moment(time))
    after: Frame | None = found["after"]
    shape = {
        **{name: shapes.shaped(found[name]) for name in ("belief", "forecasts")},
        "latest": shapes.latest(found["latest"]),
        "commands": [{"command": command, "ack": ack} for command, ack in found["commands"]],
        "after": after and {
            "signals": after.signals, "time": after.time, "values": after.values.T, "quality": after.quality.T,
        },
    }  # fmt: skip
    return reply({**found, **shape})


@route.get("/twins/{twin}/moments", tags=["past"], **needs("read", schema.Moments))
async def moments(request: Request, twin: Name, start: When = None, end: When = None) -> Response:
    """When something happened: decisions, forecasts, findings that opened or closed."""
    begin, stop = (None if t is None else moment(t) for t in (start, end))
    return reply(await hosted(request, twin).ask("moments", start=begin, end=stop))


def _names(text: str) -> list[str] | None:
    return [name for name in text.split(",") if name] or None


def _arrow(series: list[dict[str, Any]]) -> bytes:
    """All series as one table: signal, time, min, mean, max, count, bad."""
    import pyarrow as pa

    lengths = [len(one["time"]) for one in series]
    place = np.repeat(np.arange(len(series), dtype=np.int32), lengths)
    names = pa.array([one["signal"] for one in series], pa.string())
    columns: dict[str, Any] = {"signal": pa.DictionaryArray.from_arrays(pa.array(place), names)}
    for name in ("time", "min", "mean", "max", "count", "bad"):
        columns[name] = np.concatenate([one[name] for one in series])
    columns["time"] = pa.array(columns["time"].view("datetime64[ns]"), pa.timestamp("ns", "UTC"))
    sink = BytesIO()
    table = pa.table({n: pa.array(c, from_pandas=True) if isinstance(c, np.ndarray) else c for n, c in columns.items()})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
