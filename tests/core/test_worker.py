"""A part in a process of its own: late, ill or gone, and back with its memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from gemel.core.errors import PartError
from gemel.core.worker import Worker


class Guest:
    """Counts its calls; does what it is told."""

    def __init__(self) -> None:
        self.count = 0

    def answer(self, what: str = "", *, gain: int = 1) -> int:
        if what == "hang":
            time.sleep(60)
        if what == "raise":
            raise ValueError("out of range")
        if what == "die":
            os._exit(1)
        self.count += gain
        return self.count

    def snapshot(self) -> Mapping[str, Any]:
        return {"count": self.count}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


@pytest.fixture
def worker() -> Iterator[Worker]:
    held = Worker(Guest(), budget=0.5)
    yield held
    held.close()


def test_a_guest_that_hangs_is_ended_and_starts_again_with_its_memory(worker: Worker) -> None:
    assert worker.call("answer") == 1
    assert worker.call("answer", gain=4) == 5
    assert worker.snapshot() == {"count": 5}
    with pytest.raises(PartError, match=r"Guest did not answer within 0\.5 s"):
        worker.call("answer", "hang")
    assert worker.call("answer") == 6


def test_a_guest_that_raises_or_dies_says_so(worker: Worker) -> None:
    with pytest.raises(PartError, match="Guest raised ValueError: out of range"):
        worker.call("answer", "raise")
    assert worker.call("answer") == 1  # raising costs nothing
    with pytest.raises(PartError, match="Guest ended its process"):
        worker.call("answer", "die")
    assert worker.call("answer") == 1
