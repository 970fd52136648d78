"""The forecasting network: a causal patch transformer with one attention block across variates.

Letters: b windows, s variates, t patches, p points a patch, d width, q levels.

A window is cut into patches of `p` points. Position i sees the patches up to i and answers with the levels of patch
i + 1. A hidden patch (all missing) is how the future looks: a horizon of k patches is k - 1 hidden ones after the
context, answered in one pass (contiguous patch masking: TiRex, arXiv 2505.23719; Toto, arXiv 2505.14766). Every
position scales by the mean and deviation of what was visible up to it, then takes asinh, so the network does not
change under shift and scale and no position knows its future. A variate that is *known ahead* is handed in one patch
early: position i holds its patch i + 1.

Only plain operators (matmul, softmax, layer norm, cumulative sum), so that it exports to ONNX opset 17.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FLOOR = 1e-3
"""Smallest deviation a position scales by. Windows come in with a deviation near one, so this is relative."""
CLAMP = 10.0
"""Largest scaled value after asinh: some 11 000 deviations."""


@dataclass(frozen=True)
class Shape:
    """What the network is made of; part of the card."""

    width: int = 192
    heads: int = 6
    layers: int = 4  # along time; the block across variates comes on top
    expand: int = 3
    patch: int = 32
    levels: tuple[float, ...] = DECILES


class Residual(nn.Module):
    """A small perceptron with a linear way around it: the way in and the way out of the network."""

    def __init__(self, inside: int, hidden: int, outside: int) -> None:
        super().__init__()
        self.up = nn.Linear(inside, hidden)
        self.down = nn.Linear(hidden, outside)
        self.around = nn.Linear(inside, outside)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.up(x))) + self.around(x)


class Block(nn.Module):
    """Attention and perceptron, each after a norm and added to what came in. x is [rows, tokens, d]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d = shape.width
        self.width, self.heads, self.size = d, shape.heads, d // shape.heads
        self.mix = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.up = nn.Linear(d, shape.expand * d)
        self.down = nn.Linear(shape.expand * d, d)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor] | None) -> Tensor:
        """`turn` holds the cosines and sines of the positions; without it tokens have no order and all see all."""
        rows, tokens, d = x.shape[0], x.shape[1], self.width
        mixed = self.mix(F.layer_norm(x, (d,))).view(rows, tokens, 3, self.heads, self.size)
        query, key, value = mixed.permute(2, 0, 3, 1, 4).unbind(0)  # each [rows, heads, tokens, size]
        if turn is not None:
            query, key = rotate(query, turn), rotate(key, turn)
        found = attend(query * self.size**-0.5, key, value, causal=turn is not None)
        x = x + self.out(found.transpose(1, 2).reshape(rows, tokens, d))
        return x + self.down(F.gelu(self.up(F.layer_norm(x, (d,)))))


