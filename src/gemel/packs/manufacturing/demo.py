"""What `gemel demo line` shows: the supply sags for two hours, and then the bearing of a machine begins to fail."""

from __future__ import annotations

from functools import partial

from gemel.packs.manufacturing.live import Line
from gemel.packs.show import Demo

FAULTS = (
    {"kind": "voltage sag", "at": "75min", "lasts": "2h"},
    {"kind": "bearing damage", "machine": "grind", "at": "4h"},
)
DEMO = Demo(
    name="line",
    plant=partial(Line, history="10d", faults=FAULTS),
    past="ten days of history",
    topic="line",
    headline="grind_kurtosis",
    folder="gemel-line",
    next=("gemel findings {file}", "gemel why {file}", "gemel history {file} --signal grind_kurtosis --last 1d"),
    beside=("plan.svg", "line.cases.npz"),
    board=(
        *(f"{m}_{s}" for m in ("saw", "mill", "drill", "grind", "wash") for s in ("power", "vibration", "temperature")),
        "orders",
        "good",
        "scrap",
    ),
)
