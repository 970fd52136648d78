"""The control API: what may be asked of the twins, each route with the scope it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from gemel.core.errors import NotFound
from gemel.core.values import Ack, Asset, Command, Decision, Finding, Signal
from gemel.serve.host import Host, Hosted
from gemel.serve.http import schema
from gemel.serve.http.errors import DOCUMENTED
from gemel.serve.http.hot import SPAN, TIME, moment
from gemel.serve.http.metrics import metrics as written
from gemel.serve.http.progress import events
from gemel.serve.shapes import encoded, shaped
from gemel.trust.access import LOCAL, Caller

route = APIRouter(prefix="/v1")
TEXT = {"type": "string"}
EVENT = {"type": "object", "properties": {"event": {"enum": ["progress", "done", "error"]}, "data": TEXT}}
Name = Annotated[str, Path(description="The twin's name.", min_length=1)]
Last = Annotated[int, Query(description="How many of the newest.", ge=1, le=1000)]
When = Annotated[str | None, Query(description="ISO 8601 or nanoseconds.", json_schema_extra={"pattern": TIME})]
Span = Annotated[
    str | None,
    Field(description='A duration: "24h". Default: the horizon of the twin.', json_schema_extra={"pattern": SPAN}),
]


def needs(scope: str, answer: Any = None, **more: Any) -> dict[str, Any]:
    """What a route says of itself: its scope, the form of its answer, and what may go wrong."""
    return {"response_model": answer, "openapi_extra": {"x-scope": scope}, "responses": DOCUMENTED, **more}


class Body(BaseModel):
    """What is sent; a key nobody knows is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Ahead(Body):
    horizon: Span = None


class WhatIf(Body):
    horizon: Span = None
    setpoints: dict[str, float] = Field(default={}, description="Inputs held from now on: {'fan': 2}.")


class Proposal(Body):
    setpoints: dict[str, float] = Field(description="Signal -> setpoint.", min_length=1, max_length=1000)
    reason: str = Field(default="", max_length=2000)
    valid: str = Field(default="1h", description="How long it may be approved.", json_schema_extra={"pattern": SPAN})
    dry: bool = Field(default=False, description="Show what would come of it, keep nothing.")


class Version(Body):
    version: str = Field(default="", description="Which one; empty: the one before the one in use.", max_length=64)


# -- the server --------------------------------------------------------------------------------------------------------


@route.get("/health/live", tags=["server"], **needs("", schema.Health))
async def live(request: Request) -> Response:
    """The process answers."""
    return _reply({"ok": True})


@route.get("/health/ready", tags=["server"], **needs("", schema.Health))
async def ready(request: Request) -> Response:
    """Every twin lives, or has come to the end of its sources."""
    well = not any(hosted.trouble for hosted in _host(request))
    return _reply({"ok": well}, 200 if well else 503)


@route.get(
    "/metrics", tags=["server"], response_class=Response,
    **{**needs("read"), "responses": {**DOCUMENTED, 200: {"content": {"text/plain": {"schema": TEXT}}}}},
)  # fmt: skip
async def metrics(request: Request) -> Response:
    """Counts and states, as Prometheus text."""
    caller = _caller(request)
    text = await written([h for h in _host(request) if caller.sees(h.twin.name)], request.app.state.counts)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


# -- what a twin is ----------------------------------------------------------------------------------------------------


@route.get("/twins", tags=["twins"], **needs("read", list[schema.Overview]))
async def twins(request: Request) -> Response:
    """The twins that are served here, those the key is good for."""
    caller = _caller(request)
    return _reply([_overview(hosted) for hosted in _host(request) if caller.sees(hosted.twin.name)])


@route.get("/twins/{twin}", tags=["twins"], **needs("read", schema.Status))
async def status(request: Request, twin: Name) -> Response:
    """How a twin is: counts, newest values, belief, findings."""
    hosted = _host(request)[twin]
    return _reply({**_overview(hosted), **await hosted.ask("status")})


@route.get("/twins/{twin}/signals", tags=["twins"], **needs("read", list[Signal]))
async def signals(request: Request, twin: Name) -> Response:
    """Its signals with units, roles and limits."""
    return _reply(list(_host(request)[twin].twin.signals))


@route.get("/twins/{twin}/assets", tags=["twins"], **needs("read", list[Asset]))
async def assets(request: Request, twin: Name) -> Response:
    """The things its signals belong to."""
    return _reply([asdict(asset) for asset in _host(request)[twin].twin.assets])


# -- what it thinks ----------------------------------------------------------------------------------------------------


@route.get("/twins/{twin}/forecasts", tags=["thinking"], **needs("read", list[schema.ForecastShape]))
async def forecasts(request: Request, twin: Name) -> Response:
    """What its last turns foresaw: the forecaster's answer, then the simulator's."""
    return _reply(await _host(request)[twin].ask("forecasts"))


@route.post("/twins/{twin}/forecast", tags=["thinking"], **needs("simulate", schema.ForecastShape))
async def forecast(request: Request, twin: Name, body: Ahead) -> Response:
    """A fresh forecast from the newest telemetry."""
    return _reply(await _host(request)[twin].ask("forecast", horizon=body.horizon))


@route.post("/twins/{twin}/whatif", tags=["thinking"], **needs("simulate", schema.Compared))
async def whatif(request: Request, twin: Name, body: WhatIf) -> Response:
    """The simulator's outputs as things stand, and with some inputs held."""
    found = await _host(request)[twin].ask("whatif", horizon=body.horizon, setpoints=body.setpoints)
    return _reply({"asis": shaped(found[0]), "whatif": shaped(found[1])})


