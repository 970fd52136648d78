"""The policy `schedule`: which order each machine works on next, from an order book and who is down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from gemel.core.clock import NEVER
from gemel.core.errors import ConfigError, Conflict, GemelError, InputError, nearest
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration, instant_id, spell
from gemel.core.values import Command, Decision, Signals
from gemel.loop.decide import Situation
from gemel.policies.schedule import book as books
from gemel.policies.schedule.book import CENT, HOUR, Book, Scale
from gemel.policies.schedule.problem import Problem, Schedule, Service, Task, Visit
from gemel.policies.schedule.solve import reschedule, solve

MACHINE = {"shifts", "closed", "setups", "family", "resumable", "next", "down", "repair"}


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Services to be planned with the orders, and what they draw on."""

    services: tuple[Service, ...] = ()
    crew: int = 0
    stock: Mapping[str, tuple[tuple[int, int], ...]] | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A problem and its schedule; `trouble` says why it is not the problem that was asked."""

    problem: Problem
    schedule: Schedule
    book: Book
    scale: Scale
    trouble: str = ""
    down: tuple[str, ...] = ()


@declared
class Scheduler:
    """Schedules an order book on machines with shifts, set-ups and due dates, and tells each machine what comes next.

    `book`: JSON or CSV file beside the twin file, read at every decision: orders with `name`, `number` (what a machine
    is told), `release`, `due`, `deadline`, `weight` (what an hour late costs) and `operations` in their order, each
    with `machines` (machine -> duration), `family`, and once it has begun `machine`, `started`, `ended`.
    `machines`: name -> `{ shifts = ["Mon-Fri 06:00-22:00"], closed = [["2026-12-24", "2026-12-27"]],
    setups = { "red>blue" = "20min" }, family = "red", resumable = false, next = "m1_next", down = "m1_down",
    repair = "2h" }`, all of them optional: `next` is the controlled signal that is sent the number of the next order
    (0: none yet), `down` a signal above 0 while the machine is broken, `repair` how long that is taken to last.
    `progress`: "book" (what the book says has begun, has) or "plan" (what an earlier schedule had begin by now, has).
    `interrupted`: what was on a machine that broke down goes on later ("resume") or is begun anew ("restart").
    `makespan`: what an hour until the last order is done costs, beside the weights. `tick`: to what times are rounded.
    `zone`: of shifts and of times without an offset. `lead`: how long before its begin an order is released.
    `expires`: for how long a command is good. `ahead`: how far shifts are laid out. `seconds`: of search.
    `workers`: strategies that search side by side (0: one a core). On a virtual clock the search counts its work
    instead of the time, so that a run can be repeated.

    When no schedule keeps every deadline, the decision names the conflict in `refused` and plans the least lateness.
    Raises `ConfigError` for settings that do not fit.
    """

    def __init__(
        self,
        machines: Mapping[str, Any],
        book: str = "",
        progress: str = "book",
        interrupted: str = "resume",
        makespan: float = 0.1,
        tick: str = "1min",
        zone: str = "UTC",
        lead: str = "1h",
        expires: str = "1h",
        ahead: str = "28d",
        seconds: float = 5.0,
        workers: int = 0,
    ) -> None:
        problems = []
        for name, given in machines.items():
            odd = [key for key in given if key not in MACHINE]
            problems += [f"machine '{name}': unknown key '{key}'{nearest(key, MACHINE)}" for key in odd]
        if not machines:
            problems.append("machines: there are none")
        for key, value, known in (
            ("progress", progress, ("book", "plan")),
            ("interrupted", interrupted, ("resume", "restart")),
        ):
            if value not in known:
                problems.append(f"{key} '{value}' is not one of {', '.join(known)}")
        if seconds <= 0 or workers < 0 or makespan < 0:
            problems.append("seconds must be above zero, workers and makespan not below")
        spans: dict[str, int] = {}
        for key, text in (("tick", tick), ("lead", lead), ("expires", expires), ("ahead", ahead)):
            try:
                spans[key] = duration(text)
            except InputError as error:
                problems.append(f"{key}: {error.message}")
        try:
            scale = Scale(0, spans.get("tick", HOUR), zone)
            ZoneInfo(zone or "UTC")
            for name, given in machines.items():
                books.machine(name, given, scale, HOUR)
                duration(given.get("repair", "2h"))
        except (InputError, TypeError, ValueError) as error:
            problems.append(str(error))
        except KeyError:
            problems.append(f"there is no time zone '{zone}'")
        if problems:
            raise ConfigError(problems, where="policy schedule")
        self.machines = {name: dict(given) for name, given in machines.items()}
        self.book, self.progress, self.interrupted, self.makespan = book, progress, interrupted, makespan
        self.zone, self.seconds, self.workers = zone, seconds, workers
        self._tick, self._lead, self._expires, self._ahead = (spans[k] for k in ("tick", "lead", "expires", "ahead"))
        self._folder, self._seed, self._repeatable = Path(), 0, False
        self._last: tuple[int, Schedule] | None = None  # its origin, and an earlier schedule

    def bind(self, setting: Setting) -> None:
        """Takes the folder and the seed, and checks the signals."""
        self._folder, self._seed, self._repeatable = setting.folder, setting.seed, not setting.clock.live
        wrong: list[str] = []
        if find_spec("ortools") is None:
            wrong.append("it needs a package that is not installed: ortools (pip install 'gemel[schedule]')")
        for name, given in self.machines.items():
            for key, role in (("next", "controlled"), ("down", "")):
                if key in given:
                    wrong += unfit(f"machine '{name}': {key}", given[key], setting.signals, role)
        if wrong:
            raise ConfigError(wrong, where="policy schedule")

    def snapshot(self) -> Mapping[str, Any]:
        """The last schedule."""
        if self._last is None:
            return {}
        origin, schedule = self._last
        tasks = [[t.order, t.step, t.machine, t.start, t.end, t.setup] for t in schedule.tasks]
        visits = [[v.service, v.machine, v.start, v.end] for v in schedule.visits]
        return {"origin": origin, "tasks": tasks, "visits": visits}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up the last schedule."""
        if "origin" in state:
            tasks = tuple(
                Task(order, step, name, start, end, (setup[0], setup[1]) if setup else None)
                for order, step, name, start, end, setup in state["tasks"]
            )
            self._last = (state["origin"], Schedule(tasks, tuple(Visit(*row) for row in state["visits"])))

    def decide(self, situation: Situation) -> Decision:
        """Orders for each machine; when the book cannot be read nothing is commanded."""
        id = f"decision-{instant_id(situation.now)}"
        try:
            proposal = self.propose(situation)
        except GemelError as error:
            return Decision(id, situation.now, refused=(str(error),), reason=f"Nothing is changed: {error.message}.")
        return self.decision(id, situation, proposal)

    # -- for policies that plan more than orders --------------------------------------------------------------------

    def scale(self, situation: Situation) -> Scale:
        """Ticks from now on."""
        return Scale(situation.now // self._tick * self._tick, self._tick, self.zone)

    def propose(self, situation: Situation, upkeep: Upkeep | None = None) -> Proposal:
        """The schedule from now on, with services where there are some; remembered for the next time."""
        scale, upkeep = self.scale(situation), upkeep or Upkeep()
        until = scale.origin + self._ahead
        named = {name: books.machine(name, given, scale, until) for name, given in self.machines.items()}
        rows = books.read(self._folder / self.book) if self.book else []
        book = books.book(rows, scale, named, 2 if self.progress == "book" else NEVER)
        problem = Problem(
            tuple(named.values()), book.orders, upkeep.services, upkeep.crew, upkeep.stock or {},
            scale.price(self.makespan), 0, book.begun, (), scale.tick, scale.origin, scale.zone,
        )  # fmt: skip
        earlier = self._earlier(problem, scale)
        problem = self._begun(problem, earlier)
        back = {
            name: scale.after(situation.now + duration(self.machines[name].get("repair", "2h")))
            for name in self._down(situation)
        }
        past = Schedule(problem.frozen, problem.visited)
        problem = reschedule(problem, past, 0, back, self.interrupted)
        proposal = self._solved(Proposal(problem, past, book, scale, "", tuple(back)), earlier)
        self._last = (scale.origin, proposal.schedule)
        return proposal

    def decision(self, id: str, situation: Situation, proposal: Proposal) -> Decision:
        """Commands and words for a proposal."""
        commands, plan, said = [], {}, []
        for name, given in self.machines.items():
            ahead = [t for t in proposal.schedule.on(name) if t not in proposal.problem.frozen]
            said += [_course(name, ahead, proposal)] if ahead else []
            if "next" not in given:
                continue
            numbers = [proposal.book.numbers[t.order] for t in ahead]
            begin = proposal.scale.origin + _begin(ahead[0]) * proposal.scale.tick if ahead else 0
            released = numbers[0] if ahead and begin <= situation.now + self._lead else 0
            expires = max(begin if released else 0, situation.now) + self._expires
            commands.append(Command(f"{id}-{given['next']}", given["next"], float(released), expires))
            plan[given["next"]] = tuple(float(n) for n in numbers)
        words = [*said[:6], *([f"{len(said) - 6} more machines"] if len(said) > 6 else []), _late(proposal)]
        words += [f"{' and '.join(proposal.down)} down"] if proposal.down else []
        reason = "; ".join(w for w in words if w) or "There is nothing to do"
        refused = (proposal.trouble,) if proposal.trouble else ()
        expected = figures(proposal)
        return Decision(id, situation.now, tuple(commands), plan, expected, refused, (), f"{reason}.")

    def _down(self, situation: Situation) -> list[str]:
        """Machines that are down."""
        signals = {name: given["down"] for name, given in self.machines.items() if "down" in given}
        return [name for name, signal in signals.items() if situation.latest.get(signal, np.nan) > 0]

    def _earlier(self, problem: Problem, scale: Scale) -> Schedule | None:
        """The last schedule in the ticks of now, what of it still fits the book."""
        if self._last is None:
            return None
        origin, last = self._last
        by = (origin - scale.origin) // scale.tick
        steps = {o.name: len(o.operations) for o in problem.orders}
        known = {m.name for m in problem.machines}
        tasks = tuple(
            replace(t, start=t.start + by, end=t.end + by, setup=t.setup and (t.setup[0] + by, t.setup[1] + by))
            for t in last.tasks
            if t.step < steps.get(t.order, 0) and t.machine in known
        )
        services = {s.name for s in problem.services}
        visits = tuple(replace(v, start=v.start + by, end=v.end + by) for v in last.visits if v.service in services)
        return Schedule(tasks, visits)

    def _begun(self, problem: Problem, earlier: Schedule | None) -> Problem:
        """With what an earlier schedule had begin before now; services that it holds are running."""
        if earlier is None:
            return problem
        visited = tuple(v for v in earlier.visits if v.start < 0 < v.end)
        if self.progress == "book":
            return replace(problem, visited=visited)
        told = {t.order for t in problem.frozen}
        frozen = [t for t in earlier.tasks if t.start < 0 and t.order not in told]
        return replace(problem, frozen=(*problem.frozen, *frozen), visited=visited)

    def _solved(self, asked: Proposal, earlier: Schedule | None) -> Proposal:
        problem = asked.problem

        def search(problem: Problem) -> Schedule:
            return solve(
                problem, self.seconds, self._seed, hint=earlier, workers=self.workers, repeatable=self._repeatable
            )

        try:
            return replace(asked, schedule=search(problem))
        except Conflict as error:
            return replace(asked, schedule=search(relaxed(problem)), problem=relaxed(problem), trouble=error.message)


def relaxed(problem: Problem) -> Problem:
    """Deadlines made due dates that cost a hundred times the dearest hour late."""
    dear = 100 * max((o.weight for o in problem.orders), default=1)
    orders = tuple(
        o if o.deadline is None else replace(o, deadline=None, weight=dear, due=min(o.deadline, o.due or o.deadline))
        for o in problem.orders
    )
    return replace(problem, orders=orders)


def figures(proposal: Proposal) -> dict[str, float]:
    """What a schedule promises: costs in the book's own money, times in hours."""
    hours = proposal.scale.tick / HOUR
    ends = proposal.schedule.ends()
    late = [max(0, ends[o.name] - o.due) * hours for o in proposal.problem.orders if o.due is not None]
    found = {
        "cost": proposal.schedule.cost / CENT,
        "cost is at least": proposal.schedule.bound / CENT,
        "orders": len(proposal.problem.orders),
        "late orders": sum(x > 0 for x in late),
        "hours late": sum(late),
        "hours until all is done": proposal.schedule.makespan * hours,
    }
    return {name: float(value) for name, value in found.items()}


def unfit(where: str, name: str, signals: Signals, role: str = "") -> Sequence[str]:
    """What is wrong with the name of a signal: a line, or none."""
    if name not in signals:
        return [f"{where}: there is no signal '{name}'{nearest(name, signals.names)}"]
    if role and signals.named(name).role != role:
        return [f"{where}: signal '{name}' is {signals.named(name).role}, not {role}"]
    return []


def _begin(task: Task) -> int:
    return task.setup[0] if task.setup else task.start


def _course(name: str, tasks: Sequence[Task], proposal: Proposal) -> str:
    """What comes next on a machine: `M1: order 17 at once, 12 from Fri 27 Nov 09:40 (set up 20min before)`."""
    said = []
    for task in tasks[:2]:
        when = "at once" if _begin(task) <= 0 else f"from {proposal.problem.clock(task.start)}"
        setup = f" (set up {spell((task.setup[1] - task.setup[0]) * proposal.scale.tick)} before)" if task.setup else ""
        said.append(f"{task.order} {when}{setup}")
    more = f", and {len(tasks) - 2} more" if len(tasks) > 2 else ""
    return f"{name}: order {', then '.join(said)}{more}"


def _late(proposal: Proposal) -> str:
    ends = proposal.schedule.ends()
    late = {o.name: ends[o.name] - o.due for o in proposal.problem.orders if o.due is not None and ends[o.name] > o.due}
    if not late:
        return "no order is late" if any(o.due is not None for o in proposal.problem.orders) else ""
    worst = max(late, key=lambda n: late[n])
    by = spell(late[worst] * proposal.scale.tick)
    return f"{len(late)} of {len(proposal.problem.orders)} orders will be late, '{worst}' by {by}"
