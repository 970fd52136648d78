"""What people do over HTTP: findings and actuators, with names, told to everybody who watches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import Line, Served, served, twin
from websockets.sync.client import ClientConnection, connect

from gemel import Twin
from gemel.core.clock import Wall
from gemel.trust.access import Keys

SCOPES = ["read", "propose", "approve"]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    held = Keys(tmp_path_factory.mktemp("keys") / "gemel.keys")
    return {"file": str(held.path), **{name: held.new(name, SCOPES, []) for name in ("ann", "bob")}}


def automatic(folder: Path, line: Line, name: str) -> Twin:
    found = twin(folder, line, name)
    found.mode = "auto"
    return found


@pytest.fixture(scope="module")
def shed(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, str]) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("shed"), Keys(Path(keys["file"])), make=automatic) as held:
        yield held


@pytest.fixture
def ann(shed: Served, keys: dict[str, str]) -> Iterator[Callable[..., httpx.Response]]:
    yield from _client(shed, keys["ann"])


@pytest.fixture
def bob(shed: Served, keys: dict[str, str]) -> Iterator[Callable[..., httpx.Response]]:
    yield from _client(shed, keys["bob"])


def _client(shed: Served, key: str) -> Iterator[Callable[..., httpx.Response]]:
    with shed.client(key) as client:

        def ask(path: str, **body: Any) -> httpx.Response:
            url = f"/v1/twins/shed/{path}".rstrip("/")
            return client.post(url, json=body) if body else client.get(url)

        yield ask


def _until(true: Callable[[], Any], patience: float = 10.0) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def _next(stream: ClientConnection, topic: str, right: Callable[[Any], bool], patience: float = 10.0) -> Any:
    end = time.monotonic() + patience
    while True:
        message = json.loads(stream.recv(timeout=end - time.monotonic()))
        if message["topic"] == topic and right(message["body"]):
            return message["body"]


def test_a_finding_goes_through_peoples_hands(shed: Served, keys: dict[str, str], ann: Any, bob: Any) -> None:
    headers = {"Authorization": f"Bearer {keys['ann']}"}
    with connect(shed.stream("?topics=findings,hands"), additional_headers=headers) as stream:
        shed.line.say(7.0)
        body = _next(stream, "findings", lambda f: f["open"])
        assert body["life"]["state"] == "open"
        assert body["life"]["history"][0]["what"] == "open"
        (row,) = ann("findings/acknowledge", findings=["warm"], note="I am on my way").json()
        assert (row["life"]["state"], row["life"]["by"], row["life"]["note"]) == (
            "acknowledged",
            "ann",
            "I am on my way",
        )
        told = _next(stream, "findings", lambda f: f["life"]["state"] == "acknowledged")
        assert told == row
        (row,) = bob("findings/shelve", findings=["warm"], span="600ms", note="the door is open").json()
        assert row["life"]["until"] == row["life"]["since"] + 600 * 10**6
        _next(stream, "findings", lambda f: f["life"]["state"] == "shelved" and f["life"]["by"] == "bob")
        back = _next(stream, "findings", lambda f: f["life"]["state"] == "open")  # by itself
        assert [a["what"] for a in back["life"]["history"]] == ["open", "acknowledge", "shelve", "return"]
        (window,) = ann("maintenance", subject="air", span="1h", note="new door").json()
        assert window["by"] == "ann"
        _next(stream, "findings", lambda f: f["life"]["state"] == "maintenance")
        assert ann("findings").json()[0]["life"]["state"] == "maintenance"
        assert ann("maintenance/end", id=window["id"]).json() == []
        assert ann("maintenance?all=true").json()[0]["until"] < window["until"]
        _next(stream, "findings", lambda f: f["life"]["state"] == "open")
        assert (
            bob("findings/resolve", findings=["warm"], note="the door is shut").json()[0]["life"]["state"] == "closed"
        )
        assert ann("findings").json() == []
        assert ann("").json()["findings"] == []
        assert ann("findings?all=true").json()[0]["life"]["by"] == "bob"
        assert bob("findings/reopen", findings=["warm"]).json()[0]["life"]["state"] == "open"
        shed.line.say(1.0)
        over = _next(stream, "findings", lambda f: not f["open"])
        assert over["life"]["state"] == "closed"
    for answer, status in (
        (ann("findings/acknowledge", findings=["warm"]), 404),
        (ann("findings/acknowledge", findings=[]), 422),
        (ann("findings/shelve", findings=["warm"], span="1h", note=""), 400),
        (ann("maintenance", subject="ari", span="1h", note="?"), 400),
        (ann("maintenance", subject="air", span="1e9", note="?"), 400),
        (ann("maintenance", subject="air", span="1h", note=" "), 400),
        (ann("maintenance/end", id=window["id"]), 409),
        (ann("maintenance/end", id="window"), 404),
    ):
        assert (answer.status_code, set(answer.json())) == (status, {"error", "hint"}), answer.text
    actions = ann("journal/action").json()
    assert [a["what"] for a in actions][:3] == ["acknowledge", "shelve", "maintain"]
    audit = [json.loads(line) for line in shed.audit.read_text().splitlines()]
    assert next(line["caller"] for line in audit if line.get("action", "").endswith("/shelve")) == "bob"


def test_an_actuator_is_taken_and_given_back(shed: Served, keys: dict[str, str], ann: Any, bob: Any) -> None:
    _until(lambda: shed.line.sent)
    headers = {"Authorization": f"Bearer {keys['ann']}"}
    with connect(shed.stream("?topics=hands,decisions"), additional_headers=headers) as stream:
        before = ann("decisions", setpoints={"fan": 1}).json()
        taken = ann("hands/take", signal="fan", note="it howls").json()
        assert (taken["by"], taken["until"]) == ("ann", None)
        assert _next(stream, "hands", lambda _: True) == {"signal": "fan", "hand": taken}
        with shed.client(keys["ann"]) as client:
            kept = client.post(f"/v1/twins/shed/decisions/{before['id']}/approve").json()
        assert (kept["status"], kept["refused"]) == ("rejected", ["fan = 1: in hand of ann"])
        done = ann("hands/put", signal="fan", value=0.5).json()
        assert (done["status"], done["refused"]) == ("sent", [])
        sent = len(shed.line.sent)
        assert shed.line.sent[-1].value == 0.5
        later = _next(stream, "decisions", lambda d: "hand" not in d["id"] and d["time"] > done["time"])
        assert later["refused"] == ["fan = 2: in hand of ann"]
        assert later["commands"] == []
        (row,) = bob("hands").json()
        assert row["hand"] == taken
        assert (row["setpoint"], row["measured"], row["time"]) == (0.5, None, None)
        assert (row["command"]["value"], row["ack"]["state"]) == (0.5, "done")
        for answer, status in (
            (bob("hands/take", signal="fan"), 409),
            (bob("hands/put", signal="fan", value=1), 409),
            (bob("hands/put", signal="fna", value=1), 400),
            (bob("hands/take", signal="air"), 400),
            (ann("hands/take", signal="fan", span="soon"), 400),
        ):
            assert answer.status_code == status, answer.text
        wrong = ann("hands/put", signal="fan", value=7).json()
        assert (wrong["status"], wrong["refused"]) == ("rejected", ["fan = 7: outside its limits 0 .. 2"])
        assert len(shed.line.sent) == sent
        assert bob("hands/release", signal="fan").json()["by"] == "bob"
        assert _next(stream, "hands", lambda _: True)["hand"] is None
        assert len(shed.line.sent) == sent  # nothing is sent until the policy decides anew
        _until(lambda: len(shed.line.sent) > sent)
        assert shed.line.sent[-1].value == 2.0
        short = ann("hands/take", signal="fan", span="400ms").json()
        assert _next(stream, "hands", lambda _: True)["hand"] == short
        assert _next(stream, "hands", lambda _: True)["hand"] is None  # by itself
        assert Wall().now() > short["until"]


def test_a_script_beside_the_server_does_the_same(shed: Served) -> None:
    with Twin(name="shed", signals=list(shed.host["shed"].twin.signals), connectors={"line": Line()},
              store=shed.host["shed"].twin.store) as beside:  # fmt: skip
        taken = beside.take("fan", "1h")
        assert taken.by
        assert beside.put("fan", 1.5).status == "sent"
        assert beside.hands()[0]["hand"] == taken
        assert beside.release("fan").what == "release"
        (window,) = beside.maintain("air", "1h", "paint")
        assert beside.maintenance() == [window]
        beside.end_maintenance(window.id)
