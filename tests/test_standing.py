"""How far a twin can be trusted, read from what it recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import beside
from gemel import Signal, Stage, Twin
from gemel.core.errors import InputError
from gemel.core.values import DECILES, Batch, Belief, Forecast
from gemel.desk.standing import _moved
from gemel.forecasters.naive import Naive
from gemel.stores.memory import Memory

HOUR = 3600 * 10**9
NORMAL = np.array([-1.2816, -0.8416, -0.5244, -0.2533, 0.0, 0.2533, 0.5244, 0.8416, 1.2816])
DENSITY = np.exp(-(NORMAL**2) / 2) / np.sqrt(2 * np.pi)


def recorded(spread: float, shift: float = 0.0, days: int = 40) -> Twin:
    """White noise, and forecasts that say `spread` (right: 1) and `shift` (right: 0)."""
    rng = np.random.default_rng(5)
    t = np.arange(days * 24)
    truth = 10 + rng.standard_normal(len(t))
    stage = Stage(Naive(), step=HOUR)
    twin = Twin(name="noise", signals=[Signal("x")], every="1h", horizon="6h", store=Memory(), forecaster=stage).open()
    twin.store.append(Batch.of(np.zeros(len(t)), t * HOUR, truth))
    for i in range(72, len(t) - 6, 3):
        quantiles = np.tile(10 + shift + spread * NORMAL, (1, 6, 1)).astype(np.float32)
        time = (i + np.arange(1, 7)) * HOUR
        twin.store.record(Forecast(time, DECILES, quantiles, ("x",), i * HOUR).named("oracle"))
    return twin


def test_an_honest_forecast_is_calibrated() -> None:
    with recorded(1.0) as twin:
        found = twin.standing()
    assert found["signal"] == "x"
    assert found["windows"] == 120
    best = found["leaderboard"][0]
    assert (best["forecaster"], best["baseline"]) == ("oracle", False)
    assert best["coverage"] == pytest.approx(0.8, abs=0.05)
    assert {r["forecaster"] for r in found["leaderboard"] if r["baseline"]} == {"a day before", "last value"}
    assert np.abs(np.subtract(found["calibration"]["observed"], DECILES)).max() < 0.06
    assert np.abs(np.subtract(found["calibration"]["histogram"], 1.0)).max() < 0.4
    assert np.mean(found["coverage"]["value"]) == pytest.approx(best["coverage"], abs=0.01)
    assert sum(found["coverage"]["windows"]) == 120
    low, high = (np.array(found["coverage"][name]) for name in ("low", "high"))
    value = np.array(found["coverage"]["value"])
    assert ((low < 0.8) & (high > 0.8)).all()
    assert ((low <= value) & (value <= high)).mean() > 0.7, "nine of ten lie where chance puts them"
    assert best["crps"] == pytest.approx(2 * DENSITY.mean() / 10, rel=0.05), "that loss is the density"


def test_one_that_is_too_sure_or_off_is_seen() -> None:
    with recorded(0.4) as twin:
        sure = twin.standing("x")
    assert sure["leaderboard"][0]["coverage"] < 0.5
    assert max(sure["coverage"]["value"]) < min(sure["coverage"]["low"])
    assert sure["calibration"]["histogram"][0] > 2
    with recorded(1.0, shift=1.0) as twin:
        high = twin.standing("x")
    assert np.mean(high["calibration"]["observed"]) > 0.65


def test_the_same_figures_as_the_report() -> None:
    """Scored on everything they are those of the report; a made-up signal is refused."""
    from gemel.report import report

    with beside.opened() as twin:
        found = {r["forecaster"]: r for r in twin.standing("oil")["leaderboard"]}
        rows = report(twin, "oil", 4.5 / 7)["forecasts"]
        with pytest.raises(InputError, match="did you mean 'oil'"):
            twin.standing("oli")
    assert {r["forecaster"] for r in rows} == {"pool", "physics", "seasonal_naive", "naive"}
    assert found["seasonal_naive"]["mase"] == pytest.approx(found["a day before"]["mase"], rel=0.01)
    for row in rows:
        assert row["crps"] == pytest.approx(found[row["forecaster"]]["crps"], rel=0.25)


def test_parameters_and_innovations_over_time() -> None:
    with beside.opened() as twin:
        found: dict[str, Any] = twin.standing()
        assert twin.standing() is found, "asked again, it is not made again"
        beliefs = twin.journal("belief", last=None)
    held = found["posteriors"]
    row = held["names"].index("oil_rise")
    assert held["time"] == [b.time for b in beliefs]
    assert held["mean"][row][-1] == pytest.approx(beliefs[-1].mean()["oil_rise"])
    assert held["spread"][row][-1] < held["spread"][row][0], "it has learned"
    assert np.shape(found["innovations"]["z"]) == (3, len(found["innovations"]["time"]))
    assert [d["signal"] for d in found["drift"]] == ["oil", "winding", "fan_power"]


def test_a_step_in_the_innovations_is_drift() -> None:
    rng = np.random.default_rng(2)
    twin = Twin(name="drift", signals=[Signal("x"), Signal("y")], store=Memory()).open()
    twin.store.append(Batch.of([0], [0], [1.0]))
    for i in range(200):
        z = rng.standard_normal(2) + np.array([0.0, 1.5 if i >= 160 else 0.0])
        innovation = {"x": (2.0 * z[0], 2.0), "y": (z[1], 1.0)}
        twin.store.record(Belief(("p",), rng.standard_normal((1, 8)), i * HOUR, innovation, f"b{i}"))
    with twin:
        x, y = twin.standing()["drift"]
    assert (x["drifting"], y["drifting"]) == (False, True)
    assert y["p"] < 1e-4


def test_the_test_for_drift_keeps_its_level_for_neighbours_that_resemble_each_other() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        noise = rng.standard_normal(400)
        for i in range(1, 400):
            noise[i] += 0.6 * noise[i - 1]
        p, _ = _moved(noise[:300], noise[300:])
        hits += p is not None and p < 0.05
    assert hits / 300 < 0.1
    assert _moved(noise[:5], noise[5:]) == (None, 0.0)


def test_a_signal_that_fell_silent_or_never_moves_is_no_trouble() -> None:
    for values in (np.full(960, np.nan), np.full(960, 7.0)):
        with recorded(1.0) as twin:
            twin.store.append(Batch.of(np.zeros(960 - 80), np.arange(80, 960) * HOUR, values[80:]))
            found = twin.standing()
        assert all(r["mase"] is None or r["mase"] >= 0 for r in found["leaderboard"])


def test_nothing_recorded_is_no_trouble() -> None:
    with Twin(name="new", signals=[Signal("x")], store=Memory()).open() as twin:
        found = twin.standing()
    assert (found["signal"], found["windows"], found["leaderboard"], found["drift"]) == (None, 0, [], [])
