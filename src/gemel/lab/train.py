"""Pre-training: one loop, resumable to the step.

    gemel lab pretrain --folder runs/foundation --pool pool.parquet --budget 3h
    python -m gemel.lab.train --folder runs/foundation --pool pool.parquet --budget 3h     needs torch and little else

The rate of learning warms up, stays, and falls to zero over the last part of the run (warm-up, stable, decay:
arXiv 2405.18392). With `steps` the fall begins at a step; with a budget it begins when the stable part of the time
is used up, and the step is remembered. `stable.pt` is the state just before the fall: copied to `checkpoint.pt` of a
new folder it goes on with a larger budget, so runs add up. Weights that ship are an average over the last steps.
`Run.repeat` is the recipe that makes the same run again from nothing, also one that was made by budget.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from gemel.core.errors import ConfigError, InputError
from gemel.core.units import SECOND, duration
from gemel.core.values import Float32s
from gemel.lab.corpus import Corpus, Windows, read_pool
from gemel.lab.network import Network, pinball, scaled
from gemel.lab.recipe import RECIPES, Recipe, differences, read_recipe, recipe_of, with_pool

EVERY = 50
"""Steps between two entries of the log."""


@dataclass
class State:
    """Where a run is, beside weights and optimisers."""

    step: int = 0
    seconds: float = 0.0
    fall: int = 0  # step at which the rate begins to fall; 0 while unknown
    log: list[tuple[int, float]] = field(default_factory=list)  # (step, mean loss since the last entry)


class Run:
    """Network, averaged weights, optimisers and state of one run, and their file."""

    def __init__(self, recipe: Recipe, folder: Path, device: str = "cpu") -> None:
        self.recipe, self.folder, self.device = recipe, folder, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = Network(recipe.shape).to(device)
        matrices = [p for n, p in self.network.named_parameters() if p.ndim == 2 and n.startswith(("time", "across"))]
        chosen = {id(p) for p in matrices}
        others = [p for p in self.network.parameters() if id(p) not in chosen]
        same = {"lr": recipe.rate, "weight_decay": recipe.weight_decay}
        self.optimisers: list[torch.optim.Optimizer] = [
            # Muon's steps have the size of AdamW's (arXiv 2502.16982), so both share one rate
            torch.optim.Muon(matrices, momentum=0.95, adjust_lr_fn="match_rms_adamw", **same),
            torch.optim.AdamW(others, betas=(0.9, 0.95), fused=True, **same),
        ]
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.state = State()

    def update(self, rate: float) -> None:
        """One step of the optimisers along the gradients, and of the average after the weights."""
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        keep = min(self.recipe.average, self.state.step / (self.state.step + 10))  # early weights are soon forgotten
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.network.state_dict().values()), 1 - keep)
        self.state.step += 1

    def save(self, name: str = "checkpoint.pt") -> None:
        """Write everything; a crash while writing leaves the file before it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = {
            "recipe": asdict(self.recipe),
            "state": asdict(self.state),
            "network": self.network.state_dict(),
            "average": self.average,
            "optimisers": [o.state_dict() for o in self.optimisers],
        }
        torch.save(whole, self.folder / f"{name}.new")
        os.replace(self.folder / f"{name}.new", self.folder / name)

    def load(self, name: str = "checkpoint.pt") -> bool:
        """Go on from a file of this run; `False` when there is none, `ConfigError` when its recipe is another one, or
        the end that its falling rate is bound for."""
        path = self.folder / name
        if not path.exists():
            return False
        whole = torch.load(path, map_location=self.device, weights_only=True)
        held, state = recipe_of(whole["recipe"]), State(**whole["state"])
        if wrong := differences(held, self.recipe):
            raise ConfigError([f"{path} was made by a recipe with other {', '.join(wrong)}"], "choose another folder")
        last = end(held, state) if state.fall else 0
        if (last and end(self.recipe, state) != last) or 0 < self.recipe.steps < state.step:
            told = f"its rate falls to zero at step {last}" if last else f"it has {state.step} steps"
            hint = "a longer run goes on from its stable.pt: copy that to checkpoint.pt in a new folder"
            raise ConfigError([f"{path} cannot go on to another end: {told}"], hint)
        self.network.load_state_dict(whole["network"])
        self.average = whole["average"]
        for optimiser, memory in zip(self.optimisers, whole["optimisers"], strict=True):
            optimiser.load_state_dict(memory)
        self.state = state
        return True

    @classmethod
    def found(cls, folder: str | Path, name: str = "checkpoint.pt", device: str = "cpu") -> Run:
        """The run whose checkpoint lies in `folder`, with the recipe it was made from."""
        path = Path(folder) / name
        if not path.exists():
            raise InputError(f"no run in {folder}", "train one: gemel lab pretrain --help")
        recipe = recipe_of(torch.load(path, weights_only=True, mmap=True, map_location="cpu")["recipe"])
        run = cls(recipe, Path(folder), device)
        run.load(name)
        return run

    def repeat(self) -> Recipe:
        """The recipe that makes this run again from nothing: with the steps and the fall it came to have. A run by
        budget that has not come to its fall is repeated up to its step."""
        recipe, state = self.recipe, self.state
        if state.fall:
            return replace(recipe, steps=end(recipe, state), fall=state.fall)
        return recipe if recipe.steps else replace(recipe, steps=state.step, fall=state.step)

    def averaged(self) -> Network:
        """The network with the averaged weights."""
        network = Network(self.recipe.shape).to(self.device)
        network.load_state_dict(self.average)
        return network.eval()


