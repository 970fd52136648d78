"""Shooting: try control sequences on the ensemble of virtual copies, take the cheapest that is safe enough.

Every plan is rolled out from every member of the belief under the same drawn futures (common random numbers), so
plans differ only by what they do. Few plans are tried one by one; many are searched by the cross-entropy method
(Rubinstein and Kroese 2004): draw plans, keep the best tenth, draw around those.

Letters: c controls, b blocks, p plans, m members, t times, u inputs. A plan is an array [b, c].
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.expression import Expression
from gemel.core.paths import futures
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration, instant_id
from gemel.core.values import Command, Decision, Finding, Floats, Ints, Times
from gemel.loop.decide import Situation
from gemel.loop.simulate import Branches
from gemel.policies.account import carried, expected, noted, sentence
from gemel.policies.cross_entropy import Choice, Scores, search
from gemel.policies.hold import hold
from gemel.policies.trial import Constraint, Trial

T = TypeVar("T")
FACTORS = 12  # loads tried for the ceiling; between two of them it is interpolated


@declared
class Shooting:
    """Chooses the cheapest control sequence of the horizon that keeps its constraints, and sends its first move.

    `objective`: what an hour costs, an expression over the simulator's inputs and outputs
    (`"0.12 * fan_power + 12 * ageing"`); it is integrated over the horizon in hours, averaged over the members and
    minimised. `constraints`: conditions such as `"hot_spot < 110"`. A plan is allowed when at least `probability` of
    the members keep all of them at every step of the horizon. When no plan is allowed, the one with the smallest mean
    overshoot is taken and `refused` says so.

    `controls`: signal -> the list of values it may take, in order, or `{ low, high }`. Left out: every controlled
    signal that is an input of the simulator, with its states or its limits. `change`: signal -> what moving it by one
    unit costs, against chatter. `blocks`: for how long a control is held, one duration or a list whose last one
    repeats. `step`: time step of the rollout. `members`: how many of the belief's members are used. The search draws
    `samples` plans in each of `iterations` rounds; where there are no more plans than that, each is tried.
    `expires`: for how long a command is valid. `currency`: what the objective is counted in ("EUR"), for people.

    `caution`: name of a finding -> by how much every constraint is tightened while it is open.
    `ceiling`: `{ signals = ["load"], limit = "load_limit" }` asks what could be carried for the whole horizon without a
    break: the inputs are held at the peak of their expected course times a factor, every control at its least or its
    most, and `expected` has the largest factor at which such a plan is allowed (`safe load factor`) and the first
    input at it (`safe load`). Where `limit` is a controlled signal it is sent the safe load, and plans are tried with
    the (one) input capped at it.

    `expected` of a decision sets the plan against doing nothing (every control stays where it is) in the same futures:
    `saving` with `saving 5%` and `saving 95%` (of the objective over the horizon, mean and quantiles over the members),
    `P(saves)`, for each constraint `P(hot_spot < 110)` and the same with ` if held` (the share of members that keep it
    at every step; tightened while there is caution, then `tightened by` is there too), with several also `P(all)`,
    `P(better)` (safer, or as safe and cheaper), `objective`, `objective if held`, and how many `members` there were.

    Raises `ConfigError` for settings that do not fit each other, the signals or the simulator.
    """

    def __init__(
        self,
        objective: str,
        constraints: Sequence[str] = (),
        probability: float = 0.95,
        controls: Mapping[str, Any] | None = None,
        change: Mapping[str, float] | None = None,
        blocks: str | Sequence[str] = "6h",
        step: str = "15min",
        members: int = 32,
        samples: int = 64,
        iterations: int = 4,
        expires: str = "1h",
        caution: Mapping[str, float] | None = None,
        ceiling: Mapping[str, Any] | None = None,
        currency: str = "",
    ) -> None:
        problems: list[str] = []
        if not 0 < probability <= 1:
            problems.append(f"probability {probability} must be above 0 and at most 1")
        for name, number in (("members", members), ("samples", samples), ("iterations", iterations)):
            if number < 1:
                problems.append(f"{name} {number} must be at least 1")
        given = dict(ceiling or {})
        if ceiling is not None and not (given.get("signals") and set(given) <= {"signals", "limit"}):
            problems.append('ceiling is { signals = ["load"], limit = "load_limit" }, limit may be left out')
        elif "limit" in given and len(given["signals"]) > 1:
            problems.append("ceiling: a limit is for one signal")

        def parsed(make: Callable[[Any], T], text: Any) -> list[T]:
            try:
                return [make(text)]
            except InputError as error:
                problems.append(str(error))
                return []

        objectives = parsed(Expression, objective)
        self._constraints = [c for text in constraints for c in parsed(Constraint, text)]
        self._blocks = [b for text in ([blocks] if isinstance(blocks, str) else blocks) for b in parsed(duration, text)]
        self._choices = [c for row in (controls or {}).items() for c in parsed(Choice.of, row)]
        steps, expiries = parsed(duration, step), parsed(duration, expires)
        if problems:
            raise ConfigError(problems, where="policy shooting")
        self._objective, self._step, self._expires = objectives[0], steps[0], expiries[0]
        self.objective = objective
        self._derive = controls is None
        self.probability = probability
        self.change = dict(change or {})
        self.members = members
        self.samples = samples
        self.iterations = iterations
        self.caution = dict(caution or {})
        self.currency = currency
        self._scaled: list[str] = list(given.get("signals", ()))
        self._limit = str(given.get("limit", ""))
        self._seed = self._horizon = 0

    def bind(self, setting: Setting) -> None:
        """Takes the seed, and checks every name against the signals and the simulator."""
        self._seed, self._horizon = setting.seed, setting.horizon
        simulator = setting.simulator
        if simulator is None:
            raise ConfigError(["policy shooting needs a simulator"], 'add simulator = { kind = "..." }')
        problems = []
        if not isinstance(simulator, Branches):
            problems.append(f"simulator {type(simulator).__name__} cannot branch, so no plan can be tried on it")
        known = {*simulator.inputs, *simulator.outputs}
        rules = [(r.text, r.names) for r in self._constraints] + [(self._objective.text, self._objective.names)]
        problems += [_unknown(text, n, known) for text, names in rules for n in names if n not in known]
        for choice in self._choices:
            if choice.name not in setting.signals.names or setting.signals.named(choice.name).role != "controlled":
                problems.append(f"controls: '{choice.name}' is not a controlled signal")
            if choice.name not in simulator.inputs:
                problems.append(_unknown("controls", choice.name, simulator.inputs))
        problems += [_unknown("ceiling", n, simulator.inputs) for n in self._scaled if n not in simulator.inputs]
        problems += [_unknown("change", n, simulator.inputs) for n in self.change if n not in simulator.inputs]
        if problems:
            raise ConfigError(problems, where="policy shooting")

    def decide(self, situation: Situation) -> Decision:
        """The decision at `situation.now`; without a simulator, a belief or a forecast nothing is commanded."""
        id = f"decision-{instant_id(situation.now)}"
        if held := hold(situation, id):
            return held
        try:
            trial = self._trial(situation)
        except InputError as error:
            return Decision(id, situation.now, reason=f"Nothing is changed: {error.message}.")
        factor, load = self._ceiling(trial, situation) if self._scaled else (1.0, float("nan"))
        if self._limited(situation):  # from here on the limit is taken to be kept
            trial = trial.with_input(self._scaled[0], lambda paths: np.minimum(paths, load))
        still = trial.constant([c.nearest(_present(c, situation)) for c in trial.choices])
        starts = np.stack([still, *(trial.constant(corner) for corner in trial.corners())])
        rng = np.random.default_rng((self._seed, abs(situation.now)))
        plan = search(trial.score, trial.choices, starts, self.samples, self.iterations, rng)
        return self._decision(id, situation, trial, plan, still, factor, load)

    def course(self, decision: Decision) -> tuple[Times, dict[str, Floats]]:
        """The plan of a decision as setpoints [t], and the times at which their steps end: the whole horizon."""
        elapsed = np.arange(max(self._horizon // self._step, 1), dtype=np.int64) * self._step
        block = _block_of(elapsed, self._blocks)
        held = {n: np.array(values)[np.minimum(block, len(values) - 1)] for n, values in decision.plan.items()}
        return decision.time + elapsed + self._step, held

    def cost(self, values: Mapping[str, Floats], step_s: float, moves: Mapping[str, Floats]) -> Floats:
        """The objective [m] of what happened, or would have: inputs and outputs [t, m] by name, and the setpoints of
        each control in order, for what moving it costs."""
        shape = np.broadcast_shapes(*(v.shape for v in values.values()))
        total = np.broadcast_to(self._objective(values), shape).sum(axis=0) * step_s / 3600
        return total + sum(price * float(np.abs(np.diff(moves[n])).sum()) for n, price in self.change.items())

    def margins(self, values: Mapping[str, Floats]) -> dict[str, Floats]:
        """By how much each constraint holds, [t, m]; one with a name that `values` lacks is left out."""
        return {c.text: c.margin(values) for c in self._constraints if set(c.names) <= set(values)}

    def _trial(self, situation: Situation) -> Trial:
        simulator, belief = situation.simulator, situation.belief
        if simulator is None or belief is None:
            raise InputError(f"there is no {'simulator' if simulator is None else 'belief'} yet")
        if not isinstance(simulator, Branches):
            raise InputError(f"simulator {type(simulator).__name__} cannot branch")
        choices = self._choices
        if self._derive:
            choices = [
                Choice.from_signal(s)
                for s in situation.signals
                if s.role == "controlled" and s.name in simulator.inputs
            ]
        controls = [c.name for c in choices]
        free = [n for n in simulator.inputs if n not in controls]
        used = [f for f in situation.forecasts if any(n in f.signals for n in free)]
        if free and not used:
            raise InputError(f"there is no forecast of {' or '.join(free)} yet")
        steps = max(situation.horizon // self._step, 1)
        elapsed = np.arange(steps, dtype=np.int64) * self._step
        times = situation.now + elapsed + self._step
        zeros = dict.fromkeys(controls, 0.0)
        caution = max((self.caution.get(f.name, 0.0) for f in situation.findings if f.open), default=0.0)
        return Trial(
            simulator=simulator,
            memory=_thinned(
                simulator, simulator.init(belief, self._seed), belief.members.shape[1], self.members, self._seed
            ),
            inputs=futures(simulator.inputs, times, situation.latest, used, self.members, self._seed, zeros),
            step_s=self._step / 1e9,
            block=_block_of(elapsed, self._blocks),
            choices=choices,
            present=np.array([_present(c, situation) for c in choices]),
            change=np.array([self.change.get(c.name, 0.0) for c in choices]),
            objective=self._objective,
            constraints=self._constraints,
            caution=caution,
            probability=self.probability,
            belief=belief.id,
            used=tuple(f.id for f in used),
        )

    def _limited(self, situation: Situation) -> bool:
        """Whether the ceiling is a setpoint that can be sent."""
        signals = situation.signals
        return self._limit in signals.names and signals.named(self._limit).role == "controlled"

    def _ceiling(self, trial: Trial, situation: Situation) -> tuple[float, float]:
        """The largest allowed factor on the peaks of the scaled inputs, and the first input at it."""
        for name in self._scaled:
            trial = trial.with_input(name, lambda paths: np.maximum(paths.mean(axis=1).max(keepdims=True), 1e-9))
        peak = float(trial.inputs[0, trial.place(self._scaled[0]), 0])
        least, most = 0.0, 3.0 * peak
        if self._limit in situation.signals.names:
            signal = situation.signals.named(self._limit)
            least = least if signal.low is None else signal.low
            most = most if signal.high is None else signal.high
        plans = np.stack([trial.constant(corner) for corner in trial.corners()])
        loads = np.linspace(least, most, FACTORS)
        scores = trial.score(np.repeat(plans, FACTORS, axis=0), self._scaled, np.tile(loads / peak, len(plans)))
        margin = scores.margin.reshape(len(plans), FACTORS).max(axis=0)  # [f], of the safest plan
        broken = np.flatnonzero(~(margin >= 0))
        if not len(broken):
            load = most
        elif (i := int(broken[0])) == 0:
            load = least
        else:
            above, below = margin[i - 1], -margin[i]
            part = above / (above + below) if np.isfinite(above + below) else 0.0
            load = float(loads[i - 1] + part * (loads[i] - loads[i - 1]))
        return load / peak, load

    def _decision(
        self, id: str, situation: Situation, trial: Trial, plan: Floats, held: Floats, factor: float, load: float
    ) -> Decision:
        expires = situation.now + self._expires
        commands = [
            Command(f"{id}-{c.name}", c.name, float(v), expires) for c, v in zip(trial.choices, plan[0], strict=True)
        ]
        outcome = trial.outcome(np.stack([plan, held]))
        found = expected(trial, outcome)
        kept = bool(Scores.of(outcome.cost.mean(axis=1), outcome.least, self.probability).allowed[0])
        rule = " and ".join(c.text for c in self._constraints)
        refused = f"no plan keeps {rule} in {self.probability:.0%} of futures; the safest one is taken"
        reason = sentence(trial, plan, held, found, situation.signals, kept, self.currency)
        if self._scaled:
            reason += carried(self._scaled[0], load, situation.signals)
            found |= {"safe load factor": factor, "safe load": load}
            if self._limited(situation):
                commands.append(Command(f"{id}-{self._limit}", self._limit, load, expires))
        findings = _relevant(situation, trial, self.caution)
        return Decision(
            id,
            situation.now,
            tuple(commands),
            {c.name: tuple(plan[:, i].tolist()) for i, c in enumerate(trial.choices)},
            found,
            () if kept else (refused,),
            tuple(filter(None, (trial.belief, *trial.used, *(f.id for f in findings)))),
            reason + noted(findings, trial.caution),
        )


def _present(choice: Choice, situation: Situation) -> float:
    """Where a control stands: as last heard, else its safe value, else its least."""
    value = situation.latest.get(choice.name, float("nan"))
    safe = situation.signals.named(choice.name).safe if choice.name in situation.signals.names else None
    if np.isfinite(value):
        return float(value)
    return float(choice.values[0]) if safe is None else safe


def _thinned(simulator: Branches, memory: Any, held: int, members: int, seed: int) -> Any:
    """`members` of a memory that has `held` of them."""
    order = np.random.default_rng(seed).permutation(held)
    return simulator.select(memory, np.resize(order, members).tolist())


def _block_of(elapsed: Times, blocks: Sequence[int]) -> Ints:
    """The block of each step [t], from the time since now at which the step starts; the last length repeats."""
    ends = np.cumsum([*blocks, *[blocks[-1]] * int(elapsed[-1] // blocks[-1] + 1)])
    return np.searchsorted(ends, elapsed, side="right").astype(np.int32)


def _unknown(where: str, name: str, known: Collection[str]) -> str:
    return f"{where}: the simulator has no '{name}'{nearest(name, known)}"


def _relevant(situation: Situation, trial: Trial, caution: Mapping[str, float]) -> list[Finding]:
    """Open findings that this decision took into account: by caution, or through what the simulator was told."""
    seen = {*trial.simulator.inputs, *trial.simulator.outputs, *caution}
    return [f for f in situation.findings if f.open and (f.name in seen or f.subject in seen)]
