"""Challenge: proposals of another structure, from a person, a search or a language model, judged by prediction alone.

Every proposal and the present simulator start from their priors and are taught by copies of the same estimator. On the
later part of the history each is run ahead again and again, from the same starts, with the inputs that came: the log
density of what was then measured decides. Nothing of it is written, and it runs where it is asked, not in a server.

Letters in shapes: w starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gemel.core.attempt import told
from gemel.core.errors import Conflict, InputError, nearest
from gemel.core.registry import build, kind_of
from gemel.core.setting import Bound, Setting, Stage
from gemel.core.units import SECOND, duration
from gemel.core.values import Floats, Frame, Signals
from gemel.estimators.score import drive, log_score
from gemel.loop.simulate import Assignable

PRESENT = "present"
HELD = 1 / 3
"""The part of the history that is held back for the scores, the later one."""
SURE = 0.95
"""How sure the lead of an admitted proposal is, over all proposals of one challenge."""
DRAWS = 2000
FEWEST = 6
"""Days of starts below which nothing can be sure."""
BLOCK = 86_400 * SECOND
"""Errors of one day resemble each other: the bootstrap draws days."""
Progress = Callable[[int, int, str], None]


class Asked(Protocol):
    """A twin."""

    signals: Signals
    simulator: Any
    estimator: Stage | None
    folder: Path

    def setting(self) -> Setting: ...

    def _ask(self, method: str, **named: Any) -> Any: ...


def challenged(
    self: Asked,
    simulator: Any = None,
    last: str = "30d",
    *,
    ahead: str = "6h",
    terms: Mapping[str, float] | None = None,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Is another structure better than the present one? `simulator` is a part, or `{"kind": ...}`, or a table of name
    -> either; `terms` are parameters of the present one and the values at which each drops out (`{"wind_loss": 0}`):
    for each, a proposal has it where the present one has not, or the other way round.

    Over the history of `last` all are taught, and on its last third run `ahead` from the same starts. `candidates`
    holds a row for each, the present one first: `score` (log score, nats a value), `rmse` (of the mean, by output),
    `gain` over the present one with `low` and `high`, the middle 90 % of a bootstrap over whole days, whether it is
    `admitted` (the gain is above 0 with 95 % confidence, for all proposals together), and its `trouble` if it cannot
    be run; and `specs` what they are, by name."""
    estimator, present, name = _present(self)
    proposals = _named(simulator) | _toggled(present, terms or {})
    if not proposals:
        raise InputError("there is nothing to judge", 'propose a simulator: { "kind": "ode", "equations": ... }')
    span = duration(ahead)
    made: dict[str, Any] = {PRESENT: present}
    trouble: dict[str, str] = {}
    for who, one in proposals.items():
        try:
            built = build("simulators", _beside(one, self.folder)) if isinstance(one, Mapping) else one
            if not isinstance(built, Assignable):
                raise InputError("its states cannot be read and overwritten, so it cannot be taught")
            made[who] = built
        except Exception as error:
            trouble[who] = told(who, error)
    test = _Test(self.setting(), _history(self, made.values(), estimator, last), (estimator, present), span)
    runs: dict[str, tuple[Floats, Floats]] = {}
    for i, (who, one) in enumerate(made.items()):
        progress(i, len(made), who)
        try:
            runs[who] = test.run(one)
        except Exception as error:
            trouble[who] = told(who, error)
    progress(len(made), len(made), "")
    for who in [who for who, (scores, _) in runs.items() if not np.isfinite(scores).any()]:
        trouble[who] = test.mute(made[who])
        del runs[who]
    if PRESENT in trouble:
        raise Conflict(f"the present simulator cannot be run over this time: {trouble[PRESENT]}", "choose another last")
    rows = test.judged(runs, len(proposals))
    rows += [{"name": who, "admitted": False, "trouble": text} for who, text in trouble.items()]
    return {
        "present": name,
        "ahead": span,
        "start": int(test.frame.time[0]),
        "held": int(test.frame.time[test.first]),
        "end": int(test.frame.time[-1]),
        "starts": len(test.starts),
        "candidates": rows,
        "specs": {who: _spec(one) for who, one in ({PRESENT: present} | proposals).items()},
    }


