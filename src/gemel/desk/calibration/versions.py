"""Calibrations of a twin: every version kept, one in use, and how it comes to be in use.

What is in use is where an estimator without a belief begins. Put to use in a twin that has one, its parameters are
drawn again in that belief and its states stay; the journal keeps both beliefs, so a fork of the time before has the
parameters of then.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from gemel.core.artifact import Artifact, Shelf
from gemel.core.calibrated import NAME, RESIDUAL, drawn, identity, in_use
from gemel.core.errors import Conflict, NotFound
from gemel.core.setting import Setting, Stage
from gemel.core.units import instant_id
from gemel.core.values import Belief, Event, Frame
from gemel.desk.calibration.fit import Progress, calibrate, task
from gemel.desk.calibration.hindcast import Candidate, begun
from gemel.detectors.validity import Validity
from gemel.loop.process import Stateful
from gemel.loop.run import Loop

log = logging.getLogger("gemel")


class Asked(Protocol):
    """A twin."""

    def _ask(self, method: str, **named: Any) -> Any: ...


class Thinking(Protocol):
    """What is needed of a desk."""

    twin: Any

    def now(self) -> int:
        """The time it is for the twin."""

    def _thinking(self) -> Loop: ...


class Calibrations:
    """What a desk answers about calibrations."""

    def __init__(self, desk: Thinking) -> None:
        self._desk = desk

    def calibrations(self) -> list[dict[str, Any]]:
        """Every version, the oldest first: `version`, whether it is `promoted`, whether it `fits` the simulator that
        the twin has now, and its `card`."""
        twin = self._desk.twin
        shelf: Shelf = twin.artifacts
        own = identity(twin.simulator) if twin.simulator else ""
        held = [shelf.version(NAME, v) for v in shelf.versions(NAME)]
        promoted = shelf.promoted(NAME)
        return [
            {
                "version": one.version,
                "promoted": one.version == promoted,
                "fits": one.card["simulator"] == own,
                "card": dict(one.card),
            }
            for one in held
        ]

    def use_calibration(self, version: str = "", why: str = "") -> str:
        """Put a version to use, or the one before (""); returns what is in use then, "" for the simulator's prior."""
        twin = self._desk.twin
        shelf: Shelf = twin.artifacts
        if version:
            found = chosen(shelf, version)
            if found.card["simulator"] != (own := identity(twin.simulator) if twin.simulator else "none"):
                raise Conflict(
                    f"calibration {found.version} is of another simulator ({found.card['simulator']}, not {own})",
                    "calibrate the one there is: gemel calibrate FILE",
                )
            shelf.promote(NAME, found.version)
        else:
            shelf.back(NAME)
        self._taken(why or ("put to use" if version else "the one after it was taken back"))
        return shelf.promoted(NAME)

    def _taken(self, why: str) -> None:
        """The belief takes the parameters of what is in use; nothing is written of a twin that has none yet."""
        loop, twin = self._desk._thinking(), self._desk.twin
        used = ready(twin.simulator, twin.artifacts)
        if hasattr(twin.simulator, "learn") and not (used and RESIDUAL in used.files):
            twin.simulator.load(type(twin.simulator)(**twin.simulator.spec).dump())  # nothing was learned
        belief, now = loop.state.belief, max(self._desk.now(), loop.state.now)
        text = f"calibration {used.version}: {why}" if used else "no calibration is in use any more"
        values: list[Any] = [Event(now, NAME, used.version if used else "", text, now)]
        if belief is not None and used:
            loop.state.belief = belief = redrawn(belief, used, twin.seed)
            # a nanosecond on: what was believed at that turn stands in the journal beside it
            id = f"belief-{instant_id(belief.time)}-{used.version}"
            values += [replace(belief, time=belief.time + 1, id=id), loop.memory()]
        twin.store.record(*values)


def chosen(shelf: Shelf, version: str) -> Artifact:
    """A version by its name, or the beginning of it; raises `NotFound`."""
    found = [v for v in shelf.versions(NAME) if v.startswith(version)]
    if len(found) != 1:
        raise NotFound(
            f"there {'are several calibrations' if found else 'is no calibration'} '{version}'",
            f"there is: {', '.join(shelf.versions(NAME)) or 'none yet'}",
        )
    return shelf.version(NAME, found[0])


