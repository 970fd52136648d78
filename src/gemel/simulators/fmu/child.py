"""The process that FMUs run in: it obeys one pipe, keeps a black box, and ends with its parent.

The black box is a page shared with the parent that outlives this process: how many signs of life there were, the FMU's
time at the last one, and, if a signal ended it, how much memory was in use then.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import shutil
import signal
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from gemel.core.values import Floats
from gemel.simulators.fmu.description import Saved, Wiring

PAGE = 4096
HEAD = struct.Struct("=Qdq")  # signs of life, the FMU's time, the address space in pages when a signal came
STATM = "/proc/self/statm"
FATAL = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL")
PLAIN = ("Exception", "FMICallException", "Absent", "RuntimeError", "Ended")
"""Errors whose text says it all."""
FULL = 0.75
"""An instance that fails with this share of its memory in use wanted more of it."""


Order = tuple[Any, ...]
"""`("begin", states [n], parameters [p])`, `("steps", inputs [t, u], dt)`, `("assign", states, parameters)` or
`("observe", inputs [u])`, which moves nothing."""


@dataclass(frozen=True, slots=True)
class Task:
    """What one instance is to do: be what was saved (or begin anew), then the orders one by one."""

    slot: int
    begin: Saved | tuple[Floats, Floats] | None  # states [n] and parameters [p] to begin anew with; None: goes on
    orders: Sequence[Order]


@dataclass(frozen=True, slots=True)
class Answer:
    """How an instance stands after its orders; `outputs` are [t, y] after the last one if it was steps, else [y]."""

    outputs: Floats
    states: Floats
    saved: Saved | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer, at which time of the FMU; `full` if memory was short."""

    text: str
    time: float
    full: bool = False


class Host:
    """The instances of this process, and the black box."""

    def __init__(self, wiring: Wiring, kind: Callable[..., Any], box: mmap.mmap, limit: int) -> None:
        self.wiring, self._kind, self.box, self.limit = wiring, kind, box, limit
        self._functions: Any = None
        self.kept: Any = None  # what C may call back
        self.said: deque[str] = deque(maxlen=3)
        self._held: dict[int, Any] = {}
        self._nothing = np.full(len(wiring.states), np.nan), np.full(len(wiring.parameters), np.nan)
        self._calls, self.time = 0, wiring.fmu.start

    def tick(self, time: float) -> None:
        self._calls, self.time = self._calls + 1, time
        self.box[: HEAD.size] = HEAD.pack(self._calls, time, 0)

    def do(self, task: Task) -> Answer:
        held = self._began(task)
        self.tick(held.time)
        outputs = np.empty(0)
        for what, *given in task.orders:
            if what == "steps":
                outputs = self._steps(held, *given)
            elif what == "assign":
                held.assign(*given)
                self.tick(held.time)
            else:
                before = held.fed.copy()
                held.feed(given[0])
                outputs = held.outputs()
                held.feed(before)
        if not task.orders or task.orders[-1][0] == "assign":
            outputs = held.outputs()
        return Answer(outputs, held.states(), held.save())

    def _began(self, task: Task) -> Any:
        held = self._held.get(task.slot)
        if task.begin is None:
            return held
        if held is not None and not isinstance(task.begin, Saved):
            self._held.pop(task.slot).close()
            held = None
        if held is None:
            states, parameters = task.begin if not isinstance(task.begin, Saved) else self._nothing
            held = self._held[task.slot] = self._make(states, parameters)
        if isinstance(task.begin, Saved):
            held.load(task.begin)
        return held

    def _make(self, states: Floats, parameters: Floats) -> Any:
        from gemel.simulators.fmu.library import library

        if self._functions is None:
            self._functions = library(self.wiring)
        given = self.wiring, self._functions, self.said.append, states, parameters
        try:
            return self._kind(*given)
        except Exception:
            if not self.said and not self.wiring.fmu.alone:  # once more, to hear why
                with suppress(Exception):
                    self._kind(*given, aloud=True)
            raise

    def close(self) -> None:
        """Take leave of every instance."""
        for held in self._held.values():
            with suppress(Exception):
                held.close()

    def _steps(self, held: Any, inputs: Floats, dt: float) -> Floats:
        outputs = np.empty((len(inputs), len(self.wiring.outputs)))
        for i, row in enumerate(inputs):
            held.feed(row)
            held.step(dt, self.tick)
            outputs[i] = held.outputs()
        return outputs

    def failed(self, error: BaseException) -> Failure:
        full = isinstance(error, MemoryError) or pages() * resource.getpagesize() > self.limit
        kind = type(error).__name__
        text = str(error).rstrip(".") if kind in PLAIN else f"{kind}: {error}"
        said = "; ".join(self.said)
        return Failure(f"{text}; it says: {said}" if said else text, self.time, full)


