"""How good is it: zero-shot forecasts of a network by rolling origin, always beside the naive ones.

    python -m gemel.lab.evaluate runs/foundation/foundation.onnx --pool pool.parquet     held-out series of the pool
    GEMEL_BENCH=... GEMEL_DATA=... python -m gemel.lab.evaluate ... --bench              published models beside it

Letters: b contexts, t patches, p points a patch, h horizon, q levels.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from gemel.core.errors import InputError
from gemel.core.values import DECILES, Float32s, Floats, Times
from gemel.lab.corpus import read_pool
from gemel.lab.network import Network, scaled

Ask = Callable[[Float32s, Float32s, Times], Float32s]
"""`ask(values, seen, at)`: see `gemel.lab.export` for shapes."""
CHUNK = 64
"""Series asked at once: more do not fit the cache and take longer each."""
WORST = 50.0
"""One window counts no more than this, so that a nearly constant past does not rule the mean."""


@dataclass(frozen=True)
class Way:
    """How a network is asked. `patches` are the context lengths whose answers are averaged."""

    patches: tuple[int, ...] = (64,)
    flip: bool = False  # also ask for the series upside down
    most: int = 64  # longest window the network was trained on, context and horizon together
    patch: int = 32


FAST = Way()
BEST = Way(patches=(64, 32, 16), flip=True)


def opened(path: str | Path, threads: int = 1) -> Ask:
    """An ONNX file of `gemel.lab.export`, on one core that does not spin."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def ask(values: Float32s, seen: Float32s, at: Times) -> Float32s:
        levels: Float32s = session.run(["levels"], {"values": values, "seen": seen, "at": at})[0]
        return levels

    return ask


def asked(network: Network) -> Ask:
    """The network itself, without a file between."""

    def ask(values: Float32s, seen: Float32s, at: Times) -> Float32s:
        with torch.no_grad():
            x, m, i = (torch.from_numpy(a) for a in (values, seen, at))
            view = scaled(x, m)
            features = network.hidden(view)[:, :, i]
            view = view.at(i)
            levels: Float32s = view.units(network.answer(features, view.recent)).numpy()
        return levels

    return ask


def forecast(ask: Ask, contexts: Sequence[Floats], horizon: int, way: Way = FAST) -> Floats:
    """Deciles of the next `horizon` points of every context, [b, h, q], in one pass up to 24 patches ahead."""
    total = np.zeros((len(contexts), horizon, len(DECILES)))
    order = np.argsort([len(c) for c in contexts], kind="stable")  # alike lengths share a chunk
    for i in range(0, len(order), CHUNK):
        places = order[i : i + CHUNK]
        part = [np.asarray(contexts[j], np.float64) for j in places]
        answers = []
        for patches in way.patches:
            answers.append(once(ask, part, horizon, patches, way, 1.0))
            if way.flip:
                answers.append(once(ask, part, horizon, patches, way, -1.0))
        total[places] = np.mean(answers, axis=0)
    total.sort(-1)
    return total


