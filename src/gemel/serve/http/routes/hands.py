"""Actuators in people's hands."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from gemel.core.life import Action
from gemel.core.values import Decision
from gemel.serve.http import schema
from gemel.serve.http.routing import PREFIX, Body, Name, Span, caller, hosted, needs, reply

route = APIRouter(prefix=PREFIX)
Note = Annotated[str, Field(description="Why.", max_length=500)]


class Taken(Body):
    signal: str = Field(description="A controlled signal.")
    note: Note = ""


class Take(Taken):
    span: Span = Field(default=None, description="After this long it goes back by itself; left out: never.")


class Put(Taken):
    value: float = Field(description="The setpoint, in the unit of the signal.")


@route.get("/twins/{twin}/hands", tags=["hands"], **needs("read", list[schema.Hand]))
async def hands(request: Request, twin: Name) -> Response:
    """Every actuator: who has it in hand (null: the twin), what was last sent, what is measured."""
    return reply(await hosted(request, twin).ask("hands"))


@route.post("/twins/{twin}/hands/take", tags=["hands"], **needs("approve", Action))
async def take(request: Request, twin: Name, body: Take) -> Response:
    """Take an actuator over: what the twin decides for it is not sent meanwhile."""
    return reply(await hosted(request, twin).ask("take", **body.model_dump(), by=caller(request).name))


@route.post("/twins/{twin}/hands/put", tags=["hands"], **needs("approve", Decision))
async def put(request: Request, twin: Name, body: Put) -> Response:
    """Send a setpoint for an actuator that one has in hand. What the guard refuses is not sent, and stands in the
    answer."""
    return reply(await hosted(request, twin).ask("put", **body.model_dump(), by=caller(request).name))


@route.post("/twins/{twin}/hands/release", tags=["hands"], **needs("approve", Action))
async def release(request: Request, twin: Name, body: Taken) -> Response:
    """Give an actuator back. Nothing is sent; the twin goes on from where it stands."""
    return reply(await hosted(request, twin).ask("release", **body.model_dump(), by=caller(request).name))
