"""Champion and challengers: which structure of a simulator describes the plant is estimated too, and for ever.

Letters in shapes: k rows of a belief, m members.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import numpy as np

from gemel.core.attempt import told
from gemel.core.errors import ConfigError, GemelError, PartError
from gemel.core.registry import build, declared
from gemel.core.setting import Setting
from gemel.core.units import duration
from gemel.core.values import Belief, Floats, Frame
from gemel.estimators.cycle import REFUSED
from gemel.estimators.score import drive, log_score
from gemel.loop.estimate import Estimator
from gemel.loop.process import Stateful

log = logging.getLogger("gemel")

Ledger = dict[str, dict[str, float]]
"""Candidate -> `champion`, `score`, `lead`, `spread`, `out`."""
THIRDS = 3
"""Something must have been measured in each of so many parts of a run for it to count."""
BLIND = 0.5
"""A candidate that foretells less than this part of what was measured cannot be compared."""
FAILED, SIGHTLESS = 1.0, 2.0
"""Why one is out: it cannot be run, or gives no numbers for want of an input."""
SLACK, WIDE = 0.25, 2.0
"""Of the spread of the differences: what a run must exceed to be evidence, and what makes one nat of it."""
STRIDES = 2
"""Runs that a challenger needs at least: no single one says more than this part of `margin`."""


class Field(Protocol):
    """What is needed of the simulator: kind `candidates`."""

    candidates: Mapping[str, Any]

    def filled(self, belief: Belief | None, seed: int, members: int = 1) -> Belief: ...

    def part(self, belief: Belief, name: str) -> Belief: ...

    def ledger(self, belief: Belief) -> Ledger: ...

    def whole(self, parts: Mapping[str, Belief], ledger: Ledger) -> Belief: ...


@dataclass
class Run:
    """All candidates run ahead side by side without learning, from the beginning of a stretch of `lead` to its end."""

    stretch: int  # since 1970
    whole: bool  # it began where the stretch does
    ahead: dict[str, Belief]
    scores: dict[str, list[float]]  # of each value measured so far; NaN where one was not foretold
    failed: list[str] = field(default_factory=list)
    thirds: list[int] = field(default_factory=list)  # in which something was measured


@declared
class Compete:
    """Several structures of a simulator, each estimated for itself; the one that foretells best is champion.

    The twin's simulator is of the kind `candidates`. Each of them has its own copy of `estimator` and learns from every
    row. Beside it, each is run ahead from what it believed at the beginning of a stretch of `lead`, with the inputs
    that came but without learning, as a plan would be; the log density of what was then measured is its log score (a
    proper score: Gneiting and Raftery 2007, JASA 102), in nats a value. A challenger gathers evidence by as much as a
    run of its scores above the champion's, less `least`, and loses it by as much as it scores below (the cumulative
    sum of Page 1954, Biometrika 41, which forgets what was true of the plant long ago); at `margin` it takes over, and
    all begin again. Where two differ wildly from run to run, as two that are both wrong do, a run says less: `least` is
    then a quarter of the usual difference, and twice that is a nat of evidence. No run says more than half of `margin`,
    and one says nothing in a third of which nothing was measured: a `lead` of three measurements or more is needed. Of
    several that may take over it is the first named, so name the simpler ones first. A candidate that raises, or gives
    what is no number, is out until it has run through a whole stretch again, from its prior; if it was the champion,
    the best of the others takes over at once. So does one at the end of a stretch in which the champion gave no numbers
    because an input of its own did not come.

    - `estimator`: what moves each candidate, such as `{ kind = "enkf", noise = { T_room = 0.2 } }`; it has `noise`.
    - `lead`: how far ahead they are judged; about as far as decisions look.
    - `margin`: evidence to take over, nats. 3 are odds of twenty to one if runs were independent.
    - `least`: how much better a value must be foretold to be worth a change, nats; 0.05 are errors smaller by 5 %.
    - `window`: over which `score` and `spread` are averaged; `score` says who takes over at a failure.
    """

    def __init__(
        self,
        estimator: Estimator | Mapping[str, Any],
        lead: str = "6h",
        margin: float = 3.0,
        least: float = 0.05,
        window: str = "7d",
    ) -> None:
        problems = []
        spans = {"lead": 0, "window": 0}
        for key, text in (("lead", lead), ("window", window)):
            try:
                spans[key] = duration(text)
            except GemelError as error:
                problems.append(f"compete: {key}: {error.message}")
        if margin <= 0 or least < 0:
            problems.append("compete: margin must be above 0, least 0 or more")
        made: Any = None
        try:
            made = build("estimators", estimator) if isinstance(estimator, Mapping) else estimator
        except ConfigError as error:
            problems += [f"compete.estimator: {line}" for line in error.problems]
        if made is not None and not getattr(made, "noise", None):
            problems.append("compete.estimator: it has no noise, so nothing can be scored")
        if problems:
            raise ConfigError(problems, 'estimator = { kind = "enkf", noise = { T_room = 0.2 } }')
        self.estimator, self.noise, self.members = made, dict(made.noise), int(getattr(made, "members", 64))
        self._lead, self._share = spans["lead"], 1.0 - math.exp(-spans["lead"] / spans["window"])
        self._margin, self._least = margin, least
        self._run: Run | None = None
        self._time = 0  # of the belief that the memory belongs to
        self._taught: dict[str, Mapping[str, tuple[float, float]]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Compete:
        """With the same simulators: a copy is there to be asked, and they hold no memory."""
        if simulator := getattr(self, "_simulator", None):
            memo |= {id(one): one for one in (simulator, *simulator.candidates.values())}
        memo[id(self)] = copy = object.__new__(Compete)
        copy.__dict__ = {k: deepcopy(v, memo) for k, v in self.__dict__.items()}
        return copy

    def bind(self, setting: Setting) -> None:
        simulator = setting.simulator
        if not hasattr(simulator, "candidates"):
            raise ConfigError(
                ["compete: the twin has only one simulator"],
                'write simulator = { kind = "candidates", candidates = { one = { ... }, two = { ... } } }',
            )
        unshared = [n for n in self.noise if n not in simulator.outputs]
        if unshared:
            raise ConfigError(
                [f"compete: noise names '{n}', not an output of every candidate" for n in unshared],
                f"outputs: {', '.join(simulator.outputs)}",
            )
        self._simulator, self._every, self._seed = cast(Field, simulator), setting.every, setting.seed
        self._each: dict[str, Any] = {}
        for name, one in simulator.candidates.items():
            self._each[name] = deepcopy(self.estimator)
            self._each[name].bind(replace(setting, simulator=one))

    def snapshot(self) -> dict[str, Any]:
        each = {n: one.snapshot() for n, one in self._each.items() if isinstance(one, Stateful)}
        run = None if self._run is None else dict(vars(self._run))
        return {"time": self._time, "taught": self._taught, "run": run, "each": each}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._time, self._taught = state["time"], dict(state["taught"])
        held = state["run"]
        self._run = None
        if held is not None and set(held["ahead"]) == set(self._each):
            self._run = Run(
                held["stretch"], held["whole"], dict(held["ahead"]), {n: list(s) for n, s in held["scores"].items()},
                list(held["failed"]), list(held["thirds"]),
            )  # fmt: skip
        for name, memory in state["each"].items():
            if name in self._each and isinstance(self._each[name], Stateful):
                self._each[name].restore(memory)

    def update(self, belief: Belief | None, frame: Frame) -> Belief:
        simulator = self._simulator
        full = simulator.filled(belief, self._seed, self.members)
        last = {} if belief is None else belief.innovation
        if belief is None:
            full = replace(full, time=int(frame.time[0]) - self._every)
        if full.time != self._time:  # the memory is of another time: of today, in a fork of the past
            self._run, self._taught = None, {}
        self._time = -1  # it is of no time until this is done
        ledger = simulator.ledger(full)
        parts = {
            n: replace(simulator.part(full, n), innovation=self._taught.get(n, last)) for n in simulator.candidates
        }
        refused, newest = 0, len(frame) - 1
        for i in np.flatnonzero(frame.time > full.time).tolist():
            if refused > REFUSED and i < newest:
                continue
            try:
                self._row(parts, ledger, frame.rows(i, i + 1))
            except PartError as error:  # of all of them, as with an absurd input: as in `Cycle`, it is left behind
                if i == newest:
                    raise
                log.warning("estimator: %s; they stand still over this row", error.message)
                self._run, refused = None, refused + 1
                for name, part in parts.items():
                    parts[name], ledger[name]["out"] = replace(part, time=int(frame.time[i]), innovation={}), 0.0
        champion = parts[_champion(ledger)]
        self._taught, self._time = {n: part.innovation for n, part in parts.items()}, champion.time
        return replace(simulator.whole(parts, ledger), innovation=champion.innovation)

    def _prior(self, name: str, time: int, members: int) -> Belief:
        one = self._simulator.candidates[name]
        return Belief(tuple(one.states), one.extract(one.init(None, self._seed, members)), time)

    def _row(self, parts: dict[str, Belief], ledger: Ledger, row: Frame) -> None:
        """In place: all candidates one row on, and the contest."""
        time, simulator = int(row.time[0]), self._simulator
        stretch = (time - 1) // self._lead
        if self._run is None or self._run.stretch != stretch:
            self._end(ledger)
            self._begin(parts, ledger, stretch)
        run = self._run
        assert run is not None
        scores: dict[str, Floats] = {}
        for name in simulator.candidates:
            if name not in run.failed:
                try:
                    parts[name], run.ahead[name], scores[name] = self._moved(name, parts[name], run.ahead[name], row)
                    continue
                except Exception as error:
                    run.failed.append(name)
                    ledger[name]["out"] = FAILED
                    trouble = told(name, error)
                    if len(run.failed) == len(simulator.candidates):
                        raise PartError(f"no candidate can be run any more; {trouble}", "mend one of them") from error
            parts[name] = replace(parts[name], time=time, innovation={})
        heard = np.isfinite(row.usable(list(self.noise)))
        for name, score in scores.items():
            run.scores[name] += score[heard].tolist()
        third = (time - 1 - stretch * self._lead) * THIRDS // self._lead
        if heard.any() and third not in run.thirds:
            run.thirds.append(third)
        if _champion(ledger) in run.failed:
            self._crown(ledger, _best(ledger, scores))
        if time % self._lead == 0:
            self._end(ledger)

    def _moved(self, name: str, part: Belief, ahead: Belief, row: Frame) -> tuple[Belief, Belief, Floats]:
        """One candidate one row on: taught, ahead without learning, and the log scores of the latter."""
        one = self._simulator.candidates[name]
        with np.errstate(over="ignore", invalid="ignore"):
            part = self._each[name].update(part, row)
            ahead, outputs = drive(one, ahead, row, self._every, self._seed)
        blind = not np.isfinite(row.usable(one.inputs)).all()
        if not (np.isfinite(part.members).all() and (blind or np.isfinite(outputs).all())):
            raise PartError(f"{name} gave what is no number", "see its equations and its bounds")
        return part, ahead, log_score(one, outputs, row, self.noise)

    def _begin(self, parts: dict[str, Belief], ledger: Ledger, stretch: int) -> None:
        """A new run, from what is believed; of a candidate that could not be run, from its prior."""
        for name, part in parts.items():
            if ledger[name]["out"] == FAILED:
                parts[name] = self._prior(name, part.time, part.members.shape[1])
        began = next(iter(parts.values())).time
        self._run = Run(stretch, began > stretch * self._lead - self._every, dict(parts), {n: [] for n in parts})

    def _end(self, ledger: Ledger) -> None:
        """In place: what the run has shown, if it is one that counts."""
        run, self._run = self._run, None
        if run is None or not run.whole:
            return
        for name, rows in ledger.items():
            rows["out"] = FAILED if name in run.failed else 0.0
        mean = self._compared(run, ledger) if len(run.thirds) == THIRDS else {}
        champion, most = _champion(ledger), self._margin / STRIDES
        for name, score in mean.items():
            before = ledger[name]["score"]
            ledger[name]["score"] += (self._share if before else 1.0) * (score - before)
            if name != champion and champion in mean:
                gained = min(max(self._gained(ledger[name], score - mean[champion]), -most), most)
                ledger[name]["lead"] = max(ledger[name]["lead"] + gained, 0.0)
        proven = [n for n in mean if n != champion and ledger[n]["lead"] >= self._margin]
        if mean and (proven or champion not in mean):
            self._crown(ledger, proven[0] if proven else _best(ledger, mean))

    def _gained(self, rows: dict[str, float], ahead: float) -> float:
        """What a run in which a challenger scored `ahead` of the champion adds to its evidence; in place, its spread.

        Where the two differ wildly from run to run, as two that are both wrong do, a run says less."""
        usual = rows["spread"] = math.sqrt(rows["spread"] ** 2 + self._share * (ahead**2 - rows["spread"] ** 2))
        return (ahead - max(self._least, SLACK * usual)) / max(1.0, WIDE * usual)

    @staticmethod
    def _compared(run: Run, ledger: Ledger) -> dict[str, float]:
        """The mean log score of each candidate that can be compared, over the values that all of these have foretold;
        in place, who cannot is marked in the ledger. Empty where nobody foretold anything."""
        scores = {n: np.array(s) for n, s in run.scores.items() if n not in run.failed}
        seeing = {n: s for n, s in scores.items() if np.isfinite(s).mean() >= BLIND}
        if not seeing:
            return {}
        for name in scores.keys() - seeing.keys():
            ledger[name]["out"] = SIGHTLESS
        shared = np.isfinite(np.array(list(seeing.values()))).all(axis=0)
        return {n: float(s[shared].mean()) for n, s in seeing.items()} if shared.any() else {}

    @staticmethod
    def _crown(ledger: Ledger, name: str) -> None:
        """In place; the champion keeps the lead it won with, and the one before has the spread between the two."""
        ledger[_champion(ledger)]["spread"] = ledger[name]["spread"]
        for one, rows in ledger.items():
            rows |= {"champion": 1.0} if one == name else {"champion": 0.0, "lead": 0.0}


def _best(ledger: Ledger, names: Iterable[str]) -> str:
    """The one of these that has scored best and is not out; one that was never scored comes last."""
    return max(names, key=lambda n: -math.inf if ledger[n]["out"] else ledger[n]["score"] or -math.inf)


def _champion(ledger: Ledger) -> str:
    return max(ledger, key=lambda n: ledger[n]["champion"])
