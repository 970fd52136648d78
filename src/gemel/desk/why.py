"""Why: what speaks for a finding, what it looked like, what like it there was before, and what came of that.

The explanation is an explainer's, where the detector can judge windows by themselves; otherwise it is the evidence that
the finding itself carries, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gemel.core.errors import InputError, NotFound, nearest
from gemel.core.explain import Explainer, Explanation, Past, Question, Scores, Sentence, Sight, background, listed
from gemel.core.life import Action
from gemel.core.registry import build, rows
from gemel.core.units import SECOND
from gemel.core.values import IMPUTED, Belief, Finding, Floats, Times
from gemel.desk.alarms import user
from gemel.desk.likeness import similar
from gemel.desk.rollup import rollup
from gemel.loop.simulate import Assignable, Branches

OWN = "evidence"
"""By whom a finding is explained whose detector cannot judge windows."""
WINDOW = 240
"""Rows of a window that is explained, at most."""
BEHIND = 6
"""Signals that are drawn."""
SEEN = "see them all with gemel findings FILE --all, or twin.findings(all=True)"
FALSE = "false alarm"
"""The verdict that nothing was wrong."""


@runtime_checkable
class Teachable(Protocol):
    """A detector that learns from what people say a finding was."""

    def teach(self, finding: Finding, component: str, cause: str) -> bool:
        """Take the case up; False when there is nothing to be learned from it."""


def why(desk: Any, finding: str = "", by: str = "attribution") -> dict[str, Any]:
    """Why a finding (default: the worst open one) says what it says. `by`: an explainer, or `evidence`.

    `finding`, `by`, `kind`, `sentence` (`en`, `zh`), `scored` (whether an explainer was asked), `shares` (`signal`,
    `share`, `error`), `edges` and `segments` (a row a share), `changes`, `rules`, `time` and `paths`, `fit`,
    `measure`, `verified`, `ranked` (`name`, `probability` of each candidate), `series` (the raw signals around the
    start, as `rollup`), `similar` (see `desk.likeness`), `verdicts` of people, `explainers` that can be asked."""
    kinds = sorted(rows("explainers"))
    if by not in (*kinds, OWN):
        raise InputError(f"there is no explainer '{by}'{nearest(by, [*kinds, OWN])}", f"there is: {', '.join(kinds)}")
    known = {f.id: f for f in desk.findings(all=True)}
    found = _found(known, finding)
    detector, sight = _judge(desk, found) if by != OWN else (None, None)
    answer = _explained(desk, found, detector, sight, by) if detector and sight else _own(desk, found)
    actions = [a for a in desk.twin.store.read("action") if a.what == "verdict"]
    return {
        "finding": found,
        **_plain(answer),
        "scored": answer.by != OWN,
        "ranked": ranked(found),
        "series": _series(desk, found, answer),
        "similar": similar(desk, found, list(known.values()), actions),
        "verdicts": [a for a in actions if a.subject == found.id],
        "explainers": kinds if detector else [],
    }


def verdict(desk: Any, finding: str, was: str, by: str = "") -> list[Finding]:
    """What the finding really was, as a person found: "mill: worn tool", or "false alarm". Detectors learn from it."""
    found = _found({f.id: f for f in desk.findings(all=True)}, finding or "?")
    component, _, cause = (part.strip() for part in was.partition(":"))
    assets = sorted({a.id for a in desk.twin.assets} | {s.asset for s in desk.twin.signals if s.asset})
    if was.strip() != FALSE:
        if not cause:
            raise InputError(
                f"'{was}' is not a verdict", f'say which component and what: "mill: worn tool", or "{FALSE}"'
            )
        first = component.split(" ")[0]
        if not any(component == a or component.startswith(f"{a} ") for a in assets):
            raise InputError(f"there is no asset '{first}'{nearest(first, assets)}", f"there is: {', '.join(assets)}")
    desk._thinking()  # what the detectors have learned is there only once they are brought up
    said = Action(desk.now(), "verdict", found.id, by or user(), was.strip())
    desk.twin.store.record(said)
    for part in desk.twin.detectors:
        if isinstance(part, Teachable):
            part.teach(found, "" if was.strip() == FALSE else component, cause)
    return list(desk.alarms.living([found]))


def ranked(finding: Finding) -> list[dict[str, Any]]:
    """The candidates of a diagnosis, most probable first: its evidence `P(mill: worn tool)`."""
    held = [
        (k[2:-1], v) for k, v in finding.evidence.items() if k.startswith("P(") and (": " in k or k == "P(unknown)")
    ]
    return [{"name": name, "probability": float(p)} for name, p in sorted(held, key=lambda one: -one[1])]


def shares(finding: Finding, names: Sequence[str]) -> dict[str, float]:
    """What the finding's own evidence says of signals, as shares of one, largest first."""
    held = {n: abs(v) for n, v in finding.evidence.items() if n in names and np.isfinite(v) and v}
    total = sum(held.values())
    return {n: v / total for n, v in sorted(held.items(), key=lambda one: -one[1])} if total else {}