@dataclass(frozen=True)
class Standing:
    """How far a run is, told every `EVERY` steps."""

    step: int
    end: int  # the last step; 0 while only the budget is known
    seconds: float
    left_s: float
    loss: float | None  # mean since the last time; none at the start
    pace: float  # patches a second

    @property
    def part(self) -> float:
        """What is done, 0 to 1."""
        return self.step / self.end if self.end else self.seconds / max(self.seconds + self.left_s, 1e-9)

    def __str__(self) -> str:
        if self.loss is None:
            return f"goes on after step {self.step}" if self.step else "new run"
        minutes = f"{self.seconds / 60:.1f} min, {self.left_s / 60:.1f} min left"
        return f"step {self.step}  loss {self.loss:.4f}  {self.pace:.0f} patches/s  {minutes}"


def standing(run: Run, budget_s: float, loss: float | None = None) -> Standing:
    """Where the run is now."""
    state, known = run.state, end(run.recipe, run.state)
    pace = state.step / max(state.seconds, 1e-9)
    left = (known - state.step) / max(pace, 1e-9) if known and state.step else budget_s - state.seconds
    tokens = run.recipe.mixture.tokens
    return Standing(state.step, known, state.seconds, max(0.0, left), loss, pace * tokens if state.step else 0.0)


def begin(
    folder: str | Path,
    *,
    start: str = "",
    config: str | Path = "",
    pool: str | Path = "",
    budget: str = "",
    steps: int = 0,
    resume: bool = False,
    device: str = "cpu",
    fast: bool = False,
    threads: int = 1,
    watch: Callable[[Standing], None] = print,
) -> Run:
    """What both commands do: read the recipe and the pool, and train in `folder`.

    A folder that holds a run is refused without `resume`; a resumed run keeps its recipe, and one asked for besides
    must agree with it. Raises `ConfigError` and `InputError` before anything is written.
    """
    torch.set_num_threads(threads)
    held = Path(folder) / "checkpoint.pt"
    if held.exists() and not resume:
        raise InputError(
            f"{folder} already holds a run", "--resume goes on with it; take another --folder for a new one"
        )
    if resume and not held.exists():
        raise InputError(f"{folder} holds no run to go on with", "leave --resume out to begin one")
    if steps and budget:
        raise InputError("both --steps and --budget were given", "give one of them")
    recipe = read_recipe(config, start or "cpu")
    if resume and not (start or config):
        recipe = recipe_of(torch.load(held, weights_only=True, mmap=True, map_location="cpu")["recipe"])
    recipe = with_pool(recipe, pool)
    if steps or budget:
        recipe = replace(recipe, steps=steps, fall=0)
    budget_s = duration(budget) / SECOND if budget else 0.0
    series = read_pool(pool)[0] if pool else []
    return pretrain(recipe, folder, series, budget_s=budget_s, device=device, fast=fast, watch=watch)


