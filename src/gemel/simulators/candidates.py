"""Several simulators of the same thing, of which one is the champion: whoever asks hears the champion.

Letters in shapes: k rows of a belief, u inputs, y outputs, t steps, m members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.registry import build, declared
from gemel.core.setting import Bound, Setting
from gemel.core.values import Belief, Floats
from gemel.loop.simulate import Assignable, Branches, Noisy, Runs, Simulator

LEDGER = ("champion", "score", "lead", "spread", "out")


@dataclass(frozen=True, slots=True)
class Memory:
    """The champion's own memory, and what is believed of all candidates, [k, m] (its rows of the champion are old)."""

    champion: str
    own: Any
    states: Floats


@declared
class Candidates:
    """Several simulators that compete: the champion answers, the others wait, and no step of theirs is taken.

    Which one is champion is a part of the belief, so a fork, a what-if, a policy and a forecast follow it by
    themselves, and a fork of a past instant has the champion of then. The estimator `compete` moves them all and
    judges them. A belief has the states of each under its name, as `two.T_wall`, and five more rows each, the same in
    every member: `two.champion` (1 or 0), `two.score` (log score, nats a value), `two.lead` (evidence against the
    champion, nats; the champion's is what it won with), `two.spread` (the usual difference of their scores) and
    `two.out` (1 while it cannot be run, 2 while it lacks an input).

    - `candidates`: name -> simulator (`{ one = { kind = "ode", ... }, two = { ... } }`). The first is champion until
      another one proves better. Inputs are those of all, outputs those that each of them has.
    """

    def __init__(self, candidates: Mapping[str, Simulator | Mapping[str, Any]]) -> None:
        problems = [
            f"candidates: '{n}' is no name: letters, digits and _ only" for n in candidates if not n.isidentifier()
        ]
        if len(candidates) < 2:
            problems.append("candidates: two or more are needed")
        made: dict[str, Any] = {}
        for name, one in candidates.items():
            try:
                made[name] = build("simulators", one) if isinstance(one, Mapping) else one
            except ConfigError as error:
                problems += [f"candidates.{name}: {line}" for line in error.problems]
        problems += [
            f"candidates.{n}: a simulator is needed whose states can be copied, read and overwritten"
            for n, one in made.items()
            if not (isinstance(one, Assignable) and isinstance(one, Branches))
        ]
        if problems:
            raise ConfigError(problems, 'candidates = { one = { kind = "ode", ... }, two = { kind = "ode", ... } }')
        self.candidates: dict[str, Any] = made
        self.inputs = tuple(dict.fromkeys(n for one in made.values() for n in one.inputs))
        shared = [set(one.outputs) for one in made.values()]
        self.outputs = tuple(n for n in next(iter(made.values())).outputs if all(n in some for some in shared))
        if not self.outputs:
            raise ConfigError(["candidates: they have no output in common"], "name their outputs alike")
        names: list[str] = []
        self._rows: dict[str, slice] = {}
        for name, one in made.items():
            self._rows[name] = slice(len(names), len(names) + len(one.states))
            names += [f"{name}.{state}" for state in one.states]
        self._ledger = [(name, row) for name in made for row in LEDGER]
        self.states = (*names, *(f"{name}.{row}" for name, row in self._ledger))
        self._in = {n: _places(self.inputs, one.inputs) for n, one in made.items()}
        self._out = {n: _places(one.outputs, self.outputs) for n, one in made.items()}
        self.bounds = {
            f"{name}.{state}": edges
            for name, one in made.items()
            for state, edges in getattr(one, "bounds", {}).items()
        }

    def bind(self, setting: Setting) -> None:
        for name, one in self.candidates.items():
            if isinstance(one, Bound):
                try:
                    one.bind(setting)
                except ConfigError as error:
                    raise ConfigError([f"candidates.{name}: {line}" for line in error.problems], error.hint) from None

    def filled(self, belief: Belief | None, seed: int, members: int = 1) -> Belief:
        """A belief of all candidates; what this one does not say of them (None: all) is drawn from the priors."""
        if belief is not None and belief.names == self.states:
            return belief
        m, now = (members, 0) if belief is None else (belief.members.shape[1], belief.time)
        parts = {}
        for name, one in self.candidates.items():
            own = [s for s in one.states if belief is not None and f"{name}.{s}" in belief.names]
            rows = [belief.row(f"{name}.{s}") for s in own] if belief is not None else []
            memory = one.init(Belief(tuple(own), np.array(rows), now) if own else None, seed, m)
            parts[name] = Belief(tuple(one.states), one.extract(memory), now)
        ledger = {name: dict.fromkeys(LEDGER, 0.0) for name in self.candidates}
        for name, row in self._ledger:
            if belief is not None and f"{name}.{row}" in belief.names:
                ledger[name][row] = float(belief.row(f"{name}.{row}")[0])
        if not any(rows["champion"] for rows in ledger.values()):
            next(iter(ledger.values()))["champion"] = 1.0
        return self.whole(parts, ledger)

    def part(self, belief: Belief, name: str) -> Belief:
        """What a belief of all says of one candidate, in that one's own names."""
        return Belief(tuple(self.candidates[name].states), belief.members[self._rows[name]], belief.time)

    def ledger(self, belief: Belief) -> dict[str, dict[str, float]]:
        """Candidate -> its `LEDGER` rows."""
        rows = belief.members[len(self.states) - len(self._ledger) :, 0].reshape(-1, len(LEDGER)).tolist()
        return {name: dict(zip(LEDGER, row, strict=True)) for name, row in zip(self.candidates, rows, strict=True)}

    def whole(self, parts: Mapping[str, Belief], ledger: Mapping[str, Mapping[str, float]]) -> Belief:
        """The belief that holds one of each candidate, all of one time and size, and the ledger."""
        held = [parts[name].members for name in self.candidates]
        rows = np.array([[ledger[name][row]] for name, row in self._ledger])
        members = np.concatenate([*held, np.repeat(rows, held[0].shape[1], axis=1)])
        return Belief(self.states, members, parts[next(iter(self.candidates))].time)

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Memory:
        full = self.filled(belief, seed, members)
        ledger = self.ledger(full)
        champion = max(ledger, key=lambda n: ledger[n]["champion"])
        return Memory(champion, self.candidates[champion].init(self.part(full, champion), seed), full.members.copy())

    def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        name = memory.champion
        own, outputs = self.candidates[name].step(memory.own, inputs[self._in[name]], dt)
        return replace(memory, own=own), outputs[self._out[name]]

    def run(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        name = memory.champion
        one, inputs = self.candidates[name], inputs[:, self._in[name]]
        if isinstance(one, Runs):
            own, outputs = one.run(memory.own, inputs, dt)
        else:
            own, outputs = memory.own, np.empty((len(inputs), len(one.outputs), inputs.shape[2]))
            for i, row in enumerate(inputs):
                own, outputs[i] = one.step(own, row, dt)
        return replace(memory, own=own), outputs[:, self._out[name]]

    def select(self, memory: Memory, index: Sequence[int]) -> Memory:
        own = self.candidates[memory.champion].select(memory.own, index)
        return Memory(memory.champion, own, memory.states[:, np.asarray(index)])

    def assign(self, memory: Memory, states: Floats, time: int) -> Memory:
        one = self.candidates[memory.champion]
        own = one.assign(memory.own, states[self._rows[memory.champion]], time)
        return Memory(memory.champion, own, np.array(states, np.float64))

    def extract(self, memory: Memory) -> Floats:
        states = memory.states.copy()
        states[self._rows[memory.champion]] = self.candidates[memory.champion].extract(memory.own)
        return states

    def observe(self, memory: Memory, inputs: Floats) -> Floats:
        name = memory.champion
        found: Floats = self.candidates[name].observe(memory.own, inputs[self._in[name]])
        return found[self._out[name]]

    def quiet(self, memory: Memory) -> Memory:
        one = self.candidates[memory.champion]
        return replace(memory, own=one.quiet(memory.own)) if isinstance(one, Noisy) else memory

    def noise(self, memory: Memory, inputs: Floats, dt: float) -> Floats:
        name, sd = memory.champion, np.zeros(len(self.states))
        one = self.candidates[name]
        if isinstance(one, Noisy):
            sd[self._rows[name]] = one.noise(memory.own, inputs[self._in[name]], dt)
        return sd


def _places(names: Sequence[str], wanted: Sequence[str]) -> slice | list[int]:
    """Where the wanted names stand; all of them in order need no copy."""
    return slice(None) if tuple(names) == tuple(wanted) else [list(names).index(n) for n in wanted]
