"""A simulator outside of where it was calibrated decides nothing."""

from __future__ import annotations

from gemel.core.values import Decision
from gemel.loop.act import safe
from gemel.loop.decide import Situation


def hold(situation: Situation, id: str) -> Decision | None:
    """The decision while a finding says that the simulator does not hold (evidence `invalid`): the declared safe
    values, none where there are none, and why. None while nothing says so. Every policy that plans with the simulator
    asks this first."""
    invalid = [f for f in situation.findings if f.open and f.evidence.get("invalid")]
    if not invalid:
        return None
    why = "; ".join(f.text for f in invalid)
    held = safe(situation, f"the simulator is not asked: {why}", id)
    return Decision(
        held.id,
        held.time,
        held.commands,
        refused=held.refused,
        because=tuple(f.id for f in invalid),
        reason=f"{'Safe values are sent' if held.commands else 'Nothing is changed'}: {why}.",
    )
