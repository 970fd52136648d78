"""`gemel challenge`: is another structure of the simulator better? Proposals are judged by what they foretell."""

from __future__ import annotations

import json as json_
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemel.core.errors import InputError

if TYPE_CHECKING:
    from gemel.twin import Twin

File = Annotated[Path, typer.Argument(help="The twin file (TOML).", show_default=False)]


def challenge(
    file: File,
    equations: Annotated[list[str], typer.Option(help="A class of equations: boiler2.py:Boiler.")] = [],  # noqa: B006
    given: Annotated[list[str], typer.Option("--with", help="A simulator: '{ kind = \"ode\", ... }'.")] = [],  # noqa: B006
    file_of: Annotated[
        Path | None, typer.Option("--from", help="Several: a TOML file of name = { kind = ... }.")
    ] = None,
    term: Annotated[list[str], typer.Option(help="Take out or put back a parameter: wind_loss=0.")] = [],  # noqa: B006
    last: Annotated[str, typer.Option(help="How much history; its last third is held back.")] = "30d",
    ahead: Annotated[str, typer.Option(help="How far ahead they are judged.")] = "6h",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Judge other structures of the simulator by what they foretell of this twin's own history."""
    from gemel.config import load
    from gemel.core.codec import jsonable
    from gemel.serve.terminal import progress

    proposals = {_name(text, "equations"): {"kind": "ode", "equations": text} for text in equations}
    proposals |= {f"proposal_{i}": _table(text) for i, text in enumerate(given, start=1)}
    if file_of is not None:
        proposals |= _parsed(file_of.read_text(encoding="utf-8") if file_of.is_file() else "", str(file_of))
    with load(file) as twin:
        with progress(f"judging {twin.name}", quiet=json) as step:
            found = twin.challenge(proposals, last, ahead=ahead, terms=dict(map(_term, term)), progress=step)
        lines = _lines(twin, found)
    if json:
        print(json_.dumps(jsonable({**found, "lines": lines}), ensure_ascii=False, allow_nan=False))
        return
    _shown(found)
    if lines:
        print("\nlet them compete from now on; put into the twin file:\n\n" + "\n".join(lines))
    print(f"\nnext: {'gemel run' if lines else 'gemel calibrate'} {file}")


def mount(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(challenge)


def _lines(twin: Twin, found: Mapping[str, Any]) -> list[str]:
    """What lets the admitted ones compete with the present one."""
    from gemel.config import spec_of
    from gemel.desk.challenge import PRESENT
    from gemel.discover.write import toml

    admitted = [row["name"] for row in found["candidates"] if row["admitted"]]
    if not admitted or twin.estimator is None:
        return []
    added = {name: found["specs"][name] for name in admitted}
    if found["present"]:  # there are some that compete already
        held = spec_of("simulators", twin.simulator)
        return [f"simulator = {toml({**held, 'candidates': {**held['candidates'], **added}})}"]
    simulator = {"kind": "candidates", "candidates": {PRESENT: found["specs"][PRESENT], **added}}
    estimator = {"kind": "compete", "estimator": spec_of("estimators", twin.estimator.part)}
    lines = [f"simulator = {toml(simulator)}", f"estimator = {toml(estimator)}"]
    return [*lines, 'detectors = [{ kind = "champion" }]  # beside those that are there']


def _shown(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from gemel.core.units import spell, stamp

    outputs = list(found["candidates"][0]["rmse"])
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("simulator", "nats a value", *(f"RMSE {n}" for n in outputs), "gain (90 %)", ""):
        table.add_column(head, overflow="fold")
    for row in found["candidates"]:
        if row["trouble"]:
            table.add_row(row["name"], *[""] * (len(outputs) + 2), Text(row["trouble"]))
            continue
        gain, word = "", "there now"
        if "gain" in row:
            gain = f"{row['gain']:+.3g} ({row['low']:+.3g} .. {row['high']:+.3g})"
            word = "admitted" if row["admitted"] else "not surely better"
        name = f"{row['name']} ({found['present']})" if "gain" not in row and found["present"] else row["name"]
        table.add_row(name, f"{row['score']:.3f}", *(f"{row['rmse'][n]:.4g}" for n in outputs), gain, word)
    Console().print(table)
    held, end = stamp(found["held"])[:16], stamp(found["end"])[:16]
    print(f"\n{found['starts']} runs of {spell(found['ahead'])} between {held} and {end}, which were held back")


def _name(text: str, kind: str) -> str:
    """`boiler2.py:Boiler` -> `boiler2_Boiler`."""
    name = re.sub(r"\W+", "_", Path(text).name.replace(".py:", "_")).strip("_")
    if not name.isidentifier():
        raise InputError(
            f"--{kind} {text}: a file and a class are needed", "for example: --equations boiler2.py:Boiler"
        )
    return name


def _table(text: str) -> dict[str, Any]:
    found: dict[str, Any] = _parsed(f"one = {text}", f"--with {text}")["one"]
    return found


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not valid TOML: {error}", 'write name = { kind = "ode", ... }') from None
    if not found or not all(isinstance(one, Mapping) for one in found.values()):
        raise InputError(f"{where}: a simulator is a table", 'write name = { kind = "ode", ... }')
    return found


def _term(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value or 0.0)
    except ValueError:
        raise InputError(f"--term {text}: 'name=number' is needed", "for example: --term wind_loss=0") from None
