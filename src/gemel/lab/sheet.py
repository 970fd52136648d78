"""A page of samples of everything a network is trained on: does it look like telemetry?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

import numpy as np
import torch

from gemel.core.values import Float32s, Floats
from gemel.lab.corpus import centred, graphs, wear
from gemel.lab.picture import STYLE, box, svg, text, trace
from gemel.lab.priors import FAMILIES, Draw, unit

LENGTH = 1024
"""Points of a sample: half of the longest window."""
LABEL, PANEL, TALL, GAP = 216, 232, 78, 10


def sheet(series: Sequence[Float32s] = (), columns: int = 4, seed: int = 0) -> str:
    """An SVG: a row a family, the graphs, worn windows, and, if given, pieces of real series."""
    width = LABEL + columns * (PANEL + GAP)
    title = f"What the network is trained on: samples of {LENGTH} points"
    body, y = [text(0, 20, title, "ink bold")], 40
    for name, what, rows in strips(series, columns, seed):
        for k in range(0, len(rows), columns):
            if k == 0:
                body.append(text(0, y + 16, name, "ink bold"))
                body += [text(0, y + 32 + 14 * i, line, "dim small") for i, line in enumerate(wrap(what, 36)[:4])]
            for i, row in enumerate(rows[k : k + columns]):
                x = LABEL + i * (PANEL + GAP)
                body += [box(x, y, PANEL, TALL), trace(row, x + 6, y + 6, PANEL - 12, TALL - 12)]
            y += TALL + GAP
    return svg(width, y, body, STYLE, title)


def strips(series: Sequence[Float32s], n: int, seed: int) -> Iterator[tuple[str, str, Floats]]:
    """(name, what it is, rows [n, LENGTH] with NaN where missing)."""
    drawn = []
    for name, (family, _) in FAMILIES.items():
        drawn.append(unit(family(Draw(seed), max(n, 8), LENGTH)))
        yield name, _first(family.__doc__), _rows(drawn[-1][:n])
    draw = Draw(seed)
    rows = torch.cat(drawn)
    rows = rows[torch.randperm(len(rows), generator=draw.source)]
    yield "graphs", _first(graphs.__doc__), _rows(graphs(draw, rows, n / len(rows) + 1e-6)[:n])
    worn, seen = wear(draw, *centred(rows, torch.ones_like(rows)))
    whole, worn = seen.mean(-1) == 1, torch.where(seen > 0, worn, torch.nan)
    yield "worn", _first(wear.__doc__), _rows(torch.cat((worn[whole][:n], worn[~whole][:n])))
    whole = [y for y in series if len(y) >= LENGTH]
    if whole:
        lot = np.random.default_rng(seed).permutation(len(whole))[: 2 * n]
        yield (
            "real",
            "Series of the pool, their last points.",
            np.stack([whole[i][-LENGTH:] for i in lot]).astype(float),
        )


def _rows(x: torch.Tensor) -> Floats:
    return np.asarray(x.numpy(), np.float64)


def _first(doc: str | None) -> str:
    """The first sentence of a docstring, in one line."""
    return " ".join((doc or "").split()).split(". ")[0].rstrip(".") + "."
