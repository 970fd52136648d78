"""Decide: what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from gemel.core.life import Action
from gemel.core.values import Belief, Decision, Finding, Forecast, Signals
from gemel.loop.simulate import Simulator


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a detector or a policy may look at.

    `latest` maps a signal to its newest usable value (NaN: none); `belief` carries the innovation of this turn;
    `hands` are the signals that somebody has taken by hand."""

    now: int
    every: int
    horizon: int
    signals: Signals
    latest: Mapping[str, float]
    belief: Belief | None = None
    forecasts: tuple[Forecast, ...] = ()
    findings: tuple[Finding, ...] = ()
    simulator: Simulator | None = None
    mode: str = "observe"
    hands: Mapping[str, Action] = field(default_factory=dict)


@runtime_checkable
class Policy(Protocol):
    """Chooses commands.

    A decision says what it expects (`expected`: objective, constraint probabilities, each by a name a person
    understands), what it used (`because`: ids) and why in one sentence (`reason`). Commands are absolute setpoints with
    an expiry. A policy that finds no allowed option says so in `refused` and returns the safest plan it has.
    """

    def decide(self, situation: Situation) -> Decision:
        """The decision at `situation.now`."""
