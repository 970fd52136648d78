"""Units and durations as people write them.

A duration is a number and a suffix (`"5min"`, `"24h"`, `"90s"`, `"250ms"`, `"7d"`). Units of signals are free
text; the ones listed here can be converted into each other.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from gemel.core.errors import InputError

SECOND = 1_000_000_000
_SUFFIX = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "sec": SECOND,
    "min": 60 * SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 86_400 * SECOND,
    "w": 604_800 * SECOND,
}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*")

# unit -> (quantity, factor, offset): value in the quantity's first unit = value * factor + offset
_UNITS: dict[str, tuple[str, float, float]] = {
    "degC": ("temperature", 1.0, 0.0),
    "K": ("temperature", 1.0, -273.15),
    "degF": ("temperature", 5 / 9, -160 / 9),
    "W": ("power", 1.0, 0.0),
    "kW": ("power", 1e3, 0.0),
    "MW": ("power", 1e6, 0.0),
    "VA": ("apparent power", 1.0, 0.0),
    "kVA": ("apparent power", 1e3, 0.0),
    "MVA": ("apparent power", 1e6, 0.0),
    "var": ("reactive power", 1.0, 0.0),
    "kvar": ("reactive power", 1e3, 0.0),
    "Mvar": ("reactive power", 1e6, 0.0),
    "J": ("energy", 1.0, 0.0),
    "kJ": ("energy", 1e3, 0.0),
    "MJ": ("energy", 1e6, 0.0),
    "Wh": ("energy", 3.6e3, 0.0),
    "kWh": ("energy", 3.6e6, 0.0),
    "MWh": ("energy", 3.6e9, 0.0),
    "Pa": ("pressure", 1.0, 0.0),
    "kPa": ("pressure", 1e3, 0.0),
    "bar": ("pressure", 1e5, 0.0),
    "psi": ("pressure", 6894.757293168, 0.0),
    "J/K": ("heat capacity", 1.0, 0.0),
    "kJ/K": ("heat capacity", 1e3, 0.0),
    "MJ/K": ("heat capacity", 1e6, 0.0),
    "Wh/K": ("heat capacity", 3.6e3, 0.0),
    "kWh/K": ("heat capacity", 3.6e6, 0.0),
    "W/K": ("thermal conductance", 1.0, 0.0),
    "kW/K": ("thermal conductance", 1e3, 0.0),
    "K/W": ("thermal resistance", 1.0, 0.0),
    "K/kW": ("thermal resistance", 1e-3, 0.0),
    "W/m2": ("irradiance", 1.0, 0.0),
    "kW/m2": ("irradiance", 1e3, 0.0),
    "J/(m3 K)": ("heat capacity of a volume", 1.0, 0.0),
    "kJ/(m3 K)": ("heat capacity of a volume", 1e3, 0.0),
    "MJ/(m3 K)": ("heat capacity of a volume", 1e6, 0.0),
    "m3/s": ("flow", 1.0, 0.0),
    "m3/h": ("flow", 1 / 3600, 0.0),
    "l/s": ("flow", 1e-3, 0.0),
    "l/min": ("flow", 1e-3 / 60, 0.0),
    "l/h": ("flow", 1e-3 / 3600, 0.0),
    "m/s": ("speed", 1.0, 0.0),
    "km/h": ("speed", 1 / 3.6, 0.0),
    "m": ("length", 1.0, 0.0),
    "km": ("length", 1e3, 0.0),
    "dm": ("length", 0.1, 0.0),
    "cm": ("length", 1e-2, 0.0),
    "mm": ("length", 1e-3, 0.0),
    "m2": ("area", 1.0, 0.0),
    "dm2": ("area", 1e-2, 0.0),
    "cm2": ("area", 1e-4, 0.0),
    "mm2": ("area", 1e-6, 0.0),
    "m3": ("volume", 1.0, 0.0),
    "l": ("volume", 1e-3, 0.0),
    "m2/s": ("kinematic viscosity", 1.0, 0.0),
    "mm2/s": ("kinematic viscosity", 1e-6, 0.0),
    "A": ("current", 1.0, 0.0),
    "mA": ("current", 1e-3, 0.0),
    "V": ("voltage", 1.0, 0.0),
    "kV": ("voltage", 1e3, 0.0),
    "Hz": ("frequency", 1.0, 0.0),
    "rpm": ("frequency", 1 / 60, 0.0),
    "1": ("ratio", 1.0, 0.0),
    "%": ("ratio", 0.01, 0.0),
}


def duration(text: str | float) -> int:
    """Nanoseconds of `"5min"`, `"1h30min"` or a bare number of seconds; raises `InputError` otherwise."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        if not 0 < text * SECOND <= 2**62:
            raise InputError(f"a duration must be above zero and at most 146 years, not {text}")
        return round(text * SECOND)
    if not isinstance(text, str):
        raise InputError(f"{text!r} is not a duration", 'write a number and a suffix: "15min"')
    total, at = 0.0, 0
    while at < len(text):
        found = _DURATION.match(text, at)
        if found is None or found[2] not in _SUFFIX:
            raise InputError(f"'{text}' is not a duration", 'write a number and ns, us, ms, s, min, h, d or w: "15min"')
        total += float(found[1]) * _SUFFIX[found[2]]
        at = found.end()
    if total <= 0:
        raise InputError(f"'{text}' is not a duration above zero", 'write a number and a suffix: "15min"')
    if total > 2**62:  # so that a time and a duration always make a time
        raise InputError(f"'{text[:40]}' is longer than 146 years", 'write a number and a suffix: "15min"')
    return round(total)


def spell(ns: int) -> str:
    """A duration for people: `5min`, `24h`, `7h25min`, `1.5s`; `duration` reads it back."""
    hours, rest = divmod(ns, _SUFFIX["h"])
    if hours and rest and rest % _SUFFIX["min"] == 0:
        return f"{hours}h{rest // _SUFFIX['min']}min"
    for name in ("d", "h", "min", "s", "ms", "us"):
        if ns >= _SUFFIX[name] and (ns % _SUFFIX[name] == 0 or name in ("s", "ms", "us")):
            return f"{ns / _SUFFIX[name]:.15g}{name}"
    return f"{ns}ns"


def stamp(ns: int, seconds: bool = False) -> str:
    """A time for people, UTC: `2018-06-26 19:45`."""
    when = datetime.fromtimestamp(ns // SECOND, UTC)
    return when.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def instant_id(ns: int) -> str:
    """A time as part of an id: `2018-06-26T19:45:00`, with the nanoseconds where there are any."""
    rest = ns % SECOND
    return stamp(ns, seconds=True).replace(" ", "T") + (f".{rest:09d}" if rest else "")


def instant(text: str | int | datetime) -> int:
    """Nanoseconds UTC of an ISO 8601 text, a datetime or nanoseconds; a naive one is taken as UTC."""
    if isinstance(text, int):
        return text
    try:
        when = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"'{text}' is not a time", 'write ISO 8601: "2018-06-26T19:45"') from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    delta = when - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds * 1000


def conversion(have: str, want: str) -> tuple[float, float]:
    """(factor, offset) with `value[want] = value[have] * factor + offset`; `InputError` if they differ in kind."""
    if have == want:
        return 1.0, 0.0
    for unit in (have, want):
        if unit not in _UNITS:
            raise InputError(f"unit '{unit}' cannot be converted", f"known: {' '.join(_UNITS)}")
    (kind, a, b), (other, c, d) = _UNITS[have], _UNITS[want]
    if kind != other:
        raise InputError(f"'{have}' is a {kind} and '{want}' a {other}: they do not convert")
    return a / c, (b - d) / c
