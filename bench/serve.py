"""What serving costs: hot reads, a large history, people who watch, and people who watch and never read.

    python3 dev.py bench serve [--long] [--json]

The server is a process of its own (`bench/serve_twin.py`) with a twin that hears ten signals five times a second and
takes five turns a second. Callers are this process; those who watch are a third one. `--long` watches for ten minutes
instead of one.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from bench.foundation import quiet
from bench.harness import Bench
from bench.serve_twin import LIVE, MINUTES, ROWS, TABLE, YEAR

CALLERS, WATCHERS, SLOW = 16, 50, 100
REQUESTS = {"latest": 2000, "history": 400}
ROUNDS = 5
SETTLE_S = 3.0
HANDSHAKE = (
    "GET /v1/twins/bench/stream HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def main() -> None:
    long = "--long" in sys.argv
    with Bench("serve") as bench, quiet(), tempfile.TemporaryDirectory() as folder, serving(folder) as server:
        hot(bench, server)
        forms(bench, server)
        slow(bench, server)
        watched(bench, server, 600.0 if long else 60.0)


class Server:
    """Where it listens."""

    def __init__(self, ours: str, plain: str) -> None:
        self.ours, self.plain = ours, plain
        self._line = http.client.HTTPConnection(urlsplit(plain).netloc)

    def cost(self) -> dict[str, Any]:
        """What the server has used so far; its turns since this was last asked."""
        self._line.request("GET", "/plain/cost")
        found: dict[str, Any] = json.loads(self._line.getresponse().read())
        return found

    def over(self, seconds: float) -> tuple[float, list[float]]:
        """The share of a core it uses in a stretch of time, and its turns."""
        before = self.cost()
        time.sleep(seconds)
        after = self.cost()
        return (after["cpu_s"] - before["cpu_s"]) / (after["wall_s"] - before["wall_s"]), after["turns_s"]


@contextmanager
def serving(folder: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "bench.serve_twin", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield Server(*process.stdout.readline().split()[:2])
        finally:
            process.terminate()
            process.wait(20)


# -- hot reads --------------------------------------------------------------------------------------------------------


def hot(bench: Bench, server: Server) -> None:
    """The same answers, ours and written with plain FastAPI, by callers who keep the server busy."""
    for what, query in (("latest", f"signals={','.join(LIVE)}"), ("history", "signals=t0&last=6h")):
        work = {
            "ours": lambda what=what, query=query: load(server.ours, f"/v1/twins/bench/{what}?{query}", what),
            "fastapi": lambda what=what, query=query: load(server.plain, f"/plain/{what}?{query}", what),
        }
        rate = {name: REQUESTS[what] / s for name, s in bench.rounds(ROUNDS, work).items()}
        bench.figure(f"hot_{what}", rate["ours"], "requests/s", goal=">= 2x", peer=("plain FastAPI", rate["fastapi"]))


def load(url: str, path: str, what: str) -> None:
    """So many requests over connections that each ask again when they are answered."""
    host = urlsplit(url).netloc
    asked = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    lines = [socket.create_connection(host.split(":")) for _ in range(CALLERS)]  # type: ignore[arg-type]
    for line in lines:
        line.sendall(asked)
    for _ in range(REQUESTS[what] // CALLERS - 1):
        for line in lines:
            _answer(line)
            line.sendall(asked)
    for line in lines:
        _answer(line)
        line.close()


def _answer(line: socket.socket) -> bytes:
    got = line.recv(1 << 16)
    while (head := got.find(b"\r\n\r\n")) < 0:
        got += line.recv(1 << 16)
    assert got.startswith(b"HTTP/1.1 200"), got[:200]
    at = got.lower().find(b"content-length:") + 15
    size = int(got[at : got.find(b"\r\n", at)])
    while len(got) < head + 4 + size:
        got += line.recv(1 << 16)
    return got[head + 4 :]


# -- a large history --------------------------------------------------------------------------------------------------


def forms(bench: Bench, server: Server) -> None:
    """From the question to arrays in the caller's memory, as JSON and as Arrow."""
    for name, signals, rows in (("year", YEAR, MINUTES), ("table", ",".join(TABLE), ROWS)):
        query = f"/v1/twins/bench/history?signals={signals}&start=0&end={time.time_ns()}&format="

        def ask(form: str, query: str = query) -> bytes:
            line = http.client.HTTPConnection(urlsplit(server.ours).netloc, timeout=120)
            line.request("GET", query + form)
            answer = line.getresponse()
            body = answer.read()
            assert answer.status == 200, body[:200]
            line.close()
            return body

        def arrow(rows: int = rows, ask: Any = ask) -> None:
            import pyarrow as pa

            held = pa.ipc.open_stream(ask("arrow")).read_all()
            assert len(held) == rows, (len(held), rows)
            _ = [column.to_numpy() for column in held.columns]

        def plain(rows: int = rows, ask: Any = ask) -> None:
            held = json.loads(ask("json"))
            assert len(held["time"]) == rows
            _ = np.array(held["time"]), np.array(held["values"], float), np.array(held["quality"], np.uint8)

        work = {
            "arrow": arrow,
            "json": plain,
            "arrow sent": lambda ask=ask: ask("arrow"),
            "json sent": lambda ask=ask: ask("json"),
        }
        took = bench.rounds(ROUNDS, work)
        bench.figure(f"arrow_{name}", rows / took["arrow"], "rows/s", goal=">= 3x", peer=("json", rows / took["json"]))
        bench.figure(
            f"arrow_{name}_undecoded", rows / took["arrow sent"], "rows/s", peer=("json", rows / took["json sent"])
        )


