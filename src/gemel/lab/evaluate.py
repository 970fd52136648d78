"""How good is it: zero-shot forecasts by rolling origin, always beside the naive ones.

Two questions are asked. *Held-out series of the pool*: what we tune on and promote by; naive, seasonal naive, theta and
ridge stand beside. *The public benchmark*: for reporting only, with the published models beside.

Letters: b contexts, h horizon, q levels.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gemel.core.artifact import Artifact, digest, read
from gemel.core.errors import ConfigError, InputError
from gemel.core.foundation import Graph
from gemel.core.units import SECOND
from gemel.core.values import DECILES, Float32s, Floats, Frame, Times
from gemel.forecasters.foundation.ask import BEST, FAST, Ask
from gemel.forecasters.foundation.blend import zero_shot
from gemel.forecasters.linear import Linear
from gemel.forecasters.naive import Naive
from gemel.forecasters.seasonal_naive import SeasonalNaive
from gemel.forecasters.theta import Theta
from gemel.lab.corpus import read_pool
from gemel.lab.network import Network, scaled
from gemel.loop.forecast import Forecaster

WORST = 50.0
"""One window counts no more than this, so that a nearly constant past does not rule the mean."""
WAYS = {"fast": FAST, "best": BEST}
HORIZONS, WINDOWS, PAST, TAIL = (12, 48, 240), 4, 4096, 20_000
"""How held-out series are asked: steps ahead, origins a series, points of context, points of a series that count."""
PROTOCOL = {"horizons": list(HORIZONS), "windows": WINDOWS, "past": PAST, "tail": TAIL, "version": 1}
"""Scores of another protocol or another pool do not compare."""
BASELINES: dict[str, Callable[[], Forecaster]] = {
    "naive": Naive,
    "seasonal naive": SeasonalNaive,
    "theta": Theta,
    "ridge": Linear,
}
Answer = Callable[[Sequence[Floats], int], Floats]
"""`answer(contexts, horizon)` -> deciles [b, h, q]."""
Step = Callable[[int, int, str], None]
"""`step(done, total, text)`: a moving line."""


@dataclass(frozen=True)
class Model:
    """An exported network on disk, and its card where it has one."""

    name: str
    folder: Path
    artifact: Artifact | None

    @classmethod
    def found(cls, path: str | Path) -> Model:
        """From a folder that holds `foundation.onnx`, or from an ONNX file. Raises `PartError` for a damaged one."""
        folder, name = Path(path), "foundation"
        if folder.suffix == ".onnx":
            folder, name = folder.parent, folder.name.removesuffix(".onnx").removesuffix(".int8")
        if not (folder / f"{name}.onnx").exists():
            raise InputError(f"there is no exported network at {path}", f"gemel lab export --folder {folder}")
        artifact = read(folder, name) if (folder / f"{name}.json").exists() else None
        return cls(name, folder, artifact)

    def answer(self, way: str) -> Answer:
        """Forecasts in one of the ways a twin may ask: fast is int8."""
        graph = Graph(
            self.folder / (f"{self.name}.int8.onnx" if WAYS[way].small else f"{self.name}.onnx"), self.artifact
        )
        return lambda contexts, horizon: zero_shot(graph, contexts, horizon, WAYS[way], graph.reach)

    def record(self, kind: str, way: str, scores: Mapping[str, Any]) -> bool:
        """Write scores on the card; `False` when there is none."""
        if self.artifact is None:
            return False
        path = self.folder / f"{self.name}.json"
        card = json.loads(path.read_text(encoding="utf-8"))
        card["scores"].setdefault(kind, {})[way] = dict(scores)
        path.write_text(json.dumps(card, indent=1), encoding="utf-8")
        return True


class Served(nn.Module):
    """The network as it is asked: some positions only, units in and out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, values: Tensor, seen: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        view = scaled(values, seen)
        features = self.network.hidden(view).index_select(2, at)
        view = view.at(at)
        return view.units(self.network.answer(features, view.recent)), features


def asked(network: Network) -> Ask:
    """The network itself, without a file between."""
    served = Served(network)

    def ask(values: Float32s, seen: Float32s, at: Times) -> Float32s:
        with torch.no_grad():
            levels: Float32s = served(*(torch.from_numpy(a) for a in (values, seen, at)))[0].numpy()
        return levels

    return ask


def answering(make: Callable[[], Forecaster]) -> Answer:
    """A forecaster of the engine, fresh for every context. Rows are a second apart, so no calendar is assumed: a
    season is one that autocorrelation finds."""

    def answer(contexts: Sequence[Floats], horizon: int) -> Floats:
        out = np.empty((len(contexts), horizon, len(DECILES)))
        for row, c in zip(out, contexts, strict=True):
            time = np.arange(len(c), dtype=np.int64) * SECOND
            frame = Frame(time, c[:, None], np.zeros((len(c), 1), np.uint8), ("y",))
            row[:] = make().forecast(frame, horizon).values[0]
        return out

    return answer


