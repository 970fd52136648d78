"""Phase I of a control chart: centre and spread of a process from a time in which it may have been in control.

Sources: Montgomery 2013, Introduction to Statistical Quality Control, 6.2 and 6.4 (limits set again without the points
that lie outside); a start that outliers do not move, Rousseeuw and Croux 1993, Journal of the American Statistical
Association 88; charts of what related points bring anew, Alwan and Roberts 1988, Journal of Business & Economic
Statistics 6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gemel.core.values import Bools, Floats
from gemel.detectors.statistics.samples import MEDIAN, c4, d2

ROUNDS = 10
LIMIT = 3.0


class Phase(NamedTuple):
    """What limits are counted from. `keep` is how much of a point's deviation the next one has too."""

    centre: float
    sigma: float  # of a single value; of a point, it is 1 / sqrt(size) of that
    size: int  # values in a sample
    keep: float

    def point(self, sample: Floats, before: float) -> tuple[float, float]:
        """A sample as a point to chart, and its deviation, which is `before` for the next one."""
        z = (float(sample.mean()) - self.centre) / (self.sigma / self.size**0.5)
        return (z - self.keep * before) / (1.0 - self.keep**2) ** 0.5, z

    def width(self, sample: Floats, spread: str) -> float:
        """The spread of a sample, in sigma."""
        width = np.ptp(sample) if spread == "range" else sample.std(ddof=1)
        return float(width) / self.sigma


def learned(values: Floats, size: int = 1, related: bool = False, spread: str = "deviation") -> Phase:
    """From the values of a learning time, [n], samples of `size`. Points beyond three sigma are left out, and the
    limits set again, until none is."""
    rows = values[: len(values) // size * size].reshape(-1, size)
    points = rows.mean(axis=1)
    keep = 0.0
    centre, sigma = float(np.median(points)), _robust(points, related) * size**0.5
    kept = np.zeros(len(points), bool)
    for _ in range(ROUNDS):
        inside = np.abs(points - centre) <= LIMIT * sigma / size**0.5
        if inside.sum() < 2:  # hardly two are alike: what the medians say stands
            break
        kept, before = inside, kept
        centre, sigma = float(points[kept].mean()), _spread(rows, kept, spread, related)
        if (kept == before).all():
            break
    if related:
        z = np.where(kept, points - centre, 0.0)
        keep = float(np.clip(z[1:] @ z[:-1] / max(float(z @ z), 1e-300), 0.0, 0.98))
    floor = max(abs(centre) * 1e-9, 1e-12)
    sigma = sigma if sigma > floor else max(abs(centre) * 0.01, 1e-9)  # it never moved
    return Phase(centre, sigma, size, keep)


def _robust(points: Floats, related: bool) -> float:
    """Sigma of points from medians: of their distances to the ones before; to their median, where they are related."""
    if related:
        return float(np.median(np.abs(points - np.median(points)))) / (MEDIAN / 2**0.5)
    return float(np.median(np.abs(np.diff(points)))) / MEDIAN


def _spread(rows: Floats, kept: Bools, spread: str, related: bool) -> float:
    """Sigma of single values: within samples, or from moving ranges; over all where points are related."""
    size = rows.shape[1]
    if size == 1:
        x = rows[:, 0]
        if related:
            return float(x[kept].std(ddof=1))
        both = kept[1:] & kept[:-1]
        return float(np.abs(np.diff(x))[both].mean()) / d2(2) if both.any() else float(x[kept].std(ddof=1))
    if related:
        return float(rows[kept].mean(axis=1).std(ddof=1)) * size**0.5
    if spread == "range":
        return float(np.ptp(rows[kept], axis=1).mean()) / d2(size)
    return float(rows[kept].std(axis=1, ddof=1).mean()) / c4(size)
