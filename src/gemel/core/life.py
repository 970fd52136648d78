"""What people say and do about a twin: a finding seen or put aside, an asset under repair, an actuator taken by hand.

The words are those of ISA-18.2 and IEC 62682 (management of alarm systems).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """Somebody (`by`) did something at `time`. `what` is `acknowledge shelve resolve reopen` of a finding (`subject` is
    its id), `maintain` of an asset or signal from `start` on, `take release` of an actuator; in the history of a
    finding also `open close return`, which nobody did. `until` None: without an end."""

    time: int
    what: str
    subject: str
    by: str = ""
    note: str = ""
    start: int | None = None
    until: int | None = None
    id: str = ""


@dataclass(frozen=True, slots=True)
class Life:
    """How a finding stands with people: `state` is one of `open acknowledged shelved maintenance closed`, `since` when,
    `by` whom, and `until` when it comes back by itself. `open` means that nobody has seen it yet."""

    state: str
    since: int
    by: str = ""
    note: str = ""
    until: int | None = None
    history: tuple[Action, ...] = ()


def in_hand(id: str, signal: str, hands: Mapping[str, Action]) -> str:
    """Why the command `id` may not be sent now, if so. The own commands of a hand carry its id."""
    hand = hands.get(signal)
    return f"in hand of {hand.by}" if hand and not id.startswith(hand.id) else ""
