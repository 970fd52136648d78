"""The same time again with other inputs: the search behind `counterfactual`.

What the simulator was off by under the inputs that really came is put on top of every other course it runs: what was
not modelled stays as it was (Pearl 2009, Causality, section 7.1: abduction, action, prediction). Every course meets the
same noise in the same member.

Letters: t times, s signals, u inputs, y outputs, m members, c controls, g blocks, p plans.
Source of the search: cross-entropy, Rubinstein and Kroese 2004.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from gemel.core.explain import Past, Question
from gemel.core.values import Floats, Signal
from gemel.loop.simulate import Branches, Simulator, rollout

ELITE = 0.15
SETS = 12
"""Sets of inputs of one size that are searched, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Inputs by name [t] that keep it healthy, the window [t, s] as it would have been (its mean), and the share of the
    courses that stay healthy."""

    paths: dict[str, Floats]
    window: Floats
    share: float


class Elsewise:
    """Plans on one past. A plan [g, c] is what is added to controls, block by block, as a part of their ranges."""

    def __init__(self, question: Question, past: Past, limit: float, members: int, probability: float) -> None:
        simulator = past.simulator
        if not isinstance(simulator, Simulator) or not isinstance(simulator, Branches):
            raise ValueError("the simulator cannot branch")
        unknown = [c.name for c in past.controls if c.name not in simulator.inputs]
        if unknown:
            raise ValueError(f"the simulator has no input {unknown[0]}")
        self._inputs, self._outputs = list(simulator.inputs), list(simulator.outputs)
        seen = {*self._outputs, *(c.name for c in past.controls)} & set(question.signals)
        if past.healthy is None and not seen:
            raise ValueError("the simulator foretells none of the signals")
        if past.inputs.shape != (len(question.time), len(self._inputs)):
            raise ValueError(f"inputs {past.inputs.shape} do not belong to a window of {len(question.time)} rows")
        self._question, self._past, self._limit, self._probability = question, past, limit, probability
        self._simulator: Simulator = simulator
        step = question.time[1] - question.time[0] if len(question.time) > 1 else question.time[0] - past.belief.time
        self._dt = float(step) / 1e9
        self._members = members
        self.runs = 0
        self._memory, self._off = self._started(past.seed, members)

    def _started(self, seed: int, members: int) -> tuple[object, Floats]:
        """Memory of so many members, and what they are off by [t, y, m] (0 of what is no signal)."""
        assert isinstance(self._simulator, Branches)
        held = self._past.belief.members.shape[1]
        memory = self._simulator.init(self._past.belief, seed)
        index = np.arange(held) if members >= held else np.random.default_rng(seed).permutation(held)[:members]
        memory = self._simulator.select(memory, index.tolist())
        outputs = rollout(
            self._simulator, memory, np.repeat(self._past.inputs[:, :, None], len(index), axis=2), self._dt
        )
        self.runs += len(index)
        off = np.zeros_like(outputs)
        for y, name in enumerate(self._outputs):
            if name in self._question.signals:
                heard = self._question.values[:, self._question.signals.index(name), None]
                off[:, y] = np.nan_to_num(heard - outputs[:, y])
        return memory, off

    # -- courses -------------------------------------------------------------------------------------------------------

    def paths(self, plans: Floats, controls: Sequence[Signal]) -> Floats:
        """Inputs [t, u, p] under plans [p, g, c]: within limits and slew, whole numbers for what has states."""
        t, p = len(self._question.time), len(plans)
        block = np.arange(t) * plans.shape[1] // t
        out = np.repeat(self._past.inputs[:, :, None], p, axis=2)
        for c, control in enumerate(controls):
            u = self._inputs.index(control.name)
            low, high = ends(control, self._past.inputs[:, u])
            wanted = self._past.inputs[:, u, None] + (plans[:, block, c] * (high - low)).T
            if control.states or control.type == "state":
                wanted = np.rint(wanted)
            touched = np.abs(plans[:, block, c].T) > 1e-12
            wanted = np.where(touched, np.clip(wanted, low, high), wanted)  # what really came is taken as it was
            if control.slew is not None:
                wanted = _slewed(wanted, self._past.inputs[:, u], control.slew * self._dt)
            out[:, u] = wanted
        return out

    def margins(self, paths: Floats, memory: object, off: Floats) -> tuple[Floats, Floats]:
        """By how much each course stays healthy [p, m], and windows [p, t, s] (the mean course)."""
        assert isinstance(self._simulator, Branches)
        t, p, m = len(paths), paths.shape[2], off.shape[2]
        copies = self._simulator.select(memory, np.tile(np.arange(m), p).tolist())
        outputs = rollout(self._simulator, copies, np.repeat(paths, m, axis=2), self._dt) + np.tile(off, (1, 1, p))
        self.runs += p * m
        question = self._question
        windows = np.repeat(question.values[None], p * m, axis=0)  # [p m, t, s]
        for i, name in enumerate(question.signals):
            heard = np.isfinite(question.values[:, i])
            if name in self._outputs:
                windows[:, heard, i] = outputs[heard, self._outputs.index(name)].T
            elif name in self._inputs:
                windows[:, heard, i] = np.repeat(paths[heard, self._inputs.index(name)].T, m, axis=0)
        if self._past.healthy is not None:
            named = {n: outputs[:, i] for i, n in enumerate(self._outputs)}
            named |= {n: np.repeat(paths[:, i], m, axis=1) for i, n in enumerate(self._inputs)}
            margin = np.asarray(self._past.healthy(named), float)
        else:
            margin = self._limit - np.asarray(question.score(windows), float)
        margin = np.where(np.isfinite(margin), margin, -np.inf).reshape(p, m)
        return margin, windows.reshape(p, m, t, -1).mean(axis=1)

    def already(self) -> bool:
        """Whether it stays healthy with nothing changed."""
        margin = self._judged(np.zeros((1, 1, len(self._past.controls))), self._past.controls)
        return bool(self._kept(margin)[0] >= 0)

    def _judged(self, plans: Floats, controls: Sequence[Signal]) -> Floats:
        return self.margins(self.paths(plans, controls), self._memory, self._off)[0]

    def _kept(self, margin: Floats) -> Floats:
        """What the asked-for share of the members [p, m] keeps to spare, [p]."""
        spared = int((1 - self._probability) * margin.shape[1] + 1e-9)
        return np.asarray(np.sort(margin, axis=1)[:, spared])

    # -- search --------------------------------------------------------------------------------------------------------

    def search(self, blocks: int, samples: int, iterations: int, most: int, rng: np.random.Generator) -> Found | None:
        """The least change that is found and holds: of one control if it can be, else of two, and so on."""
        blocks = min(blocks, len(self._question.time))
        for count in range(1, min(most, len(self._past.controls)) + 1):
            best: tuple[float, Floats, Sequence[Signal]] | None = None
            for controls in list(combinations(self._past.controls, count))[:SETS]:
                plan = self._best(controls, blocks, samples, iterations, rng)
                if plan is not None and (best is None or _size(plan[None])[0] < best[0]):
                    best = float(_size(plan[None])[0]), plan, controls
            if best is not None and (found := self._held(best[1], best[2])) is not None:
                return found
        return None

    def _best(
        self, controls: Sequence[Signal], blocks: int, samples: int, iterations: int, rng: np.random.Generator
    ) -> Floats | None:
        """The smallest plan [g, c] found that keeps it healthy on the members of the search."""
        c = len(controls)
        mean, spread = np.zeros((blocks, c)), np.full((blocks, c), 0.6)
        constant = np.concatenate([level * _signs(c) for level in (0.25, 0.5, 1.0)])[:, None, :]
        plans = np.repeat(constant, blocks, axis=1)
        best: Floats | None = None
        for _ in range(iterations):
            drawn = np.clip(rng.normal(mean, spread, (samples, blocks, c)), -1.0, 1.0)
            keep = rng.random((samples, blocks, 1)) < rng.uniform(0.3, 1.2, (samples, 1, 1))  # some blocks as they were
            plans = np.concatenate([plans, np.where(keep, drawn, 0.0)])
            kept = self._kept(self._judged(plans, controls))
            order = np.lexsort((_size(plans), np.where(kept >= 0, 0.0, -kept)))
            if kept[order[0]] >= 0:
                best = plans[order[0]]
            elite = plans[order[: max(int(ELITE * samples), 4)]]
            mean, spread = elite.mean(axis=0), np.maximum(elite.std(axis=0), 0.03)
            plans = elite[:1]
        return None if best is None else self._shrunk(best, controls)

    def _shrunk(self, plan: Floats, controls: Sequence[Signal]) -> Floats:
        """The plan with every block taken out, and the rest made smaller, as far as it stays healthy."""
        for block in range(len(plan)):
            less = plan.copy()
            less[block] = 0.0
            if self._kept(self._judged(less[None], controls))[0] >= 0:
                plan = less
        low, high = 0.0, 1.0
        for _ in range(3):
            parts = np.linspace(low, high, 9)[1:-1]
            kept = self._kept(self._judged(parts[:, None, None] * plan, controls)) >= 0
            first = next((i for i in range(len(parts)) if kept[i:].all()), len(parts))
            low = parts[first - 1] if first else low
            high = parts[first] if first < len(parts) else high
        return np.asarray(high * plan)

    def _held(self, plan: Floats, controls: Sequence[Signal]) -> Found | None:
        """The plan, a little larger if it must be, run with all members and noise of its own; None if it fails."""
        memory, off = self._started(self._past.seed + 1, self._past.belief.members.shape[1])
        for more in (1.0, 1.05, 1.15, 1.3, 1.5):
            paths = self.paths(np.clip(more * plan, -1.0, 1.0)[None], controls)
            margin, window = self.margins(paths, memory, off)
            share = float((margin >= 0).mean())
            if share >= self._probability:
                named = {c.name: paths[:, self._inputs.index(c.name), 0] for c in controls}
                return Found(named, window[0], share)
        return None


def ends(control: Signal, came: Floats) -> tuple[float, float]:
    """What a control may be: its limits or states, else what it has been and as much again."""
    if control.states:
        return 0.0, len(control.states) - 1.0
    room = max(float(came.max() - came.min()), 0.5 * float(np.abs(came).max()), 1e-9)
    low = float(came.min()) - room if control.low is None else control.low
    high = float(came.max()) + room if control.high is None else control.high
    return low, high


def _signs(count: int) -> Floats:
    """All combinations of up and down, [2^c, c]."""
    code = np.arange(2**count)[:, None] >> np.arange(count) & 1
    return np.asarray(2.0 * code - 1.0)


def _size(plans: Floats) -> Floats:
    """How large a change is, [p]: its mean, and a little for every block that is touched."""
    return np.asarray(np.abs(plans).mean(axis=(1, 2)) + 0.02 * (np.abs(plans) > 1e-12).mean(axis=(1, 2)))


def _slewed(wanted: Floats, came: Floats, most: float) -> Floats:
    """A course [t, p] that follows what is wanted no faster than `most` a step, from where the input stood at first.
    Where what really came moved faster, so may it."""
    out = np.empty_like(wanted)
    before, last = np.full(wanted.shape[1], came[0]), came[0]
    for i, row in enumerate(wanted):
        step = max(most, abs(float(came[i] - last)))
        before = out[i] = np.clip(row, before - step, before + step)
        last = came[i]
    return out
