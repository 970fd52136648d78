from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, permutations, product
from time import perf_counter

import pytest

from gemel.core.errors import Conflict, InputError
from gemel.policies.schedule import (
    Machine,
    Operation,
    Order,
    Problem,
    Schedule,
    Service,
    Task,
    Visit,
    cost,
    flow_shop,
    job_shop,
    reschedule,
    solve,
    verify,
)
from gemel.policies.schedule.bound import bound, jackson, overload
from gemel.policies.schedule.calendar import fit, merged, starts, worked
from gemel.policies.schedule.dispatch import best_rule, dispatch, follow, rules

FT06 = """
# Fisher and Thompson 1963
6 6
2 1 0 3 1 6 3 7 5 3 4 6
1 8 2 5 4 10 5 10 0 10 3 4
2 5 3 4 5 8 0 9 1 1 4 7
1 5 0 5 2 5 3 3 4 8 5 9
2 9 1 3 4 5 5 4 0 3 3 1
1 3 3 3 5 9 0 10 4 4 2 1
"""


def book(*orders: Order, closed: tuple[tuple[int, int], ...] = (), **more: object) -> Problem:
    return Problem((Machine("saw", closed), Machine("mill")), orders, **more)  # type: ignore[arg-type]


def order(name: str, *works: tuple[str, int], **more: object) -> Order:
    return Order(name, tuple(Operation({m: t}) for m, t in works), **more)  # type: ignore[arg-type]


# -- an oracle that tries everything, tick by tick --------------------------------------------------------------------


def shut(machine: Machine, tick: int) -> bool:
    return any(a <= tick < b for a, b in machine.closed)


def placed(machine: Machine, since: int, work: int, pausing: bool) -> tuple[int, int]:
    for start in count(since):
        ticks, at = 0, start
        while ticks < work and (pausing or not shut(machine, at)):
            ticks, at = ticks + (not shut(machine, at)), at + 1
        if ticks == work and not shut(machine, start):
            return start, at
    raise AssertionError


def timetable(
    problem: Problem, sequence: tuple[str, ...], chosen: tuple[str, ...], visits: tuple[Visit, ...]
) -> Schedule:
    machines = {
        m.name: replace(m, closed=(*m.closed, *((v.start, v.end) for v in visits if v.machine == m.name)))
        for m in problem.machines
    }
    free, family = dict.fromkeys(machines, 0), {m.name: m.family for m in problem.machines}
    ready = {o.name: o.release for o in problem.orders}
    step = dict.fromkeys(ready, 0)
    tasks = []
    for name, on in zip(sequence, chosen, strict=True):
        machine, operation = machines[on], problem.order(name).operations[step[name]]
        if on not in operation.machines:
            return Schedule(())
        before = None
        if needed := machine.setups.get((family[on], operation.family), 0):
            before = placed(machine, free[on], needed, False)
        since = max(ready[name], free[on] if before is None else before[1])
        start, end = placed(machine, since, operation.machines[on], machine.resumable)
        while any(v.machine == on and v.start < end and start < v.end for v in visits):  # it cannot wait on the machine
            start, end = placed(machine, start + 1, operation.machines[on], machine.resumable)
        tasks.append(Task(name, step[name], on, start, end, before))
        step[name], ready[name], free[on], family[on] = step[name] + 1, end, end, operation.family
    done = {v.service for v in visits}
    found = Schedule(tuple(tasks), visits, tuple(s.name for s in problem.services if s.name not in done))
    return replace(found, cost=cost(problem, found))


def everything(problem: Problem, until: int) -> Iterator[Schedule]:
    steps = [o.name for o in problem.orders for _ in o.operations]
    moments = [[None] * (s.skip is not None) + list(range(until)) for s in problem.services]
    for at in product(*moments):
        visits = tuple(
            Visit(s.name, s.machine, t, t + s.duration)
            for s, t in zip(problem.services, at, strict=True)
            if t is not None
        )
        for sequence in sorted(set(permutations(steps))):
            for chosen in product([m.name for m in problem.machines], repeat=len(steps)):
                yield timetable(problem, sequence, chosen, visits)


