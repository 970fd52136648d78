"""Valves that close on a water rig (SKAB, `GEMEL_DATA`/skab): the committee of detectors against plain T2 and T2 + Q.

    python3 dev.py bench detect                the labelled files that are there: valve1, valve2, and others if any
    python3 dev.py bench detect FOLDER ...     files of the same kind from somewhere else

Each file is fitted on its first 400 rows and judged row by row from there, as the authors of the data do; outlier F1,
false alarms (FAR) and misses (MAR) are counted over all rows of all files, the first 400 too. One setting for all
files: the committee's defaults at a row a second, one false alarm a week, an alarm raised after ten strange rows in a
row and cleared after thirty usual ones. No label is looked at but to count.

A file named anomaly-free has no fault in it: how long alarms stand there is printed beside.

The score of change points is the authors' (a window of 60 s after each, NAB standard profile); a change point is said
where the alarm is raised or cleared. Best published over all 34 files: outlier F1 0.78 at FAR 13.6 % (convolutional
autoencoder, which looks 58 s ahead), T2 + Q 0.76 at 26.6 %; change points 32.4 (MSCRED), T2 + Q 25.4.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from bench.harness import Bench
from gemel.core.values import Bools, Floats
from gemel.detectors.committee import Committee
from gemel.detectors.foundation import Foundation
from gemel.detectors.statistics.components import Components
from gemel.detectors.statistics.judge import Judge, Statistics, delayed

FIT, SECOND = 400, 10**9
WINDOW_S = 60.0
TRUE, FALSE, MISSED = 1.0, -0.11, -1.0


@dataclass(frozen=True)
class Run:
    """One labelled file: times in seconds [t], signals [t, c], labels [t]."""

    name: str
    time: Floats
    values: Floats
    anomaly: Bools
    change: Bools


def read(path: Path) -> Run | None:
    """A file of the benchmark; None for one without labels, unless its name says that nothing is wrong in it."""
    with path.open(newline="") as file:
        head, *rows = csv.reader(file, delimiter=";")
    quiet = "anomaly-free" in path.name
    if not quiet and ("anomaly" not in head or "changepoint" not in head):
        return None
    when = np.array([datetime.fromisoformat(row[0]).timestamp() for row in rows])
    table = np.array([[float(cell) if cell else np.nan for cell in row[1:]] for row in rows])
    own = [i for i, name in enumerate(head[1:]) if name not in ("anomaly", "changepoint")]
    never = np.zeros(len(table), bool)
    labels = [never if quiet else table[:, head.index(name) - 1] == 1 for name in ("anomaly", "changepoint")]
    return Run(f"{path.parent.name}/{path.name}", when, table[:, own], labels[0], labels[1])


def committee(values: Floats) -> Bools:
    """Alarms of the committee with its default members."""
    return judged(values, Committee().statistics())


def member(place: int) -> Callable[[Floats], Bools]:
    """Alarms of one member of the committee by itself."""

    def alone(values: Floats) -> Bools:
        return judged(values, [Committee().statistics()[place]])

    return alone


def foundation(values: Floats) -> Bools:
    """Alarms of the pre-trained network by itself: rows it did not foretell, windows it reads as unlike the normal."""
    return judged(values, Foundation().statistics())


def both(values: Floats) -> Bools:
    """Alarms of the committee with the network as one more member."""
    return judged(values, [*Committee().statistics(), *Foundation().statistics()])


def judged(values: Floats, members: Sequence[Statistics]) -> Bools:
    """Alarms of some statistics together."""
    judge = Judge(*members, alarms_per_week=1.0, step=SECOND, wait=10)
    judge.fit(values[:FIT])
    return np.concatenate([np.zeros(FIT, bool), delayed(judge.score(values[FIT:])[0] < 1.0, 30)])


def t2_q(values: Floats) -> Bools:
    """T2 or Q of plain principal components above its control limit, median of five rows, as the authors set it up."""
    scores, limits = _plain(values, 0.85)
    return np.asarray((scores > limits).any(axis=1))


def t2(values: Floats) -> Bools:
    """T2 of all signals, the same way."""
    scores, limits = _plain(values, 1.0)
    return np.asarray(scores[:, 0] > limits[0])


def _plain(values: Floats, share: float) -> tuple[Floats, tuple[float, float]]:
    """T2 and Q of every row [t, 2], and the limits that one normal row in a thousand passes."""
    known = values[:FIT]
    z = (values - known.mean(axis=0)) / known.std(axis=0)
    variances, axes = np.linalg.eigh(np.cov(z[:FIT].T))
    variances, axes = variances[::-1], axes[:, ::-1]
    k = int((np.cumsum(variances) / variances.sum() < share - 1e-9).sum()) + 1
    inside = z @ axes[:, :k]
    scores = np.stack([(inside**2 / variances[:k]).sum(axis=1), (z**2).sum(axis=1) - (inside**2).sum(axis=1)], axis=1)
    parts = Components()
    parts.variances, parts.axes, parts.rows = variances, axes[:, :k], FIT
    return _median(scores), parts.limits(0.001)


def _median(scores: Floats, rows: int = 5) -> Floats:
    padded = np.vstack([np.zeros((rows - 1, scores.shape[1])), scores])
    found: Floats = np.median(np.lib.stride_tricks.sliding_window_view(padded, rows, axis=0), axis=2)
    return found


def outliers(runs: Sequence[Run], alarms: Sequence[Bools]) -> tuple[float, float, float]:
    """F1, FAR % and MAR % over all rows of all files."""
    truth = np.concatenate([run.anomaly for run in runs])
    said = np.concatenate(alarms)
    hit, false, missed = int((truth & said).sum()), int((~truth & said).sum()), int((truth & ~said).sum())
    return hit / max(hit + (false + missed) / 2, 1e-9), 100 * false / (~truth).sum(), 100 * missed / truth.sum()


def changes(runs: Sequence[Run], alarms: Sequence[Bools]) -> float:
    """NAB score, standard profile: 0 for saying nothing, 100 for every change said at once and nothing else."""
    score, count = 0.0, 0
    for run, alarm in zip(runs, alarms, strict=True):
        said = run.time[np.flatnonzero(np.diff(alarm.astype(int), prepend=0))]
        known, end = np.zeros(len(said), bool), -np.inf
        for start in run.time[run.change]:
            left, right = max(start, end), start + WINDOW_S
            inside = (said >= left) & (said <= right)
            known |= inside
            score += _worth((said[inside][0] - left) / (right - left)) if inside.any() else MISSED
            end, count = right, count + 1
        score += FALSE * int((~known).sum())
    return 100 * (score - MISSED * count) / max((TRUE - MISSED) * count, 1e-9)


def _worth(late: float) -> float:
    """What a change said `late` (0 .. 1) into its window is worth."""
    x = np.pi * (min(int(late * 1000), 999) / 999 - 0.5)
    return float((TRUE - FALSE) / 2 * (1 - np.tanh(x) / np.tanh(np.pi / 2)) + FALSE)


def main() -> None:
    folders = [Path(a) for a in sys.argv[1:] if not a.startswith("--")]
    if not folders:
        if "GEMEL_DATA" not in os.environ:
            sys.exit("set GEMEL_DATA to a folder with skab/ in it (github.com/waico/SKAB, data/), or name folders")
        folders = sorted(p for p in (Path(os.environ["GEMEL_DATA"]) / "skab").iterdir() if p.is_dir())
    found = {f.name: [run for path in sorted(f.glob("*.csv")) if (run := read(path))] for f in folders}
    valves = [run for name, runs in found.items() for run in runs if name.startswith("valve")]
    rest = [run for name, runs in found.items() for run in runs if not name.startswith("valve") and run.anomaly.any()]
    quiet = [run for runs in found.values() for run in runs if not run.anomaly.any()]
    ways = {
        "committee": committee,
        "drift": member(0),
        "drift fixed": member(1),
        "subspace": member(2),
        "foundation": foundation,
        "committee + foundation": both,
        "T2": t2,
        "T2+Q": t2_q,
    }
    with Bench("detect") as bench:
        for name, runs in (("valves", valves), ("others", rest)):
            if not runs:
                continue
            said: dict[str, list[Bools]] = {}
            for way, call in ways.items():
                began = time.perf_counter()
                said[way] = [call(run.values) for run in runs]
                took = (time.perf_counter() - began) / sum(len(run.time) for run in runs)
                f1, far, mar = outliers(runs, said[way])
                ours = way == "committee"
                peer = None if way in ("T2", "T2+Q") else ("T2+Q", outliers(runs, [t2_q(r.values) for r in runs])[0])
                bench.figure(f"{name}: {way} F1", f1, "", goal=">= 0.8" if ours else "", peer=peer)
                bench.figure(f"{name}: {way} FAR", far, "%", goal="<= 15" if ours else "")
                bench.figure(f"{name}: {way} MAR", mar, "%")
                bench.figure(f"{name}: {way} change points", changes(runs, said[way]), "NAB")
                bench.figure(f"{name}: {way} a row", took * 1e6, "us")
        for run in quiet:
            plain = 100 * t2_q(run.values)[FIT:].mean()
            for way in ("committee", "foundation"):
                alarm = ways[way](run.values)[FIT:]
                count = int((alarm[1:] & ~alarm[:-1]).sum())
                bench.figure(f"{run.name}: {way} in alarm", 100 * alarm.mean(), "%", peer=("T2+Q", plain))
                bench.figure(f"{run.name}: {way} alarms", count, "")


if __name__ == "__main__":
    main()