def rolling(
    series: Sequence[Floats], horizon: int, answer: Answer, windows: int = WINDOWS, past: int = PAST
) -> dict[str, float]:
    """Scores of `answer` at the last `windows` origins of every series, from at most `past` points before each.

    MASE against the one-step naive of the past; CRPS: mean over series of the mean pinball loss over deciles,
    doubled, over the mean absolute step of the past (so that no large series rules); coverage of the 80 % band.
    """
    before: list[Floats] = []
    after: list[Floats] = []
    for y in series:
        for k in range(windows):
            cut = len(y) - horizon * (windows - k)
            if cut >= max(64, horizon // 2) and np.isfinite(y[max(0, cut - past) : cut]).sum() > 32:
                before.append(np.asarray(y[max(0, cut - past) : cut], np.float64))
                after.append(np.asarray(y[cut : cut + horizon], np.float64))
    levels = np.asarray(DECILES)
    mase, crps, inside = [], [], []
    for c, truth, q in zip(before, after, answer(before, horizon), strict=True):
        held = np.isfinite(truth)
        steps = np.abs(np.diff(c))
        scale = float(np.nanmean(steps)) if np.isfinite(steps).any() else 0.0
        if not held.any() or scale < 1e-9:
            continue
        e = truth[held, None] - q[held]
        mase.append(np.abs(e[:, 4]).mean() / scale)
        crps.append(2 * np.maximum(levels * e, (levels - 1) * e).mean() / scale)
        inside.append(((e[:, 0] >= 0) & (e[:, -1] <= 0)).mean())
    if not mase:
        raise InputError(f"no series is long enough for a horizon of {horizon}", "a window needs 64 points before it")
    return {
        "windows": len(mase),
        "MASE": float(np.mean(np.minimum(mase, WORST))),
        "CRPS": float(np.mean(np.minimum(crps, WORST))),
        "coverage": float(np.mean(inside)),
    }


def held_out(answer: Answer, pool: str | Path, step: Step = lambda *_: None) -> dict[str, Any]:
    """Scores on the held-out series of a pool beside the baselines: `rows`, one a horizon and forecaster, and `all`,
    geometric means over horizons of the ratios to seasonal naive."""
    series = [y[-TAIL:].astype(np.float64) for y in read_pool(pool)[1]]
    asked = {"network": answer, **{name: answering(make) for name, make in BASELINES.items()}}
    rows: list[dict[str, Any]] = []
    total = len(HORIZONS) * len(asked)
    for horizon in HORIZONS:
        for name, one in asked.items():
            step(len(rows), total, f"{horizon} steps ahead, {name}")
            rows.append({"horizon": horizon, "by": name} | rolling(series, horizon, one))
    base = {row["horizon"]: row for row in rows if row["by"] == "seasonal naive"}
    for row in rows:
        row["ratio"] = {score: row[score] / base[row["horizon"]][score] for score in ("MASE", "CRPS")}
    return {"protocol": PROTOCOL, "data": digest(pool), "rows": rows, "all": {name: _all(rows, name) for name in asked}}


def _all(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    mine = [row for row in rows if row["by"] == name]
    means = {score: float(np.exp(np.mean([np.log(row["ratio"][score]) for row in mine]))) for score in ("MASE", "CRPS")}
    return means | {"coverage": float(np.mean([row["coverage"] for row in mine]))}


def bench(answer: Answer, step: Step = lambda *_: None) -> dict[str, Any]:
    """MASE, CRPS and coverage on the public benchmark, as ratios to seasonal naive, and the rank among the published
    models by CRPS. For reporting only: tune on nothing here."""
    gift, root = _benchmark()
    base = gift.published().query("model == 'seasonal_naive'").set_index("config")
    tasks = {name: task for name, task in gift.tasks(root).items() if name in base.index}
    if not tasks:
        raise InputError(f"{root} holds no series of the benchmark", "set GEMEL_DATA to the folder with ett and m4")
    scores: dict[str, dict[str, float]] = {}
    rows: list[dict[str, Any]] = []
    for name, task in tasks.items():
        step(len(rows), len(tasks), name)
        given: list[Floats] = []

        def kept(contexts: Sequence[Floats], horizon: int, given: list[Floats] = given) -> Floats:
            given.append(answer(contexts, horizon))
            return given[-1]

        scores[name] = gift.score(task, kept)
        ratio = {score: value / float(base[score][name]) for score, value in scores[name].items()}
        rows.append({"config": name, **scores[name], "ratio": ratio, "coverage": _covered(task, np.concatenate(given))})
    table = gift.summary(scores)
    place = list(table.index).index(">>> this run")
    near = table.iloc[max(0, place - 3) : place + 3]
    return {
        "rows": rows,
        "MASE": float(table.MASE.iloc[place]),
        "CRPS": float(table.CRPS.iloc[place]),
        "coverage": float(np.mean([row["coverage"] for row in rows])),
        "rank": place + 1,
        "of": len(table),
        "near": [{"model": name, "MASE": float(x.MASE), "CRPS": float(x.CRPS)} for name, x in near.iterrows()],
    }


def _covered(task: Any, given: Floats) -> float:
    """Share of the true values inside the 80 % band; answers come in the order of series, then windows."""
    starts = [(y, len(y) - task.horizon * (task.windows - i)) for y in task.series for i in range(task.windows)]
    truth = np.stack([y[cut : cut + task.horizon] for y, cut in starts])
    inside = (truth >= given[..., 0]) & (truth <= given[..., -1])
    return float(inside[np.isfinite(truth)].mean())


def _benchmark() -> tuple[Any, str]:
    """The benchmark's own code, and the folder of its series."""
    code, root = os.environ.get("GEMEL_BENCH", ""), os.environ.get("GEMEL_DATA", "")
    path = Path(code) / "gift" / "gift.py"
    if not code or not root or not path.exists():
        raise InputError(
            "the benchmark was not found", "set GEMEL_BENCH and GEMEL_DATA to its folders: code and series"
        )
    if importlib.util.find_spec("pandas") is None:
        raise ConfigError(["the benchmark needs pandas"], "pip install pandas")
    spec = importlib.util.spec_from_file_location("gift", path)
    assert spec is not None
    assert spec.loader is not None
    gift = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gift)
    return gift, root
