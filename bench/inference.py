"""The forecaster in the box as a service: 64 callers of the Open Inference Protocol, batched and one by one.

    python3 dev.py bench inference [--json]

The server is a process of its own on this machine; the callers are Triton's HTTP client, 64 at a time, one series
each, as binary tensors. Beside it: the same series handed to `Foundation.forecast` as one batch of 64 in this process,
and the same server without batching. Our own training on this machine stands still while seconds are counted.
"""

from __future__ import annotations

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
from gemel.core.values import GOOD, Floats, Frame
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
        "batched": partial(ask, batched, y, way, each),
        "unbatched": partial(ask, unbatched, y, way, each),
    }
    seconds = bench.rounds(ROUNDS[way], work)
    rate = {name: CALLERS * each / s for name, s in seconds.items()}
    peers = (("in process", ">= 0.7x"), ("unbatched", ">= 1x"))
    for peer, goal in peers:
        bench.figure(f"callers64_{way}", rate["batched"], "series/s", goal=goal, peer=(peer, rate[peer]))


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
