from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from gemel.config import dump, load
from gemel.core.errors import ConfigError, InputError
from gemel.core.registry import build
from gemel.core.values import BAD, GOOD, Belief, Floats, Frame
from gemel.loop.simulate import Assignable, Branches, Noisy, Runs, rollout
from gemel.simulators.residual.correction import PENALTIES, fit
from gemel.simulators.residual.follow import followed
from gemel.simulators.residual.simulator import Residual
from gemel.simulators.thermal import Thermal
from gemel.testing.simulator import check_simulator

QUARTER = 900 * 10**9
KNOWN = {name: {"sd": 0.0} for name in ("oil_rise", "hot_rise", "hot_offset", "tau_oil")}


def thermal() -> Thermal:
    return Thermal(ambient="air", oil_noise=0.2, priors=KNOWN)


@cache
def plant(days: int = 24, sun: float = 8.0) -> Frame:
    """A transformer whose radiator the sun warms, of which its simulator knows nothing."""
    rng, t = np.random.default_rng(5), np.arange(days * 96)
    slow = np.convolve(rng.standard_normal(len(t) + 95), np.exp(-np.arange(96) / 30), "valid")
    load = 0.7 + 0.2 * np.sin(2 * np.pi * t / 96 - 1) + 0.01 * slow
    air = 12 + 5 * np.sin(2 * np.pi * t / 96 - 2) + 0.5 * slow[::-1]
    shine = sun * np.maximum(np.sin(2 * np.pi * t / 96 - 1.5), 0)
    inputs = np.stack([load, air + shine], axis=1)[:, :, None]
    exact = Thermal(ambient="air", oil_noise=0.0, priors=KNOWN)
    oil = rollout(exact, exact.init(None, 1), inputs, 900.0)[:, 0, 0] + 0.2 * rng.standard_normal(len(t))
    values = np.stack([load, air, oil], axis=1)
    return Frame(
        1_700_000_000 * 10**9 + t * QUARTER, values, np.full(values.shape, GOOD, np.uint8), ("load", "air", "oil")
    )


def believed(simulator: Any, time: int, members: int = 32) -> Belief:
    return Belief(tuple(simulator.states), simulator.extract(simulator.init(None, 3, members)), time)


@cache
def taught() -> tuple[Residual, dict[str, float]]:
    """Taught on the first 18 days."""
    residual = Residual(thermal(), horizon="12h", windows=80, noise={"oil": 0.2}, carry={"hot_spot": "oil"})
    frame = plant().rows(0, 18 * 96)
    return residual, residual.learn(frame, believed(residual, int(frame.time[-1])))


def like(residual: Residual) -> Residual:
    """Another one that has learned the same."""
    other = Residual(thermal(), horizon="12h", carry={"hot_spot": "oil"})
    other.load(residual.dump())
    return other


def courses(seed: int = 0) -> Floats:
    t = np.arange(48)
    return np.stack([0.7 + 0.2 * np.sin(t / 15 + seed), 12 + 4 * np.cos(t / 15)], axis=1)


def test_before_it_has_learned_it_is_the_simulator_inside() -> None:
    inner, outer = thermal(), Residual(thermal())
    inputs = np.repeat(courses()[:, :, None], 6, axis=2)
    np.testing.assert_array_equal(
        rollout(outer, outer.init(None, 4, 6), inputs, 900.0), rollout(inner, inner.init(None, 4, 6), inputs, 900.0)
    )
    assert (outer.inputs, outer.outputs, outer.states, outer.bounds) == (
        inner.inputs,
        inner.outputs,
        inner.states,
        inner.bounds,
    )
    empty = outer.dump()
    outer.load(empty)
    assert outer.dump() == empty


def test_it_claims_what_the_simulator_inside_can_do_and_no_more() -> None:
    class Bare:
        inputs, outputs, states = ("u",), ("y",), ("y",)

        def init(self, belief: Belief | None, seed: int, members: int = 1) -> Floats:
            return np.zeros((1, members))

        def step(self, memory: Floats, inputs: Floats, dt: float) -> tuple[Floats, Floats]:
            return memory + inputs, memory + inputs

    bare, full = Residual(Bare()), Residual(thermal())
    for capability in (Assignable, Branches, Noisy):
        assert isinstance(full, capability)
        assert not isinstance(bare, capability)
    assert isinstance(bare, Runs)
    check_simulator(lambda: Residual(Bare()), np.ones((5, 1)), 60.0)
    frame = Frame(plant().time, plant().values[:, :2], plant().quality[:, :2], ("u", "y"))
    with pytest.raises(InputError, match="nothing to learn"):
        bare.learn(frame, Belief(("y",), np.zeros((1, 4)), 0))


