"""The hot routes, asked many times a second: newest values and history, straight over ASGI."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from gemel.core.clock import pause
from gemel.core.errors import InputError, nearest
from gemel.core.units import instant
from gemel.core.values import Frame
from gemel.desk.newest import newest
from gemel.serve import shapes
from gemel.serve.host import Host
from gemel.serve.http.errors import unexpected

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
PATHS = {f"/v1/twins/{{twin}}/{what}": what for what in ("latest", "history")}
MIMES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
}
SPAN = r"^(\d+(\.\d+)?(ns|us|ms|s|min|h|d|w))+$"
TIME = r"^(-?\d{1,18}|\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z?)?)$"
"""How durations and times are written, for the description; what else is understood is not turned away."""
LONG = 50_000
"""Bytes after which somebody else gets a word in."""
_PATH = re.compile(r"/v1/twins/([^/]+)/(latest|history)")
_KNOWN = {"latest": ("signals",), "history": ("signals", "last", "start", "end", "every", "format")}


class Hot:
    """Answers the hot routes itself and hands everything else on to `app`."""

    def __init__(self, app: Asgi, host: Host) -> None:
        self._app, self._host = app, host

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        found = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        try:
            query = _query(scope["query_string"].decode("latin-1"), _KNOWN[found[2]])
            mime, body = await getattr(self, f"_{found[2]}")(found[1], query, scope)
            status = 200
        except Exception as error:
            mime = MIMES["json"]
            status, body = unexpected(error)
        headers = [(b"content-type", mime.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _latest(self, twin: str, query: Mapping[str, Any], scope: Any) -> tuple[str, bytes]:
        # from memory, in microseconds: a thread would cost more than the answer
        one = self._host[twin].desk.twin
        names = query["signals"] or one.signals.names
        return MIMES["json"], shapes.encoded(shapes.columns(names, *newest(one.store, one.signals, names)))

    async def _history(self, twin: str, query: Mapping[str, Any], scope: Any) -> tuple[str, bytes]:
        form = _form(query.get("format"), scope)
        spans = {key: query[key] for key in ("last", "every") if key in query}
        times = {key: moment(query[key]) for key in ("start", "end") if key in query}
        if not spans.get("last") and "start" not in times:
            spans["last"] = "1d"
        frame: Frame = await self._host[twin].ask("history", signals=query["signals"] or None, **spans, **times)
        if form != "json":
            return MIMES[form], await asyncio.to_thread(shapes.csv if form == "csv" else shapes.arrow, frame)
        parts = []
        for piece in shapes.pieces(frame):
            parts.append(piece)
            if len(piece) > LONG:
                await pause(0)
        return MIMES[form], b"".join(parts)


def moment(text: str) -> int:
    """A time in a call: ISO 8601, or nanoseconds. Raises `InputError` for one no twin has seen."""
    time = int(text) if re.fullmatch(r"-?\d{1,20}", text) else instant(text)
    if not -(2**62) < time < 2**62:
        raise InputError(f"'{text}' is out of range", "times lie between 1823 and 2116")
    return time


def _query(text: str, known: tuple[str, ...]) -> dict[str, Any]:
    """The parameters of a call; `signals` is a list, by commas or repeated."""
    found: dict[str, Any] = {"signals": []}
    for key, value in parse_qsl(text, keep_blank_values=True):
        if key not in known:
            raise InputError(f"unknown parameter '{key}'{nearest(key, known)}", f"there are: {', '.join(known)}")
        if not value and key != "signals":
            raise InputError(f"parameter '{key}' is empty", "leave it out, or give it a value")
        if key == "signals":
            found[key] += [name for name in value.split(",") if name]
        else:
            found[key] = value
    return found


def _form(asked: str | None, scope: Any) -> str:
    """The form of an answer: `format`, else the first one of the Accept header that there is, else JSON."""
    if asked is not None:
        if asked not in MIMES:
            raise InputError(f"unknown format '{asked}'{nearest(asked, MIMES)}", f"there are: {', '.join(MIMES)}")
        return asked
    accept = next((v for k, v in scope["headers"] if k == b"accept"), b"").decode("latin-1")
    names = {mime.partition(";")[0]: form for form, mime in MIMES.items()}
    return next((names[n] for part in accept.split(",") if (n := part.partition(";")[0].strip()) in names), "json")


# what the OpenAPI document says of them
def _parameter(name: str, text: str, place: str = "query", **schema: Any) -> dict[str, Any]:
    held = {"type": "string", **schema}
    return {"name": name, "in": place, "required": place == "path", "description": text, "schema": held}


_TWIN = _parameter("twin", "The twin's name.", "path")
_SIGNALS = _parameter("signals", "Only these, separated by commas. Default: all.")
_NUMBERS = {"type": "array", "items": {"type": ["number", "null"]}}
_TIMES = {"type": "array", "items": {"type": ["integer", "null"]}}
_CODES = {"type": "array", "items": {"type": "integer"}}
_NAMES = {"type": "array", "items": {"type": "string"}}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def paths(responses: Mapping[str, Any]) -> dict[str, Any]:
    """The two routes as paths of an OpenAPI document; `responses` are those for trouble."""
    newest = _object(signals=_NAMES, time=_TIMES, value=_NUMBERS, quality=_CODES)
    grid = _object(
        signals=_NAMES,
        time=_TIMES,
        values={"type": "array", "items": _NUMBERS},
        quality={"type": "array", "items": _CODES},
    )
    binary = {"schema": {"type": "string", "contentEncoding": "binary"}}
    forms = {
        "application/json": {"schema": grid},
        "text/csv": {"schema": {"type": "string"}},
        MIMES["arrow"]: binary,
    }
    asked = [
        _parameter("last", 'How far back from the newest point: "7d". Default, without `start`: "1d".', pattern=SPAN),
        _parameter("start", "From this time on: ISO 8601 or nanoseconds.", pattern=TIME),
        _parameter("end", "Up to this time. Default: the newest point.", pattern=TIME),
        _parameter("every", 'Grid: "1h" (cell means, gaps flagged). Default: the stamps as they came.', pattern=SPAN),
        _parameter("format", "Instead of the Accept header.", enum=list(MIMES)),
    ]

    def get(what: str, text: str, parameters: list[Any], content: Any) -> dict[str, Any]:
        good = {"description": "Columns, a list a signal.", "content": content}
        return {
            "get": {
                "operationId": what, "summary": text, "tags": ["telemetry"], "x-scope": "read",
                "parameters": [_TWIN, _SIGNALS, *parameters], "responses": {"200": good, **responses},
            }
        }  # fmt: skip

    one = {"application/json": {"schema": newest}}
    latest, history = PATHS
    return {
        latest: get("latest", "The newest usable value of each signal.", [], one),
        history: get("history", "What was measured, as JSON, CSV or Arrow.", asked, forms),
    }
