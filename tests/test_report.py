"""The report of a run: forecasts scored against what came true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gemel import load
from gemel.core.units import instant
from gemel.report import report

TWIN = """
name = "shed"
every = "15min"
horizon = "6h"
clock = { kind = "data" }
signals = [{ name = "oil", address = "file:oil" }]
connectors.file = { kind = "replay", path = "rows.csv" }
store = { kind = "duckdb", path = "shed.gemel" }
forecaster = { kind = "seasonal_naive", season = "24h", every = "1h", step = "15min", context = "3d", report = ["oil"] }
"""


@pytest.mark.parametrize(("old", "new"), [('horizon = "6h"', 'horizon = "3h"'), ('step = "15min"', 'step = "30min"')])
def test_a_twin_that_now_looks_elsewhere_is_scored_on_what_it_does_now(tmp_path: Path, old: str, new: str):
    t = np.arange(672)
    time = np.datetime64("2024-01-01T00:00") + t * np.timedelta64(15, "m")
    oil = 40 + 5 * np.sin(t / 96 * 2 * np.pi) + np.random.default_rng(1).normal(0, 0.5, 672)
    lines = [f"{a},{b:.3f}" for a, b in zip(time, oil, strict=True)]
    (tmp_path / "rows.csv").write_text("date,oil\n" + "\n".join(lines) + "\n")
    file = tmp_path / "shed.toml"
    file.write_text(TWIN)
    load(file).run(until=instant("2024-01-07T00:00"))  # the report is on the time from 2024-01-06T14:00 on
    file.write_text(TWIN.replace(old, new))
    twin = load(file)
    twin.run()
    with twin:
        (row,) = report(twin)["forecasts"]
    ahead = 3 if "3h" in new else 6
    assert row["windows"] == 23 - ahead  # issued every hour from 01:00 on; the last must end by 23:45
    assert 0.5 < row["mase"] < 1.5  # it is its own yardstick
