"""Actuators in people's hands: taken over and given back without a bump.

While a signal is in hand, what the twin decides for it is not sent and stands in `refused`; the person's own setpoints
go through the same guard. Nothing is sent on giving back: the twin's next decision starts from the value that the plant
has then, and the guard's slew limit counts from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from secrets import token_hex
from typing import Any, Protocol

from gemel.core.errors import Conflict, InputError
from gemel.core.life import Action
from gemel.core.units import SECOND, instant_id, stamp
from gemel.core.values import Ack, Command, Decision
from gemel.desk.alarms import bounded, user
from gemel.loop.act import allowed
from gemel.loop.run import Loop

VOID = 60 * SECOND
"""After this long, or two turns, a setpoint by hand that could not be sent is not sent any more."""


class Running(Protocol):
    """What is needed of a desk."""

    twin: Any
    told: Callable[[Any], Any]

    def now(self) -> int:
        """The time it is for the twin."""

    def _running(self) -> Loop:
        """The loop; raises `Conflict` when the twin is not running."""

    def _thinking(self) -> Loop:
        """The loop, or one that never runs."""

    def commands(self, last: int = 20) -> list[tuple[Command, Ack | None]]:
        """The newest commands with what came of them."""


class Hands:
    """Who has which actuator."""

    def __init__(self, desk: Running) -> None:
        self._desk = desk
        self._put: dict[str, int] = {}  # signal -> when a hand last moved it

    def hands(self) -> list[dict[str, Any]]:
        """Every actuator: who has it in hand (None: the twin), what was last sent and what came of it, and the value
        that it has now with its time."""
        loop, store = self._desk._thinking(), self._desk.twin.store
        held = loop.state.held(self._desk.now()) if loop.state.hands else {}
        sent = {command.signal: (command, ack) for command, ack in self._desk.commands(100)}
        rows = []
        for signal in self._desk.twin.signals:
            if signal.role != "controlled":
                continue
            newest = store.latest([signal.name])
            value = float(newest.values[0, 0]) if len(newest) else math.nan
            command, ack = sent.get(signal.name, (None, None))
            rows.append(
                {
                    "signal": signal.name,
                    "hand": held.get(signal.name),
                    "setpoint": loop.state.setpoints.get(signal.name),
                    "command": command,
                    "ack": ack,
                    "measured": None if math.isnan(value) else value,
                    "time": None if math.isnan(value) else int(newest.time[0]),
                }
            )
        return rows

    async def take(self, signal: str, span: str | None = None, note: str = "", by: str = "") -> Action:
        """Take an actuator over, for good or for a `span` after which it goes back by itself. By the one who has it
        already: for how much longer."""
        loop, by, now = self._desk._running(), by or user(), self._desk.now()
        if loop.setting.signals.named(signal).role != "controlled":
            raise InputError(f"'{signal}' is not controlled, so nobody can take it")
        if not loop.setting.signals.named(signal).address:
            raise InputError(f"'{signal}' has no address: nothing is ever sent there")
        if loop.mode == "observe":
            raise Conflict(f"twin '{self._desk.twin.name}' only observes", 'mode = "advise" or "auto" lets it send')
        hand = loop.state.held(now).get(signal)
        if hand and hand.by != by:
            raise Conflict(f"{signal} is in hand of {hand.by} since {stamp(hand.time)}", "let it be released first")
        until = now + bounded(span) if span else None
        id = hand.id if hand else f"hand-{instant_id(now)}-{token_hex(4)}"
        taken = Action(hand.time if hand else now, "take", signal, by, note, None, until, id)
        loop.state.hands = {**loop.state.held(now), signal: taken}
        sent = {command.signal: ack for command, ack in self._desk.commands(100)}.get(signal)
        if sent and sent.state in ("done", "accepted"):  # until it is measured, it stands there
            loop.state.moved = {**loop.state.moved, signal: min(sent.time, now)}
        await self._noted(loop, taken)
        return taken

    async def put(self, signal: str, value: float, note: str = "", by: str = "") -> Decision:
        """Send a setpoint for an actuator that one has in hand. What the guard refuses is not sent, and nothing else
        in its place; a step beyond the slew limit is shortened, counting from when it was last moved."""
        loop, by, now = self._desk._running(), by or user(), self._desk.now()
        hand = self._of(loop, signal, now)
        if hand.by != by:
            raise Conflict(f"{signal} is in hand of {hand.by}, not of {by}", "only who has it may move it")
        situation = loop.situation(now)
        since = max(now - self._put.get(signal, 0), 1)
        id = f"{hand.id}-{token_hex(4)}"
        command = Command(id, signal, float(value), now + max(VOID, 2 * situation.every))
        reason = f"by hand of {by}" + (f": {note}" if note else "")
        decision = Decision(id, now, (command,), reason=reason)
        decision = allowed(decision, replace(situation, every=min(situation.every, since)))
        decision = replace(decision, status="sent" if decision.commands else "rejected")
        self._desk.twin.store.record(decision)
        self._desk.told(decision)
        if decision.commands:
            self._put[signal] = now
            await loop.send(decision)
            if loop.state.setpoints.get(signal) == decision.commands[0].value:  # the plant has taken it
                loop.state.moved = {**loop.state.moved, signal: now}
        return decision

    async def release(self, signal: str, note: str = "", by: str = "") -> Action:
        """Give an actuator back. Anybody who may take one may release one, also another's."""
        loop, now = self._desk._running(), self._desk.now()
        hand = self._of(loop, signal, now)
        value = loop.situation(now).latest[signal]
        if math.isfinite(value):  # where the twin goes on from
            loop.state.setpoints[signal] = value
        loop.state.hands = {name: other for name, other in loop.state.held(now).items() if name != signal}
        released = Action(now, "release", signal, by or user(), note, id=f"{hand.id}-released")
        await self._noted(loop, released)
        return released

    async def _noted(self, loop: Loop, action: Action) -> None:
        await loop.note(action)
        self._desk.told(action)

    def _of(self, loop: Loop, signal: str, now: int) -> Action:
        loop.setting.signals.place(signal)
        hand = loop.state.held(now).get(signal)
        if hand is None:
            raise Conflict(f"{signal} is not in anybody's hand", "take it first")
        return hand
