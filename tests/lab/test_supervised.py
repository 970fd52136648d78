"""Training with labels: networks, optimisers, what is read and refused, splits, resuming, the files that come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightgbm")
pytest.importorskip("onnx")

from typer.testing import CliRunner  # noqa: E402

from fleet import CHANNELS, fleet, write  # noqa: E402
from gemel.cli import app  # noqa: E402
from gemel.core.errors import ConfigError, InputError  # noqa: E402
from gemel.core.foundation import load  # noqa: E402
from gemel.detectors.trained import Meaning, Trained  # noqa: E402
from gemel.lab.network import scaled  # noqa: E402
from gemel.lab.networks import NETWORKS, network, pretrained  # noqa: E402
from gemel.lab.tasks import measures  # noqa: E402
from gemel.lab.tasks.carry import compare  # noqa: E402
from gemel.lab.tasks.carry import write as carry  # noqa: E402
from gemel.lab.tasks.labelled import Columns, read_table, split  # noqa: E402
from gemel.lab.tasks.member import Member, train  # noqa: E402
from gemel.lab.tasks.muon import Muon, orthogonal  # noqa: E402
from gemel.lab.tasks.supervised import begin, calibrated, prepare  # noqa: E402
from gemel.lab.tasks.task import NETWORKS as NAMES  # noqa: E402
from gemel.lab.tasks.task import Task, read_task  # noqa: E402
from gemel.lab.tasks.windows import Windows, askable, scaling  # noqa: E402

TINY = {"window": 8, "steps": 40, "batch": 32, "sizes": {"width": 8, "layers": 1}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: Any) -> Path:
    return write(tmp_path_factory.mktemp("fleet") / "fleet.parquet", fleet(12, 120))


def lab(*words: object, rc: int = 0) -> str:
    """What `gemel lab train ...` prints."""
    ran = CliRunner().invoke(app, ["lab", "train", *map(str, words)], terminal_width=200)
    if ran.exception and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    assert ran.exit_code == rc, ran.output
    return ran.output


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_network_answers_any_number_of_windows_and_its_file_says_the_same(kind: str, tmp_path: Path) -> None:
    made = network(kind, channels=3, length=10, outputs=2).eval()
    x = torch.randn(5, 10, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, alone = made(x), torch.cat([made(one[None]) for one in x])
    assert whole.shape == (5, 2)
    assert torch.allclose(whole, alone, atol=1e-5)
    carry(made, tmp_path / "x.onnx", (10, 3))
    assert compare(made, tmp_path / "x.onnx", (10, 3)) < 1e-3
    with pytest.raises(ConfigError, match="has no size 'widht'"):
        network(kind, 3, 10, 2, widht=4)


def test_a_recipe_knows_every_network() -> None:
    assert set(NAMES) == set(NETWORKS)


def test_an_autoencoder_gives_the_window_back_in_its_own_length() -> None:
    for length in (4, 7, 30, 33):
        assert network("autoencoder", 3, length, 0)(torch.randn(2, length, 3)).shape == (2, length, 3)
    with pytest.raises(ConfigError, match="needs something to answer"):
        network("cnn", 3, 10, 0)
    with pytest.raises(ConfigError, match="unknown network 'cnm'"):
        network("cnm", 3, 10, 1)


def test_the_pretrained_encoder_is_the_network_that_ships() -> None:
    body, graph = pretrained(), load()
    values = torch.randn(3, 1, 4, 32, generator=torch.Generator().manual_seed(1)).cumsum(-1) / 5
    seen = torch.ones_like(values)
    levels, features = graph.features(values.numpy(), seen.numpy(), np.array([2, 3]))
    with torch.no_grad():
        mine = body.hidden(scaled(values, seen))[:, :, 2:].numpy()
        assert np.abs(body(values, seen)[:, :, 2:].numpy() - levels).max() < 1e-4
    assert np.abs(mine - features).max() < 1e-3 * np.abs(features).max()
    head = network("encoder", 2, 20, 3)
    head(torch.randn(4, 20, 2)).sum().backward()
    assert all(p.grad is None for p in head.body.parameters())
    assert head.each.weight.grad is not None


def test_muon_steps_along_the_orthogonal_part_of_the_gradient() -> None:
    draw = torch.Generator().manual_seed(0)
    for shape in ((6, 20), (20, 6), (12, 12)):
        matrix = torch.randn(*shape, generator=draw)
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        made = orthogonal(matrix)
        size = torch.linalg.svdvals(made)
        assert size.min() > 0.5
        assert size.max() < 1.3
        assert float((made * (u @ v)).sum() / made.norm() / (u @ v).norm()) > 0.95
    ours, theirs = (torch.nn.Parameter(torch.ones(8, 6)) for _ in range(2))
    one = Muon([ours], lr=0.01, momentum=0.9)
    other = torch.optim.Muon([theirs], lr=0.01, momentum=0.9, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        gradient = torch.randn(8, 6, generator=draw)
        for weight, optimiser in ((ours, one), (theirs, other)):
            weight.grad = gradient.clone()
            optimiser.step()
    assert torch.allclose(ours, theirs, atol=2e-3)  # theirs counts in bfloat16


def member(data: Path, folder: Path, **keys: Any) -> tuple[Member, Any]:
    task = read_task(**{**TINY, "task": "classify", "network": "cnn", **keys})
    table = read_table(data, task.task, task.columns)
    meaning = scaling(table, np.ones(len(table.unit), bool), task)
    made = Member(task, 0, 0, 3, len(table.classes), folder)
    return made, (Windows(table, meaning), askable(table, np.ones(len(table.unit), bool), task), table.label)


@pytest.mark.parametrize("optimiser", ["sgd", "rmsprop", "adam", "muon"])
def test_every_optimiser_learns(optimiser: str, data: Path, tmp_path: Path) -> None:
    made, given = member(data, tmp_path, optimiser=optimiser, steps=100, schedule="fall")
    train(made, *given, lambda *_: None)
    assert made.log[-1][1] < 0.6 * made.log[0][1]


def test_a_killed_run_goes_on_bit_for_bit(data: Path, tmp_path: Path) -> None:
    straight, given = member(data, tmp_path / "a", steps=75, optimiser="muon", network="rnn")
    train(straight, *given, lambda *_: None)
    killed, _ = member(data, tmp_path / "b", steps=75, optimiser="muon", network="rnn")

    def stop(done: int, of: int, text: str) -> None:
        if done == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(killed, *given, stop, save_s=0.0)
    resumed, _ = member(data, tmp_path / "b", steps=75, optimiser="muon", network="rnn")
    assert resumed.load()
    assert resumed.step == 25
    torch.rand(7)  # what else was drawn meanwhile does not matter
    train(resumed, *given, lambda *_: None)
    assert resumed.log == straight.log
    assert all(torch.equal(x, resumed.average[name]) for name, x in straight.average.items())
    other, _ = member(data, tmp_path / "b", steps=75, optimiser="adam", network="rnn")
    with pytest.raises(ConfigError, match="other optimiser"):
        other.load()


def test_measures_by_hand() -> None:
    truth = np.array([10.0, 20.0, 30.0])
    assert measures.nasa(truth + np.array([10, -13, 0]), truth) == pytest.approx(2 * (np.e - 1))
    quantiles = np.stack([truth - 5, truth, truth + np.array([5, 5, -1])], axis=1)
    found = measures.life((0.05, 0.5, 0.95), quantiles, truth)
    assert (found["RMSE"], found["coverage 0.9"]) == (0.0, pytest.approx(2 / 3))
    chance = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    found = measures.classes(chance, np.array([0, 0, 1, 1]), ("a", "b"))
    assert found["confusion"] == [[2, 0], [1, 1]]
    assert (found["accuracy"], found["classes"]["a"]["precision"]) == (0.75, pytest.approx(2 / 3))
    assert found["ECE"] == pytest.approx((0.1 + 0.4 + 0.2 + 0.7) / 4)
    odd = np.array([0, 0, 1, 1], bool)
    found = measures.alarms(np.array([0.1, 0.6, 0.5, 0.9]), 0.55, odd)
    assert (found["F1"], found["false alarms"], found["missed"], found["AUC"]) == (0.5, 0.5, 0.5, 0.75)


def changed(path: Path, suffix: str = ".csv", **columns: Any) -> Path:
    """A fleet of six with columns changed, added, or (None) taken away."""
    table = fleet(6, 40)
    for name, column in columns.items():
        if column is None:
            del table[name]
        else:
            table[name] = column(table) if callable(column) else np.full(len(table["unit"]), column)
    return write(path / f"fleet{suffix}", table)


HOLES = {"label": lambda t: np.where(np.arange(240) % 3 == 0, t["label"], None)}


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"label": None}, "no label column 'label'"),
        ({"unit": None}, "no column 'unit'"),
        ({"label": "normal"}, "has 1 classes"),
        ({"label": lambda t: np.where(t["unit"] == "p01", "rare", t["label"])}, "class .*rare is seen on one unit"),
        (dict.fromkeys(CHANNELS, 1.0), "every channel is constant or missing"),
        (dict.fromkeys(CHANNELS, "high"), "no channel of numbers"),
        ({"time": "soon"}, "is no time"),
        ({"time": lambda t: np.where(t["unit"] == "p02", 9, 1) * np.tile(np.arange(40.0), 6)}, "another rate .*p02"),
        ({"label": lambda t: np.full(240, None)}, "every label in 'label' is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_refused_by_name(columns: dict[str, Any], says: str, tmp_path: Path) -> None:
    place = changed(tmp_path, ".parquet", **columns)
    with pytest.raises(InputError, match=says):
        split(read_table(place, "classify", Columns()), "unit", 0)


def test_what_can_be_used_with_care_is_said(tmp_path: Path) -> None:
    def lost(t: Any) -> Any:
        return np.where(np.arange(240) % 4 == 0, np.nan, t["flow"])

    place = changed(tmp_path, ".parquet", **HOLES, still=3.0, flow=lost, comment="x")
    table = read_table(place, "classify", Columns())
    told = "\n".join(table.notes)
    for says in ("160 of 240 rows have no label", "constant, left out: still", "8.3% of the values are missing",
                 "no numbers, left out: comment"):  # fmt: skip
        assert says in told
    ends = askable(table, np.ones(240, bool), read_task(window=8, task="classify"))
    assert np.isfinite(table.label[ends]).all()
    with pytest.raises(InputError, match="the longest unit has 0 rows"):
        askable(table, table.of(np.array([], int)), read_task(window=8, task="classify"))
    short = askable(table, np.ones(240, bool), read_task(window=60, task="classify"))
    assert len(short) <= 6  # the last row of each, its first standing for those before
    x = Windows(table, scaling(table, np.ones(240, bool), read_task(window=60, task="classify"))).at(short)
    assert np.array_equal(x[:, 0], x[:, 15])
    ready = prepare(place, read_task(window=60, task="classify"))
    assert "6 of 6 units are shorter than the window of 60 rows" in ready.table.notes[-1]


def test_rows_are_brought_to_one_spacing_when_asked(tmp_path: Path) -> None:
    time = {"time": lambda t: np.where(t["unit"] == "p02", 1, 2) * np.tile(np.arange(40.0), 6)}
    table = read_table(changed(tmp_path, **time), "classify", Columns(step=2.0))
    assert table.step == 2.0
    assert np.bincount(table.unit).tolist() == [40, 40, 20, 40, 40, 40]
    assert "averaged into 220" in "\n".join(table.notes)


def test_a_folder_has_a_file_a_unit(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "line").mkdir(exist_ok=True)
        (tmp_path / "line" / f"{name}.csv").write_text("time;flow;label\n1;2.0;0\n2;2.5;1\n3;2.5;\n", encoding="utf-8")
    table = read_table(tmp_path, "detect", Columns())
    assert table.units == ("line/one", "line/two")
    assert table.label[:2].tolist() == [0.0, 1.0]
    assert np.isnan(table.label[2])


def test_whole_units_or_conditions_are_held_back(data: Path, tmp_path: Path) -> None:
    table = read_table(data, "classify", Columns())
    parts = split(table, "unit", 3)
    every = np.concatenate([parts.train, parts.calibrate, parts.test])
    assert sorted(every.tolist()) == list(range(12))
    seen = [set(np.unique(table.label[table.of(p)])) for p in (parts.train, parts.calibrate, parts.test)]
    assert all(len(one) == 3 for one in seen)
    assert np.array_equal(split(table, "unit", 3, again=1).test, parts.test)
    place = changed(tmp_path, condition=lambda t: np.where(t["unit"] < "p02", "hot", "cold"))
    table = read_table(place, "classify", Columns())
    parts = split(table, "condition", 0, test=0.5)
    names = [{table.conditions[c] for c in table.condition[table.of(p)]} for p in (parts.train, parts.test)]
    assert not names[0] & names[1]
    with pytest.raises(InputError, match="no two conditions"):
        split(read_table(data, "classify", Columns()), "condition", 0)


def engines(folder: Path, rows: int = 30) -> Path:
    """Files as C-MAPSS has them: engines that wear out at speeds of their own."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        lines, left = [], []
        for unit in range(1, 9):
            life = rows + 3 * unit
            end = life if part == "train" else life - 5 - unit
            left.append(life - end)
            wear = np.arange(1, end + 1) / life
            sensors = 500 + np.outer(wear**2, np.linspace(-5, 5, 21)) + 0.1 * rng.standard_normal((end, 21))
            sensors[:, 4] = 14.6
            lines += [
                " ".join(f"{x:.4f}" for x in (unit, t + 1, 0.001, 0.0, 100.0, *row)) for t, row in enumerate(sensors)
            ]
        (folder / f"{part}_X.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "RUL_X.txt").write_text("\n".join(map(str, left)), encoding="utf-8")
    return folder / "train_X.txt"


def test_engines_are_read_as_their_readme_says_and_scored_at_their_last_cycle(tmp_path: Path) -> None:
    place = engines(tmp_path)
    ready = prepare(place, read_task(task="rul", window=10))
    assert ready.task.cap == 125
    assert ready.last
    assert "s5" not in ready.table.channels
    assert len(ready.table.channels) == 20
    final = np.r_[ready.test.unit[1:] != ready.test.unit[:-1], True]
    assert ready.test.label[final].tolist() == [float(5 + unit) for unit in range(1, 9)]
    (tmp_path / "RUL_X.txt").write_text("1\n2", encoding="utf-8")
    with pytest.raises(InputError, match="2 lives for 8 engines"):
        prepare(place, read_task(task="rul"))


@pytest.mark.slow
def test_a_life_is_learned_and_its_levels_hold(tmp_path: Path) -> None:
    card = begin(engines(tmp_path), tmp_path / "run", read_task(task="rul", **{**TINY, "steps": 120, "ensemble": 2}))
    scores = card["scores"]
    assert scores["network"]["RMSE"] < 0.6 * scores["plain"]["RMSE"]
    assert set(scores) == {"network", "boosting", "plain"}
    trained = Trained(tmp_path / "run", ("rul",), "test")
    answer = trained(np.zeros((3, 8, len(card["answer"]["channels"])), np.float32))
    assert answer.shape == (3, len(card["answer"]["levels"]))
    assert (np.diff(answer, axis=1) >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("units", [2, 8])
def test_few_units_held_back_widen_a_life_and_do_not_move_it(units: int) -> None:
    class Rows:  # of `Windows`, what calibration looks at: ten rows a unit
        first, rows = np.repeat(np.arange(units) * 10, 10), np.zeros((10 * units, 1), np.float32)

    meaning = Meaning("rul", False, ("x",), 1, 1.0, False, ((0.0,),), ((1.0,),), levels=(0.1, 0.5, 0.9))
    out = np.full((10 * units, 3), 50.0)
    goal = 38.0 + np.tile(np.arange(10.0), units)  # all are off the same way
    shift = calibrated(meaning, out, Rows, np.arange(10 * units), goal, read_task(task="rul")).shift  # type: ignore[arg-type]
    assert shift[2] - shift[0] > 6
    assert (shift[1] == 0) == (units < 5)


def test_the_command_trains_scores_and_exports(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "r.toml"
    config.write_text(
        "window = 8\nsteps = 60\nbatch = 32\nown = 30\n[sizes]\nwidth = 8\nlayers = 1\n", encoding="utf-8"
    )
    folder = tmp_path / "run"
    words = (data, "--task", "classify", "--network", "transformer", "--config", config, "--seeds", 2)
    config.write_text(config.read_text() + "heads = 2\n", encoding="utf-8")
    said = lab(*words, "--folder", folder)
    for word in ("balanced accuracy", "over seeds", "boosting", "confusion", "reliability", 'kind = "classifier"'):
        assert word in said
    card = json.loads((folder / "trained.json").read_text())
    assert card["recipe"]["data"] == card["data"]["sha256"]
    assert card["difference"] < 1e-3
    assert card["seeds"]["network"]["accuracy"]["sd"] >= 0
    with pytest.raises(InputError, match="already holds a run"):
        lab(*words, "--folder", folder)
    again = json.loads(lab(*words, "--folder", folder, "--resume", "--json"))
    assert again["sha256"] == card["sha256"]
    repeated = json.loads(lab(data, "--config", folder / "trained.json", "--folder", tmp_path / "again", "--json"))
    assert repeated["scores"] == card["scores"]
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other" / "fleet.parquet", fleet(12, 110))
    with pytest.raises(ConfigError, match="the recipe wants the data"):
        lab(other, "--config", folder / "trained.json", "--folder", tmp_path / "third")


@pytest.mark.slow
def test_an_autoencoder_needs_no_labels_to_learn_and_some_to_be_scored(data: Path, tmp_path: Path) -> None:
    task = read_task(task="detect", network="autoencoder", window=8, steps=120, batch=32, own=30,
                     sizes={"width": 8, "code": 2})  # fmt: skip
    card = begin(data, tmp_path / "run", task)
    assert card["answer"]["rebuilds"]
    assert card["scores"]["network"]["AUC"] > 0.9
    assert card["answer"]["limit"] > 0
    assert {"F1", "false alarms", "missed"} <= set(card["scores"]["network"])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"task": "guess"}, "unknown task 'guess'"), ({"optimiser": "adan"}, "did you mean 'adam'"),
     ({"window": 2}, "too short"), ({"levels": [0.9, 0.5]}, "levels must rise"), ({"steps": 0}, "1 or more")],
)  # fmt: skip
def test_a_recipe_that_does_not_fit_together(wrong: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        Task(**wrong)
    file = tmp_path / "r.toml"
    file.write_text("stepz = 3\n[columns]\nunits = 'x'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown key 'stepz'"):
        read_task(file)
