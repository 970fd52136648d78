"""Report: how good the forecasts were, read from the store after the fact.

Each forecaster (the pool, its members, the physics) is scored on one signal over the last part of the run, on the very
same instants. MASE is scaled by the in-sample seasonal-naive error (Hyndman and Koehler 2006), CRPS is the mean over
the deciles of twice the pinball loss over the mean absolute value; coverage is that of the 10-90 % band.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from gemel.desk.scores import rows, windows


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
        "trouble": dict(Counter(e.text for e in twin.store.read("event") if e.kind == "trouble").most_common(3)),
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
    found = windows(twin.desk, signal, last - int((last - first) * share), last, since=first)
    return rows(found) if found else []
