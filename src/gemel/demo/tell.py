"""What a demo tells people: a line for each thing that happened, and a summary at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from gemel.core.units import SECOND, stamp
from gemel.core.values import Decision, Finding

SLIGHT = 0.3
"""A finding of less severity is in the window and in the store, but no news."""


class Lines:
    """What happened since the start, for the summary and for output that is not a terminal."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.findings: dict[tuple[str, str], Finding] = {}  # a finding may be called otherwise later
        self.decisions: list[Decision] = []
        self.news: list[str] = []
        self.loop: Any = None

    def watch(self, loop: Any) -> None:
        self.loop = loop
        for finding in loop.state.findings:
            if finding.severity >= SLIGHT and (finding.id, finding.name) not in self.findings:
                self.findings[finding.id, finding.name] = finding
                self.news.append(f"{stamp(loop.state.now)}  found: {finding.name} ({finding.subject}). {finding.text}")
        decision = loop.state.decision
        if decision and (not self.decisions or self.decisions[-1].id != decision.id) and decision.time > self.start:
            last = self.decisions[-1] if self.decisions else None
            self.decisions.append(decision)
            if last is None or _setpoints(last) != _setpoints(decision):
                self.news.append(f"{stamp(decision.time)}  decided: {decision.reason}")

    def tell(self, console: Console) -> None:
        for line in self.news:
            console.print(line, highlight=False)
        self.news.clear()

    def summary(self) -> dict[str, Any]:
        state = self.loop.state if self.loop else None
        return {
            "points": state.points if state else 0,
            "turns": state.turns if state else 0,
            "acks": dict(state.acks) if state else {},
            "hours": round((state.now - self.start) / 3600 / SECOND, 2) if state and state.now else 0.0,
            "findings": [
                {
                    "name": f.name,
                    "subject": f.subject,
                    "hours": round((f.time - self.start) / 3600 / SECOND, 2),
                    "text": f.text,
                }
                for f in self.findings.values()
                if f.time > self.start
            ],
            "decisions": [
                {
                    "hours": round((d.time - self.start) / 3600 / SECOND, 2),
                    "commands": _setpoints(d),
                    "reason": d.reason,
                    "because": list(d.because),
                }
                for d in self.decisions
            ],
        }


def _setpoints(decision: Decision) -> dict[str, float]:
    return {c.signal: c.value for c in decision.commands}


def _spelled(hours: float) -> str:
    whole, minutes = divmod(round(hours * 60), 60)
    return f"{whole} h {minutes} min"


def summary(found: dict[str, Any], advice: Sequence[str]) -> None:
    """Prints what was found and done, and what to try next."""
    console = Console()
    acks = ", ".join(f"{n} {state}" for state, n in found["acks"].items()) or "none"
    counts = f"{found['points']:,} points, {len(found['decisions'])} decisions, commands: {acks}"
    console.print(f"\n{_spelled(found['hours'])} of plant time: {counts}")
    for finding in found["findings"]:
        after = _spelled(finding["hours"])
        console.print(f"after {after}: {finding['name']} ({finding['subject']}): {finding['text']}")
    if found["decisions"]:
        console.print(f"in the end: {found['decisions'][-1]['reason']}", highlight=False)
    console.print()
    for i, line in enumerate(advice):
        console.print(f"{'next: ' if i == 0 else '      '}{line}", highlight=False)
