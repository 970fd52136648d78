"""Process: batches are cleaned on their way to the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from gemel.core.values import Batch, Frame


@runtime_checkable
class Transform(Protocol):
    """Cleans points on their way in.

    A transform never drops a point silently and never raises on telemetry: what it does not trust it marks
    (`UNCERTAIN`, `BAD`) and passes on. It may convert values, mark quality, add points (flagged `IMPUTED`) and remove
    exact duplicates. It works on columns and keeps per-signal arrays where it needs a memory; points of one signal
    come in arrival order, which may not be time order.
    """

    def apply(self, batch: Batch) -> Batch:
        """The batch, cleaned."""


@runtime_checkable
class View(Protocol):
    """Shapes what one part sees (denoised, normalised) and leaves the store alone. Causal: a row sees no later row."""

    def view(self, frame: Frame) -> Frame:
        """The frame as the part asked to see it."""


@runtime_checkable
class Stateful(Protocol):
    """A part whose memory must survive a restart."""

    def snapshot(self) -> Mapping[str, Any]:
        """Plain data and arrays; `restore(snapshot())` changes nothing."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the memory of an earlier `snapshot()`."""
