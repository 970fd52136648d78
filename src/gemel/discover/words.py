"""Names: their words, the unit that is written into them, and what is left as a clean name.

English, German, Chinese (characters and pinyin). Text is folded first: full-width to plain, superscripts to digits,
umlauts to two letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple


def vocabulary(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


_SPELLED = {
    "degC": "°C C degC degreeC degreesC deg_C celsius grdC gradC 摄氏度",
    "degF": "°F F degF degreeF degreesF deg_F fahrenheit",
    "K": "K kelvin",
    "%": "% pct percent perc prozent proz %RH RH% %rel",
    "1": "pu p.u. ratio fraction frac",
    "W": "W watt watts",
    "mW": "mW",
    "kW": "kW KW kilowatt kilowatts kWe kWth kWel 千瓦",
    "MW": "MW megawatt MWe MWth",
    "GW": "GW",
    "Wh": "Wh",
    "kWh": "kWh KWH kilowatthours 千瓦时 度电",
    "MWh": "MWh",
    "GWh": "GWh",
    "VA": "VA",
    "kVA": "kVA",
    "MVA": "MVA",
    "var": "VAr VAR",
    "kvar": "kvar kVAr kVar",
    "Mvar": "Mvar MVAr",
    "kvarh": "kvarh kVArh kVarh",
    "kVAh": "kVAh",
    "J": "J joule",
    "kJ": "kJ",
    "MJ": "MJ",
    "GJ": "GJ",
    "BTU": "BTU",
    "kBTU": "kBTU",
    "V": "V volt volts 伏",
    "mV": "mV",
    "kV": "kV",
    "A": "A amp amps ampere amperes 安",
    "mA": "mA",
    "kA": "kA",
    "Ah": "Ah",
    "Hz": "Hz hertz 赫兹",
    "kHz": "kHz",
    "MHz": "MHz",
    "rpm": "rpm U/min r/min rev/min 1/min min-1 upm 转/分",
    "Pa": "Pa pascal",
    "hPa": "hPa",
    "kPa": "kPa",
    "MPa": "MPa 兆帕",
    "bar": "bar barg bara",
    "mbar": "mbar",
    "psi": "psi psig psia",
    "atm": "atm",
    "mmHg": "mmHg",
    "inHg": "inHg",
    "m3/h": "m3/h m3h m3/hr cbm/h m3ph cmh",
    "m3/s": "m3/s m3s cumecs",
    "m3/min": "m3/min",
    "m3/d": "m3/d m3/day",
    "l/s": "l/s L/s lps",
    "l/min": "l/min L/min lpm slpm",
    "l/h": "l/h L/h lph",
    "gpm": "gpm",
    "cfm": "cfm",
    "kg/s": "kg/s kgs",
    "kg/h": "kg/h kg/hr",
    "t/h": "t/h",
    "m": "m metre meter metres",
    "mm": "mm",
    "cm": "cm",
    "km": "km",
    "um": "um μm micron",
    "in": "in inch inches",
    "ft": "ft feet",
    "mi": "mi miles",
    "m/s": "m/s mps ms-1",
    "km/h": "km/h kmh kph",
    "mph": "mph",
    "kn": "kn kt knots",
    "mm/s": "mm/s",
    "m/s2": "m/s2 ms-2",
    "m2": "m2 sqm",
    "m3": "m3 cbm",
    "l": "l L litre liter litres liters",
    "kg": "kg",
    "g": "g gram grams",
    "mg": "mg",
    "ug": "ug μg",
    "t": "t ton tonne tonnes tons",
    "lb": "lb lbs",
    "tCO2": "tCO2 tCO2e",
    "kgCO2": "kgCO2 kgCO2e",
    "gCO2": "gCO2 gCO2e",
    "ppm": "ppm",
    "ppb": "ppb",
    "ug/m3": "ug/m3 μg/m3 ugm3",
    "mg/m3": "mg/m3 mgm3",
    "mg/l": "mg/l mg/L",
    "W/m2": "W/m2 Wm2 wm-2",
    "lx": "lx lux",
    "dB": "dB",
    "dBA": "dBA",
    "dBm": "dBm",
    "deg": "deg ° degree degrees grad",
    "rad": "rad radian radians",
    "pH": "pH",
    "NTU": "NTU",
    "uS/cm": "uS/cm μS/cm",
    "mS/cm": "mS/cm",
    "Nm": "Nm",
    "N": "N newton",
    "kN": "kN",
    "EUR": "EUR € euro",
    "USD": "USD $",
    "ct": "ct cent",
    "s": "s sec secs second seconds",
    "ms": "ms",
    "min": "min minute minutes",
    "h": "h hr hrs hours",
    "d": "d days",
}
_EXACT = {spelling: unit for unit, all in _SPELLED.items() for spelling in (unit, *all.split())}
_ANY_CASE = {spelling.lower(): unit for spelling, unit in reversed(_EXACT.items())}
_WEAK = vocabulary("in min ms ma pa va mi ft kt kn sec second minute ton tons frac ratio meter deg degree degrees")
"""Spellings that are words or endings of other things too: a name must agree with them."""

_FORMULAS = vocabulary("co2 no2 so2 o3 o2 h2 n2 nh3 ch4 h2s h2o pm1 pm25 pm10 l1 l2 l3 m2 m3")
_FOLDED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "µ": "μ"})
_WORD = re.compile(r"[A-Z]{2,}(?=[A-Z][a-z]{2})|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_a-zA-Z]+")
_BRACKET = re.compile(r"\s*[\[({【]\s*([^\])}】]{1,16}?)\s*[\])}】]\s*")


class Written(NamedTuple):
    """A unit found in a name: how it was written there, what is left of the name, and whether it can only be a unit."""

    unit: str
    spelling: str
    rest: str
    strong: bool


def folded(text: str) -> str:
    """The same in plain characters."""
    return unicodedata.normalize("NFKC", text.translate(_FOLDED)).translate(_FOLDED).strip()


def words(name: str) -> tuple[str, ...]:
    """The lower-case words of a name: `OilTemp_1` is oil, temp, 1."""
    found: list[str] = []
    end = -1
    text = _whole(name)
    for match in _WORD.finditer(text):
        word = match[0].lower()
        if match.start() == end and found and found[-1] + word in _FORMULAS:
            found[-1] += word
        elif match.start() == end and found and (found[-1], word) == ("p", "h"):
            found[-1] = "ph"
        else:
            found.append(word)
        end = match.end()
    return tuple(found)


def clean(name: str) -> str:
    """A name of lower-case words and underscores, numbers left where they are; empty when there are no words."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", "_", _whole(name))
    return re.sub(r"[\W_]+", "_", split).strip("_").lower()


