"""Charts of forecasts as lines of text: what was measured, then the median over its 80 % band; they need no colour.

A character holds 2 x 4 braille dots. Letters: n dot columns or characters across, h characters down, x places across
(in dots or characters, from the left), y places down (in dots, from the top).
"""

from __future__ import annotations

import math

import numpy as np
from rich.text import Text

from gemel.core.calendar import DAY
from gemel.core.units import SECOND, stamp
from gemel.core.values import Bools, Floats, Forecast, Frame, Times

PAST, MEDIAN, BAND, FAINT = "", "#ffc46b", "#24507f", "bright_black"
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])  # of a braille cell's dots [row, column]
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_LEAST = 24  # steps of history shown with a short horizon
_TICKS = [(n, unit) for unit, ns in (("ns", (1, 2, 5)), ("us", (1, 2, 5)), ("ms", (1, 2, 5)), ("s", (1, 2, 5, 10, 30)),
          ("m", (1, 2, 5, 10, 15, 30)), ("h", (1, 2, 3, 6, 12)), ("D", (1, 2, 7, 14)), ("M", (1, 2, 3, 6)),
          ("Y", (1, 2, 5, 10, 20, 50))) for n in (*ns, *((10 * ns[0], 20, 50, 100, 200, 500) if unit[1:] else ()))]  # fmt: skip
