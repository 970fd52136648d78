"""Training on simulated runs: what drives them, that a network learns, and that it loads where there is no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gemel
from gemel.core.errors import ConfigError, InputError
from gemel.core.values import Signal, Signals
from gemel.lab.excite import excitation, ranges

PLANT = """
name = "tank"
every = "1min"
clock = "data"
signals = [{ name = "inflow", low = 0, high = 30 }, { name = "level" }]
store = { kind = "memory" }
simulator = { kind = "ode", equations = "leak.py:Leak", step = "1min", kernel = "numpy" }
estimator = { kind = "enkf", noise = { level = 0.05 } }
"""
EQUATIONS = """
class Leak:
    states = {"level": {"mean": 1.5, "sd": 0.3}}
    inputs = {"inflow": "m3/h"}
    outputs = {"level": "m"}
    parameters = {"area": {"mean": 4.0, "sd": 1.0, "low": 1.0}, "leak": {"mean": 5.0, "sd": 2.0, "low": 0.0}}

    def derivative(self, t, x, u, p):
        return [(u[0] - p[1] * x[0]) / p[0] / 3600]
"""


def test_inputs_fill_their_ranges_and_states_go_in_whole_steps() -> None:
    signals = Signals(
        [Signal("load", low=0.2, high=1.4), Signal("fan", type="state", low=0, high=2, states=("a", "b", "c"))]
    )
    within, whole = ranges(["load", "fan"], signals)
    inputs = excitation(np.random.default_rng(0), within, whole, np.arange(1, 97) / 4, 300)
    assert inputs.shape == (96, 2, 300)
    assert inputs[:, 0].min() >= 0.2
    assert inputs[:, 0].max() <= 1.4
    assert np.std(inputs[:, 0].mean(axis=0)) > 0.1  # windows at many levels
    assert np.median(inputs[:, 0].std(axis=0)) > 0.05  # that move
    assert {*np.unique(inputs[:, 1])} == {0.0, 1.0, 2.0}
    with pytest.raises(ConfigError, match="'air' has no range"):
        ranges(["air"], signals)


@pytest.fixture
def twin(tmp_path: Path) -> gemel.Twin:
    (tmp_path / "leak.py").write_text(EQUATIONS, encoding="utf-8")
    (tmp_path / "tank.toml").write_text(PLANT, encoding="utf-8")
    return gemel.open(tmp_path / "tank.toml")


def test_a_network_learns_from_simulated_runs_and_loads(twin: gemel.Twin, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from gemel.estimators.amortised import Amortised
    from gemel.lab.amortise import Recipe, amortise

    torch.set_num_threads(1)
    seen: list[int] = []
    card = amortise(
        twin, tmp_path / "net", Recipe("1h", steps=120, batch=64, width=16), watch=lambda n, *_: seen.append(n)
    )
    assert seen == [100, 120]
    assert card["scores"]["gained"] > 1.0  # nats over the prior
    assert 0.75 < card["scores"]["within"] < 1.0
    network = Amortised(twin.simulator, tmp_path / "net")
    assert network.card["parameters"] == card["parameters"]
    again = amortise(twin, tmp_path / "again", Recipe("1h", steps=120, batch=64, width=16))
    assert again["scores"] == card["scores"]


def test_wrong_questions_are_named(twin: gemel.Twin, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from gemel.lab.amortise import Recipe, amortise

    with pytest.raises(InputError, match="10 rows"):
        amortise(twin, tmp_path, Recipe("10min"))
    twin.estimator = None
    with pytest.raises(ConfigError, match="says what is measured"):
        amortise(twin, tmp_path)
