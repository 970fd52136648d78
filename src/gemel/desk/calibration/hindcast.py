"""How well simulators foresee what was measured, from the same starts and beside forecasts that cost nothing.

A filter that may move the states but not the parameters brings every candidate to each start with what had been
measured by then; from there it runs open-loop over the horizon, under the inputs that came.

Letters in shapes: t rows, w starts, h steps ahead, u inputs, y outputs, m members, k states and parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gemel.core.grid import held
from gemel.core.setting import Setting
from gemel.core.values import Belief, Floats, Frame, Ints
from gemel.estimators import analysis
from gemel.estimators.cycle import Cycle, Row, Taught, gated
from gemel.estimators.diagnostics import innovations
from gemel.loop.simulate import Assignable, rollout

STARTS = 24
"""Starts on the held-back time, at most."""
MEMBERS = 64
"""Members that are run ahead."""
GATE = 5.0
"""A measurement further off than so many predicted standard deviations weighs less, as for the estimator."""
DAY = 86_400 * 10**9
SHARES = (np.arange(MEMBERS) + 0.5) / MEMBERS
"""Where the quantiles lie that stand for the members of a naive forecast."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A simulator with draws of its parameters: `names`, `members` [p, m]."""

    simulator: Assignable
    names: tuple[str, ...]
    members: Floats


@dataclass(frozen=True, slots=True)
class Test:
    """Telemetry on a grid of which the rows from `first` on were held back, and what is asked of it."""

    setting: Setting
    frame: Frame
    noise: Mapping[str, float]
    first: int
    ahead: int  # rows

    @property
    def starts(self) -> list[int]:
        """Rows at which candidates start, evenly chosen; what they foresee lies wholly in what was held back."""
        last = len(self.frame) - 1 - self.ahead
        return sorted({int(i) for i in np.linspace(self.first - 1, last, min(STARTS, last - self.first + 2))})

    @property
    def step(self) -> int:
        return int(self.frame.time[1] - self.frame.time[0])

    def measured(self, name: str) -> Floats:
        """The usable values of a signal, [t], else NaN."""
        return self.frame.usable([name])[:, 0]

    def truth(self, name: str) -> Floats:
        """What came after each start, [w, h]."""
        return self.measured(name)[np.array(self.starts)[:, None] + np.arange(1, self.ahead + 1)]


def inputs(simulator: Any, test: Test) -> Floats:
    """Inputs [t, u]; a gap holds the value before, one that was never heard is NaN."""
    return held(test.frame.usable(simulator.inputs))


def begun(candidate: Candidate, time: int, seed: int) -> Belief:
    """A belief at `time` with the candidate's parameters, and states that nothing was heard of."""
    simulator = candidate.simulator
    memory = simulator.init(Belief(candidate.names, candidate.members, time), seed)
    return Belief(tuple(simulator.states), simulator.extract(memory), time)


