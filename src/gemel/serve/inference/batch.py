"""Dynamic batching: requests that wait at the same moment and may be answered together are.

One worker thread does all the work, so the event loop stays free and two batches do not fight for the cores. While it
is busy requests gather, and that alone makes batches. When it is free a request waits for companions, a moment at most,
and only if the last batch had several: a lone caller never waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from gemel.core.errors import GemelError, PartError
from gemel.serve.inference.model import Model, Work
from gemel.serve.inference.tensors import Array
from gemel.serve.inference.wire import Refused

log = logging.getLogger(__name__)
T = TypeVar("T")

Heard = Callable[[Model, int, int, float], None]
"""`heard(model, callers, rows, seconds)` after each call of a model."""


@dataclass(slots=True)
class _Caller:
    model: Model
    work: Work
    answer: asyncio.Future[dict[str, Array]]
    since: float


class Batcher:
    """Answers works, at most `rows` rows at once; a work waits up to `wait_s` for others, and `queue` may wait."""

    def __init__(self, rows: int, wait_s: float, queue: int, heard: Heard = lambda *_: None) -> None:
        self.rows, self.wait_s, self.queue = rows, wait_s, queue
        self._heard = heard
        self._worker = ThreadPoolExecutor(1, "gemel-inference")
        self._waiting: deque[_Caller] = deque()
        self._came = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._last = 1  # callers of the last batch

    def __len__(self) -> int:
        return len(self._waiting)

    async def ask(self, model: Model, work: Work) -> dict[str, Array]:
        """The outputs for a work. Raises `Refused` when too many wait already, and what the model raises."""
        if len(self._waiting) >= self.queue:
            raise Refused(503, f"{self.queue} requests are waiting already: ask again later", {"retry-after": "1"})
        loop = asyncio.get_running_loop()
        caller = _Caller(model, work, loop.create_future(), loop.time())
        self._waiting.append(caller)
        self._came.set()
        if self._serving is None or self._serving.done():
            self._serving = loop.create_task(self._serve())
        return await caller.answer

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Have a call made in the worker thread, after those before it."""
        return self._worker.submit(call)

    def close(self) -> None:
        """No more work; what is running ends."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _serve(self) -> None:
        """Batch after batch until nobody waits."""
        while self._waiting:
            await self._companions()
            if together := self._taken():
                self._last = len(together)
                await self._answer(together)

    async def _companions(self) -> None:
        """Wait for as many callers as came last time: they have just been answered, and may ask again. Half a batch is
        enough: then the other half comes and goes while this one is worked on."""
        loop, until = asyncio.get_running_loop(), self._waiting[0].since + self.wait_s
        wanted = min(self._last, self.rows // 2)
        while len(self._waiting) < wanted and loop.time() < until:
            self._came.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._came.wait()

    def _taken(self) -> list[_Caller]:
        """The caller who waits longest, and whoever can be answered with it."""
        first: _Caller | None = None
        together, others, rows = [], [], 0
        for caller in self._waiting:
            if caller.answer.done():  # gone
                continue
            first = first or caller
            alike = caller.model is first.model and caller.work.key == first.work.key
            if alike and (caller is first or rows + caller.work.rows <= self.rows):
                together.append(caller)
                rows += caller.work.rows
            else:
                others.append(caller)
        self._waiting = deque(others)
        return together

    async def _answer(self, together: Sequence[_Caller]) -> None:
        model, works = together[0].model, [c.work for c in together]
        began = perf_counter()
        try:
            answered = list(
                zip(together, await asyncio.wrap_future(self.submit(lambda: model.infer(works))), strict=True)
            )
        except Exception as error:
            if len(together) > 1:  # one caller's trouble is not the others'
                for caller in together:
                    await self._answer([caller])
                return
            if not isinstance(error, GemelError):
                log.exception("model %s raised", model.name)
                error = PartError(f"model '{model.name}' failed: {type(error).__name__}", "see the log of the server")
            if not together[0].answer.done():
                together[0].answer.set_exception(error)
            return
        self._heard(model, len(together), sum(w.rows for w in works), perf_counter() - began)
        for caller, answer in answered:
            if not caller.answer.done():
                caller.answer.set_result(answer)
