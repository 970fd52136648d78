"""Names what cannot go together in an order book that has no schedule.

First each order alone in the shop, which needs no solver. Then orders together: one after the other is taken out for
as long as the rest still has no schedule; what is left is a smallest set, any one fewer of which could be done. Last,
whose closures are to blame, and what the least delay would be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from gemel.policies.schedule.bound import alone, opened
from gemel.policies.schedule.dispatch import place
from gemel.policies.schedule.problem import Order, Problem
from gemel.policies.schedule.solve import search


def conflict(problem: Problem, seconds: float, seed: int = 0) -> str:
    """Why there is no schedule, in a sentence or two; `seconds` is for the search of the smallest set."""
    if text := alone(problem):
        return text
    ends = perf_counter() + seconds
    if text := _services(problem):
        return text
    wanted = [o for o in problem.orders if o.deadline is not None]
    kept, sure = list(wanted), True
    for order in sorted(wanted, key=lambda o: -(o.deadline or 0)):
        rest = [o for o in kept if o is not order]
        left = max((ends - perf_counter()) / 2, 0.1)
        if rest and (impossible := _impossible(_only(problem, rest), min(left, seconds / len(wanted)), seed)):
            kept = rest
        elif rest:
            sure = sure and impossible is False
    return _together(problem, kept, sure, max(ends - perf_counter(), 1.0), seed)


def _services(problem: Problem) -> str:
    """A service that must be done and has no moment, by windows, crew and parts alone."""
    placed = {v.service for v in place(problem)}
    for service in problem.services:
        only = replace(
            problem, services=tuple(s for s in problem.services if s is service or s.name in _begun(problem))
        )
        if service.skip is None and service.name not in placed and service.name not in {v.service for v in place(only)}:
            spans = ", ".join(f"{problem.clock(a)} to {problem.clock(b)}" for a, b in service.windows) or "any time"
            need = f"{service.duration} ticks, {service.crew} people" + "".join(
                f", {n} {p}" for p, n in service.parts.items()
            )
            said = f"service '{service.name}' of {service.machine} cannot be done in its windows ({spans})"
            return f"{said}: it needs {need}"
    return ""


def _begun(problem: Problem) -> set[str]:
    return {v.service for v in problem.visited}


def _impossible(problem: Problem, seconds: float, seed: int) -> bool | None:
    """Whether there is certainly no schedule; None where the time did not suffice to know."""
    found, _, proved = search(replace(problem, makespan=0), seconds, seed, None, 0, False)
    return False if found is not None else True if proved else None


def _only(problem: Problem, orders: Sequence[Order], keep_deadlines: bool = True) -> Problem:
    """The problem of these orders and of what has begun; nothing else has a deadline, a due date or a choice."""
    begun = {t.order for t in problem.frozen}
    names = {o.name for o in orders}
    kept = tuple(
        replace(
            o, due=None if keep_deadlines else o.deadline, deadline=o.deadline if keep_deadlines else None, weight=1
        )
        if o.name in names
        else replace(o, due=None, deadline=None)
        for o in problem.orders
        if o.name in names or o.name in begun
    )
    must = tuple(s for s in problem.services if s.skip is None or s.name in _begun(problem))
    return replace(problem, orders=kept, services=must)


def _together(problem: Problem, orders: Sequence[Order], sure: bool, seconds: float, seed: int) -> str:
    together = _only(problem, orders)
    each = seconds / (len(problem.machines) + 2)
    shut = []
    for machine in problem.machines:
        windows = [w for w in machine.closed if problem.now < w[1] and w[0] < max(o.deadline or 0 for o in orders)]
        if windows and _impossible(opened(together, machine, windows), each, seed) is False:
            a, b = max(windows, key=lambda w: w[1] - w[0])
            shut.append(f"machine {machine.name} is closed from {problem.clock(a)} until {problem.clock(b)}")
    names = ", ".join(f"'{o.name}' by {problem.clock(o.deadline or 0)}" for o in orders)
    must = [s for s in together.services if s.skip is None]
    freed = bool(must) and _impossible(replace(together, services=()), each, seed) is False
    text = f"order {names} cannot be done" if len(orders) == 1 else f"orders {names} cannot all be done"
    text += f" with service {', '.join(repr(s.name) for s in must)}" if freed else ""
    text += f": {shut[0]}" if shut else f": {_fullest(problem, orders)} has too much to do"
    text += "; any one of them fewer could be" if sure and len(orders) > 1 else ""
    relaxed, _, _ = search(replace(_only(problem, orders, False), makespan=0), each, seed, None, 0, False)
    if relaxed is not None:
        done = relaxed.ends()
        late = [f"'{o.name}' {problem.clock(done[o.name])}" for o in orders if done[o.name] > (o.deadline or 0)]
        text += f". It could be done with {', '.join(late)}"
    return text


def _fullest(problem: Problem, orders: Sequence[Order]) -> str:
    load = dict.fromkeys((m.name for m in problem.machines), 0)
    for order in orders:
        for operation in order.operations:
            name, work = min(operation.machines.items(), key=lambda row: row[1])
            load[name] += work
    return f"machine {max(load, key=lambda n: load[n])}"
