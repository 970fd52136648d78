"""Which signals belong to one thing: by the levels of their topics, or by what their names share."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from gemel.discover.guess import Guess
from gemel.discover.quantities import quantity_of
from gemel.discover.series import Series
from gemel.discover.words import clean, words

_PLAIN = frozenset("row rows data telemetry tele state status value values sensors sensor measurement measurements set cmd "
                   "command result raw json out".split())  # fmt: skip
_EQUIPMENT = frozenset("boiler kessel pump pumpe motor fan luefter chiller ahu rtu vav tank tower compressor turbine transformer "
                       "trafo inverter line machine reactor engine meter pv battery grid station furnace ofen robot unit zone "
                       "room building site cell stack well plc heater exchanger conveyor mill kiln dryer evaporator condenser "
                       "guolu shuibeng fengji bianyaqi".split())  # fmt: skip
_CUT = re.compile(r"[\s_.:/|\-]+")


def asset_of(series: Sequence[Series]) -> list[Guess]:
    """An asset id for each series, "" where there is none."""
    if any(s.levels for s in series):
        return [_of_topic(s) for s in series]
    return _of_names([s.label for s in series])


def _of_topic(series: Series) -> Guess:
    levels = [level for level in series.levels if level.lower() not in _PLAIN]
    name = "_".join(filter(None, (clean(level) for level in levels)))
    return Guess(name, 0.8, f"topic level '{levels[-1]}'") if name else Guess("", 0.5, "")


def _of_names(labels: Sequence[str]) -> list[Guess]:
    """A prefix is an asset when it has two signals or more, and names equipment or shares its signals' names with
    another prefix."""
    cuts = [[m.span() for m in _CUT.finditer(label)] for label in labels]
    below: dict[str, set[str]] = defaultdict(set)  # prefix -> what stands behind it
    for label, places in zip(labels, cuts, strict=True):
        for start, end in places:
            if start and end < len(label):
                below[label[:start]].add(label[end:].lower())
    shared: dict[str, int] = defaultdict(int)
    for rests in below.values():
        for rest in rests:
            shared[rest] += 1
    chosen: list[Guess] = []
    for label, places in zip(labels, cuts, strict=True):
        best = Guess("", 0.5, "")
        for start, end in places:
            prefix = label[:start]
            if not start or end >= len(label) or len(below[prefix]) < 2:
                continue
            said = words(prefix)
            twins = sum(shared[rest] > 1 for rest in below[prefix])
            if said and (_EQUIPMENT & set(said)) and said[-1] not in ("temp", "speed"):
                best = Guess(clean(prefix), 0.8, f"'{prefix}' names a thing with {len(below[prefix])} signals")
            elif 2 * twins > len(below[prefix]) and said and not quantity_of(said):
                best = Guess(
                    clean(prefix), 0.75, f"{len(below[prefix])} names begin with '{prefix}', and others end alike"
                )
        chosen.append(best)
    return chosen
