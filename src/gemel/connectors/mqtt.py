"""MQTT: telemetry in, commands out, through a broker."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gemel.connectors.commands import read_ack, write_command
from gemel.connectors.line import VERSIONS, Line
from gemel.connectors.payload import EARLIEST, Decoder, Message
from gemel.core.clock import Wall
from gemel.core.errors import ConfigError, ConnectorError, InputError, nearest
from gemel.core.setting import Setting
from gemel.core.units import SECOND, duration
from gemel.core.values import Ack, Batch, Command, Event, Signal

log = logging.getLogger(__name__)

WINDOW = {"3.1.1": 20, "5": 1000}
"""Unacknowledged messages under way at most: Mosquitto's own limit, and what we ask for where we may ask."""
_LONGEST_S = 0.05  # a batch is not held longer
_POINTS = 50_000  # nor larger
_RETRY = (SECOND // 4, 30 * SECOND)  # first and longest wait before the next attempt to connect
_PATIENCE_S = 5.0  # for a connection to be made
_PORTS = {"mqtt": 1883, "mqtts": 8883}


class _Route(NamedTuple):
    """Where the commands of a signal go, and where the plant answers."""

    command: str
    ack: str


@dataclass(eq=False)
class Mqtt:
    """Hears and commands a plant through an MQTT broker (OASIS MQTT 3.1.1 or 5).

    Delivery: at least once. A QoS 1 message is acknowledged to the broker only when `confirm` says that it is on disk;
    what was heard but not confirmed when the process died is sent again, and the store knows a duplicate. The session
    is persistent: the broker keeps messages while the twin is away (as far as the broker's own queue limit goes;
    Mosquitto's is 1000 messages unless `max_queued_messages` says otherwise).

    The address of a signal is `connector:topic#field`; `{name}` and `{asset}` in it are those of the signal, and
    `connectors/payload.py` says what a payload may be. Commands are QoS 1 messages on `command_topic`, see
    `connectors/commands.py`; a controlled signal is also heard when that topic is another than its address.

    - `url`: `mqtt://host[:1883]`, or `mqtts://host[:8883]` for TLS
    - `version`: "5" or "3.1.1"
    - `user`, `password_env`: the name to log in with, and the environment variable that holds the password
    - `ca_file`, `cert_file`, `key_file`: PEM files for TLS, relative to the twin file
    - `qos`: 1, or 0 (a message may be lost when the connection is)
    - `client_id`: must be unique on the broker; made of the twin's and the connector's name when not given
    - `session`: how long the broker keeps our messages while we are away (MQTT 5)
    - `keepalive`: a broker that is silent for this long is gone
    - `window`: unacknowledged messages the broker may have under way; 0 is 1000 with version 5, where we tell the
      broker, and 20 with 3.1.1, Mosquitto's limit (`max_inflight_messages`)
    - `idle`: a batch is closed when nothing came for this long, when the window is full, or after 50 ms
    - `max_payload`: bytes; a larger message is reported, not read
    - `ahead`: how far in the future of the clock the stamp of a measured signal may be
    - `command_topic`: `{topic}` is the signal's address, `{field}` its field; also `{name}`, `{asset}`
    - `ack_topic`: where the plant answers; `{topic}` is the command topic
    - `ack_timeout`: a command without an answer for so long is `silent`
    """

    url: str = "mqtt://localhost:1883"
    version: str = "5"
    user: str = ""
    password_env: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    qos: int = 1
    client_id: str = ""
    session: str = "7d"
    keepalive: str = "60s"
    window: int = 0
    idle: str = "5ms"
    max_payload: int = 1_000_000
    ahead: str = "1h"
    command_topic: str = "{topic}"
    ack_topic: str = "{topic}/ack"
    ack_timeout: str = "5s"

    def __post_init__(self) -> None:
        problems = []
        self.version = str(self.version)  # TOML says 5 as well as "5"
        split = urlsplit(self.url)
        if split.scheme not in _PORTS or not split.hostname:
            problems.append(f"url '{self.url}' is not mqtt://host:port or mqtts://host:port")
        elif split.username or split.password:
            problems.append("url must not hold a user or password: write user and password_env")
        if self.version not in VERSIONS:
            problems.append(f"version '{self.version}' is not one of {', '.join(VERSIONS)}")
        if self.qos not in (0, 1):
            problems.append(f"qos {self.qos} is not 0 or 1")
        if not 0 <= self.window <= 65_535:
            problems.append(f"window {self.window} is not within 0 .. 65535")
        if self.max_payload <= 0:
            problems.append(f"max_payload {self.max_payload} must be above 0 (bytes)")
        for name in ("session", "keepalive", "idle", "ahead", "ack_timeout"):
            try:
                duration(getattr(self, name))
            except InputError as error:
                problems.append(f"{name}: {error.message}")
        if problems:
            raise ConfigError(problems)

        self._line: Line | None = None
        self._answers: dict[str, asyncio.Future[Ack]] = {}  # command id -> what comes of it
        self._unconfirmed: dict[int, tuple[Line | None, list[int]]] = {}  # sequence -> message ids, and on which line
        self._sequence = 0
        self._forget()

    def bind(self, setting: Setting) -> None:
        """Work out topics and secrets; nothing is connected yet."""
        split = urlsplit(self.url)
        self._host, self._port = split.hostname or "", split.port or _PORTS[split.scheme]
        self._clock, self._connector = setting.clock, setting.connector
        self._id = self.client_id or f"gemel-{setting.twin}-{setting.connector}"
        self._topics, self._routes = _addresses(setting, self.command_topic, self.ack_topic)
        self._acks = {route.ack for route in self._routes.values()}
        self._password = _secret(self.password_env)
        self._tls = self._context(setting.folder) if split.scheme == "mqtts" else None
        self._window = self.window or WINDOW[self.version]
        self._decoder = Decoder(
            setting.signals,
            self._topics,
            live=setting.clock.live,
            ahead=duration(self.ahead),
            largest=self.max_payload,
            blobs=setting.blobs,
        )

    # --- telemetry ---------------------------------------------------------------------------------------------

    async def stream(self) -> AsyncIterator[Batch]:
        """Batches until it is closed. The connection lives as long as the stream; `send` needs it too."""
        self._forget()
        self._delay, self._up_since, self._trouble, self._strangers = 0, 0, "", set[str]()
        try:
            while True:
                if self._line is None and not self._wake.is_set():
                    await self._connect()
                    continue
                await self._gather()
                batch = self._take()
                if batch is not None:
                    yield batch
        finally:
            if self._line:
                self._line.close()
            self._line = None

    def confirm(self, batch: Batch) -> None:
        """Acknowledge the messages of this batch, unless the connection they came by is gone: then they come again.
        To be called on the event loop's thread."""
        line, ids = self._unconfirmed.pop(batch.sequence, (None, []))
        if line is not None and line is self._line:
            line.acknowledge(ids)
            self._under_way -= len(ids)

    async def _gather(self) -> None:
        """Wait until there is something, and for more until one of the reasons to close a batch holds."""
        await self._wake.wait()
        loop = asyncio.get_running_loop()
        end, idle, seen = loop.time() + _LONGEST_S, duration(self.idle) / SECOND, -1
        while not self._full.is_set() and seen != len(self._messages) and loop.time() < end:
            seen = len(self._messages)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), idle)

    def _take(self) -> Batch | None:
        """What was gathered, as a batch; None, and at once acknowledged, when nothing in it is for us."""
        messages, events, ids = self._messages, self._events, self._ids
        self._sequence += 1
        self._unconfirmed[self._sequence] = self._line, ids
        self._empty()
        if self._line:
            self._line.read(True)
        batch = self._decoder.decode(messages, Wall().now(), self._sequence, events)
        if len(batch) or batch.events:
            return batch
        self.confirm(batch)
        return None

    def _forget(self) -> None:
        self._wake, self._full = asyncio.Event(), asyncio.Event()
        self._under_way = 0  # messages the broker waits to hear about
        self._unconfirmed.clear()
        self._empty()

    def _empty(self) -> None:
        self._messages: list[Message] = []
        self._events: list[Event] = []
        self._ids: list[int] = []
        self._points = 0
        self._wake.clear()
        self._full.clear()

    def _heard(self, message: paho.MQTTMessage) -> None:
        topic, line = message.topic, self._line
        if topic in self._acks:
            self._answered(message)
            if line and message.qos:
                line.acknowledge([message.mid])
            return
        if line and topic not in self._topics and topic not in self._strangers:
            self._strangers.add(topic)
            line.unsubscribe(topic)  # an old session of ours asked for it
        self._messages.append(Message(topic, message.payload, self._clock.now(), message.retain))
        self._points += 1 + self._decoder.points(topic)
        if message.qos:
            self._ids.append(message.mid)
            self._under_way += 1
        self._wake.set()
        if self._under_way >= self._window or self._points >= _POINTS:
            self._full.set()
            if line and self._points >= 2 * _POINTS:  # QoS 0 has no window: let TCP slow the broker down
                line.read(False)

    # --- connection --------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """One attempt, after the wait that the last failure earned."""
        if self._delay:
            await Wall().until(Wall().now() + self._delay)
        self._line = line = Line(self._client(), self._heard, self._lost, self._forbidden)
        try:
            await line.open(self._dial, _PATIENCE_S)
        except ConnectorError as error:
            self._lost(str(error))
        if self._line is not line:
            return
        self._up_since = Wall().now()
        if self._trouble:
            self._say("returned", f"{self.url} is back")
            self._trouble = ""
        line.subscribe(self._topics, self.qos)
        line.subscribe(sorted(self._acks), 1)

    def _client(self) -> paho.Client:
        protocol = VERSIONS[self.version]
        clean = None if protocol == MQTTProtocolVersion.MQTTv5 else False
        client = paho.Client(
            CallbackAPIVersion.VERSION2, self._id, clean, None, protocol, reconnect_on_failure=False, manual_ack=True
        )
        client.connect_timeout = _PATIENCE_S
        if self.user:
            client.username_pw_set(self.user, self._password)
        if self._tls:
            client.tls_set_context(self._tls)
        return client

    def _dial(self, client: paho.Client) -> None:
        keepalive = max(round(duration(self.keepalive) / SECOND), 1)
        if self.version == "3.1.1":
            client.connect(self._host, self._port, keepalive)
            return
        wish = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        wish.SessionExpiryInterval = min(duration(self.session) // SECOND, 2**32 - 1)
        wish.ReceiveMaximum = self._window
        client.connect(self._host, self._port, keepalive, clean_start=False, properties=wish)

    def _lost(self, reason: str) -> None:
        """The line broke, or could not be made. Said once, until it is back or the reason is another."""
        steady = self._up_since and Wall().now() - self._up_since > _RETRY[1]
        self._delay = _RETRY[0] if steady else min(max(2 * self._delay, _RETRY[0]), _RETRY[1])
        self._line, self._up_since = None, 0
        self._ids, self._under_way = [], 0  # the broker sends them again
        if reason != self._trouble:
            self._trouble = reason
            self._say("lost", f"{self.url}: {reason}; trying again")
        self._full.set()

    def _forbidden(self, topic: str, reason: str) -> None:
        self._say("refused", f"{self.url} refuses the subscription to '{topic}': {reason}")

    def _say(self, kind: str, text: str) -> None:
        log.log(logging.INFO if kind == "returned" else logging.WARNING, "connector '%s': %s", self._connector, text)
        now, wall = self._clock.now(), Wall().now()
        self._events.append(Event(now if now >= EARLIEST else wall, kind, self._connector, text, wall))
        self._wake.set()

    # --- commands ----------------------------------------------------------------------------------------------

    async def send(self, command: Command) -> Ack:
        """Publish the command and wait for the plant's answer. A command is never kept for later: when the broker is
        gone it has failed."""
        now, route, line = self._clock.now(), self._routes.get(command.signal), self._line
        if route is None:
            return Ack(command.id, "failed", now, f"'{command.signal}' is no controlled signal of '{self._connector}'")
        if line is None or not line.up:
            return Ack(command.id, "failed", now, f"{self.url} is not connected")
        if command.expires <= now:
            return Ack(command.id, "refused", now, "the command has expired")
        answer = self._answers.setdefault(command.id, asyncio.get_running_loop().create_future())
        left = (command.expires - now) // SECOND + 1 if self._clock.live else None
        line.publish(route.command, write_command(command, now), route.ack, command.id, left)
        try:
            done, _ = await asyncio.wait((answer,), timeout=duration(self.ack_timeout) / SECOND)
        finally:
            self._answers.pop(command.id, None)
        if done:
            return answer.result()
        return Ack(command.id, "silent", self._clock.now(), f"no answer on '{route.ack}' within {self.ack_timeout}")

    def _answered(self, message: paho.MQTTMessage) -> None:
        id: bytes = getattr(message.properties, "CorrelationData", b"")
        ack = read_ack(message.payload, self._clock.now(), id.decode(errors="replace"))
        answer = self._answers.get(ack.command) if ack else None
        if ack and answer and not answer.done():
            answer.set_result(ack)

    def _context(self, folder: Path) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=str(folder / self.ca_file) if self.ca_file else None)
            if self.cert_file:
                key = str(folder / self.key_file) if self.key_file else None
                context.load_cert_chain(str(folder / self.cert_file), key)
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(f for f in (self.ca_file, self.cert_file, self.key_file) if f)
            raise ConfigError([f"TLS files {files} cannot be used: {error}"], "they are PEM files") from None
        return context


