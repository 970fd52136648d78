"""`gemel lab`: train the forecasting network, score it, export it, put it to use."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemel.core.errors import ConfigError, InputError

if TYPE_CHECKING:
    from gemel.lab.train import Standing

lab = typer.Typer(name="lab", help="Train, score and export the forecasting network.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Pool = Annotated[Path | None, typer.Option(help="Parquet file of real series: source, id, values.")]
Run = Annotated[Path, typer.Option("--folder", help="The run's folder: runs/NAME.", show_default=False)]


@lab.command()
def pretrain(
    folder: Run,
    recipe: Annotated[str, typer.Option(help='What it starts from: "cpu" (the default) or "gpu".')] = "",
    config: Annotated[Path | None, typer.Option(help="TOML file of recipe keys, or a card to repeat.")] = None,
    pool: Pool = None,
    budget: Annotated[str, typer.Option(help='Time for all parts of the run together: "3h".')] = "",
    steps: Annotated[int, typer.Option(help="Steps, instead of a budget.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in this folder.")] = False,
    device: Annotated[str, typer.Option(help='"cpu" or "cuda".')] = "cpu",
    fast: Annotated[bool, typer.Option("--fast", help="Compile the network first (for a GPU).")] = False,
    threads: Annotated[int, typer.Option(help="Cores to use.")] = 1,
    json: Json = False,
) -> None:
    """Train the network on synthetic and real series, or go on training it."""
    with _needed():
        from gemel.lab.train import begin
    try:
        with _watching(folder.name, json) as watch:
            run = begin(
                folder, start=recipe, config=config or "", pool=pool or "", budget=budget, steps=steps, resume=resume,
                device=device, fast=fast, threads=threads, watch=watch,
            )  # fmt: skip
    except KeyboardInterrupt:
        print("stopped; the same command with --resume goes on from the last checkpoint", file=sys.stderr)
        raise
    state = run.state
    found = {"folder": str(folder), "steps": state.step, "hours": state.seconds / 3600, "log": state.log}
    loss = f", loss {state.log[-1][1]:.4f}" if state.log else ""
    text = f"{state.step:,} steps in {state.seconds / 60:.1f} min{loss}"
    _answer(json, found, text, f"gemel lab export --folder {folder}")


@lab.command()
def export(
    folder: Run,
    into: Annotated[Path | None, typer.Option(help="Where to write; default: beside the checkpoint.")] = None,
    json: Json = False,
) -> None:
    """Write a run's network as ONNX, float32 and int8, compare both with the network, and write its card."""
    with _needed():
        from gemel.lab.export import export as write
        from gemel.lab.train import Run as Held
    target = into or folder
    card = write(Held.found(folder), target)
    sizes = ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in card["bytes"].items())
    far = ", ".join(f"{name} {value:.1e}" for name, value in card["difference"].items())
    text = f"{card['parameters']:,} parameters after {card['steps']:,} steps: {sizes}\ndifference to the network: {far}"
    _answer(json, card, text, f"gemel lab evaluate {target} --pool POOL")


@lab.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Folder of an exported network, or an ONNX file.", show_default=False)],
    pool: Pool = None,
    bench: Annotated[bool, typer.Option("--bench", help="The public benchmark beside published models.")] = False,
    way: Annotated[str, typer.Option(help='How it is asked: "fast" or "best".')] = "best",
    json: Json = False,
) -> None:
    """Score zero-shot forecasts beside naive, seasonal naive, theta and ridge; scores are written on the card."""
    with _needed():
        from gemel.lab.evaluate import WAYS, Model, held_out
        from gemel.lab.evaluate import bench as benchmark
    from gemel.serve.terminal import progress

    if way not in WAYS:
        raise ConfigError([f"unknown way '{way}'"], f"known: {', '.join(WAYS)}")
    if not pool and not bench:
        raise InputError("nothing to score on", "give --pool FILE, --bench or both")
    found = Model.found(model)
    answer, scores = found.answer(way), {}
    with progress("scoring", quiet=json) as step:
        if pool:
            scores["pool"] = held_out(answer, pool, step)
        if bench:
            scores["bench"] = benchmark(answer, step)
    kept = [found.record(kind, way, held) for kind, held in scores.items()]
    if json:
        _print_json({"model": str(model), "way": way, **scores})
        return
    if pool:
        _print_held_out(scores["pool"])
    if bench:
        _print_bench(scores["bench"])
    print("\nwritten on the card" if all(kept) else "\nthere is no card to write the scores on")
    scored = pool and way == "best"
    print(f"next: gemel lab {f'promote {found.folder} --into DIR' if scored else f'evaluate {model} --pool POOL'}")


