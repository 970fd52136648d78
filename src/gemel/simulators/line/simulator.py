"""A serial production line as a simulator: machines that wear and fail, buffers, orders, set-ups, operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.registry import declared
from gemel.core.values import Belief, Bools, Floats
from gemel.simulators.draw import cut, exact
from gemel.simulators.line.chance import Keys, keys, uniform
from gemel.simulators.line.events import BUSY, CYCLE, FAIL, STARVED, STATES, STREAMS, Counts, Course, Plan
from gemel.simulators.line.layout import Prior, read

ARRIVALS = ("poisson", "even", "endless")
HOUR = 3600.0
_ROWS = 5
"""Of the machines' present: what each does, how long that goes on, work left, life left, family."""
UNSET = -1.0
"""The family of a machine that is set up for whatever is asked for first."""
_LEARNED = ("cycle", "mtbf", "mttr", "wear", "hazard", "scrap", "scrap_worn")


@dataclass(frozen=True, slots=True)
class Memory:
    """States of all members at a time. `present` [5 M + 1, m]: what machines are at, and what is left of the interval
    between two orders; a belief does not hold it, for no filter can average it. `key` [m]: whose chance a member meets;
    `counts` [3 M + 1, m]: cycles begun, lives ended and services asked for of each machine, and orders; `shown` [y, m]:
    outputs of the last step."""

    time: int
    states: Floats  # [k, m]
    present: Floats
    key: Keys
    counts: Counts
    shown: Floats


