"""The command line, as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gemel import load
from gemel.cli import main

TWIN = """
name = "shed"
every = "15min"
horizon = "6h"
clock = { kind = "data" }
signals = [
  { name = "oil", unit = "degC", low = 0, high = 120, address = "file:#oil" },
  { name = "load", unit = "MVA", address = "file:#load" },
]
connectors.file = { kind = "replay", path = "rows.csv" }
transforms = [ { kind = "limits" } ]
store = { kind = "duckdb", path = "shed.gemel" }
forecaster = { kind = "seasonal_naive", season = "24h", every = "6h", context = "3d", report = ["oil"] }
"""


@pytest.fixture
def shed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    t = np.datetime64("2024-01-01T00:00") + np.arange(672) * np.timedelta64(15, "m")
    noise = np.random.default_rng(1).normal(0, 0.5, 672)
    oil = 40 + 5 * np.sin(np.arange(672) / 96 * 2 * np.pi) + noise
    lines = [f"{a},{b:.3f},{c:.3f}" for a, b, c in zip(t, oil, oil / 2, strict=True)]
    (tmp_path / "rows.csv").write_text("date,oil,load\n" + "\n".join(lines) + "\n")
    (tmp_path / "shed.toml").write_text(TWIN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gemel(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["gemel", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.mark.slow
def test_run_then_ask(shed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    code, out, _ = gemel(capsys, monkeypatch, "run", "shed.toml", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["points"] == 1344
    assert found["turns"] == 672
    assert found["forecasts"][0]["forecaster"] == "seasonal_naive"
    assert found["forecasts"][0]["mase"] == pytest.approx(1.0, abs=0.2)  # it is its own yardstick

    code, out, _ = gemel(capsys, monkeypatch, "history", "shed.toml", "--last", "6h", "--json")
    assert code == 0
    assert len(json.loads(out)["time"]) == 24

    code, out, _ = gemel(capsys, monkeypatch, "history", "shed.toml", "--last", "1d", "--csv", "out.csv")
    assert "96 rows written to out.csv" in out
    assert "next: " in out

    code, out, _ = gemel(capsys, monkeypatch, "forecast", "shed.toml", "--horizon", "3h", "--json")
    assert len(json.loads(out)["time"]) == 12

    code, out, _ = gemel(capsys, monkeypatch, "doctor", "shed.toml")
    assert code == 0
    assert "1,344 points" in out
    assert "nothing to mend" in out


@pytest.mark.slow
def test_run_prints_its_report_and_what_to_do_next(
    shed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    code, out, _ = gemel(capsys, monkeypatch, "run", "shed.toml", "--until", "2024-01-03")
    assert code == 0
    assert "twin shed" in out
    assert "next: gemel history shed.toml --last 1d" in out
    code, out, _ = gemel(capsys, monkeypatch, "run", "shed.toml", "--fresh", "--json")
    assert json.loads(out)["turns"] == 672
    assert Path("shed.gemel.1").exists()


KILLED = """
import os
from pathlib import Path
from gemel import load
from gemel.core.values import Batch
twin = load(Path("shed.toml")).open()
twin.store.append(Batch.of([0, 1], [10**18, 10**18], [41.0, 20.5]))
os._exit(9)
"""


@pytest.mark.slow
def test_fresh_sets_aside_what_a_killed_twin_had_acknowledged(
    shed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert subprocess.run([sys.executable, "-c", KILLED], check=False).returncode == 9
    assert Path("shed.gemel.wal").exists()  # the points are there, not in the store yet
    code, out, err = gemel(capsys, monkeypatch, "run", "shed.toml", "--fresh", "--until", "2024-01-02", "--json")
    assert code == 0, err
    assert "the old shed.gemel is now shed.gemel.1" in err
    assert json.loads(out)["turns"] == 97  # nothing of the old one is in the new one
    Path("old.toml").write_text(TWIN.replace("shed.gemel", "shed.gemel.1"))
    _, out, _ = gemel(capsys, monkeypatch, "history", "old.toml", "--json")
    assert json.loads(out)["values"] == [[41.0, 20.5]]


def test_fresh_leaves_a_store_that_is_held_where_it_is(
    shed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    with load(Path("shed.toml")).open():
        code, _, err = gemel(capsys, monkeypatch, "run", "shed.toml", "--fresh")
    assert code == 1
    assert err.startswith("error: 'shed.gemel' is held by")
    assert Path("shed.gemel").exists()
    assert not Path("shed.gemel.1").exists()


def test_fresh_sets_a_damaged_store_aside_as_it_is(
    shed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    Path("shed.gemel").write_bytes(b"not a store" * 1000)
    code, _, err = gemel(capsys, monkeypatch, "run", "shed.toml", "--fresh", "--until", "2024-01-02", "--json")
    assert code == 0, err
    assert Path("shed.gemel.1").read_bytes() == b"not a store" * 1000


def test_what_was_never_heard_is_null_in_json(
    shed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    Path("shed.toml").write_text(TWIN.replace("signals = [", 'signals = [\n  { name = "spare" },'))
    for words in (("run", "shed.toml", "--until", "2024-01-02"), ("doctor", "shed.toml")):
        _, out, _ = gemel(capsys, monkeypatch, *words, "--json")
        found = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert found["latest"]["spare"] is None


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("run", "nowhere.toml"), 2, "error: there is no file nowhere.toml"),
        (("history", "shed.toml", "--signal", "oli"), 2, "error: unknown signal 'oli', did you mean 'oil'?"),
        (("history", "shed.toml", "--last", "soon"), 2, "error: 'soon' is not a duration"),
        (("forecast", "shed.toml"), 2, "error: twin 'shed' has no history yet"),
        (("whatif", "shed.toml", "--set", "fan"), 2, "error: --set fan: 'name=number' is needed"),
        (("whatif", "shed.toml", "--set", "fan=2"), 2, "error: twin 'shed' has no simulator"),
        (("fetch", "mars"), 2, "error: "),
        (("demo", "transfomer"), 2, "error: there is no demo 'transfomer', did you mean 'transformer'?"),
        (("play", "rows.csv", "--to", "http://x"), 2, "error: "),
        (("run", "shed.toml", "--speed", "fast"), 2, "error: speed 'fast' is not a speed"),
        (("run", "shed.toml", "--for", "soon"), 2, "error: 'soon' is not a duration"),
        (("run", "shed.toml", "--until", "soon"), 2, "error: 'soon' is not a time"),
        (("run", "broken.toml"), 2, "error: broken.toml: 2 problems"),
    ],
)
def test_errors_are_two_lines(
    shed: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    message: str,
):
    Path("broken.toml").write_text(TWIN.replace("every", "evry", 1).replace('"limits"', '"limit"'))
    got, out, err = gemel(capsys, monkeypatch, *words)
    assert got == code
    assert err.startswith(message)
    assert "hint: " in err
    assert "Traceback" not in err + out


def test_every_command_has_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    _, out, _ = gemel(capsys, monkeypatch, "--help")
    for command in ("demo", "run", "play", "forecast", "whatif", "history", "doctor", "fetch"):
        assert command in out
        _, text, _ = gemel(capsys, monkeypatch, command, "--help")
        assert "--json" in text
