"""A new twin while the server runs: what was uploaded, what is in it, what is wrong with a twin file, and its start.

An upload lies in a folder of its own, with the twin file that is being written; it leaves that folder only when the
twin is saved, and is gone after an hour, with the process, or when others need its place.
"""

from __future__ import annotations

import gzip
import re
import zlib
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from secrets import token_hex
from shutil import move, rmtree
from tempfile import TemporaryDirectory
from typing import Any

from gemel.config import load
from gemel.connectors.listen import listen, spot
from gemel.core.clock import ticks
from gemel.core.errors import ConfigError, Conflict, ConnectorError, GemelError, InputError, NotFound
from gemel.discover.found import Found, first, found, record, told
from gemel.discover.heard import gather
from gemel.discover.series import Source, read
from gemel.discover.words import clean
from gemel.serve.host import Host, Hosted
from gemel.serve.shapes import shaped
from gemel.twin import Twin

LARGEST = 64 << 20
"""Bytes of an upload."""
UNPACKED = 512 << 20
"""Bytes it may have when it is unpacked."""
CELLS = 50_000_000
"""Cells of a Parquet file."""
HELD, KEPT_S = 4, 3600.0
ENDS = (".csv", ".csv.gz", ".parquet")
NAME = re.compile(r"[\w-]{1,64}")


class Uploads:
    """Files that somebody sent, each in a folder of its own. `unpacked`: bytes one may have then."""

    def __init__(self, unpacked: int = UNPACKED) -> None:
        self.unpacked = unpacked
        self._root: TemporaryDirectory[str] | None = None
        self._since: dict[str, float] = {}

    def keep(self, name: str, body: bytes) -> tuple[str, Path]:
        """Its id and where it lies; the oldest make room."""
        for id in [i for i, since in self._since.items() if ticks() - since > KEPT_S]:
            self.drop(id)
        while len(self._since) >= HELD:
            self.drop(next(iter(self._since)))
        id = token_hex(8)
        self._root = self._root or TemporaryDirectory(prefix="gemel-", ignore_cleanup_errors=True)
        file = Path(self._root.name) / id / name
        file.parent.mkdir()
        file.write_bytes(body)
        self._since[id] = ticks()
        return id, file

    def folder(self, id: str) -> Path:
        """Raises `NotFound` when it is gone."""
        if id not in self._since or self._root is None:
            raise NotFound(f"there is no upload '{id}' any more", "send the file again")
        return Path(self._root.name) / id

    def drop(self, id: str) -> None:
        """Forget one."""
        if id in self._since:
            rmtree(self.folder(id), ignore_errors=True)
            del self._since[id]

    def close(self) -> None:
        """Forget all."""
        self._since.clear()
        if self._root:
            self._root.cleanup()
            self._root = None


def uploaded(host: Host, uploads: Uploads, name: str, body: bytes) -> dict[str, Any]:
    """What is in a file. Raises what `discover` raises for one that is no table of telemetry."""
    plain = _plain(name)
    id, file = uploads.keep(_free(host, plain), body)
    try:
        _bounded(file, uploads.unpacked)
        source = replace(read(file), name=plain.split(".")[0])
        return {"upload": id, "file": file.name, **_described(host, source, name, file.parent)}
    except BaseException as error:
        uploads.drop(id)
        if isinstance(error, ConfigError | ConnectorError):  # it is the caller's file, not one of ours
            raise InputError(error.message, error.hint) from None
        raise


def heard(host: Host, url: str, seconds: float) -> dict[str, Any]:
    """What is said on a broker in so many seconds."""
    if not url.startswith(("mqtt:", "mqtts:")):
        raise InputError(f"cannot listen to '{url[:200]}'", "give mqtt://host:port/topic")
    try:
        where = spot(url)
    except ConfigError as error:
        raise InputError(error.message, error.hint) from None
    source = gather(listen(where, seconds), where)
    return {"upload": "", "file": "", **_described(host, source, url, host.folder)}


def problems(text: str, folder: Path) -> dict[str, Any]:
    """All that is wrong with the text of a twin file that is to stand in `folder`."""
    try:
        twin = _read(text, folder)
    except ConfigError as error:
        return {"ok": False, "name": "", "problems": error.problems, "hint": error.hint}
    except GemelError as error:
        return {"ok": False, "name": "", "problems": [error.message], "hint": error.hint}
    return {"ok": True, "name": twin.name, "problems": [], "hint": ""}


