"""Twin: what a script holds.

A `Twin` is made from parts (or by `gemel.open` from a file). While it runs, in this process or another, every question
goes to the running one through the socket beside its store; otherwise the store is opened here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemel import attach
from gemel.core.artifact import Artifact, Shelf
from gemel.core.blobs import Blobs
from gemel.core.clock import Data, Virtual, Wall
from gemel.core.errors import ConfigError, Conflict, GemelError, nearest
from gemel.core.setting import Bound, Setting, Stage
from gemel.core.units import SECOND, duration, instant
from gemel.core.values import Ack, Asset, Command, Decision, Finding, Forecast, Frame, Signal, Signals
from gemel.desk import Desk, people
from gemel.desk.bell import ringing
from gemel.desk.calibration import versions as calibration
from gemel.desk.calibration.reopen import reopening
from gemel.desk.challenge import challenged
from gemel.desk.fork import Fork, forked
from gemel.loop.act import Actuator
from gemel.loop.run import Loop
from gemel.loop.stages import Stages

if TYPE_CHECKING:
    from gemel.forecasters.foundation.forecaster import Foundation

MODES = ("observe", "advise", "auto")


class Twin:
    """A living virtual copy of a physical thing.

    name: of the twin. signals: what it hears and sends. assets: the things they belong to. every: time between turns.
    horizon: how far it looks ahead. connectors: name -> part; a signal's address starts with such a name. transforms:
    clean the telemetry, in order. store: where history is kept (default: `NAME.gemel` beside the twin file).
    simulator, estimator, forecaster, detectors, policy: the thinking parts, plain or as `Stage(part, every="1h")`.
    notifiers: whom it tells of findings. clock: of its turns (default `Wall()`). mode: `observe` (thinks only),
    `advise` (proposes), `auto` (acts). seed: of all randomness. plan: its picture, an SVG file bound to its signals.
    folder: where relative paths start.

    Raises `ConfigError` with every problem at once.
    """

    def __init__(
        self,
        *,
        name: str,
        signals: Sequence[Signal],
        assets: Sequence[Asset] = (),
        every: str = "5min",
        horizon: str = "24h",
        connectors: Mapping[str, Any] | None = None,
        transforms: Sequence[Any] = (),
        store: Any = None,
        simulator: Any = None,
        estimator: Any = None,
        forecaster: Any = None,
        detectors: Sequence[Any] = (),
        policy: Any = None,
        notifiers: Sequence[Any] = (),
        clock: Any = None,
        mode: str = "observe",
        seed: int = 0,
        plan: str = "",
        folder: str | Path = ".",
    ) -> None:
        self.name = name
        self.assets = tuple(assets)
        self.signals = Signals(signals)
        self.every = every
        self.horizon = horizon
        self.connectors = dict(connectors or {})
        self.transforms = tuple(transforms)
        self.simulator = simulator
        self.estimator = _staged(estimator)
        self.forecaster = _staged(forecaster)
        self.detectors = tuple(detectors)
        self.policy = _staged(policy)
        self.notifiers = tuple(notifiers)
        self.clock: Wall | Virtual | Data = Wall() if clock is None else clock
        self.mode = mode
        self.seed = seed
        self.plan = plan
        self.folder = Path(folder)
        self._check()
        self.store = store if store is not None else _default_store(name)
        self.loop: Loop | None = None
        self._desk: Desk | None = None
        path = getattr(self.store, "path", None)  # of a store that lives in memory: none
        self.blobs = Blobs(self.folder / f"{path}.blobs" if path else None)

    # -- asking -------------------------------------------------------------------------------------------------

    def history(
        self,
        signals: Sequence[str] | None = None,
        last: str | None = None,
        *,
        start: str | int | None = None,
        end: str | int | None = None,
        every: str | None = None,
        native: bool = True,
    ) -> Any:
        """What was measured: a frame in the library the caller uses (polars, pandas, Arrow); `native=False` a `Frame`.

        `last="7d"` counts back from the newest point; `every="1h"` grids (cell means, gaps flagged)."""
        frame = self._ask("history", signals=signals, last=last, start=start, end=end, every=every)
        return _native(frame) if native else frame

    def rollup(self, signals: Sequence[str] | None = None, *, points: int = 1200, **span: Any) -> dict[str, Any]:
        """A history (`start`, `end`) as `points` cells, least, mean and most of each; raw where points are few."""
        return self._ask("rollup", signals=signals, points=points, **span)

    def extent(self, signals: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """How far the history of each signal reaches, and how many points it has."""
        return list(self._ask("extent", signals=signals))

    def at(self, time: str | int) -> dict[str, Any]:
        """A past instant: what was known, believed, foreseen, found and decided then, and what came of it."""
        return self._ask("at", time=time)

    def standing(self, signal: str | None = None) -> dict[str, Any]:
        """How far its forecasts (of one signal) and its belief can be trusted."""
        return self._ask("standing", signal=signal)

    def shadow(self, last: str = "7d") -> dict[str, Any]:
        """What it would have done beside the controller that was there, and what that was worth."""
        return self._ask("shadow", last=last)

    def moments(self, start: str | int | None = None, end: str | int | None = None) -> dict[str, Any]:
        """When something happened: decisions, forecasts, findings."""
        return self._ask("moments", start=start, end=end)

    def latest(self, signals: Sequence[str] | None = None) -> dict[str, tuple[int, float]]:
        """The newest usable value of each signal with its time; (0, NaN) for one never heard."""
        rows = [(f.signals[0], int(f.time[0]), float(f.values[0, 0])) for f in self._ask("latest", signals=signals)]
        return {name: (time if value == value else 0, value) for name, time, value in rows}

    def forecast(self, horizon: str | None = None) -> Forecast:
        """What comes next, from the newest telemetry on."""
        return self._ask("forecast", horizon=horizon)

    def whatif(self, horizon: str | None = None, **setpoints: float) -> tuple[Forecast, Forecast]:
        """The simulator's outputs as things stand, and with `setpoints` held from now on."""
        return self._ask("whatif", horizon=horizon, setpoints=setpoints)

    def fork(self, at: str | int | None = None, members: int | None = 200) -> Fork:
        """A copy of it, now or at a past instant, to set inputs of and run ahead; nothing of it is written. `members`:
        the belief is drawn again to so many (None: as it is)."""
        origin = self._ask("origin", at=at)
        if self._desk is None:  # it was asked of another process, so nobody has told ours yet
            _bind(self.simulator, self.setting())
            calibration.ready(self.simulator, self.artifacts)
        return forked(self, origin, members, partial(self._ask, "history"))

    def forecasts(self) -> list[Forecast]:
        """What the last turns foresaw: the forecaster's answer, then the simulator's."""
        return list(self._ask("forecasts"))

    def findings(self, *, all: bool = False) -> list[Finding]:
        """What is wrong now; `all=True` also what was."""
        return list(self._ask("findings", all=all))

    def decisions(self, last: int = 20) -> list[Decision]:
        """The newest decisions, oldest first."""
        return list(self._ask("decisions", last=last))

    def commands(self, last: int = 20) -> list[tuple[Command, Ack | None]]:
        """The commands of the newest decisions, oldest first, each with what came of it."""
        return list(self._ask("commands", last=last))

    def journal(
        self, kind: str, *, start: str | int | None = None, end: str | int | None = None, last: int | None = 100
    ) -> list[Any]:
        """The newest beliefs, forecasts, findings, decisions, acks or events (`kind` in the singular), oldest first."""
        return list(self._ask("journal", kind=kind, start=start, end=end, last=last))

    def decide(self) -> Decision:
        """What the policy would do now. Nothing is sent."""
        return self._ask("decide")

    def propose(self, reason: str = "", *, valid: str = "1h", dry: bool = False, **setpoints: float) -> Decision:
        """Propose setpoints for a person to approve within `valid`; the twin must be running. `dry` only shows what
        would come of it."""
        return self._ask("propose", setpoints=setpoints, reason=reason, valid=valid, dry=dry)

    def approve(self, id: str) -> Decision:
        """Send a proposed decision; the twin must be running. It is checked again first."""
        return self._ask("approve", id=id)

    def reject(self, id: str) -> Decision:
        """Say no to a proposed decision; the twin must be running."""
        return self._ask("reject", id=id)

    def status(self) -> dict[str, Any]:
        """How the twin is: running or not, points, newest stamps, findings, counts."""
        return self._ask("status")

    def adapt(self, horizon: str | None = None, progress: Any = lambda *_: None) -> Artifact:
        """Fit the pre-trained network to this twin's own history. What came out is kept in `artifacts`, and put to use
        if it beats zero-shot on held-back windows: its `card` says so. `progress` is called with (done, total, text).

        Raises `InputError` when the history is too short."""
        from gemel.forecasters.foundation.adapt import adapt

        forecaster = self._foundation()
        _bind(forecaster, self.setting())
        return adapt(forecaster, self.past(), self.steps(horizon), self.artifacts, progress)

    def past(self) -> Frame:
        """The whole history as the forecaster sees it: measured and derived numbers on its grid, through its views."""
        names = [s.name for s in self.signals if s.type == "number" and s.role in ("measured", "derived")]
        frame: Frame = self._ask("history", signals=names, every=self._step() / SECOND)
        for view in self.forecaster.view if self.forecaster else ():
            frame = view.view(frame)
        return frame

    def steps(self, horizon: str | None = None) -> int:
        """How many rows of that grid a horizon has (default: the twin's own)."""
        return duration(horizon or self.horizon) // self._step()

    @property
    def artifacts(self) -> Shelf:
        """What was fitted to this twin, every version: in the forecaster's `head`, or beside the store."""
        own = Path(getattr(self.store, "path", None) or self.name).with_suffix(".artifacts")
        return Shelf(self.folder / (self._foundation().head or own))

    # -- what people do ------------------------------------------------------------------------------------------

    acknowledge, shelve, resolve, reopen = people.acknowledge, people.shelve, people.resolve, people.reopen
    explain, verdict = people.explain, people.verdict
    maintain, maintenance, end_maintenance = people.maintain, people.maintenance, people.end_maintenance
    hands, take, put, release = people.hands, people.take, people.put, people.release
    calibrate, calibrations = calibration.calibrated, calibration.calibrations
    use_calibration, challenge = calibration.use_calibration, challenged

    # -- running ------------------------------------------------------------------------------------------------

    def run(self, until: str | int | None = None, watch: Any = None) -> None:
        """Run until the sources end, the clock passes `until`, or Ctrl-C."""
        asyncio.run(self.live(until, watch))

    async def live(self, until: str | int | None = None, watch: Any = None) -> None:
        """The same inside an event loop; a cancelled one ends cleanly."""
        desk = self.desk
        try:
            self.loop = desk.loop = Loop(self.setting(), self.connectors, self.stages(), self.mode, watch)
            async with attach.serve(self.socket, desk.attached), ringing(desk, self.notifiers), reopening(desk):
                await self.loop.run(None if until is None else instant(until))
        finally:
            self.loop = desk.loop = None
            self.close()

    def open(self) -> Twin:
        """Open the store in this process (done by itself when first needed)."""
        if self._desk is None:
            _bind(self.store, self.setting())
            self.store.open(self.signals)
            self._desk = Desk(self)
        return self

    @property
    def desk(self) -> Desk:
        """Who answers questions about it in this process; opens the store."""
        desk = self.open()._desk
        assert desk is not None
        return desk

    def close(self) -> None:
        """Close the store."""
        if self._desk is not None:
            self._desk.close()
            self._desk = None
            self.store.close()

    def __enter__(self) -> Twin:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def socket(self) -> Path | None:
        """Where a running twin listens; None for a store that lives in memory."""
        path = getattr(self.store, "path", None)
        return self.folder / f"{path}.sock" if path else None

    def setting(self) -> Setting:
        """What its parts may know of this twin."""
        return Setting(
            self.name, "", self.signals, self.clock, duration(self.every), duration(self.horizon), self.seed,
            self.folder, self.simulator, self.artifacts, self.store.window,
            self.blobs,
        )  # fmt: skip

    def stages(self) -> Stages:
        """The thinking parts, each told its setting."""
        setting = self.setting()
        for part in (*self.transforms, self.simulator, *self.detectors, *self.notifiers):
            _bind(part, setting)
        for stage in (self.estimator, self.forecaster, self.policy):
            if stage:
                _bind(stage.part, setting)
        calibration.ready(self.simulator, self.artifacts)
        for name, connector in self.connectors.items():
            _bind(connector, Setting(**{**_fields(setting), "connector": name}))
        estimator = calibration.primed(self.estimator, setting)
        detectors = calibration.guarded(self.detectors, setting)
        return Stages(setting, self.store, self.transforms, estimator, self.forecaster, detectors, self.policy)

    def _step(self) -> int:
        return (self.forecaster and self.forecaster.step) or duration(self.every)

    def _foundation(self) -> Foundation:
        from gemel.forecasters.foundation.forecaster import Foundation, within

        return (self.forecaster and within(self.forecaster.part)) or Foundation()

    def _ask(self, method: str, **named: Any) -> Any:
        if (self._desk is None or self.loop) and self.socket and attach.listening(self.socket):
            return attach.call(self.socket, method, named)
        desk = self.desk
        if asyncio.iscoroutinefunction(getattr(desk, method)):
            raise Conflict(f"twin '{self.name}' is not running, so nothing can be sent", "start it: gemel run FILE")
        return getattr(desk, method)(**named)

    def _check(self) -> None:
        problems = []
        for key in ("every", "horizon"):
            try:
                duration(getattr(self, key))
            except GemelError as error:
                problems.append(f"{key}: {error.message}")
        if self.mode not in MODES:
            problems.append(f"mode: '{self.mode}' is not one of {', '.join(MODES)}{nearest(self.mode, MODES)}")
        ids = [a.id for a in self.assets]
        for signal in self.signals:
            connector = signal.address.partition(":")[0]
            if signal.address and connector not in self.connectors:
                problems.append(
                    f"signals.{signal.name}.address: there is no connector '{connector}'"
                    f"{nearest(connector, self.connectors)}"
                )
            if signal.address and signal.role == "controlled" and connector in self.connectors:
                part = self.connectors[connector]
                if not isinstance(part, Actuator):
                    problems.append(f"signals.{signal.name}.address: connector '{connector}' cannot send commands")
            if signal.asset and self.assets and signal.asset not in ids:
                problems.append(
                    f"signals.{signal.name}.asset: there is no asset '{signal.asset}'{nearest(signal.asset, ids)}"
                )
        if self.estimator and self.simulator is None:
            problems.append("estimator: it needs a simulator; add simulator = { kind = ... }")
        if problems:
            raise ConfigError(problems, where=f"twin '{self.name}'")


def _staged(part: Any) -> Stage | None:
    return part if part is None or isinstance(part, Stage) else Stage(part)


def _bind(part: Any, setting: Setting) -> None:
    if isinstance(part, Bound):
        part.bind(setting)


def _fields(setting: Setting) -> dict[str, Any]:
    return {name: getattr(setting, name) for name in Setting.__slots__}


def _default_store(name: str) -> Any:
    from gemel.core.registry import build

    return build("stores", {"kind": "duckdb", "path": f"{name}.gemel"})


def _native(frame: Frame) -> Any:
    from gemel.frames import to_frame

    return to_frame(frame)
