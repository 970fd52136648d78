"""Twins that live in another process, or only on disk, asked as those of a `Host` are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from gemel import attach
from gemel.core.errors import ConfigError, NotFound, nearest
from gemel.trust.audit import Audit
from gemel.twin import Twin


class Attached:
    """A twin that runs elsewhere, or whose store is opened for a few questions and closed `linger_s` after the last:
    whoever asks now and then must not keep it from being run."""

    def __init__(self, twin: Twin, linger_s: float) -> None:
        self.twin = twin
        self.trouble = ""
        self._linger_s = linger_s
        self._one = asyncio.Lock()
        self._closing: asyncio.TimerHandle | None = None

    async def ask(self, method: str, **arguments: Any) -> Any:
        """A question of `gemel.desk.OPEN`; raises what the twin raises."""
        async with self._one:
            if self._closing is None:  # else the store is open here, so it runs nowhere
                path = self.twin.socket
                runs = await asyncio.to_thread(lambda: path is not None and attach.listening(path))
                if path and runs:
                    return await asyncio.to_thread(attach.call, path, method, arguments)
                await asyncio.to_thread(self.twin.open)
            else:
                self._closing.cancel()
            try:
                return await self.twin.desk.answer(method, arguments)
            finally:
                self._closing = asyncio.get_running_loop().call_later(self._linger_s, self.close)

    def close(self) -> None:
        """Let others have the store."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
            self.twin.close()


class Book:
    """An audit that is written seldom: its file is held for as long as a line takes, so that others may write too."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **what: Any) -> int:
        """Append a line; returns its number. Raises `StoreError` when it is not on disk."""
        with closing(Audit(self.path)) as audit:
            return audit.write(**what)


class Attachments:
    """Several of them, by name. Raises `ConfigError` when two have the same."""

    def __init__(self, twins: Sequence[Twin], linger_s: float = 2.0) -> None:
        self.twins = {twin.name: Attached(twin, linger_s) for twin in twins}
        if len(self.twins) < len(twins):
            raise ConfigError(["two of the twins have the same name"], "give each a name of its own")

    def __iter__(self) -> Iterator[Attached]:
        return iter(self.twins.values())

    def __getitem__(self, name: str) -> Attached:
        if name not in self.twins:
            raise NotFound(f"there is no twin '{name}' here{nearest(name, self.twins)}")
        return self.twins[name]

    def close(self) -> None:
        """Let others have the stores."""
        for one in self:
            one.close()
