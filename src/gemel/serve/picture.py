"""Pictures in a terminal: one signal with what was measured, what the twin believed, and the fan ahead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from gemel.core.units import stamp
from gemel.core.values import Floats, Forecast, Times

# dot (row, column) of a braille cell -> its bit
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BANDS = (((0.1, 0.9), "#16324f"), ((0.2, 0.8), "#1f4a75"))
_MEASURED, _BELIEVED, _MEDIAN = "#9aa5b1", "#2dd4bf", "#7aa2ff"


class Fan:
    """A chart that fills the room it is given; two by four dots a character.

    `measured` and `believed` are [t]; the fan is that of `ahead`, if any: the median over its 60 % and 80 % bands."""

    def __init__(self, time: Times, measured: Floats, believed: Floats, ahead: Forecast | None, signal: str) -> None:
        self.time, self.signal, self.ahead = time, signal, ahead
        self.past = ((measured, _MEASURED), (believed, _BELIEVED))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(options.max_width - 8, 20)
        height = max((options.height or 16) - 2, 4)
        split = width if self.ahead is None else width * 3 // 5
        bands = self._bands()
        low, high = self._range(bands)
        dots = np.zeros((height, width), int)
        front = np.full((height, width), "", object)
        back = np.full((height, width), "", object)

        def row(value: Floats) -> Floats:
            return np.clip((high - value) / (high - low) * height * 4, 0, height * 4 - 1)

        if self.ahead is not None:
            place = np.linspace(0, len(self.ahead) - 1, width - split).round().astype(int)
            for (bottom, top), colour in _BANDS:
                upper, lower = row(bands[top][place]) // 4, row(bands[bottom][place]) // 4
                for c in range(width - split):
                    back[int(upper[c]) : int(lower[c]) + 1, split + c] = colour
        for curve, colour in self.past:
            _draw(dots, front, row(_stretched(curve, split * 2)), 0, colour)
        if self.ahead is not None:
            _draw(dots, front, row(_stretched(bands[0.5], (width - split) * 2)), split, _MEDIAN)
        for r in range(height):
            value = f"{high - (r + 0.5) / height * (high - low):7.1f} " if r % 3 == 1 else " " * 8
            yield Segment(value, Style(color="grey50"))
            for c in range(width):
                mark = chr(0x2800 + dots[r, c]) if dots[r, c] else ("│" if c == split and r % 2 else " ")
                colour = str(front[r, c]) or "grey42"
                yield Segment(mark, Style(color=colour, bgcolor=str(back[r, c]) or None))
            yield Segment.line()
        yield Segment(self._axis(width, split), Style(color="grey50"))
        yield Segment.line()
        for text, colour in (("⣀ measured  ", _MEASURED), ("⣀ believed  ", _BELIEVED), ("⣀ median ahead, ", _MEDIAN)):
            yield Segment((" " * 8 if "measured" in text else "") + text, Style(color=colour))
        yield Segment("60 % and 80 % bands", Style(color="grey50"))
        yield Segment.line()

    def _bands(self) -> dict[float, Floats]:
        if self.ahead is None:
            return {}
        return {q: self.ahead.quantile(self.signal, q) for q in (0.1, 0.2, 0.5, 0.8, 0.9)}

    def _range(self, bands: dict[float, Floats]) -> tuple[float, float]:
        curves = [curve for curve, _ in self.past] + [bands[q] for q in (0.1, 0.9) if bands]
        good = np.concatenate([c[np.isfinite(c)] for c in curves])
        if not len(good):
            return 0.0, 1.0
        low, high = float(good.min()), float(good.max())
        margin = max((high - low) * 0.04, abs(high) * 1e-6, 1e-9)
        return low - margin, high + margin

    def _axis(self, width: int, split: int) -> str:
        if not len(self.time):
            return "waiting for telemetry"
        left, now = stamp(int(self.time[0]))[5:], stamp(int(self.time[-1]))[5:]
        end = stamp(int(self.ahead.time[-1]))[5:] if self.ahead is not None else ""
        return " " * 8 + left + now.rjust(split - len(left) + 5) + end.rjust(width - split - 5)


def _stretched(curve: Floats, width: int) -> Floats:
    """The curve at `width` dots, each the nearest value; NaN stays."""
    if not len(curve):
        return np.full(width, np.nan)
    return curve[np.linspace(0, len(curve) - 1, width).round().astype(int)]


def _draw(dots: np.ndarray, front: np.ndarray, rows: Floats, column: int, colour: str) -> None:
    """A curve of two dots a character, joined up vertically."""
    last: float | None = None
    for x, y in enumerate(rows):
        if not np.isfinite(y):
            last = None
            continue
        for step in _between(last, y):
            r, c = int(step) // 4, column + x // 2
            dots[r, c] |= _DOTS[int(step) % 4][x % 2]
            front[r, c] = colour
        last = y


def _between(last: float | None, y: float) -> Sequence[int]:
    if last is None or abs(int(last) - int(y)) <= 1:
        return (int(y),)
    return range(int(last) + 1, int(y) + 1) if y > last else range(int(y), int(last))
