"""A conformance check for actuators."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gemel.core.values import Command
from gemel.loop.act import Actuator


async def check_actuator(
    actuator: Actuator,
    signal: str,
    value: float,
    *,
    now: int,
    acted: Callable[[], Sequence[float]],
    mute: Callable[[], object],
    patience_s: float = 10.0,
) -> None:
    """Checks what `Actuator` promises, against a plant that answers; raises `AssertionError`.

    `value` is a setpoint that the plant takes for `signal`, `now` the clock's time; `acted()` lists the setpoints the
    plant has acted on so far, and `mute()` makes it stop answering. A connector that sends over its stream must be
    streaming already.
    """
    later = now + 3_600_000_000_000
    before = len(acted())
    async with asyncio.timeout(patience_s):
        ack = await actuator.send(Command("check-1", signal, value, later))
    assert ack.command == "check-1", f"the ack of 'check-1' names '{ack.command}'"
    assert ack.state in ("done", "accepted"), f"a good command is {ack.state}: {ack.text}"
    assert list(acted())[before:] == [value], "the plant acts on the setpoint"
    async with asyncio.timeout(patience_s):
        await actuator.send(Command("check-1", signal, value, later))
    assert list(acted())[before:] == [value], "the same id sent twice acts once"
    async with asyncio.timeout(patience_s):
        ack = await actuator.send(Command("check-2", signal, value, now - 1))
    assert ack.state in ("refused", "failed", "silent"), f"an expired command is {ack.state}"
    assert list(acted())[before:] == [value], "nothing acts on an expired command"
    async with asyncio.timeout(patience_s):
        ack = await actuator.send(Command("check-3", "no such signal", value, later))
    assert ack.state in ("refused", "failed"), f"a command to a signal that is not there is {ack.state}"
    assert ack.text, "an ack that is not done says why"
    mute()
    async with asyncio.timeout(patience_s):
        ack = await actuator.send(Command("check-4", signal, value, later))
    assert ack.state in ("silent", "failed"), f"a command that nobody answers is {ack.state}"
    assert ack.text, "an ack that is not done says why"
