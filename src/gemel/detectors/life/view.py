"""What is looked at of a unit's history: a summary of all of it at every row, and the last rows as a window.

Only the unit's own past is used. Letters: t rows, c channels, f numbers of a summary, w tokens of a window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gemel.core.values import Float32s, Floats


@dataclass(frozen=True)
class View:
    """`first`: rows of a unit that are its own usual. `spans`: rows that means and slopes are taken over, beside all.
    `decay`: of the moving average. A window is `tokens` means of `block` rows each."""

    first: int = 20
    spans: tuple[int, ...] = (10, 30)
    decay: float = 0.1
    tokens: int = 16
    block: int = 3

    def summary(self, x: Floats) -> Float32s:
        """Deviations [t, c] of a unit from its first row on -> [t, f]: age, and of each channel means and slopes over
        the spans, the spread over the longest, the newest value and its moving average, what this is above the mean of
        the unit's own first rows, and that mean."""
        x = filled(x)
        t = np.arange(1, len(x) + 1)
        one, square, ramp = _sums(x), _sums(x * x), _sums(x * t[:, None])
        own = self._own(one, t)
        found: list[Floats] = [t[:, None].astype(float)]
        for i, span in enumerate((*self.spans, len(x))):
            start = np.maximum(t - span, 0)
            n = (t - start)[:, None]
            mean = (one[t] - one[start]) / n
            middle = (t + start + 1)[:, None] / 2
            slope = ((ramp[t] - ramp[start]) / n - middle * mean) / np.maximum((n * n - 1) / 12, 1e-9)
            found += [mean, np.where(n > 3, slope, 0.0)]
            if i == len(self.spans) - 1:
                found.append(np.sqrt(np.maximum((square[t] - square[start]) / n - mean * mean, 0.0)))
        moving = self._moving(x)
        return np.hstack([*found, x, moving, moving - own, own]).astype(np.float32)

    def windows(self, x: Floats, last: bool = False) -> Float32s:
        """Deviations [t, c] of a unit -> a window for each row (or the `last`), [t, w, 2 c + 2]: means of blocks, the
        mean of the unit's own first rows, age, and whether there were rows at all (else the own mean stands there)."""
        x = filled(x)
        c = x.shape[1]
        t = np.arange(len(x) if last else 1, len(x) + 1)
        one = _sums(x)
        own = self._own(one, t)
        found = np.zeros((len(t), self.tokens, 2 * c + 2), np.float32)
        for j in range(self.tokens):
            end = t - (self.tokens - 1 - j) * self.block
            there = end > 0
            end = np.maximum(end, 0)
            start = np.maximum(end - self.block, 0)
            mean = (one[end] - one[start]) / np.maximum(end - start, 1)[:, None]
            found[:, j, :c] = np.where(there[:, None], mean, own)
            found[:, j, c : 2 * c] = own
            found[:, j, 2 * c] = end / 100.0
            found[:, j, 2 * c + 1] = there
        return found

    def _own(self, one: Floats, t: npt.NDArray[np.int64]) -> Floats:
        first = np.minimum(t, self.first)
        return one[first] / first[:, None]

    def _moving(self, x: Floats) -> Floats:
        found, mean = np.empty_like(x), x[0]
        for i, row in enumerate(x):
            mean = mean + max(self.decay, 1.0 / (i + 1)) * (row - mean)
            found[i] = mean
        return found


def filled(x: Floats) -> Floats:
    """Missing values as the one before them, 0 (the usual) where there is none."""
    hole = ~np.isfinite(x)
    if not hole.any():
        return x
    at = np.where(hole, -1, np.arange(len(x))[:, None])
    at = np.maximum.accumulate(at, axis=0)
    return np.where(at >= 0, np.take_along_axis(x, np.maximum(at, 0), axis=0), 0.0)


def _sums(x: Floats) -> Floats:
    """Sums of the first 0, 1, 2 ... rows."""
    return np.vstack([np.zeros(x.shape[1]), x.cumsum(axis=0)])
