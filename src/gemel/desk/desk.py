"""Who answers. What is more than a few lines stands in a file of its own beside this one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from secrets import token_hex
from threading import Lock
from typing import Any, Protocol

import numpy as np

from gemel.core.errors import Conflict, InputError, NotFound, nearest
from gemel.core.setting import Setting
from gemel.core.units import duration, instant, instant_id
from gemel.core.values import LEVELS, Ack, Asset, Belief, Command, Decision, Finding, Forecast, Frame, Signals
from gemel.desk import replay, rollup, why
from gemel.desk.alarms import Alarms
from gemel.desk.calibration.versions import Calibrations
from gemel.desk.estimates import estimates
from gemel.desk.fork import answered, forked
from gemel.desk.hands import Hands
from gemel.desk.history import joined, pieces, some
from gemel.desk.origin import origin
from gemel.desk.shadow import shadow
from gemel.desk.standing import standing
from gemel.loop.act import allowed
from gemel.loop.run import Loop
from gemel.loop.simulate import Simulator, ahead
from gemel.loop.stages import Stages


class Owner(Protocol):
    """What the desk needs of a twin."""

    name: str
    signals: Signals
    mode: str
    store: Any
    assets: tuple[Asset, ...]
    simulator: Simulator | None

    def setting(self) -> Setting:
        """What its parts may know."""

    def stages(self) -> Stages:
        """Its thinking parts."""


PAST = ("rollup", "extent", "at", "moments", "standing", "shadow", "why")
READS = (
    "history", "latest", "estimates", "forecasts", "findings", "maintenance", "decisions", "commands", "hands",
    "journal", "status", "calibrations", *PAST,
)  # fmt: skip
"""What only reads the store and the state, and so need not wait for the turn that is being taken."""
ALARMS = ("acknowledge", "shelve", "resolve", "reopen", "verdict", "maintain", "end_maintenance")
"""What people say about findings; nor does this wait for the turn."""
HANDS = ("take", "put", "release")
ASKED = ("forecast", "whatif", "origin", "fork", "decide", "propose", "approve", "reject", "use_calibration")
OPEN = (*READS, *ALARMS, *HANDS, *ASKED)
"""What may be asked from outside."""
CHANGES = ("propose", "approve", "reject", "use_calibration", *ALARMS, *HANDS)
"""What changes something, and is somebody's to answer for."""
KINDS = ("belief", "forecast", "finding", "decision", "ack", "event", "action")
"""What a journal is read for."""
READERS = 2
FURTHEST = 20_000
"""Steps that a forecast or a what-if may have."""


