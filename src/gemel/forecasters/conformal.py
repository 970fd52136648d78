"""Bands that cover what they promise: each quantile is moved until the truth falls below it as often as it should.

Letters in shapes: s signals, h steps, q levels, r rows of truth.
Sources: Gibbs and Candes 2021, NeurIPS 34 (adaptive conformal inference); Angelopoulos, Candes and Tibshirani 2023,
NeurIPS 36 (quantile tracking, the form used here).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.values import DECILES, Float32s, Floats, Forecast, Frame
from gemel.forecasters.context import check, spacing
from gemel.forecasters.member import bind, member, memories, remember, teach
from gemel.forecasters.pending import Pending, Steps
from gemel.loop.forecast import Forecaster


@declared
class Conformal:
    """Wraps a forecaster and keeps its quantiles calibrated as the truth comes in.

    - `forecaster`: the forecaster inside (`{ kind = "pool" }`).
    - `rate`: how fast a quantile moves, as a share of the band's own width for each comparison with the truth.

    Quantile p of a step is moved by an offset, in widths of the band inside, which grows by rate * p when the truth was
    above the issued quantile and falls by rate * (1 - p) when it was below: whatever the data do, the long-run share of
    truths below it comes to p. Where the usual error is larger than the width, the offset moves in its proportion. A
    forecaster inside that gives no width (all quantiles equal) cannot be helped.
    """

    def __init__(self, forecaster: Forecaster | Mapping[str, Any], rate: float = 0.02) -> None:
        if not 0.0 < rate < 1.0:
            raise ConfigError([f"conformal: rate {rate} must lie between 0 and 1"], "0.01 is slow, 0.05 is fast")
        self.forecaster = member(forecaster, "conformal.forecaster")
        self.rate = rate
        self._levels: tuple[float, ...] = ()
        self._signals: tuple[str, ...] = ()
        self._offset: Floats = np.zeros((0, 0, 0))  # [s, h, q]
        self._count: Floats = np.zeros((0, 0))  # [s, h] comparisons so far
        self._error: Floats = np.zeros((0, 0))  # [s, h] usual distance from the median, in widths
        self._pending = Pending()

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        check(context, horizon, levels)
        if context.signals != self._signals:
            self._begin(context.signals, levels)
        return self._issue(context, horizon, known, tuple(levels))

    @property
    def last(self) -> Mapping[str, Forecast]:
        """The answers of the members of a pool inside to the latest call, by name."""
        found: Mapping[str, Forecast] = getattr(self.forecaster, "last", {})
        return found

    def learn(self, frame: Frame) -> None:
        """Compare what was issued with what came true."""
        teach([self.forecaster], frame)
        for values, steps, truth in self._pending.due(frame.only(self._signals) if self._signals else frame):
            self._compare(values[0], steps, truth)

    def bind(self, setting: Setting) -> None:
        """For the forecaster inside."""
        bind([self.forecaster], setting)

    def snapshot(self) -> Mapping[str, Any]:
        return {
            "levels": self._levels,
            "signals": self._signals,
            "offset": self._offset.copy(),
            "count": self._count.copy(),
            "error": self._error.copy(),
            "pending": self._pending.snapshot(),
            "inside": memories([self.forecaster]),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._levels, self._signals = tuple(state["levels"]), tuple(state["signals"])
        self._offset, self._count = np.array(state["offset"]), np.array(state["count"])
        self._error = np.array(state["error"])
        self._pending.restore(state["pending"])
        remember([self.forecaster], state["inside"])

    def _begin(self, signals: tuple[str, ...], levels: Sequence[float]) -> None:
        self._signals, self._levels = signals, tuple(levels)
        self._offset = np.zeros((len(signals), 0, len(levels)))
        self._count, self._error = np.zeros((len(signals), 0)), np.zeros((len(signals), 0))
        self._pending = Pending()

    def _issue(self, context: Frame, horizon: int, known: Frame | None, levels: tuple[float, ...]) -> Forecast:
        self._reach(horizon)
        every = tuple(sorted({*levels, *self._levels}))
        raw = self.forecaster.forecast(context, horizon, known=known, levels=every)
        values = raw.values.astype(np.float64)
        own = [every.index(p) for p in self._levels]
        band = values[:, :, own]
        width = np.abs(band - np.median(band, axis=2, keepdims=True)).mean(axis=2, keepdims=True)
        offset = self._offset[:, :horizon]
        if every != self._levels:
            offset = _between(offset, self._levels, every)
        moved = (values + width * offset).astype(np.float32)
        # each level learns from its own quantile: after sorting, one would answer for another's errors
        kept = np.concatenate([moved[:, :, own], width.astype(np.float32)], axis=2)
        self._pending.add(raw.issued, spacing(context, known), kept[None])
        chosen = np.sort(moved, axis=2)[:, :, [every.index(p) for p in levels]]
        return replace(raw, levels=levels, values=chosen, samples=None)

    def _reach(self, horizon: int) -> None:
        """Steps beyond those known so far start with the offset of the last known one."""
        more = horizon - self._offset.shape[1]
        if more > 0:
            mode: Any = "edge" if self._offset.shape[1] else "constant"
            self._offset = np.pad(self._offset, ((0, 0), (0, more), (0, 0)), mode)
            self._count = np.pad(self._count, ((0, 0), (0, more)), mode)
            self._error = np.pad(self._error, ((0, 0), (0, more)), mode)

    def _compare(self, kept: Float32s, steps: Steps, truth: Floats) -> None:
        """kept [s, h, q + 1]: issued quantiles, then the width of the band inside; steps [r], truth [r, s]."""
        issued, width, came = kept[:, steps, :-1], kept[:, steps, -1], truth.T  # [s, r, q], [s, r], [s, r]
        there = np.isfinite(came) & (width > 0)
        count, error = self._count[:, steps], self._error[:, steps]
        off = np.abs(came - np.median(issued, axis=2)) / np.where(width > 0, width, 1.0)
        error += np.maximum(self.rate, 1.0 / (1.0 + count)) * np.where(there, off - error, 0.0)
        rate = self.rate * np.maximum(error, 1.0)
        push = np.where(there[:, :, None], np.array(self._levels) - (came[:, :, None] <= issued), 0.0)
        self._offset[:, steps] += rate[:, :, None] * push
        self._error[:, steps] = error
        self._count[:, steps] += there


def _between(offset: Floats, held: Sequence[float], wanted: Sequence[float]) -> Floats:
    """Offsets at other levels, by straight lines between those held."""
    place = np.interp(wanted, held, np.arange(len(held)))
    low = np.minimum(place.astype(int), max(len(held) - 2, 0))
    high = np.minimum(low + 1, len(held) - 1)
    part = place - low
    mixed: Floats = offset[:, :, low] * (1 - part) + offset[:, :, high] * part
    return mixed
