"""How far the forecaster and the belief can be trusted: scores, calibration, parameters over time, drift.

Letters in shapes: w windows, h steps, q levels, k states and parameters, b beliefs, s signals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from gemel.core.calibrated import NAME
from gemel.core.rollup import Indexed
from gemel.core.units import duration
from gemel.core.values import DECILES, Belief, Floats
from gemel.desk.replay import thinned
from gemel.desk.rollup import extent
from gemel.desk.scores import BAND, SEASON, Telling, Windows, rows, windows
from gemel.forecasters.score import coverage

WINDOWS = 120
"""Forecasts that are scored, evenly chosen."""
BELIEFS = 300
"""Beliefs that are drawn, evenly chosen."""
PERIODS = 12
"""Points of the coverage over time, at most."""
NINETY = 1.645
"""Standard deviations on either side of the mean that hold 90 % of a normal sample."""
NEEDED = 8
"""Innovations that each of two times must have before they are compared."""
SURE, LARGE = 0.01, 0.5
"""An innovation drifts when its mean moved by so many standard deviations, with a p-value below that."""


def standing(desk: Telling, signal: str | None, stages: Any) -> dict[str, Any]:
    """How good the forecasts of one signal were, and how the belief has been. Bounded in time: of a long history,
    evenly chosen forecasts and beliefs are looked at."""
    twin, store = desk.twin, desk.twin.store
    latest = store.latest(twin.signals.names)
    newest = int(latest.time[0]) if len(latest) else 0
    recent = store.read("forecast", None, None, 16)
    names = list(dict.fromkeys(n for f in recent for n in f.signals if n in twin.signals))
    report = [n for n in (twin.forecaster.report if twin.forecaster else ()) if n in names]
    if signal is not None:
        twin.signals.place(signal)
    chosen = signal or next(iter([*report, *names]), None)
    found = _scored(desk, chosen, newest) if chosen else None
    beliefs = _beliefs(store)
    return {
        "signal": chosen,
        "signals": names,
        "forecaster": _forecaster(twin),
        **_forecasts(found, _weights(stages, found, chosen)),
        "posteriors": _posteriors(beliefs),
        **_innovations(beliefs),
    }


def _scored(desk: Telling, signal: str, newest: int) -> Windows | None:
    """All of the history but the first two seasons, which are the yardstick's."""
    (reach,) = extent(desk, [signal])
    begin = (reach["start"] or 0) + 2 * duration(SEASON)
    return windows(desk, signal, begin, newest, WINDOWS)


def _forecaster(twin: Any) -> dict[str, Any]:
    """Its name, the card of the network in it, and every version of what was fitted to this twin."""
    stage = twin.forecaster
    if stage is None:
        return {"name": "", "network": None, "head": "", "shelf": "", "versions": []}
    from gemel.forecasters.foundation.forecaster import within

    inner, card = within(stage.part), None
    if inner and (artifact := inner.graph().artifact):
        card = dict(artifact.card)
    shelf = twin.artifacts
    versions = [
        {"name": name, "version": version, "promoted": version == shelf.promoted(name), "card": dict(held.card)}
        for name in shelf.names()
        if name != NAME  # those are of the simulator
        for version in shelf.versions(name)
        for held in [shelf.version(name, version)]
    ]
    return {
        "name": type(stage.part).__name__.lower(),
        "network": card,
        "head": inner.head if inner else "",  # the shelf it takes its promoted head from
        "shelf": shelf.folder.name,
        "versions": versions,
    }


def _forecasts(found: Windows | None, weights: dict[str, float]) -> dict[str, Any]:
    """Leaderboard, coverage over time and calibration; empty where nothing has come true yet."""
    nothing: dict[str, Any] = {
        "windows": 0, "start": None, "end": None, "step": None, "steps": 0, "leaderboard": [],
        "coverage": {"nominal": BAND, "time": [], "value": [], "low": [], "high": [], "windows": []},
        "calibration": {"levels": [], "observed": [], "histogram": []},
    }  # fmt: skip
    if found is None:
        return nothing
    scored = [{**r, "baseline": False, "weight": weights.get(r["forecaster"])} for r in rows(found)]
    return {
        "windows": len(found.issued),
        "start": int(found.issued[0]),
        "end": int(found.issued[-1]),
        "step": found.step,
        "steps": found.truth.shape[1],
        "leaderboard": sorted([*scored, *_baselines(found)], key=lambda r: float(r["crps"])),
        "coverage": _coverage(found),
        "calibration": _calibration(found),
    }


def _baselines(found: Windows) -> list[dict[str, Any]]:
    """What costs nothing: the last value held, and the value a day before. They say no band."""
    table = {"last value": found.naive, "a day before": found.seasonal}
    there = {n: v for n, v in table.items() if (np.isfinite(v) & np.isfinite(found.truth)).any()}
    points = replace(found, values={n: np.repeat(v[..., None], len(DECILES), axis=2) for n, v in there.items()})
    return [{**r, "coverage": None, "baseline": True, "weight": None} for r in rows(points)]


