"""What a network trained with labels is made from: a small TOML file, or the card of a run.

```toml
task = "rul"             # rul, classify or detect
network = "transformer"  # cnn, rnn, transformer, autoencoder or encoder
optimiser = "muon"       # sgd, rmsprop, adam or muon
window = 40
[sizes]
width = 64
```
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.values import LEVELS
from gemel.lab.recipe import merge
from gemel.lab.tasks.labelled import TASKS
from gemel.lab.tasks.tables import Columns

NETWORKS = ("cnn", "rnn", "transformer", "autoencoder", "encoder")
RATES: Mapping[str, float] = {"sgd": 0.1, "rmsprop": 3e-3, "adam": 4e-3, "muon": 5e-3}
"""Optimiser -> the rate it takes where the recipe says none."""
SCHEDULES = ("flat", "fall", "cosine")


@dataclass(frozen=True)
class Task:
    """All that a run is made from; the card holds it. Raises `ConfigError` for what does not fit together."""

    task: str = "rul"
    network: str = "cnn"
    sizes: dict[str, Any] = field(default_factory=dict)  # keywords of the network's class
    window: int = 30  # rows that are looked at together
    optimiser: str = "adam"
    rate: float = 0.0  # 0: what suits the optimiser
    schedule: str = "cosine"  # "flat"; "fall": to zero over the last 30 %; "cosine": to zero from the start
    warm: int = 50  # steps of warm-up
    weight_decay: float = 0.01
    average: float = 0.99  # averaged weights keep this much a step; they are what is scored
    steps: int = 600
    batch: int = 128
    seed: int = 0
    seeds: int = 1  # how often all is done again with another seed, to see how much chance there is in it
    ensemble: int = 1  # networks whose answers are averaged
    levels: tuple[float, ...] = LEVELS  # of rul
    cap: float = 0.0  # no life counts as longer; 0: as it is
    rebuild: float = 1.0  # how much an autoencoder that answers must also make the window again
    own: int = 0  # a unit's own first rows are its usual
    alarms: float = 1.0  # false ones a week, for detect
    split: str = "unit"  # or "condition"
    test: float = 0.2  # share of the units, where no test data are given
    calibrate: float = 0.2  # share of the others
    columns: Columns = field(default_factory=Columns)
    data: str = ""  # SHA-256 of the data

    def __post_init__(self) -> None:
        named = [("task", TASKS), ("network", NETWORKS), ("optimiser", tuple(RATES)), ("schedule", SCHEDULES),
                 ("split", ("unit", "condition"))]  # fmt: skip
        wrong = [
            f"unknown {key} '{value}'{nearest(value, known)}: {', '.join(known)}"
            for key, known in named
            if (value := getattr(self, key)) not in known
        ]
        levels = self.levels
        checks = [
            (self.window >= 4, f"a window of {self.window} rows is too short: 4 or more"),
            (min(self.steps, self.batch, self.seeds, self.ensemble, self.warm) > 0,
             "steps, batch, seeds, ensemble and warm must be 1 or more"),
            (self.rate >= 0 and self.weight_decay >= 0 and self.alarms > 0, "rate, weight_decay or alarms too low"),
            (0 < self.calibrate < 0.9 and 0 <= self.test < 0.9, "test and calibrate are shares of the units: 0.2"),
            (0 <= self.average < 1, f"average {self.average} must be below 1"),
            (0.5 in levels and list(levels) == sorted(levels) and levels[0] > 0 and levels[-1] < 1,
             "levels must rise between 0 and 1 and hold 0.5"),
            (self.cap >= 0 and self.own >= 0, "cap and own must not be below 0"),
        ]  # fmt: skip
        if wrong := wrong + [text for good, text in checks if not good]:
            raise ConfigError(wrong, "correct the recipe", "recipe")

    @property
    def outputs(self) -> int:
        """Numbers the network answers, but for `classify`: 0 for a window made again."""
        if self.task == "rul":
            return len(self.levels)
        return 0 if self.network == "autoencoder" else 2


def task_of(held: Mapping[str, Any]) -> Task:
    """The recipe a card or a checkpoint holds."""
    import msgspec

    try:
        return msgspec.convert(dict(held), Task)
    except msgspec.ValidationError as error:
        raise ConfigError([str(error).replace("`$.", "`")], "correct the recipe", "recipe") from None


def read_task(path: str | Path = "", **given: Any) -> Task:
    """The defaults, changed by a TOML file (or by the recipe of a card, JSON), changed by what is `given`.

    Raises `ConfigError` naming every unknown key with the nearest known one.
    """
    whole = asdict(Task())
    held: Mapping[str, Any] = {}
    if path:
        try:
            text = Path(path).read_text(encoding="utf-8")
            held = json.loads(text)["recipe"] if Path(path).suffix == ".json" else tomllib.loads(text)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}", "give a TOML file, or a card") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError([f"{path} holds no recipe: {error}"], "give a TOML file, or the card of a run") from None
    sizes = held.get("sizes", {})
    wrong = [] if isinstance(sizes, Mapping) else ["sizes is a table: [sizes]"]
    wrong += merge(whole, {k: v for k, v in held.items() if k != "sizes"}, Task())
    if wrong:
        raise ConfigError(wrong, "the keys are those of Task and Columns in gemel.lab", str(path))
    whole["sizes"] = dict(sizes)
    columns = given.pop("columns", {})
    whole["columns"] |= columns
    return task_of({**whole, **given})
