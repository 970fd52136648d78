"""What was, and how far it can be trusted, as a client meets it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import numpy as np
import pyarrow as pa
import pytest
from served import Line, served

import beside
from gemel import Twin, load
from gemel.core.values import Batch


class Silent(Line):
    """A plant whose telemetry has ended."""

    async def stream(self) -> AsyncIterator[Batch]:
        for batch in list[Batch]():
            yield batch


def watched(folder: object, line: Line, name: str) -> Twin:
    """The twin that has observed a week, served from its store."""
    twin = load(beside.watched())
    twin.connectors = {"plant": line}
    return twin


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("tx")
    with served(folder, names=["transformer"], make=watched, line=Silent) as held, held.client() as client:
        client.base_url = httpx.URL(f"{held.url}/v1/twins/transformer/")
        yield client


@pytest.mark.slow
def test_a_history_at_the_width_of_a_screen(api: httpx.Client) -> None:
    (oil,) = api.get("rollup?signals=oil&points=100").json()["series"]
    assert len(oil["time"]) == 101
    assert all(a <= b <= c for a, b, c in zip(oil["min"], oil["mean"], oil["max"], strict=True) if b is not None)
    both = api.get("rollup?signals=oil,load&points=100").json()
    table = pa.ipc.open_stream(api.get("rollup?signals=oil,load&points=100&format=arrow").content).read_all()
    assert table.column("signal").to_pylist() == ["oil"] * 101 + ["load"] * 101
    np.testing.assert_array_equal(
        table.column("max").to_numpy(), np.array(both["series"][0]["max"] + both["series"][1]["max"], float)
    )
    extent = {row["signal"]: row for row in api.get("extent").json()}
    assert extent["oil"]["points"] > 9_000
    hour = extent["oil"]["end"] - 3600 * 10**9
    assert api.get(f"rollup?signals=oil&start={hour}").json()["series"][0]["raw"]


def test_a_past_instant(api: httpx.Client) -> None:
    moments = api.get("moments").json()
    now = moments["decisions"]["time"][-6]
    then = api.get(f"at?time={now}").json()
    assert then["decision"]["id"] == moments["decisions"]["id"][-6]
    assert then["latest"]["signals"] == [row["signal"] for row in api.get("extent").json()]
    assert then["belief"]["mean"]["oil_rise"] > 40
    pool = then["forecasts"][0]
    after = then["after"]
    assert set(pool["time"]) <= set(after["time"])
    assert len(after["values"][after["signals"].index("oil")]) == len(after["time"])
    assert then["unknown"]


def test_how_far_it_can_be_trusted(api: httpx.Client) -> None:
    found = api.get("standing?signal=oil").json()
    assert found["leaderboard"][0]["crps"] <= found["leaderboard"][-1]["crps"]
    assert len(found["posteriors"]["mean"]) == len(found["posteriors"]["names"])
    worth = api.get("shadow?last=4d").json()
    assert worth["windows"] == len(worth["by_window"]["time"])
    assert worth["saving"]["low"] <= worth["saving"]["total"] <= worth["saving"]["high"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("rollup?signals=oli", 400),
        ("rollup?points=0", 422),
        ("rollup?start=2&end=1", 400),
        ("at", 422),
        ("at?time=yesterday", 400),
        ("moments?start=2&end=1", 400),
        ("standing?signal=oli", 400),
        ("shadow?last=6h", 409),
        ("shadow?last=soon", 400),
    ],
)
def test_trouble_is_told(api: httpx.Client, asked: str, status: int) -> None:
    assert api.get(asked).status_code == status
