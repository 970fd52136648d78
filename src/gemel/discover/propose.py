"""What each series most likely is, how sure that is, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gemel.core.values import Signal
from gemel.discover.assets import asset_of
from gemel.discover.guess import Guess
from gemel.discover.quantities import AIR, Quantity, Reading, known_words, quantity_of
from gemel.discover.roles import role_of, type_of
from gemel.discover.series import Series
from gemel.discover.shape import Shape, shape_of, spelled
from gemel.discover.words import clean, unique, unit_in, unit_of, words

SURE = 0.7
"""A guess less sure than this is put before a person."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One signal as proposed. `signal` says nothing of what is not known; `notes` are for the person who reads it."""

    label: str
    signal: Signal
    guesses: dict[str, Guess]  # type, unit, role, low, high, every, asset
    shape: Shape
    notes: tuple[str, ...] = ()

    @property
    def unsure(self) -> tuple[str, ...]:
        """The keys to look at."""
        return tuple(key for key in ("type", "unit", "role") if self.guesses[key].sure < SURE)

    @property
    def sure(self) -> float:
        """Of its least sure part."""
        return min(self.guesses[key].sure for key in ("type", "unit", "role"))


def propose(series: Sequence[Series]) -> list[Proposal]:
    """A proposal for each series, in their order, names unique."""
    assets = asset_of(series)
    known = known_words()
    found = [_one(s, asset, known) for s, asset in zip(series, assets, strict=True)]
    names = _names(series, found, assets)
    return [_named(p, name) for p, name in zip(found, names, strict=True)]


def _one(series: Series, asset: Guess, known: frozenset[str]) -> Proposal:
    shape = shape_of(series)
    written = unit_in(series.label, known)
    said = words(written.rest if written else series.label)
    context = words(" ".join(series.levels))
    quantity = quantity_of(said) or (quantity_of(words(series.label)) if written else None)
    if quantity is None and series.levels:
        quantity = quantity_of(words(series.levels[-1]))
    type = Guess(*type_of(said, shape))
    if type.value == "number":
        unit = _unit(series, written, quantity, (*said, *context), shape)
    else:
        unit = Guess("", 0.9, "has none")
    role = Guess(*role_of(words(series.label), context, shape, unit.value, quantity[0].name if quantity else ""))
    low, high, notes = _limits(unit, quantity[0] if quantity else None, (*said, *context), shape)
    if role.value == "controlled" and type.value == "number" and shape.count:
        low, high = (low if low.value is not None else Guess(_down(shape.least), 0.4, "the least seen"),
                     high if high.value is not None else Guess(_up(shape.most), 0.4, "the most seen"))  # fmt: skip
    every = Guess(spelled(shape), round(shape.steady, 2), f"{shape.steady:.0%} of the gaps are so")
    if shape.rises and type.value == "number" and not shape.calendar:
        notes += ("a counter: it only rises",)
    guesses = {"type": type, "unit": unit, "role": role, "low": low, "high": high, "every": every, "asset": asset}
    signal = Signal(
        "signal", type.value, unit.value, role.value,
        low.value if type.value == "number" else None, high.value if type.value == "number" else None,
        every=every.value if every.sure > 0.5 else "", address=series.address, asset=asset.value,
        states=_states(type.value, shape),
    )  # fmt: skip
    return Proposal(series.label, signal, guesses, shape, notes)


def _unit(
    series: Series, written: Any, quantity: tuple[Quantity, str] | None, said: Sequence[str], shape: Shape
) -> Guess:
    if series.unit:
        found = unit_of(series.unit)
        return Guess(found[0] if found else series.unit, 0.97, "the message says so")
    agrees = bool(written and quantity and quantity[0].allows(written.unit))
    if written and (written.strong or agrees):
        sure = 0.97 if agrees else 0.9 if quantity is None else 0.75
        return Guess(written.unit, sure, f"its name ends in '{written.spelling}'")
    if shape.calendar:
        return Guess("s" if shape.calendar == "time of day" else "", 0.7, f"it is the {shape.calendar} of its stamp")
    if quantity is None:
        return _bare(shape)
    reading = _reading(quantity[0], said, shape)
    if reading is None:
        return Guess("", 0.3, f"'{quantity[1]}' in its name, and no values")
    span = f"values {shape.p01:.4g}..{shape.p99:.4g} and " if shape.count else ""
    return Guess(reading.unit, reading.sure, f"{span}'{quantity[1]}' in its name")


def _reading(quantity: Quantity, said: Sequence[str], shape: Shape) -> Reading | None:
    """The first reading whose range holds the values."""
    if not shape.count:
        return quantity.readings[-1]._replace(sure=0.4)
    if quantity.name == "temperature" and AIR & set(said) and 45 < shape.p50 < 110 and shape.p01 > -20:
        return Reading("degF", sure=0.75)
    for reading in quantity.readings:
        if reading.least <= shape.p01 and shape.p99 <= reading.most:
            return reading
    return quantity.readings[-1]._replace(sure=0.3)


