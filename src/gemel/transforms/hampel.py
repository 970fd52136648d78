"""Spikes: the Hampel identifier, looking back only.

Source: R. K. Pearson, "Outliers in process modeling and identification", IEEE Trans. Control Systems Technology
10(1), 2002; after F. R. Hampel, "The influence curve and its role in robust estimation", JASA 69, 1974.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, nearest
from gemel.core.setting import Setting
from gemel.core.values import BAD, UNCERTAIN, Batch, Bools, Floats, Signals
from gemel.transforms.memory import Column, Grouped, Memory, chosen, floats, marked, times, usable

_MARKS = {"bad": BAD, "uncertain": UNCERTAIN}
_SCALE = 1.4826
"""The median absolute deviation times this is the standard deviation of a normal distribution."""


class Hampel:
    """Marks a point that lies far from the median of its signal's last `window` points (itself among them).

    Far is more than `sigma` robust standard deviations, 1.4826 times the window's median absolute deviation. Where
    more than half of the window is one value that deviation is zero, so it counts as at least the smallest change the
    signal has ever made (its resolution, learned), and at least `floor`. A point that at least `burst` of the others
    in the window bear out (they are as close to it) is no spike: so at the start of a real step the first
    `burst` points are marked and no more. Late points, and the first four of a signal, are not judged.

    Looking back only, the first points of a true jump cannot be told from a spike, so the defaults are for the wild
    ones: of the oil temperatures of a real transformer (ETTm1) they mark 0.25 %. Leave a signal that rests and jumps
    by nature (a pump, a valve) out with `skip`.

    - `window`: points, at least 5.
    - `sigma`: how far is too far.
    - `burst`: the longest run of wild points that is taken for a spike, at most half of the window.
    - `floor`: by signal name, the smallest deviation that counts, in its unit: `{ oil = 0.1 }`.
    - `mark`: `bad` or `uncertain`.
    - `signals`, `skip`: look at these only; leave these out. Measured numbers otherwise.
    """

    def __init__(
        self,
        window: int = 21,
        sigma: float = 8.0,
        burst: int = 2,
        floor: Mapping[str, float] | None = None,
        mark: str = "bad",
        signals: Sequence[str] = (),
        skip: Sequence[str] = (),
    ) -> None:
        problems = []
        if window < 5:
            problems.append(f"hampel: window {window} is below 5 points")
        if sigma <= 0:
            problems.append(f"hampel: sigma {sigma} must be above 0")
        if not 1 <= burst <= window // 2:
            problems.append(f"hampel: burst {burst} is not between 1 and half of the window ({window // 2})")
        if mark not in _MARKS:
            problems.append(f"hampel: mark '{mark}'{nearest(mark, _MARKS)} is not one of {', '.join(_MARKS)}")
        if problems:
            raise ConfigError(problems)
        self.window, self.sigma, self.burst, self.mark = window, sigma, burst, mark
        self.floor = dict(floor or {})
        self.signals, self.skip = tuple(signals), tuple(skip)
        self._which: Bools = np.zeros(0, bool)
        self._floor: Floats = np.zeros(0)
        self._memory = Memory(Signals(()))

    def bind(self, setting: Setting) -> None:
        signals = setting.signals
        s = len(signals)
        self._which = chosen("hampel", signals, self.signals, self.skip)
        self._floor = floats(signals, self.floor, "hampel")
        self._memory = Memory(
            signals,
            time=times(signals),
            value=np.full((s, self.window - 1), np.nan),
            resolution=np.full(s, np.inf),
        )

    def apply(self, batch: Batch) -> Batch:
        group = Grouped.of(batch, usable(batch, self._which))
        if not len(group):
            return batch
        group = group.only(group.fresh(batch.time[group.index], self._memory["time"]))
        if not len(group):
            return batch
        value = batch.value[group.index]
        windows = group.windows(value, self._memory["value"])
        spike = self._judge(value, windows, self._resolution(group, windows))
        return marked(batch, group.index[spike], _MARKS[self.mark])

    def _resolution(self, group: Grouped, windows: Column) -> Floats:
        """The smallest change of the signal before each point, [k]."""
        value, last = windows[:, -1], windows[:, -2]
        change = np.abs(value - last)
        real = change > 1e-9 * np.abs(value)  # less is arithmetic, not movement; NaN (no last one) is false
        change = np.where(real, change, np.inf)
        learned = self._memory["resolution"]
        smallest = group.running(np.minimum, change, learned)
        found: Floats = group.before(smallest, learned)
        group.keep(learned, smallest)
        return np.maximum(found, self._floor[group.signal])

    def _judge(self, value: Floats, windows: Column, least: Floats) -> Bools:
        held = np.count_nonzero(windows == windows, axis=1)  # NaN stands before the first point
        middle = _median(windows, held)
        away = np.abs(windows - middle[:, None])
        reach = self.sigma * np.maximum(_SCALE * _median(away, held), least)
        suspect = (away[:, -1] > reach) & (held >= 5)
        if suspect.any():
            near = np.abs(windows[suspect] - value[suspect, None]) <= reach[suspect, None]
            suspect[suspect] = np.count_nonzero(near, axis=1) <= self.burst  # itself among them
        return suspect

    def snapshot(self) -> Mapping[str, Any]:
        return self._memory.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._memory.restore(state)


def _median(rows: Column, held: Column) -> Floats:
    """The median of each row's `held` numbers, [k]; the rest of a row is NaN, which sorts last."""
    ordered = np.sort(rows, axis=1)
    k = np.arange(len(rows))
    found: Floats = (ordered[k, (held - 1) // 2] + ordered[k, held // 2]) / 2
    return found
