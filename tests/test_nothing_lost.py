"""kill -9 at random moments of a replay through a real broker: not a point missing, not one too many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench.loss import torture

TWIN = """
name = "plant"
every = "15min"
clock = { kind = "data" }
signals = [
  { name = "oil", low = 0, high = 120, address = "plant:rows#oil" },
  { name = "load", address = "plant:rows#load" },
]
connectors.plant = { kind = "mqtt", url = "BROKER" }
transforms = [{ kind = "limits" }, { kind = "hampel" }, { kind = "stuck" }]
forecaster = { kind = "naive", every = "24h", context = "2d" }
"""


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.usefixtures("mosquitto_installed")
def test_nothing_is_lost_when_the_twin_is_killed(tmp_path: Path):
    rng = np.random.default_rng(5)
    rows = 12_000
    times = np.datetime64("2024-01-01T00:00") + np.arange(rows) * np.timedelta64(15, "m")
    oil, load = 60 + rng.normal(0, 1, rows).cumsum() * 0.05, rng.normal(20, 3, rows)
    oil[::97] += 40  # spikes, so that quality has something to get wrong
    lines = [f"{t},{a:.3f},{b:.3f}" for t, a, b in zip(times, oil, load, strict=True)]
    (tmp_path / "rows.csv").write_text("date,oil,load\n" + "\n".join(lines) + "\n")
    # played in 15 s, so that it still goes on when the second kill comes, however fast the machine is
    found = torture(
        tmp_path, tmp_path / "rows.csv", TWIN, str(times[-1]), "rows", kills=4, pause=(0.5, 2.5), speed="700000"
    )
    assert found["points"] == 2 * rows
    assert (found["missing"], found["extra"]) == (0, 0)
    assert found["kills"] >= 2
