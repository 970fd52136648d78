"""Origin: what the twin believed, foresaw and had last heard at an instant, for a fork to start from."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol

from gemel.core.errors import Conflict, InputError
from gemel.core.state import State
from gemel.core.units import instant, stamp
from gemel.core.values import Belief, Decision, Forecast
from gemel.desk.replay import in_force
from gemel.loop.decide import Situation
from gemel.loop.simulate import Simulator
from gemel.loop.stages import Stages

DECISIONS = 100
"""Decisions that are looked through for where an actuator stood that nobody measures."""


class Thinking(Protocol):
    """What is needed of a desk."""

    twin: Any

    def now(self) -> int:
        """The time it is for the twin."""

    def _thinking(self) -> Any: ...

    def _situation(self) -> Situation: ...


def origin(desk: Thinking, at: str | int | None = None) -> dict[str, Any]:
    """`belief`, `latest` (signal -> value) and `forecasts` in force: as things stand, or at an instant of the past.

    A past belief is the journal's, brought to the last turn before `at` by the estimator with what was measured in
    between, as the turns did that only estimate."""
    twin = desk.twin
    simulator: Simulator | None = twin.simulator
    if simulator is None:
        raise Conflict(f"twin '{twin.name}' has no simulator", 'add simulator = { kind = "..." }')
    if at is None:
        found = desk._situation()
        if found.belief is None:
            raise Conflict(f"twin '{twin.name}' has no belief to start from", "it needs an estimator and telemetry")
        forecasts = found.forecasts or _fresh(desk, found)
        return {"belief": found.belief, "latest": dict(found.latest), "forecasts": forecasts}
    when, stages = instant(at), desk._thinking().stages
    if when > (now := desk.now()):
        raise InputError(f"{stamp(when)} has not come yet: it is {stamp(now)}", "leave at out for the present")
    belief = _belief(twin, stages, when)
    issued = sorted(in_force(twin.store, when), key=lambda f: -f.issued)  # the newest first, as recorded
    return {"belief": belief, "latest": _latest(twin, when), "forecasts": tuple(issued)}


def _fresh(desk: Thinking, situation: Situation) -> tuple[Forecast, ...]:
    """What the forecaster says where no turn has asked it yet; the running one learns nothing from it."""
    stages: Stages = desk._thinking().stages
    if stages.forecaster is None:
        return ()
    side = stages.aside(stages.setting.horizon)
    found = side.forecast(situation)
    side.close()
    return found


def _belief(twin: Any, stages: Stages, when: int) -> Belief:
    """The belief of the last turn up to `when`."""
    held: Belief | None = next(iter(twin.store.read("belief", None, when, 1)), None)
    if held is None:
        found = twin.store.read("belief", None, None, None)
        hint = f"the first is of {stamp(found[0].time)}" if found else "it needs an estimator and telemetry"
        raise InputError(f"twin '{twin.name}' had no belief yet at {stamp(when)}", hint)
    if held.time % stages.setting.every == 1:  # its parameters were drawn again right after that turn
        held = replace(held, time=held.time - 1)
    turn, stage = when // stages.setting.every * stages.setting.every, stages.estimator
    if stage is None or turn <= held.time:
        return held
    findings = [f for f in twin.store.read("finding", None, held.time) if f.open]
    copy = replace(stage, part=deepcopy(stage.part, {id(twin.simulator): twin.simulator}))  # the running one forgets it
    moved = Stages(stages.setting, twin.store, estimator=copy).estimated(held, held.time, turn, findings)
    return moved or held


def _latest(twin: Any, when: int) -> dict[str, float]:
    """The newest usable values; of an actuator that nobody measures what was last sent, else its safe value."""
    newest = twin.store.latest(twin.signals.names, when)
    latest = dict(zip(newest.signals, newest.values[0].tolist(), strict=True)) if len(newest) else {}
    done = {a.command for a in twin.store.read("ack", None, when) if a.state in ("done", "accepted")}
    decisions: list[Decision] = twin.store.read("decision", None, when, DECISIONS) if done else []
    sent = {c.signal: c.value for d in decisions for c in d.commands if c.id in done}
    State(setpoints=sent).place(latest, twin.signals, lambda _: 0)
    return latest
