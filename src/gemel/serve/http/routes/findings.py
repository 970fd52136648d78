"""What is wrong, and what people do about it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from gemel.core.life import Action
from gemel.core.values import Finding
from gemel.serve.http.hot import SPAN, TIME, moment
from gemel.serve.http.routing import PREFIX, Body, Name, caller, hosted, needs, reply

route = APIRouter(prefix=PREFIX)
Note = Annotated[str, Field(description="Why.", max_length=2000)]
For = Annotated[str, Field(description='For how long: "8h".', json_schema_extra={"pattern": SPAN})]


class Said(Body):
    findings: list[str] = Field(description="Ids of findings.", min_length=1, max_length=1000)
    note: Note = ""


class Shelf(Said):
    span: For


class Close(Said):
    again: For = "1h"


class Verdict(Body):
    was: str = Field(description='"mill: worn tool" (an asset and a cause), or "false alarm".', max_length=200)


class Window(Body):
    subject: str = Field(description="An asset or a signal.")
    span: For
    note: Note
    start: str | None = Field(default=None, description="Default: now.", json_schema_extra={"pattern": TIME})


Id = Annotated[str, Path(description="Id of the finding.", min_length=1)]
By = Annotated[str, Query(description="An explainer, or `evidence`: what the finding carries itself.")]


class Which(Body):
    id: str


@route.get("/twins/{twin}/findings", tags=["findings"], **needs("read", list[Finding]))
async def findings(
    request: Request, twin: Name, all: Annotated[bool, Query(description="Also those that are closed.")] = False
) -> Response:
    """What is wrong, and how each finding stands with people."""
    return reply(await hosted(request, twin).ask("findings", all=all))


@route.get("/twins/{twin}/findings/{id}/why", tags=["findings"], **needs("read", dict[str, Any]))
async def why(request: Request, twin: Name, id: Id, by: By = "attribution") -> Response:
    """Why a finding says what it says: shares of the signals, ranked causes, raw signals, similar findings of the past,
    and one sentence in English and Chinese."""
    return reply(await hosted(request, twin).ask("why", finding=id, by=by))


@route.post("/twins/{twin}/findings/{id}/verdict", tags=["findings"], **needs("approve", list[Finding]))
async def verdict(request: Request, twin: Name, id: Id, body: Verdict) -> Response:
    """What a finding really was, as a person found. Detectors that learn from cases take it up."""
    return reply(await hosted(request, twin).ask("verdict", finding=id, was=body.was, by=caller(request).name))


@route.post("/twins/{twin}/findings/acknowledge", tags=["findings"], **needs("approve", list[Finding]))
async def acknowledge(request: Request, twin: Name, body: Said) -> Response:
    """Somebody has seen them and will act."""
    return await _done(request, twin, "acknowledge", body)


@route.post("/twins/{twin}/findings/shelve", tags=["findings"], **needs("approve", list[Finding]))
async def shelve(request: Request, twin: Name, body: Shelf) -> Response:
    """Put them aside for a time, with the reason; afterwards they are open again."""
    return await _done(request, twin, "shelve", body)


@route.post("/twins/{twin}/findings/resolve", tags=["findings"], **needs("approve", list[Finding]))
async def resolve(request: Request, twin: Name, body: Close) -> Response:
    """Close them, with a note; what the detector still sees after `again` is open again."""
    return await _done(request, twin, "resolve", body)


@route.post("/twins/{twin}/findings/reopen", tags=["findings"], **needs("approve", list[Finding]))
async def reopen(request: Request, twin: Name, body: Said) -> Response:
    """Take back an acknowledgement, a shelf or a close."""
    return await _done(request, twin, "reopen", body)


@route.get("/twins/{twin}/maintenance", tags=["findings"], **needs("read", list[Action]))
async def maintenance(
    request: Request, twin: Name, all: Annotated[bool, Query(description="Also those that are over.")] = False
) -> Response:
    """Maintenance windows that are or will be."""
    return reply(await hosted(request, twin).ask("maintenance", all=all))


@route.post("/twins/{twin}/maintenance", tags=["findings"], **needs("approve", list[Action]))
async def maintain(request: Request, twin: Name, body: Window) -> Response:
    """A time in which what is found about an asset or a signal does not ring; answers with all windows."""
    given = body.model_dump() | {"start": None if body.start is None else moment(body.start)}
    return reply(await hosted(request, twin).ask("maintain", **given, by=caller(request).name))


@route.post("/twins/{twin}/maintenance/end", tags=["findings"], **needs("approve", list[Action]))
async def end_maintenance(request: Request, twin: Name, body: Which) -> Response:
    """End a window now; answers with those that are left."""
    return reply(await hosted(request, twin).ask("end_maintenance", id=body.id, by=caller(request).name))


async def _done(request: Request, twin: str, method: str, body: Said) -> Response:
    return reply(await hosted(request, twin).ask(method, **body.model_dump(), by=caller(request).name))
