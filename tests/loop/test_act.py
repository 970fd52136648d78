"""The guard: what may be sent to a plant, and what is done about the rest."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gemel import Signal
from gemel.core.values import Command, Decision, Signals
from gemel.loop.act import allowed
from gemel.loop.decide import Situation

NOW = 1_700_000_000 * 10**9
MINUTE = 60 * 10**9
SIGNALS = Signals(
    [
        Signal("fan", role="controlled", low=0, high=2, safe=1),
        Signal("valve", role="controlled", low=0, high=100, slew=0.1),
        Signal("oil", low=0, high=120),
        Signal("pump", role="controlled"),
    ]
)


def guard(*commands: Command, **latest: float) -> Decision:
    situation = Situation(NOW, 5 * MINUTE, 60 * MINUTE, SIGNALS, {"fan": 1.0, "valve": 50.0, "oil": 60.0} | latest)
    return allowed(Decision("d", NOW, commands), situation)


def fan(value: float, expires: int = NOW + MINUTE, precondition: str = "") -> Command:
    return Command("c", "fan", value, expires, precondition)


def test_a_legal_command_passes_unchanged():
    assert guard(fan(2.0)).commands == (fan(2.0),)
    assert guard(fan(2.0)).refused == ()


def test_outside_its_limits_the_safe_value_is_sent():
    decision = guard(fan(3.0))
    assert [c.value for c in decision.commands] == [1]
    assert decision.refused == ("fan = 3: outside its limits 0 .. 2; its safe value 1 is sent instead",)


def test_an_expired_command_says_how_late_it_is():
    assert guard(fan(2.0, NOW - 3 * MINUTE)).refused[0].startswith("fan = 2: expired 3min ago")


def test_a_precondition_that_does_not_hold_or_cannot_be_known():
    assert guard(fan(2.0, precondition="oil < 95")).refused == ()
    assert "precondition 'oil < 50' does not hold" in guard(fan(2.0, precondition="oil < 50")).refused[0]
    assert "does not hold" in guard(fan(2.0, precondition="oil < 95"), oil=math.nan).refused[0]


def test_a_signal_that_is_measured_or_unknown_gets_nothing():
    decision = guard(Command("a", "oil", 50.0, NOW + MINUTE), Command("b", "nowhere", 1.0, NOW + MINUTE))
    assert decision.commands == ()
    assert decision.refused == (
        "oil = 50: the signal is measured, not controlled",
        "nowhere = 1: there is no such signal",
    )


def test_a_step_beyond_the_slew_limit_is_shortened():
    decision = guard(Command("v", "valve", 90.0, NOW + MINUTE))
    assert [c.value for c in decision.commands] == [80.0]  # 0.1 a second for 5 minutes
    assert decision.refused == ("valve = 90: a step of 40 exceeds the slew limit, 80 is sent",)


@given(st.floats(), st.floats(allow_nan=True), st.integers(-(10**12), 10**12), st.sampled_from(["fan", "valve", "oil"]))
def test_nothing_illegal_ever_passes(value: float, last: float, age: int, name: str):
    decision = guard(Command("c", name, value, NOW + age), **{name: last})
    for command in decision.commands:
        signal = SIGNALS.named(command.signal)
        assert signal.role == "controlled"
        assert signal.within(command.value)
        assert command.expires > NOW
    assert decision.commands == (Command("c", name, value, NOW + age),) or decision.refused


def test_what_is_not_a_number_or_cannot_be_judged_is_refused():
    assert guard(Command("p", "pump", math.inf, NOW + MINUTE)).refused == ("pump = inf: not a finite number",)
    for precondition in ("oil ?", "oil / (oil - oil) < 3", "abs < 3"):
        (line,) = guard(Command("p", "pump", 1.0, NOW + MINUTE, precondition)).refused
        assert line.startswith(f"pump = 1: precondition '{precondition}' cannot be judged")
