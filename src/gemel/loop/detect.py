"""Detect: what is wrong, since when, how sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from gemel.core.values import Finding

if TYPE_CHECKING:
    from gemel.loop.decide import Situation


@runtime_checkable
class Detector(Protocol):
    """Notices trouble in a situation. It has its own memory and is called every turn, in time order.

    A finding keeps its id for as long as the same trouble lasts, and is returned again only when something about it
    changed; `open=False` closes it. `evidence["distrust"] = 1` says that the subject's telemetry should not teach the
    estimator. The rate of false alarms is a setting in alarms per week, not a threshold without a unit.
    """

    def inspect(self, situation: Situation) -> list[Finding]:
        """New, changed and closed findings."""


def merge(held: Sequence[Finding], news: Sequence[Finding]) -> tuple[Finding, ...]:
    """The open findings after `news`, oldest first."""
    table = {f.id: f for f in held}
    for finding in news:
        if finding.id in table:
            finding = replace(finding, start=min(finding.start, table[finding.id].start))
        table[finding.id] = finding
    return tuple(sorted((f for f in table.values() if f.open), key=lambda f: (f.start, f.id)))
