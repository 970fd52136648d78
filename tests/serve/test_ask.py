"""Ask the twin: a stub of our own speaks the chat protocol, the twin is real, and so is the server between them."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from gemel.serve.ask import talk
from gemel.serve.http.events import Events
from gemel.trust.access import Keys
from gemel.trust.audit import verify
from serve.chatter import Answering, Chatter, Turn, calls, chatter, fails, forever, raw, says
from serve.cooler import Plant, cooler, settled
from serve.served import Served, served

pytestmark = pytest.mark.server
SECRET = "sk-very-secret-0123456789"
Event = tuple[str, dict[str, Any]]


@dataclass
class Place:
    """A server, and the keys for it."""

    served: Served
    keys: dict[str, str]

    def client(self, name: str) -> httpx.Client:
        return self.served.client(self.keys[name])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("ask")
    keys = Keys(folder / "keys")
    texts = {
        "reader": keys.new("reader", ["read"]),
        "all": keys.new("all", ["read", "simulate", "propose", "approve", "admin"]),
        "other": keys.new("other", ["read"], ["elsewhere"]),
    }
    with served(folder, keys, ["tx"], make=cooler, line=Plant) as held:
        found = Place(held, texts)
        with found.client("all") as api:
            settled(api)
        yield found


@contextmanager
def asking(monkeypatch: pytest.MonkeyPatch, *turns: Turn) -> Iterator[Chatter]:
    with chatter(turns) as held:
        monkeypatch.setenv("GEMEL_CHAT_URL", held.url)
        monkeypatch.setenv("GEMEL_CHAT_MODEL", "stub")
        monkeypatch.setenv("GEMEL_CHAT_KEY", SECRET)
        yield held


def ask(place: Place, question: str = "How is it?", key: str = "reader", **more: Any) -> list[Event]:
    with place.client(key) as api:
        answer = api.post("/v1/twins/tx/ask", json={"question": question, **more})
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    assert SECRET not in answer.text
    parts = [part.split("\n") for part in answer.text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(body.removeprefix("data: "))) for name, body in parts]


def only(events: list[Event], name: str) -> list[dict[str, Any]]:
    return [body for kind, body in events if kind == name]


def test_without_an_endpoint_it_says_how_to_add_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMEL_CHAT_URL", raising=False)
    with place.client("reader") as api:
        found = api.get("/v1/ask").json()
        assert (found["configured"], found["model"]) == (False, "")
        assert "GEMEL_CHAT_URL" in found["how"]
        refused = api.post("/v1/twins/tx/ask", json={"question": "hi"})
        assert (refused.status_code, "GEMEL_CHAT_URL" in refused.json()["hint"]) == (409, True)
        for wrong in ("http://[::1", "http://host:99999", "file:///etc/passwd"):
            monkeypatch.setenv("GEMEL_CHAT_URL", wrong)
            assert api.get("/v1/ask").json()["configured"] is False
        assert api.post("/v1/twins/tx/ask", json={"question": "hi"}).status_code == 503
        with asking(monkeypatch, says("hi")):
            said = api.get("/v1/ask")
            assert said.json() == {"configured": True, "model": "stub", "how": ""}
            assert SECRET not in said.text
            assert api.post("/v1/twins/nowhere/ask", json={"question": "hi"}).status_code == 404
            assert api.post("/v1/twins/tx/ask", json={"question": "hi", "url": "http://x"}).status_code == 422
    with place.client("other") as api:
        assert api.post("/v1/twins/tx/ask", json={"question": "hi"}).status_code == 403


def test_the_model_asks_the_twin_and_the_answer_cites_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("query", {"signals": ["oil"], "last": "1h", "rows": 6}), ("explain", {}), ("picture", {"signals": ["oil"]})
    with asking(monkeypatch, calls(*asked, before="Let me look. "), says("The oil is ", "75 degC.")) as model:
        events = ask(place, before=[{"role": "user", "text": "hello"}, {"role": "assistant", "text": "hello"}])
    assert "".join(body["text"] for body in only(events, "text")) == "Let me look. The oil is 75 degC."
    assert [(c["n"], c["verb"]) for c in only(events, "call")] == [(1, "query"), (2, "explain"), (3, "picture")]
    assert only(events, "call")[0]["arguments"] == {"signals": ["oil"], "last": "1h", "rows": 6}
    assert all(r["ok"] for r in only(events, "result"))
    (picture,) = only(events, "picture")
    assert (picture["signals"], picture["forecast"]) == (["oil"], False)
    assert picture["end"] - picture["start"] == 86_400 * 10**9
    (cites,) = only(events, "cites")
    kinds = {c["kind"]: c["id"] for c in cites["cites"]}
    assert kinds["finding"] == "hot-oil"
    assert {"kind": "signal", "id": "oil"} in cites["cites"]
    assert "oil" in cites["text"]
    assert [name for name, _ in events[-2:]] == ["cites", "done"]
    assert events[-1][1] == {"rounds": 2, "calls": 3}
    table, why, shown = model.results()
    assert len(table["signals"][0]["time"]) <= 7
    assert abs(table["signals"][0]["mean"][-1] - 75) < 1
    assert why["finding"]["id"] == "hot-oil"
    assert shown["shown"] is True
    assert model.keys == [f"Bearer {SECRET}"] * 2
    assert model.paths == ["/v1/chat/completions"] * 2
    first = model.asked[0]["messages"]
    assert [m["role"] for m in first] == ["system", "user", "assistant", "user"]
    assert "English" in first[0]["content"]
    assert all("twin" not in t["function"]["parameters"]["properties"] for t in model.asked[0]["tools"])


@pytest.mark.parametrize(
    ("question", "language", "told", "note"),
    [
        ("How are you?", "", "English", "used nothing of the twin"),
        ("油温怎么样？", "", "Chinese", "没有用到"),
        ("油温怎么样？", "en", "English", "used nothing of the twin"),
    ],
)
def test_an_answer_that_asked_nothing_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch, question: str, language: str, told: str, note: str
) -> None:
    with asking(monkeypatch, says("好")) as model:
        events = ask(place, question, language=language)
    assert told in model.asked[0]["messages"][0]["content"]
    assert only(events, "cites")[0]["cites"] == []
    assert note in only(events, "cites")[0]["text"]


def test_what_the_model_may_do_is_what_the_caller_may(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    wishes = [
        ("forecast", {}),
        ("what_if", {"setpoints": {"fan": 2}}),
        ("propose", {"setpoints": {"fan": 0}}),
        ("apply", {"id": "x"}),
        ("query", {"twin": "elsewhere", "signals": ["oil"]}),
        ("drop_tables", {}),
    ]
    before = len(place.served.line.sent)
    with asking(monkeypatch, calls(*wishes), says("I could not.")) as model:
        events = ask(place)
    assert {t["function"]["name"] for t in model.asked[0]["tools"]} == {"describe", "query", "explain", "picture"}
    assert [r["ok"] for r in only(events, "result")] == [False, False, False, False, True, False]
    assert model.results()[4]["whole"].startswith("/v1/twins/tx/")  # whatever twin it names, it gets this one
    denied = [json.loads(line) for line in place.served.audit.read_text().splitlines()]
    denied = [d for d in denied if d.get("verdict") == "denied" and d["action"].startswith("ask")]
    assert [(d["action"], d["caller"]) for d in denied[-4:]] == [
        ("ask forecast", "reader"), ("ask what_if", "reader"), ("ask propose", "reader"), ("ask apply", "reader"),
    ]  # fmt: skip
    assert len(place.served.line.sent) == before


def test_it_proposes_at_most_and_never_applies(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def keep(one: Answering) -> None:
        dry = json.loads(one.asked["messages"][-1]["content"])
        seen["dry"] = dry
        calls(("propose", {"setpoints": {"fan": 1}, "reason": "cooler", "seen": dry["seen"]}))(one)

    def push(one: Answering) -> None:
        seen["kept"] = json.loads(one.asked["messages"][-1]["content"])
        calls(("apply", {"id": seen["kept"]["id"]}))(one)

    before = [c for c in place.served.line.sent if c.value == 1.0]
    with asking(monkeypatch, calls(("propose", {"setpoints": {"fan": 1}})), keep, push, says("Proposed.")) as model:
        events = ask(place, key="all")
    assert "apply" not in {t["function"]["name"] for t in model.asked[0]["tools"]}
    assert seen["dry"]["changes"][0]["proposed"] == 1.0
    assert (seen["kept"]["kept"], seen["kept"]["status"]) == (True, "proposed")
    assert [r["ok"] for r in only(events, "result")] == [True, True, False]
    assert "a person's yes" in only(events, "result")[-1]["text"]
    assert {"kind": "decision", "id": seen["kept"]["id"]} in only(events, "cites")[0]["cites"]
    assert [c for c in place.served.line.sent if c.value == 1.0] == before
    verify(place.served.audit)


@pytest.mark.parametrize(
    ("turn", "error"),
    [
        (fails(401), "does not accept the key"),
        (fails(404), "no such language model"),
        (fails(429), "too much to do"),
        (fails(500), r"failed \(500\)"),
        (fails(400, json.dumps({"error": f"bad request of Bearer {SECRET}"})), "refused"),
        (raw(b"data: this is no JSON\n\n"), "cannot be read"),
        (raw(b'data: {"choices": [{"delta": {"content": 7}}]}\n\n'), "cannot be read"),
        (raw(b'data: {"choices": [{"delta": {"tool_calls": [{"index": 9}]}}]}\n\n'), "cannot be read"),
        (raw(b'data: {"error": {"message": "out of memory"}}\n\n'), "broke off"),
        (raw(b"<html>a proxy</html>", "text/html"), "cannot be read"),
        (raw(b"data: [DONE]\n\n"), "said nothing"),
        (raw(b""), "said nothing"),
        (raw(b"data: " + b"x" * (5 << 20)), "has no end"),
    ],
)
def test_trouble_with_the_model_is_one_event(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, turn: Turn, error: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with asking(monkeypatch, turn):
        events = ask(place)
    ((name, body),) = events
    assert name == "error"
    assert re.search(error, body["error"]), body
    assert SECRET not in caplog.text


def test_nobody_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMEL_CHAT_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("GEMEL_CHAT_MODEL", "stub")
    assert "cannot be reached" in ask(place)[0][1]["error"]


def test_arguments_that_do_not_fit_are_told_to_the_model(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    wishes = [("query", "[1, 2"), ("query", {}), ("query", {"signals": ["oli"]}), ("picture", {"signals": ["oli"]})]
    with asking(monkeypatch, calls(*wishes), says("Sorry.")) as model:
        events = ask(place)
    assert [r["ok"] for r in only(events, "result")] == [False] * 4
    errors = [r["error"] for r in model.results()]
    assert errors[0] == "the arguments are not a JSON object"
    assert errors[1] == "signals: Field required"
    assert "did you mean 'oil'?" in errors[2]
    assert events[-1][0] == "done"


def test_servers_that_do_it_their_own_way(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without indexes, arguments as an object, or all of it in one piece."""
    call = {"id": "a", "function": {"name": "query", "arguments": {"signals": ["load"]}}}
    whole = {"choices": [{"message": {"content": None, "tool_calls": [call]}}]}
    plain = {"choices": [{"message": {"content": "The load is 30 MVA."}}]}
    turns = [raw(json.dumps(body).encode(), "application/json") for body in (whole, plain)]
    with asking(monkeypatch, *turns):
        events = ask(place)
    assert only(events, "result")[0]["cites"] == [{"kind": "signal", "id": "load"}]
    assert only(events, "text") == [{"text": "The load is 30 MVA."}]


