"""A conformance check for sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import cast

import numpy as np

from gemel.core.values import BAD, Batch, Event
from gemel.loop.acquire import Source


async def check_source(
    make: Callable[[], Source],
    feed: Callable[[int], Awaitable[object]] | None = None,
    *,
    signals: int,
    points: int = 50,
    again: bool = True,
    patience_s: float = 10.0,
) -> list[Batch]:
    """Checks what `Source` promises; raises `AssertionError`. Returns the batches of the last stream.

    Some of the points are left unconfirmed: take no more `points` than the other side sends without a confirmation.
    `make` gives a fresh source, bound to `signals` signals. `feed(points)` makes the other side say that many points
    once it is listened to; None for a source that has its own end, which then must come. `again` says that points which
    were never confirmed come again from the next source.
    """
    first, ended = await _listen(make(), feed, points, patience_s, confirm=False)
    assert ended or feed is not None, "a source that nobody feeds comes to an end"
    _check_batches(first, signals)
    heard = _keys(first)
    assert len(heard) >= (points if feed else 1), f"{len(heard)} points were heard of {points}"
    if not again:
        return first
    second, _ = await _listen(make(), None, len(heard), patience_s, confirm=True)
    _check_batches(second, signals)
    assert heard <= _keys(second), "points that were never confirmed come again"
    return second


async def _listen(
    source: Source, feed: Callable[[int], Awaitable[object]] | None, points: int, patience_s: float, confirm: bool
) -> tuple[list[Batch], bool]:
    """Batches until there are `points`, and whether the source came to an end."""
    batches: list[Batch] = []
    stream = cast(AsyncGenerator[Batch, None], source.stream())
    feeding = asyncio.ensure_future(feed(points)) if feed else None
    ended = True
    try:
        async with asyncio.timeout(patience_s):
            async for batch in stream:
                batches.append(batch)
                if confirm:
                    source.confirm(batch)
                    source.confirm(batch)  # twice is once
                if sum(map(len, batches)) >= points and (feed or confirm):
                    ended = False
                    break
    except TimeoutError:
        raise AssertionError(f"{sum(map(len, batches))} of {points} points came within {patience_s:g} s") from None
    finally:
        if feeding:
            await feeding
        async with asyncio.timeout(patience_s):
            await stream.aclose()
    return batches, ended


def _check_batches(batches: list[Batch], signals: int) -> None:
    for batch in batches:
        n = len(batch)
        for name, dtype in (
            ("signal", np.int32),
            ("time", np.int64),
            ("received", np.int64),
            ("value", np.float64),
            ("quality", np.uint8),
        ):
            column = getattr(batch, name)
            assert column.dtype == dtype, f"{name} is {np.dtype(dtype)}, not {column.dtype}"
            assert column.shape == (n,), f"{name} has {n} entries, not shape {column.shape}"
        assert n or batch.events, "a batch holds points or events"
        assert not n or (batch.signal.min() >= 0 and batch.signal.max() < signals), "signals are places in `Signals`"
        assert not n or batch.quality.max() <= 3, "quality is one of the four codes"
        assert (batch.quality[~np.isfinite(batch.value)] == BAD).all(), "what is no number is BAD"
        assert not n or batch.time.min() > 0, "stamps are nanoseconds since 1970"
        assert all(isinstance(e, Event) and e.text for e in batch.events), "events say what happened"
    sequences = [b.sequence for b in batches]
    assert len(set(sequences)) == len(sequences), "every batch has a sequence of its own"


def _keys(batches: list[Batch]) -> set[tuple[int, int]]:
    return {(s, t) for b in batches for s, t in zip(b.signal.tolist(), b.time.tolist(), strict=True)}
