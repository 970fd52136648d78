"""Which weights are in use: an exported run takes the place only of one it beats on held-out series."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemel.core.artifact import Artifact, read
from gemel.core.errors import InputError, PartError

BEFORE = "before"
"""Folder beside the weights in use that holds those that were in use before."""


@dataclass(frozen=True)
class Promotion:
    """What was compared, and whether the files were copied."""

    done: bool
    reason: str
    score: float | None  # CRPS on held-out series as ratio to seasonal naive, in the way "best"
    held: float | None  # that of the weights in use


def promote(run: str | Path, into: str | Path, *, name: str = "foundation", force: bool = False) -> Promotion:
    """Copy the exported network of `run` into `into` when it scores better there than what lies there, or nothing does.

    Both scores must come from the same pool and protocol. `force` copies in any case. The network before is kept: see
    `back`. Raises `PartError` for files that are not those of their card.
    """
    ours, theirs = read(run, name), _there(Path(into), name)
    mine, other = _scores(ours), _scores(theirs) if theirs else {}
    score, held = _value(mine), _value(other)
    reason = "forced" if force else _refusal(mine, other, theirs)
    if reason and not force:
        return Promotion(False, reason, score, held)
    if theirs:
        _copy(theirs, Path(into) / BEFORE)
    _copy(ours, Path(into))
    if not force:
        reason = f"{score:.4f} is better than {held:.4f}" if theirs else "nothing sound was there"
    return Promotion(True, reason, score, held)


def back(into: str | Path, *, name: str = "foundation") -> Artifact:
    """Change places: the network before is in use again, and the one in use is kept as the one before."""
    folder = Path(into)
    before, now = _there(folder / BEFORE, name), _there(folder, name)
    if before is None:
        raise InputError(f"{folder} keeps no network from before", "promote a run first")
    aside = folder / f"{BEFORE}.new"
    _copy(before, aside)
    if now:
        _copy(now, folder / BEFORE)
    _copy(read(aside, name), folder)
    shutil.rmtree(aside)
    return read(folder, name)


def _refusal(mine: Mapping[str, Any], other: Mapping[str, Any], theirs: Artifact | None) -> str:
    """Why not, or an empty text."""
    if theirs is None:
        return ""
    if not mine:
        return "the run has no scores on held-out series"
    if not other:
        return "the weights in use have no scores on held-out series"
    for key, what in (("data", "pool"), ("protocol", "protocol")):
        if mine[key] != other[key]:
            return f"the two were scored by another {what}, so their scores do not compare"
    a, b = _value(mine), _value(other)
    assert a is not None
    assert b is not None
    return "" if a < b else f"{a:.4f} is not better than {b:.4f}"


def _scores(artifact: Artifact) -> Mapping[str, Any]:
    held: Mapping[str, Any] = artifact.card.get("scores", {}).get("pool", {}).get("best", {})
    return held


def _value(scores: Mapping[str, Any]) -> float | None:
    return float(scores["all"]["network"]["CRPS"]) if scores else None


def _there(folder: Path, name: str) -> Artifact | None:
    """The artifact in a folder; `None` when there is none or it is damaged (then it is not worth keeping)."""
    try:
        return read(folder, name)
    except PartError:
        return None


def _copy(artifact: Artifact, folder: Path) -> None:
    """The card comes last: until then the files are refused, as no card names them."""
    folder.mkdir(parents=True, exist_ok=True)
    card = next(iter(artifact.files.values())).with_name(f"{artifact.name}.json")
    for path in (*artifact.files.values(), card):
        new = folder / f"{path.name}.new"
        shutil.copyfile(path, new)
        os.replace(new, folder / path.name)
