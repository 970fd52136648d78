"""What is learned from the truth: bands that cover, members that are trusted, memory that lasts."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from series import daily, frame, noise, walk

from gemel.config import spec_of
from gemel.core.errors import ConfigError
from gemel.core.registry import build
from gemel.core.values import BAD, DECILES, Floats, Forecast, Frame
from gemel.forecasters.conformal import Conformal
from gemel.forecasters.context import answer
from gemel.forecasters.naive import Naive
from gemel.forecasters.pending import Pending, practise
from gemel.forecasters.pool import Pool
from gemel.forecasters.seasonal_naive import SeasonalNaive
from gemel.forecasters.theta import Theta


class Stubborn:
    """Always the same band, -`width` to `width`, whatever the context."""

    def __init__(self, width: float) -> None:
        self.width = width

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        band = self.width * (2 * np.array(levels) - 1)
        return answer(np.tile(band, (len(context.signals), horizon, 1)), context, levels, "stubborn")


def covered(forecaster: Conformal, y: Floats, horizon: int, skip: int) -> Floats:
    """The share of truths below each level, [s, q], forecasting at every row and learning from it."""
    whole = frame(*y.T)
    below = []
    for now in range(20, len(y) - horizon):
        forecaster.learn(whole.rows(now - 1, now))
        said = forecaster.forecast(whole.rows(now - 20, now), horizon)
        below.append(y[now : now + horizon].T[:, :, None] <= said.values)
    return np.array(below[skip:]).mean(axis=(0, 2))


@pytest.mark.parametrize("width", [0.2, 10.0])
def test_conformal_covers_what_it_promises(width: float) -> None:
    """Heteroscedastic and skewed truth, and a band inside that is far too narrow, or wide, and knows neither."""
    t = np.arange(4000)
    calm = noise(4000, 1) * (0.5 + (t // 50 % 2))
    skewed = np.exp(noise(4000, 2)) - 1
    share = covered(Conformal(Stubborn(width)), np.stack([calm, skewed], axis=1), 2, skip=1500)
    assert np.abs(share[:, 8] - share[:, 0] - 0.8).max() < 0.03
    assert np.abs(share - np.array(DECILES)).max() < 0.04


def test_conformal_answers_other_levels_than_it_tracks() -> None:
    y = frame(noise(300))
    one = Conformal(Naive())
    live(one, y, 40, 4, 1)
    wide = one.forecast(y, 4, levels=(0.05, 0.35, 0.5, 0.95))
    tracked = one.forecast(y, 4).of("s0")
    assert wide.levels == (0.05, 0.35, 0.5, 0.95)
    assert (wide.of("s0")[:, 0] < tracked[:, 0]).all()
    assert np.allclose(wide.of("s0")[:, 2], tracked[:, 4], atol=1e-6)
    assert ((tracked[:, 2] < wide.of("s0")[:, 1]) & (wide.of("s0")[:, 1] < tracked[:, 3])).all()


def live(forecaster: Pool | Conformal, whole: Frame, context: int, horizon: int, every: int) -> None:
    seen = 0
    for now in range(context, len(whole) + 1, every):
        forecaster.learn(whole.rows(seen, now))
        forecaster.forecast(whole.rows(now - context, now), horizon)
        seen = now


def test_pool_trusts_the_right_member_for_each_signal() -> None:
    rows = 96 * 12
    whole = frame(10 * daily(rows) + 0.2 * noise(rows), 0.3 * walk(rows, 4))
    pool = Pool([{"kind": "naive"}, {"kind": "seasonal_naive", "season": "24h"}])
    live(pool, whole, 96 * 5, 24, 12)
    weights = pool.weights(24)
    assert (weights[1, 0] > 0.99).all()
    assert (weights[0, 1] > 0.9).all()
    assert np.allclose(weights.sum(axis=0), 1.0)


def test_pool_weighs_by_backtest_before_anything_came_true() -> None:
    whole = frame(10 * daily(960) + 0.2 * noise(960))
    pool = Pool([Naive(), SeasonalNaive(season=96)])
    said = pool.forecast(whole, 24)
    assert (pool.weights(24)[1, 0] > 0.99).all()
    assert set(pool.last) == {"naive", "seasonal_naive"}
    assert np.abs(said.values - pool.last["seasonal_naive"].values).max() < 0.2
    alike = Pool([Naive(), SeasonalNaive(season=96)], backtest=0)
    mean = alike.forecast(whole, 24).values
    assert np.allclose(mean, (alike.last["naive"].values + alike.last["seasonal_naive"].values) / 2, rtol=1e-5)


def test_pool_forgets_slowly() -> None:
    """The better member changes; the pool follows."""
    rows = 96 * 10
    late = np.concatenate([10 * daily(rows), 0.5 * walk(2 * rows)])
    pool = Pool([Naive(), SeasonalNaive(season=96)], memory=20.0)
    live(pool, frame(late), 96 * 4, 8, 8)
    assert (pool.weights(8)[0, 0] > 0.6).all()


def test_members_of_one_kind_have_names_of_their_own() -> None:
    pool = Pool(
        [{"kind": "theta"}, {"kind": "theta", "season": 1}, {"kind": "conformal", "forecaster": {"kind": "naive"}}]
    )
    Conformal(pool).forecast(frame(noise(50)), 3)
    assert list(pool.last) == ["theta", "theta_2", "naive"]
    assert Conformal(pool).last is pool.last
    assert Conformal(Theta()).last == {}


def test_pool_keeps_its_scores_when_other_levels_are_asked() -> None:
    whole = frame(walk(300))
    one, other = Pool(), Pool()
    live(one, whole, 100, 8, 4)
    live(other, whole, 100, 8, 4)
    asked = one.forecast(whole.rows(200, 300), 8, levels=(0.05, 0.5))
    assert asked.values.shape == (1, 8, 2)
    assert np.array_equal(one.weights(8), other.weights(8))
    assert np.array_equal(asked.values[..., 1], other.forecast(whole.rows(200, 300), 8).values[..., 4])


def test_a_short_forecast_after_a_long_one_and_back() -> None:
    y = frame(walk(300), daily(300))
    one = Conformal(Pool(backtest=3))
    long = one.forecast(y.rows(0, 200), 24)
    one.learn(y.rows(200, 206))
    assert one.forecast(y.rows(6, 206), 4).values.shape == (2, 4, 9)
    one.learn(y.rows(206, 230))
    assert one.forecast(y.rows(30, 230), 48).values.shape == (2, 48, 9)
    assert long.values.shape == (2, 24, 9)


def test_a_pending_forecast_meets_each_truth_once() -> None:
    whole = frame(np.arange(100.0))
    whole.quality[12] = BAD
    pending = Pending()
    step = int(whole.time[1])
    pending.add(int(whole.time[9]), step, np.zeros((1, 1, 8, 1), np.float32))
    heard = [(steps.tolist(), truth[:, 0].tolist()) for _, steps, truth in pending.due(whole.rows(5, 14))]
    heard += [(steps.tolist(), truth[:, 0].tolist()) for _, steps, truth in pending.due(whole.rows(9, 30))]
    assert [steps for steps, _ in heard] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert np.array_equal(heard[0][1], [10.0, 11.0, np.nan, 13.0], equal_nan=True)
    assert heard[1][1] == [14.0, 15.0, 16.0, 17.0]
    assert pending.snapshot() == []


def test_pending_forecasts_are_few() -> None:
    pending = Pending()
    for now in range(200):
        pending.add(now, 1, np.zeros((1, 1, 96, 1), np.float32))
        list(pending.due(Frame(np.array([now]), np.zeros((1, 1)), np.zeros((1, 1), np.uint8), ("x",))))
        assert len(pending.snapshot()) <= 8


@given(rows=st.integers(1, 60), horizon=st.integers(1, 40), times=st.integers(0, 10))
def test_practice_goes_forward_and_never_looks_ahead(rows: int, horizon: int, times: int) -> None:
    context = frame(np.arange(float(rows)))
    seen = []

    def go(past: Frame, ahead: int, rest: Frame) -> None:
        assert len(past) >= rows / 2
        assert past.time[-1] < rest.time[0]
        assert len(past) + ahead <= rows
        seen.append(len(past))

    practise(context, horizon, times, go)
    assert seen == sorted(set(seen))
    assert len(seen) <= times


@settings(max_examples=25, deadline=None)
@given(
    values=arrays(
        np.float64, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=st.floats(-1e9, 1e9) | st.just(np.nan)
    ),
    horizon=st.integers(1, 12),
)
@example(values=np.array([[7.8e-190]] + [[2.2e-313]] * 13), horizon=1)
def test_any_context_has_an_ordered_answer(values: Floats, horizon: int) -> None:
    context = frame(*values.T)
    said = Conformal(Pool(backtest=2)).forecast(context, horizon).values
    known = np.isfinite(values).any(axis=0)
    assert np.isfinite(said[known]).all()
    assert (np.diff(said[known], axis=2) >= 0).all()


def test_a_table_of_tables_is_a_forecaster_and_goes_back_to_one() -> None:
    spec = {
        "kind": "conformal",
        "forecaster": {
            "kind": "pool",
            "members": [{"kind": "naive"}, {"kind": "theta", "season": "24h"}],
            "backtest": 3,
        },
        "rate": 0.01,
    }
    made = build("forecasters", spec)
    assert [type(m) for m in made.forecaster.members] == [Naive, Theta]
    assert spec_of("forecasters", made) == spec


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"pool.members\[1\]: unknown key 'saeson' .* did you mean 'season'"):
        Pool([{"kind": "naive"}, {"kind": "theta", "saeson": 4}])
    with pytest.raises(ConfigError, match=r"conformal.forecaster: unknown kind 'thata'.* did you mean 'theta'"):
        Conformal({"kind": "thata"})
    with pytest.raises(ConfigError, match="rate 2 must lie between 0 and 1"):
        Conformal(Naive(), rate=2)
    with pytest.raises(ConfigError) as caught:
        Pool([], sharpness=-1)
    assert caught.value.problems == ["pool: sharpness -1 must be 0 or more", "pool: members is empty"]


@pytest.mark.skipif("GEMEL_DATA" not in os.environ, reason="needs GEMEL_DATA")
def test_the_pool_beats_the_seasonal_naive_on_a_real_transformer() -> None:
    """Two months of ETTm1's oil temperature; bench/ett.py has the whole."""
    ett = pytest.importorskip("bench.ett")
    rows = {
        r.kind: r for r in ett.leaderboard(ett.ettm1().rows(20_000, 26_000), kinds=("seasonal_naive", "linear", "pool"))
    }
    assert rows["pool"].crps < 0.9 * rows["seasonal_naive"].crps
    assert rows["pool"].crps < 1.05 * rows["linear"].crps
