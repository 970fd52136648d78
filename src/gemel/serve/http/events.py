"""Server-sent events that are told while somebody listens, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.responses import Response

from gemel.serve.http.errors import unexpected
from gemel.serve.shapes import encoded


def event(name: str, body: bytes) -> bytes:
    """One event as it is sent."""
    return f"event: {name}\ndata: ".encode() + body + b"\n\n"


class Events(Response):
    """The events that `work` tells, called with a function of a name and a value. When the reader goes away the work is
    cancelled."""

    media_type = "text/event-stream"

    def __init__(self, work: Callable[[Callable[[str, Any], Awaitable[None]]], Awaitable[None]]) -> None:
        super().__init__()
        self._work = work
        del self.headers["content-length"]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def tell(name: str, value: Any) -> None:
            part = event(name, encoded(value))
            await send({"type": "http.response.body", "body": part, "more_body": True})

        async def listening() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async def working() -> None:
            try:
                await self._work(tell)
            except Exception as error:
                await tell("error", msgspec.Raw(unexpected(error)[1]))

        async with asyncio.TaskGroup() as tasks:
            gone, work = tasks.create_task(listening()), tasks.create_task(working())
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            work.cancel()
        await send({"type": "http.response.body", "body": b""})
