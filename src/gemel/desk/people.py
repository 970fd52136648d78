"""What a script may do of what people do: methods of `Twin` that each ask its desk, the running one where there is one.

`by` is who does it; left out, the user that the twin runs as.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from gemel.core.life import Action
from gemel.core.values import Decision, Finding


class Asked(Protocol):
    """A twin."""

    def _ask(self, method: str, **named: Any) -> Any:
        """A question of `gemel.desk.OPEN`."""


def acknowledge(self: Asked, findings: str | Sequence[str], note: str = "", *, by: str = "") -> list[Finding]:
    """You have seen these findings (ids), and will act."""
    return list(self._ask("acknowledge", findings=findings, note=note, by=by))


def shelve(self: Asked, findings: str | Sequence[str], span: str, note: str, *, by: str = "") -> list[Finding]:
    """Put findings aside for a time ("8h"), with the reason; afterwards they are open again."""
    return list(self._ask("shelve", findings=findings, span=span, note=note, by=by))


def resolve(self: Asked, findings: str | Sequence[str], note: str, *, again: str = "1h", by: str = "") -> list[Finding]:
    """Close findings, with a note; what the detector still sees after `again` is open again."""
    return list(self._ask("resolve", findings=findings, note=note, again=again, by=by))


def reopen(self: Asked, findings: str | Sequence[str], note: str = "", *, by: str = "") -> list[Finding]:
    """Take back an acknowledgement, a shelf or a close."""
    return list(self._ask("reopen", findings=findings, note=note, by=by))


def verdict(self: Asked, finding: str | Finding, was: str, *, by: str = "") -> list[Finding]:
    """What a finding really was: "mill: worn tool", or "false alarm". Detectors that learn from cases take it up."""
    return list(self._ask("verdict", finding=_id(finding), was=was, by=by))


def explain(self: Asked, finding: str | Finding = "", by: str = "attribution") -> dict[str, Any]:
    """Why a finding (default: the worst open one): `sentence`, `shares` of the signals, `ranked` causes, the raw
    `series`, `similar` findings of the past; `by` an explainer (`attribution`, `surrogate`, `counterfactual`, `rules`)
    or the detector's own `evidence`."""
    found: dict[str, Any] = self._ask("why", finding=_id(finding), by=by)
    return found


def maintain(
    self: Asked, subject: str, span: str, note: str, *, start: str | int | None = None, by: str = ""
) -> list[Action]:
    """Work on an asset or a signal: from `start` (now) for `span`, what is found about it does not ring."""
    return list(self._ask("maintain", subject=subject, span=span, note=note, start=start, by=by))


def maintenance(self: Asked, *, all: bool = False) -> list[Action]:
    """Maintenance windows that are or will be; `all=True` also those that were."""
    return list(self._ask("maintenance", all=all))


def end_maintenance(self: Asked, id: str, *, by: str = "") -> list[Action]:
    """The work is done before the window ends."""
    return list(self._ask("end_maintenance", id=id, by=by))


def hands(self: Asked) -> list[dict[str, Any]]:
    """Every actuator: `signal`, who has it in `hand` (None: the twin), the last `setpoint`, its `command` and `ack`,
    and what is `measured`, at which `time`."""
    return list(self._ask("hands"))


def take(self: Asked, signal: str, span: str | None = None, note: str = "", *, by: str = "") -> Action:
    """Take an actuator over by hand, for good or for a `span`; the twin must be running. What it decides for that
    signal is not sent meanwhile."""
    found: Action = self._ask("take", signal=signal, span=span, note=note, by=by)
    return found


def put(self: Asked, signal: str, value: float, note: str = "", *, by: str = "") -> Decision:
    """Send a setpoint for an actuator that you have in hand; the same limits hold as for the twin."""
    found: Decision = self._ask("put", signal=signal, value=value, note=note, by=by)
    return found


def release(self: Asked, signal: str, note: str = "", *, by: str = "") -> Action:
    """Give an actuator back. Nothing is sent; the twin goes on from where it stands."""
    found: Action = self._ask("release", signal=signal, note=note, by=by)
    return found


def _id(finding: str | Finding) -> str:
    return finding if isinstance(finding, str) else finding.id
