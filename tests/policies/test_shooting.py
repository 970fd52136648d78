from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError
from gemel.core.paths import futures
from gemel.core.setting import Setting
from gemel.core.units import duration
from gemel.core.values import DECILES, Belief, Decision, Finding, Floats, Forecast, Signal, Signals
from gemel.loop.decide import Situation
from gemel.policies.shooting import Shooting
from gemel.testing import check_policy

HOUR = duration("1h")
NOW = 480_000 * HOUR


class Room:
    """One mass: temp moves towards outdoor + gain * heat - cooling per stage, time constant 3 h."""

    inputs: Sequence[str] = ("heat", "fan", "outdoor")
    outputs: Sequence[str] = ("temp", "fan_kw")
    states: Sequence[str] = ("temp", "fan_health")

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Floats:
        assert belief is not None
        return belief.members.copy()

    def step(self, memory: Floats, inputs: Floats, dt: float) -> tuple[Floats, Floats]:
        heat, fan, outdoor = inputs
        temp, health = memory
        keep = np.exp(-dt / 10_800)
        temp = keep * temp + (1 - keep) * (outdoor + 10 * heat - 6 * fan * health)
        return np.stack([temp, health]), np.stack([temp, 1.5 * fan])

    def select(self, memory: Floats, index: Sequence[int]) -> Floats:
        return memory[:, np.asarray(index)]


SIGNALS = Signals(
    [
        Signal("temp", unit="degC"),
        Signal("outdoor", unit="degC"),
        Signal("heat", unit="kW", role="controlled", low=0, high=4, safe=0),
        Signal("fan", role="controlled", low=0, high=2, safe=2),
        Signal("outdoor_limit", role="controlled", low=0, high=60, safe=30),
    ]
)


def ahead(middle: float = 20.0, spread: float = 0.0, hours: int = 24) -> Forecast:
    times = NOW + HOUR // 4 * np.arange(1, 4 * hours + 1)
    band = middle + spread * (np.array(DECILES) - 0.5)
    values = np.broadcast_to(band, (1, len(times), len(DECILES))).astype(np.float32)
    return Forecast(times, DECILES, values, ("outdoor",), NOW, "test", id="forecast-1")


