"""What is to be scheduled, and a schedule: plain values, no solver.

Times are whole ticks from an origin of the caller's choice; `tick` and `origin` of a `Problem` say what that is on the
clock, so that texts can name an hour instead of a number. A window is `(start, end)`, its end not included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from gemel.core.errors import InputError, nearest
from gemel.core.units import spell

Window = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of an order. `machines`: machine -> the work in ticks there; with several, the schedule chooses one.
    `family`: what the machine must be set up for."""

    machines: Mapping[str, int]
    family: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """Operations in their order, none before `release`. Each tick after `due` costs `weight`; after `deadline` is not
    allowed at all."""

    name: str
    operations: tuple[Operation, ...]
    release: int = 0
    due: int | None = None
    weight: int = 1
    deadline: int | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """Does one thing at a time, and nothing while `closed`. An operation must fit between two closures, unless the
    machine is `resumable`: then it waits for the next opening and goes on. `setups`: (from family, to family) -> ticks
    of set-up, done in open time, before the order need be there; `family` is what it is set up for at the start."""

    name: str
    closed: tuple[Window, ...] = ()
    setups: Mapping[tuple[str, str], int] = field(default_factory=dict)
    family: str = ""
    resumable: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """Maintenance of a machine: `duration` ticks inside one of `windows` (empty: any time, closures too).

    `costs`: rows (from, cost), a start at or after `from` costs that; before the first row nothing. `skip`: what
    leaving it out costs; None: it must be done. `crew`: how many people it holds; `parts`: spare part -> how many it
    takes.
    """

    name: str
    machine: str
    duration: int
    windows: tuple[Window, ...] = ()
    costs: tuple[tuple[int, int], ...] = ()
    skip: int | None = None
    crew: int = 0
    parts: Mapping[str, int] = field(default_factory=dict)

    def cost(self, start: int) -> int:
        """What starting then costs."""
        return next((cost for since, cost in reversed(self.costs) if start >= since), 0)


