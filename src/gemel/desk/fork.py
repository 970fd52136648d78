"""Fork: the twin copied at an instant, to try things on. Nothing of it is written anywhere.

All forks of an instant share what was believed, foreseen and heard then; a fork adds only the inputs it sets. Members
keep their place, their noise and their disturbances, so two runs differ in each member by what was set and nothing
else.

Letters in shapes: t steps, u inputs, y outputs, m members.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gemel.core.errors import Conflict, InputError, nearest
from gemel.core.expression import Expression
from gemel.core.grid import held
from gemel.core.paths import futures, paths
from gemel.core.units import SECOND, duration, instant, spell, stamp
from gemel.core.values import BAD, LEVELS, Belief, Floats, Forecast, Frame, Times
from gemel.desk.history import means
from gemel.loop.simulate import Branches, Simulator, rollout

Value = float | Mapping[str, float] | Forecast | Frame
"""What an input can be set to: a number; `{"2h": 1, "5h": 0}`, from so long after the fork (or from an ISO time) on;
a forecast, whose paths are drawn; the column of that name in a frame."""
Step = tuple[Times, Floats]
"""Times, and what holds from each of them on."""
MOST = 10_000
"""Members that a fork may have."""
CELLS = 30_000_000
"""Numbers that one run may hold: steps x members x (inputs + outputs)."""
FURTHEST = 20_000
"""Steps that one run may have."""
WIDTH = 4_096
"""Members that are rolled out at once: more no longer fit the processor's cache."""
_QUIET = np.errstate(over="ignore", invalid="ignore", divide="ignore")  # an absurd input has an absurd answer
GAPS = 0.2
"""The share of an input's telemetry that may be missing where the inputs that really came are asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """What all forks of one instant share. `awaited`: the inputs that the twin's forecaster is there for."""

    simulator: Simulator
    belief: Belief
    latest: Mapping[str, float]
    forecasts: tuple[Forecast, ...]
    every: int
    horizon: int
    seed: int
    awaited: frozenset[str]
    objective: str
    history: Callable[..., Frame]


