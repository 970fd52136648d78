"""`gemel serve` as a person starts and stops it."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from served import Served, served

from gemel import attach, load
from gemel.cli import main
from gemel.core.errors import ConfigError, GemelError
from gemel.serve.http.server import Address
from gemel.trust.access import Keys
from gemel.trust.audit import verify

TWIN = """
name = "NAME"
every = "1h"
clock = "data"
signals = [{ name = "level", unit = "m", address = "file:level" }]
connectors.file = { kind = "replay", path = "rows.csv" }
store = { kind = "duckdb", path = "NAME.gemel" }
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rows = [f"2024-01-{1 + h // 24:02}T{h % 24:02}:00Z,{h}" for h in range(48)]
    (tmp_path / "rows.csv").write_text("\n".join(["time,level", *rows]))
    made = []
    for name in ("tank", "silo"):
        made.append(tmp_path / f"{name}.toml")
        made[-1].write_text(TWIN.replace("NAME", name))
    return made


class Said(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def gemel(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Runs a command in the test's folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["gemel", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return Said(int(ended.value.code or 0), *capsys.readouterr())

    return call


Gemel = Callable[..., Said]


@pytest.mark.slow
def test_serve_answers_until_it_is_told_to_stop(files: list[Path], gemel: Gemel) -> None:
    folder = files[0].parent
    made = json.loads(gemel("key", "new", "ann", "--scopes", "read,propose,admin", "--json").out)
    words = [sys.executable, "-m", "gemel.cli", "serve", "tank.toml", "silo.toml", "--port", "0", "--json"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout
        told = json.loads(server.stdout.readline())
        assert told["twins"] == ["tank", "silo"]
        assert told["keys"] is True  # gemel.keys lies beside the twin file
        assert httpx.get(f"{told['url']}/v1/twins", trust_env=False).status_code == 401
        headers = {"authorization": f"Bearer {made['key']}"}
        with httpx.Client(base_url=told["url"], headers=headers, trust_env=False) as client:
            for _ in range(100):
                if client.get("/v1/twins/silo").json()["turns"] == 48:
                    break
            assert client.get("/v1/twins/tank/latest").json()["value"] == [47.0]
            assert client.post("/v1/twins/tank/decisions", json={"setpoints": {"level": 1}}).status_code == 409
            with client.stream("POST", "/v1/twins/tank/adapt", json={}) as work:
                told_of = list(work.iter_lines())
            assert "event: error" in told_of
            assert "there are 48" in "".join(told_of)
        with load(files[0]) as script:  # the sources have ended, and scripts are still let in
            assert len(script.history(["level"], native=False)) == 48
            assert script.latest()["level"][1] == 47.0
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
        assert server.stderr
        assert server.stderr.read() == ""
    assert verify(folder / "gemel.audit.jsonl")[0] == 4
    assert json.loads(gemel("audit", "verify", "gemel.audit.jsonl", "--json").out)["whole"] is True
    with load(files[0]) as after:
        assert after.status()["turns"] == 48


def test_commands_about_keys(gemel: Gemel) -> None:
    assert gemel("key", "new", "ann", "--scopes", "read,approve", "--twin", "tank").out.startswith("gemel_")
    (row,) = json.loads(gemel("key", "list", "--json").out)
    assert (row["name"], row["scopes"], row["twins"]) == ("ann", ["read", "approve"], ["tank"])
    assert "ann" in gemel("key", "list").out
    assert "ann is void" in gemel("key", "revoke", "ann").out
    again = gemel("key", "revoke", "ann")
    assert (again.code, again.err.splitlines()[0]) == (2, "error: there is no key 'ann' in gemel.keys")


def test_a_tampered_audit_ends_with_1(tmp_path: Path, gemel: Gemel) -> None:
    (tmp_path / "a.jsonl").write_text('{"n":1}\n')
    said = gemel("audit", "verify", "a.jsonl")
    assert (said.code, said.err.splitlines()[0]) == (1, "error: a.jsonl, line 1: not a line of an audit")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--host", "0.0.0.0"), "others reach 0.0.0.0, and there is no key yet"),
        (("--name", "twin.example.com"), "others reach 127.0.0.1, and there is no key yet"),
        (("--host", "203.0.113.7", "--keys", "some.keys"), "others reach 203.0.113.7, and there is no key yet"),
    ],
)
def test_it_does_not_listen_where_others_are_without_a_key(
    files: list[Path], gemel: Gemel, words: tuple[str, ...], message: str
) -> None:
    said = gemel("serve", "tank.toml", *words)
    assert (said.code, said.err.splitlines()[0]) == (2, f"error: {message}")


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"),
            served(tmp_path, address=Address(port=port)),
        ):
            pass


