"""The host: several twins that live and answer in one process. What doors there are (HTTP, a page, a language model's
tools) ask here, and can do nothing that a script with the same `Twin` could not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from gemel import attach
from gemel.config import load
from gemel.core.attempt import told
from gemel.core.errors import ConfigError, Conflict, NotFound, nearest
from gemel.desk import Desk
from gemel.serve.stream import Hub
from gemel.twin import Twin

log = logging.getLogger("gemel")


class Hosted:
    """A twin that is served. `file` is where it stands, for what is done beside it."""

    def __init__(self, twin: Twin, file: Path | None = None) -> None:
        self.twin, self.file = twin, file
        self.hub = Hub(twin.signals)
        self._adapting = Lock()
        self.trouble = ""  # why it ended, if it did not end well

    @property
    def desk(self) -> Desk:
        """Who answers; opens the store when nobody has."""
        desk = self.twin.desk
        desk.told = self.hub.told
        return desk

    async def ask(self, method: str, **arguments: Any) -> Any:
        """A question of `gemel.desk.OPEN`; raises what the desk raises."""
        return await self.desk.answer(method, arguments)

    def adapt(self, horizon: str | None, progress: Callable[[int, int, str], None]) -> dict[str, Any]:
        """Fit the network as `gemel adapt` does, with a twin of the same file that asks this one for its history.
        Takes minutes, and returns the card; raises `Conflict` while another one works."""
        if self.file is None:
            raise Conflict(f"twin '{self.twin.name}' has no file", "adapt it where it was made: twin.adapt()")
        if not self._adapting.acquire(blocking=False):
            raise Conflict(f"twin '{self.twin.name}' is being adapted already", "wait until that is done")
        try:
            with load(self.file) as beside:
                made = beside.adapt(horizon, progress)
                return {"version": made.version, "promoted": beside.artifacts.promoted("head"), "card": made.card}
        finally:
            self._adapting.release()

    async def run(self) -> None:
        """Live until the sources end, and answer from the store for ever after. Ends only when it is cancelled."""
        _ = self.desk
        try:
            await self.twin.live(watch=self.hub.watch)
        except Exception as error:
            self.trouble = told("the twin", error)
            log.error("twin '%s' has stopped: %s", self.twin.name, self.trouble, exc_info=log.isEnabledFor(10))
        try:
            async with attach.serve(self.twin.socket, lambda method, arguments: self.desk.answer(method, arguments)):
                await asyncio.Event().wait()
        finally:
            self.twin.close()


class Host:
    """The twins of a process, by name. Raises `ConfigError` when two have the same."""

    def __init__(self, twins: Sequence[Twin], files: Sequence[Path] = ()) -> None:
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
        tasks = [asyncio.create_task(hosted.run()) for hosted in self]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
