"""Remaining life on site: quantiles of a fleet whose law of wear is known, and bad telemetry refused by name.

`learned/` was made by `gemel.lab.life` from 40 units of tests/wear.py (seed 0).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wear
from gemel import Signal
from gemel.core.clock import Virtual
from gemel.core.codec import encode
from gemel.core.errors import ConfigError, PartError
from gemel.core.setting import Setting
from gemel.core.values import Batch, Finding, Floats, Signals
from gemel.detectors.life.condition import conditions, moves
from gemel.detectors.life.detector import Life
from gemel.detectors.life.ensemble import Ensemble
from gemel.detectors.life.view import View, filled
from gemel.loop.decide import Situation
from gemel.policies.maintenance import remaining
from gemel.stores.memory import Memory
from gemel.testing import check_detector

HERE = Path(__file__).parent
HOUR = 3600 * 10**9
START = 1_700_000_000 * 10**9 // HOUR * HOUR
NAMES = ("way", *wear.CHANNELS)
PRESS = tuple(Signal(f"press_{n}", asset="press") for n in NAMES)


def course(rows: Floats, names: tuple[Signal, ...] = PRESS, **keys: Any) -> tuple[Any, list[Situation]]:
    """A way to make the detector bound to these rows [t, s], one an hour, and a turn after each."""
    store, signals = Memory(), Signals(names)
    store.open(signals)
    time = np.repeat(START + np.arange(len(rows)) * HOUR, rows.shape[1])
    signal = np.tile(np.arange(rows.shape[1], dtype=np.int32), len(rows))
    there = np.isfinite(rows.ravel())
    store.append(Batch.of(signal[there], time[there], rows.ravel()[there]))
    setting = Setting("t", "", signals, Virtual(), HOUR, HOUR, 0, HERE, history=store.window)

    def make() -> Life:
        part = Life(model="learned", **keys)
        part.bind(setting)
        return part

    turns = [
        Situation(START + i * HOUR, HOUR, HOUR, signals, dict(zip([s.name for s in names], row.tolist(), strict=True)))
        for i, row in enumerate(rows)
    ]
    return make, turns


def news(rows: Floats, first: int = 0, **keys: Any) -> list[Finding]:
    make, turns = course(rows, **keys)
    part = make()
    return [f for turn in turns[first:] for f in part.inspect(turn)]


def life(seed: int = 3, length: int = 120) -> Floats:
    """A unit's rows, settings and channels, to its last cycle."""
    settings, values = wear.unit(np.random.default_rng(seed), length)
    return np.hstack([settings, values])


def lives(finding: Finding) -> dict[float, float]:
    return {float(k.removeprefix("life ")): v for k, v in finding.evidence.items() if k.startswith("life ")}


def test_quantiles_hold_on_units_never_seen() -> None:
    ensemble, rng = Ensemble(HERE / "learned"), np.random.default_rng(5)
    usual = ensemble.meaning.usual
    inside, off, plain = [], [], []
    for settings, values in wear.units(150, seed=1):
        age = int(rng.integers(12, len(values)))
        answer, quantiles = ensemble.ask([usual.deviations(settings[:age], values[:age, :3])])
        left = len(values) - age
        inside.append(quantiles[0, 0] <= left <= quantiles[0, -1])
        assert (np.diff(quantiles[0]) >= 0).all()
        off.append(answer[0] - min(left, ensemble.meaning.cap))
        plain.append(np.median(ensemble.meaning.young(age)) - left)
    assert 0.84 <= np.mean(inside) <= 0.96
    assert np.std(off) < 0.6 * np.std(plain)


def test_it_keeps_the_contract_and_ends_near_the_end() -> None:
    found = check_detector(*course(life(length=80)))
    assert found[0].subject == "press"
    assert "too early" in found[0].text
    assert all(f.open and f.by == "life" for f in found)
    last = lives(found[-1])
    assert last[0.5] < 12
    assert found[-1].severity > 0.85
    wide = [lives(f)[0.95] - lives(f)[0.05] for f in found]
    assert wide[0] > 3 * wide[-1]