def foreseen(
    test: Test, candidate: Candidate, step: Callable[[], None] = lambda: None
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Members of every measured output after each start, [w, h, m], with the noise of its sensor; and the innovations
    of the filter on the way there, over the spread they should have, [t]."""
    simulator, seed = candidate.simulator, test.setting.seed
    cycle = Cycle("calibrate", replace(test.setting, simulator=simulator, every=test.step), test.noise, MEMBERS)
    frozen, z = _frozen(candidate, {})
    warm = max(test.first - max(test.ahead, DAY // test.step), 0)
    belief, at = begun(candidate, int(test.frame.time[warm]), seed), warm
    names = [n for n in test.noise if n in test.frame.signals]
    rows = [list(simulator.outputs).index(n) for n in names]
    u, dt, rng = inputs(simulator, test), test.step / 1e9, np.random.default_rng((seed, 3))
    found: dict[str, list[Floats]] = {n: [] for n in names}
    for start in test.starts:
        belief = cycle.update(belief, test.frame.rows(at, start + 1), frozen)
        at = start + 1
        ahead = np.repeat(u[at : at + test.ahead, :, None], belief.members.shape[1], axis=2)
        outputs = rollout(simulator, simulator.init(belief, seed), ahead, dt)
        for name, row in zip(names, rows, strict=True):
            noise = test.noise[name] * rng.standard_normal(outputs[:, row].shape)
            found[name].append(outputs[:, row] + noise)
        step()
    return {n: np.stack(runs) for n, runs in found.items()}, {n: np.array(values) for n, values in z.items()}


def _frozen(candidate: Candidate, z: dict[str, list[float]]) -> tuple[Any, dict[str, list[float]]]:
    """An analysis that teaches everything but the parameters, and the innovations it has seen.

    The deterministic filter of Sakov and Oke (2008) leaves the members in their places, so that the states stay with
    the parameters they belong to."""
    states = list(candidate.simulator.states)
    fixed = [states.index(n) for n in candidate.names]

    def analyse(joint: Floats, row: Row) -> tuple[Floats, Taught]:
        observed, value = joint[-len(row.measured) :], np.array([one.value for one in row.measured])
        mean, spread = observed.mean(axis=1), observed.std(axis=1, ddof=1)
        taught, sd = {}, []
        for i, one in enumerate(row.measured):
            due = math.hypot(float(spread[i]), one.sd)
            taught[one.name] = (float(value[i] - mean[i]), due)
            z.setdefault(one.name, []).append(taught[one.name][0] / due)
            sd.append(math.sqrt(gated(taught[one.name][0], due, one.sd, row.last.get(one.name), GATE)))
        kept = joint[fixed].copy()
        joint = analysis.denkf(joint, observed.copy(), value, np.array(sd))
        joint[fixed] = kept
        return joint, taught

    return analyse, z


def naive(test: Test, name: str) -> dict[str, Floats]:
    """Forecasts that cost nothing, [w, h, m]: the last value, and the values a day before, each as uncertain as it has
    been so far ahead before the held-back time."""
    values, starts = test.measured(name), np.array(test.starts)
    steps = np.arange(1, test.ahead + 1)
    past, filled = held(values[: test.first]), held(values)
    found = {"last value": filled[starts][:, None] + np.zeros(test.ahead)}
    lags = {"last value": steps}
    season = round(DAY / test.step)
    if season > 1 and test.first > 2 * season:
        back = -(-steps // season) * season  # whole days back, to what was known at the start
        found["a day before"], lags["a day before"] = filled[starts[:, None] + steps - back], back
    made = {}
    for who, point in found.items():
        spread = np.stack([_errors(past, int(lag)) for lag in lags[who]])  # [h, m]
        made[who] = point[:, :, None] + spread
    return made


def _errors(values: Floats, lag: int) -> Floats:
    """Quantiles of how far a value is from the one `lag` rows before, [m]."""
    error = values[lag:] - values[:-lag] if lag < len(values) else np.zeros(1)
    error = error[:: max(len(error) // 2000, 1)]
    error = error[np.isfinite(error)]
    return np.quantile(error, SHARES) if len(error) else np.zeros(MEMBERS)


def score(members: Floats, truth: Floats) -> dict[str, float]:
    """RMSE and MAE of the mean, CRPS of the members and how much of the truth their 90 % interval held; truth [w, h]
    with NaN where nothing was measured."""
    there = np.isfinite(truth)
    x, y = np.sort(members[there], axis=1), truth[there]  # [n, m], [n]
    if not len(y):
        return dict.fromkeys(("rmse", "mae", "crps", "coverage"), math.nan)
    m = x.shape[1]
    weight = 2.0 * np.arange(1, m + 1) - m - 1.0
    # mean |x - y| less half the mean distance of two members (Gneiting and Raftery 2007)
    crps = np.abs(x - y[:, None]).mean(axis=1) - (x @ weight) / (m * m)
    low, high = np.quantile(x, (0.05, 0.95), axis=1)
    error = x.mean(axis=1) - y
    return {
        "rmse": float(np.sqrt(np.mean(error * error))),
        "mae": float(np.abs(error).mean()),
        "crps": float(crps.mean()),
        "coverage": float(((y >= low) & (y <= high)).mean()),
    }


def ratio(scores: Mapping[str, Mapping[str, Mapping[str, float]]], one: str, other: str) -> float:
    """The CRPS of `one` over that of `other`, geometric mean over the outputs; `scores` by output and by whom."""
    both = [(s[one]["crps"], s[other]["crps"]) for s in scores.values() if one in s and other in s]
    logs = [math.log(max(a, 1e-12) / max(b, 1e-12)) for a, b in both if math.isfinite(a) and math.isfinite(b)]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def judged(z: Mapping[str, Floats]) -> dict[str, dict[str, float]]:
    """What the innovations of a filter on the held-back time say, by output."""
    found = {n: innovations(values) for n, values in z.items()}
    return {n: {"bias": one.bias, "ratio": one.ratio} for n, one in found.items() if math.isfinite(one.bias)}


def thinned(members: Floats, seed: int, most: int = MEMBERS) -> Floats:
    """At most so many members, chosen at random."""
    if members.shape[1] <= most:
        return members
    index: Ints = np.random.default_rng(seed).permutation(members.shape[1])[:most].astype(np.int32)
    return members[:, index]


def wholes(names: Sequence[str], belief: Belief) -> Floats:
    """The rows of these names, [p, m]."""
    return np.array([belief.row(n) for n in names]).reshape(len(names), -1)
