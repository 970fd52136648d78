"""Parts on their way through the line: machines, finite buffers, set-ups, operators, orders. Event by event.

Times are seconds since 1970. Each machine has at most one event ahead of it, so the next one is the least of five.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import numpy as np

from gemel.packs.manufacturing.faults import MACHINES
from gemel.packs.manufacturing.machines import (
    BLOCKED,
    BUSY,
    DOWN,
    FIGURES,
    IDLE,
    MATTER,
    SERVICE,
    SETUP,
    STARVED,
    Draws,
    Machine,
    Part,
)

ROOM = (8, 8, 6, 6)
"""Parts that fit between two machines."""
FAMILIES = (0, 1, 2)
CENTRE, TOLERANCE = 17.0, 24.0
"""What a part's size should be and how far it may be off, um."""
MICROSTOP = -2.45  # of a standard normal: one part in 140 makes a machine stop for a moment


class Orders:
    """The order book: lots of one family, at random as the market wants them, `RELEASE` parts an hour."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng((seed, 11))
        self.lots: deque[list[int]] = deque()
        self.waiting, self._owed, self._family = 0, 0.0, 0

    def step(self, rate: float, minutes: float = 1.0) -> None:
        """Orders that come in within a minute, at `rate` parts an hour."""
        self._owed += rate * minutes / 60
        while self._owed >= 1:
            self._owed -= 1
            self.waiting += 1
            if not self.lots or self.lots[-1][2] <= 0:
                self._family = (self._family + 1 + int(self._rng.integers(2))) % len(FAMILIES)
                self.lots.append([self._family, 0, int(self._rng.integers(70, 160))])
            self.lots[-1][1] += 1
            self.lots[-1][2] -= 1

    def take(self, wanted: int | None) -> int | None:
        """The family of the next part: of `wanted` where one is asked for; None when there is no such order."""
        for lot in self.lots:
            if lot[1] and (wanted is None or lot[0] == wanted):
                lot[1] -= 1
                self.waiting -= 1
                while self.lots and not self.lots[0][1] and self.lots[0][2] <= 0:
                    self.lots.popleft()
                return lot[0]
        return None


class Flow:
    """Five machines in a row. `happened(time, what, machine)` is told of failures and services; `done` holds the parts
    that left, with their times."""

    def __init__(self, seed: int, now: float, happened: Callable[[float, str, str], None]) -> None:
        self.machines = [Machine(i, n, FIGURES[n], seed, since=now) for i, n in enumerate(MACHINES)]
        self.buffers: list[deque[Part]] = [deque() for _ in ROOM]
        self.orders = Orders(seed)
        self.wanted: int | None = None  # family
        self.hardness, self.voltage, self.missing = 1.0, 1.0, 0.0
        self.entered, self.lost = 0, 0
        self.done: list[tuple[float, Part]] = []
        self.staff = 2
        self._working = 0
        self._waiting: deque[Machine] = deque()
        self._chance = [Draws((seed, i, 5)) for i in range(len(MACHINES))]
        self._happened = happened

    def run(self, until: float) -> None:
        """Everything that happens before `until`."""
        machines = self.machines
        while True:
            machine = min(machines, key=_due)
            now = machine.until
            if now > until:
                break
            self._event(machine, now)
        for machine in machines:
            _count(machine, until)

    def staffed(self, count: int, now: float) -> None:
        """So many operators are there from now on."""
        self.staff = count
        while self._waiting and self._working < count:
            self._set_up(self._waiting.popleft(), now)

    def look(self, now: float) -> None:
        """Machines that wait may find work, or a service that was asked for."""
        for machine in self.machines:
            if machine.state in (IDLE, STARVED) or (machine.state == BLOCKED and machine.asked):
                self._begin(machine, now)

    @property
    def inside(self) -> int:
        """Parts in the line."""
        return sum(map(len, self.buffers)) + sum(m.part is not None for m in self.machines)

    def _event(self, machine: Machine, now: float) -> None:
        state = machine.state
        if state == BUSY:
            self._finish(machine, now)
        elif state == SETUP:
            self._working -= 1
            self.staffed(self.staff, now)
            self._work(machine, now)
        elif state in (SERVICE, DOWN) and (state == SERVICE or machine.broken_down):
            machine.renew()
            machine.broken_down = False
            self._happened(now, "renewed", machine.name)
            self._pass(machine, now)
        else:
            self._pass(machine, now)

    def _finish(self, machine: Machine, now: float) -> None:
        part = machine.part
        assert part is not None
        _count(machine, now)
        if machine.wear_out(part, self.hardness):
            machine.part = None
            self.lost += 1
            machine.broken_down = True
            n = self._chance[machine.place].next()
            _enter(machine, DOWN, now, now + machine.figures.repair * 60 * math.exp(0.25 * n))
            self._happened(now, "failure", machine.name)
            return
        n = self._chance[machine.place].next()
        if n < MICROSTOP:
            _enter(machine, DOWN, now, now + 45 + 900 * (MICROSTOP - n))
        else:
            self._pass(machine, now)

    def _pass(self, machine: Machine, now: float) -> None:
        """Hands the part on, where there is room, and begins the next."""
        part, place = machine.part, machine.place
        if part is not None:
            if place == len(ROOM):
                self.done.append((now, part))
            elif now < machine.gate or len(self.buffers[place]) >= ROOM[place]:
                if machine.asked:
                    self._serve(machine, now)
                else:
                    _enter(machine, BLOCKED, now, machine.gate if now < machine.gate else math.inf)
                return
            else:
                self.buffers[place].append(part)
                if machine.effects.jam:
                    machine.gate = now + 300 * machine.effects.jam
            machine.part = None
            self._begin(machine, now)
            if place < len(ROOM) and self.machines[place + 1].state == STARVED:
                self._begin(self.machines[place + 1], now)
        else:
            self._begin(machine, now)

    def _begin(self, machine: Machine, now: float) -> None:
        """The next part, or a service, or waiting."""
        place = machine.place
        if machine.asked:
            self._serve(machine, now)
            return
        if place == 0:
            family = self.orders.take(self.wanted)
            if family is None:
                _enter(machine, IDLE, now, math.inf)
                return
            machine.part = Part(family, now)
            self.entered += 1
        else:
            behind = self.buffers[place - 1]
            if not behind:
                _enter(machine, STARVED, now, math.inf)
                return
            machine.part = behind.popleft()
            before = self.machines[place - 1]
            if before.state == BLOCKED and now >= before.gate:
                self._pass(before, now)
        if machine.part.family == machine.family:
            self._work(machine, now)
        else:
            _enter(machine, SETUP, now, math.inf)
            if self._working < self.staff:
                self._set_up(machine, now)
            else:
                self._waiting.append(machine)

    def _set_up(self, machine: Machine, now: float) -> None:
        assert machine.part is not None
        self._working += 1
        matter = max(MATTER[machine.family], MATTER[machine.part.family])
        n = machine.normal.next()
        minutes = machine.figures.setup * matter * math.exp(0.15 * n) * (1 + self.missing)
        machine.family = machine.part.family
        _enter(machine, SETUP, now, now + 60 * minutes)

    def _work(self, machine: Machine, now: float) -> None:
        assert machine.part is not None
        took = machine.load(machine.part, self.hardness, self.voltage)
        _enter(machine, BUSY, now, now + took)

    def _serve(self, machine: Machine, now: float) -> None:
        machine.asked = False
        n = machine.normal.next()
        self._happened(now, "service", machine.name)
        _enter(machine, SERVICE, now, now + 60 * machine.figures.service * math.exp(0.1 * n))


def _due(machine: Machine) -> float:
    return machine.until


def _count(machine: Machine, now: float) -> None:
    if machine.state == BUSY:
        spent = now - machine.since
        machine.busy_s += spent
        machine.work += spent * machine.cutting
    machine.since = now


def _enter(machine: Machine, state: int, now: float, until: float) -> None:
    _count(machine, now)
    machine.state, machine.until = state, until
