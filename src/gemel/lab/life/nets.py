"""Networks that answer windows of a unit with what it has left; the one file here that needs torch."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gemel.core.values import Float32s, Floats
from gemel.lab.networks import network


def fit(
    kind: str, sizes: Mapping[str, Any], windows: Float32s, goal: Floats, seed: int,
    steps: int, batch: int, rate: float, decay: float,
) -> nn.Module:  # fmt: skip
    """A network that answers windows [n, w, d] with goals [n]: squared error, Adam, cosine to zero."""
    torch.manual_seed(seed)
    rng = np.random.default_rng((seed, 2))
    net = network(kind, windows.shape[2], windows.shape[1], 1, **sizes)
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=decay)
    aim = goal.astype(np.float32)
    for step in range(steps):
        some = rng.integers(0, len(windows), batch)
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = F.mse_loss(net(torch.from_numpy(windows[some]))[:, 0], torch.from_numpy(aim[some]))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
    return net.eval()


def ask(net: nn.Module, windows: Float32s, batch: int = 2048) -> Floats:
    """Its answers to windows [n, w, d], [n]."""
    with torch.no_grad():
        parts = [net(torch.from_numpy(windows[i : i + batch]))[:, 0].numpy() for i in range(0, len(windows), batch)]
    return np.concatenate(parts).astype(np.float64)


class Mean(nn.Module):
    """Networks whose answers are averaged."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, windows: Tensor) -> Tensor:
        return torch.stack([network(windows) for network in self.networks]).mean(0)


def write(networks: Sequence[nn.Module], windows: Float32s, path: Path) -> Floats:
    """The mean of networks as an ONNX graph, `windows` [b, w, d] -> `life` [b, 1]; returns what it says of some."""
    held, mean = io.BytesIO(), Mean(networks).eval()
    axes = {"windows": {0: "units"}, "life": {0: "units"}}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that newer exporters exist
        torch.onnx.export(
            mean, (torch.from_numpy(windows[:2]),), held, dynamo=False, opset_version=17,
            input_names=["windows"], output_names=["life"], dynamic_axes=axes,
        )  # fmt: skip
    path.write_bytes(held.getvalue())
    return ask(mean, windows)
