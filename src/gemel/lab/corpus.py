"""Windows to train on: synthetic rows and a pool of real series, cut, thinned out, mixed and worn like telemetry.

What a step sees depends on the seed and the number of the step alone: a run that is killed and resumed goes on with
the same windows, and nothing but the step needs to be saved.

Letters: b windows, t patches, p points a patch, l points of a window = (t + 1) * p.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gemel.core.errors import InputError
from gemel.core.values import Float32s
from gemel.lab.priors import FAMILIES, Draw, bend, coloured, unit

PARTS = 8
"""A step is drawn in so many parts, each from one source at one rate."""


@dataclass(frozen=True)
class Mixture:
    """What a step is made of; part of the card."""

    patch: int = 32
    lengths: tuple[int, ...] = (4, 8, 16, 32, 64, 64, 64)  # patches of a window (one more is its last target)
    tokens: int = 8192  # patches a step: few long windows or many short ones
    real: float = 0.35  # chance of a part to come from the pool
    rates: tuple[int, ...] = (1, 1, 1, 1, 2, 3, 4, 6, 12, 24, 24, 96, 168)  # points averaged into one, real
    thin: tuple[int, ...] = (1, 1, 1, 1, 2, 3, 4)  # and synthetic
    stretch: tuple[int, ...] = (1, 1, 1, 1, 1, 2, 4, 6)  # points made of one, real: days of 48, 96 and 144 points
    rows: int = 2048  # synthetic rows in the bank
    row: int = 4096  # points of a row
    renew: int = 64  # steps a bank lasts
    hidden: int = 24  # longest run of hidden patches
    power: float = 0.3  # a real series is drawn with chance ~ length ** power: 0 each alike, 1 each point alike
    seed: int = 0


@dataclass(frozen=True)
class Windows:
    """values and seen [b, 1, t + 1, p]; hidden [b, 1, t + 1, 1] is 1 where the network must not look."""

    values: Tensor
    seen: Tensor
    hidden: Tensor


class Pool:
    """Real series at one rate, in one long column."""

    def __init__(self, series: Sequence[Float32s], power: float, device: str = "cpu") -> None:
        self.values = torch.tensor(np.concatenate(series), dtype=torch.float32, device=device)
        self.lengths = torch.tensor([len(y) for y in series], device=device)
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.chance = self.lengths.float() ** power
        self.longest = max(len(y) for y in series)

    def rows(self, draw: Draw, n: int, length: int) -> Tensor:
        """n pieces [n, length], at least half of each inside its series and NaN before it."""
        enough = -(-length // 2)
        chance = self.chance * (self.lengths >= enough)
        which = torch.multinomial(chance, n, replacement=True, generator=draw.source)
        start, size = self.starts[which], self.lengths[which]
        end = enough + (draw.uniform(0, 1, n) * (size - enough + 1)).long().clamp(max=size - enough)
        at = end[:, None] - length + torch.arange(length, device=end.device)
        return torch.where(at >= 0, self.values[start[:, None] + at.clamp(min=0)], torch.nan)


def thinned(y: Float32s, rate: int) -> Float32s:
    """Means of `rate` neighbours; NaN where more than half of them are missing."""
    if rate == 1:
        return y
    x = y[: len(y) // rate * rate].reshape(-1, rate)
    held = np.isfinite(x)
    few = held.sum(1) * 2 < rate
    mean = np.where(held, x, 0).sum(1, dtype=np.float64) / np.maximum(held.sum(1), 1)
    return np.where(few, np.nan, mean).astype(np.float32)


class Corpus:
    """`windows(step)` for every step of a run."""

    def __init__(self, mixture: Mixture, series: Sequence[Float32s] = (), device: str = "cpu") -> None:
        self.mixture, self.device = mixture, device
        self.pools: dict[int, Pool] = {}
        for rate in sorted(set(mixture.rates)) if series else ():
            slower = [x for y in series if len(x := thinned(y, rate)) >= 3 * mixture.patch]
            if slower:
                self.pools[rate] = Pool(slower, mixture.power, device)
        self.rows, self.filled = torch.empty(0), -1

    def windows(self, step: int) -> Windows:
        """The windows of one step: the same for the same seed and step."""
        m = self.mixture
        self._fill(step // m.renew)
        draw = self._draw("step", step)
        t = m.lengths[int(draw.whole(0, len(m.lengths), 1))]
        n = max(1, m.tokens // t // PARTS)
        x = torch.cat([self._part(draw, n, (t + 1) * m.patch) for _ in range(PARTS)])
        x = x[torch.randperm(len(x), generator=draw.source, device=self.device)]
        seen = torch.isfinite(x).float()
        values, seen = wear(draw, *centred(x, seen))
        shape = (len(x), 1, t + 1, m.patch)
        return Windows(values.view(shape), seen.view(shape), hide(draw, len(x), t, m.hidden)[:, None, :, None])

    def _fill(self, number: int) -> None:
        if number != self.filled:
            m = self.mixture
            self.rows = bank(self._draw("bank", number), m.rows, m.row)
            self.filled = number

    def _draw(self, what: str, number: int) -> Draw:
        return Draw(zlib.crc32(f"{self.mixture.seed} {what} {number}".encode()), self.device)

    def _part(self, draw: Draw, n: int, length: int) -> Tensor:
        """n rows of one source at one rate, [n, length], NaN where missing."""
        m = self.mixture
        if self.pools and float(draw.uniform(0, 1, 1)) < m.real:
            times = m.stretch[int(draw.whole(0, len(m.stretch), 1))]
            if times > 1 and 1 in self.pools:
                return stretched(draw, self.pools[1].rows(draw, n, length // times + 2), times)[:, :length]
            fits = [r for r in m.rates if r in self.pools and length <= 2 * self.pools[r].longest]
            if fits:
                return self.pools[fits[int(draw.whole(0, len(fits), 1))]].rows(draw, n, length)
        fits = [r for r in m.thin if r * length <= m.row]
        rate = fits[int(draw.whole(0, len(fits), 1))]
        start = draw.whole(0, m.row - rate * length + 1, n, 1)
        at = start + torch.arange(rate * length, device=self.device)
        return self.rows[draw.whole(0, len(self.rows), n, 1), at].view(n, length, rate).mean(-1)


def stretched(draw: Draw, x: Tensor, times: int) -> Tensor:
    """Rows [n, l] as if read `times` as often, [n, (l - 1) * times]: straight lines, some of them steps, between the
    values, and for half of the rows noise of its own about as large as the moves."""
    n = len(x)
    share = (torch.arange(times, device=x.device) / times).expand(n, 1, times)
    share = share * draw.chance(0.85, n, 1, 1)
    fine = (x[:, :-1, None] + share * (x[:, 1:] - x[:, :-1])[:, :, None]).flatten(1)
    size = torch.nan_to_num(x[:, 1:] - x[:, :-1]).square().mean(-1, keepdim=True).sqrt()
    return fine + draw.chance(0.5, n, 1) * draw.log(0.03, 1.0, n, 1) * size * coloured(draw, n, fine.shape[1])


def bank(draw: Draw, n: int, length: int) -> Tensor:
    """About n rows of all families by their shares, unit scale, random order; a tenth are graphs over the others."""
    total = sum(share for _, share in FAMILIES.values())
    rows = torch.cat([unit(f(draw, max(1, round(n * share / total)), length)) for f, share in FAMILIES.values()])
    rows = rows[torch.randperm(len(rows), generator=draw.source, device=draw.device)]
    return graphs(draw, rows, 0.1)


def graphs(draw: Draw, rows: Tensor, share: float) -> Tensor:
    """A part of the rows becomes a random causal graph over others: bent, delayed, added, two levels deep."""
    n = int(len(rows) * share)
    for _ in range(2):
        parents = rows[draw.whole(0, len(rows), 3, n)]
        lag = int(draw.whole(0, 64, 1))
        parents = torch.stack([parents[0], parents[1].roll(lag, -1), parents[2]])
        weight = draw.normal(3, n, 1) * torch.tensor([1.0, 1.0, 0.5], device=rows.device)[:, None, None]
        mixed = sum(w * bend(draw, x) for w, x in zip(weight, parents, strict=True))
        product = unit(bend(draw, parents[0]) * (1 + 0.5 * bend(draw, parents[1])))
        rows = torch.cat((torch.where(draw.chance(0.8, n, 1) > 0, unit(mixed), product), rows[n:]))
    return rows


def centred(x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Rows with the seen values at mean 0 and deviation 1 (a constant row is 0), zeros where not seen."""
    count = seen.sum(-1, keepdim=True).clamp(min=1.0)
    x = torch.where(seen > 0, x, 0.0)
    mean = x.sum(-1, keepdim=True) / count
    x = (x - mean) * seen
    deviation = (x * x).sum(-1, keepdim=True).div(count).sqrt()
    return x / (deviation + 1e-5 * mean.abs() + 1e-12), seen


