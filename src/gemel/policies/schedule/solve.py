"""A schedule from CP-SAT, verified; and a new one after the world has changed.

CP-SAT begins from the best schedule of the shop floor's rules, and that one is the answer where it finds nothing better
in time. Whatever is answered has passed `verify`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

from gemel.core.errors import Conflict, InputError, PartError
from gemel.policies.schedule.bound import alone, bound, overload
from gemel.policies.schedule.calendar import fit, merged, worked
from gemel.policies.schedule.dispatch import dispatch, follow, rules
from gemel.policies.schedule.problem import Machine, Problem, Schedule, check
from gemel.policies.schedule.verify import verify

LARGE = 3000  # variables, from which on probing before the search would take all the time
COUNTED = 0.1  # what the solver counts for a second's work of one core
TURNS = 4  # strategies that take turns where work is counted
PATIENCE = 10  # times the limit, after which counted work is cut off by the clock all the same
MARGIN_S = 0.3  # of the limit, kept for reading and verifying the answer, and as much again ...
PER_MARGIN = 300  # ... for so many operations
RELAX = "relax a deadline, add a shift, or take an order out"


def solve(
    problem: Problem,
    seconds: float = 10.0,
    seed: int = 0,
    *,
    hint: Schedule | None = None,
    workers: int = 0,
    repeatable: bool = False,
) -> Schedule:
    """The cheapest schedule found in `seconds`; `hint` is an earlier one to begin from.

    `workers`: strategies that search side by side; 0: one a core. `repeatable`: a few strategies take turns in one
    thread and their work is counted instead of the time, so that the same call gives the same schedule; `seconds` is
    then about right for a core of today.

    Raises `Conflict` that names the orders and machines when no schedule keeps every deadline, or says that none was
    found in time, and `InputError` for a problem that does not hold together.
    """
    began = perf_counter()
    check(problem)
    rough = [dispatch(problem, rule) for rule in rules(problem).values()] + ([follow(problem, hint)] if hint else [])
    held = [s for s in rough if not verify(problem, s)]
    start = min(held, key=lambda s: s.cost) if held else None
    second = bound(problem)
    if start is not None and start.cost <= second:
        return _claimed(problem, start, second, second, "dispatch", began)
    if start is None and (text := alone(problem) or overload(problem)):
        raise Conflict(text, RELAX)
    margin = MARGIN_S * (1 + sum(len(o.operations) for o in problem.orders) / PER_MARGIN)
    limit = seconds - (0.0 if repeatable else perf_counter() - began + margin)
    nearest = start or min(rough, key=lambda s: _overdue(problem, s))
    found, lower, proved = search(problem, limit, seed, nearest, workers, repeatable)
    if found is None and proved and start is not None:
        lower = second  # it says that there is no schedule, and here is one
    elif found is None and proved:
        from gemel.policies.schedule.conflict import conflict

        raise Conflict(conflict(problem, max(seconds, 2.0), seed), RELAX)
    if found is not None and (wrong := verify(problem, found)):
        if start is None:
            raise PartError(f"the solver's schedule does not hold: {wrong[0]}", "please report it with the problem")
        found = None  # what was said of a wrong schedule is not believed either
        lower = second
    if found is None or (start is not None and start.cost < found.cost):
        if start is None:
            raise Conflict(
                f"no schedule that keeps every deadline was found in {seconds:g} s", f"wait longer, or {RELAX}"
            )
        return _claimed(problem, start, lower, second, "dispatch", began)
    return _claimed(problem, found, lower, second, "cp-sat", began)


def search(
    problem: Problem, seconds: float, seed: int, start: Schedule | None, workers: int, repeatable: bool
) -> tuple[Schedule | None, int, bool]:
    """(what CP-SAT found, its bound, whether it says that it has proved its answer, be it that there is none).

    It begins from `start`, a schedule that may be late, and no more than that."""
    began = perf_counter()
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise InputError(
            "schedules need a package that is not installed: ortools", "pip install 'gemel[schedule]'"
        ) from error
    from gemel.policies.schedule.model import Model, horizon

    timed = any(o.due is not None or o.deadline is not None for o in problem.orders) or problem.services
    model = Model(problem, start.makespan if start and problem.makespan and not timed else horizon(problem))
    if start is not None:
        model.hint(start)
    solver = cp_model.CpSolver()
    tune(solver.parameters, seed, workers, repeatable, seconds - (0.0 if repeatable else perf_counter() - began))
    if len(model.says) > LARGE:
        solver.parameters.cp_model_probing_level = 0
    status = solver.solve(model.cp)
    if status == cp_model.MODEL_INVALID:
        raise PartError("the solver does not take the model", str(model.cp.validate()))
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return model.read(solver.value), _up(solver.best_objective_bound), status == cp_model.OPTIMAL
    return None, bound(problem), status == cp_model.INFEASIBLE


def tune(parameters: Any, seed: int, workers: int, repeatable: bool, seconds: float) -> None:
    """How CP-SAT searches."""
    parameters.random_seed = seed
    parameters.num_workers = workers or (TURNS if repeatable else os.cpu_count() or 1)
    if repeatable:
        parameters.interleave_search = parameters.num_workers > 1
        parameters.max_deterministic_time = COUNTED * seconds
        seconds *= PATIENCE
    parameters.max_time_in_seconds = max(seconds, 0.05)


def reschedule(
    problem: Problem,
    schedule: Schedule,
    now: int,
    down: Mapping[str, int] | None = None,
    interrupted: str = "resume",
) -> Problem:
    """The problem that is left at `now`: what has begun by `schedule` stays, what runs goes on where it is.

    `down`: machine -> when it is back, for machines that have broken down just now. What one of them was working on
    goes on when it is back (`interrupted = "resume"`), or is begun anew wherever it can be (`"restart"`). Give the
    result to `solve` with `hint=schedule`; orders and machines may be replaced before.
    """
    if interrupted not in ("resume", "restart"):
        raise InputError(f"interrupted is 'resume' or 'restart', not '{interrupted}'")
    back = dict(down or {})
    names = [m.name for m in problem.machines]
    if unknown := [n for n in back if n not in names]:
        raise InputError(f"there is no machine '{unknown[0]}'", f"known: {', '.join(names)}")
    frozen = []
    for task in schedule.tasks:
        if task.start >= now:
            continue
        if task.end > now and task.machine in back:
            if interrupted == "restart":
                continue
            closed = merged(problem.machine(task.machine).closed)
            work = problem.order(task.order).operations[task.step].machines.get(task.machine, 0)
            left = min(worked(closed, now, task.end), work)
            task = replace(task, end=fit(closed, max(back[task.machine], now), left, True)[1])
        frozen.append(task)
    machines = tuple(_broken(m, now, back.get(m.name, now)) for m in problem.machines)
    visited = tuple(v for v in schedule.visits if v.start < now)
    return replace(problem, machines=machines, now=now, frozen=tuple(frozen), visited=visited)


def _broken(machine: Machine, now: int, until: int) -> Machine:
    return replace(machine, closed=(*machine.closed, (now, until))) if until > now else machine


def _claimed(problem: Problem, found: Schedule, lower: int, second: int, by: str, began: float) -> Schedule:
    """With its bounds, and no more said about it than two independent ways agree on."""
    if wrong := verify(problem, found):
        raise PartError(f"the schedule does not hold: {wrong[0]}", "please report it with the problem")
    if second > found.cost:
        raise PartError(
            f"a schedule of cost {found.cost} is below its bound {second}", "please report it with the problem"
        )
    lower = max(lower, second)
    claim = "optimal" if found.cost == second else "best known bound"
    return replace(found, bound=lower, second=second, claim=claim, by=by, seconds=perf_counter() - began)


def _overdue(problem: Problem, schedule: Schedule) -> int:
    """Ticks after deadlines."""
    ends = schedule.ends()
    return sum(max(0, ends[o.name] - o.deadline) for o in problem.orders if o.deadline is not None)


def _up(value: float) -> int:
    return -int(-(value - 1e-6) // 1)