def test_conformance() -> None:
    check_simulator(lambda: Residual(thermal()), courses(), 900.0)
    check_simulator(lambda: like(taught()[0]), courses(), 900.0)


def test_both_beat_either_alone_on_time_not_seen() -> None:
    residual, scores = taught()
    assert scores["oil.both"] < 0.5 * scores["oil.physics"]
    assert scores["oil.both"] < 0.7 * scores["oil.correction"]
    frame = plant().rows(18 * 96, 24 * 96)
    errors: dict[str, list[Floats]] = {"physics": [], "both": []}
    inside = []
    starts = enumerate(followed(residual.inner, frame, believed(residual, 0), {"oil": 0.2}))
    for row, start in [*starts][96 : len(frame) - 48 : 7]:
        inputs = np.repeat(frame.values[row + 1 : row + 49, :2, None], 32, axis=2)
        truth = frame.column("oil")[row + 1 : row + 49]
        for name, one in (("physics", residual.inner), ("both", residual)):
            oil = rollout(one, one.init(start, row), inputs, 900.0)[:, 0]
            errors[name].append(truth - oil.mean(axis=1))
        low, high = np.quantile(oil, [0.05, 0.95], axis=1)
        inside.append((truth >= low) & (truth <= high))
    physics, both = (np.sqrt(np.mean(np.square(errors[n]))) for n in ("physics", "both"))
    assert both < 0.5 * physics
    assert 0.8 < np.mean(inside) < 0.98  # of the 90 % band, though physics alone knows nothing of the sun


def test_outside_the_range_of_learning_it_is_the_physics() -> None:
    residual = taught()[0]
    inputs = np.repeat(courses()[:, :, None], 4, axis=2)
    for beyond in ([[0.0], [60.0]], [[3.0], [0.0]]):
        hot = inputs + np.array(beyond)
        runs = [
            rollout(one, one.quiet(one.init(believed(residual, int(plant().time[0]), 4), 0)), hot, 900.0)
            for one in (residual, residual.inner)
        ]
        np.testing.assert_array_equal(*runs)


def test_nothing_is_corrected_at_the_instant_of_the_belief() -> None:
    residual = taught()[0]
    start = believed(residual, int(plant().time[100]), 8)
    inputs = np.repeat(courses()[0][:, None], 8, axis=1)
    inner = residual.inner
    np.testing.assert_array_equal(
        residual.observe(residual.init(start, 0), inputs), inner.observe(inner.init(start, 0), inputs)
    )


def test_an_output_may_be_carried_by_a_corrected_one() -> None:
    residual = taught()[0]
    start = [*followed(residual.inner, plant().rows(0, 200), believed(residual, 0, 8), {"oil": 0.2})][-1]
    inputs = np.repeat(plant().values[200:248, :2, None], 8, axis=2)
    moved = rollout(residual, residual.init(start, 2), inputs, 900.0) - rollout(
        residual.inner, residual.inner.init(start, 2), inputs, 900.0
    )
    assert abs(moved[-1, 0]).min() > 0.01
    np.testing.assert_allclose(moved[:, 1], moved[:, 0], atol=1e-9)  # hot_spot stands upon oil
    np.testing.assert_array_equal(moved[:, 2], 0.0)


def test_physics_that_misses_nothing_stays_as_it_is() -> None:
    frame = plant(12, 0.0)
    residual = Residual(thermal(), horizon="12h", windows=50, noise={"oil": 0.2})
    scores = residual.learn(frame, believed(residual, int(frame.time[0]), 16))
    assert scores["oil.both"] < 1.05 * scores["oil.physics"]
    start = believed(residual, int(frame.time[700]), 8)
    inputs = np.repeat(frame.values[701:749, :2, None], 8, axis=2)
    runs = [rollout(one, one.quiet(one.init(start, 0)), inputs, 900.0)[:, 0] for one in (residual, residual.inner)]
    assert abs(runs[0] - runs[1]).max() < 0.3


def test_beliefs_of_an_estimator_can_be_the_starts() -> None:
    frame = plant().rows(0, 10 * 96)
    residual = Residual(thermal(), horizon="6h")
    starts = []
    for row in range(50, 900, 17):
        one = believed(residual, int(frame.time[row]), 8)
        one.members[0] = frame.column("oil")[row]
        starts.append(replace(one, innovation={"oil": (0.1, 0.3)}))
    scores = residual.learn(frame, starts)
    assert scores["oil.both"] < 0.6 * scores["oil.physics"]


def test_holes_and_bad_values_teach_nothing() -> None:
    frame = plant().rows(0, 8 * 96)
    values, quality = frame.values.copy(), frame.quality.copy()
    values[200:260] = math.nan
    values[400, 2], quality[400, 2] = 1e6, BAD
    residual = Residual(thermal(), horizon="6h", windows=40)
    broken = Frame(frame.time, values, quality, frame.signals)
    scores = residual.learn(broken, believed(residual, int(frame.time[-1]), 16))
    assert scores["oil.both"] < 0.8 * scores["oil.physics"]


