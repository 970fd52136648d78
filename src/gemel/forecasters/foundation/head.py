"""A head: what one asset's own history adds to the network's answer, in closed form.

The network knows many kinds of signals but not this asset: what its other signals say, its week, its own oddities. A
head regresses every step ahead on the network's features of the context, on the signal's own past week, on the other
signals' past day and on the calendar; gives that a spread learned from held-back windows; and mixes it with the
zero-shot fan in the share that was best on those.

Letters: b windows, s signals, f regressors, h steps ahead, q levels, d features of the network, l lags, k blocks of
steps, t patches, p points a patch, n positions.
Sources: closed-form linear forecasting, Toner and Darlow 2024, ICML 41; spread from held-back errors, split conformal
prediction, Papadopoulos et al. 2002, ECML 13; averaging quantiles, Lichtendahl et al. 2013, Management Science 59.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gemel.core.errors import PartError
from gemel.core.foundation import Graph, windowed
from gemel.core.values import Float32s, Floats, Times
from gemel.forecasters.context import DAY, filled

PATCHES = 64
"""Patches of context behind a feature."""
_FAR = 10.0  # deviations: what lies further out is cut
_CYCLES = ((1, DAY), (2, DAY), (3, DAY), (1, 7 * DAY), (2, 7 * DAY))


@dataclass(frozen=True, slots=True)
class Head:
    """Fitted to `signals` at one spacing `step` (ns), for up to `horizon` steps, on the features of one `network`
    (SHA-256). Weights, widths and offsets are in deviations of each signal."""

    signals: tuple[str, ...]
    step: int
    horizon: int
    network: str
    mean: Floats  # [s]
    deviation: Floats  # [s]
    own: Float32s  # [s, f, h] weights on what is the signal's own
    all: Float32s  # [s, f, h] weights on everything
    share: Floats  # [s] of the regression in the answer
    width: Floats  # [s, h] usual width of the zero-shot fan
    offsets: Floats  # [s, k, q] quantiles of the error, in geometric means of usual and present width

    def mixed(self, graph: Graph, times: Times, values: Floats, zero: Floats) -> Floats:
        """Zero-shot deciles [s, h, q] that follow rows `values` [l, s] (NaN where missing), made better, [s, h, q]."""
        h = zero.shape[1]
        x = scaled(values, self.mean, self.deviation)
        rows = np.array([len(x)])
        thought = features(graph, values.T, np.array([-1]))[None, :, 0]
        given, last = regressors(x, rows, times[-1:], self.step, thought)
        middle = predicted(given, last, self.own, self.all)[0]
        unscaled = (zero - self.mean[:, None, None]) / self.deviation[:, None, None]
        unit = units(unscaled, self.width[:, :h])
        fan = middle[:, :h, None] + unit[..., None] * spread(self.offsets, self.horizon)[:, :h]
        fan = fan * self.deviation[:, None, None] + self.mean[:, None, None]
        share = np.where(np.isfinite(values).any(axis=0), self.share, 0.0)[:, None, None]
        return (1 - share) * zero + share * fan

    def pack(self) -> bytes:
        """As the bytes of an `.npz` file."""
        out = io.BytesIO()
        columns: dict[str, Any] = {name: np.asarray(getattr(self, name)) for name in self.__slots__}
        np.savez(out, **columns)
        return out.getvalue()

    @staticmethod
    def unpack(content: bytes) -> Head:
        """From the bytes of `pack`; raises `PartError` when they are something else."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as held:
                found: dict[str, Any] = {name: held[name] for name in Head.__slots__}
        except (OSError, KeyError, ValueError) as error:
            raise PartError(f"this is not the file of a head: {error}", "fit it again: gemel adapt FILE") from None
        plain: Mapping[str, Any] = {
            "signals": tuple(found["signals"].tolist()),
            "step": int(found["step"]),
            "horizon": int(found["horizon"]),
            "network": str(found["network"]),
        }
        return Head(**{**found, **plain})


