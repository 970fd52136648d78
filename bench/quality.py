"""Virtual metrology on the emulated line: how many parts need no measurement, at which errors.

    python3 dev.py bench quality [--days 30] [--seeds 3]

The line (`packs/manufacturing`; its own people service tools at 80 % of their usual life, faults of four kinds come)
measures the size of one part in ten. From these and from the process signals the size of every part is foretold as it
leaves, and it is accepted, rejected or to be measured; what its size really is, is known here of every part. `escape`:
parts accepted though out of limits, `waste`: rejected though within, both as shares of all parts, from a day after the
first was judged. Beside: *one in ten* (everything that is not measured is accepted), and a linear baseline (the same
intervals, ridge on what the signals say now).
"""

from __future__ import annotations

import sys

import numpy as np

from bench.harness import Bench
from gemel.core.values import Bools, Floats
from gemel.detectors.statistics.gauge import ACCEPT, REJECT, Foretold, Gauge
from gemel.packs.manufacturing.flow import CENTRE, TOLERANCE
from gemel.packs.manufacturing.line import COLUMNS, STATES, Fault, Plant

ESCAPE, WASTE = 0.01, 0.02
TIGHT = TOLERANCE / 2
"""Also judged by limits that one part in ten is out of."""
FAULTS = (
    Fault("coolant loss", "grind", at="11d"),
    Fault("fixture loose", "drill", at="16d"),
    Fault("tool breakage", "mill", at="21d"),
    Fault("hard material", at="25d"),
)
MINUTE = 60 * 10**9
INPUTS = [
    i for i, n in enumerate(COLUMNS) if n.split("_")[-1] in ("power", "vibration", "kurtosis", "temperature", "cycle")
]
FAMILY, SIZE = COLUMNS.index("family"), COLUMNS.index("size")


def watched(days: int, seed: int) -> tuple[Floats, list[tuple[int, float]]]:
    """Rows a minute [t, s], and (row, true size) of every part that left."""
    plant = Plant(seed=seed, faults=[f for f in FAULTS if int(f.at[:-1]) < days], upkeep=0.8)
    rows, parts = [], []
    for minute in range(days * 1440):
        plant.left = []
        rows.append(plant.record("1min")[1][0])
        parts += [(minute, part.size) for part in plant.left]
        if minute % 14400 == 0:
            print(f"# seed {seed}: day {minute // 1440}", file=sys.stderr, flush=True)
    return np.array(rows), parts


def given(rows: Floats) -> tuple[Floats, Bools]:
    """Process signals [t, s] with the product family as three, and whether their station was at work."""
    family = (rows[:, FAMILY, None] == np.arange(3)).astype(float)
    busy = [rows[:, COLUMNS.index(f"{COLUMNS[i].split('_')[0]}_state")] == STATES.index("busy") for i in INPUTS]
    return np.hstack([rows[:, INPUTS], family]), np.hstack([np.array(busy).T, np.ones((len(rows), 3), bool)])


class Now(Gauge):
    """The baseline: ridge on what signals say now, nothing remembered."""

    def _remembered(self, quality: Floats) -> Floats:
        return np.full((len(quality), 4), np.nan)


def judged(gauge: Gauge, rows: Floats) -> Foretold:
    """What it says of every row, a day at a time."""
    values, busy = given(rows)
    size, days = rows[:, SIZE], [slice(a, a + 1440) for a in range(0, len(rows), 1440)]
    said = [gauge.take(values[day], size[day], busy[day]) for day in days]
    return Foretold(*(np.concatenate(column) for column in zip(*said, strict=True)))


def counted(said: Foretold, parts: list[tuple[int, float]], first: int, tolerance: float) -> Floats:
    """Of the parts from row `first` on: number, accepted, rejected, escaped, wasted, bad, inside the interval, squared
    error."""
    rows, size = np.array([i for i, _ in parts]), np.array([y for _, y in parts])
    rows, size = rows[late := rows >= first], size[late]
    bad, answer = np.abs(size - CENTRE) > tolerance, said.answer[rows]
    inside = (said.low[rows] <= size) & (size <= said.high[rows])
    return np.array([
        len(rows), (answer == ACCEPT).sum(), (answer == REJECT).sum(), (bad & (answer == ACCEPT)).sum(),
        (~bad & (answer == REJECT)).sum(), bad.sum(), inside.sum(), ((said.value[rows] - size) ** 2).sum(),
    ], float)  # fmt: skip


def main() -> None:
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    days, seeds = int(options.get("--days", 30)), int(options.get("--seeds", 3))
    with Bench("quality") as bench:
        lines = [watched(days, seed) for seed in range(201, 201 + seeds)]
        for tolerance in (TOLERANCE, TIGHT):
            limits, total = (CENTRE - tolerance, CENTRE + tolerance, ESCAPE, WASTE), np.zeros((2, 8))
            for n, (rows, parts) in enumerate(lines):
                ways = Gauge(*limits), Now(*limits, bands=(0, 10), kernels=("linear",))
                for sums, said in zip(total, [judged(gauge, rows) for gauge in ways], strict=True):
                    first = int(np.flatnonzero(np.isfinite(said.low))[0]) + 1440
                    sums += counted(said, parts, first, tolerance)
                print(f"# +-{tolerance:g} um: line {n + 1} judged", file=sys.stderr, flush=True)
            told(bench, f"+-{tolerance:g} um: ", *(total / total[:, :1]))


def told(bench: Bench, limits: str, ours: Floats, linear: Floats) -> None:
    """The figures of one pair of limits, from shares of all parts."""
    bench.figure(f"{limits}out of limits", 100 * ours[5], "%")
    free = [100 * (r[1] + r[2]) for r in (ours, linear)]
    bench.figure(f"{limits}need no measurement", free[0], "%", peer=("linear now", free[1]))
    goal = f"<= {100 * ESCAPE:g}"
    bench.figure(f"{limits}escape", 100 * ours[3], "%", goal=goal, peer=("linear now", 100 * linear[3]))
    bench.figure(f"{limits}escape, one in ten measured", 90 * ours[5], "%")
    goal = f"<= {100 * WASTE:g}"
    bench.figure(f"{limits}waste", 100 * ours[4], "%", goal=goal, peer=("linear now", 100 * linear[4]))
    bench.figure(
        f"{limits}90 % intervals cover", 100 * ours[6], "%", goal="88 to 92", peer=("linear now", 100 * linear[6])
    )
    bench.figure(f"{limits}root mean squared error", ours[7] ** 0.5, "um", peer=("linear now", linear[7] ** 0.5))


if __name__ == "__main__":
    main()
