"""Time. Nothing else in Gemel asks the machine what time it is, or sleeps.

Three clocks answer the same three calls. `Wall` is the machine's. `Virtual` jumps to the next waiter once every
task that joined it waits, so a year of plant time takes seconds. `Data` is event time by watermark: it moves when
telemetry does, so a replay at any speed takes its turns where the plant would have taken them.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol

import numpy as np

from gemel.core.units import duration, instant
from gemel.core.values import Ints, Times

NEVER = -(2**62)
FOREVER = 2**62


class Clock(Protocol):
    """When it is, and waiting for later. Times are nanoseconds, UTC.

    `live` says whether a part's cost is wall time; on the other clocks it is counted in declared time."""

    live: bool

    def now(self) -> int:
        """The time it is."""

    async def begin(self) -> int:
        """When the first turn may be: now, or for event time the first stamp heard."""

    async def until(self, when: int, order: int = 0) -> bool:
        """Wait until it is `when`; `False` says that it never will be, because the input is over.

        Of tasks waiting for the same instant the lowest `order` goes first: sources 0, turns 1."""

    def start(self) -> None:
        """A run begins: nothing is over yet."""

    async def heard(self, signal: Ints, times: Times) -> None:
        """Telemetry is in the store. Returns once the turns it made due are done (data clock)."""

    def finish(self) -> None:
        """All input is over."""

    def task(self) -> AbstractContextManager[None]:
        """A context for a task whose waiting counts (virtual clock)."""


class Wall:
    """The machine's clock."""

    live = True

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._over = asyncio.Event()

    def now(self) -> int:
        return time.time_ns()

    async def begin(self) -> int:
        return self.now()

    async def until(self, when: int, order: int = 0) -> bool:
        while (rest := when - time.time_ns()) > 0:
            if self._over.is_set():
                return False
            with suppress(TimeoutError):  # in steps: the machine's clock may be set
                await asyncio.wait_for(self._over.wait(), min(rest / 1e9, 60.0))
        return True

    async def heard(self, signal: Ints, times: Times) -> None:
        await asyncio.sleep(0)

    def finish(self) -> None:
        self._over.set()

    @contextmanager
    def task(self) -> Iterator[None]:
        yield


class Virtual:
    """Jumps to the earliest waiter once every joined task waits."""

    live = False

    def __init__(self, start: str | int = 0) -> None:
        self.spec = {"start": start}
        self._now = instant(start)
        self._count = 0
        self.start()

    def start(self) -> None:
        self._tasks = 0
        self._waiting: list[tuple[int, int, int, asyncio.Future[bool]]] = []
        self._end = FOREVER

    def now(self) -> int:
        return self._now

    async def begin(self) -> int:
        return self._now

    async def until(self, when: int, order: int = 0) -> bool:
        if when > self._end:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._waiting, (max(when, self._now), order, self._count, future))
        asyncio.get_running_loop().call_soon(self._jump)  # a task made at the same time may still have to join
        return await future

    async def heard(self, signal: Ints, times: Times) -> None:
        await asyncio.sleep(0)

    def finish(self) -> None:
        self._end = self._now
        for when, _, _, future in self._waiting:
            if when > self._end and not future.done():
                future.set_result(False)

    @contextmanager
    def task(self) -> Iterator[None]:
        self._tasks += 1
        try:
            yield
        finally:
            self._tasks -= 1
            self._jump()

    def _jump(self) -> None:
        while self._waiting and len(self._waiting) >= self._tasks:
            when, _, _, future = heapq.heappop(self._waiting)
            if not future.done():  # a cancelled waiter is skipped
                self._now = max(self._now, when)
                future.set_result(True)
                return


class Data:
    """Event time by watermark.

    It is T once every live signal has passed T, or once the newest stamp is past T + `lateness`. A signal that has
    been silent for `timeout` (of event time) leaves the quorum until it is heard again. The end of the input is the
    last watermark: the newest stamp.
    """

    live = False

    def __init__(self, lateness: str = "1h", timeout: str = "6h") -> None:
        self.spec = {"lateness": lateness, "timeout": timeout}
        self.lateness = duration(lateness)
        self.timeout = duration(timeout)
        self._newest = np.zeros(0, np.int64)
        self._awaited = np.zeros(0, bool)
        self._first = FOREVER
        self._mark = NEVER
        self.start()

    def start(self) -> None:
        self._over = False
        self._waiter: tuple[int, asyncio.Future[bool]] | None = None
        self._idle = asyncio.Event()

    def expect(self, awaited: Sequence[bool], newest: Sequence[int] = (), first: int = FOREVER) -> None:
        """Which signals the first turn waits for (until their timeout); the others never hold a turn up. `newest` and
        `first` are the stamps in the store: after a crash there may be points whose turns are still to be taken."""
        self._awaited = np.array(awaited, bool)
        self._newest = np.array(newest or [NEVER] * len(awaited), np.int64)
        self._first = min(self._first, first)
        if self._first < FOREVER:
            self._advance(self._watermark())

    def now(self) -> int:
        return self._mark

    async def begin(self) -> int:
        await self.until(NEVER + 1)
        return self._first

    async def until(self, when: int, order: int = 0) -> bool:
        if when > self._mark:
            if self._over:
                return False
            future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._waiter = (when, future)
            self._idle.set()
            try:
                return await future
            finally:
                self._waiter = None
        await asyncio.sleep(0)  # a long way behind, others still get a word in
        return True

    async def heard(self, signal: Ints, times: Times) -> None:
        if len(times):
            np.maximum.at(self._newest, signal, times)
            self._first = min(self._first, int(times.min()))
            self._advance(self._watermark())
        while self._waiter is None or self._waiter[1].done():  # turns first, then more telemetry
            self._idle.clear()
            await self._idle.wait()
            if self._over:
                return

    def finish(self) -> None:
        self._over = True
        if len(self._newest):
            self._advance(int(self._newest.max()))
        if self._waiter and not self._waiter[1].done():
            self._waiter[1].set_result(self._waiter[0] <= self._mark)

    @contextmanager
    def task(self) -> Iterator[None]:
        yield

    def _watermark(self) -> int:
        newest = int(self._newest.max())
        passed = np.maximum(self._newest, self._first - 1)  # a signal never heard stands before the first stamp
        live = self._awaited & (passed > newest - self.timeout)
        if not live.any():
            return newest
        return max(int(passed[live].min()), newest - self.lateness)

    def _advance(self, mark: int) -> None:
        self._mark = max(self._mark, mark)
        if self._waiter and self._waiter[0] <= self._mark and not self._waiter[1].done():
            self._waiter[1].set_result(True)


CLOCKS: dict[str, type[Wall] | type[Virtual] | type[Data]] = {"wall": Wall, "virtual": Virtual, "data": Data}


async def pause(seconds: float) -> None:
    """Wait on the machine's clock, whatever clock the twin lives by: for retries at the edges."""
    await asyncio.sleep(seconds)


def ticks() -> float:
    """Seconds of a clock that only goes forward, for measuring how long something took."""
    return time.perf_counter()
