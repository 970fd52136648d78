"""A copy of a twin, now or at a past instant, to try things on."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from gemel.serve.http import schema
from gemel.serve.http.hot import SPAN, TIME, moment
from gemel.serve.http.routing import PREFIX, Body, Name, Span, hosted, needs, reply
from gemel.serve.shapes import shaped

route = APIRouter(prefix=PREFIX)


class Ranged(TypedDict):
    """`low` and `high`: 5 % and 95 % of the members."""

    mean: float | None
    low: float | None
    high: float | None


class Scored(Ranged):
    """`saving`: what it costs less than with nothing set, taken in each member."""

    objective: str
    saving: Ranged


class Forked(schema.Compared):
    """`difference`: of whatif and asis, taken in each member. `score` null: nothing to score by."""

    time: int
    difference: schema.ForecastShape
    score: Scored | None


class Try(Body):
    at: str | None = Field(
        default=None,
        description="The instant it is taken at, ISO 8601 or nanoseconds. Default: now.",
        json_schema_extra={"pattern": TIME},
    )
    members: int = Field(default=200, description="How many members the belief is drawn again to.", ge=1, le=1000)
    set: dict[str, float | dict[str, float]] = Field(
        default={}, description="Inputs: a number, or a schedule {'2h': 1, '5h': 0}, from so long afterwards on."
    )
    horizon: Span = None
    every: str | None = Field(
        default=None, description="The step. Default: a turn.", json_schema_extra={"pattern": SPAN}
    )
    objective: str | None = Field(
        default=None,
        description="What an hour costs: '0.1 * fan_power + ageing'. Default: the policy's own.",
        max_length=500,
    )
    truth: bool = Field(default=False, description="Inputs that are not set are what was measured afterwards.")


@route.post("/twins/{twin}/fork", tags=["thinking"], **needs("simulate", Forked))
async def fork(request: Request, twin: Name, body: Try) -> Response:
    """The twin copied, with inputs set, beside the same copy with nothing set. Nothing is kept."""
    at = None if body.at is None else moment(body.at)
    found = await hosted(request, twin).ask("fork", **{**body.model_dump(), "at": at})
    forecasts = {name: shaped(found[name]) for name in ("asis", "whatif", "difference")}
    return reply({**found, **forecasts})
