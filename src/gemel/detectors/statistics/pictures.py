"""What can be said of a picture before anybody looks for a defect in it: is it a picture as they usually are?

Light that changed, a camera out of focus, dirt on the lens: these are in every picture from then on, while a defect is
in one, and the next one elsewhere. So single pictures are held against a wide bound, medians of some against a narrow
one.

Letters: n pictures, k features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gemel.core.values import Codes, Floats

BLOCKS = 8
"""Rows and columns of the blocks whose brightness is watched."""
NAMES = ("brightness", "contrast", "sharpness")
SINGLE, TOGETHER, LEAST = 10.0, 6.0, 0.7
"""Standard deviations that a single picture may be off (global features), a median of some (any, in its own standard
error), and what matters at least."""


def features(picture: Codes) -> Floats:
    """[3 + 64]: brightness, contrast, sharpness, and the brightness of each block over that of the whole, [h, w] in."""
    x = picture.astype(np.float32) / 255.0
    level, spread = float(x.mean()), float(x.std())
    edge = 4 * x[1:-1, 1:-1] - x[2:, 1:-1] - x[:-2, 1:-1] - x[1:-1, 2:] - x[1:-1, :-2]
    rows, columns = (side // BLOCKS * BLOCKS for side in x.shape)
    blocks = x[:rows, :columns].reshape(BLOCKS, rows // BLOCKS, BLOCKS, columns // BLOCKS).mean((1, 3))
    sharp = float(np.abs(edge).mean()) / max(spread, 1e-3)
    return np.concatenate([[level, spread, sharp], blocks.ravel() / max(level, 1e-3)]).astype(np.float64)


class Look:
    """Learned from the first `need` pictures; then each is held against them."""

    def __init__(self, need: int) -> None:
        self._need = need
        self._rows: list[Floats] = []
        self._mean: Floats | None = None
        self._sd: Floats = np.zeros(0)

    @property
    def ready(self) -> bool:
        """Whether enough was seen."""
        return self._mean is not None

    def learn(self, row: Floats) -> None:
        """One more of the usual pictures."""
        self._rows.append(row)
        if len(self._rows) >= self._need:
            rows = np.array(self._rows)
            self._mean = np.median(rows, axis=0)
            near = np.abs(rows - self._mean)
            sd = np.maximum(1.4826 * np.median(near, axis=0), rows.std(axis=0) * 0.5) + 1e-3
            sd[len(NAMES) :] = np.maximum(
                sd[len(NAMES) :], np.median(sd[len(NAMES) :])
            )  # few pictures: some look too calm
            self._sd = sd
            self._rows = []

    def forget(self) -> None:
        """What comes next is usual."""
        self._rows, self._mean = [], None

    def odd(self, row: Floats) -> str:
        """The global feature by which a single picture is out of all bounds, or ""."""
        if self._mean is None:
            return ""
        z = np.abs(row - self._mean)[: len(NAMES)] / self._sd[: len(NAMES)]
        return NAMES[int(z.argmax())] if z.max() > SINGLE else ""

    def moved(self, rows: Floats) -> tuple[str, float]:
        """What the median of some pictures [n, k] is off by most, over its bound (above 1: it has moved)."""
        if self._mean is None or not len(rows):
            return "", 0.0
        off = (np.median(rows, axis=0) - self._mean) / self._sd
        bound = max(1.25 * TOGETHER * float(np.sqrt(1 / len(rows) + 1 / self._need)), LEAST)
        worst = int(np.abs(off).argmax())
        if worst < len(NAMES):
            name = f"the {NAMES[worst]} is {'lower' if off[worst] < 0 else 'higher'} than usual"
        else:
            row, column = divmod(worst - len(NAMES), BLOCKS)
            name = (
                f"{'darker' if off[worst] < 0 else 'brighter'} than usual in block {row + 1}, {column + 1} of {BLOCKS}"
            )
        return name, float(np.abs(off[worst])) / bound

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {"rows": list(self._rows), "mean": self._mean, "sd": self._sd}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        self._rows, self._mean, self._sd = list(state["rows"]), state["mean"], np.asarray(state["sd"])
