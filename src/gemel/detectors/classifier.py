"""Which state an asset is in, told by a network that was trained with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, nearest
from gemel.core.explain import Sight
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration, instant_id
from gemel.core.values import Bools, Finding, Floats, Ints, Times
from gemel.detectors.reading import spans
from gemel.detectors.statistics.judge import Delay
from gemel.detectors.trained import Meaning, Trained, channels_of, spacing
from gemel.loop.decide import Situation

UNLIKE = "unlike anything known"
USUAL = ("normal", "0", "ok", "good", "healthy")
GAPS = 0.5
"""A window with a larger share missing is not judged."""


@declared
class Classifier:
    """Asks a network of your own (`gemel lab train --task classify`, or `detect` with labels) which class the last rows
    of each asset are; a class that is not `usual` opens a finding of that name.

    The evidence holds the probability and the conformal p-value of every class. Where no class has a p-value above
    `least`, or a signal is further out than it ever was in training, the finding is "unlike anything known": another
    fault, a sensor in the wrong unit, a state never seen. A network trained with `own` rows takes the first rows it
    reads for the asset's usual ones.

    - `model`: the folder that the lab wrote.
    - `names`: how the signals of an asset are named, `"{channel}"` or for a fleet `"{asset}_{channel}"`. `assets`:
      those to watch, by default all that have the channels.
    - `usual`: classes that are no trouble. `sure`: the probability that a class needs, `least`: the p-value.
    - `condition`: how the signal with the condition of operation is named, for a network trained with conditions; its
      value is the place of the condition in the training data, in alphabetical order.
    - `learn`: how far back it reads when it starts. `step`: spacing of the rows, by default that of the training data.
    - `raise_after`, `clear_after`: rows in a row that say so before a finding opens, and before it closes; that nothing
      known fits has to last for a whole window more.

    Raises `PartError` for files that are not those of their card, `ConfigError` for a channel without a signal.
    """

    def __init__(
        self,
        model: str,
        names: str = "{channel}",
        assets: Sequence[str] = (),
        usual: Sequence[str] = USUAL,
        sure: float = 0.8,
        least: float = 0.01,
        condition: str = "",
        learn: str = "1h",
        step: str = "",
        raise_after: int = 3,
        clear_after: int = 10,
    ) -> None:
        problems = []
        if not model or "{channel}" not in names:
            problems.append('classifier: model is a folder, names holds "{channel}"')
        if not 0 < sure < 1 or not 0 <= least < 1:
            problems.append("classifier: sure must be between 0 and 1, least 0 up to 1")
        if raise_after < 1 or clear_after < 0:
            problems.append("classifier: raise_after must be 1 or more, clear_after 0 or more")
        problems += spans("classifier", learn, step)
        if problems:
            raise ConfigError(problems, 'model = "runs/x", sure = 0.8, least = 0.01')
        self.model, self.names, self.assets, self.usual = model, names, list(assets), list(usual)
        self.sure, self.least, self.condition, self.learn, self.step = sure, least, condition, learn, step
        self.raise_after, self.clear_after = raise_after, clear_after
        self._setting: Setting | None = None
        self._every = 0
        self._last = 0
        self._told: list[_Asset] = []

    def bind(self, setting: Setting) -> None:
        network = Trained(setting.folder / self.model, ("classify", "detect"), "classifier")
        meaning = network.meaning
        if meaning.rebuilds:
            raise ConfigError([f"classifier: the network in {self.model} gives no classes"], 'kind = "autoencoder"')
        named = [] if self.usual == list(USUAL) else self.usual
        if unknown := [c for c in named if meaning.classes and c not in meaning.classes]:
            raise ConfigError(
                [f"classifier: usual: there is no class '{c}'{nearest(c, meaning.classes)}" for c in unknown],
                f"classes of {self.model}: {', '.join(meaning.classes)}",
            )
        self._every, self._setting = spacing(meaning, self.step, setting, "classifier"), setting
        found = channels_of(meaning, setting, self.names, self.assets, "classifier")
        self._told = []
        for subject, channels in found.items():
            condition = self.condition.replace("{asset}", subject)
            if condition and condition not in setting.signals:
                raise ConfigError([f"classifier: unknown signal '{condition}'"], "condition = the name of a signal")
            self._told.append(_Asset(self, network, subject, channels, condition))

    def inspect(self, situation: Situation) -> list[Finding]:
        assert self._setting is not None
        news = []
        for asset in self._told:
            time, values = self._rows(situation, asset.reads)
            news += asset.take(situation.now, time, values)
        self._last = situation.now // self._every * self._every
        return news

    def _rows(self, situation: Situation, names: Sequence[str]) -> tuple[Times, Floats]:
        setting, step = self._setting, self._every
        if setting is None or setting.history is None:
            row = [[situation.latest.get(name, np.nan) for name in names]]
            return np.array([situation.now], np.int64), np.array(row, float)
        end = situation.now // step * step
        back = max(duration(self.learn) // step, 2 * self._told[0].need) * step
        start = self._last + step if self._last else end - back
        if start > end:
            return np.empty(0, np.int64), np.empty((0, len(names)))
        frame = setting.history(names, max(start, end - back), end, every=step)
        return frame.time, np.asarray(frame.values, float)

    def sight(self, finding: Finding) -> Sight | None:
        asset = self._of(finding)
        return Sight(asset.channels, self._every, asset.need, asset.limit(finding)) if asset else None

    def scored(self, finding: Finding, windows: Floats) -> Floats:
        asset = self._of(finding)
        assert asset is not None
        return asset.scored(finding, windows)

    def _of(self, finding: Finding) -> _Asset | None:
        mine = [a for a in self._told if finding.by == "classifier" and a.subject == finding.subject]
        return mine[0] if mine else None

    def snapshot(self) -> Mapping[str, Any]:
        return {"last": self._last, "assets": {a.subject: a.snapshot() for a in self._told}}

    def restore(self, state: Mapping[str, Any]) -> None:
        if set(state["assets"]) == {a.subject for a in self._told}:
            self._last = int(state["last"])
            for asset in self._told:
                asset.restore(state["assets"][asset.subject])


class _Asset:
    """One asset's last rows, and the findings that stand about it: at most one of each class."""

    def __init__(
        self, part: Classifier, network: Trained, subject: str, channels: tuple[str, ...], condition: str
    ) -> None:
        self.part, self.network, self.subject, self.channels = part, network, subject, channels
        self.reads = (*channels, condition) if condition else channels
        self.meaning: Meaning = network.meaning
        self.need = self.meaning.length
        self.classes = self.meaning.classes or ("normal", "abnormal")
        self._recent: Floats = np.empty((0, len(self.reads)))
        self._own: Floats = np.empty((0, len(channels)))  # first rows, for a network that goes by them
        self._delays: dict[str, Delay] = {}
        self._runs: dict[str, list[int]] = {}  # name -> [rows in a row that said so, when the first was]
        self._open: dict[str, Finding] = {}

    def take(self, now: int, time: Times, values: Floats) -> list[Finding]:
        """What is new after these rows, [t] and [t, c]."""
        rows = np.vstack([self._recent, values])
        self._recent = rows[max(len(rows) - self.need + 1, 0) :]
        channels = values[:, : len(self.channels)]
        if len(self._own) < self.meaning.own:
            heard = channels[np.isfinite(channels).any(axis=1)]
            self._own = np.vstack([self._own, heard])[: self.meaning.own]
        if len(rows) < self.need or len(self._own) < self.meaning.own:
            return []
        view = np.lib.stride_tricks.sliding_window_view(rows, self.need, axis=0).transpose(0, 2, 1)
        stamps = time[len(time) - len(view) :]
        there = np.isfinite(view[:, :, : len(self.channels)]).mean(axis=(1, 2)) >= 1 - GAPS
        if not there.any():
            return []
        said = self._answers(view[there])
        news: dict[str, Finding] = {}
        for stamp, (name, evidence) in zip(stamps[there].tolist(), said, strict=True):
            self._row(now, stamp, name, evidence, news)
        return list(news.values())

    def _answers(self, windows: Floats) -> list[tuple[str, dict[str, float]]]:
        """Of windows [b, t, c]: the finding each would be ("" for none), and its evidence."""
        probability, out, outside = self._probability(windows)
        found: list[tuple[str, dict[str, float]]] = []
        if self.meaning.task == "detect":
            for chance, score in zip(probability[:, 1], out, strict=True):
                odd = score > self.meaning.limit
                found.append(
                    ("abnormal" if odd else "", {"probability abnormal": float(chance), "score": float(score)})
                )
            return found
        p = self.meaning.p(probability)
        for row, ranks, out_of in zip(probability, p, outside, strict=True):
            k = int(row.argmax())
            name = self.classes[k]
            evidence = {f"probability {c}": float(x) for c, x in zip(self.classes, row, strict=True)}
            evidence |= {f"p {c}": float(x) for c, x in zip(self.classes, ranks, strict=True)}
            if ranks.max() <= self.part.least or out_of.any():
                name = UNLIKE
                evidence |= {f"outside {c}": 1.0 for c, far in zip(self.channels, out_of, strict=True) if far}
            elif name in self.part.usual or row[k] < self.part.sure:
                name = ""
            found.append((name, evidence))
        return found

    def _probability(self, windows: Floats) -> tuple[Floats, Floats, Bools]:
        """Of windows [b, t, c]: probabilities [b, k], scores of detect [b], channels that are far out [b, c]."""
        b, t, _ = windows.shape
        count = len(self.channels)
        flat = windows[:, :, :count].reshape(b * t, count)
        place: Ints | None = None
        if windows.shape[2] > count:
            code = np.nan_to_num(windows[:, :, count].reshape(-1), nan=-1.0)
            known = (code >= 0) & (code < len(self.meaning.conditions))
            place = np.where(known, code, -1).astype(np.int32)
        centre = self._centre()
        x = self.meaning.scaled(flat, place, centre).reshape(b, t, count)
        out, outside = self.network(x), self.meaning.outside(x)
        if self.meaning.task == "classify":
            return out, out, outside
        chance = 1 / (1 + np.exp(-np.clip(out, -50, 50)))
        return np.stack([1 - chance, chance], axis=1), out, outside

    def _centre(self) -> Floats | None:
        """Where the channels of this asset usually lie, [c]; None where the card knows."""
        if not self.meaning.own:
            return None
        seen = np.isfinite(self._own)
        mean = np.where(seen, self._own, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        return np.where(seen.any(axis=0), mean, np.asarray(self.meaning.centre[-1]))

    def _row(self, now: int, stamp: int, name: str, evidence: dict[str, float], news: dict[str, Finding]) -> None:
        """One row's answer: findings open after some that agree, and close after some that do not."""
        for known in {*self._runs, name} - {""}:
            run = self._runs.setdefault(known, [0, stamp])
            if known != name:
                run[0] = 0
            else:
                run[0] += 1
                run[1] = stamp if run[0] == 1 else run[1]
            delay = self._delays.setdefault(known, Delay(self.part.clear_after))
            wait = self.need if known == UNLIKE else 0  # while one state turns into another, a window is like neither
            raised = delay.take(run[0] >= self.part.raise_after + wait)
            held = self._open.get(known)
            if raised and held is None:
                news[known] = self._open[known] = self._opened(known, now, run[1], evidence)
            elif not raised and held is not None:
                del self._open[known]
                if held.id in {f.id for f in news.values()} and held.time == now:
                    del news[known]  # it came and went between two turns
                else:
                    news[known] = replace(held, time=now, open=False, text=f"{self.subject} is no longer {known}")

    def _opened(self, name: str, now: int, start: int, evidence: dict[str, float]) -> Finding:
        beyond = any(k.startswith("outside ") for k in evidence)  # further out than ever: whatever the ranks say
        like = 0.0 if beyond else max((v for k, v in evidence.items() if k.startswith("p ")), default=0.0)
        chance = evidence.get(f"probability {name}", 1 - max(like, self.part.least))
        id = f"{name}-{self.subject}-{instant_id(now)}".replace(" ", "-")
        text = f"{self.subject} is {name}"
        text += "" if name == UNLIKE else f", as the network is {chance:.0%} sure"
        severity = 0.5 if name == UNLIKE else 0.3 + 0.6 * chance
        return Finding(
            id, name, self.subject, min(start, now), now, severity, chance, text, evidence=evidence, by="classifier"
        )

    def limit(self, finding: Finding) -> float:
        """The score at which such a finding opens."""
        if self.meaning.task == "detect":
            return self.meaning.limit
        return float(np.log(self.part.sure / (1 - self.part.sure))) if finding.name in self.classes else float("nan")

    def scored(self, finding: Finding, windows: Floats) -> Floats:
        """Logarithms of the odds of the finding's class (of what is not usual, for one that is none), [b]."""
        cut = windows[:, -self.need :, :]
        probability, out, _ = self._probability(cut)
        if self.meaning.task == "detect":
            return out
        if finding.name in self.classes:
            chance = probability[:, self.classes.index(finding.name)]
        else:
            usual = [i for i, c in enumerate(self.classes) if c in self.part.usual]
            chance = 1 - probability[:, usual].sum(axis=1)
        chance = np.clip(chance, 1e-9, 1 - 1e-9)
        return np.asarray(np.log(chance / (1 - chance)))

    def snapshot(self) -> Mapping[str, Any]:
        """Its memory."""
        return {
            "recent": self._recent,
            "own": self._own,
            "delays": {name: delay.snapshot() for name, delay in self._delays.items()},
            "runs": self._runs,
            "open": list(self._open.values()),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        self._recent, self._own = np.asarray(state["recent"]), np.asarray(state["own"])
        self._runs = {str(name): [int(n), int(t)] for name, (n, t) in state["runs"].items()}
        self._delays = {}
        for name, memory in state["delays"].items():
            self._delays[name] = Delay(self.part.clear_after)
            self._delays[name].restore(memory)
        self._open = {f.name: f for f in state["open"]}