def lags(step: int) -> int:
    """Rows of its own past that a signal is regressed on: a week, where that is neither few nor too many."""
    return int(np.clip(7 * DAY // step, 168, 2016))


def scaled(values: Floats, mean: Floats, deviation: Floats) -> Float32s:
    """Rows in deviations from the mean, gaps bridged, far ones cut, [rows, s]; a signal never seen is at its mean."""
    x: Float32s = np.clip((filled(values) - mean) / deviation, -_FAR, _FAR).astype(np.float32)
    return np.nan_to_num(x)


def features(graph: Graph, rows: Floats, at: Times) -> Float32s:
    """What the network thinks at patches `at` of the last `PATCHES` of rows [s, points], [s, n, d]: at every position
    of one pass, as if the series ended there."""
    s, p = len(rows), graph.reach.patch
    t = min(PATCHES, graph.reach.window, -(-rows.shape[1] // p))
    x, held = windowed(list(rows), t * p)[:2]
    shape = (s, 1, t, p)
    found = graph.features(x.reshape(shape).astype(np.float32), held.reshape(shape).astype(np.float32), at % t)[1][:, 0]
    centred: Float32s = found - found.mean(-1, keepdims=True)
    return centred / (centred.std(-1, keepdims=True) + np.float32(1e-5))


def regressors(
    x: Float32s, rows: Times, times: Times, step: int, thought: Float32s
) -> tuple[tuple[Float32s, Float32s], Float32s]:
    """What the next steps after the first `rows` of x are regressed on, and the last values they are told relative to.

    rows [b], times [b] of the rows before them, thought [b, s, d] -> (a signal's own [b, s, f], everybody's [b, f]),
    last [b, s].
    """
    week, day = averages(lags(step), 12, lags(step) // 168), averages(min(lags(step), max(24, DAY // step)), 4, 10**9)
    b, s, last = len(rows), x.shape[1], x[rows - 1]
    own = np.empty((b, s, week.shape[1]), np.float32)
    others = np.empty((b, s, day.shape[1]), np.float32)
    for k in range(0, b, 256):  # all windows at once would not fit the memory
        part = slice(k, k + 256)
        window = x[rows[part, None] - len(week) + np.arange(len(week))] - last[part, None]
        own[part] = np.einsum("bls,lf->bsf", window, week, optimize=True)
        others[part] = np.einsum("bls,lf->bsf", window[:, -len(day) :], day, optimize=True)
    one = np.ones((b, s, 1), np.float32)
    cycles = [2 * math.pi * n * (times % period) / period for n, period in _CYCLES if period >= 2 * n * step]
    phases = [f(c)[:, None] for c in cycles for f in (np.sin, np.cos)]
    everybody = np.concatenate([others.reshape(b, -1), last, *phases], axis=1, dtype=np.float32)
    return (np.concatenate([thought, own, last[:, :, None], one], axis=2), everybody), last


def predicted(given: tuple[Float32s, Float32s], last: Float32s, own: Float32s, all: Float32s) -> Floats:
    """The regression's answer, [b, s, h]: the mean of what its two sets of weights say."""
    mine, everybody = given
    out = np.empty((*mine.shape[:2], own.shape[2]))
    for i in range(mine.shape[1]):
        out[:, i] = (mine[:, i] @ own[i] + np.hstack((mine[:, i], everybody)) @ all[i]) / 2 + last[:, i, None]
    return out


def units(zero: Floats, width: Floats) -> Floats:
    """The unit errors are measured in: half way between the present width of the zero-shot fan and its usual one.
    zero [..., s, h, q], width [s, h] -> [..., s, h]."""
    present: Floats = np.sqrt(np.maximum(zero[..., -1] - zero[..., 0], 1e-6) * np.maximum(width, 1e-6))
    return present


def spread(offsets: Floats, horizon: int) -> Floats:
    """Offsets of blocks of steps [s, k, q] to those of steps [s, h, q]."""
    return offsets[:, blocks(horizon, offsets.shape[1])]


def blocks(horizon: int, k: int) -> Times:
    """The block of every step, [h]."""
    return np.arange(horizon) * k // horizon


@lru_cache(maxsize=8)
def averages(count: int, share: int, widest: int) -> Float32s:
    """Lags to features [l, f], newest last: means over a `share`-th of their age, at most `widest` rows, none below
    one."""
    columns, age = [], 0
    while age < count:
        width = min(max(age // share, 1), max(widest, 1), count - age)
        column = np.zeros(count, np.float32)
        column[count - age - width : count - age] = 1.0 / width
        columns.append(column)
        age += width
    return np.array(columns).T
