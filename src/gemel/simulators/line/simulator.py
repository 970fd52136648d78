"""A serial production line as a simulator: machines that wear and fail, buffers, orders, set-ups, operators."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.registry import declared
from gemel.core.values import Belief, Bools, Floats
from gemel.simulators.draw import cut, exact
from gemel.simulators.line.chance import Keys, keys, uniform
from gemel.simulators.line.events import FAIL, SERVICE, STARVED, STATES, STREAMS, Counts, Course, Plan
from gemel.simulators.line.layout import Prior, read

ARRIVALS = ("poisson", "even", "endless")
HOUR = 3600.0
_ROWS = ("state", "left", "work", "life", "worn", "family")
_LEARNED = ("cycle", "mtbf", "mttr", "wear", "hazard", "scrap", "scrap_worn")


@dataclass(frozen=True, slots=True)
class Memory:
    """States of all members at a time. `key` [m]: whose chance a member meets; `counts` [3 M + 1, m]: cycles begun,
    failures and services asked for of each machine, and orders; `shown` [y, m]: outputs of the last step."""

    time: int
    states: Floats  # [k, m]
    key: Keys
    counts: Counts
    shown: Floats


@declared
class Line:
    """Machines in a row with buffers between them, as discrete events; every member has its own.

    A machine takes a part from the buffer before it, works on it, and keeps it until the buffer behind it has room
    (blocking after service). Chance is found by place: the n-th cycle of a machine takes as long in every fork.

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
        plain = [f"{n}.{row}" for row in _ROWS for n in self._names]
        self.parameters = tuple(f"{self._names[i]}.{key}" for i, key, _ in self._learned)
        self.states = (*plain, *self._waits, *(["orders.due"] if "orders" in self._waits else []), *self.parameters)
        self._at = {name: i for i, name in enumerate(self.states)}
        self.bounds: dict[str, tuple[float, float]] = dict.fromkeys((*plain, *self._waits), (0.0, math.inf))
        self.bounds |= {f"{n}.state": (0.0, float(SERVICE)) for n in self._names}
        self.bounds |= {n: (p.low, p.high) for n, (_, _, p) in zip(self.parameters, self._learned, strict=True)}
        self.units = {f"{n}.cycle": "s" for n in self._names}
        self._plan = self._planned()

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Memory:
        m = members if belief is None else belief.members.shape[1]
        epoch = 0 if belief is None else belief.time
        if belief is not None and belief.names == self.states:
            return self._begun(belief.time, belief.members.copy(), keys(seed, epoch, m))
        count = len(self.machines)
        states = np.zeros((len(self.states), m))
        states[:count] = STARVED
        key = keys(seed, epoch, m)
        states[3 * count : 4 * count] = -np.log(uniform(key, 1 + np.arange(count)[:, None] * STREAMS + FAIL, 0))
        if "orders.due" in self._at:
            states[self._at["orders.due"]] = -np.log(uniform(key, 0, 0)) if self._arrivals == "poisson" else 1.0
        normal = exact(np.random.default_rng(seed).standard_normal((count + len(self._learned), m)))
        for i, machine in enumerate(self.machines):
            states[4 * count + i] = _drawn(normal[i], machine.priors["worn"])
        for row, (name, (_, _, prior)) in enumerate(zip(self.parameters, self._learned, strict=True), start=count):
            states[self._at[name]] = _drawn(normal[row], prior)
        if belief is not None:
            for name in belief.names:
                if name in self._at:
                    states[self._at[name]] = belief.row(name)
        return self._begun(epoch, states, key)

    def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        given = {
            name: np.where(np.isfinite(row) | (row == np.inf), row, self.defaults[name]) + np.zeros(len(memory.key))
            for name, row in zip(self.inputs, inputs, strict=True)
        }
        states, counts = memory.states.copy(), memory.counts.copy()
        course = self._course(memory.key, states, counts, given)
        course.run(dt)
        shown = self._shown(course, dt)
        self._keep(course, states, counts)
        return Memory(memory.time + round(dt * 1e9), states, memory.key, counts, shown), shown

    def select(self, memory: Memory, index: Sequence[int]) -> Memory:
        i = np.asarray(index, np.int64)
        return replace(
            memory,
            states=memory.states[:, i],
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

    def _begun(self, time: int, states: Floats, key: Keys) -> Memory:
        shown = np.zeros((len(self.outputs), len(key)))
        self._levels(states, shown)
        return Memory(time, states, key, np.zeros((3 * len(self.machines) + 1, len(key)), np.int64), shown)

    def _levels(self, states: Floats, shown: Floats) -> None:
        """Into outputs [y, m] what is read off the states as they stand."""
        for row, name in enumerate(self.outputs):
            if name in self._at:
                shown[row] = np.maximum(np.rint(states[self._at[name]]), 0.0)
            elif name.endswith("_wear"):
                shown[row] = states[self._at[f"{name.removesuffix('_wear')}.worn"]]

    def _course(self, key: Keys, states: Floats, counts: Counts, given: Mapping[str, Floats]) -> Course:
        count, m = len(self.machines), len(key)
        rows = [states[i * count : (i + 1) * count] for i in range(len(_ROWS))]
        queue, capacity = np.full((2, count, m), np.inf)
        for i, name in enumerate(self._waits, start=count - len(self._waits)):
            queue[i] = np.maximum(np.rint(states[self._at[name]]), 0.0)
            capacity[i] = given.get(f"{name}_capacity", np.inf)
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
        left, work, life, wear = (r.copy() for r in rows[1:5])
        return Course(
            plan=self._plan,
            key=key,
            code=np.clip(np.rint(rows[0]), 0, SERVICE).astype(np.int64),
            left=left,
            work=work,
            life=life,
            wear=wear,
            family=np.rint(rows[5]).astype(np.int64),
            asked=asked,
            queue=queue,
            due=states[self._at["orders.due"]].copy() if "orders.due" in self._at else none,
            began=counts[:count],
            lives=counts[count : 2 * count],
            came=counts[-1],
            rate=given["release"] / HOUR if "release" in given else none,
            random=self._arrivals == "poisson",
            wanted=np.rint(given.get("family", none)).astype(np.int64),
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

    def _keep(self, course: Course, states: Floats, counts: Counts) -> None:
        count = len(self.machines)
        rows = (course.code, course.left, course.work, course.life, course.wear, course.family)
        for i, row in enumerate(rows):
            states[i * count : (i + 1) * count] = np.maximum(row, 0.0)
        for i, name in enumerate(self._waits, start=count - len(self._waits)):
            states[self._at[name]] = course.queue[i]
        if "orders.due" in self._at:
            states[self._at["orders.due"]] = np.maximum(course.due, 0.0)
        seen = counts[2 * count : 3 * count]
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

        wears: Bools = np.array([[m.wears or m.priors["worn"].mean > 0] for m in self.machines])
        by_cycle: Bools = np.array([[m.by_cycle] for m in self.machines])
        return Plan(
            column("cv"), column("repair_cv"), column("wear_cv"), column("power"), column("service"),
            column("operators"), wears, by_cycle, setup, factor,
        )  # fmt: skip


def _drawn(normal: Floats, prior: Prior) -> Floats:
    return np.asarray(cut(normal, prior.mean, prior.sd, prior.low, prior.high))
