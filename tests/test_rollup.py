"""A long history as few cells: the same from every store, and the points themselves where they are few."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel import Signal, Twin
from gemel.core.errors import InputError, StoreError
from gemel.core.rollup import rolled, together
from gemel.core.values import BAD, GOOD, Batch
from gemel.stores.duckdb import Duckdb
from gemel.stores.memory import Memory

MINUTE = 60 * 10**9
START = 1_700_000_040_000_000_000
NAMES = ("air", "oil", "never")


def shed(store: Any) -> Twin:
    return Twin(name="shed", signals=[Signal(name) for name in NAMES], store=store).open()


@pytest.fixture(params=["duckdb", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return Duckdb(str(tmp_path / "shed.gemel"), recent=500) if request.param == "duckdb" else Memory()


def test_a_cell_has_the_least_the_mean_and_the_most(store: Any) -> None:
    with shed(store) as twin:
        time = START + np.arange(600) * MINUTE
        values = np.sin(np.arange(600.0) / 40)
        values[7], quality = np.nan, np.where(np.arange(600) % 100 == 3, BAD, GOOD)
        twin.store.append(Batch.of(np.zeros(600), time, values, quality=quality))
        twin.store.append(Batch.of([0], [time[20]], [9.0]))  # a revision: the latest wins
        values[20] = 9.0
        found = twin.rollup(["air"], points=10)
        (air,) = found["series"]
        assert (found["start"], found["end"], air["raw"]) == (time[0], time[-1], False)
        cell = time // found["every"] - time[0] // found["every"]
        good = np.isfinite(values) & (quality != BAD)
        for i, begin in enumerate(air["time"]):
            assert begin == (time[0] // found["every"] + i) * found["every"]
            own = values[(cell == i) & good]
            assert (air["min"][i], air["max"][i], air["count"][i]) == (own.min(), own.max(), len(own))
            assert air["mean"][i] == pytest.approx(own.mean())
            assert air["bad"][i] == ((cell == i) & ~good).sum()


def test_zooming_in_ends_at_the_points(store: Any) -> None:
    with shed(store) as twin:
        time = START + np.arange(1000) * MINUTE
        twin.store.append(Batch.of(np.zeros(1000), time, np.arange(1000.0), quality=np.where(time == time[5], BAD, 0)))
        start, end = int(time[0]), int(time[-1])
        while not (air := twin.rollup(["air"], start=start, end=end, points=50)["series"][0])["raw"]:
            assert len(air["time"]) <= 51
            assert air["count"].sum() + air["bad"].sum() >= (end - start) // MINUTE
            end = start + (end - start) // 4
        assert air["time"].tolist() == time[: len(air["time"])].tolist()
        assert np.isnan(air["mean"][5])
        assert (air["count"][5], air["bad"][5]) == (0, 1)
        assert air["min"][6] == air["mean"][6] == air["max"][6] == 6.0


def test_signals_share_their_cells_and_one_never_heard_is_empty(store: Any) -> None:
    with shed(store) as twin:
        assert [e["points"] for e in twin.extent()] == [0, 0, 0]
        time = START + np.arange(400) * MINUTE
        twin.store.append(Batch.of(np.arange(400) % 2, time, np.ones(400)))
        air, oil, never = twin.rollup(points=20)["series"]
        assert air["time"].tolist() == oil["time"].tolist()
        assert (never["raw"], len(never["time"])) == (True, 0)
        expected = {"signal": "oil", "start": time[1], "end": time[-1], "points": 200}
        assert twin.extent(["oil"]) == [expected]
        twin.store.append(Batch.of([1], [time[-1] + 1], [0.0]))
        assert twin.extent(["oil"]) == [{**expected, "end": time[-1] + 1, "points": 201}]


def test_what_does_not_fit_is_said(store: Any) -> None:
    with shed(store) as twin:
        twin.store.append(Batch.of([0], [START], [1.0]))
        assert twin.rollup(["air"])["series"][0]["mean"].tolist() == [1.0]
        with pytest.raises(InputError, match="did you mean 'air'"):
            twin.rollup(["ari"])
        with pytest.raises(InputError, match="start lies after end"):
            twin.rollup(start=START + 1, end=START)
        with pytest.raises(InputError, match="too far apart"):
            twin.rollup(start=-(2**62) + 1, end=2**62 - 1)
        with pytest.raises(InputError, match="points 0"):
            twin.rollup(points=0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), st.floats(-1e6, 1e6) | st.just(float("nan"))), max_size=60), st.data())
def test_the_parts_of_a_history_make_the_whole(points: list[tuple[int, float]], data: st.DataObject) -> None:
    time, value = np.array([p[0] for p in points], np.int64), np.array([p[1] for p in points], np.float64)
    cut = data.draw(st.integers(0, len(points)))
    codes = np.zeros(len(points), np.uint8)
    whole = rolled(time, value, codes, 0, 10, 10)
    parts = [rolled(time[i], value[i], codes[i], 0, 10, 10) for i in (slice(cut), slice(cut, None))]
    for field in ("low", "high", "mean", "count", "bad"):
        both, right = getattr(together(*parts), field), getattr(whole, field)
        np.testing.assert_allclose(both, right, rtol=1e-9, atol=1e-6)


def test_a_long_roll_up_does_not_keep_appends_waiting(tmp_path: Path) -> None:
    """It reads on a connection of its own."""
    with shed(Duckdb(str(tmp_path / "shed.gemel"))) as twin:
        twin.store.append(Batch.of([0], [START], [1.0]))
        with twin.store._file._reading:  # somebody reads for long
            assert twin.store.append(Batch.of([0], [START + 1], [2.0])) == 1
            assert twin.latest(["air"])["air"][1] == 2.0


def test_closing_breaks_a_long_read_off(tmp_path: Path) -> None:
    endless = "SELECT count(*) AS n FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = b.range % 5"
    twin = shed(Duckdb(str(tmp_path / "shed.gemel")))
    with ThreadPoolExecutor(1) as aside:
        reading = aside.submit(twin.store._file.scan, endless)
        while twin.store._file._aside is None:
            time.sleep(0.01)
        time.sleep(0.1)
        twin.close()
        with pytest.raises(StoreError):
            reading.result(10)