def test_the_policy_maintenance_reads_it() -> None:
    make, turns = course(life(length=100), cycle="30min")
    finding = make().inspect(turns[79])[0]
    situation = Situation(turns[79].now, HOUR, HOUR, turns[79].signals, {}, findings=(finding,))
    known = remaining(situation, "", "press")
    assert known is not None
    assert known.id == finding.id
    assert known.levels == (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    assert known.hours[0] <= 10 <= known.hours[-1]  # 20 cycles of half an hour


def test_it_can_be_asked_about_windows_that_never_were() -> None:
    make, turns = course(life())
    part = make()
    finding = part.inspect(turns[99])[0]
    sight = part.sight(finding)
    assert sight is not None
    assert sight.signals == tuple(s.name for s in PRESS[:4])
    rows = life()[:, :4]
    cool = rows.copy()
    cool[:, 1] = rows[:, 1].min()
    score = part.scored(finding, np.stack([rows[:40], rows[-40:], cool[-40:]]))
    assert score.shape == (3,)
    assert score[1] > score[0]
    assert score[2] < score[1]


def test_a_channel_that_is_missing_is_named() -> None:
    rows = life()
    with pytest.raises(ConfigError, match="press has no signal for hum"):
        news(rows[:, [0, 1, 3]], names=tuple(PRESS[i] for i in (0, 1, 3)))
    rows[70:, 2] = np.nan
    found = news(rows, first=60)
    assert lives(found[0])
    assert not lives(found[-1])
    assert found[-1].confidence == 0
    assert "press_hum not heard" in found[-1].text
    assert remaining(Situation(0, HOUR, HOUR, Signals(PRESS), {}, findings=(found[-1],)), "", "press") is None


def test_a_frozen_channel_is_named_until_it_moves_again() -> None:
    rows = life()
    rows[50:90, 1] = rows[50, 1]
    found = news(rows, first=45)
    silent = [f for f in found if not lives(f)]
    assert len(silent) == 1
    assert "press_heat stands still" in silent[0].text
    assert lives(found[-1])


def test_a_channel_in_another_unit_is_left_out_and_said() -> None:
    rows = life()
    rows[:, 1] = rows[:, 1] * 1.8 + 32
    fahrenheit, celsius = news(rows, first=80)[-1], news(life(), first=80)[-1]
    assert "press_heat left out" in fahrenheit.text
    assert fahrenheit.confidence <= celsius.confidence / 2
    assert lives(fahrenheit)
    rows[:, 2:4] *= 1000
    assert "far from all that was learned" in news(rows, first=80)[-1].text


def test_absurd_readings_and_holes_are_borne() -> None:
    rows = life(length=100)
    rows[20, 1], rows[30, 2], rows[40, 0], rows[50, 1], rows[60, 3] = 1e300, np.inf, 1e300, -np.inf, np.nan
    rows[70:74] = np.nan
    rows[::7, 4] = np.nan
    usual, odd = news(life(length=100))[-1], news(rows)[-1]
    assert lives(odd)[0.05] <= lives(usual)[0.5] <= lives(odd)[0.95]


def test_a_way_of_running_never_learned_is_refused() -> None:
    rows = life()
    rows[:, 0] = 55.0
    found = news(rows, first=80)
    assert not lives(found[-1])
    assert "press_way: as in no condition that was learned" in found[-1].text


def test_a_counter_begins_a_new_unit_and_tells_what_was_not_heard() -> None:
    signals = (*PRESS, Signal("press_cycles", asset="press"))
    old, new = life(seed=3, length=80), life(seed=4, length=60)
    count = np.concatenate([np.arange(21, 81), np.arange(1, 61)])
    rows = np.hstack([np.vstack([old[20:], new]), count[:, None]])
    found = news(rows, names=signals, counter="{asset}_cycles")
    assert "its first 20 cycles were not heard" in found[0].text
    closed = [f for f in found if not f.open]
    assert [f.text for f in closed] == ["press was renewed"]
    after = found[found.index(closed[0]) + 1]
    assert after.id != closed[0].id
    assert after.evidence["age"] == 1
    assert found[-1].evidence["age"] > 40


def test_rows_that_are_no_cycles_are_refused_and_not_kept_for_ever() -> None:
    rows = np.tile(life(length=100), (7, 1))  # 700 rows; the oldest unit learned from grew 180 cycles old
    make, turns = course(rows)
    part = make()
    found = [f for turn in turns for f in part.inspect(turn)]
    assert "is a row a cycle? Set step or counter" in found[-1].text
    assert not lives(found[-1])
    assert found[-1].time == turns[540].now, "said once"
    assert len(encode(part.snapshot())) < 25_000
    counted = np.hstack([life(length=30), np.full((30, 1), 1e300)])
    absurd = news(counted, names=(*PRESS, Signal("press_cycles", asset="press")), counter="press_cycles")
    assert [bool(lives(f)) for f in absurd] == [False]


def test_hours_without_telemetry_are_no_cycles() -> None:
    rows = life(length=90)
    stood = np.vstack([rows[:50], np.full((300, rows.shape[1]), np.nan), rows[50:]])
    stood[60:340:20, 0] = 10.0  # the setting is told all the while
    through, paused = news(rows, first=89)[-1], news(stood, first=389)[-1]
    assert paused.evidence == through.evidence
    assert paused.evidence["age"] == 90


def test_signals_are_found_by_name_or_pattern() -> None:
    named = tuple(Signal(n, asset="mill") for n in NAMES)
    other = tuple(Signal(f"{n} of saw", asset="saw") for n in NAMES)
    rows = np.hstack([life(seed=3), life(seed=4)])
    pattern = {n: f"{n} of {{asset}}" for n in NAMES[:4]}
    assert {f.subject for f in news(life(), first=110, names=named)} == {"mill"}
    assert {f.subject for f in news(rows, first=110, names=(*named, *other), signals=pattern)} == {"saw"}


def test_settings_that_do_not_fit_are_said() -> None:
    with pytest.raises(ConfigError, match="cycle"):
        Life(model="learned", cycle="soon")
    with pytest.raises(ConfigError, match="nothing was learned of 'heet'"):
        news(life(), signals={"heet": "press_heat"})
    with pytest.raises(ConfigError, match="must be the name of a signal, not 1"):
        Life(model="learned", signals={"heat": 1})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="unknown counter"):
        news(life(), counter="{asset}_count")
    with pytest.raises(ConfigError, match="no signals of an asset 'pres'"):
        news(life(), assets=["pres"])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    shutil.copytree(HERE / "learned", tmp_path / "learned")
    trees = tmp_path / "learned" / "life-trees.onnx"
    trees.write_bytes(trees.read_bytes()[:-10])
    with pytest.raises(PartError, match=r"life-trees\.onnx"):
        Ensemble(tmp_path / "learned")


