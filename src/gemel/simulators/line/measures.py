"""What a run of a line says about it: which machine limits it, and what a machine makes of its time.

All functions take outputs by name, arrays [t, m] of a run in equal steps (`run.of(name)` of a fork), and give a number
a member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gemel.core.values import Floats

ACTIVE = ("busy", "setup", "down", "service")
"""States in which a machine keeps others waiting, rather than waiting itself."""


def bottleneck(outputs: Mapping[str, Floats], machines: Sequence[str]) -> dict[str, Floats]:
    """Machine -> the share of the steps in which it was the bottleneck [m]: the one that was active for the greatest
    part of the step, neither starved nor blocked nor idle (the active period method, Roser, Nakano and Tanaka 2001,
    Winter Simulation Conference). Steps should be long enough to hold several parts."""
    active = np.stack([np.sum([outputs[f"{m}_{state}"] for state in ACTIVE], axis=0) for m in machines])  # [M, t, m]
    most = active.argmax(axis=0)
    return {name: np.asarray((most == i).mean(axis=0)) for i, name in enumerate(machines)}


def oee(outputs: Mapping[str, Floats], machine: str, cycle: float, scrap: Floats | float = 0.0) -> dict[str, Floats]:
    """Overall equipment effectiveness of a machine (Nakajima 1988; ISO 22400-2), [m] each.

    `availability`: the share of its time in which it was not down, serviced or set up; `performance`: parts in that
    time, times the `cycle` (s) that they should take; `quality`: the share of parts that are not `scrap` (counts [t, m]
    of that machine, or of the line); `oee`: the product. The step is told by the shares: parts times cycle must not
    exceed it."""
    lost = np.sum([outputs[f"{machine}_{state}"] for state in ("down", "service", "setup")], axis=0)
    parts = outputs[f"{machine}_parts"]
    available = np.asarray((1.0 - lost).mean(axis=0))
    step = step_s(outputs)
    with np.errstate(invalid="ignore", divide="ignore"):
        performance = np.where(available > 0, parts.sum(axis=0) * cycle / (available * step * len(parts)), 0.0)
        made = parts.sum(axis=0)
        good = np.where(made > 0, 1.0 - np.sum(np.broadcast_to(scrap, parts.shape), axis=0) / made, 1.0)
    found = {"availability": available, "performance": performance, "quality": good}
    return {**found, "oee": available * performance * good}


def step_s(outputs: Mapping[str, Floats]) -> float:
    """Seconds of a step, from good parts and their rate an hour; an hour where nothing was made."""
    good, rate = outputs["good"], outputs["throughput"]
    made = rate > 0
    return float((good[made] / rate[made]).mean() * 3600.0) if made.any() else 3600.0
