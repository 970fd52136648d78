"""A two-sided CUSUM chart that finds its own threshold from the stream it watches."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from gemel.core.values import Floats

FLOOR = 2.0  # peaks above this shape the threshold
# Excursions above FLOOR per step, and how far they go beyond it on average, of white standard normal residuals at
# slack 0.5 (asymptotically exp(-2 slack h), Siegmund 1985); they count as if they had been seen for BELIEVED steps.
RATE, EXCESS, BELIEVED = 0.025, 1.0, 400.0
MEMORY = 8000.0  # steps after which what was seen has faded to 1/e
LIMIT = 6.0  # one reading counts at most this much
PAIRS = 48.0  # steps for which no autocorrelation is believed before any is seen


@dataclass(slots=True)
class Chart:
    """Cumulative sums of a standardised residual, upwards and downwards (Page 1954).

    A simulator that is a little wrong leaves residuals that resemble the ones before; what the one before foretells
    (first order, as seen so far) is taken out, the rest is scaled by its own spread and summed. Excursions of the sums
    are counted as they come; their peaks have an exponential tail, whose rate and length give the threshold that would
    be passed `alarms` times in so many steps. What the stream really is (heavy-tailed, badly scaled) is therefore in
    the threshold.
    """

    slack: float = 0.5
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])
    peaks: list[float] = field(default_factory=lambda: [0.0, 0.0])
    starts: list[int] = field(default_factory=lambda: [0, 0])
    steps: float = BELIEVED
    squares: float = BELIEVED
    pairs: float = 0.0
    power: float = PAIRS
    last: float = 0.0
    excursions: float = 2 * BELIEVED * RATE
    excess: float = 2 * BELIEVED * RATE * EXCESS
    sd: float = 1.0  # of the last innovation as predicted, in the signal's unit

    def update(self, residual: float, sd: float, time: int, learn: bool) -> None:
        """One residual and its predicted standard deviation."""
        self.sd = sd
        now = residual / sd
        keep = min(max(self.pairs / self.power, 0.0), 0.98)
        z = (now - keep * self.last) / max(math.sqrt(self.squares / self.steps), 0.05)
        if learn:
            fade = math.exp(-1.0 / MEMORY)
            bounded, before = max(min(now, LIMIT), -LIMIT), max(min(self.last, LIMIT), -LIMIT)
            self.pairs = fade * self.pairs + bounded * before
            self.power = fade * self.power + before * before
            self.squares = fade * self.squares + min(z * z, 9.0) * self.squares / self.steps
            self.steps = fade * self.steps + 1.0
            self.excursions *= fade
            self.excess *= fade
        self.last = now
        z = max(min(z, LIMIT), -LIMIT)
        for side, sign in ((0, 1.0), (1, -1.0)):
            if self.sums[side] == 0.0:
                self.starts[side] = time
            self.sums[side] = max(0.0, self.sums[side] + sign * z - self.slack)
            self.peaks[side] = max(self.peaks[side], self.sums[side])
            if self.sums[side] == 0.0:
                if learn:
                    self._end(self.peaks[side])
                self.peaks[side] = 0.0

    def apart(self, windows: Floats) -> Floats:
        """The highest sum [b] in windows [b, t] of standardised residuals, each by itself; nothing is remembered."""
        z = np.nan_to_num(windows)
        keep = min(max(self.pairs / self.power, 0.0), 0.98)
        before = np.concatenate([np.zeros((len(z), 1)), z[:, :-1]], axis=1)
        z = np.clip((z - keep * before) / max(math.sqrt(self.squares / self.steps), 0.05), -LIMIT, LIMIT)
        sums, top = np.zeros((2, len(z))), np.zeros(len(z))
        for row in z.T:
            sums = np.maximum(sums + np.stack([row, -row]) - self.slack, 0.0)
            top = np.maximum(top, sums.max(axis=0))
        return top

    def threshold(self, alarms: float) -> float:
        """The height that is passed `alarms` times a step on either side."""
        rate = self.excursions / (2.0 * self.steps)
        return FLOOR + max(self.excess / self.excursions, 0.5) * max(math.log(rate / alarms), 1.0)

    def reset(self, learned: float = 0.0) -> None:
        """Both sums to zero; `learned` is a peak that turned out to be nothing, or to be over."""
        if learned:
            self._end(learned)
        self.sums, self.peaks = [0.0, 0.0], [0.0, 0.0]

    def _end(self, peak: float) -> None:
        if peak > FLOOR:
            self.excursions += 1.0
            self.excess += peak - FLOOR
