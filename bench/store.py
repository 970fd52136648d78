"""Durable appends, beside the least a disk can do: the same columns written to a file and synced."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
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


class Plant:
    """Batches of ever later points; both sides are given the same ones."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)
        self.now = 0

    def batches(self, points: int, count: int) -> list[Batch]:
        """`count` batches of `points` points over all signals."""
        made = []
        for _ in range(count):
            time = self.now + np.arange(points) // SIGNALS * 10**9
            self.now = int(time[-1]) + 10**9
            made.append(Batch.of(np.arange(points) % SIGNALS, time, self.rng.normal(20, 0.3, points).round(3)))
        return made


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="gemel-bench-") as folder, Bench("store") as bench:
        for points, count in ROWS.items():
            held = Duckdb(str(Path(folder) / f"{points}.gemel"))
            held.open(Signals([Signal(f"s{i}") for i in range(SIGNALS)]))
            ready: dict[str, list[Batch]] = {}
            plant = Plant()

            with held, open(Path(folder) / f"{points}.raw", "wb") as file:
                work: dict[str, Callable[[], object]] = {
                    "make": lambda p=points, c=count: ready.update(now=plant.batches(p, c)),
                    "store": lambda: [held.append(batch) for batch in ready["now"]],
                    "raw": lambda: [write(file.fileno(), batch) for batch in ready["now"]],
                }
                seconds = bench.rounds(ROUNDS, work)
                stored = held.counts()["points"]
            size = (Path(folder) / f"{points}.gemel").stat().st_size
            assert stored == points * count * (ROUNDS + 1)
            n = points * count
            raw = ("raw columns + fsync", n / seconds["raw"])
            bench.figure(f"append_{points}", n / seconds["store"], "points/s", goal=GOALS.get(points, ""), peer=raw)
            bench.figure(f"commit_{points}", seconds["store"] / count * 1e3, "ms")
            bench.figure(f"size_{points}", size / stored, "bytes/point", peer=("raw columns", 29.0))


def write(file: int, batch: Batch) -> None:
    """The limit: every column as bytes, then a sync."""
    columns = (batch.signal, batch.time, batch.received, batch.value, batch.quality)
    os.write(file, b"".join(column.tobytes() for column in columns))
    os.fsync(file)


if __name__ == "__main__":
    main()
