"""Calibrations of a living twin, over HTTP and from a script beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gemel.core.calibrated import NAME
from gemel.desk.calibration.fit import calibrate, task
from serve.cooler import Plant, cooler, settled
from serve.served import Served, served

HERE = "/v1/twins/tx/calibrations"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calibrations")


@pytest.fixture(scope="module")
def held(folder: Path) -> Iterator[Served]:
    with served(folder, names=["tx"], make=cooler, line=Plant) as one:
        yield one


@pytest.fixture(scope="module")
def api(held: Served) -> Iterator[httpx.Client]:
    with held.client() as client:
        settled(client)
        yield client


@pytest.fixture(scope="module")
def version(folder: Path, api: httpx.Client) -> str:
    """Of a calibration made beside the living twin."""
    twin = cooler(folder, Plant())
    twin.every = "1min"  # of its two hundred minutes
    asked = task(twin, lambda **q: twin._ask("history", **q), None, "3h", None, None, "esmda", 20, "20%", "90d")
    files, card = calibrate(asked)
    return twin.artifacts.add(NAME, files, card).version


def test_a_living_twin_takes_up_a_calibration(api: httpx.Client, version: str) -> None:
    (one,) = api.get(HERE).json()
    assert (one["version"], one["promoted"], one["fits"]) == (version, False, True)
    assert one["card"]["region"]["oil"][0] < 75 < one["card"]["region"]["oil"][1]
    assert api.post(f"{HERE}/{version[:6]}/promote").json() == {"promoted": version}
    assert api.get(HERE).json()[0]["promoted"]
    told = [e for e in api.get("/v1/twins/tx/journal/event?last=50").json() if e["kind"] == NAME]
    assert [e["subject"] for e in told] == [version]
    assert api.post("/v1/twins/tx/artifacts/calibration/promote", json={}).json() == {"promoted": ""}
    assert api.post(f"{HERE}/{version}/promote").json() == {"promoted": version}
    assert api.post(f"{HERE}/back").json() == {"promoted": ""}


def test_the_report_is_a_page_to_keep(api: httpx.Client, version: str) -> None:
    answer = api.get(f"{HERE}/{version}/report")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-disposition"] == f'attachment; filename="tx-calibration-{version}.html"'
    assert "Where it holds" in answer.text


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", f"{HERE}/zz/promote", None, 404),
        ("GET", f"{HERE}/zz/report", None, 404),
        ("GET", "/v1/twins/no/calibrations", None, 404),
        ("POST", HERE, {"last": "soon"}, 400),
        ("POST", HERE, {"members": 2}, 422),
        ("POST", HERE, {"speed": 2}, 422),
    ],
)
def test_what_is_asked_wrong(api: httpx.Client, method: str, path: str, body: object, status: int) -> None:
    answer = api.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    if status != 422:
        assert answer.json()["error"]


def test_it_tells_how_far_it_is(api: httpx.Client) -> None:
    """A twin without a file cannot be fitted beside itself; the stream says so and ends."""
    with api.stream("POST", HERE, json={"last": "2h"}) as work:
        lines = list(work.iter_lines())
    assert lines[0] == "event: error"
    assert "has no file" in "".join(lines)
