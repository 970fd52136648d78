"""Run: the two rhythms of a living twin.

*Intake* follows the telemetry: a source's batch is processed, stored, confirmed. *Turn* follows the clock: estimate,
forecast, detect, decide, act. Everything a turn concludes is recorded in one transaction, together with the memory of
all parts, so that a restart goes on from there. Turns that only estimate are not recorded: they are taken again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, cast

import numpy as np

from gemel.core.attempt import told
from gemel.core.clock import FOREVER, NEVER, Data, Virtual, pause
from gemel.core.errors import StoreFull, first
from gemel.core.life import in_hand
from gemel.core.setting import Setting
from gemel.core.state import State
from gemel.core.units import instant_id
from gemel.core.values import Ack, Batch, Command, Decision, Event, Snapshot
from gemel.loop.acquire import Source
from gemel.loop.act import Actuator, allowed, safe
from gemel.loop.decide import Situation
from gemel.loop.detect import merge
from gemel.loop.process import Stateful
from gemel.loop.stages import Stages

log = logging.getLogger("gemel")
PATIENCE = 60  # seconds a full disk is waited for before the twin gives up
MEMORY_EVERY = 16
"""Recorded turns from one record of all parts' memory to the next (on the wall clock, one). Turns after it are taken
again after a crash, so it is also kept whenever something was sent or judged: nothing is decided twice."""


class Loop:
    """A twin while it runs. `watch` is called after every turn and every batch, for whoever shows it."""

    def __init__(
        self, setting: Setting, sources: Mapping[str, Source], stages: Stages, mode: str = "observe", watch: Any = None
    ) -> None:
        self.setting = setting
        self.sources = sources
        self.stages = stages
        self.store = stages.store
        self.mode = mode
        self.watch: Callable[[Loop], Any] = watch or (lambda _: None)
        self.state = State()
        self.batch: Batch | None = None  # the newest that was stored
        self._newest, self._open = 0, len(sources)
        self._unrecorded: list[Any] = []
        self._dated = np.array([s.role != "known" for s in setting.signals], bool)  # a tariff of tomorrow is no clock
        self._full, self._recorded = False, 0
        self._tasks: asyncio.TaskGroup | None = None
        self._thread = ThreadPoolExecutor(1, "turn")  # its own: a turn waits for no other work's thread
        self.busy = asyncio.Lock()  # held by whoever uses the thinking parts: the turn, or somebody who asks

    async def run(self, until: int | None = None) -> None:
        """Until the sources end, or the clock passes `until`, or it is cancelled."""
        clock, self.busy = self.setting.clock, asyncio.Lock()
        clock.start()
        self.resume()
        if isinstance(clock, Data):
            self._expect(clock)
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
                self._record(self.memory())
            self._thread.shutdown(wait=False)
            self.stages.close()

    def _expect(self, clock: Data) -> None:
        signals, latest = self.setting.signals, self.store.latest
        newest = [int(latest([s.name]).time[0]) if s.role != "known" else 0 for s in signals]
        held = [s.name for s, time in zip(signals, newest, strict=True) if time > 0]
        first = self.state.now or (int(self.store.window(held, 0, max(newest)).time[0]) if held else FOREVER)
        awaited = [s.role == "measured" and bool(s.address) for s in signals]
        clock.expect(awaited, [time if time > 0 else NEVER for time in newest], first)

    async def _intake(self, source: Source) -> None:
        clock = self.setting.clock
        with clock.task():
            async with aclosing(cast(AsyncGenerator[Batch, None], source.stream())) as batches:
                async for batch in batches:
                    batch = self.stages.processed(batch)
                    self.state.points += await self._keep(batch)
                    source.confirm(batch)
                    if len(batch):
                        self._newest, self.batch = max(self._newest, int(batch.time.max())), batch
                    self.watch(self)
                    dated = self._dated[batch.signal]
                    await clock.heard(batch.signal[dated], batch.time[dated])
            self._open -= 1
            if not self._open:
                clock.finish()

    async def _keep(self, batch: Batch) -> int:
        """Store a batch; while the disk is full nothing is confirmed, so nothing is lost."""
        notes = [Snapshot(id, self._newest, transform.snapshot()) for id, transform in self._transforms()]
        for _ in range(PATIENCE):
            try:
                return self._stored(lambda: self.store.append(batch, notes)) or 0
            except StoreFull:
                await pause(1.0)
        return self.store.append(batch, notes)

    def _record(self, *values: Any) -> None:
        """Record conclusions; those a full disk refuses go with the next ones."""
        self._unrecorded += values
        with suppress(StoreFull):
            self._stored(lambda: self.store.record(*self._unrecorded))
            self._unrecorded.clear()

    def _stored(self, write: Callable[[], int | None]) -> int | None:
        try:
            done = write()
        except StoreFull as error:
            if not self._full:
                log.error("%s; waiting for space, nothing that was acknowledged is lost", error.message)
            self._full = True
            raise
        if self._full:
            log.error("there is space again")
            self._full = False
        return done

    async def _turns(self, until: int | None) -> None:
        clock, every = self.setting.clock, self.setting.every
        with clock.task():
            start = self.state.now + 1 if self.state.now else await clock.begin()
            if clock.live:  # after a pause the estimator catches up in one step, not turn by turn
                start = max(start, clock.now())
            when = -(-start // every) * every
            while (until is None or when <= until) and await clock.until(when, order=1):
                async with self.busy:
                    await self._take(when)
                await self._act()
                self.watch(self)
                when += every
                if clock.live:  # what an overrun or a sleeping machine has missed is not taken late
                    when = max(when, clock.now() // every * every)

    async def _take(self, when: int) -> None:
        if not self.setting.clock.live:
            self.turn(when)
            return
        turn = asyncio.get_running_loop().run_in_executor(self._thread, self.turn, when)
        try:
            await asyncio.shield(turn)
        except asyncio.CancelledError:  # a turn that has begun is ended and recorded
            await asyncio.wait([turn])
            raise

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
            values += [state.belief] if state.belief else []
            self._recorded += 1
            keep = self.setting.clock.live or self._recorded % MEMORY_EVERY == 0
            self._record(*values, *([self.memory()] if keep else []))

    def situation(self, now: int) -> Situation:
        """What detectors and policies may look at."""
        setting, state = self.setting, self.state
        newest = self.store.latest(setting.signals.names, now)
        latest = dict(zip(newest.signals, newest.values[0].tolist(), strict=True)) if len(newest) else {}
        state.place(latest, setting.signals, lambda name: int(self.store.latest([name], now).time[0]))
        return Situation(
            now, setting.every, setting.horizon, setting.signals, latest, state.belief, state.forecasts,
            state.findings, setting.simulator, self.mode, state.held(now),
        )  # fmt: skip

    def _decide(self, situation: Situation) -> Decision:
        id = f"decision-{instant_id(situation.now)}"
        try:
            decision = self.stages.policy.part.decide(situation)  # type: ignore[union-attr]
            decision = allowed(replace(decision, id=decision.id or id), situation)
        except Exception as error:
            decision = allowed(safe(situation, f"{told('the policy', error)}; safe values are used", id), situation)
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
        """Send the commands; what came of each is recorded with the decision, also when we are told to stop."""
        acks: dict[str, Ack] = {}
        # without an address it is advice for people
        addressed = [(c, actuator) for c in decision.commands if (actuator := self._actuator(c))]
        try:
            for command, actuator in addressed:
                acks[command.id] = await self._sent(command, actuator)
        finally:
            for command, _ in addressed:
                stopped = Ack(command.id, "silent", self.state.now, "the twin was stopped meanwhile")
                ack = acks.setdefault(command.id, stopped)
                self.state.acks[ack.state] = self.state.acks.get(ack.state, 0) + 1
                overtaken = self.state.moved.get(command.signal, 0) > decision.time  # by a hand, since
                if ack.state in ("done", "accepted") and not overtaken:
                    self.state.setpoints[command.signal] = command.value
            await self.note(decision, *acks.values())
        self.watch(self)

    async def _sent(self, command: Command, actuator: Actuator) -> Ack:
        now = max(self.setting.clock.now(), self.state.now)
        late = "it had expired before it was sent" if command.expires <= now else ""
        if text := late or in_hand(command.id, command.signal, self.state.held(now)):
            return Ack(command.id, "refused", now, text)
        try:
            return await actuator.send(command)
        except Exception as error:
            return Ack(command.id, "failed", now, told("the connector", error))

    async def note(self, *values: Any) -> None:
        """Record something that must not be decided again after a crash: with it goes the memory of all parts."""
        async with self.busy:
            self._record(*values, self.memory())

    def _actuator(self, command: Command) -> Actuator | None:
        found = self.sources.get(self.setting.signals.named(command.signal).address.partition(":")[0])
        return found if isinstance(found, Actuator) else None

    def memory(self) -> Snapshot:
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
