"""Forecast: what comes next, with honest uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from gemel.core.values import DECILES, Forecast, Frame


@runtime_checkable
class Forecaster(Protocol):
    """Foresees every signal of the context.

    `context` is a regular grid [t, s] with missing values as NaN; the forecast continues it with `horizon` steps of
    the same spacing. `known` is a frame over those future times with what is known ahead (tariff, weather forecast).
    Quantiles do not cross. A context that is short, constant or full of gaps gets a wide answer, not an exception.
    """

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        """Quantiles of the next `horizon` steps, values [s, h, q]; `issued` is the context's last time."""


@runtime_checkable
class Learning(Protocol):
    """A forecaster that gets better as the truth comes in. It is also `Stateful`."""

    def learn(self, frame: Frame) -> None:
        """`frame` holds what came true since the last call: rows after the last one it was shown."""
