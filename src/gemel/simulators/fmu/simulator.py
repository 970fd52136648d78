"""An FMU as a simulator: any conforming one, of FMI 1.0, 2.0 and 3.0.

Legend: n continuous states, p estimated parameters, k = n + p rows of a belief, u inputs, y outputs, m members.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration
from gemel.core.values import Belief, Floats
from gemel.simulators.draw import cut, exact
from gemel.simulators.fmu.child import Answer, Order
from gemel.simulators.fmu.description import Wiring, read
from gemel.simulators.fmu.names import Prior, Problems, chosen, priors_of, starts_of
from gemel.simulators.fmu.pool import Point, Pool, begun
from gemel.simulators.units import agree


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """Where every member stands: its instance, and the states [n, m] and parameters [p, m] that it has there."""

    time: int
    points: tuple[Point, ...]
    states: Floats
    parameters: Floats


@declared
class Fmu:
    """A Functional Mock-up Unit, the file in which other tools export their models (FMI 1.0, 2.0 and 3.0).

    `{ kind = "fmu", path = "boiler.fmu" }` is enough: inputs, outputs, units, start values and limits are read from
    its description. The FMU runs in child processes with limits, so one that crashes, hangs or eats memory is an error
    that says so, and the next call starts afresh. Its own time is that of its default experiment's start when a memory
    begins. Numbers are what can be driven and watched: Real and all floats, integers, Boolean (0 and 1), enumerations
    and elements of arrays (`x[1]`); `skipped` names the other inputs and outputs. An input that is NaN stays as it is.

    What is believed are its continuous states and the parameters that `priors` names. An FMU for model exchange can
    be given any states; one for co-simulation can, if it declares its states and they can be set at a beginning: it is
    then begun anew from them. Others have `extract` but no `assign`: they can be calibrated over a history, but no
    filter can correct them, and it says so. A branch is made of the FMU's state where the FMU can write it down
    (`branches` is then "saved"), else by replaying its inputs from the beginning ("replayed").

    - `path`: the file, relative to the twin file; a folder is taken as an unpacked one.
    - `interface`: `cs` (co-simulation, its own solver) or `me` (model exchange, solved by CVODE); empty: what the file
      has, co-simulation first.
    - `inputs`, `outputs`: which variables, as a list, or `{ signal = "variable" }` to give them other names; tunable
      parameters can be inputs too. Unsaid, all that are declared; without any declared outputs the continuous states,
      or else its other variables (200 at most).
    - `start`: `{ variable = value }`, set before it is initialised.
    - `priors`: `{ name = { mean, sd, low, high } }` of what is uncertain: parameters, which are then estimated, and
      first states. `mean` is the start value unless said; `low` and `high` the FMU's own limits.
    - `step`: the longest communication step of co-simulation, a duration; empty for what the FMU says, else a whole
      step of the twin. An FMU that allows only one length gets the `stepSize` of its default experiment, or the first
      step it is asked for; it then stands at its last such step before the time asked.
    - `rtol`: relative tolerance of the solver of model exchange; the absolute one is that times the nominal value.
    - `timeout`: how long one member may take to begin, or for one communication step, or to solve from one event to
      the next. `memory`: how much each process may have.
    - `processes`: child processes; 0 for one a core.
    """

    def __init__(
        self,
        path: str,
        interface: str = "",
        inputs: Sequence[str] | Mapping[str, str] | None = None,
        outputs: Sequence[str] | Mapping[str, str] | None = None,
        start: Mapping[str, Any] | None = None,
        priors: Mapping[str, Any] | None = None,
        step: str = "",
        rtol: float = 1e-7,
        timeout: str = "10s",
        memory: str = "2GiB",
        processes: int = 0,
    ) -> None:
        self._given = (path, interface, inputs, outputs, start, priors, step, rtol, timeout, memory, processes)
        problems = Problems()
        if interface not in ("", "cs", "me"):
            problems.add(f"interface '{interface}' is neither cs nor me")
        if not 0 < rtol < 1:
            problems.add(f"rtol {rtol:g} must be between 0 and 1")
        if processes < 0:
            problems.add(f"processes {processes} must be 0 or more")
        longest = problems.tried(lambda: duration(step) / 1e9) if step else 0.0
        limit = problems.tried(lambda: duration(timeout) / 1e9)
        size = problems.tried(lambda: _bytes(memory))
        problems.end()
        f = self.description = read(Path(path), interface)
        fed = chosen("inputs", inputs, f.inputs, f, problems)
        seen = chosen("outputs", outputs, f.outputs, f, problems)
        numbers, texts = starts_of(start or {}, f, problems)
        held = f.states if f.complete else ()
        self._priors = priors_of(priors or {}, held, numbers, f, problems)
        problems.end()
        taught = tuple(n for n in self._priors if n not in held)
        self.inputs, self.outputs, self.states = tuple(fed), tuple(seen), (*held, *taught)
        self.skipped = f.skipped
        self.units = {n: f.elements[v][0].unit for n, v in {**fed, **seen, **{n: n for n in self.states}}.items()
                      if v in f.elements}  # fmt: skip
        self.defaults = {n: v for n, e in fed.items() if math.isfinite(v := numbers.get(e, f.start_of(e)))}
        self.bounds = {n: b for n, p in self._priors.items() if (b := p.bounds(n in taught)) is not None}
        self.branches = "saved" if f.saves else "replayed"
        self._first = np.array([f.first(n, numbers) for n in held]).reshape(len(held), 1)
        wiring = Wiring(
            f, path, tuple(fed.values()), tuple(seen.values()), held, taught, numbers, texts,
            longest or f.step, rtol,
        )  # fmt: skip
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._pool = Pool(Path(path), wiring, processes or cores, limit, size)
        if f.complete:  # what a belief holds is then all there is: a filter may overwrite it
            self.assign, self.observe = self._assign, self._observe

    def __reduce__(self) -> Any:
        return Fmu, self._given

    def bind(self, setting: Setting) -> None:
        """Signals of the same names must have the FMU's units, where both are known."""
        wanted = {n: self.units[n] for n in (*self.inputs, *self.outputs)}
        agree("fmu", setting.signals, wanted, f"{self.description.name} says", lenient=True)

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Memory:
        m = members if belief is None else belief.members.shape[1]
        time = 0 if belief is None else belief.time
        if belief is not None and tuple(belief.names) == self.states:
            rows = np.array(belief.members, np.float64)
        else:
            rows = self._draw(seed, m)
            for i, name in enumerate(self.states):
                if belief is not None and name in belief.names:
                    rows[i] = belief.row(name)
        x, p = self._split(rows)
        orders: list[Order] = [("begin", x[:, i], p[:, i]) for i in range(m)]
        known = np.where(np.isnan(x), self._first, x)
        at_once = m if np.isnan(known).any() else 1  # the others begin when they are needed
        points, answers = self._pool.play([None] * at_once, orders[:at_once])
        if at_once < m:
            points += [begun(order) for order in orders[1:]]
        else:
            known = np.stack([a.states for a in answers], axis=1)
        return Memory(time, tuple(points), known, p)

    def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        moved, outputs = self.run(memory, np.asarray(inputs)[None], dt)
        return moved, outputs[0]

    def run(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        m = len(memory.points)
        u = np.ascontiguousarray(np.broadcast_to(inputs, (*inputs.shape[:2], m)).transpose(2, 0, 1), np.float64)
        points, answers = self._pool.play(memory.points, [("steps", u[i], dt) for i in range(m)])
        time = memory.time + len(inputs) * round(dt * 1e9)
        return self._memory(time, points, answers, memory.parameters), np.stack([a.outputs for a in answers], axis=2)

    def select(self, memory: Memory, index: Sequence[int]) -> Memory:
        i = np.asarray(index, np.int64)
        points = tuple(memory.points[j] for j in i)
        return Memory(memory.time, points, memory.states[:, i], memory.parameters[:, i])

    def extract(self, memory: Memory) -> Floats:
        return np.vstack([memory.states, memory.parameters])

    def close(self) -> None:
        """End the child processes; they start again when they are needed."""
        self._pool.close()

    def _assign(self, memory: Memory, states: Floats, time: int) -> Memory:
        x, p = self._split(np.array(states, np.float64))
        orders: list[Order] = [("assign", x[:, i], p[:, i]) for i in range(x.shape[1])]
        return self._memory(time, *self._pool.play(memory.points, orders), p)

    def _observe(self, memory: Memory, inputs: Floats) -> Floats:
        u = np.array(np.broadcast_to(inputs, (len(self.inputs), len(memory.points))), np.float64)
        orders: list[Order] = [("observe", u[:, i]) for i in range(u.shape[1])]
        return np.stack([a.outputs for a in self._pool.play(memory.points, orders)[1]], axis=1)

    def _split(self, rows: Floats) -> tuple[Floats, Floats]:
        n = len(self.description.states) if self.description.complete else 0
        return rows[:n], rows[n:]

    def _memory(self, time: int, points: Sequence[Point], answers: Sequence[Answer], parameters: Floats) -> Memory:
        return Memory(time, tuple(points), np.stack([a.states for a in answers], axis=1), parameters)

    def _draw(self, seed: int, members: int) -> Floats:
        """The prior [k, m]; NaN where the FMU's own beginning holds."""
        rows = np.full((len(self.states), members), math.nan)
        uncertain: list[tuple[int, Prior]] = [
            (i, self._priors[n]) for i, n in enumerate(self.states) if n in self._priors
        ]
        normal = np.random.default_rng(seed).standard_normal((len(uncertain), members))
        for row, (i, prior) in zip(exact(normal), uncertain, strict=True):
            rows[i] = cut(row, prior.mean, prior.sd, prior.low, prior.high)
        return rows


def _bytes(text: str) -> int:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])i?B?\s*", text) if isinstance(text, str) else None
    if found is None or float(found[1]) <= 0:
        raise ConfigError([f"memory {text!r} is no amount of memory: write a number and MiB or GiB, such as '2GiB'"])
    return int(float(found[1]) * 1024 ** (1 + "KMGT".index(found[2])))