def _whole(name: str) -> str:
    return re.sub(r"pm[ _]?2[._, ]5", "PM25", folded(name), flags=re.IGNORECASE)


def unique(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """The same names, `_2`, `_3` ... behind those that would come twice."""
    held = set(taken)
    found = []
    for name in names:
        name = name or "signal"
        free, n = name, 2
        while free in held:
            free, n = f"{name}_{n}", n + 1
        held.add(free)
        found.append(free)
    return found


def unit_of(text: str) -> tuple[str, bool] | None:
    """The unit a text spells and whether it is a strong hint by itself; None when it spells none."""
    text = folded(text).replace("^", "").replace("**", "").replace("·", "*").strip(" .")
    if text in _EXACT:
        return _EXACT[text], (len(text) > 1 and text not in _WEAK) or text in "%°€$"
    if len(text) > 1 and text.lower() in _ANY_CASE:
        return _ANY_CASE[text.lower()], text.lower() not in _WEAK
    top, slash, bottom = text.replace(" per ", "/").partition("/")
    if slash and (a := unit_of(top)) and (b := unit_of(bottom)):
        return f"{a[0]}/{b[0]}", True
    return None


def unit_in(name: str, known_word: Iterable[str] = ()) -> Written | None:
    """The unit at the end of a name, in brackets, after a sign, as its last pieces, or grown onto a known word."""
    text = folded(name)
    for bracket in reversed(list(_BRACKET.finditer(text))):
        if found := unit_of(bracket[1]):
            rest = f"{text[: bracket.start()]} {text[bracket.end() :]}"
            return Written(found[0], bracket[1], rest.strip(), True)
    if (told := re.search(r"(?:\s+in\s+|\s*[,;]\s*|\s+/\s*)(\S{1,10})$", text)) and (found := unit_of(told[1])):
        return Written(found[0], told[1], text[: told.start()], True)
    pieces = [m.span() for m in re.finditer(r"[^\s_.:\-]+", text)]
    for count in (3, 2, 1):
        if len(pieces) <= count:
            continue
        start = pieces[-count][0]
        parts = [text[a:b] for a, b in pieces[-count:]]
        for spelling in ("".join(parts), "/".join(parts)):
            if (found := unit_of(spelling)) and (count == 1 or not spelling.isdecimal()):
                return Written(found[0], text[start:], text[:start].rstrip(" _.:-"), found[1])
    return _grown(text, frozenset(known_word))


def _grown(text: str, known: frozenset[str]) -> Written | None:
    """A unit without anything between it and its word: `TemperatureC`, `pressurehPa`."""
    for length in range(min(len(text) - 2, 6), 0, -1):
        head, tail = text[:-length], text[-length:]
        word = re.search(r"[A-Za-z]+$", head)
        if word is None or not (found := unit_of(tail)):
            continue
        last = words(word[0])[-1]
        if last in known:
            return Written(found[0], tail, head, found[1] or (tail.isupper() and word[0][-1].islower()))
    return None
