"""The stream: in order, without gaps that are not told, and never in the twin's way."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import Served, served
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gemel import Signal
from gemel.core.values import Batch, Finding, Signals
from gemel.serve.stream import PAUSE, WAITING, Hub, Reader


@pytest.fixture
def shed(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as held:
        yield held


def _next(stream: ClientConnection, topic: str, patience: float = 10.0) -> dict[str, Any]:
    end = time.monotonic() + patience
    while True:
        message: dict[str, Any] = json.loads(stream.recv(timeout=end - time.monotonic()))
        if message["topic"] == topic:
            return message


def test_everything_a_twin_does_is_told(shed: Served) -> None:
    with connect(shed.stream()) as stream:
        hello = json.loads(stream.recv())
        assert (hello["topic"], hello["signals"], hello["gap"]) == ("hello", ["air", "fan"], False)
        shed.line.say(1.0, 2.0, 7.0)
        while (values := _next(stream, "values")["body"])["value"][-1] != 7.0:
            pass  # what the plant had said before may still be on its way
        assert (values["signal"][-1], values["quality"][-1]) == (0, 0)
        assert _next(stream, "findings")["body"]["name"] == "too warm"
        shed.line.say(1.0)
        assert _next(stream, "findings")["body"]["open"] is False
        proposed = _next(stream, "decisions")["body"]
        assert proposed["reason"] == "it is warm"
        assert np.shape(_next(stream, "forecasts")["body"]["values"])[:2] == (1, 11)
        with shed.client() as client:
            made = client.post("/v1/twins/shed/decisions", json={"setpoints": {"fan": 1}}).json()
            while (told := _next(stream, "decisions")["body"])["id"] != made["id"]:
                pass
            assert told["status"] == "proposed"
            client.post(f"/v1/twins/shed/decisions/{made['id']}/approve")
            while (told := _next(stream, "decisions")["body"])["status"] != "sent":
                pass
            assert told["id"] == made["id"]
            assert _next(stream, "acks")["body"]["state"] == "done"


@pytest.mark.slow
def test_sequence_numbers_run_on_and_since_takes_them_up(shed: Served) -> None:
    with connect(shed.stream()) as stream:
        stream.recv()
        seen = [json.loads(stream.recv(timeout=10)) for _ in range(4)]
        numbers = [message["sequence"] for message in seen]
        assert numbers == list(range(numbers[0], numbers[0] + 4))
    time.sleep(1.5)  # meanwhile there was a turn
    with connect(shed.stream(f"?since={numbers[-1]}")) as stream:
        hello = json.loads(stream.recv())
        assert hello["gap"] is False
        assert hello["sequence"] > numbers[-1]
        assert json.loads(stream.recv())["sequence"] == numbers[-1] + 1
    for since in (numbers[0] - 10**6, hello["sequence"] + 10**6):  # long gone; of another process
        with connect(shed.stream(f"?since={since}")) as stream:
            assert json.loads(stream.recv())["gap"] is True


def test_only_the_topics_that_are_wanted(shed: Served) -> None:
    with connect(shed.stream("?topics=decisions")) as stream:
        stream.recv()
        assert {json.loads(stream.recv(timeout=10))["topic"] for _ in range(2)} == {"decisions"}
    for query in ("?topics=decision", "?since=soon", "?topic=values"):
        with pytest.raises(InvalidStatus) as refused:
            connect(shed.stream(query))
        assert refused.value.response.status_code == 400
    with pytest.raises(InvalidStatus) as refused:
        connect(shed.stream(name="barn"))
    assert refused.value.response.status_code == 404


def test_a_reader_that_does_not_read_keeps_nobody_waiting(shed: Served) -> None:
    hub = shed.host["shed"].hub
    deaf = ExitStack()
    for _ in range(20):
        deaf.enter_context(_deaf(shed))
    _until(lambda: len(hub.readers) == 20)
    big = [Finding("big", "big", "air", 0, 0, 0.5, 0.5, "x" * 20_000)]
    began = time.monotonic()
    with deaf:
        with connect(shed.stream("?topics=values")) as stream:
            stream.recv()
            loop = stream_loop(shed)
            for i in range(3 * WAITING):
                loop.call_soon_threadsafe(hub._publish, "findings", big)
                if i % 100 == 0:
                    shed.line.say(float(i))
            shed.line.say(-99.0)
            while _next(stream, "values")["body"]["value"][-1] != -99.0:
                pass
        assert time.monotonic() - began < 10
        assert all(reader.dropped > 0 for reader in hub.readers if "findings" in reader.topics)
    _until(lambda: not hub.readers)
    assert hub.dropped > 20


def _deaf(shed: Served) -> socket.socket:
    host, port = shed.url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lines = ["GET /v1/twins/shed/stream HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==", "Sec-WebSocket-Version: 13", "", ""]
    sock.sendall("\r\n".join(lines).encode())
    return sock


def stream_loop(shed: Served) -> asyncio.AbstractEventLoop:
    loop = shed.line._loop
    assert loop is not None
    return loop


def _until(true: Any) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_oldest_falls_out_and_that_is_told() -> None:
    async def read() -> list[str]:
        reader = Reader(["values"], most=3)
        for i in range(5):
            reader.put("values", str(i))
            reader.put("acks", "not wanted")
        return [await reader.next() for _ in range(4)]

    first, *rest = asyncio.run(read())
    assert json.loads(first) == {"topic": "dropped", "count": 2}
    assert rest == ["2", "3", "4"]


def test_a_signal_is_told_once_in_a_while_with_its_newest_point() -> None:
    class Told:
        batch: Batch | None = None

        class state:
            now, belief, decision, findings, forecasts, acks = 0, None, None, (), (), {}

    async def run() -> list[Any]:
        hub = Hub(Signals([Signal("a"), Signal("b"), Signal("c")]))
        reader = hub.join(["values"])
        await reader.next()
        loop: Any = Told()
        for signal, times, values in (([0, 1, 0], [10, 11, 12], [1, 2, 3]), ([0, 1], [9, 13], [8, float("nan")])):
            loop.batch = Batch.of(signal, times, values)
            hub.watch(loop)
        await asyncio.sleep(2 * PAUSE)
        return [json.loads(text) for text in reader._waiting]

    (message,) = asyncio.run(run())
    assert message["body"] == {"signal": [0, 1], "time": [12, 13], "value": [3.0, None], "quality": [0, 0]}
