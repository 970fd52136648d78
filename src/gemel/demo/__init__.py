"""`gemel demo`: an emulated plant on an embedded broker, and a twin that has never seen it before.

The plant's past is played to the twin first, so that it knows its signals; then both go live, and the scheduled faults
come. Everything lands in a folder (`gemel-demo` for the transformer): the twin file a person can read and change, and
the store. A demo always begins anew: with the twin file that is shipped, and an empty store.
"""

from __future__ import annotations

import asyncio
import json as json_
import math
import os
import re
import shutil
import signal
import socket
import sys
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from gemel import attach
from gemel.config import load
from gemel.connectors.broker import Broker
from gemel.core.clock import pause, ticks
from gemel.core.codec import jsonable
from gemel.core.errors import GemelError, InputError, nearest
from gemel.core.setting import Setting
from gemel.core.units import SECOND, duration
from gemel.core.values import Ack, Batch, Command
from gemel.demo.tell import Lines, summary
from gemel.loop.run import Loop
from gemel.packs.doors import Doors, Ticking
from gemel.packs.show import Demo, demo
from gemel.packs.station import Station
from gemel.serve.board import Board
from gemel.serve.host import Host
from gemel.serve.terminal import progress, set_aside
from gemel.twin import MODES, Twin

PORT = "mqtt://127.0.0.1:1883"  # in the shipped twin file; the demo's broker takes a free port


class Past:
    """The plant's rows before the start, as a source. Its actuators answer only once the plant is live."""

    def __init__(self, plant: Ticking) -> None:
        self._plant = plant

    def bind(self, setting: Setting) -> None:
        """Finds the signals."""
        self._doors = Doors(setting)

    async def stream(self) -> AsyncIterator[Batch]:
        yield self._doors.batch(self._plant.past)

    def confirm(self, batch: Batch) -> None:
        """Nothing to forget."""

    async def send(self, command: Command) -> Ack:
        return Ack(command.id, "refused", command.expires, "the past cannot be changed")


def show(
    name: str, speed: float, span: str, picture: Path | None, json: bool, ui: bool = True, mode: str = "auto"
) -> None:
    """Run a demo until Ctrl-C, or for `span`; `picture` takes the last screen as SVG, `ui` opens the window. In `mode`
    advise a person approves what the twin proposes, in observe nothing is sent."""
    chosen = demo(name)
    if not 0 < speed < math.inf:
        raise InputError(f"speed {speed:g} must be above 0", "600 is ten plant minutes a second")
    if mode not in MODES:
        raise InputError(f"mode '{mode}' is not one of {', '.join(MODES)}{nearest(mode, MODES)}")
    board = Board(chosen.headline, chosen.board)
    found = asyncio.run(_show(chosen, board, speed, duration(span) / SECOND if span else None, json, ui, mode))
    if picture:
        board.save(picture)
    if json:
        print(json_.dumps(jsonable(found)))
    else:
        file = f"{chosen.folder}/{chosen.name}.toml"
        summary(found, [line.format(file=file) for line in chosen.next])


async def _show(
    demo: Demo, board: Board, speed: float, seconds: float | None, json: bool, ui: bool, mode: str
) -> dict[str, Any]:
    began = ticks()
    async with Broker() as broker:
        file = begin(Path(demo.folder), broker.url, mode, demo)
        plant = demo.plant()
        await _learn(plant, file, json, demo.past)
        twin = load(file)
        lines = Lines(plant.start)
        ready = ticks() - began
        station = asyncio.create_task(Station(plant, broker.url, demo.topic, speed).run())

        def watch(loop: Loop) -> None:
            board.watch(loop)
            lines.watch(loop)

        live = asyncio.create_task(_window(twin, file, watch, board, json) if ui else twin.live(watch=watch))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, live.cancel)
        await _draw(board, lines, live, station, seconds, json)
        for task in (live, station):
            task.cancel()
        await asyncio.gather(live, station, return_exceptions=True)
        failed = next((t.exception() for t in (live, station) if not t.cancelled() and t.exception()), None)
        if failed:
            raise failed
    return {**lines.summary(), "ready_s": round(ready, 1), "folder": demo.folder}


