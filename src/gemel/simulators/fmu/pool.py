"""Child processes full of instances of one FMU, from the parent's side: which instance is where, and what went wrong.

A child that is late, greedy or dead is ended together with its siblings, and the next call starts new ones: nothing is
lost, for a `Point` knows how its instance came to be what it was.
"""

from __future__ import annotations

import mmap
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from gemel.core.clock import ticks
from gemel.core.errors import PartError
from gemel.simulators.fmu.child import FULL, HEAD, PAGE, Answer, Failure, Order, Task
from gemel.simulators.fmu.description import Saved, Wiring, missing

SLOTS = 16
"""Instances in one child whose state can be saved; beyond, they take turns."""
MANY = 1024
"""Instances in one child whose state cannot."""
CHILDREN = 32
"""Children of an FMU that wants a process for each instance and whose state cannot be saved."""
LONGEST = 20_000
"""Orders that are kept of an instance, for when its process is gone or it is to be branched."""
LOOK = 0.05
"""Seconds between two looks at the children."""
CHILD = "gemel.simulators.fmu.child"
START = 30.0
"""Seconds that a child may take before it has anything to do with the FMU."""
GRACE = 1.0
"""Seconds that a child may take to free its instances."""
REPORT = "the FMU is at fault: report it to who made it"


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One order of `child.Task`, and those before it; the first is to begin."""

    order: Order
    before: Link | None
    length: int


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Point:
    """An instance at an instant: what was saved of it, and how it came there.

    What was saved is for the child `home` first of all: there are FMUs whose saved state holds addresses. Elsewhere
    the orders are given again from the beginning, unless there were too many to keep them."""

    saved: Saved | None
    home: str
    past: Link | None


@dataclass(eq=False)
class _Child:
    process: subprocess.Popen[bytes]
    pipe: Connection
    box: mmap.mmap
    home: str
    used: int  # bytes of address space before the FMU came
    slots: list[weakref.ref[Point] | None]
    calls: int = 0
    seen: float = 0.0


class Place(NamedTuple):
    """Where an instance is to be played, and whether it stands there already."""

    child: _Child
    slot: int
    there: bool


class Pool:
    """The children of one FMU. `timeout`: seconds that one step or one beginning of one instance may take; `memory`:
    bytes that the instances of one child may have together."""

    def __init__(self, path: Path, wiring: Wiring, processes: int, timeout: float, memory: int) -> None:
        self._name = wiring.fmu.name
        self._processes, self._timeout, self._memory = processes, timeout, memory
        self._path, self._wiring = path, wiring
        self._children: list[_Child] = []
        self._places: weakref.WeakKeyDictionary[Point, tuple[_Child, int]] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._folder = ""
        self._end: weakref.finalize[..., Any] | None = None

    def play(self, before: Sequence[Point | None], orders: Sequence[Order]) -> tuple[list[Point], list[Answer]]:
        """One order for each instance, after the points before it; the points after it, and the answers.

        An order to observe leaves an instance where it was."""
        with self._lock:
            try:
                return self._play(before, orders)
            except BaseException:
                self._drop(0.0)
                raise

    def close(self) -> None:
        """End the children."""
        self._drop(GRACE)

    def _drop(self, grace: float) -> None:
        _end(self._children, "", os.getpid(), grace)
        self._places.clear()

    def _play(self, before: Sequence[Point | None], orders: Sequence[Order]) -> tuple[list[Point], list[Answer]]:
        places = self._settle(before)
        first = sorted(range(len(orders)), key=lambda i: not places[i].there)  # before others take their slots
        tasks: dict[int, list[tuple[int, Task]]] = {}
        for i in first:
            child, slot, there = places[i]
            task = _task(slot, before[i], orders[i], None if there else child.home)
            tasks.setdefault(self._children.index(child), []).append((i, task))
        answers = self._asked(tasks)
        points: dict[int, Point] = {}
        for i in first:
            child, slot, _ = places[i]
            answer, point, order = answers[i], before[i], orders[i]
            if order[0] == "observe" and point is not None:
                points[i] = point
            else:
                points[i] = _after(point, order, answer, child.home)
            left = child.slots[slot]
            if left is not None and (was := left()) is not None:
                self._places.pop(was, None)
            child.slots[slot] = weakref.ref(points[i])
            self._places[points[i]] = child, slot
        return [points[i] for i in range(len(orders))], [answers[i] for i in range(len(orders))]

    # -- where instances are ------------------------------------------------------------------------------------------

    def _settle(self, points: Sequence[Point | None]) -> list[Place]:
        """A place for each. Those that stand somewhere keep it; when there are too few slots, others share one."""
        self._staff(len(points))
        found: list[Place | None] = [None] * len(points)
        taken = {id(child): set[int]() for child in self._children}
        for i, point in enumerate(points):
            child, slot = self._places.get(point, (None, -1)) if point is not None else (None, -1)
            if child is not None and slot not in taken[id(child)]:
                found[i] = Place(child, slot, True)
                taken[id(child)].add(slot)
        for i in range(len(points)):
            if found[i] is None:
                child = self._child(points[i], i, len(points))
                found[i] = Place(child, slot := self._free(child, taken[id(child)], i), False)
                taken[id(child)].add(slot)
        return [place for place in found if place is not None]

    def _child(self, point: Point | None, i: int, many: int) -> _Child:
        """The child where the point was saved; or else that of its place among `many`."""
        home = point.home if point is not None and point.saved is not None else ""
        usual = self._children[i * len(self._children) // many]
        return next((child for child in self._children if child.home == home), usual)

    def _free(self, child: _Child, taken: set[int], i: int) -> int:
        """A slot of a child: an unused one first, then a new one, then another's."""
        others = [slot for slot in range(len(child.slots)) if slot not in taken]
        for slot in others:
            held = child.slots[slot]
            if held is None or held() is None:
                return slot
        if len(child.slots) < self._slots:
            child.slots.append(None)
            return len(child.slots) - 1
        return others[0] if others else i % len(child.slots)

    @property
    def _slots(self) -> int:
        f = self._wiring.fmu
        return 1 if f.alone else SLOTS if f.saves else MANY

    # -- the children -------------------------------------------------------------------------------------------------

    def _staff(self, instances: int) -> None:
        f = self._wiring.fmu
        wanted = min(instances, CHILDREN if f.alone and not f.saves else self._processes)
        while len(self._children) < wanted:
            self._children.append(self._born(len(self._children)))

    def _born(self, number: int) -> _Child:
        run = Path(self._unpacked()) / f"run-{number}"
        run.mkdir(exist_ok=True)
        here, there = Pipe()
        with tempfile.TemporaryFile(dir=run) as page:
            page.truncate(PAGE)
            box = mmap.mmap(page.fileno(), PAGE)
            numbers = there.fileno(), page.fileno()
            code = f"import sys; sys.path[:] = {sys.path}; from {CHILD} import main; main({numbers[0]}, {numbers[1]})"
            one = {f"{lib}_NUM_THREADS": "1" for lib in ("OPENBLAS", "OMP", "MKL")}
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", code], cwd=run, stdin=subprocess.DEVNULL, pass_fds=numbers,
                env={**os.environ, **one}, process_group=0,  # of its own, with what the FMU may start
            )  # fmt: skip
        there.close()
        child = _Child(process, here, box, f"{os.getpid()}-{process.pid}-{ticks()}", 0, [])
        self._children.append(child)  # so that it is ended whatever comes
        try:
            here.send((self._wiring, self._memory))
            said = here.recv() if here.poll(START) else Failure(f"no process was there within {START:g} s", 0.0)
        except (EOFError, OSError):
            raise self._died(child) from None
        if isinstance(said, Failure):
            raise self._refused(said)
        child.used = said
        return self._children.pop()

    def _unpacked(self) -> str:
        """The folder of the unpacked FMU and of what the children write; it goes when the pool does."""
        if self._end is None:
            folder = tempfile.mkdtemp(prefix="gemel-fmu-")
            self._end = weakref.finalize(self, _end, self._children, folder, os.getpid())
            self._folder, inside = folder, Path(folder).resolve() / "fmu"
            if self._path.is_dir():  # known by a plain name, for some FMUs cannot read what an URI makes of others
                inside.symlink_to(self._path.resolve())
            else:
                try:
                    with zipfile.ZipFile(self._path) as pack:
                        _unpack(pack, inside)
                except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError) as error:
                    raise PartError(f"{self._name} cannot be unpacked: {error}", "export or copy it again") from error
                (inside / "resources").mkdir(exist_ok=True)
            self._wiring = replace(self._wiring, folder=str(inside))
        return self._folder

    def _asked(self, tasks: dict[int, list[tuple[int, Task]]]) -> dict[int, Answer]:
        """The answers of all children, or `PartError` about the first that has none."""
        found: dict[int, Answer] = {}
        waiting = {}
        for number, mine in tasks.items():
            child = self._children[number]
            child.seen = ticks()
            waiting[child.pipe] = child, [i for i, _ in mine]
            try:
                child.pipe.send([task for _, task in mine])
            except OSError:
                raise self._died(child) from None
        while waiting:
            for pipe in wait(list(waiting), LOOK):
                child, places = waiting.pop(pipe)  # type: ignore[call-overload]
                try:
                    said = child.pipe.recv()
                except (EOFError, OSError):
                    raise self._died(child) from None
                if isinstance(said, Failure):
                    raise self._refused(said)
                found |= dict(zip(places, said, strict=True))
            for child, _ in waiting.values():
                calls = HEAD.unpack(child.box[: HEAD.size])[0]
                if calls != child.calls:
                    child.calls, child.seen = calls, ticks()
                elif child.process.poll() is not None and not child.pipe.poll():
                    raise self._died(child)  # what it started holds its pipe open
                elif ticks() - child.seen > self._timeout:
                    raise self._late(child)
        return found

    # -- what went wrong ----------------------------------------------------------------------------------------------

    def _refused(self, failure: Failure) -> PartError:
        if failure.full:
            return self._greedy(failure.time)
        if library := missing(failure.text):
            return PartError(f"{self._name} needs {library}, which this machine does not have", "install that library")
        module = re.search(r"No module named '([\w.]+)'", failure.text)
        return PartError(
            f"{self._name} at t = {failure.time:g} s: {failure.text}",
            f"it is written in Python: install {module[1]} beside gemel"
            if module
            else "try it in the tool it came from",
        )

    def _late(self, child: _Child) -> PartError:
        _, time, _ = HEAD.unpack(child.box[: HEAD.size])
        try:
            pages = int(Path(f"/proc/{child.process.pid}/statm").read_text("ascii").split()[0])
        except (OSError, ValueError, IndexError):
            pages = 0
        if self._full(child, pages):
            return self._greedy(time)
        return PartError(
            f"{self._name} did not answer within {self._timeout:g} s at t = {time:g} s",
            "give it more: timeout, or look for an endless loop in it",
        )

    def _died(self, child: _Child) -> PartError:
        try:
            code = child.process.wait(START)
        except subprocess.TimeoutExpired:
            code = 0
        _, time, pages = HEAD.unpack(child.box[: HEAD.size])
        if self._full(child, pages):
            return self._greedy(time)
        if code < 0:
            return PartError(f"{self._name} crashed ({signal.Signals(-code).name}) at t = {time:g} s", REPORT)
        return PartError(f"{self._name} ended its process (exit code {code}) at t = {time:g} s", REPORT)

    def _greedy(self, time: float) -> PartError:
        return PartError(
            f"{self._name} wanted more than {self._memory / 2**30:.3g} GiB at t = {time:g} s",
            'give it more: memory = "8GiB", or look for a leak in it',
        )

    def _full(self, child: _Child, pages: int) -> bool:
        return pages * resource.getpagesize() > child.used + FULL * self._memory


