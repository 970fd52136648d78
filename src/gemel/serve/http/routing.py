"""What every route shares: the scope it needs, the form of its answer, the names of its arguments."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from gemel.serve.host import Host, Hosted
from gemel.serve.http.errors import DOCUMENTED
from gemel.serve.http.hot import SPAN, TIME
from gemel.serve.shapes import encoded, shaped
from gemel.trust.access import LOCAL, Caller

PREFIX = "/v1"
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


def host(request: Request) -> Host:
    """The twins that are served."""
    found: Host = request.app.state.host
    return found


def hosted(request: Request, twin: str) -> Hosted:
    """One of them; raises `NotFound`."""
    return host(request)[twin]


def caller(request: Request) -> Caller:
    """Who asks, as the guard knows it."""
    return request.scope.get("gemel.caller", LOCAL)


def reply(value: Any, status: int = 200) -> Response:
    """An answer as JSON."""
    return Response(encoded(shaped(value)), status, media_type="application/json")
