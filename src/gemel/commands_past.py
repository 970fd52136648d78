"""`gemel shadow`: what a twin that only observed would have been worth."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated

import typer

File = Annotated[Path, typer.Argument(help="The twin file (TOML).", show_default=False)]


def shadow(
    file: File,
    last: Annotated[str, typer.Option(help='How far back from the newest point: "7d".')] = "7d",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """What the twin would have done beside the controller that was there, and what that was worth."""
    from gemel.config import load
    from gemel.core.codec import jsonable
    from gemel.serve.terminal_shadow import print_shadow

    with load(file) as twin:
        found = twin.shadow(last)
    if json:
        print(json_.dumps(jsonable(found), ensure_ascii=False, allow_nan=False))
        return
    print_shadow(found)
    print(f"\nnext: gemel history {file} --last {last}")
