"""From a source to what a person can judge: a twin file, how good the telemetry is, and a first forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.errors import InputError
from gemel.core.units import duration
from gemel.core.values import Forecast, Frame
from gemel.discover.ahead import history
from gemel.discover.propose import Proposal, propose
from gemel.discover.series import Series, Source
from gemel.discover.shape import Shape
from gemel.discover.write import placed, twin_file
from gemel.twin import Twin

_SHOWN = 3  # signals of the first forecast
_LEAST = 8  # points that a first forecast needs
_LATE = 1.5  # usual spacings; a longer one is a gap


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in a source: a proposal for each series, and the twin file of them all."""

    source: Source
    proposals: list[Proposal]
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """How a series was heard: `gaps` are spacings that are much longer than usual, `longest` (ns) of them the longest;
    `duplicates` are points with the stamp of another one, `empty` those that hold no number."""

    points: int
    start: int | None
    end: int | None
    gaps: int
    longest: int
    duplicates: int
    empty: int


def found(source: Source, origin: str, name: str, folder: Path) -> Found:
    """The proposals of a source, for a twin `name` whose file is to stand in `folder`. `origin` is where it came from,
    in a person's words. Raises `InputError` when there is nothing in it."""
    proposals = propose(source.series)
    if not any(p.heard for p in proposals):
        raise InputError(f"{origin} holds no values", "every cell is empty or NaN: export it again")
    return Found(source, proposals, twin_file(placed(source, folder), proposals, origin, name))


def record(series: Series, shape: Shape) -> Record:
    """How a series was heard."""
    if not len(series):
        return Record(0, None, None, 0, 0, 0, 0)
    steps = np.diff(series.time)
    late = steps[steps > _LATE * shape.every] if shape.every else steps[:0]
    empty = int(np.isnan(series.value).sum()) - sum(series.texts.values())
    return Record(
        len(series), int(series.time[0]), int(series.time[-1]), len(late), int(late.max(initial=0)),
        int((steps == 0).sum()), max(empty, 0),
    )  # fmt: skip


def first(twin: Twin, source: Source, proposals: Sequence[Proposal]) -> tuple[Frame, Forecast] | None:
    """History and first forecast of the signals most worth a look; None when too little was heard."""
    numbers = [i for i, p in enumerate(proposals) if p.signal.type == "number" and p.shape.moves > 0]
    free = [i for i in numbers if proposals[i].signal.role in ("measured", "derived")]
    worth = sorted(free, key=lambda i: (proposals[i].asked, proposals[i].shape.rises))[:_SHOWN]
    every = duration(twin.every)
    past = history([source.series[i] for i in worth], [proposals[i].signal.name for i in worth], every)
    if past is None or len(past) < _LEAST or twin.forecaster is None:
        return None
    steps = min(duration(twin.horizon) // every, len(past))
    return past, twin.forecaster.part.forecast(past, steps)


def told(proposal: Proposal) -> dict[str, Any]:
    """A proposal as plain values: what is proposed, how sure each part is, and why."""
    return {
        "label": proposal.label,
        "signal": proposal.signal,
        "sure": proposal.sure,
        "unsure": proposal.unsure,
        "notes": proposal.notes,
        "guesses": {key: guess._asdict() for key, guess in proposal.guesses.items()},
    }
