"""The last value stays: a random walk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gemel.core.values import DECILES, Forecast, Frame
from gemel.forecasters.context import answer, bell, check, deviation, filled


class Naive:
    """The last value, with bands that grow as the square root of the step (a random walk).

    The width of one step is the root mean square of the context's own one-step differences. No settings.
    Source: Hyndman and Athanasopoulos, Forecasting: Principles and Practice, section 5.5.
    """

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        check(context, horizon, levels)
        last = filled(context.values)[-1]
        sigma = deviation(context.values)
        middle = np.repeat(last[:, None], horizon, axis=1)
        spread = sigma[:, None] * np.sqrt(np.arange(1.0, horizon + 1))
        return answer(bell(middle, spread, levels), context, levels, "naive", known)
