"""The page of a shadow run in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from gemel.core.units import stamp


def print_shadow(found: Mapping[str, Any]) -> None:
    """What it was worth, day by day, and how far that can be trusted."""
    console = Console()
    saving, cost = found["saving"], found["cost"]
    console.print(
        f"twin [bold]{found['twin']}[/]: {found['windows']} of {found['decisions']} decisions judged, "
        f"{stamp(found['start'])} .. {stamp(found['end'])} UTC ({found['days']:.1f} days)",
        highlight=False,
        soft_wrap=True,
    )
    share = f" ({saving['share']:+.0%} of {cost['asis']:.4g})" if saving["share"] is not None else ""
    verb = "saved" if saving["total"] >= 0 else "cost more:"
    console.print(
        f"[bold]the twin's plans would have {verb} {abs(saving['total']):.4g}[/]{share}, "
        f"{saving['level']:.0%} between {saving['low']:.4g} and {saving['high']:.4g}; {saving['per_day']:.3g} a day",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"counted in {found['objective']}, an hour", highlight=False, soft_wrap=True)
    _windows(console, found["by_window"])
    for rule, row in found["constraints"].items():
        measured = "not measured" if row["measured"] is None else f"{row['measured']:.1%} measured"
        simulated = f"{row['simulated']:.1%} simulated, {row['plan']:.1%} with the plans"
        console.print(f"{rule} broken in {measured}, {simulated}", highlight=False)
    for row in found["check"]:
        console.print(
            f"{row['signal']}: measured less simulated {row['bias']:+.3g} (spread {row['spread']:.3g}), "
            f"inside the band {row['inside']:.0%}",
            highlight=False,
        )
    if found["ignored"]:
        console.print(f"not in the figure: {', '.join(found['ignored'])}", highlight=False)
    for doubt in found["doubts"]:
        console.print(f"[yellow]doubt:[/] {doubt}", highlight=False, soft_wrap=True)
    if found["trusted"]:
        console.print("[green]the simulator repeats what was measured[/]")


def _windows(console: Console, rows: Mapping[str, Any]) -> None:
    table = Table()
    for head in ("from (UTC)", "as it was", "with the plan", "saved", "5 %", "95 %"):
        table.add_column(head, justify="right")
    for i, time in enumerate(rows["time"]):
        numbers = (f"{rows[name][i]:.4g}" for name in ("asis", "plan", "saving", "low", "high"))
        table.add_row(stamp(time), *numbers)
    console.print(table)
