"""The report of all runs as one HTML file: a table, loss curves, scores; nothing is fetched, nothing runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import product

import numpy as np

from gemel.core.values import Floats
from gemel.lab.picture import STYLE, bars, lines
from gemel.lab.runs import Row

NOTE = (
    "Scores are ratios to seasonal naive, geometric means: 1 is as good as repeating the last season, and less is "
    'better. Held-out series decide what is promoted; the benchmark is for reporting only. A recipe "cpu+2" differs '
    'from "cpu" in two keys.'
)
POINTS = 150
"""Points of a curve."""
LOOK = """
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2.5rem auto;
padding:0 1.2rem;color:#1f2937;background:#fff}h1{font-size:1.5rem;margin:0}p{color:#6b7280;
margin:.3rem 0 1.6rem;max-width:46rem}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums;margin-bottom:2.2rem}
th{text-align:right;font-weight:600;color:#6b7280;border-bottom:1px solid #d5d9e0;padding:.3rem .5rem;
vertical-align:bottom}
td{text-align:right;padding:.35rem .5rem;border-bottom:1px solid #eceef2;white-space:nowrap}
td:nth-child(-n+2),th:nth-child(-n+2){text-align:left}td:nth-child(2){white-space:normal;color:#6b7280}
td:first-child{font-weight:600}td.best{color:#047857;font-weight:600}
svg{width:100%;max-width:860px;display:block;margin:0 0 2.2rem}
@media(prefers-color-scheme:dark){body{background:#0f141d;color:#e5e7eb}p,th,td:nth-child(2){color:#9aa3b2}
th{border-color:#374151}td{border-color:#1f2733}td.best{color:#34d399}}
"""


def page(rows: Sequence[Row]) -> str:
    """The whole file."""
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>Gemel lab: runs</title><style>{LOOK}{STYLE}</style><h1>Runs of the lab</h1>",
        f"<p>{NOTE}</p>",
        *_table(rows),
    ]
    curves = [(row.name, *_thin(row)) for row in rows if row.log]
    if curves:
        parts.append(lines(curves, "million patches seen", "Loss while training (pinball, scaled)"))
    about = {"pool": "held-out series of the pool", "bench": "the public benchmark"}
    for kind, score in product(about, ("CRPS", "MASE")):
        found = _compared(rows, kind, score)
        parts.append(bars(found, f"{score} on {about[kind]}, ratio to seasonal naive") if found else "")
    return "".join(parts) + "</html>\n"


def _thin(row: Row) -> tuple[Floats, Floats]:
    """Million patches and loss, as means of at most `POINTS` neighbours."""
    size = -(-len(row.log) // POINTS)
    x, y = np.array(row.log, float).T
    starts = np.arange(0, len(x), size)
    count = np.minimum(size, len(x) - starts)
    ends = np.append(starts[1:], len(x)) - 1
    return x[ends] * row.patches / row.steps / 1e6, np.add.reduceat(y, starts) / count


def cells(row: Row) -> dict[str, str]:
    """One line of the table, column by column; the terminal shows some of them."""
    steps = f"{row.steps:,}" if row.steps >= row.end > 0 else f"{row.steps:,} of {f'{row.end:,}' if row.end else '?'}"
    rank = row.score("bench", "rank")
    scores = {
        f"{head} {score}": "" if (x := row.score(kind, score)) is None else f"{x:.3f}"
        for kind, head in (("pool", "held-out"), ("bench", "bench"))
        for score in ("CRPS", "MASE")
    }
    return {
        "run": row.name,
        "recipe": row.recipe + (f"+{len(row.changed)}" if row.changed else ""),
        "size": f"{row.parameters / 1e6:.2f} M",
        "steps": steps,
        "patches": f"{row.patches / 1e6:.1f} M",
        "hours": f"{row.hours:.2f}",
        "loss": "" if row.loss is None else f"{row.loss:.4f}",
        **scores,
        "rank": f"{rank:.0f} of {row.score('bench', 'of'):.0f}" if rank else "",
    }


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield f"<table><thead><tr>{''.join(f'<th>{head}</th>' for head in cells(rows[0]))}</tr></thead><tbody>"
    least = min((x for row in rows if (x := row.score("pool", "CRPS")) is not None), default=None)
    for row in rows:
        note = {"recipe": f' title="{escape(", ".join(row.changed))}"'}
        if least is not None and row.score("pool", "CRPS") == least:
            note["held-out CRPS"] = ' class="best"'
        line = (f"<td{note.get(head, '')}>{escape(cell)}</td>" for head, cell in cells(row).items())
        yield f"<tr>{''.join(line)}</tr>"
    yield "</tbody></table>"


def _compared(rows: Sequence[Row], kind: str, score: str) -> list[tuple[str, float, bool]]:
    """(name, ratio, ours) of every run with scores, and of what stands beside the newest of them."""
    ours = [(row.name, value, True) for row in rows if (value := row.score(kind, score)) is not None]
    if not ours:
        return []
    held = next(row for row in reversed(rows) if row.score(kind, score) is not None).card["scores"][kind]["best"]
    if kind == "pool":
        return ours + [(name, x[score], False) for name, x in held["all"].items() if name != "network"]
    return ours + [(x["model"], x[score], False) for x in held["near"] if not x["model"].startswith(">>>")]