def test_what_was_learned_survives_as_bytes_and_a_run_keeps_what_it_began_with() -> None:
    residual = taught()[0]
    other = Residual(thermal(), horizon="12h", carry={"hot_spot": "oil"})
    before = other.init(believed(other, int(plant().time[0]), 5), 1)
    other.load(residual.dump())
    inputs = np.repeat(courses()[:, :, None], 5, axis=2)
    start = believed(residual, int(plant().time[0]), 5)
    np.testing.assert_array_equal(
        rollout(other, other.init(start, 1), inputs, 900.0), rollout(residual, residual.init(start, 1), inputs, 900.0)
    )
    inner = residual.inner
    np.testing.assert_array_equal(
        rollout(other, before, inputs, 900.0), rollout(inner, inner.init(start, 1), inputs, 900.0)
    )
    with pytest.raises(InputError, match="other inputs"):
        Residual(Thermal()).load(residual.dump())
    for garbage in (b"", b"\xff\x00", b"\x80"):
        with pytest.raises(InputError, match="no correction"):
            other.load(garbage)


def test_in_a_twin_file() -> None:
    text = """
name = "t"
every = "15min"
clock = "data"
signals = [{ name = "load" }, { name = "air" }, { name = "oil" }]
store = { kind = "memory" }
simulator = { kind = "residual", carry = { hot_spot = "oil" }, simulator = { kind = "thermal", ambient = "air" } }
estimator = { kind = "enkf", noise = { oil = 0.3 } }
"""
    written = dump(load(text))
    assert dump(load(written)) == written
    assert 'kind = "thermal"' in written


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"simulator": {"kind": "thermic"}}, "residual.simulator: unknown kind 'thermic'"),
        ({"horizon": "soon"}, "residual: horizon"),
        ({"windows": 3}, "windows 3 must be 20"),
        ({"unforeseen": ["lod"]}, "'lod', not an input, did you mean 'load'?"),
        ({"carry": {"hotspot": "oil"}}, "'hotspot' is not an output"),
        ({"noise": {"oil": 0.0}}, "noise of 'oil' is 0"),
    ],
)
def test_wrong_keys_are_named(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        build("simulators", {"kind": "residual", "simulator": {"kind": "thermal"}, **keys})
    assert said in str(error.value)


def test_dense_telemetry_is_thinned() -> None:
    frame = plant().rows(0, 8 * 96)
    fine = Frame(
        frame.time[0] + np.arange(len(frame) * 5) * QUARTER // 5,
        np.repeat(frame.values, 5, axis=0),
        np.repeat(frame.quality, 5, axis=0),
        frame.signals,
    )
    residual = Residual(thermal(), horizon="60h", windows=20)
    assert residual.learn(fine, believed(residual, 0, 8))["oil.physics"] > 0


def test_too_little_telemetry_is_refused() -> None:
    residual, frame = Residual(thermal()), plant()
    belief = believed(residual, 0)
    with pytest.raises(InputError, match="fit into these rows, 20 are needed"):
        residual.learn(frame.rows(0, 120), belief)
    with pytest.raises(InputError, match="nothing usable"):
        residual.learn(frame.only(["load", "air"]), belief)
    uneven = replace(frame, time=frame.time + np.arange(len(frame)) ** 2)
    with pytest.raises(InputError, match="regular grid"):
        residual.learn(uneven, belief)


def test_the_fit_finds_a_linear_law_and_leaves_noise_alone() -> None:
    rng, lead = np.random.default_rng(0), np.linspace(1, 16, 16) * 3600.0
    features = rng.uniform(-2, 5, (300, 16, 3))
    law = 0.7 * features[:, :, 1] * (1 - np.exp(-lead / (lead[-1] / 6)))
    used = np.array([True, True, False])
    found = fit(features, law + 0.05 * rng.standard_normal(law.shape), np.zeros(16), lead, used, 1)
    added, lacking = found.add(features[0].T[None].repeat(16, 0), lead)
    expected = 0.7 * features[0, :, 1] * (1 - np.exp(-lead / (lead[-1] / 6)))[:, None]
    np.testing.assert_allclose(added, expected, atol=0.15)
    assert lacking.max() < 0.2
    assert abs(found.weights[:, 2]).max() < 1e-9
    noise = fit(features, rng.standard_normal(law.shape), np.ones(16), lead, used, 1)
    assert noise.penalty >= PENALTIES[2]
    assert abs(noise.add(features[0].T[None].repeat(16, 0), lead)[0]).max() < 0.2
