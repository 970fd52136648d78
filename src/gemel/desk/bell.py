"""The bell: tells notifiers about findings while a twin runs, and never makes the loop wait.

For each notifier there are two tables: `told`, what it has delivered and not taken back, and `owed`, what it still has
to deliver, a finding a line whatever happened to it meanwhile. Both are kept in the store, so that a restart neither
repeats nor forgets. A flood grows `owed`, not the number of messages; what fails is owed still, and tried again later.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Protocol

from gemel.core.attempt import told as said
from gemel.core.clock import pause
from gemel.core.errors import GemelError
from gemel.core.notice import Notice, Notifier
from gemel.core.units import SECOND, duration
from gemel.core.values import Finding, Snapshot
from gemel.desk.alarms import Alarms
from gemel.loop.run import Loop

log = logging.getLogger("gemel")
MOST = 1000
"""Findings that are owed to one notifier; beyond, the oldest go and are only counted."""
FIRST, LONGEST = 2.0, 300.0
"""Seconds until the second try, and between tries at most."""


class Ringing(Protocol):
    """What is needed of a desk."""

    twin: Any
    loop: Loop | None
    alarms: Alarms


@asynccontextmanager
async def ringing(desk: Ringing, notifiers: Sequence[Notifier]) -> AsyncIterator[None]:
    """While the context is open and the desk's loop runs, its findings are told. What is still owed when the loop ends
    is tried once more."""
    loop = desk.loop
    if loop is None or not notifiers:
        yield
        return
    bells = [Bell(desk, notifier) for notifier in notifiers]
    before, seen = loop.watch, (-1, -1)

    def watch(loop: Loop) -> None:
        nonlocal seen
        before(loop)
        if seen != (now := (loop.state.turns, desk.alarms.count)):
            seen = now
            findings = desk.alarms.living(loop.state.findings)
            for bell in bells:
                bell.hear(findings, loop.state.now)

    loop.watch = watch
    tasks = [asyncio.create_task(bell.run()) for bell in bells]
    try:
        yield
        await asyncio.gather(*(bell.tell() for bell in bells))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for bell in bells:
            bell.close()


class Bell:
    """One notifier and what it has told."""

    def __init__(self, desk: Ringing, notifier: Notifier) -> None:
        self._desk, self._notifier = desk, notifier
        self._news = asyncio.Event()
        self._telling = asyncio.Lock()
        self._dropped = 0
        self._ill = False
        self._thread = ThreadPoolExecutor(1, "bell")  # its own: others do not wait for whom it tells
        whom = f"{notifier.place} {getattr(notifier, 'url', '')} {notifier.least}"  # two of one host are two
        self._id = f"bell-{type(notifier).__name__.lower()}-{hashlib.sha256(whom.encode()).hexdigest()[:16]}"
        store = desk.twin.store
        held: dict[str, Any] = next((s.state for s in store.read("snapshot") if s.id == self._id), {})
        self._told: dict[str, int] = dict(held.get("told", {}))  # finding -> since when it was open, as it was told
        self._owed: dict[str, Finding] = dict(held.get("owed", {}))
        self._known: dict[str, Finding] = {}
        if self._told:
            self._known = {f.id: f for f in store.read("finding") if f.id in self._told}
        if self._owed:
            self._news.set()

    def hear(self, findings: Sequence[Finding], now: int) -> None:
        """How things stand at `now`; notes what is to be told of it."""
        before = dict(self._owed)
        for finding in findings:
            self._consider(finding)
        here = {finding.id for finding in findings}
        for id in (self._told.keys() | self._owed.keys()) - here:
            last = self._owed.get(id) or self._known.get(id)
            if last is not None and (last.open or id not in self._owed):
                gone = replace(last, open=False, time=now) if last.open else last
                self._owed[id] = self._desk.alarms.living([gone])[0]
        while len(self._owed) > MOST:
            del self._owed[next(iter(self._owed))]
            self._dropped += 1
        if self._owed != before:
            self._keep(now)
            self._news.set()

    def _consider(self, finding: Finding) -> None:
        id, life = finding.id, finding.life
        assert life
        if id in self._told:
            self._known[id] = finding
        if life.state == "open" and finding.severity >= self._notifier.least:
            if self._told.get(id) != life.since and (id not in self._owed or _since(self._owed[id]) != life.since):
                self._owed[id] = finding
        elif life.state == "closed":
            if (id in self._told or id in self._owed) and not _closed(self._owed.get(id)):
                self._owed[id] = finding
        else:  # somebody knows, or it does not matter now
            self._owed.pop(id, None)

    async def run(self) -> None:
        """Tell what is owed, for ever."""
        wait, gather = 0.0, duration(self._notifier.gather) / SECOND
        while True:
            await self._news.wait()
            self._news.clear()
            if await self.tell():
                wait = 0.0
                await pause(gather)
            else:
                wait = min(max(2 * wait, FIRST), LONGEST)
                await pause(wait)
                self._news.set()

    async def tell(self) -> bool:
        """One try to deliver all that is owed; whether nothing is left of that."""
        async with self._telling:
            owed, dropped = dict(self._owed), self._dropped
            if not owed:
                return True
            news = tuple((_change(finding), finding) for finding in owed.values())
            keys = "\n".join(f"{id} {change} {_since(f)}" for id, (change, f) in zip(owed, news, strict=True))
            id = hashlib.sha256(f"{self._id}\n{keys}".encode()).hexdigest()[:32]
            try:
                notice = Notice(id, self._desk.twin.name, news, dropped)
                await asyncio.get_running_loop().run_in_executor(self._thread, self._notifier.send, notice)
            except Exception as error:
                if not self._ill:
                    log.warning("%s; what it should tell is kept", said(self._notifier.place, error))
                self._ill = True
                return False
            if self._ill:
                log.warning("%s takes messages again", self._notifier.place)
            self._ill = False
            self._dropped -= dropped
            for finding in owed.values():
                self._settle(finding)
            self._keep(max(_since(finding) for finding in owed.values()))
            return True

    def close(self) -> None:
        """Send nothing more."""
        self._thread.shutdown(wait=False)

    def _settle(self, finding: Finding) -> None:
        """It has been told so."""
        if _closed(finding):
            self._told.pop(finding.id, None)
            self._known.pop(finding.id, None)
        else:
            self._told[finding.id] = _since(finding)
            self._known[finding.id] = finding
        if self._owed.get(finding.id) is finding:
            del self._owed[finding.id]

    def _keep(self, now: int) -> None:
        state = {"told": dict(self._told), "owed": dict(self._owed)}
        with suppress(GemelError):  # a full disk: it is kept with the next change
            self._desk.twin.store.record(Snapshot(self._id, now, state))


def _since(finding: Finding) -> int:
    assert finding.life
    return finding.life.since


def _closed(finding: Finding | None) -> bool:
    return finding is not None and finding.life is not None and finding.life.state == "closed"


def _change(finding: Finding) -> str:
    """What has become of it, in the words of `core.notice.CHANGES`."""
    assert finding.life
    if finding.life.state == "closed":
        return "closed"
    return "returned" if any(a.what in ("return", "reopen") for a in finding.life.history) else "opened"