def test_a_model_without_an_end_is_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with asking(monkeypatch, calls(("query", {"signals": ["oil"]}))) as model:  # it asks again and again
        events = ask(place)
    assert len(model.asked) == talk.ROUNDS
    assert model.asked[-1]["tool_choice"] == "none"
    assert events[-1][0] == "done"
    with asking(monkeypatch, forever(2000, 0.0)) as model:  # it talks on and on
        events = ask(place)
    assert len("".join(t["text"] for t in only(events, "text"))) < 40_000
    monkeypatch.setattr(talk, "LONGEST_S", 0.3)
    with asking(monkeypatch, forever(1, 0.05)) as model:  # it is slow
        events = ask(place)
        assert model.left.wait(5)
    assert events[-1] == ("error", {"error": "no answer in 0.3 s", "hint": "try again, or ask for less"})


def test_it_stops_when_the_reader_goes_away(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with asking(monkeypatch, forever(1, 0.02)) as model:
        with (
            place.client("reader") as api,
            api.stream("POST", "/v1/twins/tx/ask", json={"question": "hi"}) as answer,
        ):
            next(answer.iter_bytes())
        assert model.left.wait(5)


def test_only_so_many_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def wait(one: Answering) -> None:
        release.wait(10)
        says("done")(one)

    def run(done: Callable[[int], None]) -> None:
        with place.client("reader") as api:
            done(api.post("/v1/twins/tx/ask", json={"question": "hi"}).status_code)

    found: list[int] = []
    with asking(monkeypatch, wait) as model:
        threads = [threading.Thread(target=run, args=(found.append,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(400):
            if len(model.asked) == 8:
                break
            time.sleep(0.02)
        with place.client("reader") as api:
            assert api.post("/v1/twins/tx/ask", json={"question": "hi"}).status_code == 503
        release.set()
        for thread in threads:
            thread.join(10)
    assert found == [200] * 8


def test_the_documented_way_in(place: Place) -> None:
    with place.client("reader") as api:
        document = api.get("/v1/openapi.json").json()
    route = document["paths"]["/v1/twins/{twin}/ask"]["post"]
    assert route["x-scope"] == "read"
    assert "text/event-stream" in route["responses"]["200"]["content"]
    assert isinstance(httpx.URL(place.served.url).port, int)


def test_work_that_breaks_ends_with_an_error(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []

    async def work(tell: Any) -> None:
        await tell("text", {"text": "well"})
        raise ValueError("of our own making")

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Events(work)({"type": "http"}, receive, send))
    body = b"".join(message.get("body", b"") for message in sent).decode()
    assert body.startswith('event: text\ndata: {"text":"well"}\n\nevent: error\ndata: {"error":"something went wrong')
    assert "of our own making" not in body
    assert "of our own making" in caplog.text
