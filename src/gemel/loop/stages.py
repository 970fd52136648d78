"""The stages of a turn with their parts, rhythms and time budgets, and what happens when a part fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from gemel.core.attempt import Attempts
from gemel.core.setting import Setting, Stage
from gemel.core.units import instant_id
from gemel.core.values import LEVELS, Batch, Belief, Finding, Forecast, Frame
from gemel.core.worker import Worker
from gemel.loop.decide import Situation
from gemel.loop.detect import Detector
from gemel.loop.estimate import Estimator, estimate
from gemel.loop.forecast import Learning
from gemel.loop.process import Stateful, Transform
from gemel.loop.simulate import ahead


class Stages:
    """The thinking parts of one twin. What fails costs its answer; the turn goes on."""

    def __init__(
        self,
        setting: Setting,
        store: Any,
        transforms: Sequence[Transform] = (),
        estimator: Stage | None = None,
        forecaster: Stage | None = None,
        detectors: Sequence[Detector] = (),
        policy: Stage | None = None,
    ) -> None:
        self.setting = setting
        self.store = store
        self.transforms = tuple(transforms)
        self.estimator = estimator
        self.forecaster = forecaster
        self.detectors = tuple(detectors)
        self.policy = policy
        self.attempts, self._cleaning = Attempts(), Attempts()
        self._learned = 0
        self._guest = Worker(forecaster.part, forecaster.budget) if forecaster and forecaster.budget else None
        self.members: tuple[Forecast, ...] = ()  # the last answers of a pool's members, for the signals of `report`

    def due(self, now: int, last: int) -> set[str]:
        """Which of forecast and decide this turn includes; the first turn neither: there is nothing to see yet."""

        def crossed(stage: Stage | None) -> bool:
            every = (stage and stage.every) or self.setting.every
            return stage is not None and now // every > last // every

        stages = (("forecast", self.forecaster), ("decide", self.policy))
        return {name for name, stage in stages if last and crossed(stage)}

    def estimated(self, belief: Belief | None, last: int, now: int, findings: Sequence[Finding]) -> Belief | None:
        """The belief at `now`."""
        stage, simulator = self.estimator, self.setting.simulator
        if stage is None or simulator is None:
            return belief
        names = [n for n in (*simulator.inputs, *simulator.outputs) if n in self.setting.signals]
        start = (belief.time if belief else max(last, now - self.setting.every)) + 1
        part: Estimator = stage.part

        def update() -> Belief | None:
            return estimate(part, belief, self._window(stage, names, start, now, self.setting.every), findings)

        found = self.attempts.tried("estimator", update)
        if found is None:
            return belief
        return replace(found, id=f"belief-{instant_id(now)}")

    def forecast(self, situation: Situation) -> tuple[Forecast, ...]:
        """The forecaster's answer, then the simulator's own ("physics")."""
        stage = self.forecaster
        if stage is None:
            return ()
        setting, now = self.setting, situation.now
        step = stage.step or setting.every
        end = now // step * step
        names = [s.name for s in setting.signals if s.type == "number" and s.role in ("measured", "derived")]
        context = self.attempts.tried("view", lambda: self._window(stage, names, end - stage.context + step, end, step))
        horizon = setting.horizon // step
        if context is None:
            return ()
        by = name = type(stage.part).__name__.lower()
        answer = self.attempts.tried(f"forecaster {name}", lambda: self._ask(stage, context, horizon))
        if answer is None and stage.neighbour is not None:
            other = stage.neighbour
            by = type(other).__name__.lower()
            answer = self.attempts.tried(f"forecaster {by}", lambda: other.forecast(context, horizon, levels=LEVELS))
            if answer is not None:
                self.attempts.trouble.append(f"{by} answered instead of {name}")
        found = [answer.named(answer.by or by).within(setting.signals)] if answer is not None else []
        own = self.attempts.tried("simulator", lambda: self._physics(situation, found, step, horizon))
        if own is not None:
            found.append(own.named("physics"))
        return tuple(found)

    def detected(self, situation: Situation) -> list[Finding]:
        """News from all detectors."""
        news: list[Finding] = []
        for detector in self.detectors:
            name = type(detector).__name__.lower()
            news += self.attempts.tried(f"detector {name}", lambda d=detector: d.inspect(situation)) or []  # type: ignore[misc]
        return news

    def processed(self, batch: Batch) -> Batch:
        """The batch through all transforms, in their order; one that raises is left out."""
        for transform in self.transforms:
            name = type(transform).__name__.lower()
            cleaned = self._cleaning.tried(f"transform {name}", lambda t=transform, b=batch: t.apply(b))  # type: ignore[misc]
            batch = batch if cleaned is None else cleaned
        return batch

    def snapshot(self) -> dict[str, Any]:
        """The memory of all stateful parts of the turn."""
        return {"learned": self._learned, **self.attempts.snapshot(self._stateful())}

    def restore(self, held: Mapping[str, Any]) -> None:
        """Take up an earlier memory."""
        self._learned = held.get("learned", 0)
        self.attempts.restore(self._stateful(), held)

    def aside(self, horizon: int) -> Stages:
        """The same, to ask something of: its forecaster is a copy, so that the running one learns nothing from it."""
        stage = self.forecaster and replace(self.forecaster, part=deepcopy(self.forecaster.part))
        side = Stages(replace(self.setting, horizon=horizon), self.store, estimator=self.estimator, forecaster=stage)
        side.restore(self.snapshot())
        return side

    def close(self) -> None:
        """End the guest's process."""
        if self._guest:
            self._guest.close()

    def _stateful(self) -> dict[str, Stateful]:
        parts = {f"detector-{i}": d for i, d in enumerate(self.detectors)}
        stages = {"estimator": self.estimator, "forecaster": self.forecaster, "policy": self.policy}
        parts |= {name: stage.part for name, stage in stages.items() if stage}
        found = {name: part for name, part in parts.items() if isinstance(part, Stateful)}
        return found | ({"forecaster": self._guest} if self._guest and "forecaster" in found else {})

    def _ask(self, stage: Stage, context: Frame, horizon: int) -> Forecast:
        fresh = context.rows(int((context.time <= self._learned).sum()), len(context))
        part: Any = self._guest or stage.part
        if isinstance(stage.part, Learning) and len(fresh):
            part.learn(fresh)
            self._learned = int(context.time[-1])
        answer: Forecast = part.forecast(context, horizon, levels=LEVELS)
        last = getattr(part, "last", {}) if stage.report else {}
        self.members = tuple(f.only(stage.report).named(name) for name, f in last.items())
        return answer

    def _physics(self, situation: Situation, forecasts: Sequence[Forecast], step: int, horizon: int) -> Forecast | None:
        simulator, belief = self.setting.simulator, situation.belief
        if simulator is None or belief is None:
            return None
        times = belief.time // step * step + step * np.arange(1, horizon + 1, dtype=np.int64)
        seed = self.setting.seed + belief.time // step
        return ahead(simulator, belief, times, situation.latest, forecasts, seed, LEVELS)

    def _window(self, stage: Stage, names: Sequence[str], start: int, end: int, every: int) -> Frame:
        frame: Frame = self.store.window(names, start, end, every=every)
        for view in stage.view:
            frame = view.view(frame)
        return frame
