"""The stream of a twin over WebSocket: one JSON message a text frame."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from gemel.core.errors import GemelError, InputError, nearest
from gemel.serve.host import Host
from gemel.serve.http.errors import status_of, told
from gemel.serve.http.hot import Asgi
from gemel.serve.stream import TOPICS, Reader

PATH = "/v1/twins/{twin}/stream"
_PATH = re.compile(r"/v1/twins/([^/]+)/stream")

MOST = 500
"""Readers a twin may have at once."""


class Stream:
    """Answers the stream itself, and hands everything else on to `app`."""

    def __init__(self, app: Asgi, host: Host) -> None:
        self._app, self._host = app, host

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        await receive()  # the wish to connect
        try:
            found = _PATH.fullmatch(scope["path"])
            if found is None:
                raise InputError(f"there is no stream at {scope['path']}", f"streams are at {PATH}")
            hub = self._host[found[1]].hub
            topics, since = _wanted(scope["query_string"].decode("latin-1"))
            if len(hub.readers) >= MOST:
                raise GemelError(f"{MOST} readers watch this twin already", "try again later")
        except GemelError as error:
            await _refuse(send, error)
            return
        # a browser that showed its key as a subprotocol wants to hear that this was understood
        protocol = next((p for p in scope.get("subprotocols", ()) if not p.startswith("bearer.")), None)
        await send({"type": "websocket.accept", "subprotocol": protocol})
        reader = hub.join(topics, since)
        try:
            async with asyncio.TaskGroup() as tasks:
                telling = tasks.create_task(_tell(reader, send))
                while (await receive())["type"] != "websocket.disconnect":
                    pass  # what a reader says is not listened to
                telling.cancel()
        finally:
            hub.leave(reader)


async def _tell(reader: Reader, send: Any) -> None:
    with suppress(OSError):  # it has gone; the disconnect follows
        while True:
            await send({"type": "websocket.send", "text": await reader.next()})


def _wanted(query: str) -> tuple[list[str], int | None]:
    """Topics and `since` of a query."""
    found = dict(parse_qsl(query))
    if wrong := [key for key in found if key not in ("topics", "since")]:
        raise InputError(f"unknown parameter '{wrong[0]}'", "there are: topics, since")
    topics = [t for t in found.get("topics", "").split(",") if t] or list(TOPICS)
    for topic in topics:
        if topic not in TOPICS:
            raise InputError(f"unknown topic '{topic}'{nearest(topic, TOPICS)}", f"there are: {', '.join(TOPICS)}")
    since = found.get("since")
    if since is not None and not re.fullmatch(r"\d{1,18}", since):
        raise InputError(f"since '{since}' is not a number", "give the sequence of the last message that was seen")
    return topics, None if since is None else int(since)


async def _refuse(send: Any, error: GemelError) -> None:
    body = told(error.message, error.hint)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": status_of(error), "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
