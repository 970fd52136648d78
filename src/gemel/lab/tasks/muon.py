"""Muon: steps along the nearest orthogonal matrix to the momentum, for the inner matrices of a network.

Source: Jordan 2024, "Muon: an optimizer for hidden layers in neural networks"; the size of its steps matched to Adam's,
so that both share one rate: Liu et al. 2025, "Muon is scalable for LLM training" (arXiv 2502.16982).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """`rate` is that of Adam; a convolution [o, i, k] counts as a matrix [o, i k]."""

    def __init__(
        self, weights: Iterable[Tensor], lr: float = 2e-3, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def step(self, closure: Any = None) -> None:
        """One step along the gradients."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for weight in (w for w in group["params"] if w.grad is not None):
                with torch.no_grad():
                    held = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                    held.lerp_(weight.grad, 1 - momentum)
                    way = orthogonal(weight.grad.lerp(held, momentum).flatten(1))  # Nesterov's look ahead
                    weight.mul_(1 - rate * group["weight_decay"])
                    size = 0.2 * max(way.shape) ** 0.5  # the root mean square of a step of Adam
                    weight.add_(way.view_as(weight), alpha=-rate * size)


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """Roughly U V' of the singular value decomposition, by a Newton-Schulz iteration of fifth order."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (matrix.norm() + 1e-7)
    turned = x.shape[0] > x.shape[1]
    x = x.T if turned else x
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if turned else x
