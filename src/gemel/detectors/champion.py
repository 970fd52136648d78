"""Tells when another structure of the simulator has become champion, and why; and of one that cannot be run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gemel.core.errors import ConfigError, InputError
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration, instant_id
from gemel.core.values import Belief, Finding
from gemel.loop.decide import Situation

MARK = ".champion"
WHY = {
    1.0: "raised, or gave what is no number; it is tried again from its prior",
    2.0: "foretold nothing for a whole stretch: does every input of its own come?",
}
"""By what the ledger says of one that is out."""


@declared
class Champion:
    """Reads the contest of the estimator `compete` off the belief: each change of champion is a finding, kept in the
    journal with the scores of both; so is a candidate that cannot be run, for as long as it cannot.

    - `keep`: how long the finding of a change stays open.
    """

    def __init__(self, keep: str = "1d") -> None:
        try:
            self._keep = duration(keep)
        except InputError as error:
            raise ConfigError([f"champion: keep: {error.message}"], error.hint) from None
        self._champion = ""
        self._open: dict[str, Finding] = {}  # what -> finding

    def bind(self, setting: Setting) -> None:
        if not hasattr(setting.simulator, "candidates"):
            raise ConfigError(
                ["champion: the twin has only one simulator, so there is nothing to tell"],
                'write simulator = { kind = "candidates", candidates = { one = { ... }, two = { ... } } }',
            )

    def snapshot(self) -> dict[str, Any]:
        return {"champion": self._champion, "open": dict(self._open)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._champion, self._open = state["champion"], dict(state["open"])

    def inspect(self, situation: Situation) -> list[Finding]:
        belief = situation.belief
        if belief is None:
            return []
        ledger = _ledger(belief)
        champion = next((name for name, rows in ledger.items() if rows["champion"]), "")
        before, self._champion = self._champion, champion
        news = []
        for what, finding in list(self._open.items()):
            changed = what == MARK and (champion != before or situation.now - finding.start >= self._keep)
            if changed or (what != MARK and not ledger.get(what, {}).get("out")):
                news.append(replace(self._open.pop(what), open=False, time=situation.now))
        if before and champion != before:
            news.append(self._opened(MARK, "another champion", 0.1, situation, _why(ledger, champion, before)))
        for name, rows in ledger.items():
            if rows["out"] and name not in self._open:
                text = f"simulator '{name}' {WHY[rows['out']]}"
                news.append(self._opened(name, f"{name} cannot be run", 0.3, situation, (text, {})))
        return news

    def _opened(
        self, what: str, name: str, severity: float, situation: Situation, why: tuple[str, dict[str, float]]
    ) -> Finding:
        now, (text, evidence) = situation.now, why
        id = f"{what.strip('.')}-{instant_id(now)}"
        found = Finding(id, name, "simulator", now, now, severity, 1.0, text, evidence=evidence, by="champion")
        self._open[what] = found
        return found


def _ledger(belief: Belief) -> dict[str, dict[str, float]]:
    """Candidate -> its rows `champion`, `score`, `lead`, `out`; the same in every member."""
    names = [n.removesuffix(MARK) for n in belief.names if n.endswith(MARK)]
    return {n: {r: float(belief.row(f"{n}.{r}")[0]) for r in ("champion", "score", "lead", "out")} for n in names}


def _why(ledger: Mapping[str, Mapping[str, float]], new: str, old: str) -> tuple[str, dict[str, float]]:
    gone = {"score": 0.0, "out": 1.0}
    was, now = ledger.get(old, gone), ledger[new]
    evidence = {"lead": now["lead"], f"{new}.score": now["score"], f"{old}.score": was["score"]}
    if was["out"]:
        return f"'{new}' takes over from '{old}', which cannot be run", evidence
    scores = f"a value scores {now['score']:.2f} and {was['score']:.2f} nats over the window"
    return f"'{new}' foretells better than '{old}': {now['lead']:.1f} nats of evidence; {scores}", evidence
