"""Denoising by wavelet shrinkage, looking back only. Needs the extra `gemel[wavelet]`.

Source: D. L. Donoho, I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81(3), 1994: soft
threshold sigma * sqrt(2 ln n), sigma from the median of the finest details.
"""

from __future__ import annotations

import numpy as np
import pywt

from gemel.core.errors import ConfigError, nearest
from gemel.core.values import Floats, Frame
from gemel.transforms.rows import held, seen, trailing

_BLOCK = 4096  # windows at a time: bounds the memory of a long frame


class Wavelet:
    """Replaces each value by the last one of its denoised window: the row and the `window` - 1 before it.

    A jump is seen at once, in part, and in full a few rows later. Missing cells stay missing; inside a window they
    hold the last value, and before the first row the first value goes on.

    - `window`: rows.
    - `wavelet`: a discrete wavelet's name, "sym4", "db4", "haar".
    - `levels`: how many scales are thresholded.
    """

    def __init__(self, window: int = 64, wavelet: str = "sym4", levels: int = 3) -> None:
        known = pywt.wavelist(kind="discrete")
        if wavelet not in known:
            raise ConfigError([f"wavelet: unknown wavelet '{wavelet}'{nearest(wavelet, known)}"], "for example sym4")
        most = pywt.dwt_max_level(window, wavelet)
        if not 1 <= levels <= most:
            hint = "take a longer window or a shorter wavelet"
            raise ConfigError([f"wavelet: levels {levels} is not between 1 and {most} for a window of {window}"], hint)
        self.window, self.wavelet, self.levels = window, wavelet, levels

    def view(self, frame: Frame) -> Frame:
        values = seen(frame)
        smooth = frame.values.copy()
        for j in range(values.shape[1]):
            there = np.flatnonzero(np.isfinite(values[:, j]))
            if len(there):
                line = held(values[there[0] :, j : j + 1])
                start = np.full((self.window - 1, 1), line[0, 0])
                windows = trailing(np.concatenate((start, line)), self.window)[self.window - 1 :, 0]
                smooth[there, j] = self._last(windows[there - there[0]])
        return Frame(frame.time, smooth, frame.quality, frame.signals)

    def _last(self, windows: Floats) -> Floats:
        """The last value of each denoised window, [t, w] -> [t]."""
        out = np.empty(len(windows))
        for a in range(0, len(windows), _BLOCK):
            coarse, *details = pywt.wavedec(windows[a : a + _BLOCK], self.wavelet, "symmetric", self.levels, axis=-1)
            sigma = np.median(np.abs(details[-1]), axis=-1, keepdims=True) / 0.6745
            limit = sigma * np.sqrt(2 * np.log(self.window))
            soft = [np.sign(d) * np.maximum(np.abs(d) - limit, 0.0) for d in details]
            out[a : a + _BLOCK] = pywt.waverec([coarse, *soft], self.wavelet, "symmetric", axis=-1)[:, self.window - 1]
        return out
