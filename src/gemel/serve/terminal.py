"""The terminal: a progress line while a twin runs, and tables and pictures of what came out."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gemel.core.clock import ticks
from gemel.core.units import stamp
from gemel.core.values import QUALITIES, Forecast, Frame, Signals
from gemel.report import report
from gemel.serve.chart import chart, legend
from gemel.serve.scale import counted
from gemel.twin import Twin

BLOCKS = "▁▂▃▄▅▆▇█"
CHARTS = 8
"""How many signals are drawn when none is named."""


def run(twin: Twin, until: int | None, limit: float | None, quiet: bool) -> dict[str, Any]:
    """Run a twin to its end (or for `limit` seconds, or until Ctrl-C) and report on it."""
    twin.open()
    began = ticks()
    try:
        with progress(f"twin {twin.name}", quiet) as step:
            asyncio.run(_bounded(twin, until, limit, lambda loop: step(loop.state.points, 0, _line(loop))))
        seconds = ticks() - began
        twin.open()
        with progress("scoring", quiet):
            found = report(twin)
    finally:
        twin.close()
    return {**found, "seconds": round(seconds, 1)}


async def _bounded(twin: Twin, until: int | None, limit: float | None, watch: Callable[[Any], None]) -> None:
    live = asyncio.ensure_future(twin.live(until, watch))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, live.cancel)  # a clean end: memory is recorded, the store closed
    await asyncio.wait({live}, timeout=limit)
    live.cancel()
    with suppress(asyncio.CancelledError):
        await live


def _line(loop: Any) -> str:
    state = loop.state
    when = stamp(state.now) if state.now else "waiting for telemetry"
    return f"{when}  {state.points:,} points  {state.turns:,} turns  {state.decisions:,} decisions"


@contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """A moving line on stderr; call it with (done, total, text)."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda *_: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, refresh_per_second=5) as bar:
        task = bar.add_task(title, total=None, text="")
        yield lambda done=0, total=0, text="": bar.update(task, completed=done, total=total or None, text=text)


