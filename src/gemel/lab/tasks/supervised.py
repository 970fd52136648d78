"""Training with labels, from a table to a network that runs on site.

    gemel lab train fleet.csv --task rul --network cnn --folder runs/fleet

Data are looked over and split by unit; networks are trained for every seed, calibrated on units of their own, and
scored on units they never saw, beside gradient boosting and a plain line. Those of the first seed are written as ONNX
with a card. Letters: n rows of a table, w windows, q levels, k classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gemel.core.errors import ConfigError, InputError
from gemel.core.values import Floats, Ints
from gemel.detectors.statistics.calibration import Calibration
from gemel.detectors.trained import Meaning
from gemel.lab.tasks import measures
from gemel.lab.tasks.labelled import Split, Table, described, read_table, split
from gemel.lab.tasks.member import Member, Watch, train
from gemel.lab.tasks.task import Task
from gemel.lab.tasks.turbofan import beside, is_turbofan
from gemel.lab.tasks.windows import Windows, askable, scaling, short_units
from gemel.lab.tasks.yardstick import Boosting, plain

USUAL_CAP = 125.0
"""Cycles of C-MAPSS beyond which an engine counts as new; its literature's."""
WEEK_S, WEEK_ROWS = 604_800.0, 10_080
"""A week in seconds; and in rows where time has no stamps (one a minute)."""
KEPT = 500
"""Scores of each class that a card keeps."""
SHARES, OTHER = (0.1, 0.03, 0.01), ("F1", "false alarms", "missed")
"""Other limits of detect that are told about, by the share of normal rows that pass them; and what is told."""
FEWEST = 5
"""Units held back below which they say how wide quantiles are, and not where the middle is."""
MOST = 50_000
"""Windows that are calibrated or scored on, at most; of more, evenly spaced ones."""


