"""What was one season ago comes again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gemel.core.values import DECILES, Floats, Forecast, Frame
from gemel.forecasters.context import answer, bell, check, deviation, filled, period, periods, spacing


class SeasonalNaive:
    """The value of one season ago, with bands that grow as the square root of the number of seasons ahead.

    - `season`: `"24h"`, a number of steps, or `"auto"` (found by autocorrelation, a signal at a time).

    Where the context is shorter than one season, or has none, the answer is that of `naive`.
    Source: Hyndman and Athanasopoulos, Forecasting: Principles and Practice, section 5.5.
    """

    def __init__(self, season: str | int = "auto") -> None:
        self.season = period(season, "seasonal_naive")

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        check(context, horizon, levels)
        values = filled(context.values)
        found = np.array(periods(self.season, values, spacing(context, known)))
        found = np.where(found < len(values), found, 1)
        middle, spread = np.empty((2, values.shape[1], horizon))
        for m in np.unique(found):
            i = np.nonzero(found == m)[0]
            middle[i], spread[i] = _seasons(values[:, i], context.values[:, i], int(m), horizon)
        return answer(bell(middle, spread, levels), context, levels, "seasonal_naive", known)


def _seasons(values: Floats, raw: Floats, m: int, horizon: int) -> tuple[Floats, Floats]:
    """Middle and standard deviation, [s, h] each, of columns with a season of m steps."""
    ahead = np.arange(horizon)
    middle = values[len(values) - m :][ahead % m].T
    sigma = deviation(raw, m)
    return middle, sigma[:, None] * np.sqrt(ahead // m + 1.0)
