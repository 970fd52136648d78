from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bench.plants.rooms import DAY, HOUR, Building, Memory, bound, champions, telemetry

from gemel.core.codec import decode, encode
from gemel.core.errors import ConfigError, PartError
from gemel.core.values import BAD, Belief, Floats, Frame
from gemel.estimators.compete import Compete
from gemel.estimators.enkf import Enkf
from gemel.estimators.score import drive, log_score
from gemel.simulators.candidates import Candidates
from gemel.testing.estimator import check_estimator
from gemel.testing.simulator import check_simulator

NOISE = {"T_room": 0.1}


def pair(**named: Building) -> Candidates:
    return Candidates(named)


def compete(simulator: Candidates, **keys: Any) -> Compete:
    made: Compete = bound(Compete(Enkf(NOISE, members=32), **keys), simulator)
    return made


def course(part: Compete, frame: Frame, belief: Belief | None = None, rows: int = 6) -> list[Belief]:
    """The beliefs after each `rows` rows."""
    found = []
    for i in range(0, len(frame), rows):
        belief = part.update(belief, frame.rows(i, min(i + rows, len(frame))))
        found.append(belief)
    return found


def windowed() -> Candidates:
    return pair(two=Building(2), window=Building(2, window=True))


def test_contracts() -> None:
    frame = telemetry(1, 0)
    check_simulator(windowed, frame.values[:, :3], 3600.0)
    check_estimator(lambda: compete(windowed(), lead="3h"), frame)


def test_two_nodes_are_chosen_of_one_two_and_three_and_stay() -> None:
    simulator = pair(one=Building(1), two=Building(2), three=Building(3))
    found = champions(simulator, course(compete(simulator), telemetry(8, 1)))
    assert [name for _, name in found] == ["one", "two"]
    assert found[1][0] <= 2.0


def test_a_change_of_the_plant_is_followed_within_two_days() -> None:
    simulator, frame = windowed(), telemetry(18, 1, lambda day: 0.03 * (6 <= day < 13))
    beliefs = course(compete(simulator), frame)
    (_, first), (opened, second) = champions(simulator, beliefs)
    assert (first, second) == ("two", "window")
    assert 6.0 < opened <= 8.0
    scores: dict[str, list[float]] = {"two": [], "window": [], "champion": []}
    for k, belief in enumerate(beliefs[:-1], start=1):  # what each foretells of the next six hours
        rows = frame.rows(6 * k, 6 * k + 6)
        asked: list[tuple[str, Any, Belief]] = [
            (n, one, simulator.part(belief, n)) for n, one in simulator.candidates.items()
        ]
        for name, one, part in [*asked, ("champion", simulator, belief)]:
            outputs = drive(one, part, rows, HOUR, 1)[1]
            scores[name].append(float(np.mean(log_score(one, outputs, rows, NOISE))))
    mean = {name: float(np.mean(values)) for name, values in scores.items()}
    assert mean["champion"] > mean["two"] + 0.5  # of the structure it began with
    assert mean["champion"] > max(mean["two"], mean["window"]) - 0.2  # best in hindsight; the change itself costs


@pytest.mark.slow
def test_equal_candidates_do_not_take_turns() -> None:
    simulator = pair(one=Building(2), other=Building(2, noise=0.031))
    found = champions(simulator, course(compete(simulator), telemetry(60, 2)))
    assert len(found) == 1


def test_two_that_are_both_wrong_do_not_either() -> None:
    simulator = pair(one=Building(1), windy=Building(1, window=True))  # differ by nats to and fro, of a score of -30
    assert len(champions(simulator, course(compete(simulator), telemetry(20, 2)))) <= 2


def test_nothing_measured_proves_nothing() -> None:
    simulator, frame = windowed(), telemetry(12, 1, lambda day: 0.03 * (day >= 5))
    quality = frame.quality.copy()
    quality[5 * 24 :, frame.signals.index("T_room")] = BAD  # the change itself is not seen
    blind = course(compete(simulator), Frame(frame.time, frame.values, quality, frame.signals))
    assert [name for _, name in champions(simulator, blind)] == ["two"]
    before, after = (simulator.ledger(b) for b in (blind[5 * 4], blind[-1]))
    assert before == after


def test_a_restart_and_other_batches_give_the_same() -> None:
    frame = telemetry(4, 3, lambda day: 0.03 * (day >= 1))
    whole = course(compete(windowed()), frame, rows=5)[-1]
    first = compete(windowed())
    belief = course(first, frame.rows(0, 39), rows=3)[-1]
    second = compete(windowed())
    second.restore(decode(encode(first.snapshot())))
    last = course(second, frame.rows(39, len(frame)), decode(encode(belief)), rows=1)[-1]
    np.testing.assert_array_equal(last.members, whole.members)
    assert last.innovation == whole.innovation


def test_a_copy_that_is_asked_about_the_past_has_the_champion_of_then() -> None:
    simulator, frame = windowed(), telemetry(12, 1, lambda day: 0.03 * (day >= 9))
    part = compete(simulator)
    beliefs = course(part, frame)
    assert champions(simulator, beliefs[-1:])[0][1] == "window"
    held, memory = beliefs[4 * 8], part.snapshot()
    copy = deepcopy(part, {id(simulator): simulator})
    then = copy.update(held, frame.rows(33 * 6, 35 * 6))
    assert champions(simulator, [then])[0][1] == "two"
    np.testing.assert_allclose(then.members, beliefs[4 * 8 + 2].members, rtol=1e-9)
    assert encode(part.snapshot()) == encode(memory)  # the running one has not noticed
    fresh = simulator.init(held, 1)
    assert fresh.champion == "two"
    assert simulator.extract(fresh).shape == held.members.shape