class _Test:
    """The telemetry, of which the rows from `first` on are held back, and the rows at which all begin to be run."""

    def __init__(self, setting: Setting, frame: Frame, present: tuple[Any, Any], span: int) -> None:
        self.setting, self.frame = setting, frame
        estimator, bound = present
        self._estimator = deepcopy(estimator, {id(bound): bound})
        self.noise: dict[str, float] = dict(estimator.noise)
        self._rows = max(span // setting.every, 1)
        self.first = round(len(frame) * (1.0 - HELD))
        self.starts = list(range(self.first, len(frame) - self._rows + 1, self._rows))
        self._block = max(math.ceil(BLOCK / (self._rows * setting.every)), 1)
        if len(self.starts) < FEWEST * self._block:
            raise InputError(
                f"{len(frame)} turns are too few to be sure of anything: {len(self.starts)} starts on the last third",
                "take a longer last, or a shorter ahead",
            )

    def run(self, simulator: Assignable) -> tuple[Floats, Floats]:
        """Log scores and errors of the mean of what was foreseen from each start, [w, rows, n outputs]."""
        setting = replace(self.setting, simulator=simulator)
        if isinstance(simulator, Bound):
            simulator.bind(setting)
        estimator = deepcopy(self._estimator)
        estimator.bind(setting)
        belief, at = None, 0
        scores, errors = [], []
        picked = [list(simulator.outputs).index(n) for n in self.noise]
        for start in self.starts:
            belief = estimator.update(belief, self.frame.rows(at, start))
            at, rows = start, self.frame.rows(start, start + self._rows)
            _, outputs = drive(simulator, belief, rows, setting.every, setting.seed)
            scores.append(log_score(simulator, outputs, rows, self.noise))
            errors.append(outputs[:, picked].mean(axis=2) - rows.usable(list(self.noise)))
        return np.array(scores), np.array(errors)

    def mute(self, simulator: Assignable) -> str:
        """Why a simulator may have foretold nothing: an input of which there is no usable value."""
        heard = np.isfinite(self.frame.usable(simulator.inputs)).T
        silent = [n for n, there in zip(simulator.inputs, heard, strict=True) if not there.any()]
        return f"input '{silent[0]}' was never heard" if silent else "it foretold no value of what was measured"

    def judged(self, runs: Mapping[str, tuple[Floats, Floats]], proposals: int) -> list[dict[str, Any]]:
        """A row for each, on the values that all of them have foreseen."""
        heard = np.all([np.isfinite(score) for score, _ in runs.values()], axis=0)  # [w, rows, n]
        there = heard.any(axis=(1, 2))
        if there.sum() < FEWEST * self._block:
            raise InputError("too little was measured on the last third", "choose another last")
        found = []
        mean = {who: _mean(score, heard)[there] for who, (score, _) in runs.items()}  # [w] each
        for who, (_, error) in runs.items():
            row: dict[str, Any] = {"name": who, "score": float(mean[who].mean()), "admitted": False, "trouble": ""}
            square = np.where(heard, error**2, 0.0).sum(axis=(0, 1)) / np.maximum(heard.sum(axis=(0, 1)), 1)
            row["rmse"] = dict(zip(self.noise, np.sqrt(square).tolist(), strict=True))
            if who != PRESENT:
                gain = mean[who] - mean[PRESENT]
                drawn = self._drawn(gain)
                low, high, sure = np.quantile(drawn, (0.05, 0.95, (1.0 - SURE) / proposals)).tolist()
                row |= {"gain": float(gain.mean()), "low": low, "high": high, "admitted": sure > 0.0}
            found.append(row)
        return found

    def _drawn(self, gain: Floats) -> Floats:
        """Means of the gain [w] drawn again in blocks of a day (circular: Politis and Romano 1992)."""
        rng = np.random.default_rng((self.setting.seed, len(gain)))
        blocks = math.ceil(len(gain) / self._block)
        starts = rng.integers(0, len(gain), (DRAWS, blocks, 1))
        index = (starts + np.arange(self._block)).reshape(DRAWS, -1)[:, : len(gain)] % len(gain)
        found: Floats = gain[index].mean(axis=1)
        return found


def _present(twin: Asked) -> tuple[Any, Any, str]:
    """The estimator, the present simulator and its name: where several compete, those of the champion."""
    if twin.simulator is None or twin.estimator is None:
        raise Conflict("the twin has no simulator to challenge, or no estimator to teach with", "add both to its file")
    estimator, present, name = twin.estimator.part, twin.simulator, ""
    if candidates := getattr(present, "candidates", None):
        newest = twin._ask("journal", kind="belief", last=1)
        ledger = present.ledger(present.filled(newest[0] if newest else None, 0))
        name = max(ledger, key=lambda n: ledger[n]["champion"])
        estimator, present = estimator.estimator, candidates[name]
    if not getattr(estimator, "noise", None):
        raise Conflict("the estimator has no noise, so nothing can be scored", 'write kind = "enkf"')
    return estimator, present, name


def _named(simulator: Any) -> dict[str, Any]:
    if simulator is None:
        return {}
    if isinstance(simulator, Mapping) and "kind" not in simulator:
        if PRESENT in simulator:
            raise InputError(f"a proposal cannot be named '{PRESENT}'", "that is the simulator that the twin has")
        return dict(simulator)
    return {"proposal": simulator}


def _spec(one: Any) -> dict[str, Any]:
    """A simulator as the twin file has it."""
    if isinstance(one, Mapping):
        return dict(one)
    return {"kind": kind_of("simulators", one), **one.spec} if hasattr(one, "spec") else {}


def _toggled(present: Any, terms: Mapping[str, float]) -> dict[str, Any]:
    """For each term of the present simulator, a proposal with or without it."""
    known, found = getattr(present, "parameters", ()), {}
    for name, nothing in terms.items():
        if name not in known:
            known = ", ".join(known) or "none whose priors can be set"
            raise InputError(f"the simulator has no parameter '{name}'{nearest(name, known)}", f"it has: {known}")
        spec = _spec(present)
        priors = dict(spec.get("priors") or {})
        held = priors.pop(name, None)
        without = held is not None and not isinstance(held, Mapping)
        if not without:
            priors[name] = float(nothing)
        spec = {**spec, "priors": priors} if priors else {k: v for k, v in spec.items() if k != "priors"}
        found[f"{'with' if without else 'without'}_{name}"] = spec
    return found


def _beside(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """With files that are there relative to the twin file's folder, as in the twin file."""
    found = {k: _beside(v, folder) if isinstance(v, Mapping) else v for k, v in spec.items()}
    for key in ("equations", "path"):
        if isinstance(text := found.get(key), str) and (folder / text.rpartition(":")[0]).is_file():
            found[key] = str(folder / text)
    return found


def _history(twin: Asked, simulators: Any, estimator: Any, last: str) -> Frame:
    asked = [*estimator.noise, *(n for one in simulators for n in (*one.inputs, *one.outputs))]
    names: Sequence[str] = [n for n in dict.fromkeys(asked) if n in twin.signals]
    frame: Frame = twin._ask("history", signals=names, last=last, every=twin.setting().every / SECOND)
    return frame


def _mean(score: Floats, heard: Any) -> Floats:
    """Of each start, [w]; NaN where nothing was heard."""
    count = heard.sum(axis=(1, 2))
    total = np.where(heard, score, 0.0).sum(axis=(1, 2))
    found: Floats = np.where(count > 0, total / np.maximum(count, 1), math.nan)
    return found
