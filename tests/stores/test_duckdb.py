"""What only a file can suffer: a killed process, a full disk, a second process, damage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest

from gemel.core.errors import ConfigError, InputError, StoreBusy, StoreError
from gemel.core.values import BAD, Batch, Decision, Signal, Signals
from gemel.stores.duckdb import Duckdb

SIGNALS = Signals([Signal("oil", unit="degC"), Signal("load", unit="A")])


def _python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


WRITER = """
import sys
import numpy as np
from gemel.core.values import Batch, Decision, Signal, Signals
from gemel.stores.duckdb import Duckdb

path, start, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(seed)
store = Duckdb(path)
store.open(Signals([Signal("oil"), Signal("load")]))
while True:
    n = int(rng.choice([1, 20, 30_000], p=[0.5, 0.4, 0.1]))
    stamps = np.arange(start, start + n)
    store.append(Batch.of(stamps % 2, stamps, stamps), [Decision(str(start), start)])
    start += n
    print(start, flush=True)
"""


@pytest.mark.slow
def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Ten rounds. After each the file holds all that was acknowledged, and of the append under way all or nothing."""
    path, start = tmp_path / "twin.gemel", 0
    rng = np.random.default_rng(0)
    for round in range(10):
        child = _python(WRITER, path, start, round)
        assert child.stdout
        for _ in range(int(rng.integers(1, 8))):
            start = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)  # while it is in one of the next appends
        rest, errors = child.communicate()
        assert not errors
        start = int(rest.split()[-1]) if rest.split() else start
        with Duckdb(str(path)) as store:
            store.open(SIGNALS)
            frame = store.window(SIGNALS.names, 0, 2**62)
            held = len(frame)
            assert held >= start, "an acknowledged append is missing"
            np.testing.assert_array_equal(frame.time, np.arange(held))
            np.testing.assert_array_equal(np.nansum(frame.values, axis=1), np.arange(held))
            assert store.counts()["points"] == held, "a point is held twice"
            last = store.read("decision")[-1].time
            assert last <= start < held or last < start == held, "points and notes of one append are kept together"
            again = np.arange(start, held)
            assert store.append(Batch.of(again % 2, again, again)) == 0, "what was not acknowledged comes again"
        start = held


FULL = """
import resource, sys
import numpy as np
from gemel.core.errors import StoreFull
from gemel.core.values import Batch, Signal, Signals
from gemel.stores.duckdb import Duckdb

store = Duckdb(sys.argv[1], recent=1000)
store.open(Signals([Signal("oil"), Signal("load")]))
start = 0

def append():
    global start
    stamps = np.arange(start, start + 5000)
    store.append(Batch.of(stamps % 2, stamps, stamps))
    start += 5000

append()
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
for attempt in range(100):
    try:
        append()
    except StoreFull as error:
        print(error)
        break
full = start
assert full > 5000, "some appends fit"
for attempt in range(3):
    try:
        append()
        raise SystemExit("the disk is full")
    except StoreFull:
        pass
assert len(store.window(["oil"], 0, start)) == start // 2, "what is held can be read"
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
append()
assert store.counts()["points"] == start == full + 5000
store.close()
store.open(Signals([Signal("oil")]))
assert len(store.window(["oil", "load"], 0, start)) == start
"""


