"""Findings of the past that looked like this one, what people said of them, and what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gemel.core.life import Action
from gemel.core.values import Finding

MOST = 5
"""Cases that are told."""
LEAST = 0.5
"""A likeness below which a case tells nothing."""
SPOKEN = ("acknowledge", "shelve", "resolve", "reopen")


def relative(name: str, asset: str, assets: Sequence[str]) -> str:
    """A signal as seen from an asset: its own name becomes `@`, that of another asset `*`. So what was seen on the mill
    (`mill_vibration` is `@_vibration`) can be told again on the drill."""
    tokens = name.split("_")
    return "_".join("@" if t == asset else "*" if t in assets else t for t in tokens)


def likeness(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The cosine between two signatures, 0 to 1."""
    keys = sorted({*one, *other})
    a, b = (np.array([s.get(k, 0.0) for k in keys]) for s in (one, other))
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return max(float(a @ b) / size, 0.0) if size > 0 else 0.0


def signature(finding: Finding, names: Mapping[str, str], assets: Sequence[str]) -> dict[str, float]:
    """The evidence of a finding by signal, seen from its asset; `names`: signal -> its asset."""
    asset = names.get(finding.subject, finding.subject)
    held = {n: float(v) for n, v in finding.evidence.items() if n in names and np.isfinite(v)}
    held = held or {finding.subject: 1.0}
    return {relative(n, asset, assets): v for n, v in held.items()}


def similar(desk: Any, finding: Finding, known: Sequence[Finding], verdicts: Sequence[Action]) -> list[dict[str, Any]]:
    """The nearest earlier findings: `finding`, `likeness` (0 to 1), `verdicts` and `said` (what people said of it),
    `done` (decisions that it had a part in). Two findings of one kind on the same thing are nearest."""
    names = {s.name: s.asset for s in desk.twin.signals}
    assets = sorted({a.id for a in desk.twin.assets} | {s.asset for s in desk.twin.signals if s.asset})
    here = signature(finding, names, assets)
    close = []
    for other in known:
        if other.id == finding.id or other.start > finding.start:
            continue
        same = 0.5 * (_kind(other, assets) == _kind(finding, assets)) + 0.5 * (other.subject == finding.subject)
        alike = 0.8 * likeness(here, signature(other, names, assets)) + 0.2 * same
        if alike >= LEAST:
            close.append((alike, other))
    close.sort(key=lambda one: (-one[0], -one[1].start))
    decisions = desk.twin.store.read("decision", last=1000) if close else []
    return [
        {
            "finding": other,
            "likeness": alike,
            "verdicts": [a for a in verdicts if a.subject == other.id],
            "said": [a for a in (other.life.history if other.life else ()) if a.what in SPOKEN],
            "done": [d for d in decisions if other.id in d.because][-2:],
        }
        for alike, other in close[:MOST]
    ]


def _kind(finding: Finding, assets: Sequence[str]) -> str:
    """What sort of finding it is, whichever asset it is about."""
    head, colon, cause = finding.name.partition(": ")
    if colon and head in assets:
        return cause
    return finding.name.replace(finding.subject, "@")
