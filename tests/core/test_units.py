"""Durations, times and units."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.core.errors import InputError
from gemel.core.units import _UNITS, SECOND, conversion, duration, instant, spell, stamp


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5min", 300), ("24h", 86_400), ("1h30min", 5_400), (" 2.5 s ", 2.5), ("7d", 604_800), ("250ms", 0.25), (90, 90)],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert duration(text) == round(seconds * SECOND)


@pytest.mark.parametrize(
    "text", ["", "min", "5", "5 fortnights", "-5min", "0s", "5min!", 0, -1, float("nan"), float("inf"), True]
)
def test_what_is_no_duration_says_so(text: str | float) -> None:
    with pytest.raises(InputError):
        duration(text)


@given(st.integers(1, 50_000), st.sampled_from([1, 10**3, 10**6, SECOND, 60 * SECOND, 3600 * SECOND, 86_400 * SECOND]))
def test_spelled_durations_read_back(count: int, unit: int) -> None:
    assert duration(spell(count * unit)) == pytest.approx(count * unit, rel=1e-12)


@given(st.integers(-(2**63) // 1000, 2**63 // 1000 - 1))
def test_instants_are_exact_to_the_microsecond(us: int) -> None:
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    assert instant(when) == instant(when.isoformat()) == instant(us * 1000) == us * 1000
    assert instant(when.replace(tzinfo=None).isoformat()) == us * 1000


def test_a_zone_is_honoured_and_people_read_utc() -> None:
    assert instant("2018-06-26T21:45+02:00") == instant("2018-06-26T19:45")
    assert instant(datetime(2018, 6, 26, 21, 45, tzinfo=timezone(timedelta(hours=2)))) == instant("2018-06-26T19:45Z")
    assert stamp(instant("2018-06-26T19:45")) == "2018-06-26 19:45"
    assert stamp(instant("2018-06-26T19:45:07"), seconds=True).endswith(":07")
    with pytest.raises(InputError, match="'noon' is not a time"):
        instant("noon")


@pytest.mark.parametrize(
    ("value", "have", "want", "expected"),
    [
        (212.0, "degF", "degC", 100.0),
        (-40.0, "degC", "degF", -40.0),
        (20.0, "degC", "K", 293.15),
        (1.0, "bar", "psi", 14.5037738),
        (36.0, "m3/h", "l/s", 10.0),
        (3.6, "km/h", "m/s", 1.0),
        (50.0, "%", "1", 0.5),
        (1.0, "kWh", "J", 3.6e6),
        (3000.0, "rpm", "Hz", 50.0),
    ],
)
def test_conversions(value: float, have: str, want: str, expected: float) -> None:
    factor, offset = conversion(have, want)
    assert value * factor + offset == pytest.approx(expected, rel=1e-8)


@given(st.sampled_from(sorted(_UNITS)), st.sampled_from(sorted(_UNITS)), st.floats(-1e3, 1e3))
def test_conversions_go_back(have: str, want: str, value: float) -> None:
    if _UNITS[have][0] != _UNITS[want][0]:
        with pytest.raises(InputError, match="do not convert"):
            conversion(have, want)
        return
    there, back = conversion(have, want), conversion(want, have)
    assert (value * there[0] + there[1]) * back[0] + back[1] == pytest.approx(value, rel=1e-9, abs=1e-6)


def test_unknown_units_are_named() -> None:
    with pytest.raises(InputError, match="unit 'furlong' cannot be converted"):
        conversion("furlong", "m")
