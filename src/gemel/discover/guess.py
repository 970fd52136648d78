"""A guess: what the rules hand to a person."""

from __future__ import annotations

from typing import Any, NamedTuple


class Guess(NamedTuple):
    """A value, how sure it is (0 .. 1), and the reason in a few words."""

    value: Any
    sure: float
    why: str
