from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.config import dump, load
from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError, PartError
from gemel.core.setting import Setting
from gemel.core.values import GOOD, Floats, Frame, Signal, Signals
from gemel.estimators.enkf import Enkf
from gemel.loop.simulate import rollout
from gemel.simulators.network.simulator import Network
from gemel.simulators.ode.simulator import Ode
from gemel.testing.simulator import check_simulator

ROOM = {"capacity": "2 MJ/K", "start": 30}
OUTDOOR = {"temperature": 10}


def course(network: Network, seconds: float, rows: int, inputs: dict[str, float] | None = None) -> dict[str, Floats]:
    """Outputs [t] under constant inputs, `seconds` apart."""
    u = np.array([(inputs or {})[n] for n in network.inputs]).reshape(1, -1, 1)
    out = rollout(network, network.init(None, 0), np.repeat(u, rows, axis=0), seconds)
    return {n: out[:, i, 0] for i, n in enumerate(network.outputs)}


def plain(**tables: Any) -> Network:
    return Network(**tables, kernel="numpy")


def leak(**law: Any) -> dict[str, Any]:
    return {"leak": {"between": ["room", "outdoor"], **law}}


# -- heat: closed forms -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [{"conductance": 100}, {"resistance": "10 K/kW"}, {"conductance": "0.1 kW/K"}])
def test_a_room_cools_exponentially(law: dict[str, Any]) -> None:
    out = course(plain(nodes={"room": ROOM, "outdoor": OUTDOOR}, links=leak(**law)), 3600.0, 24)
    expected = 10 + 20 * np.exp(-np.arange(1, 25) * 3600 * 100 / 2e6)
    np.testing.assert_allclose(out["room"], expected, rtol=2e-5)
    np.testing.assert_allclose(out["leak"], 100 * (out["room"] - 10))


def test_two_nodes_come_to_rest_where_the_resistances_say() -> None:
    network = plain(
        nodes={"room": ROOM, "wall": {"capacity": 5e6}, "outdoor": {"temperature": "outdoor"}},
        links={
            "inside": {"between": ["room", "wall"], "conductance": 200},
            "outside": {"between": ["wall", "outdoor"], "conductance": 50},
        },
        sources={"heater": {"into": "room", "unit": "kW", "gain": 0.9}},
    )
    out = course(network, 4 * 3600.0, 400, {"outdoor": 5.0, "heater": 1.0})
    assert out["room"][-1] == pytest.approx(5 + 900 / 50 + 900 / 200, abs=1e-3)
    assert out["wall"][-1] == pytest.approx(5 + 900 / 50, abs=1e-3)
    assert out["inside"][-1] == pytest.approx(900, rel=1e-4)


def test_what_has_no_capacity_is_settled_with_its_neighbours() -> None:
    """Two resistances in series beside a third, through three nodes without a capacity, are one conductance."""
    nodes = {"room": ROOM, "outdoor": OUTDOOR, "a": {}, "b": {}, "c": {}}
    links = {
        "one": {"between": ["room", "a"], "conductance": 60},
        "two": {"between": ["a", "b"], "conductance": 30},
        "three": {"between": ["b", "outdoor"], "conductance": 20},
        "beside": {"between": ["outdoor", "room"], "conductance": 5},
        "up": {"between": ["c", "room"], "conductance": 7},
        "down": {"between": ["c", "outdoor"], "conductance": 7},
    }
    whole = course(plain(nodes=nodes, links=links), 600.0, 50)
    same = plain(nodes={"room": ROOM, "outdoor": OUTDOOR}, links=leak(conductance=10 + 5 + 3.5))
    np.testing.assert_allclose(whole["room"], course(same, 600.0, 50)["room"], rtol=1e-6)
    np.testing.assert_allclose(whole["one"], whole["three"], rtol=1e-9)
    np.testing.assert_allclose(whole["c"], (whole["room"] + 10) / 2, rtol=1e-9)


