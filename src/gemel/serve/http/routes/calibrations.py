"""What the simulator was calibrated to, and doing it again."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import HTMLResponse, Response, StreamingResponse
from typing_extensions import TypedDict

from gemel.core.calibrated import REPORT
from gemel.core.units import duration
from gemel.desk.calibration.versions import chosen
from gemel.serve.http import schema
from gemel.serve.http.errors import DOCUMENTED
from gemel.serve.http.hot import SPAN, TIME, moment
from gemel.serve.http.progress import events
from gemel.serve.http.routing import EVENT, PREFIX, Body, Name, hosted, needs, reply

route = APIRouter(prefix=PREFIX)
HERE = "/twins/{twin}/calibrations"


class Calibration(TypedDict):
    """`fits`: it is of the simulator that the twin has now."""

    version: str
    promoted: bool
    fits: bool
    card: dict[str, Any]


class Calibrate(Body):
    last: str = Field(default="30d", description="How far back.", json_schema_extra={"pattern": SPAN})
    start: str | None = Field(
        default=None, description="From when, in the place of `last`.", json_schema_extra={"pattern": TIME}
    )
    end: str | None = Field(default=None, description="Until when.", json_schema_extra={"pattern": TIME})
    method: str = Field(default="esmda", description="esmda or least_squares.", max_length=32)
    members: int = Field(default=200, ge=10, le=2000)
    hold: float = Field(default=0.2, description="How much of the end is held back.", ge=0.05, le=0.5)
    valid: str = Field(default="90d", description="For how long it is good.", json_schema_extra={"pattern": SPAN})
    promote: bool | None = Field(default=None, description="Use it in any case, or in none. Default: if it is better.")


@route.get(HERE, tags=["artifacts"], **needs("read", list[Calibration]))
async def calibrations(request: Request, twin: Name) -> Response:
    """Every calibration, the oldest first, and which one is in use."""
    return reply(await hosted(request, twin).ask("calibrations"))


@route.post(
    HERE, tags=["artifacts"], response_class=StreamingResponse,
    **{**needs("admin"), "responses": {**DOCUMENTED, 200: {"content": {"text/event-stream": {"schema": EVENT}}}}},
)  # fmt: skip
async def calibrate(request: Request, twin: Name, body: Calibrate) -> Response:
    """Fit the simulator's parameters to the twin's own history; what came out is put to use if that is better. Told as
    server-sent events: `progress` with `done`, `of` and `text`, at the end `done` or `error`."""
    one = hosted(request, twin)
    for span in (body.last, body.valid):
        duration(span)  # what is no duration is told before the stream begins
    times = {name: moment(text) for name, text in (("start", body.start), ("end", body.end)) if text is not None}
    work = partial(one.calibrate, {**body.model_dump(), **times})
    return StreamingResponse(events(work), media_type="text/event-stream")


@route.post(HERE + "/back", tags=["artifacts"], **needs("admin", schema.InUse))
async def calibration_back(request: Request, twin: Name) -> Response:
    """Put the calibration before to use again."""
    return reply({"promoted": await hosted(request, twin).ask("use_calibration")})


@route.post(HERE + "/{version}/promote", tags=["artifacts"], **needs("admin", schema.InUse))
async def use_calibration(request: Request, twin: Name, version: str) -> Response:
    """Put a calibration to use: the twin's belief takes its parameters, and keeps its states."""
    return reply({"promoted": await hosted(request, twin).ask("use_calibration", version=version)})


@route.get(
    HERE + "/{version}/report", tags=["artifacts"], response_class=Response,
    **{**needs("read"), "responses": {**DOCUMENTED, 200: {"content": {"text/html": {"schema": {"type": "string"}}}}}},
)  # fmt: skip
async def calibration_report(request: Request, twin: Name, version: str) -> Response:
    """Its report, one page to keep: fitted courses, residuals, parameters, scores, where it holds."""
    one = hosted(request, twin).twin
    found = await asyncio.to_thread(chosen, one.artifacts, version)
    text = await asyncio.to_thread(found.files[REPORT].read_text, "utf-8")
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in one.name)
    name = f"{kept}-calibration-{found.version}.html"
    return HTMLResponse(text, headers={"content-disposition": f'attachment; filename="{name}"'})
