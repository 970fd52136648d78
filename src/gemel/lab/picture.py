"""Our own small SVG writer: traces, axes and bars as text, in colours for light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from gemel.core.values import Floats, Times

COLOURS = ("#2563eb", "#d97706", "#059669", "#c026d3", "#dc2626", "#0891b2", "#65a30d", "#7c3aed")
"""One a line, as seen on white; on black they are lifted by a filter."""
STYLE = """
.ink{fill:#1f2937}.dim{fill:#6b7280}.box{fill:#f6f7f9}.rule{stroke:#d5d9e0;fill:none}.trace{stroke:#2563eb;fill:none}
.bar{fill:#2563eb}.other{fill:#b6bdc9}text{font:12px system-ui,sans-serif}.small{font-size:11px}.bold{font-weight:600}
@media(prefers-color-scheme:dark){.ink{fill:#e5e7eb}.dim{fill:#9aa3b2}.box{fill:#1a2130}.rule{stroke:#374151}
.trace{stroke:#7aa2ff}.bar{fill:#7aa2ff}.other{fill:#4b5566}.lines{filter:brightness(1.5)}}
"""


def svg(width: float, height: float, body: Iterable[str], style: str = "", label: str = "") -> str:
    """A whole drawing; `style` where it stands alone, `label` for those who cannot see it."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 -12 {width + 24:g} {height + 24:g}" role="img"'
    sheet = f"<style>{style}</style>" if style else ""
    return f'{head} aria-label="{escape(label)}">{sheet}{"".join(body)}</svg>'


def text(x: float, y: float, words: str, kind: str = "ink", anchor: str = "start") -> str:
    """A line of text; `kind` is one or more classes of `STYLE`."""
    side = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}"{side}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str = "box", note: str = "") -> str:
    """A rectangle; `note` shows under the pointer."""
    title = f"<title>{escape(note)}</title>" if note else ""
    return (
        f'<rect x="{x:.4g}" y="{y:.4g}" width="{width:.4g}" height="{height:.4g}" rx="3" class="{kind}">{title}</rect>'
    )


def trace(values: Floats, x: float, y: float, width: int, height: int) -> str:
    """A signal as a path that fills a box, NaN as gaps: of each column of pixels only the least and the highest value,
    so that a long signal costs no more than a short one and loses no spike."""
    held = values[np.isfinite(values)]
    if not len(held):
        return ""
    low, span = float(held.min()), float(np.ptp(held)) or 1.0
    column = np.arange(len(values)) * width / max(len(values) - 1, 1)
    keep = _ends(values, column.astype(int)) if len(values) > 2 * width else np.arange(len(values))
    at = np.round(column[keep]).astype(int)
    down = np.where(np.isfinite(values[keep]), np.round((1 - (values[keep] - low) / span) * height), np.nan)
    parts, last = [], None
    for i, (px, py) in enumerate(zip(at.tolist(), down.tolist(), strict=True)):
        if not math.isfinite(py):
            last = None
        elif last is None:
            alone = i + 1 == len(down) or not math.isfinite(down[i + 1])
            parts.append(f"M{x + px:g} {y + py:g}" + ("h1" if alone else ""))
            last = (px, py)
        elif (step := (px - last[0], int(py - last[1]))) != (0, 0):
            parts.append(f"l{step[0]}{'' if step[1] < 0 else ' '}{step[1]}")
            last = (px, py)
    return f'<path d="{"".join(parts)}" class="trace"/>'


def _ends(values: Floats, column: Times) -> Times:
    """Positions of the least and the highest value of every column, and of its gap where nothing is finite."""
    keep = []
    for part in np.split(np.arange(len(values)), np.nonzero(np.diff(column))[0] + 1):
        held = part[np.isfinite(values[part])]
        keep += sorted({held[values[held].argmin()], held[values[held].argmax()]}) if len(held) else [part[0]]
    return np.array(keep)


def marks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between `low` and `high`, about `count`."""
    span = high - low
    if span <= 0:
        return [low]
    size = 10 ** math.floor(math.log10(span / count))
    step = next(size * k for k in (1, 2, 5, 10) if span / (size * k) <= count)
    return [step * i for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def lines(curves: Sequence[tuple[str, Floats, Floats]], across: str, title: str, width: int = 860) -> str:
    """Named curves (name, x, y) in one frame with axes and a legend."""
    height = max(320, 60 + 20 * len(curves))
    left, top, right, foot = 52, 34, 190, 44
    w, h = width - left - right, height - top - foot
    far = max(float(x[-1]) for _, x, _ in curves) or 1.0
    every = np.concatenate([y for _, _, y in curves])
    low = float(every.min())
    high = max(float(np.quantile(every, 0.97)), low + 1e-6)  # the first steps would flatten the rest
    body = [text(0, 16, title, "ink bold")]
    for value in marks(low, high):
        row = top + h * (1 - (value - low) / (high - low))
        label = text(left - 8, row + 4, f"{value:g}", "dim small", "end")
        body += [f'<path d="M{left} {row:.1f}h{w}" class="rule"/>', label]
    for value in marks(0, far):
        body.append(text(left + w * value / far, top + h + 18, f"{value:g}", "dim small", "middle"))
    body.append(text(left + w, top + h + 36, across, "dim small", "end"))
    body.append('<g class="lines">')
    for i, (name, x, y) in enumerate(curves):
        colour = COLOURS[i % len(COLOURS)]
        px = left + w * x / far
        py = top + h * (1 - (np.clip(y, low, high) - low) / (high - low))
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(px, py, strict=True))
        note = f"<title>{escape(name)}: {y[-1]:.4f}</title>"
        body.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.8">{note}</path>')
        body.append(f'<path d="M{left + w + 16} {top + 8 + 20 * i}h14" stroke="{colour}" stroke-width="3"/>')
    body.append("</g>")
    for i, (name, _, y) in enumerate(curves):
        body.append(text(left + w + 36, top + 12 + 20 * i, f"{name}  {y[-1]:.4f}", "ink small"))
    return svg(width, height, body, label=title)


def bars(rows: Sequence[tuple[str, float, bool]], title: str, width: int = 860) -> str:
    """Rows of (name, value, ours), the least on top, with a line at 1."""
    left, top, tall = 210, 34, 24
    far = max([1.0, *(min(value, 2.0) for _, value, _ in rows)])
    scale = (width - left - 70) / far
    body = [text(0, 16, title, "ink bold")]
    for i, (name, value, ours) in enumerate(sorted(rows, key=lambda row: row[1])):
        y = top + tall * i
        body.append(text(left - 10, y + 14, name, "ink bold" if ours else "dim", "end"))
        body.append(
            box(left, y + 2, scale * min(value, far), tall - 8, "bar" if ours else "other", f"{name}: {value:.4f}")
        )
        body.append(
            text(left + scale * min(value, far) + 6, y + 14, f"{value:.3f}", "ink small" if ours else "dim small")
        )
    bottom = top + tall * len(rows)
    body.append(f'<path d="M{left + scale:.1f} {top - 4}V{bottom}" class="rule" stroke-dasharray="3 3"/>')
    return svg(width, bottom + 8, body, label=title)