@dataclass(frozen=True, slots=True)
class Task:
    """Step `step` (from 0) of an order on a machine; `setup` is the set-up before it, if there is one."""

    order: str
    step: int
    machine: str
    start: int
    end: int
    setup: Window | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """A service that is done."""

    service: str
    machine: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Machines, orders and services, and what is sought: the least of `makespan` a tick of makespan, each order's
    `weight` a tick after its `due`, and the cost of services.

    `crew`: people for services; `stock`: spare part -> rows (from, how many more there are then). `now`: nothing new
    begins before it; `frozen` and `visited` have begun already and stay as they are, whatever the rest of the problem
    says. `tick` and `origin` (ns, and ns UTC) and `zone` are for texts alone.
    """

    machines: tuple[Machine, ...]
    orders: tuple[Order, ...]
    services: tuple[Service, ...] = ()
    crew: int = 0
    stock: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    makespan: int = 1
    now: int = 0
    frozen: tuple[Task, ...] = ()
    visited: tuple[Visit, ...] = ()
    tick: int = 0
    origin: int = 0
    zone: str = ""

    def machine(self, name: str) -> Machine:
        """The machine of that name."""
        return next(m for m in self.machines if m.name == name)

    def order(self, name: str) -> Order:
        """The order of that name."""
        return next(o for o in self.orders if o.name == name)

    def span(self, ticks: int) -> str:
        """A length of time for people."""
        return spell(ticks * self.tick) if self.tick and ticks else f"{ticks} ticks"

    def clock(self, at: int) -> str:
        """A time for people: `Fri 27 Nov 14:00`, or the bare number of ticks."""
        if not self.tick:
            return str(at)
        shown = datetime.fromtimestamp((self.origin + at * self.tick) / 1e9, ZoneInfo(self.zone or "UTC"))
        return f"{shown:%a} {shown.day} {shown:%b %H:%M}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """Where and when each operation is done, and each service that is not `skipped`.

    `cost` is by the problem's own prices. `bound`: no schedule costs less, says the solver; `second` says the same from
    a second way that shares nothing with it. `claim` is "optimal" only where the second bound is met, else "best known
    bound": solvers have been wrong about what they had proved.
    """

    tasks: tuple[Task, ...]
    visits: tuple[Visit, ...] = ()
    skipped: tuple[str, ...] = ()
    cost: int = 0
    bound: int = 0
    second: int = 0
    claim: str = "best known bound"
    by: str = "dispatch"
    seconds: float = 0.0

    @property
    def makespan(self) -> int:
        """When the last operation ends."""
        return max((t.end for t in self.tasks), default=0)

    def ends(self) -> dict[str, int]:
        """Order -> when its last operation ends."""
        found: dict[str, int] = {}
        for task in self.tasks:
            found[task.order] = max(task.end, found.get(task.order, task.end))
        return found

    def on(self, machine: str) -> list[Task]:
        """What a machine does, in order."""
        return sorted((t for t in self.tasks if t.machine == machine), key=lambda t: (t.start, t.end))


def check(problem: Problem) -> None:
    """Raises `InputError` with every mistake in the problem itself, before anything is searched."""
    names = [m.name for m in problem.machines]
    wrong = [
        f"{what} '{n}' stands twice"
        for what, all in _names(problem)
        for n in sorted({x for x in all if all.count(x) > 1})
    ]
    for machine in problem.machines:
        wrong += [f"machine '{machine.name}': closed {w} ends before it starts" for w in machine.closed if w[0] > w[1]]
        wrong += [
            f"machine '{machine.name}': set-up {k} is {t}, below zero" for k, t in machine.setups.items() if t < 0
        ]
    for order in problem.orders:
        wrong += _order(order, names)
    for service in problem.services:
        wrong += _service(service, problem, names)
    services = [s.name for s in problem.services]
    wrong += [f"visited: there is no service '{v.service}'" for v in problem.visited if v.service not in services]
    steps: dict[str, list[int]] = {}
    for task in problem.frozen:
        steps.setdefault(task.order, []).append(task.step)
        if task.start > task.end or task.machine not in names:
            wrong.append(f"frozen: step {task.step} of order '{task.order}' is not on a machine of the problem")
    for name, held in steps.items():
        known = [o for o in problem.orders if o.name == name]
        if not known or sorted(held) != list(range(len(held))) or len(held) > len(known[0].operations):
            wrong.append(f"frozen: the steps of order '{name}' are not its first ones, once each")
    if wrong:
        raise InputError("the schedule's problem does not hold together: " + "; ".join(wrong))


def _names(problem: Problem) -> Iterator[tuple[str, list[str]]]:
    yield "machine", [m.name for m in problem.machines]
    yield "order", [o.name for o in problem.orders]
    yield "service", [s.name for s in problem.services]


def _order(order: Order, machines: list[str]) -> Iterator[str]:
    if not order.operations:
        yield f"order '{order.name}' has no operations"
    if order.weight < 0:
        yield f"order '{order.name}': weight {order.weight} is below zero"
    for step, operation in enumerate(order.operations):
        if not operation.machines:
            yield f"order '{order.name}' step {step} names no machine"
        for name, work in operation.machines.items():
            if name not in machines:
                yield f"order '{order.name}' step {step}: there is no machine '{name}'{nearest(name, machines)}"
            if work < 0:
                yield f"order '{order.name}' step {step}: {work} ticks on '{name}' are below zero"


def _service(service: Service, problem: Problem, machines: list[str]) -> Iterator[str]:
    if service.machine not in machines:
        yield f"service '{service.name}': there is no machine '{service.machine}'{nearest(service.machine, machines)}"
    if service.duration < 1:
        yield f"service '{service.name}': duration {service.duration} must be at least 1"
    if service.crew > problem.crew:
        yield f"service '{service.name}' needs {service.crew} people, the crew is {problem.crew}"
    if [since for since, _ in service.costs] != sorted({since for since, _ in service.costs}):
        yield f"service '{service.name}': the times of its costs must rise"
    for part in service.parts:
        if part not in problem.stock:
            yield f"service '{service.name}': there is no spare part '{part}'{nearest(part, problem.stock)}"
