"""Training a network that proposes a simulator's states and parameters from telemetry, on simulated runs alone.

    gemel lab amortise plant.toml --into plant.amortised

Runs are drawn from the simulator's own priors under random inputs, with noise, gaps and windows of many lengths, and
never twice. The network learns the normal distribution, on coordinates in which the prior is a standard one, that
makes the states and parameters they came from most probable (neural posterior estimation). See
`gemel.estimators.amortised` for what it is used for.

Letters in shapes: b windows, f numbers told of each, r directions, t rows, u inputs, y outputs.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gemel.core.artifact import digest
from gemel.core.errors import ConfigError, InputError
from gemel.core.units import duration
from gemel.core.values import Belief, Float32s, Floats
from gemel.estimators.amortised import around, coordinates, shape, telling, told
from gemel.estimators.scale import Scale
from gemel.lab.excite import excitation, ranges
from gemel.loop.simulate import Assignable, Noisy, rollout

Watch = Callable[[int, int, float], None]
"""Step, of how many, and the loss: nats above the prior's own."""
_OFTEN = 8
"""Steps that a batch of runs is used for, each time with other noise, gaps and length."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; part of its card. `window`: the longest window; the shortest is a quarter of it."""

    window: str = "2d"
    steps: int = 4000
    batch: int = 256
    width: int = 128
    rate: float = 2e-3
    seed: int = 0