def begun(order: Order) -> Point:
    """An instance that is to begin, and need not do so yet."""
    return Point(None, "", Link(order, None, 1))


def _after(point: Point | None, order: Order, answer: Answer, home: str) -> Point:
    """The point after an order. One that is saved forgets in the end how it came to be."""
    past = point.past if point is not None else None
    length = past.length + 1 if past is not None else 1
    forgets = length > LONGEST or (point is not None and past is None)
    return Point(answer.saved, home, None if forgets else Link(order, past, length))


def _task(slot: int, point: Point | None, order: Order, home: str | None) -> Task:
    """What brings an instance in a slot from a point through an order; `home` None: it stands there already."""
    if home is None:
        return Task(slot, None, [order])
    if point is None:
        return Task(slot, (order[1], order[2]), [])
    if point.saved is not None and (point.home == home or point.past is None):
        return Task(slot, point.saved, [order])
    orders, link = [order], point.past
    while link is not None and link.before is not None:
        orders.append(link.order)
        link = link.before
    if link is None:
        raise PartError(
            f"an FMU that cannot save its state has run for over {LONGEST} steps: it cannot be replayed any more",
            "begin anew, or export it with canGetAndSetFMUstate",
        )
    return Task(slot, (link.order[1], link.order[2]), orders[::-1])


def _unpack(pack: zipfile.ZipFile, inside: Path) -> None:
    """All that is in an FMU; what can be run there can be run here."""
    for entry in pack.infolist():
        entry.filename = entry.filename.replace("\\", "/")
        made, mode = pack.extract(entry, inside), entry.external_attr >> 16
        if mode & 0o111 and not entry.is_dir():
            os.chmod(made, mode & 0o777 | 0o600)


def _end(children: list[_Child], folder: str, owner: int, grace: float = GRACE) -> None:
    """End the children, those that are idle after they took leave of the FMU, and forget the folder if there is one."""
    if os.getpid() != owner:  # a fork of the process that they belong to
        return
    for child in children if grace else ():
        with suppress(OSError, ValueError):
            child.pipe.send(None)
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(grace or 0.001)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
        child.pipe.close()
        child.box.close()
    children.clear()
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
