"""A twin of somebody's own, over HTTP: from a table or a broker to a twin that lives, without a restart."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from served import Served, served

from gemel.core.errors import InputError
from gemel.serve import new
from gemel.serve.host import Host
from gemel.trust.access import Keys
from servers import Mosquitto

HOURS = 24 * 20
START = np.datetime64("2024-05-01T00:00", "s")


def rows(hours: int = HOURS) -> dict[str, list[Any]]:
    stamps = [str(START + np.timedelta64(h, "h")) for h in range(hours)]
    supply = [round(50 + 10 * math.sin(h * math.pi / 12) + h % 7 / 10, 2) for h in range(hours)]
    return {"time": stamps, "supply_temp_degC": supply, "pump": [h // 6 % 2 for h in range(hours)]}


def table(hours: int = HOURS, zone: str = "Z") -> bytes:
    columns = rows(hours)
    lines = ["time,supply_temp_degC,pump"]
    lines += [f"{t}{zone},{a},{b}" for t, a, b in zip(*columns.values(), strict=True)]
    return "\n".join(lines).encode() + b"\n"


def found(client: httpx.Client, body: bytes, name: str = "boiler.csv") -> dict[str, Any]:
    answer = client.post("/v1/new/discover", params={"name": name}, content=body, headers=OCTETS)
    assert answer.status_code == 200, answer.text
    held: dict[str, Any] = answer.json()
    return held


OCTETS = {"content-type": "application/octet-stream"}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("new")) as held:
        yield held


@pytest.fixture
def client(here: Served) -> Iterator[httpx.Client]:
    with here.client() as held:
        yield held


def test_a_table_is_proposed_saved_and_lives(here: Served, client: httpx.Client) -> None:
    lines = table(zone="").split(b"\n")
    seen = found(client, b"\n".join([*lines[:100], lines[99], *lines[110:]]))  # one stamp twice, ten hours missing
    supply, pump = seen["signals"]
    assert (supply["signal"]["name"], supply["signal"]["unit"]) == ("supply_temp", "degC")
    assert supply["guesses"]["unit"]["sure"] > 0.9
    assert "its name ends in" in supply["guesses"]["unit"]["why"]
    assert pump["signal"]["type"] == "state"
    hour = 3600 * 10**9
    assert (supply["gaps"], supply["longest"], supply["duplicates"], supply["every"]) == (1, 11 * hour, 1, hour)
    assert seen["naive"] is True
    assert len(seen["forecast"]["time"]) == len(seen["forecast"]["values"][0][0]) > 10
    assert len(seen["past"]["time"]) == len(seen["past"]["values"][0])
    assert not (here.folder / "boiler.csv").exists()

    text = seen["text"].replace('zone = "UTC"', 'zone = "Europe/Berlin"')
    checked = client.post("/v1/new/check", json={"text": text, "upload": seen["upload"]}).json()
    assert checked == {"ok": True, "name": "boiler", "problems": [], "hint": ""}
    saved = client.post("/v1/new/save", json={"text": text, "upload": seen["upload"]})
    assert saved.json() == {"twin": "boiler", "file": str(here.folder / "boiler.toml")}
    assert (here.folder / "boiler.csv").exists()
    patience = time.monotonic() + 20
    while client.get("/v1/twins/boiler").json()["points"]["points"] < 2 * (HOURS - 10):
        assert time.monotonic() < patience
        time.sleep(0.05)
    assert {one["twin"] for one in client.get("/v1/twins").json()} >= {"shed", "boiler"}
    assert "T07:00:00" not in here.audit.read_text()  # telemetry is not copied into the audit
    assert " bytes" in here.audit.read_text()
    again = client.post("/v1/new/save", json={"text": text})
    assert (again.status_code, again.json()["error"]) == (409, "a twin 'boiler' is served already")
    gone = client.post("/v1/new/save", json={"text": text, "upload": seen["upload"]})
    assert gone.status_code == 404


@pytest.mark.parametrize("name", ["plant.csv.gz", "plant.parquet"])
def test_other_forms_of_a_table(client: httpx.Client, name: str) -> None:
    sink = io.BytesIO()
    parquet.write_table(pa.table(rows()), sink)
    body = gzip.compress(table()) if name.endswith("gz") else sink.getvalue()
    seen = found(client, body, f"../../a dir/{name}")
    assert seen["file"] == f"a_dir_{name}"
    assert [s["signal"]["unit"] for s in seen["signals"]] == ["degC", ""]


def test_nothing_is_overwritten_and_a_failed_save_leaves_nothing(here: Served, client: httpx.Client) -> None:
    (here.folder / "tank.csv").write_text("mine")
    seen = found(client, table(), "tank.csv")
    assert seen["file"] == "tank-2.csv"  # the name is free beside the served twins
    (here.folder / "tank.toml").write_text("mine")
    before = {path.name for path in here.folder.glob("tank*")}
    refused = client.post("/v1/new/save", json={"text": seen["text"], "upload": seen["upload"]})
    assert (refused.status_code, refused.json()["error"]) == (409, "tank.toml is there already")
    text = seen["text"].replace('name = "tank"', 'name = "tank2"', 1)
    (here.folder / "tank2.gemel").write_text("mine")
    assert client.post("/v1/new/save", json={"text": text, "upload": seen["upload"]}).status_code == 409
    assert {path.name for path in here.folder.glob("tank*")} == before | {"tank2.gemel"}
    for name in ("tank.csv", "tank.toml", "tank2.gemel"):
        assert (here.folder / name).read_text() == "mine"
    good = {"text": text.replace('"tank2"', '"tank3"', 1), "upload": seen["upload"], "folder": "north/hall"}
    assert client.post("/v1/new/save", json=good).status_code == 200
    assert (here.folder / "north" / "hall" / "tank-2.csv").exists()
    assert found(client, table(), "tank3.csv")["name"] == "tank3_2"


def test_all_that_is_wrong_with_a_text_is_told(client: httpx.Client) -> None:
    text = 'name = "x"\nmood = "observe"\nsignals = [{ name = "a", unit = 3 }]\n'
    checked = client.post("/v1/new/check", json={"text": text}).json()
    assert checked["ok"] is False
    assert checked["problems"][0] == "mood: unknown key, did you mean 'mode'?"
    assert len(checked["problems"]) == 2
    for wrong in ('name = "x"', "name = [", "/etc/passwd"):
        assert client.post("/v1/new/check", json={"text": wrong}).json()["ok"] is False
    saved = client.post("/v1/new/save", json={"text": text})
    assert saved.status_code == 400
    assert "did you mean 'mode'" in saved.json()["error"]


@pytest.mark.parametrize("folder", ["/tmp", "..", "a/../../b"])
def test_a_file_is_written_below_the_served_ones_only(client: httpx.Client, folder: str) -> None:
    text = 'name = "x"\nsignals = [{ name = "a" }]\n'
    saved = client.post("/v1/new/save", json={"text": text, "folder": folder})
    assert (saved.status_code, saved.json()["error"]) == (400, f"'{folder}' is not below the folder of the server")


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "", "a b"])
def test_a_name_that_is_no_file_s(client: httpx.Client, name: str) -> None:
    saved = client.post("/v1/new/save", json={"text": f'name = "{name}"\nsignals = [{{ name = "a" }}]\n'})
    assert saved.status_code == 400


@pytest.mark.parametrize(
    ("name", "body", "status", "error"),
    [
        ("a.csv", b"", 400, ""),
        ("a.csv", b"a,b\n1,2\n", 400, "no column of times"),
        ("a.exe", b"MZ", 400, "'a.exe' is no table"),
        ("a.csv.gz", b"time,a\n", 400, "cannot be unpacked"),
        ("a.csv.gz", gzip.compress(b"time,a\n" * 999)[:-9], 400, "cannot be unpacked"),
        ("a.parquet", b"PAR1", 400, "is no Parquet file"),
    ],
    ids=["empty", "no times", "no table", "no gzip", "cut", "no parquet"],
)
def test_a_file_that_is_none(client: httpx.Client, name: str, body: bytes, status: int, error: str) -> None:
    answer = client.post("/v1/new/discover", params={"name": name}, content=body, headers=OCTETS)
    assert (answer.status_code, error in answer.json()["error"]) == (status, True), answer.text


def test_a_file_that_grows_too_large_is_no_telemetry() -> None:
    uploads = new.Uploads(1 << 20)
    with pytest.raises(InputError, match="holds more than 1 MiB"):
        new.uploaded(Host([]), uploads, "a.csv.gz", gzip.compress(b"time,a\n" * 300_000))
    uploads.close()


def test_uploads_make_room_for_one_another_and_leave_nothing(tmp_path: Path) -> None:
    uploads = new.Uploads()
    kept = [uploads.keep("a.csv", b"x") for _ in range(new.HELD + 1)]
    assert not kept[0][1].exists()
    assert all(file.exists() for _, file in kept[1:])
    root = kept[1][1].parent.parent
    uploads.close()
    assert not root.exists()


@pytest.mark.server
def test_a_broker_is_listened_to(client: httpx.Client, mosquitto: Mosquitto) -> None:
    stop = threading.Event()

    def speak() -> None:
        while not stop.is_set():
            mosquitto.publish("hall/row", *(json.dumps({"temp": 20 + k % 3}) for k in range(9)))

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        seen = client.post("/v1/new/listen", json={"url": f"{mosquitto.url}/hall", "seconds": 2})
    finally:
        stop.set()
        speaker.join()
    assert seen.status_code == 200, seen.text
    assert [s["signal"]["name"] for s in seen.json()["signals"]] == ["temp"]
    assert seen.json()["upload"] == ""
    assert 'kind = "mqtt"' in seen.json()["text"]


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "file:///etc/passwd", "mqtt://", "mqtt://127.0.0.1:1/x"])
def test_what_is_no_broker(client: httpx.Client, url: str) -> None:
    assert client.post("/v1/new/listen", json={"url": url, "seconds": 1}).status_code in (400, 503)


def test_it_takes_a_key_for_all_twins(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "gemel.keys")
    whole, part, less = keys.new("ann", ["admin"]), keys.new("bob", ["admin"], ["shed"]), keys.new("eve", ["approve"])
    text = {"text": 'name = "x"\nsignals = [{ name = "a" }]\n'}
    with served(tmp_path, keys) as here:
        for key, status in ((whole, 200), (part, 403), (less, 403), ("", 401)):
            with here.client(key) as client:
                assert client.post("/v1/new/check", json=text).status_code == status


def test_a_server_may_begin_with_no_twin(tmp_path: Path) -> None:
    with served(tmp_path, names=()) as here, here.client() as client:
        assert client.get("/v1/twins").json() == []
        assert client.get("/v1/health/ready").status_code == 200
        seen = found(client, table())
        saved = client.post("/v1/new/save", json={"text": seen["text"], "upload": seen["upload"]})
        assert saved.status_code == 200, saved.text
        assert [one["twin"] for one in client.get("/v1/twins").json()] == ["boiler"]
        assert client.get("/v1/twins/boiler/signals").status_code == 200


@pytest.mark.slow
def test_gemel_serve_without_a_file(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    words = [sys.executable, "-m", "gemel.cli", "serve", "--port", "0", "--json"]
    where = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    with subprocess.Popen(words, cwd=tmp_path, env=where, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        told = json.loads(server.stdout.readline())
        assert told["twins"] == []
        with httpx.Client(base_url=told["url"], timeout=60, trust_env=False) as client:
            seen = found(client, table(200))
            assert list((tmp_path / "temporary").glob("gemel-*"))
            saved = client.post("/v1/new/save", json={"text": 'name = "bare"\nsignals = [{ name = "a" }]\n'})
            assert saved.json() == {"twin": "bare", "file": "bare.toml"}
            assert seen["upload"]
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    assert not list((tmp_path / "temporary").glob("gemel-*"))
    assert (tmp_path / "bare.toml").exists()