def _coverage(found: Windows) -> dict[str, Any]:
    """How much of the truth the band held, period by period, and where nine of ten periods would lie were it right.

    Windows of a period that overlap resemble each other, so as many count as fit into it side by side."""
    values = next(iter(found.values.values()))
    heard = np.flatnonzero(np.isfinite(found.truth).any(axis=1))
    periods = np.array_split(heard, min(PERIODS, len(heard)))
    share = [coverage(found.truth[i], values[i, :, 0], values[i, :, -1]) for i in periods]
    inside = (found.truth >= values[:, :, 0]) & (found.truth <= values[:, :, -1])
    single = np.ma.masked_array(inside, ~np.isfinite(found.truth)).mean(axis=1).compressed()  # [w]
    spread = float(single.std(ddof=1)) if len(single) > 1 else math.sqrt(BAND * (1 - BAND))
    horizon = found.step * found.truth.shape[1]
    apart = np.array([min(1 + int(found.issued[i[-1]] - found.issued[i[0]]) // horizon, len(i)) for i in periods])
    chance = NINETY * spread / np.sqrt(apart)
    return {
        "nominal": BAND,
        "time": [int(found.issued[i[0]]) for i in periods],
        "value": share,
        "low": np.maximum(BAND - chance, 0.0).tolist(),
        "high": np.minimum(BAND + chance, 1.0).tolist(),
        "windows": [len(i) for i in periods],
    }


def _calibration(found: Windows) -> dict[str, Any]:
    """For each level the share of truths at or below its quantile; and the share between two neighbours (a histogram
    of where the truth fell, beginning below the lowest level), each over what it should be."""
    there = np.isfinite(found.truth)
    if not there.any():
        return {"levels": [], "observed": [], "histogram": []}
    below = (found.truth[..., None] <= found.quantiles)[there].mean(axis=0)
    share = np.diff(np.concatenate([[0.0], below, [1.0]]))
    due = np.diff(np.concatenate([[0.0], found.levels, [1.0]]))
    return {"levels": list(found.levels), "observed": below.tolist(), "histogram": (share / due).tolist()}


def _weights(stages: Any, found: Windows | None, signal: str | None) -> dict[str, float]:
    """How much each member of a pool counts now, mean over the steps; empty where the pool lives elsewhere."""
    part = stages.forecaster.part if stages and stages.forecaster else None
    while part is not None and not hasattr(part, "weights"):
        part = getattr(part, "forecaster", None)
    if part is None or found is None:
        return {}
    pool = copy(part)  # asking for weights may widen its table
    signals = tuple(pool.snapshot()["signals"])
    names = list(pool.last)
    if signal not in signals or len(names) != len(pool.members):
        return {}
    table: Floats = pool.weights(found.truth.shape[1])[:, signals.index(signal)].mean(axis=1)
    return dict(zip(names, table.tolist(), strict=True))


def _beliefs(store: Any) -> list[Belief]:
    if isinstance(store, Indexed):
        return list(store.pick("belief", thinned(sorted({t for t, _ in store.index("belief")}), BELIEFS)))
    return list(store.read("belief", None, None, BELIEFS))


def _posteriors(beliefs: Sequence[Belief]) -> dict[str, Any]:
    """Mean and standard deviation of every state and parameter, [k][b]; those of an older form are left out."""
    held = [b for b in beliefs if b.names == beliefs[-1].names] if beliefs else []
    members = [b.members for b in held]
    return {
        "time": [b.time for b in held],
        "names": list(held[-1].names) if held else [],
        "mean": np.array([m.mean(axis=1) for m in members]).T.tolist(),
        "spread": np.array([m.std(axis=1, ddof=min(m.shape[1] - 1, 1)) for m in members]).T.tolist(),
    }


def _innovations(beliefs: Sequence[Belief]) -> dict[str, Any]:
    """What each update learned, over what it should have been (standard normal when the simulator is right), [s][b];
    and per signal whether that has lately moved: the last quarter against what was before."""
    held = [b for b in beliefs if b.innovation]
    names = list(dict.fromkeys(n for b in held for n in b.innovation))
    scores = np.full((len(names), len(held)), np.nan)
    for j, belief in enumerate(held):
        for name, (error, spread) in belief.innovation.items():
            scores[names.index(name), j] = error / spread if spread > 0 else np.nan
    drift = []
    for name, column in zip(names, scores, strict=True):
        cut = len(column) - len(column) // 4
        before, lately = (part[np.isfinite(part)] for part in (column[:cut], column[cut:]))
        p, shift = _moved(before, lately)
        sure = p is not None and p < SURE / len(names) and abs(shift) > LARGE
        drift.append({"signal": name, "before": _mean(before), "lately": _mean(lately), "p": p, "drifting": sure})
    return {"innovations": {"time": [b.time for b in held], "signals": names, "z": scores.tolist()}, "drift": drift}


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def _moved(before: Floats, lately: Floats) -> tuple[float | None, float]:
    """The p-value of no change of the mean (two-sided, normal), and by how many standard deviations it moved.

    Neighbours resemble each other, so a sample of n counts as n (1 - r) / (1 + r), r its correlation with the one
    before (Bartlett 1946, the first-order case)."""
    if min(len(before), len(lately)) < NEEDED:
        return None, 0.0

    def weighed(values: Floats) -> float:
        centred = values - values.mean()
        r = float(np.clip((centred[1:] @ centred[:-1]) / max(float(centred @ centred), 1e-300), 0.0, 0.99))
        return float(values.var(ddof=1)) / max(len(values) * (1 - r) / (1 + r), 1.0)

    difference = float(lately.mean() - before.mean())
    error = math.sqrt(weighed(before) + weighed(lately))
    spread = max(float(before.std(ddof=1)), 1e-12)
    return (math.erfc(abs(difference) / error / math.sqrt(2)) if error else 1.0), difference / spread
