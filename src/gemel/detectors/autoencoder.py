"""Windows that a network trained on normal ones cannot make again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import spell
from gemel.core.values import Finding, Floats
from gemel.detectors.statistics.scale import stretches
from gemel.detectors.trained import Trained, channels_of, spacing
from gemel.detectors.watch import Watch, Watching
from gemel.loop.decide import Situation


class Rebuilt:
    """Scores rows by how far the window that ends there is from what the network makes of it, k = 1; signals share in
    it by their own distance. `order`: the column of each channel of the network.

    The centre is that of the normal time it is fitted on, as a unit's own is in training; the spread is the card's.
    """

    def __init__(self, network: Trained, order: Sequence[int]) -> None:
        self._network, self._order = network, list(order)
        self.need = network.meaning.length
        self._centre: Floats = np.empty(0)
        self._recent: Floats = np.empty((0, 0))

    def fit(self, values: Floats) -> None:
        """Learn where the signals usually lie, from [t, c]; a network trained without `own` rows knows."""
        card = np.asarray(self._network.meaning.centre[-1])
        seen = np.isfinite(values[:, self._order])
        mean = np.where(seen, values[:, self._order], 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        self._centre = np.where(seen.any(axis=0), mean, card) if self._network.meaning.own else card
        self._recent = np.empty((0, values.shape[1]))

    def score(self, values: Floats) -> tuple[Floats, Floats]:
        """Of the rows that follow, [t, c]: the distance [t, 1], and that of each signal [t, c]."""
        view, self._recent = stretches(self._recent, values, self.need)
        parts = self._parts(np.ascontiguousarray(view))
        return parts.mean(axis=1, keepdims=True), parts

    def apart(self, windows: Floats) -> Floats:
        """The same of windows by themselves, [b, t, c] -> [b, t, 1], from the row on that has enough before it."""
        view = np.lib.stride_tricks.sliding_window_view(windows, self.need, axis=1)  # [b, t, c, w]
        b, t = view.shape[:2]
        parts = self._parts(view.transpose(0, 1, 3, 2).reshape(b * t, self.need, -1))
        return parts.mean(axis=1).reshape(b, t, 1)

    def _parts(self, windows: Floats) -> Floats:
        meaning = self._network.meaning
        if not len(windows):
            return np.empty((0, windows.shape[2]))
        rows = windows[:, :, self._order].reshape(-1, len(self._order))
        x = meaning.scaled(rows, centre=self._centre).reshape(len(windows), self.need, -1)
        found = np.zeros((len(windows), windows.shape[2]))
        found[:, self._order] = meaning.contributions(self._network.run(x), x)
        return found

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {"centre": self._centre, "recent": self._recent}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        self._centre, self._recent = np.asarray(state["centre"]), np.asarray(state["recent"])


@declared
class Autoencoder:
    """Asks a network of your own (`gemel lab train --task detect --network autoencoder`) to make every window again;
    what it cannot is unlike the normal time it was trained on.

    How strange a row is, is its rank among the rows of a normal time on site; rows that are no alarm join these. So a
    network of one pump can watch another of the same kind.

    - `model`: the folder that the lab wrote.
    - `names`: how the signals of an asset are named, `"{channel}"` or for a fleet `"{asset}_{channel}"`. `assets`:
      those to watch, by default all that have the channels.
    - `alarms_per_week`: false ones, in all. `learn`: the normal time it begins with, read from the history if there is
      one, else waited for. `step`: spacing of the rows, by default that of the training data.
    - `raise_after`, `clear_after`: rows in a row that are strange before a finding opens, and usual before it closes.

    Raises `PartError` for files that are not those of their card, `ConfigError` for a channel without a signal.
    """

    def __init__(
        self,
        model: str,
        names: str = "{channel}",
        assets: Sequence[str] = (),
        alarms_per_week: float = 1.0,
        learn: str = "1d",
        step: str = "",
        raise_after: int = 3,
        clear_after: int = 10,
    ) -> None:
        if not model or "{channel}" not in names:
            raise ConfigError(["autoencoder: model and names need a value"], 'model = "runs/x", names = "{channel}"')
        self.model, self.names, self.assets, self.step = model, names, list(assets), step
        self._rest = (alarms_per_week, learn, step, raise_after, clear_after)
        Watching("autoencoder", "unusual", list, (), *self._rest)  # says what is wrong with the settings
        self._watches: list[Watch] = []

    def bind(self, setting: Setting) -> None:
        network = Trained(setting.folder / self.model, ("detect",), "autoencoder")
        if not network.meaning.rebuilds:
            raise ConfigError([f"autoencoder: the network in {self.model} gives no window"], 'kind = "classifier"')
        step = spell(spacing(network.meaning, self.step, setting, "autoencoder"))
        found = channels_of(network.meaning, setting, self.names, self.assets, "autoencoder")
        alarms, learn, _, raised, cleared = self._rest
        self._watches = []
        for channels in found.values():
            places = sorted(channels, key=setting.signals.place)
            order = [places.index(name) for name in channels]

            def make(order: Sequence[int] = order) -> list[Rebuilt]:
                return [Rebuilt(network, order)]

            watching = Watching(
                "autoencoder", "unusual", make, channels, alarms / len(found), learn, step, raised, cleared
            )
            self._watches.append(Watch(watching, together=True))
            self._watches[-1].bind(setting)

    def inspect(self, situation: Situation) -> list[Finding]:
        return [finding for watch in self._watches for finding in watch.inspect(situation)]

    def sight(self, finding: Finding) -> Any:
        return next((found for w in self._watches if (found := w.sight(finding)) is not None), None)

    def scored(self, finding: Finding, windows: Floats) -> Floats:
        return next(w for w in self._watches if w.sight(finding) is not None).scored(finding, windows)

    def snapshot(self) -> Mapping[str, Any]:
        return {"watches": [watch.snapshot() for watch in self._watches]}

    def restore(self, state: Mapping[str, Any]) -> None:
        if len(state["watches"]) == len(self._watches):
            for watch, memory in zip(self._watches, state["watches"], strict=True):
                watch.restore(memory)
