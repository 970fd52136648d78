"""The exam of `gemel new`: sets of the pool (`GEMEL_DATA`) that its rules were not written on.

The answers are what the publishers of each set say of its columns. Every column goes through a CSV file, as a person's
would. At least 90 % of units and of roles must be right; and where the units of a set cannot be told from names and
values (a load in kW, in kWh an hour, or scaled), the proposal must say that it is not sure.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as parquet
import pytest

from gemel.discover.propose import Proposal, propose
from gemel.discover.series import read

ROWS = 3000
EXAM = {
    # UCI 501, Beijing Multi-Site Air Quality
    "beijing_air": (
        "1h",
        {
            "PM2.5|PM10|SO2|NO2|CO|O3": ("ug/m3", "measured"),
            "TEMP|DEWP": ("degC", "measured"),
            "PRES": ("hPa", "measured"),
            "WSPM": ("m/s", "measured"),
        },
    ),
    # UCI 851, Steel Industry Energy Consumption: CO2 is worked out from the energy, power factors are in %
    "steel_energy": (
        "15m",
        {
            "Usage_kWh": ("kWh", "measured"),
            ".*Reactive_Power_kVarh": ("kvarh", "measured"),
            r"CO2\(tCO2\)": ("tCO2", "derived"),
            ".*Power_Factor": ("%", "measured"),
        },
    ),
    # Building Data Genome 1: hourly weather beside each building
    "bdg1_weather": (
        "1h",
        {
            "TemperatureC|Dew PointC": ("degC", "measured"),
            "Humidity": ("%", "measured"),
            "Sea Level PressurehPa": ("hPa", "measured"),
            "VisibilityKm": ("km", "measured"),
            "WindDirDegrees": ("deg", "measured"),
        },
    ),
}
SILENT = {
    # CityLearn: energies of an hour, and the output of a kW of solar cells
    "citylearn": (
        "1h",
        {
            ".*temperature": ("degC", "measured"),
            ".*humidity": ("%", "measured"),
            ".*(load|demand)": ("kWh", "measured"),
            "solar_generation": ("W/kW", "measured"),
            ".*irradiance": ("W/m2", "measured"),
            "carbon_intensity": ("kgCO2/kWh", "derived"),
        },
    ),
    # Open Power System Data, Germany: energies of a day
    "opsd": ("1D", {"Wind[+]Solar": ("GWh", "derived"), ".*": ("GWh", "measured")}),
    # UCI 275, Bike Sharing: weather scaled to 0 .. 1
    "bike": ("1h", {".*": ("1", "measured")}),
}
POOL = Path(os.environ.get("GEMEL_DATA", "")) / "pool" / "pretrain.parquet"


def table(source: str, every: str, folder: Path) -> Path:
    """A CSV file of all series of a source, a column each."""
    rows = parquet.read_table(POOL, filters=pc.field("source") == source, use_threads=False)
    held = {
        id: v.values.slice(0, ROWS).to_numpy(zero_copy_only=False)
        for id, v in zip(rows["id"].to_pylist(), rows["values"], strict=True)
    }
    longest = max(map(len, held.values()))
    step = np.timedelta64(int(every[:-1]), every[-1])
    columns = {"time": pa.array(np.datetime64("2016-01-01T00:00", "s") + np.arange(longest) * step)}
    for id, v in held.items():
        full = np.concatenate([v, np.full(longest - len(v), np.nan)])
        columns[id] = pa.array(full, from_pandas=True)
    csv.write_csv(pa.table(columns), path := folder / f"{source}.csv")
    return path


def marked(answers: dict[str, tuple[str, str]], found: list[Proposal]) -> tuple[float, float, list[Proposal]]:
    """Shares of units and roles that are right, and what is wrong although it is called sure."""
    units, roles, wrong = 0, 0, []
    for p in found:
        unit, role = next(v for k, v in answers.items() if re.fullmatch(k, p.label.rpartition("/")[2]))
        units += p.signal.unit == unit
        roles += p.signal.role == role
        if (p.signal.unit != unit and "unit" not in p.unsure) or (p.signal.role != role and "role" not in p.unsure):
            wrong.append(p)
    return units / len(found), roles / len(found), wrong


@pytest.mark.slow
@pytest.mark.skipif(not POOL.is_file(), reason="GEMEL_DATA is not set, or has no pool")
@pytest.mark.parametrize("source", EXAM | SILENT)
def test_units_and_roles_of_sets_the_rules_have_not_seen(source: str, tmp_path: Path) -> None:
    every, answers = (EXAM | SILENT)[source]
    units, roles, wrong = marked(answers, propose(read(table(source, every, tmp_path)).series))
    assert units >= 0.9 or source in SILENT
    assert roles >= 0.9
    assert not wrong
