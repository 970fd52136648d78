"""The MQTT connector against a real Mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gemel.connectors.commands import read_command, write_ack
from gemel.connectors.mqtt import Mqtt
from gemel.core.clock import Wall
from gemel.core.errors import ConfigError
from gemel.core.setting import Setting
from gemel.core.units import SECOND
from gemel.core.values import Ack, Batch, Command, Signal, Signals
from gemel.testing import check_actuator, check_source
from servers import Mosquitto

pytestmark = pytest.mark.server
ROW = [Signal(name, address=f"plant:site/row#{name}") for name in "abcdefg"]
PUMP = Signal("pump", role="controlled", address="plant:site/{name}/set")
VERSIONS = pytest.mark.parametrize("version", ["3.1.1", "5"])
T0 = 1_714_564_800


def bound(url: str, signals: list[Signal] | None = None, folder: Path = Path(), **settings: Any) -> Mqtt:
    mqtt = Mqtt(url, **settings)
    table = Signals(ROW if signals is None else signals)
    mqtt.bind(Setting("test", "plant", table, Wall(), 60 * SECOND, 3600 * SECOND, 0, folder))
    return mqtt


def rows(count: int, first: int = 0) -> list[str]:
    return [json.dumps({"ts": T0 + i, **dict.fromkeys("abcdefg", i)}) for i in range(first, first + count)]


@contextlib.asynccontextmanager
async def streaming(mqtt: Mqtt) -> AsyncIterator[Callable[..., Awaitable[list[Batch]]]]:
    """Gives `take(points, text=...)`: batches until there are that many points and an event with that text."""
    stream = mqtt.stream()

    async def take(points: int = 0, confirm: bool = True, text: str = "") -> list[Batch]:
        batches: list[Batch] = []
        told = ""
        async with asyncio.timeout(15):
            while sum(map(len, batches)) < points or text not in told:
                batches.append(await anext(stream))
                told += "".join(e.text for e in batches[-1].events)
                if confirm:
                    mqtt.confirm(batches[-1])
        return batches

    try:
        yield take
    finally:
        await stream.aclose()  # type: ignore[attr-defined]


async def say(server: Mosquitto, topic: str, *payloads: str | bytes, **more: Any) -> None:
    await asyncio.to_thread(server.publish, topic, *payloads, **more)


async def subscribed(mqtt: Mqtt) -> None:
    """Leave a session with its subscriptions on the broker."""
    async with streaming(mqtt) as take:
        nothing = asyncio.create_task(take(1))
        await connected(mqtt)
        nothing.cancel()
        await asyncio.wait((nothing,))


async def connected(mqtt: Mqtt) -> None:
    for _ in range(500):
        if mqtt._line is not None and mqtt._line.up:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # and subscribed


def stamps(batches: list[Batch]) -> list[int]:
    return sorted({t // SECOND - T0 for b in batches for t in b.time.tolist()})


@VERSIONS
def test_it_is_a_source(mosquitto: Mosquitto, version: str) -> None:
    async def run() -> None:
        await subscribed(bound(mosquitto.url, version=version))
        batches = await check_source(
            lambda: bound(mosquitto.url, version=version),
            lambda points: say(mosquitto, "site/row", *rows(points // 7)),
            signals=7,
            points=70,
        )
        assert stamps(batches) == list(range(10))

    asyncio.run(run())


@VERSIONS
def test_what_is_not_confirmed_comes_again_and_what_is_does_not(mosquitto: Mosquitto, version: str) -> None:
    async def run() -> None:
        await subscribed(bound(mosquitto.url, version=version))
        async with streaming(bound(mosquitto.url, version=version)) as take:
            await say(mosquitto, "site/row", *rows(6))
            assert stamps(await take(42)) == list(range(6))
            await say(mosquitto, "site/row", *rows(6, first=6))
            assert stamps(await take(42, confirm=False)) == list(range(6, 12))
        await say(mosquitto, "site/row", *rows(6, first=12))  # while nobody listens
        async with streaming(bound(mosquitto.url, version=version)) as take:
            assert stamps(await take(84)) == list(range(6, 18))

    asyncio.run(run())


def test_a_killed_process_loses_nothing(mosquitto: Mosquitto) -> None:
    script = f"""
