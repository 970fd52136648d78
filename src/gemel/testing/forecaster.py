"""A conformance check for forecasters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gemel.core.codec import decode, encode
from gemel.core.units import SECOND
from gemel.core.values import BAD, DECILES, GOOD, Floats, Forecast, Frame
from gemel.loop.forecast import Forecaster, Learning
from gemel.loop.process import Stateful

STEP = 900 * SECOND
NAMES = ("load", "level", "flow")


def check_forecaster(make: Callable[[], Forecaster], *, scale: bool = True, rows: int = 200) -> None:
    """Checks what `Forecaster` promises, and `Learning` and `Stateful` where it has them; raises `AssertionError`.

    `make` gives a fresh forecaster. `scale`: ten thousand times the values must give ten thousand times the answer.
    `rows`: the length of the usual context.
    """
    usual = _frame(_waves(rows))
    _check_answer(make, usual, 24)
    _check_answer(make, usual, 1, (0.5,))
    _check_answer(make, usual, rows + 7, (0.05, 0.25, 0.9))
    _check_repeatable(make, usual)
    for rows in (1, 2, 5):
        _check_answer(make, usual.last(rows), 24)
    _check_answer(make, _frame(np.full((60, 3), 21.5)), 24)
    _check_answer(make, _frame(np.zeros((60, 3))), 24)
    _check_gaps(make, usual)
    if scale:
        _check_scale(make, usual)
    if isinstance(make(), Learning | Stateful):
        _check_memory(make, usual)


def _waves(rows: int) -> Floats:
    """Three signals of different size: a daily wave with noise, a random walk, a straight line with noise. [t, 3]"""
    rng = np.random.default_rng(7)
    t = np.arange(rows)
    wave = 40.0 + 9.0 * np.sin(2 * np.pi * t / 96) + rng.normal(0, 1.0, rows)
    walk = 0.02 * np.cumsum(rng.normal(0, 1.0, rows))
    line = 5000.0 + 3.0 * t + rng.normal(0, 20.0, rows)
    return np.stack([wave, walk, line], axis=1)


def _frame(values: Floats) -> Frame:
    time = 1_700_000_100 * SECOND + STEP * np.arange(len(values), dtype=np.int64)
    quality = np.where(np.isfinite(values), GOOD, BAD).astype(np.uint8)
    return Frame(time, values, quality, NAMES)


def _check_answer(
    make: Callable[[], Forecaster], context: Frame, horizon: int, levels: tuple[float, ...] = DECILES
) -> Forecast:
    what = f"{len(context)} rows, {horizon} steps, levels {levels}"
    before = context.values.copy()
    answer = make().forecast(context, horizon, levels=levels)
    assert np.array_equal(before, context.values, equal_nan=True), "a forecast leaves its context alone"
    assert answer.values.shape == (3, horizon, len(levels)), f"values are [s, h, q]; {answer.values.shape} for {what}"
    assert answer.values.dtype == np.float32, f"values are float32, not {answer.values.dtype}"
    assert tuple(answer.levels) == levels, f"the levels asked for are {levels}, not {answer.levels}"
    assert tuple(answer.signals) == context.signals, "every signal of the context is foreseen, in its order"
    assert answer.issued == context.time[-1], "a forecast is issued at the context's last time"
    if len(context) > 1:
        expected = answer.issued + STEP * np.arange(1, horizon + 1)
        assert np.array_equal(answer.time, expected), "the forecast's times continue those of the context"
    known = np.isfinite(context.values).any(axis=0)
    assert np.isfinite(answer.values[known]).all(), f"quantiles of a known signal are finite; {what}"
    assert (np.diff(answer.values[known], axis=2) >= 0).all(), f"quantiles do not cross; {what}"
    return answer


def _check_repeatable(make: Callable[[], Forecaster], context: Frame) -> None:
    one = make()
    first, again = one.forecast(context, 24), one.forecast(context, 24)
    assert _same(first, again), "the same question twice has the same answer"
    assert _same(first, make().forecast(context, 24)), "two fresh forecasters give the same answer"


def _check_gaps(make: Callable[[], Forecaster], usual: Frame) -> None:
    rng = np.random.default_rng(3)
    scattered = np.where(rng.random(usual.values.shape) < 0.3, np.nan, usual.values)
    ended = usual.values.copy()
    ended[-50:, 0] = np.nan
    begun = usual.values.copy()
    begun[:-3, 1] = np.nan
    never = usual.values.copy()
    never[:, 2] = np.nan
    wild = usual.values.copy()
    wild[[20, 21, -1], 0] = np.inf
    for values in (scattered, ended, begun, never, wild, np.full_like(never, np.nan)):
        _check_answer(make, _frame(values), 24)


def _check_scale(make: Callable[[], Forecaster], usual: Frame) -> None:
    plain = make().forecast(usual, 24).values
    large = make().forecast(_frame(usual.values * 1e4), 24).values / 1e4
    size = np.abs(usual.values).max(axis=0)[:, None, None]
    assert (np.abs(large - plain) <= 1e-3 * size).all(), "values in another unit give the same forecast in that unit"


def _check_memory(make: Callable[[], Forecaster], usual: Frame) -> None:
    one, other = make(), make()
    assert isinstance(one, Stateful), "a forecaster that learns has snapshot and restore"
    assert isinstance(other, Stateful)
    half, end = len(usual) // 2, len(usual)
    seen = _live([one], usual, range(half, end - 24, 12), 0)
    held = one.snapshot()
    written = encode(held)
    other.restore(decode(written))
    _live([one, other], usual, range(end - 24, end, 12), seen)
    assert encode(held) == written, "a snapshot stays as it was taken"


def _live(forecasters: Sequence[Forecaster], usual: Frame, turns: range, seen: int) -> int:
    """Learn and forecast as a twin does; all must say the same. Returns the rows seen."""
    for now in turns:
        for forecaster in forecasters:
            if isinstance(forecaster, Learning):
                forecaster.learn(usual.rows(seen, now))
                forecaster.learn(usual.rows(now, now))  # nothing new is no trouble
        answers = [f.forecast(usual.rows(0, now), 24) for f in forecasters]
        assert all(_same(answers[0], a) for a in answers), "a restart changes no forecast"
        seen = now
    return seen


def _same(one: Forecast, other: Forecast) -> bool:
    return np.array_equal(one.values, other.values, equal_nan=True) and np.array_equal(one.time, other.time)
