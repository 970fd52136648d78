"""FMUs that do as they should: FMI 2.0 and 3.0, co-simulation and model exchange."""

from __future__ import annotations

import pickle
from functools import cache
from typing import Any

import numpy as np
import pytest

from fmus import fmu, old_tank
from gemel.core.values import Belief, Floats
from gemel.loop.simulate import Assignable, rollout
from gemel.simulators.fmu.simulator import Fmu
from gemel.simulators.ode.simulator import Ode
from gemel.testing.simulator import check_simulator

KINDS = [(2, "cs"), (2, "me"), (3, "cs"), (3, "me")]


@cache
def plain(version: int, interface: str) -> Fmu:
    """Tanks that many tests share, and their processes with them."""
    return Fmu(fmu("tank", version=version), interface=interface, processes=1)


def made(model: str = "tank", version: int = 2, **more: Any) -> Fmu:
    if model == "tank" and set(more) <= {"interface"}:
        return plain(version, more.get("interface", ""))
    given = {k: more.pop(k) for k in list(more) if k in fmu.__wrapped__.__annotations__}  # type: ignore[attr-defined]
    return Fmu(fmu(model, version=version, **given), processes=more.pop("processes", 1), **more)


def run(simulator: Fmu, inputs: Any, dt: float = 1.0, members: int = 1, seed: int = 0) -> Floats:
    """Outputs [t, y, m] under inputs [t, u]."""
    paths = np.repeat(np.asarray(inputs, np.float64)[:, :, None], members, axis=2)
    return rollout(simulator, simulator.init(None, seed, members), paths, dt)


def tank(level: float, inflow: float, t: float, outflow: float = 0.5, area: float = 2.0) -> float:
    rest = inflow / outflow
    return rest + (level - rest) * np.exp(-outflow * t / area)


@pytest.mark.parametrize(("version", "interface"), KINDS)
def test_alone_from_its_path_it_runs_as_its_equations_say(version: int, interface: str) -> None:
    simulator = made(version=version, interface=interface)
    assert simulator.inputs == ("inflow", "shut")
    assert simulator.outputs == ("level", "flow", "steps")
    assert (simulator.units["inflow"], simulator.units["level"]) == ("m3/s", "m")
    found = run(simulator, [[1.5, 0]] * 10 + [[1.5, 1]] * 4, dt=2.0)[:, :2, 0]
    open_, shut = tank(1, 1.5, 20), 1.5 * 8 / 2
    np.testing.assert_allclose(found[9], [open_, 0.5 * open_], rtol=1e-5)
    np.testing.assert_allclose(found[-1, 0], open_ + shut, rtol=1e-5)


@pytest.mark.parametrize("interface", ["cs", "me"])
def test_a_file_with_both_interfaces_is_run_as_asked(interface: str) -> None:
    assert made().description.interface == "cs"
    assert made(interface=interface).description.interface == interface
    assert made(interfaces="me").description.interface == "me"


@pytest.mark.parametrize(("version", "interface", "saves"), [(2, "me", False), (3, "cs", True)])
def test_conformance(version: int, interface: str, saves: bool) -> None:
    inputs = np.array([[1.0, 0], [1.2, 0], [0.8, 1], [0.2, 0], [0.0, 0]])
    priors = {"outflow": {"mean": 0.5, "sd": 0.1}, "level": {"mean": 1.0, "sd": 0.1}}

    def make() -> Fmu:
        return made(version=version, interface=interface, saves=saves, priors=priors)

    assert isinstance(make(), Assignable)
    check_simulator(make, inputs, 3.0)


def test_conformance_of_one_that_hides_its_states() -> None:
    check_simulator(lambda: made(states=False, saves=False), np.array([[1.0, 0], [1.2, 0], [0.8, 1], [0.2, 0]]), 3.0)
    assert not isinstance(made(states=False), Assignable)


@pytest.mark.parametrize("version", [2, 3])
def test_a_ball_bounces_where_it_should(version: int) -> None:
    simulator = made("ball", version=version, interface="me")
    assert simulator.states == ("h", "v")
    found = run(simulator, np.empty((20, 0)), dt=0.1)[:, :, 0]
    first = np.sqrt(2 / 9.81)
    second = first * (1 + 2 * 0.7)  # the flight after a bounce is e times as long
    for i, t in enumerate(np.arange(1, 21) * 0.1):
        if t < first:
            assert found[i] == pytest.approx([1 - 9.81 * t**2 / 2, 0], abs=1e-5)
        elif t < second:
            left = t - first
            assert found[i] == pytest.approx([0.7 * np.sqrt(2 * 9.81) * left - 9.81 * left**2 / 2, 1], abs=1e-5)


