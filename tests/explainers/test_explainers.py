"""Explainers: shares against closed forms, changes that are verified, rules that recover a planted one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.core.errors import ConfigError
from gemel.core.explain import Explainer, Past, Question, Sentence, background, listed
from gemel.core.registry import build, rows
from gemel.core.values import Belief, Finding, Floats, Signal
from gemel.explainers.counterfactual import Counterfactual
from gemel.explainers.game import Game, Order, pairs
from gemel.explainers.rules import features, grow
from gemel.testing import check_explainer

MINUTE = 60 * 10**9
FINDING = Finding("f-1", "unusual pump", "pump", 20 * MINUTE, 23 * MINUTE, 0.5, 0.9, "unusual")
NAMES = ("flow", "power", "hum")
ONE = np.zeros(1, np.int64)


def question(score: Callable[[Floats], Floats], values: Floats, normal: Floats, **more: Any) -> Question:
    time = np.arange(1, len(values) + 1) * MINUTE
    names = NAMES if values.shape[1] == 3 else tuple(f"s{i}" for i in range(values.shape[1]))
    return Question(FINDING, time, values, names, normal, score, **more)


def pump(seed: int = 0) -> Question:
    """Hum is five too high from the middle on, and a detector that sees how far the worst row is out."""
    rng = np.random.default_rng(seed)
    normal = background(rng.standard_normal((400, 3)), 24, 40)
    values = rng.standard_normal((24, 3))
    values[12:, 2] += 5.0

    def score(windows: Floats) -> Floats:
        mean = np.lib.stride_tricks.sliding_window_view(windows, 4, axis=1).mean(axis=3)
        return np.asarray((mean**2).sum(axis=2).max(axis=1))

    return question(score, values, normal, limit=6.0, units={"hum": "mm/s"})


# -- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["attribution", "surrogate", "counterfactual", "rules"])
def test_every_explainer_keeps_its_contract_and_blames_the_hum(kind: str) -> None:
    def make() -> Explainer:
        made: Explainer = build("explainers", {"kind": kind})
        return made

    answer = check_explainer(make, pump())
    blamed = {*list(answer.shares)[:1], *(c.signal for c in answer.changes), *(r.signal for r in answer.rules)}
    assert blamed == {"hum"}
    assert "hum" in answer.say("en")
    assert "hum" in answer.say("zh")


def test_every_row_is_tested_here() -> None:
    assert {k for k, row in rows("explainers").items() if row.startswith("gemel.")} == {
        "attribution",
        "counterfactual",
        "rules",
        "surrogate",
    }


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("attribution", {"segments": 0}),
        ("surrogate", {"draws": 3}),
        ("counterfactual", {"probability": 1.5}),
        ("rules", {"precision": 0.0}),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(kind: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        build("explainers", {"kind": kind, **wrong})
    assert kind in str(caught.value)


@pytest.mark.parametrize("kind", ["attribution", "surrogate", "counterfactual", "rules"])
def test_missing_values_and_constant_scores_are_answered_in_words(kind: str) -> None:
    asked = pump()
    values = asked.values.copy()
    values[::3, 0] = np.nan
    values[:, 1] = np.nan

    def score(windows: Floats) -> Floats:
        return asked.score(np.nan_to_num(windows))

    part: Explainer = build("explainers", {"kind": kind})
    assert "hum" in part.explain(replace(asked, values=values, score=score)).say()
    for flat in (0.0, float("nan")):
        constant = replace(asked, score=lambda w, flat=flat: np.full(len(w), flat))
        assert part.explain(constant).say()


def test_a_sentence_is_said_in_two_languages() -> None:
    one = Sentence("{a} is {b}", "{a}为{b}", {"a": "flow", "b": 3.14159})
    assert (one.say(), one.say("zh")) == ("flow is 3.14", "flow为3.14")
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b", "c"], "zh") == "a、b和c"
    assert listed([]) == ""


# -- attribution ------------------------------------------------------------------------------------------------------


def shares(score: Callable[[Floats], Floats], x: Floats, normal: Floats) -> Floats:
    return Game(lambda w: score(w[:, 0]), x[None], normal[:, None], ONE).exact().values[0]


def test_the_shares_of_a_linear_score_are_weight_times_deviation() -> None:
    rng = np.random.default_rng(1)
    w, x, normal = rng.normal(size=6), rng.normal(size=6), rng.normal(size=(20, 6))
    closed = w * (x - normal.mean(axis=0))
    np.testing.assert_allclose(shares(lambda v: v @ w, x, normal), closed, atol=1e-12)
    game = Game(lambda v: v[:, 0] @ w, x[None], normal[:, None], ONE)
    sampled = game.sampled(lambda _: 0.0, 10**6, np.random.default_rng(0))
    np.testing.assert_allclose(sampled.values[0], closed, atol=1e-3)


def test_segments_of_time_share_what_their_rows_add() -> None:
    rng = np.random.default_rng(2)
    w, values, normal = rng.normal(size=(6, 2)), rng.normal(size=(6, 2)), rng.normal(size=(9, 6, 2))
    segment: Order = np.array([0, 0, 1, 1, 2, 2])
    closed = (w * (values - normal.mean(axis=0))).reshape(3, 2, 2).sum(axis=1)
    game = Game(lambda v: (v * w).sum(axis=(1, 2)), values, normal, segment)
    np.testing.assert_allclose(game.exact().values, closed, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_shares_are_efficient_symmetric_and_nothing_for_a_dummy(seed: int, p: int) -> None:
    rng = np.random.default_rng(seed)
    a, x, normal = rng.normal(size=(p, p)), rng.normal(size=p + 2), rng.normal(size=(4, p + 2))
    x[p], normal[:, p] = x[0], normal[:, 0]  # a twin of the first; the last is never looked at

    def score(v: Floats) -> Floats:
        inside = v[:, :p].copy()
        inside[:, 0] += v[:, p]
        return np.asarray(np.maximum(inside @ a, 0.0).max(axis=1) + np.tanh(inside).prod(axis=1))

    found = shares(score, x, normal)
    assert found.sum() == pytest.approx(float(score(x[None])[0] - score(normal).mean()), abs=1e-9)
    assert found[p + 1] == pytest.approx(0.0, abs=1e-12)
    assert found[0] == pytest.approx(found[p], abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(-3, 3))
def test_shares_add_up_when_scores_do(seed: int, u: float, v: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 4, 3))
    x, normal = rng.normal(size=4), rng.normal(size=(5, 4))

    def one(z: Floats) -> Floats:
        return np.asarray((z @ a).max(axis=1))

    def other(z: Floats) -> Floats:
        return np.asarray(np.abs(z @ b).sum(axis=1))

    both = shares(lambda z: u * one(z) + v * other(z), x, normal)
    np.testing.assert_allclose(both, u * shares(one, x, normal) + v * shares(other, x, normal), atol=1e-9)


def test_an_and_and_an_or_are_shared_alike() -> None:
    x, normal = np.ones(4), np.zeros((1, 4))
    for score in (lambda z: z[:, :2].min(axis=1), lambda z: z[:, :2].max(axis=1)):
        np.testing.assert_allclose(shares(score, x, normal), [0.5, 0.5, 0.0, 0.0], atol=1e-12)


@pytest.mark.parametrize(("p", "seed"), [(10, 0), (12, 1), (12, 2)])
def test_sampled_shares_are_as_near_as_their_errors_say(p: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(p, 16)) / np.sqrt(p), rng.normal(size=16)
    x, normal = 2 * rng.normal(size=p), rng.normal(size=(16, p))

    def score(w: Floats) -> Floats:
        return np.asarray(np.tanh(1.5 * w[:, 0] @ a) @ b)

    true = shares(lambda w: score(w[:, None]), x, normal)
    game = Game(score, x[None], normal[:, None], ONE)
    found = game.sampled(lambda _: 9.9, 3000, np.random.default_rng(0))
    assert found.evaluations < 2**p * 16 / 2
    assert found.values.sum() == pytest.approx(found.score - found.baseline, abs=1e-9)
    error = np.sqrt(((found.values[0] - true) ** 2).mean())
    said = np.sqrt((found.errors**2).mean())
    assert 0.3 * said < error < 2.5 * said
    assert error < 0.05 * np.abs(true).max()


def test_the_shares_of_signals_and_of_their_segments_agree_and_say_when() -> None:
    asked = pump()
    answer = build("explainers", {"kind": "attribution", "segments": 4}).explain(asked)
    assert next(iter(answer.shares)) == "hum"
    assert answer.shares["hum"] > 0.7 * (answer.score - answer.baseline)
    assert sum(answer.shares.values()) == pytest.approx(answer.score - answer.baseline)
    assert answer.segments[0, 2:].sum() > 0.8 * answer.segments[0].sum(), "the second half is when"
    assert answer.errors["hum"] <= 0.02 * (answer.score - answer.baseline)


def test_a_plant_of_many_signals_is_explained_too() -> None:
    rng = np.random.default_rng(8)
    w, values, normal = rng.normal(size=70), rng.normal(size=(6, 70)), rng.normal(size=(8, 6, 70))
    asked = question(lambda v: v.mean(axis=1) @ w, values, normal)
    answer = build("explainers", {"kind": "attribution", "evaluations": 4000}).explain(asked)
    closed = w * (values.mean(axis=0) - normal.mean(axis=(0, 1)))
    assert next(iter(answer.shares)) == f"s{closed.argmax()}"
    assert answer.segments.shape == (70, 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(2, 300), st.integers(0, 99))
def test_no_two_coalitions_are_the_same_or_complements(p: int, most: int, seed: int) -> None:
    kept = pairs(p, most, np.random.default_rng(seed))
    codes = {tuple(min(row.tolist(), (~row).tolist())) for row in kept}
    assert len(codes) == len(kept) <= most
    assert kept[0].all()


# -- rules ------------------------------------------------------------------------------------------------------------


def test_a_planted_rule_is_recovered() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 1, (3000, 8))
    strange = (x[:, 1] > 0.6) & (x[:, 4] < 0.3)
    case = np.full(8, 0.5)
    case[[1, 4]] = 0.9, 0.1
    grown = grow(x, strange, case, 3, 0.95)
    assert sorted(grown.columns) == [1, 4]
    found = dict(zip(grown.columns, zip(grown.above, grown.limits, strict=True), strict=True))
    assert found[1][0]
    assert not found[4][0]
    assert found[1][1] == pytest.approx(0.6, abs=0.05)
    assert found[4][1] == pytest.approx(0.3, abs=0.05)
    assert grown.precision > 0.93
    assert grown.coverage > 0.85


def test_a_rule_of_a_detector_is_said_with_its_unit() -> None:
    rng = np.random.default_rng(4)
    normal, values = 10 + rng.standard_normal((40, 12, 3)), 10 + rng.standard_normal((12, 3))
    values[:, 0] += 8

    def score(windows: Floats) -> Floats:
        return np.asarray((windows[..., 0].mean(axis=1) > 14).astype(float))

    asked = question(score, values, normal, limit=0.5, units={"flow": "l/min"})
    answer = build("explainers", {"kind": "rules"}).explain(asked)
    rule = answer.rules[0]
    assert (len(answer.rules), rule.signal, rule.feature, rule.above) == (1, "flow", "mean", True)
    assert rule.limit == pytest.approx(14, abs=0.5)
    assert answer.fit > 0.95
    assert answer.coverage > 0.95
    assert "l/min" in answer.say()


def test_features_of_a_window() -> None:
    window = np.array([[[1.0, np.nan], [2.0, np.nan], [3.0, np.nan], [6.0, np.nan]]])
    np.testing.assert_allclose(features(window)[0, 0], [3.0, 1.0, 6.0, np.std([1, 2, 3, 6]), 5.0])
    assert not features(window)[0, 1].any()


# -- surrogate --------------------------------------------------------------------------------------------------------


def test_the_stand_in_of_a_linear_score_is_the_score() -> None:
    rng = np.random.default_rng(5)
    w, normal, values = np.array([2.0, -1.0, 0.0]), rng.standard_normal((30, 8, 3)), rng.standard_normal((8, 3)) + 3
    asked = question(lambda v: v.mean(axis=1) @ w, values, np.repeat(normal[:1], 30, axis=0))
    answer = build("explainers", {"kind": "surrogate"}).explain(asked)
    closed = w * (values - normal[0]).mean(axis=0)
    np.testing.assert_allclose([answer.shares[n] for n in NAMES], closed, atol=1e-3)
    assert answer.fit == pytest.approx(1.0, abs=1e-4)


# -- counterfactual ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    level: Floats
    leak: Floats
    rng: np.random.Generator


class Tank:
    """A level that rises by what flows in and falls by a leak; a heater that matters to nothing."""

    inputs = ("inflow", "heater")
    outputs = ("level",)
    states = ("level", "leak")

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Memory:
        assert belief is not None
        return Memory(belief.members[0], belief.members[1], np.random.default_rng(seed))

    def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        noise = 0.002 * memory.rng.standard_normal(memory.level.shape)
        level = memory.level + dt / 60 * (inputs[0] - memory.leak * memory.level) + noise
        return replace(memory, level=level), level[None]

    def select(self, memory: Memory, index: Any) -> Memory:
        return Memory(memory.level[index], memory.leak[index], np.random.default_rng(1))


CONTROLS = (
    Signal("inflow", role="controlled", low=0, high=1, slew=0.001),
    Signal("heater", role="controlled", low=0, high=1),
)


def overflow(controls: tuple[Signal, ...] = CONTROLS, **more: Any) -> Question:
    """A tank that was fed too much: its level passes 3."""
    rng = np.random.default_rng(6)
    members = np.stack([1.0 + 0.01 * rng.standard_normal(24), 0.1 + 0.003 * rng.standard_normal(24)])
    belief = Belief(Tank.states, members, 0)
    inputs = np.column_stack([np.full(30, 0.4), np.full(30, 0.5)])
    level, levels = 1.0, []
    for row in inputs:
        level += row[0] - 0.1 * level
        levels.append(level)
    values = np.column_stack([levels, inputs[:, 0]])
    normal = np.stack([np.column_stack([np.full(30, level), np.full(30, 0.2)]) for level in (1.0, 1.5, 2.0)])
    past = Past(Tank(), belief, inputs, controls, **more)
    asked = question(lambda w: w[..., 0].max(axis=1), values, normal, limit=3.0, past=past)
    return replace(asked, signals=("level", "inflow"))


def test_a_change_of_the_inputs_is_small_feasible_and_verified() -> None:
    asked = overflow()
    answer = check_explainer(Counterfactual, asked)
    assert answer.verified
    assert [c.signal for c in answer.changes] == ["inflow"], "the heater has nothing to do with it"
    path = answer.paths["inflow"]
    assert path.min() >= 0
    assert path.max() <= 1
    assert np.abs(np.diff(path)).max() <= 0.001 * 60 + 1e-12
    level, top = 1.0, 0.0  # the true tank, fed like that
    for inflow in path:
        level += inflow - 0.1 * level
        top = max(top, level)
    assert top <= 3.02
    assert answer.fit >= 0.9
    assert top > 2.8, "no more was changed than was needed"
    least = np.linspace(
        0.0, 0.4, 4001
    )  # the smallest constant cut, in closed form: level(30) = 10 u + (1 - 10 u) .9^30
    end = 10 * least + (1 - 10 * least) * 0.9**30
    constant = 0.4 - least[end <= 3.0].max()
    assert np.abs(path - 0.4).mean() < 1.3 * constant


def test_what_cannot_be_helped_is_said_to_be_so() -> None:
    answer = Counterfactual().explain(overflow(CONTROLS[1:]))
    assert not answer.changes
    assert not answer.verified
    assert "no change" in answer.say()
    narrow = (Signal("inflow", role="controlled", low=0.39, high=0.41),)
    assert not Counterfactual().explain(overflow(narrow)).changes


def test_healthy_can_be_a_measure_of_its_own() -> None:
    answer = Counterfactual().explain(overflow(healthy=lambda named: 3.2 - named["level"].max(axis=0)))
    assert answer.verified
    assert Counterfactual().explain(overflow()).paths["inflow"].mean() < answer.paths["inflow"].mean() < 0.4


def test_a_simulator_that_does_not_fit_is_said_to_be_so() -> None:
    other = (Signal("steam", role="controlled", low=0, high=1),)
    assert "steam" in Counterfactual().explain(overflow(other)).say()


def test_a_switch_stays_a_switch() -> None:
    switch = (Signal("inflow", role="controlled", type="state", states=("off", "on")),)
    asked = overflow(switch)
    assert asked.past is not None
    inputs = np.column_stack([np.ones(30), np.zeros(30)])
    answer = Counterfactual().explain(replace(asked, past=replace(asked.past, inputs=inputs)))
    assert set(np.unique(answer.paths["inflow"])) <= {0.0, 1.0}


def test_without_a_simulator_it_says_what_the_alarm_hangs_on() -> None:
    asked = pump()
    answer = Counterfactual().explain(asked)
    assert [c.signal for c in answer.changes] == ["hum"]
    window = asked.values.copy()
    window[:, 2] = answer.paths["hum"]
    assert asked.score(window[None])[0] <= asked.limit
    assert answer.changes[0].needed < answer.changes[0].actual
    assert "mm/s" in answer.say()
    calm = Counterfactual().explain(replace(asked, limit=1e9))
    assert not calm.changes
