"""Listens to an MQTT broker for a while, to learn what is said there. Nothing is acknowledged for later, no session is
left behind, and nothing is sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gemel.connectors.line import VERSIONS
from gemel.connectors.payload import Message
from gemel.core.address import parted
from gemel.core.clock import Wall, ticks
from gemel.core.errors import ConfigError, ConnectorError

PASSWORD = "MQTT_PASSWORD"
"""The environment variable of the password, where the address holds a user."""

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_PATIENCE_S = 5.0
_MOST = 200_000  # messages kept


class Spot(NamedTuple):
    """Where to listen: the broker without user and topic, the user, and the topic filter."""

    broker: str
    user: str
    filter: str


class Heard(NamedTuple):
    """What was said, and the version of MQTT that the broker speaks."""

    messages: list[Message]
    version: str


def spot(address: str) -> Spot:
    """`mqtt://user@host:port/topic` in its parts; a topic without a wildcard stands for all below it too."""
    scheme, _, rest = address.partition("://")
    place, _, topic = rest.partition("/")
    split = parted(f"{scheme}://{place}")
    if split.scheme not in _PORTS or not split.hostname:
        raise ConfigError([f"'{address}' is not the address of an MQTT broker"], "mqtt://host:1883/plant")
    if split.password:
        raise ConfigError(["a password must not stand in an address"], f"mqtt://user@host and export {PASSWORD}=...")
    host = f"[{split.hostname}]" if ":" in split.hostname else split.hostname
    topic = topic.strip("/")
    wild = "+" in topic or "#" in topic
    asked = topic if wild else f"{topic}/#" if topic else "#"
    return Spot(f"{scheme}://{host}:{split.port or _PORTS[scheme]}", split.username or "", asked)


def listen(where: Spot, seconds: float, progress: Callable[..., None] = lambda *_: None) -> Heard:
    """Everything said in `seconds`, in its order. `progress` is called with (done, total, text).

    Raises `ConnectorError` when the broker cannot be reached or refuses."""
    refused = ""
    for version in ("5", "3.1.1"):  # some brokers only know the older one
        ear = _Ear(where, version)
        ear.hear(seconds, progress)
        if ear.since is not None and not ear.refused:
            return Heard(ear.messages, version)
        refused = ear.refused or refused or "no answer"
    raise ConnectorError(f"{where.broker} refuses: {refused}", f"a user: mqtt://user@host, password in {PASSWORD}")


class _Ear:
    """One connection that only listens. `since`: when the broker let it in; `refused`: why it did not."""

    def __init__(self, where: Spot, version: str) -> None:
        self._where = where
        self.messages: list[Message] = []
        self.since: float | None = None
        self.refused = ""
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=VERSIONS[version], reconnect_on_failure=False)
        client.connect_timeout = _PATIENCE_S
        if where.user:
            client.username_pw_set(where.user, os.environ.get(PASSWORD))
        if where.broker.startswith("mqtts:"):
            client.tls_set()
        client.on_connect, client.on_subscribe, client.on_message = self._connected, self._subscribed, self._said
        self._client = client

    def hear(self, seconds: float, progress: Callable[..., None]) -> None:
        """Until `seconds` after it was let in, or the connection ends."""
        split = parted(self._where.broker)
        try:
            self._client.connect(split.hostname or "", split.port or 1883)
        except OSError as error:
            raise ConnectorError(
                f"no broker answers at {self._where.broker}: {error}",
                "check host and port, or start one: mosquitto -p 1883",
            ) from None
        patience = ticks() + _PATIENCE_S
        while ticks() < (patience if self.since is None else self.since + seconds) and not self.refused:
            if self._client.loop(timeout=0.1) != paho.MQTT_ERR_SUCCESS:
                break
            done = 0.0 if self.since is None else ticks() - self.since
            progress(done, seconds, f"{len(self.messages)} messages")
        self._client.disconnect()
        self._client.loop(timeout=0.1)

    def _connected(
        self, client: paho.Client, userdata: object, flags: paho.ConnectFlags, reason: ReasonCode, _: Properties | None
    ) -> None:
        if reason.is_failure:
            self.refused = str(reason)
        elif self.since is None:
            self.since = ticks()
            client.subscribe(self._where.filter, 0)

    def _subscribed(
        self, client: paho.Client, userdata: object, mid: int, reasons: list[ReasonCode], _: Properties | None
    ) -> None:
        self.refused = ", ".join(str(reason) for reason in reasons if reason.is_failure)

    def _said(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        if len(self.messages) < _MOST:
            self.messages.append(Message(message.topic, message.payload, Wall().now(), message.retain))
