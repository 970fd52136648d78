"""The command line. Every command takes `--json`, ends by saying what to do next, and fails as `error:` + `hint:`.

Exit codes: 0 done, 1 something failed, 2 the call or a twin file is wrong, 3 done but with findings open (`doctor`).
"""

from __future__ import annotations

import json as json_
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from gemel import commands_calibrate, commands_challenge, commands_desk, commands_inspect, commands_serve, commands_why
from gemel.commands_lab import lab
from gemel.commands_life import life
from gemel.commands_new import new
from gemel.commands_past import shadow, whatif
from gemel.commands_train import train
from gemel.core.errors import ConfigError, GemelError, InputError

if TYPE_CHECKING:
    from gemel.core.values import Forecast, Frame
    from gemel.twin import Twin

app = typer.Typer(
    name="gemel",
    help="Gemel: a living digital twin in one process.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
lab.command()(train)
lab.command()(life)
app.add_typer(lab)
commands_inspect.mount(lab)
app.command()(new)
app.command()(shadow)
app.command()(whatif)
File = Annotated[Path, typer.Argument(help="The twin file (TOML).", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
For = Annotated[str, typer.Option("--for", help='Stop after this long on the wall clock: "90s".')]
Horizon = Annotated[str, typer.Option(help='How far ahead: "24h", or steps for a table.')]


@app.command()
def demo(
    name: Annotated[str, typer.Argument(help="Which demo: transformer, line.")] = "transformer",
    span: For = "",
    speed: Annotated[float, typer.Option(help="Plant seconds a wall second.")] = 600.0,
    picture: Annotated[Path | None, typer.Option(help="Save the last screen as an SVG file.")] = None,
    ui: Annotated[bool, typer.Option("--ui/--no-ui", help="Open the window in the browser.")] = True,
    mode: Annotated[str, typer.Option(help="auto: it acts; advise: you approve; observe: it only thinks.")] = "auto",
    json: Json = False,
) -> None:
    """Watch a twin live: an emulated power transformer or machining line, its faults, and what the twin does."""
    from gemel.demo import show

    show(name, speed, span, picture, json, ui, mode)


@app.command()
def run(
    file: File,
    speed: Annotated[str, typer.Option(help='Speed of replay connectors: "max", or times real time: 600.')] = "",
    until: Annotated[str, typer.Option(help="Stop when the twin's clock passes this time (ISO 8601).")] = "",
    span: For = "",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Set the store aside first and begin with an empty one.")
    ] = False,
    json: Json = False,
) -> None:
    """Run a twin until its sources end, and report on it."""
    from gemel.connectors.pace import speed_of
    from gemel.core.units import SECOND, duration, instant
    from gemel.serve.terminal import run as run_twin

    twin = _load(file)
    end = instant(until) if until else None
    limit = duration(span) / SECOND if span else None
    if speed:
        speed_of(speed)
        for part in twin.connectors.values():
            if hasattr(part, "speed"):
                part.speed = speed
    if fresh:
        _set_aside(twin)
    found = run_twin(twin, end, limit, quiet=json)
    if json:
        _print_json(found)
    else:
        from gemel.serve.terminal import print_report

        print_report(found, f"gemel history {file} --last 1d", f"gemel doctor {file}")


@app.command()
def play(
    file: Annotated[Path, typer.Argument(help="CSV, CSV.gz or Parquet file.", show_default=False)],
    to: Annotated[str, typer.Option(help="The broker: mqtt://host:port.")],
    topic: Annotated[str, typer.Option(help="Topic of the rows; default: the file's name + /row.")] = "",
    speed: Annotated[str, typer.Option(help='"max", or times real time: 600.')] = "max",
    json: Json = False,
) -> None:
    """Publish a file of telemetry to an MQTT broker, as if the plant were live."""
    from gemel.connectors.play import play as publish
    from gemel.serve.terminal import progress

    with progress(f"playing {file.name}", quiet=json) as step:
        found = publish(file, to, topic=topic or None, speed=speed, progress=step)
    _answer(
        json, found, f"{found['messages']} messages in {found['seconds']:.1f} s", f"gemel run FILE hears them on {to}"
    )


@app.command()
def forecast(
    file: Annotated[Path, typer.Argument(help="A twin file, or a CSV or Parquet table.", show_default=False)],
    horizon: Horizon = "24h",
    signal: Annotated[list[str] | None, typer.Option(help="Only these signals.")] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw it as a chart, after what was measured.")] = False,
    json: Json = False,
) -> None:
    """What comes next, with its uncertainty: of a twin, or of any table."""
    from gemel.serve.terminal import print_charts, print_forecast

    past, units = None, {}
    if file.suffix == ".toml":
        with _load(file) as twin:
            found = twin.forecast(horizon)
            if plot:
                past, units = _history_before(twin, found), {s.name: s.unit for s in twin.signals}
    else:
        past, found = _table_forecast(file, horizon)
    for name in signal or ():
        found.of(name)
    if json:
        _print_json(found)
    else:
        if plot and past is not None:
            print_charts(past, found, signal, units)
        else:
            print_forecast(found, signal or found.signals)
        _next(f"gemel history {file} --last 1d" if file.suffix == ".toml" else "make it a twin: see docs/start.md")


@app.command()
def adapt(
    file: File,
    horizon: Annotated[str, typer.Option(help="How far ahead; default: the twin's horizon.")] = "",
    back: Annotated[bool, typer.Option("--back", help="Put the one before to use again.")] = False,
    json: Json = False,
) -> None:
    """Fit the pre-trained network to the twin's own history, and put it to use if that is better."""
    from gemel.serve.terminal import print_adapted, progress

    with _load(file) as twin:
        shelf = twin.artifacts
        if back:
            version = shelf.back("head")
            text = f"head {version} is in use again" if version else "no head is in use: forecasts are zero-shot"
            _answer(json, {"promoted": version}, text, f"gemel forecast {file}")
            return
        with progress(f"adapting {twin.name}", quiet=json) as step:
            made = twin.adapt(horizon or None, step)
    if json:
        _print_json({"version": made.version, "promoted": shelf.promoted("head"), **made.card})
    else:
        print_adapted(made.card)
        _next(_after_adapting(twin, file, made.card["passed"]))


@app.command()
def history(
    file: File,
    signal: Annotated[list[str] | None, typer.Option(help="Only these signals.")] = None,
    last: Annotated[str, typer.Option(help='How far back from the newest point: "7d".')] = "1d",
    every: Annotated[str, typer.Option(help='Grid: "1h". Default: the stamps as they came.')] = "",
    csv: Annotated[Path | None, typer.Option(help="Write the rows to this CSV file.")] = None,
    json: Json = False,
) -> None:
    """What was measured."""
    from gemel.serve.terminal import print_history, write_csv

    with _load(file) as twin:
        frame = twin.history(signal, last, every=every or None, native=False)
    if csv:
        write_csv(frame, csv)
        _answer(
            json, {"file": str(csv), "rows": len(frame)}, f"{len(frame)} rows written to {csv}", f"gemel forecast {csv}"
        )
    elif json:
        _print_json(frame)
    else:
        print_history(frame, twin.signals)
        _next(f"gemel forecast {file}")


@app.command()
def doctor(file: File, json: Json = False) -> None:
    """Is the twin well? Reads its file, asks the running one or opens its store, and says what to mend."""
    from gemel.serve.terminal import print_doctor

    with _load(file) as twin:
        found = twin.status()
        findings = twin.findings()
        found["blobs"] = asdict(twin.blobs.kept())
    found["findings"] = [{"name": f.name, "subject": f.subject, "since": f.start, "text": f.text} for f in findings]
    if json:
        _print_json(found)
    else:
        print_doctor(found)
        _next(f"gemel run {file}" if not found["running"] else f"gemel forecast {file}")
    if found["findings"]:
        raise typer.Exit(3)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Which telemetry: ett.")],
    url: Annotated[str, typer.Option(help="Another address to fetch it from.")] = "",
    json: Json = False,
) -> None:
    """Fetch public telemetry to try things on, and check it."""
    from gemel.fetch import advice
    from gemel.fetch import fetch as get
    from gemel.serve.terminal import transfer

    with transfer(quiet=json) as step:
        folder = get(name, url=url or None, progress=step)
    step_next = advice(folder).removeprefix("next: ")
    _answer(json, {"name": name, "folder": str(folder)}, f"{name} is in {folder}", step_next)


commands_calibrate.mount(app)
commands_challenge.mount(app)
commands_desk.mount(app)
commands_serve.mount(app)
commands_why.mount(app)


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens, with tracebacks.")] = False,
) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr
    )
    if version:
        from gemel import __version__

        print(__version__)
        raise typer.Exit


