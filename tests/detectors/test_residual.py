from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError
from gemel.core.setting import Setting
from gemel.core.values import BAD, GOOD, Belief, Finding, Floats, Frame, Signal, Signals
from gemel.detectors.chart import Chart
from gemel.detectors.residual import Residual
from gemel.estimators.enkf import Enkf
from gemel.loop.decide import Situation
from gemel.loop.detect import merge
from gemel.loop.estimate import estimate
from gemel.simulators.thermal import Thermal
from gemel.testing.detector import check_detector

EVERY = 5 * 60 * 10**9
HOUR = 12  # turns
START = 1_750_000_200_000_000_000 // EVERY * EVERY
COLUMNS = ("load", "ambient", "fan", "oil", "winding", "fan_power")
SIGNALS = Signals([Signal(n, role="controlled" if n == "fan" else "measured") for n in COLUMNS])
CAUSES = [
    {
        "name": "fan failed", "signal": "fan_power", "sign": "-", "state": "fan_health", "below": 0.8,
        "explains": ["oil", "winding"], "severity": 0.7,
    },
    {"name": "oil sensor drifts", "signal": "oil", "unless": "winding", "distrust": True},
]  # fmt: skip


def thermal(**more: Any) -> Thermal:
    return Thermal(
        rated=40.0, hot_spot="winding", fan="fan", fan_kw=3.0, fan_gain=0.3, ambient="ambient", oil_noise=0.3, **more
    )


