"""What a twin file says of an FMU's variables, checked against its description."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemel.core.errors import ConfigError, GemelError, nearest
from gemel.simulators.fmu.description import Description, Variable

MOST = 3_000
"""Names among which the nearest to a wrong one is looked for."""
KEYS = ("mean", "sd", "low", "high")


@dataclass(frozen=True, slots=True)
class Prior:
    """A normal distribution, cut at `low` and `high`; `said` tells whether these come from the twin file."""

    mean: float
    sd: float
    low: float
    high: float
    said: bool

    def bounds(self, parameter: bool) -> tuple[float, float] | None:
        """What a filter must keep within: of a state only what the twin file says, for it may stand at the FMU's."""
        bounded = math.isfinite(self.low) or math.isfinite(self.high)
        return (self.low, self.high) if bounded and (parameter or self.said) else None


class Problems:
    """Collects what is wrong, so that a person mends a file once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.hint = ""

    def add(self, text: str, hint: str = "") -> None:
        self.lines.append(f"fmu: {text}")
        self.hint = self.hint or hint

    def tried(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except GemelError as error:
            self.add(error.message, error.hint)

    def end(self) -> None:
        if self.lines:
            raise ConfigError(self.lines, self.hint or "see the keys of gemel.simulators.fmu.simulator:Fmu")


def chosen(
    key: str, given: Sequence[str] | Mapping[str, str] | None, usual: Sequence[str], f: Description, problems: Problems
) -> dict[str, str]:
    """Name -> variable, of inputs or outputs."""
    if given is None:
        return {n: n for n in usual}
    table = dict(given) if isinstance(given, Mapping) else {n: n for n in given}
    found = {}
    for name, said in table.items():
        names = _elements(said, f)
        if not names:
            text = next((s for s in f.skipped if s.startswith(f"{said} (")), "")
            why = f", and {text} is no number" if text else _nearest(str(said), f)
            problems.add(f"{key} names '{said}', which {f.name} does not have as a number{why}", _some(usual))
            continue
        for n in names:
            variable = f.elements[n][0]
            if key == "inputs" and not variable.tunable:
                problems.add(f"'{n}' of {f.name} is no input: it is {_role(variable)}", _some(usual))
            found[name if len(names) == 1 else name + n.removeprefix(said)] = n
    return found


def starts_of(given: Mapping[str, Any], f: Description, problems: Problems) -> tuple[dict[str, float], dict[str, str]]:
    """Start values: of numbers by element, and of texts."""
    numbers: dict[str, float] = {}
    texts: dict[str, str] = {}
    for name, value in given.items():
        if name in f.texts:
            texts[name] = str(value)
            continue
        names = _elements(name, f)
        values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if not names:
            problems.add(f"start names '{name}', which {f.name} does not have{_nearest(name, f)}")
        elif len(values) not in (1, len(names)):
            problems.add(f"start of '{name}' has {len(values)} values, {f.name} has {len(names)}")
        elif not f.elements[names[0]][0].settable or f.elements[names[0]][0].causality == "structuralParameter":
            problems.add(f"start of '{name}' cannot be set: {f.name} says it is {_role(f.elements[names[0]][0])}")
        else:
            for n, v in zip(names, values * (len(names) // len(values)), strict=True):
                if isinstance(v, int | float) and math.isfinite(v):
                    numbers[n] = float(v)
                    _within(n, numbers[n], f.elements[n][0], f, problems)
                else:
                    problems.add(f"start of '{name}' is {v!r}, a number is needed")
    return numbers, texts


def priors_of(
    given: Mapping[str, Any], states: Sequence[str], start: Mapping[str, float], f: Description, problems: Problems
) -> dict[str, Prior]:
    """Name -> what is believed of a parameter or a state before any telemetry."""
    found = {}
    for name, said in given.items():
        if name not in f.elements:
            problems.add(f"priors name '{name}', which {f.name} does not have{_nearest(name, f)}")
            continue
        variable = f.elements[name][0]
        if name not in states and (variable.causality != "parameter" or not variable.settable):
            problems.add(
                f"priors name '{name}', which {f.name} says is {_role(variable)}: only parameters"
                f"{' and continuous states' if f.complete else ''} can be estimated"
            )
            continue
        row = dict(said) if isinstance(said, Mapping) else {"mean": said}
        for key in row:
            if key not in KEYS:
                problems.add(f"priors: '{name}' has no key '{key}'{nearest(key, KEYS)}", f"keys: {', '.join(KEYS)}")
        values = {"mean": start.get(name, f.start_of(name)), "sd": 0.0, "low": variable.low, "high": variable.high}
        values |= {k: v for k, v in row.items() if k in KEYS}
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values.values()):
            problems.add(f"priors: '{name}' holds what is no number")
            continue
        prior = Prior(**{k: float(v) for k, v in values.items()}, said="low" in row or "high" in row)
        if math.isnan(prior.mean):
            problems.add(f"priors: '{name}' needs a mean, for {f.name} gives no start value")
        elif prior.sd < 0 or not prior.low < prior.high:
            problems.add(f"priors: '{name}' needs sd of 0 or more, and low below high")
        elif not prior.low <= prior.mean <= prior.high:
            problems.add(f"priors: '{name}' has mean {prior.mean:g} outside {prior.low:g} to {prior.high:g}")
        _within(name, prior.mean, variable, f, problems)
        found[name] = prior
    return found


def _elements(name: str, f: Description) -> list[str]:
    """The elements that a name stands for: itself, or all of an array."""
    if name in f.elements:
        return [name]
    return [n for n, (v, _) in f.elements.items() if v.name == name]


def _within(name: str, value: float, variable: Variable, f: Description, problems: Problems) -> None:
    if value < variable.low or value > variable.high:
        problems.add(f"'{name}' is {value:g}, {f.name} wants {variable.low:g} to {variable.high:g}")


def _role(variable: Variable) -> str:
    return f"a {variable.variability} {variable.causality}".replace("a  ", "a ")


def _some(names: Sequence[str]) -> str:
    return f"it has {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}" if names else "it declares none"


def _nearest(word: str, f: Description) -> str:
    """`nearest`, which takes too long among very many."""
    return nearest(word, list(f.elements)[:MOST])
