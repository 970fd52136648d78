"""The demo's folder: it always begins anew, and never at the cost of somebody else's work."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gemel import attach
from gemel.config import load
from gemel.core.errors import ConfigError, InputError
from gemel.demo import begin, show
from gemel.packs.show import DEMOS, demo

URL = "mqtt://127.0.0.1:40001"


def test_a_second_demo_begins_anew_and_keeps_what_is_not_its_own(tmp_path: Path):
    folder = tmp_path / "gemel-demo"
    file = begin(folder, URL)
    assert URL in file.read_text()
    for name in ("transformer.gemel", "transformer.gemel.wal", "transformer.gemel.1", "transformer.gemel.copy"):
        (folder / name).write_text("points")
    assert begin(folder, URL.replace("40001", "40002")) == file
    left = {path.name for path in folder.iterdir()}
    assert left == {"transformer.toml", "plan.svg", "transformer.gemel.1", "transformer.gemel.copy"}
    assert "40002" in file.read_text()


def test_a_twin_file_that_was_edited_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = begin(tmp_path, URL)
    edited = file.read_text().replace('horizon = "24h"', 'horizon = "12h"')
    for _ in range(2):
        file.write_text(edited)
        begin(tmp_path, URL)
    assert 'horizon = "24h"' in file.read_text()
    assert (tmp_path / "transformer.toml.1").read_text() == edited
    assert (tmp_path / "transformer.toml.2").exists()
    assert "the old transformer.toml is now " in capsys.readouterr().err


def test_a_person_may_be_the_one_who_approves(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for mode in ("advise", "auto", "advise"):
        twin = load(begin(tmp_path, URL, mode))
        assert twin.mode == mode
    assert twin.policy
    assert twin.policy.part.spec["expires"] == "12h"  # a plant hour would be six seconds for a person
    assert not (tmp_path / "transformer.toml.1").exists()
    assert not capsys.readouterr().err
    with pytest.raises(InputError, match="mode 'manual' is not one of observe, advise, auto"):
        show("transformer", 600.0, "1s", None, json=True, mode="manual")


def test_the_store_of_a_running_demo_is_left_alone(tmp_path: Path):
    file = begin(tmp_path, URL)
    store = tmp_path / "transformer.gemel"
    store.write_text("points")
    before = file.read_text()

    async def answer(method: str, arguments: object, user: str) -> None:
        """Nobody asks."""

    async def second() -> None:
        async with attach.serve(tmp_path / "transformer.gemel.sock", answer):
            with pytest.raises(InputError, match="a demo is running"):
                begin(tmp_path, URL.replace("40001", "40002"))

    asyncio.run(second())
    assert (store.read_text(), file.read_text()) == ("points", before)


def test_without_a_broker_it_says_what_to_install_and_touches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in [n for n in sys.modules if n.startswith("amqtt.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "amqtt", None)  # as if it were not installed
    with pytest.raises(ConfigError, match="needs the package amqtt") as caught:
        show("transformer", 600.0, "1s", None, json=True)
    assert caught.value.hint == "pip install 'gemel[demo]'"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_is_none(speed: float):
    with pytest.raises(InputError, match="must be above 0"):
        show("transformer", speed, "", None, json=True)


def test_each_demo_lays_out_files_that_load(tmp_path: Path):
    pytest.importorskip("ortools")
    for name in DEMOS:
        chosen = demo(name)
        twin = load(begin(tmp_path / name, URL, "observe", chosen))
        assert (twin.name, twin.mode) == (name, "observe")
        assert {chosen.headline, *chosen.board} <= {s.name for s in twin.signals}
    with pytest.raises(InputError, match="there is no demo 'lyne', did you mean 'line'"):
        demo("lyne")


@pytest.mark.slow
def test_the_line_lives_and_obeys(tmp_path: Path):
    pytest.importorskip("ortools")
    command = [sys.executable, "-m", "gemel.cli", "demo", "line", "--for", "25s", "--speed", "900", "--no-ui", "--json"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=110).stdout
    found = json.loads(said)
    assert found["hours"] > 1
    assert found["acks"].get("done", 0) >= 5
    assert found["decisions"]
    assert list((tmp_path / "gemel-line" / "line.gemel.blobs").rglob("*.png"))
