"""The loop with real parts: turns where the plant would take them, restarts, parts that fail."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from gemel import Signal, Stage, Twin
from gemel.connectors.replay import Replay
from gemel.core.clock import Data, Virtual
from gemel.core.errors import ConfigError
from gemel.core.units import duration
from gemel.core.values import Ack, Batch, Command, Decision
from gemel.forecasters.naive import Naive
from gemel.forecasters.seasonal_naive import SeasonalNaive
from gemel.loop.decide import Situation
from gemel.stores.duckdb import Duckdb
from gemel.stores.memory import Memory
from gemel.transforms.hampel import Hampel
from gemel.transforms.limits import Limits

HOUR = 3600 * 10**9


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Ten days of two signals at 15 minutes, with one outlier."""
    t = np.datetime64("2024-01-01T00:00") + np.arange(960) * np.timedelta64(15, "m")
    rng = np.random.default_rng(1)
    oil = 40 + 5 * np.sin(np.arange(960) / 96 * 2 * np.pi) + rng.normal(0, 0.2, 960)
    oil[500] = 95.0
    load = 20 + rng.normal(0, 1, 960)
    path = tmp_path / "rows.csv"
    lines = [f"{a},{b:.3f},{c:.3f}" for a, b, c in zip(t, oil, load, strict=True)]
    path.write_text("date,oil,load\n" + "\n".join(lines) + "\n")
    return path


class Raises:
    """A policy with a bug."""

    def decide(self, situation: Situation) -> Decision:
        raise ZeroDivisionError("no load at all")


class Bold:
    """A policy that asks for more than is allowed."""

    def decide(self, situation: Situation) -> Decision:
        return Decision("", situation.now, (Command("c", "fan", 9.0, situation.now + HOUR),), reason="more wind")


class Hangs:
    """A forecaster that never answers."""

    def forecast(self, context: object, horizon: int, **_: object) -> object:
        time.sleep(3600)
        return None


def twin(path: Path, **more: object) -> Twin:
    given: dict[str, object] = {
        "name": "plant",
        "signals": [
            Signal("oil", unit="degC", low=0, high=120, address="file:#oil"),
            Signal("load", unit="MVA", address="file:#load"),
            Signal("fan", role="controlled", low=0, high=2, safe=1),
        ],
        "every": "15min",
        "horizon": "6h",
        "connectors": {"file": Replay(str(path))},
        "transforms": [Limits(), Hampel()],
        "store": Memory(),
        "forecaster": Stage(SeasonalNaive(), every=6 * HOUR, context=duration("5d"), report=("oil",)),
        "clock": Data(),
        "folder": path.parent,
        **more,
    }
    return Twin(**given)  # type: ignore[arg-type]


def test_a_replay_takes_every_turn_and_every_forecast(rows: Path):
    plant = twin(rows)
    plant.run()
    status = plant.status()
    assert status["points"]["points"] == 1920
    assert status["turns"] == 960
    forecasts = plant.store.read("forecast")
    assert [f.issued for f in forecasts] == [f.time[0] - 15 * 60 * 10**9 for f in forecasts]
    assert len(forecasts) == 39  # every 6 h over ten days; the first instant has nothing to look back on
    assert all(f.issued % (6 * HOUR) == 0 for f in forecasts)


def test_bad_telemetry_is_quality(rows: Path):
    plant = twin(rows)
    plant.run()
    frame = plant.history(["oil"], native=False)
    assert frame.values[500, 0] == 95.0
    assert frame.quality[500, 0] == 2
    assert (frame.quality[480:520, 0] == 2).sum() == 1


def test_two_runs_write_the_same_store(rows: Path):
    digests = []
    for _ in range(2):
        plant = twin(rows)
        plant.run()
        digests.append(plant.open().store.digest())
    assert digests[0] == digests[1]


