"""Acquire: telemetry comes in through a `Source`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from gemel.core.clock import Clock
from gemel.core.values import Batch, Signals

if TYPE_CHECKING:
    from gemel.loop.simulate import Simulator


@runtime_checkable
class Source(Protocol):
    """Where telemetry comes from.

    The batch is the unit of travel: a source yields one when its other side falls idle, when the sender's window of
    unacknowledged messages is full, or after 50 ms or 50 000 points. Points carry the source's stamps; what cannot be
    read (malformed payloads, unknown addresses) becomes an `Event` in the batch or a point of bad quality, never an
    exception. A source that loses its other side logs it once, keeps trying, and yields an event when it is lost and
    when it returns. The stream ends only when there will never be more (a file at its end).
    """

    def stream(self) -> AsyncIterator[Batch]:
        """Batches, for as long as there are any. Closing the iterator closes the connection."""

    def confirm(self, batch: Batch) -> None:
        """`batch` (found by its `sequence`) is on disk: the other side may forget it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a part may know of the twin it works in; given once, before the first turn."""

    twin: str
    connector: str  # the name under which this connector stands in the twin file; "" for other parts
    signals: Signals
    clock: Clock
    every: int  # ns between turns
    horizon: int  # ns
    seed: int
    folder: Path  # of the twin file: relative paths start here
    simulator: Simulator | None = None


@runtime_checkable
class Bound(Protocol):
    """A part that wants to know its setting says so by having `bind`."""

    def bind(self, setting: Setting) -> None:
        """Called once by the twin, before anything else; raises `ConfigError` when the setting does not suit."""
