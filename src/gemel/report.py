"""Report: how good the forecasts were, read from the store after the fact.

Each forecaster (the pool, its members, the physics) is scored on one signal over the last part of the run, on the very
same instants. MASE is scaled by the in-sample seasonal-naive error (Hyndman and Koehler 2006), CRPS is the mean over
the deciles of twice the pinball loss over the mean absolute value; coverage is that of the 10-90 % band.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from gemel.core.units import duration
from gemel.core.values import DECILES, Floats, Forecast, Frame
from gemel.forecasters.score import coverage, crps, mase

SEASON = "1d"


def report(twin: Any, signal: str | None = None, share: float = 0.2) -> dict[str, Any]:
    """Counts of a run, and the scores of every forecaster for `signal` over the last `share` of the history.

    Returns plain data: points, turns, decisions, findings, acks, and `forecasts`, a row a forecaster."""
    desk = twin.open()._desk
    status = desk.status()
    found = {
        "twin": twin.name,
        "points": status["points"]["points"],
        "revisions": status["points"]["revisions"],
        "turns": status["turns"],
        "decisions": dict(Counter(d.status for d in twin.store.read("decision"))),
        "findings": dict(Counter(f.name for f in twin.store.read("finding"))),
        "acks": status["acks"],
        "signal": signal,
        "forecasts": [],
    }
    if signal is None:
        names = twin.forecaster.report if twin.forecaster and twin.forecaster.report else ()
        signal = found["signal"] = names[0] if names else None
    if signal and twin.forecaster:
        found["forecasts"] = scores(twin, signal, share)
    return found


def scores(twin: Any, signal: str, share: float) -> list[dict[str, Any]]:
    """A row a forecaster: name, windows, mase, crps, coverage."""
    store = twin.store
    whole = store.window([signal], 0, int(store.latest([signal]).time[0]), every=None)
    if len(whole) < 3:
        return []
    first, last = int(whole.time[0]), int(whole.time[-1])
    begin = last - int((last - first) * share)
    forecasts = [f for f in store.read("forecast", begin, last) if signal in f.signals and len(f)]
    forecasts = [f for f in forecasts if f.time[-1] <= last]
    if not forecasts:
        return []
    length, span = grid = _grid(max(forecasts, key=lambda f: f.issued))  # of what the twin file says now
    step = span // (length - 1) if length > 1 else twin.forecaster.step or duration(twin.every)
    by: dict[str, dict[int, Forecast]] = {}
    for f in forecasts:
        if _grid(f) == grid:
            by.setdefault(f.by, {})[f.issued] = f
    common = sorted(set.intersection(*(set(held) for held in by.values())))
    truth = store.window([signal], first, last, every=step)
    season = duration(SEASON) // step
    past = truth.values[truth.time < begin, 0]
    if not common or len(past) <= season:
        return []
    rows = [_row(name, [held[t] for t in common], truth, signal, past, season) for name, held in by.items()]
    return sorted(rows, key=lambda row: row["crps"])


def _grid(forecast: Forecast) -> tuple[int, int]:
    """How many steps, and the time from the first to the last."""
    return len(forecast), int(forecast.time[-1] - forecast.time[0])


def _row(
    name: str, forecasts: Sequence[Forecast], truth: Frame, signal: str, past: Floats, season: int
) -> dict[str, Any]:
    level = [forecasts[0].levels.index(q) for q in DECILES]
    values = np.stack([f.of(signal)[:, level] for f in forecasts]).astype(np.float64)  # [w, h, q]
    place = np.searchsorted(truth.time, np.stack([f.time for f in forecasts]))
    actual: Floats = truth.values[np.minimum(place, len(truth) - 1), 0]  # [w, h]
    return {
        "forecaster": name,
        "windows": len(forecasts),
        "mase": mase(actual, values[:, :, 4], past, season),
        "crps": crps(actual, values, DECILES),
        "coverage": coverage(actual, values[:, :, 0], values[:, :, -1]),
    }
