from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel.connectors.virtual import Virtual
from gemel.core.clock import Clock, Data
from gemel.core.clock import Virtual as VirtualClock
from gemel.core.errors import ConfigError
from gemel.core.setting import Setting
from gemel.core.units import SECOND, instant
from gemel.core.values import Batch, Command, Signal, Signals
from gemel.testing.actuator import check_actuator
from gemel.testing.source import check_source

MINUTE = 60 * SECOND
START = instant("2025-01-01")
THERMAL = {"kind": "thermal", "fan": "fan", "ambient": "air", "rated": 40}
SIGNALS = Signals(
    [
        Signal("top_oil", unit="degC", address="plant:tx/1#oil"),
        Signal("fan", role="controlled", low=0, high=2, address="plant:fan"),
        Signal("load", unit="MVA", address="plant:load"),
        Signal("elsewhere", address="other:oil"),
    ]
)


def make(clock: Clock | None = None, **more: Any) -> Virtual:
    given = {"simulator": THERMAL, "inputs": {"load": {"base": 30, "daily": 5, "peak": "18h"}, "air": 15}, **more}
    plant = Virtual(**given)
    clock = VirtualClock(START) if clock is None else clock
    plant.bind(Setting("t", "plant", SIGNALS, clock, MINUTE, 60 * MINUTE, 7, Path()))
    return plant


async def heard(plant: Virtual, n: int = 10**9) -> list[Batch]:
    found = []
    with plant._setting.clock.task():
        async for batch in plant.stream():
            found.append(batch)
            if len(found) == n:
                break
    return found


def columns(batches: Sequence[Batch]) -> tuple[np.ndarray[Any, Any], ...]:
    return tuple(np.concatenate([getattr(b, c) for b in batches]) for c in ("signal", "time", "value"))


def test_it_ticks_on_the_clock_and_gives_only_its_own_signals() -> None:
    signal, time, value = columns(asyncio.run(heard(make(every="5min", length="1h"))))
    assert time.tolist() == [START + 5 * MINUTE * i for i in range(1, 13) for _ in range(3)]
    assert set(signal.tolist()) == {0, 1, 2}
    assert np.isfinite(value).all()
    load = value[signal == 2]
    assert load[0] == pytest.approx(30 + 5 * np.cos(2 * np.pi * (5 / 1440 + 6 / 24)))


def test_the_same_seed_is_the_same_plant_and_sensors_have_noise() -> None:
    one, two, other, rough = (
        columns(asyncio.run(heard(make(length="2h", **more))))[2]
        for more in ({}, {}, {"seed": 1}, {"noise": {"oil": 5.0}})
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    signal = columns(asyncio.run(heard(make(length="2h"))))[0]
    assert np.std((rough - one)[signal == 0]) == pytest.approx(5.0, rel=0.3)
    np.testing.assert_array_equal(rough[signal != 0], one[signal != 0])


def test_commands_act_and_are_read_back() -> None:
    async def play() -> tuple[list[float], list[float], str]:
        plant = make(every="15min", length="2d", simulator={**THERMAL, "fan_gain": 1.0})
        fan, oil, state = [], [], ""
        with plant._setting.clock.task():
            async for batch in plant.stream():
                if len(fan) == 96:
                    ack = await plant.send(Command("c1", "fan", 2.0, batch.time[0] + MINUTE))
                    state = ack.state
                oil.append(float(batch.value[0]))
                fan.append(float(batch.value[1]))
        return fan, oil, state

    fan, oil, state = asyncio.run(play())
    assert state == "done"
    assert fan[:97] == [0.0] * 97
    assert fan[97:] == [2.0] * 95
    assert np.mean(oil[-24:]) < np.mean(oil[72:96]) - 10


def test_on_a_data_clock_it_starts_where_it_is_told_and_ends() -> None:
    plant = make(clock=Data(), start="2024-05-01T00:00", length="30min")
    batches = asyncio.run(heard(plant))
    assert batches[0].time[0] == instant("2024-05-01T00:01")
    assert len(batches) == 30


def test_conformance_of_the_source() -> None:
    async def check() -> None:
        await check_source(lambda: make(clock=Data(), start="2024-05-01T00:00", length="20min"), signals=4)

    asyncio.run(check())


def test_conformance_of_the_actuator() -> None:
    async def check() -> None:
        plant, clock = make(), VirtualClock(START)
        plant.bind(Setting("t", "plant", SIGNALS, clock, MINUTE, 60 * MINUTE, 7, Path()))
        stream = plant.stream()
        with clock.task():
            await anext(stream)
            await check_actuator(
                plant,
                "fan",
                1.0,
                now=clock.now(),
                acted=lambda: list(plant._setpoints.values()),
                mute=lambda: setattr(plant, "_running", False),
            )

    asyncio.run(check())


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        Virtual(simulator=THERMAL, inputs={"lod": 3}, noise={"oli": 1.0}, every="soon")
    text = str(error.value)
    assert "inputs names 'lod', did you mean 'load'?" in text
    assert "noise names 'oli', did you mean 'oil'?" in text
    assert "soon" in text
    with pytest.raises(ConfigError, match="an input has no key 'bas', did you mean 'base'"):
        Virtual(simulator=THERMAL, inputs={"load": {"bas": 3}})
    wrong = Signals([Signal("x", address="plant:oill")])
    with pytest.raises(ConfigError, match="the virtual plant has no 'oill', did you mean 'oil'"):
        Virtual(simulator=THERMAL).bind(Setting("t", "plant", wrong, VirtualClock(), MINUTE, MINUTE, 0, Path()))
