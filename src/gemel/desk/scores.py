"""Recorded forecasts beside what came true, every maker on the very same instants.

Letters in shapes: w windows (forecasts issued), h steps, q levels (the deciles), t rows of truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gemel.core.rollup import Indexed
from gemel.core.units import SECOND, duration
from gemel.core.values import DECILES, Floats, Forecast, Frame, Times
from gemel.desk.replay import thinned
from gemel.forecasters.score import coverage, crps, mase

SEASON = "1d"
BAND = 0.8
"""How much of the truth the band between the outer deciles should hold."""
CONTEXT = 60 * 86_400 * SECOND
"""How far before the first window the error of the seasonal naive is taken, for MASE."""


class Telling(Protocol):
    """What is needed of a desk."""

    twin: Any

    def newest(self) -> int:
        """The time of the newest point that was measured."""

    def history(self, signals: Any = ..., last: Any = ..., start: Any = ..., end: Any = ..., every: Any = ...) -> Frame:
        """Points of the store as a frame."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Forecasts of one signal that have come true."""

    issued: Times  # [w]
    values: Mapping[str, Floats]  # maker -> [w, h, q]; first the twin's own forecaster
    levels: tuple[float, ...]  # those of `quantiles`
    quantiles: Floats  # [w, h, *], of the first maker at every level that was kept
    truth: Floats  # [w, h]
    past: Floats  # [t], before the first window
    naive: Floats  # [w, h], the last value held
    seasonal: Floats  # [w, h], the value a season before
    step: int
    season: int


def windows(
    desk: Telling, signal: str, begin: int, end: int, most: int | None = None, since: int | None = None
) -> Windows | None:
    """Forecasts issued from `begin` on that ended by `end`; of many, `most` evenly chosen. None where nothing can be
    scored. Only those of the newest one's horizon and grid count: what the twin file says now. The past begins at
    `since`, else `CONTEXT` before the first window."""
    forecasts = _read(desk.twin.store, signal, begin, end, most)
    if not forecasts:
        return None
    newest = max(forecasts, key=lambda f: f.issued)
    length, span = grid = _grid(newest)
    by: dict[str, dict[int, Forecast]] = {}
    for one in (f for f in forecasts if _grid(f) == grid):
        by.setdefault(one.by, {})[one.issued] = one
    by = {name: held for name, held in by.items() if max(held) == newest.issued}
    common = sorted(set.intersection(*(set(held) for held in by.values())))
    step = span // (length - 1) if length > 1 else desk.twin.forecaster.step or duration(desk.twin.every)
    season = max(duration(SEASON) // step, 1)
    first = max(min(common, default=0) - CONTEXT, 0) if since is None else since
    whole = desk.history([signal], start=first, end=end, every=step / SECOND) if common else None
    if whole is None:
        return None
    past = whole.values[whole.time < begin, 0]
    times = np.stack([by[newest.by][t].time for t in common])  # [w, h]
    issued = np.array(common, np.int64)
    seasons = -(-(times - issued[:, None]) // (season * step)) * season * step
    first_by = next(iter(by.values()))
    truth = _at(whole, times)
    if not np.isfinite(truth).any() or not np.isfinite(past[season:] - past[:-season]).any():
        return None
    return Windows(
        issued,
        {name: _values(held, common, signal, DECILES) for name, held in by.items()},
        newest.levels,
        _values(first_by, common, signal, newest.levels),
        truth,
        past,
        np.broadcast_to(_at(whole, issued // step * step)[:, None], times.shape),
        _at(whole, times - seasons),
        step,
        season,
    )


def row(found: Windows, name: str) -> dict[str, Any]:
    """How good one maker was."""
    values = found.values[name]
    with np.errstate(divide="ignore", invalid="ignore"):  # a signal that never moves has no yardstick
        return {
            "forecaster": name,
            "windows": len(values),
            "mase": mase(found.truth, values[:, :, 4], found.past, found.season),
            "crps": crps(found.truth, values, DECILES),
            "coverage": coverage(found.truth, values[:, :, 0], values[:, :, -1]),
        }


def rows(found: Windows) -> list[dict[str, Any]]:
    """The same of all makers, the best first."""
    return sorted((row(found, name) for name in found.values), key=lambda r: float(r["crps"]))


def _read(store: Any, signal: str, begin: int, end: int, most: int | None) -> list[Forecast]:
    if most is None:
        held = store.read("forecast", begin, end)
    elif isinstance(store, Indexed):
        newest = store.pick("forecast", [t for t, _ in store.index("forecast", begin, end)[-1:]])
        reach = max((int(f.time[-1]) - f.issued for f in newest if len(f)), default=0)
        times = sorted({t for t, _ in store.index("forecast", begin, end - reach)})
        held = store.pick("forecast", thinned(times, most))
    else:
        held = [f for f in store.read("forecast", begin, end) if len(f) and f.time[-1] <= end]
        chosen = set(thinned(sorted({f.issued for f in held}), most))
        held = [f for f in held if f.issued in chosen]
    return [f for f in held if signal in f.signals and len(f) and f.time[-1] <= end]


def _grid(forecast: Forecast) -> tuple[int, int]:
    """How many steps, and the time from the first to the last."""
    return len(forecast), int(forecast.time[-1] - forecast.time[0])


def _values(held: Mapping[int, Forecast], issued: list[int], signal: str, levels: tuple[float, ...]) -> Floats:
    """[w, h, q]"""
    one = held[issued[0]]
    place = [one.levels.index(q) for q in levels]
    return np.stack([held[t].of(signal)[:, place] for t in issued]).astype(np.float64)


def _at(frame: Frame, times: Times) -> Floats:
    """Values of a one-signal frame at times of any shape; NaN where it has none."""
    place = np.minimum(np.searchsorted(frame.time, times), len(frame) - 1)
    return np.where(frame.time[place] == times, frame.values[place, 0], np.nan)
