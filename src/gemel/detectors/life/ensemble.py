"""What was learned of a fleet's wear, as files: trees and networks as ONNX, and a card that says what they mean.

Letters: t rows, s settings, c channels, b units, q levels, g points of the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.artifact import read
from gemel.core.errors import PartError
from gemel.core.onnx import session
from gemel.core.values import Float32s, Floats
from gemel.detectors.life.condition import Usual
from gemel.detectors.life.view import View

NAME = "life"
TREES, NETWORK = "life-trees.onnx", "life-network.onnx"


@dataclass(frozen=True)
class Table:
    """From an answer to quantiles: what units that were held back really had left, above such an answer."""

    levels: tuple[float, ...]
    answers: tuple[float, ...]  # [g], rising
    above: tuple[tuple[float, ...], ...]  # [g, q], quantiles of true life minus answer

    def quantiles(self, answer: Floats) -> Floats:
        """Answers [b] -> [b, q], rising with the level and never below 0. Nothing is cut off above."""
        off = np.stack([np.interp(answer, self.answers, column) for column in np.array(self.above).T], axis=1)
        return np.sort(np.maximum(answer[:, None] + off, 0.0), axis=1)


@dataclass(frozen=True)
class Meaning:
    """The part of the card that is needed on site. Lives are counted in rows (cycles)."""

    usual: Usual
    view: View
    table: Table
    cap: float  # no life was learned as longer
    weight: float  # of the trees; the networks have the rest
    lives: tuple[float, ...]  # of the units learned from, whole

    def young(self, age: float) -> Floats:
        """Quantiles [q] of what a unit of this age has left, if nothing else is known: as those learned from that grew
        as old."""
        rest = np.array([life - age for life in self.lives if life > age] or [0.0])
        return np.maximum(np.quantile(rest, self.table.levels), 0.0)


def mixed(trees: Floats | None, network: Floats | None, weight: float, cap: float) -> Floats:
    """One answer [b] from those of the trees and of the networks."""
    if trees is None or network is None:
        one = network if trees is None else trees
        assert one is not None
    else:
        one = weight * trees + (1 - weight) * network
    return np.clip(one, 0.0, cap)


class Ensemble:
    """An artifact, ready to be asked; raises `PartError` for files that are missing, damaged, or not of their card."""

    def __init__(self, folder: str | Path) -> None:
        import msgspec

        self.artifact = read(folder, NAME)
        try:
            self.meaning = msgspec.convert(self.artifact.card["answer"], Meaning)
        except (KeyError, msgspec.ValidationError) as error:
            raise PartError(f"the card in {folder} says nothing of remaining life: {error}", "learn it again") from None
        again = "learn it again: gemel.lab.life"
        self._open = {name: session(path, again) for name, path in self.artifact.files.items()}

    def answers(self, summary: Float32s, windows: Float32s) -> Floats:
        """Rows left, from summaries [b, f] and windows [b, w, d] -> [b]."""
        trees = self._run(TREES, {"summary": summary})
        network = self._run(NETWORK, {"windows": windows})
        return mixed(trees, network, self.meaning.weight, self.meaning.cap)

    def _run(self, name: str, given: Mapping[str, Float32s]) -> Floats | None:
        if name not in self._open:
            return None
        return np.asarray(self._open[name].run(None, given)[0], np.float64).reshape(-1) * self.meaning.cap

    def ask(self, units: Sequence[Floats]) -> tuple[Floats, Floats]:
        """Deviations of units [t, c], each from its first row to now -> rows left [b], and their quantiles [b, q]."""
        view = self.meaning.view
        answer = self.answers(
            np.stack([view.summary(x)[-1] for x in units]), np.stack([view.windows(x, last=True)[0] for x in units])
        )
        return answer, self.meaning.table.quantiles(answer)


def described(meaning: Meaning) -> dict[str, Any]:
    """For the card."""
    import msgspec

    return dict(msgspec.to_builtins(meaning))
