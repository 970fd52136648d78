"""Steps of hours, days on a clock, and months."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.core.calendar import DAY, MONTH, Steps, infer, utc, wall
from gemel.core.units import SECOND, instant
from gemel.core.values import Times

HOUR = 3600 * SECOND


def at(*texts: str) -> Times:
    return np.array([instant(t) for t in texts], np.int64)


def shown(times: Times, zone: str = "UTC") -> list[str]:
    return [datetime.fromtimestamp(int(t) // SECOND, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M") for t in times]


@pytest.mark.parametrize(
    ("times", "steps"),
    [
        (at("2024-01-01T00:00", "2024-01-01T01:00", "2024-01-01T02:00"), Steps(HOUR)),
        (at("2024-01-01T00:00", "2024-01-01T00:14:59", "2024-01-01T00:30:01"), Steps(900 * SECOND)),
        (at("2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"), Steps(0, 1)),
        (at("2024-01-15", "2024-04-15", "2024-07-15"), Steps(0, 3)),
        (at("2020-01-01", "2021-01-01", "2022-01-01"), Steps(0, 12)),
        (at("2024-01-01", "2024-01-29", "2024-02-26"), Steps(28 * DAY)),
        (np.array([0, 7, 14]), Steps(7)),
        (at("2024-01-01"), None),
    ],
)
def test_steps_are_inferred(times: Times, steps: Steps | None) -> None:
    assert infer(times) == steps


def test_days_follow_the_clock_through_summer_time() -> None:
    zone = "Europe/Berlin"
    midnights = at("2024-03-28T23:00", "2024-03-29T23:00", "2024-03-30T23:00", "2024-03-31T22:00")
    steps = infer(midnights, zone)
    assert steps == Steps(DAY, 0, zone)
    assert shown(steps.ahead(int(midnights[1]), 3), zone) == [
        "2024-03-31 00:00",
        "2024-04-01 00:00",
        "2024-04-02 00:00",
    ]
    assert steps.place(midnights, int(midnights[-1])).tolist() == [-3, -2, -1, 0]
    hours = Steps(HOUR, 0, zone).ahead(instant("2024-03-31T00:00"), 2)
    assert shown(hours, zone) == ["2024-03-31 03:00", "2024-03-31 04:00"]


@pytest.mark.parametrize(
    ("end", "months", "expected"),
    [
        ("2024-01-31", 1, ["2024-02-29 00:00", "2024-03-31 00:00", "2024-04-30 00:00"]),
        ("2024-02-29", 12, ["2025-02-28 00:00", "2026-02-28 00:00", "2027-02-28 00:00"]),
        ("2023-11-15T08:30", 1, ["2023-12-15 08:30", "2024-01-15 08:30", "2024-02-15 08:30"]),
        ("2024-10-30", 4, ["2025-02-28 00:00", "2025-06-30 00:00", "2025-10-30 00:00"]),
    ],
)
def test_months(end: str, months: int, expected: list[str]) -> None:
    assert shown(Steps(0, months).ahead(instant(end), 3)) == expected


@given(
    seconds=st.integers(0, 4_000_000_000),
    steps=st.sampled_from(
        [
            Steps(SECOND),
            Steps(HOUR),
            Steps(DAY),
            Steps(DAY, 0, "America/New_York"),
            Steps(0, 1, "Asia/Tokyo"),
            Steps(0, 3),
        ]
    ),
    count=st.integers(1, 400),
)
def test_what_lies_ahead_lies_at_its_place(seconds: int, steps: Steps, count: int) -> None:
    last = seconds * SECOND
    ahead = steps.ahead(last, count)
    assert (np.diff(ahead) > 0).all()
    assert steps.place(ahead, last).tolist() == list(range(1, count + 1))


def test_the_wall_and_back() -> None:
    times = at("2024-07-01T12:00", "2024-12-01T12:00")
    assert shown(wall(times, "America/New_York")) == ["2024-07-01 08:00", "2024-12-01 07:00"]
    assert np.array_equal(utc(wall(times, "America/New_York"), "America/New_York"), times)
    assert wall(times, "") is times
    assert Steps(0, 1).spacing == MONTH