class Fragile(Building):
    """Cannot be run between two times."""

    broken = (0, 0)

    def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        if self.broken[0] <= memory.time < self.broken[1]:
            raise PartError("the step is unstable", "shorten it")
        return super().step(memory, inputs, dt)


def test_a_champion_that_cannot_be_run_is_replaced_at_once_and_may_come_back() -> None:
    frame = telemetry(5, 1)
    fragile = Fragile(2)
    fragile.broken = (int(frame.time[0]) + 2 * DAY, int(frame.time[0]) + 3 * DAY)
    simulator = pair(two=fragile, one=Building(1))
    beliefs = course(compete(simulator), frame, rows=1)
    assert all(np.isfinite(b.members).all() for b in beliefs)
    ((_, first), (gone, second), (_, third)) = champions(simulator, beliefs)
    assert (first, second, third) == ("two", "one", "two")
    assert gone == pytest.approx(2.0 + 2.0 / 24.0)  # the first row it could not do
    out = [simulator.ledger(b)["two"]["out"] for b in beliefs]
    assert out[2 * 24 + 1] == 1.0
    assert out[3 * 24 + 12] == 0.0  # it ran through a whole stretch
    fragile.broken = (0, 2**62)
    with pytest.raises(PartError, match=r"'two'|two: |unstable"):
        compete(pair(two=fragile, other=fragile)).update(None, frame.rows(0, 3))


def test_a_champion_without_its_input_gives_way_and_keeps_what_it_learned() -> None:
    frame = telemetry(10, 1, lambda day: 0.03)
    values = frame.values.copy()
    values[6 * 24 : 7 * 24, frame.signals.index("wind")] = np.nan  # the wind is not heard for a day
    simulator = pair(window=Building(2, window=True), two=Building(2))
    beliefs = course(compete(simulator), Frame(frame.time, values, frame.quality, frame.signals))
    ((_, first), (blind, second), (again, third)) = champions(simulator, beliefs)
    assert (first, second, third) == ("window", "two", "window")
    assert blind == 6.25
    assert 7.0 < again < 10.0
    assert simulator.ledger(beliefs[4 * 6 + 2])["window"]["out"] == 2.0
    assert simulator.ledger(beliefs[-1])["window"]["out"] == 0.0


def test_a_row_that_all_refuse_is_left_behind() -> None:
    class Refusing(Building):
        def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
            if (inputs > 1e6).any():
                raise PartError("the heat is absurd")
            return super().step(memory, inputs, dt)

    simulator, frame = pair(one=Refusing(1), two=Refusing(2)), telemetry(1, 0)
    values = frame.values.copy()
    values[12, list(frame.signals).index("heat")] = 1e9
    spiked = Frame(frame.time, values, frame.quality, frame.signals)
    part = compete(simulator)
    before = part.update(None, spiked.rows(0, 12))
    with pytest.raises(PartError, match="no candidate can be run any more"):
        part.update(before, spiked.rows(12, 13))
    after = part.update(before, spiked.rows(12, 14))
    assert after.time == frame.time[13]
    assert np.isfinite(after.members).all()
    assert not any(rows["out"] for rows in simulator.ledger(after).values())


def test_slow_measurements_count_too() -> None:
    simulator, frame = windowed(), telemetry(11, 1, lambda day: 0.03 * (day >= 6))
    values = frame.values.copy()
    slow = np.arange(len(values)) % 2 == 0  # every other hour
    values[slow, frame.signals.index("T_room")] = np.nan
    beliefs = course(compete(simulator), Frame(frame.time, values, frame.quality, frame.signals))
    assert [name for _, name in champions(simulator, beliefs)] == ["two", "window"]


def test_candidates_may_come_and_go() -> None:
    frame = telemetry(4, 1)
    belief = course(compete(windowed()), frame.rows(0, 48))[-1]
    more = pair(one=Building(1), two=Building(2), window=Building(2, window=True))
    filled = more.filled(belief, 1)
    np.testing.assert_array_equal(filled.row("two.capacity"), belief.row("two.capacity"))
    assert champions(more, [filled])[0][1] == "two"  # still, though it is no longer the first
    later = course(compete(more), frame.rows(48, 96), belief)[-1]
    assert later.names == more.states
    fewer = pair(window=Building(2, window=True), three=Building(3))
    assert champions(fewer, [fewer.filled(belief, 1)])[0][1] == "window"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"estimator": {"kind": "enfk", "noise": NOISE}}, "compete.estimator: unknown kind 'enfk'"),
        ({"estimator": {"kind": "enkf", "noise": NOISE}, "lead": "soon"}, "compete: lead"),
        ({"estimator": {"kind": "enkf", "noise": NOISE}, "margin": 0}, "margin must be above 0"),
    ],
)
def test_what_is_wrong_is_said(keys: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Compete(**keys)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ConfigError, match="only one simulator"):
        bound(Compete(Enkf(NOISE)), Building(2))
    with pytest.raises(ConfigError, match="'T_rom'"):
        bound(Compete(Enkf({"T_rom": 0.1})), windowed())
    with pytest.raises(ConfigError, match="two or more"):
        pair(one=Building(1))
    other: Any = replace  # no simulator at all
    with pytest.raises(ConfigError, match=r"candidates\.other: a simulator is needed"):
        Candidates({"one": Building(1), "other": other})
