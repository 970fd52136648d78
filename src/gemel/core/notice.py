"""What a notifier tells people who do not look at the twin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from gemel.core.values import Finding

CHANGES = ("opened", "returned", "closed")


@dataclass(frozen=True, slots=True)
class Notice:
    """News about findings of `twin`, (change, finding) each, a change one of `CHANGES`. `dropped` counts those that
    there was no room for. The same news have the same `id`, however often they are sent."""

    id: str
    twin: str
    news: tuple[tuple[str, Finding], ...]
    dropped: int = 0


@runtime_checkable
class Notifier(Protocol):
    """Tells somebody outside. `least` is the severity below which a finding is not told, `gather` how long after one
    message what comes is gathered into the next, and `place` whom it tells, without secrets.

    It does not retry, and forgets what it has told: the twin does both."""

    least: float
    gather: str
    place: str

    def send(self, notice: Notice) -> None:
        """Deliver it, in a thread where waiting does no harm; raises when the other side has not taken it."""