class Desk:
    """Reads the store of `twin`, and its running `loop` when there is one."""

    def __init__(self, twin: Owner) -> None:
        self.twin = twin
        self.loop: Loop | None = None
        self.told: Callable[[Any], Any] = lambda _: None
        """Called with every decision that a person has made or changed, and with what else people have done."""
        self.attached: Callable[[str, Mapping[str, Any], str], Awaitable[Any]] = lambda m, a, _: self.answer(m, a)
        """Answers a script of that user, which asks through the socket beside the store."""
        self._own: Loop | None = None
        self.alarms = alarms = Alarms(self)
        self.acknowledge, self.shelve, self.resolve = alarms.acknowledge, alarms.shelve, alarms.resolve
        self.reopen, self.maintain, self.end_maintenance = alarms.reopen, alarms.maintain, alarms.end_maintenance
        self.maintenance = alarms.maintenance
        self.why, self.verdict = partial(why.why, self), partial(why.verdict, self)
        hands = Hands(self)
        self.hands, self.take, self.put, self.release = hands.hands, hands.take, hands.put, hands.release
        calibration = Calibrations(self)
        self.calibrations, self.use_calibration = calibration.calibrations, calibration.use_calibration
        self._standing: tuple[Any, dict[str, Any]] = (None, {})
        self._bringing, self._busy = Lock(), asyncio.Lock()
        self._threads = ThreadPoolExecutor(READERS, "desk")  # its own: readers never keep a turn waiting for a thread

    async def answer(self, method: str, arguments: Mapping[str, Any]) -> Any:
        """A question by name; only those of `OPEN`."""
        if method not in OPEN:
            raise InputError(f"a twin cannot be asked '{method}'{nearest(method, OPEN)}")
        question = getattr(self, method)
        if asyncio.iscoroutinefunction(question):
            return await question(**arguments)
        asked = partial(self._threads.submit, partial(question, **arguments))
        if method == "history":
            return await self._history(arguments)
        if method in READS:
            return await asyncio.wrap_future(asked())
        if method in ALARMS:
            done = await asyncio.wrap_future(asked())
            self.told(done)
            return done
        async with self.loop.busy if self.loop else self._busy:  # between two turns, and telemetry goes on coming in
            return await asyncio.wrap_future(asked())

    def history(
        self,
        signals: Sequence[str] | None = None,
        last: str | None = None,
        start: str | int | None = None,
        end: str | int | None = None,
        every: str | None = None,
    ) -> Frame:
        """Points of the store as a frame."""
        return joined(list(pieces(self, signals, last, start, end, every)))

    async def _history(self, arguments: Mapping[str, Any]) -> Frame:
        """The same with a word for the telemetry between two pieces."""
        ahead, found, done = pieces(self, **arguments), list[Frame](), False
        while not done:
            more, done = await asyncio.wrap_future(self._threads.submit(some, ahead))
            found += more
        return joined(found)

    def rollup(self, signals: Sequence[str] | None = None, **asked: Any) -> dict[str, Any]:
        """A history as `points` cells, least, mean and most of each (`start`, `end`, `points`: see `desk.rollup`)."""
        return rollup.rollup(self, signals, **asked)

    def extent(self, signals: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """How far the history of each signal reaches."""
        return rollup.extent(self, signals)

    def at(self, time: str | int) -> dict[str, Any]:
        """Everything as it was known then, and what came of it."""
        return replay.at(self, time)

    def standing(self, signal: str | None = None) -> dict[str, Any]:
        """How far the forecaster and the belief can be trusted; made anew when there is a new forecast."""
        newest: list[Forecast] = self.twin.store.read("forecast", last=1)
        if self._standing[0] != (key := (signal, newest and newest[0].id)):
            self._standing = key, standing(self, signal, self._thinking().stages)
        return self._standing[1]

    def shadow(self, last: str = "7d") -> dict[str, Any]:
        """What the decisions it observed would have been worth."""
        return shadow(self, self._thinking().stages.policy, self.twin.simulator, last)

    def moments(self, start: str | int | None = None, end: str | int | None = None) -> dict[str, Any]:
        """When something happened."""
        return replay.moments(self, start, end)

    def latest(self, signals: Sequence[str] | None = None) -> list[Frame]:
        """The newest usable value of each signal with its own stamp: a frame of one row a signal."""
        names = signals or self.twin.signals.names
        for name in names:
            self.twin.signals.place(name)
        return [self.twin.store.latest([name]) for name in names]

    def forecasts(self) -> list[Forecast]:
        """What the last turns foresaw: the forecaster's answer, then the simulator's."""
        return list(self._thinking().state.forecasts)

    def forecast(self, horizon: str | None = None) -> Forecast:
        """A fresh forecast from the newest telemetry; the running twin's memory is not touched."""
        stages = self._thinking().stages
        if stages.forecaster is None:
            raise Conflict(f"twin '{self.twin.name}' has no forecaster", 'add forecaster = { kind = "pool" }')
        span = stages.setting.horizon if horizon is None else duration(horizon)
        _ahead(span, stages.forecaster.step or stages.setting.every)
        side = stages.aside(span)
        found = side.forecast(self._situation())
        side.close()
        if not found:
            raise Conflict("; ".join(side.attempts.trouble) or "the forecaster had no answer", "has it telemetry yet?")
        return found[0]

    def whatif(
        self, horizon: str | None = None, setpoints: Mapping[str, float] | None = None
    ) -> tuple[Forecast, Forecast]:
        """Rollouts from the current belief: as things stand, and with the setpoints held."""
        setpoints = setpoints or {}
        simulator = self.twin.simulator
        situation = self._situation() if simulator else None
        if simulator is None or situation is None or situation.belief is None:
            raise Conflict(
                f"twin '{self.twin.name}' has no belief to start from",
                "it needs a simulator, an estimator and telemetry",
            )
        for name in setpoints:
            if name not in simulator.inputs:
                raise InputError(
                    f"'{name}' is not an input of the simulator{nearest(name, simulator.inputs)}",
                    f"inputs: {', '.join(simulator.inputs)}",
                )
        setting = self._thinking().setting
        step = setting.every
        steps = _ahead(duration(horizon) if horizon else setting.horizon, step)
        belief = situation.belief
        times = belief.time + step * np.arange(1, steps + 1, dtype=np.int64)
        asis, changed = (
            ahead(simulator, belief, times, situation.latest, situation.forecasts, setting.seed, LEVELS, fixed)
            for fixed in ({}, setpoints)
        )
        return asis, changed

    def origin(self, at: str | int | None = None) -> dict[str, Any]:
        """What a fork starts from: belief, newest values and forecasts in force, now or at a past instant."""
        return origin(self, at)

    def fork(self, at: str | int | None = None, members: int | None = 200, **asked: Any) -> dict[str, Any]:
        """A copy of the twin with inputs set, run ahead and compared (`asked`: see `desk.fork.answered`)."""
        return answered(forked(self.twin, self.origin(at), members, self.history), **asked)

    def findings(self, all: bool = False) -> list[Finding]:
        """Findings that are not closed, or all there ever were, each with its life."""
        if all:
            found: list[Finding] = self.twin.store.read("finding")
            parts = (found[i : i + 200] for i in range(0, len(found), 200))  # the stream wants a word in between
            return [f for part in parts for f in self.alarms.living(part)]
        return [f for f in self.alarms.living(self.noticed()) if f.life and f.life.state != "closed"]

    def noticed(self) -> list[Finding]:
        """What the detectors see now."""
        if loop := self.loop:
            return list(loop.state.findings)
        return [f for f in self.twin.store.read("finding") if f.open]

    def decisions(self, last: int = 20) -> list[Decision]:
        """The newest decisions."""
        found: list[Decision] = self.twin.store.read("decision", last=last)
        return found

    def commands(self, last: int = 20) -> list[tuple[Command, Ack | None]]:
        """The commands of the newest decisions, oldest first, each with what came of it."""
        sent = [c for d in self.decisions(last) if d.status in ("sent", "approved") for c in d.commands]
        acks = {ack.command: ack for ack in self.twin.store.read("ack", last=10 * last + 100)}
        return [(c, acks.get(c.id)) for c in sent]

    def journal(
        self, kind: str, start: str | int | None = None, end: str | int | None = None, last: int | None = 100
    ) -> list[Any]:
        """The newest entries of a kind (`KINDS`) between two times, oldest first."""
        if kind not in KINDS:
            raise InputError(f"the journal has no '{kind}'{nearest(kind, KINDS)}", f"it has: {', '.join(KINDS)}")
        begin, stop = (None if t is None else instant(t) for t in (start, end))
        found: list[Any] = self.twin.store.read(kind, begin, stop, last)
        return found

    def estimates(
        self, start: str | int | None = None, end: str | int | None = None, last: int = 300
    ) -> dict[str, Any]:
        """What it believed the signals to be: at most the `last` recorded beliefs, in columns."""
        beliefs: list[Belief] = self.journal("belief", start, end, last)
        return estimates(self.twin.simulator, beliefs, self.twin.store, self.twin.signals)

    def decide(self) -> Decision:
        """What the policy would do now."""
        stages = self._thinking().stages
        if stages.policy is None:
            raise Conflict(f"twin '{self.twin.name}' has no policy", 'add policy = { kind = "shooting", ... }')
        situation = self._situation()
        return allowed(stages.policy.part.decide(situation), situation)

    async def propose(
        self, setpoints: Mapping[str, float], reason: str = "", valid: str = "1h", dry: bool = False
    ) -> Decision:
        """A decision of somebody else, for a person to approve or reject within `valid`. What the guard refuses is a
        line in it; `dry` shows it without keeping it."""
        loop = self._running()
        now = max(loop.setting.clock.now(), loop.state.now)
        if now <= 0:
            raise Conflict(f"twin '{self.twin.name}' has not taken a turn yet", "wait for its telemetry")
        id = f"proposal-{instant_id(now)}-{token_hex(4)}"
        void = now + duration(valid)
        commands = tuple(Command(f"{id}-{name}", name, float(value), void) for name, value in setpoints.items())
        decision = allowed(Decision(id, now, commands, reason=reason), loop.situation(now))
        if not decision.commands:
            decision = replace(decision, status="rejected")
        elif loop.mode == "observe":
            decision = replace(decision, status="observed")
        if not dry:
            await loop.note(decision)
            self.told(decision)
        return decision

    async def approve(self, id: str) -> Decision:
        """Send a proposal after all, if it is still allowed now."""
        loop, decision = self._running(), self._proposed(id)
        now = loop.setting.clock.now()
        if any(c.expires <= now for c in decision.commands):
            expired = replace(decision, status="expired")
            await loop.note(expired)
            self.told(expired)
            return expired
        sent = allowed(decision, loop.situation(now))
        sent = replace(sent, status="sent" if sent.commands else "rejected")
        self.twin.store.record(sent)  # from here on nobody else can approve or reject it
        self.told(sent)
        await loop.send(sent)
        return sent

    async def reject(self, id: str) -> Decision:
        """A person says no."""
        loop = self._running()
        rejected = replace(self._proposed(id), status="rejected")
        self.twin.store.record(rejected)
        self.told(rejected)
        await loop.note()
        return rejected

    def status(self) -> dict[str, Any]:
        """How the twin is."""
        store = self.twin.store
        names = self.twin.signals.names
        newest = store.latest(names)
        latest = newest.values[0].tolist() if len(newest) else [None] * len(names)
        state = self._thinking().state
        return {
            "twin": self.twin.name,
            "running": self.loop is not None,
            "mode": self.twin.mode,
            "store": str(getattr(store, "path", "memory")),
            "points": store.counts(),
            "newest": int(newest.time[0]) if len(newest) else None,
            "turn": state.now,
            "turns": state.turns,
            "decisions": state.decisions,
            "latest": dict(zip(names, latest, strict=True)),
            "belief": state.belief.mean() if state.belief else {},
            "findings": [f.name for f in self.findings()],
            "acks": dict(state.acks),
        }

    def now(self) -> int:
        """The time it is for the twin: of its clock, of its last turn, or of the newest point when it does not run."""
        clock = self.twin.setting().clock
        if self.loop:
            return max(clock.now(), self.loop.state.now)
        return clock.now() if clock.live else self.newest()

    def newest(self) -> int:
        """The time of the newest point that was measured."""
        dated = [s.name for s in self.twin.signals if s.role != "known"]  # a tariff of tomorrow is not news
        found = self.twin.store.latest(dated or self.twin.signals.names)
        if not len(found) or not found.time[0]:
            raise Conflict(f"twin '{self.twin.name}' has no history yet", "run it: gemel run FILE")
        return int(found.time[0])

    def _proposed(self, id: str) -> Decision:
        found = [d for d in self.decisions(last=1000) if d.id == id]
        if not found:
            raise NotFound(f"there is no decision '{id}'", "see the open ones with twin.decisions()")
        if found[-1].status != "proposed":
            raise Conflict(f"decision '{id}' is {found[-1].status}, not open for approval")
        return found[-1]

    def close(self) -> None:
        """End what was brought up only to answer."""
        self._threads.shutdown(wait=False)
        if self._own:
            self._own.stages.close()

    def _running(self) -> Loop:
        if self.loop is None:
            raise Conflict(
                f"twin '{self.twin.name}' is not running, so nothing can be sent", "start it: gemel run FILE"
            )
        return self.loop

    def _thinking(self) -> Loop:
        """The running loop, or one brought up from the store that never runs."""
        if loop := self.loop:
            return loop
        with self._bringing:
            if self._own is None:
                own = Loop(self.twin.setting(), {}, self.twin.stages(), self.twin.mode)
                own.resume()
                self._own = own
            return self._own

    def _situation(self) -> Any:
        return self._thinking().situation(self.newest())


def _ahead(span: int, step: int) -> int:
    """How many steps a look ahead has."""
    if (steps := max(span // step, 1)) > FURTHEST:
        raise InputError(f"{steps:,} steps ahead are too many", f"the twin looks {FURTHEST:,} steps ahead at most")
    return steps
