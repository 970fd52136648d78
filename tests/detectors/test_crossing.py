"""Remaining life from the crossing of a limit: closed forms of the numerics, and a wearing machine in a twin."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError
from gemel.core.registry import build
from gemel.core.setting import Setting
from gemel.core.values import LEVELS, Batch, Floats, Forecast, Signal, Signals
from gemel.detectors.crossing import LIVES, MEDIAN, Watched, crossing, first, lasting, spread, steadied, trend
from gemel.loop.decide import Situation
from gemel.policies.maintenance import remaining
from gemel.stores.memory import Memory
from gemel.testing import check_detector

MINUTE, HOUR, DAY = 60 * 10**9, 3600 * 10**9, 86_400 * 10**9
START = 1_700_000_000 * 10**9 // DAY * DAY
SIGNALS = Signals([Signal("shake", asset="mill"), Signal("mode", asset="mill"), Signal("product")])
NORMAL = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
SPEC: dict[str, Any] = {
    "kind": "crossing",
    "signals": {
        "shake": {"limit": 2.0, "state": "mode", "load": "product", "factors": [1.0, 1.5], "life": "60h", "shape": 3.0}
    },
    "forecaster": {"kind": "theta"},
    "within": "30d",
}


def one(limit: float, sign: float = 1.0) -> Watched:
    return Watched("x", (sign * limit,), sign, "", 0.0, 1.0)


@pytest.mark.parametrize("limit", [10.0, 30.0, 100.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_straight_path_reaches_its_limit_when_it_does(limit: float, sign: float) -> None:
    hours = np.arange(1.0, 49.0)
    found = crossing(one(limit, sign), hours, sign * np.tile(hours[:, None], len(LEVELS)), 0.0)
    np.testing.assert_allclose(found, limit, rtol=1e-9)  # within the horizon and beyond


def test_a_slope_that_is_not_known_gives_the_quantiles_of_lu_and_meeker() -> None:
    # slope ~ N(1, 0.1): P(T <= t) = P(slope >= limit / t), so T's quantile p is limit / (quantile 1 - p of the slope)
    hours = np.arange(1.0, 49.0)
    found = crossing(one(30.0), hours, hours[:, None] * (1 + 0.1 * NORMAL), 0.0)
    exact = [30.0 / NormalDist(1, 0.1).inv_cdf(1 - p) for p in LIVES]
    np.testing.assert_allclose(found[3:-2], exact[3:-2], rtol=0.01)
    np.testing.assert_allclose(found, exact, rtol=0.05)


def test_limits_that_were_seen_become_a_distribution_and_those_survived_count_no_more() -> None:
    rng = np.random.default_rng(0)
    seen = 1 + np.log(rng.standard_exponential(4000)) / 14
    made = np.quantile(spread(seen.tolist()), [0.02, 0.5, 0.98])
    np.testing.assert_allclose(made, 1 + np.log(-np.log1p(-np.array([0.02, 0.5, 0.98]))) / 14, atol=0.01)
    down = np.quantile(spread((-seen).tolist(), -1.0), [0.02, 0.5, 0.98])
    np.testing.assert_allclose(down, -made[::-1], atol=0.005)
    hours = np.arange(1.0, 49.0)
    flat = np.tile(0.5 + 0.01 * hours[:, None], len(LEVELS))
    two = Watched("x", (0.6, 0.9), 1.0, "", 0.0, 1.0)
    assert crossing(two, hours, flat, 0.5)[1] == pytest.approx(10.0, rel=0.02)
    assert crossing(two, hours, flat + 0.2, 0.7)[1] == pytest.approx(20.0, rel=0.02)
    assert crossing(two, hours, flat + 0.5, 1.0)[MEDIAN] < 1.0


def test_age_alone_is_weibull_and_the_first_of_two_failures_is_sooner() -> None:
    old = lasting(Watched("x", (1.0,), 1.0, "", 100.0, 1.0), 70.0)
    np.testing.assert_allclose(old, -100 * np.log1p(-np.array(LIVES)))  # without ageing, age says nothing
    worn = lasting(Watched("x", (1.0,), 1.0, "", 100.0, 4.0), 90.0)
    assert worn[MEDIAN] == pytest.approx(100 * (0.9**4 + np.log(2)) ** 0.25 - 90)
    both = first([old, old])
    inner = slice(2, MEDIAN + 1)
    np.testing.assert_allclose(both[inner], old[inner] / 2, rtol=0.03)


def test_the_line_is_weighed_with_what_lives_say() -> None:
    hours = np.arange(-79.0, 1.0)
    rng = np.random.default_rng(1)
    walk = np.cumsum(0.01 + 0.005 * rng.standard_normal(80))
    unknown = Watched("x", (1.0,), 1.0, "", 0.0, 1.0)
    slope, doubt, level = trend(unknown, hours, walk, 80.0, False)
    assert abs(slope - 0.01) < 3 * doubt
    assert doubt == pytest.approx(0.005 / np.sqrt(79), rel=0.6)
    assert level == pytest.approx(walk[-4:].mean())
    sure = Watched("x", (1.0,), 1.0, "", 200.0, 1000.0)
    assert trend(sure, hours, walk, 80.0, False)[0] == pytest.approx(1 / 200, rel=0.01)


def test_measurement_noise_is_no_growth() -> None:
    paths = np.tile(1.0 + 0.3 * NORMAL, (24, 1))
    np.testing.assert_allclose(steadied(paths), 1.0)


def mill(hours: int, seed: int = 0) -> Floats:
    """Minutes of a mill that wears by 0.015 an hour from 1.0 and is serviced every 50 h: shake, mode, product."""
    rng = np.random.default_rng(seed)
    t = np.arange(hours * 60)
    age = (t % 3000) / 60
    product = (t // 400) % 2
    shake = (1.0 + 0.015 * age) * np.where(product == 1, 1.5, 1.0) * (1 + 0.03 * rng.standard_normal(len(t)))
    mode = np.where(t % 3000 < 30, 6.0, np.where(rng.random(len(t)) < 0.2, 3.0, 1.0))
    shake[mode != 1] = 0.1
    mode[0:30] = 1.0
    return np.stack([shake, mode, product], axis=1)


def place(values: Floats) -> Setting:
    store = Memory()
    store.open(SIGNALS)
    rows, columns = values.shape
    time = np.repeat(START + np.arange(rows) * MINUTE, columns)
    store.append(Batch.of(np.tile(np.arange(columns, dtype=np.int32), rows), time, values.ravel()))
    return Setting("t", "", SIGNALS, Virtual(), MINUTE, DAY, 0, Path(), history=store.window)


def situations(hours: range) -> list[Situation]:
    return [Situation(START + h * HOUR, MINUTE, DAY, SIGNALS, {}) for h in hours]


def test_a_mill_that_wears_says_how_long_it_lasts() -> None:
    where = place(mill(100))

    def make() -> Any:
        made = build("detectors", SPEC)
        made.bind(where)
        return made

    news = check_detector(make, situations(range(6, 98, 4)))
    lives = {(f.time - START) // HOUR: f for f in news if f.open}
    for hour in (30, 42, 78, 90):
        truth = (2.0 - 1.0) / 0.015 - hour % 50
        found = lives[hour]
        assert found.subject == "mill"
        assert found.evidence["life 0.02"] < truth < found.evidence["life 0.98"]
        assert found.evidence["life 0.5"] == pytest.approx(truth, rel=0.25)
    assert lives[90].evidence["life 0.5"] < lives[54].evidence["life 0.5"]  # serviced at 50
    situation = Situation(START + 90 * HOUR, MINUTE, DAY, SIGNALS, {}, findings=(lives[90],))
    life = remaining(situation, "", "mill")
    assert life is not None
    assert life.levels[0] == 0.005


def test_it_takes_the_twins_own_forecasts_where_it_has_no_forecaster() -> None:
    detector = build("detectors", {"kind": "crossing", "signals": {"shake": 2.0}, "within": "10d"})
    detector.bind(place(mill(3)))
    hours = np.arange(1, 25)
    values = np.tile((1.0 + 0.05 * hours)[:, None], len(LEVELS)).astype(np.float32)[None]
    now = START + 4 * HOUR
    forecast = Forecast(now + hours * HOUR, LEVELS, values, ("shake",), now)
    (finding,) = detector.inspect(Situation(now, MINUTE, DAY, SIGNALS, {"shake": 1.0}, forecasts=(forecast,)))
    assert finding.evidence["life 0.5"] == pytest.approx(20.0, rel=0.01)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"signals": {}}, "needs a signal"),
        ({"signals": {"shake": {"limt": 2.0}}}, "no key 'limt'"),
        ({"signals": {"shake": {"limit": 2.0, "wear": [[1, 0]]}}}, "two or more"),
        ({"signals": {"shake": {"limit": 2.0, "factors": [0.0]}}}, "above zero"),
        ({"signals": {"shake": {"limit": 2.0, "wear": [[1, 0, 3], [2, 1, 3]]}}}, "two or more"),
        ({"horizon": "2h"}, "four steps"),
        ({"context": "2h"}, "four steps"),
        ({"forecaster": "theta"}, "is no part"),
        ({"renewed": {"service": "1h"}}, "codes of states"),
        ({"forecaster": {"kind": "linear"}}, "must not learn"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("detectors", {**SPEC, **change})
    assert said in str(caught.value)


def test_only_numbers_can_show_wear() -> None:
    signals = Signals([*SIGNALS, Signal("camera", type="blob"), Signal("doing", type="state", states=("idle", "busy"))])
    where = Setting("t", "", signals, Virtual(), MINUTE, DAY, 0, Path())
    for watched in ({"camera": 1.0}, {"doing": 1.0}, {"shake": {"limit": 1.0, "state": "camera"}}):
        with pytest.raises(ConfigError, match="is no number"):
            build("detectors", {"kind": "crossing", "signals": watched}).bind(where)
