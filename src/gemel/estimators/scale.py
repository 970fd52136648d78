"""Bounded states and parameters on an unbounded scale, where an ensemble may be moved linearly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gemel.core.values import Floats


class Scale:
    """Between states and unbounded coordinates: log above a lower bound, logistic between two."""

    def __init__(self, states: Any, bounds: Mapping[str, tuple[float, float]]) -> None:
        names = list(states)
        self._size = len(names)
        self._one = [(names.index(n), low) for n, (low, high) in bounds.items() if math.isinf(high)]
        both = [(names.index(n), low, high) for n, (low, high) in bounds.items() if not math.isinf(high)]
        self._both = [i for i, _, _ in both]
        self._low = np.array([[low] for _, low, _ in both])
        self._width = np.array([[high - low] for _, low, high in both])

    def __len__(self) -> int:
        return self._size

    def forward(self, states: Floats) -> Floats:
        """States [k, m] to unbounded coordinates; what lies on a bound is taken a millionth inside."""
        for i, low in self._one:
            states[i] = np.log(np.maximum(states[i] - low, 1e-6))
        if self._both:
            part = np.clip((states[self._both] - self._low) / self._width, 1e-6, 1.0 - 1e-6)
            states[self._both] = np.log(part / (1.0 - part))
        return states

    def back(self, free: Floats) -> Floats:
        """Unbounded coordinates [k, m] to states."""
        for i, low in self._one:
            free[i] = low + np.exp(free[i])
        if self._both:
            free[self._both] = self._low + self._width / (1.0 + np.exp(-free[self._both]))
        return free

    def around(self, mean: Floats, sd: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation [k] on the unbounded scale, to first order in `sd` [k]."""
        nudge = 1e-4 * sd + 1e-300
        at = self.forward(np.stack([mean, mean - nudge, mean + nudge], axis=1))
        return at[:, 0], np.where(sd > 0, (at[:, 2] - at[:, 1]) / (2.0 * nudge) * sd, 0.0)
