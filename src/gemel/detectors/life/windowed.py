"""A network of `gemel lab train --task rul`, asked like what `gemel lab life` learned: windows instead of whole lives.

Letters: t rows, c channels, b units, q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.values import Floats
from gemel.detectors.life.condition import Usual
from gemel.detectors.life.ensemble import Meaning, Table
from gemel.detectors.life.view import View, filled
from gemel.detectors.trained import FAR, NAME, Trained

STILL = 10
"""Rows a channel may stand still; such a card does not say how long they did."""


def is_windowed(folder: Path) -> bool:
    """Whether a folder holds such a network."""
    return (folder / f"{NAME}.json").exists()


class Windowed:
    """Such a network; raises `PartError` for its files, and `ConfigError` for one that has to be told the condition of
    operation: only what `gemel lab life` learned finds that by itself."""

    def __init__(self, folder: Path) -> None:
        self._network = Trained(folder, ("rul",), "life")
        self.artifact, told = self._network.artifact, self._network.meaning
        if len(told.conditions) > 1:
            raise ConfigError(
                [f"life: the network in {folder} was trained with the condition of operation as a label"],
                "gemel lab life finds conditions from settings: --settings a,b",
            )
        c = len(told.channels)
        usual = Usual(
            told.channels, (), (), (), ((),), np.inf, (told.centre[-1],), (told.spread[-1],),
            (-FAR,) * c, (FAR,) * c, (STILL,) * c,
        )  # fmt: skip
        cap = told.cap or self._longest(c)
        self.meaning = Meaning(usual, View(first=max(told.own, 1)), Table(told.levels, (), ()), cap, 0.0, ())

    def _longest(self, channels: int) -> float:
        """What it says of a unit on which nothing is to be seen."""
        told = self._network.meaning
        return float(self._network(np.zeros((1, told.length, channels), np.float32))[0, -1]) / self._rows or 1.0

    @property
    def _rows(self) -> float:
        """How much of a life, in the unit of the labels, is a row."""
        told = self._network.meaning
        return told.step / 3600.0 if told.stamped else told.step

    def ask(self, units: Sequence[Floats]) -> tuple[Floats, Floats]:
        """Deviations of units [t, c] -> rows left [b] (the median), and their quantiles [b, q]."""
        told = self._network.meaning
        windows = np.zeros((len(units), told.length, len(told.channels)), np.float32)
        for window, unit in zip(windows, units, strict=True):
            x = filled(unit)
            if told.own:
                x = x - x[: told.own].mean(axis=0)
            tail = x[-told.length :]
            window[:] = np.clip(np.vstack([np.repeat(tail[:1], told.length - len(tail), axis=0), tail]), -FAR, FAR)
        quantiles = np.maximum(self._network(windows), 0.0) / self._rows
        middle = int(np.argmin(np.abs(np.array(told.levels) - 0.5)))
        return quantiles[:, middle], quantiles
