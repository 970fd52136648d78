"""A fleet whose law of wear is known, for tests of remaining life.

A unit lives for 60 to 180 cycles, all equally likely; what it has used up of its life, squared, shows in three channels
through noise; a fourth shows nothing. It runs in two ways, and each shifts the channels.
"""

from __future__ import annotations

import numpy as np

from gemel.core.values import Floats

CHANNELS = ("heat", "hum", "draw", "chance")
SHORTEST, LONGEST = 60, 180
GAIN = np.array([6.0, -4.0, 3.0, 0.0])
LEVEL = np.array([[80.0, 2.0, 11.0, 0.0], [120.0, 5.0, 17.0, 1.0]])
SCALE = np.array([2.0, 0.1, 0.5, 1.0])


def unit(rng: np.random.Generator, life: int | None = None) -> tuple[Floats, Floats]:
    """Settings [t, 1] and channels [t, 4] of one unit from its first cycle to its last."""
    life = life or int(rng.integers(SHORTEST, LONGEST + 1))
    way = rng.integers(0, 2, life)
    used = (np.arange(1, life + 1) / life) ** 2
    own = 0.5 * rng.standard_normal(4) * (GAIN != 0)
    z = GAIN * used[:, None] + own + rng.standard_normal((life, 4))
    return way[:, None].astype(float) * 10, LEVEL[way] + SCALE * z


def units(count: int, seed: int) -> list[tuple[Floats, Floats]]:
    """Some units."""
    rng = np.random.default_rng(seed)
    return [unit(rng) for _ in range(count)]