@declared
class Line:
    """Machines in a row with buffers between them, as discrete events; every member has its own.

    A machine takes a part from the buffer before it, works on it, and keeps it until the buffer behind it has room
    (blocking after service). Chance is found by place: the n-th cycle of a machine takes as long in every fork.
    What is believed are wear, levels and parameters; from a belief, machines start in the middle of a cycle, none of
    them down.

    - `machines`: rows in the order of the line, `{ name, cycle, ... }`. Times are durations or seconds; those marked *
      may be priors `{ mean, sd, low, high }`, which an estimator can teach (parameter `name.key`).
      `cycle`*, and `cv`, the coefficient of variation of one (0 constant, 1 exponential, else lognormal); `cycles`,
      `{ "1" = 1.3 }`, factors on it of families. `mtbf`*, the mean busy time between failures; `mttr`* and `repair_cv`.
      `failures`: `time`, at any instant of a cycle, which goes on after the repair, or `cycle`, at its beginning with
      chance cycle / mtbf, the repair taking whole cycles, each the last with chance cycle / mttr. `wear`* of a part
      and `wear_cv`; wear is 0 after a service or a repair and `worn`* at the start. `hazard`*: failures a busy hour at
      wear 1, growing with wear to the `power`. `scrap`* and `scrap_worn`*: the share of parts that is spoilt, and how
      much more of them at wear 1 (to the same power); they leave the line there. `service`: how long one takes; a
      machine that has none cannot be serviced. `setup`, or `setups` by family, `{ "0>1" = "20min" }`. `operators` that
      it needs while busy or set up.
    - `buffers`: what each holds at most, in order, or `{ name, capacity }`; without a capacity it holds all. Their
      names are `first_second` of their machines.
    - `arrivals`: `endless`, the first machine always has a part; `poisson` or `even`: orders come at the input
      `release` an hour and wait as `orders`. `release`: what that is where nobody says it.
    - `operators`: how many there are for the whole line; 0 means that nobody is needed.

    Inputs, all with a default: `release`; `family`, the number of the family that machines set up for before their next
    part; `NAME_service`, 1 asks for a service before the next part, and has to be 0 in between; `BUFFER_capacity`;
    `operators`. Outputs: `NAME_parts` finished in the step, shares of the step `NAME_busy` (`idle blocked starved setup
    down service`), `NAME_wear`; the buffers' levels and `orders`; `good` and `scrap` in the step, `throughput` (good
    parts an hour) and `wip`, the mean number of parts and orders in the line.
    """

    def __init__(
        self,
        machines: Sequence[Mapping[str, Any]],
        buffers: Sequence[Any] = (),
        arrivals: str = "endless",
        release: float = 60.0,
        operators: int = 0,
    ) -> None:
        self.machines, self.buffers = read(machines, buffers)
        problems = []
        if arrivals not in ARRIVALS:
            problems.append(f"line: arrivals '{arrivals}' is not one of {', '.join(ARRIVALS)}")
        if not (release >= 0 and operators >= 0):
            problems.append("line: release and operators must not be negative")
        most = max((m.numbers["operators"] for m in self.machines), default=0.0)
        if operators and most > operators:
            problems.append(f"line: a machine needs {most:g} operators, and there are {operators}")
        if problems:
            raise ConfigError(problems, "see the keys of gemel.simulators.line.simulator:Line")
        self._arrivals = arrivals
        self._names = [m.name for m in self.machines]
        self._served = [m.name for m in self.machines if m.numbers["service"] > 0]
        self.defaults: dict[str, float] = {} if arrivals == "endless" else {"release": float(release)}
        if any(m.changes or m.cycles for m in self.machines):
            self.defaults["family"] = 0.0
        self.defaults |= {f"{n}_service": 0.0 for n in self._served}
        self.defaults |= {f"{b.name}_capacity": b.capacity for b in self.buffers}
        if operators:
            self.defaults["operators"] = float(operators)
        self.inputs = tuple(self.defaults)
        self._waits = ["orders"] * (arrivals != "endless") + [b.name for b in self.buffers]
        worn = [m.name for m in self.machines if m.wears]
        shown = [f"{n}_{what}" for n in self._names for what in ("parts", *STATES)] + [f"{n}_wear" for n in worn]
        self.outputs = (*shown, *self._waits, "good", "scrap", "throughput", "wip")
        self._learned: list[tuple[int, str, Prior]] = [
            (i, key, m.priors[key]) for i, m in enumerate(self.machines) for key in _LEARNED if m.priors[key].sd > 0
        ]
        self.parameters = tuple(f"{self._names[i]}.{key}" for i, key, _ in self._learned)
        self.states = (*(f"{n}.worn" for n in worn), *self._waits, *self.parameters)
        self._at = {name: i for i, name in enumerate(self.states)}
        self.bounds: dict[str, tuple[float, float]] = {  # levels and wear are cut where they are used
            n: (p.low, p.high) for n, (_, _, p) in zip(self.parameters, self._learned, strict=True)
        }
        self.units = {f"{n}.cycle": "s" for n in self._names}
        self._plan = self._planned()

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Memory:
        m = members if belief is None else belief.members.shape[1]
        epoch = 0 if belief is None else belief.time
        key = keys(seed, epoch, m)
        states = np.zeros((len(self.states), m))
        worn = {f"{machine.name}.worn": machine.priors["worn"] for machine in self.machines}
        priors = worn | dict(zip(self.parameters, (prior for _, _, prior in self._learned), strict=True))
        normal = exact(np.random.default_rng(seed).standard_normal((len(priors), m)))
        for row, (name, prior) in enumerate(priors.items()):
            if name in self._at:
                states[self._at[name]] = _drawn(normal[row], prior)
        if belief is not None:
            for name in belief.names:
                if name in self._at:
                    states[self._at[name]] = belief.row(name)
        shown = np.zeros((len(self.outputs), m))
        self._levels(states, shown)
        counts = np.zeros((3 * len(self.machines) + 1, m), np.int64)
        return Memory(epoch, states, self._somewhere(key, states, belief is not None), key, counts, shown)

    def _somewhere(self, key: Keys, states: Floats, running: bool) -> Floats:
        """A present: empty machines, or, `running`, machines in the middle of a cycle where there is something to do.
        What is left of a life, and of the time to a random order, is what it always is: it has no memory."""
        count = len(self.machines)
        place = 1 + np.arange(count)[:, None] * STREAMS
        present = np.zeros((_ROWS * count + 1, len(key)))
        present[:count] = STARVED
        present[3 * count : 4 * count] = -np.log(uniform(key, place + FAIL, 0))
        present[4 * count : 5 * count] = UNSET
        present[-1] = -np.log(uniform(key, 0, 0)) if self._arrivals == "poisson" else 1.0
        if running:
            there = np.ones((count, len(key)), bool)
            for i, name in enumerate(self._waits, start=count - len(self._waits)):
                there[i] = np.rint(states[self._at[name]]) > 0
            cycle = np.array([[machine.numbers["cycle"]] for machine in self.machines])
            present[:count][there] = BUSY
            present[2 * count : 3 * count] = np.where(there, cycle * uniform(key, place + CYCLE, 0), 0.0)
        return present

    def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        given = {
            name: np.where(np.isfinite(row) | (row == np.inf), row, self.defaults[name]) + np.zeros(len(memory.key))
            for name, row in zip(self.inputs, inputs, strict=True)
        }
        after = replace(
            memory,
            time=memory.time + round(dt * 1e9),
            states=memory.states.copy(),
            present=memory.present.copy(),
            counts=memory.counts.copy(),
        )
        course = self._course(after, given)
        course.run(dt)
        self._keep(course, after)
        shown = self._shown(course, dt)
        return replace(after, shown=shown), shown

    def select(self, memory: Memory, index: Sequence[int]) -> Memory:
        i = np.asarray(index, np.int64)
        return replace(
            memory,
            states=memory.states[:, i],
            present=memory.present[:, i],
            key=memory.key[i],
            counts=memory.counts[:, i],
            shown=memory.shown[:, i],
        )

    def assign(self, memory: Memory, states: Floats, time: int) -> Memory:
        made = np.array(states, np.float64)
        moved = replace(memory, time=time, states=made, shown=memory.shown.copy())
        self._levels(made, moved.shown)
        return moved

    def extract(self, memory: Memory) -> Floats:
        return memory.states.copy()

    def observe(self, memory: Memory, inputs: Floats) -> Floats:
        return memory.shown.copy()

    def _levels(self, states: Floats, shown: Floats) -> None:
        """Into outputs [y, m] what is read off the states as they stand."""
        for row, name in enumerate(self.outputs):
            if name in self._at:
                shown[row] = np.maximum(np.rint(states[self._at[name]]), 0.0)
            elif name.endswith("_wear"):
                shown[row] = states[self._at[f"{name.removesuffix('_wear')}.worn"]]

    def _course(self, memory: Memory, given: Mapping[str, Floats]) -> Course:
        count, m, states, counts = len(self.machines), len(memory.key), memory.states, memory.counts
        code, left, work, life, family = (memory.present[i * count : (i + 1) * count] for i in range(_ROWS))
        wear = np.zeros((count, m))
        queue, capacity = np.full((2, count, m), np.inf)
        for i, name in enumerate(self._waits, start=count - len(self._waits)):
            queue[i] = np.maximum(np.rint(states[self._at[name]]), 0.0)
            capacity[i] = given.get(f"{name}_capacity", np.inf)
        for i, name in enumerate(self._names):
            if f"{name}.worn" in self._at:
                wear[i] = np.maximum(states[self._at[f"{name}.worn"]], 0.0)
        parameters = {k: np.array([[machine.numbers[k]] for machine in self.machines]) * np.ones(m) for k in _LEARNED}
        for name, (i, k, prior) in zip(self.parameters, self._learned, strict=True):
            parameters[k][i] = np.clip(states[self._at[name]], prior.low, prior.high)
        asked, seen = np.zeros((count, m), bool), counts[2 * count : 3 * count]
        for i, name in enumerate(self._names):
            if name in self._served:  # 0 nothing, 1 asked for, 2 begun: the input has to be 0 before the next one
                wish = given[f"{name}_service"] >= 0.5
                seen[i] = np.where(wish, np.maximum(seen[i], 1), np.where(seen[i] == 1, 1, 0))
                asked[i] = seen[i] == 1
        none = np.zeros(m)
        wanted = np.rint(given.get("family", none)).astype(np.int64)
        return Course(
            plan=self._plan,
            key=memory.key,
            code=code.astype(np.int64),
            left=left,
            work=work,
            life=life,
            wear=wear,
            family=np.where(family == UNSET, wanted, family).astype(np.int64),
            asked=asked,
            queue=queue,
            due=memory.present[-1],
            began=counts[:count],
            lives=counts[count : 2 * count],
            came=counts[-1],
            rate=given["release"] / HOUR if "release" in given else none,
            random=self._arrivals == "poisson",
            wanted=wanted,
            capacity=capacity,
            crew=given.get("operators", np.full(m, np.inf)),
            cycle=parameters["cycle"],
            mtbf=parameters["mtbf"],
            mttr=parameters["mttr"],
            worn=parameters["wear"],
            hazard=parameters["hazard"],
            scrap=parameters["scrap"],
            scrap_worn=parameters["scrap_worn"],
        )

    def _keep(self, course: Course, memory: Memory) -> None:
        """Into the arrays of a memory, those that the course does not work on in place."""
        count = len(self.machines)
        memory.present[:count] = course.code
        memory.present[4 * count : 5 * count] = course.family
        for i, name in enumerate(self._waits, start=count - len(self._waits)):
            memory.states[self._at[name]] = course.queue[i]
        for i, name in enumerate(self._names):
            if f"{name}.worn" in self._at:
                memory.states[self._at[f"{name}.worn"]] = course.wear[i]
        seen = memory.counts[2 * count : 3 * count]
        seen[(seen == 1) & ~course.asked] = 2

    def _shown(self, course: Course, dt: float) -> Floats:
        made: dict[str, Floats] = {}
        for i, name in enumerate(self._names):
            made[f"{name}_parts"], made[f"{name}_wear"] = course.parts[i], course.wear[i]
            made |= {f"{name}_{state}": course.shares[s, i] / dt for s, state in enumerate(STATES)}
        made |= dict(zip(self._waits, course.queue[len(self.machines) - len(self._waits) :], strict=True))
        made |= {"good": course.good, "scrap": course.bad, "throughput": course.good / dt * HOUR}
        made["wip"] = course.held / dt
        return np.array([made[name] for name in self.outputs])

    def _planned(self) -> Plan:
        def column(key: str) -> Floats:
            return np.array([[m.numbers[key]] for m in self.machines])

        usual = column("setup")[:, 0]
        setups = {(i, a, b): s for i, m in enumerate(self.machines) for (a, b), s in m.setups.items()}
        factors = {(i, f): x for i, m in enumerate(self.machines) for f, x in m.cycles.items()}

        def setup(i: Counts, a: Counts, b: Counts) -> Floats:
            table = zip(i.tolist(), a.tolist(), b.tolist(), strict=True)
            return np.array([setups.get(place, usual[place[0]]) for place in table])

        def factor(i: Counts, family: Counts) -> Floats | float:
            if not factors:
                return 1.0
            return np.array([factors.get(place, 1.0) for place in zip(i.tolist(), family.tolist(), strict=True)])

        wears: Bools = np.array([[m.wears] for m in self.machines])
        by_cycle: Bools = np.array([[m.by_cycle] for m in self.machines])
        return Plan(
            column("cv"), column("repair_cv"), column("wear_cv"), column("power"), column("service"),
            column("operators"), wears, by_cycle, setup, factor,
        )  # fmt: skip


def _drawn(normal: Floats, prior: Prior) -> Floats:
    return np.asarray(cut(normal, prior.mean, prior.sd, prior.low, prior.high))
