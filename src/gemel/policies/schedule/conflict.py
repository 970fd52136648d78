"""Names what cannot go together in an order book that has no schedule.

First each order alone in the shop, which needs no solver. Then orders together: one after the other is taken out for
as long as the rest still has no schedule; what is left is a smallest set, any one fewer of which could be done. Last,
whose closures are to blame, and what the least delay would be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from gemel.policies.schedule.bound import alone, opened, overload
from gemel.policies.schedule.dispatch import place
from gemel.policies.schedule.problem import Machine, Order, Problem
from gemel.policies.schedule.solve import search

CLOSURES = 5  # of a machine, looked at one by one


def conflict(problem: Problem, seconds: float, seed: int = 0) -> str:
    """Why there is no schedule, in a sentence or two; `seconds` is for the search of the smallest set."""
    if text := alone(problem) or overload(problem):
        return text
    ends = perf_counter() + seconds
    if text := _services(problem):
        return text
    must = [s.name for s in problem.services if s.skip is None and s.name not in _begun(problem)]
    if must and _impossible(_only(problem, ()), seconds / 5, seed):
        return f"services {', '.join(must)} cannot all be done in their windows, with a crew of {problem.crew}"
    kept, sure = _fewest(problem, ends, seed)
    return _together(problem, kept, sure, max(ends - perf_counter(), 1.0), seed)


def _fewest(problem: Problem, ends: float, seed: int) -> tuple[list[Order], bool]:
    """Orders that cannot go together, and whether it is sure that any one fewer could: whole halves are taken out
    first, then smaller parts (delta debugging, Zeller and Hildebrandt 2002)."""
    kept = sorted((o for o in problem.orders if o.deadline is not None), key=lambda o: -(o.deadline or 0))
    size, sure = max(len(kept) // 2, 1), True
    while True:
        at = 0
        while at < len(kept) and len(kept) > size:
            rest = kept[:at] + kept[at + size :]
            impossible = _impossible(_only(problem, rest), max((ends - perf_counter()) / 4, 0.1), seed)
            sure = sure and (impossible is not None or size > 1)
            if impossible:
                kept = rest
            else:
                at += size
        if size == 1:
            return kept, sure
        size //= 2


def _services(problem: Problem) -> str:
    """A service that must be done and has no moment, by windows, crew and parts alone."""
    placed = {v.service for v in place(problem)}
    for service in problem.services:
        only = replace(
            problem, services=tuple(s for s in problem.services if s is service or s.name in _begun(problem))
        )
        if service.skip is None and service.name not in placed and service.name not in {v.service for v in place(only)}:
            spans = ", ".join(f"{problem.clock(a)} to {problem.clock(b)}" for a, b in service.windows) or "any time"
            need = f"{problem.span(service.duration)}, {service.crew} people" + "".join(
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
    each = seconds / (2 * len(problem.machines) + 2)
    shut = [text for m in problem.machines if (text := _shut(problem, together, m, orders, each, seed))]
    names = ", ".join(f"'{o.name}' by {problem.clock(o.deadline or 0)}" for o in orders)
    must = [s for s in together.services if s.skip is None]
    freed = bool(must) and _impossible(replace(together, services=()), each, seed) is False
    text = f"order {names} cannot be done" if len(orders) == 1 else f"orders {names} cannot all be done"
    text += f" with service {', '.join(repr(s.name) for s in must)}" if freed else ""
    text += f": {shut[0]}" if shut else f": {_fullest(together)} has too much to do"
    text += "; any one of them fewer could be" if sure and len(orders) > 1 else ""
    relaxed, _, _ = search(replace(_only(problem, orders, False), makespan=0), each, seed, None, 0, False)
    if relaxed is not None:
        done = relaxed.ends()
        late = [f"'{o.name}' {problem.clock(done[o.name])}" for o in orders if done[o.name] > (o.deadline or 0)]
        text += f". It could be done with {', '.join(late)}"
    return text


def _shut(
    problem: Problem, together: Problem, machine: Machine, orders: Sequence[Order], seconds: float, seed: int
) -> str:
    """The closure of a machine without which the orders could be done; "" where it is not to blame."""
    last = max(o.deadline or 0 for o in orders)
    windows = sorted((w for w in machine.closed if problem.now < w[1] and w[0] < last), key=lambda w: w[0] - w[1])
    if not windows or _impossible(opened(together, machine, windows), seconds, seed) is not False:
        return ""
    for window in windows[:CLOSURES]:  # the longest first
        if _impossible(opened(together, machine, [window]), seconds / CLOSURES, seed) is False:
            a, b = (problem.clock(at) for at in window)
            return f"machine {machine.name} is closed from {a} until {b}"
    return f"machine {machine.name} is closed {len(windows)} times before {problem.clock(last)}"


def _fullest(problem: Problem) -> str:
    """The machine with most work of what cannot go together."""
    load = dict.fromkeys((m.name for m in problem.machines), 0)
    for order in problem.orders:
        for operation in order.operations:
            name, work = min(operation.machines.items(), key=lambda row: row[1])
            load[name] += work
    return f"machine {max(load, key=lambda n: load[n])}"