class Ensemble(nn.Module):
    """Networks whose answers are averaged."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, windows: Tensor) -> Tensor:
        return torch.stack([network(windows) for network in self.networks]).mean(0)


@dataclass(frozen=True)
class Scored:
    """What one seed came to: the network, what it answers, and measures of every method."""

    seed: int
    network: Ensemble
    meaning: Meaning
    scores: Mapping[str, Mapping[str, Any]]  # method -> measures on units not seen
    known: Mapping[str, Any]  # of the network on units it learned from
    seconds: Mapping[str, float]
    logs: Sequence[Sequence[tuple[int, float]]] = field(default_factory=list)


@dataclass(frozen=True)
class Prepared:
    """Data that are ready: what to learn from, and what to be scored on (the same table, or one of its own)."""

    task: Task
    table: Table
    test: Table
    shared: bool  # `test` is `table`: its units have to be split off
    last: bool  # of each unit only the last row is scored


def prepare(data: str | Path, task: Task, test: str | Path = "") -> Prepared:
    """Read what a run needs; raises `InputError` and `ConfigError` before anything is trained."""
    place = Path(data)
    table = read_table(place, task.task, task.columns)
    if task.data and task.data != table.digest:
        raise ConfigError(
            [f"the recipe wants the data {task.data[:12]}, and {place.name} is {table.digest[:12]}"],
            "give the same data, or take `data` out of the recipe",
        )
    task = replace(task, data=table.digest)
    if task.task == "rul" and not task.cap and is_turbofan(place):
        task = replace(task, cap=USUAL_CAP)
    other = Path(test) if test else beside(place) if is_turbofan(place) and task.split == "unit" else None
    if other is None:
        if not task.test:
            raise ConfigError(["no units to score on"], "give test = 0.2 or --test DATA")
        return Prepared(task, short_units(table, task.window), table, True, False)
    scored = read_table(other, task.task, task.columns, table)
    final = np.r_[scored.unit[1:] != scored.unit[:-1], True]
    cut = task.task == "rul" and bool(np.nanmax(np.where(final, scored.label, np.nan)) > 0)
    return Prepared(task, short_units(table, task.window), short_units(scored, task.window), False, cut)


def learn(ready: Prepared, seed: int, folder: Path, device: str, watch: Watch) -> Scored:
    """One seed: train the ensemble, calibrate, and score it beside boosting and the plain line."""
    task, table = ready.task, ready.table
    parts = split(table, task.split, task.seed, task.test if ready.shared else 0.0, task.calibrate, seed)
    known, held = table.of(parts.train), table.of(parts.calibrate)
    meaning = scaling(table, known, task)
    windows = Windows(table, meaning)
    ends = askable(table, known, task)
    kinds = len(table.classes)
    goal = _goal(table, task)
    unit = (task.cap or float(goal[ends].max()) or 1.0) if task.task == "rul" else 1.0
    far = np.abs(windows.at(_thin(ends, 4000)).mean(axis=1)).max(axis=0)
    meaning = replace(meaning, unit=unit, cap=task.cap, reach=tuple(far.tolist()))
    outputs = kinds if task.task == "classify" else task.outputs
    began = time.perf_counter()
    members = [Member(task, seed, i, len(table.channels), outputs, folder, device) for i in range(task.ensemble)]
    for member in members:
        member.load()
        total = task.ensemble * task.steps
        train(member, windows, ends, goal / unit, _shifted(watch, member.place * task.steps, total))
    network = Ensemble([member.averaged() for member in members])
    seconds = {"network": time.perf_counter() - began}

    asked, tested = _asked(ready, parts)
    test_windows = windows if ready.shared else Windows(ready.test, meaning)
    usable = _thin(askable(table, held, task), MOST)
    truth = _goal(tested, task)

    def judged(
        out: Callable[[Windows, Ints], Floats], what: Meaning, bounded: bool = True
    ) -> tuple[Meaning, dict[str, Any]]:
        what = calibrated(what, out(windows, usable), windows, usable, goal, task, bounded)
        return what, scored(what, out(test_windows, asked), test_windows, asked, truth)

    ask = asking(network, device)
    final, scores = judged(ask, meaning, not meaning.rebuilds)
    found: dict[str, Mapping[str, Any]] = {"network": scores}
    some = _thin(ends, 2000)
    telling = np.isfinite(goal[some]).all() and len(np.unique(goal[some])) > 1
    seen = scored(final, ask(windows, some), windows, some, goal) if telling else {}
    told = known & np.isfinite(table.label)
    plainly = replace(meaning, rebuilds=False, unit=1.0)
    if told.any() and len(np.unique(table.label[told])) > 1:
        began = time.perf_counter()
        labelled = askable(table, known, replace(task, network="cnn"))
        trees = Boosting(task, windows, labelled, goal, kinds, seed)
        found["boosting"] = judged(trees.out, plainly)[1]
        seconds["boosting"] = time.perf_counter() - began
    found["plain"] = judged(lambda w, e: plain(task, w, ends, goal, kinds, e), plainly, False)[1]
    return Scored(seed, network, final, found, seen, seconds, [m.log for m in members])


def asking(network: nn.Module, device: str = "cpu", batch: int = 512) -> Callable[[Windows, Ints], Floats]:
    """A way to ask a network for windows by their last rows."""

    def out(windows: Windows, ends: Ints) -> Floats:
        with torch.no_grad():
            parts = [
                network(torch.from_numpy(windows.at(ends[i : i + batch])).to(device)).cpu().numpy()
                for i in range(0, len(ends), batch)
            ]
        return np.concatenate(parts)

    return out


def calibrated(
    meaning: Meaning, out: Floats, windows: Windows, ends: Ints, goal: Floats, task: Task, bounded: bool = False
) -> Meaning:
    """The meaning, set right on units that were held back: `out` answers to the windows that end at `ends`. `bounded`:
    scores of detect are logarithms of odds."""
    if task.task == "rul":
        off = goal[ends][:, None] - np.asarray(replace(meaning, shift=(), cap=0.0).read(out, windows.rows[:0]))
        shift = [float(np.quantile(off[:, i], level)) for i, level in enumerate(meaning.levels)]
        if len(np.unique(windows.first[ends])) < FEWEST:  # rows of a unit are off together: one would speak for all
            shift = [s - float(np.interp(0.5, meaning.levels, shift)) for s in shift]
        return replace(meaning, shift=tuple(shift))
    if task.task == "classify":
        place = goal[ends].astype(int)
        tried = np.geomspace(0.2, 10.0, 60)
        losses = []
        for one in tried:
            p = replace(meaning, temperature=float(one)).read(out, windows.rows[:0])
            losses.append(-np.log(np.maximum(p[np.arange(len(p)), place], 1e-12)).mean())
        meaning = replace(meaning, temperature=float(tried[int(np.argmin(losses))]))
        unlike = 1.0 - meaning.read(out, windows.rows[:0])[np.arange(len(place)), place]
        kept = [unlike[place == k] for k in range(len(meaning.classes))]
        thin = [np.sort(x)[:: max(1, len(x) // KEPT)] for x in kept]
        return replace(meaning, scores=tuple(_short(x) for x in thin))
    normal = ~(goal[ends] == 1)
    score = meaning.read(out[normal], windows.at(ends[normal]) if meaning.rebuilds else windows.rows[:0])
    tail = Calibration(memory=len(score))
    tail.add(score)
    rate = task.alarms * (meaning.step / WEEK_S if meaning.stamped else 1 / WEEK_ROWS)
    limit = tail.score(min(rate * tail.cluster, 0.5)) if tail.ready else float(score.max(initial=0.0))
    if bounded:  # what was learned from labels says little more than yes or no: there is no tail to follow far
        limit = min(limit, max(float(score.max(initial=0.0)), 0.0))
    kept_scores = np.sort(score)[:: max(1, len(score) // KEPT)]
    return replace(meaning, limit=limit, scores=(_short(kept_scores),))


def scored(meaning: Meaning, out: Floats, windows: Windows, ends: Ints, goal: Floats) -> dict[str, Any]:
    """The measures of the task, of answers to the windows that end at rows whose truth is known, `goal` [n]."""
    truth = goal[ends]
    answer = meaning.read(out, windows.at(ends) if meaning.rebuilds else windows.rows[:0])
    if meaning.task == "rul":
        return measures.life(meaning.levels, answer, truth)
    if meaning.task == "classify":
        return measures.classes(answer, truth, meaning.classes)
    held = np.asarray(meaning.scores[0]) if meaning.scores else np.empty(0)
    found = measures.alarms(answer, meaning.limit, truth == 1)
    if len(held):  # what other limits would have brought: such that so many normal rows held back pass them
        each = [(share, measures.alarms(answer, float(np.quantile(held, 1 - share)), truth == 1)) for share in SHARES]
        found["limits"] = [{"passed": share, **{k: one[k] for k in OTHER}} for share, one in each]
    return found


def _short(x: Floats) -> tuple[float, ...]:
    """Numbers with the digits that count."""
    return tuple(float(f"{one:.6g}") for one in x)


def _goal(table: Table, task: Task) -> Floats:
    """What is asked for at every row, [n]; NaN where nobody said."""
    return np.minimum(table.label, task.cap) if task.task == "rul" and task.cap else table.label


def _asked(ready: Prepared, parts: Split) -> tuple[Ints, Table]:
    """The rows to be scored, and their table."""
    task, table = ready.task, ready.test
    rows = table.of(parts.test) if ready.shared else np.ones(len(table.unit), bool)
    if ready.last:
        final = np.r_[table.unit[1:] != table.unit[:-1], True]
        return np.flatnonzero(final & np.isfinite(table.label)).astype(np.int32), table
    if task.own:
        rows = rows & (np.arange(len(table.unit)) - table.first >= task.own)
    if not (rows & np.isfinite(table.label)).any():
        raise InputError("no labelled row to score on", "give labels on more units, or test data with labels")
    return _thin(askable(table, rows, replace(task, network="cnn")), MOST), table


def _thin(ends: Ints, most: int) -> Ints:
    """At most so many of them, evenly spaced."""
    return ends if len(ends) <= most else ends[np.linspace(0, len(ends) - 1, most).astype(int)]


def _shifted(watch: Watch, by: int, total: int) -> Watch:
    return lambda done, of, text: watch(by + done, total, text)


def begin(
    data: str | Path,
    folder: str | Path,
    task: Task,
    *,
    test: str | Path = "",
    resume: bool = False,
    device: str = "cpu",
    threads: int = 1,
    watch: Watch = lambda done, of, text: None,
) -> dict[str, Any]:
    """Everything: train for each seed, score, export. Returns the card, which also stands in the folder.

    A folder that holds a run is refused without `resume`. Raises `ConfigError` and `InputError` before training.
    """
    from gemel.lab.tasks.carry import carry

    torch.set_num_threads(threads)
    out = Path(folder)
    held = sorted(out.glob("member-*.pt"))
    if held and not resume:
        raise InputError(f"{folder} already holds a run", "--resume goes on with it; take another --folder")
    if resume and not held:
        raise InputError(f"{folder} holds no run to go on with", "leave --resume out to begin one")
    ready = prepare(data, task, test)
    task = ready.task
    runs = []
    for i in range(task.seeds):
        total = task.seeds * task.ensemble * task.steps
        runs.append(learn(ready, task.seed + i, out, device, _shifted(watch, i * task.ensemble * task.steps, total)))
    about = {"data": described(ready.table)}
    if not ready.shared:
        about["test data"] = described(ready.test)
    about["scored"] = {
        "units": "of the test data" if not ready.shared else f"not seen, split by {task.split}",
        "rows": "the last of each unit" if ready.last else "every labelled one",
    }
    return carry(out, task, runs, about)
