"""What a stranger finds who scans a fresh install: what listens, what lies about, what is written down."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from served import served
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gemel.serve.http.bodies import LARGEST
from gemel.serve.http.guard import Guard, Right
from gemel.serve.inference.app import Inference
from gemel.trust.access import Keys
from gemel.trust.audit import Audit, verify

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
TWIN = """
name = "tank"
every = "1h"
clock = "data"
signals = [{ name = "level", unit = "m", address = "file:level" }]
connectors.file = { kind = "replay", path = "rows.csv" }
"""
CLIENTS = ("httpx", "httpcore", "websockets")
"""Loggers of the asking side, which runs in this process too."""
SECRET = re.compile(rb"gemel_[\w-]{43}")


class Fresh(NamedTuple):
    """A server just started in a folder with a twin file and nothing else."""

    process: subprocess.Popen[str]
    folder: Path
    told: dict[str, Any]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Fresh]:
    rows = [f"2024-01-{1 + h // 24:02}T{h % 24:02}:00Z,{h}" for h in range(48)]
    (tmp_path / "rows.csv").write_text("\n".join(["time,level", *rows]))
    (tmp_path / "tank.toml").write_text(TWIN)
    words = [sys.executable, "-m", "gemel.cli", "serve", "tank.toml", "--port", "0", "--json"]
    bare = {k: v for k, v in os.environ.items() if k in ("PATH", "PYTHONPATH", "HOME")}
    with subprocess.Popen(
        words, cwd=tmp_path, env=bare, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield Fresh(process, tmp_path, json.loads(process.stdout.readline()))
        process.kill()


def _listening(pid: int) -> set[str]:
    """Addresses (hexadecimal, as the kernel has them) at which a process can be reached over a network."""
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(os.readlink(descriptor))
        except FileNotFoundError:
            continue
    own = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = set()
    for protocol, waiting in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
            held = line.split()
            if held[3] == waiting and held[9] in own:
                found.add(f"{protocol} {held[1]}")
    return found


@pytest.mark.server
def test_it_listens_on_loopback_only_and_makes_no_secret(fresh: Fresh) -> None:
    port = int(fresh.told["url"].rpartition(":")[2])
    assert _listening(fresh.process.pid) == {f"tcp 0100007F:{port:04X}"}
    assert fresh.told["keys"] is False
    with httpx.Client(base_url=fresh.told["url"], trust_env=False) as client:
        assert client.get("/v1/twins").status_code == 200
        client.post("/v1/session", json={"key": "anything"})
        assert client.get("/v1/twins", headers={"host": "twin.example.com"}).status_code == 403
    assert [p.name for p in fresh.folder.iterdir() if p.name.endswith((".keys", ".pem", ".key", ".env"))] == []
    assert all(not SECRET.search(p.read_bytes()) for p in fresh.folder.iterdir() if p.is_file())
    open_to_others = [p.name for p in fresh.folder.iterdir() if "audit" in p.name and p.stat().st_mode & 0o077]
    assert open_to_others == []
    (door,) = [p for p in fresh.folder.iterdir() if p.is_socket()]
    assert door.stat().st_mode & 0o077 == 0
    fresh.process.send_signal(signal.SIGTERM)
    out, err = fresh.process.communicate(timeout=20)
    assert (fresh.process.returncode, out, err) == (0, "", "")


def test_a_package_as_shipped_holds_no_secret() -> None:
    import gemel

    root = Path(gemel.__file__).parent
    texts = [p for kind in ("py", "toml", "json", "js", "html", "css") for p in root.rglob(f"*.{kind}")]
    assigned = re.compile(
        rb"""(?i)\b(?:password|secret|token|api_?key)\b["']?\s*[:=]\s*["'](?![A-Z_]+["'])[^"'{}<> ]{8,}["']"""
    )
    assert len(texts) > 100  # a word in capitals is the name of a variable of the environment
    assert [p.name for p in texts if SECRET.search(p.read_bytes()) or assigned.search(p.read_bytes())] == []


