"""Visual inspection: pictures of parts, judged as they come."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gemel.core import png
from gemel.core.blobs import Blobs
from gemel.core.errors import ConfigError, GemelError, nearest
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import SECOND, instant_id
from gemel.core.values import Finding, Floats
from gemel.detectors.statistics.parts import SHIPPED, Limit, Network, heat, strange
from gemel.detectors.statistics.pictures import Look, features
from gemel.loop.decide import Situation

REJECTS, LOOK, UNREADABLE = "rejects", "look", "unreadable"
_NAMES = {REJECTS: "defects on parts", LOOK: "pictures changed", UNREADABLE: "pictures unreadable"}
DAY = 86_400 * SECOND
MOST = 500
"""Pictures judged in one turn; after a longer pause the newest."""
SEVERAL = 5
"""Pictures whose mean is held against the usual ones, beside that of a window."""
CALM = 10
"""Good parts in a row after which a finding closes; readable pictures: 3."""
PRIOR = 50.0
"""Parts for which the usual share of rejects counts as seen."""
AWAITED = 500
"""Parts that may still be confirmed."""


class _Part(NamedTuple):
    time: int
    code: float
    score: float
    rejected: bool


@declared
class Inspection:
    """Looks at the picture of every part and finds scratches, dents, stains and patches of another texture.

    A network gives each part a score and a map of where the defect is. A part is rejected when its score is one that
    good parts pass only `rejects` of the time. One reject is no finding: `defects on parts` opens when there are more
    within `window` parts than is usual here, carries the worst picture and its heat map (`picture` and `heat` are codes
    of blobs, `row` and `column` the pixel), and closes after ten good parts in a row. `pictures changed` says that the
    light, the focus or the lens is another than it was: such pictures are not judged. `pictures unreadable` names
    what is wrong with what came.

    A person's verdict "false alarm" on the first makes those parts good ones, on the second the new look the usual one.

    - `signal`: the pictures (PNG, grey or RGB, 64 x 64 or a whole multiple), by default the only blob signal.
    - `rejects`: the share of good parts that may be rejected.
    - `confirmed`: a signal that is 1 when the last part in the picture was found good afterwards; the threshold then
      becomes that of your own parts (after 2 / `rejects` of them, of these only).
    - `window`: parts. `alarms_per_week`: findings where nothing is worse than usual, about.
    - `learn`: pictures from which it learns how they usually look.
    - `network`: the folder of another one than the shipped. `exact`: float32 instead of int8.
    """

    def __init__(
        self,
        signal: str = "",
        rejects: float = 0.01,
        confirmed: str = "",
        window: int = 20,
        alarms_per_week: float = 1.0,
        learn: int = 50,
        network: str = "",
        exact: bool = False,
    ) -> None:
        problems = []
        if not 0.001 <= rejects <= 0.5:
            problems.append(f"inspection: rejects {rejects} is not within 0.001 .. 0.5")
        if window < SEVERAL or learn < 2 * SEVERAL:
            problems.append(f"inspection: window must be {SEVERAL} parts or more, learn {2 * SEVERAL} pictures or more")
        if alarms_per_week <= 0:
            problems.append(f"inspection: alarms_per_week {alarms_per_week} must be above 0")
        if problems:
            raise ConfigError(problems, "one good part in a hundred: rejects = 0.01")
        self.rejects, self.window, self.alarms, self.learn = rejects, window, alarms_per_week, learn
        self._signal, self._confirmed, self._folder, self._exact = signal, confirmed, network, exact
        self._setting: Setting | None = None
        self._look = Look(learn)
        self._rows: deque[Floats] = deque(maxlen=window)  # how the last pictures looked
        self._parts: deque[_Part] = deque(maxlen=window)
        self._awaited: deque[tuple[int, float]] = deque(maxlen=AWAITED)  # (time, score) of parts not confirmed yet
        self._open: dict[str, Finding] = {}
        self._told: dict[str, list[float]] = {}  # finding -> scores of its rejects
        self._last = self._heard = 0  # pictures and confirmations have been read up to here
        self._calm = self._readable = 0
        self._judged, self._refused = PRIOR, PRIOR * rejects

    def bind(self, setting: Setting) -> None:
        """Choose the signal, open the network; raises `ConfigError` for a signal that is none."""
        blobs = [s.name for s in setting.signals if s.type == "blob"]
        problems = []
        if self._signal and self._signal not in blobs:
            problems.append(f"inspection: '{self._signal}' is no blob signal{nearest(self._signal, blobs)}")
        if not self._signal and len(blobs) != 1:
            problems.append(f"inspection: which of the {len(blobs)} blob signals? Name it: signal = ...")
        if self._confirmed and self._confirmed not in setting.signals:
            known = setting.signals.names
            problems.append(f"inspection: unknown signal '{self._confirmed}'{nearest(self._confirmed, known)}")
        elif self._confirmed in blobs:
            problems.append(f"inspection: confirmed = '{self._confirmed}' is a picture; it must be 1 or 0")
        if problems:
            raise ConfigError(problems, f"blob signals: {', '.join(blobs) or 'none; give one type = ' + repr('blob')}")
        self._setting, self._name = setting, self._signal or blobs[0]
        self._subject = setting.signals.named(self._name).asset or self._name
        self._network = Network(setting.folder / self._folder if self._folder else SHIPPED, self._exact)
        self._limit = Limit(self._network.usual, self.rejects)
        self._blobs: Blobs = setting.blobs or Blobs(None)

    # -- reading -----------------------------------------------------------------------------------------------------

    def inspect(self, situation: Situation) -> list[Finding]:
        now, news = situation.now, []
        pictures = self._pictures(situation)
        said = self._points(self._confirmed, self._heard + 1, now, situation) if self._confirmed else []
        self._heard = now
        for time, code in pictures:
            while said and said[0][0] < time:
                self._confirm(*said.pop(0))
            news += self._one(time, code, now)
        for time, value in said:
            self._confirm(time, value)
        return news

    def _pictures(self, situation: Situation) -> list[tuple[int, float]]:
        """Those not judged yet, oldest first. What was there before the first turn only teaches how pictures look."""
        if not self._last:
            for _, code in self._points(
                self._name, situation.now - 30 * DAY, situation.now - situation.every, situation
            ):
                if not self._look.ready and (row := self._seen(code)) is not None:
                    self._look.learn(row)
            self._last = self._heard = situation.now - situation.every
        found = self._points(self._name, self._last + 1, situation.now, situation)
        self._last = max([self._last, *(time for time, _ in found)])
        return found[-MOST:]

    def _points(self, name: str, start: int, end: int, situation: Situation) -> list[tuple[int, float]]:
        """Times and values of a signal; without a history its newest value, where it is another."""
        assert self._setting is not None
        if self._setting.history is None:
            value = situation.latest.get(name, math.nan)
            new = math.isfinite(value) and start <= situation.now <= end
            new &= not (name == self._name and self._parts and self._parts[-1].code == value)
            return [(situation.now, value)] if new else []
        frame = self._setting.history([name], start, end)
        values = frame.values[:, 0]
        return [(int(frame.time[i]), float(values[i])) for i in np.flatnonzero(np.isfinite(values))[-2 * MOST :]]

    def _seen(self, code: float) -> Floats | None:
        try:
            return features(self._network.fitted(png.decode(self._blobs.get(code))))
        except GemelError:
            return None

    def _confirm(self, time: int, value: float) -> None:
        """The last part before `time` was found good (1) or not; each is confirmed once."""
        while len(self._awaited) > 1 and self._awaited[1][0] <= time:
            self._awaited.popleft()  # nobody said anything about this one
        if self._awaited and self._awaited[0][0] <= time:
            score = self._awaited.popleft()[1]
            if value == 1:
                self._limit.good(score)

    # -- judging -----------------------------------------------------------------------------------------------------

    def _one(self, time: int, code: float, now: int) -> list[Finding]:
        try:
            seen = self._network.fitted(png.decode(self._blobs.get(code)))
        except GemelError as error:
            self._readable = 0
            return self._told_of(UNREADABLE, time, now, 0.5, f"{self._name}: {error}", {"picture": code})
        self._readable += 1
        news = self._closed(UNREADABLE, now, f"{self._name} can be read again") if self._readable >= 3 else []
        row = features(seen)
        self._rows.append(row)
        if not self._look.ready:
            self._look.learn(row)
            self._rows.clear()
        news += self._looked(time, code, now)
        if LOOK in self._open or self._look.odd(row):
            return news
        score = self._network.judge(seen).score
        part = _Part(time, code, score, score > self._limit.value())
        if len(self._parts) == self.window and REJECTS not in self._open:  # what leaves the window was usual
            self._judged, self._refused = self._judged + 1, self._refused + self._parts[0].rejected
        self._parts.append(part)
        self._awaited.append((time, part.score))
        self._calm = 0 if part.rejected else self._calm + 1
        if REJECTS in self._open and self._calm >= CALM:
            self._parts.clear()
            return news + self._closed(REJECTS, now, f"{CALM} good parts in a row")
        return news + (self._again(part, now) if REJECTS in self._open else self._first(now))

    def _looked(self, time: int, code: float, now: int) -> list[Finding]:
        """Whether the pictures themselves are others than they were."""
        rows = np.array(self._rows)
        said = [self._look.moved(rows[-n:]) for n in (SEVERAL, self.window) if len(rows) >= n]
        if LOOK in self._open:
            if not said or said[0][1] >= 0.7:
                return []
            self._rows.clear()
            return self._closed(LOOK, now, "pictures look as usual again")
        what, far = max(said, key=lambda one: one[1], default=("", 0.0))
        odd = self._look.odd(rows[-1]) if len(rows) else ""
        if far <= 1.0 and not (odd and len(rows) > 1 and self._look.odd(rows[-2])):
            return []
        news = self._closed(REJECTS, now, "the pictures themselves have changed, so rejects say nothing")
        self._parts.clear()
        what = what if far > 1.0 else f"the {odd} is out of all bounds"
        text = f"{what} in the pictures of {self._name} (light, focus, dirt, or one mark on every part): not judged"
        return news + self._told_of(LOOK, time, now, 0.6, text, {"picture": code, "moved": far})

    def _first(self, now: int) -> list[Finding]:
        """Whether there are more rejects than usual. Some pictures after the first are waited for: by then a dirty lens
        is known."""
        rejects = [p for p in self._parts if p.rejected]
        places = [i for i, p in enumerate(self._parts) if p.rejected] or [len(self._parts)]
        while len(places) > 1 and places[-1] - places[-2] <= SEVERAL:  # back to the first of those close together
            places.pop()
        since = len(self._parts) - places[-1]
        share = max(self._refused / self._judged, self.rejects)
        spacing = (self._parts[-1].time - self._parts[0].time) / max(len(self._parts) - 1, 1)
        chance = min(max(self.alarms * spacing / (7 * DAY), 1e-6), 0.05)
        if since < SEVERAL or not strange(len(rejects), self.window, share, chance):
            return []
        if self._look.moved(np.array(self._rows)[-since:])[1] > 1.0:
            return []
        self._told[_id(REJECTS, self._subject, now)] = [p.score for p in rejects]
        self._told = dict([*self._told.items()][-5:])
        return self._shown(self._parts[-since].time, max(rejects, key=lambda p: p.score), now)

    def _again(self, part: _Part, now: int) -> list[Finding]:
        """What one more part adds to the finding: a worse defect, or many more of them."""
        held, count = self._open[REJECTS], sum(p.rejected for p in self._parts)
        if not part.rejected:
            return []
        self._told.setdefault(held.id, []).append(part.score)
        worse = part.score - self._limit.value() > held.evidence["score"] + 1.0
        return self._shown(held.start, part, now) if worse or count >= 1.5 * held.evidence["rejected"] else []

    def _shown(self, start: int, part: _Part, now: int) -> list[Finding]:
        """The finding, with the picture of this part and where its defect is."""
        count, parts, limit = sum(p.rejected for p in self._parts), len(self._parts), self._limit.value()
        evidence = {"picture": part.code, "rejected": float(count), "parts": float(parts), "score": part.score - limit}
        text = f"{count} of the last {parts} parts are rejected"
        with suppress(GemelError):  # the picture is gone, or the disk is full: the finding stands without
            verdict = self._network.judge(self._network.fitted(png.decode(self._blobs.get(part.code))))
            evidence |= {"row": float(verdict.row), "column": float(verdict.column)}
            text += f"; in the picture at row {verdict.row}, column {verdict.column}"
            evidence["heat"] = self._blobs.put(png.encode(heat(verdict.cells, limit, self._network.side)), "png")
        return self._told_of(REJECTS, start, now, min(0.4 + count / parts, 1.0), text, evidence)

    # -- telling -----------------------------------------------------------------------------------------------------

    def _told_of(
        self, what: str, start: int, now: int, severity: float, text: str, evidence: Mapping[str, float]
    ) -> list[Finding]:
        held, name = self._open.get(what), _NAMES[what]
        if held is not None:
            found = replace(held, time=now, severity=severity, text=text, evidence=evidence)
        else:
            id = _id(what, self._subject, now)
            sure = 1.0 - self.rejects
            found = Finding(id, name, self._subject, min(start, now), now, severity, sure, text,
                            evidence=evidence, by="inspection")  # fmt: skip
        if held is not None and what == UNREADABLE and held.text == text:
            return []
        self._open[what] = found
        return [found]

    def _closed(self, what: str, now: int, text: str) -> list[Finding]:
        held = self._open.pop(what, None)
        return [] if held is None else [replace(held, time=now, open=False, text=text)]

    def teach(self, finding: Finding, component: str, cause: str) -> None:
        """A person's verdict; "" for the component is a false alarm."""
        if finding.by != "inspection" or component:
            return
        for score in self._told.pop(finding.id, []):
            self._limit.good(score)
        if finding.name == _NAMES[LOOK]:
            self._look.forget()
            self._rows.clear()

    def snapshot(self) -> Mapping[str, Any]:
        return {
            "look": self._look.snapshot(),
            "rows": list(self._rows),
            "parts": [list(p) for p in self._parts],
            "awaited": [list(p) for p in self._awaited],
            "open": dict(self._open),
            "told": dict(self._told),
            "own": list(self._limit.own),
            "counts": [self._last, self._heard, self._calm, self._readable, self._judged, self._refused],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._look.restore(state["look"])
        self._rows = deque(state["rows"], self.window)
        self._parts = deque((_Part(*p) for p in state["parts"]), self.window)
        self._awaited = deque(((int(t), float(s)) for t, s in state["awaited"]), AWAITED)
        self._open, self._told = dict(state["open"]), {id: list(scores) for id, scores in state["told"].items()}
        self._limit.restore(list(state["own"]))
        self._last, self._heard, self._calm, self._readable, self._judged, self._refused = state["counts"]


def _id(what: str, subject: str, now: int) -> str:
    return f"{_NAMES[what]}-{subject}-{instant_id(now)}".replace(" ", "-")
