"""Physics and a learned correction: any simulator, plus what it was found to get wrong.

Letters in shapes: k states and parameters, u inputs, y outputs, c corrected outputs, w traced columns (inputs and
corrected outputs), a averages, t times, f features, m members.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gemel.core import codec
from gemel.core.errors import ConfigError, GemelError, InputError, nearest
from gemel.core.grid import held
from gemel.core.registry import build, declared
from gemel.core.setting import Bound, Setting
from gemel.core.units import duration
from gemel.core.values import Belief, Floats, Frame, Times
from gemel.loop.simulate import Assignable, Branches, Noisy, Runs, Simulator
from gemel.simulators.draw import draw
from gemel.simulators.residual.correction import Correction
from gemel.simulators.residual.follow import followed, roughness
from gemel.simulators.residual.lesson import Ahead, Lesson, Lessons, clock_of, judged, thinned

AVERAGES = np.array([3600.0, 6 * 3600.0])
"""Memories of the running averages of inputs and corrected outputs, seconds."""
MEMBERS = 64
"""Of the ensemble in learning, at most."""
FEWEST = 20  # windows
_STREAM = 0x7E51D  # keeps its draws apart from those of the simulator inside


Fits = Mapping[str, Correction | None]
"""Corrected output -> its correction; None while it is being learned."""


@dataclass(frozen=True, slots=True)
class Memory:
    """That of the simulator inside, and what the correction goes by: the one there was when it began."""

    inner: Any
    fits: Fits
    time: int
    start: int  # when it was last put where telemetry says
    first: Floats  # [k, m] states then
    surprise: Floats  # [c] innovations then
    traced: Floats  # [w, a, m] running averages since; NaN before the first step
    luck: Floats  # [c, m] standard normal: where in what is still unknown a member stands
    seed: int | None


@declared
class Residual:
    """A simulator and a learned correction of its outputs; until `learn` or `load` it is exactly that simulator.

    What is corrected are runs from a belief: nothing at first, then more as errors grow. The correction is linear in
    the states at the start and the innovation then, in inputs and corrected outputs on the way (and how far they are
    from their averages over 1 h and 6 h), and in the hours of day and week. How much of it is used is chosen on
    stretches of time that it was not fitted to; none at all is a choice too. Outside the range seen in learning it
    fades to nothing, member by member. Where errors are larger than the spread of the ensemble, its members are moved
    apart by what is missing. States, and what an estimator sees at the instant of a belief, are the inner simulator's.

    - `simulator`: the one inside (`{ kind = "thermal", ... }`).
    - `horizon`: how far ahead it is learned; a longer run keeps the last correction.
    - `windows`: runs that are compared with what was measured, at most, spread evenly over the telemetry.
    - `unforeseen`: inputs that nobody knows ahead when it matters. In learning they are what they were the day before,
      as a forecaster might say; all others are as measured.
    - `carry`: `{output = "corrected output"}`, outputs that stand upon a corrected one and move with it, such as
      `{ hot_spot = "oil" }`.
    - `noise`: `{output = standard deviation}` of the measurements, for following the telemetry in learning; estimated
      where not given.
    """

    def __init__(
        self,
        simulator: Simulator | Mapping[str, Any],
        horizon: str = "24h",
        windows: int = 400,
        unforeseen: Sequence[str] = (),
        carry: Mapping[str, str] | None = None,
        noise: Mapping[str, float] | None = None,
    ) -> None:
        try:
            self.inner: Any = build("simulators", simulator) if isinstance(simulator, Mapping) else simulator
        except ConfigError as error:
            raise ConfigError([f"residual.simulator: {line}" for line in error.problems], error.hint) from None
        inner = self.inner
        self.inputs, self.outputs, self.states = tuple(inner.inputs), tuple(inner.outputs), tuple(inner.states)
        self.bounds: dict[str, tuple[float, float]] = dict(getattr(inner, "bounds", {}))
        self.windows, self.unforeseen = windows, list(unforeseen)
        self.carry, self._sd = dict(carry or {}), dict(noise or {})
        self._check(horizon)
        self._fits: Fits = {}
        if isinstance(inner, Branches):
            self.select = self._select
        if isinstance(inner, Assignable):
            self.assign, self.extract, self.observe = self._assign, self._extract, self._observe
        if isinstance(inner, Noisy):
            self.quiet, self.noise = self._quiet, self._noise

    def _check(self, horizon: str) -> None:
        problems = []
        try:
            self._horizon = duration(horizon) / 1e9
        except InputError as error:
            problems.append(f"residual: horizon: {error.message}")
        if self.windows < FEWEST:
            problems.append(f"residual: windows {self.windows} must be {FEWEST} or more")
        strange = [n for n in self.unforeseen if n not in self.inputs]
        problems += [f"residual: unforeseen names '{n}', not an input{nearest(n, self.inputs)}" for n in strange]
        named = [*self._sd, *self.carry, *self.carry.values()]
        strange = [n for n in dict.fromkeys(named) if n not in self.outputs]
        problems += [f"residual: '{n}' is not an output{nearest(n, self.outputs)}" for n in strange]
        problems += [f"residual: noise of '{n}' is {sd:g}, it must be above 0" for n, sd in self._sd.items() if sd <= 0]
        if problems:
            raise ConfigError(problems, "see the keys of gemel.simulators.residual.simulator:Residual")

    def bind(self, setting: Setting) -> None:
        if isinstance(self.inner, Bound):
            self.inner.bind(setting)

    # -- the simulator ------------------------------------------------------------------------------------------------

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Memory:
        inner, fits = self.inner.init(belief, seed, members), self._fits
        return self._begun(inner, fits, 0 if belief is None else belief.time, seed, _surprise(belief, fits))

    def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        inner, outputs = self.inner.step(memory.inner, inputs, dt)
        moved, corrected = self._moved(replace(memory, inner=inner), inputs[None], outputs[None], dt)
        return moved, corrected[0]

    def run(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        inner, outputs = self._physics(memory.inner, inputs, dt)
        return self._moved(replace(memory, inner=inner), inputs, outputs, dt)

    def _physics(self, inner: Any, inputs: Floats, dt: float) -> tuple[Any, Floats]:
        """The inner simulator's memory at the end, and its outputs [t, y, m]."""
        if isinstance(self.inner, Runs):
            return self.inner.run(inner, inputs, dt)
        outputs = np.empty((len(inputs), len(self.outputs), inputs.shape[2]))
        for i, row in enumerate(inputs):
            inner, outputs[i] = self.inner.step(inner, row, dt)
        return inner, outputs

    def _select(self, memory: Memory, index: Sequence[int]) -> Memory:
        i = np.asarray(index, np.int32)
        inner = self.inner.select(memory.inner, index)
        if not memory.fits:
            return replace(memory, inner=inner)
        first, traced, luck = memory.first[:, i], memory.traced[..., i], memory.luck[:, i]
        return replace(memory, inner=inner, first=first, traced=traced, luck=luck)

    def _assign(self, memory: Memory, states: Floats, time: int) -> Memory:
        inner, fits = self.inner.assign(memory.inner, states, time), self._fits
        return self._begun(inner, fits, time, memory.seed, _surprise(None, fits))

    def _extract(self, memory: Memory) -> Floats:
        found: Floats = self.inner.extract(memory.inner)
        return found

    def _observe(self, memory: Memory, inputs: Floats) -> Floats:
        outputs: Floats = self.inner.observe(memory.inner, inputs)
        if not memory.fits:
            return outputs
        columns = self._columns(memory, inputs[None], outputs[None])
        now = np.array([memory.time])
        return self._corrected(memory, now, columns, memory.traced[None], outputs[None])[0]

    def _quiet(self, memory: Memory) -> Memory:
        return replace(memory, inner=self.inner.quiet(memory.inner), luck=np.zeros_like(memory.luck), seed=None)

    def _noise(self, memory: Memory, inputs: Floats, dt: float) -> Floats:
        found: Floats = self.inner.noise(memory.inner, inputs, dt)
        return found

    # -- the correction -----------------------------------------------------------------------------------------------

    def _begun(self, inner: Any, fits: Fits, time: int, seed: int | None, surprise: Floats) -> Memory:
        """The memory at the instant of a belief."""
        if not fits:
            nothing = np.empty((0, 0))
            return Memory(inner, fits, time, time, nothing, surprise, nothing, nothing, seed)
        first = self.inner.extract(inner)
        c, m = len(fits), first.shape[1]
        traced = np.full((len(self.inputs) + c, len(AVERAGES), m), math.nan)
        luck = np.zeros((c, m)) if seed is None else draw(seed ^ _STREAM, time, c, m)
        return Memory(inner, fits, time, time, first, surprise, traced, luck, seed)

    def _moved(self, memory: Memory, inputs: Floats, outputs: Floats, dt: float) -> tuple[Memory, Floats]:
        times = memory.time + np.arange(1, len(outputs) + 1) * round(dt * 1e9)
        if not memory.fits:
            return replace(memory, time=int(times[-1])), outputs
        columns = self._columns(memory, inputs, outputs)
        averages = _averaged(memory.traced, columns, dt)
        corrected = self._corrected(memory, times, columns, averages, outputs)
        return replace(memory, time=int(times[-1]), traced=averages[-1]), corrected

    def _columns(self, memory: Memory, inputs: Floats, outputs: Floats) -> Floats:
        """Inputs and corrected outputs, [t, w, m]."""
        rows = [self.outputs.index(n) for n in memory.fits]
        wide = np.broadcast_to(inputs, (*inputs.shape[:2], outputs.shape[2]))
        return np.concatenate([wide, outputs[:, rows]], axis=1)

    def _corrected(self, memory: Memory, times: Times, columns: Floats, averages: Floats, outputs: Floats) -> Floats:
        """Outputs [t, y, m] at `times` [t], corrected."""
        features = _features(memory, times, columns, averages)
        lead = (times - memory.start) / 1e9
        outputs = outputs.copy()
        for (name, one), luck in zip(memory.fits.items(), memory.luck, strict=True):
            if one is None:
                continue
            added, lacking = one.add(features, lead)
            added += lacking * luck
            for moved in (name, *(n for n, of in self.carry.items() if of == name)):
                outputs[:, self.outputs.index(moved)] += added
        return outputs

    # -- learning -----------------------------------------------------------------------------------------------------

    def learn(self, frame: Frame, belief: Belief | Sequence[Belief]) -> dict[str, float]:
        """Fit the correction of every output that `frame` (a regular grid) has measurements of.

        `belief` is the calibrated ensemble at either end of the frame: the simulator then follows the telemetry from
        the first row on (of dense telemetry, every n-th), and runs start from there. Or it is the beliefs that an
        estimator had at rows of the frame, and runs start from those. Returns root-mean-square errors, over the
        horizon, of the last fifth of the runs, which the fit they are measured with has not seen: `OUTPUT.physics`,
        `OUTPUT.correction` (the same regression without the simulator, from the last measured value on) and
        `OUTPUT.both`. A correction that does not help there is not used. Then all runs teach.
        """
        if not isinstance(self.inner, Assignable):
            hint = "choose one with extract, assign and observe, such as kind = 'thermal'"
            raise InputError(
                "residual: the simulator inside cannot be put where telemetry says: nothing to learn", hint
            )
        if isinstance(belief, Belief):
            frame = thinned(frame, self._horizon)
        truth = {n: frame.usable([n])[:, 0] for n in self.outputs if n in frame.signals and n not in self.carry}
        truth = {n: values for n, values in truth.items() if np.isfinite(values).any()}
        if not truth:
            known = f"outputs: {', '.join(self.outputs)}"
            raise InputError("residual: nothing usable was measured of an output in these rows", known)
        ahead = Ahead.of(frame, self._horizon)
        starts = self._starts(frame, belief, truth, ahead)
        lessons = self._lessons(frame, starts, truth, ahead)
        fits: dict[str, Correction] = {}
        scores: dict[str, float] = {}
        for name, lesson in lessons.items():
            fits[name], found = judged(lesson, ahead.lead)
            scores |= {f"{name}.{what}": value for what, value in found.items()}
        self._fits = fits
        return scores

    def _starts(
        self, frame: Frame, belief: Belief | Sequence[Belief], truth: Mapping[str, Floats], ahead: Ahead
    ) -> list[tuple[int, Belief]]:
        """Rows to start a run from, and what was believed there."""
        last = len(frame) - 1 - ahead.steps
        if isinstance(belief, Belief):
            first = max(len(frame) // 10, min(ahead.steps, len(frame) // 4))  # until then it has forgotten its start
            every = max((last - first + 1) // self.windows, 1)
            noise = {n: self._sd.get(n, roughness(values)) for n, values in truth.items()}
            few = replace(belief, members=belief.members[:, :MEMBERS], innovation={})
            along = enumerate(followed(self.inner, frame.rows(0, max(last + 1, 2)), few, noise))
            found = [(row, one) for row, one in along if row >= first and (row - first) % every == 0]
        else:
            row_of = {time: row for row, time in enumerate(frame.time.tolist())}
            found = [(row_of[b.time], b) for b in belief if row_of.get(b.time, len(frame)) <= last]
            found = found[:: max(len(found) // self.windows, 1)]
        if len(found) < FEWEST:
            raise InputError(
                f"residual: {len(found)} runs of {ahead.lead[-1] / 3600:g} h fit into these rows, {FEWEST} are needed",
                "give a longer stretch of telemetry, or a shorter horizon",
            )
        return found

    def _lessons(
        self, frame: Frame, starts: Sequence[tuple[int, Belief]], truth: Mapping[str, Floats], ahead: Ahead
    ) -> dict[str, Lesson]:
        """The runs, and what was measured then."""
        fits: Fits = dict.fromkeys(truth)
        inputs, dt, m = held(frame.usable(self.inputs)), ahead.dt, MEMBERS
        unforeseen = [self.inputs.index(n) for n in self.unforeseen]
        lesson = Lessons(frame, truth, ahead, len(self.inputs), len(self.states))
        for row, belief in starts:
            few = replace(belief, members=belief.members[:, :m])
            memory = self._begun(self.inner.init(few, 0), fits, belief.time, None, _surprise(belief, fits))
            course = inputs[row + 1 : row + 1 + ahead.steps].copy()
            course[:, unforeseen] = ahead.day_before(inputs, row)[:, unforeseen]
            wide = np.repeat(course[:, :, None], few.members.shape[1], axis=2)
            _, outputs = self._physics(memory.inner, wide, dt)
            columns = self._columns(memory, wide, outputs)
            times = memory.time + np.arange(1, len(outputs) + 1) * round(dt * 1e9)
            features = _features(memory, times, columns, _averaged(memory.traced, columns, dt))
            lesson.add(row, few, features, outputs[:, [self.outputs.index(n) for n in truth]])
        return lesson.done()

    def dump(self) -> bytes:
        """What was learned; empty corrections when nothing was."""
        fits = {name: one.plain() for name, one in self._fits.items() if one is not None}
        return codec.encode({"of": [self.inputs, self.outputs, self.states], "fits": fits})

    def load(self, learned: bytes) -> None:
        """Take over what `dump` gave; raises `InputError` when it is of another simulator."""
        try:
            held = codec.decode(learned)
            fits = {name: Correction.of(one) for name, one in held["fits"].items()}
            same = tuple(held["of"]) == (self.inputs, self.outputs, self.states)
        except (GemelError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError("residual: these bytes are no correction", "give what dump() gave") from error
        if not same:
            raise InputError(
                "residual: this correction was learned for a simulator with other inputs, outputs or states",
                "calibrate again: gemel calibrate",
            )
        self._fits = fits


def _surprise(belief: Belief | None, fits: Fits) -> Floats:
    """The innovations of the corrected outputs [c]; 0 where there was none."""
    said = {} if belief is None else belief.innovation
    return np.array([said[n][0] if n in said else 0.0 for n in fits])


def _averaged(traced: Floats, columns: Floats, dt: float) -> Floats:
    """Running averages [t, w, a, m]; they begin at the first value, and stand still where there is none."""
    out = np.empty((len(columns), *traced.shape))
    share = (1.0 - np.exp(-dt / AVERAGES))[:, None]
    for t, row in enumerate(columns[:, :, None]):
        off = row - traced
        traced = np.where(np.isfinite(off), traced + share * off, np.where(np.isnan(traced), row, traced))
        out[t] = traced
    return out


def _features(memory: Memory, times: Times, columns: Floats, averages: Floats) -> Floats:
    """[t, f, m]: states at the start, innovations then, columns, how far these are from their averages, the clock."""
    t, _, m = columns.shape
    start = np.broadcast_to(memory.first, (t, *memory.first.shape))
    surprise = np.broadcast_to(memory.surprise[:, None], (t, len(memory.surprise), m))
    apart = (columns[:, :, None] - averages).reshape(t, -1, m)
    clock = np.repeat(clock_of(times)[:, :, None], m, axis=2)
    return np.concatenate([start, surprise, columns, apart, clock], axis=1)
