"""Closed-form ridge: one matrix from the recent past straight to every step ahead.

Letters: L lags, f features (lags, the older the coarser), h steps ahead, w windows, s signals, r ridge strengths tried;
X features [w, f], Y targets [w, h], G = X'X, C = X'Y, B weights [f, h].
Source: direct multi-horizon linear forecasting as in DLinear (Zeng et al. 2023, AAAI 37), solved in closed form
(Toner and Darlow 2024, ICML 41); windows are centred on their own last value.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, InputError
from gemel.core.units import duration
from gemel.core.values import DECILES, Bools, Float32s, Floats, Forecast, Frame
from gemel.forecasters.context import answer, bell, check, deviation, filled, spacing

_RIDGE = np.array([0.01, 0.1, 1.0, 10.0])  # as a share of the mean eigenvalue of G
_FEWEST = 8  # windows below which nothing is fitted
_MOST = 4096  # windows taken from one context
_GAPS = 0.2  # a window with a larger share of missing cells teaches nothing


@dataclass(slots=True)
class _Fit:
    """What has been learned; sums are float32 so that a snapshot is small and loses nothing.

    Everything up to B is in units of `scale`, so that no square is too large or too small for a float32."""

    signals: tuple[str, ...]
    step: int
    lags: int
    horizon: int
    time: int  # of the context it was last fitted on
    until: int  # the first row of the newest window taken
    scale: Floats  # [s]
    G: Float32s  # [s, f, f]
    C: Float32s  # [s, f, h]
    square: Floats  # [r, s, h] squared errors of windows that the weights had not seen
    count: Floats  # [s] how many such windows
    B: Floats  # [s, f, h]
    sigma: Floats  # [s, h], in the signal's own unit


class Linear:
    """Ridge regression of the next steps on the last ones, a signal at a time.

    - `lags`: rows it looks back, or `"auto"` (seven horizons, at least 168, at most half of the context).
    - `refit`: how much event time passes before new windows are added and the weights solved again.
    - `memory`: half-life of what was learned, in event time.

    Each refit adds only the windows it has not seen, so it learns from a twin's whole life, not just from the context.
    The ridge strength and the bands come from errors on windows that the weights had not seen. With too few windows to
    learn from, the answer is that of `naive`.
    """

    def __init__(self, lags: int | str = "auto", refit: str = "7d", memory: str = "365d") -> None:
        if lags != "auto" and not (isinstance(lags, int) and lags >= 4):
            raise ConfigError([f"linear: lags {lags!r} must be 4 or more rows"], 'or write "auto"')
        for name, text in (("refit", refit), ("memory", memory)):
            try:
                duration(text)
            except InputError as error:
                raise ConfigError([f"linear: {name}: {error.message}"], error.hint) from None
        self.lags, self.refit, self.memory = lags, refit, memory
        self._fit: _Fit | None = None

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        check(context, horizon, levels)
        values = filled(context.values)
        last = values[-1]
        unit = deviation(context.values)  # of one step
        fit = self._fitted(context, values, unit, horizon, spacing(context, known))
        middle = np.repeat(last[:, None], horizon, axis=1)
        sigma = unit[:, None] * np.sqrt(np.arange(1.0, horizon + 1))
        if fit is not None:
            recent = values[-fit.lags :]
            if len(recent) < fit.lags:
                recent = np.concatenate([np.repeat(recent[:1], fit.lags - len(recent), axis=0), recent])
            x = (recent - last).T @ _coarse(fit.lags)  # [s, f]
            middle += np.einsum("sf,sfh->sh", x, fit.B[:, :, :horizon])
            learned = fit.sigma[:, :horizon]
            sigma = np.where(learned > 0, learned, sigma)  # 0: constant, or never seen whole
        return answer(bell(middle, sigma, levels), context, levels, "linear", known)

    def snapshot(self) -> Mapping[str, Any]:
        if self._fit is None:
            return {}
        held = {name: getattr(self._fit, name) for name in _Fit.__slots__ if name not in ("B", "sigma")}
        return copy.deepcopy(held)

    def restore(self, state: Mapping[str, Any]) -> None:
        self._fit = None
        if state:
            empty = np.zeros(0)
            self._fit = _Fit(**copy.deepcopy(dict(state)), B=empty, sigma=empty)
            self._fit.signals = tuple(state["signals"])
            _solve(self._fit)

    def _fitted(self, context: Frame, values: Floats, unit: Floats, horizon: int, step: int) -> _Fit | None:
        now, fit = int(context.time[-1]), self._fit
        if fit is not None:
            alike = fit.signals == context.signals and fit.step == step
            if not alike or fit.horizon < horizon or fit.time > now:
                fit = None
            elif now < fit.time + duration(self.refit):
                return fit
        lags = self._lags(len(values), fit.horizon if fit else horizon)
        if fit is None or lags > fit.lags:
            fit = _start(context, step, lags, horizon, unit) if lags else None
        else:
            _fade(fit, 0.5 ** ((now - fit.time) / duration(self.memory)))
        if fit is not None:
            fit.time = now
            _learn(fit, context, values)
        self._fit = fit if fit is not None and fit.count.any() else None
        return self._fit

    def _lags(self, rows: int, horizon: int) -> int:
        most = (rows - horizon) // 2
        lags = min(max(7 * horizon, 168), most) if self.lags == "auto" else int(self.lags)
        return lags if 4 <= lags <= most else 0


def _start(context: Frame, step: int, lags: int, horizon: int, scale: Floats) -> _Fit:
    s, f, r = len(context.signals), _coarse(lags).shape[1], len(_RIDGE)
    before = int(context.time[0]) - step
    return _Fit(
        context.signals, step, lags, horizon, before, before, scale,
        np.zeros((s, f, f), np.float32), np.zeros((s, f, horizon), np.float32),
        np.zeros((r, s, horizon)), np.zeros(s), np.zeros((s, f, horizon)), np.zeros((s, horizon)),
    )  # fmt: skip


def _fade(fit: _Fit, keep: float) -> None:
    fit.G *= np.float32(keep)
    fit.C *= np.float32(keep)
    fit.square *= keep
    fit.count *= keep


def _learn(fit: _Fit, context: Frame, values: Floats) -> None:
    """Windows that start after `fit.until`: first they test the weights, then they teach them."""
    size = fit.lags + fit.horizon
    first = int(np.searchsorted(context.time, fit.until, side="right"))
    starts = np.arange(first, len(values) - size + 1)
    starts = starts[:: max(fit.horizon // 24, len(starts) // _MOST, 1)]
    if len(starts) < (1 if fit.G.any() else _FEWEST):
        return
    fit.until = int(context.time[starts[-1]])
    missing = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(~np.isfinite(context.values), axis=0)])
    usable = missing[starts + size] - missing[starts] <= _GAPS * size  # [w, s]
    half = len(starts) // 2
    for part in (starts[:half], starts[half:]) if not fit.G.any() else (starts,):
        _add(fit, values, part, usable[np.searchsorted(starts, part)])


def _add(fit: _Fit, values: Floats, starts: np.ndarray[Any, Any], usable: Bools) -> None:
    coarse = _coarse(fit.lags)
    rows = starts[:, None] + np.arange(fit.lags + fit.horizon)
    candidates = _candidates(fit) if fit.G.any() else None
    for i in np.nonzero(usable.any(axis=0))[0]:
        window = values[rows[usable[:, i]], i] / fit.scale[i]
        window -= window[:, fit.lags - 1, None].copy()
        np.clip(window, -1e15, 1e15, out=window)  # sums of squares are kept as float32
        X, Y = window[:, : fit.lags] @ coarse, window[:, fit.lags :]
        if candidates is not None:
            fit.square[:, i] += ((Y - X @ candidates[:, i]) ** 2).sum(axis=1)
            fit.count[i] += len(X)
        fit.G[i] += (X.T @ X).astype(np.float32)
        fit.C[i] += (X.T @ Y).astype(np.float32)
    _solve(fit)


def _candidates(fit: _Fit) -> Floats:
    """Weights of every ridge strength, [r, s, f, h], from one decomposition."""
    value, vector = np.linalg.eigh(fit.G.astype(np.float64))
    value = np.maximum(value, 0.0)
    mean = value.mean(axis=1, keepdims=True) + 1e-300
    turned = np.swapaxes(vector, 1, 2) @ fit.C
    return np.stack([vector @ (turned / (value + k * mean)[:, :, None]) for k in _RIDGE])


def _solve(fit: _Fit) -> None:
    best = np.argmin(fit.square.sum(axis=2), axis=0)  # [s]
    i = np.arange(len(best))
    fit.B = _candidates(fit)[best, i]
    fit.sigma = fit.scale[:, None] * np.sqrt(fit.square[best, i] / np.maximum(fit.count, 1e-9)[:, None])


def _coarse(lags: int) -> Floats:
    """Lags to features, [L, f]: the newest 12 as they are, older ones averaged over a twelfth of their age, at most
    a 42nd of all lags (four hours of a week)."""
    columns, age = [], 0
    while age < lags:
        width = min(max(age // 12, 1), max(lags // 42, 1), lags - age)
        column = np.zeros(lags)
        column[lags - age - width : lags - age] = 1.0 / width
        columns.append(column)
        age += width
    return np.array(columns).T
