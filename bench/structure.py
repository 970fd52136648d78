"""Structures that compete: how soon the right one is champion, and what it costs not to have known it.

    python3 dev.py bench structure [--json]

A room of two thermal masses, a row an hour, and simulators of it (`bench/plants/rooms.py`); everything at the defaults
of `compete`. The log score is of six hours ahead from every sixth hour on, in nats a value: higher is better. Means of
the seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench.harness import Bench
from bench.plants.rooms import HOUR, Building, bound, champions, telemetry
from gemel.core.values import Belief, Frame
from gemel.estimators.compete import Compete
from gemel.estimators.enkf import Enkf
from gemel.estimators.score import drive, log_score
from gemel.simulators.candidates import Candidates

NOISE = {"T_room": 0.1}
LEAD = 6
SEEDS = (1, 2, 3, 4, 5)


def course(candidates: Mapping[str, Any], frame: Frame) -> tuple[Candidates, list[Belief]]:
    """The simulator and the belief at the end of each stretch."""
    simulator = Candidates(candidates)
    part, belief, found = bound(Compete(Enkf(NOISE, members=40)), simulator), None, []
    for i in range(0, len(frame), LEAD):
        belief = part.update(belief, frame.rows(i, i + LEAD))
        found.append(belief)
    return simulator, found


def scores(simulator: Candidates, beliefs: list[Belief], frame: Frame) -> dict[str, float]:
    """The mean log score of each candidate, and of whoever was champion."""
    found: dict[str, list[float]] = {}
    for k, belief in enumerate(beliefs[:-1], start=1):
        rows = frame.rows(LEAD * k, LEAD * (k + 1))
        asked: dict[str, tuple[Any, Belief]] = {
            n: (s, simulator.part(belief, n)) for n, s in simulator.candidates.items()
        }
        for name, (one, part) in {**asked, "champion": (simulator, belief)}.items():
            outputs = drive(one, part, rows, HOUR, 1)[1]
            found.setdefault(name, []).append(float(np.nanmean(log_score(one, outputs, rows, NOISE))))
    return {name: float(np.mean(held)) for name, held in found.items()}


def changing(days: int, opened: int, closed: int) -> Callable[[int], Frame]:
    return lambda seed: telemetry(days, seed, lambda day: 0.03 * (opened <= day < closed))


def main() -> None:
    with Bench("structure") as bench:
        right, since = 0, []
        for seed in SEEDS:
            simulator, beliefs = course(
                {"one": Building(1), "two": Building(2), "three": Building(3)}, telemetry(30, seed)
            )
            held = champions(simulator, beliefs)
            right += held[-1][1] == "two"
            since.append(held[-1][0])
        bench.figure("two masses chosen of one, two, three", right / len(SEEDS), "of the seeds", goal=">= 0.8")
        bench.figure("on day", float(np.mean(since)), "")

        delays, switches, lost = [], [], []
        for seed in SEEDS:
            frame = changing(60, 20, 40)(seed)
            simulator, beliefs = course({"two": Building(2), "window": Building(2, window=True)}, frame)
            held = champions(simulator, beliefs)
            after = [day for day, name in held if name == "window" and day > 20]
            delays.append(after[0] - 20 if after else 40.0)
            switches.append(len(held) - 1)
            lost.append(scores(simulator, beliefs, frame))
        bench.figure("a window is opened: other champion after", float(np.median(delays)), "days (median)", goal="<= 2")
        bench.figure("at the latest", max(delays), "days")
        bench.figure("changes of champion in 60 days", float(np.mean(switches)), "")
        mean = {name: float(np.mean([one[name] for one in lost])) for name in lost[0]}
        best = max(mean["two"], mean["window"])
        for name in ("two", "window", "champion"):
            bench.figure(f"log score, {name}", mean[name], "nats a value")
        bench.figure("regret to the best in hindsight", best - mean["champion"], "nats a value", goal="<= 0.15")

        pairs: dict[str, dict[str, Any]] = {
            "equal ones": {"one": Building(2), "other": Building(2, noise=0.031)},
            "two that are both wrong": {"one": Building(1), "windy": Building(1, window=True)},
        }
        for name, goal in (("equal ones", "<= 1"), ("two that are both wrong", "")):
            flips = [len(champions(*course(pairs[name], telemetry(60, seed)))) - 1 for seed in SEEDS]
            bench.figure(f"{name}: changes in 60 days, at the most", max(flips), "", goal=goal)


if __name__ == "__main__":
    main()
