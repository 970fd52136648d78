"""What was learned, as files: weights, calibrated parameters, heads; each with a card that tells where it is from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gemel.core.errors import PartError


@dataclass(frozen=True, slots=True)
class Artifact:
    """Files that belong together, and their card: data hash, recipe, code version, steps, scores beside naive ones."""

    name: str
    version: str
    files: Mapping[str, Path]
    card: Mapping[str, Any]


def read(folder: str | Path, name: str) -> Artifact:
    """The artifact whose card is `folder/name.json`; the version is the first letters of the card's SHA-256.

    Raises `PartError` for a missing file, an unreadable card, and a file whose SHA-256 is not the one on the card.
    """
    path = Path(folder) / f"{name}.json"
    try:
        written = path.read_bytes()
        card = msgspec.json.decode(written, type=dict[str, Any])
        hashes = dict(card["sha256"])
    except OSError as error:
        raise PartError(
            f"there is no card {path}: {error.strerror}", "point to a folder with an exported network"
        ) from None
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise PartError(f"{path} is not the card of an artifact", "export it again") from None
    files = {file: path.parent / file for file in hashes}
    for file, whole in files.items():
        try:
            found = digest(whole)
        except OSError as error:
            raise PartError(
                f"there is no {whole}: {error.strerror}", f"its card {path.name} names it; copy both"
            ) from None
        if found != hashes[file]:
            raise PartError(
                f"{whole} is not the file its card names (SHA-256 {found[:12]}, not {str(hashes[file])[:12]})",
                "it was changed or damaged: install or export it again",
            )
    return Artifact(name, hashlib.sha256(written).hexdigest()[:12], files, card)


def digest(path: str | Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
