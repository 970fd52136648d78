"""Validity: whether the calibration in use still holds for the plant as it is now."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gemel.core.artifact import Artifact, Shelf
from gemel.core.calibrated import NAME, in_use
from gemel.core.errors import ConfigError, InputError
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration, instant_id, stamp
from gemel.core.values import Finding, Floats
from gemel.loop.decide import Situation

OUTSIDE, EXPIRED, DRIFTS = "outside calibration", "calibration expired", "calibration drifts"
FEWEST = 30
"""Innovations that are judged, at least."""
CHANCE = 4.0
"""Standard errors beyond which a bias is no chance."""


@declared
class Validity:
    """Finds that a calibration does not hold any more. Every twin with a simulator has one by itself; a row in the twin
    file changes its settings. It says nothing while no calibration is in use.

    `outside calibration`: a signal is outside the region that the calibration was tried in. It opens at once, and while
    it is open no policy plans with the simulator (evidence `invalid`). `calibration expired`: its time is over.
    `calibration drifts`: over a `window`, the innovations of a signal have been off to one side, or larger than
    predicted, by more than chance and more than when it was calibrated. All three make a running twin calibrate again.

    - `again`: the time from one calibration to the next that a finding may begin, "" for never by itself. A finding
      does so when it has been open for a quarter of that.
    - `last`: how much of the past the new one learns from. `valid`: for how long it is good.
    - `window`: of the innovations. `bias`: their mean, in the standard deviations they should have, and `ratio`: the
      predicted spread over the real one, beyond which they count as drifting.
    - `calm`: how long a signal must have been inside its region before the finding closes.
    """

    def __init__(
        self,
        again: str = "1d",
        last: str = "30d",
        valid: str = "90d",
        window: str = "1d",
        bias: float = 1.0,
        ratio: float = 0.5,
        calm: str = "30min",
    ) -> None:
        problems = []
        for key, text in (("again", again), ("last", last), ("valid", valid), ("window", window), ("calm", calm)):
            try:
                if text or key != "again":
                    duration(text)
            except InputError as error:
                problems.append(f"validity: {key}: {error.message}")
        if not (bias > 0 and 0 < ratio < 1):
            problems.append("validity: bias must be above 0, ratio between 0 and 1")
        if problems:
            raise ConfigError(problems, "durations are texts: '1d'")
        self.again, self.last, self.valid = duration(again) if again else 0, last, valid
        self.bias, self.ratio = bias, ratio
        self._window, self._calm = duration(window), duration(calm)
        self._shelf: Shelf | None = None
        self._simulator: Any = None
        self._version, self._used = "", None  # type: str, Artifact | None
        self._open: dict[str, Finding] = {}  # name and subject -> finding
        self._inside: dict[str, int] = {}  # signal -> since when it is back inside
        self._z: dict[str, deque[tuple[int, float]]] = {}  # signal -> (time, normalised innovation)

    def bind(self, setting: Setting) -> None:
        self._shelf, self._simulator = setting.shelf, setting.simulator

    def snapshot(self) -> Mapping[str, Any]:
        return {
            "version": self._version,
            "open": list(self._open.values()),
            "inside": dict(self._inside),
            "z": {n: list(rows) for n, rows in self._z.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._version = str(state["version"])
        self._used = in_use(self._shelf, self._simulator) if self._version else None
        self._open = {_key(f.name, f.subject): f for f in state["open"]}
        self._inside = dict(state["inside"])
        self._z = {n: deque((int(t), float(z)) for t, z in rows) for n, rows in state["z"].items()}

    def inspect(self, situation: Situation) -> list[Finding]:
        used, news = self._present(), list[Finding]()
        if used is None or used.version != self._version:
            news += [self._closed(key, situation.now, "another calibration is in use") for key in list(self._open)]
            self._version = used.version if used else ""
            self._z, self._inside = {}, {}
        if used is None:
            return news
        self._listen(situation)
        news += self._expired(used.card, situation.now)
        suspect = {f.subject for f in situation.findings if f.open and f.evidence.get("distrust")}
        for name, (low, high) in used.card["region"].items():
            if name not in suspect:
                news += self._outside(name, low, high, situation)
            elif (key := _key(OUTSIDE, name)) in self._open:  # a bad sensor says nothing about where the plant is
                news.append(self._closed(key, situation.now, f"{name} is not listened to"))
        for name in self._z:
            news += self._drifted(name, used.card["innovations"].get(name, {}), situation.now)
        return news

    def _present(self) -> Artifact | None:
        """The calibration in use; read again only when another one is."""
        version = self._shelf.promoted(NAME) if self._shelf else ""
        if version != (self._used.version if self._used else ""):
            self._used = in_use(self._shelf, self._simulator)
        return self._used if version else None

    def _listen(self, situation: Situation) -> None:
        belief = situation.belief
        for name, (innovation, spread) in (belief.innovation if belief else {}).items():
            rows = self._z.setdefault(name, deque())
            if belief and spread > 0 and (not rows or rows[-1][0] < belief.time):
                rows.append((belief.time, innovation / spread))
            while rows and rows[0][0] <= situation.now - self._window:
                rows.popleft()

    def _expired(self, card: Mapping[str, Any], now: int) -> list[Finding]:
        if now < card["expires"] or _key(EXPIRED, NAME) in self._open:
            return []
        text = f"the calibration {self._version} was good until {stamp(card['expires'])}"
        return [self._opened(EXPIRED, NAME, now, 0.4, text, {"expired": 1.0})]

    def _outside(self, name: str, low: float, high: float, situation: Situation) -> list[Finding]:
        value, key, now = situation.latest.get(name, math.nan), _key(OUTSIDE, name), situation.now
        if math.isnan(value):
            return []
        if not low <= value <= high:
            self._inside.pop(name, None)
            if key in self._open:
                return []
            text = f"{name} is {value:.4g}, outside {low:.4g} .. {high:.4g} where the calibration {self._version} holds"
            evidence = {"invalid": 1.0, "value": value, "low": low, "high": high}
            return [self._opened(OUTSIDE, name, now, 0.6, text, evidence)]
        if key in self._open and now - self._inside.setdefault(name, now) >= self._calm:
            return [self._closed(key, now, f"{name} is {value:.4g}, inside {low:.4g} .. {high:.4g} again")]
        return []

    def _drifted(self, name: str, usual: Mapping[str, float], now: int) -> list[Finding]:
        """What the innovations of a signal say beside those of the held-back time, `usual`."""
        rows, key = self._z[name], _key(DRIFTS, name)
        if len(rows) < FEWEST or rows[-1][0] - rows[0][0] < 0.8 * self._window:
            return []
        z = np.array([value for _, value in rows])
        off = abs(float(z.mean()) - usual.get("bias", 0.0))
        share = 1.0 / max(float(np.sqrt(np.mean(z * z))), 1e-9)
        least = self.ratio * min(usual.get("ratio", 1.0), 1.0)
        biased, sure = off > max(self.bias, CHANCE * _error(z)), share < least
        if (biased or sure) and key not in self._open:
            text = f"{name} has been {off:.2g} predicted standard deviations off" if biased else ""
            text = text or f"{name} scatters {1 / share:.2g} times as far as predicted"
            evidence = {"bias": float(z.mean()), "ratio": share}
            return [self._opened(DRIFTS, name, now, 0.5, f"{text}, over {len(z)} turns", evidence)]
        if key in self._open and off < self.bias / 2 and share > min(1.5 * least, 1.0):
            return [self._closed(key, now, f"{name} is as predicted again")]
        return []

    def _opened(
        self, name: str, subject: str, now: int, severity: float, text: str, evidence: Mapping[str, float]
    ) -> Finding:
        id = f"{name}-{subject}-{instant_id(now)}".replace(" ", "-")
        found = Finding(id, name, subject, now, now, severity, 0.99, text, evidence=evidence, by="validity")
        self._open[_key(name, subject)] = found
        return found

    def _closed(self, key: str, now: int, text: str) -> Finding:
        return replace(self._open.pop(key), time=now, open=False, text=text)


def _key(name: str, subject: str) -> str:
    return f"{name}: {subject}"


def _error(z: Floats) -> float:
    """The standard error of the mean of z, each related to the one before as much as it is (a first-order process)."""
    x = z - z.mean()
    power = float(x @ x)
    r = min(max(float(x[1:] @ x[:-1]) / power, 0.0), 0.98) if power > 0 else 0.0
    return float(z.std()) / math.sqrt(len(z)) * math.sqrt((1 + r) / (1 - r))
