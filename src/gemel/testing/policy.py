"""A conformance check for policies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gemel.loop.decide import Policy, Situation


def check_policy(make: Callable[[], Policy], situation: Situation) -> None:
    """Checks what `Policy` promises, in a situation that has all the policy needs; raises `AssertionError`.

    `make` gives a fresh policy, bound where it needs to be.
    """
    decision = make().decide(situation)
    assert decision.time == situation.now, "a decision is dated now"
    assert decision.id, "a decision has an id"
    assert decision.reason.strip(), "a decision gives its reason"
    assert decision == make().decide(situation), "the same situation gives the same decision"
    known = {f.id for f in situation.forecasts} | {f.id for f in situation.findings}
    known |= {situation.belief.id} if situation.belief else set()
    assert set(decision.because) <= known, "because holds ids of what the situation holds"
    assert len({c.id for c in decision.commands}) == len(decision.commands), "commands have ids of their own"
    for command in decision.commands:
        signal = situation.signals.named(command.signal)
        assert signal.role == "controlled", f"{command.signal} is not a controlled signal"
        assert np.isfinite(command.value), f"{command.signal} is sent a number"
        assert signal.within(command.value), f"{command.signal} = {command.value} is outside its limits"
        assert command.expires > situation.now, f"the command to {command.signal} has expired already"
    for name, value in decision.expected.items():
        assert isinstance(value, float), f"expected '{name}' is a number"
    later = make().decide(replace(situation, belief=None, forecasts=()))
    assert later.reason.strip(), "without a belief and a forecast there is still an answer with a reason"
