"""`gemel adapt`: from a twin's history to a head in use, and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import gemel
from gemel.cli import app
from gemel.core import foundation as graph
from gemel.core.errors import InputError
from gemel.core.values import Batch

needs_weights = pytest.mark.skipif(not (graph.SHIPPED / "foundation.json").exists(), reason="no weights are built in")
HOUR = 3600 * 10**9
TWIN = """
name = "pipe"
every = "1h"
horizon = "12h"
signals = [{ name = "flow" }, { name = "far" }, { name = "valve", role = "controlled" }]
store = { kind = "duckdb", path = "pipe.gemel" }
"""
LINE = (
    'forecaster = { kind = "conformal", forecaster = { kind = "foundation", way = "fast", head = "pipe.artifacts" } }\n'
)


def written(folder: Path, text: str, rows: int = 0) -> Path:
    """A twin file, and a history in its store: what flows by is seen twelve hours later at the far end."""
    path = folder / "pipe.toml"
    path.write_text(text)
    if rows:
        rng = np.random.default_rng(0)
        flow = np.convolve(rng.standard_normal(rows + 12), np.ones(3) / 3, "same")
        values = np.stack((10 + flow[12:], 50 + 5 * flow[:rows] + 0.3 * rng.standard_normal(rows)), axis=1)
        time = HOUR * (400_000 + np.arange(rows))
        with gemel.open(path) as twin:
            twin.open()
            twin.store.append(Batch.of(np.tile((0, 1), rows), np.repeat(time, 2), values.ravel()))
    return path


def said(*words: str) -> dict[str, object]:
    result = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


@pytest.mark.slow
@needs_weights
def test_from_a_history_to_a_head_and_back(tmp_path: Path) -> None:
    path = written(tmp_path, TWIN + 'forecaster = { kind = "foundation", way = "fast" }', 2300)
    before = CliRunner().invoke(app, ["adapt", str(path)], catch_exceptions=False)
    assert "kept: CRPS" in before.output
    assert "far" in before.output
    assert 'add head = "pipe.artifacts"' in before.output  # what the twin file still needs
    path = written(tmp_path, TWIN + LINE)
    with gemel.open(path) as twin:
        assert gemel.load(gemel.dump(twin)).forecaster.part.spec == twin.forecaster.part.spec
        fitted = twin.forecast()
        first = twin.artifacts.promoted("head")
        assert twin.artifacts.history("head") == [first]
    second = said("adapt", str(path), "--horizon", "6h")
    assert (second["promoted"], second["horizon"], second["signals"]) == (second["version"], 6, ["flow", "far"])
    assert said("adapt", str(path), "--back") == {"promoted": first}
    assert said("adapt", str(path), "--back") == {"promoted": ""}
    with gemel.open(path) as twin:
        bare = twin.forecast()
    truth_width = [float(np.mean(f.of("far")[:, -1] - f.of("far")[:, 0])) for f in (fitted, bare)]
    assert truth_width[0] < 0.7 * truth_width[1]


@needs_weights
def test_too_short_a_history_says_how_long(tmp_path: Path) -> None:
    path = written(tmp_path, TWIN, 100)
    with gemel.open(path) as twin, pytest.raises(InputError, match="needs 1776 rows"):
        twin.adapt()


def test_an_empty_store_says_so(tmp_path: Path) -> None:
    with gemel.open(written(tmp_path, TWIN)) as twin, pytest.raises(InputError, match="no history yet"):
        twin.adapt()
    assert said("adapt", str(tmp_path / "pipe.toml"), "--back") == {"promoted": ""}