def once(ask: Ask, contexts: Sequence[Floats], horizon: int, patches: int, way: Way, sign: float) -> Floats:
    """One pass with at most `patches` of context, [b, h, q]; `sign` -1 turns the series upside down."""
    p = way.patch
    ahead = -(-horizon // p)
    longest = -(-max(len(c) for c in contexts) // p)
    t = max(1, min(patches, longest, way.most + 1 - ahead))
    x = np.full((len(contexts), t * p), np.nan)
    for row, c in zip(x, contexts, strict=True):
        tail = c[-t * p :]
        row[len(row) - len(tail) :] = tail
    x[~np.isfinite(x)] = np.nan
    held = np.isfinite(x)
    count = np.maximum(held.sum(1, keepdims=True), 1)
    mean = np.where(held, x, 0).sum(1, keepdims=True) / count
    x = np.where(held, x - mean, 0)
    deviation = np.sqrt((x * x).sum(1, keepdims=True) / count) + 1e-5 * np.abs(mean) + 1e-12
    shape = (len(x), 1, t + ahead - 1, p)
    values, seen = np.zeros((2, *shape), np.float32)
    values[:, 0, :t] = (sign * x / deviation).reshape(len(x), t, p)
    seen[:, 0, :t] = held.reshape(len(x), t, p)
    levels = ask(values, seen, np.arange(t - 1, t + ahead - 1))[:, 0].astype(np.float64)
    levels = levels.reshape(len(x), ahead * p, -1)[:, :horizon]
    if sign < 0:
        levels = -levels[..., ::-1]
    return levels * deviation[..., None] + mean[..., None]


def naive(contexts: Sequence[Floats], horizon: int, season: int = 1) -> Floats:
    """The last season again, wider by the root of the seasons ahead, [b, h, q]."""
    from statistics import NormalDist

    z = np.array([NormalDist().inv_cdf(level) for level in DECILES])
    out = np.empty((len(contexts), horizon, len(DECILES)))
    for row, c in zip(out, contexts, strict=True):
        y = np.asarray(c, np.float64)
        y = y[np.isfinite(y)]
        s = season if len(y) > season else 1
        step = y[s:] - y[:-s]
        spread = np.sqrt((step**2).mean() if len(step) else 0.0) * np.sqrt(np.arange(horizon) // s + 1)
        row[:] = np.tile(y[-s:], horizon // s + 1)[:horizon, None] + spread[:, None] * z
    return out


def rolling(
    series: Sequence[Floats], horizon: int, answer: Callable[[Sequence[Floats], int], Floats], windows: int = 4
) -> dict[str, float]:
    """Scores of `answer(contexts, horizon)` at the last `windows` origins of every series.

    MASE against the one-step naive of the past; CRPS: mean over series of the mean pinball loss over deciles,
    doubled, over the mean absolute step of the past (so that no large series rules); coverage of the 80 % band.
    """
    past: list[Floats] = []
    future: list[Floats] = []
    for y in series:
        for k in range(windows):
            cut = len(y) - horizon * (windows - k)
            if cut >= max(64, horizon // 2) and np.isfinite(y[:cut]).sum() > 32:
                past.append(np.asarray(y[:cut], np.float64))
                future.append(np.asarray(y[cut : cut + horizon], np.float64))
    levels = np.asarray(DECILES)
    mase, crps, inside = [], [], []
    for c, truth, q in zip(past, future, answer(past, horizon), strict=True):
        held = np.isfinite(truth)
        steps = np.abs(np.diff(c[-4096:]))
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


def bench(ask: Ask, way: Way, tell: Callable[[str], None] = print) -> dict[str, dict[str, float]]:
    """MASE and CRPS on the public benchmark beside the published models. For reporting only: tune on nothing here."""
    code, root = os.environ.get("GEMEL_BENCH", ""), os.environ.get("GEMEL_DATA", "")
    if not code or not root:
        raise InputError(
            "the benchmark was not found", "set GEMEL_BENCH and GEMEL_DATA to the folders of bench and data"
        )
    spec = importlib.util.spec_from_file_location("gift", Path(code) / "gift" / "gift.py")
    assert spec is not None
    assert spec.loader is not None
    gift = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gift)
    base = gift.published().query("model == 'seasonal_naive'").set_index("config")
    scores = {}
    for name, task in gift.tasks(root).items():
        scores[name] = gift.score(task, lambda contexts, horizon: forecast(ask, contexts, horizon, way))
        ratio = {k: v / base[k][name] for k, v in scores[name].items()}
        tell(f"{name:20s} MASE {ratio['MASE']:.3f}  CRPS {ratio['CRPS']:.3f}  of seasonal naive")
    table = gift.summary(scores)
    place = list(table.index).index(">>> this run")
    mine, of = table.iloc[place], len(table)
    tell(f"all: MASE {mine.MASE:.3f}  CRPS {mine.CRPS:.3f}, rank {place + 1} of {of} by CRPS")
    return scores


def main() -> None:
    """The commands at the top of this file."""
    say = argparse.ArgumentParser(description="Zero-shot scores of an exported network.")
    say.add_argument("onnx")
    say.add_argument("--pool", default="", help="score the held-out series of this pool")
    say.add_argument("--bench", action="store_true", help="score the public benchmark")
    say.add_argument("--way", default="best", choices=("fast", "best"))
    given = say.parse_args()
    ask, way = opened(given.onnx), {"fast": FAST, "best": BEST}[given.way]
    if given.pool:
        held = [y[-20_000:].astype(np.float64) for y in read_pool(given.pool)[1]]
        for horizon in (12, 48, 240):
            print(horizon, "network", rolling(held, horizon, lambda c, h: forecast(ask, c, h, way)))
            print(horizon, "naive  ", rolling(held, horizon, naive))
    if given.bench:
        bench(ask, way)


if __name__ == "__main__":
    main()