def test_a_run_cut_in_two_is_the_run(rows: Path, tmp_path: Path):
    whole = twin(rows, store=Duckdb(str(tmp_path / "whole.gemel")))
    whole.run()
    for until in ("2024-01-04T10:00", None):
        part = twin(rows, store=Duckdb(str(tmp_path / "parts.gemel")))
        part.run(until)
    assert part.open().store.counts()["points"] == whole.open().store.counts()["points"] == 1920
    whole_forecasts, part_forecasts = whole.store.read("forecast"), part.store.read("forecast")
    assert len(whole_forecasts) == len(part_forecasts)
    for a, b in zip(whole_forecasts, part_forecasts, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
    whole.close()
    part.close()


def test_a_policy_that_raises_leaves_the_safe_value_and_says_so(rows: Path):
    plant = twin(rows, policy=Stage(Raises(), every=24 * HOUR), mode="auto")
    plant.run()
    decision = plant.decisions()[-1]
    assert [(c.signal, c.value) for c in decision.commands] == [("fan", 1)]
    assert decision.reason == "the policy raised ZeroDivisionError: no load at all; safe values are used"


def test_a_command_outside_its_limits_is_refused_and_replaced_by_the_safe_value(rows: Path):
    plant = twin(rows, policy=Stage(Bold(), every=24 * HOUR))
    plant.run()
    decision = plant.decisions()[-1]
    assert decision.refused == ("fan = 9: outside its limits 0 .. 2; its safe value 1 is sent instead",)
    assert decision.commands[0].value == 1


@pytest.mark.slow
def test_a_forecaster_that_hangs_is_answered_for_by_its_neighbour(rows: Path):
    stage = Stage(Hangs(), every=120 * HOUR, context=duration("2d"), budget=0.5, neighbour=Naive())
    plant = twin(rows, forecaster=stage, policy=Stage(Bold(), every=120 * HOUR))
    began = time.monotonic()
    plant.run()
    assert time.monotonic() - began < 30
    assert {f.by for f in plant.store.read("forecast")} == {"naive"}
    assert "naive answered instead of hangs" in plant.decisions()[-1].because
    assert "Hangs did not answer within 0.5 s" in plant.decisions()[-1].because


def test_one_process_a_store_and_others_attach(rows: Path, tmp_path: Path):
    from gemel.core.errors import StoreBusy

    first = twin(rows, store=Duckdb(str(tmp_path / "a.gemel"))).open()
    with pytest.raises(StoreBusy, match=r"a\.gemel"):
        twin(rows, store=Duckdb(str(tmp_path / "a.gemel"))).open()
    first.close()


class Breaks(Limits):
    """A transform with a bug."""

    def apply(self, batch: Batch) -> Batch:
        raise KeyError("limits")


class Wire:
    """A connector that says nothing and cannot be reached."""

    async def stream(self) -> AsyncIterator[Batch]:
        for nothing in ():
            yield nothing

    def confirm(self, batch: Batch) -> None:
        """Never called."""

    async def send(self, command: Command) -> Ack:
        raise OSError("no route to the fan")


class Later:
    """Wants stage 2 for five hours."""

    def decide(self, situation: Situation) -> Decision:
        return Decision("", situation.now, (Command(f"fan-{situation.now}", "fan", 2.0, situation.now + 5 * HOUR),))


class Forgets(Naive):
    """A part that cannot always tell its memory."""

    def __init__(self) -> None:
        self.weight, self.told = 0, 0

    def learn(self, frame: object) -> None:
        self.weight += 1

    def snapshot(self) -> dict[str, int]:
        self.told += 1
        if self.told > 1:
            raise RuntimeError("busy")
        return {"weight": self.weight}

    def restore(self, state: Mapping[str, int]) -> None:
        self.weight = state["weight"]


def test_a_transform_that_raises_is_left_out_and_the_points_are_kept(rows: Path):
    plant = twin(rows, transforms=[Breaks(), Hampel()])
    plant.run()
    assert plant.status()["points"]["points"] == 1920


def test_a_command_that_cannot_be_sent_is_an_ack_that_says_so(rows: Path):
    signals = [Signal("oil", address="file:#oil"), Signal("fan", role="controlled", low=0, high=2, address="wire:fan")]
    connectors = {"file": Replay(str(rows)), "wire": Wire()}
    for clock, state, text in (
        (Virtual("2024-01-01"), "failed", "the connector raised OSError: no route to the fan"),
        (Data(), "refused", "it had expired before it was sent"),  # the file is read days ahead of the turns
    ):
        policy = Stage(Later(), every=120 * HOUR)
        plant = twin(rows, signals=signals, connectors=connectors, policy=policy, mode="auto", clock=clock)
        plant.run()
        assert {(a.state, a.text) for a in plant.open().store.read("ack")} == {(state, text)}
        assert plant.decisions()[-1].status == "sent"


def test_a_twin_can_be_run_again(rows: Path):
    plant = twin(rows, store=Duckdb("again.gemel"))
    plant.run("2024-01-03")
    plant.run()
    assert plant.status()["turns"] == 960
    plant.close()


def test_turns_that_a_crash_left_open_are_taken_though_no_telemetry_comes(rows: Path):
    store = str(rows.with_name("open.gemel"))
    twin(rows, store=Duckdb(store)).run("2024-01-04")  # the file is stored whole, the turns end here
    signals = [Signal("oil", address="wire:oil"), Signal("load", address="wire:load")]
    later = twin(rows, signals=signals, connectors={"wire": Wire()}, store=Duckdb(store))
    later.run()
    assert later.status()["turns"] == 960
    later.close()


def test_a_run_that_cannot_start_lets_go_of_the_store(rows: Path):
    with pytest.raises(ConfigError, match="nowhere"):
        twin(rows, connectors={"file": Replay("nowhere.csv")}, store=Duckdb("held.gemel")).run()
    twin(rows, store=Duckdb("held.gemel")).run("2024-01-02")


def test_what_is_known_ahead_does_not_move_the_clock(rows: Path):
    text = rows.read_text().splitlines()
    ahead = [f"{np.datetime64('2024-01-01T00:00') + np.timedelta64(h, 'h')},{h}" for h in range(24 * 30)]
    tariff = rows.with_name("tariff.csv")
    tariff.write_text("date,price\n" + "\n".join(ahead) + "\n")
    signals = [Signal("oil", address="file:#oil"), Signal("price", role="known", address="tariff:#price")]
    connectors = {"tariff": Replay(str(tariff)), "file": Replay(str(rows))}
    plant = twin(rows, signals=signals, connectors=connectors, forecaster=None)
    plant.run()
    assert plant.status()["turns"] == len(text) - 1
    assert len(plant.history(["oil"], last="1h", native=False)) == 4


def test_a_memory_that_cannot_be_told_now_is_not_forgotten(rows: Path):
    plant = twin(rows, forecaster=Stage(Forgets(), every=HOUR, context=duration("1d")))
    plant.run()
    (memory,) = (s.state for s in plant.store.read("snapshot") if s.id == "loop")
    assert memory["parts"]["forecaster"]["weight"] > 0


def test_a_question_teaches_the_running_forecaster_nothing(rows: Path):
    forecaster = Forgets()
    forecaster.told = -(10**6)
    plant = twin(rows, forecaster=Stage(forecaster, every=6 * HOUR, context=duration("1d")))
    plant.run()
    before = forecaster.weight
    plant.forecast("3h")
    plant.forecast("3h")
    assert forecaster.weight == before
