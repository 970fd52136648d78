"""Findings and hands from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gemel import load
from gemel.cli import app
from gemel.core.clock import Wall
from gemel.core.errors import Conflict
from gemel.core.values import Finding

FILE = """
name = "shed"
signals = [
  { name = "air", address = "line:air", asset = "barn" },
  { name = "fan", role = "controlled", low = 0, high = 2, address = "line:fan" },
]
connectors.line = { kind = "mqtt", url = "mqtt://localhost:1" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shed.toml"
    path.write_text(FILE)
    now = Wall().now()
    with load(path) as twin:
        found = [Finding(f"warm-{i}", "too [red]warm", "air", now, now, 0.5, 0.9, "") for i in range(2)]
        twin.open().store.record(*found)
    return path


def said(*words: object, code: int = 0) -> str:
    ran = CliRunner().invoke(app, [str(w) for w in words], terminal_width=200)
    assert ran.exit_code == code, ran.output
    return ran.output


def plain(*words: object) -> Any:
    return json.loads(said(*words, "--json"))


def test_a_finding_from_the_command_line(file: Path) -> None:
    text = said("findings", file)
    assert "too [red]warm" in text  # what comes from outside is text
    assert f"next: gemel acknowledge {file} warm-0" in text
    assert [f["life"]["state"] for f in plain("acknowledge", file, "warm-0", "warm-1")] == ["acknowledged"] * 2
    (shelved,) = plain("shelve", file, "warm-0", "--for", "8h", "--note", "a draught")
    assert shelved["life"]["until"] - shelved["life"]["since"] == 8 * 3600 * 10**9
    assert "closed" in said("resolve", file, "warm-1", "--note", "done", "--again", "2h")
    (window,) = plain("maintain", file, "barn", "--for", "1h", "--note", "paint")
    assert [f["life"]["state"] for f in plain("findings", file)] == ["maintenance"]
    assert plain("maintenance", file, "--end", window["id"]) == []
    states = {f["id"]: f["life"]["state"] for f in plain("findings", file, "--all")}
    assert states == {"warm-0": "shelved", "warm-1": "closed"}


def test_hands_from_the_command_line(file: Path) -> None:
    (row,) = plain("hands", file)
    assert (row["signal"], row["hand"], row["setpoint"], row["measured"]) == ("fan", None, None, None)
    ran = CliRunner().invoke(app, ["take", str(file), "fan"])
    assert isinstance(ran.exception, Conflict)
    assert "is not running" in str(ran.exception)
