"""Twins of one process leave each other alone."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from served import Line, twin

from gemel import Twin
from gemel.core.clock import pause
from gemel.core.errors import StoreError
from gemel.core.notice import Notice
from gemel.serve.host import Host
from gemel.serve.http.metrics import metrics
from gemel.trust.audit import Audit


class Ear:
    """Hears what a twin tells."""

    least, gather, place = 0.0, "10ms", "ear"

    def __init__(self) -> None:
        self.heard: list[Notice] = []

    def send(self, notice: Notice) -> None:
        self.heard.append(notice)


async def _until(so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not so():
            await pause(0.02)


async def _hosted(*twins: Twin, then: Callable[[Host], object], open: Callable[[], object] = bool) -> None:
    """Let them live until `then` is so; `open` is called when their stores are open."""
    host = Host(twins)
    host.open()
    open()
    living = asyncio.create_task(host.run())
    try:
        await _until(lambda: then(host) or living.done())
        assert not living.done(), living.exception()
    finally:
        living.cancel()
        await asyncio.wait({living})


def test_a_twin_whose_folder_is_gone_ends_alone(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    one, two = twin(tmp_path / "one", Line(), "one"), twin(tmp_path, Line(), "two")

    def then(host: Host) -> object:
        return host["one"].trouble and two.loop and two.loop.state.turns > 1

    asyncio.run(_hosted(one, two, then=then, open=lambda: shutil.rmtree(tmp_path / "one")))


def test_metrics_are_told_though_a_twin_cannot_be_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    host = Host([twin(tmp_path / "file", Line(), "one"), twin(tmp_path, Line(), "two")])
    text = asyncio.run(metrics(list(host), {}))
    host.close()
    assert 'gemel_running{twin="one"} 0' in text
    assert 'gemel_turns_total{twin="one"}' not in text
    assert 'gemel_turns_total{twin="two"} 0' in text


def test_turns_and_news_wait_for_nobody_elses_thread(tmp_path: Path) -> None:
    async def go() -> None:
        loop, free, line, ear = asyncio.get_running_loop(), threading.Event(), Line(), Ear()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = asyncio.ensure_future(asyncio.to_thread(free.wait))
        shed = twin(tmp_path, line)
        shed.notifiers = (ear,)
        warm = False

        def rung(_: Host) -> object:
            nonlocal warm
            if not warm and shed.loop and shed.loop.state.turns > 1:
                warm = True
                line.say(9.0)
            return ear.heard

        try:
            await _hosted(shed, then=rung)
            assert ear.heard[0].news[0][0] == "opened"
            assert not busy.done()
        finally:
            free.set()
            await busy

    asyncio.run(go())


def test_what_was_done_is_answered_though_its_outcome_cannot_be_noted(tmp_path: Path) -> None:
    class Full(Audit):
        def write(self, **what: object) -> int:
            if what["verdict"] == "done":
                raise StoreError("the disk is full")
            return super().write(**what)

    shed = twin(tmp_path, Line())
    host = Host([shed])
    host.audited(Full(tmp_path / "audit.jsonl"))
    host.open()

    async def go() -> object:
        return await host["shed"]._attached("maintain", {"subject": "air", "span": "1h", "note": "filter"}, "ann")

    assert asyncio.run(go())
    host.close()
