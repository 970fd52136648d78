"""Any past instant again: what was known, believed, foreseen, found and decided then, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from gemel.core.errors import InputError
from gemel.core.rollup import Indexed
from gemel.core.units import duration, instant, spell, stamp
from gemel.core.values import BAD, Ack, Belief, Decision, Finding, Forecast, Frame
from gemel.desk.history import Reading

R = TypeVar("R")
MAKERS = 32
"""Forecasts that are looked through for the newest of each maker."""
MOMENTS = 20_000
"""Moments of a kind that are given out; of more than that, evenly chosen ones."""
ROWS = 2_000
"""Rows of what happened next, at most."""


def at(desk: Reading, time: str | int) -> dict[str, Any]:
    """Everything as it was known at `time`: `latest` (frames of one row), `belief`, `forecasts` in force, `findings`
    open, `decision` and its `commands` with their acks, `after` (measured from then to the end of the forecasts), and
    in `unknown` what cannot be said of that instant, a sentence each."""
    now, store = instant(time), desk.twin.store
    newest = desk.newest()
    belief: Belief | None = next(iter(store.read("belief", None, now, 1)), None)
    forecasts = in_force(store, now)
    decision: Decision | None = next(iter(store.read("decision", None, now, 1)), None)
    findings = [f for f in store.read("finding", None, now) if f.open]
    return {
        "time": now,
        "newest": newest,
        "latest": _latest(desk, now),
        "belief": belief,
        "forecasts": forecasts,
        "findings": findings,
        "decision": decision,
        "commands": _commands(store, decision),
        "after": _after(desk, forecasts, now, newest),
        "unknown": _unknown(now, newest, belief, forecasts, decision),
    }


def moments(desk: Reading, start: str | int | None = None, end: str | int | None = None) -> dict[str, Any]:
    """When something happened between two times: `decisions` and `forecasts` (columns time, id), and `findings`
    (columns time, id, name, subject, open): when it was first told, and when it closed."""
    begin, stop = (None if t is None else instant(t) for t in (start, end))
    if begin is not None and stop is not None and begin > stop:
        raise InputError("start lies after end", "moments go from start to end")
    store = desk.twin.store
    found: dict[str, Any] = {}
    for kind in ("decision", "forecast"):
        rows = thinned(indexed(store, kind, begin, stop), MOMENTS)
        found[f"{kind}s"] = {"time": [t for t, _ in rows], "id": [id for _, id in rows]}
    told = {id: t for t, id in reversed(store.index("finding"))} if isinstance(store, Indexed) else {}
    opened: list[tuple[int, Finding, bool]] = []
    for finding in store.read("finding", begin, None):  # one that closes later may have opened in between
        opened += [(told.get(finding.id, finding.start), finding, True)] + (
            [] if finding.open else [(finding.time, finding, False)]
        )
    inside = [r for r in opened if (begin is None or r[0] >= begin) and (stop is None or r[0] <= stop)]
    inside = thinned(sorted(inside, key=lambda row: row[0]), MOMENTS)
    found["findings"] = {
        "time": [t for t, _, _ in inside],
        "id": [f.id for _, f, _ in inside],
        "name": [f.name for _, f, _ in inside],
        "subject": [f.subject for _, f, _ in inside],
        "open": [is_open for _, _, is_open in inside],
    }
    return found


def indexed(store: Any, kind: str, start: int | None = None, end: int | None = None) -> list[tuple[int, str]]:
    """(time, id) of every entry of a kind, oldest first; read one by one where the store has no index."""
    if isinstance(store, Indexed):
        return store.index(kind, start, end)
    held = store.read(kind, start, end)
    return [(v.issued if isinstance(v, Forecast) else v.time, getattr(v, "id", "")) for v in held]


def thinned(rows: Sequence[R], most: int) -> list[R]:
    """Up to `most` of them, evenly, the last one always."""
    if len(rows) <= most:
        return list(rows)
    return [rows[(i + 1) * len(rows) // most - 1] for i in range(most)]


def in_force(store: Any, now: int) -> list[Forecast]:
    """The newest forecast of each maker that reaches beyond `now`, the oldest issue first."""
    held: dict[str, Forecast] = {}
    for one in store.read("forecast", None, now, MAKERS):
        if len(one) and one.time[-1] > now:
            held.pop(one.by, None)
            held[one.by] = one
    return list(held.values())


def _latest(desk: Reading, now: int) -> list[Frame]:
    """The newest usable value of each signal, a frame of one row each. One read of the last turns finds most."""
    twin, store = desk.twin, desk.twin.store
    names = twin.signals.names
    recent: Frame = store.window(names, now - 2 * duration(twin.every), now)
    usable = np.isfinite(recent.values) & (recent.quality != BAD)
    found = []
    for i, name in enumerate(names):
        rows = np.flatnonzero(usable[:, i])
        if len(rows):
            found.append(recent.only([name]).rows(int(rows[-1]), int(rows[-1]) + 1))
        else:
            found.append(store.latest([name], now))
    return found


def _commands(store: Any, decision: Decision | None) -> list[tuple[Any, Ack | None]]:
    """The commands of a decision that was sent, each with what came of it."""
    if decision is None or decision.status not in ("sent", "approved") or not decision.commands:
        return []
    until = max(c.expires for c in decision.commands) + duration("1d")
    acks = {ack.command: ack for ack in store.read("ack", decision.time, until)}
    return [(c, acks.get(c.id)) for c in decision.commands]


def _after(desk: Reading, forecasts: Sequence[Forecast], now: int, newest: int) -> Frame | None:
    """What was measured of the foreseen signals, on the grid of the first forecast."""
    known = desk.twin.signals
    names = list(dict.fromkeys(n for f in forecasts for n in f.signals if n in known))
    if not names or newest <= now:
        return None
    first = forecasts[0]
    step = int(first.time[1] - first.time[0]) if len(first) > 1 else max(int(first.time[0]) - first.issued, 1)
    end = min(max(int(f.time[-1]) for f in forecasts), newest, now + ROWS * step)
    frame: Frame = desk.twin.store.window(names, now + 1, end, every=step)
    return frame if len(frame) else None


def _unknown(
    now: int,
    newest: int,
    belief: Belief | None,
    forecasts: Sequence[Forecast],
    decision: Decision | None,
) -> list[str]:
    said = ["Values are those measured up to then; one that arrived late counts as known."]
    if belief is None:
        said.append("No belief was recorded before then.")
    elif belief.time < now:
        said.append(f"The belief is of {spell(now - belief.time)} before: turns that only estimate are not recorded.")
    if not forecasts:
        said.append("No forecast was in force.")
    if decision is None:
        said.append("No decision was recorded before then.")
    elif decision.status in ("sent", "approved", "rejected", "expired"):
        said.append(f"The decision was {decision.status} in the end; when, only its acks say.")
    ends = [int(f.time[-1]) for f in forecasts]
    if now >= newest:
        said.append("Nothing was measured after it yet.")
    elif ends and max(ends) > newest:
        said.append(f"What happened is known up to {stamp(newest)} UTC.")
    return said
