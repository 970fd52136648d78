"""One network in training: weights, their average, optimisers, step; its file; and the loop.

What a step draws (windows, dropout) follows from the seed and the number of the step alone, so a run that was killed
goes on bit for bit (on a CPU).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gemel.core.errors import ConfigError
from gemel.core.values import Floats, Ints
from gemel.lab.networks import Autoencoder, network
from gemel.lab.tasks.muon import Muon
from gemel.lab.tasks.task import RATES, Task, task_of
from gemel.lab.tasks.windows import Windows

EVERY = 25
"""Steps between two entries of the log."""
EDGES = ("embed", "head", "out", "place", "bias", "squeeze", "spread", "each")
"""Parts whose weights Muon leaves to Adam: ways in and out of a network, and what is no matrix."""
Watch = Callable[[int, int, str], None]
"""Step, of how many, and a word."""


class Member:
    """One network of a run: seed and place in the ensemble say which."""

    def __init__(
        self, recipe: Task, seed: int, place: int, channels: int, outputs: int, folder: Path, device: str = "cpu"
    ) -> None:
        self.recipe, self.seed, self.place, self.device = recipe, seed, place, device
        self.path = folder / f"member-{seed}-{place}.pt"
        with seeded(seed, place):
            self.network = network(recipe.network, channels, recipe.window, outputs, **recipe.sizes).to(device)
        self.optimisers = list(optimisers(self.network, recipe))
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.step = 0
        self.log: list[tuple[int, float]] = []

    def update(self) -> None:
        """One step of the optimisers along the gradients, and of the average after the weights."""
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        rate = (self.recipe.rate or RATES[self.recipe.optimiser]) * strength(self.recipe, self.step)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        keep = min(self.recipe.average, self.step / (self.step + 10))  # early weights are soon forgotten
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.network.state_dict().values()), 1 - keep)
        self.step += 1

    def averaged(self) -> nn.Module:
        """The network with the averaged weights, to be asked."""
        made = deepcopy(self.network)
        made.load_state_dict(self.average)
        return made.eval()

    def save(self) -> None:
        """Write everything; a crash while writing leaves the file before it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "log": self.log,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimisers": [o.state_dict() for o in self.optimisers],
        }
        new = self.path.with_suffix(".new")
        torch.save(whole, new)
        os.replace(new, self.path)

    def load(self) -> bool:
        """Go on from its file; `False` when there is none, `ConfigError` when that was made by another recipe."""
        if not self.path.exists():
            return False
        whole = torch.load(self.path, map_location=self.device, weights_only=True)
        if wrong := differing(task_of(whole["recipe"]), self.recipe):
            raise ConfigError(
                [f"{self.path} was made by a recipe with other {', '.join(wrong)}"], "choose another folder"
            )
        self.network.load_state_dict(whole["network"])
        self.average, self.step = whole["average"], int(whole["step"])
        self.log = [(int(step), float(loss)) for step, loss in whole["log"]]
        for optimiser, memory in zip(self.optimisers, whole["optimisers"], strict=True):
            optimiser.load_state_dict(memory)
        return True


def train(member: Member, windows: Windows, ends: Ints, target: Floats, watch: Watch, save_s: float = 60.0) -> None:
    """Train, or go on training, until the steps of the recipe are used up: on the windows that end at the rows `ends`,
    towards `target`, a number a row of the table."""
    recipe, device, member_loss = member.recipe, member.device, loss_for(member)
    saved, losses = time.perf_counter(), list[Tensor]()
    member.network.train()
    while member.step < recipe.steps:
        with seeded(member.seed, member.place, member.step):
            rng = np.random.default_rng((member.seed, member.place, member.step))
            chosen = ends[rng.integers(0, len(ends), recipe.batch)]
            x = torch.from_numpy(windows.at(chosen)).to(device)
            y = torch.from_numpy(target[chosen].astype(np.float32)).to(device)
            loss = member_loss(x, y)
            loss.backward()
        member.update()
        losses.append(loss.detach())
        if member.step % EVERY == 0 or member.step == recipe.steps:  # also the only moments to save
            member.log.append((member.step, float(torch.stack(losses).mean())))
            losses = []
            watch(member.step, recipe.steps, f"loss {member.log[-1][1]:.4f}")
            if time.perf_counter() - saved > save_s:
                member.save()
                saved = time.perf_counter()
    member.save()


def loss_for(member: Member) -> Callable[[Tensor, Tensor], Tensor]:
    """What the task asks of a batch [b, t, c] with targets [b]: pinball loss of the levels, cross entropy, or the
    squared error of the window made again."""
    recipe, made = member.recipe, member.network
    levels = torch.tensor(recipe.levels, device=member.device)

    def told(out: Tensor, y: Tensor) -> Tensor:
        if recipe.task == "rul":
            off = y[:, None] - out
            return 10 * torch.maximum(levels * off, (levels - 1) * off).mean()  # of a size with cross entropy
        return F.cross_entropy(out, y.long())

    def loss(x: Tensor, y: Tensor) -> Tensor:
        if not isinstance(made, Autoencoder):
            return told(made(x), y)
        if not made.outputs:
            return F.mse_loss(made(x), x)
        out, again = made.both(x)
        return told(out, y) + recipe.rebuild * F.mse_loss(again, x)

    return loss


def optimisers(network: nn.Module, recipe: Task) -> Iterator[torch.optim.Optimizer]:
    """Those of a recipe: for Muon two, as only inner matrices are its own."""
    weights = {n: p for n, p in network.named_parameters() if p.requires_grad}
    rate = recipe.rate or RATES[recipe.optimiser]
    same = {"lr": rate, "weight_decay": recipe.weight_decay}
    if recipe.optimiser == "muon":
        inner = [n for n, p in weights.items() if p.ndim > 1 and not any(word in n for word in EDGES)]
        if inner:
            yield Muon([weights.pop(n) for n in inner], **same)
    left = list(weights.values())
    if recipe.optimiser == "sgd":
        yield torch.optim.SGD(left, momentum=0.9, nesterov=True, **same)
    elif recipe.optimiser == "rmsprop":
        yield torch.optim.RMSprop(left, alpha=0.95, **same)
    else:
        yield torch.optim.AdamW(left, betas=(0.9, 0.98), **same)


def strength(recipe: Task, step: int) -> float:
    """The rate at a step as a part of the largest."""
    warm, done = min(1.0, (step + 1) / recipe.warm), step / recipe.steps
    if recipe.schedule == "cosine":
        return warm * 0.5 * (1 + float(np.cos(np.pi * done)))
    return warm * min(1.0, (1 - done) / 0.3) if recipe.schedule == "fall" else warm


def differing(one: Task, other: Task) -> list[str]:
    """The keys in which two recipes differ; how often a run is repeated is no difference."""
    a, b = (asdict(replace(recipe, seeds=1, ensemble=1)) for recipe in (one, other))
    return [key for key in a if a[key] != b[key]]


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Inside, torch draws what follows from these numbers; outside, as if nothing had been."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1)))
        yield
