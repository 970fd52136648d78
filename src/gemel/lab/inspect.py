"""Train the small network that finds defects in pictures of parts, and write it as ONNX with a card.

    gemel lab inspect --folder runs/inspection

It sees pictures drawn by `gemel.lab.defects` (good ones, and each kind of defect), turned and mirrored, and learns from
the mask where the defect is, and from the whole picture whether there is one. It has no fixed size of picture: the map
has a cell for every 4 x 4 pixels, and the score of a part is the smooth maximum (log of the sum of exponentials) of its
map. A picture is centred and scaled within the network, so that the exposure does not matter.

Letters: b pictures, h, w pixels, c channels.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as f

from gemel.core.errors import ConfigError
from gemel.core.values import Bools, Codes
from gemel.lab.defects import CONTRASTS, DEFECTS, part

CELL = 4
"""Pixels of a side of a cell of the map."""


@dataclass(frozen=True)
class Recipe:
    """All that a run is made from; the card holds it."""

    steps: int = 1600
    again: int = 1000  # steps after these, in which the rate falls once more, from half its height
    batch: int = 48
    width: int = 32
    rate: float = 4e-3
    warm: int = 100
    good: float = 0.4  # share of good parts
    faint: float = 1.7  # above 1: faint defects are drawn more often than plain ones
    average: float = 0.995  # averaged weights keep this much a step
    seed: int = 0


class Inspector(nn.Module):
    """Pictures uint8 [b, 1, h, w] (sides a multiple of 4) to scores [b] and maps [b, h / 4, w / 4], both logits."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        w = width
        self.stem = nn.Sequential(_step(1, w // 2, 5, 2), _step(w // 2, w, 3, 1))
        self.down = _step(w, w * 3 // 2, 3, 2)
        self.blocks = nn.ModuleList(_step(w * 3 // 2, w * 3 // 2, 3, 1, d) for d in (1, 2, 4, 1))
        self.head = nn.Conv2d(w * 3 // 2, 1, 1)
        nn.init.constant_(self.head.bias, -5.0)  # most cells are good

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = pictures.float()
        x = x - x.mean((1, 2, 3), keepdim=True)
        x = x / (x.pow(2).mean((1, 2, 3), keepdim=True) + 1.0).sqrt()
        x = self.down(self.stem(x))
        for block in self.blocks:
            x = x + block(x)
        cells = self.head(x)[:, 0]
        return torch.logsumexp(cells.flatten(1), 1), cells


def _step(before: int, after: int, size: int, stride: int, spread: int = 1) -> nn.Sequential:
    pad = size // 2 * spread
    conv = nn.Conv2d(before, after, size, stride, pad, spread, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())


def drawn(recipe: Recipe, step: int) -> tuple[Codes, Bools]:
    """The parts of one step, pictures and masks [b, h, w]; faint defects more often than plain ones."""
    rng, seen, masks = np.random.default_rng((recipe.seed, step)), [], []
    for _ in range(recipe.batch):
        kind = "" if rng.random() < recipe.good else str(rng.choice(DEFECTS))
        low, high = np.log(CONTRASTS[kind]) if kind else (0.0, 0.0)
        picture, mask = part(rng, kind, math.exp(low + (high - low) * rng.random() ** recipe.faint))
        seen.append(picture)
        masks.append(mask)
    return np.stack(seen), np.stack(masks)


def lesson(recipe: Recipe, step: int) -> tuple[Tensor, Tensor]:
    """The batch of one step, pictures and masks [b, 1, h, w], each in one of its eight symmetries."""
    seen, masks = drawn(recipe, step)
    rng = np.random.default_rng((recipe.seed, step, 1))
    for i in range(len(seen)):
        turn, flip = int(rng.integers(4)), rng.random() < 0.5
        for rows in (seen, masks):
            one = np.rot90(rows[i], turn)
            rows[i] = one[:, ::-1] if flip else one
    return torch.from_numpy(seen)[:, None], torch.from_numpy(masks)[:, None]


def loss_of(score: Tensor, cells: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy of the cells (where the mask covers little of one, it does not count), and of the whole part."""
    share = f.avg_pool2d(masks.float(), CELL)[:, 0]
    wanted, counts = (share >= 0.2).float(), ((share == 0) | (share >= 0.2)).float()
    each = f.binary_cross_entropy_with_logits(cells, wanted, reduction="none", pos_weight=torch.tensor(3.0))
    whole = masks.flatten(1).any(1).float()
    return 20 * (each * counts).mean() + f.binary_cross_entropy_with_logits(score, whole)


class Run:
    """A training run in a folder: network, averaged network, optimiser, and how far it is."""

    def __init__(self, folder: str | Path, recipe: Recipe) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(recipe.seed)
        self.recipe, self.place, self.step, self.seconds = recipe, Path(folder) / "checkpoint.pt", 0, 0.0
        self.network, self.averaged = Inspector(recipe.width), Inspector(recipe.width)
        self.averaged.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(self.network.parameters(), recipe.rate, weight_decay=0.02)
        if self.place.exists():
            held = torch.load(self.place, weights_only=True)
            if held["recipe"] != asdict(recipe):
                raise ConfigError([f"{folder} holds a run with another recipe"], "choose another folder")
            for name in ("network", "averaged", "optimiser"):
                getattr(self, name).load_state_dict(held[name])
            self.step, self.seconds = held["step"], held["seconds"]

    def advance(self) -> float:
        """One step of AdamW, on a cosine that falls to a hundredth and once again (Loshchilov and Hutter 2017); the
        loss."""
        recipe, late = self.recipe, self.step >= self.recipe.steps
        done = (self.step - recipe.steps) / recipe.again if late else self.step / recipe.steps
        rate = recipe.rate * (0.5 if late else min((self.step + 1) / recipe.warm, 1.0))
        rate *= 0.495 * math.cos(math.pi * done) + 0.505
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        seen, masks = lesson(recipe, self.step)
        score, cells = self.network(seen)
        loss = loss_of(score, cells, masks)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimiser.step()
        _average(self.averaged, self.network, min(recipe.average, (self.step + 1) / (self.step + 10)))
        self.step += 1
        return float(loss.item())

    def keep(self) -> None:
        """Write the checkpoint, whole or not at all."""
        self.place.parent.mkdir(parents=True, exist_ok=True)
        held = {name: getattr(self, name).state_dict() for name in ("network", "averaged", "optimiser")}
        aside = self.place.with_suffix(".new")
        torch.save({"recipe": asdict(self.recipe), "step": self.step, "seconds": self.seconds, **held}, aside)
        os.replace(aside, self.place)


def train(folder: str | Path, recipe: Recipe, watch: Callable[[int, float], None] = lambda step, loss: None) -> Run:
    """The finished run in `folder`; what was begun there goes on from its checkpoint. `watch` hears every 20th step.
    Raises `ConfigError` for a folder with a run of another recipe."""
    run, smooth = Run(folder, recipe), math.nan
    began = time.process_time() - run.seconds
    last = recipe.steps + recipe.again
    while run.step < last:
        loss = run.advance()
        smooth = loss if math.isnan(smooth) else 0.95 * smooth + 0.05 * loss
        if run.step % 20 == 0:
            watch(run.step, smooth)
        if run.step % 200 == 0 or run.step == last:
            run.seconds = time.process_time() - began
            run.keep()
    run.averaged.eval()
    return run


def _average(averaged: nn.Module, network: nn.Module, keep: float) -> None:
    with torch.no_grad():
        for one, other in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
            if one.is_floating_point():
                one.mul_(keep).add_(other, alpha=1 - keep)
            else:
                one.copy_(other)