@lab.command()
def adapt(
    file: Annotated[Path, typer.Argument(help="The twin file, of a twin with a history.", show_default=False)],
    folder: Run,
    into: Annotated[Path, typer.Option(help="Folder for the adapted network.", show_default=False)],
    horizon: Annotated[str, typer.Option(help="How far ahead; default: the twin's horizon.")] = "",
    rank: Annotated[int, typer.Option(help="Of the adapters.")] = 6,
    steps: Annotated[int, typer.Option(help="Of training.")] = 400,
    json: Json = False,
) -> None:
    """Turn a run's network a little towards one twin, with low-rank adapters trained on its history."""
    from gemel.config import load
    from gemel.serve.terminal import progress

    with _needed():
        from gemel.lab.adapt import Fine, write
        from gemel.lab.adapt import adapt as train
        from gemel.lab.train import Run as Held
    fine, run = Fine(rank=rank, steps=steps), Held.found(folder)
    with load(file) as twin:
        history, ahead = twin.past(), twin.steps(horizon or None)
    with progress(f"adapting to {twin.name}", json) as step:
        network, verdict = train(
            run.averaged(), history, ahead, fine, lambda done, of, loss: step(done, of, f"loss {loss:.4f}")
        )
    if not verdict.passed:
        _answer(json, {"passed": False, "verdict": str(verdict)}, str(verdict), f"gemel adapt {file}")
        raise typer.Exit(1)
    card = write(run, network, verdict, fine, into)
    line = f'the forecaster of {file} needs this line: {{ kind = "foundation", model = "{into}" }}'
    _answer(json, {"passed": True, **card}, str(verdict), line)


@lab.command()
def amortise(
    file: Annotated[
        Path, typer.Argument(help="The twin file: a simulator, an estimator with noise.", show_default=False)
    ],
    into: Annotated[
        Path | None, typer.Option(help="Folder for the network, in the place of the twin's own.", show_default=False)
    ] = None,
    window: Annotated[str, typer.Option(help="The longest stretch of telemetry it will be shown.")] = "2d",
    steps: Annotated[int, typer.Option(help="Of training.")] = 6000,
    seed: Annotated[int, typer.Option(help="Other simulated runs.")] = 0,
    json: Json = False,
) -> None:
    """Train a network that tells a simulator's parameters from telemetry, on simulated runs alone."""
    from gemel.config import load
    from gemel.serve.terminal import progress

    with _needed():
        from gemel.lab.amortise import Recipe
        from gemel.lab.amortise import amortise as train
    with load(file) as twin, progress(f"simulating and training for {twin.name}", json) as step:
        recipe, own = Recipe(window=window, steps=steps, seed=seed), into is None
        into = into or twin.artifacts.folder / "amortised"
        card = train(twin, into, recipe, watch=lambda done, of, loss: step(done, of, f"{-loss:.2f} nats learned"))
    scores = card["scores"]
    text = f"{card['runs']:,} simulated runs in {card['seconds']:.0f} s; on new ones it learns {scores['gained']:.2f} "
    text += f"nats, and its 90 % intervals hold {scores['within']:.1%} of the truth"
    what_next = f"gemel calibrate {file}" if own else f"Amortised(twin.simulator, '{into}') is a start for esmda"
    _answer(json, card, text, what_next)


@lab.command()
def promote(
    into: Annotated[Path, typer.Option(help="Folder of the weights in use.", show_default=False)],
    run: Annotated[Path | None, typer.Argument(help="Folder of an exported run.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Copy in any case.")] = False,
    back: Annotated[bool, typer.Option("--back", help="Take the weights from before into use again.")] = False,
    json: Json = False,
) -> None:
    """Put a run's network to use, if it is better on held-out series than the one in use."""
    from gemel.lab.promote import back as restore
    from gemel.lab.promote import promote as put

    if back == (run is not None):
        raise InputError("a run or --back is needed, and not both", "gemel lab promote runs/NAME --into DIR")
    if run is None:
        version = restore(into).version
        text = f"{into} holds again what it held before (version {version})"
        _answer(json, {"into": str(into), "version": version}, text, "the same command once more changes back")
        return
    found = put(run, into, force=force)
    line = f"held-out CRPS, ratio to seasonal naive: {_number(found.score)}; in use: {_number(found.held)}"
    step = f"gemel lab promote --back --into {into} takes it back"
    if not found.done:
        step = "--force copies it all the same" if found.score else f"gemel lab evaluate {run} --pool POOL"
    _answer(json, found, f"{'promoted' if found.done else 'refused'}: {found.reason}\n{line}", step)
    if not found.done:
        raise typer.Exit(1)


