"""What a part may know of the twin it works in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gemel.core.artifact import Shelf
from gemel.core.blobs import Blobs
from gemel.core.clock import Clock
from gemel.core.values import Frame, Signals


@dataclass(frozen=True, slots=True)
class Setting:
    """Given once to every part that has `bind`, before the first turn. Times are nanoseconds."""

    twin: str
    connector: str  # the name under which this connector stands in the twin file; "" for other parts
    signals: Signals
    clock: Clock
    every: int  # between turns
    horizon: int
    seed: int
    folder: Path  # of the twin file: relative paths start here
    simulator: Any = None  # a `Simulator`, where the twin has one
    shelf: Shelf | None = None  # what was fitted to the twin
    history: Callable[..., Frame] | None = None  # `Store.window(signals, start, end, every)`, for parts that look back
    blobs: Blobs | None = None  # pictures and sounds of the twin; a point's value is the code of one

    def __deepcopy__(self, memo: dict[int, Any]) -> Setting:
        """Itself: a copy of a part works in the same twin."""
        return self


@runtime_checkable
class Bound(Protocol):
    """A part that wants to know its setting says so by having `bind`."""

    def bind(self, setting: Setting) -> None:
        """Called once by the twin, before anything else; raises `ConfigError` when the setting does not suit."""


@dataclass
class Stage:
    """A part and what the twin (not the part) needs to know about it. Times are nanoseconds.

    `every`: how often; `step`, `context`: spacing and length of what a forecaster sees; `budget`: seconds after which
    `neighbour` answers instead (the part then lives in a process of its own); `view`: how the part sees its frames;
    `report`: signals whose forecasts by each member of a pool are kept for comparison.
    """

    part: Any
    every: int = 0
    step: int = 0
    context: int = 28 * 86_400 * 10**9
    budget: float = 0.0
    neighbour: Any = None
    view: Sequence[Any] = ()
    report: Sequence[str] = ()
