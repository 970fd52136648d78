"""The board: a running twin on one terminal screen."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

from gemel.core.units import SECOND, stamp
from gemel.core.values import QUALITIES, Ack, Decision, Finding
from gemel.desk.estimates import estimate
from gemel.loop.run import Loop
from gemel.serve.picture import Fan
from gemel.serve.terminal import spark

PAST = 6 * 3600 * SECOND


class Board:
    """Draws a `Loop`; `watch` is given to it and keeps what the loop itself forgets. `signal` is drawn large, `names`
    are listed (none: all)."""

    def __init__(self, signal: str, names: Sequence[str] = ()) -> None:
        self.signal, self.names = signal, tuple(names)
        self.expected: deque[tuple[int, float]] = deque(maxlen=2000)
        self.loop: Loop | None = None
        self.last: RenderableType = ""
        self.window = ""  # where the same can be seen in a browser

    def watch(self, loop: Loop) -> None:
        """After every batch and turn."""
        self.loop = loop
        belief = loop.state.belief
        if belief and (not self.expected or self.expected[-1][0] < belief.time):
            held = estimate(loop.setting.simulator, belief, loop.situation(belief.time).latest)
            if self.signal in held:
                self.expected.append((belief.time, held[self.signal][0]))

    def save(self, path: Path) -> None:
        """The last screen as an SVG file."""
        console = Console(record=True, width=150, height=44, file=StringIO(), force_terminal=True)
        console.print(self.last)
        text = console.export_svg(title="gemel demo", theme=SVG_EXPORT_THEME)
        text = re.sub(r"@font-face \{.*?\}", "", text, flags=re.DOTALL)  # a picture asks nobody for fonts
        path.write_text(text, encoding="utf-8")

    def draw(self) -> RenderableType:
        """The screen as it is now."""
        self.last = self._drawn()
        return self.last

    def _drawn(self) -> RenderableType:
        loop = self.loop
        if loop is None or not loop.state.now:
            return Panel("waiting for telemetry ...", title="gemel")
        screen = Layout()
        screen.split_column(Layout(self._head(loop), size=3), Layout(name="body"))
        screen["body"].split_row(Layout(name="left", ratio=3), Layout(name="right", ratio=2))
        screen["left"].split_column(
            Layout(self._signals(loop), size=len(self.names or loop.setting.signals) + 4), Layout(self._chart(loop))
        )
        screen["right"].split_column(
            Layout(self._findings(loop), size=9), Layout(self._decision(loop), size=15), Layout(self._log(loop))
        )
        return screen

    def _head(self, loop: Loop) -> Panel:
        state = loop.state
        text = Text.assemble(
            (f" {loop.setting.twin} ", "bold black on cyan"),
            f"  {stamp(state.now)} UTC   mode {loop.mode}   ",
            f"{state.points:,} points   {state.turns:,} turns   {state.decisions:,} decisions   ",
            ("all well", "green") if not state.findings else (f"{len(state.findings)} open findings", "bold red"),
            f"   {self.window}",
        )
        return Panel(text)

    def _signals(self, loop: Loop) -> Panel:
        now = loop.state.now
        names = self.names or loop.setting.signals.names
        frame = loop.store.window(names, now - PAST, now, every=loop.setting.every)
        latest = loop.store.latest(names, now).values[0]
        table = Table(box=None, expand=True, pad_edge=False)
        for head in ("signal", "last 6 h", "value", "unit", "quality"):
            table.add_column(
                head, justify="right" if head == "value" else "left", style="" if head != "unit" else "grey50"
            )
        for i, signal in enumerate(map(loop.setting.signals.named, names)):
            column = frame.values[:, i]
            there = np.flatnonzero(np.isfinite(column))
            last = f"{latest[i]:.2f}" if np.isfinite(latest[i]) else "-"
            if signal.type == "blob":  # a code says nothing
                column, last = np.where(np.isfinite(column), 1.0, np.nan), "a picture" if last != "-" else "-"
            quality = QUALITIES[frame.quality[-1, i]] if len(frame) and len(there) else "missing"
            style = {"good": "green", "missing": "grey50"}.get(quality, "yellow")
            table.add_row(signal.name, Text(spark(column, 30), "cyan"), last, signal.unit, Text(quality, style))
        return Panel(table, title="signals", title_align="left")

    def _chart(self, loop: Loop) -> Panel:
        now, every = loop.state.now, loop.setting.every
        frame = loop.store.window([self.signal], now - 2 * PAST, now, every=every)
        held = dict(self.expected)
        believed = np.array([held.get(int(t), np.nan) for t in frame.time])
        ahead = next((f for f in loop.state.forecasts if self.signal in f.signals), None)
        chart = Fan(frame.time, frame.values[:, 0], believed, ahead, self.signal)
        return Panel(chart, title=f"{self.signal}: measured, believed, foreseen", title_align="left")

    def _findings(self, loop: Loop) -> Panel:
        lines = [_finding(f) for f in loop.state.findings[-3:]] or [Text("nothing is wrong", "green")]
        return Panel(Group(*lines), title="findings", title_align="left")

    def _decision(self, loop: Loop) -> Panel:
        decision = loop.state.decision
        return Panel(_decision(decision) if decision else Text("not yet"), title="decision", title_align="left")

    def _log(self, loop: Loop) -> Panel:
        acks: list[Ack] = loop.store.read("ack", last=8)
        lines = [Text(f"{stamp(a.time)[11:]}  {a.command}  {a.state} {a.text}", _ack_style(a)) for a in acks]
        return Panel(Group(*lines) if lines else Text("no commands sent yet"), title="commands", title_align="left")


def _finding(finding: Finding) -> Text:
    return Text.assemble(
        ("● ", "bold red"), (finding.name, "bold"), f" ({finding.subject}) since {stamp(finding.start)[5:]}\n  ",
        (finding.text, "grey62"),
    )  # fmt: skip


def _decision(decision: Decision) -> Text:
    text = Text()
    for command in decision.commands:
        text.append(f"{command.signal} = {command.value:.4g}   ", "bold bright_blue")
    text.append(f"\n{decision.reason}\n")
    for name, value in list(decision.expected.items())[:5]:
        text.append(f"  {name}: {value:.3g}\n", "grey62")
    for line in decision.refused[:2]:
        text.append(f"  refused: {line}\n", "yellow")
    text.append(f"{decision.status} at {stamp(decision.time)}", "grey50")
    return text


def _ack_style(ack: Ack) -> str:
    return {"done": "green", "accepted": "green"}.get(ack.state, "yellow")
