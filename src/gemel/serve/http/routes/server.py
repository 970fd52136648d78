"""The server itself: its health, its counts."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from gemel.serve.http import schema
from gemel.serve.http.errors import DOCUMENTED
from gemel.serve.http.inference import sees
from gemel.serve.http.metrics import metrics as written
from gemel.serve.http.routing import PREFIX, TEXT, caller, host, needs, reply

route = APIRouter(prefix=PREFIX)


@route.get("/health/live", tags=["server"], **needs("", schema.Health))
async def live(request: Request) -> Response:
    """The process answers."""
    return reply({"ok": True})


@route.get("/health/ready", tags=["server"], **needs("", schema.Health))
async def ready(request: Request) -> Response:
    """Every twin lives, or has come to the end of its sources."""
    well = not any(one.trouble for one in host(request))
    return reply({"ok": well}, 200 if well else 503)


@route.get("/me", tags=["server"], **needs("read", schema.Me))
async def me(request: Request) -> Response:
    """Who asks, and what they may do."""
    who = caller(request)
    return reply({"name": who.name, "scopes": sorted(who.scopes), "twins": sorted(who.twins)})


@route.get(
    "/metrics", tags=["server"], response_class=Response,
    **{**needs("read"), "responses": {**DOCUMENTED, 200: {"content": {"text/plain": {"schema": TEXT}}}}},
)  # fmt: skip
async def metrics(request: Request) -> Response:
    """Counts and states, as Prometheus text."""
    who = caller(request)
    text = await written([one for one in host(request) if who.sees(one.twin.name)], request.app.state.counts)
    text += request.app.state.inference.measured(partial(sees, who))
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
