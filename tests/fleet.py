"""A small fleet of pumps with labels, for tests of what is trained with labels and of what runs on site.

`python tests/fleet.py` (with torch) trains the networks in tests/detectors/trained anew.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

MINUTE = 60 * 10**9
START = 1_700_000_000 * 10**9 // (86_400 * 10**9) * 86_400 * 10**9
CHANNELS = ("flow", "power", "hum")
TRAINED = Path(__file__).parent / "detectors" / "trained"


def pump(rows: int, fault: str, at: int, seed: int) -> np.ndarray:
    """One pump minute by minute, [t, 3]: `leak` (flow falls behind power) or `bearing` (it hums) from row `at` on."""
    rng = np.random.default_rng(seed)
    load = np.zeros(rows)
    for t in range(1, rows):
        load[t] = 0.9 * load[t - 1] + 0.4 * rng.standard_normal()
    x = np.stack([30 + load, 4 + 0.1 * load, np.full(rows, 1.0)], axis=1)
    x += rng.standard_normal((rows, 3)) * [0.2, 0.02, 0.1] + rng.standard_normal(3) * [0.5, 0.05, 0.05]
    if fault == "leak":
        x[at:, 0] -= 3.0
    elif fault == "bearing":
        x[at:, 2] += 0.8
    return x


def fleet(units: int = 12, rows: int = 240, seed: int = 0) -> dict[str, np.ndarray]:
    """Columns of a labelled table: the pumps take turns in having a leak, a bearing damage, nothing."""
    found: dict[str, list[np.ndarray]] = {}
    for u in range(units):
        fault, at = ("leak", "bearing", "")[u % 3], rows // 2
        x = pump(rows, fault, at, seed * 1000 + u)
        label = np.full(rows, "normal", dtype="<U8")
        if fault:
            label[at:] = fault
        time = (START + np.arange(rows) * MINUTE).astype("datetime64[ns]")
        parts = {"unit": np.full(rows, f"p{u:02d}"), "time": time, "label": label}
        for name, column in {**parts, **dict(zip(CHANNELS, x.T, strict=True))}.items():
            found.setdefault(name, []).append(column)
    return {name: np.concatenate(columns) for name, columns in found.items()}


def write(path: Path, table: dict[str, np.ndarray]) -> Path:
    """The table as Parquet or CSV, by the suffix."""
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    arrow = pa.table(
        {name: pa.array(column.tolist() if column.dtype == object else column) for name, column in table.items()}
    )
    (pq.write_table if path.suffix == ".parquet" else pc.write_csv)(arrow, path)
    return path


def main() -> None:
    from gemel.lab.tasks.supervised import begin
    from gemel.lab.tasks.task import read_task

    small = {"window": 12, "steps": 300, "batch": 64, "own": 60}
    tasks = {
        "classify": read_task(task="classify", network="cnn", sizes={"width": 8, "layers": 2}, **small),
        "detect": read_task(task="detect", network="autoencoder", sizes={"width": 8, "code": 3}, **small),
    }
    with tempfile.TemporaryDirectory() as scratch:
        data = write(Path(scratch) / "fleet.parquet", fleet(18))
        for name, task in tasks.items():
            begin(data, Path(scratch) / name, task)
            (TRAINED / name).mkdir(parents=True, exist_ok=True)
            for file in ("trained.onnx", "trained.json"):
                shutil.copyfile(Path(scratch) / name / file, TRAINED / name / file)


if __name__ == "__main__":
    sys.exit(main())