def test_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk; it works again when there is room."""
    child = _python(FULL, tmp_path / "twin.gemel")
    said, errors = child.communicate()
    assert child.returncode == 0, errors
    assert "no space left for" in said
    assert "all before it is" in said


def test_second_process(tmp_path: Path) -> None:
    path = str(tmp_path / "twin.gemel")
    holder = _python(WRITER, path, 0, 0)
    assert holder.stdout
    holder.stdout.readline()
    try:
        with pytest.raises(StoreBusy) as caught:
            Duckdb(path).open(SIGNALS)
    finally:
        holder.kill()
        holder.communicate()
    assert caught.value.message == f"'{path}' is held by process {holder.pid}"
    assert "gemel.open" in caught.value.hint


def test_twice_in_one_process(tmp_path: Path) -> None:
    path = str(tmp_path / "twin.gemel")
    with Duckdb(path) as store:
        store.open(SIGNALS)
        for second in (Duckdb(path), Duckdb(path, memory="2GB"), store):
            with pytest.raises(StoreBusy, match=r"twin\.gemel"):
                second.open(SIGNALS)
        store.append(Batch.of([0], [0], [1.0]))
    with pytest.raises(StoreError, match="not open"):
        store.append(Batch.of([0], [1], [1.0]))


def test_files_that_are_no_store(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.gemel"
    foreign.write_bytes(b"temperature,load\n" * 1000)
    table = tmp_path / "table.gemel"
    with duckdb.connect(str(table)) as connection:
        connection.execute("CREATE TABLE points (x INTEGER)")
    damaged = tmp_path / "damaged.gemel"
    with Duckdb(str(damaged)) as store:
        store.open(SIGNALS)
    content = bytearray(damaged.read_bytes())
    content[4200:8000] = content[4100:7900]
    damaged.write_bytes(content)
    newer = tmp_path / "newer.gemel"
    with Duckdb(str(newer)) as store:
        store.open(SIGNALS)
    with duckdb.connect(str(newer)) as connection:
        connection.execute("UPDATE store SET format = 99")
    (tmp_path / "file").write_text("")
    for path, said in {
        foreign: "not a store",
        table: "not the store of a twin",
        damaged: "damaged",
        newer: "format 99",
        tmp_path / "file" / "twin.gemel": "folder",
        tmp_path: "not a store",
    }.items():
        with pytest.raises(StoreError, match=said) as caught:
            Duckdb(str(path)).open(SIGNALS)
        assert str(path) in caught.value.message
        assert caught.value.hint
    assert foreign.stat().st_size == 17_000, "a foreign file is left alone"


def test_a_folder_is_made_and_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "site" / "twin.gemel"
    with Duckdb(str(path)) as store:
        store.open(SIGNALS)
        store.append(Batch.of([0], [0], [1.0]))
    assert [file.name for file in path.parent.iterdir()] == ["twin.gemel"]


def test_settings() -> None:
    with pytest.raises(ConfigError) as caught:
        Duckdb("", recent=-1, memory="much")
    assert len(caught.value.problems) == 3


def test_what_cannot_be_journalled_keeps_nothing(tmp_path: Path) -> None:
    with Duckdb(str(tmp_path / "twin.gemel")) as store:
        store.open(SIGNALS)
        with pytest.raises(InputError, match="says no time"):
            store.append(Batch.of([0], [0], [1.0]), [Signal("x")])
        assert store.counts()["points"] == 0
        assert store.append(Batch.of([0], [0], [1.0]), [Decision("d", 0)]) == 1


def test_history_is_plain_sql(tmp_path: Path) -> None:
    path = tmp_path / "twin.gemel"
    with Duckdb(str(path)) as store:
        store.open(SIGNALS)
        store.append(Batch.of([0, 1], [0, 1_000], [20.5, 7.0], quality=[0, BAD]))
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute("SELECT signal, epoch_ns(time), value, unit, quality FROM history").fetchall()
    assert rows == [("oil", 0, 20.5, "degC", "good"), ("load", 1_000, 7.0, "A", "bad")]


def test_windows_need_no_query_and_no_long_look(tmp_path: Path) -> None:
    """50 000 points ahead of the turn do not slow a turn's own window: it costs what it holds."""
    with Duckdb(str(tmp_path / "twin.gemel")) as store:
        store.open(SIGNALS)
        stamps = np.arange(200_000)
        store.append(Batch.of(stamps % 2, stamps // 2, stamps))
        store.close()  # from here on the file cannot be asked
        for turn in range(100, 1000):
            assert len(store.window(["oil", "load"], turn - 1, turn, 1)) == 2
            assert store.latest(["oil", "load"], at=turn).values[0].tolist() == [2 * turn, 2 * turn + 1]


LIGHT = """
import sys
from gemel.core.values import Batch, Decision, Signal, Signals, Snapshot
from gemel.stores.duckdb import Duckdb

with Duckdb(sys.argv[1]) as store:
    store.open(Signals([Signal("oil")]))
    store.append(Batch.of([0], [0], [1.0]), [Decision("d", 0), Snapshot("p", 0, {})])
    store.window(["oil"], -1, 0)
    store.digest()
print([name for name in ("pandas", "polars", "torch") if name in sys.modules])
"""


def test_imports_stay_light(tmp_path: Path) -> None:
    """Arrow would import pandas behind our back, which costs half a second."""
    said, errors = _python(LIGHT, tmp_path / "twin.gemel").communicate()
    assert said.strip() == "[]", errors
