"""The pre-trained network as parts share it: its exported graph, and windows the way it wants them.

Letters in shapes: b windows, t patches, p points a patch, n wanted positions, q levels, d features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.artifact import Artifact, digest, read
from gemel.core.onnx import session
from gemel.core.values import Bools, Float32s, Floats, Times

SHIPPED = Path(__file__).parent.parent / "forecasters" / "weights"
"""Where the weights that come with Gemel lie."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What a network was trained on, in patches: the longest window, and the longest horizon in one pass."""

    window: int = 64
    horizon: int = 24
    patch: int = 32


class Graph:
    """`graph(values, seen, at)`: the quantiles of the patch after each position in `at`.

    values and seen [b, 1, t, p] float32 (seen: 1 where there is a value), at [n] int64 -> levels [b, 1, n, p, q].
    """

    def __init__(self, path: str | Path, artifact: Artifact | None = None) -> None:
        self._session = session(path)
        self.artifact = artifact
        # of the float32 file: what is fitted to a network's features also suits its int8
        self.digest = str(artifact.card["sha256"]["foundation.onnx"]) if artifact else digest(path)
        mixture: Any = artifact.card["recipe"]["mixture"] if artifact else {"lengths": [64], "hidden": 24}
        patch = int(self._session.get_inputs()[0].shape[-1])
        self.reach = Reach(max(mixture["lengths"]), int(mixture["hidden"]), patch)

    def __call__(self, values: Float32s, seen: Float32s, at: Times) -> Float32s:
        given = {"values": _fours(values), "seen": _fours(seen), "at": at}
        levels: Float32s = self._session.run(["levels"], given)[0]
        return levels

    def features(self, values: Float32s, seen: Float32s, at: Times) -> tuple[Float32s, Float32s]:
        """Also what the network thinks before it answers: levels, and features [b, 1, n, d]."""
        levels, features = self._session.run(["levels", "features"], {"values": values, "seen": seen, "at": at})
        return levels, features


def _fours(x: Float32s) -> Float32s:
    """x [b, 1, t, p] with empty patches at the end, which a causal network does not look at, up to a multiple of four.

    The kernels multiply four rows at a time, and round the one to three that are left over differently: without this
    the last digit of a series' answer would depend on how many others are asked with it.
    """
    t = x.shape[2]
    if t % 4 == 0:
        return x
    out = np.zeros((*x.shape[:2], t + -t % 4, x.shape[3]), np.float32)
    out[:, :, :t] = x
    return out


@lru_cache(maxsize=4)  # a session is some ten megabytes and safe to share: twins of one process have one
def load(model: str = "", small: bool = False) -> Graph:
    """The network in the folder `model` (the shipped one if empty): float32, or int8 if `small`.

    Raises `PartError` when a file is missing, damaged, or not the one its card names.
    """
    artifact = read(model or SHIPPED, "foundation")
    return Graph(artifact.files["foundation.int8.onnx" if small else "foundation.onnx"], artifact)


def windowed(contexts: Sequence[Floats], points: int) -> tuple[Floats, Bools, Floats, Floats]:
    """The last `points` of every context, centred and scaled, 0 where there is no value [b, points]; where there is one
    [b, points]; and means and deviations [b, 1]."""
    x = np.full((len(contexts), points), np.nan)
    for row, c in zip(x, contexts, strict=True):
        tail = c[-points:]
        row[points - len(tail) :] = tail
    held: Bools = np.isfinite(x)
    count = np.maximum(held.sum(1, keepdims=True), 1)
    size = np.where(held, np.abs(x), 0).max(1, keepdims=True)  # squares of very large and small values do not fit
    size = np.where(size > 0, size, 1.0)
    x = np.where(held, x / size, 0)
    mean = x.sum(1, keepdims=True) / count
    x = np.where(held, x - mean, 0)
    deviation = np.sqrt((x * x).sum(1, keepdims=True) / count) + 1e-5 * np.abs(mean) + 1e-12
    return x / deviation, held, mean * size, deviation * size
