"""A network that has seen many kinds of signals foresees one it has never seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.values import DECILES, Floats, Forecast, Frame
from gemel.forecasters.context import answer, check
from gemel.forecasters.foundation.ask import BEST, FAST, quantiles, relevel
from gemel.forecasters.foundation.graph import load
from gemel.forecasters.naive import Naive

FEWEST = 4
"""Values below which the network is not asked."""


class Foundation:
    """Gemel's pre-trained network: good forecasts from the first minute, without training and without a download.

    - `way`: `"best"` (several lengths of context, both signs, float32) or `"fast"` (one pass, int8: some twenty times
      cheaper, a little less sharp).
    - `model`: a folder with another exported network (`gemel lab export`); the one that ships when empty.

    Every signal of the context is answered on its own, from its last 2 048 rows. Gaps are fine. A signal with hardly
    any values, or one that never moved, gets the answer of `naive`.
    """

    def __init__(self, way: str = "best", model: str = "") -> None:
        if way not in ("best", "fast"):
            raise ConfigError([f"foundation: way '{way}' is unknown"], 'write "best" or "fast"')
        self.way, self.model = BEST if way == "best" else FAST, model

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        check(context, horizon, levels)
        graph = load(self.model, self.way.small)
        values = np.where(np.isfinite(context.values), context.values, np.nan)
        asked = np.nonzero(_moves(values))[0]
        found = np.empty((values.shape[1], horizon, len(levels)))
        if len(asked) < values.shape[1]:
            found[:] = Naive().forecast(context, horizon, known=known, levels=levels).values
        if len(asked):
            deciles = quantiles(graph, [_begun(values[:, i]) for i in asked], horizon, self.way, graph.reach)
            found[asked] = relevel(deciles, DECILES, levels)
        return answer(found, context, levels, "foundation", known)


def _moves(values: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which columns of [t, s] hold enough values, and not all the same."""
    held = np.isfinite(values)
    low, high = np.where(held, values, np.inf).min(axis=0), np.where(held, values, -np.inf).max(axis=0)
    moved: np.ndarray[tuple[int], np.dtype[np.bool_]] = (held.sum(axis=0) >= FEWEST) & (high > low)
    return moved


def _begun(column: Floats) -> Floats:
    """A column from its first value on."""
    return column[int(np.argmax(np.isfinite(column))) :]
