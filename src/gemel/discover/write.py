"""A twin file out of proposals: runs as it stands, and says beside a line what a person should look at."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gemel.core.units import SECOND, duration, spell, stamp
from gemel.core.values import Signal
from gemel.discover.propose import Proposal
from gemel.discover.series import Source

_HORIZONS = ("1min", "5min", "15min", "1h", "6h", "24h", "2d", "7d", "28d", "84d", "365d")
_AHEAD = 64  # steps a horizon should have, about
_BACK = 4096  # steps of history shown to the forecaster
_KEYS = ("name", "type", "unit", "role", "low", "high", "every", "asset", "states", "address")


def pace(proposals: Sequence[Proposal]) -> tuple[str, str]:
    """(every, horizon): the spacing most signals have, one second at least, and a round time ahead."""
    spacings = [p.shape.every for p in proposals if p.shape.every and p.shape.count > 1]
    usual = max(set(spacings), key=lambda every: (spacings.count(every), -every)) if spacings else 60 * SECOND
    every = max(round(usual / SECOND), 1) * SECOND
    horizon = min(_HORIZONS, key=lambda text: max(duration(text) / (every * _AHEAD), every * _AHEAD / duration(text)))
    return spell(every), horizon if duration(horizon) >= every else spell(every * _AHEAD)


def twin_file(source: Source, proposals: Sequence[Proposal], origin: str, name: str) -> str:
    """The text of the file; `origin` is where it came from, as the person wrote it."""
    sure = [p for p in proposals if p.heard and not p.asked]
    asked = [p for p in proposals if p.heard and p.asked]
    empty = [p for p in proposals if not p.heard]
    every, horizon = pace(proposals)
    lines = [
        f"# A proposal, made by: gemel new --from {_plain(origin)}",
        f"# {_span(source)}. Read it, mend it, then it is yours.",
        *(f"# note: {_plain(note)}" for note in source.notes),
        f"name = {toml(name)}",
        f"every = {toml(every)}  # between turns",
        f"horizon = {toml(horizon)}",
        'mode = "observe"  # it listens and thinks; nothing is sent',
        f"clock = {toml(source.clock)}",
        "",
    ]
    assets = list(dict.fromkeys(p.signal.asset for p in proposals if p.signal.asset))
    if assets:
        lines += ["assets = [", *(f"  {toml(_asset(asset, assets))}," for asset in assets), "]"]
    lines.append("signals = [")
    lines += [f"  {_row(p.signal)},{_comment(p.notes)}" for p in sure]
    if asked:
        lines += ["", "  # -- not sure of these: please look"] if sure else ["  # not sure of these: please look"]
        lines += [f"  {_row(_heard(p.signal))},{_comment((*_questions(p), *p.notes))}" for p in asked]
    if empty:
        lines += ["", "  # -- nothing was ever heard of these", *(f"  # {_row(p.signal)}," for p in empty)]
    zone = '  # zone: of stamps that say none; "Europe/Berlin", say' if "zone" in source.spec else ""
    lines += ["]", "", f"connectors.{source.connector} = {toml(source.spec)}{zone}"]
    lines.append('transforms = [{ kind = "limits" }]')
    context = spell(duration(every) * _BACK)
    think = {"kind": "foundation", "every": _often(every, horizon), "context": context}
    lines.append(f"forecaster = {toml(think)}")
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """One value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {toml(held)}' for key, held in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(held) for held in value)}]"
    return str(value)


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else toml(text)


def _asset(id: str, all: Sequence[str]) -> dict[str, str]:
    """An asset, under the one that its id goes on from."""
    above = [other for other in all if id.startswith(f"{other}_")]
    return {"id": id, "parent": max(above, key=len)} if above else {"id": id}


def _row(signal: Signal) -> str:
    default = Signal("x")
    held = {key: getattr(signal, key) for key in _KEYS if getattr(signal, key) != getattr(default, key)}
    return toml(held)


def _heard(signal: Signal) -> Signal:
    """A twin commands nothing before a person has said so: what looks controlled is only heard at first."""
    return replace(signal, role="measured") if signal.role == "controlled" else signal


def _questions(p: Proposal) -> list[str]:
    commanded = p.signal.role == "controlled"
    found = [f"{key}? {p.guesses[key].why}" for key in p.unsure if key != "role" or not commanded]
    if commanded:
        found.append(f'role = "controlled"? {p.guesses["role"].why}; only heard until you say so, and low and high')
    if (commanded or "unit" in p.unsure) and p.shape.count:
        found.append(f"seen {p.shape.least:.4g} .. {p.shape.most:.4g}")
    return found


def _comment(notes: Sequence[str]) -> str:
    return f"  # {_plain('; '.join(notes))}" if notes else ""


def _plain(text: str) -> str:
    """Without anything that would end a comment."""
    return "".join(c if c.isprintable() else " " for c in text)


def _span(source: Source) -> str:
    ends = [(int(s.time[0]), int(s.time[-1])) for s in source.series if len(s)]
    told = f", {stamp(min(a for a, _ in ends))} .. {stamp(max(b for _, b in ends))} UTC" if ends else ""
    return f"{len(source.series)} signals{told}"


def _often(every: str, horizon: str) -> str:
    """How often to forecast: some twelve times a horizon."""
    return spell(max(duration(horizon) // 12 // duration(every), 1) * duration(every))


def placed(source: Source, folder: Path) -> Source:
    """The same with the path of a file as seen from the folder of the twin file."""
    if "path" not in source.spec:
        return source
    path = Path(source.spec["path"]).resolve()
    try:
        seen = os.path.relpath(path, folder.resolve())
    except ValueError:  # another drive
        seen = str(path)
    return replace(source, spec={**source.spec, "path": seen})