@pytest.mark.slow
@pytest.mark.server
def test_no_key_is_written_down(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any) -> None:
    """After log-ins, failures and use, also where somebody puts a key in the wrong place."""
    caplog.set_level(0)
    keys = Keys(tmp_path / "gemel.keys")
    key, void = keys.new("ann", ["read", "propose", "approve", "simulate"]), keys.new("bob")
    keys.revoke("bob")
    secrets = [key, void]
    with served(tmp_path, keys) as held:
        with held.client(key) as client:
            assert client.get("/v1/twins").status_code == 200
            made = client.post("/v1/twins/shed/decisions", json={"setpoints": {"fan": 1}, "reason": f"my key: {key}"})
            client.post(f"/v1/twins/shed/decisions/{key}/reject")
            client.get(f"/v1/twins/{key}/latest?signals={key}")
            client.post("/v1/twins/shed/decisions", content=f'{{"{key}": '.encode())
        with held.client() as browser:
            assert browser.post("/v1/session", json={"key": key}).status_code == 204
            secrets.append(browser.cookies["gemel_session"])
            assert browser.get("/v1/twins").status_code == 200
            browser.delete("/v1/session")
            assert browser.post("/v1/session", json={"key": void}).status_code == 401
            assert browser.post("/v1/session", content=key.encode()).status_code == 422
        with held.client(void) as stranger:
            assert stranger.get("/v1/twins").status_code == 401
            assert stranger.post("/v1/twins/shed/decisions", json={}).status_code == 401
        with connect(held.stream(), subprotocols=[f"bearer.{key}"]):  # type: ignore[list-item]
            pass
        with pytest.raises(InvalidStatus):
            connect(held.stream(), subprotocols=[f"bearer.{void}"])  # type: ignore[list-item]
        store = held.folder / "shed.gemel"
        assert made.json()["status"] in ("proposed", "rejected")
    said = capfd.readouterr()
    ours = [r for r in caplog.records if r.name.partition(".")[0] not in CLIENTS]
    texts = {"log": "\n".join(f"{r.getMessage()} {r.exc_info}" for r in ours), "out": said.out, "err": said.err}
    texts |= {p.name: p.read_text("latin-1") for p in tmp_path.iterdir() if p.is_file() and p != store}
    assert [(name, secret) for name, text in texts.items() for secret in secrets if secret in text] == []
    assert verify(held.audit)[0] > 8
    assert not any(key in (tmp_path / name).read_text("latin-1") for name in os.listdir(tmp_path) if "audit" in name)


def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    """Nor one that comes a byte at a time."""

    async def never(*_: Any) -> None:
        raise AssertionError("the application is not asked")

    async def story() -> None:
        guard = Guard(never, [Right.of("POST", "/x", "read")], Audit(tmp_path / "audit.jsonl"), slowest_s=0.1)
        service = Inference([], slowest="100ms")

        async def drip() -> Any:
            await asyncio.sleep(0.03)
            return {"type": "http.request", "body": b"x", "more_body": True}

        async def nothing() -> Any:
            await asyncio.sleep(60)

        for receive in (drip, nothing):
            assert await _status(guard, "/x", receive) == 400
        assert await _status(service, "/v2/models/none/infer", nothing) == 404  # what is not there is not read

    asyncio.run(story())


async def _status(app: Any, path: str, receive: Any) -> int:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"host", b"localhost")], "client": ("::1", 1)}
    async with asyncio.timeout(5):
        await app(scope, receive, send)
    return int(said[0]["status"])


@pytest.mark.server
def test_no_route_takes_a_body_that_is_too_large(tmp_path: Path) -> None:
    with served(tmp_path) as held:
        with held.client() as client:
            document = client.get("/v1/openapi.json").json()
        words = {"twin": "shed", "model": "foundation"}
        for path, item in document["paths"].items():
            for method in item.keys() - {"get"}:
                filled = re.sub(r"\{(\w+)\}", lambda m: words.get(m[1], "x"), path)
                most = item[method].get("x-limit", LARGEST)
                wanted = 404 if "/versions/x/" in filled else 413
                assert _announced(held.url, method, filled, most + 1) == wanted, filled


def _announced(url: str, method: str, path: str, size: int) -> int:
    """The answer to the headers of a body of that size, of which nothing follows."""
    line = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    try:
        line.putrequest(method.upper(), path)
        line.putheader("content-length", str(size))
        line.endheaders()
        return line.getresponse().status
    finally:
        line.close()
