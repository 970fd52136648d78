"""Acquire: telemetry comes in through a `Source`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

from gemel.core.values import Batch


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
