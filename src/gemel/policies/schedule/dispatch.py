"""Schedules by rule, in milliseconds: what the solver starts from, and what answers when it has found nothing.

Active schedules after Giffler and Thompson (1960): of all operations that could be next take the one that would end
first; of those that want its machine before then, the rule chooses. The rules are the shop floor's own: the order that
is nearest to being late, the one with most work left, first come, and the apparent tardiness cost with set-ups (Lee,
Bhaskaran and Pinedo 1997).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import log

from gemel.policies.schedule.calendar import FAR, fit, merged
from gemel.policies.schedule.problem import Machine, Order, Problem, Schedule, Service, Task, Visit, Window
from gemel.policies.schedule.verify import cost

Rule = Callable[[Order, int, Task], float]
"""(order, work left in it, where its next operation would be) -> the least goes first."""


@dataclass
class Shop:
    """Where things stand: per order the next step and from when, or when it `ended`; per machine from when, for what it
    is set up, and when services hold it."""

    step: dict[str, int]
    ready: dict[str, int]
    ended: dict[str, int]
    free: dict[str, int]
    family: dict[str, str]
    held: dict[str, list[Window]]
    closed: dict[str, list[Window]]
    orders: dict[str, Order]

    @staticmethod
    def of(problem: Problem) -> Shop:
        """After what is frozen."""
        shop = Shop(
            dict.fromkeys((o.name for o in problem.orders), 0),
            {o.name: max(o.release, problem.now) for o in problem.orders},
            {},
            dict.fromkeys((m.name for m in problem.machines), problem.now),
            {m.name: m.family for m in problem.machines},
            {m.name: [] for m in problem.machines},
            {m.name: merged(m.closed) for m in problem.machines},
            {o.name: o for o in problem.orders},
        )
        for task in sorted(problem.frozen, key=lambda t: (t.start, t.end, t.step)):
            shop.take(task)
        for visit in problem.visited:
            shop.held[visit.machine].append((visit.start, visit.end))
        return shop

    def take(self, task: Task) -> None:
        """A task is done as it says."""
        order = self.orders[task.order]
        self.step[task.order] = task.step + 1
        if task.step + 1 == len(order.operations):
            self.ended[task.order] = task.end
        self.ready[task.order] = max(self.ready[task.order], task.end)
        self.free[task.machine] = max(self.free[task.machine], task.end)
        self.family[task.machine] = order.operations[task.step].family

    def earliest(self, order: Order, machine: Machine, work: int) -> Task:
        """The next operation of an order, as soon as it can be on that machine."""
        step = self.step[order.name]
        closed, held = self.closed[machine.name], sorted(self.held[machine.name])
        before, at = None, self.free[machine.name]
        if needed := machine.setups.get((self.family[machine.name], order.operations[step].family), 0):
            before = fit(merged([*closed, *held]), at, needed, False)
            at = before[1]
        at = max(at, self.ready[order.name])
        while True:
            start, end = fit(closed, at, work, machine.resumable)
            clash = next((w for w in held if w[0] < end and start < w[1]), None) if work else None
            if clash is None:
                return Task(order.name, step, machine.name, start, end, before)
            at = clash[1]


def dispatch(problem: Problem, rule: Rule, machines: Mapping[tuple[str, int], str] | None = None) -> Schedule:
    """A schedule by one rule; `machines` names the machine of some operations, by (order, step)."""
    visits = place(problem)
    shop = Shop.of(problem)
    for visit in visits:
        if visit not in problem.visited:
            shop.held[visit.machine].append((visit.start, visit.end))
    named = {m.name: m for m in problem.machines}
    left = {o.name: _work(o, shop.step[o.name]) for o in problem.orders}
    open_ = [o for o in problem.orders if shop.step[o.name] < len(o.operations)]
    tasks = list(problem.frozen)
    soonest: dict[tuple[str, str], Task] = {}  # by order and machine, until one of them moves on
    while open_:
        could = []
        for order in open_:
            for name, work in _options(order, shop.step[order.name], machines).items():
                if (order.name, name) not in soonest:
                    soonest[order.name, name] = shop.earliest(order, named[name], work)
                could.append((soonest[order.name, name], order))
        first = min(could, key=lambda c: (c[0].end, c[0].start))[0]
        rivals = [
            c for c in could if c[0].machine == first.machine and _begin(c[0]) < max(first.end, _begin(first) + 1)
        ]
        best: dict[str, int] = {}  # an order that ends sooner elsewhere is no rival here
        for task, order in could:
            best[order.name] = min(task.end, best.get(order.name, FAR))
        rivals = [c for c in rivals if c[0].end <= best[c[1].name]] or rivals
        task, order = min(rivals, key=lambda c: (rule(c[1], left[c[1].name], c[0]), c[0].start))
        shop.take(task)
        tasks.append(task)
        soonest = {k: t for k, t in soonest.items() if k[0] != task.order and k[1] != task.machine}
        left[order.name] -= min(order.operations[task.step].machines.values())
        if shop.step[order.name] == len(order.operations):
            open_.remove(order)
    done = {v.service for v in visits}
    found = Schedule(tuple(tasks), tuple(visits), tuple(s.name for s in problem.services if s.name not in done))
    return replace(found, cost=cost(problem, found))


def rules(problem: Problem) -> dict[str, Rule]:
    """The shop floor's rules, by name."""

    works = [min(o.machines.values()) for order in problem.orders for o in order.operations]
    mean = max(sum(works) / max(len(works), 1), 1.0)
    lengths = [t for m in problem.machines for t in m.setups.values() if t]
    setup = sum(lengths) / len(lengths) if lengths else 1.0

    def slack(order: Order, left: int, task: Task) -> float:
        due = [x for x in (order.due, order.deadline) if x is not None]
        return min(due) - left - task.start if due else 1e9 - left

    def tardiness(order: Order, left: int, task: Task, ahead: float) -> float:
        index = log(max(order.weight, 0.01) / max(left, 1)) - max(slack(order, left, task), 0.0) / (ahead * mean)
        return (task.setup[1] - task.setup[0] if task.setup else 0) / (0.3 * setup) - index

    return {
        "least slack": slack,
        "most work left": lambda order, left, task: -left,
        "first come": lambda order, left, task: task.start,
        "apparent tardiness, near": partial(tardiness, ahead=0.5),
        "apparent tardiness": partial(tardiness, ahead=2.0),
    }


