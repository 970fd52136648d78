"""Virtual metrology: the quality of parts that nobody measured, from what the process says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import instant_id
from gemel.core.values import Bools, Finding, Floats, Frame, Signals
from gemel.detectors.reading import Reading, spans
from gemel.detectors.statistics.gauge import ACCEPT, MEASURE, REJECT, Foretold, Gauge
from gemel.loop.decide import Situation

WORDS = {REJECT: "reject", MEASURE: "measure"}
SEVERITY = {REJECT: 0.6, MEASURE: 0.1}
MOST_STATES = 8
"""States of a signal that are told apart."""
MOST_ROWS = 20_000
"""Rows that are remembered for the bands, at most."""


@declared
class Metrology:
    """Foretells a quality that is measured of few parts, from process signals, and says of the parts that leave now
    whether to accept, reject or measure them. It learns from every measurement, from the first on; nobody trains it.

    A finding opens where parts should be rejected, or measured by hand; its evidence holds the value foretold, the
    interval, and what each signal has to do with it. Where all is to be accepted there is none. `judge` says the same
    of a recorded frame, row by row. Go on measuring some parts at random: so it knows how far to trust itself.

    - `of`: the signal that is measured now and then. `lower`, `upper`: what is good, by default its `low` and `high`.
    - `escape`: the share of parts that may be accepted though they are bad; `waste`: rejected though they are good.
    - `signals`: what to foretell from, by default every other number and state, controlled ones too. With machines'
      numbers name their states too.
    - `at_work`: the state in which a machine's signals count, where its asset has a signal with such a state.
    - `bands`: edges, in rows ago, between which signals are averaged: how long parts take from the first station on.
    - `learn`: the time it begins with, read from the history if there is one. `step`: spacing of the rows, by default
      the twin's `every`.
    - `raise_after`, `clear_after`: rows in a row with an answer before a finding opens, and without before it closes.
    """

    def __init__(
        self,
        of: str,
        lower: float | None = None,
        upper: float | None = None,
        escape: float = 0.01,
        waste: float = 0.02,
        signals: Sequence[str] = (),
        at_work: str = "busy",
        bands: Sequence[int] = (30, 120),
        learn: str = "14d",
        step: str = "",
        raise_after: int = 3,
        clear_after: int = 10,
    ) -> None:
        problems = []
        if not 0 < escape < 0.5 or not 0 < waste < 0.5:
            problems.append("metrology: escape and waste must be above 0 and below 0.5")
        if lower is not None and upper is not None and lower >= upper:
            problems.append(f"metrology: lower {lower:g} is not below upper {upper:g}")
        edges = (0, *bands)
        if len(edges) < 2 or any(b <= a for a, b in pairwise(edges)) or not all(isinstance(b, int) for b in bands):
            problems.append("metrology: bands must be whole rows ago that rise, the first above 0")
        elif edges[-1] > MOST_ROWS:
            problems.append(
                f"metrology: bands reach {edges[-1]} rows back, {MOST_ROWS} is the most: choose a longer step"
            )
        if not all(limit is None or math.isfinite(limit) for limit in (lower, upper)):
            problems.append("metrology: lower and upper must be numbers; leave out the one that there is not")
        if of in signals:
            problems.append(f"metrology: '{of}' cannot be foretold from itself")
        if raise_after < 1 or clear_after < 1:
            problems.append("metrology: raise_after and clear_after must be 1 or more")
        problems += spans("metrology", learn, step)
        if problems:
            raise ConfigError(problems, 'of = "size", lower = -20, upper = 20, escape = 0.01, bands = [30, 120]')
        self.of, self.lower, self.upper, self.escape, self.waste = of, lower, upper, escape, waste
        self.at_work, self.bands = at_work, edges
        self.raise_after, self.clear_after = raise_after, clear_after
        self._chosen = tuple(signals)
        self._reading = Reading("metrology", (*signals, of) if signals else (), learn, step, all=True)
        self._known: Signals | None = None
        self._gauge = self._fresh()
        self._last, self._rows = ACCEPT, 0  # the answer, and for how many rows
        self._open: Finding | None = None

    def bind(self, setting: Setting) -> None:
        known = setting.signals.names
        if self.of not in known:
            raise ConfigError(
                [f"metrology: unknown signal '{self.of}'{nearest(self.of, known)}"], f"known: {', '.join(known)}"
            )
        if setting.signals.named(self.of).type != "number":
            raise ConfigError([f"metrology: '{self.of}' is no number"], "of names what is measured")
        self._reading.bind(setting)
        own = setting.signals.named(self.of)
        self.lower, self.upper = (b if a is None else a for a, b in ((self.lower, own.low), (self.upper, own.high)))
        if self.lower is None and self.upper is None:
            raise ConfigError([f"metrology: nothing says what is good of '{self.of}'"], "give it lower or upper")
        if not self._inputs(self._reading.names):
            raise ConfigError(
                [f"metrology: nothing to foretell '{self.of}' from"], "name numbers or states: signals = [...]"
            )
        self._known = setting.signals
        self._gauge = self._fresh()

    def inspect(self, situation: Situation) -> list[Finding]:
        time, values = self._reading.rows(situation)
        if not len(time):
            return []
        said = self._take(self._gauge, self._reading.names, values)
        news = []
        for i, answer in enumerate(said.answer.tolist()):
            self._rows = self._rows + 1 if answer == self._last else 1
            self._last = answer
            if self._gauge.ready and np.isfinite(said.value[i]):
                news += self._told(situation.now, int(time[i]), said, i)
        return news

    def judge(self, frame: Frame) -> Foretold:
        """What it says of every row of a recorded frame [t], knowing nothing at first, each row before its measurement
        is learned from. Raises `InputError` where the frame does not hold what is to be foretold."""
        if self.of not in frame.signals:
            raise InputError(f"the frame does not hold '{self.of}'", f"it holds: {', '.join(frame.signals)}")
        return self._take(self._fresh(), frame.signals, frame.values)

    def _fresh(self) -> Gauge:
        return Gauge(self.lower, self.upper, self.escape, self.waste, self.bands)

    def _take(self, gauge: Gauge, names: Sequence[str], values: Floats) -> Foretold:
        """What a gauge says of rows [t, s] of these signals."""
        columns: list[Floats] = []
        busy: list[Bools] = []
        for name in self._inputs(names):
            column, states = values[:, names.index(name)], self._states(name)
            columns += [np.where(np.isfinite(column), column == k, np.nan) for k in states] or [column]
            busy += [self._working(name, names, values)] * max(len(states), 1)
        wide = np.stack(columns, axis=1) if columns else np.empty((len(values), 0))
        return gauge.take(wide, values[:, names.index(self.of)], np.stack(busy, axis=1) if busy else wide > 0)

    def _inputs(self, names: Sequence[str]) -> list[str]:
        """The signals that it foretells from."""
        return [n for n in names if n != self.of and (not self._chosen or n in self._chosen)]

    def _shares(self) -> dict[str, float]:
        """What each signal has to do with what is foretold now, as shares; the eight that have most."""
        parts, found, place = np.abs(self._gauge.parts()), {}, 0
        for name in self._inputs(self._reading.names):
            width = max(len(self._states(name)), 1)
            found[name] = float(parts[place : place + width].sum())
            place += width
        total = max(sum(found.values()), 1e-300)
        lead = sorted(found, key=lambda n: -found[n])[:8]
        return {name: found[name] / total for name in lead if found[name] >= 0.01 * total}

    def _states(self, name: str) -> range:
        """The codes of a state signal that are told apart; none of a number."""
        if self._known is None or self._known.named(name).type != "state":
            return range(0)
        return range(min(max(len(self._known.named(name).states), 2), MOST_STATES))

    def _working(self, name: str, names: Sequence[str], values: Floats) -> Bools:
        """Whether the asset of a signal was at work, [t]."""
        own = self._known.named(name) if self._known is not None else None
        if self._known is not None and own is not None and own.type == "number" and own.asset:
            for other in self._known:
                if other.asset == own.asset and self.at_work in other.states and other.name in names:
                    return np.asarray(values[:, names.index(other.name)] == list(other.states).index(self.at_work))
        return np.ones(len(values), bool)

    def _told(self, now: int, stamp: int, said: Foretold, i: int) -> list[Finding]:
        held = self._open
        if self._last == ACCEPT:
            if held is None or self._rows < self.clear_after:
                return []
            self._open = None
            return [replace(held, time=now, open=False, text=f"{self.of} can be accepted again")]
        if self._rows < self.raise_after:
            return []
        name = f"{WORDS[self._last]} {self.of}"
        if held is not None and held.name == name:
            return []
        closed = [] if held is None else [replace(held, time=now, open=False, text=f"now: {name}")]
        value, low, high = float(said.value[i]), float(said.low[i]), float(said.high[i])
        limits = (f"{a:g}" if a is not None else "-" for a in (self.lower, self.upper))
        spread = {"low": low, "high": high} if np.isfinite(low + high) else {}
        sure = 1.0 - (self.waste if self._last == REJECT else self.escape)
        self._open = Finding(
            f"{name}-{instant_id(stamp)}".replace(" ", "-"), name, self.of, min(stamp, now), now, SEVERITY[self._last],
            sure, f"{self.of} is foretold as {value:.4g} ({low:.4g} to {high:.4g}), allowed is {' to '.join(limits)}",
            evidence={"value": value, **spread, **self._shares()}, by="metrology",
        )  # fmt: skip
        return [*closed, self._open]

    def snapshot(self) -> Mapping[str, Any]:
        return {
            "reading": self._reading.snapshot(),
            "gauge": self._gauge.snapshot(),
            "answer": [self._last, self._rows],
            "open": self._open,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        if self._reading.restore(state["reading"]):
            self._gauge.restore(state["gauge"])
            self._last, self._rows = state["answer"]
            self._open = state["open"]
