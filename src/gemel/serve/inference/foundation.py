"""The foundation forecaster as a model: histories in, quantiles out, with no twin around it.

Letters in shapes: b series, t times, s signals, h steps ahead, q levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.artifact import Shelf, read
from gemel.core.errors import InputError, PartError
from gemel.core.values import DECILES, GOOD, Floats, Frame, Times
from gemel.forecasters.context import HOUR, check
from gemel.forecasters.foundation.forecaster import Foundation
from gemel.forecasters.foundation.graph import SHIPPED
from gemel.forecasters.foundation.head import Head
from gemel.serve.inference.model import Work
from gemel.serve.inference.tensors import Array, Port

WAYS = ("best", "fast")
SERIES, HORIZON, LEVELS = 1024, 4096, 99
"""The most of each that one request may ask for."""
_MORE = (
    Port("horizon", "INT64", (1,), optional=True),
    Port("levels", "FP64", (-1,), optional=True),
)
_OUTPUTS = (Port("quantiles", "FP32", (-1, -1, -1)),)
_PLATFORM = "onnxruntime_onnx"


@dataclass(frozen=True, slots=True)
class _Asked:
    history: Floats  # [t, b]
    horizon: int
    levels: tuple[float, ...]
    way: str
    end: int = 0


class ZeroShot:
    """The network in a folder (the one that ships when empty), answering every series on its own.

    Inputs `history` [b, t] (NaN is missing), `horizon` [1] (64 when absent), `levels` [q] (the deciles when absent);
    parameter `way`, `"best"` or `"fast"`. Output `quantiles` [b, h, q], to the last bit what `Foundation.forecast`
    says of the same series. Callers with equal way, horizon and levels are answered together, whatever the lengths of
    their histories: the shorter are missing at first.
    """

    inputs = (Port("history", "FP64", (-1, -1), accepts=("FP32",)), *_MORE)
    outputs = _OUTPUTS
    platform = _PLATFORM

    def __init__(self, name: str = "foundation", model: str = "") -> None:
        self.name = name
        self.version = ""
        self._model = model
        self._ways = {way: Foundation(way, model) for way in WAYS}

    def load(self) -> None:
        self.version = read(self._model or SHIPPED, "foundation").version
        for forecaster in self._ways.values():
            forecaster.graph()

    def read(self, inputs: Mapping[str, Array], parameters: Mapping[str, Any]) -> Work:
        asked = _asked(inputs["history"].T, inputs, parameters)
        return Work((asked.way, asked.horizon, asked.levels), asked.history.shape[1], asked)

    def infer(self, works: Sequence[Work]) -> list[dict[str, Array]]:
        asked: list[_Asked] = [w.asked for w in works]
        frame = _frame(_beside([a.history for a in asked]), HOUR)  # no answer depends on the spacing
        first = asked[0]
        found = self._ways[first.way].forecast(frame, first.horizon, levels=first.levels).values
        ends = np.cumsum([w.rows for w in works])
        return [{"quantiles": part} for part in np.split(found, ends[:-1])]


class Adapted:
    """The head that was fitted to a twin's own history (`gemel adapt`), as long as one is promoted.

    Inputs `history` [t, s] in the order of `signals` at the spacing the head was fitted to, `end` [1] (the time of the
    last row in ns, UTC: the head knows the hour and the weekday), `horizon` and `levels` as for zero-shot. Output
    `quantiles` [s, h, q]. The version is that of the promoted head, looked up anew for each request.
    """

    outputs = _OUTPUTS
    platform = _PLATFORM

    def __init__(self, name: str, forecaster: Foundation, folder: Path = Path()) -> None:
        self.name = name
        way = "fast" if forecaster.way.small else "best"
        network = str(folder / forecaster.model) if forecaster.model else ""
        self._forecaster = Foundation(way, network, str(folder / forecaster.head))
        self._way = way
        self._shelf = Shelf(folder / forecaster.head)

    @property
    def version(self) -> str:
        return self._shelf.promoted("head")

    @property
    def inputs(self) -> tuple[Port, ...]:
        many = len(self._head().signals)
        return (Port("history", "FP64", (-1, many), accepts=("FP32",)), Port("end", "INT64", (1,)), *_MORE)

    def load(self) -> None:
        self._head()
        self._forecaster.graph()

    def read(self, inputs: Mapping[str, Array], parameters: Mapping[str, Any]) -> Work:
        asked = _asked(inputs["history"], inputs, {"way": self._way, **parameters})
        head = self._head()
        if asked.way != self._way:
            raise InputError(f"the head was asked for way '{asked.way}'", f"its twin says '{self._way}'")
        if asked.horizon > head.horizon:
            raise InputError(f"the head reaches {head.horizon} steps, not {asked.horizon}", "ask the foundation model")
        return Work(object(), asked.history.shape[1], asked)

    def infer(self, works: Sequence[Work]) -> list[dict[str, Array]]:
        head, found = self._head(), []
        for asked in (w.asked for w in works):
            frame = _frame(asked.history, head.step, asked.end, head.signals)
            found.append({"quantiles": self._forecaster.forecast(frame, asked.horizon, levels=asked.levels).values})
        return found

    def _head(self) -> Head:
        version = self.version
        if not version:
            raise PartError(f"'{self.name}' has no promoted head", "run gemel adapt")
        return Head.unpack(self._shelf.version("head", version).files["head.npz"].read_bytes())
