"""Fit a head to the history of one asset, and let it through only if it is better than zero-shot.

The first 70 % of the history teach, the next 15 % choose (ridge strength, spread, share), and the gate compares on the
last 15 %, which nothing was fitted to. What passes is then fitted once more on everything.

A causal network thinks at every position, so one pass over 64 patches gives the features of 48 windows: thousands of
windows cost seconds.

Letters: b windows, s signals, f features, h steps ahead, q levels, r ridge strengths, o origins (rows before a window's
horizon); X regressors [b, f], Y targets [b, h], G = X'X, C = X'Y.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.artifact import Artifact, Shelf
from gemel.core.errors import InputError
from gemel.core.foundation import Graph
from gemel.core.values import DECILES, Bools, Float32s, Floats, Frame, Times
from gemel.forecasters.context import DAY, spacing
from gemel.forecasters.foundation.forecaster import Foundation
from gemel.forecasters.foundation.head import (
    PATCHES,
    Head,
    blocks,
    features,
    lags,
    predicted,
    regressors,
    scaled,
    spread,
    units,
)
from gemel.forecasters.score import crps, pinball

MARGIN = 0.05
"""A head must lower the CRPS by this part at least."""
_TEACH, _CHOOSE = 0.7, 0.85
_WINDOWS = 64  # asked zero-shot in each of the two held-back parts
_MOST = 5000  # windows to learn from
_FEWEST = 24  # patches before the first of them
_RIDGE = (1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0)  # as a share of the mean eigenvalue of G
_SHARES = np.linspace(0, 1, 11)
_GAPS = 0.2  # a window with a larger share of missing cells teaches nothing
_BLOCKS = 4

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate saw: the CRPS of every signal on held-back windows, zero-shot and with the head."""

    signals: tuple[str, ...]
    zero: tuple[float, ...]
    head: tuple[float, ...]
    windows: int

    @property
    def gain(self) -> float:
        """The part by which the mean CRPS is lower with the head."""
        return 1 - float(np.mean(self.head) / np.mean(self.zero)) if self.zero else 0.0

    @property
    def passed(self) -> bool:
        """Whether that is enough."""
        return self.gain >= MARGIN

    def __str__(self) -> str:
        if not self.zero:
            return "refused: no signal moved in the held-back windows"
        zero, head = np.mean(self.zero), np.mean(self.head)
        what = f"CRPS {head:.4f} with the head, {zero:.4f} zero-shot, on {self.windows} held-back windows"
        better = f"{abs(self.gain):.1%} {'better' if self.gain >= 0 else 'worse'}"
        return f"kept: {what}: {better}" if self.passed else f"refused: {what}: {better}, and {MARGIN:.0%} is asked"


@dataclass(frozen=True, slots=True)
class _Windows:
    """All windows of a history, and what is known of them."""

    origins: Times  # [o]
    given: tuple[Float32s, Float32s]  # regressors: [o, s, f], [o, f]
    last: Float32s  # [o, s]
    truth: Floats  # [o, s, h] in deviations, NaN where missing
    usable: Bools  # [o, s]

    def at(self, places: Any) -> _Windows:
        mine, everybody = self.given
        return _Windows(
            self.origins[places],
            (mine[places], everybody[places]),
            self.last[places],
            self.truth[places],
            self.usable[places],
        )


def adapt(
    forecaster: Foundation, history: Frame, horizon: int, shelf: Shelf, progress: Progress = lambda *_: None
) -> Artifact:
    """Fit a head for `forecaster`, keep it, and promote it if the gate lets it through; raises as `fit`."""
    head, verdict = fit(forecaster, history, horizon, progress)
    made = shelf.add("head", {"head.npz": head.pack()}, card(head, verdict, history))
    return shelf.promote("head", made.version) if verdict.passed else made