@contextmanager
def transfer(quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A bar a file, for downloads."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda *_: None
        return
    with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=console) as bar:
        tasks: dict[str, Any] = {}

        def step(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield step


def spark(values: Sequence[float] | np.ndarray[Any, Any], width: int = 24) -> str:
    """A line of blocks; missing values are blanks."""
    held = np.asarray(values, float)
    if len(held) > width:
        edges = np.linspace(0, len(held), width + 1).astype(int)
        held = np.array([_mean(held[a:b]) for a, b in pairwise(edges)])
    good = held[np.isfinite(held)]
    if not len(good):
        return " " * len(held)
    low, span = good.min(), float(np.ptp(good)) or 1.0
    return "".join(BLOCKS[min(int((v - low) / span * 7.999), 7)] if np.isfinite(v) else " " for v in held)


def _tables() -> Console:
    """Where tables go: in a pipe there is no screen to be cut to."""
    console = Console()
    return console if console.is_terminal else Console(width=240)


def _mean(part: np.ndarray[Any, Any]) -> float:
    good = part[np.isfinite(part)]
    return float(good.mean()) if len(good) else float("nan")


def print_report(found: Mapping[str, Any], *steps: str) -> None:
    """The report of a run."""
    console = _tables()
    decisions = ", ".join(f"{n} {status}" for status, n in found["decisions"].items()) or "none"
    findings = ", ".join(f"{n} x {name}" for name, n in found["findings"].items()) or "none"
    console.print(
        f"twin [bold]{found['twin']}[/]: {found['points']:,} points, {found['turns']:,} turns in {found['seconds']} s"
    )
    console.print(f"decisions: {decisions}\nfindings: {findings}")
    for text, n in found["trouble"].items():
        console.print(f"trouble: {n} x {text}", markup=False)
    if found["acks"]:
        console.print("commands: " + ", ".join(f"{n} {state}" for state, n in found["acks"].items()))
    if found["forecasts"]:
        table = Table(title=f"forecasts of {found['signal']} over the last 20 %", title_justify="left")
        for name in ("forecaster", "windows", "MASE", "CRPS", "coverage of the 80 % band"):
            table.add_column(name, justify="left" if name == "forecaster" else "right")
        for row in found["forecasts"]:
            table.add_row(
                row["forecaster"],
                str(row["windows"]),
                f"{row['mase']:.3f}",
                f"{row['crps']:.4f}",
                f"{row['coverage']:.1%}",
            )
        console.print(table)
    for i, step in enumerate(steps):
        console.print(f"{'next: ' if i == 0 else '      '}{step}", highlight=False)


def print_forecast(found: Forecast, names: Sequence[str]) -> None:
    """A forecast as sparklines and a table of a few instants."""
    console = _tables()
    rows = np.unique(np.linspace(0, len(found) - 1, 9).astype(int))
    steps = counted(found.issued)
    for name in names:
        middle = found.median(name)
        low, high = found.quantile(name, 0.1), found.quantile(name, 0.9)
        room = min(console.width, 80) - len(f"{name}    by {found.by}")
        line = Text.assemble((name, "bold"), f"  {spark(middle, min(max(room, 8), 48))}  by {found.by}")
        console.print(line, soft_wrap=True)
        table = Table()
        for head in ("step" if steps else "time (UTC)", "10 %", "median", "90 %"):
            table.add_column(head, justify="right")
        for i in rows:
            when = str(found.time[i]) if steps else stamp(int(found.time[i]))
            table.add_row(when, f"{low[i]:.4g}", f"{middle[i]:.4g}", f"{high[i]:.4g}")
        console.print(table)


def print_charts(past: Frame, found: Forecast, names: Sequence[str] | None, units: Mapping[str, str]) -> None:
    """A forecast as charts, each after the history before it: of these signals, else of the first `CHARTS`."""
    console = Console()
    colour = console.color_system is not None and not console.no_color
    for name in names or found.signals[:CHARTS]:
        drawn = chart(past, found, name, units.get(name, ""), width=console.width, colour=colour)
        console.print(drawn, soft_wrap=True, end="\n\n")
    console.print(legend(found.issued, colour))
    if not names and len(found.signals) > CHARTS:
        print(f"the first {CHARTS} of {len(found.signals)} signals; name others: --signal {found.signals[CHARTS]}")


def print_adapted(card: Mapping[str, Any]) -> None:
    """The gate's verdict on a head, a line a signal."""
    scores = card["scores"]
    table = Table(title=f"CRPS on {scores['windows']} held-back windows, {card['horizon']} steps", title_justify="left")
    for name in ("signal", "zero-shot", "with the head", "ratio"):
        table.add_column(name, justify="left" if name == "signal" else "right")
    for name, zero in scores["CRPS zero-shot"].items():
        head = scores["CRPS"][name]
        table.add_row(name, f"{zero:.4f}", f"{head:.4f}", f"{head / zero:.3f}" if zero else "-")
    console = _tables()
    console.print(table)
    console.print(card["verdict"], highlight=False, soft_wrap=True)


def print_whatif(
    asis: Forecast, changed: Forecast, difference: Forecast, title: str, score: Mapping[str, Any] | None
) -> None:
    """Two rollouts side by side, at the end and at their worst, and what they come to."""
    table = Table(title=f"from {stamp(asis.issued)} UTC: as things stand, and with {title}", title_justify="left")
    for head in ("output", "as it is", "what if", "at the end", "with it", "differs by", "highest 90 %", "with it"):
        table.add_column(head, justify="left" if head in ("output", "as it is", "what if") else "right")
    for name in asis.signals:
        a, b = asis.median(name), changed.median(name)
        high_a, high_b = asis.quantile(name, 0.9).max(), changed.quantile(name, 0.9).max()
        low, high = (difference.quantile(name, level)[-1] for level in (0.05, 0.95))
        ends = (f"{a[-1]:.4g}", f"{b[-1]:.4g}", f"{low:.3g} .. {high:.3g}", f"{high_a:.4g}", f"{high_b:.4g}")
        table.add_row(name, spark(a), spark(b), *ends)
    _tables().print(table)
    if score:
        saving = score["saving"]
        print(f"{score['objective']}: {score['mean']:.4g} ({score['low']:.4g} .. {score['high']:.4g})")
        print(f"saves {saving['mean']:.4g} ({saving['low']:.4g} .. {saving['high']:.4g}), in 90 % of the members")


def print_history(frame: Frame, signals: Signals) -> None:
    """Signals as sparklines with their range; of pictures and sounds the code of the last."""
    if not len(frame):
        print("no points in this window")
        return
    table = Table(
        title=f"{stamp(int(frame.time[0]))} .. {stamp(int(frame.time[-1]))} UTC, {len(frame)} rows",
        title_justify="left",
    )
    for head in ("signal", "", "least", "mean", "most", "last", "quality"):
        table.add_column(head, justify="left" if head in ("signal", "") else "right")
    for i, name in enumerate(frame.signals):
        column = frame.values[:, i]
        good = column[np.isfinite(column)]
        there = frame.quality[np.isfinite(column), i]
        counts = ", ".join(f"{int((there == q).sum())} {QUALITIES[q]}" for q in np.unique(there))
        if len(good) and signals.named(name).type == "blob":
            table.add_row(name, f"{len(good)} kept", "", "", "", f"{int(good[-1]):013x}", counts)
            continue
        numbers = (f"{v:.4g}" for v in (good.min(), good.mean(), good.max(), good[-1])) if len(good) else ("-",) * 4
        table.add_row(name, spark(column, 32), *numbers, counts or "missing")
    _tables().print(table)


def print_doctor(found: Mapping[str, Any]) -> None:
    """The health of a twin."""
    console = Console()
    running = "running" if found["running"] else "not running"
    console.print(
        f"twin [bold]{found['twin']}[/]: {running}, mode {found['mode']}, store {found['store']}", highlight=False
    )
    points = found["points"]
    console.print(
        f"{points['points']:,} points, {points['revisions']:,} revised, {points['duplicates']:,} duplicates refused"
    )
    if kept := found["blobs"]["count"]:
        console.print(f"{kept:,} pictures and sounds, {found['blobs']['bytes'] / 1e6:,.1f} MB beside the store")
    if found["newest"]:
        turn = f"; last turn {stamp(found['turn'])} UTC" if found["turn"] else ""
        console.print(f"newest point {stamp(found['newest'])} UTC{turn}")
    silent = [name for name, value in found["latest"].items() if value is None or value != value]
    if silent:
        console.print(f"[yellow]never heard:[/] {', '.join(silent)}")
    for finding in found["findings"]:
        console.print(
            f"[red]{finding['name']}[/] ({finding['subject']}) since {stamp(finding['since'])}: {finding['text']}"
        )
    if not silent and not found["findings"]:
        console.print("[green]nothing to mend[/]")


def set_aside(path: Path) -> None:
    """Rename a file to the first free `name.1`, `name.2`, ... and say so; a DuckDB log beside it goes with it."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    log = path.with_name(f"{path.name}.wal")
    if log.exists():
        log.rename(f"{aside}.wal")
    path.rename(aside)
    print(f"the old {path.name} is now {aside}", file=sys.stderr)


def write_csv(frame: Frame, path: Path) -> None:
    """The rows of a frame as CSV: time and a column a signal."""
    from pyarrow import csv

    csv.write_csv(frame.to_arrow(), path)
