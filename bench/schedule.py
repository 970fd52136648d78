"""Job shops of the literature: how far a schedule is from the best known, and a new schedule after a breakdown.

ft06, ft10, ft20 (Fisher and Thompson 1963) and la01 to la20 (Lawrence 1984), from the package `jsp-benchmarks`; the
best known makespans are all proved optimal in the literature. Each instance gets `--seconds 60` (less where the solver
is done before), `--only ft10,la01` takes some of them. Every schedule is verified by `policies.schedule.verify`, which
shares nothing with the solver; "optimal" is counted only where a second bound, without the solver, says so too.

Then what a factory has besides: set-ups, shifts, due dates, services (`shop`), and a job shop of 300 operations, abz8.
After a breakdown: a machine is lost for a while in the middle of a schedule; what has begun stays, the rest is searched
for `--limit 5` seconds. The figure is how long the answer took beyond that.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.harness import Bench
from gemel.policies.schedule import (
    Machine,
    Operation,
    Order,
    Problem,
    Schedule,
    Service,
    job_shop,
    reschedule,
    solve,
    verify,
)
from gemel.policies.schedule.dispatch import best_rule, follow

BEST = {
    "ft06": 55, "ft10": 930, "ft20": 1165,
    "la01": 666, "la02": 655, "la03": 597, "la04": 590, "la05": 593,
    "la06": 926, "la07": 890, "la08": 863, "la09": 951, "la10": 958,
    "la11": 1222, "la12": 1039, "la13": 1150, "la14": 1292, "la15": 1207,
    "la16": 945, "la17": 784, "la18": 848, "la19": 842, "la20": 902,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Breakdown:
    """What came of one: seconds beyond the limit, and the makespan over that of the old sequence carried on."""

    beyond: float
    against: float
    wrong: int


def instance(name: str) -> str:
    """The text of an instance."""
    spec = find_spec("jsp_benchmarks")
    if spec is None or spec.origin is None:
        sys.exit(
            "error: the instances are not installed\nhint: pip install jsp-benchmarks (or run: dev.py bench schedule)"
        )
    return (Path(spec.origin).parent / "instances" / name).read_text(encoding="utf-8")


def shop(count: int, seed: int = 1) -> Problem:
    """A shop of 8 machines in two shifts of a working day, minutes from Monday 06:00: half of them wait over night with
    what they have begun, half need set-ups between four families; orders of five operations with due dates and
    weights, some with a choice of machines; services on four machines, one crew."""
    draw = random.Random(seed)
    nights = tuple((day * 1440 + 960, day * 1440 + (1440 if day % 7 < 4 else 4320)) for day in range(28) if day % 7 < 5)
    pairs = [(a, b) for a in "abcd" for b in "abcd" if a != b]
    machines = tuple(
        Machine(f"M{i}", nights, {p: draw.randint(5, 40) for p in pairs} if i % 2 else {}, "a", resumable=not i % 2)
        for i in range(8)
    )
    orders = []
    for i in range(count):
        family = draw.choice("abcd")
        steps = [draw.sample([m.name for m in machines], draw.choice((1, 1, 2))) for _ in range(5)]
        work = tuple(Operation({m: draw.randint(10, 120) for m in step}, family) for step in steps)
        orders.append(Order(str(i), work, 0, draw.randint(600, 100 * count), draw.randint(1, 20)))
    costs = tuple((100 * n, 50 * (n - 20) ** 2) for n in range(1, 60))  # cheapest after a day and a half
    services = tuple(Service(f"S{i}", f"M{i}", 120, (), costs, 100_000, 1) for i in range(4))
    return Problem(machines, tuple(orders), services, crew=1)


def breakdown(problem: Problem, schedule: Schedule, limit: float) -> Breakdown:
    """The machine with most work ahead is lost at a third of the schedule for a tenth of it."""
    now = schedule.makespan // 3
    left = {m.name: sum(t.end - t.start for t in schedule.on(m.name) if t.start >= now) for m in problem.machines}
    changed = reschedule(problem, schedule, now, {max(left, key=lambda m: left[m]): now + schedule.makespan // 10})
    began = time.perf_counter()
    found = solve(changed, limit, hint=schedule)
    took = time.perf_counter() - began
    return Breakdown(took - limit, found.cost / follow(changed, schedule).cost, len(verify(changed, found)))


def option(name: str, default: str) -> str:
    """The word after an option."""
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def main() -> None:
    seconds, limit = float(option("--seconds", "60")), float(option("--limit", "5"))
    names = [n for n in option("--only", ",".join(BEST)).split(",") if n]
    if unknown := [n for n in names if n not in BEST]:
        sys.exit(f"error: there is no instance {unknown[0]}\nhint: known: {', '.join(BEST)}")
    gaps, rough, wrong, twice, schedules = [], [], 0, 0, {}
    with Bench("schedule") as bench:
        for name in names:
            problem = job_shop(instance(name))
            found = solve(problem, seconds)
            schedules[name] = found
            broken = verify(problem, found)
            wrong += bool(broken) or found.makespan < BEST[name]
            twice += found.claim == "optimal"
            gaps.append(100 * (found.makespan / BEST[name] - 1))
            rough.append(100 * (best_rule(problem).makespan / BEST[name] - 1))
            said = f"{name} ({found.claim}, solver {found.bound}, second way {found.second}, {found.seconds:.1f} s)"
            bench.figure(said, found.makespan, "makespan", peer=("best known", BEST[name]))
        goal = "<= 0.3" if seconds >= 60 else ""
        bench.figure(f"mean gap to best known in {seconds:g} s", statistics.mean(gaps), "%", goal=goal,
                     peer=("best of five dispatching rules", statistics.mean(rough)))  # fmt: skip
        bench.figure("largest gap", max(gaps), "%")
        bench.figure("optimal by two ways", twice, f"of {len(names)}")
        large = {"abz8": job_shop(instance("abz8")), "shop of 20 orders": shop(20), "shop of 60 orders": shop(60)}
        large = {} if "--only" in sys.argv else large
        tried = [breakdown(job_shop(instance(n)), schedules[n], limit) for n in names if n in ("ft10", "la16")]
        for name, problem in large.items():
            found = solve(problem, min(seconds, 20.0))
            wrong += bool(verify(problem, found))
            said = f"{name} (at least {found.bound}): cost in {min(seconds, 20.0):g} s"
            bench.figure(said, found.cost, "", peer=("best of five dispatching rules", best_rule(problem).cost))
            tried.append(breakdown(problem, found, limit))
        tried = tried or [breakdown(job_shop(instance(names[0])), schedules[names[0]], limit)]
        bench.figure("schedules that do not hold", wrong, f"of {len(names) + len(large)}", goal="<= 0")
        bench.figure("after a breakdown: seconds beyond the limit", max(b.beyond for b in tried), "s", goal="<= 2")
        bench.figure("after a breakdown: cost to the old sequence's", max(b.against for b in tried), "x", goal="<= 1")
        bench.figure("after a breakdown: schedules that do not hold", sum(b.wrong for b in tried), "", goal="<= 0")


if __name__ == "__main__":
    main()
