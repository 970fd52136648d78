"""What changes something is in the audit before it is done, and again with what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from gemel.core.errors import GemelError


class Book(Protocol):
    """The audit, as `gemel.trust.audit.Audit` keeps it."""

    def write(self, **what: Any) -> int:
        """Append a line; returns its number. Raises when it is not on disk."""


async def write(book: Book, **what: Any) -> int:
    """A line, without keeping the event loop waiting for the disk."""
    return await asyncio.to_thread(lambda: book.write(**what))


@asynccontextmanager
async def noted(book: Book, **what: Any) -> AsyncIterator[None]:
    """`what` is allowed, and done inside. Raises before that when it cannot be written."""
    n = await write(book, **what, verdict="allowed")
    status = "failed"
    try:
        yield
        status = "done"
    except GemelError as error:
        status = error.message
        raise
    finally:
        with suppress(GemelError):  # it is done; the next one cannot be noted either, and is not done
            await write(book, verdict="done", of=n, status=status)