# -- people who watch -------------------------------------------------------------------------------------------------


def slow(bench: Bench, server: Server) -> None:
    """The time of a turn with nobody there, and with people whose sockets are full."""
    host = urlsplit(server.ours).netloc
    turns: dict[str, list[float]] = {"alone": [], "slow": []}
    for _ in range(ROUNDS):
        turns["alone"] += server.over(6.0)[1]
        lines = []
        for _ in range(SLOW):
            line = socket.socket()
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            name, _, port = host.partition(":")
            line.connect((name, int(port)))
            line.sendall(HANDSHAKE.format(host).encode())
            lines.append(line)
        time.sleep(SETTLE_S)
        assert server.cost()["readers"] == SLOW
        turns["slow"] += server.over(6.0)[1]
        for line in lines:
            line.close()
        time.sleep(SETTLE_S)
        server.cost()
    ms = {name: 1e3 * statistics.median(held) for name, held in turns.items()}
    bench.figure(f"turn_with_{SLOW}_slow", ms["slow"], "ms", goal="<= 1.05x", peer=("nobody there", ms["alone"]))


def watched(bench: Bench, server: Server, seconds: float) -> None:
    """What a client who reads costs the server, and whether it remembers those who watch for long."""
    idle, _ = server.over(min(seconds / 3, 60.0))
    command = [sys.executable, "-m", "bench.serve", "--watch", server.ours]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watchers:
        assert watchers.stdout
        watchers.stdout.readline()
        time.sleep(SETTLE_S)
        first = server.cost()
        busy, _ = server.over(seconds)
        last = server.cost()
        assert last["readers"] == WATCHERS
        watchers.terminate()
    bench.figure("client_5hz_10_signals", 100 * (busy - idle) / WATCHERS, "% of a core", goal="<= 0.2")
    grown = (last["rss_mb"] - first["rss_mb"]) / (seconds / 60)
    bench.figure("memory_growth", grown, "MB/min", goal="<= 0.5")
    bench.figure("memory", last["rss_mb"], "MB")


async def watch(url: str) -> None:
    """So many clients who read all there is, in one process."""
    from websockets.asyncio.client import connect

    async def one() -> None:
        async with connect(f"{url.replace('http', 'ws', 1)}/v1/twins/bench/stream") as line:
            up.release()
            async for _ in line:
                pass

    up = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(WATCHERS):
            tasks.create_task(one())
        for _ in range(WATCHERS):
            await up.acquire()
        print("watching", flush=True)


if __name__ == "__main__":
    if "--watch" in sys.argv:
        asyncio.run(watch(sys.argv[-1]))
    else:
        main()
