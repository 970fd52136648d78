"""Several simulators as one: outputs of some are inputs of others.

Legend: u inputs, y outputs, k states, m members, t time steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
class Feed:
    """Where an input of a part comes from: row `row` of the outputs of part `part`; of the inputs of the whole where
    that is OUTSIDE, of the delayed outputs where it is HELD. `value * factor + offset` is in the unit of the input."""

    part: int
    row: int
    factor: float = 1.0
    offset: float = 0.0


OUTSIDE, HELD = -1, -2
BLOCK = 2_000_000
"""Numbers that a run holds of inputs and outputs at once."""


@declared
class Wired:
    """Simulators wired output to input, by name.

    Each step moves the parts in the order in which they need each other: what is wired to an output hears it as it is
    at the end of the step, which is exact as steps become short. Parts that need each other in a ring have no order; a
    `delay` breaks the ring: who hears that output hears it as it was a step before.

    Inputs that no wire leads to are inputs of the whole: those of one name are one, and one that has the name of an
    output is called `part.input`. All outputs are outputs of the whole, `part.output` where two parts have the name.
    States are `part.state`. What all parts can do, the whole can: branch, and be read and overwritten by an estimator.

    - `parts`: name -> simulator: `{ boiler = { kind = "ode", ... }, house = { kind = "network", ... } }`.
    - `wires`: input -> output: `{ "house.heat" = "boiler.heat" }`. Units that both ends declare are converted, and
      refused where they cannot be.
    - `delay`: outputs, `["house.return"]`, or `{ "house.return" = 20 }` with the value before the first step, in the
      output's unit; without one, it is what the part shows at first.
    - `step`: the longest time between hearing each other.
    """

    def __init__(
        self,
        parts: Mapping[str, Any],
        wires: Mapping[str, str] | None = None,
        delay: Sequence[str] | Mapping[str, float] = (),
        step: str = "1min",
    ) -> None:
        self._given = (parts, wires, delay, step)
        problems: list[str] = []
        try:
            self._step = duration(step) / 1e9
        except GemelError as error:
            problems.append(f"step: {error.message}")
        made = {str(n): _made(str(n), p, problems) for n, p in parts.items()}
        wires = dict(wires or {})
        first = dict(delay) if isinstance(delay, Mapping) else dict.fromkeys(delay, math.nan)
        problems = problems or _checked(made, wires, first)
        if problems:
            raise ConfigError([f"wired: {p}" for p in problems], 'wires = { "house.heat" = "boiler.heat" }')
        self.parts: dict[str, Any] = {n: made[n] for n in _ordered(made, wires, first)}
        self._delayed, self._first = list(first), np.array([[float(v)] for v in first.values()]).reshape(-1, 1)
        self._name(wires)
        self._offer()

    def __reduce__(self) -> Any:
        return Wired, self._given

    def bind(self, setting: Setting) -> None:
        """Each part sees the signals that are its own inputs and outputs, by its own names."""
        for name, part in self.parts.items():
            if isinstance(part, Bound):
                own = self._known[name]
                signals = [replace(s, name=own[s.name]) for s in setting.signals if s.name in own]
                try:
                    part.bind(replace(setting, signals=Signals(signals)))
                except ConfigError as error:
                    raise ConfigError([f"wired.{name}: {p}" for p in error.problems], error.hint) from None

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Memory:
        m, time = (members, 0) if belief is None else (belief.members.shape[1], belief.time)
        parts = []
        for name, part in self.parts.items():
            own = None if belief is None else _of(belief, name)
            parts.append(part.init(own, seed + crc32(name.encode()), m))  # noise of their own
        held = np.repeat(self._first, m, axis=1)
        memory = Memory(time, tuple(parts), held)
        if np.isnan(held).any() and hasattr(self, "observe"):
            shown = self._seen(memory, np.full((len(self.inputs), m), np.nan))[1]
            held = np.where(np.isnan(held), self._taken(shown), held)
        for i, name in enumerate(self._delayed):
            if belief is not None and name + BEFORE in belief.names:
                held[i] = belief.row(name + BEFORE)
            elif np.isnan(held[i]).any():
                raise ConfigError(
                    [f"wired: what '{name}' is before the first step is not known"], f'delay = {{ "{name}" = 20 }}'
                )
        return replace(memory, held=held)

    def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        n, outputs = self._steps(dt), list[Floats]()
        outside = np.broadcast_to(inputs, (len(self.inputs), memory.held.shape[1]))
        parts, held = list(memory.parts), memory.held
        for _ in range(n):
            outputs = []
            for i, part in enumerate(self.parts.values()):
                parts[i], out = part.step(parts[i], self._fed(i, outside, outputs, held), dt / n)
                outputs.append(out)
            if self._delayed:  # what is not known keeps its last value, or a ring would never come back to life
                found = self._taken(outputs)
                held = np.where(np.isfinite(found), found, held)
        moved = Memory(memory.time + round(dt * 1e9), tuple(parts), held)
        if self._delayed and hasattr(self, "observe"):  # as they are now, not as they were heard
            outputs = self._seen(moved, outside)[1]
        return moved, np.concatenate(outputs)

    def run(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        n, m = self._steps(dt), memory.held.shape[1]
        out = np.empty((len(inputs), len(self.outputs), m))
        many = 1 if self._delayed else max(BLOCK // (n * m * (len(self.inputs) + len(self.outputs))), 1)
        for begin in range(0, len(inputs), many):
            some = inputs[begin : begin + many]
            if self._delayed:
                memory, out[begin] = self.step(memory, some[0], dt)
                continue
            outside = np.repeat(np.broadcast_to(some, (len(some), len(self.inputs), m)), n, axis=0)
            parts, outputs = list(memory.parts), list[Floats]()
            for i, part in enumerate(self.parts.values()):
                parts[i], found = _course(part, parts[i], self._fed(i, outside, outputs, memory.held), dt / n)
                outputs.append(found)
            memory = replace(memory, time=memory.time + len(some) * round(dt * 1e9), parts=tuple(parts))
            out[begin : begin + many] = np.concatenate([found[n - 1 :: n] for found in outputs], axis=1)
        return memory, out

    def _offer(self) -> None:
        """Capabilities of the whole."""
        every = list(self.parts.values())
        self.states: tuple[str, ...] = ()
        self.bounds: dict[str, tuple[float, float]] = {}
        if all(isinstance(p, Branches) for p in every):
            self.select = self._select
        if all(isinstance(p, Assignable) for p in every):
            self.states = tuple(f"{n}.{s}" for n, p in self.parts.items() for s in p.states)
            self.states += tuple(n + BEFORE for n in self._delayed)
            self.bounds = {f"{n}.{s}": b for n, p in self.parts.items() for s, b in getattr(p, "bounds", {}).items()}
            self.assign, self.extract, self.observe = self._assign, self._extract, self._observe
            if any(isinstance(p, Noisy) for p in every):
                self.quiet, self.noise = self._quiet, self._noise

    def _select(self, memory: Memory, index: Sequence[int]) -> Memory:
        pairs = zip(self.parts.values(), memory.parts, strict=True)
        return replace(
            memory, parts=tuple(p.select(m, index) for p, m in pairs), held=memory.held[:, np.asarray(index)]
        )

    def _assign(self, memory: Memory, states: Floats, time: int) -> Memory:
        parts, at = [], 0
        for part, own in zip(self.parts.values(), memory.parts, strict=True):
            parts.append(part.assign(own, states[at : at + len(part.states)], time))
            at += len(part.states)
        return Memory(time, tuple(parts), np.array(states[at:], np.float64))

    def _extract(self, memory: Memory) -> Floats:
        pairs = zip(self.parts.values(), memory.parts, strict=True)
        return np.concatenate([*(p.extract(m) for p, m in pairs), memory.held])

    def _observe(self, memory: Memory, inputs: Floats) -> Floats:
        return np.concatenate(self._seen(memory, inputs)[1])

    def _quiet(self, memory: Memory) -> Memory:
        pairs = zip(self.parts.values(), memory.parts, strict=True)
        return replace(memory, parts=tuple(p.quiet(m) if isinstance(p, Noisy) else m for p, m in pairs))

    def _noise(self, memory: Memory, inputs: Floats, dt: float) -> Floats:
        fed = self._seen(memory, inputs)[0]
        every = zip(self.parts.values(), memory.parts, fed, strict=True)
        found = [p.noise(m, u, dt) if isinstance(p, Noisy) else np.zeros(len(p.states)) for p, m, u in every]
        return np.concatenate([*found, np.zeros(len(self._delayed))])

    def _name(self, wires: Mapping[str, str]) -> None:
        """Inputs and outputs of the whole, and where each part's inputs come from."""
        shown = [o for p in self.parts.values() for o in p.outputs]
        pairs = [(n, o) for n, p in self.parts.items() for o in p.outputs]
        self.outputs = tuple(o if shown.count(o) == 1 else f"{n}.{o}" for n, o in pairs)
        self._known: dict[str, dict[str, str]] = {n: {} for n in self.parts}
        self.units: dict[str, str] = {}
        for whole, (n, o) in zip(self.outputs, pairs, strict=True):
            self._known[n][whole] = o
            self.units[whole] = _unit(self.parts[n], o)
        inputs: dict[str, int] = {}
        self._feeds: list[list[Feed]] = []
        problems: list[str] = []
        for n, p in self.parts.items():
            feeds = []
            for i in p.inputs:
                source, unit = wires.get(f"{n}.{i}"), _unit(p, i)
                if source is not None:
                    feeds.append(self._wire(f"{n}.{i}", source, unit, problems))
                    continue
                whole = f"{n}.{i}" if i in shown else i
                if unit and self.units.setdefault(whole, unit) != unit:
                    problems.append(f"input '{i}' is in {self.units[whole]} of one part, and in {unit} of '{n}'")
                self._known[n][whole] = i
                feeds.append(Feed(OUTSIDE, inputs.setdefault(whole, len(inputs))))
            self._feeds.append(feeds)
        if problems:
            raise ConfigError([f"wired: {p}" for p in problems], "wire what is not the same thing, or rename it")
        self.inputs = tuple(inputs)
        self._ports = [self._port(o) for o in self._delayed]

    def _wire(self, end: str, source: str, unit: str, problems: list[str]) -> Feed:
        """What feeds the input `end`, which is in `unit`, from the output `source`."""
        name, _, port = source.partition(".")
        feed = Feed(HELD, self._delayed.index(source)) if source in self._delayed else Feed(*self._port(source))
        have = _unit(self.parts[name], port)
        if have and unit:
            try:
                return Feed(feed.part, feed.row, *conversion(have, unit))
            except GemelError as error:
                problems.append(f"'{end}' is in {unit}, '{source}' in {have}: {error.message}")
        return feed

    def _port(self, source: str) -> tuple[int, int]:
        """The part and the row of an output."""
        name, _, port = source.partition(".")
        return list(self.parts).index(name), list(self.parts[name].outputs).index(port)

    def _steps(self, dt: float) -> int:
        return max(math.ceil(dt / self._step - 1e-9), 1)

    def _fed(self, part: int, outside: Floats, outputs: Sequence[Floats], held: Floats) -> Floats:
        """The inputs [..., u, m] of a part, from those of the whole and the outputs [..., y, m] of parts before it."""
        feeds = self._feeds[part]
        fed = np.empty((*outside.shape[:-2], len(feeds), outside.shape[-1]))
        for i, feed in enumerate(feeds):
            source = outside if feed.part == OUTSIDE else held if feed.part == HELD else outputs[feed.part]
            fed[..., i, :] = source[..., feed.row, :] * feed.factor + feed.offset
        return fed

    def _seen(self, memory: Memory, inputs: Floats) -> tuple[list[Floats], list[Floats]]:
        """Inputs [u, m] and outputs [y, m] of each part as things stand."""
        outside = np.broadcast_to(inputs, (len(self.inputs), memory.held.shape[1]))
        fed, outputs = list[Floats](), list[Floats]()
        for i, (part, own) in enumerate(zip(self.parts.values(), memory.parts, strict=True)):
            fed.append(self._fed(i, outside, outputs, memory.held))
            outputs.append(part.observe(own, fed[-1]))
        return fed, outputs

    def _taken(self, outputs: Sequence[Floats]) -> Floats:
        """The delayed outputs [d, m]."""
        return np.stack([outputs[part][row] for part, row in self._ports])


