"""Values relative to what is usual of late."""

from __future__ import annotations

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.values import Floats, Frame
from gemel.transforms.rows import seen


class Normalise:
    """(value - centre) / scale, with mean and standard deviation of the last `window` rows, the row itself among them.

    A signal that stood still has scale 1. Missing cells stay missing and do not count.

    - `window`: rows; 0 for all rows so far.
    """

    def __init__(self, window: int = 0) -> None:
        if window < 0 or window == 1:
            raise ConfigError([f"normalise: window {window} must be 0 (all rows so far) or at least 2"])
        self.window = window

    def view(self, frame: Frame) -> Frame:
        values = seen(frame)
        here = np.isfinite(values)
        # sums are taken around the first value: a mean far from zero would cost digits
        origin = np.array([c[h][0] if h.any() else 0.0 for c, h in zip(values.T, here.T, strict=True)])
        moved = np.where(here, values - origin, 0.0)
        count = np.maximum(self._sum(here.astype(np.float64)), 1.0)
        centre = self._sum(moved) / count
        variance = self._sum(moved**2) / count - centre**2
        least = 1e-12 * np.maximum(centre**2, np.finfo(float).tiny)  # below this a variance is rounding
        scale = np.where(variance > least, np.sqrt(np.maximum(variance, least)), 1.0)
        return Frame(frame.time, np.where(here, (moved - centre) / scale, np.nan), frame.quality, frame.signals)

    def _sum(self, values: Floats) -> Floats:
        """Sums over the window that ends at each row, [t, s]."""
        total: Floats = np.cumsum(values, axis=0)
        if 0 < self.window < len(values):
            total[self.window :] -= total[: -self.window].copy()
        return total
