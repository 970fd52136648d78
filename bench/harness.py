"""What every benchmark shares: figures with a goal, interleaved rounds, and a calibration of the machine.

    with Bench("store") as bench:
        seconds = bench.rounds(5, {"ours": ours, "raw": raw})
        bench.figure("append", n / seconds["ours"], "points/s", goal=">= 0.8x", peer=("raw file", n / seconds["raw"]))

A goal ends in `x` when it is about the ratio to the peer, and is a bare number when it is about the value itself;
`0.9 to 1.2` asks for a value between two.
"""

from __future__ import annotations

import json
import operator
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from bench.spin import spin

_COMPARE = {">=": operator.ge, "<=": operator.le}
DRIFT = 0.2
"""Beyond this change of the spin loop from start to end a run is not to be quoted."""


class Bench:
    """Prints `name value unit | goal | peer value | ratio | ok or short`, or one JSON object with `--json`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.figures: list[dict[str, object]] = []
        self._json = "--json" in sys.argv[1:]

    def __enter__(self) -> Bench:
        self._before = spin()
        self._say(f"# {self.name}: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
        self._say(f"# spin {self._before}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            return
        after = spin()
        moved = max(abs(after.one / self._before.one - 1), abs(after.two / self._before.two - 1))
        steady = moved <= DRIFT
        self._say(f"# spin {after}, moved {moved:.0%}" + ("" if steady else ": too much, quote no absolute figure"))
        if self._json:
            spins = {"before": self._before._asdict(), "after": after._asdict(), "moved": moved, "steady": steady}
            print(json.dumps({"bench": self.name, "python": sys.version, "spin": spins, "figures": self.figures}))

    def rounds(self, count: int, work: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """The median seconds of each, in `count` rounds that take turns; one more round first is not counted."""
        seconds: dict[str, list[float]] = {name: [] for name in work}
        for i in range(count + 1):
            for name, call in work.items():
                began = time.perf_counter()
                call()
                if i:
                    seconds[name].append(time.perf_counter() - began)
        return {name: statistics.median(held) for name, held in seconds.items()}

    def figure(
        self, name: str, value: float, unit: str, *, goal: str = "", peer: tuple[str, float] | None = None
    ) -> None:
        """Report one figure; `peer` is what it stands beside: a name and its value in the same unit."""
        ratio = value / peer[1] if peer and peer[1] else None
        verdict = _verdict(goal, value, ratio)
        self.figures.append(
            {
                "name": name,
                "value": value,
                "unit": unit,
                "goal": goal,
                "peer": {"name": peer[0], "value": peer[1]} if peer else None,
                "ratio": ratio,
                "verdict": verdict,
            }
        )
        beside = f"{peer[0]} {peer[1]:.4g}" if peer else "-"
        times = f"{ratio:.2f}x" if ratio is not None else "-"
        self._say(f"{name} {value:.4g} {unit} | {goal or '-'} | {beside} | {times} | {verdict or '-'}")

    def _say(self, line: str) -> None:
        if not self._json:
            print(line, flush=True)


def _verdict(goal: str, value: float, ratio: float | None) -> str:
    if not goal:
        return ""
    if between := re.fullmatch(r"([\d.]+) to ([\d.]+)", goal):
        return "ok" if float(between[1]) <= value <= float(between[2]) else "short"
    found = re.fullmatch(r"(>=|<=) ([\d.]+)(x?)", goal)
    if found is None or (found[3] and ratio is None):
        raise ValueError(f"a goal is '>= 0.8x' (of a peer) or '<= 0.5', not '{goal}'")
    measured = ratio if found[3] and ratio is not None else value
    return "ok" if _COMPARE[found[1]](measured, float(found[2])) else "short"