def plant(hours: int, fan_fails: int = 10**6, drifts: int = 10**6, heals: int = 10**6, seed: int = 1) -> Floats:
    """Telemetry [t, s] of a transformer whose fans lose half their power and whose oil sensor drifts by 2 K/h."""
    rng, t = np.random.default_rng(seed), np.arange(hours * HOUR)
    load = 30 + 8 * np.sin(t / 46) + rng.standard_normal(len(t))
    ambient = 18 + 6 * np.sin(t / 45.8) + 0.2 * rng.standard_normal(len(t))
    inputs = np.stack([load, np.where(t // 36 % 3 == 0, 1.0, 2.0), ambient], axis=1)
    parts = []
    fixed = {n: {"sd": 0.0} for n in ("oil_rise", "hot_rise", "hot_offset", "tau_oil")}
    memory: Any = None
    for health, rows in ((1.0, t < fan_fails * HOUR), (0.5, t >= fan_fails * HOUR)):
        simulator = thermal(priors={**fixed, "fan_health": {"mean": health, "sd": 0.0}})
        if memory is not None:
            states = simulator.extract(memory)
            states[list(simulator.states).index("fan_health")] = health
            memory = simulator.assign(memory, states, memory.time)
        memory, out = simulator.run(memory or simulator.init(None, seed), inputs[rows][:, :, None], 300.0)
        parts.append(out[:, [0, 1, 3], 0])
    out = np.vstack(parts) + rng.standard_normal((len(t), 3)) * [0.3, 0.4, 0.05]
    out[:, 0] += np.where(t < heals * HOUR, np.maximum(t - drifts * HOUR, 0) * 2.0 / HOUR, 0.0)
    return np.hstack([inputs[:, [0, 2, 1]], out])


def residual(**more: Any) -> Residual:
    simulator = thermal()
    detector = Residual(**{"causes": CAUSES, **more})
    detector.bind(Setting("t", "", SIGNALS, Virtual(), EVERY, 288 * EVERY, 1, Path(), simulator))
    return detector


def watch(values: Floats, detector: Residual) -> tuple[list[Finding], list[Situation]]:
    simulator = thermal()
    enkf = Enkf(noise={"oil": 0.3, "winding": 0.4, "fan_power": 0.05}, members=48)
    enkf.bind(Setting("t", "", SIGNALS, Virtual(), EVERY, 288 * EVERY, 1, Path(), simulator))
    belief: Belief | None = None
    held: Sequence[Finding] = ()
    news, course = [], []
    for i, row in enumerate(values):
        now = START + (i + 1) * EVERY
        quality = np.where(np.isfinite(row), GOOD, BAD).astype(np.uint8)
        belief = estimate(enkf, belief, Frame(np.array([now]), row[None], quality[None], COLUMNS), held)
        latest = dict(zip(COLUMNS, row.tolist(), strict=True))
        situation = Situation(now, EVERY, 288 * EVERY, SIGNALS, latest, belief, (), tuple(held), simulator)
        found = detector.inspect(situation)
        held = merge(held, found)
        news += found
        course.append(situation)
    return news, course


@lru_cache(1)
def scene() -> tuple[list[Finding], list[Situation]]:
    return watch(plant(60, fan_fails=40, drifts=46, heals=54), residual())


def hours(finding: Finding, time: int) -> float:
    return (time - START) / EVERY / HOUR


def first(news: Sequence[Finding], name: str) -> Finding:
    return next(f for f in news if f.name == name)


def test_a_week_without_faults_is_quiet() -> None:
    news, _ = watch(plant(7 * 24, seed=4), residual())
    assert [f.name for f in news] == []


def test_a_fan_that_fails_is_found_and_named_within_minutes() -> None:
    found = first(scene()[0], "fan failed")
    assert 40 <= hours(found, found.time) <= 40.5
    assert found.subject == "fan_power"
    assert found.confidence > 0.9
    assert found.severity == 0.7
    assert found.evidence["side"] == -1.0


def test_the_belief_learns_what_is_left_of_the_fans() -> None:
    situation = scene()[1][45 * HOUR]
    assert situation.belief is not None
    assert situation.belief.mean()["fan_health"] == pytest.approx(0.5, abs=0.1)


def test_a_drifting_oil_sensor_is_named_within_two_hours_though_a_fan_has_failed() -> None:
    news, course = scene()
    found = first(news, "oil sensor drifts")
    assert 46 < hours(found, found.time) <= 48
    assert hours(found, found.start) >= 45.5
    assert found.evidence["distrust"] == 1.0
    latest = [f for f in news if f.id == found.id and f.open][-1]
    assert latest.evidence["slope"] == pytest.approx(2.0, abs=0.5)
    oil = course[53 * HOUR]
    assert oil.belief is not None
    truth = plant(60, fan_fails=40)[53 * HOUR, 3]
    assert oil.belief.mean()["top_oil"] == pytest.approx(truth, abs=2.5)  # the sensor is off by 14 K by then


def test_a_sensor_that_is_well_again_closes_its_finding_and_a_broken_fan_does_not() -> None:
    news, _ = scene()
    found = first(news, "oil sensor drifts")
    closed = next(f for f in news if f.id == found.id and not f.open)
    assert 54 < hours(closed, closed.time) < 57
    assert closed.text.endswith("as expected again")
    fan = first(news, "fan failed")
    assert all(f.open for f in news if f.id == fan.id)


def test_nothing_else_is_claimed() -> None:
    assert {f.name for f in scene()[0]} == {"fan failed", "oil sensor drifts"}


def test_conformance_and_restart() -> None:
    news = check_detector(residual, scene()[1])
    assert {f.name for f in news} == {"fan failed", "oil sensor drifts"}


def test_what_no_cause_fits_is_unexpected() -> None:
    values = plant(30)
    values[24 * HOUR :, 4] += 6.0
    values[24 * HOUR :, 3] += 6.0
    news, _ = watch(values, residual(causes=[]))
    assert {f.name for f in news} <= {"unexpected oil", "unexpected winding"}
    assert hours(news[0], news[0].time) < 25


def test_a_smaller_residual_than_asked_for_is_no_finding() -> None:
    assert not watch(
        plant(44, fan_fails=40), residual(causes=CAUSES[1:], least={"fan_power": 5.0, "oil": 5.0, "winding": 5.0})
    )[0]


@pytest.mark.parametrize(("keep", "heavy"), [(0.0, False), (0.0, True), (0.7, False)])
def test_the_rate_of_false_alarms_is_the_one_asked_for(keep: float, heavy: bool) -> None:
    wanted, weeks, alarms = 5.0, 6, 0  # a week on a five-minute grid, one chart
    rng = np.random.default_rng(2)
    noise = rng.standard_t(5, 2016 * weeks) * np.sqrt(3 / 5) if heavy else rng.standard_normal(2016 * weeks)
    chart, x = Chart(), 0.0
    for i, e in enumerate(noise):
        x = keep * x + np.sqrt(1 - keep**2) * e
        chart.update(x, 0.6, i, learn=True)  # and the predicted spread is wrong
        height = chart.threshold(wanted / 2016 / 2)
        if max(chart.sums) > height:
            alarms += 1
            chart.reset(height)
    assert wanted / 2.5 <= alarms / weeks <= wanted * 2


def test_wrong_causes_are_named() -> None:
    with pytest.raises(ConfigError) as error:
        Residual(causes=[{"name": "a", "signl": "oil"}, {"name": "b", "signal": "oil", "sign": "up", "state": "x"}])
    text = str(error.value)
    assert "cause 'a' has no key 'signl', did you mean 'signal'?" in text
    assert "cause 'a' needs signal" in text
    assert "sign 'up' is not + or -" in text
    assert "state 'x' needs below or above" in text
    with pytest.raises(ConfigError, match="names unknown signal 'oli', did you mean 'oil'"):
        residual(causes=[{"name": "a", "signal": "oli"}])
    with pytest.raises(ConfigError, match="unknown state 'fan_healt', did you mean 'fan_health'"):
        residual(causes=[{"name": "a", "signal": "oil", "state": "fan_healt", "below": 1.0}])


def test_a_cause_takes_the_place_of_a_finding_without_one() -> None:
    values = plant(20, drifts=14)
    detector = residual()
    news, course = watch(values, detector)
    drift = first(news, "oil sensor drifts")
    early = course[[s.now for s in course].index(drift.time) - 1]
    again = residual()
    for situation in course[: course.index(early) + 1]:
        again.inspect(situation)
    unnamed = replace(
        drift, id="u", name="unexpected oil", time=early.now, evidence={**drift.evidence, "distrust": 0.0}
    )
    again.restore({**again.snapshot(), "open": [unnamed]})
    found = again.inspect(course[course.index(early) + 1])
    assert [(f.name, f.open) for f in found] == [("unexpected oil", False), ("oil sensor drifts", True)]
    assert found[0].text == "unexpected oil: it is oil sensor drifts"
