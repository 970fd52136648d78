"""The twin file of `gemel demo line`: it loads, and on the virtual clock it finds and names what is wrong."""

from __future__ import annotations

import re
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from gemel.config import dump, load
from gemel.core.units import duration, instant
from gemel.core.values import Finding
from gemel.packs.manufacturing.demo import DEMO, FAULTS
from gemel.packs.manufacturing.line import COLUMNS
from gemel.twin import Twin

START = "2025-05-20T06:00"
FILES = resources.files("gemel.packs.manufacturing")


def written(folder: Path, store: str = 'kind = "memory"', **plant: Any) -> Path:
    """The file in a folder, with the plant in place of the broker."""
    rows = ", ".join("{ " + ", ".join(f'{k} = "{v}"' for k, v in fault.items()) + " }" for fault in FAULTS)
    keys = "".join(f", {k} = {v!r}" for k, v in plant.items()).replace("'", '"')
    text = (FILES / "line.toml").read_text(encoding="utf-8")
    text = re.sub(r"connectors\.plant = .*", f'connectors.plant = {{ kind = "line", faults = [{rows}]{keys} }}', text)
    text = re.sub(r"clock = .*", f'clock = {{ kind = "virtual", start = "{START}" }}', text)
    text = re.sub(r"store = .*", f"store = {{ {store} }}", text)
    folder.mkdir(exist_ok=True)
    for file in FILES.iterdir():
        if file.name.endswith((".svg", ".npz")):
            with resources.as_file(file) as path:
                shutil.copy(path, folder)
    (folder / "line.toml").write_text(text, encoding="utf-8")
    return folder / "line.toml"


def twin_of(path: Path) -> Twin:
    pytest.importorskip("ortools")
    return load(path)


def test_the_file_loads_and_names_what_the_plant_has(tmp_path: Path) -> None:
    twin = twin_of(written(tmp_path))
    assert dump(load(dump(twin), folder=tmp_path)) == dump(twin)
    assert {s.name for s in twin.signals} == {*COLUMNS, "camera"}
    assert set(DEMO.board) < {s.name for s in twin.signals}
    assert {a.parent for a in twin.assets if a.id != "line"} == {"line"}
    assert all(s.asset for s in twin.signals)


@pytest.mark.slow
def test_both_faults_are_found_and_named_and_services_are_planned(tmp_path: Path) -> None:
    twin = twin_of(written(tmp_path))
    named: dict[str, Finding] = {}
    reasons: list[str] = []

    def watch(loop: Any) -> None:
        for finding in loop.state.findings:
            named.setdefault(finding.name, finding)
        if loop.state.decision:
            reasons.append(loop.state.decision.reason)

    start = instant(START)
    twin.run(until=start + duration("10h"), watch=watch)
    for name, hours in (("line supply: sags", 1.25), ("grind bearing: damaged", 4.0)):
        assert name in named, sorted(named)
        assert 0 <= named[name].time - start - hours * duration("1h") <= duration("2h"), name
    assert {n for n in named if n.startswith("life of")}
    assert min(f.time for f in named.values() if f.by == "diagnosis") == named["line supply: sags"].time
    assert any("ervice grind" in reason for reason in reasons)


@pytest.mark.slow
def test_two_runs_with_one_seed_write_identical_stores(tmp_path: Path) -> None:
    digests = []
    for name in ("first", "second"):
        twin = twin_of(written(tmp_path / name, 'kind = "duckdb", path = "line.gemel"', history="3d"))
        twin.run(until=instant(START) + duration("1h"))
        with twin.open():
            digests.append(twin.store.digest())
    assert digests[0] == digests[1]
