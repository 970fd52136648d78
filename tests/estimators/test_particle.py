from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.calibration import CASES, twin_experiment
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.worlds import QUARTER, Line, Tank, grid, tank_telemetry
from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError
from gemel.core.setting import Setting
from gemel.core.values import Floats, Signal, Signals
from gemel.estimators.particle import Particle, resample
from gemel.testing.estimator import check_estimator


def bound(particle: Particle, simulator: Any) -> Particle:
    signals = Signals([Signal(n) for n in dict.fromkeys((*simulator.inputs, *simulator.outputs))])
    particle.bind(Setting("t", "", signals, Virtual(), QUARTER, 96 * QUARTER, 1, Path(), simulator))
    return particle


def test_many_draws_are_the_exact_posterior() -> None:
    rng = np.random.default_rng(0)
    members = rng.standard_normal((2, 40_000)) * [[1.0], [2.0]]
    observed, value, sd = members[:1] + members[1:], np.array([2.0]), np.array([1.0])
    after = resample(members, observed, value, sd, rng)
    gain = np.array([1.0, 4.0]) / 6.0
    np.testing.assert_allclose(after.mean(axis=1), gain * 2.0, atol=0.03)
    np.testing.assert_allclose(np.cov(after), np.diag([1.0, 4.0]) - np.outer(gain, [1.0, 4.0]), atol=0.08)


class Mirror(Line):
    """Only the distance from zero is seen."""

    outputs: Sequence[str] = ("far",)
    states: Sequence[str] = ("x", "unused")

    def step(self, memory: Floats, inputs: Floats, dt: float) -> tuple[Floats, Floats]:
        return memory, np.abs(memory[:1])


def test_two_humps_stay_two_humps() -> None:
    rng = np.random.default_rng(1)
    seen = 1.5 + 0.1 * rng.standard_normal((30, 1))
    belief = bound(Particle({"far": 0.1}), Mirror()).update(None, grid(seen, ["far"]))
    x = belief.row("x")
    assert np.mean(np.abs(x) < 0.8) < 0.02  # hardly anything between, where the mean is
    assert np.mean(np.abs(np.abs(x) - 1.5) < 0.1) > 0.6  # kernels of the whole cloud's width throw some off
    assert 0.2 < np.mean(x > 0) < 0.8


def test_a_cloud_in_the_wrong_place_finds_the_plant_again() -> None:
    rng = np.random.default_rng(2)
    members, value, sd = 5.0 + 0.05 * rng.standard_normal((1, 400)), np.array([-5.0]), np.array([0.1])
    for _ in range(4):
        members = resample(members, members, value, sd, rng)
    assert members.mean() == pytest.approx(-5.0, abs=0.3)
    assert members.std() < 0.3


def test_a_bounded_parameter_is_found() -> None:
    belief = bound(Particle({"level": 0.02}), Tank()).update(None, tank_telemetry(100, hole=0.3))
    assert belief.mean()["hole"] == pytest.approx(0.3, abs=0.02)
    hole = belief.row("hole")
    assert ((hole > 0) & (hole < 2)).all()


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_nothing_heard_nothing_learned_and_nonsense_does_not_kill(k: int, p: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    members, observed, sd = rng.standard_normal((k, 60)), rng.standard_normal((p, 60)), np.full(p, 0.1)
    np.testing.assert_array_equal(resample(members, observed, np.full(p, np.nan), sd, rng), members)
    wild = resample(members, observed, np.full(p, 1e6), sd, rng, least=0.1)
    assert np.isfinite(wild).all()
    assert len(np.unique(wild[0])) == 60  # copies are spread


def test_a_published_twin_experiment() -> None:
    (case,) = [c for c in CASES if c.name == "particle"]
    error, spread = twin_experiment(case, 1, 100)
    assert error == pytest.approx(case.expected, abs=0.12)
    assert 0.7 < spread / error < 1.6


def test_conformance() -> None:
    check_estimator(lambda: bound(Particle({"level": 0.1}, members=100), Tank()), tank_telemetry(20, hole=0.8))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="noise names no output") as error:
        Particle(noise={}, members=5, least=1.0)
    assert "20 or more" in str(error.value)
    assert "least" in str(error.value)
    with pytest.raises(ConfigError, match="did you mean 'level'"):
        bound(Particle({"levle": 0.1}), Tank())
