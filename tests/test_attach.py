"""Several doors to one twin: while it runs, others attach; afterwards the file opens."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from gemel import Signal, Stage, Twin, attach
from gemel.core.clock import Wall
from gemel.core.errors import GemelError, InputError
from gemel.core.values import Ack, Batch, Command
from gemel.forecasters.naive import Naive
from gemel.stores.duckdb import Duckdb
from serve.served import Wind

MINUTE = 60 * 10**9


class Line:
    """A plant that says one hundred values and then stays on the line."""

    def __init__(self) -> None:
        self.sent: list[Command] = []
        self.over = threading.Event()

    async def stream(self) -> AsyncIterator[Batch]:
        now = Wall().now() // MINUTE * MINUTE
        time = now - np.arange(100)[::-1] * MINUTE
        yield Batch.of(np.zeros(100), time, np.sin(np.arange(100) / 10))
        await asyncio.to_thread(self.over.wait)

    def confirm(self, batch: Batch) -> None:
        """Nothing to forget."""

    async def send(self, command: Command) -> Ack:
        self.sent.append(command)
        return Ack(command.id, "done", command.expires)


def twin(folder: Path, line: Line) -> Twin:
    return Twin(
        name="shed",
        signals=[
            Signal("air", unit="degC", address="line:air"),
            Signal("fan", role="controlled", low=0, high=2, address="line:fan"),
        ],
        every="1s",
        horizon="30min",
        connectors={"line": line},
        store=Duckdb(str(folder / "shed.gemel")),
        forecaster=Stage(Naive(), every=10**9, step=MINUTE, context=100 * MINUTE),
        policy=Wind(),
        mode="advise",
    )


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Twin, Line]]:
    line = Line()
    first = twin(tmp_path, line)
    thread = threading.Thread(target=first.run)
    thread.start()
    second = twin(tmp_path, Line())
    socket = second.socket
    assert socket is not None
    ready = threading.Event()
    for _ in range(200):
        if attach.listening(socket) and second.status()["decisions"] > 1:
            break
        ready.wait(0.05)
    yield second, line
    line.over.set()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.slow
def test_questions_are_answered_by_the_running_twin(running: tuple[Twin, Line]):
    other, _ = running
    assert other.status()["running"] is True
    assert len(other.history(["air"], native=False)) == 100
    ahead = other.forecast("10min")
    assert ahead.values.shape == (1, 10, 11)
    assert other.decisions()[-1].reason == "it is warm"


def test_a_proposal_is_approved_from_outside_and_sent_once(running: tuple[Twin, Line]):
    other, line = running
    proposed = other.decisions()[-1]
    assert proposed.status == "proposed"
    assert other.approve(proposed.id).status == "sent"
    assert [c.value for c in line.sent] == [2.0]
    with pytest.raises(GemelError, match="is sent, not open for approval"):
        other.approve(proposed.id)


@pytest.mark.slow
def test_a_proposal_is_rejected(running: tuple[Twin, Line]):
    other, line = running
    id = other.decisions()[-1].id
    assert other.reject(id).status == "rejected"
    assert line.sent == []


def test_errors_travel_through_the_socket(running: tuple[Twin, Line]):
    other, _ = running
    with pytest.raises(GemelError, match="unknown signal 'ari', did you mean 'air'"):
        other.history(["ari"])
    assert other.socket is not None
    with pytest.raises(GemelError, match="a twin cannot be asked 'close'"):
        attach.call(other.socket, "close", {})


def test_a_twin_that_does_not_run_answers_from_its_file(tmp_path: Path):
    line = Line()
    line.over.set()
    twin(tmp_path, line).run()
    later = twin(tmp_path, Line())
    assert later.status()["running"] is False
    assert len(later.history(["air"], native=False)) == 100
    with pytest.raises(InputError, match="is not running, so nothing can be sent"):
        later.approve("decision-1")
    later.close()


def test_many_twins_that_start_at_once_leave_the_files_of_others_alone(tmp_path: Path) -> None:
    async def open_all() -> list[int]:
        async def one(i: int) -> int:
            async with attach.serve(tmp_path / f"{i}.sock", answer):
                await asyncio.sleep(0.01 * (i % 3))
                return stat.S_IMODE((tmp_path / f"{i}.sock").stat().st_mode)

        async def answer(*_: object) -> None:
            return None

        return await asyncio.gather(*(one(i) for i in range(20)))

    assert set(asyncio.run(open_all())) == {0o600}
    held = os.umask(0)
    os.umask(held)
    assert held & 0o100 == 0, "with the sockets' mask left behind nobody could enter a folder made later"
