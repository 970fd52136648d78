"""What a stranger is told, how keys are shown, and what is written down. Who may do what: `test_rights.py`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from served import Served, served
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gemel.serve.http.bodies import LARGEST
from gemel.trust.access import SCOPES, TRIES, Keys
from gemel.trust.audit import verify


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys") / "gemel.keys")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Iterator[Served]:
    keys.new("nobody", ["read"], ["nowhere"])
    with served(tmp_path_factory.mktemp("two"), keys, names=("shed", "barn")) as held:
        yield held


@pytest.fixture(scope="module")
def shown(keys: Keys, two: Served) -> dict[tuple[str, str], str]:
    """(scope, twin) -> a key for just that; twin "" for all."""
    return {(s, t): keys.new(f"{s}-{t}", [s], [t] if t else []) for s in SCOPES for t in ("", "shed")}


@pytest.fixture(scope="module")
def plain(two: Served) -> Iterator[httpx.Client]:
    with two.client() as client:
        yield client


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "localhost.evil.example:80"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"authorization": "Basic gemel_x"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"cookie": "gemel_session=x"}, 401),
    ],
)
def test_strangers_are_refused(two: Served, headers: dict[str, str], status: int) -> None:
    answer = httpx.get(f"{two.url}/v1/twins", headers=headers, trust_env=False)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "hint"}
    with pytest.raises(InvalidStatus) as refused:
        connect(
            two.stream(), additional_headers={k: v for k, v in headers.items() if k != "host"} or {"origin": "null"}
        )
    assert refused.value.response.status_code == status


def test_answers_carry_the_headers_a_browser_needs(two: Served) -> None:
    for path in ("/v1/health/live", "/v1/twins", "/nowhere"):
        held = httpx.get(two.url + path, trust_env=False).headers
        assert "default-src 'self'" in held["content-security-policy"]
        assert "unsafe-eval" not in held["content-security-policy"]
        assert held["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in held
        assert "server" not in held


def test_a_body_that_is_too_large_is_not_read(two: Served, shown: dict[tuple[str, str], str]) -> None:
    with two.client(shown["propose", ""]) as client:
        for content in (b"x" * (LARGEST + 1), iter([b"x" * LARGEST, b"x"])):
            answer = client.post("/v1/twins/shed/decisions", content=content)
            assert answer.status_code == 413


def test_a_browser_logs_in_and_out(two: Served, shown: dict[tuple[str, str], str]) -> None:
    with two.client() as browser:
        done = browser.post("/v1/session", json={"key": shown["read", ""]})
        assert done.status_code == 204
        cookie = done.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert shown["read", ""] not in cookie
        assert browser.get("/v1/twins").status_code == 200
        assert browser.post("/v1/twins/shed/decisions", json={}).status_code == 403
        with connect(two.stream(), additional_headers={"Cookie": cookie.partition(";")[0]}):
            pass
        assert browser.delete("/v1/session").status_code == 204
        assert browser.get("/v1/twins").status_code == 401
        assert browser.post("/v1/session", json={"kee": 1}).status_code == 422


def test_a_browser_shows_its_key_as_a_subprotocol(two: Served, shown: dict[tuple[str, str], str]) -> None:
    offered = ["gemel", f"bearer.{shown['read', '']}"]
    with connect(two.stream(), subprotocols=offered) as stream:  # type: ignore[arg-type]
        assert stream.subprotocol == "gemel"


def test_what_changes_something_is_audited_and_what_was_to(two: Served, shown: dict[tuple[str, str], str]) -> None:
    with two.client(shown["propose", ""]) as client:
        made = client.post("/v1/twins/shed/decisions", json={"setpoints": {"fan": 1}}).json()
        client.post(f"/v1/twins/shed/decisions/{made['id']}/approve")
    text = two.audit.read_text()
    allowed, done, denied = text.splitlines()[-3:]
    assert '"verdict":"allowed"' in allowed
    assert '"caller":"propose-"' in allowed
    assert "fan" in allowed
    assert '"status":200' in done
    assert '"verdict":"denied"' in denied
    assert '"caller":"propose-"' in denied
    assert made["id"] in denied
    assert all(key not in text for key in shown.values())
    verify(two.audit)


def test_who_is_denied_in_a_browser_is_named_and_a_long_path_is_cut(
    two: Served, shown: dict[tuple[str, str], str], plain: httpx.Client
) -> None:
    with two.client() as page:
        page.post("/v1/session", json={"key": shown["read", ""]})
        assert page.post("/v1/twins/shed/decisions", json={"setpoints": {"fan": 1}}).status_code == 403
    assert '"caller":"read-"' in two.audit.read_text().splitlines()[-1]
    assert plain.post(f"/v1/twins/{'x' * 9000}/decisions").status_code == 401
    assert len(two.audit.read_text().splitlines()[-1]) < 1000


@pytest.mark.slow
def test_guessing_keys_costs_a_wait(tmp_path: Path, keys: Keys) -> None:
    with served(tmp_path, keys) as held:
        seen = [
            httpx.get(f"{held.url}/v1/twins", headers={"authorization": f"Bearer {i}"}, trust_env=False).status_code
            for i in range(TRIES + 2)
        ]
        assert seen == [401] * TRIES + [429] * 2
        right = keys.new("late")
        with held.client(right) as client:
            answer = client.get("/v1/twins")
        assert (answer.status_code, int(answer.headers["retry-after"]) > 30) == (429, True)


def hear(stream: ClientConnection, end: float) -> None:
    while time.monotonic() < end:  # the twin takes five turns a second, and tells of each
        stream.recv(timeout=5)


def test_a_revoked_key_hears_nothing_more(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "gemel.keys")
    key = keys.new("ann", ["read"])
    keys.new("bob", ["read"])
    with (
        served(tmp_path, keys) as held,
        connect(held.stream(), additional_headers={"authorization": f"Bearer {key}"}) as stream,
    ):
        stream.recv(timeout=5)
        keys.revoke("ann")
        end = time.monotonic() + 10
        with pytest.raises(ConnectionClosed):
            hear(stream, end)


def test_who_shows_no_key_cannot_fill_the_audit(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "gemel.keys")
    keys.new("bob", ["read"])
    with served(tmp_path, keys) as held, held.client() as client:
        answers = [client.post("/v1/twins/shed/decisions", json={}).status_code for _ in range(3 * TRIES)]
    assert set(answers) == {401}
    assert len(held.audit.read_text().splitlines()) <= TRIES + 2
