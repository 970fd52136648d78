"""What a running twin holds in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gemel.core.life import Action
from gemel.core.values import Belief, Decision, Finding, Forecast, Signal


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
    hands: dict[str, Action] = field(default_factory=dict)  # signal -> who has taken it; see `held`

    moved: dict[str, int] = field(
        default_factory=dict
    )  # signal -> since when its setpoint stands, where hands were on it

    def place(self, latest: dict[str, float], signals: Iterable[Signal], heard: Callable[[str], int]) -> None:
        """Put into `latest` where the actuators stand: what was measured (`heard` says when); of those nobody measures,
        or that a hand was on since, what was last sent; else the safe value."""
        for signal in signals:
            if signal.role != "controlled":
                continue
            name, value = signal.name, latest.get(signal.name, math.nan)
            if math.isnan(value) or (name in self.moved and heard(name) <= self.moved[name]):
                known = self.setpoints.get(name, signal.safe)
                latest[name] = math.nan if known is None else known

    def held(self, now: int) -> dict[str, Action]:
        """The signals that are in somebody's hand at `now`."""
        return {signal: hand for signal, hand in self.hands.items() if hand.until is None or now < hand.until}
