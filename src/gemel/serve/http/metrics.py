"""Metrics as Prometheus text (exposition format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from gemel.core.errors import GemelError
from gemel.core.units import SECOND
from gemel.serve.host import Hosted

Sample = tuple[Mapping[str, str], float]


async def metrics(twins: Sequence[Hosted], answers: Mapping[int, int]) -> str:
    """The state of these twins, and how many requests were answered with which status."""
    status = [(hosted, held) for hosted in twins if (held := await _status(hosted))]

    def each(name: str) -> list[Sample]:
        return [({"twin": h.twin.name}, float(s[name])) for h, s in status]

    def points(name: str) -> list[Sample]:
        return [({"twin": h.twin.name}, float(s["points"][name])) for h, s in status]

    running = [({"twin": h.twin.name}, float(h.twin.loop is not None)) for h in twins]
    readers = [({"twin": h.twin.name}, float(len(h.hub.readers))) for h in twins]
    dropped = [({"twin": h.twin.name}, float(h.hub.dropped + sum(r.dropped for r in h.hub.readers))) for h in twins]
    acks = [({"twin": h.twin.name, "state": state}, float(n)) for h, s in status for state, n in s["acks"].items()]
    newest = [({"twin": h.twin.name}, s["newest"] / SECOND) for h, s in status if s["newest"]]
    turn = [({"twin": h.twin.name}, s["turn"] / SECOND) for h, s in status if s["turn"]]
    findings = [({"twin": h.twin.name}, float(len(s["findings"]))) for h, s in status]
    http = [({"status": str(status)}, float(n)) for status, n in sorted(answers.items())]
    families: list[tuple[str, str, str, Iterable[Sample]]] = [
        ("running", "gauge", "Whether the twin's loop runs.", running),
        ("points_total", "counter", "Points in the store.", points("points")),
        ("revisions_total", "counter", "Points that revised an earlier one.", points("revisions")),
        ("duplicates_total", "counter", "Points that were there already.", points("duplicates")),
        ("newest_point_seconds", "gauge", "The time of the newest point.", newest),
        ("last_turn_seconds", "gauge", "The time of the last turn.", turn),
        ("turns_total", "counter", "Turns taken.", each("turns")),
        ("decisions_total", "counter", "Decisions made.", each("decisions")),
        ("acks_total", "counter", "What came of commands.", acks),
        ("findings", "gauge", "Open findings.", findings),
        ("stream_readers", "gauge", "Who watches the stream.", readers),
        ("stream_dropped_total", "counter", "Messages that slow readers lost.", dropped),
        ("http_answers_total", "counter", "Requests answered.", http),
    ]  # fmt: skip
    lines: list[str] = []
    for name, kind, text, samples in families:
        lines += [f"# HELP gemel_{name} {text}", f"# TYPE gemel_{name} {kind}"]
        lines += [f"gemel_{name}{{{_labels(labels)}}} {value:.15g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


async def _status(hosted: Hosted) -> dict[str, Any]:
    """Nothing of one that cannot answer: the others are told all the same."""
    with suppress(GemelError):
        found: dict[str, Any] = await hosted.ask("status")
        return found
    return {}


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
