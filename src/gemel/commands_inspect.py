"""`gemel lab inspect`: train the network that finds defects in pictures of parts, and write it."""

from __future__ import annotations

import json as json_
import sys
from pathlib import Path
from typing import Annotated

import typer

from gemel.core.errors import ConfigError


def inspect(
    folder: Annotated[Path, typer.Option(help="The run's folder; a run that is there goes on.", show_default=False)],
    into: Annotated[Path | None, typer.Option(help="Where to write the network; default: the run's folder.")] = None,
    steps: Annotated[int, typer.Option(help="Of training, 48 parts each; five eighths more follow.")] = 1600,
    seed: Annotated[int, typer.Option(help="Of the parts that are drawn.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Train the network for visual inspection on drawn parts, score it on others, and write it as ONNX with a card."""
    try:
        from gemel.lab.inspect import Recipe, train
        from gemel.lab.inspection import export
    except ModuleNotFoundError as error:
        raise ConfigError([f"the lab needs {error.name}, which is not installed"], "pip install 'gemel[lab]'") from None
    if steps < 1:
        raise ConfigError([f"steps {steps} must be 1 or more"])

    def told(step: int, loss: float) -> None:
        if step % 100 == 0:
            print(f"step {step} of {steps + steps * 5 // 8}, loss {loss:.3f}", file=sys.stderr)

    card = export(train(folder, Recipe(steps=steps, again=steps * 5 // 8, seed=seed), told), into or folder)
    if json:
        print(json_.dumps(card))
        return
    print(f"{card['parameters']:,} parameters, {card['minutes']} min of training")
    for name, score in card["scores"].items():
        print(
            f"{name}: finds {100 * score['detection']:.1f} % at {100 * score['false rejects']:.2f} % false rejects, "
            f"points at the defect in {100 * score['pointing']:.1f} %, {card['bytes'][name] / 1000:.0f} kB"
        )
    print(f'\nnext: detectors = [{{ kind = "inspection", signal = "camera", network = "{into or folder}" }}]')


def mount(lab: typer.Typer) -> None:
    """Give `gemel lab` this command."""
    lab.command()(inspect)
