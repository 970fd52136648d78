"""Low-rank adapters: the network itself, turned a little towards one asset.

    gemel lab adapt plant.toml --folder runs/foundation --into plant.network

Beside each matrix of a block stands a product of two thin ones, which alone are trained on the asset's history and then
added to it (LoRA, Hu et al., arXiv 2106.09685). What comes out is an ordinary network: it exports, and
`Foundation(model=...)` loads it. The last 15 % of the history are not trained on; there the gate compares.

Letters: r rank, t rows of the history, s signals, b windows, p points a patch.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gemel.core.errors import InputError
from gemel.core.foundation import Reach
from gemel.core.values import DECILES, Floats, Frame
from gemel.forecasters.foundation.adapt import Verdict, moving
from gemel.forecasters.foundation.ask import Way, quantiles
from gemel.forecasters.score import crps
from gemel.lab.corpus import Pool, Windows, centred, hide
from gemel.lab.evaluate import asked
from gemel.lab.export import export
from gemel.lab.network import Network
from gemel.lab.priors import Draw
from gemel.lab.train import Run, loss_of

_TAUGHT = 0.85
_WINDOWS = 32  # a signal, for the gate
_ONCE = Way((64,), flip=False, small=False)


@dataclass(frozen=True)
class Fine:
    """How adapters are trained; part of the card."""

    rank: int = 6
    steps: int = 400
    batch: int = 16  # windows a step
    patches: int = 64  # of a window
    rate: float = 2e-3
    seed: int = 0


class LowRank(nn.Module):
    """A matrix plus the product of two thin ones; the product starts at zero."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.zeros(rows, rank))
        self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def opened(network: Network, rank: int) -> list[nn.Parameter]:
    """Put adapters beside the matrices of the blocks along time; returns what is to be trained, the rest is frozen."""
    network.requires_grad_(False)
    found: list[nn.Parameter] = []
    for block in network.time:
        for layer in (block.mix, block.out, block.up, block.down):
            rows, columns = layer.weight.shape
            adapter = LowRank(rows, columns, rank)
            parametrize.register_parametrization(layer, "weight", adapter)
            found += [adapter.up, adapter.down]
    return found


def merged(network: Network) -> Network:
    """Add the adapters to their matrices: the same answers from an ordinary network."""
    for block in network.time:
        for layer in (block.mix, block.out, block.up, block.down):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return network.requires_grad_(True)


def adapt(
    network: Network,
    history: Frame,
    horizon: int,
    fine: Fine | None = None,
    watch: Callable[[int, int, float], None] = lambda *_: None,
) -> tuple[Network, Verdict]:
    """The network adapted to a regular history [t, s], and the gate's verdict on windows of its last part.

    `watch` is called with (step, steps, loss). Raises `InputError` when the history is too short.
    """
    fine = fine or Fine()
    history = moving(history)
    values, p = history.values, network.shape.patch
    cut = int(_TAUGHT * len(values))
    if not history.signals or cut < 8 * p or len(values) - cut < 2 * horizon:
        raise InputError(
            f"{len(values)} rows are too few to adapt a network to",
            "let the twin run longer, or fit a head: gemel adapt",
        )
    before = _scores(network, values, cut, horizon)
    _train(network, values[:cut], horizon, fine, watch)
    after = _scores(merged(network).eval(), values, cut, horizon)
    return network, Verdict(history.signals, before, after, _WINDOWS)


def write(run: Run, adapted: Network, verdict: Verdict, fine: Fine, folder: str | Path) -> dict[str, Any]:
    """Export the adapted network of a run to a folder that `Foundation(model=...)` loads; returns its card."""
    run.average = {name: value.clone() for name, value in adapted.state_dict().items()}
    card = export(run, folder)
    card["adapted"] = {
        "recipe": asdict(fine),
        "signals": verdict.signals,
        "CRPS before": verdict.zero,
        "CRPS": verdict.head,
        "verdict": str(verdict),
    }
    (Path(folder) / "foundation.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
    return card


def _train(network: Network, values: Floats, horizon: int, fine: Fine, watch: Callable[..., None]) -> None:
    p = network.shape.patch
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fine.seed)
        trained = opened(network.train(), fine.rank)
    pool = Pool([np.asarray(column, np.float32) for column in values.T], power=1.0)
    patches = min(fine.patches, len(values) // p - 1)
    draw, optimiser = Draw(fine.seed), torch.optim.AdamW(trained, lr=fine.rate, weight_decay=0.0)
    for step in range(fine.steps):
        x = pool.rows(draw, fine.batch, (patches + 1) * p)
        x, seen = centred(x, torch.isfinite(x).float())
        shape = (fine.batch, 1, patches + 1, p)
        hidden = hide(draw, fine.batch, patches, max(1, -(-horizon // p)))[:, None, :, None]
        loss = loss_of(network, Windows(x.view(shape), seen.view(shape), hidden))
        optimiser.param_groups[0]["lr"] = fine.rate * min(1.0, (step + 1) / 20) * (1 - step / fine.steps)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        watch(step + 1, fine.steps, float(loss.detach()))


def _scores(network: Network, values: Floats, cut: int, horizon: int) -> tuple[float, ...]:
    """CRPS of every signal on windows after `cut`."""
    ends = np.random.default_rng(0).integers(cut, len(values) - horizon + 1, _WINDOWS)
    reach = Reach(patch=network.shape.patch)
    found = []
    for column in values.T:
        contexts = [column[max(0, end - reach.window * reach.patch) : end] for end in ends]
        answer = quantiles(asked(network), contexts, horizon, _ONCE, reach)
        truth = np.array([column[end : end + horizon] for end in ends])
        found.append(crps(truth, answer, DECILES))
    return tuple(found)
