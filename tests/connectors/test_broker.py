"""The broker inside the process."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from gemel.connectors.broker import Broker
from gemel.connectors.mqtt import Mqtt
from gemel.core.clock import Wall
from gemel.core.errors import ConfigError
from gemel.core.setting import Setting
from gemel.core.values import Signal, Signals

pytestmark = pytest.mark.server


def test_it_carries_messages_at_qos_1() -> None:
    async def run() -> None:
        async with Broker() as broker:
            assert broker.url == f"mqtt://127.0.0.1:{broker.port}"
            mqtt = Mqtt(broker.url, version="3.1.1")
            signals = Signals([Signal("a", address="plant:t#a")])
            mqtt.bind(Setting("twin", "plant", signals, Wall(), 1, 1, 0, Path()))
            stream = mqtt.stream()
            heard = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
            await asyncio.sleep(0.3)
            client = paho.Client(CallbackAPIVersion.VERSION2)
            await asyncio.to_thread(client.connect, "127.0.0.1", broker.port)
            client.loop_start()
            sent = [client.publish("t", json.dumps({"ts": 1_714_564_800 + i, "a": i}), qos=1) for i in range(40)]
            values = []
            async with asyncio.timeout(10):
                while len(values) < len(sent):
                    batch = await heard
                    values += batch.value.tolist()
                    mqtt.confirm(batch)
                    if len(values) < len(sent):
                        heard = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
            assert values == list(range(40))
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)
            await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amqtt.broker", None)

    async def run() -> None:
        async with Broker():
            pass

    with pytest.raises(ConfigError, match=r"embedded broker needs the package amqtt.*pip install 'gemel\[demo\]'"):
        asyncio.run(run())
