"""Forecasts that wait for their truth, and practising on a context when there is none yet.

Letters in shapes: k forecasts of one issue (a pool's members), s signals, h steps, q levels, r rows of truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gemel.core.values import BAD, Float32s, Floats, Frame

Steps = npt.NDArray[np.int64]
_MOST = 8  # waiting at a time: of forecasts issued more often, some do not wait


@dataclass(slots=True)
class _Issue:
    issued: int
    step: int
    upto: int  # the newest row it was compared with
    values: Float32s  # [k, s, h, q]


class Pending:
    """Keeps issued quantiles until their last step has come true, at most eight issues at a time."""

    def __init__(self) -> None:
        self._issues: list[_Issue] = []

    def add(self, issued: int, step: int, values: Float32s) -> None:
        """Keep `values` [k, s, h, q] of times issued + step, issued + 2 step, ... The same issue again replaces."""
        self._issues = [p for p in self._issues if p.issued < issued]
        if not self._issues or issued - self._issues[-1].issued >= step * (values.shape[2] // _MOST):
            self._issues.append(_Issue(issued, step, issued, values))

    def due(self, frame: Frame) -> Iterator[tuple[Float32s, Steps, Floats]]:
        """For each issue that `frame` says more about: its values, steps [r] and truth [r, s] (NaN: not measured)."""
        if not len(frame):
            return
        truth = np.where(frame.quality < BAD, frame.values, np.nan)
        for issue in self._issues:
            place, off = np.divmod(frame.time - issue.issued, issue.step)
            new = (off == 0) & (place >= 1) & (place <= issue.values.shape[2]) & (frame.time > issue.upto)
            if new.any():
                issue.upto = int(frame.time[-1])
                yield issue.values, place[new] - 1, truth[new]
        now = int(frame.time[-1])
        self._issues = [p for p in self._issues if p.issued + p.step * p.values.shape[2] > now]

    def snapshot(self) -> list[Mapping[str, Any]]:
        """Plain data and arrays."""
        return [{name: getattr(p, name) for name in _Issue.__slots__} for p in self._issues]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Take up an earlier `snapshot()`."""
        self._issues = [_Issue(**p) for p in state]


def practise(context: Frame, horizon: int, times: int, go: Callable[[Frame, int, Frame], None]) -> None:
    """Calls `go(past, horizon, rest)` for up to `times` origins within the context, oldest first.

    `rest` is what came true between one origin and the next. An origin keeps at least half of the context as its past,
    and a short context is practised on with a shorter horizon.
    """
    t = len(context)
    ahead = min(horizon, t // 4)
    if ahead < 1 or times < 1:
        return
    gap = max(ahead // 4, 1)
    last = t - ahead
    origins = [o for o in range(last - gap * (times - 1), last + 1, gap) if o >= max(t / 2, 2)]
    for o, following in zip(origins, [*origins[1:], t], strict=True):
        go(context.rows(0, o), ahead, context.rows(o, following))


def smooth(values: Floats) -> Floats:
    """Moving average over the steps, [..., h], a quarter of the horizon wide (narrower at the ends)."""
    h = values.shape[-1]
    half = h // 8
    if not half:
        return values
    total = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    step = np.arange(h)
    low, high = np.maximum(step - half, 0), np.minimum(step + half + 1, h)
    mean: Floats = (total[..., high] - total[..., low]) / (high - low)
    return mean
