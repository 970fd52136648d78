"""What a user sees of the transforms: which points are marked, and that nothing depends on how the stream is cut."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError
from gemel.core.registry import part
from gemel.core.setting import Setting
from gemel.core.units import SECOND, duration
from gemel.core.values import BAD, GOOD, UNCERTAIN, Batch, Signal, Signals
from gemel.testing import check_transform

MINUTE = 60 * SECOND
START = 1_600_000_000 * SECOND
SIGNALS = (
    Signal("oil", unit="degC", low=-40, high=150, slew=0.5),
    Signal("load", unit="kW", low=0, high=1e7),
    Signal("fan", type="state", states=("off", "on")),
    Signal("limit", role="controlled"),
    Signal("price", role="known", low=-500, high=3000),
)
MAKERS: dict[str, dict[str, Any]] = {
    "units": {"have": {"oil": "degF", "load": "MW"}},
    "limits": {},
    "hampel": {"window": 9, "sigma": 4.0},
    "stuck": {"longer": "10min", "chance": 0.01},
    "late": {"lateness": "5min"},
}


def process(transforms: list[Any], batch: Batch) -> Batch:
    for transform in transforms:
        batch = transform.apply(batch)
    return batch


def setting(signals: tuple[Signal, ...] = SIGNALS) -> Setting:
    return Setting("t", "", Signals(signals), Virtual(), MINUTE, MINUTE, 0, Path())


KINDS = {kind: part("transforms", kind) for kind in MAKERS}


def bound(kind: str, twin: tuple[Signal, ...] = SIGNALS, /, **keys: Any) -> Any:
    made = KINDS[kind](**keys)
    made.bind(setting(twin))
    return made


def series(values: Any, *, signal: int = 0, every: int = MINUTE) -> Batch:
    """One signal at even times."""
    value = np.asarray(values, np.float64)
    return Batch.of(np.full(len(value), signal), START + every * np.arange(len(value)), value)


@pytest.mark.parametrize("kind", MAKERS)
def test_conformance(kind: str) -> None:
    for seed in range(3):
        check_transform(lambda: bound(kind, **MAKERS[kind]), signals=len(SIGNALS), drops=kind == "late", seed=seed)


point = st.tuples(
    st.integers(0, len(SIGNALS) - 1),
    st.integers(0, 12),
    st.sampled_from([0.0, 0.0, 1.0, 1.1, 1.2, 5.0, 200.0, np.nan, np.inf, -np.inf]),
)


@settings(max_examples=60, deadline=None)
@given(points=st.lists(point, max_size=60), cuts=st.lists(st.integers(0, 60), max_size=8))
def test_any_chopping_of_the_whole_chain_gives_the_same_points(
    points: list[tuple[int, int, float]], cuts: list[int]
) -> None:
    columns = [np.array([p[i] for p in points]) for i in range(3)]
    whole = Batch.of(columns[0], START + MINUTE * columns[1].astype(np.int64), columns[2])

    def chain() -> list[Any]:
        return [bound(kind, **keys) for kind, keys in MAKERS.items()]

    expected = process(chain(), whole)
    edges = [0, *sorted(min(c, len(points)) for c in cuts), len(points)]
    parts = chain()
    found = []
    for a, b in pairwise(edges):
        found.append(process(parts, whole.take(np.arange(a, b))))
        fresh = chain()
        for old, new in zip(parts, fresh, strict=True):
            if hasattr(old, "snapshot"):
                new.restore(old.snapshot())
        parts = fresh
    for name in ("signal", "time", "value", "quality"):
        together = np.concatenate([getattr(b, name) for b in found])
        np.testing.assert_array_equal(together, getattr(expected, name))


def test_units_convert_to_the_unit_of_the_signal() -> None:
    batch = Batch.of([0, 1, 3], [START] * 3, [212.0, 2.0, 7.0])
    found = bound("units", have={"oil": "degF", "load": "MW"}).apply(batch)
    np.testing.assert_allclose(found.value, [100.0, 2000.0, 7.0])


def test_units_that_do_not_fit_are_all_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        bound("units", have={"oill": "degF", "load": "degC"})
    assert "unknown signal 'oill', did you mean 'oil'?" in caught.value.problems[0]
    assert "signal 'load'" in caught.value.problems[1]


def test_limits_mark_what_cannot_be() -> None:
    batch = Batch.of([0] * 6 + [4], START + 600 * SECOND * np.arange(7), [150.0, 150.1, -41, np.nan, np.inf, 20, -501])
    assert bound("limits").apply(batch).quality.tolist() == [GOOD, BAD, BAD, BAD, BAD, GOOD, BAD]


def test_slew_marks_both_flanks_and_forgives_time() -> None:
    batch = series([20, 20.5, 80, 21, 22], every=60 * SECOND)  # 0.5 K/s is 30 K a minute
    assert bound("limits").apply(batch).quality.tolist() == [GOOD, GOOD, UNCERTAIN, UNCERTAIN, GOOD]
    slow = series([20, 80], every=121 * SECOND)
    assert bound("limits").apply(slow).quality.tolist() == [GOOD, GOOD]


def test_slew_leaves_late_points_alone() -> None:
    batch = Batch.of([0, 0, 0], [START + MINUTE, START, START + 2 * MINUTE], [20.0, 140.0, 21.0])
    assert bound("limits").apply(batch).quality.tolist() == [GOOD, GOOD, GOOD]


def test_hampel_finds_spikes_in_noise_and_little_else() -> None:
    rng = np.random.default_rng(3)
    value = 60 + 10 * np.sin(np.arange(5000) / 200) + rng.normal(0, 0.3, 5000)
    spikes = np.arange(100, 5000, 97)
    value[spikes] += rng.choice([-1, 1], len(spikes)) * 8
    quality = bound("hampel").apply(series(value)).quality
    assert (quality[spikes] == BAD).mean() == 1.0
    assert (np.delete(quality, spikes) == BAD).mean() < 1e-3


def test_hampel_marks_the_start_of_a_step_and_no_more() -> None:
    rng = np.random.default_rng(4)
    value = np.repeat([20.0, 60.0], 200) + rng.normal(0, 0.2, 400)
    for burst in (1, 2, 5):
        quality = bound("hampel", burst=burst).apply(series(value)).quality
        assert np.flatnonzero(quality == BAD).tolist() == list(range(200, 200 + burst))


def test_hampel_learns_the_resolution_of_a_coarse_sensor() -> None:
    value = np.round(20 + np.arange(400) / 100, 1)  # a step of one digit every ten points: most deviations are zero
    assert (bound("hampel").apply(series(value)).quality == GOOD).all()
    value[300] += 5
    assert np.flatnonzero(bound("hampel").apply(series(value)).quality).tolist() == [300]


def test_hampel_floor_and_mark() -> None:
    value = np.r_[np.tile([20.0, 20.1], 50), 25.0, 20.0]
    assert bound("hampel").apply(series(value)).quality[100] == BAD
    assert bound("hampel", mark="uncertain").apply(series(value)).quality[100] == UNCERTAIN
    assert bound("hampel", floor={"oil": 1.0}).apply(series(value)).quality[100] == GOOD


def test_hampel_looks_at_measured_numbers_only() -> None:
    value = np.r_[np.tile([0.0, 1.0], 50), 50.0]
    for signal in (2, 3, 4):
        assert (bound("hampel").apply(series(value, signal=signal)).quality == GOOD).all()
    assert bound("hampel", signals=["limit"]).apply(series(value, signal=3)).quality[-1] == BAD
    assert (bound("hampel", skip=["oil"]).apply(series(value)).quality == GOOD).all()


def test_stuck_finds_a_frozen_sensor_after_its_time() -> None:
    rng = np.random.default_rng(5)
    value = 60 + rng.normal(0, 1, 600)
    value[300:500] = value[300]
    quality = bound("stuck", longer="30min").apply(series(value)).quality
    assert np.flatnonzero(quality == UNCERTAIN).tolist() == list(range(331, 500))


def test_stuck_gives_a_coarse_sensor_the_rests_it_takes() -> None:
    value = np.repeat(np.round(20 + np.cumsum(np.ones(20)) / 2, 1), 60)  # moves once an hour
    assert (bound("stuck", longer="30min").apply(series(value)).quality == GOOD).all()
    frozen = np.r_[value, np.full(60 * 24, value[-1])]
    quality = bound("stuck", longer="30min").apply(series(frozen)).quality
    assert quality[-1] == UNCERTAIN
    assert (quality[: len(value) + 300] == GOOD).all()


def test_stuck_spares_constants_states_setpoints_and_rest_at_a_limit() -> None:
    moving = np.random.default_rng(6).normal(50, 1, 100)
    for signal, value in ((0, np.full(500, 20.0)), (1, np.r_[moving, np.zeros(500)]), (2, np.r_[moving, np.ones(500)])):
        assert (bound("stuck").apply(series(value, signal=signal)).quality == GOOD).all()
    setpoint = series(np.r_[moving, np.ones(500)], signal=3)
    assert (bound("stuck", signals=["limit"]).apply(setpoint).quality == GOOD).all()


def test_late_marks_keeps_and_counts() -> None:
    times = START + MINUTE * np.array([0, 10, 10, 4, 6, 11, 11])
    found = bound("late", lateness="5min").apply(Batch.of([0] * 7, times, [1.0, 2, 2, 3, 4, np.nan, np.nan]))
    assert found.value.tolist()[:4] == [1.0, 2.0, 3.0, 4.0]
    assert found.quality.tolist() == [GOOD, GOOD, UNCERTAIN, GOOD, GOOD]
    assert len(found) == 5


def test_late_counts_copies_across_batches_and_restarts() -> None:
    late = bound("late")
    late.apply(series([1.0, 2.0]))
    again = bound("late")
    again.restore(late.snapshot())
    found = again.apply(Batch.of([0, 0], [START + MINUTE] * 2, [2.0, 2.5]))  # a copy, and a revision
    assert found.value.tolist() == [2.5]
    assert again.dropped == {"oil": 1}


def test_late_leaves_known_signals_alone() -> None:
    times = START + duration("1d") * np.array([3, 2, 1])
    assert (bound("late").apply(Batch.of([4] * 3, times, [1.0, 2.0, 3.0])).quality == GOOD).all()


def test_a_memory_follows_its_signal_by_name() -> None:
    before = bound("limits", SIGNALS)
    before.apply(series([20.0]))
    after = bound("limits", (Signal("new", slew=1.0), *SIGNALS))
    after.restore(before.snapshot())
    found = after.apply(Batch.of([0, 1], [START + SECOND] * 2, [99.0, 99.0]))
    assert found.quality.tolist() == [GOOD, UNCERTAIN]


@pytest.mark.parametrize(
    ("kind", "keys", "text"),
    [
        ("hampel", {"window": 3}, "hampel: window 3 is below 5 points"),
        ("hampel", {"mark": "baad"}, "mark 'baad', did you mean 'bad'?"),
        ("hampel", {"signals": ["oi"]}, "hampel: unknown signal 'oi', did you mean 'oil'?"),
        ("stuck", {"longer": "2 moons"}, "stuck: longer: '2 moons' is not a duration"),
        ("stuck", {"chance": 2.0}, "chance 2.0 is not between 0 and 1"),
        ("late", {"lateness": "soon"}, "late: lateness: 'soon' is not a duration"),
        ("units", {"have": {}}, "units: 'have' is empty"),
    ],
)
def test_a_wrong_key_is_named(kind: str, keys: dict[str, Any], text: str) -> None:
    make: Callable[[], Any] = lambda: bound(kind, **keys)  # noqa: E731
    with pytest.raises(ConfigError, match=text.replace("?", r"\?")):
        make()