def test_a_twin_that_is_held_elsewhere_is_not_served(files: list[Path], gemel: Gemel) -> None:
    with load(files[0]).open():
        said = gemel("serve", "tank.toml", "--port", "0")
    assert said.code == 1
    assert said.err.startswith("error: ")
    assert "tank.gemel" in said.err


def test_two_twins_of_one_name_are_not_served(files: list[Path], gemel: Gemel) -> None:
    said = gemel("serve", "tank.toml", "tank.toml", "--port", "0")
    assert (said.code, said.err.splitlines()[0]) == (2, "error: two twins are named 'tank'")


def test_only_loopback_is_listened_on(tmp_path: Path) -> None:
    with served(tmp_path) as held:
        port = held.url.rpartition(":")[2]
        ours = f"0100007F:{int(port):04X}"
        assert ours in Path("/proc/net/tcp").read_text()
        assert f"00000000:{int(port):04X} 00000000" not in Path("/proc/net/tcp").read_text()


def test_scripts_attach_to_a_served_twin(tmp_path: Path) -> None:
    with served(tmp_path) as held:
        twin = held.host["shed"].twin
        assert twin.socket is not None
        for _ in range(100):
            if attach.listening(twin.socket):
                break
            time.sleep(0.05)
        assert attach.call(twin.socket, "status", {})["running"] is True


def test_what_a_script_changes_through_the_socket_is_audited(tmp_path: Path) -> None:
    with served(tmp_path) as held:
        path = held.host["shed"].twin.socket
        assert path is not None
        for _ in range(100):
            with contextlib.suppress(GemelError):
                made = attach.call(path, "propose", {"setpoints": {"fan": 1}, "reason": "it is loud"})
                break
            time.sleep(0.05)
        attach.call(path, "propose", {"setpoints": {"fan": 1}, "dry": True})  # changes nothing
        attach.call(path, "approve", {"id": made.id})
        with pytest.raises(GemelError, match="is sent, not open"):
            attach.call(path, "reject", {"id": made.id})
        attach.call(path, "status", {})
    lines = [json.loads(line) for line in held.audit.read_text().splitlines()][-6:]
    user = pwd.getpwuid(os.getuid()).pw_name
    asked, done = lines[::2], lines[1::2]
    assert [(e["action"], e["twin"], e["caller"], e["verdict"]) for e in asked] == [
        (f"ATTACH {what}", "shed", user, "allowed") for what in ("propose", "approve", "reject")
    ]
    assert [(e["verdict"], e["of"]) for e in done] == [("done", e["n"]) for e in asked]
    assert "it is loud" in asked[0]["asked"]
    assert made.id in asked[1]["asked"]
    assert [e["status"] for e in done[:2]] == ["done", "done"]
    assert "is sent, not open" in done[2]["status"]
    verify(held.audit)


def test_tls_with_a_key_on_any_address(tmp_path: Path) -> None:
    if subprocess.run(["which", "openssl"], capture_output=True, check=False).returncode:
        pytest.skip("openssl is not installed")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    out = ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-nodes", "-newkey", "ec", "-pkeyopt"]
    make = ["openssl", "req", "-x509", *out, "ec_paramgen_curve:prime256v1", *subject]
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    keys = Keys(tmp_path / "gemel.keys")
    key = keys.new("ann")
    address = Address("0.0.0.0", 0, (tmp_path / "cert.pem", tmp_path / "key.pem"))
    with served(tmp_path, keys, address=address) as held:
        url = held.url.replace("0.0.0.0", "localhost")
        trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        with httpx.Client(base_url=url, verify=trust, trust_env=False) as client:
            assert client.get("/v1/twins", headers={"authorization": f"Bearer {key}"}).status_code == 200
            assert "Secure" in client.post("/v1/session", json={"key": key}).headers["set-cookie"]
            assert client.get("/v1/twins").status_code == 200


def test_no_key_is_ever_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    keys = Keys(tmp_path / "gemel.keys")
    key = keys.new("ann", ["read", "propose"])
    with served(tmp_path, keys) as held:
        _use(held, key)
    assert key not in caplog.text
    assert all(key not in p.read_text("latin-1") for p in tmp_path.iterdir() if p.is_file())
    assert os.environ.get("GEMEL_KEY") is None


def _use(held: Served, key: str) -> None:
    with held.client(key) as client:
        assert client.get("/v1/twins").status_code == 200
        client.post("/v1/session", json={"key": key})
        client.post("/v1/twins/shed/decisions", json={"setpoints": {"fan": 1}})
