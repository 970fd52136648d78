"""What a twin thinks."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from gemel.serve.http import schema
from gemel.serve.http.hot import moment
from gemel.serve.http.routing import PREFIX, Ahead, Body, Last, Name, Span, When, hosted, needs, reply
from gemel.serve.shapes import shaped

route = APIRouter(prefix=PREFIX)


class WhatIf(Body):
    horizon: Span = None
    setpoints: dict[str, float] = Field(default={}, description="Inputs held from now on: {'fan': 2}.")


@route.get("/twins/{twin}/forecasts", tags=["thinking"], **needs("read", list[schema.ForecastShape]))
async def forecasts(request: Request, twin: Name) -> Response:
    """What its last turns foresaw: the forecaster's answer, then the simulator's."""
    return reply(await hosted(request, twin).ask("forecasts"))


@route.post("/twins/{twin}/forecast", tags=["thinking"], **needs("simulate", schema.ForecastShape))
async def forecast(request: Request, twin: Name, body: Ahead) -> Response:
    """A fresh forecast from the newest telemetry."""
    return reply(await hosted(request, twin).ask("forecast", horizon=body.horizon))


@route.post("/twins/{twin}/whatif", tags=["thinking"], **needs("simulate", schema.Compared))
async def whatif(request: Request, twin: Name, body: WhatIf) -> Response:
    """The simulator's outputs as things stand, and with some inputs held."""
    found = await hosted(request, twin).ask("whatif", horizon=body.horizon, setpoints=body.setpoints)
    return reply({"asis": shaped(found[0]), "whatif": shaped(found[1])})


@route.get("/twins/{twin}/estimates", tags=["thinking"], **needs("read", schema.Estimates))
async def estimates(request: Request, twin: Name, start: When = None, end: When = None, last: Last = 300) -> Response:
    """What it believed its signals to be: the simulator's outputs at the newest beliefs, oldest first."""
    begin, stop = (None if t is None else moment(t) for t in (start, end))
    return reply(await hosted(request, twin).ask("estimates", start=begin, end=stop, last=last))


@route.get("/twins/{twin}/journal/{kind}", tags=["thinking"], **needs("read", list[schema.Entry]))
async def journal(
    request: Request,
    twin: Name,
    kind: Literal["belief", "forecast", "finding", "decision", "ack", "event", "action"],
    start: When = None,
    end: When = None,
    last: Last = 100,
) -> Response:
    """What it thought and did between two times, the newest entries, oldest first."""
    begin, stop = (None if t is None else moment(t) for t in (start, end))
    return reply(await hosted(request, twin).ask("journal", kind=kind, start=begin, end=stop, last=last))
