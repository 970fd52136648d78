"""A network that was trained with labels, as a file: windows of telemetry in, what they mean out.

`gemel lab train` writes `trained.onnx` and its card. The graph takes scaled windows [b, t, c]; how they are scaled and
what its answer means stands on the card under `answer`, so that the lab scores exactly what runs on site.

Letters: b windows, t rows of a window, c channels, o outputs, k classes, q levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.artifact import read
from gemel.core.errors import ConfigError, PartError, nearest
from gemel.core.onnx import session
from gemel.core.setting import Setting
from gemel.core.units import duration, spell
from gemel.core.values import Bools, Float32s, Floats, Ints

NAME = "trained"
FAR = 10.0
"""Scaled values are cut off here: a unit that is wrong by a thousand says no more than one by ten deviations."""


@dataclass(frozen=True)
class Meaning:
    """How windows are scaled for a network, and what it answers; the part of the card that is needed on site.

    `centre` and `spread` have a row for each of the `conditions` and a last one for any other. With `own` rows the
    centre is that of a unit's own first rows instead.
    """

    task: str
    rebuilds: bool  # it answers with the window made again
    channels: tuple[str, ...]
    length: int
    step: float
    stamped: bool
    centre: tuple[tuple[float, ...], ...]
    spread: tuple[tuple[float, ...], ...]
    conditions: tuple[str, ...] = ()
    own: int = 0
    classes: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    unit: float = 1.0  # of the answers of rul
    cap: float = 0.0  # no life is said to be longer
    shift: tuple[float, ...] = ()  # by which each level is moved, so that it holds on units not seen
    temperature: float = 1.0
    scores: tuple[tuple[float, ...], ...] = ()  # of windows held back: 1 - probability of each true class; or normal
    limit: float = 0.0  # of the score of detect
    reach: tuple[float, ...] = ()  # how far from 0 the mean of a channel has been in training, over a window

    def scaled(self, values: Floats, condition: Ints | None = None, centre: Floats | None = None) -> Float32s:
        """Rows [t, c] in deviations from the usual, 0 where missing. `condition` [t] is a place in `conditions`, -1 for
        another; `centre` [c] or [t, c] takes the place of that on the card."""
        middle, wide = np.asarray(self.centre), np.asarray(self.spread)
        place = np.full(len(values), -1) if condition is None else condition
        z = (values - (middle[place] if centre is None else centre)) / wide[place]
        return np.clip(np.nan_to_num(z, nan=0.0, posinf=FAR, neginf=-FAR), -FAR, FAR).astype(np.float32)

    def read(self, out: Float32s | Floats, windows: Float32s) -> Floats:
        """The network's answer in words: rul quantiles [b, q], classify probabilities [b, k], detect scores [b]."""
        x = np.asarray(out, np.float64)
        if self.task == "rul":
            levels = np.sort(x, axis=1) * self.unit
            moved = np.sort(levels + (np.asarray(self.shift) if self.shift else 0.0), axis=1)
            return np.clip(moved, 0.0, self.cap or np.inf)
        if self.task == "classify":
            x = x / self.temperature
            x = np.exp(x - x.max(axis=1, keepdims=True))
            return np.asarray(x / x.sum(axis=1, keepdims=True))
        return self.contributions(out, windows).mean(axis=1) if self.rebuilds else x[:, 1] - x[:, 0]

    def contributions(self, out: Float32s | Floats, windows: Float32s) -> Floats:
        """How far each channel is from what the network makes of it, [b, c]: over the whole window, squared."""
        return np.asarray(((np.asarray(out, np.float64) - windows) ** 2).mean(axis=1))

    def outside(self, windows: Float32s) -> Bools:
        """Channels that lie further out than they ever did in training, [b, c]: whatever the network says of such a
        window, it has not learned."""
        if not self.reach:
            return np.zeros((len(windows), len(self.channels)), bool)
        return np.asarray(np.abs(windows.mean(axis=1)) > 1.5 * np.asarray(self.reach) + 1.0)

    def p(self, probability: Floats) -> Floats:
        """Conformal p-values [b, k] from probabilities [b, k]: of windows of class k held back, the share that was at
        least as unlike it (Vovk 2003, class-conditional). A window that fits no class has only small ones."""
        found = np.ones(probability.shape)
        for k, scores in enumerate(self.scores):
            held = np.sort(np.asarray(scores))
            at_least = len(held) - np.searchsorted(held, 1.0 - probability[:, k] - 1e-12, "left")
            found[:, k] = (1.0 + at_least) / (len(held) + 1.0)
        return found


