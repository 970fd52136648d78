"""What people do about findings and actuators, from the command line."""

from __future__ import annotations

import json as json_
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from gemel.core.life import Action
    from gemel.core.values import Finding
    from gemel.twin import Twin

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
File = Annotated[Path, typer.Argument(help="The twin file (TOML).", show_default=False)]
Ids = Annotated[list[str], typer.Argument(help="Ids of findings.", show_default=False)]
Note = Annotated[str, typer.Option(help="Why.")]
Reason = Annotated[str, typer.Option(help="Why.", show_default=False)]
Span = Annotated[str, typer.Option("--for", help='For how long: "8h".', show_default=False)]
Actuator = Annotated[str, typer.Argument(help="A controlled signal.", show_default=False)]


def findings(
    file: File,
    all: Annotated[bool, typer.Option("--all", help="Also those that are closed.")] = False,
    json: Json = False,
) -> None:
    """What is wrong, and how each finding stands with people."""
    with _load(file) as twin:
        _findings(file, twin.findings(all=all), json)


def acknowledge(file: File, ids: Ids, note: Note = "", json: Json = False) -> None:
    """You have seen these findings, and will act."""
    with _load(file) as twin:
        _findings(file, twin.acknowledge(ids, note), json)


def shelve(file: File, ids: Ids, span: Span, note: Reason, json: Json = False) -> None:
    """Put findings aside for a time; afterwards they are open again."""
    with _load(file) as twin:
        _findings(file, twin.shelve(ids, span, note), json)


def resolve(
    file: File,
    ids: Ids,
    note: Reason,
    again: Annotated[str, typer.Option(help="What is still seen after this long is open again.")] = "1h",
    json: Json = False,
) -> None:
    """Close findings."""
    with _load(file) as twin:
        _findings(file, twin.resolve(ids, note, again=again), json)


def reopen(file: File, ids: Ids, note: Note = "", json: Json = False) -> None:
    """Take back an acknowledgement, a shelf or a close."""
    with _load(file) as twin:
        _findings(file, twin.reopen(ids, note), json)


def maintain(
    file: File,
    subject: Annotated[str, typer.Argument(help="An asset or a signal.", show_default=False)],
    span: Span,
    note: Reason,
    start: Annotated[str, typer.Option(help="From when (ISO 8601); default: now.")] = "",
    json: Json = False,
) -> None:
    """Work on something: what is found about it meanwhile does not ring."""
    with _load(file) as twin:
        _windows(file, twin.maintain(subject, span, note, start=start or None), json)


def maintenance(
    file: File,
    all: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    end: Annotated[str, typer.Option(help="End this window now.")] = "",
    json: Json = False,
) -> None:
    """Maintenance windows that are or will be."""
    with _load(file) as twin:
        if end:
            twin.end_maintenance(end)
        _windows(file, twin.maintenance(all=all), json)


def hands(file: File, json: Json = False) -> None:
    """Every actuator: who has it in hand, what was last sent, what is measured."""
    with _load(file) as twin:
        _hands(file, twin, json)


def take(
    file: File,
    signal: Actuator,
    span: Annotated[str, typer.Option("--for", help='It goes back by itself after: "2h".')] = "",
    note: Note = "",
    json: Json = False,
) -> None:
    """Take an actuator over by hand: what the twin decides for it is not sent meanwhile."""
    with _load(file) as twin:
        twin.take(signal, span or None, note)
        _hands(file, twin, json)


def put(
    file: File,
    signal: Actuator,
    value: Annotated[float, typer.Argument(help="The setpoint, in the unit of the signal.", show_default=False)],
    note: Note = "",
    json: Json = False,
) -> None:
    """Send a setpoint for an actuator that you have in hand. Ends with code 1 when the guard refuses it."""
    with _load(file) as twin:
        decision = twin.put(signal, value, note)
        if json:
            _print_json(decision)
        else:
            print("\n".join([*decision.refused, *(f"{c.signal} = {c.value:g} is sent" for c in decision.commands)]))
            print(f"\nnext: gemel release {file} {signal}")
    if not decision.commands:
        raise typer.Exit(1)


def release(file: File, signal: Actuator, note: Note = "", json: Json = False) -> None:
    """Give an actuator back; the twin goes on from where it stands."""
    with _load(file) as twin:
        twin.release(signal, note)
        _hands(file, twin, json)


COMMANDS = (findings, acknowledge, shelve, resolve, reopen, maintain, maintenance, hands, take, put, release)


def mount(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in COMMANDS:
        app.command()(command)


def _load(file: Path) -> Twin:
    from gemel.config import load

    return load(file)


def _findings(file: Path, found: Sequence[Finding], json: bool) -> None:
    if json:
        _print_json(found)
        return
    rows = []
    for finding in found:
        life = finding.life
        assert life
        until = f"until {_when(life.until)}" if life.until else ""
        how = " ".join(word for word in (life.state, life.by and f"by {life.by}", until) if word)
        rows.append((finding.id, finding.name, finding.subject, f"{finding.severity:.2g}", _when(finding.start), how))
    _table(("id", "finding", "of", "severity", "since", "state"), rows, "nothing is found")
    waiting = next((f.id for f in found if f.life and f.life.state == "open"), "")
    print(f"\nnext: gemel acknowledge {file} {waiting}" if waiting else f"\nnext: gemel doctor {file}")


def _windows(file: Path, found: Sequence[Action], json: bool) -> None:
    if json:
        _print_json(found)
        return
    rows = [(w.id, w.subject, _when(w.start or w.time), _when(w.until), w.by, w.note) for w in found]
    _table(("id", "of", "from", "until", "by", "why"), rows, "nothing is under maintenance")
    print(f"\nnext: gemel findings {file}")


def _hands(file: Path, twin: Twin, json: bool) -> None:
    found = twin.hands()
    if json:
        _print_json(found)
        return
    rows = []
    for row in found:
        hand = row["hand"]
        who = f"{hand.by}{f' until {_when(hand.until)}' if hand.until else ''}" if hand else "the twin"
        numbers = ("" if row[key] is None else f"{row[key]:g}" for key in ("setpoint", "measured"))
        rows.append((row["signal"], who, *numbers, row["ack"].state if row["ack"] else ""))
    _table(("actuator", "in hand of", "setpoint", "measured", "last ack"), rows, "there is no actuator")
    mine = next((row["signal"] for row in found if row["hand"]), "")
    print(f"\nnext: gemel put {file} {mine} VALUE" if mine else f"\nnext: gemel doctor {file}")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # telemetry is text, not markup
    Console().print(table if rows else nothing)


def _when(time: int | None) -> str:
    from gemel.core.units import stamp

    return "" if time is None else stamp(time)


def _print_json(found: Any) -> None:
    from gemel.core.codec import jsonable

    print(json_.dumps(jsonable(found), ensure_ascii=False, allow_nan=False))