@lab.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="Folder of runs.")] = Path("runs"),
    html: Annotated[Path | None, typer.Option(help="Write a report with curves and scores to this file.")] = None,
    json: Json = False,
) -> None:
    """Every run with its recipe, its size, how long it was trained, and its scores."""
    with _needed():
        from gemel.lab.page import cells, page
        from gemel.lab.runs import runs as found
    rows = found(folder)
    if html:
        html.write_text(page(rows), encoding="utf-8")
    if json:
        _print_json(rows)
        return
    heads = ("run", "recipe", "size", "steps", "patches", "hours", "loss", "held-out CRPS", "bench CRPS", "rank")
    _print_table("", heads, [[cells(row)[head] for head in heads] for row in rows], left=2, gap=1)
    scored = f"gemel lab evaluate {folder / rows[0].name} --pool POOL"
    print(f"\nnext: {f'open {html}' if html else f'{scored}, or --html report.html'}")


@lab.command()
def corpus(
    show: Annotated[Path, typer.Option(help="Write the page to this SVG file.")] = Path("corpus.svg"),
    pool: Pool = None,
    seed: Annotated[int, typer.Option(help="Other samples.")] = 0,
    json: Json = False,
) -> None:
    """Draw a page of samples of all that the network is trained on."""
    with _needed():
        from gemel.lab.corpus import read_pool
        from gemel.lab.sheet import sheet
    drawn = sheet(read_pool(pool)[0] if pool else (), seed=seed)
    show.write_text(drawn, encoding="utf-8")
    _answer(json, {"file": str(show), "bytes": len(drawn)}, f"samples of every family are in {show}", f"open {show}")


@contextmanager
def _needed() -> Iterator[None]:
    """Around imports of the lab: what is missing is a matter of an extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError([f"the lab needs {error.name}, which is not installed"], "pip install 'gemel[lab]'") from None


@contextmanager
def _watching(name: str, quiet: bool) -> Iterator[Callable[[Standing], None]]:
    """A bar where there is a terminal, else a line every now and then."""
    from gemel.serve.terminal import progress

    with progress(f"training {name}", quiet) as step:

        def watch(now: Standing) -> None:
            step(int(1000 * now.part), 1000, str(now))
            if not quiet and not sys.stderr.isatty():
                print(now, flush=True)

        yield watch


def _print_held_out(found: Mapping[str, Any]) -> None:
    lines = []
    for row in found["rows"]:
        ratio = row["ratio"]
        values = [f"{row['MASE']:.3f}", f"{row['CRPS']:.3f}", f"{row['coverage']:.1%}"]
        lines.append([str(row["horizon"]), row["by"], *values, f"{ratio['MASE']:.3f}", f"{ratio['CRPS']:.3f}"])
    for name, x in found["all"].items():
        lines.append(["all", name, "", "", f"{x['coverage']:.1%}", f"{x['MASE']:.3f}", f"{x['CRPS']:.3f}"])
    windows = sum(row["windows"] for row in found["rows"] if row["by"] == "network")
    heads = ("horizon", "by", "MASE", "CRPS", "inside 80 %", "MASE ratio", "CRPS ratio")
    _print_table(f"held-out series, {windows} windows; ratios to seasonal naive", heads, lines, left=2)


def _print_bench(found: Mapping[str, Any]) -> None:
    lines = [
        [x["config"], f"{x['ratio']['MASE']:.3f}", f"{x['ratio']['CRPS']:.3f}", f"{x['coverage']:.1%}"]
        for x in found["rows"]
    ]
    lines.append(["all", f"{found['MASE']:.3f}", f"{found['CRPS']:.3f}", f"{found['coverage']:.1%}"])
    heads = ("configuration", "MASE ratio", "CRPS ratio", "inside 80 %")
    _print_table("public benchmark; ratios to the published seasonal naive", heads, lines)
    near = [[x["model"], f"{x['MASE']:.3f}", f"{x['CRPS']:.3f}"] for x in found["near"]]
    _print_table(f"rank {found['rank']} of {found['of']} by CRPS; beside it", ("model", *heads[1:3]), near)


def _print_table(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1, gap: int = 2) -> None:
    """A table without lines; the first `left` columns are names."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=None, padding=(0, gap, 0, 0))
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i < left else "right", no_wrap=i < left)
    for line in lines:
        table.add_row(*line)
    Console().print(table)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _answer(json: bool, found: Any, text: str, step: str) -> None:
    if json:
        _print_json(found)
    else:
        print(f"{text}\n\nnext: {step}")


def _print_json(found: Any) -> None:
    from gemel.core.codec import jsonable

    print(json_.dumps(jsonable(found), ensure_ascii=False, allow_nan=False))
