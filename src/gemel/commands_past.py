"""`gemel shadow`: what a twin that only observed would have been worth. `gemel whatif`: what would come, or would have
come, of other inputs."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated

import typer

from gemel.core.errors import InputError

File = Annotated[Path, typer.Argument(help="The twin file (TOML).", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def shadow(
    file: File,
    last: Annotated[str, typer.Option(help='How far back from the newest point: "7d".')] = "7d",
    json: Json = False,
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


def whatif(
    file: File,
    set: Annotated[list[str], typer.Option("--set", help="An input held: fan=2. Or in time: fan=1@2h,0@5h.")],
    span: Annotated[str, typer.Option("--for", help='How far to look: "6h".')] = "6h",
    at: Annotated[str, typer.Option(help="Start at this past instant (ISO 8601), not now.")] = "",
    members: Annotated[int, typer.Option(help="How many members.")] = 200,
    score: Annotated[str, typer.Option(help='What an hour costs: "0.1 * fan_power". Default: the policy\'s.')] = "",
    truth: Annotated[bool, typer.Option("--truth", help="Other inputs as they came, not as was foreseen.")] = False,
    json: Json = False,
) -> None:
    """Roll the simulator out from what the twin believes now, or believed then, with some inputs set."""
    from gemel.config import load
    from gemel.core.codec import jsonable
    from gemel.serve.terminal import print_whatif

    settings = dict(_setting(text) for text in set)
    with load(file) as twin:
        fork = twin.fork(at or None, members)
        for name, value in settings.items():
            fork = fork.set(name, value)
        run = fork.run(span, truth=truth)
        found = run.compare()
        cost = run.score(score) if score or fork.origin.objective else None
    if json:
        print(json_.dumps(jsonable({**found, "score": cost}), ensure_ascii=False, allow_nan=False))
        return
    print_whatif(found["asis"], found["whatif"], found["difference"], ", ".join(set), cost)
    print(f"\nnext: gemel forecast {file} --horizon {span}")


def _setting(text: str) -> tuple[str, float | dict[str, float]]:
    """`fan=2`, or `fan=1@2h,0@5h`: a value from so long afterwards on, or from an ISO time on."""
    name, _, value = text.partition("=")
    try:
        if "@" not in value:
            return name.strip(), float(value)
        parts = [part.partition("@") for part in value.split(",")]
        return name.strip(), {when.strip(): float(number) for number, _, when in parts}
    except ValueError:
        raise InputError(f"--set {text}: 'name=number' is needed", "for example: --set fan=2") from None
