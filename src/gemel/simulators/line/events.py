"""The events of one step: every member has a clock of its own, and all of them go on to their next event at once.

Legend: M machines, m members; i places of machines, j of members; queue i stands before machine i.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gemel.core.values import Bools, Floats
from gemel.simulators.line.chance import Keys, uniform, unit

IDLE, BUSY, BLOCKED, STARVED, SETUP, DOWN, SERVICE = range(7)
STATES = ("idle", "busy", "blocked", "starved", "setup", "down", "service")
TINY = 1e-9
"""Seconds: what happens within them happens at once."""
STREAMS = 8
CYCLE, SPREAD, FAIL, REPAIR, REPAIR_SPREAD, WEAR, WEAR_SPREAD, SCRAP = range(STREAMS)
Counts = npt.NDArray[np.int64]
Pairs = tuple[Any, ...]
"""Places (i [n], j [n]) of machines in members."""


@dataclass(frozen=True)
class Plan:
    """What stays the same: rows [M, 1] of the machines' numbers, and times of set-up (machine, from, to) -> s."""

    cv: Floats
    repair_cv: Floats
    wear_cv: Floats
    power: Floats
    service: Floats
    operators: Floats
    wears: Bools
    by_cycle: Bools
    setup: Callable[[Counts, Counts, Counts], Floats]
    factor: Callable[[Counts, Counts], Floats | float]


