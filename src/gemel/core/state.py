"""What a running twin holds in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from gemel.core.values import Belief, Decision, Finding, Forecast


@dataclass
class State:
    """What a running twin holds in memory; everything else is in the store."""

    now: int = 0  # the last turn
    belief: Belief | None = None
    forecasts: tuple[Forecast, ...] = ()
    findings: tuple[Finding, ...] = ()
    decision: Decision | None = None
    setpoints: dict[str, float] = field(default_factory=dict)
    points: int = 0
    turns: int = 0
    decisions: int = 0
    acks: dict[str, int] = field(default_factory=dict)
