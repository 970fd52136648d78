"""What a run is made from, and how it is read: a small TOML file, or the card of a run that is to be repeated.

```toml
rate = 3e-3              # what is not named stays as in the recipe it starts from ("cpu" or "gpu")
[shape]
width = 128
[mixture]
tokens = 4096
```
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from gemel.core.artifact import digest
from gemel.core.errors import ConfigError, InputError, nearest
from gemel.lab.corpus import Mixture
from gemel.lab.network import Shape


@dataclass(frozen=True)
class Recipe:
    """All that a run is made from; the card holds it. Raises `ConfigError` for what does not fit together."""

    shape: Shape = field(default_factory=Shape)
    mixture: Mixture = field(default_factory=Mixture)
    steps: int = 0  # 0: as many as the budget allows
    fall: int = 0  # step at which the rate begins to fall; 0: after 1 - decay of the steps
    rate: float = 5e-3  # of 2e-3, 5e-3 and 1e-2 the best on held-out series after a million patches
    warm: int = 200  # steps of warm-up
    decay: float = 0.3  # part of the steps over which the rate falls to zero
    weight_decay: float = 0.05
    average: float = 0.998  # averaged weights keep this much a step
    seed: int = 0
    data: str = ""  # SHA-256 of the file of real series

    def __post_init__(self) -> None:
        shape, mixture = self.shape, self.mixture
        longest = (max(mixture.lengths, default=0) + 1) * mixture.patch
        checks = [
            (shape.patch == mixture.patch, f"shape.patch {shape.patch} and mixture.patch {mixture.patch} differ"),
            (shape.width % (2 * shape.heads) == 0, f"width {shape.width} is no multiple of 2 x {shape.heads} heads"),
            (min(mixture.lengths, default=0) > 0, "mixture.lengths needs lengths of 1 patch or more"),
            (
                longest * min(mixture.thin, default=1) <= mixture.row,
                f"mixture.row {mixture.row} is too short: the longest window has {longest} points",
            ),
            (0 <= self.decay < 1, f"decay {self.decay} is no part of a run: 0 up to 1"),
            (0 <= self.fall <= self.steps, f"the rate falls at step {self.fall} of {self.steps}"),
            (self.rate > 0 and self.warm > 0, "rate and warm must be above zero"),
        ]
        if wrong := [text for good, text in checks if not good]:
            raise ConfigError(wrong, "correct the recipe", "recipe")


RECIPES = {
    "cpu": Recipe(),
    "gpu": Recipe(
        shape=Shape(width=256, heads=4, layers=5),
        mixture=Mixture(tokens=65_536, rows=32_768, renew=512, lengths=(4, 8, 16, 32, 64, 88, 88)),
        average=0.999,
    ),
}
"""`cpu`: 1.8 M parameters for some hours of one core. `gpu`: 3.8 M, as large as float32 in 16 MiB can be."""


def recipe_of(held: Mapping[str, Any]) -> Recipe:
    """The recipe a card or a checkpoint holds."""
    import msgspec

    try:
        return msgspec.convert(dict(held), Recipe)
    except msgspec.ValidationError as error:
        raise ConfigError([str(error).replace("`$.", "`")], "correct the recipe", "recipe") from None


def read_recipe(path: str | Path = "", start: str = "cpu") -> Recipe:
    """The recipe `start`, changed by the keys of a TOML file; or that of a card (JSON), which is whole.

    Raises `ConfigError` naming every unknown key with the nearest known one.
    """
    if start not in RECIPES:
        raise ConfigError([f"unknown recipe '{start}'{nearest(start, RECIPES)}"], f"known: {', '.join(RECIPES)}")
    if not path:
        return RECIPES[start]
    try:
        text = Path(path).read_text(encoding="utf-8")
        held = json.loads(text)["recipe"] if Path(path).suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", "give a TOML file, or the card of a run") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError([f"{path} holds no recipe: {error}"], "give a TOML file, or the card of a run") from None
    whole = asdict(RECIPES[start])
    if wrong := list(merge(whole, held, RECIPES[start])):
        raise ConfigError(wrong, "the keys are those of Recipe, Shape and Mixture in gemel.lab", str(path))
    return recipe_of(whole)


def merge(into: dict[str, Any], held: Mapping[str, Any], like: Any, place: str = "") -> Iterator[str]:
    """Put the keys of `held` into `into`; yields what is wrong."""
    known = [f.name for f in fields(like)]
    for key, value in held.items():
        if key not in known:
            yield f"unknown key '{place}{key}'{nearest(key, known)}"
        elif not is_dataclass(getattr(like, key)):
            into[key] = value
        elif isinstance(value, Mapping):
            yield from merge(into[key], value, getattr(like, key), f"{place}{key}.")
        else:
            yield f"{place}{key} is a table: [{place}{key}]"


def with_pool(recipe: Recipe, pool: str | Path) -> Recipe:
    """The recipe with the hash of the pool it is trained on; `ConfigError` when it was made with another one."""
    if pool and not Path(pool).is_file():
        raise InputError(f"there is no file {pool}", "give a Parquet file with the columns source, id and values")
    data = digest(pool) if pool else ""
    if recipe.data and recipe.data != data:
        have = f"{pool} is {data[:12]}" if pool else "no pool was given"
        raise ConfigError([f"the recipe wants the pool {recipe.data[:12]}, and {have}"], "give --pool the same file")
    return replace(recipe, data=data)


def differences(one: Recipe, other: Recipe) -> list[str]:
    """The keys in which two recipes differ, those of the end left out: a run may go on for longer."""
    a, b = _flat(asdict(one)), _flat(asdict(other))
    return [key for key in a if a[key] != b[key] and key not in ("steps", "fall")]


def _flat(held: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in held.items():
        out |= _flat(value, f"{place}{key}.") if isinstance(value, Mapping) else {place + key: value}
    return out
