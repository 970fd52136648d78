"""What was learned."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from gemel.core.calibrated import NAME
from gemel.core.errors import NotFound
from gemel.core.units import duration
from gemel.serve.http import schema
from gemel.serve.http.errors import DOCUMENTED
from gemel.serve.http.progress import events
from gemel.serve.http.routing import EVENT, PREFIX, Ahead, Body, Name, hosted, needs, reply

route = APIRouter(prefix=PREFIX)


class Version(Body):
    version: str = Field(default="", description="Which one; empty: the one before the one in use.", max_length=64)


@route.get("/twins/{twin}/artifacts", tags=["artifacts"], **needs("read", list[schema.Fitted]))
async def artifacts(request: Request, twin: Name) -> Response:
    """What was fitted to the twin: every version, and which one is in use."""
    shelf = hosted(request, twin).twin.artifacts
    return reply(await asyncio.to_thread(_fitted, shelf))


@route.post("/twins/{twin}/artifacts/{name}/promote", tags=["artifacts"], **needs("admin", schema.InUse))
async def promote(
    request: Request, twin: Name, name: Annotated[str, Path(pattern="^[a-z_]{1,32}$")], body: Version
) -> Response:
    """Put a version to use, or the one before."""
    shelf = hosted(request, twin).twin.artifacts
    if name not in shelf.names() or (body.version and body.version not in shelf.versions(name)):
        raise NotFound(f"there is no version '{body.version}' of {name}", "see the artifacts of the twin")
    if name == NAME:  # the belief takes part in it
        return reply({"promoted": await hosted(request, twin).ask("use_calibration", version=body.version)})
    done = shelf.promote(name, body.version).version if body.version else shelf.back(name)
    return reply({"promoted": done})


@route.post(
    "/twins/{twin}/adapt", tags=["artifacts"], response_class=StreamingResponse,
    **{**needs("admin"), "responses": {**DOCUMENTED, 200: {"content": {"text/event-stream": {"schema": EVENT}}}}},
)  # fmt: skip
async def adapt(request: Request, twin: Name, body: Ahead) -> Response:
    """Fit the pre-trained network to the twin's own history; what came out is put to use if that is better. Told as
    server-sent events: `progress` with `done`, `of` and `text`, at the end `done` or `error`."""
    one = hosted(request, twin)
    if body.horizon:
        duration(body.horizon)  # what is no duration is told before the stream begins
    return StreamingResponse(events(partial(one.adapt, body.horizon)), media_type="text/event-stream")


def _fitted(shelf: Any) -> list[dict[str, Any]]:
    return [
        {"name": name, "version": version, "promoted": version == shelf.promoted(name), "card": card}
        for name in shelf.names()
        for version in shelf.versions(name)
        for card in [shelf.version(name, version).card]
    ]