def test_a_flow_carries_heat_the_way_it_goes() -> None:
    """A pipe's water takes on the temperature of what flows in; turned back, it takes on the other's."""
    network = plain(
        nodes={"in": {"temperature": 70}, "pipe": {"capacity": 4.18e6, "start": 20}, "out": {"temperature": 30}},
        links={
            "supply": {"between": ["in", "pipe"], "flow": {"input": "flow", "unit": "l/s", "high": 2}},
            "return": {"between": ["pipe", "out"], "flow": {"input": "flow", "unit": "l/s"}},
        },
    )
    forth = course(network, 500.0, 4, {"flow": 1.0})
    np.testing.assert_allclose(forth["pipe"], 70 - 50 * np.exp(-np.arange(1, 5) / 2), rtol=1e-4)
    back = course(network, 500.0, 4, {"flow": -1.0})
    np.testing.assert_allclose(back["pipe"], 30 - 10 * np.exp(-np.arange(1, 5) / 2), rtol=1e-4)
    np.testing.assert_allclose(forth["supply"], 4180 * (70 - forth["pipe"]))


def test_a_heat_pump_gives_more_than_it_takes() -> None:
    network = plain(
        nodes={"tank": {"capacity": 4e6, "start": 40}, "ground": {"capacity": 4e7, "start": 5}},
        sources={"drive": {"into": "tank", "from": "ground", "efficiency": 0.5, "unit": "kW"}},
        outputs={"tank": "tank", "ground": "ground", "heat": {"of": "drive", "unit": "kW"}},
    )
    out = course(network, 60.0, 60, {"drive": 1.0})
    assert out["heat"][0] == pytest.approx(0.5 * 313.15 / 35, rel=0.01)
    gained, taken = 4e6 * (out["tank"][-1] - 40), 4e7 * (5 - out["ground"][-1])
    assert gained - taken == pytest.approx(3600 * 1000, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_energy_is_kept(data: st.DataObject) -> None:
    """In any network without boundaries, what the nodes hold changes by what the sources give."""
    n = data.draw(st.integers(2, 5))
    size = [data.draw(st.floats(1e5, 1e7)) for _ in range(n)]
    nodes: dict[str, Any] = {
        f"n{i}": {"capacity": c, "start": data.draw(st.floats(-20, 80))} for i, c in enumerate(size)
    }
    pairs = [(i, j) for i in range(n) for j in range(i) if i - j == 1 or data.draw(st.booleans())]
    links: dict[str, Any] = {
        f"k{i}{j}": {"between": [f"n{i}", f"n{j}"], "conductance": data.draw(st.floats(1, 1000))} for i, j in pairs
    }
    if data.draw(st.booleans()):  # a massless node between the first and the last, and water that goes round
        nodes["film"] = {}
        links["x"] = {"between": ["n0", "film"], "conductance": 50}
        links["y"] = {"between": ["film", f"n{n - 1}"], "resistance": 0.01}
        for i in range(n):
            links[f"ring{i}"] = {"between": [f"n{i}", f"n{(i + 1) % n}"], "flow": "0.05 l/s"}
    network = plain(nodes=nodes, links=links, sources={"heat": {"into": "n0"}})
    memory = network.init(None, 0)
    before = network.extract(memory)[:n, 0] @ size
    out = course(network, 600.0, 5, {"heat": 1500.0})
    after = sum(out[f"n{i}"][-1] * c for i, c in enumerate(size))
    assert after - before == pytest.approx(1500.0 * 3000, rel=1e-6, abs=1e-7 * sum(size) * 80)


# -- water: closed forms ----------------------------------------------------------------------------------------------


def test_torricelli_empties_a_tank() -> None:
    network = plain(
        nodes={"tank": {"area": "1 m2", "start": 1.0}, "ground": {"head": 0}},
        links={"hole": {"between": ["tank", "ground"], "orifice": "10 cm2", "discharge": 0.6}},
        smooth="0.1 mm",
    )
    out = course(network, 60.0, 20)
    c = 0.6 * 1e-3 * math.sqrt(2 * 9.80665)
    expected = np.maximum(1 - c * np.arange(1, 21) * 60 / 2, 0) ** 2
    full = expected > 0.01
    np.testing.assert_allclose(out["tank"][full], expected[full], rtol=1e-4)
    np.testing.assert_allclose(out["hole"][full], c * np.sqrt(expected[full]), rtol=1e-4)
    assert (out["tank"] >= 0).all()


@pytest.mark.parametrize(
    ("law", "flow"),
    [
        ({"kv": 16}, 16 / 3600 * math.sqrt(5 / 10.19716)),
        ({"kv": 16, "opening": 0.25}, 4 / 3600 * math.sqrt(5 / 10.19716)),
        (
            {"length": 100, "diameter": "50 mm", "friction": 0.025, "losses": 2},
            math.pi / 4 * 0.05**2 * math.sqrt(2 * 9.80665 * 5 / (0.025 * 2000 + 2)),
        ),
        (
            {"length": 100, "diameter": "10 mm", "viscosity": "1 mm2/s"},
            math.pi * 9.80665 * 0.01**4 / (128 * 1e-6 * 100) * 5,
        ),
    ],
)
def test_flows_at_a_head_of_five_metres(law: dict[str, Any], flow: float) -> None:
    network = plain(
        nodes={"spring": {"head": 5}, "sea": {"head": 0}, "pond": {"area": 1e6, "start": 1}},
        links={"way": {"between": ["spring", "sea"], **law}, "back": {"between": ["sea", "spring"], **law},
               "rill": {"between": ["spring", "pond"], "kv": 1}},
    )  # fmt: skip
    out = course(network, 60.0, 1)
    assert out["way"][0] == pytest.approx(flow, rel=1e-5)
    assert out["back"][0] == pytest.approx(-flow, rel=1e-5)


def test_a_pump_has_its_curve_and_lets_nothing_back() -> None:
    network = plain(
        nodes={"sump": {"head": 0}, "tower": {"area": 1e5, "bottom": 8, "start": 1, "height": 5}},
        links={"pump": {"between": ["sump", "tower"], "head": 16, "flow": "36 m3/h", "speed": "speed"}},
    )
    out = [course(network, 60.0, 1, {"speed": s})["pump"][0] for s in (1.0, 0.9, 0.5, 0.0)]
    assert out[0] == pytest.approx(0.01 * math.sqrt(1 - 9 / 16), rel=1e-4)
    assert out[1] == pytest.approx(0.01 * math.sqrt(0.81 - 9 / 16), rel=1e-4)
    assert out[2:] == [0.0, 0.0]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_water_is_kept_and_no_tank_is_drawn_below_empty(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 4))
    area = [data.draw(st.floats(2, 20)) for _ in range(n)]
    nodes = {
        f"t{i}": {"area": a, "bottom": data.draw(st.floats(0, 5)), "start": data.draw(st.floats(0, 2))}
        for i, a in enumerate(area)
    }
    laws = [{"kv": 20}, {"orifice": "20 cm2"}, {"length": 20, "diameter": 0.08}, {"head": 12, "flow": "5 l/s"}]
    links = {
        f"l{i}": {"between": [f"t{i % n}", f"t{(i + 1) % n}"], **data.draw(st.sampled_from(laws))} for i in range(n)
    }
    network = plain(nodes=nodes, links=links, sources={"rain": {"into": "t0", "unit": "l/s"}})
    before = network.extract(network.init(None, 0))[:n, 0] @ area
    out = course(network, 10.0, 12, {"rain": 1.0})
    after = sum(out[f"t{i}"][-1] * a for i, a in enumerate(area))
    assert after - before == pytest.approx(0.12, abs=1e-4)
    assert min(out[f"t{i}"].min() for i in range(n)) >= 0


