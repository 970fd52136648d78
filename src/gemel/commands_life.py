"""`gemel lab life`: learn how long things last from a fleet that ran to failure."""

from __future__ import annotations

import json as json_
import sys
from pathlib import Path
from typing import Annotated

import typer

from gemel.core.errors import ConfigError, nearest


def life(
    data: Annotated[Path, typer.Argument(help="CSV, Parquet or C-MAPSS file: whole lives.", show_default=False)],
    folder: Annotated[Path, typer.Option(help="Where what is learned goes.", show_default=False)],
    settings: Annotated[str, typer.Option(help="Channels that say how a unit is operated: a,b.")] = "",
    test: Annotated[Path | None, typer.Option(help="Score on these units too, at the last row of each.")] = None,
    networks: Annotated[str, typer.Option(help="Beside trees: cnn,rnn,transformer, taken in turn.")] = "",
    label: Annotated[str, typer.Option(help='Column of what is left at each row; default "rul".')] = "",
    unit: Annotated[str, typer.Option(help='Column of the unit; default "unit".')] = "",
    time: Annotated[str, typer.Option(help='Column of the time; default "time".')] = "",
    cap: Annotated[float, typer.Option(help="No life counts as longer; default: 0.6 of the usual one.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of folds, trees and networks.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Learn how long things last from whole lives, score it on units held back, and write it as ONNX with a card."""
    try:
        import lightgbm  # noqa: F401
        import onnx  # noqa: F401

        from gemel.lab.life.learn import KINDS, Recipe
        from gemel.lab.life.run import begin, words
        from gemel.lab.tasks.labelled import Columns
    except ModuleNotFoundError as error:
        raise ConfigError([f"the lab needs {error.name}, which is not installed"], "pip install 'gemel[lab]'") from None
    kinds = _names(networks)
    if wrong := [f"unknown network '{k}'{nearest(k, KINDS)}" for k in kinds if k not in KINDS]:
        raise ConfigError(wrong, f"known: {', '.join(KINDS)}")
    columns = Columns(unit=unit or "unit", time=time or "time", label=label)
    card = begin(
        data, folder, Recipe(cap=cap, networks=kinds, seed=seed),
        settings=_names(settings), columns=columns, test=test or "", say=lambda text: print(text, file=sys.stderr),
    )  # fmt: skip
    if json:
        print(json_.dumps(card))
        return
    print("\n".join(words(card)))
    print(f'\nnext: put {{ kind = "life", model = "{folder}" }} among the detectors of a twin file')


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
