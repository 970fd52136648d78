"""Learning remaining life: quantiles of a fleet whose law of wear is known, files that answer as what they were made
from, and fleets that cannot be learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wear
from gemel.core.errors import ConfigError, InputError
from gemel.detectors.life.ensemble import Ensemble
from gemel.detectors.life.view import View
from gemel.lab.life.fleet import Fleet, read_fleet
from gemel.lab.life.learn import Recipe, learn, tabled

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


def test_trees_hold_their_quantiles_on_new_units_and_as_files(tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    pytest.importorskip("onnx")
    said: list[str] = []
    learned = learn(fleet(), Recipe(cap=0, folds=4, networks=(), trees=60, view=SMALL), said.append)
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
    recipe = Recipe(cap=80, folds=3, sizes=sizes, trees=0, steps=120, batch=64, view=SMALL)
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


def test_a_table_is_read(tmp_path: Path) -> None:
    rows = ["unit,time,rul,way,heat,hum"]
    for name, (settings, values) in zip("ab", wear.units(2, 0), strict=True):
        for t, (s, v) in enumerate(zip(settings, values, strict=True)):
            rows.append(f"{name},{t},{len(values) - 1 - t},{s[0]:g},{v[0]:.3f},{v[1]:.3f}")
    path = tmp_path / "fleet.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
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