def test_units_say_what_of_a_tank_is_shown_and_warm_water_goes_with_its_flow() -> None:
    network = plain(
        nodes={
            "upper": {"area": 2, "bottom": 4, "start": 1, "height": 3},
            "lower": {"area": 2, "start": 1},
            "boiler": {"temperature": 80},
            "coil": {"capacity": "100 kJ/K", "start": 20},
        },
        links={
            "fall": {"between": ["upper", "lower"], "kv": 10, "opening": "valve"},
            "warm": {"between": ["boiler", "coil"], "flow": "fall"},
        },
        outputs={
            "p": {"of": "upper", "unit": "bar"},
            "v": {"of": "lower", "unit": "l"},
            "q": {"of": "fall", "unit": "m3/h"},
            "coil": {"of": "coil", "unit": "degF"},
            "heat": {"of": "warm", "unit": "kW"},
        },
    )
    shut = course(network, 60.0, 1, {"valve": 0.0})
    assert shut["p"][0] == pytest.approx(0.0980665)
    assert shut["v"][0] == pytest.approx(2000)
    assert shut["coil"][0] == pytest.approx(68.0)
    open_ = course(network, 1.0, 1, {"valve": 1.0})
    assert open_["q"][0] == pytest.approx(10 * math.sqrt(4 / 10.19716), rel=1e-3)
    assert open_["heat"][0] == pytest.approx(
        open_["q"][0] / 3600 * 4180 * (80 - (open_["coil"][0] - 32) / 1.8), rel=1e-6
    )


