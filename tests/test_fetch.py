"""Fetching a data set, against a real HTTP server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gemel import fetch as room
from gemel.core.errors import ConnectorError, GemelError, InputError
from gemel.fetch import DATASETS, Dataset, Remote, advice, fetch

TEXT = b"date,OT\n" + b"".join(b"2016-07-01 %05d,30.5\n" % i for i in range(20_000))


class Site(ThreadingHTTPServer):
    """Serves `text` under any name; `fault` spoils it."""

    daemon_threads = True
    text = TEXT
    fault = ""
    asked = 0


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked += 1
        if self.server.fault == "missing":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.text)))
        self.end_headers()
        self.wfile.write(self.server.text[: 1000 if self.server.fault == "broken" else None])
        return None

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def url(site: Site, monkeypatch: pytest.MonkeyPatch) -> str:
    remote = Remote("plant.csv", len(TEXT), hashlib.sha256(TEXT).hexdigest())
    monkeypatch.setitem(DATASETS, "plant", Dataset("http://nowhere.invalid", (remote,), "made up"))
    return f"http://127.0.0.1:{site.server_port}"


def test_a_file_is_fetched_once_with_its_progress(site: Site, url: str, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    place = fetch("plant", tmp_path, url, lambda *step: seen.append(step))
    assert place == tmp_path / "plant"
    assert gzip.decompress((place / "plant.csv.gz").read_bytes()) == TEXT
    assert seen == sorted(seen)
    assert seen[-1] == ("plant.csv", len(TEXT), len(TEXT))
    assert fetch("plant", tmp_path, url) == place
    assert site.asked == 1


def test_a_damaged_file_is_fetched_again(site: Site, url: str, tmp_path: Path) -> None:
    held = fetch("plant", tmp_path, url) / "plant.csv.gz"
    held.write_bytes(held.read_bytes()[:500])
    fetch("plant", tmp_path, url)
    assert gzip.decompress(held.read_bytes()) == TEXT
    assert site.asked == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("missing", r"answers 404 Not Found \(the source has moved"),
        ("broken", r"broke off after 1000 of \d+ bytes \(run it again"),
        ("changed", r"is not the published file: its checksum is"),
    ],
)
def test_a_bad_download_says_so_and_leaves_nothing(site: Site, url: str, tmp_path: Path, fault: str, said: str) -> None:
    site.fault = fault
    if fault == "changed":
        site.text = TEXT.replace(b"30.5", b"30.6", 1)
    with pytest.raises(ConnectorError, match=said):
        fetch("plant", tmp_path, url)
    assert list((tmp_path / "plant").iterdir()) == []


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match=r"cannot be reached: .*refused"):
        fetch("ett", tmp_path, "http://127.0.0.1:9")


def test_unknown_name_and_unwritable_folder(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="unknown data set 'et', did you mean 'ett'"):
        fetch("et", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(GemelError, match=r"cannot write to .*set GEMEL_DATA"):
        fetch("plant", tmp_path / "file", url)


def test_the_environment_names_the_folder(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMEL_DATA", str(tmp_path / "data"))
    place = fetch("plant", url=url)
    assert place == tmp_path / "data" / "plant"
    assert advice(place).startswith("next: gemel run")
    monkeypatch.delenv("GEMEL_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert room.home() == tmp_path / ".cache" / "gemel" / "data"
    assert f"export GEMEL_DATA={place.parent}" in advice(place)


def test_the_real_files_have_the_published_checksums() -> None:
    data = room.home() / "ett"
    if not (data / "ETTm1.csv.gz").exists():
        pytest.skip("GEMEL_DATA holds no ett")
    for remote in DATASETS["ett"].files:
        text = gzip.decompress((data / f"{remote.name}.gz").read_bytes())
        assert (len(text), hashlib.sha256(text).hexdigest()) == (remote.size, remote.sha256)
