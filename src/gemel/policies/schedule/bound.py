"""A bound from a second way: relaxations solved exactly, without the solver.

A machine alone, its operations interruptible, each with a head (what its order needs before) and a tail (what comes
after): Jackson's preemptive schedule is the optimum of that (Carlier 1982), and no schedule is shorter. An order alone
in the shop: nothing can finish earlier, so neither can its lateness cost less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from heapq import heappop, heappush

from gemel.policies.schedule.calendar import fit, worked
from gemel.policies.schedule.dispatch import Shop
from gemel.policies.schedule.problem import Machine, Order, Problem, Window


def bound(problem: Problem) -> int:
    """No schedule of the problem costs less than this."""
    shop = Shop.of(problem)
    alone = {o.name: finish(problem, o, shop) for o in problem.orders}
    late = sum(o.weight * max(0, alone[o.name] - o.due) for o in problem.orders if o.due is not None)
    done = {v.service: v for v in problem.visited}
    services = 0
    for service in problem.services:
        if service.name in done:
            services += service.cost(done[service.name].start)
            continue
        starts = [problem.now, *(at for at, _ in service.costs if at > problem.now)]
        choices = [service.cost(at) for at in starts] + ([] if service.skip is None else [service.skip])
        services += min(choices)
    longest = max([*alone.values(), *(_machine(problem, m.name, shop) for m in problem.machines)], default=0)
    return problem.makespan * longest + late + services


def finish(problem: Problem, order: Order, shop: Shop) -> int:
    """When an order could be done, had it the shop and its calendars to itself after what is frozen."""
    return shop.ended[order.name] if order.name in shop.ended else _steps(problem, order, shop)[-1]


def _steps(problem: Problem, order: Order, shop: Shop) -> list[int]:
    """The earliest end of each step that is left, the end of the last frozen one before them."""
    at = shop.ready[order.name]
    found = [at]
    resumable = {m.name: m.resumable for m in problem.machines}
    for operation in order.operations[shop.step[order.name] :]:
        at = min(
            fit(shop.closed[name], max(at, shop.free[name]), work, resumable[name])[1]
            for name, work in operation.machines.items()
        )
        found.append(at)
    return found


def _machine(problem: Problem, name: str, shop: Shop) -> int:
    """The makespan bound of one machine, closures left out but for the heads."""
    jobs = []
    for order in problem.orders:
        begun = shop.step[order.name]
        heads = _steps(problem, order, shop)
        left = order.operations[begun:]
        for i, operation in enumerate(left):
            if list(operation.machines) == [name]:
                tail = sum(min(o.machines.values()) for o in left[i + 1 :])
                jobs.append((max(heads[i], shop.free[name]), operation.machines[name], tail))
    return jackson(jobs)


def jackson(jobs: list[tuple[int, int, int]]) -> int:
    """The least makespan of one machine with interruptions; `jobs` are rows (head, work, tail)."""
    waiting: list[tuple[int, int]] = []  # (-tail, work left)
    rows = sorted(jobs)
    at, i, longest = 0, 0, 0
    while i < len(rows) or waiting:
        if not waiting:
            at = max(at, rows[i][0])
        while i < len(rows) and rows[i][0] <= at:
            heappush(waiting, (-rows[i][2], rows[i][1]))
            i += 1
        tail, left = heappop(waiting)
        until = min(at + left, rows[i][0]) if i < len(rows) else at + left
        if until < at + left:
            heappush(waiting, (tail, left - (until - at)))
        else:
            longest = max(longest, until - tail)
        at = until
    return longest


def alone(problem: Problem) -> str:
    """Which orders cannot keep their deadline even where nothing else is to be done, and why; "" where all can."""
    return "; ".join(text for order in problem.orders if (text := _alone(problem, order)))


def overload(problem: Problem) -> str:
    """A machine and a window into which orders with deadlines put more work than it is open; "" where there is none."""
    shop = Shop.of(problem)
    for machine in problem.machines:
        rows = []  # (earliest start, latest end, work, order) of what only this machine can do
        for order in problem.orders:
            left = order.operations[shop.step[order.name] :]
            heads = _steps(problem, order, shop)
            for i, operation in enumerate(left):
                if order.deadline is not None and list(operation.machines) == [machine.name]:
                    after = sum(min(o.machines.values()) for o in left[i + 1 :])
                    since = max(heads[i], shop.free[machine.name])
                    rows.append((since, order.deadline - after, operation.machines[machine.name], order.name))
        for since in sorted({row[0] for row in rows}):
            inside = sorted((row for row in rows if row[0] >= since), key=lambda row: row[1])
            work = 0
            for n, row in enumerate(inside):
                work += row[2]
                there = worked(shop.closed[machine.name], since, row[1])
                if work > there:
                    few = inside[: n + 1]
                    for spare in sorted(few, key=lambda r: r[2]):  # as few as are still too many
                        if work - spare[2] > there:
                            few.remove(spare)
                            work -= spare[2]
                    names = ", ".join(f"'{name}'" for name in dict.fromkeys(r[3] for r in few))
                    window = f"between {problem.clock(since)} and {problem.clock(row[1])}"
                    said = f"orders {names} cannot all be done by their deadlines: {window} machine {machine.name} has"
                    said = f"{said} {problem.span(work)} of work and is open for {problem.span(max(there, 0))}"
                    return said + _longest(problem, machine, since, row[1])
    return ""


def _longest(problem: Problem, machine: Machine, since: int, until: int) -> str:
    """The longest closure in a window, said."""
    windows = [w for w in machine.closed if w[0] < until and since < w[1]]
    if not windows:
        return ""
    a, b = max(windows, key=lambda w: w[1] - w[0])
    return f", it is closed from {problem.clock(a)} until {problem.clock(b)}"


def _alone(problem: Problem, order: Order) -> str:
    """What keeps an order from its deadline even where nothing else is to be done; "" where it can be kept."""
    if order.deadline is None:
        return ""
    earliest = finish(problem, order, Shop.of(problem))
    if earliest <= order.deadline:
        return ""
    said = f"order '{order.name}' cannot be done by {problem.clock(order.deadline)}"
    names = {name for operation in order.operations for name in operation.machines}
    shut = [
        f"machine {m.name} is closed from {problem.clock(w[0])} until {problem.clock(w[1])}"
        for m in problem.machines
        if m.name in names
        for w in m.closed
        if finish(opened(problem, m, [w]), order, Shop.of(opened(problem, m, [w]))) <= order.deadline
    ]
    free = replace(problem, machines=tuple(replace(m, closed=()) for m in problem.machines))
    if not shut and finish(free, order, Shop.of(free)) <= order.deadline:
        shut = [f"{' and '.join(sorted(names))} are closed too long"]
    soonest = problem.clock(finish(free, order, Shop.of(free)))
    why = shut[0] if shut else f"its work alone, on machines that never closed, would end at {soonest}"
    return f"{said}: {why}" + (f" (alone in the shop it would be done at {problem.clock(earliest)})" if shut else "")


def opened(problem: Problem, machine: Machine, windows: Sequence[Window]) -> Problem:
    """The problem without these closures of a machine."""
    opened = replace(machine, closed=tuple(w for w in machine.closed if w not in windows))
    return replace(problem, machines=tuple(opened if m is machine else m for m in problem.machines))
