"""Scores, by hand and as published."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from series import frame

from gemel.core.errors import InputError
from gemel.core.values import DECILES
from gemel.forecasters.score import coverage, crps, mase, pinball
from gemel.forecasters.seasonal_naive import SeasonalNaive


def test_by_hand() -> None:
    truth = np.array([[1.0, 3.0, np.nan]])
    quantiles = np.array([[[0.0, 2.0], [4.0, 5.0], [0.0, 9.0]]])
    loss = pinball(truth, quantiles, (0.2, 0.8))
    assert np.allclose(loss[0, 0], [0.2, 0.2])  # 0.2 * 1 and (0.8 - 1) * -1
    assert np.allclose(loss[0, 1], [0.8, 0.4])  # (0.2 - 1) * -1 and (0.8 - 1) * -2
    assert crps(truth, quantiles, (0.2, 0.8)) == pytest.approx(2 * np.mean([0.2, 0.2, 0.8, 0.4]) / 2.0)
    assert coverage(truth, quantiles[..., 0], quantiles[..., 1]) == 0.5
    assert mase(truth, np.array([[2.0, 2.0, 2.0]]), np.array([0.0, 5.0, 4.0, 6.0]), 2) == pytest.approx(1 / 2.5)
    with pytest.raises(InputError, match="needs a longer past than 4 rows"):
        mase(truth, truth, np.zeros(4), 4)


def test_the_median_of_a_certain_forecast_scores_its_absolute_error() -> None:
    truth, certain = np.array([2.0, 4.0]), np.array([[3.0] * 9, [3.0] * 9])
    assert crps(truth, certain, DECILES) == pytest.approx(1.0 / 3.0)


@pytest.mark.skipif("GEMEL_DATA" not in os.environ, reason="needs GEMEL_DATA")
def test_seasonal_naive_scores_as_published() -> None:
    """GIFT-Eval, configuration ett1/15T/short: seasonal_naive has a MASE of 0.934155 on the leaderboard."""
    with gzip.open(Path(os.environ["GEMEL_DATA"]) / "ett" / "ETTm1.csv.gz", "rt") as file:
        values = np.array([line.split(",")[1:] for line in file.read().splitlines()[1:]], np.float64)
    horizon, scores = 48, []
    forecaster = SeasonalNaive(season=96)
    for window in range(20):
        cut = len(values) - horizon * (20 - window)
        answer = forecaster.forecast(frame(*values[cut - 192 : cut].T), horizon)
        scores += [
            mase(values[cut : cut + horizon, i], answer.median(f"s{i}"), values[:cut, i], 96)
            for i in range(values.shape[1])
        ]
    assert np.mean(scores) == pytest.approx(0.9341549587802876, abs=1e-5)
