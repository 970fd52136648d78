"""`gemel calibrate`: the simulator's parameters from the twin's own history, every version kept, one in use."""

from __future__ import annotations

import json as json_
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from gemel.core.artifact import Artifact
    from gemel.twin import Twin

File = Annotated[Path, typer.Argument(help="The twin file (TOML).", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def calibrate(
    file: File,
    last: Annotated[str, typer.Option(help='How far back from the newest point: "30d".')] = "30d",
    start: Annotated[str, typer.Option(help="From when (ISO 8601), in the place of --last.")] = "",
    end: Annotated[str, typer.Option(help="Until when (ISO 8601); default: the newest point.")] = "",
    method: Annotated[str, typer.Option(help="esmda or least_squares.")] = "esmda",
    members: Annotated[int, typer.Option(help="Draws of the posterior.")] = 200,
    hold: Annotated[str, typer.Option(help="How much of the end is held back for the scores.")] = "20%",
    valid: Annotated[str, typer.Option(help="For how long it is good.")] = "90d",
    promote: Annotated[
        bool | None,
        typer.Option("--promote/--no-promote", help="Put it to use in any case, or in none. Default: if it is better."),
    ] = None,
    list: Annotated[bool, typer.Option("--list", help="Show every calibration.")] = False,
    use: Annotated[str, typer.Option(help="Put this version to use (its beginning is enough).")] = "",
    back: Annotated[bool, typer.Option("--back", help="Put the one before to use again.")] = False,
    json: Json = False,
) -> None:
    """Fit the simulator's parameters to the twin's own history, and put them to use if that is better."""
    from gemel.config import load
    from gemel.core.calibrated import NAME
    from gemel.serve.terminal import progress

    with load(file) as twin:
        if list:
            _list(file, twin, json)
            return
        if use or back:
            _used(file, twin.use_calibration(use), json)
            return
        with progress(f"calibrating {twin.name}", quiet=json) as step:
            made = twin.calibrate(
                last, start=start or None, end=end or None, method=method, members=members, hold=hold, valid=valid,
                promote=promote, progress=step,
            )  # fmt: skip
        promoted = twin.artifacts.promoted(NAME)
    if json:
        _print_json({"version": made.version, "promoted": promoted, "report": _report(made), **made.card})
        return
    _scores(made.card)
    print()
    _parameters(made.card)
    print(f"\n{made.version} {made.card['verdict']}")
    print(f"report: {_report(made)}")
    used = made.version == promoted
    print(f"\nnext: gemel {f'forecast {file}' if used else f'calibrate {file} --use {made.version[:6]}'}")


def mount(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(calibrate)


def _report(made: Artifact) -> str:
    from gemel.core.calibrated import REPORT

    return str(made.files[REPORT])


def _list(file: Path, twin: Twin, json: bool) -> None:
    from gemel.core.units import stamp

    found = twin.calibrations()
    if json:
        _print_json(found)
        return
    rows = []
    for one in found:
        card = one["card"]
        state = "in use" if one["promoted"] else "" if one["fits"] else "of another simulator"
        change = 1 - (card["ratios"].get("uncalibrated") or float("nan"))
        times = (stamp(card["start"])[:10], stamp(card["end"])[:10], stamp(card["expires"])[:10])
        rows.append((one["version"], *times, f"{change:.0%}", state))
    _table(("version", "from", "to", "good until", "CRPS less than uncalibrated", "state"), rows, "no calibration yet")
    step = f" --use {found[-1]['version'][:6]}" if found else ""
    print(f"\nnext: gemel calibrate {file}{step}")


def _used(file: Path, version: str, json: bool) -> None:
    if json:
        _print_json({"promoted": version})
        return
    print(f"calibration {version} is in use" if version else "no calibration is in use: the simulator's own prior is")
    print(f"\nnext: gemel calibrate {file} --list")


def _scores(card: Mapping[str, Any]) -> None:
    from gemel.core.units import spell

    rows = []
    for output, by in card["scores"].items():
        for i, (who, one) in enumerate(by.items()):
            cells = ("" if one[k] is None else f"{one[k]:.4g}" for k in ("rmse", "mae", "crps"))
            share = "" if one["coverage"] is None else f"{one['coverage']:.0%}"
            rows.append(("" if i else output, who, *cells, share))
    heads = ("output", f"{spell(card['horizon'])} ahead, held back", "RMSE", "MAE", "CRPS", "in 90 % band")
    _table(heads, rows, "nothing could be scored")


def _parameters(card: Mapping[str, Any]) -> None:
    rows = []
    for one in card["posterior"]:
        before, after = (f"{mean:.4g} ± {sd:.2g}" for mean, sd in (one["prior"], one["posterior"]))
        rows.append((one["name"], one["unit"], before, after, one["says"]))
    _table(("parameter", "", "before", "after", "what the telemetry told"), rows, "it has no parameters")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table if rows else nothing)


def _print_json(found: Any) -> None:
    from gemel.core.codec import jsonable

    print(json_.dumps(jsonable(found), ensure_ascii=False, allow_nan=False))
