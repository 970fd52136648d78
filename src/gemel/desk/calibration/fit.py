"""Calibrate: parameters with their uncertainty from a history, and what they are worth on its held-back end.

Letters in shapes: t rows, y outputs, m members, p parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from gemel.core.artifact import Artifact
from gemel.core.calibrated import POSTERIOR, REPORT, RESIDUAL, drawn, posterior
from gemel.core.codec import encode
from gemel.core.errors import Conflict, InputError, PartError, nearest
from gemel.core.setting import Setting
from gemel.core.units import duration
from gemel.core.values import Belief, Floats, Frame
from gemel.desk.calibration.card import Task, carded, due
from gemel.desk.calibration.hindcast import (
    DAY,
    MEMBERS,
    Candidate,
    Test,
    begun,
    foreseen,
    inputs,
    naive,
    score,
    thinned,
    wholes,
)
from gemel.desk.calibration.page import page
from gemel.desk.calibration.whitened import Whitened, taught, whitened
from gemel.estimators.amortised import Amortised
from gemel.estimators.diagnostics import whiteness
from gemel.estimators.esmda import esmda
from gemel.estimators.least_squares import least_squares
from gemel.loop.simulate import Assignable, Noisy, rollout

METHODS: dict[str, Callable[..., Belief]] = {"esmda": esmda, "least_squares": least_squares}
ROWS = 10_000
"""Rows of the grid, at most: of a longer time the cells are larger."""
ROUGH, SAME = 5, 0.02
"""Fits with few members, each of which says better what the simulator misses; until that is the same by this much."""
FEWEST = 60
"""Rows that a calibration needs."""

Progress = Callable[[int, int, str], None]


def task(
    twin: Any, history: Callable[..., Frame], used: Artifact | None, last: str, start: Any, end: Any, method: str,
    members: int, hold: str | float, valid: str,
) -> Task:  # fmt: skip
    """A task from what a person asks for; raises `InputError`, `Conflict` for a twin whose simulator does not do."""
    setting: Setting = twin.setting()
    simulator = setting.simulator
    if simulator is None:
        raise Conflict(f"twin '{twin.name}' has no simulator to calibrate", 'add simulator = { kind = "..." }')
    if not isinstance(simulator, Assignable):
        raise Conflict(f"simulator {type(simulator).__name__} cannot be calibrated", "its states cannot be overwritten")
    if method not in METHODS:
        raise InputError(f"method '{method}' is not one of {', '.join(METHODS)}{nearest(method, METHODS)}")
    if not 10 <= members <= 2000:
        raise InputError(f"members {members} must be from 10 to 2000")
    try:
        share = float(hold.rstrip("% ")) / 100 if isinstance(hold, str) else hold
    except ValueError:
        share = math.nan
    if not 0.05 <= share <= 0.5:
        raise InputError(f"hold '{hold}' must be from 5% to 50%", 'hold = "20%"')
    names = [n for n in dict.fromkeys((*simulator.inputs, *simulator.outputs)) if n in setting.signals]
    span = {"start": start, "end": end} if start else {"last": last, "end": end}
    every = setting.every * max(-(-duration(last) // (setting.every * ROWS)), 1) if not start else setting.every
    frame = history(signals=names, every=every / 1e9, **span)
    if len(frame) > ROWS:
        every *= -(-len(frame) // ROWS)
        frame = history(signals=names, every=every / 1e9, **span)
    frame = _heard(frame, simulator.outputs)
    noise = dict(getattr(twin.estimator.part, "noise", {})) if twin.estimator else {}
    noise = {n: sd for n, sd in noise.items() if n in frame.signals} or sensed(frame, simulator.outputs)
    return Task(setting, frame, noise, used, method, members, share, duration(valid))


def _heard(frame: Frame, outputs: Sequence[str]) -> Frame:
    """The frame from the first to the last row in which something was measured that the simulator describes."""
    columns = [i for i, n in enumerate(frame.signals) if n in outputs]
    heard = np.flatnonzero(np.isfinite(frame.values[:, columns]).any(axis=1))
    return frame.rows(int(heard[0]), int(heard[-1]) + 1) if len(heard) else frame


def sensed(frame: Frame, outputs: Sequence[str]) -> dict[str, float]:
    """The noise of each measured output, from how far a row lies from the middle of its neighbours."""
    found = {}
    for name in (n for n in outputs if n in frame.signals):
        values = frame.column(name)
        bend = np.diff(values, 2)
        bend = bend[np.isfinite(bend)]
        if len(bend):
            spread = 1.4826 * float(np.median(np.abs(bend))) / math.sqrt(6)
            found[name] = max(spread, 1e-3 * float(np.nanstd(values)), 1e-9)
    return found


def calibrate(task: Task, progress: Progress = lambda *_: None) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files and the card of a new calibration. Raises `InputError` where the history does not do."""
    simulator, test = task.setting.simulator, _test(task)
    total, done = ROUGH + 2 + len(test.starts) * (3 + hasattr(simulator, "learn")), [0]

    def step(text: str) -> None:
        progress(done[0], total, text)
        done[0] += 1

    step("looking at the uncalibrated simulator")
    plain = simulator.inner if hasattr(simulator, "learn") else simulator
    prior = _prior(plain, task, test)
    train = test.frame.rows(0, test.first)
    shares, noise = taught(_residuals(test, prior, test.first), test.noise)
    for rough in range(ROUGH):
        step("a first fit")
        fit = _fit(task, prior, train, shares, noise, MEMBERS)[0]
        before, (shares, noise) = shares, taught(_residuals(test, fit, test.first), test.noise)
        if all(abs(shares[n] - before[n]) < SAME for n in shares):
            done[0] += ROUGH - 1 - rough
            break
    step(f"{task.method}, {task.members} members")
    fit, found = _fit(task, prior, train, shares, noise, task.members)
    candidates = {"calibrated": fit, "uncalibrated": prior}
    files = {POSTERIOR: encode(found)}
    if hasattr(simulator, "learn"):
        learned = deepcopy(simulator)
        learned.learn(train, found)
        files[RESIDUAL] = learned.dump()
        candidates = {"calibrated": replace(fit, simulator=learned), "physics alone": fit, "uncalibrated": prior}
    if task.used:
        candidates["in use"] = _used(task)
    scores, z = _scored(test, candidates, task.setting.seed, lambda: step("held-back time"))
    kept = "calibrated"
    if task.used and due(task, scores):
        kept, found = "in use", posterior(task.used)
        files = {n: path.read_bytes() for n, path in task.used.files.items()}
        fit = Candidate(plain, prior.names, wholes(prior.names, found))
    card = carded(task, test, prior, found, scores, z[kept], {"shares": shares, "noise": noise}, kept == "in use")
    files[REPORT] = page(card, *_seen(task, test, fit, prior)).encode()
    progress(total, total, "done")
    return files, card