async def _window(twin: Twin, file: Path, watch: Callable[[Loop], None], board: Board, quiet: bool) -> None:
    """The twin lives behind a server with the window. Ends when the twin ends badly, or is cancelled."""
    from gemel.serve.http import server

    host = Host([twin], [file])
    host[twin.name].watchers.append(watch)

    def ready(url: str) -> None:
        board.window = url
        if not quiet:
            Console().print(f"the window: {url}/twins/{twin.name}", highlight=False)
        if not quiet and Console().is_terminal and (sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY")):
            webbrowser.open(f"{url}/twins/{twin.name}")

    async def ended() -> None:
        while not host[twin.name].trouble:
            await pause(0.5)
        raise GemelError(host[twin.name].trouble)

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(ended())
        await server.serve(
            host, server.Address(port=_free(server.PORT)), file.parent / "gemel.audit.jsonl", None, ready
        )
        watching.cancel()  # it has been told to stop


def _free(port: int) -> int:
    """The port, or 0 when somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def begin(folder: Path, url: str, mode: str = "auto", chosen: Demo | None = None) -> Path:
    """The twin file and its plan in `folder`, heard through the broker at `url`, and no store yet. A file somebody has
    changed is set aside. Raises `InputError` while another demo runs there."""
    chosen = chosen or demo("transformer")
    file, store = folder / f"{chosen.name}.toml", folder / f"{chosen.name}.gemel"
    if attach.listening(Path(f"{store}.sock")):
        raise InputError(f"a demo is running in {folder}", f"ask it: gemel forecast {file}; or stop it first")
    folder.mkdir(exist_ok=True)
    if file.exists():
        held = re.sub(r"mqtt://127\.0\.0\.1:\d+", PORT, file.read_text(encoding="utf-8"))
        if held not in (_shipped(chosen, file.name, m) for m in MODES):
            set_aside(file)
    file.write_text(_shipped(chosen, file.name, mode).replace(PORT, url), encoding="utf-8")
    for name in chosen.beside:
        (folder / name).write_bytes(resources.files(chosen.package).joinpath(name).read_bytes())
    for end in ("", ".wal", ".sock"):
        Path(f"{store}{end}").unlink(missing_ok=True)
    for beside in (store.with_suffix(".artifacts"), Path(f"{store}.blobs")):  # fitted to that store, and its pictures
        shutil.rmtree(beside, ignore_errors=True)
    return file


def _shipped(demo: Demo, name: str, mode: str = "auto") -> str:
    """A file of the pack. In `advise` a proposal holds for longer: a plant hour is six seconds for a person."""
    text = resources.files(demo.package).joinpath(name).read_text(encoding="utf-8")
    text = text.replace('mode = "auto"', f'mode = "{mode}"')
    return text.replace("[policy]\n", '[policy]\nexpires = "12h"\n') if mode == "advise" else text


async def _learn(plant: Ticking, file: Path, quiet: bool, what: str) -> None:
    """The plant's past through the same twin, with few forecasts and no commands."""
    twin = load(file)
    twin.mode = "observe"
    for stage in (twin.forecaster, twin.policy):
        if stage:
            stage.every = 6 * 3600 * SECOND
    if not twin.estimator:  # then no detector waits for what it is off by: they read the history themselves
        twin.detectors, twin.policy, twin.every = (), None, "1h"
    twin.connectors = {"plant": Past(plant)}
    total = round((plant.start - plant.past[0][0]) / duration(twin.every))
    with progress(what, quiet) as step:
        await twin.live(watch=lambda loop: step(loop.state.turns, total, "estimating and forecasting"))


async def _draw(
    board: Board,
    lines: Lines,
    live: asyncio.Task[None],
    station: asyncio.Task[None],
    seconds: float | None,
    json: bool,
) -> None:
    console = Console()
    end = ticks() + seconds if seconds else float("inf")
    if json or not console.is_terminal:
        while ticks() < end and not live.done() and not station.done():
            await pause(0.2)
            if not json:
                lines.tell(console)
        with suppress(GemelError):  # the store may have been closed meanwhile
            board.draw()
        return
    with Live(board.draw(), console=console, screen=True, auto_refresh=False) as screen:
        while ticks() < end and not live.done() and not station.done():
            await pause(0.25)
            with suppress(GemelError):  # as above
                screen.update(board.draw(), refresh=True)
