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
from gemel.core.errors import InputError, PartError, nearest
from gemel.core.foundation import SHIPPED
from gemel.core.values import DECILES, GOOD, Floats, Frame, Times
from gemel.forecasters.context import HOUR, check
from gemel.forecasters.foundation.forecaster import Foundation, within
from gemel.forecasters.foundation.head import Head, lags
from gemel.serve.inference.model import Model, Work
from gemel.serve.inference.tensors import Array, Port

WAYS = ("best", "fast")
SERIES, HORIZON = 256, 4096
"""The most that one request may ask for. More series come as several requests: then others have their turn between."""
_PASS = 768  # steps; what lies beyond is asked along nine paths at once, and counts as nine series a pass
_LEVELS = 99
_LONG = 32_768  # rows; longer histories only share a call with equally long ones
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
        asked = _asked(inputs["history"].T, inputs, parameters, 64)
        rows, series = asked.history.shape
        return Work((asked.way, asked.horizon, asked.levels, max(rows, _LONG)), series, asked)

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
        self._held: tuple[str, Any] = ("", None)

    @property
    def version(self) -> str:
        return self._shelf.promoted("head")

    @property
    def inputs(self) -> tuple[Port, ...]:
        many = len(self._head().signals)
        return (Port("history", "FP64", (-1, many), accepts=("FP32",)), Port("end", "INT64", (1,)), *_MORE)

    def load(self) -> None:
        self._head()

    def read(self, inputs: Mapping[str, Array], parameters: Mapping[str, Any]) -> Work:
        head = self._head()
        asked = _asked(inputs["history"], inputs, {"way": self._way, **parameters}, head.horizon)
        if asked.way != self._way:
            raise InputError(f"the head is not asked in way '{asked.way}'", f"its twin says '{self._way}'")
        if asked.horizon > head.horizon:
            raise InputError(f"the head reaches {head.horizon} steps, not {asked.horizon}", "ask the foundation model")
        if len(asked.history) < lags(head.step):
            raise InputError(f"{len(asked.history)} rows of history are too few", f"send {lags(head.step)} or more")
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
        if version != self._held[0]:
            self._held = version, Head.unpack(self._shelf.version("head", version).files["head.npz"].read_bytes())
        head: Head = self._held[1]
        if head.network != self._forecaster.graph().digest:
            raise PartError(f"head {version} was fitted to another network", "run gemel adapt again")
        return head


def models(forecasters: Mapping[str, tuple[Any, Path]]) -> list[Model]:
    """Every promoted artifact as a model: the network that ships as `foundation`, and of each forecaster (name ->
    forecaster, folder its paths start at) a network of its own as `NAME.network` and a promoted head as `NAME.head`."""
    found: list[Model] = [ZeroShot()]
    for name, (forecaster, folder) in forecasters.items():
        part = within(forecaster)
        if part is not None and part.model:
            found.append(ZeroShot(f"{name}.network", str(folder / part.model)))
        if part is not None and part.head and Shelf(folder / part.head).promoted("head"):
            found.append(Adapted(f"{name}.head", part, folder))
    return found


def _asked(history: Array, inputs: Mapping[str, Array], parameters: Mapping[str, Any], horizon: int) -> _Asked:
    """What a request asks of histories [t, b], with `horizon` where it does not say; raises `InputError`."""
    if unknown := set(parameters) - {"way"}:
        word = min(unknown)
        raise InputError(f"unknown parameter '{word}'{nearest(word, ['way'])}", "known: way, binary_data_output")
    way = parameters.get("way", "best")
    if way not in WAYS:
        raise InputError(f"way {way!r} is unknown", 'write "best" or "fast"')
    h = int(inputs["horizon"][0]) if "horizon" in inputs else horizon
    levels = tuple(inputs["levels"].tolist()) if "levels" in inputs else DECILES
    values = np.ascontiguousarray(history, np.float64)
    series = values.shape[1]
    check(_frame(values[:1], HOUR), h, levels)  # a row tells as much as all, and this runs in the event loop
    if not series:
        raise InputError("the history has no series", "send one or more")
    if h > HORIZON or len(levels) > _LEVELS:
        raise InputError(f"{h} steps and {len(levels)} levels", f"ask for at most {HORIZON} steps and {_LEVELS} levels")
    if series * (1 + 9 * ((h - 1) // _PASS)) > SERIES:
        raise InputError(f"{series} series of {h} steps are too many for one request", "send them as several requests")
    end = int(inputs["end"][0]) if "end" in inputs else 0
    return _Asked(values, h, levels, way, end)


def _beside(histories: Sequence[Floats]) -> Floats:
    """Histories [t, b] that end together, as columns of one; missing before each begins."""
    if len(histories) == 1:
        return histories[0]
    longest = max(map(len, histories))
    out = np.full((longest, sum(h.shape[1] for h in histories)), np.nan)
    column = 0
    for h in histories:
        out[longest - len(h) :, column : column + h.shape[1]] = h
        column += h.shape[1]
    return out


def _frame(values: Floats, step: int, end: int = 0, signals: Sequence[str] = ()) -> Frame:
    time: Times = end + step * np.arange(1 - len(values), 1, dtype=np.int64)
    names = tuple(signals) or tuple(map(str, range(values.shape[1])))
    return Frame(time, values, np.full(values.shape, GOOD, np.uint8), names)
