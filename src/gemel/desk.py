"""The desk: answers questions about a twin in the process that holds its store, running or not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from gemel.core.errors import InputError, nearest
from gemel.core.setting import Setting
from gemel.core.units import duration, instant
from gemel.core.values import LEVELS, Decision, Finding, Forecast, Frame, Signals
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
    simulator: Simulator | None

    def setting(self) -> Setting:
        """What its parts may know."""

    def stages(self) -> Stages:
        """Its thinking parts."""


OPEN = ("history", "forecast", "whatif", "findings", "decisions", "decide", "approve", "reject", "status")
"""What may be asked through the socket."""


class Desk:
    """Reads the store of `twin`, and its running `loop` when there is one."""

    def __init__(self, twin: Owner) -> None:
        self.twin = twin
        self.loop: Loop | None = None
        self._own: Loop | None = None

    async def answer(self, method: str, arguments: Mapping[str, Any]) -> Any:
        """A question by name; only those of `OPEN`."""
        if method not in OPEN:
            raise InputError(f"a twin cannot be asked '{method}'{nearest(method, OPEN)}")
        question = getattr(self, method)
        if asyncio.iscoroutinefunction(question):
            return await question(**arguments)
        async with self._running().busy:  # between two turns, and telemetry goes on coming in
            return await asyncio.to_thread(question, **arguments)

    def history(
        self,
        signals: Sequence[str] | None = None,
        last: str | None = None,
        start: str | int | None = None,
        end: str | int | None = None,
        every: str | None = None,
    ) -> Frame:
        """Points of the store as a frame."""
        names = list(signals or self.twin.signals.names)
        for name in names:
            self.twin.signals.place(name)
        span = duration(last) if last else None
        stop = self._newest() if end is None else instant(end)
        begin = stop - span + 1 if span else (0 if start is None else instant(start))
        if every and not begin:  # a grid begins where the history does
            begin = self._oldest(names, stop)
        return self.twin.store.window(names, begin, stop, every=duration(every) if every else None)

    def forecast(self, horizon: str | None = None) -> Forecast:
        """A fresh forecast from the newest telemetry; the running twin's memory is not touched."""
        stages = self._thinking().stages
        if stages.forecaster is None:
            raise InputError(f"twin '{self.twin.name}' has no forecaster", 'add forecaster = { kind = "pool" }')
        side = stages.aside(stages.setting.horizon if horizon is None else duration(horizon))
        found = side.forecast(self._situation())
        side.close()
        if not found:
            raise InputError("; ".join(side.attempts.trouble) or "the forecaster had no answer")
        return found[0]

    def whatif(
        self, horizon: str | None = None, setpoints: Mapping[str, float] | None = None
    ) -> tuple[Forecast, Forecast]:
        """Rollouts from the current belief: as things stand, and with the setpoints held."""
        setpoints = setpoints or {}
        simulator = self.twin.simulator
        situation = self._situation() if simulator else None
        if simulator is None or situation is None or situation.belief is None:
            raise InputError(
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
        steps = max((duration(horizon) if horizon else setting.horizon) // step, 1)
        belief = situation.belief
        times = belief.time + step * np.arange(1, steps + 1, dtype=np.int64)
        asis, changed = (
            ahead(simulator, belief, times, situation.latest, situation.forecasts, setting.seed, LEVELS, fixed)
            for fixed in ({}, setpoints)
        )
        return asis, changed

    def findings(self, all: bool = False) -> list[Finding]:
        """Open findings, or all there ever were."""
        if not all and self.loop:
            return list(self.loop.state.findings)
        found: list[Finding] = self.twin.store.read("finding")
        return found if all else [f for f in found if f.open]

    def decisions(self, last: int = 20) -> list[Decision]:
        """The newest decisions."""
        found: list[Decision] = self.twin.store.read("decision", last=last)
        return found

    def decide(self) -> Decision:
        """What the policy would do now."""
        stages = self._thinking().stages
        if stages.policy is None:
            raise InputError(f"twin '{self.twin.name}' has no policy", 'add policy = { kind = "shooting", ... }')
        situation = self._situation()
        return allowed(stages.policy.part.decide(situation), situation)

    async def approve(self, id: str) -> Decision:
        """Send a proposal after all, if it is still allowed now."""
        loop, decision = self._running(), self._proposed(id)
        now = loop.setting.clock.now()
        if any(c.expires <= now for c in decision.commands):
            expired = replace(decision, status="expired")
            await loop.note(expired)
            return expired
        sent = replace(allowed(decision, loop.situation(now)), status="sent")
        self.twin.store.record(sent)  # from here on nobody else can approve or reject it
        await loop.send(sent)
        return sent

    async def reject(self, id: str) -> Decision:
        """A person says no."""
        loop = self._running()
        rejected = replace(self._proposed(id), status="rejected")
        self.twin.store.record(rejected)
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
            "findings": [f.name for f in state.findings],
            "acks": dict(state.acks),
        }

    def _oldest(self, names: Sequence[str], stop: int) -> int:
        held = self.twin.store.window(names, 0, stop)
        return int(held.time[0]) if len(held) else stop

    def _newest(self) -> int:
        dated = [s.name for s in self.twin.signals if s.role != "known"]  # a tariff of tomorrow is not news
        found = self.twin.store.latest(dated or self.twin.signals.names)
        if not len(found) or not found.time[0]:
            raise InputError(f"twin '{self.twin.name}' has no history yet", "run it: gemel run FILE")
        return int(found.time[0])

    def _proposed(self, id: str) -> Decision:
        found = [d for d in self.decisions(last=1000) if d.id == id]
        if not found:
            raise InputError(f"there is no decision '{id}'", "see the open ones with twin.decisions()")
        if found[-1].status != "proposed":
            raise InputError(f"decision '{id}' is {found[-1].status}, not open for approval")
        return found[-1]

    def close(self) -> None:
        """End what was brought up only to answer."""
        if self._own:
            self._own.stages.close()

    def _running(self) -> Loop:
        if self.loop is None:
            raise InputError(
                f"twin '{self.twin.name}' is not running, so nothing can be sent", "start it: gemel run FILE"
            )
        return self.loop

    def _thinking(self) -> Loop:
        """The running loop, or one brought up from the store that never runs."""
        if self.loop:
            return self.loop
        if self._own is None:
            self._own = Loop(self.twin.setting(), {}, self.twin.stages(), self.twin.mode)
            self._own.resume()
        return self._own

    def _situation(self) -> Any:
        return self._thinking().situation(self._newest())
