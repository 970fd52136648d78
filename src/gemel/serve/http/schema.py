"""The forms of answers, for the OpenAPI document; values that are not here look as they do in `gemel.core.values`."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from gemel.core.values import Ack, Command


class Health(TypedDict):
    ok: bool


class Overview(TypedDict):
    twin: str
    mode: str
    running: bool
    every: str
    horizon: str
    trouble: str


class Status(Overview):
    store: str
    points: dict[str, int]
    newest: int | None
    turn: int
    turns: int
    decisions: int
    latest: dict[str, float | None]
    belief: dict[str, float | None]
    findings: list[str]
    acks: dict[str, int]


class ForecastShape(TypedDict):
    """`values[signal][level][time]`"""

    id: str
    by: str
    issued: int
    signals: list[str]
    levels: list[float]
    time: list[int]
    values: list[list[list[float | None]]]
    because: list[str]


class Compared(TypedDict):
    asis: ForecastShape
    whatif: ForecastShape


class Sent(TypedDict):
    command: Command
    ack: Ack | None


class Fitted(TypedDict):
    name: str
    version: str
    promoted: bool
    card: dict[str, Any]


class InUse(TypedDict):
    """The version that is in use now; empty: none."""

    promoted: str


Entry = dict[str, Any]
"""A line of the journal: what it holds depends on its kind."""
