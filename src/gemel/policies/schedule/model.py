"""The problem as constraints for CP-SAT: interval variables, one disjunction a machine, a circuit where set-ups depend
on the sequence. Only what has not begun is in it; what has is a fact around it.

`Model.of(problem, until)` looks at nothing later than `until`; `Model.read` turns the solver's answer into a schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ortools.sat.python import cp_model

from gemel.policies.schedule.calendar import FAR, merged, starts
from gemel.policies.schedule.dispatch import Shop
from gemel.policies.schedule.problem import Machine, Operation, Problem, Schedule, Service, Task, Visit
from gemel.policies.schedule.told import Key, Says, Told
from gemel.policies.schedule.verify import cost


@dataclass
class SetUp:
    """Before an operation: its length, and, where more than operations is in its way, its begin and its interval."""

    length: Any
    begin: Any = None
    interval: Any = None


@dataclass
class Care:
    """A service: whether it is done, when, and what that costs."""

    start: Any
    done: Any
    interval: Any
    price: Any


@dataclass
class Slot:
    """An operation on one of its machines: `here` says whether it is done there (None: it is the only one)."""

    key: Key
    family: str
    start: Any
    end: Any
    here: Any
    interval: Any
    before: SetUp | None = None


class Model:
    """Variables by operation and service, and the constraints between them."""

    def __init__(self, problem: Problem, until: int) -> None:
        self.problem, self.until, self.cp = problem, until, cp_model.CpModel()
        self.shop = Shop.of(problem)
        self.starts: dict[Key, Any] = {}
        self.ends: dict[Key, Any] = {}
        self.slots: dict[str, list[Slot]] = {m.name: [] for m in problem.machines}
        self.visits: dict[str, Care] = {}
        self._machines = {m.name: m for m in problem.machines}
        self.says: list[tuple[Any, Says]] = []
        for order in problem.orders:
            self._order(order.name)
        for service in problem.services:
            if service.name not in {v.service for v in problem.visited}:
                self._service(service)
        for machine in problem.machines:
            self._machine(machine)
        self._people()
        self._parts()
        self._objective()

    def _number(self, low: int, high: int, says: Says) -> Any:
        self.says.append((self.cp.new_int_var(low, high, ""), says))
        return self.says[-1][0]

    def _choice(self, says: Says) -> Any:
        self.says.append((self.cp.new_bool_var(""), says))
        return self.says[-1][0]

    # -- orders -----------------------------------------------------------------------------------------------------

    def _order(self, name: str) -> None:
        order, cp = self.problem.order(name), self.cp
        at = self.shop.ready[name]
        before: Any = None
        for step in range(self.shop.step[name], len(order.operations)):
            key, operation = (name, step), order.operations[step]
            start = self._number(at, max(at, self.until), partial(Told.start, key=key))
            end = self._number(at, max(at, self.until), partial(Told.end, key=key))
            if order.deadline is not None:
                cp.add(end <= order.deadline)
            self.starts[key], self.ends[key] = start, end
            if before is not None:
                cp.add(start >= before)
            here = [self._slot(key, operation, machine, start, end, at) for machine in operation.machines]
            if len(here) > 1:
                cp.add_exactly_one(here)
            at += min(operation.machines.values())
            before = end

    def _slot(self, key: Key, operation: Operation, name: str, start: Any, end: Any, at: int) -> Any:
        cp, machine, work = self.cp, self._machines[name], operation.machines[name]
        here = None if len(operation.machines) == 1 else self._choice(partial(Told.on, key=key, machine=name))
        closed = self.shop.closed[name]
        rows = starts(closed, work, max(at, self.shop.free[name]), self.until, machine.resumable)
        domain = cp_model.Domain.from_intervals([row[:2] for row in rows])
        pauses = sorted({pause for _, _, pause in rows})
        length: Any = work + (pauses[0] if pauses else 0)
        if len(pauses) > 1:  # an interrupted operation lasts as long as its start says
            length = self._length(Slot(key, operation.family, start, end, here, None), name, work, rows, pauses)
        inside = cp.add_linear_expression_in_domain(start, domain)
        whole = cp.add(end == start + length)
        if here is None:
            interval = cp.new_interval_var(start, length, end, f"{key} {name}")
        else:
            inside.only_enforce_if(here)
            whole.only_enforce_if(here)
            interval = cp.new_optional_interval_var(start, length, end, here, f"{key} {name}")
        self.slots[name].append(Slot(key, operation.family, start, end, here, interval))
        return here

    def _length(self, slot: Slot, name: str, work: int, rows: list[tuple[int, int, int]], pauses: list[int]) -> Any:
        cp = self.cp
        shortest = work + pauses[0]
        length = self._number(
            shortest, work + pauses[-1], partial(Told.length, key=slot.key, machine=name, other=shortest)
        )
        chosen = []
        for pause in pauses:
            lasts = partial(Told.lasts, key=slot.key, machine=name, other=shortest, length=work + pause)
            literal = self._choice(lasts)
            domain = cp_model.Domain.from_intervals([row[:2] for row in rows if row[2] == pause])
            within = [literal] if slot.here is None else [literal, slot.here]
            cp.add_linear_expression_in_domain(slot.start, domain).only_enforce_if(within)
            cp.add(length == work + pause).only_enforce_if(literal)
            chosen.append(literal)
        cp.add_exactly_one(chosen)
        return length

    # -- machines ---------------------------------------------------------------------------------------------------

    def _machine(self, machine: Machine) -> None:
        cp, slots, now = self.cp, self.slots[machine.name], self.problem.now
        visits = [
            self.visits[s.name].interval
            for s in self.problem.services
            if s.name in self.visits and s.machine == machine.name
        ]
        held = [
            *self.shop.held[machine.name],
            *((t.start, t.end) for t in self.problem.frozen if t.machine == machine.name),
        ]
        fixed = [cp.new_fixed_size_interval_var(a, b - a, "") for a, b in merged(held) if b > now]
        if slots and any(machine.setups.values()):
            self._sequence(machine, slots, plain=not (machine.closed or visits or fixed))
        cp.add_no_overlap([s.interval for s in slots] + visits + fixed)
        setups = [s.before.interval for s in slots if s.before and s.before.interval is not None]
        if setups:  # the tour keeps them aside of operations; here of services and closures
            shut = [cp.new_fixed_size_interval_var(a, b - a, "") for a, b in self.shop.closed[machine.name] if b > now]
            cp.add_no_overlap(setups + visits + fixed)
            cp.add_no_overlap(setups + shut)

    def _sequence(self, machine: Machine, slots: list[Slot], plain: bool) -> None:
        """A tour through the operations of a machine, whose arcs know how long the set-up between two lasts. `plain`:
        nothing but operations is in a set-up's way, so it may end where the operation starts."""
        cp, free, now = self.cp, self.shop.free[machine.name], self.problem.now
        arcs: list[tuple[int, int, Any]] = []
        if all(slot.here is not None for slot in slots):
            idle = self._choice(partial(Told.idle, machine=machine.name))
            arcs.append((0, 0, idle))
            for slot in slots:
                cp.add_implication(idle, ~slot.here)
        for j, slot in enumerate(slots):
            begin = (
                slot.start
                if plain
                else self._number(now, self.until, partial(Told.setup, key=slot.key, machine=machine.name, end=0))
            )
            if slot.here is not None:
                arcs.append((j + 1, j + 1, ~slot.here))
            arcs.append((j + 1, 0, self._choice(partial(Told.ends_with, key=slot.key, machine=machine.name))))
            needed: Any = 0
            for i, previous in enumerate([None, *slots]):
                if previous is slot:
                    continue
                family = previous.family if previous else self.shop.family[machine.name]
                length = machine.setups.get((family, slot.family), 0)
                key = previous.key if previous else None
                literal = self._choice(partial(Told.follows, key=slot.key, before=key, machine=machine.name))
                arcs.append((i, j + 1, literal))
                needed += length * literal
                ready = previous.end if previous else free
                cp.add(begin >= ready + (length if plain else 0)).only_enforce_if(literal)
            slot.before = SetUp(needed) if plain else self._setup(slot, machine, begin, needed)
        cp.add_circuit(arcs)

    def _setup(self, slot: Slot, machine: Machine, begin: Any, needed: Any) -> SetUp:
        cp = self.cp
        key, name = slot.key, machine.name
        length = self._number(0, max(machine.setups.values()), partial(Told.setup_length, key=key, machine=name))
        end = self._number(self.problem.now, self.until, partial(Told.setup, key=key, machine=name, end=1))
        cp.add(length == needed)
        before = cp.add(end <= slot.start)
        if slot.here is None:
            return SetUp(length, begin, cp.new_interval_var(begin, length, end, ""))
        before.only_enforce_if(slot.here)
        return SetUp(length, begin, cp.new_optional_interval_var(begin, length, end, slot.here, ""))

    # -- services ---------------------------------------------------------------------------------------------------

    def _service(self, service: Service) -> None:
        cp, now = self.cp, self.problem.now
        last = self.until - service.duration
        windows = service.windows or ((now, self.until),)
        spans = [(max(a, now), min(b - service.duration, last)) for a, b in windows]
        name = service.name
        start = self._number(now, max(now, last), partial(Told.visit, service=name, other=now))
        done = self._choice(partial(Told.visited, service=name, since=now, until=FAR))
        if service.skip is None:
            cp.add(done == 1)
        inside = cp_model.Domain.from_intervals([span for span in spans if span[0] <= span[1]])
        cp.add_linear_expression_in_domain(start, inside).only_enforce_if(done)
        interval = cp.new_optional_interval_var(start, service.duration, start + service.duration, done, service.name)
        price: Any = (service.skip or 0) * ~done
        chosen = [~done]
        for since, until in zip(
            [now, *(s for s, _ in service.costs)], [*(s for s, _ in service.costs), FAR], strict=True
        ):
            if since < until and until > now:
                literal = self._choice(partial(Told.visited, service=name, since=since, until=until))
                cp.add(start >= since).only_enforce_if(literal)
                cp.add(start < until).only_enforce_if(literal)
                price += service.cost(since) * literal
                chosen.append(literal)
        cp.add_exactly_one(chosen)
        self.visits[service.name] = Care(start, done, interval, price)

    def _people(self) -> None:
        known = {s.name: s for s in self.problem.services}
        held = [(care.interval, known[name].crew) for name, care in self.visits.items()]
        held += [
            (self.cp.new_fixed_size_interval_var(v.start, v.end - v.start, ""), known[v.service].crew)
            for v in self.problem.visited
        ]
        if any(crew for _, crew in held):
            self.cp.add_cumulative([i for i, _ in held], [crew for _, crew in held], self.problem.crew)

    def _parts(self) -> None:
        for part, rows in self.problem.stock.items():
            taking = [s for s in self.problem.services if s.parts.get(part, 0)]
            if not taking:
                continue
            times: list[Any] = [at for at, _ in rows]
            changes, active = [count for _, count in rows], [self.cp.new_constant(1) for _ in rows]
            begun = {v.service: v.start for v in self.problem.visited}
            for service in taking:
                care = self.visits.get(service.name)
                times.append(care.start if care else begun[service.name])
                changes.append(-service.parts[part])
                active.append(care.done if care else self.cp.new_constant(1))
            self.cp.add_reservoir_constraint_with_active(times, changes, active, 0, sum(abs(c) for c in changes))

    # -- the aim, and the way back ----------------------------------------------------------------------------------

    def _objective(self) -> None:
        cp = self.cp
        total: Any = 0
        if self.problem.makespan:
            already = max((t.end for t in self.problem.frozen), default=0)
            whole = self._number(0, max(already, self.until), partial(Told.makespan, already=already))
            for end in self.ends.values():
                cp.add(whole >= end)
            cp.add(whole >= already)
            total += self.problem.makespan * whole
        for order in self.problem.orders:
            key = (order.name, len(order.operations) - 1)
            if order.due is None:
                continue
            if key in self.ends:
                says = partial(Told.late, key=key, due=order.due)
                late = self._number(0, max(0, self.until - order.due), says)
                cp.add(late >= self.ends[key] - order.due)
                total += order.weight * late
            else:
                total += order.weight * max(0, self.shop.ended[order.name] - order.due)
        known = {s.name: s for s in self.problem.services}
        total += sum(care.price for care in self.visits.values())
        total += sum(known[v.service].cost(v.start) for v in self.problem.visited)
        cp.minimize(total)

    def hint(self, schedule: Schedule) -> None:
        """Begin from a schedule: every variable is told what it is in it."""
        told = Told.of(schedule, self.starts)
        for variable, says in self.says:
            self.cp.add_hint(variable, says(told))

    def read(self, value: Callable[[Any], int]) -> Schedule:
        """The schedule that the solver's values say."""
        tasks = list(self.problem.frozen)
        for name, slots in self.slots.items():
            for slot in slots:
                if slot.here is not None and not value(slot.here):
                    continue
                start, before = value(slot.start), None
                if slot.before and (length := value(slot.before.length)):
                    begin = start - length if slot.before.begin is None else value(slot.before.begin)
                    before = (begin, begin + length)
                tasks.append(Task(*slot.key, name, start, value(slot.end), before))
        visits = list(self.problem.visited)
        for service in self.problem.services:
            care = self.visits.get(service.name)
            if care and value(care.done):
                at = value(care.start)
                visits.append(Visit(service.name, service.machine, at, at + service.duration))
        done = {v.service for v in visits}
        found = Schedule(
            tuple(tasks), tuple(visits), tuple(s.name for s in self.problem.services if s.name not in done)
        )
        return replace(found, cost=cost(self.problem, found))


def horizon(problem: Problem) -> int:
    """An instant by which everything could be done, one after the other."""
    after = [problem.now, *(o.release for o in problem.orders), *(t.end for t in problem.frozen)]
    after += [end for m in problem.machines for _, end in m.closed]
    after += [end for s in problem.services for _, end in s.windows] + [
        at for s in problem.services for at, _ in s.costs
    ]
    after += [at for rows in problem.stock.values() for at, _ in rows] + [v.end for v in problem.visited]
    longest = max((t for m in problem.machines for t in m.setups.values()), default=0)
    work = sum(max(o.machines.values()) + longest for order in problem.orders for o in order.operations)
    return max(after) + work + sum(s.duration for s in problem.services) + 1
