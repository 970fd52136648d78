"""The API as a client meets it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from served import Served, served

from gemel.core.values import Frame


@pytest.fixture(scope="module")
def shed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("shed")) as held:
        with held.client() as client:
            _until(lambda: any(d["status"] == "proposed" for d in client.get("/v1/twins/shed/decisions").json()))
        yield held


@pytest.fixture
def api(shed: Served) -> Iterator[httpx.Client]:
    with shed.client() as client:
        yield client


def _until(true: Any, patience: float = 10.0) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def framed(table: Any) -> Frame:
    """The frame that a table of a history was made of."""
    names = tuple(n for n in table.column_names[1:] if f"{n} quality" in table.column_names)
    assert table.column_names[:1] == ["time"]
    assert 2 * len(names) + 1 == table.num_columns
    columns = [table.column(n).to_numpy() for n in names]
    codes = [table.column(f"{n} quality").to_numpy() for n in names]
    time = table.column("time").cast("int64").to_numpy()
    shape = (len(time), len(names))
    return Frame(
        time,
        np.stack(columns, axis=1).astype(np.float64) if names else np.zeros(shape),
        np.stack(codes, axis=1).astype(np.uint8) if names else np.zeros(shape, np.uint8),
        names,
    )


def test_a_twin_says_what_it_is(api: httpx.Client) -> None:
    (row,) = api.get("/v1/twins").json()
    assert (row["twin"], row["mode"], row["running"], row["trouble"]) == ("shed", "advise", True, "")
    status = api.get("/v1/twins/shed").json()
    assert status["points"]["points"] >= 100
    assert [s["name"] for s in api.get("/v1/twins/shed/signals").json()] == ["air", "fan"]
    assert api.get("/v1/twins/shed/assets").json() == []
    assert api.get("/v1/health/ready").json() == {"ok": True}


def test_newest_values_come_with_their_times(api: httpx.Client) -> None:
    found = api.get("/v1/twins/shed/latest").json()
    assert found["signals"] == ["air", "fan"]
    assert found["value"][0] is not None
    assert found["time"][0] > 1.7e18
    assert (found["time"][1], found["value"][1], found["quality"][1]) == (None, None, 2)  # nobody ever heard it
    assert api.get("/v1/twins/shed/latest?signals=fan").json()["signals"] == ["fan"]


def test_history_is_the_same_in_every_form(api: httpx.Client, shed: Served) -> None:
    asked = "/v1/twins/shed/history?signals=air,fan&last=50min&end=" + str(_hundredth(api))
    frame = framed(pa.ipc.open_stream(api.get(asked, headers={"accept": _ARROW}).content).read_all())
    own = shed.host["shed"].desk.history(["air", "fan"], last="50min", end=_hundredth(api))
    assert len(own) == 50
    for field in ("time", "values", "quality"):
        np.testing.assert_array_equal(getattr(frame, field), getattr(own, field))
    plain = api.get(asked).json()
    assert plain["time"] == own.time.tolist()
    assert plain["values"][0] == own.values[:, 0].tolist()
    assert set(plain["values"][1]) == {None}
    assert plain["quality"] == own.quality.T.tolist()
    rows = api.get(asked + "&format=csv").text.splitlines()
    assert rows[0] == '"time","air","fan"'
    assert [float(row.split(",")[1]) for row in rows[1:]] == own.values[:, 0].tolist()
    grid = api.get("/v1/twins/shed/history?signals=air&every=10min&last=1h").json()
    assert set(np.diff(grid["time"])) == {600 * 10**9}


_ARROW = "application/vnd.apache.arrow.stream"


def _hundredth(api: httpx.Client) -> int:
    """The time of the last of the values that the plant said at first."""
    return int(api.get("/v1/twins/shed/history?signals=air&start=0").json()["time"][99])


def test_forecast_and_whatif(api: httpx.Client) -> None:
    found = api.post("/v1/twins/shed/forecast", json={"horizon": "10min"}).json()
    assert np.shape(found["values"]) == (1, 11, 10)
    assert api.get("/v1/twins/shed/forecasts").json()[0]["by"] == "naive"
    answer = api.post("/v1/twins/shed/whatif", json={"setpoints": {"fan": 2}})
    assert answer.status_code == 409
    assert answer.json()["error"] == "twin 'shed' has no belief to start from"
    assert api.post("/v1/twins/shed/decide").json()["commands"][0]["value"] == 2.0


def test_a_finding_is_found(api: httpx.Client, shed: Served) -> None:
    shed.line.say(7.0)
    _until(lambda: api.get("/v1/twins/shed/findings").json())
    (finding,) = api.get("/v1/twins/shed/findings").json()
    assert (finding["name"], finding["open"], finding["evidence"]) == ("too warm", True, {"air": 1.0})
    assert api.get("/v1/twins/shed/journal/finding?last=1").json()[0]["id"] == "warm"


def test_a_proposal_is_approved_and_acknowledged(api: httpx.Client, shed: Served) -> None:
    dry = api.post("/v1/twins/shed/decisions", json={"setpoints": {"fan": 1, "air": 3}, "dry": True}).json()
    assert dry["refused"] == ["air = 3: the signal is measured, not controlled"]
    before = {d["id"] for d in api.get("/v1/twins/shed/decisions?last=100").json()}
    assert dry["id"] not in before
    made = api.post("/v1/twins/shed/decisions", json={"setpoints": {"fan": 1}, "reason": "it is loud"}).json()
    assert made["status"] == "proposed"
    sent = api.post(f"/v1/twins/shed/decisions/{made['id']}/approve").json()
    assert sent["status"] == "sent"
    assert shed.line.sent[-1].value == 1.0
    again = api.post(f"/v1/twins/shed/decisions/{made['id']}/approve")
    assert (again.status_code, "is sent, not open" in again.json()["error"]) == (409, True)
    row = next(c for c in api.get("/v1/twins/shed/commands").json() if c["command"]["id"].startswith(made["id"]))
    assert row["ack"]["state"] == "done"
    refused = api.post("/v1/twins/shed/decisions", json={"setpoints": {"air": 3}}).json()
    assert refused["status"] == "rejected"


def test_a_proposal_is_rejected(api: httpx.Client, shed: Served) -> None:
    made = api.post("/v1/twins/shed/decisions", json={"setpoints": {"fan": 0}}).json()
    held = len(shed.line.sent)
    assert api.post(f"/v1/twins/shed/decisions/{made['id']}/reject").json()["status"] == "rejected"
    assert len(shed.line.sent) == held


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "twins/sehd", None, 404),
        ("GET", "twins/shed/latest?signals=ari", None, 400),
        ("GET", "twins/shed/history?lats=1d", None, 400),
        ("GET", "twins/shed/history?last=soon", None, 400),
        ("GET", "twins/shed/history?start=0001-01-01", None, 400),
        ("GET", "twins/shed/history?every=1us&last=7d", None, 400),
        ("GET", "twins/shed/journal/snapshot", None, 422),
        ("GET", "twins/shed/decisions?last=0", None, 422),
        ("POST", "twins/shed/forecast", {"horizn": "1h"}, 422),
        ("POST", "twins/shed/forecast", {"horizon": "900000h"}, 400),
        ("GET", "twins/shed/history?last=1d&every=4000d", None, 400),
        ("POST", "twins/shed/decisions", {"setpoints": {}}, 422),
        ("POST", "twins/shed/decisions", {"setpoints": {"fan": 1}, "valid": "1000000d"}, 400),
        ("POST", "twins/shed/decisions/nothing/approve", None, 404),
        ("POST", "twins/shed/artifacts/head/promote", {}, 404),
        ("DELETE", "twins/shed", None, 405),
        ("GET", "nowhere", None, 404),
    ],
)
def test_trouble_has_one_form(api: httpx.Client, method: str, path: str, body: Any, status: int) -> None:
    answer = api.request(method, f"/v1/{path}", json=body)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "hint"}
    assert answer.json()["error"]


def test_a_body_that_is_no_text_is_refused(api: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    for content in (b"{", b"\xff\xfe{"):
        assert api.post("/v1/twins/shed/forecast", content=content, headers=headers).status_code in (400, 422)


def test_metrics_are_prometheus_text(api: httpx.Client) -> None:
    text = api.get("/v1/metrics").text
    assert 'gemel_running{twin="shed"} 1' in text
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(len(line.rsplit(" ", 1)) == 2 and float(line.rsplit(" ", 1)[1]) >= 0 for line in samples)


def test_every_route_is_documented(api: httpx.Client) -> None:
    document = api.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["x-scope"] in ("", "read", "simulate", "propose", "approve", "admin"), path
            assert {"400", "401", "403", "404", "409", "413", "422", "429", "503"} <= set(operation["responses"]), path
            assert operation.get("description") or operation["summary"]
    names = [o["operationId"] for item in document["paths"].values() for o in item.values()]
    assert len(set(names)) == len(names)
