"""Learning remaining life: quantiles of a fleet whose law of wear is known, files that answer as what they were made
from, and fleets that cannot be learned from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import wear
from gemel.cli import app
from gemel.core.errors import ConfigError, InputError
from gemel.detectors.life.ensemble import Ensemble
from gemel.detectors.life.view import View
from gemel.detectors.life.windowed import Windowed
from gemel.detectors.trained import Trained
from gemel.lab.life.fleet import Fleet, read_fleet
from gemel.lab.life.learn import KINDS, Recipe, learn, tabled

SMALL = View(first=10, spans=(5, 20), tokens=4, block=3)


def fleet(count: int = 40, seed: int = 0) -> Fleet:
    units = wear.units(count, seed)
    names = tuple(str(i) for i in range(count))
    settings, values = zip(*units, strict=True)
    return Fleet(names, settings, values, np.zeros(count), ("way",), wear.CHANNELS)


def cut(whole: Fleet, seed: int) -> Fleet:
    """Units stopped at some age."""
    rng = np.random.default_rng(seed)
    ages = np.array([rng.integers(15, len(v)) for v in whole.values])
    return Fleet(
        whole.names, tuple(s[:a] for s, a in zip(whole.settings, ages, strict=True)),
        tuple(v[:a] for v, a in zip(whole.values, ages, strict=True)), whole.lives - ages, whole.of, whole.channels,
    )  # fmt: skip


@pytest.mark.slow
def test_trees_hold_their_quantiles_on_new_units_and_as_files(tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    pytest.importorskip("onnx")
    said: list[str] = []
    learned = learn(fleet(), Recipe(folds=3, trees=40, view=SMALL), said.append)
    assert "2 conditions, channels heat hum draw" in said[0]
    assert 60 < learned.meaning.cap < 90  # six tenths of the usual life
    card = learned.save(tmp_path)
    assert card["units"] == 40
    new = cut(fleet(200, seed=7), seed=8)
    ensemble = Ensemble(tmp_path)
    usual = ensemble.meaning.usual
    answer, quantiles = ensemble.ask(
        [usual.deviations(s, v[:, :3]) for s, v in zip(new.settings, new.values, strict=True)]
    )
    assert np.abs(answer - learned.answers(new)["ensemble"]).max() < 1e-3
    inside = (quantiles[:, 0] <= new.left) & (new.left <= quantiles[:, -1])
    assert 0.84 <= inside.mean() <= 0.96
    for level, column in zip(learned.meaning.table.levels, quantiles.T, strict=True):
        assert abs((new.left <= column).mean() - level) < 0.12


@pytest.mark.slow
def test_networks_answer_as_their_file_does(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    torch.set_num_threads(1)
    sizes = {"cnn": {"width": 8}, "rnn": {"cell": "gru", "width": 8}, "transformer": {"width": 8, "heads": 2}}
    recipe = Recipe(cap=80, folds=3, networks=KINDS, sizes=sizes, trees=0, steps=120, batch=64, view=SMALL)
    learned = learn(fleet(), recipe)
    card = learned.save(tmp_path)
    assert learned.meaning.weight == 0
    assert card["difference"]["life-network.onnx"] < 1e-5
    new = cut(fleet(30, seed=7), seed=8)
    ensemble = Ensemble(tmp_path)
    usual = ensemble.meaning.usual
    answer, _ = ensemble.ask([usual.deviations(s, v[:, :3]) for s, v in zip(new.settings, new.values, strict=True)])
    assert np.abs(answer - learned.answers(new)["networks"]).max() < 1e-2
    goal = np.minimum(new.left, 80)
    assert np.sqrt(np.mean((answer - goal) ** 2)) < 0.8 * goal.std()


def test_quantiles_of_answers_that_are_off() -> None:
    rng = np.random.default_rng(0)
    answer = rng.uniform(0, 100, 5000)
    truth = answer + 5 + answer / 10 * rng.standard_normal(5000)
    found = tabled(answer, truth, 100.0, (0.05, 0.5, 0.95)).quantiles(np.array([20.0, 80.0]))
    assert np.abs(found[:, 1] - [25, 85]).max() < 2
    assert np.abs((found[:, 2] - found[:, 0]) / np.array([2, 8]) - 3.29).max() < 0.5


def test_fleets_that_cannot_be_learned_from() -> None:
    with pytest.raises(InputError, match="5 units with 30 rows or more are too few"):
        learn(fleet(5), Recipe(networks=()))
    rng = np.random.default_rng(0)
    noise = tuple(rng.standard_normal((80, 2)) for _ in range(12))
    same = Fleet(tuple("abcdefghijkl"), tuple(np.zeros((80, 0)) for _ in noise), noise, np.zeros(12), (), ("x", "y"))
    with pytest.raises(InputError, match="no channel tells a new unit from a worn one"):
        learn(same, Recipe(networks=()))


def written(path: Path, names: str, seed: int = 0) -> Path:
    """A fleet as a table."""
    rows = ["unit,time,rul,way,heat,hum"]
    for name, (settings, values) in zip(names, wear.units(len(names), seed), strict=True):
        for t, (s, v) in enumerate(zip(settings, values, strict=True)):
            rows.append(f"{name},{t},{len(values) - 1 - t},{s[0]:g},{v[0]:.3f},{v[1]:.3f}")
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def test_a_table_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "fleet.csv", "ab")
    found = read_fleet(path, settings=("way",))
    assert found.names == ("a", "b")
    assert (found.of, found.channels) == (("way",), ("heat", "hum"))
    assert found.left.tolist() == [0, 0]
    with pytest.raises(ConfigError, match="no setting 'wey'"):
        read_fleet(path, settings=("wey",))


def test_turbofan_files_are_read(tmp_path: Path) -> None:
    row = " ".join(["1", "{}", "0.1", "0.2", "100", *["5.0"] * 21])
    (tmp_path / "test_FD009.txt").write_text("\n".join(row.format(t) for t in (1, 2, 3)), encoding="utf-8")
    with pytest.raises(InputError, match=r"no RUL_FD009\.txt"):
        read_fleet(tmp_path / "test_FD009.txt")
    (tmp_path / "RUL_FD009.txt").write_text("40\n", encoding="utf-8")
    found = read_fleet(tmp_path / "test_FD009.txt")
    assert found.left.tolist() == [40]
    assert found.settings[0].shape == (3, 3)
    assert found.values[0].shape == (3, 21)


@pytest.mark.slow
def test_the_command_learns_scores_and_says_what_is_next(tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    pytest.importorskip("onnx")
    data = written(tmp_path / "fleet.csv", "abcdefghijklmnopqrst")
    other = written(tmp_path / "other.csv", "abcd", seed=1)
    words = ["lab", "life", str(data), "--settings", "way", "--test", str(other), "--folder", str(tmp_path / "run")]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    assert "channels heat hum" in found.output
    assert "held back: " in found.output
    assert 'next: put { kind = "life", model = ' in found.output
    card = json.loads((tmp_path / "run" / "life.json").read_text(encoding="utf-8"))
    assert card["scores"]["test"]["RMSE"] < 10  # at the last row of whole lives nothing is left
    assert 0.8 < card["scores"]["held back"]["coverage 0.9"] < 0.97


@pytest.mark.slow
def test_a_network_that_looks_at_windows_is_asked_too(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("lightgbm")
    torch.set_num_threads(1)
    from gemel.lab.tasks.supervised import begin
    from gemel.lab.tasks.task import read_task

    data = written(tmp_path / "fleet.csv", "abcdefghijkl")
    begin(data, tmp_path / "run", read_task(task="rul", network="cnn", window=12, steps=60, batch=64, cap=80.0))
    windowed = Windowed(tmp_path / "run")
    usual = windowed.meaning.usual
    assert usual.channels == ("way", "heat", "hum")
    settings, values = wear.unit(np.random.default_rng(5), 100)
    rows = np.hstack([settings, values[:, :2]])
    answer, quantiles = windowed.ask([usual.deviations(rows[:n, :0], rows[:n]) for n in (5, 30, 98)])
    network = Trained(tmp_path / "run", ("rul",), "test")
    want = network(network.meaning.scaled(rows[18:30])[None])[0]
    assert np.allclose(quantiles[1], want, atol=1e-3)
    assert answer[2] < answer[1]
    assert quantiles.max() <= 80
