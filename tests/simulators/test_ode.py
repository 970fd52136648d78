# ruff: noqa: RUF012  (people write plain tables)
from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel.config import dump, load
from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError, PartError
from gemel.core.setting import Setting
from gemel.core.values import BAD, GOOD, Belief, Floats, Frame, Signal, Signals
from gemel.estimators.enkf import Enkf
from gemel.loop.simulate import rollout
from gemel.simulators.ode.equations import Equations
from gemel.simulators.ode.kernel import Kernel, source
from gemel.simulators.ode.simulator import Ode
from gemel.simulators.ode.solve import Problem, _try, interpolated
from gemel.simulators.ode.symbols import Untraceable
from gemel.testing.simulator import check_simulator


class Decay:
    states = {"y": {"mean": 1.0}}
    outputs = ["y"]
    parameters = {"rate": {"unit": "1/s", "mean": 0.01, "sd": 0.002, "low": 0.0, "high": 1.0}}

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return -p * x


class Oscillator:
    states = {"place": 1.0, "speed": 0.0}
    outputs = ("place", "speed")

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        place, speed = x
        return [speed, -place]


class Tank:
    """A boiler's water, with a valve nobody always hears."""

    states = {"water": {"unit": "degC", "mean": 60.0, "sd": 2.0, "low": 0.0, "high": 100.0, "noise": 0.1}}
    inputs = {
        "burner": "kW",
        "outdoor": {"unit": "degC", "mean": 5.0, "sd": 4.0, "memory": "1d"},
    }
    outputs = {"supply": "degC", "loss_kw": "kW"}
    parameters = {
        "capacity": {"unit": "kWh/K", "mean": 2.0, "sd": 0.3, "low": 0.1},
        "loss": {"unit": "kW/K", "mean": 0.2, "sd": 0.06, "low": 0.01, "high": 1.0, "memory": "30d"},
    }

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        water, (burner, outdoor), (capacity, loss) = x[0], u, p
        return [(burner - loss * (water - outdoor)) / capacity / 3600.0]

    def output(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return [x[0], p[1] * (x[0] - u[1])]


class Ball:
    """Falls, and bounces with 0.8 of its speed."""

    states = {"height": 10.0, "speed": 0.0}
    outputs = ("height", "speed")

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return [x[1], -9.81]

    def events(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return [-x[0]]

    def reset(self, event: int, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return [0.0, -0.8 * x[1]]


NOTHING = np.empty((0, 1))


def ends(ode: Ode, seconds: float, members: int = 1) -> Floats:
    return ode.step(ode.init(None, 0, members), np.empty((0, members)), seconds)[1]


def test_linear_decay() -> None:
    ode = Ode(Decay, step="2s", priors={"rate": 0.01})
    assert ends(ode, 300.0)[0, 0] == pytest.approx(math.exp(-3.0), rel=1e-8)
    assert ends(Ode(Decay, method="dopri5", rtol=1e-10, atol=1e-12, priors={"rate": 0.01}), 300.0)[0, 0] == (
        pytest.approx(math.exp(-3.0), rel=1e-9)
    )


@pytest.mark.parametrize("kernel", ["auto", "numpy"])
def test_rk4_converges_with_order_4(kernel: str) -> None:
    def error(step: str) -> float:
        place, speed = ends(Ode(Oscillator, step=step, kernel=kernel), 10.0)[:, 0]
        return math.hypot(place - math.cos(10.0), speed + math.sin(10.0))

    assert math.log2(error("500ms") / error("250ms")) == pytest.approx(4.0, abs=0.15)


def test_dormand_prince_converges_with_order_5_and_between_steps_with_4() -> None:
    one = np.ones((1, 1))
    problem = Problem(lambda t, x, u, p: np.array([x[1], -x[0]]), NOTHING, NOTHING, ("a", "b"), -1e9 * one, 1e9 * one)
    start = np.array([[1.0], [0.0]])

    def errors(h: float) -> tuple[float, float]:
        new, k = _try(problem, np.zeros(1), start, np.array([h]))
        inside = interpolated(start, new, k, np.array([h]), np.array([0.4]))
        return abs(new[0, 0] - math.cos(h)), abs(inside[0, 0] - math.cos(0.4 * h))

    (end, inside), (end2, inside2) = errors(0.4), errors(0.2)
    assert math.log2(end / end2) > 5.5  # one step of a method of order 5 is in error by h^6
    assert math.log2(inside / inside2) > 4.5


def test_the_energy_of_an_oscillator_stays() -> None:
    place, speed = ends(Ode(Oscillator, method="dopri5", rtol=1e-10, atol=1e-12), 10 * 2 * math.pi)[:, 0]
    assert place**2 + speed**2 == pytest.approx(1.0, abs=1e-6)
    assert place == pytest.approx(1.0, abs=1e-5)


def test_a_bouncing_ball_stops_at_its_events() -> None:
    ode = Ode(Ball, method="dopri5", rtol=1e-9)
    fall = math.sqrt(2 * 10 / 9.81)
    hit = 9.81 * fall
    rise = 0.4  # seconds after the bounce
    height, speed = ends(ode, fall + rise)[:, 0]
    assert speed == pytest.approx(0.8 * hit - 9.81 * rise, rel=1e-9)
    assert height == pytest.approx(0.8 * hit * rise - 9.81 / 2 * rise**2, rel=1e-9)
    with pytest.raises(ConfigError, match="dopri5"):
        Ode(Ball)
    with pytest.raises(PartError, match=r"300 events; 12\.8"):
        ends(ode, 20.0)  # it bounces ever faster, without end


def test_states_stop_at_their_bounds() -> None:
    ode = Ode(Tank, priors={"water": {"noise": 0.0}})
    memory = ode.init(None, 0, 3)
    u = np.repeat([[500.0], [5.0]], 3, axis=1)
    memory, out = ode.step(memory, u, 7200.0)
    np.testing.assert_array_equal(out[0], 100.0)


@pytest.mark.parametrize("options", [{}, {"kernel": "numpy"}, {"method": "dopri5"}])
@pytest.mark.parametrize("equations", [Tank, Decay])
def test_conformance(equations: Any, options: dict[str, Any]) -> None:
    inputs = np.stack([np.arange(8) % 3 * 6.0, 5.0 + np.arange(8)], axis=1)
    check_simulator(lambda: Ode(equations, **options), inputs if equations is Tank else np.empty((8, 0)), 300.0)


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_many_members_are_solved_as_one_at_a_time(method: str) -> None:
    ode = Ode(Tank, method=method)
    memory = ode.quiet(ode.init(None, 1, 7))
    u = np.repeat(np.array([[[12.0], [3.0]], [[0.0], [4.0]]]), 7, axis=2)
    together = rollout(ode, memory, u, 900.0)
    for i in range(7):
        alone = rollout(ode, ode.select(memory, [i]), u[:, :, :1], 900.0)
        np.testing.assert_allclose(together[:, :, [i]], alone, rtol=1e-13)


def test_an_input_nobody_hears() -> None:
    ode = Ode(Tank)
    memory = ode.init(None, 1, 50)
    memory, out = ode.step(memory, np.repeat([[10.0], [np.nan]], 50, axis=1), 3600.0)
    assert np.isfinite(out).all()  # outdoor has a prior
    assert ode.extract(memory)[ode.states.index("outdoor")].std() > 1.0
    kept = ode.extract(memory)[0]
    memory, out = ode.step(memory, np.repeat([[np.nan], [4.0]], 50, axis=1), 3600.0)
    assert np.isnan(out).all()  # the burner has none
    np.testing.assert_array_equal(ode.extract(memory)[0], kept)


def test_priors_are_cut_at_their_bounds_and_can_be_said_in_the_twin_file() -> None:
    ode = Ode(Tank, priors={"loss": {"mean": 0.05, "sd": 0.1}, "capacity": 3.0})
    states = ode.extract(ode.init(None, 0, 400))
    loss = states[ode.states.index("loss")]
    assert 0.01 < loss.min() < 0.05 < loss.max() < 1.0
    assert (states[ode.states.index("capacity")] == 3.0).all()
    assert ode.bounds["capacity"] == (0.1, math.inf)
    assert ode.units["loss"] == "kW/K"


def test_a_filter_finds_a_parameter() -> None:
    ode = Ode(Tank, priors={"water": {"noise": 0.02}})
    truth = Ode(
        Tank,
        priors={"water": {"mean": 61.0, "sd": 0.0, "noise": 0.0}, "capacity": 2.0, "loss": {"mean": 0.28, "sd": 0.0}},
    )
    rng, rows, dt = np.random.default_rng(3), 288, 300.0
    u = np.stack([np.where(np.arange(rows) // 24 % 2, 16.0, 4.0), 5 + 3 * np.sin(np.arange(rows) / 40)], axis=1)
    out = rollout(truth, truth.init(None, 0), u[:, :, None], dt)
    names = ("burner", "outdoor", "supply")
    values = np.column_stack([u, out[:, 0, 0] + 0.2 * rng.standard_normal(rows)])
    times = (np.arange(1, rows + 1) * 300 * 10**9).astype(np.int64)
    quality = np.full(values.shape, GOOD, np.uint8)
    quality[100:110, 2] = BAD
    enkf = Enkf(noise={"supply": 0.2}, members=48)
    signals = Signals([Signal(n) for n in names])
    enkf.bind(Setting("t", "", signals, Virtual(), 300 * 10**9, 10**12, 0, Path(), ode))
    belief = enkf.update(None, Frame(times, values, quality, names))
    loss = belief.row("loss")
    assert loss.mean() == pytest.approx(0.28, abs=3 * loss.std())
    assert loss.std() < 0.02  # from 0.06


# -- the file beside the twin file ------------------------------------------------------------------------------------

BOILER = """
import numpy as np

class Boiler:
    states = {"water": {"unit": "degC", "mean": 60.0, "sd": 2.0}}
    inputs = {"burner": "kW"}
    outputs = {"water": "degC"}
    parameters = {"loss": {"unit": "kW/K", "mean": 0.2, "sd": 0.05, "low": 0.01, "high": 1.0}}

    def derivative(self, t, x, u, p):
        return [(u[0] - p[0] * (x[0] - 10.0)) / 7200.0]
"""

TWIN = """
name = "boiler"
clock = "data"
signals = [{ name = "water", unit = "degC" }, { name = "burner", unit = "kW" }]
store = { kind = "memory" }
simulator = { kind = "ode", equations = "boiler.py:Boiler", priors = { loss = { mean = 0.3 } } }
estimator = { kind = "enkf", noise = { water = 0.5 } }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "boiler.py").write_text(BOILER)
    (tmp_path / "twin.toml").write_text(TWIN)
    return tmp_path


def test_a_twin_file_names_it_and_is_written_again(folder: Path) -> None:
    twin = load(folder / "twin.toml")
    twin.stages()
    assert twin.simulator.states == ("water", "loss")
    text = dump(twin)
    assert 'equations = "boiler.py:Boiler"' in text
    assert dump(load(text, folder)) == text
    again = pickle.loads(pickle.dumps(twin.simulator))  # into a worker's process
    np.testing.assert_array_equal(ends_of(again), ends_of(twin.simulator))


def test_it_can_be_the_plant_too(folder: Path) -> None:
    plant = 'connectors.plant = { kind = "virtual", simulator = { kind = "ode", equations = "boiler.py:Boiler" } }\n'
    twin = load(TWIN + plant, folder)
    twin.stages()
    assert plant in dump(twin).replace(", inputs = {}", "")


def ends_of(ode: Ode) -> Floats:
    return ode.step(ode.init(None, 5, 4), np.full((1, 4), 12.0), 600.0)[1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("x[0] - 10.0", "y[0] - 10.0", "boiler.py:11: Boiler.derivative raised NameError: name 'y'"),
        ("return [(", "return [0.0, (", "boiler.py:10: Boiler.derivative gave 2 rows, 1 are needed"),
        (
            "return [(",
            "rate = [(",
            "boiler.py:10: Boiler.derivative raised TypeError: 'NoneType' object is not iterable",
        ),
        ('"low": 0.01', '"low": 0.5', "'loss': mean 0.3 is outside its bounds 0.5 to 1"),
        ('"high": 1.0', '"hihg": 1.0', "has no key 'hihg', did you mean 'high'?"),
        ('outputs = {"water"', 'outputs = {"watre"', "'watre' is none, did you mean 'water'?"),
        ("class Boiler", "class Boilr", "has no class 'Boiler', did you mean 'Boilr'?"),
        ("def derivative", "def derivativ", "no method derivative"),
        ("import numpy", "import nunpy", "boiler.py:2: ModuleNotFoundError"),
        ("class Boiler:", "class Boiler", "boiler.py:4: expected ':'"),
        ('{"loss"', '{"lass"', "unknown name 'loss', did you mean 'lass'?"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(folder: Path, old: str, new: str, said: str) -> None:
    (folder / "boiler.py").write_text(BOILER.replace(old, new))
    with pytest.raises(ConfigError) as error:
        load(folder / "twin.toml")
    assert said in str(error.value)


def test_a_file_that_is_not_there_and_a_unit_that_differs(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*bolier.py, did you mean 'boiler.py'"):
        load(TWIN.replace("boiler.py", "bolier.py"), folder)
    with pytest.raises(ConfigError, match="'water' is in bar, the equations say degC"):
        load(TWIN.replace('"water", unit = "degC"', '"water", unit = "bar"'), folder).stages()
    with pytest.raises(ConfigError, match="method 'euler' is not one of"):
        load(TWIN.replace("priors", 'method = "euler", priors'), folder)


class Ill:
    states = {"a": 1.0, "b": {"mean": 1.0}}
    outputs = ("a", "b")

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return [-x[0], np.sqrt(2.0 - t + 0 * x[1])]


class Stiff:
    states = {"a": 1.0, "fast": {"mean": 1.0}}
    outputs = ("a", "fast")

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return [-x[0], -50.0 * (x[1] - x[0])]


@pytest.mark.parametrize("options", [{"step": "100ms"}, {"step": "100ms", "kernel": "numpy"}, {"method": "dopri5"}])
def test_nan_from_a_derivative_names_the_time_and_the_state(options: dict[str, Any]) -> None:
    with pytest.raises(PartError, match=r"derivative of 'b' is nan at 1970-01-01 00:00:0[12].*a 0\.1") as error:
        ends(Ode(Ill, **options), 10.0)
    assert "division by zero" in error.value.hint


@pytest.mark.parametrize("kernel", ["auto", "numpy"])
def test_an_unstable_step_is_refused(kernel: str) -> None:
    with pytest.raises(PartError, match=r"'fast' goes from .* at 1970-01-01 .* step of 1 s") as error:
        ends(Ode(Stiff, step="1s", kernel=kernel), 60.0)
    assert "smaller step" in error.value.hint
    assert ends(Ode(Stiff, step="10ms"), 1.0)[1, 0] == pytest.approx(math.exp(-1.0), rel=0.05)


class Brittle:
    """Grows without end where its parameter is above 1, and is nan where that is below 0."""

    states = {"y": 1.0}
    outputs = ("y",)
    parameters = {"rate": {"mean": 0.5, "sd": 0.2}}

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return [np.where(p[0] > 1.0, x[0] ** 3, -0.01 * x[0]) + 0.0 * np.sqrt(p[0])]


@pytest.mark.parametrize("options", [{"step": "1s"}, {"step": "1s", "kernel": "numpy"}, {"method": "dopri5"}])
def test_a_few_members_may_fail_and_the_others_go_on(options: dict[str, Any]) -> None:
    ode = Ode(Brittle, **options)
    states = np.stack([np.ones(7), np.array([0.5, 1.5, 0.3, -1.0, 0.9, 0.2, 0.1])])
    memory = ode.assign(ode.init(None, 0, 7), states, 0)
    inputs = np.empty((3, 0, 7))
    _, out = ode.run(memory, inputs, 60.0)
    bad = np.isnan(out).all(axis=(0, 1))
    np.testing.assert_array_equal(np.flatnonzero(bad), [1, 3])
    np.testing.assert_allclose(out[-1, 0, ~bad], math.exp(-1.8), rtol=1e-6)
    np.testing.assert_array_equal(ode.extract(memory), states)
    assert np.isfinite(rollout(ode, memory, inputs, 60.0)).all()  # for a forecast, others stand in
    with pytest.raises(PartError, match=r"'y' (is nan|goes from .*) at 1970-01-01 00:00:"):
        ode.run(ode.select(memory, [1, 1, 3, 0, 2]), inputs[:, :, :5], 60.0)


def test_a_filter_draws_failed_members_again(caplog: pytest.LogCaptureFixture) -> None:
    ode = Ode(Brittle, step="10s", priors={"y": {"sd": 0.1, "noise": 0.01}, "rate": {"sd": 0.4}})
    times = (np.arange(1, 30) * 60 * 10**9).astype(np.int64)
    values = np.exp(-0.6 * np.arange(1, 30))[:, None]
    enkf = Enkf(noise={"y": 0.05}, members=100)
    enkf.bind(Setting("t", "", Signals([Signal("y")]), Virtual(), 60 * 10**9, 10**12, 0, Path(), ode))
    first = ode.extract(ode.init(None, 0, 100))[1]
    assert ((first < 0) | (first > 1)).sum() > 0
    belief = enkf.update(None, Frame(times, values, np.full(values.shape, GOOD, np.uint8), ("y",)))
    assert np.isfinite(belief.members).all()
    assert ((belief.row("rate") >= 0) & (belief.row("rate") <= 1)).all()
    assert "of 100 members failed at 1970-01-01" in caplog.text


def test_a_belief_of_other_names_fills_what_it_knows() -> None:
    ode = Ode(Tank)
    memory = ode.init(Belief(("water",), np.full((1, 6), 71.0), 5), 0)
    assert memory.time == 5
    assert (ode.extract(memory)[0] == 71.0).all()
    assert ode.extract(memory)[2:].std() > 0


# -- kernels ----------------------------------------------------------------------------------------------------------


class Everything:
    """All the arithmetic that can be compiled."""

    states = {f"x{i}": {"mean": 0.4 * i - 0.7, "sd": 0.3, "low": -3.0, "high": 3.0} for i in range(6)}
    inputs = ("push",)
    outputs = tuple("abcdefgh")
    parameters = {"drag": {"mean": 2e-2, "sd": 1e-3}, "pull": {"mean": 8e-3, "sd": 1e-3}}

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        drag, pull = p
        wave = np.sin(2 * np.pi * t / 3600) + (t % 7.0)
        return pull * np.tanh((np.roll(x, -1, 0) - np.roll(x, 2, 0)) * x) - drag * x + 1e-4 * (u[0] + wave)

    def output(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        mixed = np.array([[0.2, 0.5], [1.0, -1.0]])
        dx = np.zeros_like(x)
        dx[0] = np.exp(-(x[5] ** 2)) + np.sqrt(abs(x[1]))
        return [
            np.where((x[1] > 0) & (x[2] < 1), x[1], 0.5 * x[1]),
            np.clip(x[2], -0.2, 0.2) ** 3,
            np.sum(x, axis=0) / np.maximum(p[0], 0.01),
            np.log(2 + np.cos(x[3])) - np.arctan(x[4]) ** 2.5,
            dx[0],
            mixed[0, 0] * x[0] + mixed[1, 1] * x[1],
            np.minimum(x[0], u[0]) % 0.7,
            np.sign(x[4]) * np.floor(3 * x[5]) + t * 0,
        ]


@pytest.mark.parametrize("equations", [Everything, Tank, Oscillator])
def test_the_text_of_a_kernel_gives_the_numbers_of_numpy(equations: Any) -> None:
    """The same text that numba compiles, as plain Python."""
    e = Equations(equations, {})
    text, rows = source(e)
    low, high = (np.array([[getattr(q, key)] for q in e.states]) for key in ("low", "high"))
    names = ("exp", "log", "sqrt", "sin", "cos", "tanh", "floor", "pow")
    space = {n: getattr(math, n) for n in names} | {"abs": abs, "atan": math.atan, "njit": lambda f: f}
    exec(text, space)
    kernel = Kernel(space["advance"], rows, low, high, len(e.outputs))
    rng, ode = np.random.default_rng(0), Ode(equations, kernel="numpy", step="200ms", priors=still(equations))
    memory = ode.init(None, 1, 70)  # more than a block
    u = rng.uniform(0, 20, (3, len(ode.inputs), 70))
    end, expected = ode.run(memory, u, 0.6)
    states = ode.extract(memory)
    x, p = states[: len(e.states)], states[len(states) - len(e.parameters) :]
    found = kernel.run(0.0, x, u, p, 0.6, 3)
    assert found is not None
    np.testing.assert_allclose(found[1], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[0], ode.extract(end)[: len(x)], rtol=1e-9, atol=1e-12)


def still(equations: Any) -> dict[str, Any]:
    """Priors without noise or drift."""
    return {"water": {"noise": 0.0}, "loss": {"memory": "never"}} if equations is Tank else {}


@pytest.mark.slow
def test_compiled_equations_give_the_numbers_of_numpy() -> None:
    pytest.importorskip("numba")
    for equations in (Everything, Tank):
        fast, plain = (Ode(equations, kernel=k, priors=still(equations)) for k in ("compiled", "numpy"))
        assert fast.kernel == "compiled"
        memory = plain.init(None, 1, 70)
        u = np.random.default_rng(0).uniform(0, 20, (24, len(plain.inputs), 70))
        np.testing.assert_allclose(
            rollout(fast, memory, u, 300.0), rollout(plain, memory, u, 300.0), rtol=1e-9, atol=1e-11
        )
        one, other = fast.step(memory, u[0], 300.0)[1], plain.step(memory, u[0], 300.0)[1]
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


def test_a_compiled_kernel_is_there_at_the_next_start(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    (tmp_path / "plant.py").write_text(
        "class Plant:\n    states, outputs = {'a': 1.0}, ('a',)\n    parameters = {'k': {'mean': 0.1}}\n"
        "    def derivative(self, t, x, u, p):\n        return -p * x\n"
    )
    program = (
        "from gemel.simulators.ode.simulator import Ode; import numba, numpy as np\n"
        f"s = Ode(r'{tmp_path / 'plant.py'}:Plant')\n"
        "y = s.run(s.init(None, 1, 3), np.zeros((2, 0, 3)), 1.0)[1][-1, 0, 0]\n"
        "from gemel.simulators.ode.kernel import _advance, source\n"
        "print(s.kernel, y, sum(_advance(source(s._e)[0]).stats.cache_hits.values()))"
    )

    def started(home: str) -> list[str]:
        environment = {**os.environ, "XDG_CACHE_HOME": home}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    first, second = started(str(tmp_path / "cache")), started(str(tmp_path / "cache"))
    assert [*first[:2], *second[:2]] == [*2 * ["compiled", first[1]]]
    assert float(first[1]) == pytest.approx(math.exp(-0.2))
    assert (first[2], second[2]) == ("0", "1")
    assert started(str(tmp_path / "plant.py"))[0] == "compiled"  # nowhere to keep it


class Branches:
    states = {"a": 1.0}
    outputs = ("a",)

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return [-x[0]] if x.max() > 0 else [x[0]]


class Table:
    states = {"a": 1.0}
    outputs = ("a",)

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return [np.interp(x[0], [0.0, 1.0], [0.0, -1.0])]


class Filled:
    states = {"a": 1.0}
    outputs = ("a",)

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        dx = np.zeros(x.shape)
        dx[0] = -x[0]
        return dx


@pytest.mark.parametrize(
    ("equations", "why"), [(Branches, "branches on a value"), (Table, "np.interp"), (Filled, "plain number")]
)
def test_what_cannot_be_compiled_says_why_and_runs_as_it_is(equations: Any, why: str) -> None:
    with pytest.raises(Untraceable, match=why):
        source(Equations(equations, {}))
    ode = Ode(equations, step="100ms")
    assert ode.kernel.startswith("numpy: ")
    assert ends(ode, 2.0)[0, 0] == pytest.approx(math.exp(-2.0), rel=1e-4)
    with pytest.raises(ConfigError, match="cannot be compiled"):
        Ode(equations, kernel="compiled")


class Hasty:
    """Bounds hide what an unstable step does."""

    states = {"supply": {"mean": 50.0, "sd": 2.0, "low": 0.0, "high": 110.0}}
    outputs = ("supply",)

    def derivative(self, t: Floats, x: Floats, u: Floats, p: Floats) -> Any:
        return -0.2 * (x - 20.0)


def test_a_step_that_is_too_long_for_the_equations_is_said(caplog: pytest.LogCaptureFixture) -> None:
    def bound(**more: Any) -> str:
        caplog.clear()
        signals = Signals([Signal("supply")])
        Ode(Hasty, **more).bind(Setting("t", "", signals, Virtual(), 300 * 10**9, 10**12, 0, Path()))
        return caplog.text

    assert "'supply' settles within 5 s, which steps of 60 s do not follow: write step = '5s'" in bound()
    assert bound(step="5s") == bound(method="dopri5") == ""
