"""A network that has seen many kinds of signals foresees one it has never seen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.artifact import Shelf
from gemel.core.errors import ConfigError
from gemel.core.foundation import Graph, load
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.values import DECILES, Floats, Forecast, Frame
from gemel.forecasters.context import answer, check, spacing
from gemel.forecasters.foundation.ask import BEST, FAST, relevel
from gemel.forecasters.foundation.blend import zero_shot
from gemel.forecasters.foundation.head import Head, lags
from gemel.forecasters.naive import Naive

log = logging.getLogger(__name__)


@declared
class Foundation:
    """Gemel's pre-trained network: good forecasts from the first minute, without training and without a download.

    - `way`: `"best"` (several rates and lengths of context, both signs, float32) or `"fast"` (one pass, int8: fifty
      times cheaper, a little less sharp).
    - `model`: a folder with another exported network (`gemel lab export`); the one that ships when empty.
    - `head`: a folder where `gemel adapt` keeps what it fitted to this twin's own history; the promoted one is used for
      the signals, the spacing, the horizon and the network it was fitted to, and all else is answered zero-shot.

    Without a head every signal of the context is answered on its own, from its last 17 000 rows. Gaps are fine. A
    signal with hardly any values, or one that never moved, gets the answer of `naive`.
    """

    def __init__(self, way: str = "best", model: str = "", head: str = "") -> None:
        if way not in ("best", "fast"):
            raise ConfigError([f"foundation: way '{way}' is unknown"], 'write "best" or "fast"')
        self.way, self.model, self.head = BEST if way == "best" else FAST, model, head
        self._folder = Path()
        self._held: tuple[str, Head | None] = ("", None)

    def bind(self, setting: Setting) -> None:
        """Relative folders start at the twin file."""
        self._folder = setting.folder

    def graph(self) -> Graph:
        """The network that is asked."""
        return load(str(self._folder / self.model) if self.model else "", self.way.small)

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        check(context, horizon, levels)
        values = np.where(np.isfinite(context.values), context.values, np.nan)
        deciles = self.zero_shot(list(values.T), horizon)
        graph = self.graph()
        if head := self._fitted(graph, context, horizon):
            i = [context.signals.index(name) for name in head.signals]
            deciles[i] = head.mixed(graph, context.time, values[:, i], deciles[i])
        found = relevel(deciles, DECILES, levels)
        mute = np.isnan(found).any(axis=(1, 2))
        if mute.any():
            found[mute] = Naive().forecast(context, horizon, known=known, levels=levels).values[mute]
        return answer(found, context, levels, "foundation", known)

    def zero_shot(self, contexts: Sequence[Floats], horizon: int) -> Floats:
        """Deciles [b, h, q] by the network alone; NaN for a context that hardly has values, or never moves."""
        graph = self.graph()
        return zero_shot(graph, [_begun(c) for c in contexts], horizon, self.way, graph.reach)

    def _fitted(self, graph: Graph, context: Frame, horizon: int) -> Head | None:
        """The promoted head, where it was fitted to what is asked; looked up every time, so that a running twin takes a
        new one at its next turn. Raises `PartError` when its files were changed."""
        if not self.head:
            return None
        shelf = Shelf(self._folder / self.head)
        version = shelf.promoted("head")
        if version != self._held[0]:
            content = shelf.version("head", version).files["head.npz"].read_bytes() if version else b""
            self._held = version, Head.unpack(content) if content else None
            if (head := self._held[1]) and head.network != graph.digest:
                log.warning("head %s was fitted to another network and is not used: run gemel adapt again", version)
        head = self._held[1]
        if head is None or head.network != graph.digest or head.step != spacing(context) or head.horizon < horizon:
            return None
        return head if set(head.signals) <= set(context.signals) and len(context) >= lags(head.step) else None


def within(part: Any) -> Foundation | None:
    """The foundation forecaster that `part` is, or holds as one of its members."""
    if isinstance(part, Foundation):
        return part
    members = (*getattr(part, "members", ()), getattr(part, "forecaster", None))
    return next((found for one in members if one is not None and (found := within(one))), None)


def _begun(column: Floats) -> Floats:
    """A column from its first value on."""
    return column[int(np.argmax(np.isfinite(column))) :]
