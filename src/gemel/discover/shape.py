"""How the values of a series behave: their range, how many levels they take, how they move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gemel.core.calendar import infer
from gemel.core.units import SECOND, spell
from gemel.core.values import Floats, Times
from gemel.discover.series import Series

_LEVELS = 24  # more are no longer counted
_NEWEST = 20_000  # values that are looked at


@dataclass(frozen=True, slots=True)
class Shape:
    """What numbers say about a series; `texts` are words, most frequent first."""

    count: int  # numbers
    p01: float = float("nan")
    p50: float = float("nan")
    p99: float = float("nan")
    least: float = float("nan")
    most: float = float("nan")
    whole: bool = False  # only whole numbers
    levels: tuple[float, ...] = ()  # all values, where they are few
    moves: float = 0.0  # share of steps at which it changes
    rises: bool = False  # it never falls (but for a reset), and rises
    calendar: str = ""  # the part of the stamp it follows exactly
    every: int = 0  # ns between points, usually
    steady: float = 0.0  # share of gaps that are so long
    texts: tuple[str, ...] = ()
    told: float = 0.0  # share of texts among all that was said


def shape_of(series: Series) -> Shape:
    """The shape of a series, from its newest values."""
    time, value = series.time[-_NEWEST:], series.value[-_NEWEST:]
    good = np.isfinite(value)
    said = sum(series.texts.values())
    texts = tuple(sorted(series.texts, key=lambda text: (-series.texts[text], text)))
    told = said / max(said + int(np.isfinite(series.value).sum()), 1)
    every, steady = _spacing(time)
    held = value[good]
    if not len(held):
        return Shape(0, every=every, steady=steady, texts=texts, told=told)
    p01, p50, p99 = np.quantile(held, (0.01, 0.5, 0.99)).tolist()
    every_one = series.value[np.isfinite(series.value)]
    levels = np.unique(held)
    steps = np.diff(held)
    falls, climbs = int((steps < 0).sum()), int((steps > 0).sum())
    return Shape(
        len(held), p01, p50, p99, float(every_one.min()), float(every_one.max()),
        whole=bool((held == np.round(held)).all()),
        levels=tuple(levels.tolist()) if len(levels) <= _LEVELS else (),
        moves=float(np.mean(steps != 0)) if len(steps) else 0.0,
        rises=len(held) > 20 and climbs >= 10 and falls <= 0.002 * len(steps),
        calendar=_calendar(time[good], held),
        every=every, steady=steady, texts=texts, told=told,
    )  # fmt: skip


def _spacing(time: Times) -> tuple[int, float]:
    times = np.unique(time)
    steps = infer(times)
    if steps is None:
        return 0, 0.0
    gaps = np.diff(times)
    steady = float(np.mean(np.abs(gaps - steps.spacing) <= 0.1 * steps.spacing))
    exact = np.mean(gaps == steps.spacing) > 0.5
    return steps.spacing if exact or steps.months else round(float(f"{steps.spacing:.1g}")), steady


def _calendar(time: Times, value: Floats) -> str:
    """The part of the stamp (its hour, its weekday) that the values are a straight line of; "" mostly."""
    if len(value) < 24 or len(np.unique(value)) < 3 or (np.diff(value) < 0).sum() < 2:  # it must have come round
        return ""
    when = time.view("datetime64[ns]")
    day, month = when.astype("datetime64[D]"), when.astype("datetime64[M]")
    parts = {
        "time of day": (when - day).astype(np.int64) / SECOND,
        "hour": (when - day).astype(np.int64) // (3600 * SECOND),
        "weekday": (day.astype(np.int64) + 3) % 7,
        "day of the month": (day - month.astype("datetime64[D]")).astype(np.int64),
        "month": month.astype(np.int64) % 12,
    }
    for name, part in parts.items():
        for shown in (part, (part + 1) % 7) if name == "weekday" else (part,):
            x = shown - shown.mean()
            spread = float(x @ x)
            if not spread:
                continue
            y = value - value.mean()
            slope = float(x @ y) / spread
            if slope and np.abs(y - slope * x).max() < 1e-6 * np.ptp(value):
                return name
    return ""


def spelled(shape: Shape) -> str:
    """The usual spacing for a twin file; empty when nobody can say."""
    return spell(shape.every) if shape.every else ""
