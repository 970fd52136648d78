"""Actuators by hand: taken over, moved within the limits, given back without a bump."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel import Signal, Twin
from gemel.core.clock import Virtual
from gemel.core.errors import Conflict, InputError
from gemel.core.life import Action
from gemel.core.setting import Setting
from gemel.core.values import Ack, Batch, Command, Decision, Signals
from gemel.loop.act import allowed
from gemel.loop.decide import Situation
from gemel.stores.duckdb import Duckdb
from gemel.stores.memory import Memory

MINUTE = 60 * 10**9
START = 1_700_000_040 * 10**9 // MINUTE * MINUTE
SLEW = 0.1
"""Of the valve, percent a second: 6 a minute."""


class Plant:
    """A valve and a fan that go where they are sent; every `spacing` half minutes the valve says where it is. `acts`
    happen by half minute."""

    def __init__(self, acts: Mapping[int, Any], first: int = 0, valve: float = 50.0, spacing: int = 1) -> None:
        self.acts, self.first, self.spacing, self.desk = acts, first, spacing, None
        self.at = {"valve": valve, "fan": 1.0}
        self.sent: list[tuple[float, str, float]] = []  # minute, signal, value
        self.clock: Any = None

    def bind(self, setting: Setting) -> None:
        self.clock = setting.clock

    async def stream(self) -> AsyncIterator[Batch]:
        for half in range(2 * self.first, 2 * self.first + 60):
            if not await self.clock.until(START + half * MINUTE // 2):
                return
            if half in self.acts:
                await self.acts[half](self.desk)
            if half % self.spacing:
                continue
            yield Batch.of([0], [self.clock.now()], [self.at["valve"]])  # the fan says nothing: a setpoint without echo

    def confirm(self, batch: Batch) -> None:
        """Nothing to forget."""

    async def send(self, command: Command) -> Ack:
        self.at[command.signal] = command.value
        self.sent.append(((self.clock.now() - START) / MINUTE, command.signal, command.value))
        return Ack(command.id, "done", self.clock.now())

    def valve(self, start: float = 0, end: float = 99) -> list[float]:
        return [value for minute, signal, value in self.sent if signal == "valve" and start <= minute < end]


class Wide:
    """Always wants the valve at 90 and the fan at 2."""

    def decide(self, situation: Situation) -> Decision:
        now = situation.now
        wanted = {"valve": 90.0, "fan": 2.0}
        return Decision("", now, tuple(Command(f"{s}-{now}", s, v, now + 5 * MINUTE) for s, v in wanted.items()))


def twin(store: Any, plant: Plant, until: int, mode: str = "auto") -> Twin:
    found = Twin(
        name="shed",
        signals=[
            Signal("valve", role="controlled", low=0, high=100, slew=SLEW, safe=50, address="line:valve"),
            Signal("fan", role="controlled", low=0, high=2, safe=1, address="line:fan"),
            Signal("lamp", role="controlled"),
            Signal("oil"),
        ],
        every="1min",
        connectors={"line": plant},
        store=store,
        policy=Wide(),
        clock=Virtual(START + plant.first * MINUTE),
        mode=mode,
    )
    plant.desk = found.desk
    found.run(START + until * MINUTE)
    return found


def test_taken_and_given_back_without_a_bump() -> None:
    plant = Plant({})
    shown: list[Any] = []

    async def take(desk: Any) -> None:
        await desk.take("valve", note="the seal leaks", by="ann")

    async def put(desk: Any) -> None:
        shown.append(await desk.put("valve", 20, by="ann"))

    async def release(desk: Any) -> None:
        shown.append(desk.hands())
        await desk.release("valve", by="ann")

    plant.acts = {7: take, **dict.fromkeys(range(9, 23, 2), put), 23: release}
    shed = twin(Memory(), plant, 20)
    assert plant.valve(0, 3.5) == pytest.approx([56, 62, 68])  # the policy on its way to 90, 6 a minute
    own = plant.valve(3.5, 11.5)
    assert own == pytest.approx([62, 56, 50, 44, 38, 32, 26])  # ann on her way to 20
    after = plant.valve(11.5)
    assert after == pytest.approx([32, 38, 44, 50, 56, 62, 68, 74, 80])  # the policy, from where she left it
    steps = np.diff([50, *plant.valve()])
    assert np.abs(steps).max() <= SLEW * 60 + 1e-9  # the largest of all steps, taking and giving back included
    row = next(r for r in shown[-1] if r["signal"] == "valve")
    assert (row["hand"].by, row["hand"].note) == ("ann", "the seal leaks")
    assert row["setpoint"] == row["command"].value == row["measured"] == pytest.approx(own[-1])
    assert row["ack"].state == "done"
    assert shown[0].refused[0].endswith(f"exceeds the slew limit, {own[0]:g} is sent")
    assert shown[0].reason == "by hand of ann"
    # meanwhile the twin goes on deciding for both, and only the fan is sent
    held = [
        d for d in shed.decisions(100) if START + 3.5 * MINUTE < d.time < START + 11.5 * MINUTE and "hand" not in d.id
    ]
    assert len(held) == 8
    assert all(d.refused == ("valve = 90: in hand of ann",) and [c.signal for c in d.commands] == ["fan"] for d in held)
    assert all(r["hand"] is None for r in shed.hands())
    assert [(a.what, a.by) for a in shed.journal("action")] == [("take", "ann"), ("release", "ann")]
    shed.close()


def test_given_back_before_the_plant_has_said_where_it_is() -> None:
    """A valve that says where it is every ten minutes only: the policy still starts from where the hand has put it."""

    async def move(desk: Any) -> None:
        await desk.take("valve", by="ann")
        await desk.put("valve", 48, by="ann")
        await desk.release("valve", by="ann")

    plant = Plant({21: move}, spacing=20)
    twin(Memory(), plant, 11).close()
    before, after = plant.valve(0, 10.6), plant.valve(10.6)
    assert before[-2:] == pytest.approx([62, 56])  # it last said 56, but was sent to 62; she moves it towards 48
    assert after == pytest.approx([62])


def test_a_hand_outlives_a_restart_and_runs_out(tmp_path: Path) -> None:
    async def take(desk: Any) -> None:
        await desk.take("valve", "6min", by="ann")
        await desk.take("fan", by="bob")

    first = Plant({7: take})  # at 3.5 min
    twin(Duckdb(str(tmp_path / "shed.gemel")), first, 5).close()
    assert max(t for t, _, _ in first.sent) < 3.5
    second = Plant({}, first=6, valve=first.at["valve"])
    shed = twin(Duckdb(str(tmp_path / "shed.gemel")), second, 15)
    assert next(round(minute) for minute, signal, _ in second.sent if signal == "valve") == 10  # 3.5 + 6 is over
    assert second.valve()[0] == pytest.approx(first.at["valve"] + 6)
    assert not [t for t, signal, _ in second.sent if signal == "fan"]
    assert {r["signal"]: r["hand"].by for r in shed.hands() if r["hand"]} == {"fan": "bob"}
    shed.close()


def test_a_hand_is_held_to_the_same_limits() -> None:
    said: list[Any] = []

    async def act(desk: Any) -> None:
        await desk.take("fan", by="ann")
        wide = await desk.put("fan", 3, by="ann")
        said.append((wide.status, wide.commands, wide.refused))
        good = await desk.put("fan", 0, note="it howls", by="ann")
        said.append((good.status, good.reason, [c.value for c in good.commands]))
        for call, error, text in (
            (desk.take("fan", by="bob"), Conflict, "fan is in hand of ann since"),
            (desk.put("fan", 1, by="bob"), Conflict, "in hand of ann, not of bob"),
            (desk.put("valve", 1, by="ann"), Conflict, "not in anybody's hand"),
            (desk.release("valve", by="ann"), Conflict, "not in anybody's hand"),
            (desk.take("oil", by="ann"), InputError, "'oil' is not controlled"),
            (desk.take("lamp", by="ann"), InputError, "'lamp' has no address"),
            (desk.take("fna", by="ann"), InputError, "did you mean 'fan'"),
            (desk.take("fan", "30w", by="ann"), None, ""),
            (desk.take("fan", "90w", by="ann"), InputError, "longer than a year"),
        ):
            if error is None:
                await call
                continue
            with pytest.raises(error, match=text):
                await call
        refused = await desk.propose({"fan": 2}, reason="somebody else")
        said.append((refused.status, refused.refused))

    plant = Plant({5: act})
    shed = twin(Memory(), plant, 4)
    assert said == [
        ("rejected", (), ("fan = 3: outside its limits 0 .. 2",)),  # and no safe value behind the person's back
        ("sent", "by hand of ann: it howls", [0.0]),
        ("rejected", ("fan = 2: in hand of ann",)),
    ]
    assert [(t, v) for t, signal, v in plant.sent if signal == "fan" and t > 2] == [(2.5, 0.0)]
    with pytest.raises(Conflict, match="is not running, so nothing can be sent"):
        shed.take("fan")
    shed.close()


def test_a_twin_that_only_observes_has_no_hands() -> None:
    async def act(desk: Any) -> None:
        with pytest.raises(Conflict, match="only observes"):
            await desk.take("fan")

    plant = Plant({5: act})
    twin(Memory(), plant, 4, "observe").close()
    assert plant.sent == []


def test_what_was_decided_before_is_not_sent_after() -> None:
    """The guard in front of the plant looks again: a decision may be on its way when somebody takes over."""

    async def act(desk: Any) -> None:
        late = Decision("d", 0, (Command("late", "fan", 2.0, 2**62),), status="sent")
        sending = asyncio.ensure_future(desk.loop.send(late))
        await desk.take("fan", by="ann")
        await sending

    plant = Plant({1: act})
    shed = twin(Memory(), plant, 2)
    (ack,) = (a for a in shed.journal("ack") if a.command == "late")
    assert (ack.state, ack.text) == ("refused", "in hand of ann")
    shed.close()


def test_an_answer_that_comes_late_does_not_undo_what_a_hand_did() -> None:
    """A command of the policy is under way when somebody takes the valve and moves it; then the plant answers."""
    plant = Plant({})

    async def story(desk: Any) -> None:
        now = plant.clock.now()
        slow = Decision("slow", now - 1, (Command("slow", "valve", 90.0, now + MINUTE),), status="sent")
        answer = asyncio.Event()
        quick = plant.send

        async def send(command: Command) -> Ack:
            if command.id == "slow":
                await answer.wait()
            return await quick(command)

        plant.send = send  # type: ignore[method-assign]
        waiting = asyncio.create_task(desk.loop.send(slow))
        await asyncio.sleep(0)
        await desk.take("valve", by="ann")
        put = await desk.put("valve", 40, by="ann")
        answer.set()
        await waiting
        assert desk.loop.state.setpoints["valve"] == put.commands[0].value != 90

    plant.acts = {3: story}
    twin(Memory(), plant, 3).close()
    assert plant.sent


def test_the_guard_knows_hands() -> None:
    signals = Signals([Signal("fan", role="controlled", low=0, high=2, safe=1)])
    hand = Action(START, "take", "fan", "ann", id="hand-1")
    situation = Situation(START, MINUTE, MINUTE, signals, {"fan": 0.0}, hands={"fan": hand})

    def sent(id: str, value: float) -> tuple[list[float], tuple[str, ...]]:
        found = allowed(Decision("d", START, (Command(id, "fan", value, START + 1),)), situation)
        return [c.value for c in found.commands], found.refused

    assert sent("fan-1", 2) == ([], ("fan = 2: in hand of ann",))
    assert sent("fan-1", 9) == ([], ("fan = 9: outside its limits 0 .. 2",))
    assert sent("hand-1-a", 2) == ([2], ())
    assert sent("hand-1-a", 9)[0] == []
