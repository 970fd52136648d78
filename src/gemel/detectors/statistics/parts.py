"""A part good or bad, by its picture: an exported network, and the score that good parts seldom pass.

Letters: h, w pixels, r, c cells of the map.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gemel.core import artifact, png
from gemel.core.errors import InputError, PartError
from gemel.core.onnx import session
from gemel.core.values import Codes, Floats

SHIPPED = Path(__file__).parent.parent / "weights"
OWN = 2000
"""Scores of good parts that are remembered."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`score` and `cells` [r, c] are logits; `row`, `column` the pixel where the defect is most likely."""

    score: float
    cells: Floats
    row: int
    column: int


class Network:
    """The exported network of a folder, int8 or float32. Raises `PartError` when it is not whole."""

    def __init__(self, folder: Path, exact: bool) -> None:
        held = artifact.read(folder, "inspection")
        name = "inspection.onnx" if exact else "inspection.int8.onnx"
        try:
            self._graph = session(held.files[name], "gemel lab inspect")
            self.side, self._cell = int(held.card["side"]), int(held.card["cell"])
            self.usual = [float(v) for v in held.card["usual"][name]]
        except (KeyError, TypeError, ValueError):
            raise PartError(f"{folder} holds no network for inspection", "write one: gemel lab inspect") from None

    def fitted(self, picture: Codes) -> Codes:
        """The picture as the network wants it: grey, and averaged down to its size. Raises `InputError`."""
        side, (h, w) = self.side, picture.shape[:2]
        if h != w or h % side:
            raise InputError(f"the picture is {w} x {h}", f"{side} x {side} is needed, or a whole multiple of that")
        seen = png.grey(picture)
        if h == side:
            return seen
        blocks = seen.reshape(side, h // side, side, w // side)
        found: Codes = np.rint(blocks.mean((1, 3))).astype(np.uint8)
        return found

    def judge(self, seen: Codes) -> Verdict:
        """What it says of a fitted picture."""
        score, cells = self._graph.run(None, {"pictures": seen[None, None]})
        row, column = np.unravel_index(int(cells[0].argmax()), cells[0].shape)
        middle = self._cell // 2
        return Verdict(float(score[0]), cells[0], int(row) * self._cell + middle, int(column) * self._cell + middle)


class Limit:
    """The score that good parts pass `rejects` of the time (split conformal prediction: Vovk et al. 2005).

    Until enough own good parts are known, those of the network's card stand beside them.
    """

    def __init__(self, usual: list[float], rejects: float) -> None:
        self._usual, self._rejects = usual, rejects
        self.own: deque[float] = deque(maxlen=OWN)
        self._value = math.nan

    def good(self, score: float) -> None:
        """One more part is known to be good."""
        self.own.append(score)
        self._value = math.nan

    def value(self) -> float:
        """The score above which a part is rejected."""
        if math.isnan(self._value):
            enough = len(self.own) >= 2 / self._rejects
            held = np.sort([*self.own] if enough else [*self._usual, *self.own])
            rank = math.ceil((1 - self._rejects) * (len(held) + 1))
            self._value = float(held[min(rank, len(held)) - 1])
        return self._value

    def restore(self, own: list[float]) -> None:
        """Take the scores up again."""
        self.own = deque(own, OWN)
        self._value = math.nan


def heat(cells: Floats, limit: float, side: int) -> Codes:
    """The map as a picture [side, side, 3] to lay over another (screen): black where nothing is, red where the
    network sees a defect, yellow where it is sure. Smooth between the middles of cells."""
    size = len(cells)
    place = np.clip((np.arange(side) + 0.5) * size / side - 0.5, 0, size - 1)
    low = np.minimum(place.astype(int), size - 2) if size > 1 else np.zeros(side, int)
    part = place - low
    rows = cells[low] * (1 - part)[:, None] + cells[np.minimum(low + 1, size - 1)] * part[:, None]
    whole = rows[:, low] * (1 - part) + rows[:, np.minimum(low + 1, size - 1)] * part
    sure = 1.0 / (1.0 + np.exp(-np.clip(whole - min(limit, 0.0), -30, 30)))
    return np.rint(255 * np.stack([sure, np.maximum(2 * sure - 1, 0) * 0.8, np.zeros_like(sure)], -1)).astype(np.uint8)


def strange(count: int, window: int, share: float, chance: float) -> bool:
    """Whether `count` rejects among `window` parts, the newest one of them, come by less than `chance` a part where
    `share` is usual."""
    if count < 2:
        return False
    tail = sum(math.comb(window - 1, k) * share**k * (1 - share) ** (window - 1 - k) for k in range(count - 1))
    return share * (1.0 - tail) < chance
