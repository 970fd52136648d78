"""From histories to quantiles: windows for the network, several contexts, both signs, horizons beyond one pass.

Letters in shapes: b series, t patches, p points a patch, h steps ahead, q levels (deciles).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gemel.core.foundation import Reach, windowed
from gemel.core.values import DECILES, Float32s, Floats, Times
from gemel.forecasters.context import scores

Ask = Callable[[Float32s, Float32s, Times], Float32s]
"""`ask(values, seen, at)`: a `Graph`, or a network in training."""

CHUNK = 64
"""Windows asked at once: more do not fit the cache and take longer each."""
FEWEST = 4
"""Values of a window below which the network is not asked."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a network is asked."""

    patches: tuple[int, ...]
    """Lengths of context, the longest first."""
    flip: bool
    """Also ask for the series upside down, and average."""
    small: bool
    """Use the int8 network."""


FAST = Way((28,), flip=False, small=True)
BEST = Way((64, 32, 16, 8), flip=True, small=False)


def quantiles(ask: Ask, contexts: Sequence[Floats], horizon: int, way: Way, reach: Reach) -> Floats:
    """Deciles of the next `horizon` points of every context, [b, h, q]. Missing values are NaN; a context whose last
    windows hardly have values, or never move, is answered with NaN. One pass reaches 768 points; beyond, the whole fan
    of quantiles goes on."""
    out = np.empty((len(contexts), horizon, len(DECILES)))
    many = CHUNK // (1 + way.flip)
    sizes = np.array([min(-(-len(c) // reach.patch), max(way.patches)) for c in contexts])
    for size in np.unique(sizes):  # only alike lengths share a pass, so that no answer depends on its neighbours
        alike = np.nonzero(sizes == size)[0]
        for i in range(0, len(alike), many):
            places = alike[i : i + many]
            out[places] = _far(ask, [contexts[j] for j in places], horizon, way, reach)
    return out


def _far(ask: Ask, contexts: list[Floats], horizon: int, way: Way, reach: Reach) -> Floats:
    most, many = reach.horizon * reach.patch, CHUNK // (1 + way.flip)
    found = _averaged(ask, contexts, min(horizon, most), way, reach)
    while found.shape[1] < horizon:
        # each decile so far is one path into the future; what follows is the deciles of all that may follow them
        paths = [np.concatenate((c, path)) for c, fan in zip(contexts, found, strict=True) for path in fan.T]
        ahead = min(horizon - found.shape[1], most)
        after = np.concatenate(
            [_averaged(ask, paths[k : k + many], ahead, way, reach) for k in range(0, len(paths), many)]
        )
        after = after.reshape(len(contexts), len(DECILES), ahead, -1).transpose(0, 2, 1, 3)
        after = after.reshape(len(contexts), ahead, -1)  # "weibull": the k-th of n is the level k / (n + 1)
        after = np.quantile(after, DECILES, axis=2, method="weibull").transpose(1, 2, 0)
        found = np.concatenate((found, _no_surer(after, found)), axis=1)
    return found


def _no_surer(after: Floats, before: Floats) -> Floats:
    """Deciles [b, h, q] widened so that they do not start narrower than those before ended: paths made of deciles are
    smooth, and the network takes them for a calm signal."""
    n = min(after.shape[1], before.shape[1], 256)
    middle = after[:, :, len(DECILES) // 2, None]
    was, now = (np.ptp(fan, axis=2).mean(axis=1) for fan in (before[:, -n:], after[:, :n]))
    wider: Floats = middle + (after - middle) * np.maximum(was / np.where(now > 0, now, 1.0), 1.0)[:, None, None]
    return wider


def _averaged(ask: Ask, contexts: list[Floats], horizon: int, way: Way, reach: Reach) -> Floats:
    """The mean over the lengths of context that have an answer, and over signs, sorted, [b, h, q]."""
    ahead = -(-horizon // reach.patch)
    longest = -(-max(len(c) for c in contexts) // reach.patch)
    room = reach.window + 1 - ahead
    lengths = {_even(max(1, min(patches, longest, room)), ahead) for patches in way.patches}
    found = np.stack([_once(ask, contexts, horizon, t, way.flip, reach.patch) for t in sorted(lengths)])
    answered = np.isfinite(found[:, :, :1, :1])
    with np.errstate(invalid="ignore"):  # 0 / 0: no length has an answer
        mean: Floats = np.sort(np.where(answered, found, 0.0).sum(0) / answered.sum(0), axis=2)
    return mean


def _even(t: int, ahead: int) -> int:
    """A long context less its oldest one to three patches, so that a window has a multiple of four: see `Graph`, which
    would fill it up, and that costs up to a fifth of the time."""
    return t - (t + ahead - 1) % 4 if t >= 12 else t


def _once(ask: Ask, contexts: list[Floats], horizon: int, t: int, flip: bool, p: int) -> Floats:
    """One pass over the last `t` patches of every context, [b, h, q]."""
    b, ahead = len(contexts), -(-horizon // p)
    x, held, mean, deviation = windowed(contexts, t * p)
    values, seen = np.zeros((2, b * (1 + flip), 1, t + ahead - 1, p), np.float32)
    values[:b, 0, :t] = x.reshape(b, t, p)
    seen[:b, 0, :t] = held.reshape(b, t, p)
    values[b:], seen[b:] = -values[: b * flip], seen[: b * flip]
    answer = ask(values, seen, np.arange(t - 1, t + ahead - 1)).astype(np.float64)
    levels: Floats = answer[:b].reshape(b, ahead * p, -1)[:, :horizon]
    if flip:
        levels = (levels - answer[b:].reshape(b, ahead * p, -1)[:, :horizon, ::-1]) / 2
    levels = levels * deviation[:, :, None] + mean[:, :, None]
    low, high = np.where(held, x, np.inf).min(1), np.where(held, x, -np.inf).max(1)
    levels[(held.sum(1) < FEWEST) | (low >= high)] = np.nan
    return levels


def relevel(values: Floats, held: Sequence[float], wanted: Sequence[float]) -> Floats:
    """Quantiles [..., q] at other levels: straight lines against the normal score, the outermost go on."""
    if tuple(held) == tuple(wanted):
        return values
    x, at = scores(tuple(held)), scores(tuple(wanted))
    i = np.clip(np.searchsorted(x, at), 1, len(x) - 1)
    share = (at - x[i - 1]) / (x[i] - x[i - 1])
    between: Floats = values[..., i - 1] + share * (values[..., i] - values[..., i - 1])
    return between
