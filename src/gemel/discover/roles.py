"""Whether a series is a number or a state, and measured, controlled, derived or known ahead."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from gemel.discover.shape import Shape
from gemel.discover.words import vocabulary
from gemel.discover.words import words as split

_STATE = vocabulary("""
    state status mode alarm fault run running enable enabled open closed switch betrieb stoerung zustand schalter
    zhuangtai guzhang baojing warning error trip active flag on off contact motion presence weekday weekend
    holiday
""")
_STATE_SIGNS = ("状态", "故障", "报警", "开关", "运行", "模式")
_CONTROLLED = vocabulary("""
    setpoint setpt sp set stp soll sollwert cmd command commanded setting stellgroesse stellsignal reference
    setpunkt demanded sheding mv op
""")
_CONTROLLED_ENDS = ("sollwert", "setpoint", "stellwert")
_CONTROLLED_SIGNS = ("设定", "给定", "指令")
_KNOWN = vocabulary("""
    forecast fcst forecasted prognose vorhersage predicted prediction tariff tarif price prices pricing preis
    schedule scheduled planned plan fahrplan holiday weekday weekend workday workingday season month hour minute
    year dow yuce dianjia calendar
""")
_PRICES = frozenset(("price", "prices", "pricing", "preis"))
_KNOWN_SIGNS = ("预测", "预报", "电价", "计划", "节假日")
_DERIVED = vocabulary("""
    avg average mean calc calculated computed estimated estimate est efficiency wirkungsgrad cop eer kpi index
    mittelwert berechnet residual diff delta deviation ratio emission emissions sum normalized cumulative feels
    like wetbulb intensity xiaolv pingjun
""")
_DERIVED_SIGNS = ("平均", "效率", "计算", "偏差", "合计")
_MEASURED = vocabulary("pv ist istwert actual measured sensor feedback fb meter messwert shiji")
_FEW = 8


def type_of(words: Sequence[str], shape: Shape) -> tuple[str, float, str]:
    """(type, sure, why)."""
    named = bool(_STATE & set(words)) or _holds(words, _STATE_SIGNS)
    if not shape.count and not shape.texts:
        return "number", 0.3, "no value was seen"
    if shape.told > 0.5:
        if len(shape.texts) <= 20 and all(len(text) <= 40 for text in shape.texts):
            if len(shape.texts) == 1:
                return "state", 0.6, f"only '{shape.texts[0]}' was said: name its other states too"
            return "state", 0.9, f"{len(shape.texts)} different texts"
        return "text", 0.9, "texts, many of them different"
    if shape.levels and set(shape.levels) <= {0.0, 1.0}:
        if len(shape.levels) == 2 or named:
            return "state", 0.9 if len(shape.levels) == 2 else 0.75, "only 0 and 1: a state"
        return "number", 0.6, f"always {shape.levels[0]:g}"
    if named and shape.whole and 0 < len(shape.levels) <= _FEW and shape.least >= 0:
        return "state", 0.8, f"{len(shape.levels)} whole numbers, and its name says state"
    odd = f", {shape.told:.0%} texts" if shape.told else ""
    return "number", 0.95 if not shape.told else 0.75, f"numbers{odd}"


def role_of(label: str, context: Sequence[str], shape: Shape, unit: str, quantity: str) -> tuple[str, float, str]:
    """(role, sure, why). `context` are the words of the levels above."""
    words = split(label)
    said = set(words)
    if shape.calendar:
        return "known", 0.95, f"it is the {shape.calendar} of its stamp"
    hit = next((w for w in words if w in _CONTROLLED or w.endswith(_CONTROLLED_ENDS)), "")
    if {"set", "point"} <= said or hit or _holds(words, _CONTROLLED_SIGNS):
        weak = hit in ("set", "mv", "op", "reference") and words[-1] != hit
        return "controlled", 0.6 if weak else 0.9, f"'{hit or 'setpoint'}' in its name"
    hit = next((w for w in words if w in _KNOWN), "")
    if hit or _holds(words, _KNOWN_SIGNS):
        sure = 0.6 if hit in _PRICES else 0.8  # of a market, it is known for a day at most
        return "known", sure, f"'{hit or 'forecast'}' in its name: known ahead"
    hit = next((w for w in words if w in _DERIVED), "")
    if hit or _holds(words, _DERIVED_SIGNS):
        return "derived", 0.8, f"'{hit or 'mean'}' in its name"
    if "+" in label.strip("+"):
        return "derived", 0.8, "a sum in its name"
    if unit.split("/")[0].endswith("CO2") or (quantity == "emission"):
        return "derived", 0.75, "an emission is worked out, not measured"
    hit = next((w for w in words if w in _MEASURED), "")
    if hit:
        return "measured", 0.95, f"'{hit}' in its name"
    if {"set", "cmd", "command", "setpoint"} & set(context[-2:]):
        return "controlled", 0.8, "its topic ends so"
    if _stepped(shape) and quantity not in ("count", "rain", "snow", "cloud cover"):
        return "controlled", 0.55, f"constant for long, {len(shape.levels)} round levels: a setpoint?"
    return "measured", 0.9 if quantity else 0.75, "nothing says otherwise"


def _stepped(shape: Shape) -> bool:
    """It stands still nearly always, and moves between few round levels."""
    few = 2 < len(shape.levels) <= _FEW
    if not few or shape.count < 100 or not 0 < shape.moves < 0.05 or shape.rises:
        return False
    gap = min(b - a for a, b in pairwise(shape.levels))
    return shape.p50 != 0 and all(float(f"{v:.2g}") == v for v in shape.levels) and gap >= 0.01 * abs(shape.most)


def _holds(words: Sequence[str], signs: Sequence[str]) -> bool:
    return any(sign in word for word in words for sign in signs)