def test_what_is_seen_of_a_unit_is_its_own_past_only() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((90, 3))
    for view in (View(), View(first=5, spans=(4, 9), tokens=3, block=2)):
        whole, part = view.summary(x), view.summary(x[:40])
        assert np.allclose(whole[:40], part, atol=1e-6)
        assert np.array_equal(view.windows(x)[:40], view.windows(x[:40]))
        assert np.array_equal(view.windows(x)[-1:], view.windows(x, last=True))
        assert view.summary(x[: view.spans[-1]]).shape[1] == whole.shape[1]


def test_holes_are_filled_from_before() -> None:
    x = np.array([[np.nan, 1.0], [2.0, np.nan], [np.nan, 3.0]])
    assert filled(x).tolist() == [[0.0, 1.0], [2.0, 1.0], [2.0, 3.0]]


def test_conditions_are_found_where_there_are_some() -> None:
    rng = np.random.default_rng(0)
    assert len(conditions(rng.standard_normal((600, 3)))) == 1
    groups = rng.integers(0, 6, 600)
    centres = rng.uniform(-10, 10, (6, 3))
    assert len(conditions(centres[groups] + 0.01 * rng.standard_normal((600, 3)))) == 6


def test_a_channel_that_parts_ways_with_age_is_kept_even_if_its_mean_stays() -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 3, 100)[:, None]
    units = [np.hstack([ramp * (-1) ** i, 0 * ramp]) + 0.5 * rng.standard_normal((100, 2)) for i in range(20)]
    found: Mapping[int, float] = dict(enumerate(moves(units)))
    assert found[0] > 3
    assert found[1] < 1.3
