"""Verbs that look: what twins there are, how one is, what was measured, why something is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from gemel.core.errors import GemelError, NotFound
from gemel.core.units import duration, instant, spell
from gemel.core.values import QUALITIES, Finding, Forecast, Signal
from gemel.serve.verbs.plain import ROWS, cited, clean, fan, found, rounded, route, when
from gemel.serve.verbs.verb import Arguments, Asked, OfTwin, One

SHOWN = 60
"""Signals that one answer describes."""
FEW = 12
"""Signals that one table has."""


class Nothing(Arguments):
    """No arguments."""


class Describe(OfTwin):
    like: str = Field(default="", description="Only signals whose name, unit or asset has this in it.", max_length=100)


class Query(OfTwin):
    signals: list[str] = Field(description="Names of signals.", min_length=1, max_length=FEW)
    last: str = Field(default="1d", description='How far back from the newest point: "6h", "7d".', max_length=40)
    start: str = Field(default="", description="Instead of last: from this time on, ISO 8601, UTC.", max_length=40)
    end: str = Field(default="", description="Up to this time. Default: the newest point.", max_length=40)
    rows: int = Field(default=48, description="Rows of the table.", ge=1, le=ROWS)


class Explain(OfTwin):
    finding: str = Field(
        default="", description="Id of the finding, as describe gives it. Empty: the worst open one.", max_length=240
    )


async def list_twins(asked: Asked, _: Nothing) -> dict[str, Any]:
    """How each twin is that the caller may see."""

    async def row(one: One) -> dict[str, Any]:
        name = {"twin": one.twin.name, "mode": one.twin.mode, "every": one.twin.every}
        try:
            status = await one.ask("status")
        except GemelError as error:  # the others may be well
            return {**name, "running": False, "newest": None, "findings": 0, "trouble": error.message}
        newest, findings = when(status["newest"]), len(status["findings"])
        return {
            **name, "running": status["running"], "newest": newest, "findings": findings, "trouble": one.trouble,
        }  # fmt: skip

    seen = [one for one in asked.twins if asked.caller.sees(one.twin.name)]
    return {"twins": list(await asyncio.gather(*(row(one) for one in seen))), "cites": []}


async def describe(asked: Asked, given: Describe) -> dict[str, Any]:
    """A twin with its signals and their newest values, what it believes, what is wrong, what was decided."""
    one = asked.one
    twin = one.twin
    word = given.like.casefold()
    fitting = [s for s in twin.signals if word in f"{s.name} {s.unit} {s.asset}".casefold()]
    signals = fitting[:SHOWN]
    latest = await one.ask("latest", signals=[s.name for s in signals]) if signals else []
    status, findings = await one.ask("status"), await one.ask("findings")
    decisions = await one.ask("decisions", last=5)
    simulator = twin.simulator
    return {
        "twin": twin.name,
        "mode": twin.mode,
        "running": status["running"],
        "every": twin.every,
        "horizon": twin.horizon,
        "newest": when(status["newest"]),
        "trouble": one.trouble,
        "assets": [{"id": a.id, "kind": a.kind, "parent": a.parent} for a in twin.assets[:SHOWN]],
        "signals": [_signal(s, frame) for s, frame in zip(signals, latest, strict=True)],
        "not_shown": len(fitting) - len(signals),
        "belief": [{"name": name, "mean": mean} for name, mean in status["belief"].items()],
        "findings": [finding_row(f) for f in findings],
        "decisions": [decision_row(d) for d in decisions],
        "can_forecast": twin.forecaster is not None,
        "can_recommend": twin.policy is not None,
        "what_if_inputs": list(simulator.inputs) if simulator is not None and twin.estimator else [],
        "whole": route(twin.name, "signals"),
        "cites": cited("signal", [s.name for s in signals] if given.like else [])
        + cited("finding", [f.id for f in findings]),
    }


async def query(asked: Asked, given: Query) -> dict[str, Any]:
    """What was measured, rolled up."""
    one = asked.one
    names = [found(said, one.twin.signals.names, "signal") for said in given.signals]
    end = instant(given.end) if given.end else None
    if given.start:
        start = instant(given.start)
        stop = end or (await one.ask("status"))["newest"] or start
    else:
        stop = end or (await one.ask("status"))["newest"]
        if not stop:
            raise NotFound("the twin has no history yet", "wait for its telemetry")
        start = stop - duration(given.last)
    rows = max(min(given.rows, ROWS // len(names)), 1)
    return await _table(one, names, start, stop, rows)


async def explain(asked: Asked, given: Explain) -> dict[str, Any]:
    """A finding: its evidence, the raw signals behind it, what was foreseen when it began, what was decided for it."""
    one = asked.one
    finding = await _finding(one, given.finding)
    names = _behind(one, finding)
    held = await one.ask("journal", kind="forecast", end=finding.start, last=8)
    forecasts = [f for f in held if isinstance(f, Forecast) and set(names) & set(f.signals)][-1:]
    units = {s.name: s.unit for s in one.twin.signals}
    stop = (await one.ask("status"))["newest"] if finding.open else finding.time
    stop = max(stop or finding.time, finding.start + 1)
    before = max(stop - finding.start, 20 * duration(one.twin.every))
    decisions = [d for d in await one.ask("decisions", last=100) if finding.id in d.because][-5:]
    measured = await _table(one, names, finding.start - before, stop, 48) if names else {}
    cites = cited("finding", [finding.id]) + measured.pop("cites", [])
    why = await one.ask("why", finding=finding.id)
    return {
        "finding": finding_row(finding),
        "why": {
            "sentence": why["sentence"]["en"],
            "by": why["by"],
            "shares": [{"signal": row["signal"], "share": row["share"]} for row in why["shares"][:FEW]],
            "ranked": why["ranked"],
        },
        "findings_like_it": [_case(case) for case in why["similar"]],
        "evidence": [{"name": name, "value": value} for name, value in finding.evidence.items()],
        "signals_behind_it": measured,
        "foreseen_when_it_began": [fan(f, [n for n in names if n in f.signals], units, 24) for f in forecasts],
        "decisions_because_of_it": [decision_row(d) for d in decisions],
        "cites": cites + cited("forecast", [f.id for f in forecasts]) + cited("decision", [d.id for d in decisions]),
    }


def finding_row(finding: Finding) -> dict[str, Any]:
    """A finding in short."""
    return {
        "id": finding.id, "name": finding.name, "subject": finding.subject, "since": when(finding.start),
        "open": finding.open, "severity": finding.severity, "confidence": finding.confidence, "text": finding.text,
        "by": finding.by, "people": finding.life.state if finding.life else "",
    }  # fmt: skip


def _case(case: dict[str, Any]) -> dict[str, Any]:
    """A similar finding of the past, and what came of it."""
    past, verdicts = case["finding"], [a.note for a in case["verdicts"]]
    return {
        "id": past.id, "name": past.name, "subject": past.subject, "since": when(past.start),
        "likeness": case["likeness"], "it_was": verdicts, "people_said": [a.note for a in case["said"] if a.note],
        "done": [d.reason for d in case["done"]],
    }  # fmt: skip


def decision_row(decision: Any) -> dict[str, Any]:
    """A decision in short."""
    return {
        "id": decision.id,
        "time": when(decision.time),
        "status": decision.status,
        "commands": [{"signal": c.signal, "value": c.value, "until": when(c.expires)} for c in decision.commands],
        "expected": [{"name": name, "value": value} for name, value in decision.expected.items()],
        "refused": decision.refused,
        "reason": decision.reason,
    }


async def _table(one: One, names: Sequence[str], start: int, stop: int, rows: int) -> dict[str, Any]:
    """`rows` cells from `start` to `stop`, or the points themselves where there are no more than that."""
    found = await one.ask("rollup", signals=list(names), start=start, end=stop, points=rows)
    units = {s.name: s.unit for s in one.twin.signals}
    query = {"signals": ",".join(names), "start": start, "end": stop}
    return {
        "start": when(start),
        "end": when(stop),
        "cell": spell(int(found["every"])),
        "signals": [{"signal": c["signal"], "unit": units[c["signal"]], **_column(c)} for c in found["series"]],
        "whole": route(one.twin.name, "history", **query),
        "cites": cited("signal", names),
    }


def _column(column: dict[str, Any]) -> dict[str, Any]:
    counts = {"points": int(sum(column["count"])), "bad": int(sum(column["bad"]))}
    time = [when(int(t)) for t in column["time"]]
    if column["raw"]:
        return {"time": time, "value": column["mean"], **counts}
    return {"time": time, "mean": column["mean"], "min": column["min"], "max": column["max"], **counts}


async def _finding(one: One, said: str) -> Finding:
    known: list[Finding] = [] if said else await one.ask("findings")
    known = known or await one.ask("findings", all=True)
    newest = {f.id: f for f in known}  # of one id the newest line holds
    if not newest:
        raise NotFound("there is nothing to explain: the twin has found nothing", "describe shows what it finds")
    if not said:
        return max(newest.values(), key=lambda f: (f.open, f.severity, f.time))
    return newest[found(said, newest, "finding")]


def _behind(one: One, finding: Finding) -> list[str]:
    """Its subject, the signals of that asset, and those its evidence names."""
    signals = one.twin.signals
    asset = [s.name for s in signals if s.asset and s.asset == finding.subject]
    named = [name for name in (finding.subject, *finding.evidence) if name in signals]
    return list(dict.fromkeys([*named, *asset]))[:4]


def _signal(signal: Signal, frame: Any) -> dict[str, Any]:
    value = rounded(float(frame.values[0, 0]))
    return {
        "signal": signal.name,
        "unit": signal.unit,
        "role": signal.role,
        "asset": signal.asset,
        "low": signal.low,
        "high": signal.high,
        "value": value,
        "time": None if value is None else when(int(frame.time[0])),
        "quality": QUALITIES[int(frame.quality[0, 0])],
        **({"states": [clean(s) for s in signal.states]} if signal.states else {}),
    }
