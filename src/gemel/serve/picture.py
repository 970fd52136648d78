"""Pictures in a terminal: one signal with what was measured, what the twin believed, and the fan ahead."""

from __future__ import annotations

import numpy as np
from rich.text import Text

from gemel.core.units import stamp
from gemel.core.values import Floats, Forecast, Times

STYLES = {"·": "grey62", "●": "bold cyan", "░": "blue", "▒": "blue", "━": "bold bright_blue", "│": "grey42", " ": ""}


def fan(
    time: Times,
    measured: Floats,
    believed: Floats,
    ahead: Forecast | None,
    signal: str,
    width: int = 72,
    height: int = 12,
) -> Text:
    """A chart as text, `height` + 1 lines. `measured` and `believed` are [t]; the fan is that of `ahead`, if any.

    · measured, ● believed, ━ median ahead, ▒ 60 % band, ░ 80 % band, │ now."""
    past = width if ahead is None else width * 3 // 5
    canvas = np.full((height, width), " ")
    curves = [measured, believed]
    if ahead is not None:
        bands = {q: ahead.quantile(signal, q) for q in (0.1, 0.2, 0.5, 0.8, 0.9)}
        curves += [bands[0.1], bands[0.9]]
    good = np.concatenate([c[np.isfinite(c)] for c in curves])
    if not len(good):
        return Text("waiting for telemetry")
    low, high = float(good.min()), float(good.max())
    margin = max((high - low) * 0.05, 1e-9)
    low, high = low - margin, high + margin

    def row(value: float) -> int:
        return int(np.clip((high - value) / (high - low) * height, 0, height - 1))

    if ahead is not None:
        for c in range(past, width):
            i = (c - past) * (len(ahead) - 1) // max(width - past - 1, 1)
            for outer, mark in (((0.1, 0.9), "░"), ((0.2, 0.8), "▒")):
                canvas[row(float(bands[outer[1]][i])) : row(float(bands[outer[0]][i])) + 1, c] = mark
            canvas[row(float(bands[0.5][i])), c] = "━"
        canvas[canvas[:, past] == " ", past] = "│"
    for curve, mark in ((measured, "·"), (believed, "●")):
        for c in range(past):
            part = curve[c * len(curve) // past : max((c + 1) * len(curve) // past, c * len(curve) // past + 1)]
            part = part[np.isfinite(part)]
            if len(part):
                canvas[row(float(part.mean())), c] = mark
    text = Text()
    for r, line in enumerate(canvas):
        label = f"{high - (r + 0.5) / height * (high - low):7.1f} " if r % 3 == 1 else " " * 8
        text.append(label, "grey50")
        for mark in line:
            text.append(str(mark), STYLES[str(mark)])
        text.append("\n")
    if len(time):
        left, now = stamp(int(time[0]))[5:], stamp(int(time[-1]))[5:]
        end = stamp(int(ahead.time[-1]))[5:] if ahead is not None else ""
        text.append(" " * 8 + left + now.rjust(past - len(left) + 5) + end.rjust(width - past - 5), "grey50")
    return text