def _addresses(
    setting: Setting, command_topic: str, ack_topic: str
) -> tuple[dict[str, list[tuple[int, str]]], dict[str, _Route]]:
    """Which topics are heard for which signals, and where commands go. Raises `ConfigError` with all problems."""
    topics: dict[str, list[tuple[int, str]]] = {}
    routes: dict[str, _Route] = {}
    problems: list[str] = []
    for address, heard in setting.signals.at(setting.connector).items():
        for place, part in heard:
            signal = setting.signals[place]
            try:
                topic, part = _filled(address, signal), _filled(part, signal)
                if signal.role == "controlled":
                    command = _filled(command_topic, signal, topic=topic, field=part)
                    routes[signal.name] = _Route(command, _filled(ack_topic, signal, topic=command, field=part))
                    if command == topic:
                        continue
                topics.setdefault(topic, []).append((place, part))
            except InputError as error:
                problems.append(f"signal '{signal.name}': {error.message}")
    for name, route in routes.items():
        if topics.keys() & route:
            problems.append(f"signal '{name}': its commands would go to a topic that is heard, '{route.command}'")
    if problems:
        raise ConfigError(problems, 'for commands beside telemetry: command_topic = "{topic}/{field}/set"')
    return topics, routes


def _filled(template: str, signal: Signal, **more: str) -> str:
    """A topic with the signal's words put in."""
    words = {"name": signal.name, "signal": signal.name, "asset": signal.asset, **more}

    def word(found: re.Match[str]) -> str:
        if found[1] not in words:
            raise InputError(f"unknown placeholder '{{{found[1]}}}' in '{template}'{nearest(found[1], words)}")
        return words[found[1]]

    topic = re.sub(r"\{(\w*)\}", word, template)
    if "+" in topic or "#" in topic:
        raise InputError(f"'{topic}' is a wildcard: an address names one topic")
    return topic


def _secret(variable: str) -> str | None:
    if not variable:
        return None
    if variable not in os.environ:
        raise ConfigError([f"password_env: the environment variable {variable} is not set"], f"export {variable}=...")
    return os.environ[variable]
