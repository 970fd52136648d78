"""Listens to an MQTT broker for a while, to learn what is said there. Nothing is acknowledged for later, no session is
left behind, and nothing is sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gemel.connectors.line import VERSIONS
from gemel.connectors.payload import Message
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
    try:
        split = urlsplit(f"{scheme}://{place}")
        port = split.port
    except ValueError:
        split, port = urlsplit(""), None
    if split.scheme not in _PORTS or not split.hostname:
        raise ConfigError([f"'{address}' is not the address of an MQTT broker"], "mqtt://host:1883/plant")
    if split.password:
        raise ConfigError(["a password must not stand in an address"], f"mqtt://user@host and export {PASSWORD}=...")
    host = f"[{split.hostname}]" if ":" in split.hostname else split.hostname
    topic = topic.strip("/")
    wild = "+" in topic or "#" in topic
    asked = topic if wild else f"{topic}/#" if topic else "#"
    return Spot(f"{scheme}://{host}:{port or _PORTS[scheme]}", split.username or "", asked)


def listen(where: Spot, seconds: float, progress: Callable[..., None] = lambda *_: None) -> Heard:
    """Everything said in `seconds`, in its order. `progress` is called with (done, total, text).

    Raises `ConnectorError` when the broker cannot be reached or refuses."""
    try:
        return _listened(where, seconds, "5", progress)
    except _Old:
        return _listened(where, seconds, "3.1.1", progress)


class _Old(Exception):
    """The broker speaks MQTT 3.1.1 only."""


def _listened(where: Spot, seconds: float, version: str, progress: Callable[..., None]) -> Heard:
    split, messages, state = urlsplit(where.broker), list[Message](), {"refused": "", "up": False}
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=VERSIONS[version], reconnect_on_failure=False)
    client.connect_timeout = _PATIENCE_S
    if where.user:
        client.username_pw_set(where.user, os.environ.get(PASSWORD))
    if split.scheme == "mqtts":
        client.tls_set()

    def connected(_c: object, _u: object, _f: object, reason: object, _p: object = None) -> None:
        state["refused"] = str(reason) if getattr(reason, "is_failure", False) else ""
        state["up"] = not state["refused"]
        if state["up"]:
            client.subscribe(where.filter, 0)

    def subscribed(_c: object, _u: object, _m: object, reasons: list[object], _p: object = None) -> None:
        state["refused"] = "".join(str(r) for r in reasons if getattr(r, "is_failure", False))

    def said(_c: object, _u: object, message: paho.MQTTMessage) -> None:
        if len(messages) < _MOST:
            messages.append(Message(message.topic, message.payload, Wall().now(), message.retain))

    client.on_connect, client.on_subscribe, client.on_message = connected, subscribed, said
    try:
        client.connect(split.hostname or "", split.port or 1883)
    except OSError as error:
        raise ConnectorError(
            f"no broker answers at {where.broker}: {error}", "check host and port, or start one: mosquitto -p 1883"
        ) from None
    began = ticks()
    end = began + _PATIENCE_S
    while ticks() < end:
        broken = client.loop(timeout=0.1) != paho.MQTT_ERR_SUCCESS
        if state["refused"] or broken:
            break
        if state["up"] is True:
            state["up"], began = "told", ticks()
            end = began + seconds
        progress(ticks() - began, seconds, f"{len(messages)} messages")
    client.disconnect()
    client.loop(timeout=0.1)
    if not state["up"] and version == "5" and client.protocol == MQTTProtocolVersion.MQTTv5:
        raise _Old
    if state["refused"] or not state["up"]:
        reason = state["refused"] or "no answer"
        raise ConnectorError(f"{where.broker} refuses: {reason}", f"a user: mqtt://user@host, password in {PASSWORD}")
    return Heard(messages, version)