def pages() -> int:
    """Address space of this process; 0 where the system does not say."""
    try:
        with open(STATM, "rb") as file:
            return int(file.read().split()[0])
    except OSError:
        return 0


def main(pipe_number: int, box_number: int) -> None:
    """Called in a new process; ends when the pipe does."""
    pipe = Connection(pipe_number)
    os.set_inheritable(pipe_number, False)  # not for what the FMU may start
    box = mmap.mmap(box_number, PAGE)
    wiring, memory = pipe.recv()
    _silence()
    folder = os.path.dirname(os.getcwd())
    threading.Thread(target=_watch, args=(os.getppid(), folder), daemon=True).start()
    try:
        kind = _interface(wiring.fmu.interface)
    except (ImportError, OSError, AttributeError) as error:
        pipe.send(Failure(f"FMPy or its solver CVODE cannot be loaded here: {error}", 0.0))
        return
    used = pages() * resource.getpagesize()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends this process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # some systems have no such limit
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
    host = Host(wiring, kind, box, used + int(FULL * memory))
    host.kept = _black_box(box)
    pipe.send(used)
    while True:
        try:
            tasks = pipe.recv()
        except (EOFError, OSError):
            _leave(folder)
        if tasks is None:
            host.close()
            os._exit(0)
        try:
            said: Any = [host.do(task) for task in tasks]
        except BaseException as error:
            said = host.failed(error)
        pipe.send(said)


def _interface(name: str) -> Callable[..., Any]:
    """The class of instances; loaded before the limits hold."""
    if name == "cs":
        from gemel.simulators.fmu.instance import CoSimulation

        return CoSimulation
    from gemel.simulators.fmu.exchange import ModelExchange

    return ModelExchange


def _silence() -> None:
    """What an FMU prints goes nowhere, and it can read nothing."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _watch(parent: int, folder: str) -> None:
    """Ends this process when its parent is gone, whatever the FMU is doing."""
    quiet = threading.Event()
    while os.getppid() == parent:
        quiet.wait(1.0)
    _leave(folder)


def _leave(folder: str) -> None:
    """The parent is gone, so nobody else tidies up. Without the FMU's own leave-taking, which may hang."""
    shutil.rmtree(folder, ignore_errors=True)
    if os.getpgrp() == os.getpid():  # with what the FMU has started
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _black_box(box: mmap.mmap) -> Any:
    """A fatal signal writes the address space into the box, then does what it would have done.

    It works with what there is already: the heap may be broken, or full. The answer must be kept: C calls it."""
    if not os.path.exists(STATM):  # no Linux: a signal then only says its name
        return None
    file, page, hard = os.open(STATM, os.O_RDONLY), bytearray(64), resource.getrlimit(resource.RLIMIT_AS)[1]
    libc = ctypes.CDLL(None)
    libc.signal.restype, libc.signal.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]

    def note(number: int) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        libc.signal(number, None)
        os.preadv(file, [page], 0)
        box[16:24] = struct.pack("=q", int(page.split(b" ", 1)[0]))

    made = ctypes.CFUNCTYPE(None, ctypes.c_int)(note)
    for name in FATAL:
        libc.signal(getattr(signal, name), ctypes.cast(made, ctypes.c_void_p))
    return made
