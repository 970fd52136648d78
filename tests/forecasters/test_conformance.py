"""Every forecaster keeps the contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gemel.forecasters.conformal import Conformal
from gemel.forecasters.linear import Linear
from gemel.forecasters.naive import Naive
from gemel.forecasters.pool import Pool
from gemel.forecasters.seasonal_naive import SeasonalNaive
from gemel.forecasters.theta import Theta
from gemel.loop.forecast import Forecaster
from gemel.testing import check_forecaster

MAKES: dict[str, Callable[[], Forecaster]] = {
    "naive": Naive,
    "seasonal_naive": SeasonalNaive,
    "seasonal_naive 24h": lambda: SeasonalNaive(season="24h"),
    "theta": Theta,
    "linear": Linear,
    "conformal": lambda: Conformal({"kind": "linear"}),
    "pool": Pool,
    "conformal pool": lambda: Conformal({"kind": "pool"}),
    "pool of conformals": lambda: Pool([Conformal(Naive()), Conformal(Theta())], backtest=2),
}


@pytest.mark.parametrize("name", MAKES)
def test_contract(name: str) -> None:
    check_forecaster(MAKES[name])
