"""Store: all history, for ever, on disk before anyone is told so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from gemel.core.values import Batch, Frame


@runtime_checkable
class Store(Protocol):
    """Points. The key of a point is (signal, time): the same value again is a duplicate, counted and not kept;
    another value is a revision, both are kept and the latest wins in every read.

    Opened with `open(signals)` before use and closed with `close()`; a second process that opens the same store gets
    `StoreBusy`. `append` raises `StoreFull` when the disk is full, and nothing held before is lost.
    """

    def append(self, batch: Batch, notes: Sequence[Any] = ()) -> int:
        """Keep the points, the batch's events and `notes` (journal values) in one transaction. Durable when it
        returns. Returns how many points were new (duplicates are not)."""

    def window(self, signals: Sequence[str], start: int, end: int, every: int | None = None) -> Frame:
        """Points with start <= time <= end: on the union of their stamps, or on the grid of multiples of `every`
        (the mean of each cell, short gaps held and flagged, see `core.grid`)."""

    def latest(self, signals: Sequence[str], at: int | None = None) -> Frame:
        """One row: the newest usable value of each signal, no later than `at`; its stamp is the newest of them."""


@runtime_checkable
class Journal(Protocol):
    """What the twin thought and did: beliefs, forecasts, findings, decisions, commands, acks, events. Same file and
    same transactions as the points. An entry with the kind and id of an earlier one supersedes it in reads; of
    snapshots only the newest of an id is kept at all."""

    def record(self, *values: Any) -> None:
        """Keep these values in one transaction; durable when it returns."""

    def read(self, kind: str, start: int | None = None, end: int | None = None, last: int | None = None) -> list[Any]:
        """Values of a kind with start <= time <= end, oldest first; `last` keeps only that many newest."""
