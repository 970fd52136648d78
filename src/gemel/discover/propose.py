"""What each series most likely is, how sure that is, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gemel.core.values import Signal
from gemel.discover.assets import asset_of
from gemel.discover.guess import Guess
from gemel.discover.limits import limits_of
from gemel.discover.quantities import AIR, Quantity, Reading, known_words, quantity_of, quantity_with
from gemel.discover.roles import role_of, type_of
from gemel.discover.series import Series
from gemel.discover.shape import Shape, shape_of, spelled
from gemel.discover.words import clean, unique, unit_in, unit_of, words

SURE = 0.7
"""A guess less sure than this is put before a person."""

_HOLLOW = frozenset(("value", "state", "status", "data", "reading", "val", "set", "actual", "measured"))
"""Names that say nothing by themselves."""

_MAINS = (("Hz", 50, 0.5), ("Hz", 60, 0.5), ("V", 230, 15), ("V", 400, 20))


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
    def heard(self) -> bool:
        """Whether it said anything at all."""
        return bool(self.shape.count or self.shape.texts)

    @property
    def asked(self) -> bool:
        """Whether a person should look: something is unsure, or commands may go there."""
        return bool(self.unsure) or self.signal.role == "controlled"

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
    above = words(series.levels[-1]) if series.levels else ()
    quantity = quantity_of((*above, *said)) or (quantity_of(words(series.label)) if written else None)
    type = Guess(*type_of(said, shape))
    number = type.value == "number"
    unit = _unit(series, written, quantity, (*said, *context), shape) if number else Guess("", 0.9, "has none")
    what = quantity[0] if quantity else quantity_with(unit.value)
    role = Guess(*role_of(series.label, context, shape, unit.value, what.name if what else ""))
    low, high, notes = limits_of(unit.value, what, (*said, *context), shape)
    every = Guess(spelled(shape), round(shape.steady, 2), f"{shape.steady:.0%} of the gaps are so")
    if shape.rises and number and not shape.calendar:
        notes += ("a counter: it only rises",)
    guesses = {"type": type, "unit": unit, "role": role, "low": low, "high": high, "every": every, "asset": asset}
    signal = Signal(
        "signal", type.value, unit.value, role.value,
        low.value if number else None, high.value if number else None,
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
    if quantity[0].name == "energy" and shape.rises:
        return Guess("kWh", 0.8, f"a counter, and '{quantity[1]}' in its name")
    span = f"values {shape.p01:.4g}..{shape.p99:.4g} and " if shape.count else ""
    return Guess(reading.unit, reading.sure, f"{span}'{quantity[1]}' in its name")


def _reading(quantity: Quantity, said: Sequence[str], shape: Shape) -> Reading:
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
    if shape.count > 20 and shape.p99 > shape.p01:
        for unit, middle, room in _MAINS:
            if abs(shape.p01 - middle) < room and abs(shape.p99 - middle) < room:
                return Guess(unit, 0.6, f"values {shape.p01:.4g}..{shape.p99:.4g}: mains of {middle} {unit}?")
    return Guess("", 0.2, "nothing in its name or its values says it")


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
        bare = clean(written.rest) if written and p.signal.unit == written.unit else ""
        short.append(bare if bare and bare != p.signal.asset else clean(s.label))
    twice = {name for name in short if short.count(name) > 1}
    wider = []
    for s, name, asset in zip(series, short, assets, strict=True):
        if name in twice or name in _HOLLOW:  # say whose it is, or else the whole label
            name = f"{clean(asset.value)}_{name}" if asset.value and s.levels else clean(" ".join((*s.levels, s.label)))
        wider.append(name)
    return unique(wider)


def _named(proposal: Proposal, name: str) -> Proposal:
    return replace(proposal, signal=replace(proposal.signal, name=name))
