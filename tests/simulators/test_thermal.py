from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.core.errors import ConfigError
from gemel.core.registry import build
from gemel.core.units import SECOND, instant
from gemel.core.values import Floats
from gemel.simulators.thermal import Memory, Thermal
from gemel.testing.simulator import check_simulator

KNOWN = {name: {"sd": 0.0} for name in ("oil_rise", "hot_rise", "hot_offset", "tau_oil", "fan_health")}


def plain(**more: Any) -> Thermal:
    """Nothing latent, no noise."""
    return Thermal(**{"ambient": "air", "oil_noise": 0.0, "priors": KNOWN, **more})


def cold(thermal: Thermal, oil: float) -> Memory:
    """At an oil temperature, windings at the oil's."""
    memory = thermal.init(None, 0)
    states = thermal.extract(memory)
    states[0], states[1], states[2] = oil, 0.0, 0.0
    return thermal.assign(memory, states, 0)


def test_the_load_steps_of_the_guides_annex() -> None:
    # IEC 60076-7, example of an ONAF transformer: 25.6 degC ambient, oil rise 12.7 K at the start and 38.3 K rated,
    # gradient 14.5 K with hot-spot factor 1.4, R = 1000; temperatures at the end of each load step as printed there
    priors = {**KNOWN, "oil_rise": {"mean": 38.3, "sd": 0.0}, "hot_rise": {"mean": 1.4 * 14.5, "sd": 0.0}}
    thermal = plain(cooling="ONAF", constants={"R": 1000.0}, priors=priors)
    memory = cold(thermal, 25.6 + 12.7)
    steps = [(190, 1.0), (365, 0.6), (500, 1.5), (705, 0.3), (730, 2.1), (745, 0.0)]
    printed = [(61.9, 83.8), (44.4, 54.0), (89.2, 127.0), (35.0, 37.5), (67.9, 138.6), (60.3, 75.3)]
    start, found = 0, []
    for end, load in steps:
        memory, out = thermal.step(memory, np.array([[load], [25.6]]), (end - start) * 60.0)
        found.append(out[:2, 0])
        start = end
    np.testing.assert_allclose(found, printed, atol=1.1)  # the guide steps by 3 minutes, this is exact
    np.testing.assert_allclose(found[0], printed[0], atol=0.1)
    np.testing.assert_allclose(found[5], printed[5], atol=0.1)


def test_a_step_is_exact_whatever_its_length() -> None:
    thermal = plain(fan="fan")
    inputs = np.array([[1.2], [1.0], [30.0]])
    long, _ = thermal.step(cold(thermal, 20.0), inputs, 3600.0)
    short = cold(thermal, 20.0)
    for _ in range(60):
        short, _ = thermal.step(short, inputs, 60.0)
    np.testing.assert_allclose(thermal.extract(long), thermal.extract(short), rtol=1e-12)


def test_rated_load_settles_at_the_rated_rises_and_fans_take_their_share() -> None:
    thermal = plain(fan="fan", fan_gain=0.25, fan_kw=3.0)
    far = 1e7
    _, out = thermal.step(cold(thermal, 0.0), np.array([[1.0], [0.0], [20.0]]), far)
    np.testing.assert_allclose(out[:, 0], [72.0, 98.0, 1.0, 0.0], rtol=1e-9)
    _, out = thermal.step(cold(thermal, 0.0), np.array([[1.0], [2.0], [20.0]]), far)
    assert out[0, 0] == pytest.approx(20.0 + 52.0 / 1.5**0.8)
    assert out[3, 0] == 6.0


@pytest.mark.parametrize(("paper", "hot", "rate"), [("normal", 98, 1), ("normal", 110, 4), ("upgraded", 110, 1)])
def test_relative_ageing(paper: str, hot: float, rate: float) -> None:
    thermal = plain(paper=paper)
    out = thermal.observe(cold(thermal, hot), np.array([[0.0], [20.0]]))
    assert out[2, 0] == pytest.approx(rate)


def test_load_is_the_root_of_the_sum_of_squares() -> None:
    thermal = plain(load=["mw", "mvar"], rated=10.0)
    moved, _ = thermal.step(thermal.init(None, 0), np.array([[3.0], [-4.0], [20.0]]), 60.0)
    assert thermal.extract(moved)[thermal.states.index("load")] == pytest.approx(0.5)