def fit(
    forecaster: Foundation, history: Frame, horizon: int, progress: Progress = lambda *_: None
) -> tuple[Head, Verdict]:
    """A head for `horizon` steps, fitted to a regular history [t, s] with NaN where missing, and the gate's verdict.

    Signals that hardly have values, or never move, are left out. Raises `InputError` when the history is too short, or
    the horizon is more than one pass of the network.
    """
    history, graph = moving(history), forecaster.graph()
    step, values = spacing(history), history.values
    rows, first = len(values), max(lags(step), _FEWEST * graph.reach.patch)
    longest = graph.reach.horizon * graph.reach.patch
    if not 1 <= horizon <= longest:
        raise InputError(f"a head for {horizon} steps cannot be fitted", f"ask for 1 to {longest} steps")
    least = 2 * first + 20 * horizon
    if rows < least or not history.signals:
        raise InputError(
            f"a head for {horizon} steps needs {least} rows of moving signals; there are {rows if rows else 'none'}",
            "let the twin run longer, or choose a shorter horizon",
        )
    taught, chosen = int(_TEACH * rows), int(_CHOOSE * rows)
    mean, deviation = np.nanmean(values[:taught], axis=0), np.nanstd(values[:taught], axis=0)
    later: Any = np.zeros(0)
    head = Head(history.signals, step, horizon, graph.digest, mean, deviation, *[later] * 5)
    whole = _windows(graph, head, history, first, progress)
    teach, end = whole.origins <= taught - horizon, whole.origins + horizon
    choose, judge = (whole.origins >= taught) & (end <= chosen), whole.origins >= chosen
    strengths = _strengths(whole, teach, choose)
    head = replace(head, **_weights(whole.at(teach), strengths))

    draw = np.random.default_rng(0)
    held = [np.sort(draw.choice(i := np.nonzero(m)[0], min(_WINDOWS, len(i)), replace=False)) for m in (choose, judge)]
    parts = [whole.at(i) for i in held]
    zeros = []
    for n, part in enumerate(parts):
        progress(1 + n, 4, f"zero-shot on {len(part.origins)} held-back windows")
        zeros.append(_zero(forecaster, head, values, part))
    middles = [_middle(head, parts[0])]
    head = replace(head, **_calibrated(middles[0], parts[0], zeros[0]))
    head = replace(head, **_weights(whole.at(end <= chosen), strengths))  # as recent as it will be in use
    middles.append(_middle(head, parts[1]))
    verdict = _judged(head, middles[1], parts[1], zeros[1])

    progress(3, 4, "once more on everything")
    unseen = whole.at(np.concatenate(held))
    head = replace(head, **_calibrated(np.concatenate(middles), unseen, np.concatenate(zeros)))
    return replace(head, **_weights(whole, strengths)), verdict


def card(head: Head, verdict: Verdict, history: Frame) -> Mapping[str, Any]:
    """What is known of a head: where it is from, and both scores."""
    held = history.only(head.signals)
    code = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
    content = hashlib.sha256(held.time.tobytes())
    content.update(held.values.tobytes())
    return {
        "kind": "head",
        "signals": list(head.signals),
        "step": head.step,
        "horizon": head.horizon,
        "network": head.network,
        "rows": len(held),
        "start": int(held.time[0]),
        "end": int(held.time[-1]),
        "data": content.hexdigest(),
        "code": hashlib.sha256(code).hexdigest(),
        "scores": {
            "windows": verdict.windows,
            "CRPS zero-shot": dict(zip(head.signals, verdict.zero, strict=True)),
            "CRPS": dict(zip(head.signals, verdict.head, strict=True)),
        },
        "passed": verdict.passed,
        "verdict": str(verdict),
    }


def moving(history: Frame) -> Frame:
    """The signals that can be learned: half of their values there, in the first part too, and not all the same."""
    values = np.where(np.isfinite(history.values), history.values, np.nan)
    history = Frame(history.time, values, history.quality, history.signals)
    begun = values[: int(_TEACH * len(values))]
    there = np.isfinite(begun)
    low, high = np.where(there, begun, np.inf).min(axis=0), np.where(there, begun, -np.inf).max(axis=0)
    kept = (there.mean(axis=0) >= 0.5) & (high > low)
    return history.only([name for name, keep in zip(history.signals, kept, strict=True) if keep])


def _windows(graph: Graph, head: Head, history: Frame, first: int, progress: Progress) -> _Windows:
    values, horizon, p = history.values, head.horizon, graph.reach.patch
    origins, thought = _thoughts(graph, values, first, len(values) - horizon, progress)
    x = scaled(values, head.mean, head.deviation)
    given, last = regressors(x, origins, history.time[origins - 1], head.step, thought)
    truth = (values - head.mean) / head.deviation
    ahead = truth[origins[:, None] + np.arange(horizon)].transpose(0, 2, 1)
    gone = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(~np.isfinite(values), axis=0)])
    span = _FEWEST * p + horizon
    usable = gone[origins + horizon] - gone[origins - _FEWEST * p] <= _GAPS * span
    return _Windows(origins, given, last, ahead, usable)


