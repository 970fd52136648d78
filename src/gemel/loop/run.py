"""Run: the two rhythms of a living twin.

*Intake* follows the telemetry: a source's batch is processed, stored, confirmed. *Turn* follows the clock: estimate,
forecast, detect, decide, act. Everything a turn concludes is recorded in one transaction, together with the memory of
all parts, so that a restart goes on from there. Turns that only estimate are not recorded: they are taken again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, cast

from gemel.core.attempt import told
from gemel.core.clock import Data, Virtual, pause
from gemel.core.errors import StoreFull, first
from gemel.core.setting import Setting
from gemel.core.units import instant_id
from gemel.core.values import Batch, Belief, Command, Decision, Event, Finding, Forecast, Snapshot
from gemel.loop.acquire import Source
from gemel.loop.act import Actuator, allowed, safe
from gemel.loop.decide import Situation
from gemel.loop.detect import merge
from gemel.loop.process import Stateful, process
from gemel.loop.stages import Stages

log = logging.getLogger("gemel")
PATIENCE = 60
"""Seconds a full disk is waited for before the twin gives up."""
MEMORY_EVERY = 16
"""Recorded turns from one record of all parts' memory to the next. Turns after it are taken again after a crash, so it
is also kept whenever something was sent: a command is never decided twice."""


@dataclass
class State:
    """What a running twin holds in memory; everything else is in the store."""

    now: int = 0  # the last turn
    belief: Belief | None = None
    forecasts: tuple[Forecast, ...] = ()
    findings: tuple[Finding, ...] = ()
    decision: Decision | None = None
    setpoints: dict[str, float] = field(default_factory=dict)
    points: int = 0
    turns: int = 0
    decisions: int = 0
    acks: dict[str, int] = field(default_factory=dict)


class Loop:
    """A twin while it runs. `watch` is called after every turn and every batch, for whoever shows it."""

    def __init__(
        self,
        setting: Setting,
        sources: Mapping[str, Source],
        stages: Stages,
        mode: str = "observe",
        watch: Callable[[Loop], None] | None = None,
    ) -> None:
        self.setting = setting
        self.sources = sources
        self.stages = stages
        self.store = stages.store
        self.mode = mode
        self.watch = watch or (lambda _: None)
        self.state = State()
        self._newest = 0
        self._open = len(sources)
        self._unrecorded: list[Any] = []
        self._said_full = False
        self._recorded = 0
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, until: int | None = None) -> None:
        """Until the sources end, or the clock passes `until`, or it is cancelled."""
        self.resume()
        clock = self.setting.clock
        if isinstance(clock, Data):
            clock.expect([s.role == "measured" and bool(s.address) for s in self.setting.signals])
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                turns = tasks.create_task(self._turns(until))
                intakes = [tasks.create_task(self._intake(source)) for source in self.sources.values()]
                await turns
                for task in intakes:
                    task.cancel()
        except BaseExceptionGroup as group:
            raise first(group) from None
        finally:
            self._tasks = None
            if self.state.turns:
                self._record(self._memory())
            self.stages.close()

    async def _intake(self, source: Source) -> None:
        clock = self.setting.clock
        with clock.task():
            async with aclosing(cast(AsyncGenerator[Batch, None], source.stream())) as batches:
                async for batch in batches:
                    batch = process(self.stages.transforms, batch)
                    self.state.points += await self._keep(batch)
                    source.confirm(batch)
                    if len(batch):
                        self._newest = max(self._newest, int(batch.time.max()))
                    self.watch(self)
                    await clock.heard(batch.signal, batch.time)
            self._open -= 1
            if not self._open:
                clock.finish()

    async def _keep(self, batch: Batch) -> int:
        """Store a batch; while the disk is full nothing is confirmed, so nothing is lost."""
        notes = [Snapshot(id, self._newest, transform.snapshot()) for id, transform in self._transforms()]
        for _ in range(PATIENCE):
            try:
                return self.store.append(batch, notes)
            except StoreFull as error:
                self._full(error)
                await pause(1.0)
        return self.store.append(batch, notes)

    def _record(self, *values: Any) -> None:
        """Record conclusions; those a full disk refuses go with the next ones."""
        self._unrecorded += values
        try:
            self.store.record(*self._unrecorded)
            self._unrecorded.clear()
        except StoreFull as error:
            self._full(error)

    def _full(self, error: StoreFull) -> None:
        if not self._said_full:
            log.error("%s; waiting for space, nothing that was acknowledged is lost", error.message)
        self._said_full = True

    async def _turns(self, until: int | None) -> None:
        clock, every = self.setting.clock, self.setting.every
        with clock.task():
            start = self.state.now + 1 if self.state.now else await clock.begin()
            if clock.live:  # after a pause the estimator catches up in one step, not turn by turn
                start = max(start, clock.now())
            when = -(-start // every) * every
            while (until is None or when <= until) and await clock.until(when, order=1):
                if clock.live:
                    await asyncio.to_thread(self.turn, when)
                else:
                    self.turn(when)
                await self._act()
                self.watch(self)
                when += every

    def turn(self, now: int) -> None:
        """Everything the twin thinks at `now`; commands it wants sent are left in `state.decision`."""
        state, stages, last = self.state, self.stages, self.state.now
        stages.attempts.trouble.clear()
        due = stages.due(now, last)
        state.now = now
        state.belief = stages.estimated(state.belief, last, now, state.findings)
        situation = self.situation(now)
        if "forecast" in due:
            state.forecasts = stages.forecast(situation)
            situation = replace(situation, forecasts=state.forecasts)
        news = stages.detected(situation)
        state.findings = merge(state.findings, news)
        values: list[Any] = [*news]
        if "forecast" in due:
            values += [*state.forecasts, *stages.members]
        if stages.policy and ("decide" in due or news):
            state.decision = self._decide(replace(situation, findings=state.findings))
            state.decisions += 1
            values.append(state.decision)
        values += [Event(now, "trouble", "", text, now) for text in stages.attempts.trouble]
        state.turns += 1
        if values:
            if state.belief:
                values.append(state.belief)
            self._recorded += 1
            self._record(*values, *([] if self._recorded % MEMORY_EVERY else [self._memory()]))

    def situation(self, now: int) -> Situation:
        """What detectors and policies may look at."""
        setting, state = self.setting, self.state
        newest = self.store.latest(setting.signals.names, now)
        latest = dict(zip(newest.signals, newest.values[0].tolist(), strict=True)) if len(newest) else {}
        for signal in setting.signals:  # a setpoint nobody echoes is what was last sent, else its safe value
            value = latest.get(signal.name, float("nan"))
            if signal.role == "controlled" and value != value:
                known = state.setpoints.get(signal.name, signal.safe)
                latest[signal.name] = float("nan") if known is None else known
        return Situation(
            now, setting.every, setting.horizon, setting.signals, latest, state.belief, state.forecasts,
            state.findings, setting.simulator, self.mode,
        )  # fmt: skip

    def _decide(self, situation: Situation) -> Decision:
        id = f"decision-{instant_id(situation.now)}"
        try:
            decision = self.stages.decide(situation)
        except Exception as error:
            decision = safe(situation, f"{told('the policy', error)}; safe values are used", id)
        decision = allowed(replace(decision, id=decision.id or id), situation)
        status = {"observe": "observed", "advise": "proposed", "auto": "approved"}[self.mode]
        return replace(decision, because=(*decision.because, *self.stages.attempts.trouble), status=status)

    async def _act(self) -> None:
        decision = self.state.decision
        if decision is None or decision.status != "approved":
            return
        self.state.decision = replace(decision, status="sent")
        if isinstance(self.setting.clock, Virtual) or self._tasks is None:
            await self.send(self.state.decision)
        else:  # an acknowledgement may take seconds; the next turn does not wait for it
            self._tasks.create_task(self.send(self.state.decision))

    async def send(self, decision: Decision) -> None:
        """Send the commands; what came of each is recorded with the decision."""
        acks = []
        for command in decision.commands:
            actuator = self._actuator(command)
            if actuator is None:
                continue  # a setpoint without an address is advice for people
            ack = await actuator.send(command)
            acks.append(ack)
            self.state.acks[ack.state] = self.state.acks.get(ack.state, 0) + 1
            if ack.state in ("done", "accepted"):
                self.state.setpoints[command.signal] = command.value
        self._record(decision, *acks, self._memory())
        self.watch(self)

    def _actuator(self, command: Command) -> Actuator | None:
        connector = self.setting.signals.named(command.signal).address.partition(":")[0]
        found = self.sources.get(connector)
        return found if isinstance(found, Actuator) else None

    def _memory(self) -> Snapshot:
        return Snapshot("loop", self.state.now, {**vars(self.state), "parts": self.stages.snapshot()})

    def resume(self) -> None:
        """Take up the memory that the last run left in the store."""
        held = {s.id: s.state for s in self.store.read("snapshot")}
        for id, transform in self._transforms():
            if id in held:
                transform.restore(held[id])
        if memory := dict(held.get("loop", {})):
            self.stages.restore(memory.pop("parts"))
            self.state = State(**memory)

    def _transforms(self) -> list[tuple[str, Stateful]]:
        return [(f"transform-{i}", t) for i, t in enumerate(self.stages.transforms) if isinstance(t, Stateful)]
