"""A twin with a camera from a file to the window: pictures kept, judged, found, and fetched over HTTP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gemel import load
from gemel.cli import app
from gemel.core import png
from gemel.core.blobs import Blobs
from gemel.core.errors import InputError
from gemel.lab.defects import part

FILE = """
name = "press"
every = "5min"
clock = "data"
assets = [{ id = "line" }]
signals = [
  { name = "camera", type = "blob", address = "file:picture", asset = "line" },
  { name = "size", unit = "um", address = "file:size", asset = "line" },
]
connectors.file = { kind = "replay", path = "parts.csv" }
store = { kind = "duckdb", path = "press.gemel" }
detectors = [{ kind = "inspection", learn = 20 }]
"""


def factory(folder: Path, plan: str) -> Path:
    """A table with a picture every five minutes: `.` a good part, else one with a plain scratch."""
    rng, rows = np.random.default_rng(11), ["time,picture,size"]
    for i, letter in enumerate(plan):
        (folder / f"{i}.png").write_bytes(png.encode(part(rng, "" if letter == "." else "scratch", 6.0)[0]))
        rows.append(f"2024-05-01 {i // 12:02}:{i % 12 * 5:02}:00,{i}.png,{rng.normal():.3f}")
    (folder / "parts.csv").write_text("\n".join(rows))
    (folder / "press.toml").write_text(FILE)
    return folder / "press.toml"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = factory(tmp_path_factory.mktemp("press"), "." * 26 + "sss.ss")
    with load(file) as twin:
        twin.run()
    return file


def test_the_finding_carries_a_picture_that_is_on_disk(ran: Path) -> None:
    with load(ran) as twin:
        (found,) = twin.findings()
        assert (found.name, found.subject) == ("defects on parts", "line")
        assert png.decode(twin.blobs.get(found.evidence["picture"])).shape == (64, 64)
        assert png.decode(twin.blobs.get(found.evidence["heat"])).shape == (64, 64, 3)
        frame = twin.history(["camera"], native=False)
        assert len(frame) == 32
        assert all(code in twin.blobs for code in frame.values[:, 0])
    assert Blobs(ran.parent / "press.gemel.blobs").kept().count >= 33


def test_pictures_have_no_mean(ran: Path) -> None:
    with load(ran) as twin:
        assert twin.history(every="1h", native=False).signals == ("size",)
        assert [one["signal"] for one in twin.rollup()["series"]] == ["size"]
        assert [one["signal"] for one in twin.extent()] == ["camera", "size"]
        for ask in (lambda: twin.history(["camera"], every="1h"), lambda: twin.rollup(["camera"])):
            with pytest.raises(InputError, match="'camera' holds pictures or sounds"):
                ask()
        assert twin.past().signals == ("size",), "nor do they teach a forecaster"


def test_doctor_and_history_say_something_sensible(ran: Path) -> None:
    told = CliRunner().invoke(app, ["doctor", str(ran)])
    assert "pictures and sounds" in told.output
    assert "defects on parts" in told.output
    shown = CliRunner().invoke(app, ["history", str(ran)])
    assert shown.exit_code == 0
    assert "32 kept" in shown.output


@pytest.mark.slow
@pytest.mark.server
def test_the_picture_over_http(ran: Path) -> None:
    from serve.served import Line, served

    def made(folder: object, line: Line, name: str) -> object:
        twin = load(ran)
        twin.connectors = {"file": line}
        return twin

    with load(ran) as twin:
        code = f"{int(twin.findings()[0].evidence['picture']):013x}"
    with served(ran.parent, names=["press"], make=made) as held, held.client() as client:  # type: ignore[arg-type]
        found = client.get(f"/v1/twins/press/blobs/{code}")
        assert found.status_code == 200
        assert found.headers["content-type"] == "image/png"
        assert "immutable" in found.headers["cache-control"]
        assert found.headers["x-content-type-options"] == "nosniff"
        assert png.decode(found.content).shape == (64, 64)
        assert client.get("/v1/twins/press/blobs/0000000000011").status_code == 404
        assert client.get("/v1/twins/press/blobs/..%2f..%2fpress.toml").status_code in (404, 422)
        assert client.get("/v1/twins/press/blobs/XYZ").status_code == 422
        assert client.get("/v1/twins/press/history?every=1h").status_code == 200
