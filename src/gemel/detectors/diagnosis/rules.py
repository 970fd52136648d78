"""What people know, as rules of the twin file: `if = "mill_vibration high and not mill_power high"`.

A condition is a signal and a word about it; `and`, `or`, `not` and brackets join them. A word is true by degrees, 0 to
1: `high` and `low` are against what is usual in the state at hand, half true at two standard deviations of a row.
`{asset}` in a rule stands for every asset in turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemel.core.errors import nearest

WORDS = ("high", "low", "normal", "rising", "falling", "unsteady", "stuck", "missing")
KEYS = ("if", "component", "cause", "weight")
HINT = (
    'rules = [{ if = "mill_vibration high and mill_power normal", component = "mill", cause = "bearing damage", '
    "weight = 2 }]"
)

LONGEST = 200
"""Words and brackets of a condition, at most."""

Truth = Callable[[str, str], float]
"""How true a word is of a signal, 0 to 1."""
Tree = tuple[Any, ...]
"""("or", a, b), ("and", a, b), ("not", a) or ("is", signal, word)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of `rules`. `asset` is the one that the component belongs to, `cause` is `part: what`."""

    text: str
    asset: str
    cause: str
    weight: float
    tree: Tree

    def truth(self, of: Truth) -> float:
        """How true its condition is."""
        return _value(self.tree, of)


def named(component: str, cause: str, asset: str) -> str:
    """The cause of an asset: the part that the component names beside it, and what is wrong; "mill bearing" and
    "damaged" of the mill are "bearing: damaged"."""
    part = component[len(asset) :].strip() if component.startswith(asset) else component
    return f"{part}: {cause}" if part else cause


def said(asset: str, cause: str) -> str:
    """The other way round, as a finding is called: "mill bearing: damaged"."""
    part, colon, what = cause.partition(": ")
    return f"{asset} {part}: {what}" if colon else f"{asset}: {cause}"


def plain(row: Mapping[str, object]) -> list[str]:
    """What is wrong with a row of the twin file before its signals are known."""
    if not isinstance(row, Mapping):  # it comes from a file that a person wrote
        return [f"diagnosis: a rule is {{ if, component, cause, weight }}, not {row!r}"]
    label = f"diagnosis: rule '{row.get('if', '?')}'"
    problems = [f"{label} has no key '{k}'{nearest(k, KEYS)}" for k in row if k not in KEYS]
    problems += [f"{label} needs {k}" for k in KEYS[:3] if not row.get(k)]
    weight = row.get("weight", 1.0)
    if not isinstance(weight, int | float) or not -10 <= weight <= 10:
        problems.append(f"{label}: weight {weight} must be a number from -10 to 10")
    return problems


def bound(
    row: Mapping[str, object], assets: Sequence[str], states: Mapping[str, Sequence[str]]
) -> tuple[list[Rule], list[str]]:
    """The rules that a row stands for, and what is wrong with it. `states`: signal -> names of its states (none: a
    number)."""
    made, problems = [], []
    for asset in assets if any("{asset}" in str(v) for v in row.values()) else [""]:
        given = {k: str(v).replace("{asset}", asset) for k, v in row.items()}
        found, wrong = _one(given, assets, states, needed=not asset)
        made += found
        problems += wrong
    if not made and not problems:
        problems.append(f"diagnosis: rule '{row['if']}' fits no asset: its signals are none of theirs")
    return made, list(dict.fromkeys(problems))


def _one(
    given: Mapping[str, str], assets: Sequence[str], states: Mapping[str, Sequence[str]], needed: bool
) -> tuple[list[Rule], list[str]]:
    label = f"diagnosis: rule '{given['if']}'"
    owner = [a for a in assets if given["component"] == a or given["component"].startswith(f"{a} ")]
    if not owner:
        first = given["component"].split()[0] if given["component"].split() else ""
        return [], [f"{label}: component '{given['component']}' is of no asset{nearest(first, assets)}"]
    tree, problems = _parsed(given["if"], label)
    for signal, word in _conditions(tree):
        if signal not in states:
            if not needed:
                return [], []  # an asset without that signal
            problems.append(f"{label}: there is no signal '{signal}'{nearest(signal, states)}")
            continue
        known = [*states[signal], "missing", "stuck"] if states[signal] else list(WORDS)
        if word not in known:
            problems.append(f"{label}: '{word}' says nothing of {signal}{nearest(word, known)}; {', '.join(known)} do")
    if problems:
        return [], problems
    asset = max(owner, key=len)
    cause = named(given["component"], given["cause"], asset)
    return [Rule(given["if"], asset, cause, float(given.get("weight", 1.0)), tree)], []


# -- the condition -----------------------------------------------------------------------------------------------------


def _parsed(text: str, label: str) -> tuple[Tree, list[str]]:
    tokens = [t.strip("'") for t in re.findall(r"'[^']+'|[()]|[^\s()]+", text) if t != "is"]
    if len(tokens) > LONGEST:
        return (), [f"diagnosis: rule '{text[:40]} ...' has {len(tokens)} words and brackets, {LONGEST} is the most"]
    place = 0

    def peek() -> str:
        return tokens[place] if place < len(tokens) else ""

    def take() -> str:
        nonlocal place
        place += 1
        return tokens[place - 1] if place <= len(tokens) else ""

    def either() -> Tree:
        found = both()
        while peek() == "or":
            take()
            found = ("or", found, both())
        return found

    def both() -> Tree:
        found = one()
        while peek() == "and":
            take()
            found = ("and", found, one())
        return found

    def one() -> Tree:
        if peek() == "not":
            take()
            return ("not", one())
        if peek() == "(":
            take()
            found = either()
            if take() != ")":
                raise ValueError("a bracket is not closed")
            return found
        signal, word = take(), take()
        if not signal or not word or {signal, word} & {"and", "or", "not", "(", ")"}:
            raise ValueError(f"after '{' '.join(tokens[: max(place - 2, 0)]) or text}' a signal and a word are needed")
        return ("is", signal, word)

    try:
        tree = either()
        if place < len(tokens):
            raise ValueError(f"'{tokens[place]}' is one word too many; join conditions with and, or")
    except ValueError as error:
        return (), [f"{label}: {error}"]
    return tree, []


def _conditions(tree: Tree) -> Iterable[tuple[str, str]]:
    if not tree:
        return
    if tree[0] == "is":
        yield tree[1], tree[2]
        return
    for branch in tree[1:]:
        yield from _conditions(branch)


def _value(tree: Tree, of: Truth) -> float:
    kind = tree[0]
    if kind == "is":
        return of(tree[1], tree[2])
    if kind == "not":
        return 1.0 - _value(tree[1], of)
    both = [_value(branch, of) for branch in tree[1:]]
    return min(both) if kind == "and" else max(both)
