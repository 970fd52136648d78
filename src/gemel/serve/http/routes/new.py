"""A twin of somebody's own: from a file or a broker to one that is served, without a restart."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from gemel.core.errors import Conflict
from gemel.core.values import Signal
from gemel.serve import new
from gemel.serve.http import schema
from gemel.serve.http.routing import PREFIX, Body, caller, host, needs, reply
from gemel.serve.new import LARGEST, Uploads

route = APIRouter(prefix=PREFIX)
_LONG = {"x-scope": "admin", "x-limit": 4 << 20}
"""For a text of 300 000 characters, however they are written."""
_FILE = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}


class Guessed(TypedDict):
    value: Any
    sure: float
    why: str


class Proposed(TypedDict):
    """`guesses` has `type unit role low high every asset`; `unsure` names those to look at. `every` and `longest` are
    nanoseconds."""

    label: str
    signal: Signal
    sure: float
    unsure: list[str]
    notes: list[str]
    guesses: dict[str, Guessed]
    every: int
    points: int
    start: int | None
    end: int | None
    gaps: int
    longest: int
    duplicates: int
    empty: int


class Past(TypedDict):
    """`values[signal][time]`"""

    signals: list[str]
    time: list[int]
    values: list[list[float | None]]


class Discovered(TypedDict):
    """`upload`: what to save it with. `naive`: its stamps say no zone, and were taken for UTC."""

    upload: str
    file: str
    name: str
    text: str
    signals: list[Proposed]
    notes: list[str]
    naive: bool
    past: Past | None
    forecast: schema.ForecastShape | None


class Checked(TypedDict):
    ok: bool
    name: str
    problems: list[str]
    hint: str


class Saved(TypedDict):
    twin: str
    file: str


class Broker(Body):
    url: str = Field(description="mqtt://host:port/topic", min_length=1, max_length=1000)
    seconds: float = Field(default=20.0, ge=1.0, le=300.0)


class Text(Body):
    text: str = Field(description="The twin file.", min_length=1, max_length=300_000)
    upload: str = Field(default="", description="As told by `discover`.", max_length=32)


class Save(Text):
    folder: str = Field(default="", description="Below that of the served twin files.", max_length=200)


@route.post(
    "/new/discover", tags=["new"],
    **{**needs("admin", Discovered), "openapi_extra": {"x-scope": "admin", "x-limit": LARGEST, **_FILE}},
)  # fmt: skip
async def discover(
    request: Request, name: Annotated[str, Query(description="Of the file: history.csv", min_length=1, max_length=200)]
) -> Response:
    """What a CSV (also packed: .csv.gz) or Parquet file holds: signals with units, roles, limits and assets, each with
    how sure that is; a twin file of them; a first forecast. The file is the body."""
    _of_all(request)
    body = await request.body()
    return reply(await _alone(request, partial(new.uploaded, host(request), _uploads(request), name, body)))


@route.post("/new/listen", tags=["new"], **needs("admin", Discovered))
async def listen(request: Request, body: Broker) -> Response:
    """The same of what is said on an MQTT broker in some seconds. Nothing is sent there."""
    _of_all(request)
    return reply(await _alone(request, partial(new.heard, host(request), body.url, body.seconds)))


@route.post("/new/check", tags=["new"], **{**needs("admin", Checked), "openapi_extra": _LONG})
async def check(request: Request, body: Text) -> Response:
    """All that is wrong with a twin file, each with its place."""
    _of_all(request)
    folder = _uploads(request).folder(body.upload) if body.upload else host(request).folder
    return reply(await asyncio.to_thread(new.problems, body.text, folder))


@route.post("/new/save", tags=["new"], **{**needs("admin", Saved), "openapi_extra": _LONG})
async def save(request: Request, body: Save) -> Response:
    """Write the twin file beside those that are served, and let the twin live. Nothing is overwritten."""
    _of_all(request)
    given = host(request), _uploads(request)
    made = await _alone(request, partial(new.save, *given, body.text, body.folder, body.upload))
    one = new.started(*given, made, body.upload)
    return reply({"twin": one.twin.name, "file": str(one.file)})


def _of_all(request: Request) -> None:
    """A key for some twins is good for those: a new one is none of them."""
    if caller(request).twins:
        raise HTTPException(403, "this key is for some twins only, and a new one is none of them")


def _uploads(request: Request) -> Uploads:
    found: Uploads = request.app.state.uploads
    return found


async def _alone(request: Request, work: Any) -> Any:
    """One at a time: reading a large file keeps a core busy."""
    busy: asyncio.Lock = request.app.state.looking
    if busy.locked():
        raise Conflict("another new twin is being looked at", "try again in a moment")
    async with busy:
        return await asyncio.to_thread(work)
