"""Oil temperature of a power transformer a day ahead (ETTm1, `GEMEL_DATA`): every classical forecaster and their pool.

A forecast of 96 steps is issued every 24 rows (6 h) from a context of 28 days; each forecaster learns online from all
rows before. Scores are those of the forecasts issued in the last 20 % of the rows. Every forecaster, the naive ones
too, stands inside the same conformal wrapper, so that none wins by its bands alone.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.harness import Bench
from gemel.core.values import DECILES, GOOD, Frame
from gemel.fetch import fetch
from gemel.forecasters.conformal import Conformal
from gemel.forecasters.member import member
from gemel.forecasters.score import coverage, crps, mase

NAMES = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
KINDS = ("naive", "seasonal_naive", "theta", "linear", "pool")
CONTEXT, HORIZON, EVERY, SEASON = 2688, 96, 24, 96  # rows


@dataclass(frozen=True, slots=True)
class Row:
    """Scores of one forecaster; `call_ms` is the mean wall time of learn and forecast together."""

    kind: str
    mase: float
    crps: float
    coverage: float
    call_ms: float


def ettm1(folder: str | None = None) -> Frame:
    """ETTm1 as a frame, from `folder` or where `gemel fetch` keeps it; downloaded if it is not there yet."""
    path = (Path(folder) / "ett" if folder else fetch("ett")) / "ETTm1.csv.gz"
    with gzip.open(path, "rt") as file:
        lines = file.read().splitlines()[1:]
    time = np.array([line.split(",", 1)[0] for line in lines], "datetime64[ns]").astype(np.int64)
    values = np.array([line.split(",")[1:] for line in lines], np.float64)
    return Frame(time, values, np.full(values.shape, GOOD, np.uint8), NAMES)


def leaderboard(
    frame: Frame | None = None,
    signals: Sequence[str] = ("OT",),
    kinds: Sequence[str | Mapping[str, object]] = KINDS,
    target: str = "OT",
) -> list[Row]:
    """A row of scores for each kind (or `{kind = ..., ...}`), in the order given."""
    frame = (frame if frame is not None else ettm1()).only(signals)
    return [_row(frame, {"kind": k} if isinstance(k, str) else k, target) for k in kinds]


def _row(frame: Frame, spec: Mapping[str, object], target: str) -> Row:
    forecaster = Conformal(member(spec, str(spec["kind"])))
    n, y = len(frame), frame.column(target)
    test = int(n * 0.8)
    truth, quantiles, spent, calls, seen = [], [], 0.0, 0, 0
    for now in range(CONTEXT, n - HORIZON + 1, EVERY):
        start = time.perf_counter()
        forecaster.learn(frame.rows(seen, now))
        made = forecaster.forecast(frame.rows(now - CONTEXT, now), HORIZON)
        spent, calls, seen = spent + time.perf_counter() - start, calls + 1, now
        if now >= test:
            truth.append(y[now : now + HORIZON])
            quantiles.append(made.of(target))
    t, q = np.array(truth), np.array(quantiles)
    scores = mase(t, q[:, :, 4], y[:test], SEASON), crps(t, q, DECILES), coverage(t, q[:, :, 0], q[:, :, -1])
    return Row(str(spec["kind"]), *scores, spent / calls * 1e3)


def main() -> None:
    with Bench("ett") as bench:
        rows = {row.kind: row for row in leaderboard()}
        naive = rows["seasonal_naive"]
        for kind, row in rows.items():
            peer = None if row is naive else (naive.kind, naive.crps)
            bench.figure(f"crps_{kind}", row.crps, "", goal="<= 0.85x" if kind == "pool" else "", peer=peer)
            bench.figure(f"mase_{kind}", row.mase, "")
            bench.figure(f"cover_{kind}", row.coverage, "of 0.8", goal=">= 0.75" if kind == "pool" else "")
            bench.figure(f"call_{kind}", row.call_ms, "ms")
        best = min((row for row in rows.values() if row.kind != "pool"), key=lambda row: row.crps)
        pool = rows["pool"]
        bench.figure("crps_pool_best", pool.crps, "", goal="<= 1.02x", peer=(f"best member, {best.kind}", best.crps))
        bench.figure("cover_pool_most", pool.coverage, "of 0.8", goal="<= 0.85")


if __name__ == "__main__":
    main()
