"""What a promoted calibration says of a simulator: its parameters, where it holds, until when.

A calibration is an `Artifact` named `calibration` on the twin's shelf. Its card has `parameters` (which states the
telemetry was to tell), `region` (signal -> what it spanned), `expires` (ns) and `simulator` (whose it is); the file
`posterior.gemel` holds the members, `residual.bin` what a learned correction has learned.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gemel.core.artifact import Artifact, Shelf, digest
from gemel.core.codec import decode
from gemel.core.values import Belief

NAME = "calibration"
POSTERIOR, RESIDUAL, REPORT = "posterior.gemel", "residual.bin", "report.html"


def identity(simulator: Any) -> str:
    """A name for a simulator that changes when its kind, its settings or its equations do."""
    told = {"spec": _plain(simulator), **{k: list(getattr(simulator, k)) for k in ("inputs", "outputs", "states")}}
    whole = hashlib.sha256(msgspec.json.encode(told, order="deterministic")).hexdigest()
    return f"{type(simulator).__name__.lower()}-{whole[:12]}"


def in_use(shelf: Shelf | None, simulator: Any) -> Artifact | None:
    """The promoted calibration; None where there is none, or it is of another simulator."""
    version = shelf.promoted(NAME) if shelf else ""
    if not shelf or not version or simulator is None:
        return None
    found = shelf.version(NAME, version)
    return found if found.card["simulator"] == identity(simulator) else None


def posterior(calibration: Artifact) -> Belief:
    """The members of all states and parameters, as they were at the end of what it was fitted to."""
    found: Belief = decode(calibration.files[POSTERIOR].read_bytes())
    return found


def drawn(calibration: Artifact, members: int, seed: int, time: int = 0) -> Belief:
    """So many draws of the parameters alone [p, members]; the same seed draws the same."""
    held, names = posterior(calibration), tuple(calibration.card["parameters"])
    index = np.resize(np.random.default_rng(seed).permutation(held.members.shape[1]), members)
    return Belief(names, np.array([held.row(n) for n in names]).reshape(len(names), -1)[:, index], time)


def _plain(thing: Any) -> Any:
    """A part's constructor call as plain data; a class by its name."""
    if isinstance(thing, Mapping):
        return {str(k): _plain(v) for k, v in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(v) for v in thing]
    if isinstance(thing, type):
        return [thing.__qualname__, _source(thing)]
    if isinstance(thing, str) and (file := re.fullmatch(r"(.+\.py):(\w+)", thing)) and Path(file[1]).is_file():
        return [Path(file[1]).name, file[2], digest(file[1])]  # wherever it stands
    if hasattr(thing, "spec"):
        return {"kind": type(thing).__name__, **_plain(thing.spec)}
    return thing if isinstance(thing, str | int | float | bool | None) else type(thing).__name__


def _source(cls: type) -> str:
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):  # typed into a shell
        return ""
