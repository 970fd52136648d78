"""The server that `bench serve` measures: a twin that lives, and the same answers written with plain FastAPI.

    python -m bench.serve_twin FOLDER

Says on one line where both listen. The plain routes stand behind the same guard on the same kind of server in the same
process; `/plain/cost` tells what this process has used, and how long its turns took.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from gemel import Signal, Stage, Twin
from gemel.core.clock import Wall
from gemel.core.values import Batch, Frame
from gemel.forecasters.naive import Naive
from gemel.loop.run import Loop
from gemel.serve.host import Host
from gemel.serve.http.guard import Guard, Right
from gemel.serve.http.server import Address, serve
from gemel.stores.duckdb import Duckdb
from gemel.trust.audit import Audit

LIVE, TABLE, YEAR = tuple(f"x{i}" for i in range(10)), tuple(f"t{i}" for i in range(10)), "year"
"""Signals: 5 values a second of each; 50 000 rows of each at common times; a value a minute for a year."""
ROWS, MINUTES, STEP = 50_000, 365 * 1440, 60 * 10**9


class Line:
    """Says the live signals five times a second."""

    async def stream(self) -> AsyncIterator[Batch]:
        rng = np.random.default_rng(0)
        while True:
            yield Batch.of(np.arange(10), np.full(10, Wall().now()), rng.normal(size=10))
            await asyncio.sleep(0.2)

    def confirm(self, batch: Batch) -> None:
        """Nothing to forget."""


def twin(folder: Path) -> Twin:
    """The twin, with its past."""
    names = (*LIVE, *TABLE, YEAR)
    made = Twin(
        name="bench",
        signals=[Signal(n, address=f"line:{n}" if n in LIVE else "") for n in names],
        every="200ms",
        horizon="2s",
        connectors={"line": Line()},
        store=Duckdb(str(folder / "bench.gemel"), recent=2_000_000),
        forecaster=Stage(Naive(), every=10**9, step=10**9, context=60 * 10**9),
    )
    rng, now = np.random.default_rng(0), Wall().now() // STEP * STEP
    with made.open():
        for number, length in ((len(names) - 1, MINUTES), (len(LIVE), ROWS)):
            many = 1 if length == MINUTES else len(TABLE)
            for i in range(0, length, 50_000 // many):
                n = min(50_000 // many, length - i)
                times = np.repeat(now - STEP * np.arange(length - i, length - i - n, -1), many)
                signals = np.tile(number + np.arange(many), n)
                made.store.append(Batch.of(signals, times, np.round(rng.normal(20, 3, n * many), 2)))
    return made


class Latest(BaseModel):
    signals: list[str]
    time: list[int | None]
    value: list[float | None]
    quality: list[int]


class History(BaseModel):
    signals: list[str]
    time: list[int]
    values: list[list[float | None]]
    quality: list[list[int]]


def plain(host: Host, turns: list[float]) -> FastAPI:
    """The hot routes as one writes them with FastAPI."""
    app, one = FastAPI(), host["bench"]

    @app.get("/plain/latest")
    async def latest(signals: str) -> Latest:
        frames = one.desk.latest(signals.split(","))
        values = [float(f.values[0, 0]) for f in frames]
        return Latest(
            signals=[f.signals[0] for f in frames],
            time=[int(f.time[0]) if v == v else None for f, v in zip(frames, values, strict=True)],
            value=[v if v == v else None for v in values],
            quality=[int(f.quality[0, 0]) for f in frames],
        )

    @app.get("/plain/history")
    async def history(signals: str, last: str) -> History:
        frame: Frame = await one.ask("history", signals=signals.split(","), last=last)
        return History(
            signals=list(frame.signals),
            time=frame.time.tolist(),
            values=[[v if v == v else None for v in column] for column in frame.values.T.tolist()],
            quality=frame.quality.T.tolist(),
        )

    @app.get("/plain/cost")
    def cost() -> dict[str, Any]:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        found, turns[:] = list(turns), []
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "cpu_s": used.ru_utime + used.ru_stime,
            "wall_s": time.monotonic(),
            "rss_mb": pages * os.sysconf("SC_PAGESIZE") / 2**20,
            "turns_s": found,
            "readers": len(one.hub.readers),
        }

    return app


async def main(folder: Path) -> None:
    host, turns, timed = Host([twin(folder)]), [], set()

    def watch(loop: Loop) -> None:
        """Once for each loop: note how long its turns take, from when they are due to when they are done."""
        if loop in timed:
            return
        timed.add(loop)
        take = loop._take

        async def measured(when: int) -> None:
            began = time.perf_counter()
            await take(when)
            turns.append(time.perf_counter() - began)

        loop._take = measured  # type: ignore[method-assign]

    host["bench"].watchers.append(watch)
    rights = [Right.of("GET", f"/plain/{what}", "read") for what in ("latest", "history", "cost")]
    guard = Guard(plain(host, turns), rights, Audit(folder / "plain.jsonl"))
    config = uvicorn.Config(guard, port=0, log_config=None, access_log=False, timeout_keep_alive=600, ws="none")
    other = uvicorn.Server(config)
    told = asyncio.Event()

    def ready(url: str) -> None:
        sys.stdout.write(url + " ")
        told.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(host, Address(port=0), folder / "audit.jsonl", None, ready))
        await told.wait()
        tasks.create_task(other.serve())
        while not other.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        port = other.servers[0].sockets[0].getsockname()[1]
        print(f"http://127.0.0.1:{port}", json.dumps({"pid": os.getpid()}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