class Network(nn.Module):
    """[b, f] -> mean [b, r] and root [b, r, r], upper triangular, root'root the precision."""

    def __init__(self, directions: int, width: int) -> None:
        super().__init__()
        self.r = r = directions
        self.first = nn.Linear(telling(r), width)
        self.blocks = nn.ModuleList([nn.Linear(width, width) for _ in range(2)])
        self.last = nn.Linear(width, 3 * r + r * (r - 1) // 2)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        rows, columns = np.triu_indices(r, 1)
        place = np.concatenate([np.arange(r) * (r + 1), rows * r + columns])
        into = np.zeros((len(place), r**2), np.float32)
        into[np.arange(len(place)), place] = 1.0
        self.register_buffer("into", torch.from_numpy(into))

    def forward(self, told: Tensor) -> tuple[Tensor, Tensor]:
        x = nn.functional.silu(self.first(told))
        for block in self.blocks:
            x = x + nn.functional.silu(block(x))
        mean, trust, log, rest = self.last(x).split([self.r, self.r, self.r, self.r * (self.r - 1) // 2], dim=1)
        mean = mean + told[:, : self.r] * torch.sigmoid(trust)  # of the centre to first order
        entries = torch.cat([torch.exp(log.clamp(-3.0, 6.0)), rest], dim=1)
        return mean, (entries @ self.into).view(-1, self.r, self.r)


def loss_of(network: Network, told: Tensor, w: Tensor) -> Tensor:
    """Mean of minus the logarithm of the density at `w` [b, r], less what the prior itself would have."""
    mean, root = network(told)
    miss = (root @ (w - mean)[:, :, None])[:, :, 0]
    own = 0.5 * (w * w).sum(1)
    return (0.5 * (miss * miss).sum(1) - torch.log(torch.diagonal(root, dim1=1, dim2=2)).sum(1) - own).mean()


class Runs:
    """Simulated telemetry of one twin's simulator, without end."""

    def __init__(self, twin: Any, recipe: Recipe) -> None:
        self.simulator, self.recipe = _simulator(twin), recipe
        noise = _noise(twin)
        self.every, rows = duration(twin.every), duration(recipe.window) // duration(twin.every)
        if rows < 16:
            raise InputError(f"a window of {recipe.window} has {rows} rows at {twin.every}", "choose a longer --window")
        self.hours = np.arange(1, rows + 1) * self.every / 3.6e12
        self._range, self._whole = ranges(self.simulator.inputs, twin.signals)
        self.coordinates = coordinates(self.simulator)
        self._scale = Scale(self.simulator.states, getattr(self.simulator, "bounds", {}))
        self._shown = [list(self.simulator.outputs).index(n) for n in noise]
        self.noise = np.array(list(noise.values()))

    def draw(self, seed: int, windows: int) -> tuple[Floats, Floats]:
        """What would be measured without noise [t, y, b, 2 + 2 r]: by the plant, and by the runs that the network is
        shown; and where the plant came from: w [r, b]."""
        rng, simulator, r = np.random.default_rng((self.recipe.seed, seed)), self.simulator, len(self.coordinates)
        w = rng.standard_normal((r, windows))
        all_w = np.concatenate([w[:, :, None], np.repeat(around(r)[:, None], windows, axis=1)], axis=2)
        states = self._scale.back(self.coordinates.back(all_w.reshape(r, -1)))
        start = int(rng.integers(365 * 86_400)) * 10**9 + 1_600_000_000 * 10**9
        memory = simulator.init(Belief(tuple(simulator.states), states, start), seed)
        if isinstance(simulator, Noisy):
            memory = simulator.quiet(memory)
        inputs = excitation(rng, self._range, self._whole, self.hours, windows)
        outputs = rollout(simulator, memory, np.repeat(inputs, all_w.shape[2], axis=2), self.every / 1e9)
        shown = outputs[:, self._shown].reshape(len(inputs), len(self._shown), windows, -1)
        fine = np.isfinite(shown).all(axis=(0, 1, 3))
        return shown[:, :, fine], w[:, fine]

    def heard(self, shown: Floats, rng: np.random.Generator) -> Float32s:
        """What the network is told of runs [b, f]: of a first part of them, with noise and gaps."""
        t, y, b, _ = shown.shape
        rows = round(t * 4.0 ** -rng.random())
        noise = self.noise[:, None] * np.exp(rng.uniform(-0.7, 0.7, (y, b)))
        seen = shown[:rows, :, :, 0] + noise * rng.standard_normal((rows, y, b))
        lost = rng.random(seen.shape) < 0.3 * rng.random((y, b)) ** 2
        where, at = rng.integers(0, rows, (y, b)), np.arange(rows)[:, None, None]
        lost |= (rng.random((y, b)) < 0.2) & (at >= where) & (at < where + rows // 6)
        lost |= (rng.random((y, b)) < 0.05) & (y > 1)
        seen[lost] = np.nan
        sd = np.broadcast_to(noise, seen.shape)
        value, runs, sd = (np.moveaxis(x, 2, 0) for x in (seen, shown[:rows, :, :, 1:], sd))
        return told(value.reshape(b, -1), runs.reshape(b, rows * y, -1), sd.reshape(b, -1))


def amortise(twin: Any, into: str | Path, recipe: Recipe | None = None, *, name: str = "amortised",
             watch: Watch | None = None) -> dict[str, Any]:  # fmt: skip
    """Train a network for a twin's simulator and write `name.onnx` and `name.json` into a folder; returns the card.

    The twin's estimator says which outputs are measured and with what noise, its signals' `low` and `high` what drives
    it. Raises `ConfigError` where they do not.
    """
    recipe = recipe or Recipe()
    began = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        runs = Runs(twin, recipe)
        network = Network(len(runs.coordinates), recipe.width)
    _train(network, runs, watch or (lambda step, of, loss: None))
    out = Path(into)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.onnx"
    _write(network.eval(), path)
    card = {
        "name": name,
        "recipe": asdict(recipe),
        "simulator": shape(runs.simulator),
        "parameters": sum(p.numel() for p in network.parameters()),
        "runs": math.ceil(recipe.steps / _OFTEN) * recipe.batch,
        "seconds": round(time.perf_counter() - began, 1),
        "torch": str(torch.__version__),
        "scores": score(network, runs),
        "sha256": {path.name: digest(path)},
    }
    (out / f"{name}.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
    return card


def score(network: Network, runs: Runs, windows: int = 2048) -> dict[str, float]:
    """On new runs: `gained` nats over the prior, `within`: how many of the true coordinates the 90 % intervals hold,
    and `spread` and `error` of a coordinate, of which the prior has 1."""
    rng = np.random.default_rng(1)
    drawn = [runs.draw(2**40 + i, 256) for i in range(windows // 256)]
    told = torch.from_numpy(np.concatenate([runs.heard(shown, rng) for shown, _ in drawn]))
    true = torch.from_numpy(np.concatenate([w.T for _, w in drawn]).astype(np.float32))
    with torch.no_grad():
        mean, root = network(told)
        half = torch.linalg.inv(root)
        spread = (half @ half.mT).diagonal(dim1=1, dim2=2).sqrt()
        miss = true - mean
        return {
            "gained": -float(loss_of(network, told, true)),
            "within": float((miss.abs() < 1.6449 * spread).float().mean()),
            "spread": float(spread.square().mean().sqrt()),
            "error": float(miss.square().mean().sqrt()),
        }


def _train(network: Network, runs: Runs, watch: Watch) -> None:
    recipe = runs.recipe
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=1e-3)
    fall = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=recipe.steps, pct_start=0.05)
    rng, losses = np.random.default_rng((recipe.seed, 9)), []
    for step in range(recipe.steps):
        if step % _OFTEN == 0:
            shown, w = runs.draw(1 + step, recipe.batch)
            true = torch.from_numpy(w.T.astype(np.float32))
        loss = loss_of(network, torch.from_numpy(runs.heard(shown, rng)), true)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        fall.step()
        losses.append(float(loss.detach()))
        if len(losses) == 100 or step + 1 == recipe.steps:
            watch(step + 1, recipe.steps, sum(losses) / len(losses))
            losses = []


def _write(network: Network, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that newer exporters exist
        torch.onnx.export(
            network, (torch.zeros(2, telling(network.r)),), str(path), dynamo=False, opset_version=17,
            input_names=["told"], output_names=["mean", "root"],
            dynamic_axes={n: {0: "windows"} for n in ("told", "mean", "root")},
        )  # fmt: skip


def _simulator(twin: Any) -> Assignable:
    if not isinstance(twin.simulator, Assignable):
        raise ConfigError(["the twin has no simulator whose states can be read"], "add simulator = { kind = ... }")
    return twin.simulator


def _noise(twin: Any) -> dict[str, float]:
    noise = getattr(getattr(twin.estimator, "part", None), "noise", None)
    if not noise:
        raise ConfigError(
            ["the twin has no estimator that says what is measured"],
            "add estimator = { kind = 'enkf', noise = { ... } }",
        )
    return {str(n): float(sd) for n, sd in noise.items()}