@dataclass(frozen=True, eq=False)
class Base:
    """An origin ahead in time as things stand; what is not known of an input is NaN."""

    origin: Origin
    times: Times
    inputs: Floats  # [t, u, m]

    @cached_property
    def outputs(self) -> Floats:
        """Of the run in which nothing is set, [t, y, m]."""
        return self.rolled([self.inputs])[0]

    @property
    def step_s(self) -> float:
        return float(self.times[0] - self.origin.belief.time) / SECOND

    @_QUIET
    def rolled(self, inputs: Sequence[Floats]) -> list[Floats]:
        """Outputs [t, y, m] of each; runs of a simulator that can branch share their steps."""
        origin = self.origin
        simulator, members = origin.simulator, self.inputs.shape[2]
        for one in inputs:
            self._known(one)
        if len(inputs) == 1 or not isinstance(simulator, Branches):
            return [rollout(simulator, simulator.init(origin.belief, origin.seed), one, self.step_s) for one in inputs]
        memory, found = simulator.init(origin.belief, origin.seed), list[Floats]()
        many = max(WIDTH // members, 1)
        for i in range(0, len(inputs), many):
            some = inputs[i : i + many]
            copies = simulator.select(memory, np.tile(np.arange(members), len(some)).tolist())
            outputs = rollout(simulator, copies, np.concatenate(some, axis=2), self.step_s)
            found += np.split(outputs, len(some), axis=2)
        return found

    def changed(self, settings: Mapping[str, Step | Forecast]) -> Floats:
        """The inputs with some of them set."""
        inputs, names = self.inputs.copy(), list(self.origin.simulator.inputs)
        starts = np.concatenate([[self.origin.belief.time], self.times[:-1]])
        for name, value in settings.items():
            i = names.index(name)
            if isinstance(value, Forecast):
                rng = np.random.default_rng((self.origin.seed, i))  # the ranks of the forecast it takes the place of
                inputs[:, i] = paths(value, name, self.times, inputs.shape[2], rng)
            else:
                row = np.searchsorted(value[0], starts, side="right") - 1
                inputs[row >= 0, i] = value[1][row[row >= 0], None]
        return inputs

    def _known(self, inputs: Floats) -> None:
        for i, name in enumerate(self.origin.simulator.inputs):
            if not np.isnan(inputs[:, i]).any():
                continue
            if name in self.origin.awaited:
                when = stamp(self.origin.belief.time)
                raise Conflict(f"no forecast of '{name}' was in force at {when}", "set it, or take what came: truth")
            raise Conflict(f"the simulator's input '{name}' has no value yet", "wait for its telemetry, or set it")


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A fork rolled out: `times` [t], inputs and outputs by name [t, m]."""

    base: Base
    inputs: Floats  # [t, u, m]
    outputs: Floats  # [t, y, m]

    @property
    def times(self) -> Times:
        return self.base.times

    def of(self, name: str) -> Floats:
        """The members of one input or output, [t, m]."""
        found = _named(self.base, self.inputs, self.outputs)
        if name not in found:
            raise InputError(f"the simulator has no '{name}'{nearest(name, found)}", f"it has: {', '.join(found)}")
        return found[name]

    @property
    def forecast(self) -> Forecast:
        """Quantiles of every output."""
        return _quantiles(self.base, self.outputs)

    def compare(self) -> dict[str, Forecast]:
        """Quantiles of every output `asis` (nothing set), `whatif`, and of their `difference`, taken in each member."""
        asis = self.base.outputs
        return {
            "asis": _quantiles(self.base, asis),
            "whatif": self.forecast,
            "difference": _quantiles(self.base, self.outputs - asis),
        }

    def score(self, objective: str | None = None) -> dict[str, Any]:
        """What it costs: `objective`, an expression per hour over inputs and outputs (default: the policy's own), added
        up over the run: `mean`, `low` and `high` (5 % and 95 % of the members); and `saving`, the same of what it costs
        less than with nothing set, taken in each member."""
        text = objective or self.base.origin.objective
        if not text:
            raise InputError("there is nothing to score by", 'give an objective: "0.1 * fan_power + ageing"')
        cost = self._cost(text, self.inputs, self.outputs)
        asis = self._cost(text, self.base.inputs, self.base.outputs)
        return {"objective": text, **_spread(cost), "saving": _spread(asis - cost)}

    @_QUIET
    def _cost(self, text: str, inputs: Floats, outputs: Floats) -> Floats:
        try:
            rate = np.asarray(Expression(text)(_named(self.base, inputs, outputs)))
            if np.iscomplexobj(rate):
                raise ValueError("it is not a real number")
            each = np.broadcast_to(rate, (len(self.times), inputs.shape[2])).astype(np.float64)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"'{text}' cannot be worked out: {error}") from None
        return np.asarray(each.sum(axis=0) * self.base.step_s / 3600)


class Fork:
    """A copy of the twin at an instant. `set` gives another one and leaves this as it is."""

    def __init__(
        self,
        origin: Origin,
        settings: Mapping[str, Step | Forecast] | None = None,
        bases: dict[Any, Base] | None = None,
    ) -> None:
        self._origin: Origin | None = origin
        self._settings = dict(settings or {})
        self._bases = {} if bases is None else bases  # shared by all forks of the origin
        self._last: Run | None = None

    @property
    def origin(self) -> Origin:
        """What it shares with the other forks of its instant."""
        if self._origin is None:
            raise Conflict("this fork was discarded", "take another: twin.fork()")
        return self._origin

    @property
    def time(self) -> int:
        """The instant it starts from."""
        return self.origin.belief.time

    def set(self, signal: str, value: Value) -> Fork:
        """Another fork, in which an input of the simulator is what `Value` says. A step of a run takes what holds at
        its beginning; before the first time of a schedule things are as they stand."""
        return Fork(self.origin, {**self._settings, signal: self._setting(signal, value)}, self._bases)

    def run(self, horizon: str | None = None, every: str | None = None, truth: bool = False) -> Run:
        """Roll it out. `horizon`: how far (default: the twin's). `every`: the step (default: a turn). Inputs that are
        not set are drawn from the forecast in force, or hold; with `truth` they are what was measured afterwards."""
        base = self._base(horizon, every, truth)
        inputs = base.changed(self._settings)
        self._last = Run(base, inputs, base.rolled([inputs])[0] if self._settings else base.outputs)
        return self._last

    def runs(
        self, variants: Sequence[Mapping[str, Value]], horizon: str | None = None, every: str | None = None,
        truth: bool = False,
    ) -> list[Run]:  # fmt: skip
        """Many at once: this fork with each of `variants` set, rolled out together."""
        base = self._base(horizon, every, truth, len(variants))
        settings = [{**self._settings, **{n: self._setting(n, v) for n, v in one.items()}} for one in variants]
        inputs = [base.changed(one) for one in settings]
        return [Run(base, i, o) for i, o in zip(inputs, base.rolled(inputs), strict=True)] if inputs else []

    def compare(self) -> dict[str, Forecast]:
        """`Run.compare` of its last run (of one over the twin's horizon when there was none)."""
        return (self._last or self.run()).compare()

    def score(self, objective: str | None = None) -> dict[str, Any]:
        """`Run.score` of its last run (of one over the twin's horizon when there was none)."""
        return (self._last or self.run()).score(objective)

    def discard(self) -> None:
        """Let go of everything it holds; other forks of the same instant are not touched."""
        self._origin, self._settings, self._bases, self._last = None, {}, {}, None

    def _base(self, horizon: str | None, every: str | None, truth: bool, runs: int = 1) -> Base:
        origin = self.origin
        step = duration(every) if every else origin.every
        steps = max((duration(horizon) if horizon else origin.horizon) // step, 1)
        if steps > FURTHEST:
            raise InputError(f"{steps:,} steps ahead are too many", f"a fork looks {FURTHEST:,} steps ahead at most")
        width = len(origin.simulator.inputs) + len(origin.simulator.outputs)
        if (cells := steps * origin.belief.members.shape[1] * width * runs) > CELLS:
            raise InputError(
                f"{cells:,} numbers are too many for one run", "fewer members, fewer variants, a longer every"
            )
        key = steps, step, truth
        if key not in self._bases:
            self._bases[key] = _ahead(origin, steps, step, truth)
        return self._bases[key]

    def _setting(self, signal: str, value: Value) -> Step | Forecast:
        inputs = self.origin.simulator.inputs
        if signal not in inputs:
            hint = f"inputs: {', '.join(inputs)}"
            raise InputError(f"'{signal}' is not an input of the simulator{nearest(signal, inputs)}", hint)
        if isinstance(value, Forecast):
            value.of(signal)
            if value.time[-1] <= self.time:
                raise InputError(f"the forecast of '{signal}' ends before the fork, at {stamp(int(value.time[-1]))}")
            return value.only([signal])
        times, values = _schedule(signal, value, self.time)
        if not len(values) or not np.isfinite(values).all():
            raise InputError(f"'{signal}' is set to what is not a number", 'a schedule is { "0h": 1, "5h": 0 }')
        order = np.argsort(times, kind="stable")
        return times[order], values[order]


def forked(twin: Any, origin: Mapping[str, Any], members: int | None, history: Callable[..., Frame]) -> Fork:
    """A fork of `twin` from what its desk says of an instant (`origin.origin`); `members` None: as the belief has."""
    belief: Belief = origin["belief"]
    setting, have = twin.setting(), belief.members.shape[1]
    if members is not None and not 1 <= members <= MOST:
        raise InputError(f"members {members} must be from 1 to {MOST:,}")
    if members is not None and members != have:
        index = np.resize(np.random.default_rng(setting.seed).permutation(have), members)
        belief = replace(belief, members=belief.members[:, index])
    awaited = {s.name for s in twin.signals if s.type == "number" and s.role in ("measured", "derived")}
    return Fork(Origin(
        twin.simulator, belief, dict(origin["latest"]), tuple(origin["forecasts"]), setting.every, setting.horizon,
        setting.seed, frozenset(awaited if twin.forecaster else ()),
        getattr(twin.policy.part, "objective", "") if twin.policy else "", history,
    ))  # fmt: skip


def _ahead(origin: Origin, steps: int, step: int, truth: bool) -> Base:
    names, belief = origin.simulator.inputs, origin.belief
    usual = getattr(origin.simulator, "defaults", {})  # what an input is where nobody says it
    times = belief.time + step * np.arange(1, steps + 1, dtype=np.int64)
    fixed = _came(origin, times) if truth else {}
    foreseen = {name for f in origin.forecasts for name in f.signals}
    for name in names:
        held_still = name not in origin.awaited and np.isfinite(origin.latest.get(name, math.nan))
        if name not in fixed and name not in foreseen and not held_still:
            fixed[name] = math.nan if name in origin.awaited else usual.get(name, math.nan)
    members = belief.members.shape[1]
    return Base(origin, times, futures(names, times, origin.latest, origin.forecasts, members, origin.seed, fixed))


def _came(origin: Origin, times: Times) -> dict[str, Floats | float]:
    """The inputs that were measured afterwards, means over each step [t]."""
    names = list(origin.simulator.inputs)

    def window(names: Sequence[str], start: int, end: int, every: int) -> Frame:
        return origin.history(signals=names, start=start, end=end, every=every / SECOND)

    heard = means(window, names, origin.belief.time, times)
    if heard is None:
        raise InputError("the step does not fit the grid of the telemetry", "give an every of whole turns")
    found: dict[str, Floats | float] = {}
    for name, values in heard.items():
        if name not in origin.awaited:  # an actuator may be heard of only when it moves
            values = np.concatenate([[origin.latest.get(name, math.nan)], values])
            if np.isfinite(values).any():
                found[name] = held(values)[1:]
            continue
        if np.isnan(values).mean() > GAPS:
            span = spell(int(times[-1]) - origin.belief.time)
            raise Conflict(
                f"'{name}' was not measured over the {span} after {stamp(origin.belief.time)}",
                "set it, or look less far",
            )
        found[name] = held(values)
    return found


def _schedule(signal: str, value: float | Mapping[str, float] | Frame, start: int) -> Step:
    if isinstance(value, Frame):
        column = value.column(signal)
        usable = np.isfinite(column) & (value.quality[:, value.signals.index(signal)] != BAD)
        return value.time[usable], column[usable]
    rows = value if isinstance(value, Mapping) else {"0h": value}
    try:
        values = [float(v) for v in rows.values()]
    except (TypeError, ValueError):
        values = [math.nan]
    return np.array([_when(key, start) for key in rows], np.int64), np.array(values, np.float64)


def _when(key: str | int, start: int) -> int:
    """`"2h"` after the fork, or an instant."""
    if isinstance(key, str) and key[:1].isdecimal() and key[-1:].isalpha() and "-" not in key:
        zero = not key.rstrip("nusmihdw").strip("0")  # "0h" is no duration by itself
        return start if zero else start + duration(key)
    time = instant(int(key) if isinstance(key, str) and re.fullmatch(r"[0-9]{1,19}", key) else key)
    if not abs(time) < 2**62:
        raise InputError(f"'{key}' is out of range", "times lie between 1823 and 2116")
    return time


def _named(base: Base, inputs: Floats, outputs: Floats) -> dict[str, Floats]:
    simulator = base.origin.simulator
    found = {n: inputs[:, i] for i, n in enumerate(simulator.inputs)}
    return found | {n: outputs[:, i] for i, n in enumerate(simulator.outputs)}


@_QUIET
def _quantiles(base: Base, outputs: Floats) -> Forecast:
    values = np.quantile(outputs, LEVELS, axis=2).transpose(2, 1, 0)  # [q, t, y] -> [y, t, q]
    names = tuple(base.origin.simulator.outputs)
    return Forecast(base.times, LEVELS, values.astype(np.float32), names, base.origin.belief.time, "physics")


def _spread(cost: Floats) -> dict[str, float]:
    low, high = np.quantile(cost, (0.05, 0.95)).tolist()
    return {"mean": float(cost.mean()), "low": low, "high": high}


def answered(
    fork: Fork,
    set: Mapping[str, Value],
    horizon: str | None = None,
    every: str | None = None,
    objective: str | None = None,
    truth: bool = False,
) -> dict[str, Any]:
    """A fork with inputs set, run, compared and scored in one answer; `score` is None where there is no objective."""
    for name, value in set.items():
        fork = fork.set(name, value)
    run = fork.run(horizon, every, truth)
    scored = run.score(objective) if objective or fork.origin.objective else None
    return {"time": fork.time, **run.compare(), "score": scored}
