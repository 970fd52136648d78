"""A fork: the twin copied at an instant, tried on, and thrown away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import beside
from gemel import Signal, Twin, load
from gemel.core.codec import decode, encode, jsonable
from gemel.core.errors import Conflict, InputError
from gemel.core.values import LEVELS, Ack, Batch, Belief, Command, Decision, Forecast, Frame
from gemel.desk.fork import Fork
from gemel.simulators.thermal import Thermal
from gemel.stores.memory import Memory

HOUR = beside.HOUR
MINUTE = HOUR // 60


@pytest.fixture(scope="module")
def twin() -> Iterator[Twin]:
    with beside.opened() as held:
        yield held


@pytest.fixture
def then(twin: Twin) -> int:
    """A turn of the fifth day at which nothing was recorded."""
    return beside.START + 4 * 24 * HOUR + 8 * HOUR + 45 * MINUTE


def test_a_fork_of_the_present_is_what_whatif_says(twin: Twin) -> None:
    asis, changed = twin.whatif("6h", fan=2.0)
    found = twin.fork(members=None).set("fan", 2).run("6h").compare()
    np.testing.assert_array_equal(found["asis"].values, asis.values)
    np.testing.assert_array_equal(found["whatif"].values, changed.values)
    assert found["difference"].median("oil")[-1] < -3


def test_the_same_seed_gives_the_same_numbers(twin: Twin) -> None:
    one, other = (twin.fork().set("fan", {"0h": 2, "3h": 0}).run("6h") for _ in range(2))
    np.testing.assert_array_equal(one.outputs, other.outputs)
    assert one.outputs.shape[2] == 200
    few = twin.fork(members=16).set("fan", {"0h": 2, "3h": 0}).run("6h")
    assert few.forecast.median("oil")[-1] == pytest.approx(one.forecast.median("oil")[-1], abs=1)


def test_set_leaves_the_fork_as_it_was(twin: Twin) -> None:
    fork = twin.fork(members=8)
    before = fork.run("2h").outputs.copy()
    warm = fork.set("ambient", 40.0)
    assert warm.origin is fork.origin, "history is shared"
    assert (warm.run("2h").of("oil") > before[:, 0]).all()
    np.testing.assert_array_equal(fork.run("2h").outputs, before)
    warm.discard()
    with pytest.raises(Conflict, match="was discarded"):
        warm.run("2h")
    np.testing.assert_array_equal(fork.run("2h").outputs, before)


def test_a_schedule_holds_from_its_times_on(twin: Twin) -> None:
    fork = twin.fork(members=4)
    run = fork.set("fan", {"2h": 1, "5h": 0}).run("6h")
    fan, asis = run.of("fan"), fork.run("6h").of("fan")
    np.testing.assert_array_equal(fan[:8], asis[:8])
    assert (fan[8:20] == 1).all()
    assert (fan[20:] == 0).all()
    iso = {np.datetime64(fork.time + 2 * HOUR, "ns").astype(str)[:19]: 1.0, str(fork.time + 5 * HOUR): 0.0}
    np.testing.assert_array_equal(fork.set("fan", iso).run("6h").of("fan"), fan)
    stamps = fork.time + HOUR * np.array([2, 5])
    column = Frame(stamps, np.array([[1.0], [0.0]]), np.zeros((2, 1), np.uint8), ("fan",))
    np.testing.assert_array_equal(fork.set("fan", column).run("6h").of("fan"), fan)


def test_a_forecast_of_ones_own_is_drawn_from(twin: Twin) -> None:
    fork = twin.fork(members=None)
    own = next(f for f in fork.origin.forecasts if "load" in f.signals)
    np.testing.assert_array_equal(fork.set("load", own).run("6h").outputs, fork.run("6h").outputs)
    higher = Forecast(own.time, own.levels, own.values + np.float32(5), own.signals, own.issued)
    shifted = fork.set("load", higher).run("6h")
    np.testing.assert_allclose(shifted.of("load"), fork.run("6h").of("load") + 5, atol=1e-4)
    assert (shifted.compare()["difference"].median("oil")[4:] > 0).all()


def test_inputs_not_set_keep_their_uncertainty(twin: Twin) -> None:
    run = twin.fork().run("6h")
    assert run.of("load")[-1].std() > 0
    assert run.of("fan").std() == 0


def test_a_difference_is_taken_in_each_member(twin: Twin) -> None:
    run = twin.fork().set("fan", 2).run("6h")
    paired = run.outputs - run.base.outputs
    found = run.compare()["difference"]
    np.testing.assert_allclose(found.of("oil")[-1], np.quantile(paired[-1, 0], LEVELS), rtol=1e-5)
    apart = run.outputs[-1, 0].std() + run.base.outputs[-1, 0].std()
    assert paired[-1, 0].std() < 0.7 * apart, "what both have in common is not in it"


def test_a_score_is_the_integral_of_an_expression(twin: Twin) -> None:
    run = twin.fork(members=16).set("fan", 2).run("6h")
    found = run.score("2 * fan")
    assert (found["mean"], found["low"], found["high"]) == (24.0, 24.0, 24.0)
    assert found["saving"]["mean"] == pytest.approx(2 * (run.base.inputs[:, 1].sum(axis=0).mean() / 4 - 12))
    own = run.score()
    assert own["objective"] == "0.15 * fan_power + 3 * ageing"
    assert own["low"] < own["mean"] < own["high"]
    for text in ("1 / 0", "9 ** 9 ** 9 ** 9", "min()", "(0 - 1) ** 0.5", "0 < oil < 1"):
        with pytest.raises(InputError, match="cannot be worked out"):
            run.score(text)
    with pytest.raises(InputError, match="unknown name 'oli', did you mean 'oil'"):
        run.score("oli")


def test_many_at_once_are_each_as_by_itself(twin: Twin) -> None:
    fork = twin.fork(members=32)
    variants: list[dict[str, Any]] = [{}, {"fan": 2}, {"fan": {"1h": 1}, "ambient": 30.0}]
    for variant, run in zip(variants, fork.runs(variants, "6h"), strict=True):
        alone = fork
        for name, value in variant.items():
            alone = alone.set(name, value)
        np.testing.assert_allclose(run.outputs, alone.run("6h").outputs, rtol=1e-12)
    assert fork.runs([], "6h") == []


def test_two_hundred_forks_of_a_day_take_less_than_a_second(twin: Twin) -> None:
    fork = twin.fork(members=8)
    plans = [{"fan": {"0h": i % 3, f"{1 + i % 20}h": 2}} for i in range(200)]
    began = time.process_time()
    runs = fork.runs(plans, "24h", "5min")
    assert time.process_time() - began < 1
    assert len({float(r.outputs[-1, 0, 0]) for r in runs}) > 10


@pytest.mark.slow
def test_a_past_fork_equals_a_fresh_replay_to_that_instant(
    twin: Twin, then: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "DAYS", (then - beside.START) / (24 * HOUR))
    file = tmp_path / "transformer.toml"
    file.write_text(beside.watched().read_text("utf-8"), encoding="utf-8")
    with load(file) as fresh:
        assert fresh.policy
        assert twin.policy
        fresh.policy.every = twin.policy.every = 6 * HOUR
        fresh.connectors = {"plant": beside.Beside(fresh.signals)}
        fresh.run()
        fresh.open()
        present, past = fresh.fork(), twin.fork(at=then)
        assert present.time == past.time == then
        assert not twin.journal("belief", start=then, end=then), "nothing was recorded at that turn"
        np.testing.assert_array_equal(past.origin.belief.members, present.origin.belief.members)
        assert dict(past.origin.latest) == pytest.approx(dict(present.origin.latest), nan_ok=True)
        one, other = (f.set("fan", 2).run("12h") for f in (past, present))
        np.testing.assert_array_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(one.outputs, other.outputs)


def test_nothing_of_a_fork_is_in_the_twin(twin: Twin, then: int) -> None:
    def everything() -> Any:
        loop = twin.desk._thinking()
        kinds = ("belief", "forecast", "finding", "decision", "ack", "event")
        held = [twin.journal(kind, last=None) for kind in kinds]
        return encode([twin.store.counts(), held, vars(loop.state), loop.stages.snapshot()])

    before = everything()
    twin.fork().set("fan", 2).run("6h").compare()
    twin.fork(at=then).set("fan", 2).run("6h", truth=True).score()
    assert everything() == before


def test_what_if_the_fan_had_been_on(twin: Twin, then: int) -> None:
    fork = twin.fork(at=then)
    real = fork.run("6h", truth=True)
    heard = twin.history(["load", "oil", "fan"], start=then + 1, end=then + 6 * HOUR, every="15min", native=False)
    np.testing.assert_allclose(real.of("load")[:, 0], heard.column("load"))
    assert np.ptp(real.of("load"), axis=1).max() == 0, "what really came is the same in every member"
    assert np.abs(real.forecast.median("oil") - heard.column("oil")).mean() < 1.5
    run = fork.set("fan", 2).run("6h", truth=True)
    np.testing.assert_allclose(run.of("load"), real.of("load"))
    assert (run.compare()["difference"].quantile("oil", 0.95)[2:] < 0).all()
    newest = twin.desk.newest()
    with pytest.raises(Conflict, match="'load' was not measured over the 6h after"):
        twin.fork(at=newest - HOUR).run("6h", truth=True)


def test_errors_name_the_thing(twin: Twin, then: int) -> None:
    fork = twin.fork(members=4)
    with pytest.raises(InputError, match="'fna' is not an input of the simulator, did you mean 'fan'"):
        fork.set("fna", 1)
    with pytest.raises(InputError, match="'fan' is set to what is not a number"):
        fork.set("fan", float("nan"))
    for key, text in (("soon", "not a time"), ("3y", "not a duration"), ("9999-01-01", "out of range")):
        with pytest.raises(InputError, match=text):
            fork.set("fan", {key: 1.0})
    with pytest.raises(InputError, match="no forecast of 'fan'"):
        fork.set("fan", next(f for f in fork.origin.forecasts if "fan" not in f.signals))
    with pytest.raises(InputError, match="had no belief yet"):
        twin.fork(at="2025-01-01")
    with pytest.raises(InputError, match="has not come yet"):
        twin.fork(at="2030-01-01")
    with pytest.raises(InputError, match="members 0 must be from 1"):
        twin.fork(members=0)
    with pytest.raises(InputError, match="steps ahead are too many"):
        fork.run("900d", "1s")
    with pytest.raises(InputError, match="numbers are too many"):
        twin.fork(members=10_000).run("30d")
    early = twin.journal("belief", last=None)[0].time
    with pytest.raises(Conflict, match="no forecast of 'load' was in force"):
        _without_forecasts(twin, early).run("6h")
    with pytest.raises(InputError, match="has no 'oli', did you mean 'oil'"):
        fork.run("1h").of("oli")


def _without_forecasts(twin: Twin, at: int) -> Fork:
    return Fork(replace(twin.fork(at=at).origin, forecasts=()))


def test_a_twin_without_the_parts_says_so() -> None:
    with Twin(name="bare", signals=[Signal("oil")], store=Memory()).open() as bare, pytest.raises(Conflict) as said:
        bare.fork()
    assert said.value.message == "twin 'bare' has no simulator"


def test_an_actuator_that_nobody_measures_stands_where_it_was_sent() -> None:
    start = beside.START
    signals = [Signal("load"), Signal("oil"), Signal("fan", role="controlled", low=0, high=2, safe=2)]
    simulator = Thermal(fan="fan", ambient="load")
    with Twin(name="deaf", signals=signals, store=Memory(), simulator=simulator).open() as twin:
        twin.store.append(Batch.of(np.zeros(60), start + np.arange(60) * MINUTE, np.full(60, 0.5)))
        belief = simulator.init(None, 0, 8).states
        twin.store.record(Belief(simulator.states, belief, start, id="b"))
        sent = Decision("d", start + 20 * MINUTE, (Command("c", "fan", 1.0, start + HOUR),), status="sent")
        twin.store.record(sent, Ack("c", "done", start + 21 * MINUTE))
        stood = [twin.fork(at=start + m * MINUTE).origin.latest["fan"] for m in (10, 40)]
        assert stood == [2.0, 1.0]
        assert twin.fork(at=start + 40 * MINUTE).run("1h").of("fan").max() == 1.0


def test_the_answer_survives_the_socket(twin: Twin, then: int) -> None:
    answer = twin.desk.fork(at=then, members=8, set={"fan": {"1h": 2}}, horizon="2h", truth=True)
    assert jsonable(decode(encode(answer))) == jsonable(answer)
    origin = twin.desk.origin(then)
    assert jsonable(decode(encode(origin))) == jsonable(origin)
