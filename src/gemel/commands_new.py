"""`gemel new`: from a file or a broker to a twin file and a first forecast."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemel.core.errors import InputError

if TYPE_CHECKING:
    from gemel.core.values import Forecast, Frame
    from gemel.discover.propose import Proposal
    from gemel.discover.series import Source
    from gemel.twin import Twin

_ROWS = 30  # of the table


def new(
    source: Annotated[
        str, typer.Option("--from", help="history.csv, history.parquet or mqtt://host:port/topic.", show_default=False)
    ],
    span: Annotated[str, typer.Option("--for", help="How long to listen to a broker.")] = "30s",
    into: Annotated[Path | None, typer.Option(help="The twin file to write; default: NAME.toml.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Propose a twin of your own: its signals, units, roles, limits and assets, and a first forecast."""
    from gemel.config import load
    from gemel.discover.found import first, found

    if into and into.exists():
        raise InputError(f"{into} is there already", "name another file: --into other.toml")
    seen = _seen(source, span, json)
    name = _name(into.stem if into else seen.name)
    file = into or Path(f"{name}.toml")
    if file.exists():
        raise InputError(f"{file} is there already", "name another file: --into other.toml")
    proposed = found(seen, source, name, file.parent)
    try:
        file.write_text(proposed.text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}", "name another place: --into plant.toml") from None
    twin = load(file)
    twin.stages()
    ahead = first(twin, seen, proposed.proposals)
    if json:
        _print_json(file, proposed.proposals, ahead)
    else:
        _print(file, twin, proposed.proposals, ahead)


def _seen(source: str, span: str, quiet: bool) -> Source:
    from gemel.core.units import SECOND, duration
    from gemel.discover.series import read
    from gemel.serve.terminal import progress

    if not source.startswith(("mqtt:", "mqtts:")):
        if "://" in source:
            raise InputError(f"cannot connect to '{source}'", "give a CSV or Parquet file, or mqtt://host:port/topic")
        return read(Path(source))
    from gemel.connectors.listen import listen, spot
    from gemel.discover.heard import gather

    where = spot(source)
    with progress(f"listening to {where.filter}", quiet) as step:
        return gather(listen(where, duration(span) / SECOND, step), where)


def _name(text: str) -> str:
    from gemel.discover.words import clean

    return clean(text) or "twin"


def _print(file: Path, twin: Twin, proposals: list[Proposal], first: tuple[Frame, Forecast] | None) -> None:
    from gemel.serve.terminal import print_charts

    _print_table(proposals)
    asked = sum(p.asked for p in proposals)
    print(f"{file} is written, and loads: {len(twin.signals)} signals, {asked} of them to look at")
    if first:
        print()
        units = {s.name: s.unit for s in twin.signals}
        print_charts(*first, first[1].signals, units)
    else:
        print("too little moves in what was heard for a first forecast: listen longer, or run it")
    print(f"\nnext: gemel run {file}")


def _print_table(proposals: list[Proposal]) -> None:
    """A line a signal, those to look at first."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    rows = sorted(proposals, key=lambda p: not p.asked)[:_ROWS]
    table = Table(box=None, pad_edge=False)
    for name in ("signal", "type", "unit", "role", "limits", "every", "sure", "because"):
        table.add_column(name, justify="right" if name == "sure" else "left", no_wrap=name != "because")
    for p in rows:
        s = p.signal
        ends = ["" if end is None else f"{end:g}" for end in (s.low, s.high)]
        limits = f"{ends[0]} .. {ends[1]}" if any(ends) else ""
        doubt = "yellow" if p.asked else ""
        key = p.unsure[0] if p.unsure else "role" if s.role != "measured" else "type" if s.type != "number" else "unit"
        cells = (s.name, s.type, s.unit, s.role, limits, s.every, f"{p.sure:.0%}", p.guesses[key].why)
        table.add_row(*map(escape, cells), style=doubt)
    console.print(table)
    if len(proposals) > len(rows):
        print(f"... and {len(proposals) - len(rows)} more, all in the file")
    print()


def _print_json(file: Path, proposals: list[Proposal], first: tuple[Frame, Forecast] | None) -> None:
    from gemel.core.codec import jsonable
    from gemel.discover.found import told

    rows = [told(p) for p in proposals]
    found = {"file": str(file), "signals": rows, "forecast": first[1] if first else None}
    print(json_.dumps(jsonable(found), ensure_ascii=False, allow_nan=False))
