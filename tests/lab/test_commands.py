"""The lab's commands: a recipe is read, a run is repeated from its card, scored, promoted or refused, and shown."""

from __future__ import annotations

import itertools
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from gemel.cli import app  # noqa: E402
from gemel.core.errors import ConfigError, InputError, PartError  # noqa: E402
from gemel.lab.evaluate import BASELINES, answering, held_out, rolling  # noqa: E402
from gemel.lab.page import page  # noqa: E402
from gemel.lab.picture import marks, trace  # noqa: E402
from gemel.lab.promote import back, promote  # noqa: E402
from gemel.lab.recipe import RECIPES, Recipe, differences, read_recipe, with_pool  # noqa: E402
from gemel.lab.runs import runs  # noqa: E402
from gemel.lab.sheet import sheet  # noqa: E402
from gemel.lab.train import begin  # noqa: E402

TINY = """
warm = 2
[shape]
width = 16
heads = 2
layers = 1
[mixture]
tokens = 128
lengths = [2, 4]
rows = 26
row = 256
renew = 8
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a recipe, and a pool of 14 noisy cycles of which one is held out."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    draw, t = np.random.default_rng(0), np.arange(700)
    values = [np.sin(2 * np.pi * t / (12 + k)) + 0.2 * draw.normal(size=700) for k in range(14)]
    table = {"source": ["a"] * 14, "id": [str(k + 2) for k in range(14)]}
    column = pa.array([v.astype(np.float32) for v in values], pa.list_(pa.float32()))
    pq.write_table(pa.table({**table, "values": column}), folder / "pool.parquet")
    return folder


def lab(*words: object, rc: int = 0) -> str:
    """What `gemel lab ...` prints."""
    ran = CliRunner().invoke(app, ["lab", *map(str, words)], terminal_width=200)
    if ran.exception and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    assert ran.exit_code == rc, ran.output
    return ran.output


@pytest.fixture(scope="module")
def exported(place) -> Path:
    """A run by the commands, from nothing to a scored network."""
    folder = place / "runs" / "one"
    said = lab("pretrain", "--folder", folder, "--config", place / "tiny.toml", "--pool", place / "pool.parquet",
               "--steps", 55)  # fmt: skip
    assert "new run" in said
    assert "55 steps" in said
    assert "difference to the network" in lab("export", "--folder", folder)
    return folder


def test_a_recipe_is_read_and_wrong_keys_are_named(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text(TINY, encoding="utf-8")
    recipe = read_recipe(file, "gpu")
    assert (recipe.warm, recipe.shape.width, recipe.mixture.tokens) == (2, 16, 128)
    assert recipe.average == RECIPES["gpu"].average
    assert set(differences(recipe, RECIPES["gpu"])) >= {"warm", "shape.width", "mixture.lengths"}
    file.write_text("stepz = 3\nshape = 1\n[mixture]\ntokenz = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_recipe(file)
    assert [re.search(r"did you mean '(\w+)'", p) is not None for p in caught.value.problems] == [True, False, True]
    file.write_text("rate = 'fast'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="`rate`"):
        read_recipe(file)
    file.write_text("rate = \n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no recipe"):
        read_recipe(file)
    with pytest.raises(ConfigError, match="did you mean 'cpu'"):
        read_recipe(start="cpux")
    with pytest.raises(InputError, match="cannot read"):
        read_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("wrong", "says"), [({"fall": 3}, "step 3 of 0"), ({"decay": 1.0}, "decay"), ({"rate": 0.0}, "above zero")]
)
def test_a_recipe_that_does_not_fit_together(wrong, says):
    with pytest.raises(ConfigError, match=says):
        Recipe(**wrong)


def test_the_pool_is_part_of_the_recipe(place, tmp_path):
    recipe = with_pool(Recipe(), place / "pool.parquet")
    assert len(recipe.data) == 64
    with pytest.raises(ConfigError, match="no pool was given"):
        with_pool(recipe, "")
    (tmp_path / "other.parquet").write_bytes(b"x")
    with pytest.raises(ConfigError, match="wants the pool"):
        with_pool(recipe, tmp_path / "other.parquet")


def test_a_run_by_budget_is_repeated_by_its_card(place, tmp_path, monkeypatch):
    monkeypatch.setattr("gemel.lab.train.EVERY", 2)
    ticks = itertools.count()  # a step takes a tenth of a second, however busy the machine is
    monkeypatch.setattr("gemel.lab.train.time", SimpleNamespace(perf_counter=lambda: next(ticks) / 10))
    from gemel.lab.export import export

    pool, silent = place / "pool.parquet", lambda now: None
    first = begin(tmp_path / "a", config=place / "tiny.toml", pool=pool, budget="2s", watch=silent)
    export(first, tmp_path / "a")
    card = json.loads((tmp_path / "a" / "foundation.json").read_text())
    assert card["recipe"]["data"]
    assert card["steps"] == card["recipe"]["steps"] > 0
    again = begin(tmp_path / "b", config=tmp_path / "a" / "foundation.json", pool=pool, watch=silent)
    assert again.state.log == first.state.log
    assert len(first.state.log) > 4
    for name, weights in first.average.items():
        assert torch.equal(weights, again.average[name])


def test_a_folder_is_not_overwritten_and_a_resumed_run_keeps_its_recipe(exported, place):
    with pytest.raises(InputError, match="already holds a run"):
        begin(exported, steps=60)
    with pytest.raises(InputError, match="no run to go on with"):
        begin(place / "nothing", steps=60, resume=True)
    with pytest.raises(ConfigError, match=r"other shape\.width, .*warm"):
        begin(exported, start="cpu", pool=place / "pool.parquet", steps=60, resume=True)
    with pytest.raises(ConfigError, match="no pool was given"):
        begin(exported, steps=60, resume=True)


def test_the_end_of_a_falling_run_is_fixed_and_stable_weights_go_on(exported, place, tmp_path):
    pool = place / "pool.parquet"
    with pytest.raises(ConfigError, match="falls to zero at step 55"):
        begin(exported, pool=pool, steps=80, resume=True)
    (tmp_path / "checkpoint.pt").write_bytes((exported / "stable.pt").read_bytes())
    with pytest.raises(ConfigError, match="it has 38 steps"):
        begin(tmp_path, pool=pool, steps=20, resume=True)
    longer = begin(tmp_path, pool=pool, steps=60, resume=True)
    straight = begin(tmp_path / "straight", config=place / "tiny.toml", pool=pool, steps=60)
    assert longer.repeat() == straight.repeat()
    for name, weights in straight.average.items():
        assert torch.equal(weights, longer.average[name])


def test_scores_stand_beside_the_baselines_and_on_the_card(exported, place):
    said = lab("evaluate", exported, "--pool", place / "pool.parquet", "--way", "fast")
    for name in ("network", *BASELINES):
        assert name in said
    card = json.loads((exported / "foundation.json").read_text())["scores"]["pool"]["fast"]
    assert card["all"]["seasonal naive"] == pytest.approx({"MASE": 1, "CRPS": 1, "coverage": 0.8}, abs=0.15)
    assert card["all"]["naive"]["CRPS"] > 1.2
    assert {row["horizon"] for row in card["rows"]} == {12, 48, 240}
    with pytest.raises(InputError, match="nothing to score on"):
        lab("evaluate", exported)
    with pytest.raises(InputError, match="no exported network"):
        lab("evaluate", place, "--pool", place / "pool.parquet")


def test_a_perfect_answer_scores_nothing():
    y = np.random.default_rng(1).normal(size=400).cumsum()
    perfect = rolling(
        [y], 20, lambda c, h: np.repeat(np.stack([y[len(x) :][:h] for x in c])[..., None], 9, 2), past=400
    )
    assert perfect == {"windows": 4, "MASE": 0.0, "CRPS": 0.0, "coverage": 1.0}
    by_hand = rolling([y], 20, answering(BASELINES["naive"]), past=400)
    errors = [np.abs(y[c : c + 20] - y[c - 1]).mean() / np.abs(np.diff(y[:c])).mean() for c in (320, 340, 360, 380)]
    assert by_hand["MASE"] == pytest.approx(np.mean(errors), rel=1e-4)


def scored(run: Path, into: Path, crps: float, data: str = "p") -> Path:
    """A copy of an exported run with a score on its card."""
    into.mkdir(parents=True)
    for path in run.glob("foundation*"):
        (into / path.name).write_bytes(path.read_bytes())
    card = json.loads((into / "foundation.json").read_text())
    card["scores"] = {"pool": {"best": {"data": data, "protocol": {}, "all": {"network": {"CRPS": crps}}}}}
    (into / "foundation.json").write_text(json.dumps(card))
    return into


def test_only_a_better_network_is_promoted_and_the_one_before_comes_back(exported, tmp_path):
    good, better, worse = (scored(exported, tmp_path / str(x), x) for x in (0.8, 0.7, 0.9))
    use = tmp_path / "use"

    def held() -> float:
        return json.loads((use / "foundation.json").read_text())["scores"]["pool"]["best"]["all"]["network"]["CRPS"]

    assert "nothing sound was there" in lab("promote", good, "--into", use)
    assert "0.9000 is not better than 0.8000" in lab("promote", worse, "--into", use, rc=1)
    assert "another pool" in lab("promote", scored(exported, tmp_path / "o", 0.1, "q"), "--into", use, rc=1)
    assert held() == 0.8
    assert json.loads(lab("promote", better, "--into", use, "--json"))["done"]
    assert held() == 0.7
    lab("promote", "--back", "--into", use)
    assert held() == 0.8
    lab("promote", "--back", "--into", use)
    assert held() == 0.7
    assert promote(worse, use, force=True).reason == "forced"
    assert held() == 0.9
    with pytest.raises(InputError, match="from before"):
        back(tmp_path / "nowhere")
    (better / "foundation.onnx").write_bytes(b"tampered")
    with pytest.raises(PartError, match="not the file its card names"):
        promote(better, use)


def test_runs_are_listed_and_the_report_is_one_sound_file(exported, place, tmp_path):
    (row,) = runs(place / "runs")
    assert (row.name, row.steps, row.end, row.patches) == ("one", 55, 55, 55 * 128)
    assert len(row.log) == 1
    said = lab("runs", place / "runs", "--html", tmp_path / "r.html")
    assert "one" in said
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert not re.search(r"<(link|script|img)", text)
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ET.fromstring(drawing)
    assert json.loads(lab("runs", place / "runs", "--json"))[0]["steps"] == 55
    assert page([row]).count("<tr>") == 2
    with pytest.raises(InputError, match="no run in"):
        runs(tmp_path)


def test_the_sheet_draws_every_family_within_its_size():
    drawn = sheet([np.sin(np.arange(2000) / 9).astype(np.float32)], columns=2)
    root = ET.fromstring(drawn)
    names = {e.text for e in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"seasons", "loops", "graphs", "worn", "real"} <= names
    assert len(drawn) < 150_000
    assert sheet(columns=2) == sheet(columns=2)


def test_a_trace_keeps_gaps_and_spikes():
    y = np.zeros(10_000)
    y[5003] = 1.0
    assert "-40" in trace(y, 0, 0, 100, 40)
    y[2000:4000] = np.nan
    assert trace(y, 0, 0, 100, 40).count("M") == 2
    assert trace(np.full(5, np.nan), 0, 0, 10, 10) == ""
    assert marks(0, 10) == [0, 2, 4, 6, 8, 10]


def test_held_out_needs_series_long_enough(place, tmp_path):
    table = {"source": ["a"] * 14, "id": [str(k + 2) for k in range(14)]}
    column = pa.array([np.arange(60, dtype=np.float32)] * 14, pa.list_(pa.float32()))
    pq.write_table(pa.table({**table, "values": column}), tmp_path / "short.parquet")
    with pytest.raises(InputError, match="long enough"):
        held_out(answering(BASELINES["naive"]), tmp_path / "short.parquet")
