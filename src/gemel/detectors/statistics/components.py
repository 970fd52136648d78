"""Principal components of many signals over a sliding window: the numerics of `subspace`.

T2 measures how far a row lies out within the plane of the components, Q how far beside it.

Letters: t rows, c signals, w window, d = w c columns of a window, k components kept.
Sources: T2 Hotelling 1947; Q Jackson and Mudholkar 1979, Technometrics 21; windows ("dynamic" components) Ku, Storer
and Georgakis 1995, Chemometrics and Intelligent Laboratory Systems 30; contributions Miller, Swanson and Heckler 1998,
Applied Mathematics and Computer Science 8; F by the normal, Paulson 1942, Annals of Mathematical Statistics 13.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from gemel.core.values import Bools, Floats
from gemel.detectors.statistics.level import fit_level, wandering
from gemel.detectors.statistics.scale import standard, stretches


class Components:
    """Scores rows by T2 and Q, k = 2; signals share in it by their contributions. Of a signal that wanders without a
    fixed place, what counts is how far it has come since the window before.

    - `window`: rows that are looked at together, 1 for each row by itself.
    - `share`: of the variance that the kept components must explain.
    """

    def __init__(self, window: int = 1, share: float = 0.9) -> None:
        self.window, self.share = window, share
        self.variances: Floats = np.empty(0)  # [d] of all components, largest first
        self.axes: Floats = np.empty((0, 0))  # [d, k]
        self.rows = 0  # it was fitted on
        self._centre: Floats = np.empty(0)
        self._scale: Floats = np.empty(0)
        self._wander: Bools = np.empty(0, bool)  # [c]
        self._before: Floats = np.empty((0, 0))  # [w, c] rows that the next ones are compared with
        self._recent: Floats = np.empty((0, 0))

    def fit(self, values: Floats) -> None:
        """Learn from the rows of a normal time, [t, c]."""
        self._centre, self._scale = standard(values)
        self._recent = self._before = np.empty((0, values.shape[1]))
        z = (values - self._centre) / self._scale
        self._wander = wandering(*fit_level(z), len(z))
        spread = standard(z[self.window :] - z[: -self.window])[1]
        self._scale = np.where(self._wander, self._scale * spread, self._scale)
        x = self._windows(values)[(2 if self._wander.any() else 1) * self.window - 1 :]
        self.rows = len(x)
        _, singular, axes = np.linalg.svd(x / math.sqrt(max(len(x) - 1, 1)), full_matrices=False)
        self.variances = singular**2
        total = np.cumsum(self.variances) / max(self.variances.sum(), 1e-300)
        k = min(int(np.searchsorted(total, self.share)) + 1, max(len(x) // 5, 1), x.shape[1])
        self.axes = np.ascontiguousarray(axes[:k].T)  # as a restart will find it, to the last bit

    def score(self, values: Floats) -> tuple[Floats, Floats]:
        """Of the rows that follow, [t, c]: T2 and Q [t, 2], contributions [t, c]."""
        x = self._windows(values)
        k = self.axes.shape[1]
        variances = np.maximum(self.variances[:k], 1e-12)
        inside = x @ self.axes  # [t, k]
        beside = x - inside @ self.axes.T
        t2 = (inside**2 / variances).sum(axis=1)
        q = (beside**2).sum(axis=1)
        outward = np.maximum(x * ((inside / variances) @ self.axes.T), 0.0) / k  # [t, d]
        spread = max(float(self.variances[k:].sum()), 1e-12)
        parts = outward + beside**2 / spread
        return np.stack([t2, q], axis=1), parts.reshape(len(x), self.window, -1).sum(axis=1)

    @property
    def need(self) -> int:
        """Rows that a window judged by itself should have."""
        return (2 if self._wander.any() else 1) * self.window

    def apart(self, windows: Floats) -> Floats:
        """T2 and Q [b, t, 2] of windows [b, t, c], each by itself; NaN until there are rows enough."""
        b, t, _ = windows.shape
        z = np.nan_to_num((windows - self._centre) / self._scale, nan=0.0, posinf=0.0, neginf=0.0)
        before = np.concatenate([np.repeat(z[:, :1], self.window, axis=1), z], axis=1)[:, :t]
        z = np.where(self._wander, z - before, z)
        out = np.full((b, t, 2), np.nan)
        first = min(self.need, t) - 1
        if t - first + self.window - 1 > t:  # fewer rows than one stretch
            return out
        view = np.lib.stride_tricks.sliding_window_view(z, self.window, axis=1)[:, first - self.window + 1 :]
        x = view.transpose(0, 1, 3, 2).reshape(-1, self.axes.shape[0])
        inside = x @ self.axes
        t2 = (inside**2 / np.maximum(self.variances[: self.axes.shape[1]], 1e-12)).sum(axis=1)
        q = np.maximum((x**2).sum(axis=1) - (inside**2).sum(axis=1), 0.0)
        out[:, first:] = np.stack([t2, q], axis=1).reshape(b, t - first, 2)
        return out

    def limits(self, p: float = 0.001) -> tuple[float, float]:
        """Control limits of T2 and Q that normal rows, were they independent and Gaussian, pass with probability p."""
        k, n = self.axes.shape[1], self.rows
        t2 = k * (n - 1) * (n + 1) / (n * max(n - k, 1)) * _f_quantile(1 - p, k, max(n - k, 1))
        rest = self.variances[k:]
        first, second, third = (float((rest**i).sum()) for i in (1, 2, 3))
        if first <= 1e-12:
            return t2, 1e-12
        h = 1 - 2 * first * third / (3 * second**2)
        z = NormalDist().inv_cdf(1 - p)
        q = first * (1 + z * math.sqrt(2 * second * h * h) / first + second * h * (h - 1) / first**2) ** (1 / h)
        return t2, q

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {k: v for k, v in vars(self).items() if k not in ("window", "share")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        vars(self).update(state)

    def _windows(self, values: Floats) -> Floats:
        """Every row with those before it, standardised, [t, d]; what is missing counts as usual."""
        z = np.nan_to_num((values - self._centre) / self._scale, nan=0.0, posinf=0.0, neginf=0.0)
        rows = np.vstack([self._before if len(self._before) else np.repeat(z[:1], self.window, axis=0), z])
        self._before = rows[len(rows) - self.window :]
        z = np.where(self._wander, z - rows[: len(z)], z)
        view, self._recent = stretches(self._recent, z, self.window)
        return np.ascontiguousarray(view).reshape(len(z), -1)


def _f_quantile(p: float, a: int, b: int) -> float:
    """The quantile of F with a and b degrees of freedom (Paulson's approximation, within 2 % for b > 10)."""
    z = NormalDist().inv_cdf(p)
    u, v = 2 / (9 * a), 2 / (9 * b)
    z2 = z * z
    root = z * math.sqrt(u * (1 - v) ** 2 + v * (1 - u) ** 2 - z2 * u * v) if b > 3 else z * math.sqrt(u)
    return float((((1 - u) * (1 - v) + root) / ((1 - v) ** 2 - z2 * v)) ** 3)
