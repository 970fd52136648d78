"""The host: several twins that live and answer in one process. What doors there are (HTTP, a page, a language model's
tools) ask here, and can do nothing that a script with the same `Twin` could not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from gemel import attach
from gemel.config import load
from gemel.core.attempt import told
from gemel.core.calibrated import NAME
from gemel.core.errors import ConfigError, Conflict, NotFound, nearest
from gemel.desk import Desk
from gemel.desk.desk import CHANGES
from gemel.loop.run import Loop
from gemel.serve.noted import noted
from gemel.serve.stream import Hub
from gemel.trust.audit import Audit
from gemel.twin import Twin

log = logging.getLogger("gemel")


class Hosted:
    """A twin that is served. `file` is where it stands, for what is done beside it."""

    def __init__(self, twin: Twin, file: Path | None = None) -> None:
        self.twin, self.file = twin, file
        self.hub = Hub(twin.signals)
        self.watchers: list[Callable[[Loop], None]] = [self.hub.watch]
        self._fitting = Lock()
        self.trouble = ""  # why it ended, if it did not end well
        self.book: Audit | None = None  # where it is written what scripts do

    @property
    def desk(self) -> Desk:
        """Who answers; opens the store when nobody has."""
        desk = self.twin.desk
        desk.told, self.hub.living = self.hub.told, desk.alarms.living
        desk.attached = self._attached
        return desk

    async def ask(self, method: str, **arguments: Any) -> Any:
        """A question of `gemel.desk.OPEN`; raises what the desk raises."""
        return await self.desk.answer(method, arguments)

    def adapt(self, horizon: str | None, progress: Callable[[int, int, str], None]) -> dict[str, Any]:
        """Fit the network as `gemel adapt` does, with a twin of the same file that asks this one for its history.
        Takes minutes, and returns the card; raises `Conflict` while another one works."""
        with self._beside("adapt") as beside:
            made = beside.adapt(horizon, progress)
            return {"version": made.version, "promoted": beside.artifacts.promoted("head"), "card": made.card}

    def calibrate(self, asked: Mapping[str, Any], progress: Callable[[int, int, str], None]) -> dict[str, Any]:
        """Fit the simulator's parameters as `gemel calibrate` does, in the same way."""
        with self._beside("calibrate") as beside:
            made = beside.calibrate(**asked, progress=progress)
            return {"version": made.version, "promoted": beside.artifacts.promoted(NAME), "card": made.card}

    @contextmanager
    def _beside(self, what: str) -> Iterator[Twin]:
        """A twin of the same file, which asks this one; one at a time."""
        if self.file is None:
            raise Conflict(f"twin '{self.twin.name}' has no file", f"do it where it was made: twin.{what}()")
        if not self._fitting.acquire(blocking=False):
            raise Conflict(f"something is being fitted to twin '{self.twin.name}' already", "wait until that is done")
        try:
            with load(self.file) as beside:
                yield beside
        finally:
            self._fitting.release()

    async def _attached(self, method: str, arguments: Mapping[str, Any], user: str) -> Any:
        """A question of a script on this machine; what changes something is in the audit before and after."""
        if self.book is None or method not in CHANGES or arguments.get("dry"):
            return await self.ask(method, **arguments)
        asked = msgspec.json.encode(dict(arguments), enc_hook=str).decode()[:2000]
        what = {"action": f"ATTACH {method}", "twin": self.twin.name, "caller": user, "asked": asked}
        async with noted(self.book, **what):
            return await self.ask(method, **arguments)

    def _watch(self, loop: Loop) -> None:
        for watcher in self.watchers:
            watcher(loop)

    async def run(self) -> None:
        """Live until the sources end, and answer from the store for ever after. Ends only when it is cancelled."""
        _ = self.desk
        try:
            await self.twin.live(watch=self._watch)
        except Exception as error:
            self.trouble = told("the twin", error)
            log.error("twin '%s' has stopped: %s", self.twin.name, self.trouble, exc_info=log.isEnabledFor(10))
        try:
            with suppress(OSError):  # no socket beside its store: scripts cannot attach, and nobody else minds
                async with attach.serve(self.twin.socket, self._attached):
                    await asyncio.Event().wait()
            await asyncio.Event().wait()
        finally:
            self.twin.close()


class Host:
    """The twins of a process, by name; there may be none at first. `folder`: where their files stand, and new ones are
    put. Raises `ConfigError` when two have the same name."""

    def __init__(self, twins: Sequence[Twin], files: Sequence[Path] = ()) -> None:
        self.folder = files[0].parent if files else Path()
        self._living: asyncio.TaskGroup | None = None
        self._book: Audit | None = None
        places = [*files, *([None] * (len(twins) - len(files)))]
        self.twins = {twin.name: Hosted(twin, file) for twin, file in zip(twins, places, strict=True)}
        if len(self.twins) < len(twins):
            twice = sorted({t.name for t in twins if [o.name for o in twins].count(t.name) > 1})
            raise ConfigError([f"two twins are named '{name}'" for name in twice], "give each a name of its own")

    def __iter__(self) -> Iterator[Hosted]:
        return iter(self.twins.values())

    def __getitem__(self, name: str) -> Hosted:
        """Raises `NotFound`."""
        if name not in self.twins:
            raise NotFound(f"there is no twin '{name}' here{nearest(name, self.twins)}", "see /v1/twins")
        return self.twins[name]

    def add(self, twin: Twin, file: Path | None = None) -> Hosted:
        """One more, which lives from now on. Raises `Conflict` when its name is taken."""
        if twin.name in self.twins:
            raise Conflict(f"a twin '{twin.name}' is served already", "give it another name")
        one = Hosted(twin, file)
        one.book = self._book
        self.twins = {**self.twins, twin.name: one}  # another table: somebody may be going through the old one
        if self._living:
            self._living.create_task(one.run())
        return one

    def audited(self, book: Audit) -> None:
        """From now on what scripts on this machine change is written there."""
        self._book = book
        for hosted in self:
            hosted.book = book

    def open(self) -> None:
        """Open every store, so that a twin which cannot be served is known before anything runs."""
        try:
            for hosted in self:
                hosted.twin.open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every store."""
        for hosted in self:
            hosted.twin.close()

    async def run(self) -> None:
        """Let all of them live; ends when it is cancelled, and then every twin has recorded its memory."""
        try:
            async with asyncio.TaskGroup() as self._living:
                for hosted in self:
                    self._living.create_task(hosted.run())
                await asyncio.Event().wait()
        finally:
            self._living = None