def best_rule(problem: Problem) -> Schedule:
    """The cheapest schedule of all rules."""
    return min((dispatch(problem, rule) for rule in rules(problem).values()), key=lambda s: s.cost)


def follow(problem: Problem, old: Schedule) -> Schedule:
    """An earlier schedule carried over: the same machines in the same order, later where it must be; or, where that is
    cheaper, the same order with any machine."""
    was = {(t.order, t.step): t for t in old.tasks}

    def before(order: Order, left: int, task: Task) -> float:
        held = was.get((task.order, task.step))
        return held.start if held else FAR

    kept = {
        key: t.machine
        for key, t in was.items()
        if any(
            o.name == t.order and t.step < len(o.operations) and t.machine in o.operations[t.step].machines
            for o in problem.orders
        )
    }
    return min(dispatch(problem, before, kept), dispatch(problem, before), key=lambda s: s.cost)


def place(problem: Problem) -> list[Visit]:
    """Services, each at its cheapest moment that crew and parts allow, one after the other; those that are cheaper left
    out are left out."""
    found = list(problem.visited)
    services = {s.name: s for s in problem.services}
    done = {v.service for v in found}
    for service in sorted(problem.services, key=lambda s: (s.skip is not None, -s.duration)):
        if service.name in done:
            continue
        closed = [(t.start, t.end) for t in problem.frozen if t.machine == service.machine]
        moments = sorted({problem.now, *_moments(service, problem, found), *(end for _, end in closed)})
        can = [at for at in moments if at >= problem.now and _possible(service, at, problem, found, services, closed)]
        if not can:
            continue  # must it be done, the solver says why it cannot
        at = min(can, key=lambda t: (service.cost(t), t))
        if service.skip is None or service.cost(at) < service.skip:
            found.append(Visit(service.name, service.machine, at, at + service.duration))
    return found


def _moments(service: Service, problem: Problem, visits: Iterable[Visit]) -> Iterable[int]:
    yield from (a for a, _ in service.windows)
    yield from (since for since, _ in service.costs)
    yield from (since - 1 for since, _ in service.costs)
    yield from (v.end for v in visits)
    yield from (since for part in service.parts for since, _ in problem.stock[part])


def _possible(
    service: Service,
    at: int,
    problem: Problem,
    visits: list[Visit],
    services: Mapping[str, Service],
    closed: list[Window],
) -> bool:
    end = at + service.duration
    if service.windows and not any(a <= at and end <= b for a, b in service.windows):
        return False
    near = [(v.start, v.end) for v in visits if v.machine == service.machine] + closed
    if any(a < end and at < b for a, b in near):
        return False
    for moment in [at, *(v.start for v in visits if at < v.start < end)]:
        if service.crew + sum(services[v.service].crew for v in visits if v.start <= moment < v.end) > problem.crew:
            return False
    for part, taken in service.parts.items():
        for moment in [at, *(v.start for v in visits if v.start > at)]:
            used = sum(services[v.service].parts.get(part, 0) for v in visits if v.start <= moment)
            if used + taken > sum(count for since, count in problem.stock[part] if since <= moment):
                return False
    return True


def _options(order: Order, step: int, machines: Mapping[tuple[str, int], str] | None) -> Mapping[str, int]:
    held = order.operations[step].machines
    fixed = (machines or {}).get((order.name, step))
    return {fixed: held[fixed]} if fixed is not None and fixed in held else held


def _begin(task: Task) -> int:
    """Since when it keeps others off the machine: a set-up may be done before a closure, or right before it starts."""
    return task.start - (task.setup[1] - task.setup[0] if task.setup else 0)


def _work(order: Order, step: int) -> int:
    return sum(min(o.machines.values()) for o in order.operations[step:])
