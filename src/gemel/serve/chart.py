"""Forecasts as charts of text: what was measured, then the median over its 80 % band. They need no colour.

A character holds 2 x 4 braille dots. Letters: n characters across, h characters down, x places across from the left,
y places down from the top (both in dots).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from rich.text import Text

from gemel.core.units import stamp
from gemel.core.values import Bools, Floats, Forecast, Frame, Times
from gemel.serve.scale import counted, instants, length, numbers, span

_PAST, _MEDIAN, _BAND, _FAINT = "", "#ffc46b", "#24507f", "bright_black"
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])  # of a braille cell's dots [row, column]
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_LEAST = 24  # steps of history shown, however short the horizon


def chart(
    past: Frame, ahead: Forecast, name: str, unit: str = "", *, width: int = 80, height: int = 12, colour: bool = True
) -> Text:
    """One signal: a title, `height` lines of picture, and two of time axis, none longer than `width` (from 40 on).

    The history goes back twice the horizon; a missing stretch is left blank. Without `colour` the band is shaded."""
    now, end = ahead.issued, int(ahead.time[-1])
    time, value = _shown(past, ahead, name)
    when = ahead.time
    lower, middle, upper = (ahead.quantile(name, level) for level in (0.1, 0.5, 0.9))
    joined = len(time) > 0 and now - time[-1] < max([when[0] - now, *np.diff(time[-2:])])
    if joined:  # the fan opens at the last measured value, unless that is an old one
        when = np.append(now, when)
        lower, middle, upper = (np.append(value[-1], curve) for curve in (lower, middle, upper))
    low, high = span(np.concatenate([value, lower, upper]))
    labels = numbers(low, high)
    gutter = max(len(text) for _, text in labels)
    n = max(width - gutter - 1, 12)
    begin = int(time[0]) if len(time) else now
    share = (now - begin) / max(end - begin, 1)
    split = min(max(round(share * (n - 1)), 2), n - 1 - max(n // 6, 8))  # the column of "now"

    def across(t: Times) -> Floats:
        left = np.minimum((t - begin) / max(now - begin, 1), 1) if now > begin else np.ones(len(t))
        return np.where(
            t <= now,
            np.minimum(left * 2 * split, 2 * split - 0.01),
            2 * (split + 1) + (t - now) / (end - now) * (2 * (n - split - 1) - 0.01),
        )

    def down(v: Floats) -> Floats:
        return (high - v) / (high - low) * (height * 4 - 1) + 0.5

    x = np.maximum(across(when), 2 * (split + 1))
    top, bottom = extent(x / 2, upper, n)[1], extent(x / 2, lower, n)[0]
    glyphs, styles, cover = _shaded(down(top) - 0.5, down(bottom) + 0.5, height, colour)
    glyphs[:, split], styles[:, split] = "╎", _FAINT
    measured = np.zeros((height * 4, 2 * n), bool)
    for part in _runs(time):
        measured |= _line(across(time[part]), value[part], down, measured.shape)
    for dots, style in ((measured, _PAST), (_line(x, middle, down, measured.shape), _MEDIAN)):
        codes = (dots.reshape(height, 4, n, 2) * _BITS[:, None]).sum((1, 3))
        for r, c in zip(*np.nonzero(codes), strict=True):
            glyphs[r, c] = chr(0x2800 + codes[r, c])
            styles[r, c] = f"{style} on {_BAND}" if colour and cover[r, c] >= 0.5 else style

    marks = {int(down(np.array(v)) // 4): text for v, text in labels}
    lines = [_title(ahead, name, unit, (value[-1] if joined else None, lower[-1], middle[-1], upper[-1]), width)]
    for r in range(height):
        lines.append(Text.assemble((marks.get(r, "").rjust(gutter) + ("┤" if r in marks else "│"), _FAINT)))
        for style, cells in groupby(zip(styles[r], glyphs[r], strict=True), lambda cell: cell[0]):
            lines[-1].append("".join(glyph for _, glyph in cells), style if colour else "")
        if not colour:  # else blanks may be of the band
            lines[-1].rstrip()
    ticks = [(int(across(np.array([t]))[0] / 2), text) for t, text in instants(begin, end, now, n)]
    lines += [Text(" " * gutter + line, _FAINT) for line in _axis(ticks, split, n)]
    return Text("\n").join(lines)


def legend(now: int, colour: bool = True) -> Text:
    """The line below charts: what is what, and when "now" is."""
    when = f"step {now}" if counted(now) else f"{stamp(now)} UTC"
    band = ("  ", f"on {_BAND}") if colour else ("░░", "")
    return Text.assemble(
        ("╎", _FAINT), f" now, {when}   ", ("⠒⠒", _PAST), " measured   ", ("⠒⠒", _MEDIAN if colour else ""),
        " median   ", band, " 80 % band",
    )  # fmt: skip


def reach(ahead: Forecast) -> int:
    """How far back a chart of a forecast goes: twice as far as it looks ahead, and `_LEAST` steps or more."""
    horizon = int(ahead.time[-1]) - ahead.issued
    return max(2 * horizon, _LEAST * horizon // len(ahead))


def extent(x: Floats, y: Floats, n: int) -> tuple[Floats, Floats]:
    """The least and the most of a curve in each of `n` columns, between its points too: no peak is lost. NaN where it
    does not go. `x` rises within 0..n."""
    edges = np.arange(math.ceil(x[0]), math.floor(x[-1]) + 1)  # a curve that crosses into a column is in both
    at = np.interp(edges, x, y)
    column = np.concatenate([x.astype(int), edges, edges - 1])
    value = np.concatenate([y, at, at])
    inside = (column >= int(x[0])) & (column <= min(int(x[-1]), n - 1))
    least, most = np.full(n, np.nan), np.full(n, np.nan)
    np.fmin.at(least, column[inside], value[inside])
    np.fmax.at(most, column[inside], value[inside])
    return least, most


def _shown(past: Frame, ahead: Forecast, name: str) -> tuple[Times, Floats]:
    """The stretch of history to draw: the values that are there."""
    if name not in past.signals:
        return np.zeros(0, np.int64), np.zeros(0)
    value = past.column(name)
    there = np.isfinite(value) & (past.time > ahead.issued - reach(ahead)) & (past.time <= ahead.issued)
    return past.time[there], value[there]


def _runs(time: Times) -> list[slice]:
    """The stretches without a gap."""
    apart = np.diff(time)
    if not len(apart):
        return [slice(None)] * len(time)
    cuts = np.flatnonzero(apart > 1.5 * np.median(apart)) + 1
    return [slice(a, b) for a, b in pairwise([0, *cuts, len(time)])]


def _line(x: Floats, value: Floats, down: Callable[[Floats], Floats], shape: tuple[int, int]) -> Bools:
    """The dots of a curve."""
    least, most = extent(x, value, shape[1])
    y = np.arange(shape[0])[:, None]
    dots: Bools = (y >= np.floor(down(most))) & (y <= np.floor(down(least)))
    return dots


def _shaded(top: Floats, bottom: Floats, h: int, colour: bool) -> tuple[Any, Any, Floats]:
    """A band from `top` to `bottom` as characters, their styles, and the share of each that it covers, all [h, n]."""
    y = np.arange(0, 4 * h, 4)[:, None]
    cover = np.nan_to_num(np.clip(np.minimum(bottom, y + 4) - np.maximum(top, y), 0, 4) / 4)
    if not colour:
        return np.where(cover >= 0.5, "░", " "), np.full(cover.shape, "", object), cover
    eighths = np.round(cover * 8).astype(int)
    hangs = bottom < y + 4  # there are only blocks that stand: one that hangs is a reversed one
    glyphs = np.array(list(_EIGHTHS))[np.where(hangs, 8 - eighths, eighths)]
    styles = np.where(hangs, f"{_BAND} reverse", _BAND).astype(object)
    glyphs[eighths % 8 == 0] = " "
    styles[eighths == 0], styles[eighths == 8] = "", f"on {_BAND}"
    return glyphs, styles, cover


def _title(ahead: Forecast, name: str, unit: str, at: tuple[float | None, float, float, float], width: int) -> Text:
    """The signal, where it is, where it is going, and who says so; without the last of these where there is no room."""
    last, lower, middle, upper = at
    spelled = f"{len(ahead)} steps" if counted(ahead.issued) else length(int(ahead.time[-1]) - ahead.issued)
    head = Text.assemble((name, "bold"), f" [{unit}]" if unit else "")
    now = f"   now {last:.4g}" if last is not None else ""
    then = Text.assemble(f"   in {spelled}: ", (f"{middle:.4g}", "bold"), f" ({lower:.4g} .. {upper:.4g})")
    by = Text(f"   by {ahead.by}" if ahead.by else "", _FAINT)
    choices = [Text.assemble(head, now, then, by), Text.assemble(head, now, then), Text.assemble(head, then)]
    found = next((text for text in choices if text.cell_len <= width), None)
    if found is None:  # a long name
        head.truncate(max(width - then.cell_len, 8), overflow="ellipsis")
        found = Text.assemble(head, then)
        found.truncate(width, overflow="ellipsis")
    return found


def _axis(ticks: list[tuple[int, str]], split: int, n: int) -> tuple[str, str]:
    """The line under a picture and its labels, "now" before all others."""
    line, labels = ["─"] * n, [" "] * (n + 2)  # a label may begin under the corner
    for column, text in [(split, "now"), *ticks]:
        start = min(max(column + 1 - len(text) // 2, 0), n + 1 - len(text))
        line[column] = "┴" if column == split else "┬"
        if not "".join(labels[max(start - 1, 0) : start + len(text) + 1]).strip():
            labels[start : start + len(text)] = text
    return "└" + "".join(line), "".join(labels).rstrip()
