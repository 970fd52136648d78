"""What a twin that only observed would have been worth, beside what the emulator knows it would have been."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import beside
from gemel import Signal, Twin
from gemel.cli import app
from gemel.core.errors import Conflict
from gemel.core.values import Batch, Decision
from gemel.desk.shadow import Judges, Window, _moves, _unseen, _worth
from gemel.policies.shooting import Shooting
from gemel.stores.memory import Memory

DAY = 24 * beside.HOUR
LAST = f"{beside.DAYS - beside.LEARNING}d"


@pytest.mark.slow
def test_the_saving_agrees_with_the_truth() -> None:
    """The emulator is run twice from the start of every window: with its own controller, and with the twin's plan."""
    with beside.opened() as twin:
        found = twin.shadow(LAST)
        twin.stages()
        assert twin.policy
        decisions = {d.time: d for d in twin.journal("decision", last=None)}
        times = found["by_window"]["time"]
        plans = [twin.policy.part.course(decisions[t])[1]["fan"] for t in times]
    real = beside.truth(times, plans, 15 * 60 * 10**9)
    saved = real[:, 0] - real[:, 1]
    assert found["windows"] == 4
    assert found["saving"]["low"] < saved.sum() < found["saving"]["high"]
    assert found["saving"]["total"] == pytest.approx(saved.sum(), abs=0.35 * np.abs(saved).sum())
    assert found["cost"]["asis"] == pytest.approx(real[:, 0].sum(), rel=0.1)
    assert found["cost"]["plan"] == pytest.approx(real[:, 1].sum(), rel=0.15)
    assert np.corrcoef(found["by_window"]["saving"], saved)[0, 1] > 0.8


def test_what_goes_with_the_figure() -> None:
    with beside.opened() as twin:
        found = twin.shadow(LAST)
    assert found["ignored"] == ["load_limit"]
    assert set(found["constraints"]["winding < 98"]) == {"measured", "simulated", "plan"}
    check = {row["signal"]: row for row in found["check"]}
    assert set(check) == {"oil", "winding", "fan_power"}
    assert abs(check["oil"]["bias"]) < 2 * check["oil"]["spread"]
    assert any("Only 4 decisions" in doubt for doubt in found["doubts"])
    window = found["by_window"]
    assert all(b >= e for b, e in zip(window["time"][1:], window["end"], strict=False)), "horizons do not overlap"
    assert found["saving"]["total"] == pytest.approx(sum(window["saving"]))
    summed = found["cumulative"]
    last = [summed[name][-1] for name in ("saving", "low", "high")]
    assert last == pytest.approx([found["saving"][name] for name in ("total", "low", "high")])
    fan = found["setpoints"]["fan"]
    assert fan["time"] == sorted(fan["time"])
    assert (fan["time"][0], fan["time"][-1]) == (found["start"], found["end"])
    assert len(fan["time"]) == len(fan["real"]) == len(fan["plan"])
    assert np.nanmax(fan["plan"]) <= 2


def test_in_the_terminal() -> None:
    file = str(beside.watched())
    said = CliRunner().invoke(app, ["shadow", file, "--last", LAST])
    assert said.exit_code == 0
    assert "the twin's plans would have saved" in said.stdout
    assert "next: gemel history" in said.stdout
    found = json.loads(CliRunner().invoke(app, ["shadow", file, "--last", LAST, "--json"]).stdout)
    assert found["windows"] == 4


def test_where_there_is_nothing_to_judge_it_says_why() -> None:
    with beside.opened() as twin, pytest.raises(Conflict, match="2 whose horizon is not over"):
        twin.shadow("6h")
    with (
        Twin(name="bare", signals=[Signal("x")], store=Memory()).open() as bare,
        pytest.raises(Conflict, match="policy"),
    ):
        bare.shadow()