def wear(draw: Draw, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """What happens to signals on the way: mixing, bending, drift, clipping, rounding, noise, spikes, gaps."""
    b, length = x.shape
    t = draw.time(length) / length

    def some(p: float) -> Tensor:
        return draw.chance(p, b, 1)

    other = torch.randperm(b, generator=draw.source, device=x.device)  # mix-up after mean scaling (TSMixup)
    mixing = some(0.25)
    share = draw.uniform(0.1, 0.9, b, 1) * mixing
    seen = seen * torch.where(mixing > 0, seen[other], 1.0)
    x = ((1 - share) * x + share * x[other]) * seen
    x = torch.where(some(0.3) > 0, -x, x)
    turned = some(0.05) > 0
    x, seen = torch.where(turned, x.flip(-1), x), torch.where(turned, seen.flip(-1), seen)
    knee, far = draw.uniform(0, 1, b, 1), draw.normal(b, 1)
    x = x * (1 + some(0.1) * (0.5 * far * t).clamp(min=-0.9))  # growing or fading
    x = x + some(0.1) * 2 * far * t + some(0.05) * 2 * draw.normal(b, 1) * (t > knee)
    x = torch.where(some(0.07) > 0, torch.exp(draw.uniform(0.2, 0.8, b, 1) * x.clamp(-5, 5)), x)
    limit = draw.uniform(-1.0, 2.0, b, 1)
    x = torch.where(some(0.05) > 0, torch.minimum(x, limit), torch.where(some(0.05) > 0, torch.maximum(x, -limit), x))
    x = x + some(0.15) * draw.log(0.003, 0.3, b, 1) * draw.normal(b, length)
    grain = draw.log(0.01, 1.0, b, 1)
    x = torch.where(some(0.1) > 0, (x / grain).round() * grain, x)
    x = x + some(0.04) * draw.chance(0.005, b, length) * draw.log(2.0, 20.0, b, 1) * draw.normal(b, length)
    seen = seen * (1 - some(0.06) * draw.chance(0.2, b, length))
    gap = ((t - knee).abs() < draw.log(0.003, 0.2, b, 1)).float()
    seen = seen * (1 - some(0.06) * gap)
    late = (t < draw.uniform(0.1, 0.9, b, 1)).float()  # a history that begins inside the window
    seen = seen * (1 - some(0.08) * late)
    return centred(x, seen)


def hide(draw: Draw, b: int, t: int, longest: int) -> Tensor:
    """Runs of patches to hide, [b, t + 1]: most windows have one, some two, short and long ones alike; the first patch
    is always seen."""
    at = torch.arange(t + 1, device=draw.device)
    hidden = torch.zeros(b, t + 1, device=draw.device)
    most = min(longest, t - 1) + 1.0
    for p in (0.9, 0.4):
        short = draw.chance(0.5, b, 1) > 0
        size = torch.where(short, draw.log(1.0, most, b, 1), draw.uniform(1.0, most, b, 1)).floor()
        start = 1 + (draw.uniform(0, 1, b, 1) * t).floor()
        hidden = torch.maximum(hidden, draw.chance(p, b, 1) * ((at >= start) & (at < start + size)))
    return hidden


def read_pool(path: str | Path, held: float = 0.05) -> tuple[list[Float32s], list[Float32s]]:
    """The series of a Parquet file with columns `source id values`: (to train on, held out by id)."""
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["source", "id", "values"])
    names = zip(table["source"].to_pylist(), table["id"].to_pylist(), strict=True)
    keep: list[Float32s] = []
    out: list[Float32s] = []
    for (source, name), values in zip(names, table["values"], strict=True):
        y = np.array(values.values.to_numpy(zero_copy_only=False), np.float32)
        y[~np.isfinite(y)] = np.nan
        if len(y) >= 48 and np.isfinite(y).sum() >= 32:
            lot = zlib.crc32(f"{source}/{name}".encode()) / 2**32
            (out if lot < held else keep).append(y)
    if not keep:
        raise InputError(f"no usable series in {path}", "it needs the columns source, id and values (lists of floats)")
    return keep, out
