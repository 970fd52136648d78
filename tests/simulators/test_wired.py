# ruff: noqa: RUF012  (people write plain tables)
from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel.config import dump, load
from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError
from gemel.core.setting import Setting
from gemel.core.values import GOOD, Belief, Floats, Frame, Signal, Signals
from gemel.estimators.enkf import Enkf
from gemel.loop.simulate import Assignable, Branches, Noisy, rollout
from gemel.simulators.network.simulator import Network
from gemel.simulators.ode.simulator import Ode
from gemel.simulators.thermal import Thermal
from gemel.simulators.wired import Wired
from gemel.testing.simulator import check_simulator


class Boiler:
    """Water that a burner heats, and that gives heat to a house whose return water it hears."""

    states = {"supply": {"unit": "degC", "mean": 50.0, "sd": 2.0, "noise": 0.1}}
    inputs = {"burner": "kW", "back": "degC"}
    outputs = {"supply": "degC", "heat": "kW"}
    parameters = {"loss": {"unit": "kW/K", "mean": 0.05, "sd": 0.01, "low": 0.001}}

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return [(u[0] - 0.4 * (x[0] - u[1]) - p[0] * (x[0] - 15)) / 400.0]

    def output(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return [x[0], 0.4 * (x[0] - u[1])]


class House:
    states = {"room": {"unit": "degC", "mean": 18.0, "sd": 1.0, "noise": 0.05}}
    inputs = {"heat": "W", "outdoor": "degC"}
    outputs = {"room": "degC"}

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return [(u[0] - 250.0 * (x[0] - u[1])) / 3e6]


class Both:
    """The same as one."""

    states = {"supply": 50.0, "room": 18.0}
    inputs = ("burner", "outdoor")
    outputs = ("supply", "room")

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        heat = 0.4 * (x[0] - x[1])
        return [(u[0] - heat - 0.05 * (x[0] - 15)) / 400.0, (1000 * heat - 250.0 * (x[1] - u[1])) / 3e6]


RING = {"house.heat": "boiler.heat", "boiler.back": "house.room"}
KNOWN = {"loss": 0.05, "supply": 50.0}


def ring(step: str = "1min", **options: Any) -> Wired:
    parts = {"house": Ode(House, kernel="numpy"), "boiler": Ode(Boiler, kernel="numpy", **options)}
    return Wired(parts, RING, ["house.room"], step=step)


def day(simulator: Any, rows: int = 12) -> dict[str, Floats]:
    inputs = np.array([{"burner": 8.0, "outdoor": 2.0}[n] for n in simulator.inputs])[None, :, None]
    memory = simulator.init(Belief(("boiler.supply", "house.room"), np.array([[50.0], [18.0]]), 0), 0)
    out = rollout(simulator, simulator.quiet(memory), np.repeat(inputs, rows, axis=0), 3600.0)
    return {n: out[:, i, 0] for i, n in enumerate(simulator.outputs)}


def test_a_ring_with_a_delay_is_the_same_as_one_as_the_step_goes_to_zero() -> None:
    whole = day(Ode(Both, step="20s", kernel="numpy"))
    assert ring().inputs == ("burner", "outdoor")
    assert ring().outputs == ("supply", "heat", "room")

    def error(step: str) -> float:
        found = day(ring(step, priors=KNOWN))
        return max(np.abs(found[n] - whole[n]).max() for n in ("supply", "room"))

    long, short = error("10min"), error("1min")
    assert short < 0.05
    assert long / short == pytest.approx(10, rel=0.15)  # of first order


def test_without_a_ring_the_order_is_found_and_a_run_is_whole() -> None:
    parts = {"house": Ode(House, kernel="numpy"), "boiler": Ode(Boiler, kernel="numpy", priors={"loss": 0.05})}
    wired = Wired(parts, {"house.heat": "boiler.heat"})
    assert list(wired.parts) == ["boiler", "house"]
    assert wired.inputs == ("burner", "back", "outdoor")
    assert wired.units["heat"] == "kW"
    check_simulator(lambda: wired, np.random.default_rng(0).uniform(0, 30, (6, 3)), 300.0)


def test_it_keeps_the_contract_in_a_ring_too() -> None:
    check_simulator(ring, np.random.default_rng(0).uniform(0, 10, (6, 2)), 300.0)
    assert ring().states == ("boiler.supply", "boiler.loss", "house.room", "house.room before")
    assert ring().bounds == {"boiler.loss": (0.001, float("inf"))}
    memory = ring().init(None, 1, 400)
    (_, out), (_, still) = (ring().step(m, np.full((2, 400), 5.0), 60.0) for m in (memory, ring().quiet(memory)))
    noise = out - still
    assert noise[0].std() == pytest.approx(0.1 / 60**0.5, rel=0.1)
    assert abs(np.corrcoef(noise[0], noise[2])[0, 1]) < 0.1  # parts draw noise of their own


def test_inputs_of_one_name_are_one_and_names_that_stand_twice_are_told_apart() -> None:
    wired = Wired({"a": Ode(House), "b": Ode(House), "boiler": Ode(Boiler)}, {"a.heat": "boiler.heat"})
    assert wired.inputs == ("burner", "back", "outdoor", "b.heat")
    assert wired.outputs == ("supply", "heat", "a.room", "b.room")
    setting = Setting(
        "t", "", Signals([Signal("heat", unit="kW"), Signal("a.room", unit="K")]), Virtual(), 1, 1, 0, Path()
    )
    with pytest.raises(ConfigError, match=r"wired.a: ode: signal 'room' is in K, the equations say degC"):
        wired.bind(setting)


# -- parts of other kinds ---------------------------------------------------------------------------------------------


@dataclass
class Box:
    """A black box that can be stepped and branched, and nothing else: an FMU without get and set state, say."""

    inputs = ("hot",)
    outputs = ("fan",)
    states = ()

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Floats:
        return np.zeros(members if belief is None else belief.members.shape[1])

    def step(self, memory: Floats, inputs: Floats, dt: float) -> tuple[Floats, Floats]:
        on = np.where(np.isnan(inputs[0]), memory, (inputs[0] > 60) * 1.0)
        return on, on[None]

    def select(self, memory: Floats, index: Any) -> Floats:
        return memory[np.asarray(index)]


def plant() -> Wired:
    """A transformer in a vault, its fan, and a black box that switches it."""
    vault = Network(
        nodes={"vault": {"capacity": "2 MJ/K", "start": 15, "noise": 0.1}, "outdoor": {"temperature": "outdoor"}},
        links={"wall": {"between": ["vault", "outdoor"], "conductance": 300}},
        sources={"loss": {"into": "vault", "unit": "kW", "input": {"input": "load"}, "gain": 0.2}},
        kernel="numpy",
    )
    oil = Thermal(load="load", rated=20.0, oil="oil", ambient="vault", fan="fan", fan_power="drawn")
    wires = {"oil.vault": "vault.vault", "switch.hot": "oil.oil", "oil.fan": "switch.fan"}
    return Wired({"oil": oil, "vault": vault, "switch": Box()}, wires, {"switch.fan": 0.0})


def test_a_transformer_a_network_and_a_black_box() -> None:
    wired = plant()
    assert list(wired.parts) == ["vault", "oil", "switch"]
    assert wired.inputs == ("outdoor", "load")
    assert not isinstance(wired, Assignable)  # for one part is not
    assert not isinstance(wired, Noisy)
    assert isinstance(wired, Branches)
    values = {"load": 24.0, "outdoor": 25.0}
    u = np.repeat(np.array([values[n] for n in wired.inputs])[None, :, None], 30, axis=0) * np.ones(8)
    check_simulator(plant, u[:6, :, 0], 600.0)
    out = dict(zip(wired.outputs, rollout(wired, wired.init(None, 0, 8), u, 900.0).transpose(1, 0, 2), strict=True))
    hot = out["oil"] > 60
    assert hot.any()
    assert not hot.all()
    assert (out["fan"] == hot).all()
    assert (out["drawn"][1:] > 0).sum() > 0


def test_a_filter_keeps_all_parts() -> None:
    """Only the room is measured; the boiler's losses are learned through the wire."""
    wired, truth = ring(priors={"supply": {"noise": 0.01}}), ring(priors=KNOWN | {"loss": 0.08})
    rng, rows, names = np.random.default_rng(2), 150, ("burner", "outdoor", "supply", "room")
    inputs = np.column_stack([8.0 * (rng.random(rows // 10).repeat(10) < 0.6), np.full(rows, 3.0)])
    order = [("burner", "outdoor").index(n) for n in truth.inputs]
    out = rollout(truth, truth.quiet(truth.init(None, 3)), inputs[:, order, None], 600.0)[:, :, 0]
    seen = out[:, [truth.outputs.index(n) for n in names[2:]]]
    values = np.column_stack([inputs, seen + 0.1 * rng.standard_normal(seen.shape)])
    times = (np.arange(1, rows + 1) * 600 * 10**9).astype(np.int64)
    enkf = Enkf(noise={"supply": 0.1, "room": 0.1}, members=48)
    signals = Signals([Signal(n) for n in names])
    enkf.bind(Setting("t", "", signals, Virtual(), 600 * 10**9, 10**12, 0, Path(), wired))
    loss = enkf.update(None, Frame(times, values, np.full(values.shape, GOOD, np.uint8), names)).row("boiler.loss")
    assert loss.mean() == pytest.approx(0.08, abs=3 * loss.std() + 0.002)
    assert loss.std() < 0.005


# -- what is wrong ----------------------------------------------------------------------------------------------------

TWIN = """
name = "site"
clock = "data"
signals = [{ name = "room", unit = "degC" }, { name = "outdoor", unit = "degC" }, { name = "burner", unit = "kW" }]
store = { kind = "memory" }
estimator = { kind = "enkf", noise = { room = 0.2 } }

[simulator]
kind = "wired"
wires = { "house.heat" = "boiler.heat", "boiler.back" = "house.room" }
delay = ["house.room"]

[simulator.parts]
boiler = { kind = "ode", equations = "boiler.py:Boiler", kernel = "numpy" }

[simulator.parts.house]
kind = "network"
nodes = { room = { capacity = "3 MJ/K", start = 18 }, outdoor = { temperature = "outdoor" } }
links = { leak = { between = ["room", "outdoor"], conductance = 250 } }
sources = { heat = { into = "room", unit = "W" } }
kernel = "numpy"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = Path(__file__).read_text()
    boiler = text[text.index("class Boiler") : text.index("class House")].replace(": Floats", "").replace(" -> Any", "")
    (tmp_path / "boiler.py").write_text(boiler)
    return tmp_path


def test_a_twin_file_names_it_and_is_written_again(folder: Path) -> None:
    twin = load(TWIN, folder)
    twin.stages()
    assert twin.simulator.inputs == ("burner", "outdoor")
    text = dump(twin)
    assert 'equations = "boiler.py:Boiler"' in text
    assert dump(load(text, folder)) == text
    again = pickle.loads(pickle.dumps(twin.simulator))
    np.testing.assert_array_equal(day(again)["room"], day(twin.simulator)["room"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('delay = ["house.room"]', "", "boiler.back <- house.room <- house.heat <- boiler.heat <- boiler.back"),
        ('delay = ["house.room"]', "", 'break the ring: delay = ["boiler.heat"]'),
        ('delay = ["house.room"]', 'delay = ["house.rom"]', "from which no wire leads, did you mean 'house.room'?"),
        ('delay = ["house.room"]', 'delay = { "house.room" = "warm" }', "must be a number"),
        ('"boiler.heat"', '"boiler.heet"', "'boiler' has no output 'heet', did you mean 'heat'?"),
        ('"boiler.heat"', '"bolier.heat"', "there is no part 'bolier', did you mean 'boiler'?"),
        ('"house.heat"', '"house.het"', "'house' has no input 'het', did you mean 'heat'?"),
        ('"boiler.heat"', '"boiler.supply"', "'house.heat' is in W, 'boiler.supply' in degC: 'degC' is a temperature"),
        ("conductance = 250", "conductance = -250", "house: network: leak.conductance: -250 must be above 0"),
        ('temperature = "outdoor"', 'temperature = { input = "burner", unit = "K" }', "input 'burner' is in"),
        ('wires = {', 'step = "never"\nwires = {', "step: 'never' is not a duration"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_by_name(folder: Path, old: str, new: str, said: str) -> None:
    assert old in TWIN
    with pytest.raises(ConfigError) as error:
        load(TWIN.replace(old, new, 1), folder)
    assert said in str(error.value)
