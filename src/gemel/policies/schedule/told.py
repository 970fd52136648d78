"""A schedule as the variables of the model see it, so that the solver can begin from a complete answer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from gemel.policies.schedule.problem import Schedule, Task

Key = tuple[str, int]
"""An operation: order and step."""


@dataclass(frozen=True, slots=True)
class Told:
    """Tasks by operation, what comes before each on its machine (None: it is the first), which are the last there, and
    when services start. Each method is what one kind of variable is."""

    tasks: dict[Key, Task]
    before: dict[Key, Key | None]
    last: set[Key]
    visits: dict[str, int]

    @staticmethod
    def of(schedule: Schedule, keys: Collection[Key]) -> Told:
        """Only of these operations."""
        tasks = {(t.order, t.step): t for t in schedule.tasks if (t.order, t.step) in keys}
        told = Told(tasks, {}, set(), {v.service: v.start for v in schedule.visits})
        for name in {t.machine for t in tasks.values()}:
            row = [key for t in schedule.on(name) if (key := (t.order, t.step)) in keys]
            told.before.update(zip(row, [None, *row], strict=False))
            told.last.add(row[-1])
        return told

    def start(self, key: Key) -> int:
        return self.tasks[key].start

    def end(self, key: Key) -> int:
        return self.tasks[key].end

    def late(self, key: Key, due: int) -> int:
        return max(0, self.tasks[key].end - due)

    def makespan(self, already: int) -> int:
        return max([already, *(t.end for t in self.tasks.values())])

    def on(self, key: Key, machine: str) -> bool:
        return self.tasks[key].machine == machine

    def idle(self, machine: str) -> bool:
        return not any(t.machine == machine for t in self.tasks.values())

    def length(self, key: Key, machine: str, other: int) -> int:
        task = self.tasks[key]
        return task.end - task.start if task.machine == machine else other

    def lasts(self, key: Key, machine: str, other: int, length: int) -> bool:
        return self.length(key, machine, other) == length

    def follows(self, key: Key, before: Key | None, machine: str) -> bool:
        return self.on(key, machine) and self.before[key] == before

    def ends_with(self, key: Key, machine: str) -> bool:
        return self.on(key, machine) and key in self.last

    def setup(self, key: Key, machine: str, end: int) -> int:
        """The begin (0) or end (1) of the set-up; where there is none, the operation's start."""
        task = self.tasks[key]
        return task.setup[end] if task.setup and task.machine == machine else task.start

    def setup_length(self, key: Key, machine: str) -> int:
        return self.setup(key, machine, 1) - self.setup(key, machine, 0)

    def visit(self, service: str, other: int) -> int:
        return self.visits.get(service, other)

    def visited(self, service: str, since: int, until: int) -> bool:
        return since <= self.visits.get(service, since - 1) < until


Says = Callable[[Told], int]
"""What a variable is in a schedule."""
