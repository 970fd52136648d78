"""What a line is made of, read from the twin file: machines with their priors, and the buffers between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.units import duration

SECONDS = ("cycle", "mtbf", "mttr", "setup", "service")
NUMBERS = ("cv", "repair_cv", "wear", "wear_cv", "power", "hazard", "scrap", "scrap_worn", "operators", "worn")
MACHINE = ("name", "failures", "setups", "cycles", *SECONDS, *NUMBERS)
USUAL: dict[str, Any] = {
    "cv": 0.0, "repair_cv": 1.0, "wear_cv": 0.0, "power": 4.0, "operators": 0, "worn": 0.0,
    "wear": 0.0, "hazard": 0.0, "scrap": 0.0, "scrap_worn": 0.0, "setup": 0.0, "service": 0.0, "mtbf": math.inf,
    "mttr": 1800.0,
}  # fmt: skip
LEARNED = ("cycle", "mtbf", "mttr", "wear", "hazard", "scrap", "scrap_worn", "worn")
"""What may have a prior; all but `worn`, a state, is then a parameter."""
PRIOR = ("mean", "sd", "low", "high")


@dataclass(frozen=True, slots=True)
class Prior:
    """A normal distribution cut at `low` and `high`; a number that is known has `sd` 0."""

    mean: float
    sd: float = 0.0
    low: float = 0.0
    high: float = math.inf


@dataclass(frozen=True)
class Machine:
    """One machine: `numbers` holds all of `SECONDS` (seconds) and `NUMBERS`, those of `LEARNED` as priors too."""

    name: str
    numbers: Mapping[str, float]
    priors: Mapping[str, Prior]
    by_cycle: bool
    setups: Mapping[tuple[int, int], float]
    cycles: Mapping[int, float]

    @property
    def wears(self) -> bool:
        return any(self.priors[key].mean > 0 or self.priors[key].sd > 0 for key in ("wear", "worn"))

    @property
    def changes(self) -> bool:
        """Whether it has to be set up for a family."""
        return self.numbers["setup"] > 0 or bool(self.setups)


@dataclass(frozen=True, slots=True)
class Buffer:
    """A store between two machines; `capacity` is infinite where none is given."""

    name: str
    capacity: float


def read(machines: Sequence[Mapping[str, Any]], buffers: Sequence[Any]) -> tuple[list[Machine], list[Buffer]]:
    """Machines and buffers, in order; raises `ConfigError` with all that is wrong."""
    problems: list[str] = []
    made = [_machine(dict(given), i, problems) for i, given in enumerate(machines)]
    names = [m.name for m in made]
    if not made:
        problems.append("line: it needs a machine at least")
    given = list(buffers) or [10] * (len(made) - 1)
    if len(given) != max(len(made) - 1, 0):
        problems.append(f"line: {len(made)} machines have {len(made) - 1} buffers between them, not {len(given)}")
    between = [f"{a}_{b}" for a, b in pairwise(names)]
    stores = [_buffer(row, name, problems) for row, name in zip(given, between, strict=False)]
    every = [*names, *(b.name for b in stores)]
    problems += [f"line: the name '{n}' stands twice" for n in sorted({n for n in every if every.count(n) > 1})]
    if problems:
        raise ConfigError(problems, 'a machine is { name = "saw", cycle = "40s", mtbf = "40h", mttr = "30min" }')
    return made, stores


def _buffer(row: Any, name: str, problems: list[str]) -> Buffer:
    if not isinstance(row, Mapping):
        row = {"capacity": row}
    problems += [f"line: buffer '{name}' has no key '{k}'" for k in row if k not in ("name", "capacity")]
    size = row.get("capacity", math.inf)
    if isinstance(size, bool) or not isinstance(size, int | float) or not size >= 0:
        problems.append(f"line: capacity {size!r} of buffer '{name}' is no number of parts")
        size = 0.0
    return Buffer(str(row.get("name", name)), float(size))


def _machine(given: dict[str, Any], i: int, problems: list[str]) -> Machine:
    name = str(given.get("name", ""))
    where = f"line: machine '{name or i + 1}'"
    if not name:
        problems.append(f"{where} needs a name")
    if "cycle" not in given:
        problems.append(f"{where} needs its cycle")
        given["cycle"] = 60.0
    problems += [f"{where} has no key '{k}'{nearest(k, MACHINE)}" for k in given if k not in MACHINE]
    if given.get("failures", "time") not in ("time", "cycle"):
        problems.append(f"{where}: failures '{given['failures']}' is not one of time, cycle")
    priors = {key: _prior(where, key, given.get(key, USUAL.get(key)), problems) for key in (*SECONDS, *NUMBERS)}
    for key, prior in priors.items():
        if prior.sd and key not in LEARNED:
            problems.append(f"{where}: {key} is one number; a prior can be given to {', '.join(LEARNED)}")
    if priors["cycle"].mean <= 0 or priors["mtbf"].mean <= 0:
        problems.append(f"{where}: cycle and mtbf must be above zero")
    setups: dict[tuple[int, int], float] = {}
    for key, value in given.get("setups", {}).items():
        first, _, second = str(key).partition(">")
        if not (first.isdecimal() and second.isdecimal()):
            problems.append(f"{where}: '{key}' of setups is not of the form '0>1' (numbers of families)")
            continue
        setups[int(first), int(second)] = _prior(where, "setups", value, problems).mean
    cycles: dict[int, float] = {}
    for key, value in given.get("cycles", {}).items():
        if not str(key).isdecimal() or isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            problems.append(
                f"{where}: cycles has the number of a family and a factor above zero, not {key!r}: {value!r}"
            )
            continue
        cycles[int(key)] = float(value)
    numbers = {key: prior.mean for key, prior in priors.items()}
    return Machine(name, numbers, priors, given.get("failures") == "cycle", setups, cycles)


def _prior(where: str, key: str, value: Any, problems: list[str]) -> Prior:
    if not isinstance(value, Mapping):
        value = {"mean": value}
    problems += [f"{where}: {key} has no key '{k}'{nearest(k, PRIOR)}" for k in value if k not in PRIOR]
    found = {}
    for part in PRIOR:
        if part in value:
            found[part] = _number(where, key, value[part], problems)
    if "mean" not in found:
        problems.append(f"{where}: {key} needs a mean")
    prior = Prior(**{"mean": 0.0, **found})
    if prior.sd and "low" not in found:
        prior = Prior(prior.mean, prior.sd, prior.mean / 10.0, prior.high)
    if not (prior.low <= prior.mean <= prior.high and prior.sd >= 0 and prior.low >= 0):
        problems.append(f"{where}: {key} must not be negative, and its mean must lie between low and high")
    return prior


def _number(where: str, key: str, value: Any, problems: list[str]) -> float:
    """Seconds of a duration, or a number (of seconds, where a duration could stand)."""
    if isinstance(value, str) and key in (*SECONDS, "setups"):
        try:
            return duration(value) / 1e9
        except InputError as error:
            problems.append(f"{where}: {key}: {error.message}")
            return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        problems.append(f"{where}: {key} is {value!r}, not a number" + (" or a duration" if key in SECONDS else ""))
        return 1.0
    return float(value)
