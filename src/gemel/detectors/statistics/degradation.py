"""One number for how worn a thing is, which never falls, and whether it can be trusted: the numerics of `health`.

Letters: t rows, c signals, w window.
Sources: what a health index should be (monotone, trending), Coble and Hines 2009, PHM Society Conference; a running
maximum as the least monotone curve above a noisy one, Barlow, Bartholomew, Bremner and Brunk 1972.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gemel.core.values import Bools, Floats
from gemel.detectors.statistics.scale import plausible, standard, stretches

BACK = 0.5
"""The index is not believed while what is measured has fallen back by more than this share of its rise."""
USUAL = 0.99
"""The share of a normal time that the index puts below 1."""


class Degradation:
    """How far the window means of all signals have left those of a normal time; 1 is the edge of the normal.

    - `window`: rows averaged. `fresh`: rows for which a thing must be as good as new again for the index to begin anew
      (it was repaired).
    """

    def __init__(self, window: int = 20, fresh: int = 40) -> None:
        self.window, self.fresh = window, fresh
        self._centre: Floats = np.empty(0)
        self._scale: Floats = np.empty(0)
        self._edge = 1.0
        self._recent: Floats = np.empty((0, 0))
        self._top, self._good = 0.0, 0

    def fit(self, values: Floats) -> None:
        """Learn from the rows of a normal time, [t, c]."""
        values = plausible(values)
        self._centre, self._scale = standard(values)
        self._recent, self._edge = np.empty((0, values.shape[1])), 1.0
        self._top, self._good = 0.0, 0
        far = self._far(values)[0][self.window - 1 :]
        self._edge = max(float(np.quantile(far, USUAL)) if len(far) else 1.0, 1e-9)

    def index(self, values: Floats) -> tuple[Floats, Bools, Floats]:
        """Of the rows that follow, [t, c]: the index [t], whether to believe it [t], what each signal adds [t, c].

        It is not believed while fewer than half of the signals are heard, nor while the measurements have come back.
        """
        far, parts, heard = self._far(values)
        out, valid = np.empty(len(far)), np.empty(len(far), bool)
        for i, now in enumerate(far / self._edge):
            if heard[i] >= 0.5:
                self._good = self._good + 1 if now < 1.0 else 0
                self._top = now if self._good >= self.fresh else max(self._top, now)
            out[i] = self._top
            valid[i] = heard[i] >= 0.5 and now >= self._top - BACK * max(self._top - 1.0, 0.5)
        return out, valid, parts

    def apart(self, windows: Floats) -> Floats:
        """How far [b] the last rows of windows [b, t, c] have left the normal, each by itself, as the index counts."""
        part = windows[:, -self.window :]
        z = (part - self._centre) / self._scale
        there = np.isfinite(z)
        mean = np.where(there, z, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        usable = there.sum(axis=1) > 0.5 * part.shape[1]
        square = np.where(usable, mean**2, 0.0).sum(axis=1) / np.maximum(usable.sum(axis=1), 1)
        return np.asarray(np.sqrt(square) / self._edge)

    def _far(self, values: Floats) -> tuple[Floats, Floats, Floats]:
        view, self._recent = stretches(self._recent, (values - self._centre) / self._scale, self.window)
        there = np.isfinite(view)
        count = there.sum(axis=1)  # [t, c]
        mean = np.where(there, view, 0.0).sum(axis=1) / np.maximum(count, 1)
        usable = count > 0.5 * self.window
        parts = np.where(usable, mean**2, 0.0)
        known = max(int(np.isfinite(self._centre).sum()), 1)
        far = np.sqrt(parts.sum(axis=1) / np.maximum(usable.sum(axis=1), 1))
        return far, parts, usable.sum(axis=1) / known

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {k: v for k, v in vars(self).items() if k not in ("window", "fresh")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        vars(self).update(state)
