"""A file published to a real broker: every row arrives, exactly as it stands in the file."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from gemel.connectors.payload import Decoder, Message
from gemel.connectors.play import play
from gemel.connectors.replay import Replay
from gemel.core.clock import Data
from gemel.core.errors import ConfigError, ConnectorError
from gemel.core.setting import Setting
from gemel.core.values import Batch, Signal, Signals

pytestmark = pytest.mark.server


class Listener:
    """Keeps what it hears; its session survives a restart of the broker."""

    def __init__(self, port: int, topic: str) -> None:
        self.heard: list[tuple[str, bytes]] = []
        subscribed = threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, "listener", clean_session=False)
        client.on_connect = lambda c, *_: c.subscribe(topic, qos=1)
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda _c, _u, m: self.heard.append((m.topic, m.payload))
        client.reconnect_delay_set(1, 1)
        client.connect("127.0.0.1", port)
        client.loop_start()
        assert subscribed.wait(5)
        self._client = client

    def close(self, at_least: int = 0) -> list[tuple[str, bytes]]:
        for _ in range(500):
            if len(self.heard) >= at_least and len(set(self.heard)) >= at_least:  # some may come twice
                break
            time.sleep(0.02)
        self._client.disconnect()
        self._client.loop_stop()
        return self.heard


def rows_of(folder: Path, rows: int) -> tuple[Path, np.ndarray[Any, Any]]:
    values = np.random.default_rng(0).normal(20, 5, (rows, 2))
    lines = [
        f"{np.datetime64('2016-07-01') + np.timedelta64(i, 'm')},{a!r},{b!r}"
        for i, (a, b) in enumerate(values.tolist())
    ]
    file = folder / "plant.csv"
    file.write_text("date,OT,HUFL\n" + "\n".join(lines) + "\n")
    return file, values


def test_rows_arrive_in_order_and_exactly(tmp_path: Path, mosquitto: Any) -> None:
    file, values = rows_of(tmp_path, 3000)
    listener = Listener(mosquitto.port, "plant/row")
    told: list[int] = []
    found = play(file, mosquitto.url, progress=lambda done, _total, _text: told.append(done))
    heard = [json.loads(payload) for _, payload in listener.close(3000)]
    assert (found["messages"], found["points"], found["losses"]) == (3000, 6000, 0)
    assert [[row["OT"], row["HUFL"]] for row in heard] == values.tolist()
    assert heard[1]["time"] == "2016-07-01T00:01:00Z"
    assert told == [1000, 2000, 3000]


def test_points_empty_cells_nan_and_texts(tmp_path: Path, mosquitto: Any) -> None:
    file = tmp_path / "a.b.csv"
    file.write_text("time,OT,fan\n2016-07-01 00:00:00.25,1.5,on\n2016-07-02,,0\n2016-07-03,nan,\n2016-07-04,,\n")
    listener = Listener(mosquitto.port, "#")
    assert play(file, mosquitto.url, layout="points")["messages"] == 4
    assert play(file, mosquitto.url, topic="site/7", columns=["OT"])["messages"] == 2
    heard = [(topic, json.loads(payload)) for topic, payload in listener.close(6)]
    stamps = [f"2016-07-0{d}T00:00:00.{0 if d > 1 else 25:0<9}Z" for d in (1, 2, 3)]
    assert heard == [
        ("a/OT", {"value": 1.5, "time": stamps[0]}),
        ("a/fan", {"value": "on", "time": stamps[0]}),
        ("a/fan", {"value": 0.0, "time": stamps[1]}),
        ("a/OT", {"value": None, "time": stamps[2]}),
        ("site/7", {"time": stamps[0], "OT": 1.5}),
        ("site/7", {"time": stamps[2], "OT": None}),
    ]


def test_a_long_file_is_one_topic_a_name(tmp_path: Path, mosquitto: Any) -> None:
    file = tmp_path / "long.csv"
    file.write_text("ds,unique_id,y\n2016-07-01,7,1\n2016-07-01,b,2\n")
    listener = Listener(mosquitto.port, "#")
    play(file, mosquitto.url)
    assert [(t, json.loads(p)["value"]) for t, p in listener.close(2)] == [("long/7", 1.0), ("long/b", 2.0)]


@pytest.mark.slow
def test_nothing_is_lost_when_the_broker_restarts(tmp_path: Path, mosquitto: Any) -> None:
    file, values = rows_of(tmp_path, 20_000)
    listener = Listener(mosquitto.port, "plant/row")
    halfway = threading.Event()
    found: dict[str, Any] = {}

    def publish() -> None:
        found.update(play(file, mosquitto.url, progress=lambda done, *_: halfway.set() if done >= 5000 else None))

    thread = threading.Thread(target=publish)
    thread.start()
    assert halfway.wait(20)
    mosquitto.stop()
    mosquitto.start()
    thread.join(60)
    assert not thread.is_alive()
    heard = {json.loads(payload)["OT"] for _, payload in listener.close(20_000)}
    assert found["messages"] == 20_000
    assert found["losses"] >= 1
    assert heard == set(values[:, 0].tolist())


def test_a_speed_and_a_stop(tmp_path: Path, mosquitto: Any) -> None:
    file, _ = rows_of(tmp_path, 4)
    assert 0.15 <= play(file, mosquitto.url, speed="1200x")["seconds"] < 3  # three minutes
    stop = threading.Event()
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    assert play(file, mosquitto.url, speed=1, stop=stop)["messages"] == 1


def test_a_twin_hears_from_the_broker_what_it_reads_from_the_file(tmp_path: Path, mosquitto: Any) -> None:
    file = tmp_path / "plant.csv"
    cells = ["1.5,on", ",0", "nan,off", "-inf,", "wild,maybe", "1e-300,1", "0.1,on"]
    file.write_text("date,OT,fan\n" + "".join(f"2016-07-01 00:00:0{i}.5,{c}\n" for i, c in enumerate(cells)))
    oil, fan = Signal("oil", address="plant:OT"), Signal("fan", type="state", states=("off", "on"), address="plant:fan")
    signals = Signals((oil, fan))
    replay = Replay(str(file))
    replay.bind(Setting("t", "plant", signals, Data(1, 1), 1, 1, 0, tmp_path))

    async def read() -> list[Batch]:
        return [batch async for batch in replay.stream()]

    listener = Listener(mosquitto.port, "plant/row")
    sent = play(file, mosquitto.url)["messages"]
    messages = [Message(topic, payload, 2**62) for topic, payload in listener.close(sent)]
    decoder = Decoder(signals, {"plant/row": [(0, "OT"), (1, "fan")]}, live=False)
    batches = asyncio.run(read()), [decoder.decode(messages, 2**62)]
    read_points, heard_points = (
        sorted(
            (int(s), int(t), repr(float(v)), int(q))
            for batch in found
            for s, t, v, q in zip(batch.signal, batch.time, batch.value, batch.quality, strict=True)
        )
        for found in batches
    )
    assert heard_points == read_points
    assert len(read_points) == 12


def test_what_is_wrong_is_named(tmp_path: Path, mosquitto: Any) -> None:
    file, _ = rows_of(tmp_path, 1)
    with pytest.raises(ConfigError, match="has no column 'OTT', did you mean 'OT'"):
        play(file, mosquitto.url, columns=["OTT"])
    with pytest.raises(ConfigError, match="is not one of an MQTT broker"):
        play(file, "http://here")
    with pytest.raises(ConfigError, match="GEMEL_NOWHERE is not set"):
        play(file, mosquitto.url, password_env="GEMEL_NOWHERE")
    mosquitto.stop()
    with pytest.raises(ConnectorError, match="no broker answers at mqtt://127") as caught:
        play(file, mosquitto.url)
    assert "mosquitto -p 1883" in caught.value.hint