def small(seed: int) -> Problem:
    draw = random.Random(seed)
    machines = tuple(
        Machine(
            name,
            tuple(
                (a, a + draw.randint(1, 3)) for a in (draw.randint(0, 4), draw.randint(8, 12)) if draw.random() < 0.6
            ),
            {("a", "b"): draw.randint(0, 3), ("b", "a"): draw.randint(1, 2)} if draw.random() < 0.6 else {},
            draw.choice(["", "a", "b"]),
            draw.random() < 0.5,
        )
        for name in ("M0", "M1")
    )
    orders = tuple(
        Order(
            f"O{i}",
            tuple(
                Operation(
                    {n: draw.randint(1, 4) for n in draw.choice([["M0"], ["M1"], ["M0", "M1"]])}, draw.choice("ab")
                )
                for _ in range(n)
            ),
            draw.randint(0, 3),
            draw.randint(3, 12) if draw.random() < 0.7 else None,
            draw.randint(1, 3),
        )
        for i, n in enumerate((2, 1, 1))
    )
    services = (
        (
            Service(
                "care", "M0", 2, ((1, 9),), ((0, 3), (5, draw.randint(0, 6))), draw.choice([None, 4]), 1, {"belt": 1}
            ),
        )
        if seed % 3 == 0
        else ()
    )
    return Problem(machines, orders, services, 1, {"belt": ((2, 1),)}, makespan=draw.randint(0, 2))


@pytest.mark.parametrize("seed", range(9))
def test_no_schedule_that_verifies_is_cheaper(seed: int) -> None:
    problem = small(seed)
    every = [s for s in everything(problem, 9) if s.tasks and not verify(problem, s)]
    best = min(s.cost for s in every)
    found = solve(problem, 20, workers=1)
    assert found.cost == best == found.bound
    assert not verify(problem, found)
    assert bound(problem) <= best
    assert all(not verify(problem, dispatch(problem, rule)) for rule in rules(problem).values())


# -- the field's own ---------------------------------------------------------------------------------------------------


def test_ft06_is_solved_to_its_optimum_and_not_called_so_on_one_word() -> None:
    problem = job_shop(FT06)
    found = solve(problem, 20, workers=4)
    assert (found.makespan, found.cost, found.bound) == (55, 55, 55)
    assert found.second == 52  # Carlier and Pinson's bound at the root
    assert found.claim == "best known bound"
    assert best_rule(problem).cost < 1.2 * 55


def test_a_flow_shop_of_two_machines_is_johnsons() -> None:
    times = [(3, 6), (5, 2), (1, 2), (6, 6), (7, 5)]
    first, second = sorted((t for t in times if t[0] < t[1]), key=lambda t: t[0]), [t for t in times if t[0] >= t[1]]
    a = b = 0
    for x, y in [*first, *sorted(second, key=lambda t: -t[1])]:
        a += x
        b = max(a, b) + y
    found = solve(flow_shop(times), 10, workers=1)
    assert found.makespan == b
    assert found.claim == ("optimal" if bound(flow_shop(times)) == b else "best known bound")


def test_one_machine_alone_is_jacksons() -> None:
    # seven jobs of Carlier 1982, whose preemptive optimum is 49; it is the largest over all sets of jobs of their least
    # head, their work and their least tail
    rows = [(10, 5, 7), (13, 6, 26), (11, 7, 24), (20, 4, 21), (30, 3, 8), (0, 6, 17), (30, 2, 0)]
    assert jackson(rows) == 49
    draw = random.Random(2)
    for _ in range(30):
        rows = [(draw.randint(0, 20), draw.randint(1, 9), draw.randint(0, 20)) for _ in range(7)]
        sets = [[r for i, r in enumerate(rows) if n >> i & 1] for n in range(1, 2**7)]
        assert jackson(rows) == max(min(r[0] for r in s) + sum(r[1] for r in s) + min(r[2] for r in s) for s in sets)


def test_weighted_tardiness_of_one_machine_follows_the_ratio_of_smith() -> None:
    # all due at once: the order of weight by work is optimal
    rows = [(4, 1), (2, 3), (5, 2), (1, 1)]
    problem = book(*(order(f"{i}", ("saw", work), due=0, weight=w) for i, (work, w) in enumerate(rows)), makespan=0)
    best, at = 0, 0
    for work, weight in sorted(rows, key=lambda r: r[0] / r[1]):
        at += work
        best += weight * at
    assert solve(problem, 10, workers=1).cost == best


# -- calendars ---------------------------------------------------------------------------------------------------------


def test_starts_says_what_trying_every_start_says() -> None:
    draw = random.Random(4)
    for _ in range(60):
        windows = tuple(
            (a, a + draw.randint(1, 4)) for a in (draw.randint(0, 8), draw.randint(8, 20), draw.randint(18, 30))
        )
        closed, work, since = merged(windows), draw.randint(1, 8), draw.randint(0, 5)
        machine = Machine("M", windows)
        for resumable in (False, True):
            said = {s: p for a, b, p in starts(closed, work, since, 40, resumable) for s in range(a, b + 1)}
            tried = {}
            for start in range(since, 41):
                if (span := placed(machine, start, work, resumable))[0] == start:
                    tried[start] = span[1] - start - work
            assert said == tried
            assert fit(closed, since, work, resumable) == placed(machine, since, work, resumable)
            assert worked(closed, since, 40) == sum(not shut(machine, t) for t in range(since, 40))


