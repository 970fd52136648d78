"""Durable appends, beside the least a disk can do: the same columns written to a file and synced."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from bench.harness import Bench
from gemel.core.values import Batch, Signal, Signals
from gemel.stores.duckdb import Duckdb

SIGNALS = 10
ROWS = {20: 20, 1_000: 20, 10_000: 8, 100_000: 3}
"""Points of a batch -> batches of a round."""
GOALS = {10_000: ">= 0.8x"}
ROUNDS = 5


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="gemel-bench-") as folder, Bench("store") as bench:
        for points, count in ROWS.items():
            measure(bench, Path(folder), points, count)


def measure(bench: Bench, folder: Path, points: int, count: int) -> None:
    """Rounds of `count` batches of `points` points, ever later ones; both sides are given the same."""
    path, rng, now = folder / f"{points}.gemel", np.random.default_rng(1), 0
    signal = np.arange(points) % SIGNALS
    ready: list[Batch] = []

    def make() -> None:
        nonlocal now
        ready.clear()
        for _ in range(count):
            time = now + np.arange(points) // SIGNALS * 10**9
            now = int(time[-1]) + 10**9
            ready.append(Batch.of(signal, time, rng.normal(20, 0.3, points).round(3)))

    with Duckdb(str(path)) as store, open(folder / f"{points}.raw", "wb") as file:
        store.open(Signals([Signal(f"s{i}") for i in range(SIGNALS)]))

        def append() -> None:
            for batch in ready:
                store.append(batch)

        def write() -> None:
            for batch in ready:
                columns = (batch.signal, batch.time, batch.received, batch.value, batch.quality)
                file.write(b"".join(column.tobytes() for column in columns))
                file.flush()
                os.fsync(file.fileno())

        seconds = bench.rounds(ROUNDS, {"make": make, "store": append, "raw": write})
        stored = store.counts()["points"]
    assert stored == points * count * (ROUNDS + 1)
    speed, limit = points * count / seconds["store"], points * count / seconds["raw"]
    goal = GOALS.get(points, "")
    bench.figure(f"append_{points}", speed, "points/s", goal=goal, peer=("raw columns + fsync", limit))
    bench.figure(f"commit_{points}", seconds["store"] / count * 1e3, "ms")
    if points == max(ROWS):
        bench.figure("size", path.stat().st_size / stored, "bytes/point", peer=("raw columns", 29.0))


if __name__ == "__main__":
    main()
