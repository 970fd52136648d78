"""The network asked at the rate of the data and at slower ones, about means of 2, 4 and 8 neighbours.

A network knows some rhythms better than others: a day of 24 readings it has seen more often than a day of 96. The fast
way takes one rate by a rule; the best way asks at all, and trusts each as far as it would have foreseen the end of the
history.

Letters in shapes: b series, k views, h steps ahead, q levels (deciles).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from gemel.core.foundation import Reach
from gemel.core.values import DECILES, Bools, Floats, Frame
from gemel.forecasters.context import DAY, detect, filled, scores
from gemel.forecasters.foundation.ask import Ask, Way, quantiles
from gemel.forecasters.score import pinball
from gemel.forecasters.seasonal_naive import SeasonalNaive

RATES = (2, 4, 8)
ENOUGH = 256  # points a history must have at a slower rate
PERIODS = 2048  # points in which a season is looked for
NO_CALENDAR = 2 * DAY  # spacing that fits no calendar: only autocorrelation tells the season
ORIGINS = 2
SHARPNESS = 8.0  # a view with twice the loss weighs 2 ** -8 of the better one
FAVOUR = 1.1  # a slower rate must be so much better in the rehearsal to weigh as much as the rate of the data
DOUBT = 1.5  # and a mere repetition of the last season so much

View = Callable[[Sequence[Floats], int], Floats]
"""`view(contexts, horizon)`: deciles [b, h, q]; NaN for a series it has nothing to say about."""


def zero_shot(ask: Ask, contexts: Sequence[Floats], horizon: int, way: Way, reach: Reach) -> Floats:
    """Deciles of the next `horizon` points of every context, [b, h, q]; NaN where the network has no answer."""
    return (paced if way.small else blended)(ask, contexts, horizon, way, reach)


def paced(ask: Ask, contexts: Sequence[Floats], horizon: int, way: Way, reach: Reach) -> Floats:
    """One rate a series: the one at which its season is nearest to a day of hours."""
    rates = np.ones(len(contexts), np.int64)
    rows = np.array([len(c) if len(c) >= RATES[0] * ENOUGH and horizon >= 4 * RATES[0] else 0 for c in contexts])
    for n in np.unique(rows[rows > 0]):
        places = np.nonzero(rows == n)[0]
        together = filled(np.stack([contexts[int(i)][-PERIODS:] for i in places], axis=1))
        seasons = np.maximum(detect(np.nan_to_num(together), NO_CALENDAR), 1)
        rates[places] = np.array((1, *RATES))[np.abs(np.log(seasons[:, None] / 24 / (1, *RATES))).argmin(axis=1)]
    out = np.full((len(contexts), horizon, len(DECILES)), np.nan)
    for rate in np.unique((1, *rates))[::-1]:  # what is too short for its rate is asked again at the rate of the data
        places = np.nonzero((rates == rate) | (np.isnan(out[:, 0, 0]) & (rate == 1)))[0]
        out[places] = slower(ask, [contexts[int(i)] for i in places], horizon, way=way, reach=reach, rate=int(rate))
    return out


def blended(ask: Ask, contexts: Sequence[Floats], horizon: int, way: Way, reach: Reach) -> Floats:
    """Each length of context at the rate of the data, and each slower rate, mixed by how right it would have been."""
    out = np.empty((len(contexts), horizon, len(DECILES)))
    ahead = np.array([min(horizon, len(c) // 4) for c in contexts])  # a short context is rehearsed with a shorter one
    sizes = np.array([-(-len(c) // reach.patch) for c in contexts]).clip(1, max(way.patches))
    for n, size in np.unique(np.stack((ahead, sizes)), axis=1).T:
        places = [int(i) for i in np.nonzero((ahead == n) & (sizes == size))[0]]
        alike = [contexts[i] for i in places]
        lengths = sorted({min(patches, int(size)) for patches in way.patches}, reverse=True)
        ways = [(replace(way, patches=(t,)), 1) for t in lengths] + [(way, rate) for rate in RATES]
        views: list[View] = [partial(slower, ask, way=w, reach=reach, rate=r) for w, r in ways]
        views.append(repeated)
        answers = np.stack([view(alike, horizon) for view in views])  # [k, b, h, q]
        loss = rehearsed(views, alike, int(n))
        loss[len(lengths) : -1] *= FAVOUR
        loss[-1] *= DOUBT
        there: Bools = np.asarray(np.isfinite(answers).all(axis=(2, 3)))
        share = shares(loss) * there
        share /= np.maximum(share.sum(axis=0), 1e-300)
        mixed = np.sort(np.einsum("kb,kbhq->bhq", share, np.nan_to_num(answers)), axis=2)
        out[places] = np.where(there[0, :, None, None], mixed, np.nan)
    return out


def shares(loss: Floats) -> Floats:
    """How much each view counts, [k, b], from its loss in the rehearsal; all on the first where there was none."""
    best = np.minimum(loss.min(axis=0), np.finfo(float).max)
    share: Floats = np.where(loss <= best, 1.0, best / np.where(loss > 0, loss, 1.0)) ** SHARPNESS
    share[0, ~np.isfinite(loss).any(axis=0)] = 1.0
    return share


def rehearsed(views: Sequence[View], contexts: Sequence[Floats], ahead: int) -> Floats:
    """The mean pinball loss of each view over the last stretches of `ahead` points of each context, [k, b]; infinite
    where there was nothing to compare, or nothing to say."""
    loss = np.zeros((len(views), len(contexts)))
    for o in range(ORIGINS, 0, -1) if ahead else ():
        past = [c[: len(c) - ahead * o] for c in contexts]
        truth = np.stack([c[len(c) - ahead * o :][:ahead] for c in contexts])
        there = np.isfinite(truth)
        for k, view in enumerate(views):
            each = pinball(truth, view(past, ahead), DECILES).mean(axis=2)
            loss[k] += np.where(there, each, 0).sum(axis=1) / there.sum(axis=1).clip(1)
    known = np.isfinite(np.stack([c[len(c) - ahead * ORIGINS :] for c in contexts])).any(axis=1)
    loss[:, ~known] = np.inf
    loss[np.isnan(loss)] = np.inf
    return loss


def slower(ask: Ask, contexts: Sequence[Floats], horizon: int, *, way: Way, reach: Reach, rate: int) -> Floats:
    """The network's answer at a rate `rate` times slower, brought back to the rate of the contexts, [b, h, q]; NaN for
    a context too short for that rate."""
    if rate == 1:
        return quantiles(ask, contexts, horizon, way, reach)
    out = np.full((len(contexts), horizon, len(DECILES)), np.nan)
    places = [i for i, c in enumerate(contexts) if len(c) >= rate * ENOUGH and horizon >= 4 * rate]
    if places:
        rows = (reach.window + 1) * reach.patch * rate
        fine = [contexts[i][-rows:] for i in places]
        means = [pooled(c, rate) for c in fine]
        found = quantiles(ask, means, -(-horizon // rate), way, reach)
        for i, c, mean, fan in zip(places, fine, means, found, strict=True):
            if np.isfinite(mean).any():
                out[i] = _finer(c, mean, fan, rate)[:horizon]
    return out


def repeated(contexts: Sequence[Floats], horizon: int) -> Floats:
    """The seasonal naive: right to the last digit where a machine's cycle is, which no network is."""
    out = np.full((len(contexts), horizon, len(DECILES)), np.nan)
    for row, c in zip(out, contexts, strict=True):
        y = c[-PERIODS:, None]
        if np.isfinite(y).any():
            frame = Frame(NO_CALENDAR * np.arange(len(y), dtype=np.int64), y, np.zeros(y.shape, np.uint8), ("y",))
            row[:] = SeasonalNaive().forecast(frame, horizon).values[0]
    return out


