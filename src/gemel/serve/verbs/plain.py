"""Small plain answers: what a language model reads.

Names, units and texts come from telemetry and from files that anybody may have written. They leave as values of JSON
fields, without characters that a person cannot see, and no longer than a person would write them.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np

from gemel.core.errors import InputError, nearest
from gemel.core.units import SECOND, instant_id
from gemel.core.values import Floats, Forecast

LONGEST = 240
"""Characters of a text that came from outside."""
ROWS = 200
"""Entries of a list."""
DIGITS = 6


def clean(text: str, most: int = LONGEST) -> str:
    """The text as a person would see it: no control or format characters (those that turn, hide or tag text), white
    space as single spaces, cut after `most` characters."""
    seen = text[: 8 * most]
    if not seen.isprintable():
        seen = "".join(" " if c.isspace() else c for c in seen if c.isspace() or unicodedata.category(c)[0] != "C")
    seen = " ".join(seen.split())
    return seen if len(seen) <= most else seen[: most - 1] + "…"


def tidy(value: Any) -> Any:
    """Plain JSON of an answer: clean texts, numbers of six digits, null for what is missing, lists cut at `ROWS`."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, float | np.generic):
        return rounded(float(value))
    if isinstance(value, np.ndarray):
        return tidy(value.tolist())
    if isinstance(value, Mapping):
        return {clean(str(k)): tidy(v) for k, v in list(value.items())[:ROWS]}
    if isinstance(value, Iterable):
        return [tidy(v) for v in list(value)[:ROWS]]
    return clean(str(value))


def rounded(value: float) -> float | None:
    """With as many digits as anybody reads."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def when(ns: int | None) -> str | None:
    """A time as ISO 8601, UTC, to the second; None for never."""
    return f"{instant_id(int(ns) // SECOND * SECOND)}Z" if ns else None


def found(said: str, names: Iterable[str], what: str) -> str:
    """The name that was meant, also when it was said as `clean` wrote it. Raises `InputError`."""
    held = list(names)
    if said in held:
        return said
    same = [name for name in held if clean(name) == said]
    if len(same) == 1:
        return same[0]
    shown = [clean(name, 60) for name in held[:20]]
    raise InputError(f"there is no {what} '{clean(said, 60)}'{nearest(said, shown)}", f"there is: {', '.join(shown)}")


def cited(kind: str, ids: Iterable[str]) -> list[dict[str, str]]:
    """Citations: what an answer rests on."""
    return [{"kind": kind, "id": id} for id in dict.fromkeys(ids) if id]


def spaced(n: int, rows: int) -> list[int]:
    """At most `rows` places of `n`, evenly spaced, the last one always."""
    if n <= rows:
        return list(range(n))
    return sorted({round((i + 1) * n / rows) - 1 for i in range(rows)})


def fan(forecast: Forecast, names: Sequence[str], units: Mapping[str, str], rows: int) -> dict[str, Any]:
    """A forecast as a table: every so many steps, the middle line between the outermost levels, and the highest and
    lowest points of the middle line over all steps."""
    places = spaced(len(forecast), rows)
    low, high = forecast.levels[0], forecast.levels[-1]

    def column(name: str) -> dict[str, Any]:
        middle = forecast.median(name)
        return {
            "signal": name,
            "unit": units.get(name, ""),
            "middle": middle[places],
            "low": forecast.quantile(name, low)[places],
            "high": forecast.quantile(name, high)[places],
            "most": _peak(middle, forecast, np.nanargmax),
            "least": _peak(middle, forecast, np.nanargmin),
        }

    return {
        "id": forecast.id,
        "by": forecast.by,
        "issued": when(forecast.issued),
        "between": [low, high],
        "time": [when(forecast.time[i]) for i in places],
        "steps": len(forecast),
        "signals": [column(name) for name in names],
    }


def _peak(line: Floats, forecast: Forecast, best: Any) -> dict[str, Any] | None:
    if not np.isfinite(line).any():
        return None
    i = int(best(line))
    return {"value": line[i], "time": when(forecast.time[i])}


def route(twin: str, what: str, **query: Any) -> str:
    """Where the whole of a small table is, in the HTTP API."""
    held = {k: v for k, v in query.items() if v is not None}
    return f"/v1/twins/{quote(twin, safe='')}/{what}" + (f"?{urlencode(held)}" if held else "")
