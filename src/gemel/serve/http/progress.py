"""Work that takes a while, told as it goes on: server-sent events `progress`, and at the end `done` or `error`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gemel.serve.http.errors import unexpected
from gemel.serve.http.events import event
from gemel.serve.shapes import encoded

Step = Callable[[int, int, str], None]


async def events(work: Callable[[Step], Any]) -> AsyncIterator[bytes]:
    """The events of `work`, which runs in a thread of its own: it may take minutes, and others need the shared ones. It
    goes on also when nobody listens any more, and ends with the next step when the server has ended."""
    loop = asyncio.get_running_loop()
    news: asyncio.Queue[bytes | None] = asyncio.Queue()

    def step(done: int, of: int, text: str) -> None:
        loop.call_soon_threadsafe(news.put_nowait, event("progress", encoded({"done": done, "of": of, "text": text})))

    thread = ThreadPoolExecutor(1, "work")
    working = loop.run_in_executor(thread, work, step)
    thread.shutdown(wait=False)
    working.add_done_callback(lambda _: news.put_nowait(None))
    while (held := await news.get()) is not None:
        yield held
    try:
        yield event("done", encoded(working.result()))
    except Exception as error:
        yield event("error", unexpected(error)[1])