def pretrain(
    recipe: Recipe,
    folder: str | Path,
    series: Sequence[Float32s] = (),
    *,
    budget_s: float = 0.0,
    device: str = "cpu",
    fast: bool = False,
    save_s: float = 180.0,
    watch: Callable[[Standing], None] = print,
) -> Run:
    """Train, or go on training, until the steps of the recipe or the budget (seconds, earlier parts of the run counted
    in) are used up. `series` is the real pool; `fast` compiles the network (for a GPU)."""
    if not recipe.steps and not budget_s:
        raise ConfigError(["a run needs an end"], "give --steps or --budget")
    run = Run(recipe, Path(folder), device)
    run.load()
    corpus, state = Corpus(recipe.mixture, series, device), run.state
    watch(standing(run, budget_s))
    learn = torch.compile(loss_of) if fast else loss_of
    before, since, saved = state.seconds, time.perf_counter(), time.perf_counter()
    losses: list[Tensor] = []
    while True:
        state.seconds = before + time.perf_counter() - since
        if not state.fall and falls(recipe, state, budget_s):
            run.save("stable.pt")
            state.fall = max(1, state.step)
        if 0 < end(recipe, state) <= state.step:
            break
        loss = learn(run.network, corpus.windows(state.step))
        loss.backward()
        run.update(recipe.rate * strength(recipe, state))
        losses.append(loss.detach())
        if len(losses) == EVERY:  # also the only moment to save: a resumed run then writes the same log
            state.log.append((state.step, float(torch.stack(losses).mean())))
            losses = []
            watch(standing(run, budget_s, state.log[-1][1]))
            if time.perf_counter() - saved > save_s:
                run.save()
                saved = time.perf_counter()
    run.save()
    return run


def loss_of(network: Network, windows: Windows) -> Tensor:
    """Mean pinball loss, in scaled space, of every next patch of every window, hidden or not."""
    inside = windows.seen * (1 - windows.hidden)
    with torch.no_grad():
        view = scaled(windows.values[:, :, :-1], inside[:, :, :-1])
        target = view.terms(windows.values[:, :, 1:])
        enough = inside[:, :, :-1].sum(-1, keepdim=True).cumsum(2) >= 8  # points seen so far
        weight = windows.seen[:, :, 1:] * enough
    with torch.autocast(windows.values.device.type, torch.bfloat16):
        answer = network.answer(network.hidden(view), view.recent)
    levels = torch.tensor(network.shape.levels, device=target.device)
    return pinball(answer.float(), target, weight, levels)


def falls(recipe: Recipe, state: State, budget_s: float) -> bool:
    """Whether the rate begins to fall now."""
    if recipe.steps:
        return state.step >= (recipe.fall or round(recipe.steps * (1 - recipe.decay)))
    return state.seconds >= budget_s * (1 - recipe.decay)


def end(recipe: Recipe, state: State) -> int:
    """The last step; 0 while a budget is not yet so far used that it is known."""
    return recipe.steps or round(state.fall / (1 - recipe.decay))


def strength(recipe: Recipe, state: State) -> float:
    """The rate at this step as a part of the largest."""
    warm = min(1.0, (state.step + 1) / recipe.warm)
    if not state.fall or state.step < state.fall:
        return warm
    return warm * (end(recipe, state) - state.step) / max(1, end(recipe, state) - state.fall)


def main() -> None:
    """The command at the top of this file. A run found in the folder is resumed."""
    say = argparse.ArgumentParser(description="Pre-train the forecasting network, or go on training it.")
    say.add_argument("--folder", required=True, help="where checkpoints go; a run found there is resumed")
    say.add_argument("--recipe", default="", choices=("", *sorted(RECIPES)), help='what it starts from: "cpu" or "gpu"')
    say.add_argument("--config", default="", help="TOML file with keys of the recipe, or the card of a run")
    say.add_argument("--pool", default="", help="Parquet file of real series; without it all is synthetic")
    say.add_argument("--budget", default="", help='"3h", all parts of the run together')
    say.add_argument("--steps", type=int, default=0, help="instead of a budget")
    say.add_argument("--device", default="cpu")
    say.add_argument("--fast", action="store_true", help="compile the network first")
    say.add_argument("--threads", type=int, default=1)
    given = say.parse_args()
    begin(
        given.folder,
        start=given.recipe,
        config=given.config,
        pool=given.pool,
        budget=given.budget,
        steps=given.steps,
        resume=(Path(given.folder) / "checkpoint.pt").exists(),
        device=given.device,
        fast=given.fast,
        threads=given.threads,
    )


if __name__ == "__main__":
    main()