def redrawn(belief: Belief, used: Artifact, seed: int) -> Belief:
    """The belief with the parameters of a calibration in the place of its own."""
    members = belief.members.copy()
    for name, row in zip(*_draws(used, members.shape[1], seed), strict=True):
        if name in belief.names:
            members[belief.names.index(name)] = row
    return replace(belief, members=members)


def _draws(used: Artifact, members: int, seed: int) -> tuple[tuple[str, ...], Any]:
    found = drawn(used, members, seed)
    return found.names, found.members


def ready(simulator: Any, shelf: Shelf) -> Artifact | None:
    """The calibration in use; a simulator with a learned correction takes up what was learned with it."""
    used = in_use(shelf, simulator)
    if simulator is not None and used is None and (version := shelf.promoted(NAME)):
        text = "calibration %s is of another simulator or other equations, so it is not used: gemel calibrate FILE"
        log.warning(text, version)
    if used and RESIDUAL in used.files:
        simulator.load(used.files[RESIDUAL].read_bytes())
    return used


class Primed:
    """An estimator that begins with the calibration in use, where there is one."""

    def __init__(self, estimator: Any, setting: Setting) -> None:
        self.estimator, self._setting = estimator, setting

    def update(self, belief: Belief | None, frame: Frame) -> Belief:
        """The belief at the end of the frame."""
        used = in_use(self._setting.shelf, self._setting.simulator) if belief is None else None
        if used:
            members = getattr(self.estimator, "members", 64)
            start = drawn(used, members, self._setting.seed)
            time = int(frame.time[0]) - self._setting.every
            belief = begun(Candidate(self._setting.simulator, start.names, start.members), time, self._setting.seed)
        found: Belief = self.estimator.update(belief, frame)
        return found

    def snapshot(self) -> Mapping[str, Any]:
        """The estimator's own memory."""
        return self.estimator.snapshot() if isinstance(self.estimator, Stateful) else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Give it its memory back."""
        if isinstance(self.estimator, Stateful):
            self.estimator.restore(state)


def primed(stage: Stage | None, setting: Setting) -> Stage | None:
    """The estimator's stage, so that it begins with the calibration in use."""
    return replace(stage, part=Primed(stage.part, setting)) if stage and setting.simulator is not None else stage


def guarded(detectors: tuple[Any, ...], setting: Setting) -> tuple[Any, ...]:
    """The detectors, with one for the validity of the calibration in use: every twin with a simulator has it."""
    if setting.simulator is None or any(isinstance(d, Validity) for d in detectors):
        return detectors
    own = Validity()
    own.bind(setting)
    return (*detectors, own)


# -- what a script may do: methods of `Twin` ---------------------------------------------------------------------------


def calibrated(
    self: Any, last: str = "30d", *, start: str | int | None = None, end: str | int | None = None,
    method: str = "esmda", members: int = 200, hold: str | float = "20%", valid: str = "90d",
    promote: bool | None = None, progress: Progress = lambda *_: None,
) -> Artifact:  # fmt: skip
    """Parameters of the simulator with their uncertainty, from the `last` 30 days (or `start` to `end`).

    Fitted by `method` (esmda, least_squares) to all but the part held back (`hold`), scored on that beside the
    uncalibrated simulator, the one in use and naive forecasts. What comes out is kept in `artifacts`; it is put to use
    if it beats what is in use, always with `promote=True`, never with False. It is good for `valid`. `progress` is
    called with (done, total, text). Raises `InputError` when the history does not do."""
    used = in_use(self.artifacts, self.simulator) if self.simulator else None
    asked = task(self, lambda **q: self._ask("history", **q), used, last, start, end, method, members, hold, valid)
    files, card = calibrate(asked, progress)
    made = self.artifacts.add(NAME, files, card)
    if card["passed"] if promote is None else promote:
        self._ask("use_calibration", version=made.version, why=card["verdict"])
    return made


def calibrations(self: Asked) -> list[dict[str, Any]]:
    """Every calibration, the oldest first: `version`, whether it is `promoted` and `fits` the simulator, its `card`."""
    return list(self._ask("calibrations"))


def use_calibration(self: Asked, version: str = "", why: str = "") -> str:
    """Put a calibration to use (the beginning of its version is enough), or the one before (""). In a twin that has a
    belief its parameters are drawn again, and its states stay. Returns the version in use."""
    found: str = self._ask("use_calibration", version=version, why=why)
    return found