def pooled(y: Floats, rate: int) -> Floats:
    """Means of `rate` neighbours, the last block ending with the last point; NaN where half or more are missing."""
    blocks = y[len(y) % rate :].reshape(-1, rate)
    held = np.isfinite(blocks)
    count = held.sum(axis=1)
    mean = np.where(held, blocks, 0).sum(axis=1) / np.maximum(count, 1)
    return np.where(2 * count > rate, mean, np.nan)


def _finer(y: Floats, mean: Floats, fan: Floats, rate: int) -> Floats:
    """Deciles of block means [n, q] as deciles of points [n * rate, q]: straight lines between the middles of blocks,
    and the spread of points about such lines in the history `y` added to that of the means."""
    known = np.nonzero(np.isfinite(mean))[0]
    middle = (np.arange(len(mean)) + 0.5) * rate - 0.5
    recent = y[len(y) % rate :]
    line = np.interp(np.arange(len(recent)), middle[known], mean[known])
    about = float(np.nanstd(recent - line))
    last = np.full((1, fan.shape[1]), mean[known[-1]])
    at = (np.arange(-1, len(fan)) + 0.5) * rate - 0.5
    path = np.concatenate((last, fan))
    points = np.stack([np.interp(np.arange(len(fan) * rate), at, column) for column in path.T], axis=1)
    centre = points[:, len(DECILES) // 2, None]
    z = scores(DECILES)
    return np.asarray(centre + np.sign(z) * np.hypot(points - centre, z * about))
