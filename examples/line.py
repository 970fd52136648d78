"""A production line before and after: ten days run to failure, ten days serviced when the vibration says so.

    python examples/line.py          about half a minute
    python examples/line.py 30       a month

The plant is emulated (`gemel.packs.manufacturing.line`); the detector and the policy are those of its twin file. The
same over months, beside a tuned interval and perfect knowledge: `python3 dev.py bench line`.
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.clock import Virtual
from gemel.core.registry import build
from gemel.core.setting import Setting
from gemel.core.values import Batch, Signal, Signals
from gemel.loop.decide import Situation
from gemel.packs.manufacturing.line import COLUMNS, MACHINES, Plant
from gemel.stores.memory import Memory

HOUR, MINUTE = 3600 * 10**9, 60 * 10**9
SHIFT = 8
ASSETS = {name: name.split("_")[0] for name in COLUMNS if name.split("_")[0] in MACHINES}
SERVICES = [f"{machine}_service" for machine in MACHINES]
CONTROLLED = [Signal(n, asset=ASSETS[n], role="controlled", low=0, high=1) for n in SERVICES]
SIGNALS = Signals([Signal(n, asset=ASSETS.get(n, "")) for n in COLUMNS if n not in SERVICES] + CONTROLLED)


def run(days: int, serviced: bool) -> Any:
    """So many days of the plant, asked at the beginning of each shift; its true costs and counts."""
    plant, places = Plant(seed=7), np.array([SIGNALS.place(n) for n in COLUMNS], np.int32)
    store = Memory()
    store.open(SIGNALS)
    setting = Setting("line", "", SIGNALS, Virtual(), MINUTE, 48 * HOUR, 0, Path(), history=store.window)
    spec = tomllib.loads((files("gemel.packs.manufacturing") / "line.toml").read_text("utf-8"))
    detector = build("detectors", next(d for d in spec["detectors"] if d["kind"] == "crossing"))
    spec["policy"] |= {"lead": f"{SHIFT // 2}h"}
    policy = build("policies", {key: value for key, value in spec["policy"].items() if key != "every"})
    detector.bind(setting)
    policy.bind(setting)
    held: dict[str, Any] = {}
    for _ in range(days * 24 // SHIFT):
        times, values, _ = plant.record(f"{SHIFT}h")
        row, column = np.nonzero(np.isfinite(values))
        store.append(Batch.of(places[column], times[row], values[row, column]))
        if not serviced:
            continue
        situation = Situation(plant.time, SHIFT * HOUR, 48 * HOUR, SIGNALS, {}, mode="auto")
        held |= {finding.id: finding for finding in detector.inspect(situation)}
        decision = policy.decide(replace(situation, findings=tuple(f for f in held.values() if f.open)))
        commands = {c.signal: c.value for c in decision.commands if c.value}
        plant.command(commands)
        for signal in commands:
            why = next(f.text for f in held.values() if f.open and signal == f"{f.subject}_service")
            print(f"day {(plant.time - plant.start) / HOUR / 24:4.1f}: service, for {why}")
    return plant.truth


def main() -> None:
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    before, after = run(days, serviced=False), run(days, serviced=True)
    print(f"\n{days} days{'':18}run to failure   serviced when it says so")
    for name in before.costs:
        print(f"{name + ', EUR':24}{before.costs[name]:18,.0f}{after.costs[name]:18,.0f}")
    for name in ("good", "scrap", "services", "failures"):
        print(f"{name:24}{before.counts[name]:18,.0f}{after.counts[name]:18,.0f}")


if __name__ == "__main__":
    main()
