"""What a twin is."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from gemel.core.errors import ConfigError, Conflict, NotFound
from gemel.core.values import Asset, Signal
from gemel.desk import plan
from gemel.serve.host import Hosted
from gemel.serve.http import schema
from gemel.serve.http.errors import DOCUMENTED
from gemel.serve.http.routing import PREFIX, TEXT, Name, caller, host, hosted, needs, reply

route = APIRouter(prefix=PREFIX)


@route.get("/twins", tags=["twins"], **needs("read", list[schema.Overview]))
async def twins(request: Request) -> Response:
    """The twins that are served here, those the key is good for."""
    who = caller(request)
    return reply([_overview(one) for one in host(request) if who.sees(one.twin.name)])


@route.get("/twins/{twin}", tags=["twins"], **needs("read", schema.Status))
async def status(request: Request, twin: Name) -> Response:
    """How a twin is: counts, newest values, belief, findings."""
    one = hosted(request, twin)
    return reply({**_overview(one), **await one.ask("status")})


@route.get("/twins/{twin}/signals", tags=["twins"], **needs("read", list[Signal]))
async def signals(request: Request, twin: Name) -> Response:
    """Its signals with units, roles and limits."""
    return reply(list(hosted(request, twin).twin.signals))


@route.get("/twins/{twin}/assets", tags=["twins"], **needs("read", list[Asset]))
async def assets(request: Request, twin: Name) -> Response:
    """The things its signals belong to."""
    return reply([asdict(asset) for asset in hosted(request, twin).twin.assets])


@route.get(
    "/twins/{twin}/plan", tags=["twins"], response_class=Response,
    **{**needs("read"), "responses": {**DOCUMENTED, 200: {"content": {"image/svg+xml": {"schema": TEXT}}}}},
)  # fmt: skip
async def picture(request: Request, twin: Name) -> Response:
    """Its plan: an SVG, bound to its signals by attributes. It has been checked: nothing in it runs."""
    one = hosted(request, twin).twin
    if not one.plan:
        raise NotFound(f"twin '{one.name}' has no plan", 'draw one, and add plan = "plan.svg" to its file')
    try:
        text = await asyncio.to_thread(plan.read, one.folder / one.plan, one.signals, one.assets)
    except ConfigError as error:
        raise Conflict(error.message, error.hint) from None
    return Response(text, media_type="image/svg+xml; charset=utf-8")


def _overview(one: Hosted) -> dict[str, Any]:
    twin = one.twin
    return {
        "twin": twin.name, "mode": twin.mode, "running": twin.loop is not None, "every": twin.every,
        "horizon": twin.horizon, "trouble": one.trouble,
        "inputs": list(getattr(twin.simulator, "inputs", ())), "outputs": list(getattr(twin.simulator, "outputs", ())),
        "plan": bool(twin.plan),
        "currency": getattr(twin.policy and twin.policy.part, "currency", ""),
    }  # fmt: skip
