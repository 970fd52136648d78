"""Both stores keep the contract, and agree with each other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from gemel.core.registry import part
from gemel.core.values import Batch, Decision, Event, Signal, Signals, Snapshot
from gemel.stores.duckdb import Duckdb
from gemel.stores.memory import Memory
from gemel.testing.store import Kept, check_store, same

SIGNALS = Signals([Signal("b"), Signal("a"), Signal("c")])
MINUTE = 60_000_000_000


def _duckdb(folder: Path, recent: int) -> Callable[[], Kept]:
    number = count()
    return lambda: Duckdb(str(folder / f"{next(number)}.gemel"), recent=recent)


@pytest.mark.slow
def test_memory() -> None:
    check_store(Memory, rounds=30)


@pytest.mark.parametrize("recent", [1_000_000, 40])
def test_duckdb(tmp_path: Path, recent: int) -> None:
    """With a short memory most reads and most duplicates go through the file."""
    check_store(_duckdb(tmp_path, recent), rounds=1)


def test_duckdb_without_memory(tmp_path: Path) -> None:
    check_store(_duckdb(tmp_path, 0), rounds=1)


def _live(store: Kept, seed: int, heard: int = 0) -> None:
    """Some history: points in and out of order, revisions, repeats, notes."""
    rng = np.random.default_rng(seed)
    for step in range(8):
        n = 40
        time = (step * 30 + rng.integers(0, 60, n)) * MINUTE
        event = Event(int(time[0]), "lost", "plant", "gone", received=heard)
        batch = Batch.of(
            rng.integers(0, 3, n), time, rng.integers(0, 3, n), received=time + heard, quality=rng.integers(0, 4, n)
        )
        batch = Batch.of(
            batch.signal, time, batch.value, received=batch.received, quality=batch.quality, events=[event]
        )
        notes = [Decision(f"d{step // 2}", step * MINUTE), Snapshot("pool", step * MINUTE, {"w": rng.normal(size=3)})]
        store.append(batch, notes)


def test_stores_agree_and_a_digest_says_so(tmp_path: Path) -> None:
    stores: list[Memory | Duckdb] = [
        Memory(),
        Duckdb(str(tmp_path / "long.gemel")),
        Duckdb(str(tmp_path / "short.gemel"), recent=30),
    ]
    for place, store in enumerate(stores):
        store.open(SIGNALS)
        _live(store, seed=3, heard=place)
    assert len({store.digest() for store in stores}) == 1, "when it was heard does not matter"
    assert len({tuple(store.counts().items()) for store in stores}) == 1
    for every in (None, 7 * MINUTE):
        frames = [store.window(SIGNALS.names, 50 * MINUTE, 200 * MINUTE, every) for store in stores]
        assert all(same(frames[0], frame) for frame in frames)
    digest = stores[0].digest()
    for store in stores[1:]:
        store.close()
        store.open(Signals([Signal("z"), *SIGNALS]))
        assert store.digest() == digest, "nor does the order of the signals, or that it was opened again"
    for change in (lambda s: s.append(Batch.of([1], [0], [9.0])), lambda s: s.record(Decision("x", 0))):
        change(stores[0])
        assert stores[0].digest() != digest
        digest = stores[0].digest()
    for store in stores:
        store.close()


@pytest.mark.parametrize("recent", [1_000_000, 20])
def test_threads_share_a_store(tmp_path: Path, recent: int) -> None:
    """Two writers, one of them late, while windows are read: nothing is lost and no window is torn."""
    with Duckdb(str(tmp_path / "twin.gemel"), recent=recent) as store, ThreadPoolExecutor(3) as pool:
        store.open(SIGNALS)

        def write(place: int) -> int:
            return sum(store.append(Batch.of([place] * 4, np.arange(4 * k, 4 * k + 4), [k] * 4)) for k in range(30))

        def read() -> bool:
            frames = [store.window(["a", "b"], 0, 200) for _ in range(60)]
            return all(np.isfinite(frame.values).sum() % 4 == 0 for frame in frames)

        reader, writers = pool.submit(read), [pool.submit(write, place) for place in (0, 1)]
        assert [w.result() for w in writers] == [120, 120]
        assert reader.result(), "a batch is seen whole or not at all"
        assert np.isfinite(store.window(["a", "b"], 0, 200).values).all()


def test_rows() -> None:
    assert part("stores", "memory") is Memory
    assert part("stores", "duckdb") is Duckdb
