"""Closed forms: what each forecaster must say of a series whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from series import daily, frame, noise, walk

from gemel.core.errors import ConfigError, InputError
from gemel.core.units import duration
from gemel.core.values import Floats
from gemel.forecasters.context import detect
from gemel.forecasters.linear import Linear
from gemel.forecasters.naive import Naive
from gemel.forecasters.seasonal_naive import SeasonalNaive
from gemel.forecasters.theta import Theta


def test_naive_is_a_random_walk() -> None:
    y = walk(4000)
    answer = Naive().forecast(frame(y), 100)
    width = answer.of("s0")[:, -1] - answer.of("s0")[:, 0]
    assert np.allclose(answer.median("s0"), y[-1], rtol=1e-6)
    assert np.allclose(width / width[0], np.sqrt(np.arange(1, 101)), rtol=1e-3)
    assert width[0] == pytest.approx(2 * 1.2816, rel=0.03)  # the 10-90 % band of a unit normal step


def test_naive_of_one_row_and_of_a_constant_is_not_certain() -> None:
    one = Naive().forecast(frame(np.array([50.0])), 4)
    constant = Naive().forecast(frame(np.full(100, 50.0)), 4)
    assert one.of("s0")[0, -1] - one.of("s0")[0, 0] == pytest.approx(5.0 * 2 * 1.2816, rel=1e-3)
    assert constant.of("s0")[0, -1] > constant.of("s0")[0, 0]


def test_seasonal_naive_repeats_and_widens_with_each_season() -> None:
    y = 20 + 5 * daily(960) + 0.5 * noise(960)
    answer = SeasonalNaive(season="24h").forecast(frame(y), 288)
    width = answer.of("s0")[:, -1] - answer.of("s0")[:, 0]
    assert np.allclose(answer.median("s0"), np.tile(y[-96:], 3), rtol=1e-6)
    assert np.allclose(width[[0, 95, 96, 200]] / width[0], np.sqrt([1, 1, 2, 3]), rtol=1e-3)
    steps = SeasonalNaive(season=96).forecast(frame(y), 288)
    found = SeasonalNaive(season="auto").forecast(frame(y), 288)
    assert np.array_equal(steps.values, answer.values)
    assert np.array_equal(found.values, answer.values)


@pytest.mark.parametrize(
    ("y", "every", "season"),
    [
        (daily(960) + 0.3 * noise(960), "15min", 96),
        (daily(960) + 0.02 * walk(960), "15min", 96),
        (daily(24 * 28, 24) * (np.arange(24 * 28) // 24 % 7 < 5), "1h", 168),
        (np.arange(140) % 7 + 0.5 * noise(140), "1d", 7),
        (daily(120, 12) + 0.3 * noise(120), "30.4375d", 12),
        (daily(1000, 37) ** 3 + 0.2 * noise(1000), "1s", 37),  # a machine's cycle, on no calendar
        (noise(2000), "15min", 1),
        (np.full(200, 3.0), "15min", 1),
        (np.full(200, np.nan), "15min", 1),
    ],
)
def test_seasons_are_found(y: Floats, every: str, season: int) -> None:
    assert detect(y[:, None], duration(every)) == [season]


def test_theta_is_the_mean_of_its_two_lines() -> None:
    """Assimakopoulos and Nikolopoulos: half the regression line, half exponential smoothing of the line of double
    curvature (theta 2). Ours is the equivalent form of Hyndman and Billah."""
    y = 100 + 0.4 * np.arange(300) + 0.3 * walk(300) + noise(300, 1)
    t, ahead = np.arange(300), np.arange(300, 324)
    slope, start = np.polyfit(t, y, 1)
    double = 2 * y - (start + slope * t)
    best = np.inf
    said = Theta(season=1).forecast(frame(y), 24).median("s0")
    for a in (0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99):
        level = double[0] + (start - y[0])  # so that both forms start from the same level of y
        for value in double:
            level += a * (value - level)
        best = min(best, float(np.abs(said - 0.5 * (start + slope * ahead) - 0.5 * level).max()))
    assert best < 0.05


def test_theta_adjusts_a_season_that_grows_with_its_level() -> None:
    t = np.arange(120)
    y = (100 + 2 * t) * (1 + 0.3 * np.sin(2 * np.pi * t / 12))
    said = Theta(season=12).forecast(frame(y[:108], every="30d"), 12).median("s0")
    assert np.abs(said / y[108:] - 1).max() < 0.08


def test_linear_recovers_a_sum_of_waves() -> None:
    t = np.arange(1500 + 48)
    y = 30 + 4 * np.sin(2 * np.pi * t / 24) + np.sin(2 * np.pi * t / 31 + 1)
    said = Linear().forecast(frame(y[:1500], every="1h"), 48).median("s0")
    assert np.abs(said - y[1500:]).max() < 0.02


def test_linear_recovers_an_autoregression() -> None:
    y = noise(4000)
    for i in range(1, 4000):
        y[i] += 0.9 * y[i - 1]
    answer = Linear().forecast(frame(10 + y, every="1h"), 24)
    expected = 10 + y[-1] * 0.9 ** np.arange(1, 25)
    assert np.abs(answer.median("s0") - expected).max() < 0.45  # the signal's own deviation is 2.3
    width = answer.of("s0")[:, -1] - answer.of("s0")[:, 0]
    known = 2 * 1.2816 * np.sqrt(np.cumsum(0.81 ** np.arange(24)))
    assert np.abs(width / known - 1).max() < 0.15


def test_linear_learns_beyond_its_context_and_refits_when_due() -> None:
    y = 20 + 3 * daily(96 * 40) + 0.3 * walk(96 * 40)
    whole = frame(y)
    one = Linear(refit="1d")
    one.forecast(whole.rows(0, 960), 24)
    first = one.snapshot()
    one.forecast(whole.rows(48, 960 + 48), 24)
    assert one.snapshot()["time"] == first["time"]  # half a day on: nothing new
    one.forecast(whole.rows(96, 960 + 96), 24)
    assert one.snapshot()["time"] == whole.time[960 + 95]
    assert one.snapshot()["count"][0] > first["count"][0] + 90
    for day in range(2, 30):
        one.forecast(whole.rows(96 * day, 960 + 96 * day), 24)
    fresh = Linear(refit="1d")
    fresh.forecast(whole.rows(96 * 29, 960 + 96 * 29), 24)
    assert one.snapshot()["count"][0] > 4 * fresh.snapshot()["count"][0]


def test_linear_is_not_certain_of_a_signal_it_hardly_saw() -> None:
    rare = np.full(1500, np.nan)
    rare[::50] = 10 + noise(30)
    answer = Linear().forecast(frame(daily(1500), rare, np.full(1500, 7.0), 1e30 * walk(1500)), 24)
    width = answer.values[:, :, -1] - answer.values[:, :, 0]
    assert (width[1:] > 0).all()
    assert np.isfinite(answer.values).all()


def test_linear_answers_a_shorter_horizon_from_the_same_fit() -> None:
    context = frame(20 + 3 * daily(1500) + 0.3 * walk(1500))
    one = Linear()
    assert np.array_equal(one.forecast(context, 96).values[:, :10], one.forecast(context, 10).values)


def test_what_nobody_can_answer() -> None:
    context = frame(walk(50))
    for forecaster in (Naive(), SeasonalNaive(), Theta(), Linear()):
        with pytest.raises(InputError, match="a horizon of 0 steps is not ahead"):
            forecaster.forecast(context, 0)
        with pytest.raises(InputError, match="the context of the forecast has no rows"):
            forecaster.forecast(context.rows(0, 0), 4)
        with pytest.raises(InputError, match="do not rise between 0 and 1"):
            forecaster.forecast(context, 4, levels=(0.9, 0.1))


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="seasonal_naive: season: 'often' is not a duration"):
        SeasonalNaive(season="often")
    with pytest.raises(ConfigError, match="theta: season 0 must be 1 or more steps"):
        Theta(season=0)
    with pytest.raises(ConfigError, match="linear: refit: "):
        Linear(refit="soon")
    with pytest.raises(ConfigError, match="linear: lags 'many' must be 4 or more rows"):
        Linear(lags="many")
