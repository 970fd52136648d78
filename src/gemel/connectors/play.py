"""Publishes a file of telemetry to an MQTT broker, as a plant would.

Delivery: at least once. Every message is sent with QoS 1 and the call returns when the broker has acknowledged all of
them; after a lost connection what was not acknowledged is sent again, in its order.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pyarrow as pa
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from gemel.connectors.pace import Pace, speed_of
from gemel.connectors.stamps import spelled
from gemel.connectors.table import Table, numbers
from gemel.core.clock import ticks
from gemel.core.errors import ConfigError, ConnectorError, nearest
from gemel.core.values import Bools

log = logging.getLogger("gemel")
Progress = Callable[[int, int, str], None]
_WINDOW = 1000  # messages in flight
_PATIENCE_S = 60.0  # without a broker


def play(
    file: str | Path,
    url: str,
    *,
    topic: str | None = None,
    layout: str = "rows",
    columns: Sequence[str] = (),
    speed: str | float = "max",
    zone: str = "UTC",
    time: str = "",
    qos: int = 1,
    user: str = "",
    password_env: str = "",
    ca_file: str = "",
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> dict[str, Any]:
    """Publish `file` (CSV or Parquet) to the broker at `url` (`mqtt://host:port`, `mqtts://` for TLS).

    `layout` "rows": a row is one message `{"time": "...Z", "OT": 30.5, ...}` to `topic` (the file's name + `/row`);
    "points": a cell is one message `{"value": 30.5, "time": "...Z"}` to `topic` (the file's name) + `/` + column, and
    so is always a point of a long file. An empty cell is left out; NaN is null. `columns` are all of them when empty;
    `speed`, `zone` and `time` are those of `replay`. `progress(done, 0, text)` is told now and then, and setting
    `stop` ends early. Returns messages, points, seconds, and how often the broker was lost. Raises `ConfigError`, and
    `ConnectorError` when the broker cannot be reached, at first or for a minute.
    """
    path = Path(file)
    if layout not in ("rows", "points"):
        raise ConfigError([f"layout '{layout}' is not rows or points"])
    table = Table(path, time, "", zone)
    unknown = [c for c in columns if table.layout == "wide" and c not in table.series]
    if unknown:
        raise ConfigError([f"{path.name} has no column '{c}'{nearest(c, table.series)}" for c in unknown])
    stem = path.name.split(".")[0]
    rows = layout == "rows" and table.layout == "wide"
    messages = _rows(table, columns, topic or f"{stem}/row") if rows else _points(table, columns, topic or stem)
    pace = Pace(speed_of(speed))
    started, count, points = ticks(), 0, 0
    with _Publisher(url, qos, user, password_env, ca_file, stop or threading.Event()) as publisher:
        for when, name, payload, held in messages:
            due = pace.due(when)
            while (rest := due - pace.clock.now()) > 0 and not publisher.stopped:
                publisher.serve(min(rest / 1e9, 1.0))
            if publisher.stopped:
                break
            publisher.publish(name, payload)
            count, points = count + 1, points + held
            if progress and count % 1000 == 0:
                progress(count, 0, f"{count} messages")
        publisher.settle()
    return {"messages": count, "points": points, "seconds": ticks() - started, "losses": publisher.losses}


Message = tuple[int, str, bytes, int]
"""When it is true, topic, payload, how many points it holds."""


def _rows(table: Table, columns: Sequence[str], topic: str) -> Iterator[Message]:
    names = list(columns) or table.series
    keys = ("time", *names)
    encode = msgspec.json.Encoder().encode
    for block in table.blocks(names):
        cells = _cells(block.columns)
        whole = all(here.all() for _, here in cells)
        stamps = spelled(block.time)
        for row, values in enumerate(zip(stamps, *(column for column, _ in cells), strict=True)):
            held = dict(zip(keys, values, strict=True))
            if not whole:
                held = {k: v for k, v, (_, h) in zip(names, values[1:], cells, strict=True) if h[row]}
                held = {"time": values[0], **held} if held else {}
            if held:
                yield int(block.time[row]), topic, encode(held), len(held) - 1


def _points(table: Table, columns: Sequence[str], topic: str) -> Iterator[Message]:
    encode = msgspec.json.Encoder().encode
    for when, stamp, name, value in _long(table, columns) if table.layout == "long" else _wide(table, columns):
        yield when, f"{topic}/{name}", encode({"value": value, "time": stamp}), 1


def _wide(table: Table, columns: Sequence[str]) -> Iterator[tuple[int, str, str, Any]]:
    names = list(columns) or table.series
    for block in table.blocks(names):
        cells = _cells(block.columns)
        for row, stamp in enumerate(spelled(block.time)):
            for name, (column, here) in zip(names, cells, strict=True):
                if here[row]:
                    yield int(block.time[row]), stamp, name, column[row]


def _long(table: Table, columns: Sequence[str]) -> Iterator[tuple[int, str, str, Any]]:
    for block in table.blocks([table.name, table.value]):
        names = block.columns[0].cast(pa.string()).to_pylist()
        ((values, here),) = _cells(block.columns[1:])
        for row, stamp in enumerate(spelled(block.time)):
            if here[row] and names[row] and (not columns or names[row] in columns):
                yield int(block.time[row]), stamp, names[row], values[row]


def _cells(columns: Sequence[pa.Array]) -> list[tuple[list[Any], Bools]]:
    """Each column as plain values (a text that is no number stays a text) and where there is one."""
    found = []
    for column in columns:
        cells = numbers(column)
        values: list[Any] = cells.value.tolist()
        for row, text in cells.odd.items():
            values[row] = text
        found.append((values, cells.here))
    return found


class _Publisher:
    """One connection, served by whoever publishes: no thread. Bounded in flight; comes back after a loss."""

    def __init__(self, url: str, qos: int, user: str, password_env: str, ca_file: str, stop: threading.Event) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ConfigError([f"url '{url}' is not one of an MQTT broker"], 'write "mqtt://host:1883"')
        if qos not in (0, 1):
            raise ConfigError([f"qos {qos} is not 0 or 1"])
        if password_env and password_env not in os.environ:
            raise ConfigError([f"the environment variable {password_env} is not set"], "it holds the broker's password")
        self._url, self._qos, self._stop = url, qos, stop
        self._host, self._port = parts.hostname, parts.port or (8883 if parts.scheme == "mqtts" else 1883)
        self._sent, self._acknowledged, self._connected, self._refused = 0, 0, False, ""
        self.losses = 0
        client = paho.Client(CallbackAPIVersion.VERSION2)  # MQTT 3.1.1
        client.max_inflight_messages_set(0)  # `publish` bounds them; paho would search its queue at every ack
        if user or parts.username:
            client.username_pw_set(user or parts.username, os.environ.get(password_env))
        if parts.scheme == "mqtts":
            client.tls_set(ca_file or None)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        self._client = client

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def __enter__(self) -> _Publisher:
        try:
            self._client.connect(self._host, self._port)
        except OSError as error:
            raise ConnectorError(
                f"no broker answers at {self._url}: {error}", "start one: mosquitto -p 1883, or check host and port"
            ) from None
        self._await_connection()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()

    def publish(self, topic: str, payload: bytes) -> None:
        """Returns at once while fewer than a thousand are in flight."""
        if self._sent - self._acknowledged >= _WINDOW:
            while self._sent - self._acknowledged > _WINDOW // 2:
                self.serve(1.0)
        self._sent += 1
        self._client.publish(topic, payload, self._qos)  # when lost it is kept, and goes out on return

    def settle(self) -> None:
        """Until every message is acknowledged."""
        while self._acknowledged < self._sent:
            self.serve(1.0)

    def serve(self, seconds: float) -> None:
        """Let the connection work until something happens, at most so long."""
        if not self._work(seconds):
            self._return()

    def _work(self, seconds: float) -> bool:
        """One look at the socket; whether it is still there. (`Client.loop` adds a system call to every message.)"""
        line: Any = self._client.socket()
        if line is None:
            return False
        waiting = line.pending() if hasattr(line, "pending") else 0  # bytes that TLS has already taken off the socket
        readable, writable, _ = select.select(
            [line], [line] if self._client.want_write() else [], [], 0.0 if waiting else seconds
        )
        done = [self._client.loop_read()] if readable or waiting else []
        done += [self._client.loop_write()] if writable else []
        return not any(done) and self._client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS

    def _return(self) -> None:
        self.losses += 1
        log.warning("the broker %s is lost; %d of %d acknowledged", self._url, self._acknowledged, self._sent)
        until, wait = ticks() + _PATIENCE_S, 0.1
        while ticks() < until and not self.stopped:
            self._connected, self._refused = False, ""
            try:
                self._client.reconnect()
                self._await_connection()
            except (OSError, ConnectorError):
                self._stop.wait(wait)
                wait = min(wait * 2, 2.0)
            else:
                log.warning("the broker %s is back", self._url)
                return
        raise ConnectorError(
            f"the broker {self._url} is gone; {self._acknowledged} of {self._sent} messages are acknowledged",
            "start it and play again: a point that comes twice is kept once",
        )

    def _await_connection(self) -> None:
        until = ticks() + 10.0
        while not self._connected and not self._refused and ticks() < until:
            if not self._work(0.1) and not self._refused:
                raise ConnectorError(f"the broker {self._url} closed the connection")
        if not self._connected:
            said = self._refused or "no answer within 10 s"
            raise ConnectorError(f"the broker {self._url} refuses us: {said}", "check user and password")

    def _on_connect(self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._connected = not reason.is_failure
        self._refused = str(reason) if reason.is_failure else ""

    def _on_publish(self, client: paho.Client, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        self._acknowledged += 1
