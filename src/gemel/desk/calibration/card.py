"""What a calibration is asked for, and the card that says what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.artifact import Artifact
from gemel.core.calibrated import identity
from gemel.core.setting import Setting
from gemel.core.values import Belief, Floats, Frame
from gemel.desk.calibration.hindcast import DAY, Candidate, Test, judged, ratio, wholes
from gemel.estimators.diagnostics import identifiability

BETTER = 0.99
"""A calibration takes the place of one whose CRPS it brings to this part."""
MARGIN, OUTER = 0.2, 0.001
"""The region is what lay between these outer quantiles, and this part of that more on either side."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be calibrated, on what, and how. `used`: the calibration in use."""

    setting: Setting
    frame: Frame
    noise: Mapping[str, float]
    used: Artifact | None = None
    method: str = "esmda"
    members: int = 200
    hold: float = 0.2
    valid: int = 90 * DAY


def carded(
    task: Task, test: Test, prior: Candidate, found: Belief, scores: dict[str, Any], z: Mapping[str, Floats],
    taught: Mapping[str, Mapping[str, float]], renewed: bool,
) -> dict[str, Any]:  # fmt: skip
    """All that is known of a calibration; `renewed`: it is the one in use, for where the plant is now."""
    frame, simulator = task.frame, task.setting.simulator
    told = hashlib.sha256(frame.time.tobytes() + frame.values.tobytes())
    code = b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("*.py")))
    everybody = {who for s in scores.values() for who in s} - {"calibrated"}
    ratios = {who: ratio(scores, "calibrated", who) for who in sorted(everybody)}
    against = "in use" if task.used else "uncalibrated"
    area, end = region(task), int(frame.time[-1])
    passed = renewed or ratios[against] < BETTER
    return {
        "kind": "calibration",
        "twin": task.setting.twin,
        "simulator": identity(simulator),
        "method": task.method,
        "members": task.members,
        "seed": task.setting.seed,
        "rows": len(frame),
        "trained": test.first,
        "step": test.step,
        "start": int(frame.time[0]),
        "end": end,
        "expires": end + task.valid,
        "data": told.hexdigest(),
        "code": hashlib.sha256(code).hexdigest(),
        "noise": dict(test.noise),
        "taught": {name: dict(row) for name, row in taught.items()},
        "parameters": list(prior.names),
        "posterior": told_of(simulator, prior, found),
        "region": area,
        "horizon": test.ahead * test.step,
        "starts": len(test.starts),
        "scores": scores,
        "ratios": ratios,
        "innovations": judged(z),
        "against": task.used.version if task.used else "uncalibrated",
        "passed": passed,
        "renews": task.used.version if task.used and renewed else "",
        "verdict": _verdict(ratios[against], task, passed, renewed, len(test.starts)),
    }


def due(task: Task, scores: Mapping[str, Any]) -> bool:
    """Whether the calibration in use goes on in the place of a new one: it is expired, or does not reach to where the
    plant is now, and yet foresees the held-back time better than the new one and than no calibration."""
    if not task.used or not stale(task.used.card, region(task), int(task.frame.time[-1])):
        return False
    return ratio(scores, "calibrated", "in use") >= BETTER and ratio(scores, "in use", "uncalibrated") < 1


def _verdict(against: float, task: Task, passed: bool, renewed: bool, starts: int) -> str:
    change, where = 1.0 - against, f"from {starts} held-back starts"
    other = f"calibration {task.used.version}" if task.used else "the uncalibrated simulator"
    than = f"{abs(change):.0%} {'better' if change >= 0 else 'worse'} than {other}"
    if renewed:
        return f"renewed: {other} goes on for where the plant is now; the CRPS of a new one {where} is {than}"
    return f"{'kept' if passed else 'refused'}: its CRPS {where} is {than}; {1 - BETTER:.0%} better is asked"


def region(task: Task) -> dict[str, list[float]]:
    """What each signal spanned that the simulator hears or describes, and a margin. What the twin itself sets is left
    out: it may be moved to where it has not been yet."""
    found = {}
    for name in task.frame.signals:
        values = task.frame.column(name)
        values = values[np.isfinite(values)]
        if len(values) and task.setting.signals.named(name).role != "controlled":
            low, high = np.quantile(values, (OUTER, 1 - OUTER)).tolist()
            more = max(MARGIN * (high - low), 5 * task.noise.get(name, 0.0), 1e-6 * max(abs(low), abs(high)), 1e-9)
            found[name] = [low - more, high + more]
    return found


def stale(card: Mapping[str, Any], area: Mapping[str, Sequence[float]], end: int) -> str:
    """Why a calibration does not do any more for where the plant has been, if so."""
    if card["expires"] <= end:
        return "expired"
    held = card["region"]
    for name, (low, high) in area.items():
        margin = MARGIN / (1 + 2 * MARGIN) * (high - low)  # without it: what was really there
        if name in held and (low + margin < held[name][0] or high - margin > held[name][1]):
            return f"not valid for {name} from {low + margin:.3g} to {high - margin:.3g}"
    return ""


def told_of(simulator: Any, prior: Candidate, found: Belief) -> list[dict[str, Any]]:
    """What the telemetry told of each parameter."""
    names, after = prior.names, wholes(prior.names, found)
    learned = {one.name: one for one in identifiability(names, prior.members, after)}
    units = getattr(simulator, "units", {})
    rows = []
    for name, a, b in zip(names, prior.members, after, strict=True):
        one = learned.get(name)
        share, like = (one.learned, one.like) if one else (0.0, "")
        says = (
            f"the telemetry told {share:.0%} of it" if share >= 0.2 else "the telemetry says little of how sure it is"
        )
        if (far := abs(b.mean() - a.mean()) / a.std(ddof=1)) > 2:
            says += f"; it lies {far:.2g} standard deviations from the prior: widen that"
        if like and one:
            says += f"; it cannot be told from {like} (correlation {one.correlation:.2f}): hold one of the two"
        rows.append({
            "name": name, "unit": units.get(name, ""), "prior": [float(a.mean()), float(a.std(ddof=1))],
            "posterior": [float(b.mean()), float(b.std(ddof=1))], "learned": share, "like": like, "says": says,
        })  # fmt: skip
    return rows