def _fit(
    task: Task, prior: Candidate, train: Frame, shares: Mapping[str, float], noise: Mapping[str, float], members: int
) -> tuple[Candidate, Belief]:
    """The posterior's parameters, and all of it at the end of the rows."""
    seen, simulator = whitened(train, shares), Whitened(prior.simulator, shares)
    more = {"start": trained(task, simulator)} if task.method == "esmda" else {}
    found = METHODS[task.method](simulator, seen, noise, members=members, seed=task.setting.seed, **more)
    return Candidate(prior.simulator, prior.names, wholes(prior.names, found)), found


def trained(task: Task, simulator: Any) -> Amortised | None:
    """A network that says where to look: the twin's own (`gemel lab amortise`), else a shipped one that suits."""
    own = task.setting.shelf.folder / "amortised" if task.setting.shelf else None
    try:
        return Amortised(simulator, own if own and (own / "amortised.json").exists() else "")
    except PartError:  # trained for another simulator, or for other priors
        return None


def _test(task: Task) -> Test:
    rows = len(task.frame)
    if rows < FEWEST:
        raise InputError(
            f"a calibration needs {FEWEST} rows of telemetry, there are {rows}",
            "let the twin run longer, or take more of its past: --last 90d",
        )
    if not task.noise:
        told = ", ".join(task.setting.simulator.outputs)
        raise InputError("nothing was measured that the simulator describes", f"its outputs: {told}; signals by name")
    first = rows - max(round(task.hold * rows), 2)
    step = int(task.frame.time[1] - task.frame.time[0])
    ahead = max(min(task.setting.horizon // step, (rows - first) // 2), 1)
    test = Test(task.setting, task.frame, task.noise, first, ahead)
    silent = [n for n in task.noise if not np.isfinite(test.measured(n)).any()]
    if len(silent) == len(task.noise):
        raise InputError(f"nothing usable was measured of {', '.join(silent)}", "choose another stretch of time")
    return replace(test, noise={n: sd for n, sd in task.noise.items() if n not in silent})


def _prior(simulator: Any, task: Task, test: Test) -> Candidate:
    """Draws of the parameters as they are believed when nothing was measured."""
    names = parameters(simulator, test)
    if not names:
        raise InputError(f"simulator {type(simulator).__name__} has no parameter that is uncertain", "give one a prior")
    states = simulator.extract(simulator.init(None, task.setting.seed, task.members))
    rows = [list(simulator.states).index(n) for n in names]
    return Candidate(simulator, names, np.array(states)[rows])


def parameters(simulator: Any, test: Test) -> tuple[str, ...]:
    """The states of a simulator that are parameters: as it says itself (`parameters`), else those that hardly move in a
    day without noise. Those without a spread in the prior are known, and left out."""
    memory = simulator.init(None, test.setting.seed, MEMBERS)
    before = np.array(simulator.extract(memory), np.float64)
    spread = before.std(axis=1)
    names = getattr(simulator, "parameters", None)
    if names is not None:
        still = np.array([n in names for n in simulator.states])
    else:
        memory = simulator.quiet(memory) if isinstance(simulator, Noisy) else memory
        u = inputs(simulator, test)
        for row in u[: max(DAY // test.step, 2)]:
            memory, _ = simulator.step(memory, np.repeat(row[:, None], MEMBERS, axis=1), test.step / 1e9)
        still = np.abs(np.array(simulator.extract(memory)) - before).max(axis=1) < spread / 4
    keep = still & (spread > 0)
    return tuple(n for n, kept in zip(simulator.states, keep, strict=True) if kept)


def _run(test: Test, candidate: Candidate, rows: int) -> Floats:
    """Outputs [t, y, m] of a run from the first row on that hears only the inputs."""
    simulator, members = candidate.simulator, thinned(candidate.members, test.setting.seed)
    time = int(test.frame.time[0]) - test.step
    belief = begun(replace(candidate, members=members), time, test.setting.seed)
    memory = simulator.init(belief, test.setting.seed)
    memory = simulator.quiet(memory) if isinstance(simulator, Noisy) else memory
    u = inputs(simulator, test)[:rows]
    outputs = rollout(simulator, memory, np.repeat(u[:, :, None], members.shape[1], axis=2), test.step / 1e9)
    silent = [n for n, known in zip(simulator.inputs, np.isfinite(u).T, strict=True) if not known.any()]
    if silent and not np.isfinite(outputs).any():
        hint = "measure it, or give it a prior where the simulator takes one"
        raise InputError(f"input '{silent[0]}' was never heard, and without it the simulator gives nothing", hint)
    return outputs


def _residuals(test: Test, candidate: Candidate, rows: int) -> dict[str, Floats]:
    """Measured less the mean of such a run, [t], of every measured output; the beginning, while the states find to
    where they belong, is left out."""
    outputs, skip = _run(test, candidate, rows).mean(axis=2), _settling(test)
    place = list(candidate.simulator.outputs).index
    return {n: test.measured(n)[skip:rows] - outputs[skip:, place(n)] for n in test.noise}


def _settling(test: Test) -> int:
    return min(DAY // test.step, test.first // 4)


def _used(task: Task) -> Candidate:
    """The calibration in use, as it is in use."""
    assert task.used
    simulator, belief = task.setting.simulator, drawn(task.used, MEMBERS, task.setting.seed)
    if RESIDUAL in task.used.files:
        simulator = deepcopy(simulator)
        simulator.load(task.used.files[RESIDUAL].read_bytes())
    return Candidate(simulator, belief.names, belief.members)


def _scored(
    test: Test, candidates: Mapping[str, Candidate], seed: int, step: Callable[[], None]
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, dict[str, Floats]]]:
    """Scores by output and by whom, and the innovations of each candidate."""
    z: dict[str, dict[str, Floats]] = {}
    scores: dict[str, dict[str, dict[str, float]]] = {n: {} for n in test.noise}
    for who, one in candidates.items():
        found, z[who] = foreseen(test, replace(one, members=thinned(one.members, seed)), step)
        for name, members in found.items():
            scores[name][who] = score(members, test.truth(name))
    for name in scores:
        scores[name] |= {who: score(members, test.truth(name)) for who, members in naive(test, name).items()}
    return scores, z


def _seen(task: Task, test: Test, fit: Candidate, prior: Candidate) -> tuple[Any, Any]:
    """What the page shows: curves of every output, and draws of every parameter."""
    outputs, skip = _run(test, fit, len(test.frame)), _settling(test)
    curves = []
    for name in test.noise:
        members, measured = outputs[skip:, list(fit.simulator.outputs).index(name)], test.measured(name)[skip:]
        residual = measured - members.mean(axis=1)
        size = float(np.sqrt(np.nanmean(residual**2))) if np.isfinite(residual).any() else 0.0
        spread = 1.645 * np.sqrt(members.var(axis=1) + size**2)
        clean = residual[np.isfinite(residual)]
        curves.append({
            "name": name, "unit": task.setting.signals.named(name).unit, "time": test.frame.time[skip:],
            "measured": measured, "mean": members.mean(axis=1), "spread": spread, "residual": residual,
            "first": test.first - skip, "white": whiteness(clean) if len(clean) > 20 else math.nan,
        })  # fmt: skip
    return curves, {n: (prior.members[i], fit.members[i]) for i, n in enumerate(fit.names)}
