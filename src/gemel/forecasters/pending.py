"""Forecasts that wait for their truth.

Letters in shapes: k forecasts of one issue (a pool's members), s signals, h steps, q levels, r rows of truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gemel.core.values import BAD, Floats, Float32s, Frame

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
        if not self._issues or issued - self._issues[-1].issued >= step * values.shape[2] // _MOST:
            self._issues.append(_Issue(issued, step, issued, values))

    def due(self, frame: Frame) -> Iterator[tuple[Float32s, Steps, Floats]]:
        """For each issue that `frame` says more about: its values, steps [r] and truth [r, s] (NaN: not measured)."""
        truth = np.where(frame.quality < BAD, frame.values, np.nan)
        for issue in self._issues:
            place, off = np.divmod(frame.time - issue.issued, issue.step)
            new = (off == 0) & (place >= 1) & (place <= issue.values.shape[2]) & (frame.time > issue.upto)
            if new.any():
                issue.upto = int(frame.time[-1])
                yield issue.values, place[new] - 1, truth[new]
        if len(frame):
            now = int(frame.time[-1])
            self._issues = [p for p in self._issues if p.issued + p.step * p.values.shape[2] > now]

    def snapshot(self) -> list[Mapping[str, Any]]:
        return [{name: getattr(p, name) for name in _Issue.__slots__} for p in self._issues]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        self._issues = [_Issue(**p) for p in state]