# -- a part like any other --------------------------------------------------------------------------------------------

HOUSE: dict[str, Any] = {
    "nodes": {
        "room": {"capacity": {"mean": "3 MJ/K", "sd": "0.8 MJ/K"}, "start": {"mean": 20, "sd": 1}, "noise": 0.05},
        "wall": {"capacity": "20 MJ/K", "start": {"mean": 12, "sd": 2}, "noise": 0.05},
        "film": {},
        "outdoor": {"temperature": {"input": "outdoor", "mean": 5, "sd": 4, "memory": "1d"}},
        "tank": {"area": {"mean": 0.5, "sd": 0.05}, "height": 2, "start": 1, "noise": 0.01},
        "main": {"head": 10},
    },
    "links": {
        "inside": {"between": ["room", "wall"], "conductance": {"mean": 250, "sd": 60, "low": 20, "memory": "60d"}},
        "shell": {"between": ["wall", "film"], "resistance": "8 K/kW"},
        "wind": {"between": ["film", "outdoor"], "conductance": 400},
        "air": {"between": ["outdoor", "room"], "flow": {"input": "fresh", "unit": "m3/h", "high": 99}, "fluid": "air"},
        "fill": {"between": ["main", "tank"], "kv": 1, "opening": {"input": "valve", "unit": "%"}},
    },
    "sources": {
        "heater": {"into": "room", "unit": "kW", "gain": {"mean": 0.9, "sd": 0.05, "high": 1}},
        "sun": {"into": "film", "unit": "W/m2", "gain": {"mean": "3 m2", "sd": "1 m2"}},
        "people": {"into": "room", "unit": "persons", "gain": "80 W", "input": 2},
        "use": {"into": "tank", "unit": "l/min", "gain": -1},
    },
}  # fmt: skip


def test_it_keeps_the_contract() -> None:
    rng = np.random.default_rng(0)
    names = Network(**HOUSE).inputs
    assert names == ("outdoor", "fresh", "valve", "heater", "sun", "use")
    inputs = rng.uniform(0, 1, (6, 6)) * [10, 100, 100, 5, 500, 1]
    check_simulator(lambda: Network(**HOUSE, kernel="numpy"), inputs, 300.0)


def test_it_compiles_and_the_numbers_are_the_same() -> None:
    tables: dict[str, Any] = {
        "nodes": {"room": HOUSE["nodes"]["room"], "film": {}, "outdoor": OUTDOOR, "tank": {"area": 1, "start": 1}},
        "links": {
            "shell": {"between": ["room", "film"], "conductance": {"mean": 60, "sd": 9}},
            "wind": {"between": ["film", "outdoor"], "resistance": 0.02},
        },
        "sources": {"use": {"into": "tank", "unit": "l/min", "gain": -1}},
    }
    fast, slow = Network(**tables), Network(**tables, kernel="numpy")
    assert fast.kernel == "compiled" or "numba" in fast.kernel
    inputs = np.full((1, 20), 3.0)
    (_, one), (_, other) = (n.step(n.quiet(n.init(None, 3, 20)), inputs, 600.0) for n in (fast, slow))
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_the_step_is_found_from_the_declared_values() -> None:
    """A small node and a large one: the step follows the small one, in any corner of its prior."""
    quick = {"capacity": {"mean": "20 kJ/K", "sd": "10 kJ/K"}, "start": 20}
    network = plain(
        nodes={"room": ROOM, "air": quick, "outdoor": OUTDOOR},
        links={
            "film": {"between": ["air", "room"], "conductance": 500},
            "leak": {"between": ["air", "outdoor"], "conductance": 20},
        },
    )
    memory = network.init(None, 1, 500)
    _, out = network.step(memory, np.empty((0, 500)), 3600.0)
    assert (np.abs(out[:2] - 20) < 11).all()
    slow = Network(**network.spec | {"step": "5min"})
    with pytest.raises(PartError, match=r"'(air|room)' goes from .* with a step of 300 s"):
        rollout(slow, memory, np.empty((40, 0, 500)), 3600.0)
    with pytest.raises(ConfigError, match=r"'air' settles within .* too fast") as error:
        plain(
            nodes={"room": ROOM, "air": {"capacity": 0.1}},
            links={"film": {"between": ["air", "room"], "conductance": 500}},
        )
    assert "leave out its capacity" in error.value.hint


