"""The statistics behind the detectors, on arrays: closed forms, planted faults, missing values, portions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.core.codec import decode, encode
from gemel.core.values import Floats
from gemel.detectors.statistics.calibration import Calibration, cauchy, fisher
from gemel.detectors.statistics.changepoint import Bayes, Cusum
from gemel.detectors.statistics.components import Components
from gemel.detectors.statistics.degradation import Degradation
from gemel.detectors.statistics.discord import Discord
from gemel.detectors.statistics.judge import Judge, Statistics, delayed
from gemel.detectors.statistics.level import Level, fit_level, wandering
from gemel.detectors.statistics.waveform import Waveform, features, names

MINUTE = 60 * 10**9
KINDS: dict[str, Callable[[], Statistics]] = {
    "level": lambda: Level(10),
    "fixed": lambda: Level(10, fixed=True),
    "cusum": Cusum,
    "bayes": lambda: Bayes(10),
    "components": lambda: Components(5),
    "discord": lambda: Discord(12),
    "waveform": lambda: Waveform(64, 4),
}


def rig(seed: int, rows: int = 700) -> Floats:
    """Four signals: two that move together, one alone, one that wanders."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(rows)
    wander = np.cumsum(0.05 * rng.standard_normal(rows))
    noise = 0.3 * rng.standard_normal((rows, 4))
    columns = [common, 2 * common, np.zeros(rows), wander]
    return np.asarray(np.stack(columns, axis=1) + noise + [5.0, 0.0, 100.0, -3.0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_shift_stands_out_and_is_put_down_to_its_signal(kind: str) -> None:
    x = rig(1)
    x[600:, 2] += 3.0 if kind != "waveform" else 3.0 * np.random.default_rng(2).standard_normal(100)
    one = KINDS[kind]()
    one.fit(x[:500])
    scores, parts = one.score(x[500:])
    assert scores.shape[0] == 200
    assert parts.shape == (200, 4)
    assert (parts >= 0).all()
    late = slice(190, 200) if kind != "bayes" else slice(100, 120)
    assert np.nanmax(scores[late], axis=1).mean() > 2 * np.nanmax(scores[:90], axis=1).mean()
    assert parts[late].sum(axis=0).argmax() == 2


@pytest.mark.parametrize("kind", KINDS)
def test_portions_and_a_restart_change_nothing(kind: str) -> None:
    x = rig(3)
    whole, pieces = KINDS[kind](), KINDS[kind]()
    whole.fit(x[:400])
    pieces.fit(x[:400])
    expected = whole.score(x[400:])[0]
    found = [pieces.score(x[400:401])[0], pieces.score(x[401:403])[0], pieces.score(x[403:550])[0]]
    resumed = KINDS[kind]()
    resumed.restore(decode(encode(pieces.snapshot())))
    found.append(resumed.score(x[550:])[0])
    np.testing.assert_allclose(np.vstack(found), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_holes_dead_and_constant_signals_are_no_evidence(kind: str) -> None:
    x = rig(4)
    x[:, 3] = np.nan  # never heard
    x[::7, 0] = np.nan
    x[:, 2] = 100.0  # never moves
    one = KINDS[kind]()
    one.fit(x[:400])
    fresh = x[400:].copy()
    fresh[:, 3] = 7.0  # now it is heard, but there is nothing to hold it against
    scores, parts = one.score(fresh)
    assert not np.isinf(scores).any()
    assert np.isfinite(scores[:, 0]).all()
    assert np.isfinite(parts).all()
    if kind != "waveform":
        assert parts[:, 3].max() < 1e-9


def test_a_level_that_wanders_is_told_from_one_that_holds_still() -> None:
    rng = np.random.default_rng(5)
    still, walk = rng.standard_normal(4000), np.cumsum(rng.standard_normal(4000) * 0.5) + rng.standard_normal(4000)
    q, r = fit_level(np.stack([still, walk], axis=1))
    assert q[0] < 1e-3
    assert 0.1 < q[1] / r[1] < 1.0  # the truth is 0.25
    assert r[0] == pytest.approx(1.0, rel=0.1)


def test_a_signal_without_a_fixed_place_is_compared_with_a_moment_ago() -> None:
    rng = np.random.default_rng(17)
    walk = np.cumsum(rng.standard_normal(3000))
    x = np.stack([walk, rng.standard_normal(3000)], axis=1) + 0.2 * rng.standard_normal((3000, 2))
    for one in (Components(10), Level(10, fixed=True)):
        one.fit(x[:1000])
        scores = one.score(x[1000:])[0]
        assert np.nanmax(scores[-500:]) < 3 * np.nanmax(scores[:500]) + 10


def test_control_limits_are_passed_as_often_as_they_say() -> None:
    rng = np.random.default_rng(6)
    mix = rng.standard_normal((3, 8))
    x = rng.standard_normal((40_000, 3)) @ mix + 0.5 * rng.standard_normal((40_000, 8))
    parts = Components(1, 0.9)
    parts.fit(x[:5000])
    scores = parts.score(x[5000:])[0]
    for p in (0.05, 0.01):
        passed = (scores > parts.limits(p)).mean(axis=0)
        assert passed == pytest.approx([p, p], rel=0.35), p
    passed = (scores > parts.limits(0.001)).mean(axis=0)
    assert passed == pytest.approx([0.001, 0.001], rel=0.7)


def test_t2_is_the_mahalanobis_distance_when_all_components_are_kept() -> None:
    x = rig(7)[:, :3]
    parts = Components(1, 0.999999999)
    parts.fit(x[:400])
    z = (x - x[:400].mean(axis=0)) / x[:400].std(axis=0)
    inverse = np.linalg.inv(z[:400].T @ z[:400] / 399)
    np.testing.assert_allclose(parts.score(x)[0][:, 0], np.einsum("ti,ij,tj->t", z, inverse, z), rtol=1e-6)


def test_the_discord_is_where_the_odd_beat_is() -> None:
    t = np.arange(1200)
    x = np.sin(t / 5.0)[:, None] + 0.05 * np.random.default_rng(8).standard_normal((1200, 1))
    x[1000:1030, 0] = np.sin(np.arange(30) / 2.5)  # twice as fast, no higher
    discord = Discord(30, shape=True)
    discord.fit(x[:800])
    scores = discord.score(x[800:])[0][:, 0]
    assert 200 <= scores.argmax() <= 235


def test_bearing_features_of_known_waveforms() -> None:
    t, rng = np.arange(1024) / 1024.0, np.random.default_rng(9)
    sine = np.sin(2 * np.pi * 64 * t)
    noise = rng.standard_normal(1024)
    knocks = 0.1 * noise.copy()
    knocks[::64] += 5.0
    found = features(np.stack([sine, noise, knocks], axis=1)[None], bands=8)[0]
    place = {name: i for i, name in enumerate(names(8))}
    assert found[0, place["rms"]] == pytest.approx(math.log(math.sqrt(0.5)), abs=1e-6)
    assert found[0, place["crest"]] == pytest.approx(math.log(math.sqrt(2)), abs=1e-3)
    assert math.exp(found[0, place["kurtosis"]]) == pytest.approx(1.5, rel=1e-3)
    assert math.exp(found[1, place["kurtosis"]]) == pytest.approx(3.0, abs=0.5)
    assert math.exp(found[2, place["kurtosis"]]) > 20
    assert found[2, place["envelope line"]] > found[1, place["envelope line"]] + 0.5
    bands = found[0, :8]
    assert bands.argmax() == 0 or bands.argmax() == 1  # 64 Hz is the edge of the first eighth of 512 Hz


def test_cusum_finds_a_small_shift_as_fast_as_theory_says() -> None:
    rng = np.random.default_rng(10)
    delays = []
    for _ in range(60):
        x = rng.standard_normal((600, 1))
        x[400:] += 1.0
        cusum = Cusum(0.5)
        cusum.fit(x[:400])
        delays.append(int((cusum.score(x[400:])[0][:, 0] > 5.0).argmax()))
    assert np.mean(delays) == pytest.approx(10.4, rel=0.25)  # ARL of Page's test at k = 0.5, h = 5, shift 1


def test_bayes_knows_when_it_changed() -> None:
    x = np.random.default_rng(11).standard_normal((900, 1))
    x[700:] = 3 * x[700:] + 4.0  # mean and spread
    bayes = Bayes(10)
    bayes.fit(x[:500])
    odds = bayes.score(x[500:])[0][:, 0]
    assert (odds[:195] < 0).mean() > 0.97
    assert odds[200:210].max() > 5
    assert (odds[230:] < 0).all()


def test_the_index_of_wear_never_falls_is_doubted_when_the_plant_recovers_and_starts_anew_after_a_repair() -> None:
    rng = np.random.default_rng(12)
    x = rng.standard_normal((1500, 3))
    x[600:1000] += np.linspace(0, 4, 400)[:, None] * [1.0, 0.5, 0.0]
    wear = Degradation(20, fresh=100)
    wear.fit(x[:500])
    index, valid, parts = wear.index(x[500:])
    assert (np.diff(index[:550]) >= 0).all()
    assert index[80] < 1.5
    assert index[499] > 4
    assert valid[300:500].all()
    assert not valid[540:600].any()  # it is new again, but not for long enough
    assert index[700] < 1.5
    assert valid[700]
    assert parts[495].argmax() == 0
    silent = np.full((5, 3), np.nan)
    silent[:, 0] = 0.0
    assert not wear.index(np.repeat(silent, 10, axis=0))[1][-1]  # one of three signals is too few


@given(st.lists(st.floats(-50, 50), min_size=35, max_size=200), st.lists(st.floats(-80, 200), min_size=2, max_size=20))
@settings(max_examples=60, deadline=None)
def test_p_values_fall_as_scores_rise(scores: list[float], fresh: list[float]) -> None:
    calibration = Calibration()
    calibration.add(np.array(scores))
    p = calibration.p(np.sort(np.array(fresh)))
    assert ((p > 0) & (p <= 1)).all()
    assert (np.diff(p) <= 1e-12).all()
    assert calibration.p(np.array([np.nan, np.inf]))[0] == 1.0


def test_p_values_of_a_normal_time_are_uniform_and_their_tail_goes_on() -> None:
    rng = np.random.default_rng(13)
    calibration = Calibration(memory=20_000)
    calibration.add(rng.standard_exponential(20_000))
    p = calibration.p(rng.standard_exponential(200_000))
    for level, rel in ((0.5, 0.05), (0.1, 0.1), (0.01, 0.3), (0.001, 0.5), (1e-4, 0.7)):
        assert (p < level).mean() == pytest.approx(level, rel=rel), level


def test_combined_p_values() -> None:
    rng = np.random.default_rng(14)
    p = rng.random((5, 100_000))
    for combine in (cauchy, fisher):
        found = combine(p)
        for level in (0.5, 0.05, 0.001):
            assert (found < level).mean() == pytest.approx(level, rel=0.35), (combine, level)
    assert cauchy(np.array([[1e-200], [0.5]]))[0] == pytest.approx(2e-200, rel=1e-3)
    assert fisher(np.array([[0.2], [0.2]]))[0] == pytest.approx(0.04 * (1 - math.log(0.04)))
    assert cauchy(np.array([[1.0], [1e-6]]))[0] < 3e-6  # the highest rank does not hide the other's alarm


def test_a_judge_gives_the_same_in_portions_and_after_a_restart() -> None:
    x = rig(15, 900)
    x[850:, 2] += 4.0

    def make() -> Judge:
        return Judge(Level(10), Components(5), alarms_per_week=20.0, step=MINUTE, wait=3)

    whole, pieces, resumed = make(), make(), make()
    whole.fit(x[:400])
    pieces.fit(x[:400])
    expected = whole.score(x[400:])[0]
    found = [pieces.score(x[400 + i : 401 + i])[0] for i in range(100)]
    resumed.restore(decode(encode(pieces.snapshot())))
    found.append(resumed.score(x[500:])[0])
    np.testing.assert_allclose(np.log(np.concatenate(found)), np.log(expected), rtol=1e-6, atol=1e-6)
    assert (expected[:440] < 1).mean() < 0.03
    assert expected[470:].max() < 1


def test_what_has_a_fixed_place() -> None:
    rng = np.random.default_rng(18)
    x = rng.standard_normal((2000, 3))
    for t in range(1, 2000):
        x[t, 1] += 0.8 * x[t - 1, 1]  # comes back
        x[t, 2] = x[t - 1, 2] + 0.3 * x[t, 2]  # does not
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    assert wandering(*fit_level(z), len(z)).tolist() == [False, False, True]


def test_a_signal_that_strays_in_its_normal_time_is_trusted_less() -> None:
    rng = np.random.default_rng(16)
    x = rng.standard_normal((500, 2))
    x[200:300, 1] += 6.0  # the normal time itself has such a step
    x[450:] += 4.0
    judge = Judge(Level(10, fixed=True), alarms_per_week=5.0, step=MINUTE)
    judge.fit(x[:400])
    strange = judge.score(x[400:])[0]
    assert (strange[:50] > 1).all()
    assert strange[-1] < 1
    p = [one.p(np.array([16.0]))[0] for one in judge.calibrations[0]]
    assert p[0] < 1e-3 < 0.05 < p[1]


def test_an_alarm_waits_and_stands() -> None:
    strange = np.array([0, 1, 0, 0, 1, 0, 0, 0, 0], bool)
    assert np.flatnonzero(delayed(strange)).tolist() == [1, 4]
    assert np.flatnonzero(delayed(strange, 2)).tolist() == [1, 2, 3, 4, 5, 6]
    x = np.random.default_rng(19).standard_normal((800, 1))
    x[700:] += 8.0
    soon, later = (Judge(Level(5), alarms_per_week=0.01, wait=wait, step=MINUTE) for wait in (1, 10))
    firsts = []
    for judge in (soon, later):
        judge.fit(x[:500])
        firsts.append(int((judge.score(x[500:])[0] < 1).argmax()))
    assert firsts[1] == firsts[0] + 9


def test_the_rate_is_what_its_own_past_shows() -> None:
    rng = np.random.default_rng(20)
    x = np.zeros((60_000, 2))
    noise = rng.standard_normal(x.shape)
    for t in range(1, len(x)):
        x[t] = 0.7 * x[t - 1] + noise[t]
    judge = Judge(Components(3), alarms_per_week=6.0, step=MINUTE, wait=2)
    judge.fit(x[:1000])
    alarm = delayed(judge.score(x[1000:])[0] < 1, 10)[3000:]
    weeks = len(alarm) / 10_080
    assert (np.diff(alarm.astype(int)) == 1).sum() / weeks == pytest.approx(6.0, rel=0.5)


def test_a_level_that_stays_away_becomes_the_level() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1600, 2))
    x[600:, 0] += 8.0
    one = Level(10)
    one.fit(x[:400])
    strange = one.score(x[400:])[0] > 15.0
    assert strange[210:690, 0].all(), "held to what it was for fifty windows"
    assert strange[730:, 0].mean() < 0.02
    assert strange[:, 1].mean() < 0.02