import asyncio, sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
from test_mqtt import bound
async def run():
    mqtt = bound({mosquitto.url!r})
    print("up", flush=True)
    points = 0
    async for batch in mqtt.stream():  # a slow machine may make several of it
        points += len(batch)
        if points == 105:
            print(points, flush=True)
            await asyncio.sleep(60)
asyncio.run(run())
"""
    asyncio.run(subscribed(bound(mosquitto.url)))
    mosquitto.publish("site/row", *rows(15))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert [process.stdout.readline(), process.stdout.readline()] == ["up\n", "105\n"]
    process.kill()
    process.wait()
    process.stdout.close()

    async def run() -> None:
        async with streaming(bound(mosquitto.url)) as take:
            assert stamps(await take(105)) == list(range(15))

    asyncio.run(run())


def test_a_batch_closes_when_the_window_is_full_and_when_the_socket_is_idle(mosquitto: Mosquitto) -> None:
    async def run() -> None:
        await subscribed(bound(mosquitto.url, version="3.1.1"))
        await say(mosquitto, "site/row", *rows(50))
        async with streaming(bound(mosquitto.url, version="3.1.1", idle="40ms")) as take:
            batches = await take(350)
            assert 0 < len(batches[0]) // 7 <= 20  # Mosquitto waits for us; a slow machine may pause before it is full
            assert stamps(batches) == list(range(50))
        await say(mosquitto, "site/row", *rows(50))
        async with streaming(bound(mosquitto.url, version="5", idle="40ms")) as take:
            assert sum(len(b) // 7 for b in await take(350)) == 50  # the broker may send them all
        await say(mosquitto, "site/row", *rows(50))
        async with streaming(bound(mosquitto.url, version="5", window=5, idle="40ms")) as take:
            batches = await take(350)
            assert 0 < len(batches[0]) // 7 <= 5
            assert stamps(batches) == list(range(50))

    asyncio.run(run())


@VERSIONS
def test_the_broker_restarts_and_nothing_is_lost(
    mosquitto: Mosquitto, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        mqtt = bound(mosquitto.url, version=version)
        await subscribed(mqtt)
        async with streaming(mqtt) as take:
            await say(mosquitto, "site/row", *rows(5))
            held = await take(35, confirm=False)
            await asyncio.to_thread(mosquitto.stop)
            await take(text="trying again")
            await asyncio.sleep(0.7)  # attempts that fail say nothing more
            await asyncio.to_thread(mosquitto.start)
            back = await take(text="is back")
            for batch in held:  # by a line that is gone: must not acknowledge anything on the new one
                mqtt.confirm(batch)
            assert stamps(back + await take(35 - sum(map(len, back)))) == list(range(5))
            await say(mosquitto, "site/row", *rows(5, first=5))
            assert stamps(await take(35)) == list(range(5, 10))
        told = [r.message for r in caplog.records if r.name.startswith("gemel")]
        assert [("trying again" in m, "is back" in m) for m in told] == [(True, False), (False, True)]

    with caplog.at_level(logging.INFO):
        asyncio.run(run())


def test_a_broker_that_is_down_at_the_start_is_waited_for(mosquitto: Mosquitto) -> None:
    async def run() -> None:
        mosquitto.stop()
        async with streaming(bound(mosquitto.url)) as take:
            (event,) = (await take(text="Connection refused"))[0].events
            assert event.text == f"{mosquitto.url}: [Errno 111] Connection refused; trying again"
            assert (event.kind, event.subject) == ("lost", "plant")
            asyncio.get_running_loop().call_later(0.3, mosquitto.start)
            batches = await take(text="is back")
            assert batches[-1].events[-1].kind == "returned"

    asyncio.run(run())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho: sockets of failed handshakes
def test_tls_with_user_and_password(tmp_path: Path, mosquitto_installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def tool(*words: str) -> None:
        subprocess.run(words, check=True, cwd=tmp_path, capture_output=True)

    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    tool(*new, "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1")
    tool("mosquitto_passwd", "-c", "-b", "users", "twin", "secret")
    files = [f"{key} {tmp_path}/{name}" for key, name in (("certfile", "cert.pem"), ("keyfile", "key.pem"))]
    lines = [*files, f"password_file {tmp_path}/users", "allow_anonymous false"]
    server = Mosquitto(tmp_path, lines, scheme="mqtts").start()
    monkeypatch.setenv("TWIN_PASSWORD", "secret")
    monkeypatch.setenv("OLD_PASSWORD", "forgotten")
    login = {"user": "twin", "password_env": "TWIN_PASSWORD", "ca_file": "cert.pem", "folder": tmp_path}

    async def run() -> None:
        echo = [Signal("echo", address="plant:echo")]
        mqtt = bound(server.url, echo, **login)
        async with streaming(mqtt) as take:
            asking = asyncio.create_task(take(3000))
            await connected(mqtt)
            line = mqtt._line
            for i in range(3000):
                line.publish("echo", str(i).encode(), "answer", str(i), None)
            assert np.concatenate([b.value for b in await asking]).tolist() == list(range(3000))
        for wrong, text in (
            ({"password_env": "OLD_PASSWORD"}, "Not authorized"),
            ({"ca_file": ""}, "certificate verify failed"),
        ):
            async with streaming(bound(server.url, echo, **{**login, **wrong})) as take:
                await take(text=text)

    try:
        asyncio.run(run())
    finally:
        server.stop()


def test_a_flood_at_qos_0_waits_in_tcp_and_not_in_memory(mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemel.connectors.mqtt._POINTS", 40)

    async def run() -> None:
        mqtt = bound(mosquitto.url, qos=0)
        async with streaming(mqtt) as take:
            asking = asyncio.create_task(take(7))
            await connected(mqtt)
            await say(mosquitto, "site/row", *rows(1))
            await asking
            await say(mosquitto, "site/row", *rows(300, first=1))
            await asyncio.sleep(0.1)
            assert len(mqtt._messages) == 10  # of 1 + 7 points
            assert stamps(await take(2100)) == list(range(1, 301))

    asyncio.run(run())


def test_malformed_messages_are_told_and_acknowledged(mosquitto: Mosquitto) -> None:
    async def run() -> None:
        mqtt = bound(mosquitto.url)
        await subscribed(mqtt)
        async with streaming(mqtt) as take:
            await say(mosquitto, "site/row", b"{broken", b"\xff\xfe", b"9" * 10_000_000, rows(1)[0])
            batches = await take(7)
        texts = [e.text for b in batches for e in b.events]
        assert texts[0].startswith("topic 'site/row': payload is not JSON: Expecting property name")
        assert texts[1:] == [
            "topic 'site/row': payload is not valid UTF-8 (byte 0)",
            "topic 'site/row': payload of 10000000 bytes is larger than max_payload = 1000000",
        ]
        async with streaming(mqtt) as take:  # none of them comes again
            await say(mosquitto, "site/row", *rows(1, first=9))
            assert stamps(await take(7)) == [9]

    asyncio.run(run())


def test_a_topic_of_an_earlier_twin_file_is_told_and_let_go(mosquitto: Mosquitto) -> None:
    async def run() -> None:
        await subscribed(bound(mosquitto.url))
        other = bound(mosquitto.url, [Signal("x", address="plant:other")])
        async with streaming(other) as take:
            await say(mosquitto, "site/row", *rows(3))
            (batch,) = await take(text="no signal has this address")
            assert batch.events[0].subject == "site/row"
            await asyncio.sleep(0.1)
            await say(mosquitto, "site/row", *rows(3, first=3))
            await say(mosquitto, "other", "1")
            (batch,) = await take(1)
            assert not batch.events

    asyncio.run(run())


class Plant:
    """A pump on the other side of the broker: obeys each command once, and answers."""

    def __init__(self, server: Mosquitto, v5: bool = False) -> None:
        protocol = MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311
        self.acted: list[float] = []
        self.answers = True
        self._done: set[str] = set()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", server.port)
        self._client.loop_start()
        self._client.subscribe("site/pump/set", qos=1)
        time.sleep(0.1)

    def mute(self) -> None:
        self.answers = False

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        command = read_command(message.payload)
        if command.id not in self._done:
            self._done.add(command.id)
            self.acted.append(command.value)
        if not self.answers:
            return
        answer = getattr(message.properties, "ResponseTopic", "site/pump/set/ack")
        client.publish(answer, write_ack(Ack(command.id, "done", 0)), qos=1)


@VERSIONS
def test_it_is_an_actuator(mosquitto: Mosquitto, version: str) -> None:
    async def run() -> None:
        mqtt = bound(mosquitto.url, [PUMP], version=version, ack_timeout="300ms")
        plant = Plant(mosquitto, v5=version == "5")
        early = await mqtt.send(Command("c0", "pump", 1.0, Wall().now() + SECOND))
        assert (early.state, early.text) == ("failed", f"{mosquitto.url} is not connected")
        async with streaming(mqtt) as take:
            idle = asyncio.create_task(take(text="never"))
            await connected(mqtt)
            await check_actuator(mqtt, "pump", 7.5, now=Wall().now(), acted=lambda: plant.acted, mute=plant.mute)
            ack = await mqtt.send(Command("c9", "pump", 1.0, Wall().now() + SECOND))
            assert (ack.state, ack.text) == ("silent", "no answer on 'site/pump/set/ack' within 300ms")
            idle.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await idle
        plant.close()

    asyncio.run(run())


def test_what_the_constructor_refuses() -> None:
    with pytest.raises(ConfigError) as error:
        Mqtt("localhost:1883", version="4", qos=2, window=-1, idle="soon", max_payload=0)
    assert error.value.problems == [
        "url 'localhost:1883' is not mqtt://host:port or mqtts://host:port",
        "version '4' is not one of 3.1.1, 5",
        "qos 2 is not 0 or 1",
        "window -1 is not within 0 .. 65535",
        "max_payload 0 must be above 0 (bytes)",
        "idle: 'soon' is not a duration",
    ]
    with pytest.raises(ConfigError, match="url must not hold a user or password"):
        Mqtt("mqtt://me:secret@host")


@pytest.mark.parametrize(
    ("signal", "settings", "text"),
    [
        (Signal("a", address="plant:site/{nmae}"), {}, r"unknown placeholder '\{nmae\}'.*did you mean 'name'"),
        (Signal("a", address="plant:site/+"), {}, "'site/[+]' is a wildcard: an address names one topic"),
        (
            Signal("a", role="controlled", address="plant:site/row#a"),
            {},
            "its commands would go to a topic that is heard",
        ),
        (Signal("a", address="plant:x"), {"password_env": "GEMEL_NO_SUCH"}, "GEMEL_NO_SUCH is not set"),
        (Signal("a", address="plant:x"), {"url": "mqtts://h", "ca_file": "no.pem"}, "TLS files no.pem cannot be used"),
    ],
)
def test_what_does_not_suit_the_twin_is_refused(signal: Signal, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        bound(settings.pop("url", "mqtt://localhost"), [*ROW[1:], signal], **settings)


def test_addresses_are_filled_in_and_a_controlled_signal_may_be_heard_as_well() -> None:
    fan = Signal("fan", role="controlled", asset="t1", address="plant:{asset}#fans.{name}")
    mqtt = bound("mqtt://h", [fan], command_topic="{topic}/{name}/set", ack_topic="acks/{asset}")
    assert mqtt._topics == {"t1": [(0, "fans.fan")]}
    assert mqtt._routes["fan"] == ("t1/fan/set", "acks/t1")
