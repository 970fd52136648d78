"""A user's own equations as a simulator: states, latent inputs and parameters of many members.

Legend: x states, u inputs, p parameters; k rows of a memory, m members.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, GemelError
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration
from gemel.core.values import Belief, Bools, Floats, Ints
from gemel.simulators.draw import cut, draw, exact
from gemel.simulators.ode.equations import Equations, Quantity
from gemel.simulators.ode.kernel import KERNELS, Kernel, compiled
from gemel.simulators.ode.solve import Problem, dopri5, rk4
from gemel.simulators.units import agree

METHODS = ("rk4", "dopri5")
LIMIT, DRAWS = 2.78, 32
"""Of a step times the fastest rate of decay, beyond which `rk4` is unstable; draws of the prior that are looked at."""
log = logging.getLogger("gemel")


@dataclass(frozen=True, slots=True)
class Memory:
    """States of all members at a time. `draw` is the noise column of each member (None: its own place); without a seed
    there is no noise. `h`: the solver's present step of each member in seconds, 0 where it has none yet."""

    time: int
    states: Floats  # [k, m]
    seed: int | None
    h: Floats  # [m]
    draw: Ints | None = None  # [m]


@declared
class Ode:
    """Ordinary differential equations of your own, for all members at once.

    A small class in a file beside the twin file says `states`, `inputs`, `outputs` and `parameters`, each a table of
    name -> `{unit, mean, sd, low, high, ...}` (or just a unit, or just a number), and `derivative(self, t, x, u, p)`:
    the rows of dx/dt per second. t [m] is in seconds since 1970 UTC; x, u and p are arrays of a row a name in the order
    given and a column a member. `output(self, t, x, u, p)` gives the rows of the outputs; without it, outputs are
    states of the same names.

    What is uncertain has a prior: a normal distribution with `mean` and `sd`, cut at `low` and `high`; states,
    parameters and inputs with a `mean` are believed, and an estimator can teach them. A state has `noise`, what the
    equations miss, per square root of an hour; a parameter may have `memory` (a duration): it then drifts around its
    mean and is re-estimated for ever. `low` and `high` of a state are hard stops. An input that is NaN stays at its
    last value and goes to its `mean` over its `memory`; one without a `mean` makes the outputs of its members NaN and
    leaves their states alone. A member whose equations give NaN, or grow without end, has NaN states and outputs from
    then on, while at least half of the members are fine; an estimator draws it again from those. Beyond that the step
    is refused, with the time and the state.

    - `equations`: `"boiler.py:Boiler"`, relative to the twin file; the file is run as any Python.
    - `method`: `rk4`, the classical Runge-Kutta method with a fixed `step`; `dopri5`, Dormand and Prince's 5(4) pair,
      which chooses its own steps, a member each, and stops at events: `events(self, t, x, u, p)` gives rows, and where
      one rises through zero, `reset(self, event, t, x, u, p)` says how the states go on.
    - `step`: the longest step of `rk4`.
    - `rtol`, `atol`: local error of `dopri5`, relative to a state and absolute.
    - `kernel`: `auto` compiles `rk4` by numba where that is installed (`pip install gemel[fast]`) and the equations are
      plain arithmetic, and uses NumPy otherwise; `compiled` refuses instead; `numpy` never compiles. They agree to
      1e-9 of a state's size.
    - `priors`: `{name = {mean, sd, ...}}` or `{name = number}` for any state, parameter or input, over what the class
      says.
    """

    def __init__(
        self,
        equations: str | type[Any] | object,
        method: str = "rk4",
        step: str = "1min",
        rtol: float = 1e-6,
        atol: float = 1e-9,
        kernel: str = "auto",
        priors: Mapping[str, Any] | None = None,
    ) -> None:
        problems = []
        for key, value, known in (("method", method, METHODS), ("kernel", kernel, KERNELS)):
            if value not in known:
                problems.append(f"ode: {key} '{value}' is not one of {', '.join(known)}")
        if not (0 < rtol < 1 and atol > 0):
            problems.append("ode: rtol must be between 0 and 1, atol above 0")
        try:
            self._step = duration(step) / 1e9
        except GemelError as error:
            problems.append(f"ode: step: {error.message}")
        if problems:
            raise ConfigError(problems, "see the keys of gemel.simulators.ode.simulator:Ode")
        self._given = (equations, method, step, rtol, atol, kernel, priors)
        self.method, self._rtol, self._atol = method, rtol, atol
        e = self._e = Equations(equations, priors or {})
        if e.has_events and method == "rk4":
            raise ConfigError([f"ode: {e.name} has events, which rk4 steps over"], "write method = 'dopri5'")
        self.inputs = tuple(q.name for q in e.inputs)
        self.outputs = tuple(q.name for q in e.outputs)
        self.parameters = tuple(q.name for q in e.parameters)
        held = (*e.states, *e.latent, *e.parameters)
        self.states = tuple(q.name for q in held)
        self.units = {q.name: q.unit for q in (*held, *e.inputs, *e.outputs)}
        self._nx, self._np = len(e.states), len(e.parameters)
        self._table(held)
        self._heard = [self.inputs.index(q.name) for q in e.latent]
        self._wanted = kernel
        if kernel == "compiled" and isinstance(self._kernel, str):
            raise ConfigError([f"ode: {e.name} cannot be compiled: {self._kernel}"], "write kernel = 'auto'")

    def __reduce__(self) -> Any:
        return Ode, self._given

    @property
    def kernel(self) -> str:
        """What runs the equations: `compiled`, or `numpy` and why."""
        return "compiled" if isinstance(self._kernel, Kernel) else f"numpy: {self._kernel}"

    def bind(self, setting: Setting) -> None:
        """Signals of the same names must have the declared units."""
        wanted = {n: self.units[n] for n in (*self.inputs, *self.outputs)}
        agree("ode", setting.signals, wanted, "the equations say")
        if self.method == "rk4" and (hasty := self._hasty(min(self._step, setting.every / 1e9))):
            log.warning("%s", hasty)

    def _hasty(self, step: float) -> str:
        """A warning where most draws of the prior move faster than a step (seconds) can follow: bounds would hide what
        an unstable step does. An input without a prior is put in the middle of its bounds, or at 0."""
        m, states = DRAWS, self.init(None, 0, DRAWS).states
        middle = [np.nan_to_num((q.low + q.high) / 2, posinf=0.0, neginf=0.0) for q in self._e.inputs]
        u = np.array([[v if math.isnan(q.mean) else q.mean] * m for q, v in zip(self._e.inputs, middle, strict=True)])
        x, u, p = states[: self._nx], u.reshape(-1, m), states[len(states) - self._np :]
        slopes = np.empty((m, self._nx, self._nx))
        try:
            rest = self._e.derivative(np.zeros(m), x, u, p)
            for i in range(self._nx):
                near = x.copy()
                near[i] += max(float(self._sd[i, 0]), 1e-3 * abs(float(self._mean[i, 0])), 1e-3)
                slopes[:, :, i] = ((self._e.derivative(np.zeros(m), near, u, p) - rest) / (near[i] - x[i])).T
        except GemelError:  # it is said where it matters
            return ""
        slopes = slopes[np.isfinite(slopes).all(axis=(1, 2))]
        if len(slopes) < m // 2:
            return ""
        fastest = float(np.median(np.abs(np.linalg.eigvals(slopes)).max(axis=1)))
        if step * fastest <= LIMIT:
            return ""
        name = self._e.states[int(np.abs(np.median(slopes, axis=0)).diagonal().argmax())].name
        return (
            f"ode: {self._e.name}: '{name}' settles within {1 / fastest:.2g} s, which steps of {step:g} s do not "
            f"follow: write step = '{max(1 / fastest, 1e-3):.2g}s', or method = 'dopri5'"
        )

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Memory:
        m = members if belief is None else belief.members.shape[1]
        still = np.zeros(m)
        if belief is not None and belief.names == self.states:
            return Memory(belief.time, belief.members.copy(), seed, still)
        normal = exact(np.random.default_rng(seed).standard_normal((len(self.states), m)))
        states = self._mean + self._sd * normal
        for i in self._cut:
            q = self._held[i]
            states[i] = cut(normal[i], q.mean, q.sd, q.low, q.high)
        if belief is None:
            return Memory(0, states, seed, still)
        for i, name in enumerate(self.states):
            if name in belief.names:
                states[i] = belief.row(name)
        return Memory(belief.time, states, seed, still)

    def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        states, time = memory.states.copy(), memory.time + round(dt * 1e9)
        keep, spread = self._decays(dt)
        np.copyto(states, self._mean + (states - self._mean) * keep, where=keep < 1)
        rows = np.flatnonzero(spread[:, 0]) if memory.seed is not None else np.empty(0, np.int64)
        kick = np.zeros_like(states) if len(rows) else None
        if kick is not None and memory.seed is not None:
            kick[rows] = spread[rows] * draw(memory.seed, time, len(rows), states.shape[1], memory.draw)
            states[self._nx :] += kick[self._nx :]
        u, heard = self._hear(states, inputs)
        self._within(states)
        before = states[: self._nx].copy()
        alive = np.isfinite(before).all(axis=0)
        spare = states.shape[1] // 2 - int((~alive).sum())
        x, h = self._integrate(memory, before, u, states[len(states) - self._np :], heard & alive, dt, spare)
        states[: self._nx] = x
        if kick is not None:
            states[: self._nx] += kick[: self._nx] * heard
            self._within(states)
        moved = Memory(time, states, memory.seed, h, memory.draw)
        known = heard & np.isfinite(x).all(axis=0)
        return moved, np.where(known, self._outputs(time, states, u), np.nan)

    def run(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        m = memory.states.shape[1]
        keep, spread = self._decays(dt)
        chance = memory.seed is not None and spread.any()
        sound = np.isfinite(inputs).all() and np.isfinite(memory.states).all()
        if isinstance(self._kernel, Kernel) and sound and not (chance or (keep < 1).any()):
            states = self._within(memory.states.copy())
            u = np.ascontiguousarray(np.broadcast_to(inputs, (*inputs.shape[:2], m)), np.float64)
            x, p = states[: self._nx], states[len(states) - self._np :]
            found = self._kernel.run(memory.time / 1e9, x, u, p, dt, self._steps(dt))
            if found is not None:
                states[: self._nx] = found[0]
                for i, row in zip(range(self._nx, len(states)), self._heard, strict=False):
                    states[i] = u[-1, row]
                return replace(memory, time=memory.time + len(inputs) * round(dt * 1e9), states=states), found[1]
        out = np.empty((len(inputs), len(self.outputs), m))
        for i, row in enumerate(inputs):
            memory, out[i] = self.step(memory, row, dt)
        return memory, out

    def select(self, memory: Memory, index: Sequence[int]) -> Memory:
        i = np.asarray(index, np.int32)
        column = i if memory.draw is None else memory.draw[i]
        return replace(memory, states=memory.states[:, i], h=memory.h[i], draw=column)

    def assign(self, memory: Memory, states: Floats, time: int) -> Memory:
        made = np.array(states, np.float64)
        return Memory(time, made, memory.seed, np.zeros(made.shape[1]))

    def extract(self, memory: Memory) -> Floats:
        return memory.states.copy()

    def observe(self, memory: Memory, inputs: Floats) -> Floats:
        states = memory.states.copy()
        u, _ = self._hear(states, inputs)
        return self._outputs(memory.time, states, u)

    def quiet(self, memory: Memory) -> Memory:
        return replace(memory, seed=None)

    def noise(self, memory: Memory, inputs: Floats, dt: float) -> Floats:
        spread = self._decays(dt)[1][:, 0].copy()
        for i, row in enumerate(self._heard, start=self._nx):
            spread[i] *= bool(np.isnan(inputs[row]).any())
        return spread

    def _table(self, held: Sequence[Quantity]) -> None:
        """The quantities as columns [k, 1], and the bounds of bounded states."""

        def column(of: Callable[[Quantity], float]) -> Floats:
            return np.array([[of(q)] for q in held])

        self._held = held
        self._mean, self._sd = column(lambda q: q.mean), column(lambda q: q.sd)
        self._low, self._high = column(lambda q: q.low), column(lambda q: q.high)
        self._forget, self._noise = column(lambda q: q.memory), column(lambda q: q.noise)
        bounded = [math.isfinite(q.low) or math.isfinite(q.high) for q in held]
        self._cut = [i for i, q in enumerate(held) if bounded[i] and q.sd > 0]
        self.bounds: dict[str, tuple[float, float]] = {
            q.name: (q.low, q.high) for q, is_bounded in zip(held, bounded, strict=True) if is_bounded
        }

    @cached_property
    def _kernel(self) -> Kernel | str:
        """The compiled equations, or why there are none; made when first needed, for it takes a second or two."""
        if self.method != "rk4":
            return f"method is {self.method}"
        if self._wanted == "numpy":
            return "asked for"
        return compiled(self._e, self._low[: self._nx], self._high[: self._nx])

    def _steps(self, dt: float) -> int:
        return max(math.ceil(dt / self._step - 1e-9), 1)

    def _decays(self, dt: float) -> tuple[Floats, Floats]:
        """What is kept of a deviation from the mean over `dt`, and the standard deviation of the noise, [k, 1]."""
        keep = np.exp(-dt / self._forget)
        return keep, np.where(keep < 1, self._sd * np.sqrt(1.0 - keep**2), self._noise * math.sqrt(dt / 3600.0))

    def _hear(self, states: Floats, inputs: Floats) -> tuple[Floats, Bools]:
        """In place: inputs [u, m] that are known replace the believed ones. The inputs, and who has all of them."""
        u = np.array(np.broadcast_to(inputs, (len(self.inputs), states.shape[1])), np.float64)
        for i, row in enumerate(self._heard, start=self._nx):
            np.copyto(states[i], u[row], where=np.isfinite(u[row]))
            u[row] = states[i]
        return u, np.asarray(np.isfinite(u).all(axis=0))

    def _within(self, states: Floats) -> Floats:
        """In place."""
        np.maximum(states, self._low, out=states)
        return np.minimum(states, self._high, out=states)

    def _integrate(
        self, memory: Memory, x: Floats, u: Floats, p: Floats, on: Bools, dt: float, spare: int
    ) -> tuple[Floats, Floats]:
        """The states `dt` on of the members that are `on`, and the solver's steps; `spare` of them may fail."""
        if not on.all():
            some, h = np.flatnonzero(on), memory.h.copy()
            if len(some):
                part = replace(memory, h=h[some])
                x[:, some], h[some] = self._integrate(part, x[:, some], u[:, some], p[:, some], on[some], dt, spare)
            return x, h
        start, e = memory.time / 1e9, self._e
        if isinstance(self._kernel, Kernel):
            found = self._kernel.run(start, x, u[None], p, dt, self._steps(dt), shown=False)
            if found is not None:
                return found[0], memory.h
        problem = Problem(
            e.derivative, u, p, self.states[: self._nx], self._low[: self._nx], self._high[: self._nx],
            e.events if e.has_events else None, e.reset if e.has_events else None, spare,
        )  # fmt: skip
        t = np.full(x.shape[1], start)
        if self.method == "rk4":
            return rk4(problem, t, x, dt, self._steps(dt)), memory.h
        return dopri5(problem, t, x, dt, memory.h, self._rtol, self._atol)

    def _outputs(self, time: int, states: Floats, u: Floats) -> Floats:
        t = np.full(states.shape[1], time / 1e9)
        p = states[len(states) - self._np :]
        return np.array(self._e.output(t, states[: self._nx], u, np.clip(p, *self._edges)), np.float64)

    @property
    def _edges(self) -> tuple[Floats, Floats]:
        """The bounds of the parameters: equations never see one outside."""
        at = len(self._low) - self._np
        return self._low[at:], self._high[at:]
