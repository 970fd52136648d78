"""What was learned, as files: weights, calibrated parameters, heads; each with a card that tells where it is from."""

from __future__ import annotations

import hashlib
import os
import tempfile
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


class Shelf:
    """Artifacts of one twin in a folder, every version kept; of each name at most one is promoted: the one in use.

    `folder/NAME/VERSION/` holds the files and the card of a version, `folder/NAME/promoted.json` the versions that were
    promoted, the one in use last. A version never changes: its name is the hash of its card, and the card holds the
    hashes of the files.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def add(self, name: str, files: Mapping[str, bytes], card: Mapping[str, Any]) -> Artifact:
        """Keep files and card as a new version; nothing changes for those who use the promoted one."""
        hashes = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        written = msgspec.json.format(msgspec.json.encode({"name": name, **card, "sha256": hashes}), indent=1)
        place = self.folder / name / hashlib.sha256(written).hexdigest()[:12]
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            whole = Path(scratch) / "whole"
            whole.mkdir()
            for file, content in {**files, f"{name}.json": written}.items():
                (whole / file).write_bytes(content)
            if not place.exists():  # the same again is the same version
                whole.rename(place)
        return self.version(name, place.name)

    def version(self, name: str, version: str) -> Artifact:
        """One version, its card and files checked; raises `PartError` as `read` does."""
        found = read(self.folder / name / version, name)
        if found.version != version:
            raise PartError(
                f"the card of {name} {version} in {self.folder} was changed (it is {found.version} now)",
                "go back to an earlier version, or make a new one",
            )
        return found

    def names(self) -> list[str]:
        """What artifacts there are."""
        return sorted(p.name for p in self.folder.glob("*") if p.is_dir())

    def versions(self, name: str) -> list[str]:
        """Every version of one, the oldest first."""
        cards = (self.folder / name).glob(f"*/{name}.json")
        return [card.parent.name for card in sorted(cards, key=lambda card: card.stat().st_mtime_ns)]

    def promote(self, name: str, version: str) -> Artifact:
        """Put a version to use."""
        found = self.version(name, version)
        if version != self.promoted(name):  # the same again is not one more to take back
            self._write(name, [*self.history(name), version])
        return found

    def back(self, name: str) -> str:
        """Put the version before to use again; returns it, "" when there was none before."""
        history = self.history(name)[:-1]
        self._write(name, history)
        return history[-1] if history else ""

    def promoted(self, name: str) -> str:
        """The version in use, "" when there is none."""
        history = self.history(name)
        return history[-1] if history else ""

    def history(self, name: str) -> list[str]:
        """The versions that were promoted and not taken back, the one in use last."""
        path = self.folder / name / "promoted.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[str])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            raise PartError(f"{path} cannot be read: {error}", "remove it, and promote a version again") from None

    def _write(self, name: str, history: list[str]) -> None:
        path = self.folder / name / "promoted.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(history))
        os.replace(new, path)
