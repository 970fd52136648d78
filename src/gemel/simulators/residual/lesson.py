"""What there is to learn for a simulator's correction: runs from many starts beside what was then measured.

Legend: k states, u inputs, c corrected outputs, w runs, h times ahead, f features, m members.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gemel.core.errors import InputError
from gemel.core.values import Belief, Bools, Floats, Frame, Times
from gemel.simulators.residual.correction import Correction, fit

LEADS = 16
"""Times ahead that are compared, spread over the horizon."""
DAY, WEEK = 86_400 * 10**9, 7 * 86_400 * 10**9
STEPS = 288
"""Of a run, about, where the telemetry is denser than that needs."""
_ALIVE = 0.3  # a state says something where it varies from start to start by this much of its own uncertainty


@dataclass(frozen=True, slots=True)
class Ahead:
    """How far runs go: `steps` of `dt` seconds, compared at `places` [h] (0 is the first step)."""

    steps: int
    dt: float
    places: Times

    @staticmethod
    def of(frame: Frame, horizon: float) -> Ahead:
        gaps = np.diff(frame.time)
        if not len(gaps) or (gaps != gaps[0]).any() or gaps[0] <= 0:
            raise InputError("residual: learning needs telemetry on a regular grid", "ask for it with every = ...")
        dt = float(gaps[0]) / 1e9
        steps = max(round(horizon / dt), 1)
        return Ahead(steps, dt, np.unique(np.linspace(0, steps - 1, LEADS + 1)[1:].round().astype(np.int64)))

    @property
    def lead(self) -> Floats:
        """Seconds [h]."""
        return np.asarray((self.places + 1) * self.dt, np.float64)

    def day_before(self, values: Floats, row: int) -> Floats:
        """For the steps after `row`: the values [t, u] at that hour of the last whole day up to it."""
        day = max(round(DAY / 1e9 / self.dt), 1)
        steps = np.arange(1, self.steps + 1)
        rows = row + steps - day * -(-steps // day)
        return np.where(rows[:, None] >= 0, values[np.maximum(rows, 0)], math.nan)


@dataclass(frozen=True, slots=True)
class Lesson:
    """Of one output. `missed` is measured less simulated, `moved` measured less the last value before the start."""

    features: Floats  # [w, h, f]
    used: Bools  # [f]
    missed: Floats  # [w, h]
    variance: Floats  # [h] of the ensemble
    plain: Floats  # [w, h, g] features without the simulator
    moved: Floats  # [w, h]
    apart: int  # runs so near each other overlap


class Lessons:
    """Gathers the runs; `inputs` and `states` are how many the simulator has."""

    def __init__(self, frame: Frame, truth: Mapping[str, Floats], ahead: Ahead, inputs: int, states: int) -> None:
        self._truth, self._ahead, self._states = truth, ahead, states
        self._rows: list[int] = []
        self._features: list[Floats] = []
        self._first: list[tuple[Floats, Floats]] = []
        self._made: list[tuple[Floats, Floats]] = []
        w = inputs + len(truth)
        begin = states + len(truth)
        averages = 2
        self._plain = [*range(begin, begin + inputs), *range(begin + w, begin + w + inputs * averages), *range(-6, 0)]

    def add(self, row: int, belief: Belief, features: Floats, outputs: Floats) -> None:
        """A run from `row` on: features [t, f, m] and corrected outputs [t, c, m]."""
        at = self._ahead.places
        self._rows.append(row)
        self._features.append(features[at].mean(axis=2))
        self._first.append((belief.members.mean(axis=1), belief.members.std(axis=1)))
        self._made.append((outputs[at].mean(axis=2), outputs[at].var(axis=2)))

    def done(self) -> dict[str, Lesson]:
        features, rows = np.stack(self._features), np.array(self._rows)
        mean, sd = (np.stack(part) for part in zip(*self._first, strict=True))
        used = np.ones(features.shape[2], np.bool_)
        used[: self._states] = _telling(mean, sd)
        apart = math.ceil(self._ahead.steps / max(int(np.median(np.diff(rows))), 1))
        made, variance = (np.stack(part) for part in zip(*self._made, strict=True))  # [w, h, c]
        found = {}
        for i, (name, values) in enumerate(self._truth.items()):
            then = values[rows[:, None] + 1 + self._ahead.places]
            history = recent(values, rows, self._ahead.dt)
            start = np.repeat(history[:, None], then.shape[1], axis=1)
            plain = np.concatenate([features[:, :, self._plain], start], axis=2)
            missed, moved = then - made[:, :, i], then - history[:, :1]
            found[name] = Lesson(features, used, missed, variance[:, :, i].mean(axis=0), plain, moved, apart)
        return found


def thinned(frame: Frame, horizon: float) -> Frame:
    """Every n-th row, so that a run over `horizon` seconds has about `STEPS` of them or fewer."""
    gap = float(frame.time[1] - frame.time[0]) / 1e9 if len(frame) > 1 else horizon
    n = max(int(horizon / gap / STEPS), 1) if gap > 0 else 1
    return Frame(frame.time[::n], frame.values[::n], frame.quality[::n], frame.signals)


def _telling(mean: Floats, sd: Floats) -> Bools:
    """Which states [k] say how a start differs from others, from their means and deviations [w, k]: not those that the
    telemetry leaves where they were, and not those that wander off and say when rather than how."""
    half = len(mean) // 2
    within = np.maximum(mean[:half].std(axis=0), mean[half:].std(axis=0))
    wandered = abs(mean[half:].mean(axis=0) - mean[:half].mean(axis=0)) > 1.5 * within
    return np.asarray((mean.std(axis=0) > _ALIVE * sd.mean(axis=0)) & ~wandered)


def recent(values: Floats, rows: Times, dt: float) -> Floats:
    """The last measured value up to each of `rows`, and how far it is from the means of 1 h and 6 h, [w, 3]."""
    out = np.full((len(rows), 3), math.nan)
    for i, row in enumerate(rows.tolist()):
        for j, seconds in enumerate((3600.0, 6 * 3600.0), start=1):
            past = values[max(row + 1 - max(round(seconds / dt), 1), 0) : row + 1]
            past = past[np.isfinite(past)]
            if len(past):
                out[i, 0], out[i, j] = past[-1], past[-1] - past.mean()
    return out


def clock_of(times: Times) -> Floats:
    """Two harmonics of the day and one of the week, [t, 6]."""
    day, week = 2 * math.pi * (times % DAY) / DAY, 2 * math.pi * (times % WEEK) / WEEK
    turns = (day, 2 * day, week)
    return np.stack([wave(turn) for turn in turns for wave in (np.cos, np.sin)], axis=1)


def judged(lesson: Lesson, lead: Floats) -> tuple[Correction, dict[str, float]]:
    """The correction, and how it did on the last fifth of the runs when fitted to those before."""
    late = slice(len(lesson.missed) * 4 // 5, None)
    early = slice(0, max(late.start - lesson.apart, late.start // 2))

    def left(features: Floats, target: Floats, used: Bools) -> Floats:
        one = fit(features[early], target[early], np.zeros(len(lead)), lead, used, lesson.apart)
        return target[late] - one.add(features[late].transpose(1, 2, 0), lead)[0].T

    def size(error: Floats) -> float:
        return float(np.sqrt(np.nanmean(error**2)))

    everything = np.ones(lesson.plain.shape[2], np.bool_)
    scores = {
        "physics": size(lesson.missed[late]),
        "correction": size(left(lesson.plain, lesson.moved, everything)),
        "both": size(left(lesson.features, lesson.missed, lesson.used)),
    }
    made = fit(lesson.features, lesson.missed, lesson.variance, lead, lesson.used, lesson.apart)
    if scores["both"] >= scores["physics"]:
        made = replace(made, weights=0.0 * made.weights, missed=made.missed[[0, 0]], penalty=math.inf)
    return made, scores