def test_a_missing_input_holds_or_wanders_to_its_prior() -> None:
    thermal = Thermal(ambient="air", fan="fan")
    memory, _ = thermal.step(thermal.init(None, 0, 200), np.full((3, 200), 1.0) * [[1.4], [2.0], [35.0]], 900.0)
    unknown = np.full((3, 200), np.nan)
    row = {n: i for i, n in enumerate(thermal.states)}
    soon = thermal.extract(thermal.step(memory, unknown, 900.0)[0])
    late = thermal.extract(thermal.step(memory, unknown, 7 * 86_400.0)[0])
    assert (late[row["stage"]] == 2.0).all()
    assert soon[row["load"]].mean() == pytest.approx(1.4, abs=0.05)
    assert late[row["load"]].mean() == pytest.approx(0.5, abs=0.05)
    assert late[row["load"]].std() == pytest.approx(0.2, rel=0.2)
    assert late[row["ambient"]].std() == pytest.approx(10.0, rel=0.2)


def test_a_latent_ambient_has_a_day_and_a_year() -> None:
    amplitudes = {"day_cos": -4.0, "year_cos": -10.0, "ambient_mean": 11.0}
    latent = ("ambient_mean", "year_cos", "year_sin", "day_cos", "day_sin", "day2_cos", "day2_sin", "weather")
    thermal = Thermal(priors={**KNOWN, **{n: {"mean": amplitudes.get(n, 0.0), "sd": 0.0} for n in latent}})
    memory = thermal.init(None, 0)
    for text, expected in (("2024-01-01T00:00", -3.0), ("2024-07-01T12:00", 25.0)):
        then = thermal.assign(memory, thermal.extract(memory), instant(text) - 60 * SECOND)
        _, out = thermal.step(then, np.array([[0.5]]), 60.0)
        assert out[-1, 0] == pytest.approx(expected, abs=0.1)


def test_the_prior_draw_has_the_priors_moments() -> None:
    thermal = Thermal()
    states = thermal.extract(thermal.init(None, 3, 64))
    i = thermal.states.index("tau_oil")
    assert states[i].mean() == pytest.approx(210.0, abs=1e-6)
    assert states[i].std(ddof=1) == pytest.approx(20.0, abs=1e-6)
    a, b = states[thermal.states.index("day_cos")], states[thermal.states.index("weather")]
    assert abs(np.corrcoef(a, b)[0, 1]) < 1e-9


@pytest.mark.parametrize("variant", [{}, {"fan": "fan", "paper": "upgraded"}, {"ambient": "air", "fan": "fan"}])
def test_conformance(variant: dict[str, Any]) -> None:
    def make() -> Thermal:
        return Thermal(rated=40.0, **variant)

    columns: dict[str, Floats] = {
        "load": 20 + 10 * np.sin(np.arange(12) / 3), "fan": np.arange(12) % 3 + 0.0, "air": np.full(12, 15.0)
    }  # fmt: skip
    check_simulator(make, np.stack([columns[n] for n in make().inputs], axis=1), 900.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 2) | st.just(math.nan), min_size=3, max_size=8), st.integers(0, 99))
def test_any_load_keeps_the_states_within_bounds(loads: list[float], seed: int) -> None:
    thermal = Thermal(fan="fan")
    memory = thermal.init(None, seed, 8)
    for load in loads:
        memory, out = thermal.step(memory, np.repeat([[load], [load]], 8, axis=1), 3600.0)
        assert np.isfinite(out).all()
        for name, (low, high) in thermal.bounds.items():
            row = thermal.extract(memory)[thermal.states.index(name)]
            assert (low <= row).all(), name
            assert (row <= high).all(), name


def test_wrong_keys_are_reported_together() -> None:
    with pytest.raises(ConfigError) as error:
        Thermal(
            rated=0.0, cooling="ONAM", constants={"k12": 1.0}, priors={"oil_raise": {"mean": 1.0}, "load": {"mu": 1}}
        )
    text = str(error.value)
    assert "rated 0" in text
    assert "cooling 'ONAM' is not one of distribution, ONAN" in text
    assert "unknown constant 'k12', did you mean 'k" in text
    assert "unknown prior 'oil_raise', did you mean 'oil_rise'?" in text
    assert "prior 'load' has no key 'mu'" in text


def test_it_is_built_by_its_kind() -> None:
    assert isinstance(build("simulators", {"kind": "thermal", "load": ["a", "b"], "rated": 40}), Thermal)
