"""Reads a network's tables, and says all that is wrong with them, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gemel.core.errors import ConfigError, GemelError, nearest
from gemel.core.units import conversion
from gemel.simulators.network.balance import Layout, Output
from gemel.simulators.network.elements import (
    ADVECTION,
    BASE,
    FLUIDS,
    HYDRAULIC,
    LAWS,
    PRESSURE,
    THERMAL,
    Link,
    Node,
    Source,
    law_of,
)
from gemel.simulators.network.quantities import KNOWN, Expected, Reader, Table, Value, numeric

TEMPERATURE = Expected("degC", positive=False, default={"mean": 20.0, "sd": 5.0})
NODE_KEYS = ("capacity", "temperature", "area", "head", "start", "noise", "bottom", "height")
SOURCE_KEYS = ("into", "input", "unit", "gain", "from", "efficiency")
HELD = {"capacity": THERMAL, "temperature": THERMAL, "area": HYDRAULIC, "head": HYDRAULIC}
HINT = "see docs/network.md"


def read(nodes: Any, links: Any, sources: Any, outputs: Any, smooth: Any) -> Layout:
    """The layout that four tables of a twin file declare; raises `ConfigError`."""
    return _Reading(nodes, links, sources, outputs, smooth).layout()


class _Reading:
    """One pass over the tables."""

    def __init__(self, nodes: Any, links: Any, sources: Any, outputs: Any, smooth: Any) -> None:
        self.r = Reader()
        self.states: dict[str, Table] = {}
        groups = {"nodes": nodes, "links": links, "sources": sources}
        for key, table in groups.items():
            if not isinstance(table, Mapping) or (key == "nodes" and not table):
                raise ConfigError([f"network: {key} must be a table of name = {{ ... }}, not {table!r}"], HINT)
        names = [str(n) for table in groups.values() for n in table]
        self.r.problems += [f"the name '{n}' stands twice" for n in sorted({n for n in names if names.count(n) > 1})]
        self.smooth = self._plain("network", "smooth", {"smooth": smooth}, Expected("m"))
        self.nodes = {str(n): self._node(str(n), t) for n, t in nodes.items()}
        self.links = {str(n): link for n, t in links.items() if (link := self._link(str(n), t, links))}
        self.sources = {str(n): source for n, t in sources.items() if (source := self._source(str(n), t))}
        self._joined()
        if not self.states and not self.r.problems:
            self.r.problems.append("no node has a capacity or an area: there is nothing to simulate")
        if not self.r.problems:
            self.outputs = self._shown(outputs)

    def layout(self) -> Layout:
        r = self.r
        if r.problems:
            raise ConfigError([f"network: {p}" for p in r.problems], HINT)
        links, sources = list(self.links.values()), list(self.sources.values())
        return Layout(self.nodes, links, sources, self.outputs, self.smooth, self.states, r.inputs, r.parameters)

    def _node(self, name: str, table: Any) -> Node:
        place = f"node '{name}'"
        t = self.r.keys(place, table, NODE_KEYS)
        held = [k for k in HELD if k in t]
        if len(held) > 1:
            self.r.problems.append(f"{place} has {' and '.join(held)}: one of them says what it is")
        if not held:
            self.r.problems += [f"{place} has {k}, but no capacity and no area" for k in t]
            return Node(name, THERMAL, None)
        key, kind = held[0], HELD[held[0]]
        wanted = ("start", "noise") if key == "capacity" else ("start", "noise", "bottom", "height")
        strange = [k for k in t if k != key and (k not in wanted or key in ("temperature", "head"))]
        self.r.problems += [f"{place}: '{k}' does not go with {key}" for k in strange]
        if key in ("temperature", "head"):
            expected = Expected(BASE[kind][0], positive=False, names=True)
            return Node(name, kind, self.r.value(name, key, t, expected), boundary=True)
        value = self.r.value(name, key, t, Expected("J/K" if kind == THERMAL else "m2"))
        bottom = self._plain(name, "bottom", t, Expected("m", positive=False, default=0.0))
        height = self._plain(name, "height", t, Expected("m", default=math.inf if "height" not in t else None))
        self._state(name, kind, t, height)
        return Node(name, kind, value, bottom=bottom, height=height)

    def _plain(self, name: str, key: str, table: Table, expected: Expected) -> float:
        """A number that cannot be believed."""
        if table.get(key, expected.default) == math.inf:
            return math.inf
        value = self.r.value(name, key, table, expected)
        if value.sort != KNOWN:
            self.r.problems.append(f"{name}.{key} must be a number, it cannot be estimated")
            return 1.0
        return value.known()

    def _state(self, name: str, kind: str, table: Table, height: float) -> None:
        """The prior of a node's temperature or level."""
        noise = table.get("noise", 0.0)
        if isinstance(noise, bool) or not isinstance(noise, int | float) or noise < 0:
            self.r.problems.append(f"{name}.noise must be a number, 0 or more, per square root of an hour")
            noise = 0.0
        wet = {"mean": min(1.0, height / 2), "sd": min(0.3, height / 8)}
        expected = TEMPERATURE if kind == THERMAL else Expected("m", positive=False, default=wet)
        if isinstance(table.get("start"), Mapping) and "input" in table["start"]:
            self.r.problems.append(f"{name}.start cannot be an input; a boundary can: {name} = {{ temperature = ... }}")
            return
        value = self.r.value(name, "start", table, expected)
        self.r.parameters.pop(value.name, None)
        prior = {k: v for k, v in value.table.items() if k in ("sd", "low", "high")}
        edges = {"low": 0.0, "high": height} if kind == HYDRAULIC else {}
        mean = value.known()
        if edges and not 0.0 <= mean <= height:
            self.r.problems.append(f"{name}.start: {mean:g} m is outside of the tank, 0 to {height:g} m")
        scaled = {k: v * value.factor + (0.0 if k == "sd" else value.offset) for k, v in prior.items()}
        self.states[name] = {"unit": BASE[kind][0], "mean": mean, "noise": float(noise), **scaled, **edges}

    def _link(self, name: str, table: Any, links: Mapping[str, Any]) -> Link | None:
        place = f"link '{name}'"
        if not isinstance(table, Mapping) or not (law := law_of(table)):
            marks = "conductance, resistance, flow, orifice, kv, length and diameter, or head and flow"
            self.r.problems.append(f"{place} has none of {marks}: one says what it is")
            return None
        keys = LAWS[law].keys
        t = self.r.keys(place, table, ("between", *keys))
        ends = t.get("between")
        if not isinstance(ends, list | tuple) or len(ends) != 2:
            self.r.problems.append(f"{place} needs two nodes: between = ['room', 'outdoor']")
            return None
        first, second = str(ends[0]), str(ends[1])
        for end in (first, second):
            self._known(place, end)
        if first == second:
            self.r.problems.append(f"{place} joins '{first}' to itself")
        if law == ADVECTION:
            fluid = t.get("fluid", "water")
            if isinstance(fluid, str) and fluid.isalpha() and fluid not in FLUIDS:
                self.r.problems.append(f"{place}: fluid '{fluid}' is not one of {', '.join(FLUIDS)}")
                return None
            t = {**t, "fluid": FLUIDS.get(fluid, fluid) if isinstance(fluid, str) else fluid}
            by = t.get("flow")
            if isinstance(by, str) and LAWS.get(law_of(links.get(by, {})), LAWS[ADVECTION]).kind == HYDRAULIC:
                values = {"fluid": self.r.value(name, "fluid", t, keys["fluid"])}
                return Link(name, law, first, second, values, by)
        return Link(name, law, first, second, {k: self.r.value(name, k, t, e) for k, e in keys.items()})

    def _source(self, name: str, table: Any) -> Source | None:
        place = f"source '{name}'"
        t = self.r.keys(place, table, SOURCE_KEYS)
        into = str(t.get("into", ""))
        if not self._known(place, into):
            return None
        kind = self.nodes[into].kind
        base, gain = BASE[kind][1], "1"
        unit = str(t.get("unit", base))
        for other, needed in (("W/m2", "m2"), (base, "1")):
            try:
                conversion(unit, other)
                base, gain = other, needed
                break
            except GemelError:
                continue
        else:  # watts, or cubic metres a second, per unit of an input of any unit
            base, gain = unit, base
        given = t.get("input", name)
        if isinstance(given, str) and not numeric(given):
            given = {"input": given, "unit": unit}
        elif not isinstance(given, str):
            given = {"unit": unit, **given} if isinstance(given, Mapping) else {"mean": given, "unit": unit}
        expected = Expected(base, positive=False, names=True)
        value = self.r.value(name, "input", {"input": given}, expected)
        gained = self.r.value(name, "gain", t, Expected(gain, positive=False, default=1.0))
        efficiency = None
        if ("from" in t) != ("efficiency" in t):
            self.r.problems.append(f"{place}: a heat pump has both, from (a node) and efficiency (a share of Carnot's)")
        elif "from" in t and self._known(place, str(t["from"])):
            efficiency = self.r.value(name, "efficiency", t, Expected("1"))
            ends = (into, str(t["from"]))
            bad = [n for n in ends if self.nodes[n].kind != THERMAL or self.nodes[n].held is None]
            if ends[0] == ends[1]:
                self.r.problems.append(f"{place}: a heat pump takes heat from another node than '{into}'")
            self.r.problems += [f"{place}: a heat pump needs a temperature or a capacity of '{n}'" for n in bad]
        return Source(name, into, value, gained, str(t.get("from", "")) if efficiency else "", efficiency)

    def _known(self, place: str, node: str) -> bool:
        if node not in self.nodes:
            self.r.problems.append(f"{place}: there is no node '{node}'{nearest(node, self.nodes)}")
        return node in self.nodes

    def _joined(self) -> None:
        """That every node has a neighbour of its kind, and one without a capacity something that holds it."""
        conducts: dict[str, set[str]] = {n: set() for n in self.nodes}
        touched: set[str] = {s.into for s in self.sources.values()} | {s.taken for s in self.sources.values()}
        for link in self.links.values():
            ends, kind = (link.first, link.second), LAWS[link.law].kind
            touched |= set(ends)
            for end, other in (ends, ends[::-1]):
                node = self.nodes.get(end)
                if node is None or other not in self.nodes:
                    continue
                if node.held is None and kind == HYDRAULIC:
                    self.r.problems.append(f"node '{end}' needs an area (a small one will do) or a head")
                elif node.kind != kind:
                    self.r.problems.append(f"link '{link.name}' is {kind}, node '{end}' is {node.kind}")
                elif link.law != ADVECTION:
                    conducts[end].add(other)
        for name, node in self.nodes.items():
            if name not in touched:
                self.r.problems.append(f"node '{name}' stands alone: no link and no source names it")
            elif node.boundary and any(s.into == name for s in self.sources.values()):
                self.r.problems.append(f"a source into '{name}' changes nothing: it has a {_held_by(node)} of its own")
        loose = [n for n, node in self.nodes.items() if node.held is None and not self._holds(n, conducts)]
        if not self.r.problems:
            self.r.problems += [
                f"node '{n}' has no capacity, and no conductance leads from it to a node that has one" for n in loose
            ]

    def _holds(self, name: str, conducts: Mapping[str, set[str]]) -> bool:
        """Whether conductances lead from a node to one that has a temperature of its own."""
        seen, left = {name}, [name]
        while left:
            here = left.pop()
            if self.nodes[here].held is not None:
                return True
            left += [n for n in conducts[here] if n not in seen]
            seen |= conducts[here]
        return False

    def _shown(self, outputs: Any) -> list[Output]:
        """The outputs, all there is where the file does not say."""
        found = self._listed(outputs)
        self.r.problems += [
            f"output '{o.name}' has the name of an input: rename one, or say outputs = {{ ... }}"
            for o in found
            if o.name in self.r.inputs
        ]
        return found

    def _listed(self, outputs: Any) -> list[Output]:
        if not outputs:
            nodes = [n for n in self.nodes.values() if not n.boundary]
            found = [Output(n.name, n.name, BASE[n.kind][0]) for n in nodes]
            return found + [Output(k.name, k.name, BASE[LAWS[k.law].kind][1]) for k in self.links.values()]
        if not isinstance(outputs, Mapping):
            self.r.problems.append(f"outputs must be a table of name = {{ of, unit }}, not {outputs!r}")
            return []
        return [o for name, given in outputs.items() if (o := self._output(str(name), given))]

    def _output(self, name: str, given: Any) -> Output | None:
        place = f"output '{name}'"
        t = {"of": given} if isinstance(given, str) else self.r.keys(place, given, ("of", "unit"))
        of = str(t.get("of", name))
        element = self.nodes.get(of) or self.links.get(of) or self.sources.get(of)
        if element is None or (isinstance(element, Node) and element.boundary):
            known = [*(n for n, node in self.nodes.items() if not node.boundary), *self.links, *self.sources]
            self.r.problems.append(f"{place}: there is no '{of}' to show{nearest(of, known)}")
            return None
        kind = element.kind if isinstance(element, Node) else self._flows(element)
        base = BASE[kind][0 if isinstance(element, Node) else 1]
        unit, scale = str(t.get("unit", base)), 1.0
        if isinstance(element, Node) and kind == HYDRAULIC:  # the unit says which of three is meant
            area = element.held if element.held and element.held.sort == KNOWN else Value("", KNOWN)
            for other, factor in (("Pa", PRESSURE), ("m3", area.known())):
                if _converts(unit, other) and math.isfinite(factor):
                    base, scale = other, factor
        try:
            factor, offset = conversion(base, unit)
        except GemelError as error:
            self.r.problems.append(f"{place}: {error.message}")
            return None
        return Output(name, of, unit, scale * factor, offset)

    def _flows(self, element: Link | Source) -> str:
        return LAWS[element.law].kind if isinstance(element, Link) else self.nodes[element.into].kind


def _held_by(node: Node) -> str:
    return "temperature" if node.kind == THERMAL else "head"


def _converts(unit: str, other: str) -> bool:
    try:
        conversion(unit, other)
    except GemelError:
        return False
    return True
