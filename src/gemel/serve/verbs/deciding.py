"""Verbs that change something: a proposal for a person, and its approval."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import Field

from gemel.core.errors import NotFound
from gemel.core.values import Decision
from gemel.serve.verbs.looking import decision_row
from gemel.serve.verbs.plain import cited, clean, found, rounded
from gemel.serve.verbs.verb import Asked, OfTwin, One


class Propose(OfTwin):
    setpoints: dict[str, float] = Field(
        description="Controlled signals and their new setpoints.", min_length=1, max_length=50
    )
    reason: str = Field(default="", description="Why, for the person who approves.", max_length=500)
    valid: str = Field(default="1h", description="How long it may be approved.", max_length=40)
    seen: str = Field(
        default="",
        description="Empty: show what would change, keep nothing. To keep the proposal, call again with the `seen` of "
        "that answer.",
        max_length=40,
    )


class Apply(OfTwin):
    id: str = Field(description="Id of a proposed decision.", max_length=240)


async def propose(asked: Asked, given: Propose) -> dict[str, Any]:
    """A proposal: first the difference it would make, then, when that has been seen, kept for a person."""
    one = asked.one
    names = one.twin.signals.names
    setpoints = {found(said, names, "signal"): value for said, value in given.setpoints.items()}
    told = {"setpoints": setpoints, "reason": clean(given.reason, 500), "valid": given.valid}
    dry: Decision = await one.ask("propose", **told, dry=True)
    mark = _mark(asked, dry, given)
    if given.seen != mark:
        return {
            "kept": False,
            "changes": await changes(one, dry),
            "refused": dry.refused,
            "seen": mark if dry.commands else "",
            "next": "show this to the person, then call propose again with this `seen`"
            if dry.commands
            else "nothing of it is allowed",
            "cites": cited("signal", setpoints),
        }
    kept: Decision = await one.ask("propose", **told, dry=False)
    return {
        "kept": True,
        **decision_row(kept),
        "next": "a person has to approve it",
        "cites": cited("decision", [kept.id]) + cited("signal", setpoints),
    }


async def apply(asked: Asked, given: Apply) -> dict[str, Any]:
    """Send a proposed decision, and what came of each command."""
    one = asked.one
    proposed = await proposal(one, given.id)
    done: Decision = await one.ask("approve", id=proposed.id)
    ids = {command.id for command in done.commands}
    acks = {c.id: ack for c, ack in await one.ask("commands", last=20) if c.id in ids and ack}
    return {
        **decision_row(done),
        "acks": [
            {"signal": c.signal, "state": acks[c.id].state, "text": acks[c.id].text}
            for c in done.commands
            if c.id in acks
        ],
        "cites": cited("decision", [done.id]) + cited("signal", [c.signal for c in done.commands]),
    }


async def proposal(one: One, said: str) -> Decision:
    """The decision of that id. Raises `InputError`."""
    held = {d.id: d for d in await one.ask("decisions", last=1000)}
    if not held:
        raise NotFound("there is no decision yet", "propose one first")
    return held[found(said, held, "decision")]


async def changes(one: One, decision: Decision) -> list[dict[str, Any]]:
    """What a decision would change: each setpoint as it is and as it would be."""
    names = [c.signal for c in decision.commands]
    latest = await one.ask("latest", signals=names) if names else []
    now = {frame.signals[0]: rounded(float(frame.values[0, 0])) for frame in latest}
    units = {s.name: s.unit for s in one.twin.signals}
    return [
        {"signal": c.signal, "unit": units[c.signal], "now": now.get(c.signal), "proposed": c.value}
        for c in decision.commands
    ]


def _mark(asked: Asked, dry: Decision, given: Propose) -> str:
    """Says that this caller has seen this difference. It differs when something else would be allowed by now."""
    wanted = [f"{name}={value!r}" for name, value in sorted(given.setpoints.items())]
    allowed = [c.signal for c in dry.commands]
    text = "\n".join([asked.caller.name, asked.named, given.valid, *wanted, *allowed, str(len(dry.refused))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
