"""`gemel lab train`: networks from scratch on labelled telemetry, scored beside gradient boosting, exported."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from gemel.core.errors import ConfigError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def train(
    data: Annotated[
        Path, typer.Argument(help="CSV, Parquet or C-MAPSS file, or a folder with a file a unit.", show_default=False)
    ],
    folder: Annotated[Path, typer.Option(help="Where checkpoints and the network go.", show_default=False)],
    task: Annotated[str, typer.Option(help="rul, classify or detect.")] = "",
    network: Annotated[str, typer.Option(help="cnn, rnn, transformer, autoencoder or encoder (pre-trained).")] = "",
    config: Annotated[Path | None, typer.Option(help="TOML file of recipe keys, or a card to repeat.")] = None,
    test: Annotated[Path | None, typer.Option(help="Score on these data instead of units split off.")] = None,
    label: Annotated[str, typer.Option(help='Column of the label; default "rul" or "label".')] = "",
    unit: Annotated[str, typer.Option(help='Column of the unit; default "unit".')] = "",
    time: Annotated[str, typer.Option(help='Column of the time; default "time".')] = "",
    condition: Annotated[str, typer.Option(help="Column of the condition of operation.")] = "",
    channels: Annotated[str, typer.Option(help="Only these columns: a,b,c.")] = "",
    without: Annotated[str, typer.Option(help="All columns but these: a,b,c.")] = "",
    step: Annotated[float, typer.Option(help="Average rows to this spacing (seconds).")] = 0.0,
    window: Annotated[int, typer.Option(help="Rows looked at together.")] = 0,
    optimiser: Annotated[str, typer.Option(help="sgd, rmsprop, adam or muon.")] = "",
    rate: Annotated[float, typer.Option(help="Of learning; default: what suits the optimiser.")] = 0.0,
    steps: Annotated[int, typer.Option(help="Of training.")] = 0,
    seeds: Annotated[int, typer.Option(help="How often all is done, to see the spread.")] = 0,
    ensemble: Annotated[int, typer.Option(help="Networks whose answers are averaged.")] = 0,
    split: Annotated[str, typer.Option(help='Score on what was not seen: "unit" or "condition".')] = "",
    own: Annotated[int, typer.Option(help="A unit's first rows that are its usual.")] = 0,
    cap: Annotated[float, typer.Option(help="No remaining life counts as longer.")] = 0.0,
    alarms: Annotated[float, typer.Option(help="False ones a week, for detect.")] = 0.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in this folder.")] = False,
    device: Annotated[str, typer.Option(help='"cpu" or "cuda".')] = "cpu",
    threads: Annotated[int, typer.Option(help="Cores to use.")] = 1,
    json: Json = False,
) -> None:
    """Train a network on labelled telemetry: remaining life, classes, or what is abnormal."""
    columns = {"label": label, "unit": unit, "time": time, "condition": condition, "channels": _names(channels),
               "without": _names(without), "step": step}  # fmt: skip
    given = {"task": task, "network": network, "window": window, "optimiser": optimiser, "rate": rate, "steps": steps,
             "seeds": seeds, "ensemble": ensemble, "split": split, "own": own, "cap": cap,
             "alarms": alarms}  # fmt: skip
    card = _trained(
        data, folder, config, {k: v for k, v in columns.items() if v}, {k: v for k, v in given.items() if v}, json,
        test=test or "", resume=resume, device=device, threads=threads,
    )  # fmt: skip
    if json:
        from gemel.core.codec import jsonable

        print(json_.dumps(jsonable(card), ensure_ascii=False, allow_nan=False))
        return
    _print(card)
    print(f"\nnext: {_next(card, folder)}")


def _trained(
    data: Path, folder: Path, config: Path | None, columns: Mapping[str, Any], given: Mapping[str, Any], quiet: bool,
    **more: Any,
) -> Mapping[str, Any]:  # fmt: skip
    """The card of the run."""
    from gemel.serve.terminal import progress

    with _needed():
        from gemel.lab.tasks.supervised import begin
        from gemel.lab.tasks.task import read_task
    recipe = read_task(config or "", columns=columns, **given)
    try:
        with progress(f"training {folder.name}", quiet=quiet) as bar, _needed():

            def watch(done: int, of: int, text: str) -> None:
                bar(done, of, text)
                if not quiet and not sys.stderr.isatty() and done % max(of // 10, 1) < 25:
                    print(f"step {done} of {of}  {text}", flush=True)

            return begin(data, folder, recipe, watch=watch, **more)
    except KeyboardInterrupt:
        print("stopped; the same command with --resume goes on from the last checkpoint", file=sys.stderr)
        raise


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@contextmanager
def _needed() -> Iterator[None]:
    """Around imports of the lab: what is missing is a matter of an extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError([f"the lab needs {error.name}, which is not installed"], "pip install 'gemel[lab]'") from None


