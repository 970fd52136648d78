"""Public telemetry to try Gemel on, fetched once and checked.

`fetch("ett")` leaves `ett/ETTm1.csv.gz` and `ett/ETTh1.csv.gz` in the data folder: that of the environment variable
`GEMEL_DATA`, else `~/.cache/gemel/data`. A twin file names them as `"${GEMEL_DATA}/ett/ETTm1.csv.gz"`.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import socket
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from gemel.core.errors import ConnectorError, GemelError, InputError, nearest

Progress = Callable[[str, int, int], None]
"""Called as (file, bytes so far, bytes in all)."""

_CHUNK = 1 << 16
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Remote:
    """A file as its source publishes it: `size` and `sha256` are of the plain, unzipped text."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder of files behind one address, and what people should know of it."""

    url: str
    files: tuple[Remote, ...]
    about: str


DATASETS = {
    # Pinned to one commit: the address can never serve another text. The sums are those of that commit's files.
    "ett": Dataset(
        "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small",
        (
            Remote("ETTm1.csv", 10_360_719, "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e"),
            Remote("ETTh1.csv", 2_589_657, "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"),
        ),
        "a power transformer, July 2016 to June 2018: six load channels and oil temperature (ETDataset, CC BY-ND 4.0)",
    ),
}


def home() -> Path:
    """Where data sets lie: `GEMEL_DATA`, else `~/.cache/gemel/data`."""
    named = os.environ.get("GEMEL_DATA")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "gemel" / "data"


def fetch(
    name: str, folder: str | Path | None = None, url: str | None = None, progress: Progress | None = None
) -> Path:
    """The folder that holds the data set, downloaded if it is not there yet.

    A file is there when its unzipped text has the published checksum; a download that breaks off leaves nothing
    behind, so running it again starts it again. `url` is another address that serves the same files. Raises
    `InputError` for an unknown name, `ConnectorError` when a file cannot be had, `GemelError` when it cannot be kept.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set '{name}'{nearest(name, DATASETS)}", f"known: {', '.join(DATASETS)}")
    dataset = DATASETS[name]
    place = (Path(folder) if folder else home()) / name
    for remote in dataset.files:
        target = place / f"{remote.name}.gz"
        if not _intact(target, remote):
            _download(f"{(url or dataset.url).rstrip('/')}/{remote.name}", target, remote, progress)
    return place


def advice(place: Path) -> str:
    """What to type after `fetch`, for people."""
    if os.environ.get("GEMEL_DATA") and place.parent == home():
        return "next: gemel run examples/transformer.toml --speed max"
    return f"next: export GEMEL_DATA={place.parent}\n      gemel run examples/transformer.toml --speed max"


def _intact(path: Path, remote: Remote) -> bool:
    try:
        with gzip.open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == remote.sha256
    except (OSError, EOFError, zlib.error):
        return False


def _download(url: str, target: Path, remote: Remote, progress: Progress | None) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        held, part = tempfile.mkstemp(dir=target.parent, prefix=f".{remote.name}.", suffix=".part")
    except OSError as error:
        raise GemelError(
            f"cannot write to {target.parent}: {error.strerror}", "set GEMEL_DATA to a folder you may write to"
        ) from error
    try:
        with os.fdopen(held, "wb") as raw, gzip.GzipFile(remote.name, "wb", 6, raw, mtime=0) as file:
            _copy(url, file, remote, progress)
        Path(part).replace(target)  # all or nothing
    except OSError as error:
        raise GemelError(f"cannot write {target}: {error.strerror}", "make space and run it again") from error
    finally:
        Path(part).unlink(missing_ok=True)


def _copy(url: str, file: gzip.GzipFile, remote: Remote, progress: Progress | None) -> None:
    digest, size = hashlib.sha256(), 0
    try:
        with urlopen(url, timeout=_PATIENCE_S) as answer:
            total = int(answer.headers.get("Content-Length") or remote.size)
            while chunk := answer.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
                if progress:
                    progress(remote.name, size, total)
    except HTTPError as error:
        hint = (
            "the source has moved; give another address with --url" if error.code in (404, 410) else "try again later"
        )
        raise ConnectorError(f"{url} answers {error.code} {error.reason}", hint) from None
    except (URLError, http.client.HTTPException, TimeoutError, ConnectionError, socket.gaierror) as error:
        reason = getattr(error, "reason", None) or error
        raise ConnectorError(
            f"{url} cannot be reached: {reason}",
            "check the network; or put the .csv.gz files in a folder yourself and set GEMEL_DATA to the one above",
        ) from error
    if size < total:
        raise ConnectorError(f"{url} broke off after {size} of {total} bytes", "run it again")
    if digest.hexdigest() != remote.sha256:
        raise ConnectorError(
            f"{url} is not the published file: its checksum is {digest.hexdigest()[:12]}, not {remote.sha256[:12]}",
            "something on the way has changed it (a proxy?); give another address with --url",
        )
