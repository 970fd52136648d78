"""Values of a network as people write them: numbers, texts with a unit, priors, and inputs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gemel.core.errors import GemelError, nearest
from gemel.core.units import conversion, duration

Table = Mapping[str, Any]
KNOWN, PARAMETER, INPUT = "known", "parameter", "input"
WIDE = 10.0
"""A prior of something positive ends at its mean times and through this, where it does not say where."""
_PRIOR = ("mean", "sd", "low", "high", "memory", "unit")
_TEXT = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*")


@dataclass(frozen=True, slots=True)
class Value:
    """A number in its base unit (`mean * factor + offset`), a parameter or an input; `table` is what the equations
    declare of it, in the unit that it was written in."""

    name: str
    sort: str
    factor: float = 1.0
    offset: float = 0.0
    table: Table = field(default_factory=dict)

    def known(self) -> float:
        """Its mean in the base unit; NaN of an input that has none."""
        return float(self.table.get("mean", math.nan)) * self.factor + self.offset


@dataclass(frozen=True, slots=True)
class Expected:
    """What a key takes: its base unit, whether it must be above zero, and the value it has when it is left out. A key
    that `names` reads a text without a number as the name of an input."""

    unit: str
    positive: bool = True
    default: Any = None
    names: bool = False
    high: float = math.nan  # of an input, where it does not say


class Reader:
    """Reads values, and collects what is wrong with them. `parameters` and `inputs` are what the equations declare."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.parameters: dict[str, Table] = {}
        self.inputs: dict[str, dict[str, Any]] = {}

    def keys(self, place: str, table: Any, known: Sequence[str]) -> Table:
        """The table, without the keys that are not known."""
        if not isinstance(table, Mapping):
            self.problems.append(f"{place} must be a table, not {table!r}")
            return {}
        wrong = [k for k in table if k not in known]
        self.problems += [f"{place} has no key '{k}'{nearest(k, known)}" for k in wrong]
        return {k: v for k, v in table.items() if k not in wrong}

    def value(self, place: str, key: str, table: Table, expected: Expected) -> Value:
        """The value of one key; one that is wrong is noted, and taken as 1."""
        name, given = f"{place}.{key}", table.get(key, expected.default)
        try:
            if given is None:
                raise ValueError(f"is missing: a number in {expected.unit}")
            if isinstance(given, Mapping) and "input" in given:
                return self._input(given, expected)
            if isinstance(given, str) and expected.names and not numeric(given):
                return self._input({"input": given}, expected)
            return self._prior(name, given, expected)
        except (ValueError, TypeError, GemelError) as error:
            self.problems.append(f"{name}: {getattr(error, 'message', error)}")
            return Value(name, KNOWN, table={"mean": 1.0})

    def _prior(self, name: str, given: Any, expected: Expected) -> Value:
        table = dict(given) if isinstance(given, Mapping) else {"mean": given}
        wrong = [k for k in table if k not in _PRIOR]
        if wrong:
            raise ValueError(f"has no key '{wrong[0]}'{nearest(wrong[0], _PRIOR)}")
        if "mean" not in table:
            raise ValueError("a prior needs a mean")
        unit = str(table.pop("unit", "") or _unit(table["mean"]) or expected.unit)
        factor, offset = conversion(unit, expected.unit)
        memory = {k: table.pop(k) for k in ("memory",) if k in table}
        if memory and memory["memory"] != "never":
            duration(memory["memory"])
        numbers = {k: _number(v, unit, k == "sd") for k, v in table.items()}
        mean, sd = numbers["mean"], numbers.get("sd", 0.0)
        if expected.positive and not mean > 0:
            raise ValueError(f"{mean:g} must be above 0")
        if expected.positive and not numbers.get("low", 1.0) > 0:
            raise ValueError(f"low {numbers['low']:g} must be above 0")
        if not (math.isfinite(mean) and 0 <= sd < math.inf):
            raise ValueError("mean must be a finite number, sd 0 or more")
        if not math.isnan(expected.high) and not 0 <= mean * factor <= expected.high:
            raise ValueError(f"{mean:g} is not within 0 and {expected.high / factor:g}")
        if not sd:
            return Value(name, KNOWN, factor, offset, numbers)
        if expected.positive:
            numbers = {"low": mean / WIDE, "high": mean * WIDE} | numbers
        if not numbers.get("low", -math.inf) <= mean <= numbers.get("high", math.inf):
            raise ValueError(f"mean {mean:g} is outside its bounds")
        self.parameters[name] = {**numbers, **memory, "unit": unit}
        return Value(name, PARAMETER, factor, offset, self.parameters[name])

    def _input(self, given: Table, expected: Expected) -> Value:
        """An input may be named in several places, and described in any of them."""
        wrong = [k for k in given if k not in (*_PRIOR, "input")]
        if wrong:
            raise ValueError(f"has no key '{wrong[0]}'{nearest(wrong[0], (*_PRIOR, 'input'))}")
        name = str(given["input"])
        unit = str(given.get("unit", expected.unit))
        factor, offset = conversion(unit, expected.unit)
        held = self.inputs.setdefault(name, {"unit": unit})
        if held["unit"] != unit:
            raise ValueError(f"input '{name}' is in {held['unit']} elsewhere, and in {unit} here")
        held |= {k: v if k == "memory" else _number(v, unit, k == "sd") for k, v in given.items() if k in _PRIOR[:5]}
        if not math.isnan(expected.high):
            held.setdefault("high", expected.high / factor)
            held.setdefault("low", 0.0)
        return Value(name, INPUT, factor, offset, held)


def numeric(text: str) -> bool:
    """Whether a text is a number, with a unit or without."""
    return _TEXT.fullmatch(text) is not None


def _unit(value: Any) -> str:
    """The unit that a text ends with, if any."""
    found = _TEXT.fullmatch(value) if isinstance(value, str) else None
    return found[2] if found else ""


def _number(value: Any, unit: str, difference: bool) -> float:
    """A number, or a text of a number and its unit, in `unit`; a standard deviation is a difference."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"a number or a text such as '2 {unit}' is needed, not {value!r}")
    if not isinstance(value, str):
        return float(value)
    found = _TEXT.fullmatch(value)
    if found is None:
        raise ValueError(f"'{value}' is not a number with a unit, such as '2 {unit}'")
    if not found[2]:
        return float(found[1])
    factor, offset = conversion(found[2], unit)
    if difference and {found[2], unit} == {"K", "degC"}:
        factor = 1.0
    return float(found[1]) * factor + (0.0 if difference else offset)