def main() -> NoReturn:
    """The entry point: errors of ours are two lines on stderr, not a traceback."""
    try:
        app()
    except GemelError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError | InputError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone: `gemel history ... | head`
        sys.stderr.close()
        sys.exit(0)
    sys.exit(0)


def _load(file: Path) -> Twin:
    from gemel.config import load

    return load(file)


def _after_adapting(twin: Twin, file: Path, passed: bool) -> str:
    from gemel.forecasters.foundation.forecaster import within

    held = within(twin.forecaster.part) if twin.forecaster else None
    if not passed or (held and held.head):
        return f"gemel forecast {file}"
    line = f'head = "{twin.artifacts.folder.name}"'
    if held:
        return f"add {line} to the foundation forecaster of {file}"
    return f'put this line into {file}: forecaster = {{ kind = "foundation", {line} }}'


def _set_aside(twin: Twin) -> None:
    """Give the store another name, with all that was acknowledged in it. Raises `StoreBusy` while a twin holds it."""
    from gemel.core.errors import StoreBusy, StoreError
    from gemel.core.setting import Bound
    from gemel.core.values import Signals
    from gemel.serve.terminal import set_aside

    path = getattr(twin.store, "path", None)
    if not path or not (held := twin.folder / path).exists():
        return
    if isinstance(twin.store, Bound):
        twin.store.bind(twin.setting())
    try:
        twin.store.open(Signals(()))  # folds in the log that a killed twin left; tells the old store nothing new
        twin.store.close()
    except StoreBusy:
        raise
    except StoreError as error:
        print(f"{error.message}; it is set aside as it is", file=sys.stderr)
    set_aside(held)


def _history_before(twin: Twin, ahead: Forecast) -> Frame:
    """What was measured before a forecast, in its steps, for as long as a chart shows."""
    from gemel.core.units import spell
    from gemel.serve.chart import reach

    every = spell((int(ahead.time[-1]) - ahead.issued) // len(ahead))
    names = [name for name in ahead.signals if name in twin.signals]
    found: Frame = twin.history(names, spell(reach(ahead)), end=ahead.issued, every=every, native=False)
    return found


def _table_forecast(file: Path, horizon: str) -> tuple[Frame, Forecast]:
    from gemel.frames import forecast_file

    return forecast_file(file, int(horizon) if horizon.isdigit() else horizon)


def _answer(json: bool, found: Any, text: str, step: str) -> None:
    if json:
        _print_json(found)
    else:
        print(text)
        _next(step)


def _next(step: str) -> None:
    print(f"\nnext: {step}")


def _print_json(found: Any) -> None:
    from gemel.core.codec import jsonable

    print(json_.dumps(jsonable(found), ensure_ascii=False, allow_nan=False))


if __name__ == "__main__":
    main()
