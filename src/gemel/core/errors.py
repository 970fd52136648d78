"""Everything Gemel raises on purpose.

```
GemelError                 has a message (what, which one) and a hint (the next step)
├── ConfigError            the twin file or the constructor call; holds every problem at once
├── ConnectorError         the other side of a connector: cannot be reached, refuses, speaks nonsense
├── StoreError             the store
│   ├── StoreBusy          another process holds the file
│   └── StoreFull          the disk is full; nothing acknowledged before is lost
├── PartError              a part (forecaster, policy, ...) raised, or was late
└── InputError             an argument of a call: an unknown signal, a horizon of zero
    ├── NotFound           it names something there is not: a twin, a decision, a version
    └── Conflict           it does not fit how things stand: no history yet, decided already
```

Bad telemetry is not here: it is a point with bad quality. A refused command is not here: it is a line in the
decision.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class GemelError(Exception):
    """What went wrong and with which thing; `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(GemelError):
    """One or more problems of a twin file; `problems` are lines, each with its place."""

    def __init__(self, problems: Iterable[str], hint: str = "", where: str = "") -> None:
        self.problems = list(problems)
        head = f"{where}: " if where else ""
        many = len(self.problems)
        text = self.problems[0] if many == 1 else f"{many} problems\n" + "\n".join(f"  {p}" for p in self.problems)
        super().__init__(head + text, hint)


class ConnectorError(GemelError):
    """The other side of a connector cannot be reached or refuses us."""


class StoreError(GemelError):
    """The store cannot do what was asked."""


class StoreBusy(StoreError):
    """Another process holds the file."""


class StoreFull(StoreError):
    """No space left; what was acknowledged before is still there."""


class PartError(GemelError):
    """A part raised or was late; the loop goes on without its answer."""


class InputError(GemelError):
    """An argument of a call does not fit."""


class NotFound(InputError):
    """There is nothing of that name."""


class Conflict(InputError):
    """The call is right, but not as things stand now."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`", did you mean 'x'?"` for the nearest known word, or an empty string."""
    found = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean '{found[0]}'?" if found else ""


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first plain exception of a group: people should read one message, not a tree."""
    inner = group.exceptions[0]
    return first(inner) if isinstance(inner, BaseExceptionGroup) else inner
