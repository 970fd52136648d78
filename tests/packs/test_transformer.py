from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from gemel.connectors.commands import write_command
from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError, ConnectorError
from gemel.core.setting import Setting
from gemel.core.units import duration, instant
from gemel.core.values import Batch, Command, Signal, Signals
from gemel.packs.energy.transformer import COLUMNS, Plant, Row, Tank
from gemel.packs.station import Station

HOUR = duration("1h")
START = "2025-05-20T10:00"


def quiet(**more: Any) -> Plant:
    return Plant(**({"start": START, "history": "", "fan_fails": "", "sensor_drifts": "", "dropouts": 0.0} | more))


def after(plant: Plant, hours: float) -> list[Row]:
    return [plant.tick() for _ in range(round(hours * 60))]


def column(rows: list[Row], name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([values.get(name, np.nan) for _, values in rows])


def order(name: str, value: float, hours: float = 100.0, id: str = "c1") -> Command:
    return Command(id, name, value, instant(START) + round(hours * HOUR))


def test_the_same_seed_gives_the_same_plant_and_commands_change_no_weather() -> None:
    one, two, fanned = Plant(START, "1d"), Plant(START, "1d"), Plant(START, "1d")
    assert one.past == two.past
    assert len(one.past) == 24 * 60
    assert one.past[-1][0] == instant(START)
    fanned.obey(order("fan", 2))
    a, b, c = after(one, 3), after(two, 3), after(fanned, 3)
    assert a == b
    assert a[0][0] == instant(START) + duration("1min")
    for name in ("ambient", "load"):
        assert np.array_equal(column(a, name), column(c, name), equal_nan=True)
    assert np.nanmean(column(c, "oil")[-30:]) < np.nanmean(column(a, "oil")[-30:]) - 1
    assert Plant(START, "1d", seed=2).past != Plant(START, "1d").past


def test_the_temperatures_reach_their_rated_rises() -> None:
    tank = Tank(20.0)
    for _ in range(3 * 24 * 60):
        tank.step(1.0, 20.0, 0.0, 1.0)
    assert tank.oil - 20 == pytest.approx(62, abs=2)
    assert tank.hot_spot - tank.oil == pytest.approx(26, abs=1)


def test_the_hot_spot_overshoots_a_step_of_load() -> None:
    tank = Tank(20.0)
    for _ in range(3 * 24 * 60):
        tank.step(0.4, 20.0, 0.0, 1.0)
    gradient = []
    for _ in range(10 * 60):
        tank.step(1.2, 20.0, 0.0, 1.0)
        gradient.append(tank.hot_spot - tank.oil)
    assert max(gradient) > 1.15 * gradient[-1]


def test_a_failed_bank_draws_and_cools_half() -> None:
    well, ill = quiet(), quiet(fan_fails="2h")
    for plant in (well, ill):
        plant.obey(order("fan", 2))
    a, b = after(well, 8), after(ill, 8)
    assert np.allclose(column(a, "fan_power")[:115], column(b, "fan_power")[:115])
    assert column(b, "fan_power")[130:].mean() == pytest.approx(0.5 * column(a, "fan_power")[130:].mean(), rel=0.05)
    assert column(b, "oil")[-30:].mean() > column(a, "oil")[-30:].mean() + 3
    assert set(column(b, "fan")) == {2.0}


def test_the_oil_sensor_drifts_two_kelvin_an_hour() -> None:
    plant = quiet(sensor_drifts="1h")
    rows, true = [], []
    for _ in range(6 * 60):
        rows.append(plant.tick())
        true.append(plant.tank.oil)
    error = column(rows, "oil") - np.array(true)
    assert error[:60].mean() == pytest.approx(0, abs=0.15)
    assert error[:60].std() == pytest.approx(0.3, abs=0.08)
    slope = np.polyfit(np.arange(300) / 60, error[60:], 1)[0]
    assert slope == pytest.approx(2.0, abs=0.05)


def test_commands_are_obeyed_refused_and_expire() -> None:
    plant = quiet()
    assert plant.obey(order("fan", 2, hours=1.0)).state == "done"
    assert plant.obey(order("fan", 1, hours=1.0)).state == "done"  # the same id: answered again, not acted on
    rows = after(plant, 2)
    assert set(column(rows, "fan")[:59]) == {2.0}
    assert column(rows, "fan")[-1] == 0.0  # on its own again: the thermostat finds the oil cool
    for command, text in (
        (order("fan", 3, id="c2"), "there is no stage 3"),
        (order("load_limit", 99, id="c3"), "99 MVA is outside 0 .. 60"),
        (order("oil", 20, id="c4"), "oil takes no commands"),
        (order("fan", 1, hours=0.5, id="c5"), "expired"),
    ):
        ack = plant.obey(command)
        assert (ack.state, ack.text) == ("refused", text)


def test_the_load_limit_is_kept() -> None:
    plant = quiet()
    plant.obey(order("load_limit", 25))
    rows = after(plant, 1)
    assert column(rows, "load")[20:].max() < 25.5
    assert set(column(rows, "load_limit")) == {25.0}


def test_readings_go_missing_one_by_one_and_all_at_once() -> None:
    rows = after(quiet(dropouts=0.01), 48)
    empty = sum(1 for _, values in rows if not values)
    some = sum(1 for _, values in rows if 0 < len(values) < len(COLUMNS))
    assert 5 < empty < 200
    assert 100 < some < 300


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": "90s"}, "every '90s' must be whole minutes"),
        ({"start": "soon"}, "'soon' is not a time"),
        ({"fan_fails": "x"}, "'x' is not a duration"),
        ({"dropouts": 2.0}, "dropouts 2.0 must be"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Plant(**settings)
    assert message in str(error.value)


SIGNALS = Signals([Signal("oil", address="p:oil"), Signal("stage", role="controlled", address="p:tx1/row#fan")])


def setting(clock: Virtual, signals: Signals = SIGNALS) -> Setting:
    return Setting("t", "p", signals, clock, HOUR // 12, 24 * HOUR, 1, Path())


def test_it_is_a_source_and_an_actuator_on_the_virtual_clock() -> None:
    async def run() -> list[Batch]:
        clock = Virtual(START)
        plant = quiet(start="", history="1h")
        plant.bind(setting(clock))
        batches = []
        with clock.task():
            async for batch in plant.stream():
                assert clock.now() >= batch.time.max()
                batches.append(batch)
                if len(batches) == 3:
                    ack = await plant.send(Command("c1", "stage", 1.0, clock.now() + HOUR))
                    assert ack.state == "done"
                if len(batches) == 10:
                    break
        return batches

    one, two = asyncio.run(run()), asyncio.run(run())
    assert len(one[0]) == 120
    assert one[-1].time[0] == instant(START) + duration("9min")
    assert one[2].value[1] == 0.0
    assert one[-1].value[1] == 1.0
    assert all(np.array_equal(a.value, b.value) and a.sequence == b.sequence for a, b in zip(one, two, strict=True))


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ConfigError, match="transformer has no 'oill', did you mean 'oil'"):
        quiet().bind(setting(Virtual(START), Signals([Signal("x", address="p:oill")])))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if mosquitto is None:
        if os.environ.get("CI"):
            pytest.fail("mosquitto is not installed")
        pytest.skip("mosquitto is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen([mosquitto, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(5)


def test_the_station_publishes_obeys_and_answers(broker: str) -> None:
    async def run() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        heard: list[paho.MQTTMessage] = []
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_message = lambda _, __, message: heard.append(message)
        client.connect("127.0.0.1", int(broker.rsplit(":", 1)[1]))
        client.subscribe([("tx1/row", 1), ("tx1/+/set/ack", 1)])
        client.loop_start()
        station = Station(quiet(history="2h"), broker, speed=1200.0, past=True)
        task = asyncio.create_task(station.run())
        try:
            for _ in range(100):
                await asyncio.sleep(0.02)
                if len(heard) > 125:
                    break
            command = replace(order("any", 2), id="fan-1")
            client.publish("tx1/fan/set", write_command(command, instant(START)), qos=1)
            client.publish("tx1/fan/set", b"nonsense", qos=1)
            for _ in range(100):
                await asyncio.sleep(0.02)
                if heard and json.loads(heard[-1].payload).get("fan") == 2.0:
                    break
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            client.disconnect()
            client.loop_stop()
        rows = [json.loads(m.payload) for m in heard if m.topic == "tx1/row"]
        acks = [json.loads(m.payload) for m in heard if m.topic == "tx1/fan/set/ack"]
        return rows, acks

    rows, acks = asyncio.run(run())
    assert rows[0]["time"] == "2025-05-20T08:01:00Z"
    assert len(rows) > 120
    assert set(rows[0]) == {"time", *COLUMNS}
    assert rows[-1]["fan"] == 2.0
    assert acks == [{"id": "fan-1", "state": "done", "text": ""}]


def test_a_broker_that_is_not_there_is_named() -> None:
    with pytest.raises(ConnectorError, match=r"no broker at mqtt://127\.0\.0\.1:1"):
        asyncio.run(Station(quiet(), "mqtt://127.0.0.1:1").run())
