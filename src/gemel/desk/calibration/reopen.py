"""A running twin calibrates again by itself when its calibration does not hold any more.

The work runs beside the turns in a thread that yields to them; on a virtual or data clock the turns wait for it, so
that a run is repeatable. What comes out is put to use by the rule of `gemel calibrate`: only if it does better on
held-back time. The journal says what was done, and why.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext, suppress
from threading import Event as Flag
from threading import get_native_id
from typing import Any, Protocol

from gemel.core.artifact import Shelf
from gemel.core.attempt import told
from gemel.core.calibrated import NAME, in_use
from gemel.core.errors import GemelError
from gemel.core.values import Event, Finding
from gemel.desk.calibration.fit import calibrate, task
from gemel.detectors.validity import Validity
from gemel.loop.run import Loop

SLOW = 10
"""How nice the thread is to others, where the system has it."""


class Living(Protocol):
    """What is needed of a desk."""

    twin: Any
    loop: Loop | None

    def history(self, *given: Any, **named: Any) -> Any:
        """Points of the store as a frame."""

    def use_calibration(self, version: str = "", why: str = "") -> str:
        """Put a calibration to use."""


class Stopped(GemelError):
    """The twin ends, and what was begun is left."""


@asynccontextmanager
async def reopening(desk: Living) -> AsyncIterator[None]:
    """While the context is open and the desk's loop runs, a finding of its `Validity` calibrates again."""
    loop = desk.loop
    rule = next((d for d in loop.stages.detectors if isinstance(d, Validity)), None) if loop else None
    if loop is None or rule is None or not rule.again:
        yield
        return
    before, again, last = loop.watch, Again(desk, loop, rule), None  # type: Any, Again, asyncio.Task[None] | None

    def watch(loop: Loop) -> None:
        nonlocal last
        before(loop)
        if (last is None or last.done()) and (why := again.due()):
            last = asyncio.get_running_loop().create_task(again.run(why))

    loop.watch = watch
    try:
        yield
    finally:
        again.stop()
        if last:
            last.cancel()
            await asyncio.gather(last, return_exceptions=True)


class Again:
    """When a calibration is due, and making it."""

    def __init__(self, desk: Living, loop: Loop, rule: Validity) -> None:
        self._desk, self._loop, self._rule = desk, loop, rule
        self._stopped, self._seen = Flag(), -1
        self._thread = ThreadPoolExecutor(1, "calibrate")
        events = desk.twin.store.read("event")
        self._tried = max((e.time for e in events if e.kind == NAME), default=0)

    def due(self) -> Sequence[Finding]:
        """The findings for which it is to be calibrated now: none too soon after the last time, and when they have
        been open for a quarter of that, so that there is something to learn from."""
        state = self._loop.state
        if self._seen == state.turns:
            return ()
        self._seen = state.turns
        since = state.now - self._rule.again // 4
        found = [f for f in state.findings if f.by == "validity" and f.open and f.start <= since]
        if not found or (self._tried and state.now - self._tried < self._rule.again):
            return ()
        self._tried = state.now
        return found

    async def run(self, why: Sequence[Finding]) -> None:
        """Calibrate, and put what came out to use if it is better."""
        loop, reason = self._loop, "; ".join(f.text for f in why)
        live = loop.setting.clock.live
        async with nullcontext() if live else loop.busy:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._made, loop.state.now)
            async with loop.busy if live else nullcontext():
                self._taken(found, reason)

    def _made(self, now: int) -> tuple[str, dict[str, Any]] | str:
        """A new calibration: its version and card, or why there is none."""
        with suppress(AttributeError, OSError):  # only where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, get_native_id(), SLOW)
        twin, rule = self._desk.twin, self._rule
        shelf: Shelf = twin.artifacts
        try:
            used = in_use(shelf, twin.simulator)
            method, members = (used.card["method"], used.card["members"]) if used else ("esmda", 200)
            asked = task(twin, self._desk.history, used, rule.last, None, now, method, members, 0.2, rule.valid)
            files, card = calibrate(asked, self._step)
            return shelf.add(NAME, files, card).version, card
        except Exception as error:
            return told("the calibration", error)

    def _step(self, *_: Any) -> None:
        if self._stopped.is_set():
            raise Stopped("the twin has stopped meanwhile")

    def _taken(self, found: tuple[str, dict[str, Any]] | str, reason: str) -> None:
        now = self._loop.state.now
        if isinstance(found, str):
            text = f"calibrated again, as {reason}: {found}"
        else:
            version, card = found
            text = f"calibrated again, as {reason}: {card['verdict']}"
            used = self._desk.twin.artifacts.promoted(NAME)
            if card["passed"] and used != card["against"].replace("uncalibrated", ""):
                text += f"; meanwhile {used or 'none'} was put to use, and stays"
            elif card["passed"]:
                self._desk.use_calibration(version, text)
                return
            text = f"calibration {version}: {text}"
        self._desk.twin.store.record(Event(now, NAME, "", text, now))

    def stop(self) -> None:
        """Begin nothing more, and leave what is being done at its next step."""
        self._stopped.set()
        self._thread.shutdown(wait=False, cancel_futures=True)