def _thoughts(graph: Graph, values: Floats, first: int, end: int, progress: Progress) -> tuple[Times, Float32s]:
    """Origins from `first` to `end`, and the network's features there, [o], [o, s, d]."""
    p = graph.reach.patch
    stride = max(1, -(-(end - first) // _MOST))
    stride = min(2 ** (stride - 1).bit_length(), p)  # a part of a patch
    t = min(PATCHES, graph.reach.window)
    most = 2 * t // 3  # the others of a pass have seen too little
    stops = [s for offset in range(0, p, stride) for s in range(end - offset, first - 1, -most * p)]
    origins, found = [], []
    for n, stop in enumerate(stops):
        progress(n, 4 * len(stops), "features")
        rows = values[max(0, stop - t * p) : stop]
        at = np.arange(-min(most, len(rows) // p), 0)
        found.append(features(graph, rows.T, at).transpose(1, 0, 2))
        origins.append(stop + (at + 1) * p)
    order = np.argsort(np.concatenate(origins))
    where = np.concatenate(origins)[order]
    inside = (where >= first) & (where <= end)
    return where[inside], np.concatenate(found)[order][inside]


def _zero(forecaster: Foundation, head: Head, values: Floats, part: _Windows) -> Floats:
    """Zero-shot answers of some windows, in deviations, [b, s, h, q]; each sees four weeks, as in a twin."""
    rows = int(np.clip(28 * DAY // head.step, 2048, 16384))
    contexts = [values[max(0, o - rows) : o, i] for o in part.origins for i in range(values.shape[1])]
    found = forecaster.zero_shot(contexts, head.horizon)
    found = found.reshape(len(part.origins), values.shape[1], head.horizon, -1)
    return (found - head.mean[:, None, None]) / head.deviation[:, None, None]


def _targets(windows: _Windows, i: int) -> tuple[Floats, Floats]:
    """Regressors and targets of one signal, missing cells at the last value; usable windows only."""
    use = windows.usable[:, i]
    mine, everybody = windows.given
    y = np.nan_to_num(windows.truth[use, i] - windows.last[use, i, None])
    return np.hstack((mine[use, i], everybody[use])), y


def _strengths(whole: _Windows, teach: Bools, choose: Bools) -> list[tuple[float, float]]:
    """The best ridge strengths of every signal: for its own regressors, and for all."""
    own, found = whole.given[0].shape[2], []
    early, late = whole.at(teach), whole.at(choose)
    for i in range(whole.usable.shape[1]):
        (X, Y), (tried, truth) = _targets(early, i), _targets(late, i)
        pair = []
        for n in (own, X.shape[1]):
            errors = [
                float(np.abs(truth - tried[:, :n] @ B).mean()) if len(truth) else 0.0 for B in _ridge(X[:, :n], Y)
            ]
            pair.append(_RIDGE[int(np.argmin(errors))])
        found.append((pair[0], pair[1]))
    return found


def _weights(windows: _Windows, strengths: list[tuple[float, float]]) -> dict[str, Any]:
    own, mine, all = windows.given[0].shape[2], [], []
    for i, (a, b) in enumerate(strengths):
        X, Y = _targets(windows, i)
        mine.append(_ridge(X[:, :own], Y, (a,))[0])
        all.append(_ridge(X, Y, (b,))[0])
    return {"own": np.stack(mine).astype(np.float32), "all": np.stack(all).astype(np.float32)}


def _ridge(X: Floats, Y: Floats, strengths: tuple[float, ...] = _RIDGE) -> list[Floats]:
    """Weights [f, h] of every strength."""
    G, C = (X.T @ X).astype(np.float64), (X.T @ Y).astype(np.float64)
    mean, one = np.trace(G) / len(G) + 1e-300, np.eye(len(G))
    return [np.linalg.solve(G + k * mean * one, C) for k in strengths]


def _middle(head: Head, part: _Windows) -> Floats:
    return predicted(part.given, part.last, head.own, head.all)


def _calibrated(middle: Floats, part: _Windows, zero: Floats) -> dict[str, Any]:
    """Usual widths, quantiles of the errors and the best share of the regression. The share is found with quantiles
    from the other half of the windows: with its own the regression would look better than it is."""
    width, horizon = np.nanmedian(zero[..., -1] - zero[..., 0], axis=0), zero.shape[2]
    unit = units(zero, width)
    errors = np.where(part.usable[:, :, None], (part.truth - middle) / unit, np.nan)
    half = np.arange(len(errors)) < len(errors) // 2
    loss = np.zeros((len(_SHARES), len(width)))
    for mine, other in ((half, ~half), (~half, half)):
        fan = middle[mine][..., None] + unit[mine][..., None] * spread(_offsets(errors[other]), horizon)
        for k, share in enumerate(_SHARES):
            scores = pinball(part.truth[mine], (1 - share) * zero[mine] + share * fan, DECILES)
            loss[k] += np.nansum(scores, axis=(0, 2, 3))
    return {"width": width, "offsets": _offsets(errors), "share": _SHARES[loss.argmin(axis=0)]}


def _offsets(errors: Floats) -> Floats:
    """Deciles of errors [b, s, h] in blocks of steps, [s, k, q]; zero where there are none."""
    k = min(_BLOCKS, errors.shape[2])
    block = blocks(errors.shape[2], k)
    out = np.zeros((errors.shape[1], k, len(DECILES)))
    for i in range(len(out)):
        for j in range(k):
            cell = errors[:, i, block == j]
            if np.isfinite(cell).any():
                out[i, j] = np.nanquantile(cell, DECILES)
    return out


def _judged(head: Head, middle: Floats, part: _Windows, zero: Floats) -> Verdict:
    fan = middle[..., None] + units(zero, head.width)[..., None] * spread(head.offsets, head.horizon)
    share = head.share[:, None, None]
    mixed = (1 - share) * zero + share * fan
    there: list[str] = []
    zeros: list[float] = []
    heads: list[float] = []
    for i, name in enumerate(head.signals):
        truth = part.truth[:, i] * head.deviation[i] + head.mean[i]
        if np.nansum(np.abs(truth)) > 0:  # a signal at rest has no relative error
            there.append(name)
            for scores, fans in ((zeros, zero), (heads, mixed)):
                scores.append(crps(truth, fans[:, i] * head.deviation[i] + head.mean[i], DECILES))
    return Verdict(tuple(there), tuple(zeros), tuple(heads), len(part.origins))
