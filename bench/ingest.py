"""MQTT to batches: draining what a real Mosquitto has queued, beside paho with `json` and a Python callback.

QoS 1 over loopback, one JSON number a message. The publisher is done before the clock starts, so only the broker and
the subscriber share the machine. CPU is that of this process alone.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from statistics import median

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench.harness import Bench
from bench.mosquitto import Mosquitto
from gemel.connectors.mqtt import Mqtt
from gemel.core.clock import Wall
from gemel.core.setting import Setting
from gemel.core.values import Signal, Signals

MESSAGES, ROUNDS, TOPICS = 20_000, 5, 10


@contextmanager
def broker() -> Iterator[int]:
    """A Mosquitto that keeps every message of an absent subscriber; gives its port."""
    with tempfile.TemporaryDirectory() as folder:
        server = Mosquitto(Path(folder)).start()
        try:
            yield server.port
        finally:
            server.stop()


def publish(port: int, count: int) -> None:
    """`count` messages in all, and return when the broker has acknowledged the last."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for i in range(count):
        last = client.publish(f"plant/{i % TOPICS}", f'{{"value": {20 + i % 100 / 10}}}', qos=1)
    last.wait_for_publish()
    client.loop_stop()
    client.disconnect()


class Ours:
    """The connector, through its contract: every batch confirmed."""

    def __init__(self, port: int) -> None:
        signals = Signals([Signal(f"s{i}", address=f"plant:plant/{i}") for i in range(TOPICS)])
        self.source = Mqtt(url=f"mqtt://127.0.0.1:{port}", version="3.1.1", client_id="ours")
        self.source.bind(Setting("bench", "plant", signals, Wall(), 10**9, 10**9, 0, Path()))

    def drain(self, count: int) -> None:
        asyncio.run(asyncio.wait_for(self._drain(count), 60))

    async def _drain(self, count: int) -> None:
        async with aclosing(self.source.stream()) as stream:  # type: ignore[type-var]
            if count == 0:  # only say hello: the broker then keeps what comes
                with suppress(TimeoutError):
                    await asyncio.wait_for(anext(stream), 0.5)
            while count > 0:
                batch = await anext(stream)
                self.source.confirm(batch)
                count -= len(batch)
            await asyncio.sleep(0.05)  # the last acknowledgements leave


class Peer:
    """paho and the standard library, as most programs do it: a callback a message."""

    def __init__(self, port: int) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "peer", clean_session=False)
        self.client.on_connect = lambda client, *_: client.subscribe("plant/#", 1)
        self.client.on_message = self._heard
        self.rows: list[tuple[str, float, float]] = []
        self.port = port

    def _heard(self, _: object, __: object, message: paho.MQTTMessage) -> None:
        self.rows.append((message.topic, time.time(), json.loads(message.payload)["value"]))

    def drain(self, count: int) -> None:
        self.rows.clear()
        self.client.connect("127.0.0.1", self.port)
        end = time.monotonic() + (60 if count else 0.5)
        while (not count or len(self.rows) < count) and time.monotonic() < end:
            self.client.loop(0.1)
        self.client.loop(0.05)
        self.client.disconnect()
        self.client.loop(0.05)


def main() -> None:
    with broker() as port, Bench("ingest") as bench:
        sides: dict[str, Ours | Peer] = {"ours": Ours(port), "paho": Peer(port)}
        for side in sides.values():
            side.drain(0)  # makes the session
        wall: dict[str, list[float]] = {name: [] for name in sides}
        cpu: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            publish(port, MESSAGES)
            for name, side in sides.items():
                began, spent = time.perf_counter(), time.process_time()
                side.drain(MESSAGES)
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - spent)
        speed = {name: MESSAGES / median(held) for name, held in wall.items()}
        cost = {name: median(held) / MESSAGES * 1e6 for name, held in cpu.items()}
        bench.figure("ingest", speed["ours"], "messages/s", goal=">= 1.0x", peer=("paho + json", speed["paho"]))
        bench.figure("ingest_cpu", cost["ours"], "us/message", goal="<= 1.0x", peer=("paho + json", cost["paho"]))


if __name__ == "__main__":
    main()
