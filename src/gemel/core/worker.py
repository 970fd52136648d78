"""A part in a process of its own, so that one that hangs can be stopped.

A guest (a large network, a native simulator, somebody's script) is given a time budget. What it does not answer in
time is lost, its process is ended, and the next call starts a new one from the guest's last known memory.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from gemel.core.errors import PartError


class Worker:
    """Stands in for `part`, whose methods then run in a child process; a call raises `PartError` when the part is late
    (`budget`, seconds) or raised itself."""

    def __init__(self, part: Any, budget: float, start: float = 20.0) -> None:
        self.name = type(part).__name__
        self.budget = budget
        self._part = part
        self._start = start  # a fresh process first has to import things
        self._memory: Mapping[str, Any] | None = None
        self._process: Any = None
        self._pipe: Connection | None = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        return partial(self.call, name) if callable(found) else self.call("__getattribute__", name)

    def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """`part.method(...)`, within the budget (seconds)."""
        try:
            pipe = self._pipe or self._spawn()
            pipe.send((method, arguments, named))
            if not pipe.poll(self.budget):
                self.close()
                raise PartError(
                    f"{self.name} did not answer within {self.budget:g} s",
                    "raise its budget, or choose another",
                )
            good, answer = pipe.recv()
        except (EOFError, OSError) as error:
            self.close()
            raise PartError(f"{self.name} ended its process while answering") from error
        if not good:
            raise PartError(f"{self.name} raised {answer}")
        return answer

    def snapshot(self) -> Mapping[str, Any]:
        """The guest's memory, also kept for the next process should this one be ended."""
        if hasattr(self._part, "snapshot"):
            self._memory = self.call("snapshot")
        return self._memory or {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Give the guest an earlier memory."""
        self._memory = state
        if self._pipe and state:
            self.call("restore", state)

    def close(self) -> None:
        """End the process."""
        if self._pipe:
            self._pipe.close()
            self._process.kill()
            self._process.join()
            self._pipe = None

    def _spawn(self) -> Connection:
        context = multiprocessing.get_context("spawn")  # a forked child would inherit sockets and locks
        here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, self._part, self._memory), daemon=True)
        self._process.start()
        there.close()
        self._pipe = here
        if not here.poll(self._start) or not here.recv():
            self.close()
            raise PartError(f"{self.name} did not start within {self._start:g} s")
        return here


def _serve(pipe: Connection, part: Any, memory: Mapping[str, Any] | None) -> None:
    if memory and hasattr(part, "restore"):
        with suppress(Exception):  # a memory it cannot take up any more: it starts fresh
            part.restore(memory)
    pipe.send(True)
    while True:
        try:
            method, arguments, named = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send((True, getattr(part, method)(*arguments, **named)))
        except Exception as error:
            pipe.send((False, f"{type(error).__name__}: {error}"))
