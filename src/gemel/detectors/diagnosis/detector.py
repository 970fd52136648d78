"""The part: which component, what is wrong with it, how sure, and what else it might be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, InputError, PartError, nearest
from gemel.core.explain import Sight
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration, instant_id
from gemel.core.values import IMPUTED, Finding, Floats, Times
from gemel.detectors.diagnosis import rules as people
from gemel.detectors.diagnosis.cases import Taught, blank
from gemel.detectors.diagnosis.classifier import load
from gemel.detectors.diagnosis.features import Stretches
from gemel.detectors.diagnosis.ranking import UNKNOWN, Ranked, rank
from gemel.detectors.diagnosis.sight import Eyes, all_slots
from gemel.detectors.diagnosis.view import View, view
from gemel.loop.decide import Situation

LEAST_ROWS = 300
"""Rows of a normal time without which nothing is judged."""
MOST = 50_000
"""Rows read at once, after a pause."""
OTHERS = ("diagnosis", "validity", "champion", "life", "crossing")
"""Whose findings do not say that something is wrong with the plant now."""
STRANGE = 2.5
"""Standard deviations of a row that some signal is off by over the short stretch: no known cause needed, if another
detector has found something too."""
RETELL = 0.15
"""A finding is told again when its first candidate has become so much more or less probable."""
SHOWN = 5


@declared
class Diagnosis:
    """Says which component is ill and with what, ranked: a finding `component: cause` of its asset.

    It combines three things. What every signal is off by, given what its machine is doing: learned from a normal time,
    or taken from the virtual model where the estimator has one. Known cases, which it compares as each asset sees them,
    so that a case of one machine teaches about all. And rules that people write. Its evidence holds the probability of
    each candidate (`P(mill bearing: damaged)`) and what each signal adds. It is open while its own sum or a finding of
    another detector says that something is wrong, "unknown" when nothing that is known fits.

    - `known`: a file of known cases (made by `gemel.detectors.diagnosis.classifier.learn`), relative to the twin file;
      "" for none. What people say of its findings (`twin.verdict`) is kept beside the store and counts too.
    - `rules`: `{ if, component, cause, weight }`. `if` is "SIGNAL WORD", joined by and, or, not, brackets; a word is
      high, low, normal, rising, falling, unsteady, stuck, missing, or a state. A component is an asset, or an asset
      and its part ("mill bearing"). Every unit of `weight` makes the cause ten times as likely; one that only rules
      know starts at 1 : 20. `{asset}` stands for each asset in turn.
    - `sure`: the probability of trouble at which a finding opens by itself. `raise_after`, `clear_after`: how many
      judgements in a row it takes to open and to close it.
    - `signals`: those to look at, by default every measured or derived number and state. `settings`: those that say
      what the plant is set to, by default the controlled and known ones that belong to no machine. `whole`: the asset
      that stands for the plant as a whole, by default the one whose signals are not called after it.
    - `learn`: the normal time it begins with, read from the history if there is one, else waited for. `step`: spacing
      of the rows, by default that of the known cases, else the twin's `every`. `every`: how often it judges.
    """

    def __init__(
        self,
        known: str = "",
        rules: Sequence[Mapping[str, Any]] = (),
        sure: float = 0.7,
        raise_after: int = 3,
        clear_after: int = 6,
        signals: Sequence[str] = (),
        settings: Sequence[str] = (),
        whole: str = "",
        learn: str = "1d",
        step: str = "",
        every: str = "",
    ) -> None:
        problems = [line for row in rules for line in people.plain(row)]
        if not 0 < sure < 1:
            problems.append(f"diagnosis: sure {sure} must be between 0 and 1")
        if raise_after < 1 or clear_after < 1:
            problems.append("diagnosis: raise_after and clear_after must be 1 or more")
        spans: dict[str, int] = {}
        for key, text in (("learn", learn), ("step", step), ("every", every)):
            try:
                spans[key] = duration(text) if text else 0
            except InputError as error:
                problems.append(f"diagnosis: {key}: {error.message}")
        if problems:
            raise ConfigError(problems, people.HINT)
        self.known, self.rules, self.sure = known, [dict(row) for row in rules], sure
        self._raise, self._clear = raise_after, clear_after
        self._chosen, self._context, self._whole = tuple(signals), tuple(settings), whole
        self._learn, self._step, self._every = spans["learn"], spans["step"], spans["every"]
        self._eyes: Eyes | None = None
        self._setting: Setting | None = None
        self._rules: list[people.Rule] = []
        self._taught = Taught(None)
        self._rows: Floats = np.empty((0, 0))  # until the normal is known
        self._off: dict[str, list[tuple[int, float]]] = {}  # of the virtual model: signal -> (time, residual)
        self._last = self._judged = 0
        self._odds: Floats | None = None  # smoothed
        self.ranked: Ranked | None = None
        """The candidates of the last judgement, whether a finding is open or not."""
        self._since = 0  # when trouble became at all likely, 0: it is not
        self._loud = self._quiet = 0
        self._open: Finding | None = None

    # -- what it works with --------------------------------------------------------------------------------------------

    def bind(self, setting: Setting) -> None:
        names = setting.signals.names
        problems = [
            f"diagnosis: unknown signal '{n}'{nearest(n, names)}"
            for n in (*self._chosen, *self._context)
            if n not in names
        ]
        if problems:
            raise ConfigError(problems, f"known: {', '.join(names)}")
        seen = view(setting.signals, self._whole, self._chosen)
        if not seen.columns:
            raise ConfigError(["diagnosis: no measured number to look at"], "name some: signals = [...]")
        if self._whole and self._whole not in [s.asset for s in setting.signals]:
            raise ConfigError([f"diagnosis: no signal belongs to whole = '{self._whole}'"])
        self._setting = setting
        if self.known:
            base = load(setting.folder / self.known)
        else:
            base = blank(all_slots(seen), Stretches(), self._step or setting.every)
        self._taught = Taught(base, setting.shelf)
        self._bound_rules(seen, setting)
        self._step = self._step or base.step
        self._every = max(self._every or setting.every, self._step)
        self._eyes = Eyes(seen, self._context or _settings(setting, seen), base.slots, base.spans)

    def _bound_rules(self, seen: View, setting: Setting) -> None:
        states = {
            s.name: tuple(s.states) or tuple(str(i) for i in range(12)) if s.type == "state" else ()
            for s in setting.signals if s.name in seen.signals
        }  # fmt: skip
        self._rules, problems = [], []
        for row in self.rules:
            made, wrong = people.bound(row, [a for a in seen.assets if a], states)
            self._rules += made
            problems += wrong
        if problems:
            raise ConfigError(problems, people.HINT)

    # -- every turn ----------------------------------------------------------------------------------------------------

    def inspect(self, situation: Situation) -> list[Finding]:
        eyes = self._eyes
        if eyes is None:
            return []
        self._hear(eyes, situation)
        if not eyes.ready or situation.now - self._judged < self._every:
            return []
        self._judged = situation.now
        others = [f for f in situation.findings if f.by not in OTHERS]
        ranked = rank(eyes, self._taught.known, self._rules, [f.subject for f in others], self._odds)
        self._odds, self.ranked = ranked.odds, ranked
        self._since = (self._since or situation.now) if ranked.trouble >= 0.25 else 0
        strange = bool(others) and ranked.off >= STRANGE
        loud = strange or ranked.trouble >= (0.5 * self.sure if others else self.sure)
        self._loud = self._loud + 1 if loud else 0
        self._quiet = 0 if ranked.trouble >= 0.5 * self.sure or others else self._quiet + 1
        return self._told(eyes, situation.now, ranked)

    def _hear(self, eyes: Eyes, situation: Situation) -> None:
        """The rows that are new."""
        setting = self._setting
        assert setting is not None
        self._remember(eyes, situation)
        step = self._step
        if setting.history is None:
            if situation.now - self._last < step:
                return
            values = np.array([[situation.latest.get(n, np.nan) for n in eyes.signals]], float)
            time = np.array([situation.now], np.int64)
        else:
            end = situation.now // step * step
            start = max(self._last + step if self._last else end - self._learn + step, end - MOST * step)
            if start > end:
                return
            time, values = self._read(eyes, start, end)
        if not len(time):
            return
        self._last = int(time[-1])
        if eyes.ready:
            eyes.take(values, self._model(time))
            return
        rows = np.vstack([self._rows, values]) if self._rows.size else values
        heard = np.flatnonzero(np.isfinite(rows).any(axis=1))
        self._rows = rows[heard[0] if len(heard) else len(rows) :]
        if len(self._rows) >= max(self._learn // step, LEAST_ROWS):
            eyes.fit(self._rows)
            self._rows = np.empty((0, 0))

    def _read(self, eyes: Eyes, start: int, end: int) -> tuple[Times, Floats]:
        """The rows of a span, as they were heard."""
        assert self._setting is not None
        assert self._setting.history is not None
        frame = self._setting.history(list(eyes.signals), start, end, every=self._step)
        return frame.time, np.where(frame.quality == IMPUTED, np.nan, frame.values)

    def _remember(self, eyes: Eyes, situation: Situation) -> None:
        """What the virtual model was off by this turn."""
        belief = situation.belief
        if belief is None:
            return
        for name, (off, sd) in belief.innovation.items():
            held = self._off.setdefault(name, [])
            if name in eyes.signals and (not held or held[-1][0] < belief.time):
                held.append((belief.time, off / max(sd, 1e-300)))
                del held[: max(int(np.searchsorted([t for t, _ in held], self._last, side="right")) - 1, 0)]

    def _model(self, time: Any) -> dict[str, Floats]:
        """Of each signal that the virtual model foretells, what it was off by at these times: the newest before."""
        found = {}
        for name, held in self._off.items():
            if held and held[0][0] <= time[0]:
                place = np.searchsorted([t for t, _ in held], time, side="right") - 1
                found[name] = np.clip(np.array([off for _, off in held])[place], -12.0, 12.0)
        return found

    # -- what is told --------------------------------------------------------------------------------------------------

    def _told(self, eyes: Eyes, now: int, ranked: Ranked) -> list[Finding]:
        held = self._open
        if held is not None and self._quiet >= self._clear:
            self._open = None
            return [replace(held, time=now, open=False, text=f"{held.subject} looks as usual again")]
        if held is None and self._loud < self._raise:
            return []
        name, subject = ranked.name, ranked.subject or (held.subject if held else "")
        closed = []
        if held is not None:
            same = held.name == name
            if (ranked.fits and ranked.trouble < 0.5 * self.sure) or (
                same and abs(held.confidence - ranked.top) < RETELL
            ):
                return []
            if not same and held.name != UNKNOWN:  # what was named stays in the record under its name
                if not ranked.fits:
                    return []
                closed, held = [replace(held, time=now, open=False, text=f"now it is {name}")], None
        evidence = {"score": ranked.score, **ranked.shown(SHOWN), **ranked.signals(eyes, SHOWN)}
        lead = [n for n in evidence if n in eyes.signals][:3]
        text = f"{', '.join(lead)} speak{'s' if len(lead) == 1 else ''} for it" if lead else "a rule says so"
        start = held.start if held else now if closed else self._since or now
        self._open = Finding(
            held.id if held else f"diagnosis-{instant_id(now)}", name, subject or eyes.view.whole or self._twin,
            start, now, 0.3 + 0.5 * ranked.trouble, ranked.top,
            text if lead or ranked.fits else "nothing that is known looks like this", evidence=evidence, by="diagnosis",
        )  # fmt: skip
        return [*closed, self._open]

    @property
    def _twin(self) -> str:
        return self._setting.twin if self._setting else ""

    # -- asked why, and told what it was -------------------------------------------------------------------------------

    def sight(self, finding: Finding) -> Sight | None:
        """Of findings of its own that name a cause it knows."""
        eyes, known = self._eyes, self._taught.known
        if finding.by != "diagnosis" or eyes is None or not eyes.ready or known is None or not self._pair(finding):
            return None
        return Sight(eyes.signals, self._step, eyes.spans.long, 0.0, gaps=True)

    def scored(self, finding: Finding, windows: Floats) -> Floats:
        """Log-odds of the finding's candidate against nothing being wrong, after each window [b, t, s]."""
        eyes, known, pair = self._eyes, self._taught.known, self._pair(finding)
        if eyes is None or known is None or pair is None:
            raise InputError(f"diagnosis cannot judge windows for '{finding.id}'", "it has not learned that cause")
        return np.asarray(known.log_odds(eyes.judged(windows))[:, pair[0], pair[1]])

    def _pair(self, finding: Finding) -> tuple[int, int] | None:
        """The places of the asset and the cause that a finding names."""
        eyes, known = self._eyes, self._taught.known
        if eyes is None or known is None:
            return None
        for i, asset in enumerate(eyes.view.assets):
            for j, cause in enumerate(known.causes):
                if people.said(asset, cause) == finding.name:
                    return i, j
        return None

    def teach(self, finding: Finding, component: str, cause: str) -> bool:
        """A person says what a finding was (component "": nothing was wrong): a case more, which counts at once."""
        eyes, setting = self._eyes, self._setting
        if eyes is None or setting is None or setting.history is None or not eyes.ready:
            return False
        assets = eyes.view.assets
        owner = [a for a in assets if a and (component == a or component.startswith(f"{a} "))]
        if component and not owner:
            return False
        step, n = self._step, eyes.spans.rows
        end = max(finding.time, finding.start) // step * step
        frame = setting.history(list(eyes.signals), end - (n - 1) * step, end, every=step)
        values = np.where(frame.quality == IMPUTED, np.nan, np.asarray(frame.values, float))
        seen = eyes.judged(values[None])[0]
        asset = assets.index(max(owner, key=len)) if owner else -1
        named = people.named(component, cause, assets[asset]) if owner else ""
        try:
            self._taught.add(seen, asset, named, wide=asset == len(assets) - 1)
        except PartError:
            return False
        return True

    # -- restart -------------------------------------------------------------------------------------------------------

    def snapshot(self) -> Mapping[str, Any]:
        eyes = self._eyes
        whole = self._setting is None or self._setting.history is None  # else the rows are read again
        return {
            "eyes": eyes.snapshot(whole) if eyes else None, "names": eyes.signals if eyes else (),
            "slots": eyes.slots if eyes else (), "rows": self._rows if whole else len(self._rows), "off": self._off,
            "times": [self._last, self._judged, self._since], "odds": self._odds,
            "counts": [self._loud, self._quiet], "open": self._open,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        eyes = self._eyes
        if eyes is None or tuple(state["names"]) != eyes.signals or tuple(state["slots"]) != eyes.slots:
            return  # the signals were others: it learns anew
        eyes.restore(state["eyes"])
        self._off = {k: [(int(t), float(x)) for t, x in held] for k, held in state["off"].items()}
        self._last, self._judged, self._since = state["times"]
        odds = state["odds"]
        fits = self._odds_shape() == (None if odds is None else np.shape(odds))
        self._odds = np.asarray(odds) if fits else None
        self._loud, self._quiet = state["counts"]
        self._open = state["open"]
        if not isinstance(state["rows"], int):
            self._rows = np.asarray(state["rows"])
        elif eyes.ready:
            eyes.again(self._read(eyes, self._last - (eyes.behind - 1) * self._step, self._last)[1])
        elif state["rows"]:
            self._rows = self._read(eyes, self._last - (state["rows"] - 1) * self._step, self._last)[1]

    def _odds_shape(self) -> tuple[int, ...] | None:
        known, eyes = self._taught.known, self._eyes
        return (len(eyes.view.assets), len(known.causes)) if known and eyes else None


def _settings(setting: Setting, seen: View) -> tuple[str, ...]:
    return tuple(
        s.name for s in setting.signals
        if s.role in ("controlled", "known") and s.type in ("number", "state") and s.asset not in seen.parts
    )  # fmt: skip
