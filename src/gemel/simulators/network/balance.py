"""The equations of a network: what flows between nodes, and what that does to them.

What flows out of one node flows into another, so water is kept, and heat wherever water flows in rings. A node without
a capacity is settled at every instant: its temperature follows from its neighbours' by elimination, whose matrix is
diagonally dominant and needs no pivots.

Legend: x states, u inputs, p parameters, t time; a row a name and a column a member; q flow, w heat per kelvin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gemel.simulators.network.elements import ADVECTION, HYDRAULIC, LAWS, Link, Node, Of, Row, Source
from gemel.simulators.network.quantities import INPUT, KNOWN, PARAMETER, Table, Value


@dataclass(frozen=True, slots=True)
class Output:
    """`value * factor + offset` of a node (its temperature or level), a link or a source (what flows)."""

    name: str
    of: str
    unit: str
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Layout:
    """What is declared of a network, checked; `smooth` in metres. States, inputs and parameters are tables of
    name -> `{unit, mean, sd, low, high, ...}`."""

    nodes: Mapping[str, Node]
    links: Sequence[Link]
    sources: Sequence[Source]
    outputs: Sequence[Output]
    smooth: float
    states: Mapping[str, Table]
    inputs: Mapping[str, Table]
    parameters: Mapping[str, Table]

    @property
    def believed(self) -> Mapping[str, Mapping[str, Table]]:
        """Where an input's or a parameter's row is: sort -> its tables in order."""
        return {INPUT: self.inputs, PARAMETER: self.parameters}


class Carried(NamedTuple):
    """Heat `w` times the difference of temperature from `first` to `second`. What moves it is seen by `second` alone
    when it is a flow: that pushes as much out of `second` as comes in."""

    link: str
    first: str
    second: str
    w: Row
    conducted: bool


class Balance:
    """The equations of a network, as a user's own class of equations would give them."""

    def __init__(self, layout: Layout) -> None:
        self.layout = n = layout
        self.states, self.inputs, self.parameters = n.states, n.inputs, n.parameters
        self.outputs = {o.name: o.unit for o in n.outputs}
        self._place = {sort: {name: i for i, name in enumerate(g)} for sort, g in n.believed.items()}
        self._settled = {name: i for i, name in enumerate(k for k, node in n.nodes.items() if node.held is None)}

    def derivative(self, t: Row, x: Row, u: Row, p: Row) -> list[Row]:
        of = self._reader(u, p)
        into = self._moved(of, x)[0]
        return [into[name] / of(self._held(name)) for name in self.states]

    def output(self, t: Row, x: Row, u: Row, p: Row) -> list[Row]:
        shown: dict[str, Row] = dict(zip(self.states, x, strict=True))
        if any(o.of not in shown for o in self.layout.outputs):
            shown = self._moved(self._reader(u, p), x)[1] | shown
        return [shown[o.of] * o.factor + o.offset for o in self.layout.outputs]

    def _moved(self, of: Of, x: Row) -> tuple[dict[str, Row], dict[str, Row]]:
        """What flows into each node, and what there is to show, by the name of its element."""
        nodes, shown = self.layout.nodes, dict[str, Row]()
        levels = dict(zip(self.states, x, strict=True))
        at = {name: of(node.held) for name, node in nodes.items() if node.held and node.boundary}
        at |= {name: row + nodes[name].bottom for name, row in levels.items()}
        into: dict[str, Row] = dict.fromkeys(nodes, 0.0)
        for link in self.layout.links:
            if LAWS[link.law].kind == HYDRAULIC:
                q = shown[link.name] = self._water(link, of, at, levels)
                into[link.first], into[link.second] = into[link.first] - q, into[link.second] + q
        for source in self.layout.sources:
            q = drive = source.flow(of)
            if source.taken:
                q = drive * source.performance(of, at[source.into], at[source.taken])
                into[source.taken] = into[source.taken] + drive - q
            shown[source.name] = q
            into[source.into] = into[source.into] + q
        carried = [c for link in self.layout.links for c in _carried(link, of, shown)]
        if self._settled:
            found = self._settle(at, carried, into)
            at, shown = at | found, shown | found
        for link_name, first, second, w, conducted in carried:
            heat = w * (at[first] - at[second])
            shown[link_name] = shown[link_name] + heat if link_name in shown else heat
            into[second] = into[second] + heat
            if conducted:
                into[first] = into[first] - heat
        return into, shown

    def _water(self, link: Link, of: Of, at: Mapping[str, Row], levels: Mapping[str, Row]) -> Row:
        """The flow of a hydraulic link, which fades when the tank that it leaves runs dry."""
        smooth = self.layout.smooth

        def root(d: Row) -> Row:
            return d / np.sqrt(np.sqrt(d * d + smooth * smooth))

        q = link.flow(of, at[link.first] - at[link.second], root)
        out, back = np.maximum(q, 0.0), np.minimum(q, 0.0)
        if link.first in levels:
            out = out * np.minimum(np.maximum(levels[link.first] / smooth, 0.0), 1.0)
        if link.second in levels:
            back = back * np.minimum(np.maximum(levels[link.second] / smooth, 0.0), 1.0)
        return out + back

    def _settle(self, at: Mapping[str, Row], carried: Sequence[Carried], into: Mapping[str, Row]) -> dict[str, Row]:
        """Temperatures of the nodes without a capacity, from those of the others."""
        place, n = self._settled, len(self._settled)
        a: list[list[Row]] = [[0.0] * n for _ in range(n)]
        b = [into[name] for name in place]

        def hear(node: str, other: str, w: Row) -> None:
            if node in place:
                i = place[node]
                a[i][i] = a[i][i] + w
                if other in place:
                    a[i][place[other]] = a[i][place[other]] - w
                else:
                    b[i] = b[i] + w * at[other]

        for c in carried:
            hear(c.second, c.first, c.w)
            if c.conducted:
                hear(c.first, c.second, c.w)
        for k in range(n):
            for i in range(k + 1, n):
                if not _nothing(a[i][k]):
                    ratio = a[i][k] / a[k][k]
                    a[i] = [v if j <= k or _nothing(a[k][j]) else v - ratio * a[k][j] for j, v in enumerate(a[i])]
                    b[i] = b[i] - ratio * b[k]
        for k in reversed(range(n)):
            for j in range(k + 1, n):
                b[k] = b[k] - a[k][j] * b[j]
            b[k] = b[k] / a[k][k]
        return dict(zip(place, b, strict=True))

    def _held(self, name: str) -> Value:
        held = self.layout.nodes[name].held
        assert held is not None
        return held

    def _reader(self, u: Row, p: Row) -> Of:
        """Gives the rows of values in their base units."""

        def of(value: Value) -> Row:
            if value.sort == KNOWN:
                return value.known()
            row = (u if value.sort == INPUT else p)[self._place[value.sort][value.name]]
            row = row if value.factor == 1.0 else row * value.factor
            return row if value.offset == 0.0 else row + value.offset

        return of


def _carried(link: Link, of: Of, flows: Mapping[str, Row]) -> list[Carried]:
    """The heat that a link carries per kelvin; that of a flow goes with it, either way. `flows` of hydraulic links."""
    if LAWS[link.law].kind == HYDRAULIC:
        return []
    if link.law != ADVECTION:
        return [Carried(link.name, link.first, link.second, link.flow(of, 1.0, np.sqrt), True)]
    w = of(link.values["fluid"]) * (flows[link.by] if link.by else of(link.values["flow"]))
    return [
        Carried(link.name, link.first, link.second, np.maximum(w, 0.0), False),
        Carried(link.name, link.second, link.first, np.maximum(-w, 0.0), False),
    ]


def _nothing(entry: Row) -> bool:
    return isinstance(entry, float) and entry == 0.0
