"""The elements of a network: nodes, links between two of them, and sources into one.

Legend: a, b potentials (degC, or m of head) of a link's first and second node, d = a - b, q flow, g gravity; a row of
members each. The laws stand in any textbook: Fourier's, Torricelli's, Darcy and Weisbach's, Hagen and Poiseuille's; the
flow factor Kv of a valve is that of IEC 60534-2-1, the pump's curve a parabola with the affinity laws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gemel.simulators.network.quantities import Expected, Value

G = 9.80665
BAR = 1e5 / (1000.0 * G)
"""Metres of water in a bar."""
PRESSURE = 1000.0 * G
"""Pascal in a metre of water."""
FLUIDS = {"water": 4.18e6, "air": 1206.0}
"""J/(m3 K) at 20 degC."""
THERMAL, HYDRAULIC = "thermal", "hydraulic"
ADVECTION = "advection"
BASE = {THERMAL: ("degC", "W"), HYDRAULIC: ("m", "m3/s")}
"""Units of a node's potential and of what flows, by kind."""

Row = Any
"""Of members, or a plain number, or a symbol when the equations are compiled."""
Of = Callable[[Value], Row]


@dataclass(frozen=True, slots=True)
class Node:
    """`held` by its capacity or area (its potential is a state), by a boundary, or (None) by its neighbours alone."""

    name: str
    kind: str
    held: Value | None
    boundary: bool = False
    bottom: float = 0.0  # of a tank, m
    height: float = math.inf


@dataclass(frozen=True, slots=True)
class Law:
    """What a link does: its kind, its keys, and the flow from its first to its second node."""

    kind: str
    keys: Mapping[str, Expected]
    flow: Callable[[Mapping[str, Row], Row, Callable[[Row], Row]], Row]
    """(values, d, root) -> q; `root(d)` is the square root with d's sign, smooth near zero."""


@dataclass(frozen=True, slots=True)
class Link:
    """A law between two nodes; `values` are those of its keys, `by` the hydraulic link whose flow carries the heat."""

    name: str
    law: str
    first: str
    second: str
    values: Mapping[str, Value]
    by: str = ""

    def flow(self, of: Of, d: Row, root: Callable[[Row], Row]) -> Row:
        """From the first to the second node."""
        return LAWS[self.law].flow({k: of(v) for k, v in self.values.items()}, d, root)


@dataclass(frozen=True, slots=True)
class Source:
    """`gain` times `input` flows into a node. With `efficiency` it is a heat pump that takes heat from node `taken`:
    what it gives over what drives it is that share of Carnot's, and 1 or more."""

    name: str
    into: str
    input: Value
    gain: Value
    taken: str = ""
    efficiency: Value | None = None

    def flow(self, of: Of) -> Row:
        """Into its node; of a heat pump, what its drive takes."""
        return of(self.gain) * of(self.input)

    def performance(self, of: Of, warm: Row, cold: Row) -> Row:
        """Heat given off over what the drive takes; a lift below 5 K counts as 5 K."""
        assert self.efficiency is not None
        lift = np.maximum(warm - cold, 5.0)
        return np.maximum(of(self.efficiency) * (warm + 273.15) / lift, 1.0)


OPENING = {"opening": Expected("1", positive=False, default=1.0, names=True, high=1.0)}
LAWS = {
    "conductance": Law(
        THERMAL, {"conductance": Expected("W/K"), **OPENING}, lambda v, d, root: v["conductance"] * v["opening"] * d
    ),
    "resistance": Law(
        THERMAL, {"resistance": Expected("K/W"), **OPENING}, lambda v, d, root: v["opening"] / v["resistance"] * d
    ),
    ADVECTION: Law(
        THERMAL,
        {"flow": Expected("m3/s", positive=False, names=True), "fluid": Expected("J/(m3 K)")},
        lambda v, d, root: v["fluid"] * v["flow"] * d,
    ),
    "orifice": Law(
        HYDRAULIC,
        {"orifice": Expected("m2"), "discharge": Expected("1", default=0.61), **OPENING},
        lambda v, d, root: v["orifice"] * v["discharge"] * v["opening"] * math.sqrt(2 * G) * root(d),
    ),
    "valve": Law(
        HYDRAULIC,
        {"kv": Expected("m3/h"), **OPENING},
        lambda v, d, root: v["kv"] * (1 / 3600 / math.sqrt(BAR)) * v["opening"] * root(d),
    ),
    "pipe": Law(
        HYDRAULIC,
        {
            "length": Expected("m"),
            "diameter": Expected("m"),
            "friction": Expected("1", default=0.02),
            "losses": Expected("1", positive=False, default=0.0),
            **OPENING,
        },
        lambda v, d, root: (
            math.pi
            / 4
            * v["diameter"] ** 2
            * v["opening"]
            * root(d)
            * np.sqrt(2 * G / (v["friction"] * v["length"] / v["diameter"] + v["losses"]))
        ),
    ),
    "laminar": Law(
        HYDRAULIC,
        {"length": Expected("m"), "diameter": Expected("m"), "viscosity": Expected("m2/s"), **OPENING},
        lambda v, d, root: math.pi * G / 128 * v["diameter"] ** 4 / (v["viscosity"] * v["length"]) * v["opening"] * d,
    ),
    "pump": Law(
        HYDRAULIC,
        {
            "head": Expected("m"),
            "flow": Expected("m3/s"),
            "speed": Expected("1", positive=False, default=1.0, names=True, high=1.0),
        },
        lambda v, d, root: v["flow"] * root(np.maximum(v["speed"] ** 2 * v["head"] + d, 0.0)) / np.sqrt(v["head"]),
    ),
}
"""Which one a link has, its keys say: see `law_of`."""
_MARKS = {
    "conductance": "conductance",
    "resistance": "resistance",
    "orifice": "orifice",
    "kv": "valve",
    "viscosity": "laminar",
    "head": "pump",
    "length": "pipe",
    "diameter": "pipe",
    "flow": ADVECTION,
}


def law_of(keys: Mapping[str, Any]) -> str:
    """The law that a link's keys ask for; empty if none."""
    return next((law for mark, law in _MARKS.items() if mark in keys), "")
