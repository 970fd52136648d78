"""A plant on an MQTT broker: telemetry out, commands in, acks out, as fast as wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec
import numpy as np
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gemel.connectors.commands import read_command, write_ack
from gemel.core.clock import Wall
from gemel.core.errors import ConnectorError, InputError
from gemel.core.values import Command
from gemel.packs.doors import Ticking

log = logging.getLogger(__name__)


class Station:
    """Publishes the rows of `plant` on `<topic>/row` as `{"time": "2025-07-14T08:01:00Z", "oil": 61.2, ...}` (QoS 1),
    a picture on `<topic>/<name>` as `{"time": ..., "value": base64 of it}`; `speed` plant seconds a wall second.
    Commands come on `<topic>/<name>/set` and are answered on `<topic>/<name>/set/ack`, see `connectors/commands.py`.
    `past`:
    publish what was before the start first, at once.
    """

    def __init__(self, plant: Ticking, url: str, topic: str = "tx1", speed: float = 600.0, past: bool = False) -> None:
        self.plant, self.url, self.topic, self.speed, self.past = plant, url, topic, speed, past
        self.rows = 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"{topic}-station")
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Until cancelled; raises `ConnectorError` when the broker cannot be reached at the start."""
        split, clock, client = urlsplit(self.url), Wall(), self._client
        self._loop = asyncio.get_running_loop()
        client.on_connect = self._connected
        client.on_message = self._heard
        try:
            await asyncio.to_thread(client.connect, split.hostname or "localhost", split.port or 1883)
        except OSError as error:
            raise ConnectorError(f"no broker at {self.url}: {error}", "is it running?") from None
        client.loop_start()
        try:
            begin = clock.now()
            for row in self.plant.past if self.past else []:
                self._publish(*row)
            while True:
                time, values = self.plant.tick()
                await clock.until(begin + round((time - self.plant.start) / self.speed))
                self._publish(time, values)
        finally:
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)

    def _publish(self, time: int, values: Mapping[str, float | bytes]) -> None:
        stamp = f"{np.datetime64(time, 'ns').astype('datetime64[s]')}Z"
        numbers = {name: value for name, value in values.items() if not isinstance(value, bytes)}
        if numbers:
            self._say("row", {"time": stamp, **numbers})
            self.rows += 1
        for name in values.keys() - numbers.keys():
            self._say(name, {"time": stamp, "value": values[name]})  # msgspec writes bytes as base64

    def _say(self, what: str, said: dict[str, object]) -> None:
        self._client.publish(f"{self.topic}/{what}", msgspec.json.encode(said), qos=1)

    def _connected(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        client.subscribe(f"{self.topic}/+/set", qos=1)

    def _heard(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        """In paho's thread: the plant lives in the event loop's."""
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._obey, message.topic, bytes(message.payload))

    def _obey(self, topic: str, payload: bytes) -> None:
        try:
            command = read_command(payload)
        except InputError as error:
            log.warning("%s: %s", topic, error.message)
            return
        name = topic.removeprefix(f"{self.topic}/").removesuffix("/set")
        ack = self.plant.obey(Command(command.id, name, command.value, command.expires))
        self._client.publish(f"{topic}/ack", write_ack(ack), qos=1)
