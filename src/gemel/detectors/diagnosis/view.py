"""A plant as each of its assets sees it: what was learned on one machine can then be told again on another.

An asset's own signals are called by their quantity (`mill_vibration` is `@vibration` to the mill), those between two
assets by the side they lie on (`saw_mill` is `*_@` to the mill and `@_*` to the saw), those of the whole by their own
name (`^scrap`), and the same quantity of its neighbours is taken together (`~vibration`).

Letters: a assets, c columns, k slots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gemel.core.values import Floats, Signal

STATES = 12
"""Codes of a state signal that has no names for them."""


def relative(name: str, asset: str, assets: Iterable[str]) -> str:
    """A signal's name as seen from an asset: `@` is the asset, `*` another one."""
    known = set(assets)
    return "_".join("@" if t == asset else "*" if t in known else t for t in name.split("_"))


def quantity(name: str, asset: str) -> str:
    """What a signal of an asset measures: its name without the asset's."""
    return "_".join(t for t in name.split("_") if t != asset) or name


@dataclass(frozen=True, slots=True)
class Column:
    """One number a row: a signal, or one state of a state signal (`state` is its code, -1 for a number)."""

    signal: str
    asset: str
    quantity: str
    state: int = -1


@dataclass(frozen=True, slots=True)
class View:
    """`columns` of the plant, its `assets` (those with a machine's own signals, and the `whole` of them, last)."""

    columns: tuple[Column, ...]
    assets: tuple[str, ...]
    whole: str

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that the columns are made of, each once."""
        return tuple(dict.fromkeys(c.signal for c in self.columns))

    @property
    def parts(self) -> tuple[str, ...]:
        """The assets without the whole."""
        return tuple(a for a in self.assets if a != self.whole)

    def kin(self) -> list[list[int]]:
        """For each column those of the same quantity on other parts; none for states."""
        parts = self.parts
        return [
            [
                j for j, other in enumerate(self.columns)
                if other.quantity == one.quantity and other.asset != one.asset and other.asset in parts
            ]
            if one.state < 0 and one.asset in parts else []
            for one in self.columns
        ]  # fmt: skip

    def slots(self, asset: str) -> dict[str, list[int]]:
        """What the asset sees: slot -> columns that are taken together (their mean)."""
        found: dict[str, list[int]] = {}
        parts = self.parts
        for i, column in enumerate(self.columns):
            for slot in self._of(asset, column, parts):
                found.setdefault(slot, []).append(i)
        return found

    def _of(self, asset: str, column: Column, parts: Sequence[str]) -> list[str]:
        if column.asset in parts:
            if column.asset == asset:
                return [f"@{column.quantity}"]
            return [f"~{column.quantity}"]
        seen = relative(column.quantity, asset, parts)
        if asset in parts and "@" in seen.split("_"):
            return [seen]
        if "*" in seen.split("_") or any(t in parts for t in column.quantity.split("_")):
            return ["*_*"]
        return [f"^{column.quantity}"]


def view(signals: Iterable[Signal], whole: str = "", chosen: Sequence[str] = ()) -> View:
    """The view of a twin's signals: measured and derived numbers and states. An asset is the whole if its signals are
    not called after it; so are signals without an asset."""
    used = [
        s for s in signals
        if s.type in ("number", "state") and s.role in ("measured", "derived") and (not chosen or s.name in chosen)
    ]  # fmt: skip
    assets = list(dict.fromkeys(s.asset for s in used if s.asset))
    own = {a: [a in s.name.split("_") for s in used if s.asset == a] for a in assets}
    wide = [a for a in assets if 2 * sum(own[a]) < len(own[a]) and len(assets) > 1]
    whole = whole or (wide[0] if wide else "")
    parts = [a for a in assets if a != whole and a not in wide] or [a for a in assets if a != whole]
    columns = []
    for s in used:
        of = s.asset if s.asset in parts else whole
        called = quantity(s.name, of) if of in parts else s.name
        if s.type == "number":
            columns.append(Column(s.name, of, called))
            continue
        words = list(s.states) or [str(i) for i in range(STATES)]
        columns += [Column(s.name, of, f"{called}={word}", code) for code, word in enumerate(words)]
    return View(tuple(columns), (*parts, whole), whole)


def spread(found: View, values: Floats, signals: Sequence[str]) -> Floats:
    """Rows of signals [t, s] as rows of columns [t, c]: a state is 1 while it holds, else 0, NaN where not heard."""
    place = {name: i for i, name in enumerate(signals)}
    made = np.empty((len(values), len(found.columns)))
    for j, column in enumerate(found.columns):
        own = values[:, place[column.signal]]
        made[:, j] = own if column.state < 0 else np.where(np.isfinite(own), own == column.state, np.nan)
    return made
