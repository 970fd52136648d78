"""How fast a network can get, and so how long a step of its solution may be."""

from __future__ import annotations

import math

import numpy as np

from gemel.core.values import Floats
from gemel.simulators.network.balance import Balance
from gemel.simulators.network.elements import ADVECTION, HYDRAULIC
from gemel.simulators.network.quantities import INPUT, Table

DRAWS = 300
LONGEST, SHORTEST = 3600.0, 0.01
"""Steps in seconds."""
RENEWAL = 300.0
"""An input that is a flow, and does not say how high it gets, renews the smaller of its nodes in so many seconds."""


def pace(balance: Balance) -> float:
    """A step in seconds that is stable in any corner of the priors and inputs, and accurate at their means.

    The method is stable where step times the fastest rate stays under 2.78: it is kept under 1, and under one half at
    the means. Rates are eigenvalues of the Jacobian, at levels near each other and near empty too, where water is
    fastest to settle."""
    x, u, p = _places(balance)
    rates = np.abs(np.linalg.eigvals(_jacobian(balance, x, u, p))).max(axis=1)
    return min(1.0 / max(float(rates.max()), 1e-9), 0.5 / max(float(rates[0]), 1e-9), LONGEST)


def fastest(balance: Balance) -> str:
    """The state that settles fastest at the means."""
    x, u, p = _places(balance)
    j = _jacobian(balance, x[:, :1], u[:, :1], p[:, :1])[0]
    return list(balance.states)[int(np.argmax(np.abs(np.diag(j))))]


def _jacobian(balance: Balance, x: Floats, u: Floats, p: Floats) -> Floats:
    """[m, k, k] by differences."""
    k, m = x.shape
    still = np.array([np.broadcast_to(r, (m,)) for r in balance.derivative(0.0, x, u, p)])
    out = np.empty((m, k, k))
    for i in range(k):
        moved = x.copy()
        moved[i] += 1e-6
        rate = np.array([np.broadcast_to(r, (m,)) for r in balance.derivative(0.0, moved, u, p)])
        out[:, :, i] = ((rate - still) / 1e-6).T
    return out


def _places(balance: Balance) -> tuple[Floats, Floats, Floats]:
    """States, inputs and parameters at their means (the first column) and in corners, [k, m]."""
    rng, layout = np.random.default_rng(0), balance.layout
    flows = _flows(balance)
    u = np.array([_corners(rng, {**t, **flows.get(n, {})}) for n, t in layout.inputs.items()]).reshape(-1, DRAWS)
    p = np.array([_corners(rng, t) for t in layout.parameters.values()]).reshape(-1, DRAWS)
    x = np.array([np.full(DRAWS, float(t["mean"])) for t in layout.states.values()])
    names, near = list(layout.states), np.array([-1.0, 0.0, 0.3, 1.0]) * layout.smooth
    for i, name in enumerate(names):
        node = layout.nodes[name]
        if node.kind == HYDRAULIC:
            top = node.height if math.isfinite(node.height) else 2.0 * x[i, 0] + 1.0
            x[i, 1:] = rng.uniform(0.0, top, DRAWS - 1)
            x[i, 1 : DRAWS // 4] = np.abs(rng.choice(near, DRAWS // 4 - 1))
    for link in layout.links:
        if link.first in names and link.second in names:
            a, b = names.index(link.first), names.index(link.second)
            rise = layout.nodes[link.first].bottom - layout.nodes[link.second].bottom
            chosen = np.flatnonzero(rng.random(DRAWS) < 0.3)[1:]
            x[b, chosen] = np.maximum(x[a, chosen] + rise + rng.choice(near, len(chosen)), 0.0)
    return x, u, p


def _corners(rng: np.random.Generator, table: Table) -> Floats:
    """The mean, then draws of the ends of what is plausible, [m]."""
    mean, sd = float(table.get("mean", math.nan)), float(table.get("sd", 0.0))
    low, high = float(table.get("low", -math.inf)), float(table.get("high", math.inf))
    if math.isnan(mean):
        ends = [low if math.isfinite(low) else 0.0, high if math.isfinite(high) else 0.0]
        mean = ends[1]
    else:
        ends = [max(mean - 3.5 * sd, low), min(mean + 3.5 * sd, high)]
    out = rng.choice(ends, DRAWS)
    out[0] = mean
    return out


def _flows(balance: Balance) -> dict[str, dict[str, float]]:
    """Inputs that are flows of unknown height: input -> its assumed `high`."""
    found = {}
    for link in balance.layout.links:
        value = link.values.get("flow")
        if link.law == ADVECTION and value is not None and value.sort == INPUT and "high" not in value.table:
            held = [
                balance.layout.nodes[n].held for n in (link.first, link.second) if not balance.layout.nodes[n].boundary
            ]
            sizes = [h.known() for h in held if h is not None and math.isfinite(h.known())]
            fluid = link.values["fluid"].known()
            if sizes and math.isfinite(fluid):
                found[value.name] = {"low": 0.0, "high": min(sizes) / fluid / RENEWAL / value.factor}
    return found