class Network(nn.Module):
    """`forward(values, seen)`: what comes after each position, in the units of `values`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d, p = shape.width, shape.patch
        self.shape = shape
        self.embed = Residual(2 * p + 1, 2 * d, d)
        self.time = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.across = Block(shape)
        self.head = Residual(d, 2 * d, p * len(shape.levels))
        for block in (*self.time, self.across):  # a block starts as "nothing to add"
            nn.init.zeros_(block.out.weight)
            nn.init.zeros_(block.down.weight)
            nn.init.zeros_(block.down.bias)
        nn.init.zeros_(self.head.down.weight)

    def forward(self, values: Tensor, seen: Tensor) -> Tensor:
        """values and seen [b, s, t, p], seen 1 where there is a value, 0 where missing -> levels [b, s, t, p, q]."""
        view = scaled(values, seen)
        return view.units(self.answer(self.hidden(view), view.recent))

    def hidden(self, view: Scaled) -> Tensor:
        """Features of every position, [b, s, t, d]; what a closed-form head for one asset learns from."""
        b, s, t, _ = view.values.shape
        x = self.embed(torch.cat((view.values, view.seen, view.recent[..., None]), dim=-1)).view(b * s, t, -1)
        turn = turns(t, self.shape.width // self.shape.heads, x)
        for block in self.time:
            x = block(x, turn)
        x = x.view(b, s, t, -1)
        if s == 1:  # nobody else to look at
            return x
        x = self.across(x.transpose(1, 2).reshape(b * t, s, -1), None)
        return x.view(b, t, s, -1).transpose(1, 2)

    def answer(self, hidden: Tensor, recent: Tensor) -> Tensor:
        """Levels of the next patch in scaled space, [b, s, t, p, q], told as a difference to the recent value."""
        x = self.head(F.layer_norm(hidden, (self.shape.width,)))
        return x.unflatten(-1, (self.shape.patch, len(self.shape.levels))) + recent[..., None, None]


@dataclass(frozen=True)
class Scaled:
    """A window as its positions see it: every patch in deviations from the mean of all that was visible up to its end,
    after asinh. `recent` is the weighted mean of the latest visible points, in the same terms."""

    values: Tensor  # [b, s, t, p]
    seen: Tensor  # [b, s, t, p]
    recent: Tensor  # [b, s, t]
    mean: Tensor  # [b, s, t]
    deviation: Tensor  # [b, s, t]

    def at(self, positions: Tensor) -> Scaled:
        """Only some positions."""
        parts = (self.values, self.seen, self.recent, self.mean, self.deviation)
        return Scaled(*(x.index_select(2, positions) for x in parts))

    def terms(self, values: Tensor) -> Tensor:
        """Values of the same positions, [b, s, t, p], in scaled terms."""
        return squash((values - self.mean[..., None]) / self.deviation[..., None])

    def units(self, answer: Tensor) -> Tensor:
        """The way back: an answer [b, s, t, p, q] in the units of the values."""
        grown = answer.float().clamp(-CLAMP, CLAMP).exp()
        return 0.5 * (grown - 1 / grown) * self.deviation[..., None, None] + self.mean[..., None, None]


def scaled(values: Tensor, seen: Tensor) -> Scaled:
    """How the positions of windows [b, s, t, p] see them.

    Windows must come in roughly centred and scaled: float32 sums of squares are good for that and no more.
    """
    t, p = values.shape[-2:]
    values = values * seen
    count = seen.sum(-1).cumsum(-1).clamp(min=1.0)
    mean = values.sum(-1).cumsum(-1) / count
    spread = (values * values).sum(-1).cumsum(-1) / count - mean * mean
    deviation = spread.clamp(min=FLOOR * FLOOR).sqrt()
    late = torch.exp(torch.arange(1 - p, 1, device=values.device) / 4.0)  # of a patch its last few points count most
    ago = torch.arange(t, device=values.device)
    fade = torch.exp((3.0 * (ago - ago[:, None])).clamp(-75.0, 0.0)).tril()  # [t, t]: and the last patch with any
    weight = fade @ (seen * late).sum(-1, keepdim=True)
    recent = (fade @ (values * late).sum(-1, keepdim=True)).squeeze(-1) / weight.squeeze(-1).clamp(min=1e-36)
    inside = squash((values - mean[..., None]) / deviation[..., None]) * seen
    return Scaled(inside, seen, squash((recent - mean) / deviation), mean, deviation)


def squash(x: Tensor) -> Tensor:
    """asinh, spelt for opset 17, within +-CLAMP."""
    return (x.sign() * torch.log(x.abs() + torch.sqrt(x * x + 1))).clamp(-CLAMP, CLAMP)


def attend(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Attention over tokens, [rows, heads, tokens, size] each; the query comes in scaled."""
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal, scale=1.0)
    score = query @ key.transpose(-1, -2)  # in parts: torch's fused one is 6x slower here
    if causal:
        tokens = query.shape[-2]
        score = score + torch.full((tokens, tokens), -1e4, dtype=score.dtype, device=score.device).triu(1)
    return score.softmax(-1).to(value.dtype) @ value


def turns(tokens: int, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary positions (Su et al., arXiv 2104.09864), each [tokens, size]."""
    rate = 1000.0 ** (-torch.arange(size // 2, device=like.device, dtype=torch.float32) / (size // 2))
    angle = torch.arange(tokens, device=like.device, dtype=torch.float32)[:, None] * rate
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn pairs (i, i + size / 2) of the last axis by the angle of their position."""
    first, second = x.chunk(2, dim=-1)
    return x * turn[0] + torch.cat((-second, first), dim=-1) * turn[1]


def pinball(answer: Tensor, target: Tensor, weight: Tensor, levels: Tensor) -> Tensor:
    """Mean pinball loss: answer [..., q], target and weight [...]; positions of weight 0 do not count.

    The slope is a sign, so it is taken without gradient and multiplied: one pass instead of five.
    """
    with torch.no_grad():
        over = (answer > target[..., None]).to(answer.dtype)
        slope = (over - levels) * (weight / (weight.sum() * len(levels) + 1e-9))[..., None]
    return ((answer - target[..., None]) * slope).sum()
