"""The official MCP client operates a twin: over HTTP with keys, and over stdin and stdout."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")
import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

from gemel.config import load
from gemel.core.values import Signals
from gemel.serve.attached import Attachments, Book
from gemel.serve.mcp import server
from gemel.serve.verbs import VERBS, Verbs
from gemel.stores.duckdb import Duckdb
from gemel.trust.access import Caller, Keys
from gemel.trust.audit import verify
from serve.cooler import Plant, cooler, settled
from serve.served import Served, served

pytestmark = pytest.mark.server
SCOPES = ["read", "simulate", "propose", "approve"]
FILE = """
name = "tx"
every = "1s"
horizon = "2min"
signals = [
  { name = "load", unit = "MVA" }, { name = "ambient", unit = "degC" }, { name = "oil", unit = "degC" },
  { name = "fan_power", unit = "kW" }, { name = "fan", role = "controlled", low = 0, high = 2, safe = 2 },
]
store = { kind = "duckdb", path = "tx.gemel" }
simulator = { kind = "thermal", load = "load", rated = 40, ambient = "ambient", fan = "fan", fan_kw = 1.5 }
estimator = { kind = "enkf", noise = { oil = 0.3, fan_power = 0.2 }, members = 8 }
forecaster = { kind = "naive", step = "1min", context = "100min" }
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("mcp")
    keys = Keys(folder / "keys")
    (folder / "tx.toml").write_text(FILE)
    with served(folder, keys, ["tx", "other"], make=cooler, line=Plant) as held:
        with held.client(keys.new("settling", ["read"])) as api:
            settled(api)
        yield held


def key(place: Served, *scopes: str, twin: str = "tx") -> str:
    keys = Keys(place.folder / "keys")
    return keys.new(f"bot-{len(keys.all())}", scopes, [twin] if twin else [])


@asynccontextmanager
async def client(place: Served, key: str, word: Any = None, mode: str = "auto") -> AsyncIterator[Client]:
    """`word`: what the person at the client answers; None: there is nobody to ask."""
    headers = {"authorization": f"Bearer {key}"} if key else {}

    async def answers(_: Any, params: Any) -> ElicitResult:
        assert "fan = 1" in params.message
        return word

    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False, timeout=20) as http,
        Client(
            streamable_http_client(f"{place.url}/mcp", http_client=http),
            elicitation_callback=answers if word else None,
            mode=mode,
        ) as found,
    ):
        yield found


async def story(one: Client) -> str:
    """Finds a finding, asks why, tries what would help, proposes. Returns the id of the proposal."""

    async def done(name: str, **arguments: Any) -> dict[str, Any]:
        result = await one.call_tool(name, arguments)
        assert not result.is_error, result
        assert json.loads(result.content[0].text) == result.structured_content  # type: ignore[union-attr]
        assert result.structured_content is not None
        return result.structured_content

    twins = await done("list_twins")
    assert [t["twin"] for t in twins["twins"]] == ["tx"]
    assert twins["twins"][0]["findings"] == 1
    seen = await done("describe", twin="tx")
    (finding,) = seen["findings"]
    assert (finding["name"], finding["subject"]) == ("oil too hot", "oil")
    why = await done("explain", twin="tx", finding=finding["id"])
    assert {c["signal"] for c in why["signals_behind_it"]["signals"]} >= {"oil", "load"}
    assert {"kind": "finding", "id": finding["id"]} in why["cites"]
    tried = await done("what_if", twin="tx", setpoints={"fan": 0}, horizon="20s")
    changed = {c["signal"]: c["difference"]["end"] for c in tried["signals"]}
    assert changed["oil"] > 0
    assert changed["fan_power"] < -1  # a group of fans takes about 1.5 kW
    assert len(tried["time"]) == 20
    ahead = await done("forecast", twin="tx", signals=["load"], horizon="10min")
    assert ahead["steps"] == 10
    assert ahead["signals"][0]["low"][0] <= ahead["signals"][0]["middle"][0] <= ahead["signals"][0]["high"][0]
    wish = {"twin": "tx", "setpoints": {"fan": 1}, "reason": "the oil is hot"}
    dry = await done("propose", **wish)
    assert (dry["kept"], dry["changes"][0]["proposed"]) == (False, 1.0)
    kept = await done("propose", **wish, seen=dry["seen"])
    assert (kept["kept"], kept["status"]) == (True, "proposed")
    return str(kept["id"])


def sent(place: Served) -> int:
    return len([c for c in place.line.sent if c.value == 1.0])


def audited(place: Served) -> list[dict[str, Any]]:
    verify(place.audit)
    return [json.loads(line) for line in place.audit.read_text().splitlines()]


def status(place: Served, id: str) -> str:
    with place.client(key(place, "read")) as api:
        return next(d["status"] for d in api.get("/v1/twins/tx/decisions?last=200").json() if d["id"] == id)


