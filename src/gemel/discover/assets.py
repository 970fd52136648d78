"""Which signals belong to one thing: by the levels of their topics, or by what their names share."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from gemel.discover.guess import Guess
from gemel.discover.quantities import quantity_of
from gemel.discover.series import Series
from gemel.discover.words import clean, vocabulary, words

_PLAIN = vocabulary("""
    row rows data telemetry tele state status value values sensors sensor measurement measurements set cmd command
    result raw json out
""")
_EQUIPMENT = vocabulary("""
    boiler kessel pump pumpe motor fan luefter chiller ahu rtu vav tank tower compressor turbine transformer trafo
    inverter line machine reactor engine meter pv battery grid station furnace ofen robot unit zone room building
    site cell stack well plc heater exchanger conveyor mill kiln dryer evaporator condenser guolu shuibeng fengji
    bianyaqi
""")
_CUT = re.compile(r"[\s_.:/|\-]+")


def asset_of(series: Sequence[Series]) -> list[Guess]:
    """An asset id for each series, "" where there is none."""
    if any(s.levels for s in series):
        every = [[level for level in s.levels if level.lower() not in _PLAIN] for s in series]
        held = [levels for levels in every if levels]
        common = [len(set(at)) == 1 for at in zip(*held, strict=False)][:-1]  # an id keeps one level at least
        shared = [*common, False].index(False)
        return [_of_topic(levels[shared:]) for levels in every]
    return _of_names([s.label for s in series])


def _of_topic(levels: Sequence[str]) -> Guess:
    name = "_".join(filter(None, (clean(level) for level in levels)))
    return Guess(name, 0.8, f"topic level '{levels[-1]}'") if name else Guess("", 0.5, "")


def _of_names(labels: Sequence[str]) -> list[Guess]:
    """What stands before a cut in a name is an asset when it has two signals or more, and is called like equipment, or
    several such beginnings have signals that are called alike."""
    below: dict[str, set[str]] = defaultdict(set)  # beginning -> what stands behind it
    cuts: list[list[tuple[str, str, bool]]] = []  # beginning, rest, whether / . : | cut them
    for label in labels:
        found = [
            (label[: m.start()], label[m.end() :].lower(), bool(set(m[0]) & set("/.:|"))) for m in _CUT.finditer(label)
        ]
        cuts.append([cut for cut in found if cut[0] and cut[1]])
        for beginning, rest, _ in cuts[-1]:
            below[beginning].add(rest)
    alike = Counter(rest for rests in below.values() for rest in rests)
    chosen = []
    for found in cuts:
        best = Guess("", 0.5, "")
        for beginning, _, strong in found:
            rests, said = below[beginning], words(beginning)
            if len(rests) < 2 or not said or quantity_of(said):
                continue
            if _EQUIPMENT & set(said):
                best = Guess(clean(beginning), 0.8, f"'{beginning}' names a thing with {len(rests)} signals")
            elif 2 * sum(alike[rest] > (1 if strong else 2) for rest in rests) > len(rests):
                best = Guess(clean(beginning), 0.75, f"{len(rests)} names begin with '{beginning}', others end alike")
        chosen.append(best)
    return chosen
