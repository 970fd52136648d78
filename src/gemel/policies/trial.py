"""What one decision tries its plans on: the ensemble, the drawn futures, the objective and the constraints.

Letters: c controls, b blocks, p plans, m members, t times, u inputs, r constraints. A plan is an array [b, c].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from gemel.core.errors import InputError
from gemel.core.expression import Expression
from gemel.core.values import Floats, Ints
from gemel.loop.simulate import Branches, Simulator, rollout
from gemel.policies.cross_entropy import Choice, Scores


class Constraint:
    """`left < right`, with how far it is from being broken."""

    def __init__(self, text: str) -> None:
        sides = re.split(r"<=?|>=?", text)
        if len(sides) != 2:
            raise InputError(f"constraint '{text}' is not one comparison", 'write it so: "hot_spot < 110"')
        self.text = text
        self._sides = Expression(sides[0]), Expression(sides[1])
        self._sign = 1.0 if "<" in text else -1.0
        self.names = tuple(sorted({n for side in self._sides for n in side.names}))

    def margin(self, values: Mapping[str, Floats]) -> Floats:
        """By how much it holds, in the units of its sides; negative where it is broken."""
        left, right = (side(values) for side in self._sides)
        return np.asarray(self._sign * (right - left))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What plans come to in every future: `cost` [p, m] over the horizon, and `margin` [r, p, m], the least by which a
    path keeps each constraint, less the caution in force; negative where it is broken."""

    cost: Floats
    margin: Floats

    @property
    def least(self) -> Floats:
        """The smallest margin of each path over all constraints, [p, m]."""
        return np.asarray(self.margin.min(axis=0, initial=np.inf))


@dataclass(frozen=True, slots=True)
class Trial:
    """What one decision tries its plans on."""

    simulator: Simulator
    memory: Any  # m members
    inputs: Floats  # [t, u, m]
    step_s: float
    block: Ints  # [t], the block that a step belongs to
    choices: list[Choice]
    present: Floats  # [c], where the controls stand
    change: Floats  # [c], cost of a unit of movement
    objective: Expression
    constraints: list[Constraint]
    caution: float
    probability: float
    belief: str  # ids of what the trial is built from
    used: tuple[str, ...]

    def place(self, name: str) -> int:
        return list(self.simulator.inputs).index(name)

    def with_input(self, name: str, change: Callable[[Floats], Floats]) -> Trial:
        """The same trial with the paths [t, m] of one input changed."""
        inputs = self.inputs.copy()
        inputs[:, self.place(name)] = change(inputs[:, self.place(name)])
        return replace(self, inputs=inputs)

    def constant(self, values: Sequence[float]) -> Floats:
        """The plan [b, c] that holds these values."""
        return np.tile(np.asarray(values, np.float64), (int(self.block[-1]) + 1, 1))

    def corners(self) -> list[tuple[float, ...]]:
        """All combinations of the least and the most of every control."""
        return list(product(*((c.values[0], c.values[-1]) for c in self.choices)))

    def score(self, plans: Floats, scaled: Sequence[str] = (), factor: Floats | None = None) -> Scores:
        """Cost, chance and overshoot of plans [p, b, c]; plan i sees the inputs `scaled` times factor[i]."""
        found = self.outcome(plans, scaled, factor)
        return Scores.of(found.cost.mean(axis=1), found.least, self.probability)

    def outcome(self, plans: Floats, scaled: Sequence[str] = (), factor: Floats | None = None) -> Outcome:
        """The same, future by future: plans differ only by what they do, so their difference can be taken in each."""
        count, members = len(plans), self.inputs.shape[2]
        inputs = np.tile(self.inputs, (1, 1, count))  # [t, u, p * m], members within plans
        for i, choice in enumerate(self.choices):
            inputs[:, self.place(choice.name)] = np.repeat(plans[:, self.block, i].T, members, axis=1)
        for name in scaled:
            inputs[:, self.place(name)] *= np.repeat(1.0 if factor is None else factor, members)
        assert isinstance(self.simulator, Branches)
        memory = self.simulator.select(self.memory, np.tile(np.arange(members), count).tolist())
        outputs = rollout(self.simulator, memory, inputs, self.step_s)
        named = {n: inputs[:, i] for i, n in enumerate(self.simulator.inputs)}
        named |= {n: outputs[:, i] for i, n in enumerate(self.simulator.outputs)}
        rate = np.broadcast_to(self.objective(named), (len(inputs), count * members))
        cost = rate.sum(axis=0).reshape(count, members) * self.step_s / 3600
        moves = np.abs(np.diff(plans, axis=1, prepend=np.broadcast_to(self.present, (count, 1, len(self.present)))))
        cost = cost + (moves.sum(axis=1) * self.change).sum(axis=1)[:, None]
        margins = [r.margin(named).min(axis=0).reshape(count, members) - self.caution for r in self.constraints]
        return Outcome(cost, np.stack(margins) if margins else np.empty((0, count, members)))