@dataclass
class Course:
    """One step of all members, worked on in place. Codes, times, wear [M, m]; `queue` [M, m]; `due` [m] is what is
    left of the present order's interval, in orders; `rate` [m] orders a second; parameters [M, m]."""

    plan: Plan
    key: Keys
    code: Counts
    left: Floats
    work: Floats
    life: Floats
    wear: Floats
    family: Counts
    asked: Bools
    queue: Floats
    due: Floats
    began: Counts
    lives: Counts  # that have ended, by failure or service
    came: Counts
    # inputs
    rate: Floats
    random: bool  # whether orders come at random, else evenly
    wanted: Counts  # the family that is asked for, [m]
    capacity: Floats  # of queue i, [M, m]
    crew: Floats  # operators, [m]
    # parameters
    cycle: Floats
    mtbf: Floats
    mttr: Floats
    worn: Floats  # wear a part
    hazard: Floats
    scrap: Floats
    scrap_worn: Floats

    def __post_init__(self) -> None:
        shape = self.code.shape
        self.shares: Floats = np.zeros((len(STATES), *shape))
        self.parts: Floats = np.zeros(shape)
        self.good: Floats = np.zeros(shape[1])
        self.bad: Floats = np.zeros(shape[1])
        self.held: Floats = np.zeros(shape[1])  # parts and orders in the line, times seconds
        self._row, self._column = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
        self._first = 0 if np.isfinite(self.queue[0]).all() else 1  # an endless stock is not held
        self._staffed = bool(np.isfinite(self.crew).all() and self.plan.operators.any())
        self._hazard = 1.0 / self.mtbf + np.zeros(shape)
        self._worn_out = bool((self.hazard > 0).any())
        if self._worn_out:
            self._age(np.nonzero(np.ones(shape, bool)))

    def run(self, dt: float) -> None:
        """`dt` seconds on."""
        rest = np.full(self.code.shape[1], float(dt))
        self._settle()
        steady, still = self.plan.by_cycle, np.full(self.code.shape, np.inf)
        while (alive := rest > 0).any():
            busy = self.code == BUSY
            to_failure = np.divide(self.life, self._hazard, out=still.copy(), where=~steady & (self._hazard > 0))
            tau = np.where(busy, np.minimum(self.work, to_failure), np.where(self.code >= SETUP, self.left, np.inf))
            order = np.divide(self.due, self.rate, out=still[0].copy(), where=self.rate > 0)
            t = np.minimum(np.minimum(tau.min(axis=0), order), rest)
            t = np.maximum(t, 0.0)
            self._pass(t, busy)
            rest -= t
            rest[rest <= TINY] = 0.0
            hit = (tau <= t + TINY) & alive
            fell = hit & busy & (self.work > TINY)
            self._over(hit & ~busy)
            self._fail(fell)
            self._finish(hit & busy & ~fell)
            self._order(alive & (order <= t + TINY))
            self._settle()

    def _pass(self, t: Floats, busy: Bools) -> None:
        self.shares[self.code, self._row, self._column] += t
        spent = np.where(busy, t, 0.0)
        self.work -= spent
        self.life -= spent * self._hazard
        self.left -= t - spent
        self.due -= self.rate * t
        inside = (busy | (self.code == BLOCKED) | ((self.code == DOWN) & (self.work > 0))).sum(axis=0)
        self.held += t * (inside + self.queue[self._first :].sum(axis=0))

    def _order(self, came: Bools) -> None:
        j = np.flatnonzero(came)
        if not len(j):
            return
        self.queue[0, j] += 1
        self.came[j] += 1
        self.due[j] = -np.log(uniform(self.key[j], 0, self.came[j])) if self.random else 1.0

    def _finish(self, done: Bools) -> None:
        """Cycles that have ended: wear, scrap, and the part waits for room."""
        i, j = pair = np.nonzero(done)
        if not len(i):
            return
        self.work[pair] = 0.0
        self.parts[pair] += 1
        spoilt = self.scrap[pair] + self.scrap_worn[pair] * self.wear[pair] ** self.plan.power[i, 0]
        bad = np.zeros(len(i), bool)
        if (spoilt > 0).any():
            bad = self._draw(pair, SCRAP, self.began) < spoilt
            self.bad += np.bincount(j[bad], minlength=len(self.bad))
        out = ~bad & (i == len(self.code) - 1)
        self.good += np.bincount(j[out], minlength=len(self.good))
        self.code[pair] = np.where(bad | out, STARVED, BLOCKED)
        if self.plan.wears.any():
            each = self._varied(pair, self.plan.wear_cv, (WEAR, WEAR_SPREAD), self.began)
            self.wear[pair] += self.worn[pair] * each
            self._age(pair)

    def _fail(self, fell: Bools) -> None:
        i, _ = pair = np.nonzero(fell)
        if not len(i):
            return
        self.code[pair] = DOWN
        self.lives[pair] += 1
        one, other = self._draw(pair, REPAIR, self.lives), self._draw(pair, REPAIR_SPREAD, self.lives)
        smooth = self.mttr[pair] * unit(self.plan.repair_cv[i, 0], one, other)
        chance = np.clip(self.cycle[pair] / self.mttr[pair], 1e-12, 1 - 1e-12)
        whole = np.ceil(np.log(one) / np.log1p(-chance)) * self.cycle[pair]  # geometric, in cycles
        self.left[pair] = np.where(self.plan.by_cycle[i, 0], whole, smooth)

    def _over(self, over: Bools) -> None:
        """Set-ups, repairs and services that have ended; the latter two renew the tool."""
        pair = np.nonzero(over)
        if not len(pair[0]):
            return
        was = self.code[pair]
        self.left[pair] = 0.0
        setup = was == SETUP
        self.family[pair] = np.where(setup, self.wanted[pair[1]], self.family[pair])
        self.code[pair] = np.where(was == DOWN, BUSY, STARVED)
        fresh = (pair[0][~setup], pair[1][~setup])
        self.wear[fresh] = np.where(self.plan.wears[fresh[0], 0], 0.0, self.wear[fresh])
        self.lives[fresh] += was[~setup] == SERVICE
        self.life[fresh] = -np.log(self._draw(fresh, FAIL, self.lives))
        self._age(fresh)

    def _settle(self) -> None:
        """Parts move on and machines begin, the last machine first: what it takes makes room for the one before."""
        code, queue, last = self.code, self.queue, len(self.code) - 1
        begins = np.zeros(code.shape, bool)
        asked = bool(self.asked.any())
        turning = self.family != self.wanted
        changing = bool(turning.any())
        if self._staffed:
            spare = self.crew - (self.plan.operators * ((code == BUSY) | (code == SETUP))).sum(axis=0)
        for i in range(last, -1, -1):
            mine = code[i]
            if i < last:
                go = (mine == BLOCKED) & (queue[i + 1] < self.capacity[i + 1])
                queue[i + 1] += go
                mine[go] = STARVED
            free = (mine == STARVED) | (mine == IDLE)
            if asked:
                begin = free & self.asked[i]
                mine[begin] = SERVICE
                self.left[i, begin] = self.plan.service[i, 0]
                self.asked[i, begin] = False
                free &= ~begin
            there = free & (queue[i] > 0)
            if i:
                there |= free & (code[i - 1] == BLOCKED)
            if self._staffed:
                there &= spare >= self.plan.operators[i, 0]
                mine[free] = np.where((queue[i] > 0)[free], IDLE, STARVED)
                spare = spare - there * self.plan.operators[i, 0]
            if changing:
                change = there & turning[i]
                mine[change] = SETUP
                self.left[i, change] = 0.0
                there &= ~change
            mine[there] = BUSY
            queue[i] -= there
            begins[i] = there
        if changing:
            self._set_up()
        self._begin(np.nonzero(begins))

    def _set_up(self) -> None:
        pair = np.nonzero((self.code == SETUP) & (self.left <= 0))
        i, j = pair
        if len(i):
            self.left[pair] = np.maximum(self.plan.setup(i, self.family[pair], self.wanted[j]), TINY)

    def _begin(self, pair: Pairs) -> None:
        """Cycles begin: how long they take, and, where failures strike at their beginning, whether one does."""
        i, _ = pair
        if not len(i):
            return
        self.began[pair] += 1
        mean = self.cycle[pair] * self.plan.factor(i, self.family[pair])
        self.work[pair] = mean * self._varied(pair, self.plan.cv, (CYCLE, SPREAD), self.began)
        struck = self.plan.by_cycle[i, 0]
        if struck.any():
            at = (i[struck], pair[1][struck])
            falls = self._draw(at, FAIL, self.began) < self._hazard[at] * self.cycle[at]
            fell = np.zeros(self.code.shape, bool)
            fell[at[0][falls], at[1][falls]] = True
            self._fail(fell)

    def _varied(self, pair: Pairs, cv: Floats, streams: tuple[int, int], counts: Counts) -> Floats | float:
        """Numbers of mean 1 with the coefficients of variation `cv` [M, 1]."""
        own = cv[pair[0], 0]
        if not own.any():
            return 1.0
        one = self._draw(pair, streams[0], counts)
        other = self._draw(pair, streams[1], counts) if ((own > 0) & (own != 1)).any() else one
        return unit(own, one, other)

    def _draw(self, pair: Pairs, stream: int, counts: Counts) -> Floats:
        return uniform(self.key[pair[1]], 1 + pair[0] * STREAMS + stream, counts[pair])

    def _age(self, pair: Pairs) -> None:
        """The rate of failures per busy second of these machines, which grows with wear."""
        if self._worn_out:
            worn = self.hazard[pair] / 3600.0 * self.wear[pair] ** self.plan.power[pair[0], 0]
            self._hazard[pair] = 1.0 / self.mtbf[pair] + worn
