"""Any table in, the same kind of table out."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import gemel
from gemel.core.errors import ConfigError, GemelError, InputError
from gemel.core.values import Forecast, Frame
from gemel.frames import forecast_file, to_frame

HOURS = 24 * 10
WAVE = 50 + 20 * np.sin(2 * np.pi * np.arange(HOURS + 24) / 24)
STAMPS = pd.date_range("2024-03-24", periods=HOURS + 24, freq="h")


def wide(library: str) -> Any:
    table = pd.DataFrame({"time": STAMPS[:HOURS], "load": WAVE[:HOURS], "flow": -WAVE[:HOURS]})
    return {"pandas": lambda: table, "polars": lambda: pl.from_pandas(table), "arrow": lambda: pa.table(table)}[
        library
    ]()


def rows(table: Any) -> pd.DataFrame:
    if isinstance(table, pl.DataFrame | pa.Table):
        return table.to_pandas()
    assert isinstance(table, pd.DataFrame)
    return table


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_the_answer_comes_in_the_callers_library(library: str) -> None:
    asked = wide(library)
    answer = gemel.forecast(asked, horizon="24h", levels=(0.1, 0.5, 0.9))
    assert type(answer) is type(asked)
    found = rows(answer)
    assert list(found.columns) == ["unique_id", "time", "mean", "median", "q0.1", "q0.5", "q0.9"]
    assert found["unique_id"].tolist() == ["load"] * 24 + ["flow"] * 24
    assert (found["time"].to_numpy()[:24] == STAMPS[HOURS:].to_numpy()).all()
    assert np.abs(found["median"].to_numpy()[:24] - WAVE[HOURS:]).max() < 0.5
    assert (found["q0.1"] <= found["median"]).all()
    assert (found["median"] <= found["q0.9"]).all()


def test_any_arrow_table_will_do() -> None:
    class Foreign:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return wide("arrow").__arrow_c_stream__(requested_schema)

    assert isinstance(gemel.forecast(Foreign(), 3), pa.Table)


@pytest.mark.parametrize("names", [("unique_id", "ds", "y"), ("item_id", "timestamp", "target")])
def test_long_frames_of_unequal_series_in_any_order(names: tuple[str, str, str]) -> None:
    id, time, target = names
    parts = [
        pd.DataFrame({id: "b", time: STAMPS[:HOURS], target: WAVE[:HOURS]}),
        pd.DataFrame({id: "a", time: STAMPS[48:200], target: 1000 * WAVE[48:200]}),
        pd.DataFrame({id: "c", time: pd.date_range("2020-01-31", periods=36, freq="ME"), target: np.arange(36.0)}),
    ]
    table = pd.concat(parts).sample(frac=1.0, random_state=1)
    answer = gemel.forecast(table, 6, levels=(0.5,))
    assert list(answer.columns) == [id, time, "mean", "median", "q0.5"]
    by = dict(iter(answer.groupby(id)))
    assert by["b"][time].iloc[0] == STAMPS[HOURS]
    assert by["a"][time].iloc[-1] == STAMPS[205]
    assert by["c"][time].tolist() == [pd.Timestamp(t) for t in pd.date_range("2023-01-31", periods=6, freq="ME")]
    assert np.abs(by["a"]["median"].to_numpy() / 1000 - WAVE[200:206]).max() < 2.0
    assert answer[id].drop_duplicates().tolist() == table[id].drop_duplicates().tolist()


def test_one_series_needs_no_id() -> None:
    table = pl.DataFrame({"ds": list(range(0, 200, 2)), "y": [float(i % 5) for i in range(100)]})
    answer = gemel.forecast(table, 5)
    assert answer["ds"].to_list() == [200, 202, 204, 206, 208]
    assert answer["ds"].dtype == table["ds"].dtype
    assert np.abs(answer["median"].to_numpy() - np.arange(5)).max() < 0.2


def test_a_pandas_index_and_a_pandas_series() -> None:
    table = pd.DataFrame({"load": WAVE[:HOURS]}, index=STAMPS[:HOURS])
    assert gemel.forecast(table, 2)["time"].tolist() == STAMPS[HOURS : HOURS + 2].tolist()
    unnamed = pd.DataFrame(np.stack([WAVE[:HOURS]] * 2, axis=1), index=STAMPS[:HOURS])
    assert gemel.forecast(unnamed, 2)["unique_id"].tolist() == ["0", "0", "1", "1"]
    series = gemel.forecast(table["load"].rename_axis("when"), 2)
    assert series["unique_id"].tolist() == ["load", "load"]


def test_time_zones_and_types_stay() -> None:
    local = pd.DataFrame({"ds": STAMPS[:HOURS].tz_localize("UTC").tz_convert("Europe/Berlin"), "y": WAVE[:HOURS]})
    answer = gemel.forecast(local, 2)
    assert answer["ds"].dtype == local["ds"].dtype
    assert answer["ds"].iloc[0] == STAMPS[HOURS].tz_localize("UTC")
    days = pl.DataFrame({"ds": pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 2, 20), eager=True)})
    days = days.with_columns(y=pl.col("ds").dt.weekday().cast(pl.Float64))
    answer = gemel.forecast(days, "3d")
    assert answer["ds"].dtype == pl.Date
    assert [str(d) for d in answer["ds"]] == ["2024-02-21", "2024-02-22", "2024-02-23"]
    assert np.abs(answer["median"].to_numpy() - [3, 4, 5]).max() < 0.3


def test_texts_gaps_repeats_and_jitter() -> None:
    rng = np.random.default_rng(0)
    keep = np.sort(rng.choice(HOURS, 200, replace=False))
    jitter = pd.to_timedelta(rng.integers(-90, 90, 200), unit="s")
    stamps = [str(s) for s in STAMPS[keep] + jitter]
    table = pd.DataFrame({"ds": [*stamps, stamps[-1]], "y": [*WAVE[keep], np.nan]})
    answer = gemel.forecast(table, 12)
    assert (answer["ds"].diff().dropna() == pd.Timedelta("1h")).all()
    assert np.abs(answer["median"].to_numpy() - WAVE[keep[-1] + 1 : keep[-1] + 13]).max() < 5.0


def test_the_values_of_one_step_are_averaged() -> None:
    hourly = pd.DataFrame({"ds": STAMPS[:HOURS], "y": WAVE[:HOURS]})
    twice = pd.concat([hourly.assign(y=hourly["y"] - 1), hourly.assign(y=hourly["y"] + 1)])
    fine = pd.date_range(STAMPS[HOURS - 48], periods=192, freq="15min")
    mixed = pd.concat([hourly[: HOURS - 48], pd.DataFrame({"ds": fine, "y": np.repeat(WAVE[HOURS - 48 : HOURS], 4)})])
    once = gemel.forecast(hourly, 4, kind="naive")
    assert gemel.forecast(twice, 4, kind="naive").equals(once)
    answer = gemel.forecast(mixed, 4, kind="naive", freq="1h")
    assert answer["ds"].diff().dropna().eq(pd.Timedelta("1h")).all()


@pytest.mark.slow
def test_thousands_of_series_take_seconds() -> None:
    stamps = np.tile(np.arange(40), 4000)
    table = pl.DataFrame({"unique_id": np.repeat(np.arange(4000), 40), "ds": stamps, "y": stamps % 7.0})
    began = time.perf_counter()
    assert len(gemel.forecast(table, 2, kind="naive")) == 8000
    assert time.perf_counter() - began < 4


def test_freq_and_kind_can_be_said() -> None:
    single = pd.DataFrame({"ds": STAMPS[:1], "y": [3.0]})
    assert gemel.forecast(single, 2, freq="15min")["ds"].tolist() == [
        STAMPS[0] + pd.Timedelta("15min"),
        STAMPS[0] + pd.Timedelta("30min"),
    ]
    monthly = gemel.forecast(single, 2, freq="month")["ds"]
    assert monthly.dt.month.tolist() == [4, 5]
    naive = gemel.forecast(wide("pandas"), 3, kind="naive")
    assert np.allclose(naive["median"][:3], WAVE[HOURS - 1])
    seasonal = gemel.forecast(wide("pandas"), 3, kind={"kind": "seasonal_naive", "season": "24h"})
    assert np.allclose(seasonal["median"][:3], WAVE[HOURS - 24 : HOURS - 21])


@pytest.mark.parametrize(
    ("table", "arguments", "message"),
    [
        ([1, 2], {}, "a list is not a data frame"),
        (pd.DataFrame({"time": [], "y": []}), {}, "the data frame has no rows"),
        (pd.DataFrame({"a": [1.0], "b": [2.0]}), {}, "no time column among a, b"),
        (pd.DataFrame({"t1": STAMPS, "t2": STAMPS, "y": 1.0}), {}, r"2 time columns \(t1, t2\)"),
        (pd.DataFrame({"time": STAMPS}), {}, "no column of numbers"),
        (pd.DataFrame({"time": STAMPS, "plant": "north", "y": 1.0}), {}, "column 'plant' holds String, not numbers"),
        (pd.DataFrame({"ds": ["monday"], "y": [1.0]}), {}, "column 'ds': Invalid isoformat string: 'monday'"),
        (pd.DataFrame({"ds": [STAMPS[0], None], "y": 1.0}), {}, "column 'ds' has 1 rows without a time"),
        (pd.DataFrame({"ds": [1.5, 2.5], "y": 1.0}), {}, "column 'ds' holds Float64, not times"),
        (pd.DataFrame({"ds": STAMPS[:1], "y": 1.0}), {}, "series 'y' has a single time, so its spacing is unknown"),
        (pd.DataFrame({"ds": [1, 2], "y": 1.0}), {"horizon": "24h"}, "does not fit a time column of whole numbers"),
        (
            pd.DataFrame({"ds": [1, 2], "y": 1.0}),
            {"freq": "1h"},
            "freq '1h' does not fit a time column of whole numbers",
        ),
        (
            pd.DataFrame({"ds": STAMPS, "y": 1.0}),
            {"freq": "monthly"},
            "freq 'monthly' is unknown, did you mean 'month'",
        ),
        (pd.DataFrame({"ds": STAMPS, "y": 1.0}), {"horizon": 0}, "a horizon of 0 steps is not ahead"),
        (pd.DataFrame({"ds": STAMPS, "y": 1.0}), {"horizon": 1.5}, "a horizon of 1.5 is not a whole number of steps"),
        (
            pd.DataFrame({"ds": ["2024-01-01T00:00", "2024-01-01T01:00+00:00"], "y": 1.0}),
            {},
            "1 times of column 'ds' have no zone, the others have",
        ),
        (pd.DataFrame({"ds": ["0001-01-01", "0001-01-02"], "y": 1.0}), {}, "column 'ds' goes from 1 to 1"),
        (pl.DataFrame({"ds": [date(1, 1, 1), date(1, 1, 2)], "y": 1.0}), {}, "column 'ds' goes from 1 to 1"),
        (pd.DataFrame(np.ones((264, 2)), STAMPS, ["a", "a"]), {}, "2 columns are named 'a'"),
        (pd.DataFrame({"ds": STAMPS, "y": "1.0"}), {}, "column 'y' holds String, not numbers"),
        (pd.DataFrame({"ds": STAMPS, "y": 1.0}), {"levels": (0.5, 1.5)}, "do not rise between 0 and 1"),
    ],
)
def test_what_it_cannot_read_it_says(table: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        gemel.forecast(table, **{"horizon": 4, **arguments})


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown kind 'thetta' in forecasters, did you mean 'theta'"):
        gemel.forecast(wide("pandas"), 4, kind="thetta")


def test_a_file_becomes_one_forecast(tmp_path: Path) -> None:
    wide("pandas").to_csv(tmp_path / "load.csv", index=False)
    wide("polars").write_parquet(tmp_path / "load.parquet")
    past, from_csv = forecast_file(tmp_path / "load.csv", "6h")
    assert np.array_equal(past.time, STAMPS[:HOURS].as_unit("ns").asi8)
    assert past.signals == ("load", "flow")
    assert from_csv.signals == ("load", "flow")
    assert np.array_equal(from_csv.time, STAMPS[HOURS : HOURS + 6].as_unit("ns").asi8)
    assert from_csv.issued == STAMPS[HOURS - 1].as_unit("ns").value
    assert np.array_equal(forecast_file(tmp_path / "load.parquet", 6)[1].values, from_csv.values)
    (tmp_path / "bad.csv").write_text("a,b\n1\n2,3,4\n")
    for name in ("none.csv", "bad.csv"):
        with pytest.raises(GemelError):
            forecast_file(tmp_path / name, 3)


def test_values_as_tables() -> None:
    time = STAMPS[:3].as_unit("ns").asi8
    frame = Frame(time, np.array([[1.0, 2.0], [np.nan, 3.0], [4.0, 5.0]]), np.zeros((3, 2), np.uint8), ("a", "b"))
    found = to_frame(frame, like=pd.DataFrame())
    assert list(found.columns) == ["time", "a", "b"]
    assert str(found["time"].dt.tz) == "UTC"
    assert found["time"].dt.tz_localize(None).tolist() == STAMPS[:3].tolist()
    assert found["b"].tolist() == [2.0, 3.0, 5.0]
    values = np.array([[[1, 2], [3, 5], [4, 8]]], np.float32)
    ahead = to_frame(Forecast(time, (0.25, 0.75), values, ("a",), 0), like=pl.DataFrame())
    assert ahead.columns == ["signal", "time", "mean", "median", "q0.25", "q0.75"]
    assert ahead["median"].to_list() == [1.5, 4.0, 6.0]
    assert ahead["mean"].to_list() == [1.5, 4.0, 6.0]
    assert isinstance(to_frame(frame), pl.DataFrame)  # both are imported here: polars comes first


@pytest.mark.slow
def test_neither_pandas_nor_polars_is_needed() -> None:
    code = (
        "import sys\n"
        "class Missing:\n"  # as if they were not installed
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('pandas', 'polars'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "import numpy as np, pyarrow as pa, gemel\n"
        "from gemel.frames import to_frame\n"
        "t = np.arange('2024-01-01', '2024-01-05', dtype='datetime64[h]').astype('datetime64[ns]')\n"
        "print(type(gemel.forecast(pa.table({'time': t, 'y': np.arange(len(t)) * 1.0}), 2)).__name__)\n"
        "frame = gemel.Frame(t.astype(int), np.ones((96, 1)), np.zeros((96, 1), np.uint8), ('y',))\n"
        "print(to_frame(frame).num_rows)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["Table", "96"]
