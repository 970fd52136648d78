"""What the twin believed the signals to be: the simulator's outputs at a belief, now and in the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gemel.core.values import BAD, Belief, Floats, Signals, Times
from gemel.loop.simulate import Assignable


def estimate(simulator: Any, belief: Belief | None, latest: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Output -> (mean, standard deviation) over the members; empty for a simulator that cannot be observed."""
    if belief is None or not isinstance(simulator, Assignable):
        return {}
    outputs = _outputs(simulator, belief, [latest.get(name, np.nan) for name in simulator.inputs])
    spread = outputs.std(axis=1, ddof=1) if outputs.shape[1] > 1 else np.zeros(len(outputs))
    pairs = zip(outputs.mean(axis=1).tolist(), spread.tolist(), strict=True)
    return dict(zip(simulator.outputs, pairs, strict=True))


def estimates(simulator: Any, beliefs: Sequence[Belief], store: Any, signals: Signals) -> dict[str, list[Any]]:
    """The same at past beliefs, in columns: `time` [t], `signals` [y], `mean` and `spread` [y][t].

    The inputs are the newest values that had been measured at each belief's time; for a setpoint that nobody echoes,
    its safe value."""
    found: dict[str, list[Any]] = {"signals": [], "time": [], "mean": [], "spread": []}
    if not beliefs or not isinstance(simulator, Assignable):
        return found
    times = np.array([b.time for b in beliefs])
    known = [n for n in simulator.inputs if n in signals]
    latest = _held(store, known, times)
    safe = {s.name: s.safe for s in signals if s.safe is not None}
    rows = []
    for i, belief in enumerate(beliefs):
        now = {n: safe.get(n, np.nan) if np.isnan(latest[n][i]) else latest[n][i] for n in known}
        rows.append(estimate(simulator, belief, now))
    mean, spread = (np.array([[row[n][k] for row in rows] for n in simulator.outputs]) for k in (0, 1))
    return {
        "signals": list(simulator.outputs),
        "time": times.tolist(),
        "mean": mean.tolist(),
        "spread": spread.tolist(),
    }


def _outputs(simulator: Assignable, belief: Belief, inputs: Sequence[float]) -> Floats:
    held = np.array(inputs, np.float64)[:, None].repeat(belief.members.shape[1], 1)
    return simulator.observe(simulator.init(belief, 0), held)


def _held(store: Any, names: Sequence[str], times: Times) -> dict[str, Floats]:
    """The newest usable value of each signal at each time, [t]; a day before the first of them is looked through."""
    frame = store.window(names, int(times[0]) - 24 * 3600 * 10**9, int(times[-1]))
    found = {}
    for i, name in enumerate(names):
        good = np.flatnonzero(np.isfinite(frame.values[:, i]) & (frame.quality[:, i] != BAD))
        place = np.searchsorted(frame.time[good], times, side="right") - 1
        values = frame.values[good, i]
        found[name] = np.where(place >= 0, values[np.maximum(place, 0)] if len(good) else np.nan, np.nan)
    return found