def test_a_filter_learns_conductance_and_capacity_from_telemetry() -> None:
    tables = {k: HOUSE[k] for k in ("links", "sources")}
    nodes = {n: HOUSE["nodes"][n] for n in ("room", "wall", "film", "outdoor")}
    links = {n: v for n, v in tables["links"].items() if n not in ("air", "fill")}
    sources = {"heater": {"into": "room", "unit": "kW"}}
    network = plain(nodes=nodes, links=links, sources=sources)
    known = plain(
        nodes={**nodes, "room": {"capacity": "3.8 MJ/K", "start": 21}},
        links={**links, "inside": {"between": ["room", "wall"], "conductance": 330}},
        sources=sources,
    )
    rng, rows = np.random.default_rng(1), 600
    outdoor = 5 + 4 * np.cos(np.arange(rows) / 288 * 2 * math.pi)
    heater = 4.0 * (rng.random(rows // 12).repeat(12) < 0.5)
    inputs = np.stack([outdoor, heater], axis=1)
    truth = rollout(known, known.quiet(known.init(None, 0)), inputs[:, :, None], 300.0)[:, 0, 0]
    names = ("outdoor", "heater", "room")
    values = np.column_stack([inputs, truth + 0.1 * rng.standard_normal(rows)])
    times = (np.arange(1, rows + 1) * 300 * 10**9).astype(np.int64)
    enkf = Enkf(noise={"room": 0.1}, members=64)
    enkf.bind(Setting("t", "", Signals([Signal(n) for n in names]), Virtual(), 300 * 10**9, 10**12, 0, Path(), network))
    belief = enkf.update(None, Frame(times, values, np.full(values.shape, GOOD, np.uint8), names))
    for name, value, prior in (("inside.conductance", 330, 60), ("room.capacity", 3.8, 0.8)):
        row = belief.row(name)
        assert row.mean() == pytest.approx(value, abs=3 * row.std())
        assert row.std() < prior / 3


TWIN = """
name = "house"
clock = "data"
signals = [
  { name = "room", unit = "degC" },
  { name = "outdoor", unit = "degC" },
  { name = "heater", unit = "kW", role = "controlled", low = 0, high = 5 },
]
store = { kind = "memory" }
estimator = { kind = "enkf", noise = { room = 0.2 } }

[simulator]
kind = "network"

[simulator.nodes]
room = { capacity = { mean = "3 MJ/K", sd = "1 MJ/K" }, start = { mean = 20, sd = 2 }, noise = 0.1 }
outdoor = { temperature = "outdoor" }

[simulator.links]
shell = { between = ["room", "outdoor"], conductance = { mean = 120, sd = 30 } }

[simulator.sources]
heater = { into = "room", unit = "kW" }
"""


def test_a_twin_file_names_it_and_is_written_again() -> None:
    twin = load(TWIN)
    twin.stages()
    assert twin.simulator.states == ("room", "room.capacity", "shell.conductance")
    text = dump(twin)
    assert dump(load(text)) == text
    again = pickle.loads(pickle.dumps(twin.simulator))
    assert again.states == twin.simulator.states
    assert isinstance(again._ode, Ode)
    with pytest.raises(ConfigError, match="'heater' is in W, the equations say kW"):
        load(TWIN.replace('"heater", unit = "kW", role', '"heater", unit = "W", role')).stages()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["room", "outdoor"]', '["room", "outdor"]', "no node 'outdor', did you mean 'outdoor'?"),
        ('["room", "outdoor"]', '["room", "room"]', "joins 'room' to itself"),
        ('["room", "outdoor"]', '"room"', "needs two nodes"),
        ("conductance = { mean = 120, sd = 30 }", 'conductance = "2 m3"', "shell.conductance: 'm3' is a volume"),
        ("conductance = { mean = 120, sd = 30 }", "conductance = -3", "shell.conductance: -3 must be above 0"),
        ("mean = 120, sd", "mena = 120, sd", "shell.conductance: has no key 'mena', did you mean 'mean'?"),
        ("mean = 120, sd", 'mean = "much", sd', "'much' is not a number with a unit, such as '2 W/K'"),
        ("conductance = {", "conductence = {", "link 'shell' has none of conductance"),
        ('mean = "3 MJ/K"', 'mean = "-3 MJ/K"', "room.capacity: -3 must be above 0"),
        ("sd = 30 }", "sd = 30, low = -1 }", "low -1 must be above 0"),
        ("noise = 0.1", "noise = -0.1", "room.noise must be a number, 0 or more"),
        ("noise = 0.1", "nois = 0.1", "node 'room' has no key 'nois', did you mean 'noise'?"),
        ("noise = 0.1", "height = 2", "'height' does not go with capacity"),
        ('capacity = { mean = "3 MJ/K", sd = "1 MJ/K" }, ', "", "node 'room' has start, but no capacity and no area"),
        ("[simulator.links]", "attic = { capacity = 1e6 }\n[simulator.links]", "node 'attic' stands alone"),
        (
            "[simulator.links]",
            "pond = { area = 1 }\n[simulator.links]\nx = { between = ['room', 'pond'], kv = 1 }",
            "link 'x' is hydraulic, node 'room' is thermal",
        ),
        (
            "[simulator.links]",
            "pond = { area = 1 }\ntee = {}\n[simulator.links]\nx = { between = ['tee', 'pond'], kv = 1 }",
            "node 'tee' needs an area",
        ),
        (
            "[simulator.links]",
            "mix = {}\n[simulator.links]\nx = { between = ['room', 'mix'], flow = 1 }",
            "node 'mix' has no capacity, and no conductance leads from it",
        ),
        ('into = "room"', 'into = "rom"', "source 'heater': there is no node 'rom', did you mean 'room'?"),
        ('into = "room"', 'into = "outdoor"', "a source into 'outdoor' changes nothing"),
        ('into = "room"', 'into = "room", from = "outdoor"', "a heat pump has both"),
        ("[simulator.sources]", "[simulator.sources]\nroom = { into = 'room' }", "the name 'room' stands twice"),
        ("[simulator.sources]", "[simulator.outputs]\nx = 'shel'\n[simulator.sources]", "there is no 'shel' to show"),
        (
            "[simulator.sources]",
            "[simulator.outputs]\nx = { of = 'room', unit = 'bar' }\n[simulator.sources]",
            "a temperature",
        ),
    ],
)
def test_what_is_wrong_is_said_by_name(old: str, new: str, said: str) -> None:
    assert old in TWIN
    with pytest.raises(ConfigError) as error:
        load(TWIN.replace(old, new, 1))
    assert said in str(error.value)


def test_a_network_of_boundaries_has_nothing_to_simulate() -> None:
    ends = {"a": {"temperature": 1}, "b": {"temperature": 2}}
    with pytest.raises(ConfigError, match="no node has a capacity or an area"):
        plain(nodes=ends, links={"k": {"between": ["a", "b"], "conductance": 1}})
    with pytest.raises(ConfigError, match="output 'fan' has the name of an input"):
        plain(
            nodes={"room": ROOM, "outdoor": OUTDOOR},
            links={"fan": {"between": ["outdoor", "room"], "flow": "fan", "fluid": "air"}},
        )
