"""Reads what is sent, within bounds, and what a request is told that goes no further."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from gemel.serve.http.errors import told

LARGEST = 1 << 20
"""Bytes of a body."""


class Refused(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, error: str, hint: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(error)
        self.status, self.body, self.headers = status, told(error, hint), list(headers)


async def read(receive: Any, headers: Mapping[str, str], slowest_s: float, limit: int = LARGEST) -> bytes:
    """All of a body; one that is too large, or too slow, is refused."""
    large = Refused(413, f"the body is larger than {limit:,} bytes", "send less at a time")
    if headers.get("content-length", "0").isdigit() and int(headers.get("content-length", "0")) > limit:
        raise large
    parts, size = [], 0
    try:
        async with asyncio.timeout(slowest_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "the caller has gone", "")
                part = message.get("body", b"")
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise large
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise Refused(400, "the body did not come", "send it at once") from None


def replayed(body: bytes, receive: Any) -> Any:
    """A `receive` that has the body again, and then waits for the end as before."""
    given = False

    async def again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
