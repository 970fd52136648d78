"""Act: commands go back to the plant, and only those that are allowed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol, runtime_checkable

from gemel.core.expression import compare
from gemel.core.life import in_hand
from gemel.core.units import spell
from gemel.core.values import Ack, Command, Decision
from gemel.loop.decide import Situation


@runtime_checkable
class Actuator(Protocol):
    """Where commands go to. The command's id is its correlation id: sent twice, it acts once."""

    async def send(self, command: Command) -> Ack:
        """Deliver a command and wait for what comes of it. `silent` when nobody answers in the connector's own time;
        it never raises for a plant that refuses or is gone."""


def allowed(decision: Decision, situation: Situation) -> Decision:
    """The decision with only the commands that may be sent; a line in `refused` for each other.

    Refused is what has no controlled signal, is not finite, breaks the signal's limits, has expired, whose precondition
    does not hold, or whose signal is in somebody's hand. A step larger than the slew limit allows is shortened to it. A
    refused command whose signal declares a safe value is replaced by that value, unless it is in somebody's hand.
    """
    kept: list[Command] = []
    refused = list(decision.refused)
    for command in decision.commands:
        trouble = _trouble(command, situation) or in_hand(command.id, command.signal, situation.hands)
        if trouble:
            refused.append(f"{command.signal} = {command.value:g}: {trouble}")
            safe = situation.signals.named(command.signal).safe if command.signal in situation.signals else None
            if safe is None or not _controlled(command, situation) or command.signal in situation.hands:
                continue
            refused[-1] += f"; its safe value {safe:g} is sent instead"
            command = replace(command, value=safe, precondition="", expires=situation.now + situation.every)
        kept.append(_slewed(command, situation, refused))
    return replace(decision, commands=tuple(kept), refused=tuple(refused))


def safe(situation: Situation, reason: str, id: str) -> Decision:
    """The decision when there is none: every controlled signal to its declared safe value."""
    commands = tuple(
        Command(f"{id}-{s.name}", s.name, s.safe, situation.now + situation.every)
        for s in situation.signals
        if s.role == "controlled" and s.safe is not None
    )
    return Decision(id, situation.now, commands, refused=(reason,), reason=reason)


def _controlled(command: Command, situation: Situation) -> bool:
    return command.signal in situation.signals and situation.signals.named(command.signal).role == "controlled"


def _trouble(command: Command, situation: Situation) -> str:
    if command.signal not in situation.signals:
        return "there is no such signal"
    signal = situation.signals.named(command.signal)
    if signal.role != "controlled":
        return f"the signal is {signal.role}, not controlled"
    if not math.isfinite(command.value):
        return "not a finite number"
    if not signal.within(command.value):
        low, high = (limit if limit is not None else math.inf for limit in (signal.low, signal.high))
        return f"outside its limits {-low if signal.low is None else low:g} .. {high:g}"
    if command.expires <= situation.now:
        return f"expired {spell(max(situation.now - command.expires, 1))} ago"
    try:
        holds = not command.precondition or compare(command.precondition, situation.latest)
    except Exception as error:
        return f"precondition '{command.precondition}' cannot be judged: {error}"
    return "" if holds else f"precondition '{command.precondition}' does not hold"


def _slewed(command: Command, situation: Situation, refused: list[str]) -> Command:
    signal = situation.signals.named(command.signal)
    last = situation.latest.get(command.signal, math.nan)
    if signal.slew is None or not signal.within(last):  # from outside its limits the way back in is not slowed
        return command
    most = signal.slew * situation.every / 1e9
    step = command.value - last
    if abs(step) <= most * (1 + 1e-9):
        return command
    value = last + math.copysign(most, step)
    refused.append(f"{signal.name} = {command.value:g}: a step of {step:g} exceeds the slew limit, {value:g} is sent")
    return replace(command, value=value)
