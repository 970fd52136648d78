"""FMUs in twin files: the virtual copy under a filter, calibrated over a history, and a plant that is commanded."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import numpy as np
import pytest

from fmus import fmu
from gemel import load
from gemel.config import dump
from gemel.connectors.virtual import Virtual
from gemel.core.clock import Virtual as VirtualClock
from gemel.core.setting import Setting
from gemel.core.units import SECOND, instant
from gemel.core.values import GOOD, Batch, Command, Frame, Signal, Signals
from gemel.estimators.enkf import Enkf
from gemel.estimators.esmda import esmda
from gemel.simulators.fmu.simulator import Fmu

START = instant("2026-01-01")
PRIORS = {"outflow": {"mean": 0.5, "sd": 0.15}, "level": {"mean": 1.0, "sd": 0.3}}


def telemetry(outflow: float, steps: int = 40) -> Frame:
    """A tank watched once a second, with an inflow that goes up and down."""
    rng, level, values = np.random.default_rng(1), 2.0, []
    for i in range(steps):
        inflow = 1.0 + 0.8 * np.sin(i / 7)
        level = inflow / outflow + (level - inflow / outflow) * np.exp(-outflow / 2)
        values.append([level + 0.02 * rng.standard_normal(), inflow])
    times = START + SECOND * np.arange(1, steps + 1)
    return Frame(times, np.array(values), np.full((steps, 2), GOOD, np.uint8), ("level", "inflow"))


@pytest.mark.parametrize("interface", ["cs", "me"])
def test_a_filter_finds_a_parameter(interface: str) -> None:
    simulator = Fmu(fmu("tank"), interface=interface, priors=PRIORS)
    signals = Signals([Signal("level"), Signal("inflow")])
    estimator = Enkf(noise={"level": 0.02}, members=12)
    estimator.bind(Setting("t", "", signals, VirtualClock(START), SECOND, SECOND, 1, Path(), simulator))
    belief = estimator.update(None, telemetry(0.3))
    assert belief.mean()["outflow"] == pytest.approx(0.3, abs=0.02)
    assert belief.spread()["outflow"] < 0.02


def test_one_that_hides_its_state_is_calibrated_over_a_history() -> None:
    simulator = Fmu(fmu("tank", states=False, saves=False), priors={"outflow": PRIORS["outflow"]}, start={"level": 2.0})
    found = esmda(simulator, telemetry(0.3, 20), {"level": 0.02}, members=12)
    assert found.mean()["outflow"] == pytest.approx(0.3, abs=0.02)


PLANT = """
name = "tank"
every = "1min"
clock = "data"
signals = [
  {{ name = "level", unit = "m", address = "plant:level" }},
  {{ name = "inflow", unit = "m3/s", role = "controlled", low = 0, high = 2, address = "plant:inflow" }},
]
store = {{ kind = "memory" }}
[connectors.plant]
kind = "virtual"
every = "10s"
length = "10min"
start = "2026-01-01"
inputs = {{ inflow = 1.5 }}
simulator = {{ kind = "fmu", path = "{path}" }}
"""


@pytest.mark.parametrize("version", [2, 3])
def test_alone_it_is_a_plant(version: int) -> None:
    twin = load(PLANT.format(path=fmu("tank", version=version, states=False, saves=version == 2)))
    twin.run()
    newest = twin.store.latest(["level"])
    assert newest.time[0] == START + 600 * SECOND
    np.testing.assert_allclose(newest.values[0, 0], 3.0, rtol=1e-6)
    assert load(dump(twin)).name == "tank"


@pytest.mark.parametrize("version", [2, 3])
def test_a_plant_without_inputs_and_one_with_odd_names(version: int) -> None:
    odd = (("'my flow'.q[1]", 9, "Float64", 'causality="output" unit="m3/s"'),)
    text = PLANT.format(path=fmu("stair", version=version, interfaces="me", more=odd))
    signals = """signals = [{ name = "count", address = "plant:count" },
  { name = "flow", address = "plant:'my flow'.q[1]" }]\nstore"""
    twin = load(
        re.sub(r"signals = \[.*?\n\]\nstore", signals, text, flags=re.DOTALL).replace("inputs = ", "noise = {} #")
    )
    twin.run()
    assert twin.store.latest(["count", "flow"]).values.tolist() == [[600, 0.5]]


def test_commands_set_its_inputs() -> None:
    plant = Virtual({"kind": "fmu", "path": fmu("tank")}, every="10s")
    signals = Signals([Signal("level", address="plant:level"), Signal("in", role="controlled", address="plant:inflow")])
    clock = VirtualClock(START)
    plant.bind(Setting("t", "plant", signals, clock, 60 * SECOND, 60 * SECOND, 0, Path()))

    async def play() -> list[Batch]:
        found = list[Batch]()
        with clock.task():
            async for batch in plant.stream():
                found.append(batch)
                if len(found) == 3:
                    ack = await plant.send(Command("c", "in", 1.5, clock.now() + 60 * SECOND))
                    assert ack.state == "done"
                if len(found) == 40:
                    return found
        return found

    levels = [float(b.value[0]) for b in asyncio.run(play())]
    assert levels[2] < levels[0] < 1
    assert levels[-1] == pytest.approx(3.0, rel=1e-3)


def test_the_engine_survives_a_plant_that_does_not(caplog: pytest.LogCaptureFixture) -> None:
    twin = load(PLANT.format(path=fmu("tank", bad="SEGV", since=300)))
    twin.run()
    assert "the virtual plant has stopped: segv.fmu crashed (SIGSEGV) at t = 300 s" in caplog.text
    assert twin.store.latest(["level"]).time[0] == START + 300 * SECOND


def test_a_fork_takes_the_start_value_of_an_input_nobody_gives() -> None:
    copy = f'simulator = {{ kind = "fmu", path = "{fmu("tank")}", interface = "me" }}\n'
    copy += 'estimator = { kind = "enkf", noise = { level = 0.1 }, members = 4 }\n'
    twin = load(copy + re.sub(r"  \{ name = .inflow.*\n", "", PLANT.format(path=fmu("tank"))))
    twin.run()
    level = twin.fork(members=4).set("inflow", 1.0).run("5min").of("level")
    assert level[-1] == pytest.approx(2.0, rel=1e-3)
    untouched = twin.fork(members=4).run("5min").of("level")
    assert np.isfinite(untouched).all()
