"""Work that takes a while, told as it goes on: server-sent events `progress`, and at the end `done` or `error`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from gemel.serve.http.errors import unexpected
from gemel.serve.http.events import event
from gemel.serve.shapes import encoded

Step = Callable[[int, int, str], None]


async def events(work: Callable[[Step], Any]) -> AsyncIterator[bytes]:
    """The events of `work`, which runs in a thread; it goes on also when nobody listens any more."""
    loop = asyncio.get_running_loop()
    news: asyncio.Queue[bytes | None] = asyncio.Queue()

    def step(done: int, of: int, text: str) -> None:
        loop.call_soon_threadsafe(news.put_nowait, event("progress", encoded({"done": done, "of": of, "text": text})))

    working = asyncio.ensure_future(asyncio.to_thread(work, step))
    working.add_done_callback(lambda _: news.put_nowait(None))
    while (held := await news.get()) is not None:
        yield held
    try:
        yield event("done", encoded(working.result()))
    except Exception as error:
        yield event("error", unexpected(error)[1])
