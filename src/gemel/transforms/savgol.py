"""Smoothing by local polynomials, looking back only.

Source: A. Savitzky, M. J. E. Golay, "Smoothing and differentiation of data by simplified least squares procedures",
Analytical Chemistry 36(8), 1964; the end-point form, in which the polynomial is read at the newest row.

Letters: t rows, s signals, w window, p coefficients, g windows with gaps.
"""

from __future__ import annotations

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.values import Floats, Frame
from gemel.transforms.rows import seen, trailing


class Savgol:
    """Replaces each value by that of a polynomial of degree `order` fitted to the last `window` rows.

    A straight line goes through unchanged with no delay. Rows count as evenly spaced. Missing cells stay missing and
    are left out of the fits around them; where fewer than `order` + 1 rows are usable the value stays as it is.

    - `window`: rows, more than `order`.
    - `order`: degree of the polynomial, 0 to 5.
    """

    def __init__(self, window: int = 11, order: int = 1) -> None:
        if not 0 <= order <= 5:
            raise ConfigError([f"savgol: order {order} is not between 0 and 5"])
        if window <= order:
            raise ConfigError([f"savgol: window {window} must be above the order ({order})"])
        self.window, self.order = window, order
        place = np.arange(1 - window, 1) / max(window - 1, 1)  # -1 .. 0: the newest row is at 0
        self._basis: Floats = np.vander(place, order + 1, increasing=True)  # [w, p]
        self._weights: Floats = np.linalg.pinv(self._basis)[0]  # [w], of the constant term: the value at 0

    def view(self, frame: Frame) -> Frame:
        values = seen(frame)
        windows = trailing(values, self.window)  # [t, s, w]
        here = np.isfinite(windows)
        count = here.sum(axis=2)
        smooth = frame.values.copy()
        full = count == self.window
        smooth[full] = windows[full] @ self._weights
        gappy = ~full & (count > self.order) & np.isfinite(values)
        if gappy.any():
            smooth[gappy] = self._fit(windows[gappy], here[gappy])
        return Frame(frame.time, smooth, frame.quality, frame.signals)

    def _fit(self, windows: Floats, here: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Floats:
        """Least squares over the rows that are there, [g]: the normal equations of every window at once."""
        mask = here.astype(np.float64)
        left = np.einsum("gw,wp,wq->gpq", mask, self._basis, self._basis)
        right = np.where(here, windows, 0.0) @ self._basis
        found: Floats = np.linalg.solve(left, right[:, :, None])[:, 0, 0]
        return found
