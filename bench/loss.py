"""What `kill -9` costs: a twin hears a file through Mosquitto and is killed again and again; nothing may be missing.

The publisher sends at QoS 1 and the twin is killed at random moments of the replay, started again, and killed again.
Afterwards its store must hold exactly the points of a run that nobody disturbed.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from bench.harness import Bench
from bench.mosquitto import Mosquitto
from gemel.attach import listening

ROOT = Path(__file__).parent.parent
GEMEL = [sys.executable, "-m", "gemel.cli"]


def torture(
    folder: Path,
    file: Path,
    twin: str,
    until: str,
    topic: str,
    kills: int,
    pause: tuple[float, float] = (0.5, 3.0),
    seed: int = 1,
    speed: str = "max",
) -> dict[str, Any]:
    """Run `twin` (the text of a twin file with `BROKER` for the address) undisturbed and disturbed, and compare.

    It is killed `kills` times, each after a random `pause` (seconds, least and most), while the file is played at
    `speed`. Returns the points of both, those
    missing and extra, and how many kills hit a running twin."""
    server = Mosquitto(folder).start()
    try:
        stores = []
        for name, shots in (("calm", 0), ("killed", kills)):
            place = folder / name
            place.mkdir()
            text = twin.replace("BROKER", server.url)
            (place / "twin.toml").write_text(text.replace('name = "', f'name = "{name}-', 1))
            dice = random.Random(seed)
            waits = [dice.uniform(*pause) for _ in range(shots)]
            hits = _run(place, file, server.url, until, topic, waits, speed if shots else "max")
            stores.append(_points(next(place.glob("*.gemel"))))
        calm, killed = stores
        return {
            "points": len(calm),
            "killed_points": len(killed),
            "missing": len(calm - killed),
            "extra": len(killed - calm),
            "kills": hits,
        }
    finally:
        server.stop()


def _run(place: Path, file: Path, url: str, until: str, topic: str, waits: Sequence[float], speed: str) -> int:
    command = [*GEMEL, "run", "twin.toml", "--until", until, "--json"]

    def start() -> subprocess.Popen[bytes]:
        with (place / "report.json").open("wb") as report:
            return subprocess.Popen(command, cwd=place, stdout=report, stderr=subprocess.DEVNULL)

    twin = start()
    _listens(place)
    play = subprocess.Popen(
        [*GEMEL, "play", str(file), "--to", url, "--topic", topic, "--speed", speed, "--json"],
        stdout=subprocess.DEVNULL,
    )
    hits = 0
    for wait in waits:
        time.sleep(wait)
        if twin.poll() is None:
            twin.kill()
            hits += 1
        twin.wait()
        twin = start()
    assert play.wait(600) == 0
    assert twin.wait(900) == 0, (place / "report.json").read_text()
    return hits


def _listens(place: Path, patience: float = 30.0) -> None:
    """Until the twin has been seen to take its session: its socket answers, and then one more moment."""
    end = time.monotonic() + patience
    while not any(listening(Path(f"{store}.sock")) for store in place.glob("*.gemel")):
        assert time.monotonic() < end, "the twin did not start"
        time.sleep(0.05)
    time.sleep(1.0)


def _points(store: Path) -> set[tuple[Any, ...]]:
    with duckdb.connect(str(store), read_only=True) as open_store:
        rows = open_store.execute(
            "SELECT name, time, value, quality FROM points JOIN signals ON number = signal"
        ).fetchall()
    assert len(rows) == len(set(rows)), "a point is there twice"
    return set(rows)


def scratch(name: str) -> Path:
    """An empty folder below runs/."""
    folder = ROOT / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def main() -> None:
    """Two years of a real transformer, twenty kills. Needs `GEMEL_DATA` and Mosquitto; takes a quarter of an hour."""
    data = os.environ.get("GEMEL_DATA")
    if not data:
        sys.exit("error: GEMEL_DATA is not set\nhint: gemel fetch ett, then export GEMEL_DATA as it says")
    twin = (ROOT / "examples" / "transformer-mqtt.toml").read_text(encoding="utf-8")
    twin = twin.replace("mqtt://localhost:1883", "BROKER")
    file = Path(data) / "ett" / "ETTm1.csv.gz"
    with Bench("loss") as bench:
        found = torture(scratch("loss"), file, twin, "2018-06-26T19:45", "ETTm1/row", 20, (3.0, 28.0))
        bench.figure("kills", found["kills"], "")
        bench.figure("points", found["killed_points"], "", goal=">= 1.0x", peer=("undisturbed", found["points"]))
        bench.figure("missing", found["missing"], "points", goal="<= 0")
        bench.figure("extra", found["extra"], "points", goal="<= 0")


if __name__ == "__main__":
    main()