def test_a_plan_that_changes_nothing_is_worth_nothing() -> None:
    """Common draws and common disturbances: the same setpoints cost the same to the last digit."""
    with beside.opened() as twin:
        (first, *_) = twin.journal("decision", start=beside.START + 3 * DAY, last=None)
        policy: Any = twin.policy and twin.policy.part
        twin.stages()
        fan = twin.history(["fan"], start=first.time, end=first.time + DAY, every="15min", native=False)
        held = Twin(
            name="same", signals=list(twin.signals), every="15min", store=Memory(), simulator=twin.simulator,
            policy=policy, connectors=twin.connectors,
        )  # fmt: skip
        with held.open():
            frame = twin.history(start=first.time - DAY, end=first.time + DAY, every="15min", native=False)
            for i in range(len(frame.signals)):
                values = np.where(np.isfinite(frame.values[:, i]), frame.values[:, i], 0.0)
                if frame.signals[i] == "fan":
                    values[:] = 1.0
                held.store.append(Batch.of(np.full(len(frame), i), frame.time, values))
            plan = {"fan": (1.0, 1.0, 1.0)}
            held.store.record(
                Decision("d", first.time, plan=plan, status="observed"),
                *twin.journal("belief", start=first.time, end=first.time),
            )
            found = held.shadow("1d")
    assert fan.values.shape[0] > 90
    assert (found["saving"]["total"], found["saving"]["low"], found["saving"]["high"]) == (0.0, 0.0, 0.0)


def test_the_interval_holds_a_known_saving_as_often_as_it_says() -> None:
    """Twenty days whose saving is known up to a member's own error and a day's own luck."""
    rng = np.random.default_rng(4)
    hits = 0
    for trial in range(40):
        error = rng.normal(0, 0.5, 64)  # of the parameters: the same every day, and the truth is one such draw
        day = rng.normal(1.0, 1.0, 20)
        windows = [
            Window(i * DAY, (i + 1) * DAY, np.full(64, 10.0), 10.0 - (d + error), {}, {}, {}) for i, d in enumerate(day)
        ]
        worth = _worth(windows, trial)["saving"]
        real = 20 * (1.0 + rng.normal(0, 0.5))
        hits += worth["low"] <= real <= worth["high"]
    assert 0.8 <= hits / 40 <= 0.99


def test_moves_are_counted_from_the_telemetry_and_noise_is_not_a_move() -> None:
    with Twin(name="moves", signals=[Signal("valve")], store=Memory()).open() as twin:
        rng = np.random.default_rng(6)
        position = np.repeat([10.0, 60.0, 10.0], 50) + rng.normal(0, 0.1, 150)
        twin.store.append(Batch.of(np.zeros(150), np.arange(150), position))
        moves = _moves(twin.store, "valve", 0, 149)
    assert np.abs(np.diff(moves)).sum() == pytest.approx(100, abs=3)


def test_setpoints_the_plant_was_never_at_are_a_guess() -> None:
    assert _unseen(np.array([0.0] * 50 + [2.0] * 50), np.array([0.0, 1.0, 2.0, 2.0])) == 0.25
    assert _unseen(np.linspace(0, 1, 100), np.linspace(0.2, 0.8, 10)) == 0.0
    assert _unseen(np.ones(10), np.ones(5)) == 0.0


def test_the_shooting_policy_can_be_asked() -> None:
    policy = Shooting(objective="power", constraints=["oil < 90"], controls={"fan": [0, 1]}, change={"fan": 2.0})
    assert isinstance(policy, Judges)
    values = {"power": np.full((4, 2), 3.0), "oil": np.array([[80.0, 95.0]] * 4)}
    cost = policy.cost(values, 1800.0, {"fan": np.array([0.0, 1.0, 0.0])})
    assert cost.tolist() == [3.0 * 2 + 4.0] * 2
    assert policy.margins(values)["oil < 90"].min(axis=0).tolist() == [10.0, -5.0]
    assert policy.margins({"power": values["power"]}) == {}
