"""The forecaster in the box as a service: 64 callers of the Open Inference Protocol, batched and one by one.

    python3 dev.py bench inference [--json]

The server is a process of its own on this machine; the callers are 64 connections, one series each, as binary tensors.
Beside it: the same series handed to `Foundation.forecast` as one batch of 64 in this process, and the same server
without batching. `triton` is the same asked by Triton's HTTP client, which takes more of a core for a request than the
server does, and so measures itself. Our own training on this machine stands still while seconds are counted.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np

from bench.foundation import quiet
from bench.harness import Bench
from gemel.core.units import duration
from gemel.core.values import DECILES, GOOD, Floats, Frame
from gemel.forecasters.foundation.forecaster import Foundation

CALLERS, ROWS, HORIZON = 64, 512, 64
EACH = {"fast": 4, "best": 1}
"""Requests of each caller in a round."""
ROUNDS = {"fast": 7, "best": 3}
ALONE = 20

_SERVE = """
import socket, sys, uvicorn
from gemel.serve.inference.app import Inference
from gemel.serve.inference.foundation import ZeroShot
app = Inference([ZeroShot()], batch=int(sys.argv[2]))
server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_keep_alive=600))
server.run([socket.socket(fileno=int(sys.argv[1]))])
"""


def main() -> None:
    with Bench("inference") as bench, quiet(), ExitStack() as servers:
        batched = servers.enter_context(serving(CALLERS))
        unbatched = servers.enter_context(serving(1))
        y = np.cumsum(np.random.default_rng(0).normal(size=(CALLERS, ROWS)), axis=1)
        for way in ("fast", "best"):
            throughput(bench, way, y, batched, unbatched)
        alone(bench, y, batched, unbatched)


def throughput(bench: Bench, way: str, y: Floats, batched: Any, unbatched: Any) -> None:
    """Series a second of 64 callers who ask again as soon as they are answered."""
    each = EACH[way]
    work: dict[str, Callable[[], object]] = {
        "in process": partial(_again, partial(Foundation(way).forecast, _frame(y), HORIZON), each),
        "batched": partial(call, batched, y, way, each),
        "unbatched": partial(call, unbatched, y, way, each),
        "triton": partial(ask, batched, y, way, each),
    }
    seconds = bench.rounds(ROUNDS[way], work)
    rate = {name: CALLERS * each / s for name, s in seconds.items()}
    peers = (("in process", ">= 0.7x"), ("unbatched", ">= 1x"))
    for peer, goal in peers:
        bench.figure(f"callers64_{way}", rate["batched"], "series/s", goal=goal, peer=(peer, rate[peer]))
    bench.figure(f"callers64_{way}_triton", rate["triton"], "series/s", peer=("in process", rate["in process"]))


def alone(bench: Bench, y: Floats, batched: Any, unbatched: Any) -> None:
    """Milliseconds of one caller who asks for one series at a time, the fast way."""
    work: dict[str, Callable[[], object]] = {
        "in process": partial(_again, partial(Foundation("fast").forecast, _frame(y[:1]), HORIZON), ALONE),
        "batched": partial(_again, partial(ask, batched, y[:1], "fast", 1), ALONE),
        "unbatched": partial(_again, partial(ask, unbatched, y[:1], "fast", 1), ALONE),
    }
    ms = {name: s * 1e3 / ALONE for name, s in bench.rounds(5, work).items()}
    bench.figure("alone", ms["batched"], "ms", peer=("in process", ms["in process"]))
    bench.figure("alone", ms["batched"], "ms", goal="<= 1.1x", peer=("unbatched", ms["unbatched"]))


@contextmanager
def serving(batch: int) -> Iterator[Any]:
    """A client of a server in a process of its own, which is ready."""
    from tritonclient.http import InferenceServerClient

    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        command = [sys.executable, "-c", _SERVE, str(door.fileno()), str(batch)]
        server = subprocess.Popen(command, pass_fds=[door.fileno()])
        port = door.getsockname()[1]
    try:
        client = InferenceServerClient(f"127.0.0.1:{port}", concurrency=CALLERS, network_timeout=300.0)
        while not client.is_server_ready():
            pass
        yield client
        client.close()
    finally:
        server.terminate()
        server.wait()


def call(client: Any, y: Floats, way: str, each: int) -> None:
    """Every series of y [b, t] asked for on its own, `each` times, over as many connections as there are series."""
    url = client._parsed_url.netloc
    lines = {socket.create_connection(url.split(":")): [_request(url, row, way), each] for row in y}
    with selectors.DefaultSelector() as waiting:
        for line, (request, _) in lines.items():
            line.sendall(request)
            waiting.register(line, selectors.EVENT_READ)
        while waiting.get_map():
            for key, _ in waiting.select():
                line: Any = key.fileobj
                _answered(line)
                lines[line][1] -= 1
                if lines[line][1]:
                    line.sendall(lines[line][0])
                else:
                    waiting.unregister(line)
                    line.close()


def _request(host: str, row: Floats, way: str) -> bytes:
    parts = [row.astype("<f8").tobytes(), np.array([HORIZON], "<i8").tobytes()]
    kinds = (("history", [1, len(row)], "FP64"), ("horizon", [1], "INT64"))
    inputs = [
        {"name": n, "shape": s, "datatype": d, "parameters": {"binary_data_size": len(p)}}
        for (n, s, d), p in zip(kinds, parts, strict=True)
    ]
    outputs = [{"name": "quantiles", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": inputs, "outputs": outputs, "parameters": {"way": way}}).encode()
    body = b"".join((head, *parts))
    lines = f"host: {host}\r\ncontent-length: {len(body)}\r\ninference-header-content-length: {len(head)}"
    return f"POST /v2/models/foundation/infer HTTP/1.1\r\n{lines}\r\n\r\n".encode() + body


def _answered(line: socket.socket) -> Floats:
    """The quantiles of an answer."""
    got = line.recv(1 << 16)
    while (end := got.find(b"\r\n\r\n")) < 0:
        got += line.recv(1 << 16)
    assert got.startswith(b"HTTP/1.1 200"), got[:300]
    at = got.index(b"\r\ncontent-length:") + 17
    size = end + 4 + int(got[at : got.index(b"\r\n", at)])
    while len(got) < size:
        got += line.recv(1 << 16)
    return np.frombuffer(got[-HORIZON * len(DECILES) * 4 :], "<f4")


def ask(client: Any, y: Floats, way: str, each: int) -> Floats:
    """Every series of y [b, t] asked for on its own, `each` times, by as many callers at once as there are series."""
    from gevent.pool import Pool  # what Triton's client runs on; its own `async_infer` sleeps 10 ms a request

    return np.concatenate(Pool(len(y)).map(partial(_one, client, way), [row for row in y for _ in range(each)]))


def _one(client: Any, way: str, row: Floats) -> Floats:
    from tritonclient.http import InferInput, InferRequestedOutput

    horizon = InferInput("horizon", [1], "INT64").set_data_from_numpy(np.array([HORIZON]))
    history = InferInput("history", [1, len(row)], "FP64").set_data_from_numpy(row[None])
    output = InferRequestedOutput("quantiles", binary_data=True)
    answer = client.infer("foundation", [history, horizon], outputs=[output], parameters={"way": way})
    return answer.as_numpy("quantiles")


def _again(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()


def _frame(y: Floats) -> Frame:
    time = duration("1h") * np.arange(y.shape[1], dtype=np.int64)
    return Frame(time, np.ascontiguousarray(y.T), np.full(y.T.shape, GOOD, np.uint8), tuple(map(str, range(len(y)))))


if __name__ == "__main__":
    main()
