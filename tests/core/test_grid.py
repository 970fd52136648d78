"""Points to frames, against a slow and plain reading of the same rules."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.core.grid import HOLD, fill, regular, union
from gemel.core.values import BAD, GOOD, IMPUTED, UNCERTAIN

NAMES = ("a", "b", "c")
Point = tuple[int, int, float, int]  # signal, time, value, quality
points = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(-40, 140),
        st.one_of(st.floats(-1e3, 1e3), st.just(math.nan)),
        st.sampled_from([GOOD, UNCERTAIN, BAD, IMPUTED]),
    ),
    max_size=60,
)


def columns(rows: list[Point]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([r[0] for r in rows], np.int32),
        np.array([r[1] for r in rows], np.int64),
        np.array([r[2] for r in rows], np.float64),
        np.array([r[3] for r in rows], np.uint8),
    )


@settings(max_examples=100, deadline=None)
@given(points)
def test_union_holds_the_latest_of_each_stamp(rows: list[Point]) -> None:
    frame = union(*columns(rows), (0, 2), ("a", "c")) if not any(r[0] == 1 for r in rows) else None
    if frame is None:
        rows = [r for r in rows if r[0] != 1]
        frame = union(*columns(rows), (0, 2), ("a", "c"))
    held = {(s, t): (v, q) for s, t, v, q in rows}  # a later row of the same key wins
    assert frame.time.tolist() == sorted({t for _, t in held})
    for i, t in enumerate(frame.time.tolist()):
        for j, place in enumerate((0, 2)):
            value, quality = held.get((place, t), (math.nan, BAD))
            np.testing.assert_equal(frame.values[i, j], value)
            assert frame.quality[i, j] == quality


@settings(max_examples=100, deadline=None)
@given(points, st.integers(-20, 60), st.integers(0, 80), st.integers(1, 30))
def test_a_cell_is_the_mean_of_its_usable_points(rows: list[Point], start: int, length: int, every: int) -> None:
    frame = regular(*columns(rows), (0, 1, 2), NAMES, start, start + length, every, hold=0)
    assert frame.time.tolist() == [g for g in range(start, start + length + 1) if g % every == 0]
    held = {(s, t): (v, q) for s, t, v, q in rows}
    for i, g in enumerate(frame.time.tolist()):
        for place in range(3):
            cell = [
                (v, q)
                for (s, t), (v, q) in held.items()
                if s == place and g - every < t <= g and q != BAD and not math.isnan(v)
            ]
            if not cell:
                assert math.isnan(frame.values[i, place])
                assert frame.quality[i, place] == BAD
            else:
                np.testing.assert_allclose(frame.values[i, place], np.mean([v for v, _ in cell]), atol=1e-9)
                doubt = any(q != GOOD for _, q in cell)
                assert frame.quality[i, place] == (UNCERTAIN if doubt else GOOD)


@given(st.lists(st.one_of(st.none(), st.floats(-10, 10)), max_size=40), st.integers(1, 6))
def test_short_gaps_are_held_and_flagged(series: list[float | None], hold: int) -> None:
    values = np.array([math.nan if v is None else v for v in series])[:, None]
    quality = np.where(np.isnan(values), BAD, GOOD).astype(np.uint8)
    fill(values, quality, hold)
    last, gap = math.nan, 0
    for i, v in enumerate(series):
        last, gap = (last, gap + 1) if v is None else (v, 0)
        expected = last if gap <= hold else math.nan
        np.testing.assert_equal(values[i, 0], expected)
        state = GOOD if v is not None else (IMPUTED if gap <= hold and not math.isnan(last) else BAD)
        assert quality[i, 0] == state


def test_a_frame_without_points_is_all_missing() -> None:
    frame = regular(*columns([]), (0, 1), ("a", "b"), 0, 100, 10)
    assert len(frame) == 11
    assert np.isnan(frame.values).all()
    assert (frame.quality == BAD).all()
    assert len(union(*columns([]), (0, 1), ("a", "b"))) == 0


def test_the_hold_is_counted_in_steps_of_the_grid() -> None:
    frame = regular(*columns([(0, 10, 1.0, GOOD)]), (0,), ("a",), 10, 100, 10)
    assert (frame.quality[:, 0] == IMPUTED).sum() == HOLD


def test_a_long_window_keeps_its_last_row() -> None:
    quarter = 15 * 60 * 10**9
    time = 1_467_331_200 * 10**9 + quarter * np.arange(400 * 96 + 1)
    zeros = np.zeros(len(time))
    start, end = int(time[0]), int(time[-1])
    frame = regular(zeros.astype(np.int32), time, zeros, zeros.astype(np.uint8), [0], ["a"], start, end, quarter)
    assert len(frame) == len(time)
    assert frame.time[-1] == end