SHOWN: Mapping[str, Sequence[str]] = {
    "rul": ("RMSE", "NASA", "MAE", "bias", "pinball", "coverage 0.9", "width 0.9"),
    "classify": ("accuracy", "balanced accuracy", "F1", "log loss", "ECE"),
    "detect": ("F1", "precision", "false alarms", "missed", "AUC"),
}
SHARES = ("accuracy", "balanced accuracy", "false alarms", "missed", "coverage 0.9", "precision")


def _print(card: Mapping[str, Any]) -> None:
    """What was found, for people."""
    recipe, data = card["recipe"], card["data"]
    print(f"{data['units']} units, {data['rows']:,} rows, {data['labelled']:,} with a label, "
          f"{len(card['answer']['channels'])} channels")  # fmt: skip
    for note in [*data["notes"], *card.get("test data", {}).get("notes", ())]:
        print(f"  note: {note}")
    seconds, far = card["seconds"]["network"], card["difference"]
    print(f"{recipe['network']}: {card['trained']:,} weights trained, {recipe['steps']} steps of "
          f"{recipe['optimiser']}, {seconds:.0f} s; ONNX differs by {far:.0e}")  # fmt: skip
    shown = [k for k in SHOWN[recipe["task"]] if k in card["seeds"]["network"]]
    lines = [[method, *(_told(k, found[k]["mean"]) for k in shown)] for method, found in card["seeds"].items()]
    if recipe["seeds"] > 1:
        spread = card["seeds"]["network"]
        lines.insert(1, ["  +- over seeds", *(_told(k, spread[k]["sd"]) for k in shown)])
    if card["known units"]:
        lines.append(["network, units it learned from", *(_told(k, card["known units"][k]) for k in shown)])
    where = card["scored"]
    _table(f"{where['units']}; rows: {where['rows']}", ("", *shown), lines)
    found = card["scores"]["network"]
    if recipe["task"] == "classify":
        _print_classes(found, card["answer"]["classes"])
    if found.get("limits"):
        keys = ("F1", "false alarms", "missed")
        rows = [[f"{x['passed']:.0%}", *(_told(k, x[k]) for k in keys)] for x in found["limits"]]
        _table("other limits: the share of normal rows held back that pass, and what came of it", ("", *keys), rows)


def _print_classes(found: Mapping[str, Any], names: Sequence[str]) -> None:
    rows = [
        [name, *(f"{x[k]:.3f}" for k in ("precision", "recall", "F1")), str(x["rows"])]
        for name, x in found["classes"].items()
    ]
    _table("classes", ("class", "precision", "recall", "F1", "rows"), rows)
    rows = [[name, *(str(n) for n in line)] for name, line in zip(names, found["confusion"], strict=True)]
    _table("confusion: true class down, answer across", ("", *names), rows)
    rows = [[f"{r['from']:.1f}", f"{r['sure']:.3f}", f"{r['right']:.3f}", str(r["rows"])] for r in found["reliability"]]
    _table("reliability: how sure, and how often right", ("from", "sure", "right", "rows"), rows)


def _told(key: str, value: float) -> str:
    return f"{value:.1%}" if key in SHARES else f"{value:.1f}" if key == "NASA" else f"{value:.3f}"


def _table(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    print(f"\n{title}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    console = Console()
    (console if console.is_terminal else Console(width=240)).print(table)


def _next(card: Mapping[str, Any], folder: Path) -> str:
    """The line of a twin file that puts it to use."""
    answer, kind = card["answer"], {"rul": "life", "classify": "classifier", "detect": "classifier"}
    if card["recipe"]["task"] == "rul" and len(answer["conditions"]) > 1:
        return "gemel lab life learns the conditions of operation too, and its result runs on site"
    part = "autoencoder" if answer["rebuilds"] else kind[card["recipe"]["task"]]
    return f'put {{ kind = "{part}", model = "{folder}" }} among the detectors of a twin file'
