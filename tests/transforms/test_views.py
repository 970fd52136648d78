"""What a part sees through a view: causal, missing stays missing, and the technique's own promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError
from gemel.core.registry import part
from gemel.core.setting import Setting
from gemel.core.units import SECOND
from gemel.core.values import BAD, GOOD, IMPUTED, Frame, Signals
from gemel.testing import check_view

MINUTE = 60 * SECOND
START = 1_600_000_020 * SECOND // MINUTE * MINUTE


def frame(values: Any, every: int = MINUTE) -> Frame:
    column = np.asarray(values, np.float64).reshape(-1, 1)
    quality = np.where(np.isnan(column), BAD, GOOD).astype(np.uint8)
    return Frame(START + every * np.arange(len(column), dtype=np.int64), column, quality, ("a",))


def view(kind: str, **keys: Any) -> Any:
    return part("transforms", kind)(**keys)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("savgol", {}),
        ("savgol", {"window": 7, "order": 3}),
        ("wavelet", {}),
        ("wavelet", {"wavelet": "haar", "window": 16, "levels": 2}),
        ("normalise", {}),
        ("normalise", {"window": 50}),
        ("resample", {"every": "5min"}),
        ("resample", {"every": "1min"}),
    ],
)
def test_conformance(kind: str, keys: dict[str, Any]) -> None:
    check_view(lambda: view(kind, **keys), regrids=kind == "resample")


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_savgol_leaves_a_polynomial_of_its_degree(order: int) -> None:
    x = np.arange(60.0)
    line = sum((k + 1) * (x / 10) ** k for k in range(order + 1))
    line[[10, 11, 30]] = np.nan
    found = view("savgol", window=9, order=order).view(frame(line)).values[:, 0]
    np.testing.assert_allclose(found, line, rtol=1e-6)


def test_savgol_reduces_noise_as_its_end_point_weights_say() -> None:
    noise = np.random.default_rng(0).normal(size=20_000)
    found = view("savgol", window=11, order=1).view(frame(noise)).values[10:, 0]
    assert found.var() == pytest.approx(2 * (2 * 11 - 1) / (11 * 12), rel=0.05)  # of a line's end point, window 11


def test_wavelet_denoises_and_lets_a_jump_through() -> None:
    rng = np.random.default_rng(1)
    truth = np.repeat([0.0, 10.0], 400)
    noisy = truth + rng.normal(0, 0.5, 800)
    found = view("wavelet", wavelet="haar", levels=4).view(frame(noisy)).values[:, 0]
    assert np.sqrt(np.mean((found - truth)[100:] ** 2)) < 0.6 * 0.5
    assert found[400] > 5
    assert (np.abs(found[408:420] - 10) < 1).all()


def test_normalise_is_the_running_score() -> None:
    rng = np.random.default_rng(2)
    value = 1e6 + rng.normal(0, 3, 300)
    found = view("normalise", window=100).view(frame(value)).values[:, 0]
    last = value[-100:]
    assert found[-1] == pytest.approx((value[-1] - last.mean()) / last.std(), rel=1e-6)
    assert (view("normalise").view(frame(np.full(10, 7.0))).values == 0).all()


def test_resample_flags_what_it_fills() -> None:
    value = np.arange(30.0)
    value[7:15] = np.nan
    given = frame(value)
    found = view("resample", every="5min", hold="5min").view(given)
    assert (found.time % (5 * MINUTE) == 0).all()
    assert IMPUTED in found.quality[:, 0]
    again = view("resample", every="5min", hold="5min").view(found)
    np.testing.assert_array_equal(again.quality, found.quality)
    np.testing.assert_array_equal(again.values, found.values)


def test_resample_takes_the_spacing_of_its_twin() -> None:
    resample = view("resample")
    with pytest.raises(ConfigError, match="'every' is empty"):
        resample.view(frame([1.0]))
    resample.bind(Setting("t", "", Signals(()), Virtual(), 2 * MINUTE, MINUTE, 0, Path()))
    assert np.diff(resample.view(frame(np.arange(9.0))).time).tolist() == [2 * MINUTE] * 4


@pytest.mark.parametrize(
    ("kind", "keys", "text"),
    [
        ("savgol", {"window": 2, "order": 2}, "window 2 must be above the order"),
        ("wavelet", {"wavelet": "sim4"}, "unknown wavelet 'sim4', did you mean 'sym4'"),
        ("wavelet", {"window": 8, "levels": 3}, "levels 3 is not between 1 and 0"),
        ("normalise", {"window": 1}, "at least 2"),
        ("resample", {"every": "often"}, "'often' is not a duration"),
    ],
)
def test_a_wrong_key_is_named(kind: str, keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        view(kind, **keys)
