"""Visual inspection on drawn parts of unseen seeds: the shipped network (int8 and float32) beside a classical method.

    python3 dev.py bench inspect               6 000 good parts, 1 000 of each defect, seeds that nothing else uses
    python3 dev.py bench inspect 77            other seeds: these figures should hold for any

The threshold is the one on the network's card, for the share of good parts that may be rejected (0.5 %, beside it 1 %):
nothing is fitted here. Contrast is that of `gemel.lab.defects`: the change's root mean square in standard deviations of
what is there anyway; the ranges drawn are split in five. *Pointing*: the peak of the heat map touches the defect.

The classical method, fitted on 2 000 good parts: how far the picture (smoothed), and its variance over 5 x 5 pixels,
are from those of good parts at the same place, in their standard deviations there; a part's score is the largest.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.harness import Bench
from gemel.core import png
from gemel.core.values import Bools, Codes, Floats
from gemel.detectors.statistics.parts import SHIPPED, Limit, Network
from gemel.detectors.statistics.pictures import features
from gemel.lab.defects import CONTRASTS, DEFECTS, part

GOOD, EACH, FIT = 6000, 1000, 2000
SET, ALSO = 0.005, 0.01
BINS = 5
Judge = Callable[[Codes], tuple[float, int, int]]
"""A picture to its score and the place (row, column) of its peak."""


@dataclass(frozen=True)
class Drawn:
    """Pictures [n, h, w], masks, kind and place of the contrast in its range (0 .. 1) of each."""

    pictures: Codes
    masks: Bools
    kinds: list[str]
    places: Floats


@dataclass(frozen=True)
class Scored:
    """Scores of the good and of the bad parts; whether the peak touched the defect."""

    good: Floats
    bad: Floats
    hit: Bools


def draw(seed: int, count: int, kinds: tuple[str, ...], low: float = 0.0, high: float = 1.0) -> Drawn:
    """`count` parts of every kind, contrasts even in their logarithm from `low` to `high` of the range."""
    rng = np.random.default_rng(seed)
    names = [kind for kind in kinds for _ in range(count)]
    places = rng.uniform(low, high, len(names))
    drawn = []
    for kind, place in zip(names, places, strict=True):
        a, b = np.log(CONTRASTS[kind]) if kind else (0.0, 0.0)
        drawn.append(part(rng, kind, math.exp(a + place * (b - a))))
    return Drawn(np.stack([p for p, _ in drawn]), np.stack([m for _, m in drawn]), names, places)


def ours(network: Network) -> Judge:
    def judge(picture: Codes) -> tuple[float, int, int]:
        found = network.judge(picture)
        return found.score, found.row, found.column

    return judge


class Classical:
    """Template and local variance."""

    def __init__(self, good: Codes) -> None:
        held = np.stack([self._maps(one) for one in good])
        self._mean, self._sd = held.mean(0), held.std(0) + 0.05

    @staticmethod
    def _maps(picture: Codes) -> Floats:
        x = picture.astype(np.float32)
        x = (x - x.mean()) / max(float(x.std()), 1.0)
        smooth, square = _box(x, 3), _box(x * x, 5) - _box(x, 5) ** 2
        found: Floats = np.stack([smooth[1:-1, 1:-1], np.log(square + 0.01)])
        return found

    def __call__(self, picture: Codes) -> tuple[float, int, int]:
        off = (np.abs(self._maps(picture) - self._mean) / self._sd).max(0)
        row, column = divmod(int(off.argmax()), off.shape[1])
        return float(off[row, column]), row + 2, column + 2


def _box(x: Floats, side: int) -> Floats:
    total = np.pad(x, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    found: Floats = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    return found / side**2


def scored(judge: Judge, good: Drawn, bad: Drawn) -> Scored:
    said = [judge(one) for one in bad.pictures]
    hit = [
        mask[max(r - 2, 0) : r + 2, max(c - 2, 0) : c + 2].any()
        for (_, r, c), mask in zip(said, bad.masks, strict=True)
    ]
    return Scored(np.array([judge(one)[0] for one in good.pictures]), np.array([s for s, _, _ in said]), np.array(hit))


def percent(mask: Bools) -> float:
    return 100 * float(mask.mean())


def limit(usual: list[float], rejects: float) -> float:
    return Limit(usual, rejects).value()


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    seed = next((int(a) for a in sys.argv[1:] if a.isdigit()), 5) * 10**12
    with Bench("inspect") as bench:
        tell("drawing")
        good, bad = draw(seed, GOOD, ("",)), draw(seed + 1, EACH, DEFECTS)
        faint = draw(seed + 2, EACH // 5, DEFECTS, -0.5, 0.0)
        fit = draw(seed + 3, FIT, ("",)).pictures
        small, exact = Network(SHIPPED, exact=False), Network(SHIPPED, exact=True)
        classical = Classical(fit)
        tell("int8")
        a = scored(ours(small), good, bad)
        tell("float32")
        b = scored(ours(exact), good, bad)
        tell("classical")
        c = scored(classical, good, bad)
        usual = [classical(one)[0] for one in draw(seed + 4, FIT, ("",)).pictures]
        at, beside, other = limit(small.usual, SET), limit(exact.usual, SET), limit(usual, SET)
        bench.figure(
            "detection, int8", percent(a.bad > at), "%", goal=">= 98", peer=("classical", percent(c.bad > other))
        )
        bench.figure("false rejects, set to 0.5 %", percent(a.good > at), "%", goal="<= 1",
                     peer=("classical", percent(c.good > other)))  # fmt: skip
        wide, whole = limit(small.usual, ALSO), limit(usual, ALSO)
        bench.figure("detection, set to 1 %", percent(a.bad > wide), "%", peer=("classical", percent(c.bad > whole)))
        bench.figure(
            "false rejects, set to 1 %", percent(a.good > wide), "%", peer=("classical", percent(c.good > whole))
        )
        bench.figure("pointing, all defects", percent(a.hit), "%", goal=">= 95", peer=("classical", percent(c.hit)))
        bench.figure("pointing, those found", percent(a.hit[a.bad > at]), "%")
        bench.figure(
            "float32 less int8, detection", abs(percent(b.bad > beside) - percent(a.bad > at)), "points", goal="<= 0.5"
        )
        bench.figure("float32 less int8, false rejects", abs(percent(b.good > beside) - percent(a.good > at)), "points",
                     goal="<= 0.5")  # fmt: skip
        kinds = np.array(bad.kinds)
        for kind in DEFECTS:
            mask = kinds == kind
            bench.figure(
                f"detection, {kind}", percent(a.bad[mask] > at), "%", peer=("classical", percent(c.bad[mask] > other))
            )
        for i in range(BINS):
            mask = (bad.places >= i / BINS) & (bad.places < (i + 1) / BINS)
            name = f"detection, contrast {i + 1} of {BINS}"
            bench.figure(name, percent(a.bad[mask] > at), "%", peer=("classical", percent(c.bad[mask] > other)))
        said = np.array([small.judge(one).score for one in faint.pictures])
        bench.figure("detection, fainter than we call visible", percent(said > at), "%")
        some, content = bad.pictures[:: EACH // 25], [png.encode(one) for one in bad.pictures[:: EACH // 25]]

        def whole_way() -> None:
            for one in content:
                seen = small.fitted(png.decode(one))
                features(seen)
                small.judge(seen)

        seconds = bench.rounds(5, {
            "int8": lambda: [small.judge(one) for one in some], "float32": lambda: [exact.judge(one) for one in some],
            "classical": lambda: [classical(one) for one in some], "whole": whole_way,
        })  # fmt: skip
        ms = {name: 1000 * held / len(some) for name, held in seconds.items()}
        bench.figure("int8, one picture at a time", ms["int8"], "ms", goal="<= 5", peer=("classical", ms["classical"]))
        bench.figure("float32, one picture at a time", ms["float32"], "ms")
        bench.figure("PNG to verdict", ms["whole"], "ms", goal="<= 5")


if __name__ == "__main__":
    main()
