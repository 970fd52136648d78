"""`gemel serve`, and what belongs to it: keys and the audit."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json as json_
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from gemel.core.errors import ConfigError, GemelError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
KEYS = Path("gemel.keys")
KeyFile = Annotated[Path, typer.Option("--keys", help="The file of keys.")]
Named = Annotated[str, typer.Argument(help="Who or what has it.", show_default=False)]
key = typer.Typer(name="key", help="Keys for the HTTP API.", no_args_is_help=True)
audit = typer.Typer(name="audit", help="What was done, and by whom.", no_args_is_help=True)


def serve(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Twin files (TOML); without one, make one in the window.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 8420,
    keys: Annotated[
        Path | None, typer.Option(help="The file of keys; default: gemel.keys beside the twin file.")
    ] = None,
    book: Annotated[
        Path | None, typer.Option("--audit", help="The audit; default: gemel.audit.jsonl beside the twin file.")
    ] = None,
    tls: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Certificate and its key (PEM).", metavar="CERT KEY")
    ] = None,
    proxy: Annotated[str, typer.Option(help="Address of a proxy in front that ends TLS.")] = "",
    name: Annotated[
        list[str] | None, typer.Option(help="A name the server is known by, such as twin.example.com.")
    ] = None,
    ui: Annotated[bool, typer.Option("--ui/--no-ui", help="The window in the browser.")] = True,
    json: Json = False,
) -> None:
    """Run twins and answer over HTTP until Ctrl-C."""
    from gemel.config import load
    from gemel.serve.host import Host
    from gemel.trust.access import Keys

    with _needed():
        from gemel.serve.http.server import Address
        from gemel.serve.http.server import serve as answer
    files = files or []
    place = files[0].parent if files else Path()
    held = keys or (place / KEYS if (place / KEYS).exists() else None)
    address = Address(host, port, tls, proxy, tuple(name or ()))

    def ready(url: str) -> None:
        names = ", ".join(twins.twins) or "no twin yet"
        if json:
            print(json_.dumps({"url": url, "twins": list(twins.twins), "keys": bool(held)}), flush=True)
        else:
            way = "with a key" if held else "no key needed"
            print(f"{names}: {url}{('' if files else '/new') if ui else '/v1/twins'} ({way})\nstop: Ctrl-C", flush=True)

    twins = Host([load(file) for file in files], files)
    asyncio.run(answer(twins, address, book or place / "gemel.audit.jsonl", Keys(held) if held else None, ready, ui))


def mcp(
    files: Annotated[list[Path], typer.Argument(help="Twin files (TOML).", show_default=False)],
    scopes: Annotated[
        str, typer.Option(help="Of read, simulate, propose, approve; by commas. approve still asks a person.")
    ] = "read,simulate",
    book: Annotated[
        Path | None, typer.Option("--audit", help="The audit; default: gemel.mcp.audit.jsonl beside the twin file.")
    ] = None,
) -> None:
    """Tools for a language model, on stdin and stdout: an MCP client starts this."""
    from gemel.config import load
    from gemel.serve.attached import Attachments, Book
    from gemel.serve.verbs import VERBS, Verbs
    from gemel.trust.access import Caller, scoped

    granted = frozenset(scoped(s.strip() for s in scopes.split(",") if s.strip()))
    with _needed("mcp"):
        from gemel.serve.mcp import server
    twins, caller = Attachments([load(f) for f in files]), Caller(getpass.getuser(), granted)
    verbs = Verbs(twins, Book(book or files[0].parent / "gemel.mcp.audit.jsonl"), VERBS)
    with contextlib.closing(twins):
        server(verbs, lambda _: (caller, ""), verbs.of(caller)).run()


@key.command()
def new(
    name: Named,
    scopes: Annotated[str, typer.Option(help="Of read, simulate, propose, approve, admin; by commas.")] = "read",
    twin: Annotated[list[str] | None, typer.Option(help="Only for this twin; may be repeated.")] = None,
    keys: KeyFile = KEYS,
    json: Json = False,
) -> None:
    """Make a key. It is shown now and never again."""
    from gemel.trust.access import Keys

    text = Keys(keys).new(name, [s.strip() for s in scopes.split(",") if s.strip()], twin or ())
    if json:
        print(json_.dumps({"name": name, "key": text}))
    else:
        print(text)
        print(f"\nnext: gemel serve FILE --keys {keys}", file=sys.stderr)


@key.command("list")
def listed(keys: KeyFile = KEYS, json: Json = False) -> None:
    """Every key by name, with what it is good for."""
    from rich.console import Console
    from rich.table import Table

    from gemel.trust.access import Keys

    found = Keys(keys).all()
    if json:
        rows = [{"name": k.name, "scopes": k.scopes, "twins": k.twins, "made": k.made} for k in found]
        print(json_.dumps(rows))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("name", "scopes", "twins", "made"):
        table.add_column(head)
    for k in found:
        table.add_row(k.name, " ".join(k.scopes), " ".join(k.twins) or "all", k.made)
    Console().print(table if found else f"no key in {keys}")
    print("\nnext: gemel key new NAME --scopes read")


@key.command()
def revoke(name: Named, keys: KeyFile = KEYS, json: Json = False) -> None:
    """Make a key void, at once."""
    from gemel.trust.access import Keys

    Keys(keys).revoke(name)
    print(json_.dumps({"revoked": name}) if json else f"{name} is void\n\nnext: gemel key list")


@audit.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The audit: gemel.audit.jsonl.", show_default=False)],
    head: Annotated[str, typer.Option(help="A hash noted earlier: its line must still be there.")] = "",
    json: Json = False,
) -> None:
    """Was any line changed, removed or put in? Ends with code 1 if so."""
    from gemel.trust.audit import verify as check

    try:
        lines, last = check(file, head)
    except GemelError as error:
        if json:
            print(json_.dumps({"whole": False, "error": error.message}))
            raise typer.Exit(1) from None
        raise
    if json:
        print(json_.dumps({"whole": True, "lines": lines, "head": last}))
    else:
        print(f"{lines:,} lines, unbroken\nhead {last}\n\nnext: note the head elsewhere; --head checks it later")


def mount(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(serve)
    app.command()(mcp)
    app.add_typer(key)
    app.add_typer(audit)


@contextmanager
def _needed(extra: str = "serve") -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        missing: Any = error.name
        raise ConfigError([f"this needs {missing}, which is not installed"], f"pip install 'gemel[{extra}]'") from None
