"""What a vibration sounds like, in numbers: the numerics of `spectrum`.

Letters: t rows, c signals, w window, n windows, f features.
Sources: kurtosis and crest factor of rolling bearings, Dyer and Stewart 1978, Journal of Mechanical Design 100; the
spectrum of the envelope, McFadden and Smith 1984, Journal of Sound and Vibration 96; Randall and Antoni 2011,
Mechanical Systems and Signal Processing 25.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from gemel.core.values import Floats

FLOOR = 1e-12


def features(windows: Floats, bands: int = 8) -> Floats:
    """Features of windows [n, w, c] as [n, c, f], f = bands + 4: the logarithm of the energy in each of `bands` bands
    of equal width from zero to half the sampling rate, of the root mean square, of the kurtosis (3 for noise), of the
    crest factor, and of the envelope's highest spectral line over its mean one."""
    x = windows - windows.mean(axis=1, keepdims=True)
    w = x.shape[1]
    spectrum = np.fft.rfft(x * np.hanning(w)[None, :, None], axis=1)[:, 1:]  # no constant part
    power = np.abs(spectrum) ** 2 / w  # [n, w/2, c]
    edges = np.linspace(0, power.shape[1], bands + 1).astype(int)
    energy = np.stack([power[:, a:b].sum(axis=1) for a, b in pairwise(edges)], axis=2)
    square = (x**2).mean(axis=1)
    kurtosis = (x**4).mean(axis=1) / np.maximum(square**2, FLOOR**2)
    crest = np.abs(x).max(axis=1) / np.sqrt(np.maximum(square, FLOOR))
    envelope = np.abs(_analytic(x))
    lines = np.abs(np.fft.rfft(envelope - envelope.mean(axis=1, keepdims=True), axis=1))[:, 1:]
    line = lines.max(axis=1) / np.maximum(lines.mean(axis=1), FLOOR)
    rest = np.stack([np.sqrt(square), kurtosis, crest, line], axis=2)
    found: Floats = np.log(np.maximum(np.concatenate([energy, rest], axis=2), FLOOR))
    return found


def names(bands: int = 8) -> tuple[str, ...]:
    """What the features of `features` are called."""
    return (*(f"band {i + 1}/{bands}" for i in range(bands)), "rms", "kurtosis", "crest", "envelope line")


class Waveform:
    """Scores rows by how unusual the features of the last whole window are, each signal by itself: the mean squared
    deviation of the features in standard deviations, and the largest.

    - `window`: rows; `bands`: of the spectrum. A new window begins every quarter of one.
    """

    def __init__(self, window: int = 256, bands: int = 8) -> None:
        self.window, self.bands = window, bands
        self._centre: Floats = np.empty((0, 0))  # [c, f]
        self._scale: Floats = np.empty((0, 0))
        self._recent: Floats = np.empty((0, 0))
        self._held: Floats = np.empty(0)  # [2 c] scores of the last window
        self._due = 0  # rows until the next one

    def fit(self, values: Floats) -> None:
        """Learn from the rows of a normal time, [t, c]."""
        c = values.shape[1]
        view = np.lib.stride_tricks.sliding_window_view(np.nan_to_num(values), min(self.window, len(values)), axis=0)
        found = features(view[:: max(self.window // 4, 1)].transpose(0, 2, 1), self.bands)
        self._centre, self._scale = found.mean(axis=0), np.maximum(found.std(axis=0), 0.02)
        self._recent, self._held, self._due = values[-self.window :], np.zeros(2 * c), 0

    def score(self, values: Floats) -> tuple[Floats, Floats]:
        """Of the rows that follow, [t, c]: mean and largest squared deviation [t, 2 c], the former also as shares."""
        c = values.shape[1]
        out = np.empty((len(values), 2 * c))
        rows = np.vstack([self._recent, values])
        before, w = len(self._recent), self.window
        for i in range(len(values)):
            if self._due <= 0 and before + i + 1 >= w:
                window = rows[before + i + 1 - w : before + i + 1]
                there = np.isfinite(window).mean(axis=0) > 0.9
                z = ((features(np.nan_to_num(window)[None], self.bands)[0] - self._centre) / self._scale) ** 2
                self._held = np.where(np.tile(there, 2), np.concatenate([z.mean(axis=1), z.max(axis=1)]), 0.0)
                self._due = max(w // 4, 1)
            self._due -= 1
            out[i] = self._held
        self._recent = rows[-w:]
        return out, out[:, :c]

    @property
    def need(self) -> int:
        """Rows that a window judged by itself should have."""
        return self.window

    def apart(self, windows: Floats) -> Floats:
        """The statistics [b, t, 2 c] of windows [b, t, c], each by itself, anew every quarter of `window` back from the
        last row; NaN where there are no rows enough."""
        b, t, c = windows.shape
        out = np.full((b, t, 2 * c), np.nan)
        hold = max(self.window // 4, 1)
        for end in range(t, self.window - 1, -hold):
            part = windows[:, end - self.window : end]
            there = np.isfinite(part).mean(axis=1) > 0.9  # [b, c]
            z = ((features(np.nan_to_num(part), self.bands) - self._centre) / self._scale) ** 2
            found = np.where(np.tile(there, 2), np.concatenate([z.mean(axis=2), z.max(axis=2)], axis=1), 0.0)
            out[:, end - hold : end] = found[:, None]
        return out

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {k: v for k, v in vars(self).items() if k not in ("window", "bands")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        vars(self).update(state)


def _analytic(x: Floats) -> np.ndarray[Any, np.dtype[np.complex128]]:
    """The analytic signal along the second axis, [n, w, c]."""
    w = x.shape[1]
    keep = np.zeros(w)
    keep[0] = 1.0
    keep[1 : (w + 1) // 2] = 2.0
    if w % 2 == 0:
        keep[w // 2] = 1.0
    return np.asarray(np.fft.ifft(np.fft.fft(x, axis=1) * keep[None, :, None], axis=1))
