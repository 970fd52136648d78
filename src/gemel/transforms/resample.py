"""Another grid."""

from __future__ import annotations

import numpy as np

from gemel.core import grid
from gemel.core.errors import ConfigError, InputError
from gemel.core.setting import Setting
from gemel.core.units import duration
from gemel.core.values import BAD, IMPUTED, Frame


class Resample:
    """Puts a frame on the multiples of `every`: each cell is the mean of what fell into it, a short gap is held.

    What the frame had imputed is imputed anew, so nothing that nobody measured ever counts as measured. The last
    cell is the one the last row falls into, so it may still be filling.

    - `every`: the spacing, "15min"; the twin's own when empty.
    - `hold`: gaps up to this long take the last value, flagged imputed; "" for four steps of the grid.
    """

    def __init__(self, every: str = "", hold: str = "") -> None:
        self.every, self.hold = every, hold
        try:
            self._every = duration(every) if every else 0
            self._hold = duration(hold) if hold else 0
        except InputError as error:
            raise ConfigError([f"resample: {error.message}"], error.hint) from None

    def bind(self, setting: Setting) -> None:
        self._every = self._every or setting.every

    def view(self, frame: Frame) -> Frame:
        if not self._every:
            raise ConfigError(["resample: 'every' is empty and there is no twin to take it from"], 'every = "15min"')
        if len(frame) == 0:
            return frame
        s = len(frame.signals)
        row, column = np.nonzero((frame.quality != BAD) & (frame.quality != IMPUTED))
        return grid.regular(
            column.astype(np.int32),
            frame.time[row],
            frame.values[row, column],
            frame.quality[row, column],
            range(s),
            frame.signals,
            int(frame.time[0]),
            -(-int(frame.time[-1]) // self._every) * self._every,
            self._every,
            self._hold // self._every if self._hold else grid.HOLD,
        )