def test_an_operation_waits_for_a_shift_that_is_long_enough_unless_it_may_be_interrupted() -> None:
    closed = ((4, 10), (20, 30))
    long = order("17", ("saw", 8))
    assert solve(book(long, closed=closed)).tasks[0].start == 10
    resumable = replace(book(long), machines=(Machine("saw", closed, resumable=True),))
    assert (solve(resumable).tasks[0].start, solve(resumable).tasks[0].end) == (0, 14)


# -- what is wrong is found --------------------------------------------------------------------------------------------

SOUND = Problem(
    (Machine("saw", ((10, 12),), {("red", "blue"): 2}, "red"), Machine("mill")),
    (
        Order("1", (Operation({"saw": 3}, "red"), Operation({"mill": 4})), deadline=30),
        Order("2", (Operation({"saw": 3}, "blue"),)),
    ),
    (Service("oil", "mill", 2, ((0, 20),), (), None, 1, {"belt": 1}),),
    1,
    {"belt": ((1, 1),)},
)


def test_every_kind_of_mistake_is_named() -> None:
    found = solve(SOUND, 10, workers=1)
    assert verify(SOUND, found) == []
    tasks = {(t.order, t.step): t for t in found.tasks}
    saw, mill, blue = tasks["1", 0], tasks["1", 1], tasks["2", 0]

    def said(*changed: Task, visits: tuple[Visit, ...] = found.visits, problem: Problem = SOUND) -> str:
        table = tasks | {(t.order, t.step): t for t in changed}
        broken = replace(found, tasks=tuple(table.values()), visits=visits)
        return "; ".join(verify(problem, replace(broken, cost=cost(problem, broken))))

    assert "given 2 ticks of 3" in said(replace(saw, end=saw.end - 1))
    assert "before step 0 ends" in said(replace(mill, start=0, end=4))
    assert "while order" in said(replace(blue, start=saw.start, end=saw.end))
    assert "closed" in said(replace(blue, start=10, end=13, setup=(8, 10)))
    assert "set-up before order '2' step 0 are missing" in said(replace(blue, setup=None))
    assert "deadline" in said(replace(mill, start=40, end=44))
    assert "cannot be done on mill" in said(replace(blue, machine="mill"))
    assert "before it may" in said(problem=replace(SOUND, now=saw.start + 1))
    assert "must be done" in said(visits=())
    assert "none of its windows" in said(visits=(Visit("oil", "mill", 19, 21),))
    assert "spare part 'belt'" in said(visits=(Visit("oil", "mill", 0, 2),))
    assert "the crew is 0" in said(problem=replace(SOUND, crew=0))
    assert "done twice" in "; ".join(verify(SOUND, replace(found, tasks=(*found.tasks, saw))))
    assert "is missing" in "; ".join(verify(SOUND, replace(found, tasks=found.tasks[1:])))
    assert "costs" in "; ".join(verify(SOUND, replace(found, cost=found.cost - 1)))
    assert "was moved" in said(
        replace(blue, start=blue.start + 20, end=blue.end + 20), problem=replace(SOUND, frozen=(blue,))
    )


def test_a_problem_that_does_not_hold_together_says_all_of_it() -> None:
    wrong = book(order("1", ("sow", 3)), order("1", ("saw", -1)), Order("2", ()))
    with pytest.raises(InputError) as caught:
        solve(wrong)
    for words in (
        "there is no machine 'sow', did you mean 'saw'?",
        "order '1' stands twice",
        "below zero",
        "no operations",
    ):
        assert words in caught.value.message
    with pytest.raises(InputError, match="pairs of a machine"):
        job_shop("2 2\n0 1 7 3\n0 1 1 2")


# -- an order book that cannot be kept ---------------------------------------------------------------------------------


def test_the_closure_that_keeps_an_order_from_its_deadline_is_named() -> None:
    problem = book(order("17", ("saw", 30), ("mill", 20), deadline=90), order("9", ("mill", 5)), closed=((20, 80),))
    with pytest.raises(Conflict) as caught:
        solve(problem, 5)
    said = "order '17' cannot be done by 90: machine saw is closed from 20 until 80"
    assert caught.value.message == f"{said} (alone in the shop it would be done at 130)"


def test_orders_that_cannot_go_together_are_named_and_no_others() -> None:
    fine = [order(f"ok{i}", ("mill", 5), deadline=200) for i in range(4)]
    three = [order(name, ("saw", work), deadline=60) for name, work in (("3", 20), ("5", 20), ("8", 15))]
    with pytest.raises(Conflict) as caught:  # 55 ticks of work in 56 open ones, but no two fit before the closure
        solve(book(*fine, *three, closed=((28, 32),)), 10, workers=2)
    said = caught.value.message
    assert "'3' by 60" in said
    assert "'5' by 60" in said
    assert "'8' by 60" in said
    assert "ok" not in said
    assert "machine saw is closed from 28 until 32; any one of them fewer could be. It could be done with" in said


