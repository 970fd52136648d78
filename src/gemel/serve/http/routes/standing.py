"""How far a twin can be trusted, and what it would have been worth."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gemel.serve.http import schema
from gemel.serve.http.hot import SPAN
from gemel.serve.http.routing import PREFIX, Name, hosted, needs, reply

route = APIRouter(prefix=PREFIX)


@route.get("/twins/{twin}/standing", tags=["standing"], **needs("read", schema.Standing))
async def standing(
    request: Request, twin: Name, signal: Annotated[str | None, Query(description="Whose forecasts are scored.")] = None
) -> Response:
    """How good its forecasts were beside the naive ones, calibration, parameters over time, drift, versions."""
    return reply(await hosted(request, twin).ask("standing", signal=signal))


@route.get("/twins/{twin}/shadow", tags=["standing"], **needs("read", schema.Shadow))
async def shadow(
    request: Request,
    twin: Name,
    last: Annotated[str, Query(description="How far back.", json_schema_extra={"pattern": SPAN})] = "7d",
) -> Response:
    """What it would have done beside the controller that was there, and what that was worth, with an interval."""
    return reply(await hosted(request, twin).ask("shadow", last=last))