def meaning(card: Mapping[str, Any]) -> Meaning:
    """What a card says of the answer."""
    import msgspec

    try:
        return msgspec.convert(dict(card["answer"]), Meaning)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise PartError(f"the card says nothing of what the network answers: {error}", "train it again") from None


class Trained:
    """A network of a folder, ready to be asked; raises `PartError` for files that are missing or not of their card, and
    `ConfigError` for a network that was trained for another task."""

    def __init__(self, folder: str | Path, tasks: Sequence[str], by: str) -> None:
        self.artifact = read(folder, NAME)
        self.meaning = meaning(self.artifact.card)
        if self.meaning.task not in tasks:
            raise ConfigError(
                [f"{by}: the network in {folder} was trained for {self.meaning.task}, not {' or '.join(tasks)}"],
                f"gemel lab train --task {tasks[0]}",
            )
        self._session = session(self.artifact.files[f"{NAME}.onnx"], "train it again: gemel lab train")

    def __deepcopy__(self, memo: dict[int, Any]) -> Trained:
        """Itself: it has no memory."""
        return self

    def run(self, windows: Float32s) -> Float32s:
        """The graph's own answer to scaled windows [b, t, c]."""
        found: Float32s = self._session.run(None, {"windows": windows})[0]
        return found

    def __call__(self, windows: Float32s) -> Floats:
        """What scaled windows mean."""
        return self.meaning.read(self.run(windows), windows)


def channels_of(
    meaning: Meaning, setting: Setting, names: str, assets: Sequence[str], by: str
) -> dict[str, tuple[str, ...]]:
    """Which signals are the channels of the network: asset -> their names, in the network's order.

    `names` says how a signal is named, `"{asset}_{channel}"` for a fleet, `"{channel}"` for one thing. `assets`: which
    of them, all that have the channels if empty. Raises `ConfigError` for a channel that is missing.
    """
    known = setting.signals.names
    fleet = "{asset}" in names
    there = list(dict.fromkeys(s.asset for s in setting.signals if s.asset))
    asked = list(assets) or (there if fleet else [""])
    found, problems = {}, []
    for asset in asked:
        mine = tuple(names.replace("{asset}", asset).replace("{channel}", c) for c in meaning.channels)
        missing = [n for n in mine if n not in known]
        if not missing:
            owner = {setting.signals.named(n).asset for n in mine}
            found[asset or (owner.pop() if len(owner) == 1 else "") or setting.twin] = mine
        elif assets or not fleet:
            problems += [f"{by}: the network needs the signal '{n}'{nearest(n, known)}" for n in missing]
    if problems or not found:
        problems = problems or [f"{by}: no asset has all of {', '.join(meaning.channels)}"]
        raise ConfigError(problems, 'say how signals are named: names = "{asset}_{channel}"')
    return found


def spacing(meaning: Meaning, step: str, setting: Setting, by: str) -> int:
    """Nanoseconds between the rows of a network's windows; raises `ConfigError` where it is asked for another than it
    was trained with, or has rows of the twin's turns that come at another."""
    own = round(meaning.step * 1e9) if meaning.stamped else 0
    asked = duration(step) if step else 0
    if own and asked and abs(asked / own - 1) > 0.1:
        raise ConfigError(
            [f"{by}: step {step} is not the {spell(own)} that the network was trained with"], f'step = "{spell(own)}"'
        )
    found = asked or own or setting.every
    if setting.history is None and abs(setting.every / found - 1) > 0.1:
        raise ConfigError(
            [f"{by}: the network needs rows every {spell(found)}, and the twin turns every {spell(setting.every)}"],
            "give the twin a store, so that rows between two turns can be read",
        )
    return found
