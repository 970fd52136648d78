"""Says what is wrong with a schedule, from the problem alone: shares no line with whatever made the schedule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from gemel.policies.schedule.problem import Machine, Order, Problem, Schedule, Task, Visit, Window


def cost(problem: Problem, schedule: Schedule) -> int:
    """What the schedule costs by the problem's prices."""
    ends = schedule.ends()
    late = sum(o.weight * max(0, ends.get(o.name, o.due) - o.due) for o in problem.orders if o.due is not None)
    starts = {v.service: v.start for v in schedule.visits}
    done = sum(s.cost(starts[s.name]) for s in problem.services if s.name in starts)
    skipped = sum(s.skip or 0 for s in problem.services if s.name not in starts)
    return problem.makespan * schedule.makespan + late + done + skipped


def verify(problem: Problem, schedule: Schedule) -> list[str]:
    """Every rule that the schedule breaks, a line each; an empty list says that it may be carried out."""
    if wrong := _complete(problem, schedule):
        return wrong  # the other rules speak of operations that are there once
    frozen = {(t.order, t.step): t for t in problem.frozen}
    for task in schedule.tasks:
        given = frozen.get((task.order, task.step))
        if given is None:
            wrong += _task(problem, task)
        elif task != given:
            wrong.append(f"{_said(task)} has begun before and was moved")
    for order in problem.orders:
        wrong += _order(
            problem, order, sorted((t for t in schedule.tasks if t.order == order.name), key=lambda t: t.step)
        )
    for machine in problem.machines:
        visits = [v for v in schedule.visits if v.machine == machine.name]
        wrong += _machine(machine, problem, schedule.on(machine.name), visits)
    wrong += _services(problem, schedule.visits)
    if (found := cost(problem, schedule)) != schedule.cost:
        wrong.append(f"it says that it costs {schedule.cost}, and costs {found}")
    return wrong


def _said(task: Task) -> str:
    return f"order '{task.order}' step {task.step}"


def _complete(problem: Problem, schedule: Schedule) -> list[str]:
    wanted = sorted((o.name, step) for o in problem.orders for step in range(len(o.operations)))
    held = sorted((t.order, t.step) for t in schedule.tasks)
    wrong = [f"order '{name}' step {step} is missing" for name, step in wanted if (name, step) not in held]
    wrong += [f"order '{name}' step {step} is not in the book" for name, step in held if (name, step) not in wanted]
    wrong += [
        f"order '{name}' step {step} is done twice" for name, step in sorted(set(held)) if held.count((name, step)) > 1
    ]
    known = [s.name for s in problem.services]
    done = [v.service for v in schedule.visits]
    wrong += [f"service '{n}' is not known" for n in done if n not in known]
    wrong += [f"service '{n}' is done twice" for n in set(done) if done.count(n) > 1]
    wrong += [f"service '{s.name}' must be done" for s in problem.services if s.skip is None and s.name not in done]
    return wrong


def _task(problem: Problem, task: Task) -> Iterator[str]:
    order = problem.order(task.order)
    choices = order.operations[task.step].machines
    if task.machine not in choices:
        yield f"{_said(task)} cannot be done on {task.machine}"
        return
    machine, work = problem.machine(task.machine), choices[task.machine]
    if task.start < max(order.release, problem.now):
        yield f"{_said(task)} starts at {task.start}, before it may"
    closed = _closed_ticks(machine, (task.start, task.end))
    if closed and not machine.resumable and work:
        yield f"{_said(task)} runs while {machine.name} is closed"
    if task.end - task.start - closed != work:
        yield f"{_said(task)} is given {task.end - task.start - closed} ticks of {work}"
    if (
        work
        and closed
        and (_closed_ticks(machine, (task.start, task.start + 1)) or _closed_ticks(machine, (task.end - 1, task.end)))
    ):
        yield f"{_said(task)} starts or ends while {machine.name} is closed"


def _order(problem: Problem, order: Order, tasks: Sequence[Task]) -> Iterator[str]:
    begun = len([t for t in problem.frozen if t.order == order.name])
    for before, after in pairwise(tasks):
        if after.start < before.end and after.step >= begun:
            yield f"{_said(after)} starts at {after.start}, before step {before.step} ends at {before.end}"
    if order.deadline is not None and tasks[-1].end > order.deadline and begun < len(tasks):
        yield f"order '{order.name}' ends at {tasks[-1].end}, its deadline is {order.deadline}"


def _machine(machine: Machine, problem: Problem, tasks: Sequence[Task], visits: Sequence[Visit]) -> Iterator[str]:
    begun = {(t.order, t.step) for t in problem.frozen}
    facts = {v.service for v in problem.visited}
    held = [((v.start, v.end), f"service '{v.service}'", v.service in facts) for v in visits]
    for task in tasks:
        known = (task.order, task.step) in begun
        held += [((task.start, task.end), _said(task), known)] if task.start < task.end else []
        if task.setup and task.setup[0] < task.setup[1]:
            held.append((task.setup, f"the set-up for {_said(task)}", known))
    latest, who = -math.inf, ""
    for (start, end), name, known in sorted(held):
        if start < latest and not known:  # what has begun is as it is
            yield f"{machine.name}: {name} starts at {start}, while {who} lasts until {latest:g}"
        if end > latest:
            latest, who = end, name
    family, free = machine.family, 0
    for task in tasks:
        wanted = problem.order(task.order).operations[task.step].family
        needed = machine.setups.get((family, wanted), 0)
        if (task.order, task.step) not in begun and needed:
            start, end = task.setup or (task.start, task.start)
            if end - start < needed:
                yield f"{machine.name}: {needed} ticks of set-up before {_said(task)} are missing"
            elif start < max(free, problem.now) or end > task.start:
                yield f"{machine.name}: the set-up for {_said(task)} is not between the operation before and it"
            elif _closed_ticks(machine, (start, end)):
                yield f"{machine.name}: the set-up for {_said(task)} is done while it is closed"
        family, free = wanted, task.end


def _services(problem: Problem, visits: Sequence[Visit]) -> Iterator[str]:
    services = {s.name: s for s in problem.services}
    begun = {v.service: v for v in problem.visited}
    yield from (f"service '{n}' has begun before and was moved" for n, v in begun.items() if v not in visits)
    for visit in visits:
        service = services[visit.service]
        if visit.service in begun:
            continue
        if visit.machine != service.machine or visit.end - visit.start != service.duration:
            yield f"service '{visit.service}' is not {service.duration} ticks on {service.machine}"
        if visit.start < problem.now:
            yield f"service '{visit.service}' starts at {visit.start}, before it may"
        if service.windows and not any(a <= visit.start and visit.end <= b for a, b in service.windows):
            yield f"service '{visit.service}' at {visit.start} is in none of its windows"
    for at in sorted({v.start for v in visits}):
        people = sum(services[v.service].crew for v in visits if v.start <= at < v.end)
        if people > problem.crew:
            yield f"services at {at} need {people} people, the crew is {problem.crew}"
        for part, rows in problem.stock.items():
            taken = sum(services[v.service].parts.get(part, 0) for v in visits if v.start <= at)
            there = sum(count for since, count in rows if since <= at)
            if taken > there:
                yield f"services until {at} take {taken} of spare part '{part}', there are {there}"


def _closed_ticks(machine: Machine, window: Window) -> int:
    """How many ticks of the window the machine is closed; closures may overlap each other."""
    start, end = window
    total, at = 0, start
    for a, b in sorted(machine.closed):
        low, high = max(a, at), min(b, end)
        if low < high:
            total += high - low
            at = high
    return total