def situation(
    latest: Mapping[str, float], temp: float = 20.0, spread: float = 0.0, health: float = 1.0, **more: Any
) -> Situation:
    rng = np.random.default_rng(1)
    members = np.stack([temp + spread * rng.standard_normal(64), np.full(64, health)])
    given: dict[str, Any] = {
        "belief": Belief(("temp", "fan_health"), members, NOW, id="belief-1"),
        "forecasts": (ahead(),),
        "simulator": Room(),
    }
    given |= more
    return Situation(NOW, HOUR // 12, 24 * HOUR, SIGNALS, latest, **given)


def bound(policy: Shooting, simulator: Any = None, seed: int = 7) -> Shooting:
    room = Room() if simulator is None else simulator
    policy.bind(Setting("t", "", SIGNALS, Virtual(), HOUR // 12, 24 * HOUR, seed, Path(), room))
    return policy


def fans(**more: Any) -> Shooting:
    given: dict[str, Any] = {
        "objective": "0.12 * fan_kw + 0.02 * max(temp - 20, 0)",
        "constraints": ["temp < 30"],
        "controls": {"fan": [0, 1, 2]},
    }
    return bound(Shooting(**(given | more)))


def test_a_linear_quadratic_problem_reaches_the_closed_form_optimum() -> None:
    policy = bound(
        Shooting("(temp - 26)**2 + 2 * heat**2", controls={"heat": {"low": -9, "high": 9}}, samples=200, iterations=10)
    )
    now = situation({"fan": 0.0, "heat": 0.0})
    decision = policy.decide(now)
    # temp [96] = base + response @ heat [4]: least squares of (temp - 26, sqrt(2) * heat in every step)
    room, block = Room(), np.arange(96) // 24
    base, response = np.empty(96), np.empty((96, 4))
    for column in range(5):
        memory = np.array([[20.0 if column == 0 else 0.0], [1.0]])
        for t in range(96):
            heat = 1.0 if column and block[t] == column - 1 else 0.0
            memory, out = room.step(memory, np.array([[heat], [0.0], [20.0 if column == 0 else 0.0]]), 900)
            if column == 0:
                base[t] = out[0, 0]
            else:
                response[t, column - 1] = out[0, 0]
    weight = np.sqrt(2) * (block[:, None] == np.arange(4))
    left, right = np.vstack([response, weight]), np.concatenate([26 - base, np.zeros(96)])
    best = np.linalg.lstsq(left, right, rcond=None)[0]
    optimum = float(((left @ best - right) ** 2).sum() * 0.25)
    assert optimum * 0.999 < decision.expected["objective"] < optimum * 1.01
    assert np.allclose(decision.plan["heat"], best, atol=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_a_sampled_search_is_within_one_percent_of_trying_every_plan(seed: int) -> None:
    now = situation({"fan": 0.0, "heat": 0.0}, temp=27.0, spread=1.0, forecasts=(ahead(26.0, 12.0),))
    settings: dict[str, Any] = {
        "objective": "0.12 * fan_kw + 0.02 * max(temp - 20, 0)",
        "constraints": ["temp < 30"],
        "controls": {"fan": [0, 1, 2]},
        "blocks": "4h",
        "members": 16,
    }
    every = bound(Shooting(**settings, samples=3**6, iterations=1), seed=seed)
    some = bound(Shooting(**settings, samples=60, iterations=8), seed=seed)
    exact, sampled = every.decide(now), some.decide(now)
    assert exact.expected["objective"] <= sampled.expected["objective"] <= 1.01 * exact.expected["objective"]
    assert sampled.expected["P(temp < 30)"] >= 0.95


def test_enumeration_equals_brute_force() -> None:
    now = situation({"fan": 0.0, "heat": 0.0}, temp=28.0)
    decision = fans(blocks="12h", change={"fan": 0.1}).decide(now)
    costs = {}
    for plan in product((0, 1, 2), repeat=2):
        memory, cost, ok = np.array([[28.0], [1.0]]), 0.0, True
        for t in range(96):
            memory, out = Room().step(memory, np.array([[0.0], [plan[t // 48]], [20.0]]), 900)
            cost += 0.25 * (0.12 * out[1, 0] + 0.02 * max(out[0, 0] - 20, 0))
            ok = ok and out[0, 0] < 30
        if ok:
            costs[plan] = cost + 0.1 * (plan[0] + abs(plan[1] - plan[0]))
    best = min(costs, key=lambda p: costs[p])
    assert decision.plan["fan"] == tuple(map(float, best))
    assert decision.expected["objective"] == pytest.approx(costs[best])
    assert decision.expected["objective if held"] == pytest.approx(costs[0, 0])


def hot(**more: Any) -> Situation:
    return situation({"fan": 0.0, "heat": 0.0}, temp=25.0, spread=0.5, forecasts=(ahead(28.0, 8.0),), **more)


def test_the_constraint_is_kept_and_the_reason_says_what_changed() -> None:
    decision = fans(objective="0.12 * fan_kw", blocks="24h").decide(hot())
    assert decision.expected["P(temp < 30)"] >= 0.95
    assert decision.expected["P(temp < 30) if held"] < 0.95
    assert decision.commands[0].signal == "fan"
    assert decision.commands[0].expires == NOW + HOUR
    assert decision.because == ("belief-1", "forecast-1")
    assert not decision.refused
    assert decision.reason.startswith("Set fan to 1 now: temp stays below 30 degC in 100% of futures instead of ")
    assert decision.reason.endswith("%, and this costs 4.32 more over 1d.")


def test_a_decision_is_set_against_doing_nothing_future_by_future() -> None:
    now = hot()
    decision = fans(blocks="24h", change={"fan": 0.5}, members=64, constraints=["temp < 30", "temp > 0"]).decide(now)
    found = decision.expected
    assert decision.plan["fan"] == (1.0,)
    inputs = futures(Room.inputs, NOW + HOUR // 4 * np.arange(1, 97), now.latest, now.forecasts, 64, 7, {"fan": 0.0})
    order = np.random.default_rng(7).permutation(64)
    cost, kept = {}, {}
    for stage in (0.0, 1.0):
        assert now.belief
        memory, cost[stage], kept[stage] = now.belief.members[:, order], np.full(64, 0.5 * stage), np.full(64, True)
        for row in inputs:
            memory, out = Room().step(memory, np.stack([row[0], np.full(64, stage), row[2]]), 900)
            cost[stage] = cost[stage] + 0.25 * (0.12 * out[1] + 0.02 * np.maximum(out[0] - 20, 0))
            kept[stage] &= (out[0] < 30) & (out[0] > 0)
    saving = cost[0.0] - cost[1.0]
    assert found["saving"] == pytest.approx(saving.mean())
    assert found["saving"] == pytest.approx(found["objective if held"] - found["objective"])
    assert found["saving 5%"] == pytest.approx(np.quantile(saving, 0.05))
    assert found["saving 95%"] == pytest.approx(np.quantile(saving, 0.95))
    assert found["P(saves)"] == (saving > 0).mean()
    assert (found["P(all)"], found["P(all) if held"]) == (kept[1.0].mean(), kept[0.0].mean())
    assert found["P(temp > 0)"] == 1.0
    better = (kept[1.0] & ~kept[0.0]) | ((kept[1.0] == kept[0.0]) & (saving > 0))
    assert found["P(better)"] == better.mean() < 1
    assert found["members"] == 64
    assert "tightened by" not in found


def test_to_change_nothing_saves_nothing() -> None:
    decision = fans(objective="0.12 * fan_kw").decide(situation({"fan": 0.0, "heat": 0.0}))
    assert decision.reason == "Keep fan at 0: temp stays below 30 degC in 100% of futures."
    assert [decision.expected[k] for k in ("saving", "saving 5%", "saving 95%", "P(saves)", "P(better)")] == [0.0] * 5


def test_a_reason_says_from_when_and_in_the_words_of_the_signal() -> None:
    policy = fans(objective="fan_kw", blocks=["6h", "18h"])
    fan = replace(SIGNALS.named("fan"), type="state", states=("off", "low", "high"))
    signals = Signals([fan if s.name == "fan" else s for s in SIGNALS])
    later = ahead(20.0)
    values = later.values.copy()
    values[:, 36:] = 33.0  # it gets warm after nine hours
    now = situation({"fan": 1.0, "heat": 0.0}, forecasts=(replace(later, values=values),))
    reason = policy.decide(replace(now, signals=signals)).reason
    assert reason.startswith("Set fan to off now, then to low in 6h: temp stays below 30 degC in 100% of futures")


def test_a_failed_fan_and_a_finding_change_the_decision() -> None:
    policy = fans(objective="0.12 * fan_kw", caution={"sensor drifts": 5.5}, blocks="24h")
    assert policy.decide(hot()).plan["fan"] == (1.0,)
    assert policy.decide(hot(health=0.15)).plan["fan"] == (2.0,)
    finding = Finding("finding-1", "sensor drifts", "temp", NOW, NOW, 0.5, 0.9)
    careful = policy.decide(hot(findings=(finding,)))
    assert careful.plan["fan"] == (2.0,)
    assert "finding-1" in careful.because
    assert "sensor drifts" in careful.reason
    assert "tightened by 5.5" in careful.reason
    assert careful.expected["tightened by"] == 5.5
    closed = policy.decide(hot(findings=(replace(finding, open=False),)))
    assert closed.plan["fan"] == (1.0,)


def test_where_no_plan_is_allowed_the_safest_is_taken_and_said() -> None:
    decision = fans(constraints=["temp < 12"]).decide(hot())
    assert decision.plan["fan"][0] == 2.0
    assert decision.refused == ("no plan keeps temp < 12 in 95% of futures; the safest one is taken",)
    assert ", the safest there is: temp stays below 12 degC in only 0% of futures" in decision.reason


def test_the_ceiling_is_the_largest_safe_factor() -> None:
    policy = fans(ceiling={"signals": ["outdoor"], "limit": "outdoor_limit"}, probability=1.0)
    now = situation({"fan": 0.0, "heat": 0.0}, temp=20.0)
    decision = policy.decide(now)
    # with the fan at 2 all day: temp(24 h) = 20 k + (20 - L) (1 - k) ... < 30 with L = outdoor - 12
    keep = np.exp(-8.0)
    outdoor = (30 - 20 * keep) / (1 - keep) + 12
    assert decision.expected["safe load"] == pytest.approx(outdoor, abs=60 / 125)
    assert decision.expected["safe load"] <= outdoor + 1e-9
    sent = {c.signal: c.value for c in decision.commands}
    assert sent["outdoor_limit"] == pytest.approx(decision.expected["safe load"])


def test_controls_are_derived_from_the_signals() -> None:
    policy = bound(Shooting("temp", samples=8, iterations=2))
    decision = policy.decide(situation({"fan": 0.0, "heat": 1.0}))
    assert set(decision.plan) == {"heat", "fan"}


def test_blocks_may_grow() -> None:
    decision = fans(blocks=["1h", "5h", "9h"]).decide(hot())
    assert len(decision.plan["fan"]) == 4


@pytest.mark.parametrize("missing", [{"belief": None}, {"simulator": None}, {"forecasts": ()}])
def test_nothing_is_commanded_before_there_is_something_to_decide_on(missing: Mapping[str, Any]) -> None:
    decision = fans().decide(situation({"fan": 0.0, "heat": 0.0}, **missing))
    assert decision.commands == ()
    assert decision.reason.startswith("Nothing is changed: there is no ")


def test_an_input_nobody_knows_is_named() -> None:
    decision = fans().decide(situation({"fan": 0.0}))
    assert "the simulator's input 'heat' has no value yet" in decision.reason


def test_conformance() -> None:
    check_policy(fans, hot())


def test_another_seed_draws_other_futures() -> None:
    def costs(seed: int) -> Decision:
        return bound(Shooting("temp", controls={"fan": [0, 1]}), seed=seed).decide(hot())

    assert costs(1) == costs(1)
    assert costs(1).expected != costs(2).expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "1 +"}, "'1 +' is not an expression"),
        ({"constraints": ["temp"]}, "constraint 'temp' is not one comparison"),
        ({"controls": {"fan": 3}}, "controls: 'fan' needs its values"),
        ({"probability": 1.5}, "probability 1.5 must be"),
        ({"blocks": "soon"}, "'soon' is not a duration"),
        ({"members": 0}, "members 0 must be at least 1"),
        ({"objective": "tmp"}, "tmp: the simulator has no 'tmp', did you mean 'temp'?"),
        ({"controls": {"temp": [1]}}, "controls: 'temp' is not a controlled signal"),
        ({"ceiling": {"signals": ["load"]}}, "ceiling: the simulator has no 'load'"),
        ({"ceiling": {"limit": "x"}}, "ceiling is { signals"),
        ({"ceiling": {"limit": "x", "signals": ["a", "b"]}}, "ceiling: a limit is for one signal"),
        ({"objective": "1 +", "step": "soon"}, "2 problems"),
        ({"change": {"fans": 1.0}}, "change: the simulator has no 'fans', did you mean 'fan'?"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        fans(**settings)
    assert message in str(error.value)
