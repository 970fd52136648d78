"""`gemel why`: why a finding says what it says. `gemel verdict`: what it really was."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated, Any

import typer

File = Annotated[Path, typer.Argument(help="The twin file (TOML).", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
FACTORS = {"en": ("above", "below"), "zh": ("高于", "低于")}
BAR = 30


def why(
    file: File,
    finding: Annotated[str, typer.Argument(help="Id of the finding. Default: the worst open one.")] = "",
    by: Annotated[
        str, typer.Option(help="attribution, surrogate, counterfactual, rules; evidence: the detector's own.")
    ] = "attribution",
    language: Annotated[str, typer.Option(help="Of the sentence: en or zh.")] = "en",
    json: Json = False,
) -> None:
    """Why a finding says what it says: signals, ranked causes, and what like it there was before."""
    from gemel.config import load
    from gemel.core.codec import jsonable
    from gemel.core.errors import InputError

    if language not in FACTORS:
        raise InputError(f"there is no language '{language}'", f"there is: {', '.join(FACTORS)}")
    with load(file) as twin:
        found = twin.explain(finding, by)
    if json:
        print(json_.dumps(jsonable(found), ensure_ascii=False, allow_nan=False))
        return
    _told(found, language)
    print(f'\nnext: gemel verdict {file} {found["finding"].id} "COMPONENT: CAUSE"')


def verdict(
    file: File,
    finding: Annotated[str, typer.Argument(help="Id of the finding.", show_default=False)],
    was: Annotated[str, typer.Argument(help='"mill: worn tool", or "false alarm".', show_default=False)],
    json: Json = False,
) -> None:
    """Say what a finding really was; detectors that learn from cases take it up."""
    from gemel.config import load
    from gemel.core.codec import jsonable

    with load(file) as twin:
        found = twin.verdict(finding, was)
    if json:
        print(json_.dumps(jsonable(found), ensure_ascii=False, allow_nan=False))
        return
    print(f"{found[0].id}: {was}")
    print(f"\nnext: gemel why {file} {finding}")


def mount(app: typer.Typer) -> None:
    """Give the command line these commands."""
    app.command()(why)
    app.command()(verdict)


def _told(found: dict[str, Any], language: str) -> None:
    from gemel.core.units import stamp

    one = found["finding"]
    print(f"{one.name} ({one.subject}), since {stamp(one.start)[:16]}{'' if one.open else ', over'}")
    print(found["sentence"][language])
    if not found["scored"]:
        print("(the detector cannot judge single windows: these are shares of its own evidence)")
    for row in found["ranked"]:
        print(f"  {row['probability']:5.0%}  {row['name']}")
    rows = found["shares"][:8]
    whole = max((abs(row["share"]) for row in rows), default=0.0) or 1.0
    wide = max((len(row["signal"]) for row in rows), default=0)
    for row in rows:
        print(f"  {row['signal']:<{wide}}  {row['share']:8.3g}  {'█' * round(BAR * abs(row['share']) / whole)}")
    up, down = FACTORS[language]
    for rule in found["rules"]:
        print(f"  {rule['feature']} of {rule['signal']} {up if rule['above'] else down} {rule['limit']:.4g}")
    for change in found["changes"]:
        print(f"  {change['signal']}: {change['actual']:.4g} -> {change['needed']:.4g}")
    for case in found["similar"]:
        past = case["finding"]
        said = [a.note for a in case["verdicts"]] or [a.note for a in case["said"] if a.note]
        print(
            f"  like it ({case['likeness']:.0%}): {past.name}, {stamp(past.start)[:16]}"
            + "".join(f"; {s}" for s in said)
        )