def _bare(shape: Shape) -> Guess:
    """No word helps; some quantities betray themselves by their values."""
    if shape.count > 20:
        for unit, middle, room, what in (("Hz", 50, 0.5, "mains of 50 Hz"), ("Hz", 60, 0.5, "mains of 60 Hz"),
                                         ("V", 230, 15, "mains of 230 V"), ("V", 400, 20, "mains of 400 V")):  # fmt: skip
            if abs(shape.p01 - middle) < room and abs(shape.p99 - middle) < room and shape.p99 > shape.p01:
                return Guess(unit, 0.6, f"values {shape.p01:.4g}..{shape.p99:.4g}: {what}?")
    return Guess("", 0.2, "nothing in its name or its values says it")


def _limits(
    unit: Guess, quantity: Quantity | None, said: Sequence[str], shape: Shape
) -> tuple[Guess, Guess, tuple[str, ...]]:
    """What is physically possible, and what was seen outside of it."""
    nothing = Guess(None, 0.0, "")
    if not shape.count:
        return nothing, nothing, ()
    low, high = _possible(unit.value, quantity, said, shape)
    notes = []
    outside = ""
    if low is not None and shape.least < low:
        outside = f"{shape.least:.4g} was seen"
        low = low if shape.p01 >= low else None
        notes += [f"{outside}, below low: bad"] if low is not None else []
    if high is not None and shape.most > high:
        outside = f"{shape.most:.4g} was seen"
        high = high if shape.p99 <= high else None
        notes += [f"{outside}, above high: bad"] if high is not None else []
    why = f"{quantity.name if quantity else 'this'} in {unit.value or 'no unit'}"
    return (
        Guess(low, 0.8, why) if low is not None else nothing,
        Guess(high, 0.8, why) if high is not None else nothing,
        (*notes,),
    )


def _possible(
    unit: str, quantity: Quantity | None, said: Sequence[str], shape: Shape
) -> tuple[float | None, float | None]:
    if quantity is None:
        return (
            (0, 100) if unit == "%" and shape.p99 > 1 else (45, 65) if unit == "Hz" and shape.p01 > 45 else (None, None)
        )
    if quantity.name == "temperature":
        if unit == "degC":
            return (
                (-60, 60) if AIR & set(said) and shape.p99 < 60 else (-50 if shape.p01 > -40 else -273, _above(shape))
            )
        return (-80, 140) if unit == "degF" and shape.p99 < 130 else (None, None)
    reading = quantity.reading(unit)
    fitting = next(
        (r for r in quantity.readings if r.unit == unit and r.least <= shape.p01 and shape.p99 <= r.most), reading
    )
    low, high = (fitting.low, fitting.high) if fitting else (None, None)
    never_negative = quantity.name in (
        "energy",
        "flow",
        "current",
        "voltage",
        "pressure",
        "speed",
        "wind speed",
        "rain",
    )
    if low is None and never_negative and shape.least >= 0:
        low = 0
    return low, high


def _above(shape: Shape) -> float | None:
    return next((top for top in (150.0, 400.0, 1200.0, 2000.0) if top >= 1.2 * shape.p99), None)


def _down(value: float) -> float:
    return float(f"{value - abs(value) * 1e-9:.4g}") if math.isfinite(value) else 0.0


def _up(value: float) -> float:
    return float(f"{value + abs(value) * 1e-9:.4g}") if math.isfinite(value) else 0.0


def _states(type: str, shape: Shape) -> tuple[str, ...]:
    if type != "state":
        return ()
    if shape.texts:
        return tuple(sorted(shape.texts))
    return ("off", "on") if set(shape.levels) <= {0.0, 1.0} else ()


def _names(series: Sequence[Series], found: Sequence[Proposal], assets: Sequence[Guess]) -> list[str]:
    """Clean and unique, without the unit where that is written down."""
    short = []
    for s, p in zip(series, found, strict=True):
        written = unit_in(s.label, known_words())
        kept = written is None or p.signal.unit != written.unit
        short.append(clean(s.label) if kept or written is None else clean(written.rest) or clean(s.label))
    twice = {name for name in short if short.count(name) > 1}
    wider = []
    for s, name, asset in zip(series, short, assets, strict=True):
        if name in twice or name in _HOLLOW:  # say whose it is, or else the whole label
            name = f"{clean(asset.value)}_{name}" if asset.value and s.levels else clean(" ".join((*s.levels, s.label)))
        wider.append(name)
    return unique(wider)


_HOLLOW = frozenset(("value", "state", "status", "data", "reading", "val", "set", "actual", "measured"))


def _named(proposal: Proposal, name: str) -> Proposal:
    return replace(proposal, signal=replace(proposal.signal, name=name))