@pytest.mark.parametrize("version", [2, 3])
def test_time_events_of_one_without_states(version: int) -> None:
    simulator = made("stair", version=version, interface="me", saves=version == 2)
    assert run(simulator, np.empty((10, 0)), dt=0.3)[:, 0, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    memory, _ = simulator.run(simulator.init(None, 0), np.empty((3, 0, 1)), 0.3)
    copies = simulator.select(memory, [0, 0])  # the event to come is part of the memory
    assert simulator.step(copies, np.empty((0, 2)), 0.2)[1].tolist() == [[1, 1]]


def test_the_solver_agrees_with_another() -> None:
    class Pol:
        states = {"x": 2.0, "y": 0.0}  # noqa: RUF012
        outputs = ("x", "y")

        def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
            return [x[1], (1 - x[0] ** 2) * x[1] - x[0]]

    simulator = made("pol", interface="me", rtol=1e-9)
    assert simulator.outputs == ("x", "y")  # none is declared: the states
    other = Ode(Pol, method="dopri5", rtol=1e-8, atol=1e-9)
    exact = rollout(other, other.init(None, 0), np.empty((16, 0, 1)), 0.5)
    np.testing.assert_allclose(run(simulator, np.empty((16, 0)), dt=0.5), exact, atol=1e-6)


def test_an_input_that_is_not_heard_stays() -> None:
    simulator = made("stateless")
    assert run(simulator, [[np.nan], [5], [np.nan], [1]])[:, 0, 0].tolist() == [6, 10, 10, 2]
    assert simulator.defaults == {"u": 3.0}


def test_arrays_and_other_numbers() -> None:
    kinds = [
        ("i8", 10, "Int8"),
        ("u8", 10, "UInt8"),
        ("i64", 10, "Int64"),
        ("f32", 9, "Float32"),
        ("u16", 10, "UInt16"),
    ]
    more = (*((n, r, t, 'causality="output"') for n, r, t in kinds), ("small", 7, "Float32", 'causality="input"'))
    simulator = made(version=3, arrays=True, more=more)
    assert simulator.inputs == ("inflow", "shut", "small", "extra[1]", "extra[2]")
    assert simulator.outputs[-2:] == ("both[1]", "both[2]")
    nan = np.nan
    found = run(simulator, [[nan, 0, nan, 1.0, nan], [nan, 0, nan, nan, 0.5]])
    by_name = dict(zip(simulator.outputs, found[1, :, 0], strict=True))
    level = tank(tank(1, 1.0, 1), 1.5, 1)
    assert by_name["both[1]"] == pytest.approx(level, rel=1e-5)
    assert by_name["both[2]"] == pytest.approx(level / 2, rel=1e-5)
    assert by_name["f32"] == pytest.approx(level / 2, rel=1e-5)
    assert by_name["i8"] == by_name["u16"] == by_name["i64"] == 0


def test_what_is_no_number_is_skipped_and_said() -> None:
    more = (("note", 20, "String", 'causality="input"'), ("a.b[1].c", 10, "Int32", 'causality="output"'))
    simulator = made(more=more)
    assert simulator.skipped == ("note (String)",)
    assert "note" not in simulator.inputs
    assert "a.b[1].c" in simulator.outputs


def test_names_can_be_chosen_and_changed() -> None:
    simulator = made(inputs={"valve": "shut"}, outputs={"water": "level", "opening": "outflow"}, start={"area": 1})
    assert (simulator.inputs, simulator.outputs) == (("valve",), ("water", "opening"))
    found = run(simulator, [[0]] * 3)
    np.testing.assert_allclose(found[-1, :, 0], [tank(1, 0, 3, area=1), 0.5])
    assert made(inputs=["inflow", "outflow"]).inputs == ("inflow", "outflow")  # what is tunable can be driven
    assert run(made(inputs=["outflow"]), [[2.0]])[0, 0, 0] == pytest.approx(tank(1, 0, 1, outflow=2.0))


@pytest.mark.parametrize(("version", "interface"), [(2, "me"), (3, "cs")])
def test_parameters_fixed_and_tunable_are_taught_and_carried(version: int, interface: str) -> None:
    simulator = made(version=version, interface=interface, priors={"area": {"sd": 0.5}, "outflow": {"sd": 0.1}})
    assert simulator.states == ("level", "area", "outflow")
    assert simulator.bounds == {"area": (0.1, 10.0), "outflow": (0.0, np.inf)}
    belief = Belief(simulator.states, np.array([[1.0, 2.0], [1.0, 4.0], [0.5, 0.25]]), 10**18)
    memory = simulator.init(belief, 0)
    assert memory.time == 10**18
    still = np.zeros((2, 2))
    memory, outputs = simulator.step(memory, still, 3.0)
    wanted = [tank(1, 0, 3, 0.5, 1.0), tank(2, 0, 3, 0.25, 4.0)]
    np.testing.assert_allclose(outputs[0], wanted, rtol=1e-5)
    put = simulator.assign(memory, np.array([[3.0, 3.0], [1.0, 2.0], [0.5, 0.5]]), memory.time)
    np.testing.assert_allclose(simulator.observe(put, still)[1], 1.5)
    np.testing.assert_allclose(
        simulator.step(put, still, 1.0)[1][0], [tank(3, 0, 1, 0.5, 1.0), tank(3, 0, 1)], rtol=1e-5
    )
    np.testing.assert_allclose(simulator.step(memory, still, 1.0)[1][0, 0], tank(1, 0, 4, 0.5, 1.0), rtol=1e-5)


def test_priors_are_drawn_within_their_bounds() -> None:
    simulator = made(priors={"outflow": {"mean": 0.1, "sd": 0.2, "low": 0.05, "high": 0.3}, "level": {"sd": 0.1}})
    rows = simulator.extract(simulator.init(None, 3, 50))
    assert rows.shape == (2, 50)
    assert rows[0].std() == pytest.approx(0.1, rel=0.1)
    assert rows[1].min() >= 0.05
    assert rows[1].max() <= 0.3
    np.testing.assert_array_equal(rows, simulator.extract(simulator.init(None, 3, 50)))


def test_one_that_allows_one_step_length_gets_only_that() -> None:
    simulator = made(any_step=False, experiment='stepSize="0.5"')
    assert run(simulator, [[0, 0]], dt=3.0)[0, 2, 0] == 6
    found = run(simulator, [[0, 0]] * 4, dt=0.8)[:, :, 0]  # stands at its last own step
    assert found[:, 2].tolist() == [1, 3, 4, 6]
    np.testing.assert_allclose(found[:, 0], [tank(1, 0, t) for t in (0.5, 1.5, 2.0, 3.0)])
    assert run(made(any_step=False), [[0, 0]] * 3, dt=0.8)[-1, 2, 0] == 3  # the first step asked for
    assert run(made(step="100ms"), [[0, 0]], dt=1.0)[0, 2, 0] == 10


def test_its_own_time_begins_where_its_experiment_says() -> None:
    more = (("clock", 0, "Float64", 'causality="output"'),)
    simulator = made(experiment='startTime="100" stopTime="101" tolerance="1e-4"', more=more)
    assert run(simulator, [[0, 0]] * 4, dt=60.0)[:, 3, 0].tolist() == [160, 220, 280, 340]


@pytest.mark.parametrize("saves", [True, False])
def test_one_that_may_stand_only_once_in_a_process(saves: bool) -> None:
    simulator = made(once=True, saves=saves)
    found = run(simulator, [[1.5, 0]] * 3, members=3)
    np.testing.assert_allclose(found[-1, 0], tank(1, 1.5, 3))
    assert len(simulator._pool._children) == (1 if saves else 3)


def test_more_members_than_slots_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(made(), [[1.5, 0]] * 3, members=7)
    monkeypatch.setattr("gemel.simulators.fmu.pool.SLOTS", 2)
    monkeypatch.setattr("gemel.simulators.fmu.pool.MANY", 2)
    for saves in (True, False):
        simulator = made(saves=saves, any_step=True)
        np.testing.assert_array_equal(run(simulator, [[1.5, 0]] * 3, members=7), whole)
        memory, _ = simulator.run(simulator.init(None, 0, 7), np.ones((3, 2, 7)), 1.0)
        later, _ = simulator.step(memory, np.ones((2, 7)), 1.0)
        again, _ = simulator.step(memory, np.ones((2, 7)), 1.0)
        np.testing.assert_array_equal(simulator.extract(later), simulator.extract(again))
        assert max(len(c.slots) for c in simulator._pool._children) == 2


@pytest.mark.parametrize("saves", [True, False])
def test_a_memory_is_a_value(saves: bool) -> None:
    simulator = made(saves=saves)
    assert simulator.branches == ("saved" if saves else "replayed")
    memory, _ = simulator.run(simulator.init(None, 0, 2), np.ones((5, 2, 2)) * [[1.0], [0.0]], 1.0)
    u = np.array([[2.0, 0.0], [0.0, 0.0]])
    one = simulator.step(memory, u, 1.0)[1]
    simulator.close()  # the instances are gone, what they were is not
    np.testing.assert_array_equal(simulator.step(memory, u, 1.0)[1], one)
    other, carried = pickle.loads(pickle.dumps((simulator, memory)))
    np.testing.assert_array_equal(other.step(carried, u, 1.0)[1], one)
    np.testing.assert_array_equal(simulator.step(simulator.select(memory, [1, 0]), u[:, ::-1], 1.0)[1], one[:, ::-1])


def test_a_text_can_be_set_before_it_starts() -> None:
    more = (("note", 20, "String", 'causality="parameter" variability="fixed" start=""'),)
    assert run(made(more=more, start={"note": "4"}), [[0, 0]])[0, 0, 0] == pytest.approx(tank(4, 0, 1))


@pytest.mark.parametrize("interface", ["cs", "me"])
def test_the_first_fmi_runs_too(interface: str) -> None:
    simulator = Fmu(old_tank(interface), processes=1, start={"area": 1})
    assert (simulator.description.version, simulator.description.interface) == (1, interface)
    found = run(simulator, [[1.5, 0]] * 3 + [[1.5, 1]] * 2)
    level = tank(1, 1.5, 3, area=1)
    np.testing.assert_allclose(found[[2, 4], 0, 0], [level, level + 3], rtol=1e-5)
    assert found[:, 1, 0].tolist() == [0, 0, 0, 1, 1]