def test_the_whole_story_with_a_persons_yes(place: Served) -> None:
    async def run() -> dict[str, Any]:
        yes = ElicitResult(action="accept", content={"yes": True})
        async with client(place, key(place, *SCOPES), yes) as one:
            id = await story(one)
            done = await one.call_tool("apply", {"twin": "tx", "id": id})
            assert not done.is_error, done
            again = await one.call_tool("apply", {"twin": "tx", "id": id})
            assert again.is_error
            assert "not open for approval" in str(again.structured_content)
            return done.structured_content or {}

    before = sent(place)
    done = asyncio.run(run())
    assert (done["status"], [a["state"] for a in done["acks"]]) == ("sent", ["done"])
    assert sent(place) == before + 1
    lines = [a for a in audited(place) if a.get("action") == "mcp apply" and a["verdict"] == "allowed"]
    assert (lines[0]["twin"], lines[0]["confirmed"], lines[0]["address"]) == ("tx", "elicitation", "127.0.0.1")


NO = [
    None,
    ElicitResult(action="decline"),
    ElicitResult(action="cancel"),
    ElicitResult(action="accept", content={"yes": False}),
]


@pytest.mark.parametrize("word", NO, ids=["nobody", "decline", "cancel", "no"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_without_a_persons_yes_nothing_is_sent(place: Served, word: Any, mode: str) -> None:
    async def run() -> str:
        async with client(place, key(place, *SCOPES), word, mode) as one:
            dry = (await one.call_tool("propose", {"twin": "tx", "setpoints": {"fan": 1}})).structured_content or {}
            asked = {"twin": "tx", "setpoints": {"fan": 1}, "seen": dry["seen"]}
            id = ((await one.call_tool("propose", asked)).structured_content or {})["id"]
            refused = await one.call_tool("apply", {"twin": "tx", "id": id})
            assert refused.is_error
            assert "a person's yes" in refused.content[0].text  # type: ignore[union-attr]
            return str(id)

    before = sent(place)
    id = asyncio.run(run())
    assert sent(place) == before
    assert status(place, id) == "proposed"
    last = audited(place)[-1]
    assert (last["action"], last["verdict"], last["why"]) == ("mcp apply", "denied", "no person has confirmed it")


def test_an_answer_of_the_client_alone_is_no_yes(place: Served) -> None:
    """A client that makes up the state of a question that was never asked."""

    async def run() -> None:
        async with client(place, key(place, *SCOPES), NO[1]) as one:
            yes = {"serve.mcp:ask": ElicitResult(action="accept", content={"yes": True})}
            for state in (None, "made up"):
                try:
                    answer = await one.session.call_tool(
                        "apply", {"twin": "tx", "id": "x"}, input_responses=yes, request_state=state,
                        allow_input_required=True,
                    )  # fmt: skip
                except MCPError:
                    continue
                assert getattr(answer, "is_error", True)

    before = sent(place)
    asyncio.run(run())
    assert sent(place) == before


@pytest.mark.parametrize("scope", ["read", "simulate", "propose", "approve"])
def test_a_tool_takes_the_scope_of_its_question(place: Served, scope: str) -> None:
    calls: dict[str, tuple[str, dict[str, Any]]] = {
        "read": ("query", {"signals": ["oil"]}),
        "simulate": ("recommend", {}),
        "propose": ("propose", {"setpoints": {"fan": 1}}),
        "approve": ("apply", {"id": "x"}),
    }

    async def run() -> None:
        yes = ElicitResult(action="accept", content={"yes": True})
        async with client(place, key(place, *{"read", scope}), yes) as one:
            for needed, (name, arguments) in calls.items():
                good = needed in ("read", scope)
                own = await one.call_tool(name, {"twin": "tx", **arguments})
                denied = "is not good for" in own.content[0].text  # type: ignore[union-attr]
                assert denied is not good, own
                foreign = await one.call_tool(name, {"twin": "other", **arguments})
                assert foreign.is_error
                assert "is not good for" in foreign.content[0].text  # type: ignore[union-attr]

    asyncio.run(run())
    assert audited(place)[-1]["verdict"] == "denied"


def test_the_guard_stands_before_it(place: Served) -> None:
    first = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"accept": "application/json, text/event-stream"}
    with place.client() as api:
        assert api.post("/mcp", json=first, headers=accept).status_code == 401
    with place.client(key(place, "read")) as api:
        assert api.get("/mcp").status_code == 405
        assert api.post("/mcp", json=first, headers=accept).status_code == 200
        assert api.post("/mcp", json=first, headers={**accept, "origin": "http://evil.example"}).status_code == 403
        assert api.post("/mcp", json=first, headers={**accept, "host": "evil.example"}).status_code == 403
        assert api.post("/mcp", content=b"x" * (1 << 21), headers=accept).status_code == 413
        assert api.post("/mcp", content=b"\xff{", headers=accept).status_code in (400, 406)
    with place.client(key(place, "approve")) as api:
        assert api.post("/mcp", json=first, headers=accept).status_code == 403


def test_what_clients_read_beside_the_tools(place: Served) -> None:
    async def run() -> None:
        async with client(place, key(place, "read")) as one:
            tools = {t.name: t for t in (await one.list_tools()).tools}
            assert list(tools)[:3] == ["list_twins", "describe", "query"]
            notes = {name: tool.annotations for name, tool in tools.items()}
            assert [name for name, note in notes.items() if note and not note.read_only_hint] == ["propose", "apply"]
            assert [name for name, note in notes.items() if note and note.destructive_hint] == ["apply"]
            assert set(tools["apply"].input_schema["properties"]) == {"twin", "id"}
            wrong = await one.call_tool("query", {"twin": "tx", "signal": "oil"})
            assert wrong.is_error
            state = json.loads((await one.read_resource("twin://tx/state")).contents[0].text)  # type: ignore[union-attr]
            assert state["findings"][0]["id"] == "hot-oil"
            schema = json.loads((await one.read_resource("twin://tx/schema")).contents[0].text)  # type: ignore[union-attr]
            assert [s["signal"] for s in schema["signals"]][:2] == ["load", "ambient"]
            assert schema["assets"] == [{"id": "tx1", "kind": "transformer", "parent": ""}]
            for secret in ("state", "schema"):
                with pytest.raises(MCPError, match="is not good for"):
                    await one.read_resource(f"twin://other/{secret}")

    asyncio.run(run())


@asynccontextmanager
async def stdio(place: Served, *options: str, word: Any = None) -> AsyncIterator[Client]:
    """The command, started as an MCP client starts it."""

    async def answers(_: Any, params: Any) -> ElicitResult:
        assert "fan = 1" in params.message
        return word

    command = [str(place.folder / "tx.toml"), *options]
    started = StdioServerParameters(command=sys.executable, args=["-m", "gemel.cli", "mcp", *command])
    async with Client(started, elicitation_callback=answers if word else None) as one:
        yield one


@pytest.mark.slow
def test_the_same_story_on_stdin_and_stdout(place: Served) -> None:
    async def run() -> None:
        yes = ElicitResult(action="accept", content={"yes": True})
        async with stdio(place, "--scopes", ",".join(SCOPES), word=yes) as one:
            id = await story(one)
            done = await one.call_tool("apply", {"twin": "tx", "id": id})
            assert (done.structured_content or {})["acks"] == [{"signal": "fan", "state": "done", "text": ""}]

    before = sent(place)
    asyncio.run(run())
    assert sent(place) == before + 1
    lines, _ = verify(place.folder / "gemel.mcp.audit.jsonl")
    assert lines == 6


@pytest.mark.slow
def test_a_twin_that_does_not_run_answers_and_stays_free(tmp_path: Path) -> None:
    with served(tmp_path, names=["tx"], make=cooler, line=Plant) as held, held.client() as api:
        settled(api)
    (tmp_path / "tx.toml").write_text(FILE)
    verbs = Verbs(Attachments([load(tmp_path / "tx.toml")], linger_s=0.2), Book(tmp_path / "book.jsonl"), VERBS)
    caller = Caller("me", frozenset(("read", "simulate")))

    async def run() -> None:
        async with Client(server(verbs, lambda _: (caller, ""), verbs.of(caller))) as one:
            assert not {"propose", "apply"} & {t.name for t in (await one.list_tools()).tools}
            for name in ("describe", "explain", "forecast", "what_if"):
                extra = {"setpoints": {"fan": 0}, "horizon": "10s"} if name == "what_if" else {}
                answer = await one.call_tool(name, {"twin": "tx", **extra})
                assert not answer.is_error, answer
            seen = (await one.call_tool("describe", {"twin": "tx"})).structured_content or {}
            assert (seen["running"], seen["findings"][0]["id"]) == (False, "hot-oil")
            await asyncio.sleep(0.4)

    asyncio.run(run())
    store = Duckdb(str(tmp_path / "tx.gemel"))
    store.open(Signals(()))  # nobody holds it
    store.close()
    assert not (tmp_path / "book.jsonl").exists()


def test_it_is_left_out_cleanly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "gemel.serve.mcp")
    with served(tmp_path, make=cooler, line=Plant, names=["tx"]) as held, held.client() as api:
        missing = api.post("/mcp", json={})
        assert (missing.status_code, missing.json()["hint"]) == (404, "pip install 'gemel[mcp]'")
        assert api.get("/v1/twins").status_code == 200