@route.get("/twins/{twin}/findings", tags=["thinking"], **needs("read", list[Finding]))
async def findings(
    request: Request, twin: Name, all: Annotated[bool, Query(description="Also those that are closed.")] = False
) -> Response:
    """What is wrong."""
    return _reply(await _host(request)[twin].ask("findings", all=all))


@route.get("/twins/{twin}/journal/{kind}", tags=["thinking"], **needs("read", list[schema.Entry]))
async def journal(
    request: Request,
    twin: Name,
    kind: Literal["belief", "forecast", "finding", "decision", "ack", "event"],
    start: When = None,
    end: When = None,
    last: Last = 100,
) -> Response:
    """What it thought and did between two times, the newest entries, oldest first."""
    begin, stop = (None if t is None else moment(t) for t in (start, end))
    return _reply(await _host(request)[twin].ask("journal", kind=kind, start=begin, end=stop, last=last))


# -- what is done ------------------------------------------------------------------------------------------------------


@route.get("/twins/{twin}/decisions", tags=["deciding"], **needs("read", list[Decision]))
async def decisions(request: Request, twin: Name, last: Last = 20) -> Response:
    """The newest decisions, oldest first."""
    return _reply(await _host(request)[twin].ask("decisions", last=last))


@route.get("/twins/{twin}/commands", tags=["deciding"], **needs("read", list[schema.Sent]))
async def commands(request: Request, twin: Name, last: Last = 20) -> Response:
    """The commands of the newest decisions, each with what came of it."""
    found: Sequence[tuple[Command, Ack | None]] = await _host(request)[twin].ask("commands", last=last)
    return _reply([{"command": command, "ack": ack} for command, ack in found])


@route.post("/twins/{twin}/decide", tags=["deciding"], **needs("simulate", Decision))
async def decide(request: Request, twin: Name) -> Response:
    """What the policy would do now. Nothing is sent or kept."""
    return _reply(await _host(request)[twin].ask("decide"))


@route.post("/twins/{twin}/decisions", tags=["deciding"], **needs("propose", Decision))
async def propose(request: Request, twin: Name, body: Proposal) -> Response:
    """Propose setpoints, for a person to approve."""
    return _reply(await _host(request)[twin].ask("propose", **body.model_dump()))


@route.post("/twins/{twin}/decisions/{id}/approve", tags=["deciding"], **needs("approve", Decision))
async def approve(request: Request, twin: Name, id: str) -> Response:
    """Send a proposal, if it is still allowed now."""
    return _reply(await _host(request)[twin].ask("approve", id=id))


@route.post("/twins/{twin}/decisions/{id}/reject", tags=["deciding"], **needs("approve", Decision))
async def reject(request: Request, twin: Name, id: str) -> Response:
    """Say no to a proposal."""
    return _reply(await _host(request)[twin].ask("reject", id=id))


# -- what was learned --------------------------------------------------------------------------------------------------


@route.get("/twins/{twin}/artifacts", tags=["artifacts"], **needs("read", list[schema.Fitted]))
async def artifacts(request: Request, twin: Name) -> Response:
    """What was fitted to the twin: every version, and which one is in use."""
    shelf = _host(request)[twin].twin.artifacts
    return _reply(await asyncio.to_thread(_fitted, shelf))


@route.post("/twins/{twin}/artifacts/{name}/promote", tags=["artifacts"], **needs("admin", schema.InUse))
async def promote(
    request: Request, twin: Name, name: Annotated[str, Path(pattern="^[a-z_]{1,32}$")], body: Version
) -> Response:
    """Put a version to use, or the one before."""
    shelf = _host(request)[twin].twin.artifacts
    if name not in shelf.names() or (body.version and body.version not in shelf.versions(name)):
        raise NotFound(f"there is no version '{body.version}' of {name}", "see the artifacts of the twin")
    done = shelf.promote(name, body.version).version if body.version else shelf.back(name)
    return _reply({"promoted": done})


@route.post(
    "/twins/{twin}/adapt", tags=["artifacts"], response_class=StreamingResponse,
    **{**needs("admin"), "responses": {**DOCUMENTED, 200: {"content": {"text/event-stream": {"schema": EVENT}}}}},
)  # fmt: skip
async def adapt(request: Request, twin: Name, body: Ahead) -> Response:
    """Fit the pre-trained network to the twin's own history; what came out is put to use if that is better. Told as
    server-sent events: `progress` with `done`, `of` and `text`, at the end `done` or `error`."""
    hosted = _host(request)[twin]
    return StreamingResponse(events(partial(hosted.adapt, body.horizon)), media_type="text/event-stream")


def _fitted(shelf: Any) -> list[dict[str, Any]]:
    return [
        {"name": name, "version": version, "promoted": version == shelf.promoted(name), "card": card}
        for name in shelf.names()
        for version in shelf.versions(name)
        for card in [shelf.version(name, version).card]
    ]


def _overview(hosted: Hosted) -> dict[str, Any]:
    twin = hosted.twin
    return {
        "twin": twin.name, "mode": twin.mode, "running": twin.loop is not None, "every": twin.every,
        "horizon": twin.horizon, "trouble": hosted.trouble,
    }  # fmt: skip


def _host(request: Request) -> Host:
    host: Host = request.app.state.host
    return host


def _caller(request: Request) -> Caller:
    return request.scope.get("gemel.caller", LOCAL)


def _reply(value: Any, status: int = 200) -> Response:
    return Response(encoded(shaped(value)), status, media_type="application/json")
