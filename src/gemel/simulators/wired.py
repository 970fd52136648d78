"""Several simulators as one: outputs of some are inputs of others.

Legend: u inputs, y outputs, k states, m members, t time steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np

from gemel.core.errors import ConfigError, GemelError, nearest
from gemel.core.registry import build, declared
from gemel.core.setting import Bound, Setting
from gemel.core.units import conversion, duration
from gemel.core.values import Belief, Floats, Signals
from gemel.loop.simulate import Assignable, Branches, Noisy, Runs, Simulator

BEFORE = " before"
"""What a state that holds a delayed output is called: the output's name, and this."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory of each part, in the order in which they are moved; `held` are the delayed outputs [d, m]."""

    time: int
    parts: tuple[Any, ...]
    held: Floats


@dataclass(frozen=True, slots=True)
class Wire:
    """Where an input comes from: an output (`row` of part `part`), or a delayed one (`row` of those held)."""

    part: int
    row: int
    delayed: bool
    factor: float = 1.0
    offset: float = 0.0


@declared
class Wired:
    """Simulators wired output to input, by name.

    Each step moves the parts in the order in which they need each other: what is wired to an output hears it at the end
    of the same step, which is exact as the step goes to 0. Parts that need each other in a ring cannot be ordered; a
    `delay` breaks it: what hears that output hears it as it was at the step before.

    Inputs that no wire leads to are inputs of the whole: those of one name are one, and one with the name of another
    part's output is called `part.input`. All outputs are outputs of the whole, `part.output` where the name is not the
    only one. States are `part.state`. What all parts can do, the whole can: branch, be read and overwritten by an
    estimator, be quiet.

    - `parts`: name -> simulator: `{ boiler = { kind = "ode", ... }, house = { kind = "network", ... } }`.
    - `wires`: input -> output: `{ "house.heat" = "boiler.heat" }`. Units that both ends declare are converted, or refused.
    - `delay`: outputs, `["house.return"]`, or `{ "house.return" = 20 }` with the value before the first step, in the
      output's unit; without one it is what the part shows at first.
    - `step`: the longest step between hearing each other.
    """

    def __init__(
        self,
        parts: Mapping[str, Any],
        wires: Mapping[str, str] | None = None,
        delay: Sequence[str] | Mapping[str, float] = (),
        step: str = "1min",
    ) -> None:
        problems: list[str] = []
        try:
            self._step = duration(step) / 1e9
        except GemelError as error:
            problems.append(f"wired: step: {error.message}")
        made = {str(n): _made(str(n), p, problems) for n, p in parts.items()}
        if problems or not made:
            raise ConfigError(problems or ["wired: parts is empty"], "parts = { boiler = { kind = ... }, ... }")
        wires = {str(k): str(v) for k, v in (wires or {}).items()}
        first = dict(delay) if isinstance(delay, Mapping) else dict.fromkeys(delay, math.nan)
        problems = _checked(made, wires, first)
        if problems:
            raise ConfigError([f"wired: {p}" for p in problems], 'wires = { "house.heat" = "boiler.heat" }')
        self.parts = {n: made[n] for n in _ordered(made, wires, first)}
        self._delayed, self._first = list(first), np.array([float(v) for v in first.values()])
        self._wire(wires)
        self._can()
