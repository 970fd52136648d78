"""The network in the box: every promise of a forecaster, what symmetry asks, and files that were tampered with."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from series import daily, frame, noise, walk

import gemel
from gemel.config import spec_of
from gemel.core.errors import ConfigError, InputError, PartError
from gemel.core.foundation import SHIPPED, load
from gemel.core.registry import build
from gemel.core.values import DECILES, Float32s, Floats
from gemel.forecasters.foundation.ask import FAST, quantiles
from gemel.forecasters.foundation.forecaster import Foundation
from gemel.forecasters.naive import Naive
from gemel.testing import check_forecaster

pytestmark = pytest.mark.skipif(not (SHIPPED / "foundation.json").exists(), reason="no weights are shipped yet")

WAYS = ("best", "fast")


def said(values: Floats, horizon: int = 48, way: str = "best", levels: tuple[float, ...] = DECILES) -> Float32s:
    """The quantiles [h, q] of one signal."""
    return Foundation(way).forecast(frame(values), horizon, levels=levels).values[0]


def naive(values: Floats, horizon: int = 48) -> Float32s:
    return Naive().forecast(frame(values), horizon).values[0]


def wave(rows: int) -> Floats:
    return daily(rows) + 0.1 * noise(rows)


# -- the contract -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_contract(way: str) -> None:
    check_forecaster(lambda: Foundation(way))


@settings(max_examples=20, deadline=None)
@given(
    values=arrays(
        np.float64, st.tuples(st.integers(1, 80), st.integers(1, 3)), elements=st.floats(-1e9, 1e9) | st.just(np.nan)
    ),
    horizon=st.integers(1, 70),
)
def test_any_context_has_an_ordered_answer(values: Floats, horizon: int) -> None:
    answer = Foundation("fast").forecast(frame(*values.T), horizon).values
    known = np.isfinite(values).any(axis=0)
    assert np.isfinite(answer[known]).all()
    assert np.isnan(answer[~known]).all()
    assert (np.diff(answer[known], axis=2) >= 0).all()


def test_it_goes_to_a_twin_file_and_back() -> None:
    for spec in ({"kind": "foundation"}, {"kind": "foundation", "way": "fast"}):
        assert spec_of("forecasters", build("forecasters", spec)) == spec
    with pytest.raises(ConfigError, match="way 'quick' is unknown") as caught:
        Foundation("quick")
    assert caught.value.hint == 'write "best" or "fast"'


# -- what it foresees -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("steps", [24, 96])
def test_a_sine_is_foreseen(way: str, steps: int) -> None:
    whole = daily(1400, steps)
    answer = said(whole[:1304] + 0.05 * noise(1304), 96, way)
    assert np.abs(answer[:, 4] - whole[1304:]).mean() < 0.15
    assert np.abs(naive(whole[:1304], 96)[:, 4] - whole[1304:]).mean() > 0.5


@pytest.mark.slow
def test_the_band_of_a_random_walk_widens_as_it_should() -> None:
    y = np.stack([walk(1024, seed) for seed in range(40)], axis=1)
    fan = Foundation().forecast(frame(*y.T), 96).values
    width = (fan[:, :, 8] - fan[:, :, 0]).mean(axis=0) / 2.563  # deviations of a normal between its outer deciles
    assert 0.6 < width[0] < 1.5
    assert 6.0 < width[95] < 14.0  # the root of 96 is 9.8


def test_beyond_one_pass_the_fan_goes_on() -> None:
    y = frame(wave(2048), walk(2048))
    for way in WAYS:
        far = Foundation(way).forecast(y, 1000).values
        assert np.isfinite(far).all()
        assert (np.diff(far, axis=2) >= 0).all()
        width = far[:, :, 8] - far[:, :, 0]
        before, after = width[:, 536:768].mean(axis=1), width[:, 768:].mean(axis=1)
        assert (after > 0.85 * before).all()  # hardly surer than what it hangs on
        assert (after < 3.0 * before).all()


def test_other_levels_lie_between_and_beyond_the_deciles() -> None:
    y = wave(600)
    deciles = said(y)
    other = said(y, levels=(0.02, 0.1, 0.45, 0.5, 0.99))
    assert np.allclose(other[:, [1, 3]], deciles[:, [0, 4]], atol=1e-6)
    assert (other[:, 0] < deciles[:, 0]).all()
    assert (other[:, 4] > deciles[:, 8]).all()
    assert (deciles[:, 3] <= other[:, 2]).all()
    assert (other[:, 2] <= deciles[:, 4]).all()


def test_int8_is_close_to_float32() -> None:
    y = [wave(1024), walk(1024), walk(1024, 5) + 3 * daily(1024, 24)]
    small, whole = load(small=True), load()
    one, other = (quantiles(graph, y, 64, FAST, graph.reach) for graph in (small, whole))
    width = (other[:, :, 8] - other[:, :, 0]).mean(axis=1)
    assert (np.abs(one - other).mean(axis=(1, 2)) < 0.05 * width).all()


# -- symmetry ---------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(-12, 12), shift=st.floats(-100, 100), seed=st.integers(0, 99))
def test_units_change_nothing(scale: float, shift: float, seed: int) -> None:
    y = walk(300, seed)
    factor, deviation = 10.0**scale, float(np.std(y))
    moved = said(factor * (y + shift * deviation)).astype(np.float64) / factor - shift * deviation
    assert np.abs(moved - said(y)).max() < 0.02 * deviation


def test_a_series_upside_down_has_the_answer_upside_down() -> None:
    for y in (wave(700), walk(700), np.exp(noise(700))):
        assert np.allclose(said(-y), -said(y)[:, ::-1], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_every_signal_is_answered_on_its_own() -> None:
    y = np.stack([walk(700, seed) for seed in range(200)], axis=1)  # four chunks
    y[:300, 1], y[:660, 2], y[-100:, 3], y[:, 4], y[:, 5] = np.nan, np.nan, np.nan, np.nan, 7.0
    together = Foundation().forecast(frame(*y.T), 40).values
    for i in (0, 1, 2, 3, 4, 5, 63, 64, 199):
        assert np.allclose(together[i], said(y[:, i], 40), rtol=1e-4, atol=1e-5, equal_nan=True)
    quick = Foundation("fast").forecast(frame(*y.T), 40).values
    for i in (0, 1, 2, 64):  # int8 rounds by the largest value of a chunk
        assert np.abs(quick[i] - said(y[:, i], 40, "fast")).mean() < 0.1 * np.nanstd(y[:, i])


def test_only_the_last_rows_count() -> None:
    y = wave(20_000)
    for way in WAYS:
        assert np.array_equal(said(y, way=way), said(y[-17_000:], way=way))
    begun = np.concatenate([np.full(500, np.nan), y[-900:]])
    assert np.array_equal(said(begun), said(y[-900:]))


# -- bad telemetry ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rows", [1, 10, 40, 600, 1100, 2100, 4000])
def test_an_outage_does_not_silence_it(way: str, rows: int) -> None:
    y = 50 + wave(5000)
    y[-rows:] = np.nan
    answer = said(y, way=way)
    assert np.isfinite(answer).all()
    assert (np.abs(answer[:, 4] - 50) < 5).all()
    if rows > 2048:  # the network sees nothing
        assert np.array_equal(answer, naive(y))


@pytest.mark.parametrize("way", WAYS)
def test_what_never_moves_or_hardly_is_has_the_answer_of_naive(way: str) -> None:
    stuck = wave(5000)
    stuck[-2100:] = 0.5
    alone = np.full(300, np.nan)
    alone[[7, 150, 299]] = 1.0, 2.0, 4.0
    for y in (np.full(500, 7.0), np.zeros(500), stuck, alone, walk(3), walk(1)):
        assert np.array_equal(said(y, way=way), naive(y))
    assert np.isnan(said(np.full(200, np.nan), way=way)).all()


def test_infinite_is_missing() -> None:
    y, z = wave(400), wave(400)
    y[[5, 100, 399]] = np.nan
    z[[5, 100, 399]] = np.inf, -np.inf, np.inf
    assert np.array_equal(said(y), said(z))


def test_a_question_that_cannot_be_answered_is_refused() -> None:
    with pytest.raises(InputError, match="a horizon of 0 steps is not ahead"):
        said(wave(100), 0)
    with pytest.raises(InputError, match="has no rows"):
        said(np.empty(0))
    with pytest.raises(InputError, match="do not rise between 0 and 1"):
        said(wave(100), levels=(0.9, 0.1))


HOURS = pd.date_range("2026-03-01", periods=400, freq="h")


def table(library: str = "pandas", **columns: Any) -> Any:
    made = pd.DataFrame({"unique_id": "load", "ds": HOURS, "y": wave(400)} | columns)
    return pl.from_pandas(made) if library == "polars" else made


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_any_table_in(library: str) -> None:
    answer = gemel.forecast(table(library), "2d", kind="foundation", levels=(0.1, 0.9))
    assert len(answer) == 48
    assert np.allclose(answer["q0.1"].to_numpy(), said(wave(400), levels=(0.1, 0.9))[:, 0], atol=1e-6)
    quick = gemel.forecast(table(library), 48, kind={"kind": "foundation", "way": "fast"})
    assert np.abs(quick["median"].to_numpy() - answer["median"].to_numpy()).mean() < 0.5


def test_bad_tables() -> None:
    def answer(made: Any, **more: Any) -> pd.DataFrame:
        found = gemel.forecast(made, 24, kind="foundation", **more)
        assert isinstance(found, pd.DataFrame)
        return found

    plain = answer(table())
    twice = pd.concat([table(y=wave(400) - 1), table(y=wave(400) + 1)])
    assert np.allclose(answer(twice)["median"], plain["median"], atol=1e-5)  # stamps that repeat are averaged
    days = table(unique_id="days", ds=pd.date_range("2025-01-01", periods=400, freq="D"))
    mixed = answer(pd.concat([table(), days]))  # every series has its own rate
    assert mixed["ds"].diff().iloc[[1, 25]].tolist() == [pd.Timedelta("1h"), pd.Timedelta("1D")]
    assert np.allclose(mixed["median"][:24], plain["median"], atol=1e-5)
    zoned = answer(table(ds=HOURS.tz_localize("UTC").tz_convert("Asia/Tokyo")))  # a time without a zone is UTC
    assert (zoned["ds"].dt.tz_convert("UTC").dt.tz_localize(None) == plain["ds"]).all()
    assert np.array_equal(zoned["median"], plain["median"])
    assert answer(table(y=np.nan))["median"].isna().all()


# -- the files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "weights"))


def asked(folder: Path) -> None:
    Foundation(model=str(folder)).forecast(frame(wave(100)), 3)


def test_another_network_can_be_named(copied: Path) -> None:
    asked(copied)


def test_a_tampered_network_is_refused(copied: Path) -> None:
    whole = bytearray((copied / "foundation.onnx").read_bytes())
    whole[len(whole) // 2] ^= 1
    (copied / "foundation.onnx").write_bytes(whole)
    with pytest.raises(PartError, match="is not the file its card names"):
        asked(copied)


def test_missing_and_damaged_files_are_named(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(PartError, match="there is no card"):
        asked(tmp_path)
    card = json.loads((copied / "foundation.json").read_text())
    junk = b"not a network"
    (copied / "foundation.onnx").write_bytes(junk)
    card["sha256"]["foundation.onnx"] = hashlib.sha256(junk).hexdigest()
    (copied / "foundation.json").write_text(json.dumps(card))
    with pytest.raises(PartError, match="is no network that onnxruntime can load"):
        asked(copied)
    (copied / "foundation.onnx").unlink()
    with pytest.raises(PartError, match=r"there is no .*foundation.onnx"):
        asked(copied)
    (copied / "foundation.json").write_text("{")
    with pytest.raises(PartError, match="is not the card of an artifact"):
        asked(copied)


def test_what_ships_is_small_and_its_card_says_where_it_is_from() -> None:
    card = json.loads((SHIPPED / "foundation.json").read_text())
    assert {"recipe", "steps", "code", "scores", "sha256"} <= set(card)
    assert (SHIPPED / "foundation.onnx").stat().st_size <= 16 * 2**20


def test_torch_is_not_needed() -> None:
    code = (
        "import sys\n"
        "class Missing:\n"  # as if it were not installed
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'onnx'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "import numpy as np, pyarrow as pa, gemel\n"
        "table = pa.table({'time': range(99), 'y': np.arange(99) % 7.0})\n"
        "print(gemel.forecast(table, 9, kind='foundation').num_rows)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "9\n"