def save(host: Host, uploads: Uploads, text: str, folder: str, upload: str) -> tuple[Twin, Path]:
    """The twin file written beside those that are served, with the upload it replays; nothing is ever overwritten.
    Raises `InputError` with all that is wrong with it, `Conflict` where something of its name is there."""
    place = _place(host, folder)
    source = uploads.folder(upload) if upload else None
    found = problems(text, source or place)
    if not found["ok"]:
        raise InputError("\n".join(found["problems"]), found["hint"])
    name, placed = found["name"], []
    if not NAME.fullmatch(name):
        raise InputError(f"'{name}' cannot be the name of a file", 'name = "..." takes letters, digits, _ and -')
    if name in host.twins:
        raise Conflict(f"a twin '{name}' is served already", 'give it another name: name = "..."')
    try:
        place.mkdir(parents=True, exist_ok=True)
        for path in [*(source.iterdir() if source else ()), Path(f"{name}.gemel")]:
            if (place / path.name).exists():
                raise Conflict(f"{path.name} is there already", "it belongs to another twin: choose another name")
        file = place / f"{name}.toml"
        with file.open("x", encoding="utf-8") as written:
            written.write(_ended(text))
        placed.append(file)
        for path in source.iterdir() if source else ():
            placed.append(place / path.name)
            move(path, placed[-1])
        twin = load(file)
        twin.stages()
        twin.open()
        return twin, file
    except BaseException as error:
        _undo(placed, source)
        if isinstance(error, FileExistsError):
            raise Conflict(f"{name}.toml is there already", 'give it another name: name = "..."') from None
        if isinstance(error, ConfigError):
            raise InputError("\n".join(error.problems), error.hint) from None
        if isinstance(error, OSError):
            raise InputError(f"cannot write to {place}: {error.strerror}", "may the server write there?") from None
        raise


def started(host: Host, uploads: Uploads, made: tuple[Twin, Path], upload: str) -> Hosted:
    """The saved twin lives from now on. In the event loop."""
    one = host.add(*made)
    uploads.drop(upload)
    return one


def _undo(placed: list[Path], source: Path | None) -> None:
    for path in placed[:1]:
        path.unlink(missing_ok=True)
    for path in placed[1:]:
        if source and path.exists():
            with suppress(OSError):
                move(path, source / path.name)


def _described(host: Host, source: Source, origin: str, folder: Path) -> dict[str, Any]:
    name = _unserved(host, clean(source.name) or "twin")
    seen = found(source, origin, name, folder)
    twin = _read(seen.text, folder)
    return {"name": name, "text": seen.text, **_told(seen), **_ahead(seen, twin)}


def _told(seen: Found) -> dict[str, Any]:
    records = [record(s, p.shape) for s, p in zip(seen.source.series, seen.proposals, strict=True)]
    return {
        "signals": [
            {**told(p), **asdict(r), "every": p.shape.every} for p, r in zip(seen.proposals, records, strict=True)
        ],
        "notes": list(seen.source.notes),
        "naive": "zone" in seen.source.spec,
    }


def _ahead(seen: Found, twin: Twin) -> dict[str, Any]:
    ahead = first(twin, seen.source, seen.proposals)
    if ahead is None:
        return {"past": None, "forecast": None}
    past, forecast = ahead
    columns = {"signals": past.signals, "time": past.time.tolist(), "values": past.values.T.tolist()}
    return {"past": columns, "forecast": shaped(forecast)}


def _read(text: str, folder: Path) -> Twin:
    twin = load(_ended(text), folder)
    twin.stages()
    return twin


def _ended(text: str) -> str:
    return f"{text.rstrip()}\n"


def _place(host: Host, folder: str) -> Path:
    """A folder beside the served twin files, or below."""
    path = Path(folder)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"'{folder}' is not below the folder of the server", 'name a folder in it: "plants"')
    return host.folder / path


def _plain(name: str) -> str:
    """A file's own name, without anything a path could mean."""
    stem, end = next(((name[: -len(e)], e) for e in ENDS if name.lower().endswith(e)), (name, ""))
    if not end:
        raise InputError(f"'{name[:100]}' is no table", f"a file that ends in {', '.join(ENDS)}")
    return (re.sub(r"[^\w-]+", "_", stem).strip("_")[-48:] or "history") + end


def _free(host: Host, name: str) -> str:
    """A name that no file beside the served ones has."""
    stem, dot, end = name.partition(".")
    names = (name, *(f"{stem}-{n}{dot}{end}" for n in range(2, 1000)))
    return next((n for n in names if not (host.folder / n).exists()), f"{stem}-{token_hex(4)}{dot}{end}")


def _unserved(host: Host, name: str) -> str:
    names = (name, *(f"{name}_{n}" for n in range(2, 1000)))
    taken = {*host.twins, *(path.stem for end in ("toml", "gemel") for path in host.folder.glob(f"*.{end}"))}
    return next(n for n in names if n not in taken)


def _bounded(file: Path, unpacked: int) -> None:
    """Refuses what would be too much when it is unpacked."""
    if file.name.endswith(".gz"):
        size = 0
        try:
            with gzip.open(file) as packed:
                while part := packed.read(1 << 20):
                    size += len(part)
                    if size > unpacked:
                        raise InputError(f"{file.name} holds more than {unpacked >> 20} MiB", "send its last months")
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{file.name} cannot be unpacked: {error}", "is it gzip?") from None
    elif file.suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        try:
            held = parquet.read_metadata(file)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{file.name} is no Parquet file: {error}", "export it again") from None
        if held.num_rows * held.num_columns > CELLS:
            raise InputError(f"{file.name} has more than {CELLS:,} cells", "send its last months")
