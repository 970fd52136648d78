"""How far the newest stretch is from every stretch of a normal time: the numerics of `matrix`.

Letters: t rows, c signals, w window, d = w c columns of a window, n windows kept for comparison.
Sources: time series discords, Keogh, Lin and Fu 2005, ICDM; the matrix profile over several dimensions, Yeh, Kavantzas
and Keogh 2017, ICDM; only looking back, Lu et al. 2022 (DAMP), KDD.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gemel.core.values import Floats
from gemel.detectors.statistics.scale import standard, stretches


class Discord:
    """Scores rows by the distance of the window that ends there to its nearest neighbour, all signals together.

    - `window`: rows. `shape`: take each window's mean out first, so that only the course counts, not the level.
    - `most`: windows of the normal time that are kept, evenly spaced.
    """

    def __init__(self, window: int = 30, shape: bool = False, most: int = 2000) -> None:
        self.window, self.shape, self.most = window, shape, most
        self._known: Floats = np.empty((0, 0))  # [n, d]
        self._centre: Floats = np.empty(0)
        self._scale: Floats = np.empty(0)
        self._recent: Floats = np.empty((0, 0))

    def fit(self, values: Floats) -> None:
        """Learn from the rows of a normal time, [t, c]."""
        self._centre, self._scale = standard(values)
        self._recent = np.empty((0, values.shape[1]))
        windows = self._windows(values)[self.window - 1 :]
        if not len(windows):
            windows = np.zeros((1, self.window * values.shape[1]))
        self._known = windows[:: -(-len(windows) // self.most)]

    def score(self, values: Floats) -> tuple[Floats, Floats]:
        """Of the rows that follow, [t, c]: the mean squared distance [t, 1], and that of each signal [t, c]."""
        x = self._windows(values)
        if not len(x):
            return np.empty((0, 1)), np.empty(values.shape)
        distance = (x**2).sum(1)[:, None] + (self._known**2).sum(1)[None] - 2.0 * x @ self._known.T  # [t, n]
        nearest = self._known[distance.argmin(axis=1)]
        parts = ((x - nearest) ** 2).reshape(len(x), self.window, -1).mean(axis=1)
        return parts.mean(axis=1, keepdims=True), parts

    @property
    def need(self) -> int:
        """Rows that a window judged by itself should have."""
        return self.window

    def apart(self, windows: Floats) -> Floats:
        """The distance [b, t, 1] in windows [b, t, c], each by itself; NaN until there are rows enough."""
        b, t, c = windows.shape
        out = np.full((b, t, 1), np.nan)
        if t < self.window:
            return out
        z = np.nan_to_num((windows - self._centre) / self._scale, nan=0.0, posinf=0.0, neginf=0.0)
        view = np.lib.stride_tricks.sliding_window_view(z, self.window, axis=1).transpose(0, 1, 3, 2)
        if self.shape:
            view = view - view.mean(axis=2, keepdims=True)
        x = view.reshape(-1, self.window * c)
        known = (self._known**2).sum(axis=1)
        least = [(known - 2.0 * part @ self._known.T).min(axis=1) for part in np.array_split(x, len(x) // 4096 + 1)]
        distance = (x**2).sum(axis=1) + np.concatenate(least)
        out[:, self.window - 1 :, 0] = np.maximum(distance, 0.0).reshape(b, -1) / (self.window * c)
        return out

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {k: v for k, v in vars(self).items() if k not in ("window", "shape", "most")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        vars(self).update(state)

    def _windows(self, values: Floats) -> Floats:
        """The window that ends at each row, [t, d]; what is missing counts as usual."""
        z = np.nan_to_num((values - self._centre) / self._scale, nan=0.0, posinf=0.0, neginf=0.0)
        view, self._recent = stretches(self._recent, z, self.window)
        if self.shape:
            view = view - view.mean(axis=1, keepdims=True)
        return np.ascontiguousarray(view).reshape(len(z), self.window * values.shape[1])
