"""A conformance check for estimators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gemel.core.values import BAD, Frame
from gemel.loop.estimate import Estimator


def check_estimator(make: Callable[[], Estimator], frame: Frame) -> None:
    """Checks what `Estimator` promises; raises `AssertionError`.

    `make` gives a fresh, bound estimator; `frame` holds eight rows or more of usable telemetry on a regular grid.
    """
    half = len(frame) // 2
    estimator = make()
    first = estimator.update(None, frame.rows(0, half))
    kept = first.members.copy()
    second = estimator.update(first, frame.rows(half, len(frame)))
    assert first.time == frame.time[half - 1], "a belief is as old as its last row"
    assert second.time == frame.time[-1], "a belief is as old as its last row"
    assert first.names == second.names, "names stay, and differ"
    assert len(set(first.names)) == len(first.names), "names stay, and differ"
    assert first.members.shape == second.members.shape == (len(first.names), first.members.shape[1]), "[k, m]"
    assert np.isfinite(second.members).all(), "members are finite"
    np.testing.assert_array_equal(first.members, kept, "update leaves the earlier belief alone")
    assert second.innovation, "a belief says what it learned from"
    for name, (difference, sd) in second.innovation.items():
        assert name in frame.signals, f"innovation of '{name}'"
        assert np.isfinite(difference), f"innovation of '{name}'"
        assert sd > 0, f"innovation of '{name}'"
    other = make()
    again = other.update(other.update(None, frame.rows(0, half)), frame.rows(half, len(frame)))
    np.testing.assert_array_equal(again.members, second.members, "same belief and frame, same result")
    _missing(make, frame)


def _missing(make: Callable[[], Estimator], frame: Frame) -> None:
    estimator = make()
    start = estimator.update(None, frame.rows(0, 1))
    bad = np.full_like(frame.quality, BAD)
    nothing = Frame(frame.time, np.full_like(frame.values, np.nan), bad, frame.signals)
    wild = Frame(frame.time, frame.values + 1e6, bad, frame.signals)
    unheard = estimator.update(start, nothing)
    assert unheard.time == frame.time[-1], "time passes without telemetry"
    assert np.isfinite(unheard.members).all(), "missing values teach nothing"
    assert not unheard.innovation, "missing values teach nothing"
    np.testing.assert_array_equal(
        estimator.update(start, wild).members, unheard.members, "a bad value teaches as little as a missing one"
    )
    holes = frame.values.copy()
    holes[1::2, 0] = np.nan
    holed = estimator.update(start, Frame(frame.time, holes, frame.quality, frame.signals))
    assert np.isfinite(holed.members).all(), "single missing values are stepped over"
