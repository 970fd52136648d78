"""What `gemel demo transformer` shows: fan bank 1 stops after 2.5 plant hours, the oil sensor drifts from hour 5 on."""

from __future__ import annotations

from functools import partial

from gemel.packs.energy.transformer import Plant
from gemel.packs.show import Demo

DEMO = Demo(
    name="transformer",
    plant=partial(Plant, history="10d", every="1min"),
    past="ten days of history",
    topic="tx1",
    headline="oil",
    folder="gemel-demo",
    next=("gemel forecast {file}", "gemel whatif {file} --set fan=2 --for 12h", "gemel history {file} --last 1d"),
)
