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

_DRAWN = 3  # charts of the first forecast
_ROWS = 30  # of the table
_LEAST = 8  # points that a first forecast needs


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
    from gemel.discover.propose import propose
    from gemel.discover.write import placed, twin_file

    if into and into.exists():
        raise InputError(f"{into} is there already", "name another file: --into other.toml")
    seen = _seen(source, span, json)
    name = _name(into.stem if into else seen.name)
    file = into or Path(f"{name}.toml")
    if file.exists():
        raise InputError(f"{file} is there already", "name another file: --into other.toml")
    proposals = propose(seen.series)
    if not any(p.heard for p in proposals):
        raise InputError(f"{source} holds no values", "every cell is empty or NaN: export it again")
    text = twin_file(placed(seen, file.parent), proposals, source, name)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}", "name another place: --into plant.toml") from None
    twin = load(file)
    twin.stages()
    first = _first(twin, seen, proposals)
    if json:
        _print_json(file, proposals, first)
    else:
        _print(file, twin, proposals, first)


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


def _first(twin: Twin, seen: Source, proposals: list[Proposal]) -> tuple[Frame, Forecast] | None:
    """History and first forecast of the signals most worth a look; None when too little was heard."""
    from gemel.core.units import duration
    from gemel.discover.ahead import history

    numbers = [i for i, p in enumerate(proposals) if p.signal.type == "number" and p.shape.moves > 0]
    free = [i for i in numbers if proposals[i].signal.role in ("measured", "derived")]
    worth = sorted(free, key=lambda i: (proposals[i].asked, proposals[i].shape.rises))[:_DRAWN]
    every = duration(twin.every)
    past = history([seen.series[i] for i in worth], [proposals[i].signal.name for i in worth], every)
    if past is None or len(past) < _LEAST or twin.forecaster is None:
        return None
    steps = min(duration(twin.horizon) // every, len(past))
    return past, twin.forecaster.part.forecast(past, steps)


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

    rows = [
        {"label": p.label, "signal": p.signal, "sure": p.sure, "unsure": p.unsure, "notes": p.notes}
        | {"guesses": {k: g._asdict() for k, g in p.guesses.items()}}
        for p in proposals
    ]
    found = {"file": str(file), "signals": rows, "forecast": first[1] if first else None}
    print(json_.dumps(jsonable(found), ensure_ascii=False, allow_nan=False))
