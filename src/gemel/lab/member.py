"""One network in training: weights, their average, optimisers, step; its file; and the loop.

What a step draws (windows, dropout) follows from the seed and the number of the step alone, so a run that was killed
goes on bit for bit (on a CPU).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gemel.core.errors import ConfigError
from gemel.core.values import Floats, Ints
from gemel.lab.muon import Muon
from gemel.lab.networks import Autoencoder, network
from gemel.lab.task import RATES, Task, task_of
from gemel.lab.windows import Windows

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
        made = network(self.recipe.network, *self._sizes(), **self.recipe.sizes)
        made.load_state_dict(self.average)
        return made.to(self.device).eval()

    def _sizes(self) -> tuple[int, int, int]:
        return self._channels, self.recipe.window, self._outputs

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