# -- the explanation ---------------------------------------------------------------------------------------------------


def _judge(desk: Any, finding: Finding) -> tuple[Scores | None, Sight | None]:
    """The detector that made the finding and what it looks at, where it can judge windows by themselves."""
    desk._thinking()  # what the detectors have learned is there only once they are brought up
    for part in desk.twin.detectors:
        if isinstance(part, Scores) and (sight := part.sight(finding)) is not None:
            return part, sight
    return None, None


def _explained(desk: Any, finding: Finding, detector: Scores, sight: Sight, by: str) -> Explanation:
    end = max(finding.time, finding.start + sight.rows * sight.step) // sight.step * sight.step
    n = int(np.clip((end - finding.start) // sight.step + 1, sight.rows, max(WINDOW, sight.rows)))
    time, values = _rows(desk, sight, end - (n - 1) * sight.step, end)
    before = max(20 * n, 64) * sight.step
    usual = _rows(desk, sight, finding.start - before, finding.start - sight.step)[1]
    held = background(usual, len(time)) if len(time) else np.empty((0, 0, 0))
    if len(time) < sight.rows or not len(held):
        return _own(desk, finding)
    units = {s.name: s.unit for s in desk.twin.signals}
    asked = Question(
        finding, time, values, sight.signals, held, lambda windows: detector.scored(finding, windows), sight.limit,
        _past(desk, sight, time) if by == "counterfactual" else None, units,
    )  # fmt: skip
    explainer: Explainer = build("explainers", {"kind": by})
    return explainer.explain(asked)


def _rows(desk: Any, sight: Sight, start: int, end: int) -> tuple[Times, Floats]:
    """What the detector saw from `start` to `end`: times [t] and values [t, s]."""
    if sight.of == "residuals":
        held: list[Belief] = [b for b in desk.twin.store.read("belief", start, end + 1) if b.innovation]
        off = [[b.innovation.get(n, (np.nan, 1.0)) for n in sight.signals] for b in held]
        values = np.array([[r / max(sd, 1e-300) for r, sd in row] for row in off], float)
        return np.array([b.time for b in held], np.int64), values.reshape(len(held), len(sight.signals))
    frame = desk.twin.store.window(list(sight.signals), start, end, every=sight.step)
    values = np.asarray(frame.values, float)
    return frame.time, np.where(frame.quality == IMPUTED, np.nan, values) if sight.gaps else values


def _past(desk: Any, sight: Sight, time: Times) -> Past | None:
    """What really came in the window, for the simulator to run again with other inputs."""
    simulator = desk.twin.simulator
    if simulator is None or not isinstance(simulator, Branches) or not isinstance(simulator, Assignable):
        return None
    first = int(time[0]) - sight.step
    held: list[Belief] = desk.twin.store.read("belief", first - 10 * sight.step, first + 1)
    if not held:
        return None
    names = list(simulator.inputs)
    frame = desk.twin.store.window(names, first, int(time[-1]) - 1, every=sight.step)
    inputs = np.asarray(frame.values, float)[: len(time)]
    if len(inputs) < len(time) or not np.isfinite(inputs).all():
        return None
    controls = tuple(s for s in desk.twin.signals if s.name in names and s.role == "controlled")
    return Past(simulator, held[-1], inputs, controls, seed=desk.twin.setting().seed) if controls else None


def _own(desk: Any, finding: Finding) -> Explanation:
    """What the finding carries itself."""
    held = shares(finding, desk.twin.signals.names)
    lead = [n for n, v in held.items() if v >= 0.5 * max(held.values())][:3]
    text = {"name": finding.name, "subject": finding.subject}
    if not lead:
        said = Sentence(
            "{name} ({subject}): the detector names no signal.", "{name}（{subject}）：检测器没有指明信号。", text
        )
    else:
        text |= {"en": listed(lead), "zh": listed(lead, "zh"), "share": f"{100 * sum(held[n] for n in lead):.0f}"}
        said = Sentence(
            "{name} ({subject}): {share} % of the detector's own evidence is about {en}.",
            "{name}（{subject}）：检测器自身的证据有 {share}% 与 {zh} 有关。", text,
        )  # fmt: skip
    return Explanation(OWN, finding.id, "shares", finding.evidence.get("score", np.nan), np.nan, (said,), held)


def _plain(one: Explanation) -> dict[str, Any]:
    """An explanation as plain lists and tables, which can leave the process."""
    names = list(one.shares)
    return {
        "by": one.by,
        "kind": one.kind,
        "sentence": {"en": one.say("en"), "zh": one.say("zh")},
        "score": float(one.score),
        "baseline": float(one.baseline),
        "shares": [
            {"signal": n, "share": float(one.shares[n]), "error": float(one.errors.get(n, np.nan))} for n in names
        ],
        "edges": [int(t) for t in one.edges],
        "segments": np.asarray(one.segments, float).tolist(),
        "changes": [
            {
                "signal": c.signal,
                "start": int(c.start),
                "end": int(c.end),
                "actual": float(c.actual),
                "needed": float(c.needed),
            }
            for c in one.changes
        ],
        "rules": [
            {"signal": r.signal, "feature": r.feature, "above": bool(r.above), "limit": float(r.limit)}
            for r in one.rules
        ],
        "time": [int(t) for t in one.time],
        "paths": {n: np.asarray(v, float).tolist() for n, v in one.paths.items()},
        "fit": float(one.fit),
        "measure": one.measure,
        "coverage": float(one.coverage),
        "verified": bool(one.verified),
        "evaluations": int(one.evaluations),
    }


# -- what stands around it ---------------------------------------------------------------------------------------------


def behind(desk: Any, finding: Finding, first: Sequence[str] = ()) -> list[str]:
    """The signals that a finding is about: `first`, its subject, those its evidence names, those of its asset."""
    names = desk.twin.signals.names
    asset = [s.name for s in desk.twin.signals if s.asset and s.asset == finding.subject and s.type == "number"]
    evidence = shares(finding, names)
    found = [*first, finding.subject, *evidence, *asset]
    return [n for n in dict.fromkeys(found) if n in names][:BEHIND]


def _series(desk: Any, finding: Finding, answer: Explanation) -> dict[str, Any]:
    """Those signals around the start of the finding."""
    names = behind(desk, finding, [n for n, v in answer.shares.items() if abs(v) > 0][: BEHIND - 1])
    if not names:
        return {"start": finding.start, "end": finding.time, "every": SECOND, "series": []}
    end = desk.newest() if finding.open else finding.time
    end = max(min(end, finding.start + 7 * 86_400 * SECOND), finding.time)
    every = desk.twin.setting().every
    before = int(np.clip(end - finding.start, 60 * every, 86_400 * SECOND))
    return rollup(desk, names, finding.start - before, end, points=300)


def _found(known: Mapping[str, Finding], said: str) -> Finding:
    if not known:
        raise NotFound("there is nothing to explain: the twin has found nothing", "let it run on, and ask again")
    if not said:
        return max(known.values(), key=lambda f: (f.open, f.severity, f.time))
    if said not in known:
        raise NotFound(f"there is no finding '{said}'{nearest(said, known)}", SEEN)
    return known[said]
