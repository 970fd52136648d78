"""Findings have a life with people, and leave by webhook and e-mail, once."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socketserver
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel import Signal, Twin, dump, load
from gemel.core.clock import Virtual
from gemel.core.codec import decode, encode
from gemel.core.errors import ConfigError, Conflict, InputError, NotFound
from gemel.core.life import Action
from gemel.core.setting import Setting
from gemel.core.values import Asset, Batch, Finding
from gemel.desk.alarms import lived
from gemel.desk.bell import Bell
from gemel.loop.decide import Situation
from gemel.notifiers.email import Email
from gemel.notifiers.webhook import Webhook
from gemel.stores.duckdb import Duckdb
from gemel.stores.memory import Memory
from gemel.testing import check_notifier

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
START = 1_700_000_040 * 10**9 // HOUR * HOUR


def seen(at: int = START, **more: Any) -> Finding:
    return replace(Finding("warm", "too warm", "air", at, at, 0.5, 0.9, "it is warm", by="nose"), **more)


def told(what: str, at: int, until: int | None = None) -> Action:
    return Action(START + at, what, "warm", "ann", "why", None, None if until is None else START + until)


def window(start: int, end: int) -> Action:
    return Action(START, "maintain", "air", "bob", "new fan", START + start, START + end, "w")


@pytest.mark.parametrize(
    ("said", "windows", "at", "state", "since"),
    [
        ([], [], 5, "open", 0),
        ([told("acknowledge", 1)], [], 5, "acknowledged", 1),
        ([told("acknowledge", 1), told("reopen", 2)], [], 5, "open", 2),
        ([told("shelve", 1, 4)], [], 3, "shelved", 1),
        ([told("shelve", 1, 4)], [], 4, "open", 4),
        ([told("shelve", 1, 4), told("acknowledge", 2)], [], 5, "acknowledged", 2),
        ([told("resolve", 1, 4)], [], 3, "closed", 1),
        ([told("resolve", 1, 4)], [], 9, "open", 4),
        ([], [window(2, 6)], 1, "open", 0),
        ([], [window(2, 6)], 3, "maintenance", 2),
        ([], [window(2, 6)], 6, "open", 6),
        ([], [window(-9, -1)], 3, "open", 0),
        ([], [window(-9, 6)], 3, "maintenance", 0),
        ([told("acknowledge", 1)], [window(2, 6)], 7, "open", 6),  # the repair has not helped: see it anew
        ([told("shelve", 1, 9)], [window(2, 6)], 7, "shelved", 1),
        ([told("resolve", 1, 9)], [window(2, 6)], 3, "closed", 1),
        ([told("acknowledge", -3)], [], 1, "open", 0),  # that was about an earlier one of this id
    ],
)
def test_a_life_is_what_was_done_and_what_has_run_out(
    said: list[Action], windows: list[Action], at: int, state: str, since: int
) -> None:
    life = lived(seen(), said, windows, START + at).life
    assert life
    assert (life.state, life.since) == (state, START + since)
    assert [a.time for a in life.history] == sorted(a.time for a in life.history)
    assert life.history[0].what == "open"


def test_what_the_detector_closes_is_closed() -> None:
    over = seen(open=False, time=START + 7)
    for said in ([], [told("acknowledge", 1)], [told("shelve", 1, 100)]):
        life = lived(over, said, [window(2, 50)], START + 20).life
        assert life
        assert (life.state, life.since, life.by) == ("closed", START + 7, "nose")


DONE = st.tuples(
    st.sampled_from(["acknowledge", "shelve", "resolve", "reopen"]), st.integers(0, 50), st.integers(1, 50)
)


@given(st.lists(DONE), st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 50))), st.integers(0, 200))
def test_nothing_stays_aside_for_ever(done: list[Any], windows: list[Any], at: int) -> None:
    """After the last action has run out, a finding is open or acknowledged; and never before its time."""
    said = [told(w, t, t + s if w in ("shelve", "resolve") else None) for w, t, s in sorted(done, key=lambda d: d[1])]
    found = lived(seen(), said, [window(a, a + s) for a, s in windows], START + at)
    assert found.life
    assert found.life.since <= START + at
    assert decode(encode(found)) == found
    if found.life.until is not None:
        assert found.life.until > START + at
    if at > 150:
        assert found.life.state in ("open", "acknowledged")


# -- in a twin ---------------------------------------------------------------------------------------------------------


class Nose:
    """Finds something in the minutes of `course`: a finding a signal."""

    def __init__(self, course: Mapping[int, Mapping[str, float]]) -> None:
        self.course, self._open = course, {}  # type: ignore[var-annotated]

    def inspect(self, situation: Situation) -> list[Finding]:
        now, news = situation.now, []
        for name, severity in self.course.get((now - START) // MINUTE, {}).items():
            if severity:
                self._open[name] = Finding(f"{name}-{now}", "too warm", name, now, now, severity, 0.9, "warm")
                news.append(self._open[name])
            elif name in self._open:
                news.append(replace(self._open.pop(name), open=False, time=now, text="over"))
        return news

    def snapshot(self) -> Mapping[str, Any]:
        return {"open": self._open}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._open = dict(state["open"])


class Plant:
    """Says a value a minute of virtual time; `acts` are called between, by minute."""

    def __init__(self, minutes: int, acts: Mapping[int, Callable[[], Any]], first: int = 0) -> None:
        self.minutes, self.acts, self.first = minutes, acts, first
        self.clock: Any = None

    def bind(self, setting: Setting) -> None:
        self.clock = setting.clock

    async def stream(self) -> AsyncIterator[Batch]:
        for minute in range(self.first, self.minutes):
            if not await self.clock.until(START + minute * MINUTE + MINUTE // 2):
                return
            if minute in self.acts:
                done = self.acts[minute]()
                if asyncio.iscoroutine(done):
                    await done
            yield Batch.of(np.zeros(1), [self.clock.now()], [1.0])

    def confirm(self, batch: Batch) -> None:
        """Nothing to forget."""


def twin(store: Any, nose: Nose, plant: Plant, notifiers: Any = ()) -> Twin:
    return Twin(
        name="shed",
        assets=[Asset("site"), Asset("barn", parent="site")],
        signals=[Signal("air", address="line:air", asset="barn"), Signal("oil")],
        every="1min",
        connectors={"line": plant},
        store=store,
        detectors=[nose],
        clock=Virtual(START + plant.first * MINUTE),
        notifiers=notifiers,
    )


def test_people_and_findings_through_a_day_and_a_restart(tmp_path: Path) -> None:
    nose = Nose({2: {"air": 0.5, "oil": 0.3}, 20: {"oil": 0.0}})
    states: dict[int, dict[str, str]] = {}
    held: dict[str, Twin] = {}

    def look(minute: int) -> None:
        found = held["twin"].desk.findings(all=True)
        states[minute] = {f.subject: f.life.state for f in found if f.life}

    def acts() -> dict[int, Callable[[], Any]]:
        desk, ids = held["twin"].desk, [f"{name}-{START + 2 * MINUTE}" for name in ("air", "oil")]
        return {
            3: lambda: look(3),
            4: lambda: (desk.acknowledge(ids, "on my way", by="ann"), look(4)),
            5: lambda: (
                desk.reopen(ids[0], by="ann"),
                desk.shelve(ids[0], "3min", "a known draught", by="ann"),
                look(5),
            ),
            9: lambda: look(9),
            10: lambda: (desk.maintain("site", "5min", "new roof", by="bob"), look(10)),
            16: lambda: look(16),
            17: lambda: (desk.resolve(ids[0], "roof is done", again="10min", by="bob"), look(17)),
            22: lambda: look(22),
            29: lambda: look(29),
        }

    plant = Plant(15, {})
    held["twin"] = twin(Duckdb(str(tmp_path / "shed.gemel")), nose, plant)
    plant.acts = acts()
    held["twin"].run()
    stopped = held["twin"].maintenance()
    assert [(w.subject, w.by, w.note) for w in stopped] == [("site", "bob", "new roof")]
    held["twin"].close()
    plant = Plant(31, {}, first=16)
    held["twin"] = twin(Duckdb(str(tmp_path / "shed.gemel")), nose, plant)
    plant.acts = acts()
    held["twin"].run()
    assert states == {
        3: {"air": "open", "oil": "open"},
        4: {"air": "acknowledged", "oil": "acknowledged"},
        5: {"air": "shelved", "oil": "acknowledged"},
        9: {"air": "open", "oil": "acknowledged"},
        10: {"air": "maintenance", "oil": "acknowledged"},  # the site is above the barn, and the air is in the barn
        16: {"air": "open", "oil": "acknowledged"},
        17: {"air": "closed", "oil": "acknowledged"},
        22: {"air": "closed", "oil": "closed"},
        29: {"air": "open", "oil": "closed"},
    }
    with held["twin"] as shed:
        (air,) = shed.findings()
        assert air.life
        did = [(a.what, a.by) for a in air.life.history]
        assert did == [
            ("open", ""), ("acknowledge", "ann"), ("reopen", "ann"), ("shelve", "ann"), ("return", ""),
            ("maintain", "bob"), ("return", ""), ("resolve", "bob"), ("return", ""),
        ]  # fmt: skip
        assert len(shed.journal("action")) == 6
        # a twin that does not run can be told, too; by the user of this process
        (now,) = shed.acknowledge(air.id)
        assert now.life
        assert now.life.state == "acknowledged"
        assert now.life.by
        assert shed.acknowledge(air.id) == [now]  # once is enough
        for call, error, text in (
            (lambda: shed.acknowledge("ari"), NotFound, "no open finding 'ari'"),
            (lambda: shed.shelve(air.id, "8h", " "), InputError, "nothing is shelved without a reason"),
            (lambda: shed.shelve(air.id, "900w", "?"), InputError, "longer than a year"),
            (lambda: shed.maintain("bran", "8h", "?"), InputError, "did you mean 'barn'"),
            (lambda: shed.maintain("barn", "1min", "?", start=START), InputError, "over already"),
            (lambda: shed.end_maintenance(stopped[0].id), Conflict, "is over already"),
        ):  # fmt: skip
            with pytest.raises(error, match=text):
                call()  # type: ignore[no-untyped-call]
        assert shed.maintenance() == []
        (later,) = shed.maintain("barn", "2h", "?", start=START + 5 * HOUR)
        assert shed.maintenance() == [later]
        assert shed.end_maintenance(later.id) == []
        shed.resolve(air.id, "done")
        with pytest.raises(Conflict, match="is closed"):
            shed.acknowledge(air.id)
        assert shed.findings() == []


# -- leaving the house -------------------------------------------------------------------------------------------------


@pytest.fixture
def store() -> Memory:
    return Memory()  # it keeps what it holds while it is closed


class Ear:
    """A web server that keeps what it is told; `down` answers 503."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.down = False
        ear = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if not ear.down:
                    ear.heard.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(503 if ear.down else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?who=ann"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def news(self) -> list[list[tuple[str, str]]]:
        """(change, subject) of every message."""
        return [[(n["change"], n["finding"]["subject"]) for n in json.loads(body)["news"]] for _, body in self.heard]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def ear() -> Iterator[Ear]:
    found = Ear()
    yield found
    found.close()


class Post:
    """A mail server: as much of SMTP (RFC 5321, AUTH of 4954) as a client needs."""

    def __init__(self) -> None:
        self.letters: list[Any] = []
        self.said: list[str] = []
        post = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 post\r\n")
                while line := self.rfile.readline().decode().strip():
                    post.said.append(line)
                    word = line.split()[0].upper()
                    answer = {
                        "EHLO": b"250-post\r\n250 AUTH PLAIN\r\n",
                        "DATA": b"354 go on\r\n",
                        "AUTH": b"235 good\r\n",
                    }
                    self.wfile.write(answer.get(word, b"221 bye\r\n" if word == "QUIT" else b"250 good\r\n"))
                    if word == "DATA":
                        lines = iter(self.rfile.readline, b".\r\n")
                        post.letters.append(message_from_bytes(b"".join(lines), policy=policy.default))
                        self.wfile.write(b"250 kept\r\n")
                    if word == "QUIT":
                        return

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.url = f"smtp://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def post() -> Iterator[Post]:
    found = Post()
    yield found
    found.close()


def test_notifiers_keep_their_contract(ear: Ear, post: Post) -> None:
    def leave() -> None:
        ear.down = True

    check_notifier(lambda: Webhook(ear.url), lambda: len(ear.heard), leave)
    check_notifier(lambda: Email(["a@b.org"], post.url, "g@b.org"), lambda: len(post.letters), post.close)
    assert post.letters[0]["Subject"] == "[plant] opened: unexpected oil 0 (oil)"
    assert "温度过高" in post.letters[0].get_content()
    assert "500" not in post.letters[0]["Subject"]
    assert post.letters[2]["Subject"].startswith("[plant] 1000 findings, opened")


def test_a_webhook_is_signed(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    key = b"0123456789abcdef01234567"
    for secret in (key.decode(), f"whsec_{base64.b64encode(key).decode()}"):
        monkeypatch.setenv("HOOK", secret)
        hook = Webhook(ear.url, secret_env="HOOK")
        hook.bind(None)  # type: ignore[arg-type]
        check_notifier(lambda hook=hook: hook, lambda: len(ear.heard), lambda: setattr(ear, "down", True))  # type: ignore[misc]
        ear.down = False
        for headers, body in ear.heard:
            signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
            right = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
            assert headers["webhook-signature"] == f"v1,{right}"
            assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert all(secret.encode() not in body for _, body in ear.heard)


def test_a_password_goes_to_this_machine_only_or_encrypted(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "sesame")
    letter = Email(["a@b.org"], post.url, "g@b.org", user="ann", password_env="WORD")
    letter.bind(None)  # type: ignore[arg-type]
    check_notifier(lambda: letter, lambda: len(post.letters), post.close)
    assert base64.b64encode(b"\0ann\0sesame").decode() in " ".join(post.said)


def test_wrong_keys_are_told_with_their_place() -> None:
    lines = """
name = "shed"
signals = [{ name = "air" }]
notifiers = [
  { kind = "webhook", url = "ftp://x", least = 2, gather = "soon" },
  { kind = "webhook", url = "https://ann:sesame@example.com/x" },
  { kind = "email", to = "ann", server = "mail", sender = "x", user = "ann" },
  { kind = "webhok", url = "https://example.com" },
  { kind = "webhook", url = "https://example.com:99999" },
]
"""
    with pytest.raises(ConfigError) as caught:
        load(lines)
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 10, text
    assert "sesame" not in text
    assert "notifiers[3]: unknown kind 'webhok' in notifiers, did you mean 'webhook'?" in text


def test_secrets_are_named_by_variable_and_a_file_is_written_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_URL", "https://example.com/secret-path")
    lines = 'name = "shed"\nsignals = [{ name = "air" }]\nnotifiers = [\n'
    lines += '  { kind = "webhook", url = "${HOOK_URL}", secret_env = "NOT_SET" },\n'
    lines += (
        '  { kind = "email", to = ["ann@b.org"], server = "smtps://mail.b.org", sender = "g@b.org", least = 0.5 },\n]\n'
    )
    held = load(lines)
    assert "secret-path" not in dump(held)
    assert dump(load(dump(held))) == dump(held)
    with pytest.raises(ConfigError, match="secret_env: the environment variable NOT_SET is not set"):
        held.stages()


def _until(true: Callable[[], Any], patience: float = 10.0) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


async def _soon(true: Callable[[], Any], patience: float = 10.0) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def test_news_leave_once_also_over_restarts(store: Memory, ear: Ear, post: Post) -> None:
    nose = Nose({
        2: {"air": 0.5, "oil": 0.2}, 4: {"air": 0.0}, 6: {"air": 0.9}, 8: {"oil": 0.0}, 16: {"air": 0.0},
    })  # fmt: skip
    notifiers = [Webhook(ear.url, least=0.4, gather="10ms"), Email(["a@b.org"], post.url, "g@b.org", gather="1h")]
    acts: dict[int, Callable[[], Any]] = {
        3: lambda: _soon(lambda: len(ear.news) == 1 and len(post.letters) == 1),
        5: lambda: _soon(lambda: len(ear.news) == 2),
        7: lambda: _soon(lambda: len(ear.news) == 3),
    }
    with twin(store, nose, Plant(10, acts), notifiers) as shed:
        shed.run()
    assert ear.news == [[("opened", "air")], [("closed", "air")], [("opened", "air")]]
    # the e-mail gathers for an hour: all the rest of the run is one message at its end
    assert len(post.letters) == 2
    text = post.letters[1].get_content()
    assert [line.split(":")[0] for line in text.splitlines() if line[:1].isalpha()] == ["closed", "opened", "closed"]
    ids = {headers["webhook-id"] for headers, _ in ear.heard}
    assert len(ids) == 3
    with twin(store, nose, Plant(15, {}, first=11), notifiers) as shed:  # a restart tells nothing anew
        shed.run()
    assert (len(ear.news), len(post.letters)) == (3, 2)
    with twin(store, nose, Plant(18, {}, first=15), notifiers) as shed:
        shed.run()
    assert ear.news[3:] == [[("closed", "air")]]
    assert len(post.letters) == 3


def test_what_people_know_of_does_not_ring(store: Memory, ear: Ear) -> None:
    nose = Nose({2: {"air": 0.5}, 5: {"oil": 0.5}})
    held: dict[str, Twin] = {}
    air = f"air-{START + 2 * MINUTE}"
    acts: dict[int, Callable[[], Any]] = {
        1: lambda: held["twin"].desk.maintain("oil", "20min", "oil change", by="bob"),
        3: lambda: _soon(lambda: len(ear.news) == 1),
        4: lambda: held["twin"].desk.shelve(air, "6min", "a draught", by="ann"),
        9: lambda: time.sleep(0.1),
        12: lambda: _soon(lambda: len(ear.news) == 2),
        20: lambda: time.sleep(0.1),
    }
    held["twin"] = twin(store, nose, Plant(25, acts), [Webhook(ear.url, gather="10ms")])
    held["twin"].run()
    held["twin"].close()
    assert ear.news == [[("opened", "air")], [("returned", "air")], [("returned", "oil")]]


def test_a_dead_line_keeps_nobody_waiting_and_forgets_nothing(store: Memory, ear: Ear, caplog: Any) -> None:
    nose = Nose({2: {"air": 0.5}, 4: {"air": 0.0}, 6: {"oil": 0.5}})
    ear.down = True
    hook = Webhook(ear.url, gather="10ms")
    began = time.monotonic()
    with twin(store, nose, Plant(10, {3: lambda: asyncio.sleep(0.1)}), [hook]) as shed:
        shed.run()
        assert shed.status()["turns"] >= 9
    assert time.monotonic() - began < 5
    assert ear.news == []
    assert caplog.text.count("answers 503") == 1
    ear.down = False
    with twin(store, nose, Plant(15, {}, first=11), [hook]) as shed:
        shed.run()
    assert ear.news == [
        [("closed", "air"), ("opened", "oil")]
    ]  # it came and went meanwhile, and people still hear of it


@pytest.mark.slow
def test_a_flood_is_one_message(store: Memory, ear: Ear) -> None:
    with twin(store, Nose({}), Plant(1, {})) as shed:
        shed.open()
        bell = Bell(shed.desk, Webhook(ear.url))
        many = [seen(START + i, id=f"warm-{i}") for i in range(1200)]
        shed.store.append(Batch.of([0], [START + 5000], [1.0]))
        bell.hear(shed.desk.alarms.living(many), START)
        assert asyncio.run(bell.tell())
        (body,) = [json.loads(body) for _, body in ear.heard]
        assert (len(body["news"]), body["dropped"]) == (1000, 200)
        assert body["news"][0]["finding"]["id"] == "warm-200"
        bell.hear(shed.desk.alarms.living(many[200:]), START)
        assert asyncio.run(bell.tell())
        assert len(ear.heard) == 1