def test_a_machine_with_more_work_than_open_time_is_named_without_a_search() -> None:
    fine = [order(f"ok{i}", ("saw", 2), deadline=52) for i in range(3)]
    both = [order("3", ("saw", 30), deadline=50), order("8", ("saw", 25), deadline=52)]
    with pytest.raises(Conflict) as caught:
        solve(book(*fine, *both, closed=((70, 90),)), 10)
    assert caught.value.message == (
        "orders '3', '8' cannot all be done by their deadlines: "
        "between 0 and 52 machine saw has 55 ticks of work and is open for 52 ticks"
    )
    assert overload(book(*fine, both[0])) == ""


def test_times_of_a_conflict_are_those_of_the_clock() -> None:
    problem = book(
        order("17", ("saw", 300), deadline=240), tick=60 * 10**9, origin=1_795_766_400 * 10**9, zone="Europe/Berlin"
    )
    with pytest.raises(Conflict) as caught:
        solve(problem, 5)
    assert caught.value.message == (
        "order '17' cannot be done by Fri 27 Nov 13:00: "
        "its work alone, on machines that never closed, would end at Fri 27 Nov 14:00"
    )


def test_a_service_without_a_moment_is_named() -> None:
    problem = book(order("1", ("saw", 5)), services=(Service("oil", "saw", 10, ((0, 5),)),))
    with pytest.raises(Conflict, match="service 'oil' of saw cannot be done in its windows"):
        solve(problem, 5)


# -- after a breakdown -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interrupted", ["resume", "restart"])
def test_after_a_breakdown_the_past_stays_and_the_rest_is_planned_anew(interrupted: str) -> None:
    problem = job_shop(FT06)
    before = solve(problem, 10, workers=4)
    running = next(t for t in before.tasks if t.start < 20 < t.end)
    left = reschedule(problem, before, 20, {running.machine: 30}, interrupted)
    began = perf_counter()
    after = solve(left, 3, hint=before, workers=4)
    assert perf_counter() - began < 5
    assert not verify(left, after)
    held = {(t.order, t.step): t for t in after.tasks}
    for task in before.tasks:
        if task.start < 20 and task.machine != running.machine:
            assert held[task.order, task.step] == task
    again = held[running.order, running.step]
    if interrupted == "resume":
        assert (again.start, again.end) == (running.start, 30 + running.end - 20)
    else:
        assert again.start >= 30
    assert 55 <= after.cost <= follow(left, before).cost


def test_work_that_a_breakdown_stopped_goes_on_in_open_time() -> None:
    problem = book(order("1", ("saw", 8)), closed=((10, 20),))
    before = solve(problem)
    left = reschedule(problem, before, 3, {"saw": 7})  # 5 ticks are left: 7 to 10, and after the closure
    assert [(t.start, t.end) for t in left.frozen] == [(0, 22)]
    assert not verify(left, solve(left, 5))


def test_without_news_a_new_schedule_is_as_good_as_the_old() -> None:
    problem = replace(SOUND, makespan=1)
    before = solve(problem, 10, workers=1)
    for now in range(0, before.makespan + 2, 3):
        left = reschedule(problem, before, now)
        after = solve(left, 10, hint=before, workers=1)
        assert after.cost == before.cost
        assert not verify(left, after)
    with pytest.raises(InputError, match="there is no machine 'sow'"):
        reschedule(problem, before, 3, {"sow": 9})


def test_the_same_call_gives_the_same_schedule() -> None:
    problem = job_shop(FT06)
    first, again = (solve(problem, 0.3, seed=3, workers=8, repeatable=True) for _ in range(2))
    assert replace(first, seconds=0) == replace(again, seconds=0)


def test_a_service_waits_for_parts_and_people_and_is_left_out_when_that_is_cheaper() -> None:
    work = tuple(order(f"{m}{i}", (m, 10)) for m in ("saw", "mill") for i in range(2))
    care = tuple(Service(f"oil {m}", m, 4, ((0, 20),), (), None, 1, {"belt": 1}) for m in ("saw", "mill"))
    problem = book(*work, services=care, crew=1, stock={"belt": ((0, 1), (10, 1))})
    found = solve(problem, 10, workers=2)
    starts = sorted((v.start, v.end) for v in found.visits)
    assert starts[1][0] >= max(10, starts[0][1])
    assert found.makespan == 24
    dear = replace(problem, services=tuple(replace(s, costs=((0, 50),), skip=3) for s in care))
    assert solve(dear, 10, workers=2).skipped == ("oil saw", "oil mill")
