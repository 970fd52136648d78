"""What is measured in plants, buildings and outdoors: the words for it, its units, and the values they come with.

A `Quantity` lists its words (a phrase is several joined by `_`; `*druck` is the ending of a word, as German compounds
have it; Chinese characters may stand anywhere) and its `Reading`s: the unit to take when a name gives none, for the
first range that holds nearly all values.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from gemel.discover.words import vocabulary

_ANY = 1e18


class Reading(NamedTuple):
    """A unit, the range of values that suggests it, how sure that is, and what is physically possible in it."""

    unit: str
    least: float = -_ANY
    most: float = _ANY
    sure: float = 0.5
    low: float | None = None
    high: float | None = None


class Quantity(NamedTuple):
    """Something that is measured."""

    name: str
    words: str
    readings: tuple[Reading, ...]
    units: str = ""  # those a name may also give, beside those of the readings

    def allows(self, unit: str) -> bool:
        """Whether a unit is one of this quantity."""
        return unit in {r.unit for r in self.readings} | set(self.units.split())


AIR = vocabulary("""
    air room zone outdoor outside indoor inside ambient weather outdoors dew aussen raum umgebung luft bedroom
    kitchen office living outd amb oat drybulb wetbulb dry wet bulb shiwai shinei
""")
_FRACTION = (Reading("1", -0.02, 1.02, 0.8, 0, 1), Reading("%", -1, 102, 0.85, 0, 100), Reading("%", sure=0.4))
_GAS = (Reading("ug/m3", 0, 3000, 0.75, 0), Reading("ug/m3", sure=0.4))

QUANTITIES = (
    Quantity(
        "temperature",
        "temp temps temperature temperatures tmp *temperatur temperatur dew dew_point dewp dewpoint wet_bulb "
        "dry_bulb drybulb wetbulb wendu oat thermocouple thermistor pt100 rtd ntc *vorlauf *ruecklauf taupunkt 温度 "
        "温 露点",
        (
            Reading("1", -0.001, 1.05, 0.4),
            Reading("degC", -70, 70, 0.85, -50, 150),
            Reading("K", 230, 330, 0.75, 150, 400),
            Reading("degC", -273, 2000, 0.7, -50),
            Reading("degC", sure=0.4),
        ),
        "degF",
    ),
    Quantity("humidity", "humidity humid hum rh hr relative_humidity feuchte *feuchte *feuchtigkeit shidu moisture "
                         "湿度",
             (Reading("1", -0.01, 1.02, 0.7, 0, 1), Reading("%", -1, 106, 0.9, 0, 100), Reading("%", sure=0.4))),
    Quantity("air pressure", "air_pressure atmospheric_pressure barometric_pressure sea_level_pressure baro "
                             "barometer slp mslp luftdruck pres qiya 气压 大气压",
             (Reading("hPa", 600, 1100, 0.9, 500, 1100), Reading("Pa", 60_000, 110_000, 0.9, 50_000, 110_000),
              Reading("kPa", 60, 110, 0.85, 50, 110), Reading("inHg", 25, 32, 0.7, 20, 33), Reading("hPa", sure=0.4)),
             "mbar bar psi mmHg atm"),
    Quantity("pressure", "pressure press druck *druck yali pressures vacuum dp 压力 压差 真空",
             (Reading("hPa", 850, 1090, 0.75, 500), Reading("Pa", 85_000, 109_000, 0.75, 0),
              Reading("bar", 0, 50, 0.5), Reading("kPa", 50, 1500, 0.45), Reading("bar", sure=0.3)),
             "MPa mbar psi mmHg inHg atm"),
    Quantity("wind direction", "wind_direction wind_dir winddir wdir wd wind_deg wind_bearing wind_degrees "
                               "windrichtung fengxiang wind_dir_degrees bearing heading azimuth 风向",
             (Reading("deg", -1, 361, 0.9, 0, 360), Reading("deg", sure=0.5))),
    Quantity("wind speed", "wind_speed windspeed wspd wind_spd ws wind gust wind_gust gust_speed gusts "
                           "windgeschwindigkeit fengsu 风速",
             (Reading("1", -0.001, 1.05, 0.4), Reading("m/s", 0, 50, 0.75, 0, 75), Reading("km/h", 0, 200, 0.6, 0, 270),
              Reading("", sure=0.2)),
             "mph kn"),
    Quantity("rain", "rain rainfall precip precipitation prcp niederschlag regen jiangyu jiangshui 降雨 降水 雨量",
             (Reading("mm", 0, 500, 0.85, 0), Reading("mm", sure=0.4)), "in cm m/s l mm/h"),
    Quantity("snow", "snow snowfall snow_depth schnee 雪", (Reading("cm", 0, 1000, 0.5, 0),), "mm m in"),
    Quantity("irradiance", "irradiance irradiation insolation ghi dni dhi solar_radiation radiation "
                           "solar_irradiance diffuse_solar direct_solar globalstrahlung *strahlung fushe "
                           "guangzhao_qiangdu 辐照 辐射",
             (Reading("W/m2", -20, 1600, 0.8, -10, 1600), Reading("W/m2", sure=0.4)), "kWh/m2 Wh/m2 J/cm2 kW/m2 "
                                                                                      "MJ/m2"),
    Quantity("visibility", "visibility visib sichtweite 能见度",
             (Reading("km", 0, 100, 0.7, 0), Reading("m", 0, 1e5, 0.7, 0), Reading("km", sure=0.4)), "mi"),
    Quantity("cloud cover", "cloud clouds cloud_cover cloudiness bewoelkung 云量",
             (Reading("%", -1, 102, 0.6, 0, 100),), "1"),
    Quantity("illuminance", "illuminance lux lumen brightness helligkeit guangzhao 照度",
             (Reading("lx", 0, 2e5, 0.8, 0),)),
    Quantity("sound", "noise sound_level spl schall laerm 噪声", (Reading("dB", 0, 150, 0.8, 0, 150),), "dBA"),
    Quantity("particles", "pm1 pm25 pm10 tsp dust feinstaub staub 颗粒", _GAS, "mg/m3"),
    Quantity("gas", "so2 no2 no nox o3 ozone nh3 h2s ozon 臭氧 二氧化硫 二氧化氮", _GAS, "ppm ppb mg/m3"),
    Quantity("carbon monoxide", "co carbon_monoxide 一氧化碳",
             (Reading("ppm", 0, 50, 0.5, 0), Reading("ug/m3", 0, 1e5, 0.75, 0)), "mg/m3 ppb %"),
    Quantity("carbon dioxide", "co2 carbon_dioxide eco2 二氧化碳",
             (Reading("ppm", 200, 20_000, 0.9, 0, 20_000), Reading("ppm", sure=0.35)), "tCO2 kgCO2 gCO2 t kg g % "
                                                                                       "gCO2/kWh"),
    Quantity("emission", "emission emissions emissionen carbon carbon_intensity 排放", (Reading("kgCO2", sure=0.4),),
             "tCO2 gCO2 t kg g kgCO2/kWh gCO2/kWh"),
    Quantity("volatile organics", "voc tvoc 挥发", (Reading("ppb", sure=0.55, low=0),), "ug/m3 mg/m3 ppm"),
    Quantity("oxygen", "o2 oxygen sauerstoff 氧", (Reading("%", 0, 25, 0.6, 0, 100),), "mg/l ppm"),
    Quantity("dissolved oxygen", "dissolved_oxygen do rongyang 溶解氧", (Reading("mg/l", 0, 30, 0.75, 0),), "%"),
    Quantity("acidity", "ph acidity 酸碱度", (Reading("pH", 0, 14, 0.9, 0, 14),)),
    Quantity("conductivity", "conductivity leitfaehigkeit diandao 电导", (Reading("uS/cm", sure=0.6, low=0),), "mS/cm"),
    Quantity("turbidity", "turbidity truebung zhuodu 浊度", (Reading("NTU", sure=0.75, low=0),)),
    Quantity("power factor", "power_factor powerfactor pf cosphi cos_phi leistungsfaktor gonglv_yinshu 功率因数",
             (Reading("1", -1.01, 1.01, 0.95, -1, 1), Reading("%", -101, 101, 0.9, -100, 100))),
    Quantity("reactive power", "reactive_power reactive blindleistung wugong 无功",
             (Reading("kvar", sure=0.6),), "var Mvar kvarh"),
    Quantity("apparent power", "apparent_power apparent scheinleistung 视在", (Reading("kVA", sure=0.6),), "VA MVA "
                                                                                                         "kVAh"),
    Quantity("power", "power active_power watt demand load leistung *leistung *last last gonglv gonglyu production "
                      "generation erzeugung output_power kw mw pv solar_generation fuhe 功率 负荷 发电",
             (Reading("kW", -1e4, 1e4, 0.55), Reading("kW", sure=0.45)),
             "W MW GW mW kWh Wh MWh % VA kVA MVA BTU/h m"),
    Quantity("energy", "energy consumption usage verbrauch energie *energie *verbrauch dianneng electricity meter "
                       "zaehler dianliang kwh nengliang 电能 电量 能耗 用电",
             (Reading("kWh", sure=0.6, low=0),), "Wh MWh GWh J kJ MJ GJ BTU kBTU W kW MW m3 l"),
    Quantity("voltage", "voltage volt volts spannung *spannung dianya vrms 电压",
             (Reading("V", 0, 60, 0.7), Reading("V", 60, 1500, 0.85, 0), Reading("V", sure=0.5)), "mV kV"),
    Quantity("current", "current currents amperage strom *strom dianliu irms 电流",
             (Reading("A", -1e4, 1e4, 0.8), Reading("A", sure=0.5)), "mA kA"),
    Quantity("resistance", "resistance widerstand dianzu 电阻", (Reading("Ohm", sure=0.6, low=0),)),
    Quantity("frequency", "frequency freq frequenz pinlv 频率",
             (Reading("Hz", 45, 65, 0.95, 45, 65), Reading("Hz", sure=0.8, low=0)), "kHz MHz rpm"),
    Quantity("speed of rotation", "rpm speed_rpm drehzahl *drehzahl motor_speed pump_speed fan_speed shaft_speed "
                                  "rotor_speed turbine_speed spindle_speed core_speed rotational_speed zhuansu 转速",
             (Reading("%", 0, 100.5, 0.55, 0, 100), Reading("rpm", sure=0.8, low=0)), "Hz rad/s m/s"),
    Quantity("speed", "speed velocity geschwindigkeit sudu spd 速度",
             (Reading("m/s", 0, 50, 0.45), Reading("km/h", 0, 150, 0.5, 0), Reading("rpm", sure=0.55)),
             "mm/s mph kn Hz % rpm m/s"),
    Quantity("vibration", "vibration vib schwingung *schwingung vrms_velocity zhendong 振动",
             (Reading("mm/s", sure=0.6),), "m/s2 g um mm"),
    Quantity("acceleration", "acceleration accel acc accelerometer beschleunigung 加速度",
             (Reading("g", -4, 4, 0.5), Reading("m/s2", sure=0.5),), "mm/s2"),
    Quantity("torque", "torque drehmoment *moment niuju 扭矩", (Reading("Nm", sure=0.75),), "%"),
    Quantity("force", "force kraft thrust 力", (Reading("N", sure=0.55),), "kN"),
    Quantity("flow", "flow flowrate flow_rate volume_flow durchfluss *durchfluss volumenstrom *volumenstrom "
                     "liuliang airflow air_flow 流量",
             (Reading("m3/h", sure=0.5),), "m3/s m3/min m3/d l/s l/min l/h gpm cfm kg/s kg/h t/h"),
    Quantity("mass flow", "mass_flow massenstrom", (Reading("kg/s", sure=0.5),), "kg/h t/h"),
    Quantity("level", "level tank_level fill *fuellstand fuellstand stand pegel yewei shuiwei 液位 水位",
             (Reading("%", -1, 102, 0.6, 0, 100), Reading("m", sure=0.4)), "mm cm ft l m3"),
    Quantity("state of charge", "soc state_of_charge battery_level charge ladezustand 荷电", _FRACTION),
    Quantity("opening", "valve damper position pos opening duty duty_cycle ventil *ventil klappe *klappe stellung "
                        "*stellung famen kaidu louver actuator valve_position damper_position pwm throttle vane 阀 "
                        "开度 风门",
             _FRACTION, "mm deg mA V"),
    Quantity("share", "percent percentage pct ratio anteil utilization utilisation auslastung load_factor fraction "
                      "占比 率",
             _FRACTION),
    Quantity("efficiency", "efficiency eff wirkungsgrad xiaolv 效率", _FRACTION),
    Quantity("performance", "cop eer spf", (Reading("1", 0, 30, 0.85, 0),)),
    Quantity("price", "price tariff cost preis kosten *preis jiage dianjia pricing 价格 电价",
             (Reading("EUR/kWh", 0, 2, 0.45), Reading("EUR/MWh", sure=0.45)), "EUR USD USD/kWh USD/MWh ct/kWh "
                                                                              "EUR/MWh"),
    Quantity("volume", "volume volumen tiji 体积", (Reading("m3", sure=0.5, low=0),), "l mm3"),
    Quantity("mass", "mass weight gewicht masse zhongliang 重量", (Reading("kg", sure=0.6, low=0),), "g t lb"),
    Quantity("length", "length distance height depth thickness laenge hoehe abstand dicke width 长度 高度 厚度 距离",
             (Reading("mm", 100, 1e6, 0.35), Reading("m", sure=0.4)), "cm km um in ft mi"),
    Quantity("angle", "angle pitch tilt yaw winkel *winkel jiaodu 角度", (Reading("deg", -360, 360, 0.8),), "rad"),
    Quantity("count", "count counts cnt counter visitors visits people persons occupancy occupants vehicles pieces "
                      "parts anzahl *zahl stueck number num users riders registered casual passengers renshu "
                      "shuliang cycles 数量 人数 计数",
             (Reading("1", 0, _ANY, 0.85, 0),)),
    Quantity("signal strength", "rssi signal_strength", (Reading("dBm", -150, 0, 0.9, -150, 0),), "%"),
    Quantity("duration", "runtime uptime operating_hours hours betriebsstunden duration 时长 运行时间",
             (Reading("h", sure=0.6, low=0),), "s min d ms"),
)  # fmt: skip
_OF_UNIT = {
    r.unit: q for q in reversed(QUANTITIES) for r in q.readings if r.unit not in ("%", "1", "", "m/s", "m", "g")
}
BY_NAME = {q.name: q for q in QUANTITIES}

# First letters and functions of instrument tags after ISA-5.1: TT-101 transmits a temperature, FIC a flow controlled.
_ISA = {"t": "temperature", "p": "pressure", "f": "flow", "l": "level", "s": "speed", "j": "power", "e": "voltage",
        "i": "current", "z": "opening", "w": "mass"}  # fmt: skip
_ISA_AFTER = vocabulary("t e i ic it ir irc y ica ica")
_VALVE_TAGS = vocabulary("fcv tcv pcv lcv hv cv mov xv zt")
_PHASE = vocabulary("l1 l2 l3 ln ll phase rms avg total tot ges sum")
_ELECTRIC = {"u": "voltage", "v": "voltage", "i": "current", "p": "power", "q": "reactive power", "s": "apparent power"}


@cache
def _phrases() -> tuple[dict[tuple[str, ...], Quantity], dict[str, Quantity], dict[str, Quantity]]:
    """Phrases, word endings and Chinese, each to its quantity."""
    whole: dict[tuple[str, ...], Quantity] = {}
    endings: dict[str, Quantity] = {}
    characters: dict[str, Quantity] = {}
    for q in QUANTITIES:
        for word in q.words.split():
            if word.startswith("*"):
                endings[word[1:]] = q
            elif not word.isascii():
                characters[word] = q
            else:
                whole[tuple(word.split("_"))] = q
    return whole, endings, characters


@cache
def known_words() -> frozenset[str]:
    """Every single word that names a quantity, or ends one that does."""
    return frozenset(part for phrase in _phrases()[0] for part in phrase)


def quantity_with(unit: str) -> Quantity | None:
    """What is most likely measured in a unit; None for a unit of many things."""
    return _OF_UNIT.get(unit)


def quantity_of(words: Sequence[str]) -> tuple[Quantity, str] | None:
    """What a name speaks of, and the words that say so: the longest phrase, and of several the last one, as the head of
    a name is its last noun."""
    whole, endings, characters = _phrases()
    found: list[tuple[int, int, Quantity, str]] = []
    for length in (3, 2, 1):
        phrases = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
        found += [(length, i, whole[p], " ".join(p)) for i, p in enumerate(phrases) if p in whole]
    for i, word in enumerate(words):
        found += [(1, i, q, word) for ending, q in endings.items() if word.endswith(ending)]
        found += [(len(sign), i, q, sign) for sign, q in characters.items() if sign in word]
    if found:
        _, _, q, said = max(found, key=lambda row: row[:2])
        return q, said
    return _tagged(words)


def _tagged(words: Sequence[str]) -> tuple[Quantity, str] | None:
    """Instrument tags (`TT101`, `FIC_2`), and the letters of electrical engineering (`U_L1`)."""
    for i, word in enumerate(words):
        numbered = i + 1 < len(words) and words[i + 1].isdecimal()
        if word in _VALVE_TAGS and numbered:
            return BY_NAME["opening"], word.upper()
        if len(word) > 1 and numbered and word[0] in _ISA and word[1:] in _ISA_AFTER:
            return BY_NAME[_ISA[word[0]]], word.upper()
        if word in _ELECTRIC and any(other in _PHASE for other in words if other != word):
            return BY_NAME[_ELECTRIC[word]], word.upper()
        if word == "t" and (numbered or len(words) > 1):
            return BY_NAME["temperature"], word.upper()
    return None
