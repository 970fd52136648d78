"""Who may do what: every route the server describes, every scope, own and foreign twins. A new route is in it by
itself, and one that is in no description is found."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from served import Served, served
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gemel.serve.http import mcp
from gemel.serve.http.app import DOCUMENT, application
from gemel.serve.http.guard import Right
from gemel.serve.http.socket import PATH as STREAM
from gemel.trust.access import SCOPES, Keys
from gemel.trust.audit import Audit

OWN, FOREIGN = "shed", "barn"
PASSED = {"live", "ready"}  # words of paths that are asked without a key


class Asked(NamedTuple):
    """One way to ask one route."""

    method: str
    path: str
    scope: str
    twin: str  # "" where it is about no twin


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys") / "gemel.keys")


@pytest.fixture(scope="module")
def shown(keys: Keys) -> dict[tuple[str, str], str]:
    """(scope, twin) -> a key for just that; twin "" for all."""
    return {(s, t): keys.new(f"{s}-{t}", [s], [t] if t else []) for s in SCOPES for t in ("", OWN)}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, keys: Keys, shown: dict[tuple[str, str], str]) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("two"), keys, names=(OWN, FOREIGN)) as held:
        yield held


@pytest.fixture(scope="module")
def plain(two: Served) -> Iterator[httpx.Client]:
    with two.client() as client:
        yield client


@pytest.fixture(scope="module")
def routes(plain: httpx.Client, shown: dict[tuple[str, str], str]) -> list[Asked]:
    """All that the server describes of itself, and what OpenAPI cannot describe."""
    document = plain.get(DOCUMENT, headers=_bearer(shown["read", ""])).json()
    told = [
        (method.upper(), path, operation["x-scope"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    told += [("WEBSOCKET", STREAM, "read"), ("GET", DOCUMENT, "read")]
    told += [(right.method, right.pattern.pattern, right.scope) for right in mcp.RIGHTS]
    return [way for one in told for way in _ways(*one)]


def _ways(method: str, path: str, scope: str) -> Iterator[Asked]:
    """With the own twin, with a foreign one, or with none. A model may be a twin's or nobody's."""
    for twin in (OWN, FOREIGN) if "{twin}" in path or "{model}" in path else ("",):
        words = {"twin": twin, "model": f"{twin}.head", "kind": "event"}
        yield Asked(method, re.sub(r"\{(\w+)\}", lambda m: words.get(m[1], "nothing"), path), scope, twin)  # noqa: B023
    if "{model}" in path:
        yield Asked(method, path.replace("{model}", "foundation").replace("{version}", "nothing"), scope, "")


def _asked(client: httpx.Client, one: Asked, key: str) -> int:
    if one.method == "WEBSOCKET":
        try:
            with connect(str(client.base_url).replace("http", "ws", 1) + one.path, additional_headers=_bearer(key)):
                return 200
        except InvalidStatus as refused:
            return refused.response.status_code
    # a body that is no JSON: whoever is let in gets no further, so that nothing long begins
    with client.stream(
        one.method, one.path, content=b"{" if one.method != "GET" else b"", headers=_bearer(key)
    ) as said:
        return said.status_code


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def test_the_whole_matrix(plain: httpx.Client, shown: dict[tuple[str, str], str], routes: list[Asked]) -> None:
    wrong = []
    for one, (scope, only) in itertools.product(routes, shown):
        status = _asked(plain, one, shown[scope, only])
        may = not one.scope or (scope == one.scope and (not only or not one.twin or one.twin == only))
        if (status in (401, 403)) == may:
            wrong.append(f"{one.method} {one.path} with {scope} of {only or 'all'}: {status}")
        if status in (405, 500):
            wrong.append(f"{one.method} {one.path} with {scope}: {status}")
    assert not wrong, "\n".join(wrong)


def test_without_a_key_nothing_but_health(plain: httpx.Client, routes: list[Asked]) -> None:
    for one in routes:
        assert (_asked(plain, one, "") == 401) == bool(one.scope), one
        assert one.scope or PASSED & set(one.path.split("/")) or one.path == "/v2", one


def test_no_route_is_left_out(two: Served, tmp_path: Path, routes: list[Asked]) -> None:
    """Whatever the guard lets through was asked above, or needs no key and is a file of the window."""
    guard = application(two.host, Audit(tmp_path / "audit.jsonl"))

    def tried(right: Right) -> bool:
        return any(one.method == right.method and right.pattern.fullmatch(one.path) for one in routes)

    left = [f"{right.method} {right.pattern.pattern}" for right in guard.rights if right.scope and not tried(right)]
    assert not left
    for one in routes:  # and each needs what its description says
        right = next(r for r in guard.rights if r.method == one.method and r.pattern.fullmatch(one.path))
        assert right.scope == one.scope, one
        assert (right.pattern.fullmatch(one.path) or {}).groupdict().get("twin", "") == one.twin, one  # type: ignore[union-attr]


def test_a_key_of_one_twin_hears_of_no_other(two: Served, shown: dict[tuple[str, str], str]) -> None:
    with two.client(shown["read", OWN]) as client:
        assert [row["twin"] for row in client.get("/v1/twins").json()] == [OWN]
        assert FOREIGN not in client.get("/v1/metrics").text
        assert FOREIGN not in client.post("/v2/repository/index").text
        same = [client.get(f"/v1/twins/{name}").status_code for name in (FOREIGN, "nowhere")]
        assert same == [403, 403]  # nor whether there is one
        assert [client.get(f"/v2/models/{name}.head").status_code for name in (FOREIGN, "nowhere")] == [403, 403]


def test_head_is_get_without_the_body(two: Served, shown: dict[tuple[str, str], str], plain: httpx.Client) -> None:
    for path in ("/v1/twins", "/v1/twins/shed/latest", "/v2", "/v1/health/live"):
        answer = plain.head(path, headers=_bearer(shown["read", ""]))
        assert (answer.status_code, answer.content) == (200, b""), path
    assert plain.head("/v1/twins").status_code == 401
    refused = plain.head("/v1/twins/shed/forecast", headers=_bearer(shown["read", ""]))
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
