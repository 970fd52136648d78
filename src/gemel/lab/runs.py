"""What has been trained: a row a run, from its checkpoint and its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from gemel.core.errors import InputError
from gemel.lab.recipe import RECIPES, Recipe, differences, recipe_of


@dataclass(frozen=True)
class Row:
    """One run. A folder with an exported network alone has no curve."""

    name: str
    recipe: str  # the nearest one in the box
    changed: list[str]  # keys in which it differs from that
    parameters: int
    steps: int
    end: int  # 0 while unknown
    patches: int
    hours: float
    loss: float | None
    log: list[tuple[int, float]] = field(repr=False)
    card: Mapping[str, Any] = field(repr=False)  # empty until exported

    def score(self, kind: str, name: str, way: str = "best") -> float | None:
        """`score("pool", "CRPS")`: ratio to seasonal naive on held-out series, or on the benchmark ("bench")."""
        found = self.card.get("scores", {}).get(kind, {}).get(way, {})
        found = found.get("all", {}).get("network", {}) if kind == "pool" else found
        return found.get(name)


def runs(folder: str | Path) -> list[Row]:
    """Every run below `folder`, by name. Raises `InputError` when there is none."""
    top = Path(folder)
    places = sorted({p.parent for pattern in ("checkpoint.pt", "foundation.json") for p in top.rglob(pattern)})
    found = [_row(place, place.relative_to(top).as_posix() if place != top else place.name) for place in places]
    if not found:
        raise InputError(f"there is no run in {folder}", "train one: gemel lab pretrain --help")
    return found


def _row(place: Path, name: str) -> Row:
    path = place / "foundation.json"
    card: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    checkpoint = place / "checkpoint.pt"
    if not checkpoint.exists():
        recipe, tokens = recipe_of(card["recipe"]), card["recipe"]["mixture"]["tokens"]
        steps, end, hours, loss = card["steps"], recipe.steps, card["hours"], card["loss"]
        return Row(name, *kin(recipe), card["parameters"], steps, end, steps * tokens, hours, loss, [], card)
    held = torch.load(checkpoint, weights_only=True, mmap=True, map_location="cpu")
    recipe, state = recipe_of(held["recipe"]), held["state"]
    count = sum(w.numel() for key, w in held["network"].items() if not key.startswith("across"))
    end = recipe.steps or round(state["fall"] / (1 - recipe.decay))
    log = [(int(step), float(loss)) for step, loss in state["log"]]
    patches, hours = state["step"] * recipe.mixture.tokens, round(state["seconds"] / 3600, 3)
    return Row(name, *kin(recipe), count, state["step"], end, patches, hours, log[-1][1] if log else None, log, card)


def kin(recipe: Recipe) -> tuple[str, list[str]]:
    """The recipe in the box that is nearest, and the keys that differ."""
    changed = {name: [k for k in differences(one, recipe) if k != "data"] for name, one in RECIPES.items()}
    name = min(changed, key=lambda n: len(changed[n]))
    return name, changed[name]
