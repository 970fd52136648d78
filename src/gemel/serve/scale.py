"""Scales: the round numbers and times beside a picture, and how to write them.

Times are nanoseconds UTC, or count steps (`counted`). Letters: k a multiple, n characters of room.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np

from gemel.core.calendar import DAY
from gemel.core.units import SECOND, stamp
from gemel.core.values import Floats

_ROUND = {
    "ms": (1, 10, 100),
    "s": (1, 2, 5, 10, 30),
    "m": (1, 2, 5, 10, 15, 30),
    "h": (1, 2, 3, 6, 12),
    "D": (1, 2, 7, 14),
    "M": (1, 2, 3, 6),
    "Y": (1, 2, 5, 10, 20, 50),
}


def span(values: Floats) -> tuple[float, float]:
    """The least and the most, some room around them where they are the same."""
    good = values[np.isfinite(values)]
    low, high = (float(good.min()), float(good.max())) if len(good) else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = max(abs(low), abs(high)) * 0.05 or 1.0
        return low - room, high + room
    return low, high


def numbers(low: float, high: float) -> list[tuple[float, str]]:
    """3 to 5 round numbers in low..high, and how to write them: multiples of the least of 1, 2, 2.5, 5 times a power
    of ten that gives no more than 5. (Where a step gives 2, the range is below 3 of it, so its half gives 5 at most.)
    """
    power = 10.0 ** math.floor(math.log10((high - low) / 6))
    for step in (power * m for m in (1, 2, 2.5, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < 5:
            break
    ticks = [k * step for k in range(first, last + 1)]
    kind = "f" if 1e-3 <= max(map(abs, ticks)) < 1e6 else "e"
    for digits in range(17):
        texts = [f"{t:.{digits}{kind}}" for t in ticks]
        if all(abs(float(text) - t) < step * 1e-3 for text, t in zip(texts, ticks, strict=True)):
            break
    short = [text.replace("e+0", "e").replace("e+", "e").replace("e-0", "e-").removesuffix("e0") for text in texts]
    return list(zip(ticks, short, strict=True))


def instants(begin: int, end: int, now: int, n: int) -> list[tuple[int, str]]:
    """Round times in begin..end, one in 12 characters at most, and how to write them."""
    most = max(n // 12, 2)
    if counted(now):
        found = numbers(begin, max(end, begin + 4))
        return [(int(t), str(int(t))) for t, _ in found if t == int(t) <= end][: most + 1]
    for unit, every in ((unit, every) for unit, counts in _ROUND.items() for every in counts):
        first, last = (int(np.datetime64(t, "ns").astype(f"M8[{unit}]").astype(int)) for t in (begin - 1, end))
        if last // every - first // every <= most:
            break
    ticks = range((first // every + 1) * every, last + 1, every)
    times = np.array(ticks, np.int64).astype(f"M8[{unit}]").astype("M8[ns]").astype(np.int64).tolist()
    return [(t, _written(t, unit)) for t in times]


def counted(time: int) -> bool:
    """Whether a time only counts steps: nobody has telemetry of the year around 1970."""
    return abs(time) < 365 * DAY


def length(ns: int) -> str:
    """A stretch of time for people: `24 h`."""
    for name, size in (("d", DAY), ("h", 3600 * SECOND), ("min", 60 * SECOND)):
        if ns >= (3 * size if name == "d" else 2 * size):
            return f"{ns / size:.3g} {name}"
    return f"{ns / SECOND:.3g} s"


def _written(time: int, unit: str) -> str:
    if unit in ("m", "h") and time % DAY:
        return stamp(time)[11:]
    if unit in ("s", "ms"):
        return stamp(time, seconds=True)[11:] + (f".{time % SECOND // 1_000_000:03d}" if unit == "ms" else "")
    form = {"Y": "%Y", "M": "%b %Y"}.get(unit, "%b %d")
    return datetime.fromtimestamp(time // SECOND, UTC).strftime(form)
