"""A twin that really lives behind a server that really listens, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from gemel import Signal, Stage, Twin
from gemel.core.clock import Wall
from gemel.core.values import Ack, Batch, Command, Decision, Finding
from gemel.forecasters.naive import Naive
from gemel.loop.decide import Situation
from gemel.serve.host import Host
from gemel.serve.http.server import Address, serve
from gemel.stores.duckdb import Duckdb
from gemel.trust.access import Keys

MINUTE = 60 * 10**9


class Line:
    """A plant that says one hundred values, and then what the test lets it say."""

    def __init__(self) -> None:
        self.sent: list[Command] = []
        self._more: asyncio.Queue[Batch] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def stream(self) -> AsyncIterator[Batch]:
        self._loop = asyncio.get_running_loop()
        now = Wall().now() // MINUTE * MINUTE
        yield Batch.of(np.zeros(100), now - np.arange(100)[::-1] * MINUTE, np.sin(np.arange(100) / 10))
        while True:
            yield await self._more.get()

    def say(self, *values: float) -> None:
        batch = Batch.of(np.zeros(len(values)), Wall().now() + np.arange(len(values)), values)
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._more.put_nowait, batch)

    def confirm(self, batch: Batch) -> None:
        """Nothing to forget."""

    async def send(self, command: Command) -> Ack:
        self.sent.append(command)
        return Ack(command.id, "done", command.expires)


class Wind:
    """Always wants stage 2."""

    def decide(self, situation: Situation) -> Decision:
        later = situation.now + 3600 * 10**9
        return Decision("", situation.now, (Command(f"fan-{situation.now}", "fan", 2.0, later),), reason="it is warm")


class Nose:
    """Finds something as long as the air is above 5."""

    def __init__(self) -> None:
        self._found: Finding | None = None

    def inspect(self, situation: Situation) -> list[Finding]:
        now, warm = situation.now, situation.latest["air"] > 5
        if warm == (self._found is not None):
            return []
        if self._found:
            closed, self._found = replace(self._found, open=False, time=now), None
            return [closed]
        self._found = Finding("warm", "too warm", "air", now, now, 0.5, 0.9, "it is warm", evidence={"air": 1.0})
        return [self._found]


def twin(folder: Path, line: Line, name: str = "shed") -> Twin:
    return Twin(
        name=name,
        signals=[
            Signal("air", unit="degC", address="line:air"),
            Signal("fan", role="controlled", low=0, high=2, safe=2, address="line:fan"),
        ],
        every="200ms",
        horizon="30min",
        connectors={"line": line},
        store=Duckdb(str(folder / f"{name}.gemel")),
        forecaster=Stage(Naive(), every=10**9, step=MINUTE, context=100 * MINUTE),
        detectors=[Nose()],
        policy=Stage(Wind(), every=10**9),
        mode="advise",
    )


@dataclass
class Served:
    """What a test holds of it."""

    url: str
    host: Host
    line: Line
    folder: Path

    def client(self, key: str = "") -> httpx.Client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)

    @property
    def audit(self) -> Path:
        return self.folder / "audit.jsonl"

    def stream(self, query: str = "", name: str = "shed") -> str:
        return f"{self.url.replace('http', 'ws', 1)}/v1/twins/{name}/stream{query}"


@contextmanager
def served(
    folder: Path,
    keys: Keys | None = None,
    names: Sequence[str] = ("shed",),
    address: Address | None = None,
    make: Callable[[Path, Line, str], Twin] = twin,
    line: type[Line] = Line,
) -> Iterator[Served]:
    lines = [line() for _ in names]
    host = Host([make(folder, one, name) for one, name in zip(lines, names, strict=True)])
    host.folder = folder
    up = threading.Event()
    held: dict[str, Any] = {}

    async def run() -> None:
        held["loop"], held["task"] = asyncio.get_running_loop(), asyncio.current_task()

        def ready(url: str) -> None:
            held["url"] = url
            up.set()

        try:
            await serve(host, address or Address(port=0), folder / "audit.jsonl", keys, ready)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            held["error"] = error
        finally:
            up.set()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    up.wait(20)
    if "error" in held:
        thread.join(20)
        raise held["error"]
    try:
        yield Served(held["url"], host, (lines or [Line()])[0], folder)
    finally:
        held["loop"].call_soon_threadsafe(held["task"].cancel)
        thread.join(20)
        assert not thread.is_alive()
        assert "error" not in held, held["error"]