def _made(name: str, part: Any, problems: list[str]) -> Any:
    if "." in name:
        problems.append(f"part '{name}': a name has no dot")
    try:
        made = build("simulators", part) if isinstance(part, Mapping) else part
    except ConfigError as error:
        problems += [f"{name}: {p}" for p in error.problems]
        return None
    if not isinstance(made, Simulator):
        problems.append(f"part '{name}' must be a simulator, {{ kind = ... }}, not {part!r}")
    return made


def _checked(parts: Mapping[str, Any], wires: Mapping[str, str], delay: Mapping[str, Any]) -> list[str]:
    """What is wrong with the names."""
    problems = [] if parts else ["parts is empty"]

    def check(text: object, side: str, where: str) -> None:
        name, _, port = str(text).partition(".")
        if name not in parts:
            problems.append(f"{where} '{text}': there is no part '{name}'{nearest(name, parts)}")
        elif port not in (known := getattr(parts[name], f"{side}s")):
            problems.append(f"{where} '{text}': '{name}' has no {side} '{port}'{nearest(port, known)}")

    for end, source in wires.items():
        check(end, "input", "wire to")
        check(source, "output", "wire from")
    for source, value in delay.items():
        if source not in wires.values():
            problems.append(f"delay names '{source}', from which no wire leads{nearest(source, wires.values())}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            problems.append(f"delay of '{source}' must be a number, the value before the first step, not {value!r}")
    return problems


def _ordered(parts: Mapping[str, Any], wires: Mapping[str, str], delay: Mapping[str, Any]) -> list[str]:
    """The parts, each after those whose outputs it hears; raises `ConfigError` with the ring where there is one."""
    order: list[str] = []

    def visit(name: str, trail: list[tuple[str, str]]) -> None:
        """`trail`: the wires that led here, each an input and its output."""
        if name in order:
            return
        begun = [i for i, (end, _) in enumerate(trail) if end.partition(".")[0] == name]
        if begun:
            ring = trail[begun[0] :]
            text = " <- ".join([*(f"{end} <- {source}" for end, source in ring), ring[0][0]])
            raise ConfigError(
                [f"wired: parts need each other within a step: {text}"], f'break the ring: delay = ["{ring[-1][1]}"]'
            )
        for end, source in wires.items():
            if end.partition(".")[0] == name and source not in delay:
                visit(source.partition(".")[0], [*trail, (end, source)])
        order.append(name)

    for name in parts:
        visit(name, [])
    return order


def _course(part: Any, memory: Any, inputs: Floats, dt: float) -> tuple[Any, Floats]:
    """A part's memory and outputs [t, y, m] under inputs [t, u, m]."""
    if isinstance(part, Runs):
        return part.run(memory, inputs, dt)
    out = np.empty((len(inputs), len(part.outputs), inputs.shape[2]))
    for i, row in enumerate(inputs):
        memory, out[i] = part.step(memory, row, dt)
    return memory, out


def _of(belief: Belief, name: str) -> Belief:
    """What a belief of the whole says of one part, in its own names."""
    rows = [i for i, n in enumerate(belief.names) if n.startswith(f"{name}.") and not n.endswith(BEFORE)]
    names = tuple(belief.names[i].removeprefix(f"{name}.") for i in rows)
    return Belief(names, belief.members[rows], belief.time)


def _unit(part: Any, port: str) -> str:
    """The unit that a part declares of an input or output, if it does."""
    return str(getattr(part, "units", {}).get(port, ""))
