"""Learning a fleet's remaining lives: trees and networks in folds of units, and how far they were off.

    from gemel.lab.life.learn import Recipe, learn
    learn(read_fleet("train_FD001.txt.gz"), Recipe()).save("runs/fleet")

The units are dealt into folds; each fold has trees and a network that never saw its units, so what they say of these
is as wrong as they will be on new ones: from it come the weight of the trees and the quantiles (cross-conformal
prediction, Vovk 2015). On site all of them are asked and averaged. How channels are scaled is fitted to all units.

Letters: u units, n rows of all units, f features, w tokens, d numbers a token, q levels, g points of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.errors import InputError
from gemel.core.values import Bools, Float32s, Floats, Ints
from gemel.detectors.life.condition import Usual, usual
from gemel.detectors.life.ensemble import Meaning, Table, mixed
from gemel.detectors.life.view import View
from gemel.lab.life.fleet import Fleet
from gemel.lab.life.trees import grow

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
LEAST_UNITS, LEAST_ROWS = 8, 30
KINDS = ("cnn", "rnn", "transformer")
NEAR = 0.06
"""Share of the rows held back that the quantiles of one answer are taken from."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """How lives are learned.

    `cap`: no life counts as longer; 0: six tenths of the usual one. `networks`: kinds, which the folds take in turn
    (`KINDS`); without any there are only trees, and with `trees` 0 only networks. `skip`: first rows of each unit that
    networks do not learn from.
    """

    cap: float = 0.0
    folds: int = 5
    networks: tuple[str, ...] = ()
    sizes: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {
            "cnn": {"width": 32},
            "rnn": {"cell": "gru", "width": 32},
            "transformer": {"width": 32},
        }
    )
    trees: int = 400
    steps: int = 600
    batch: int = 256
    rate: float = 3e-3
    decay: float = 0.02
    skip: int = 5
    levels: tuple[float, ...] = LEVELS
    view: View = field(default_factory=View)
    seed: int = 0


@dataclass(frozen=True)
class Learned:
    """Trees and networks of all folds, what they mean, and how they did on units held back."""

    recipe: Recipe
    meaning: Meaning
    boosters: tuple[Any, ...]
    networks: tuple[Any, ...]
    held: Mapping[str, Floats]  # of every row that was held back: truth, and each answer, in rows [n]
    digest: str

    def answers(self, fleet: Fleet) -> dict[str, Floats]:
        """What the trees, the networks and both say of each unit's last row, [u]."""
        seen = [self.meaning.usual.deviations(s, v) for s, v in _chosen(fleet, self.meaning.usual)]
        view, cap = self.meaning.view, self.meaning.cap
        found: dict[str, Floats] = {}
        if self.boosters:
            told = np.stack([view.summary(x)[-1] for x in seen])
            found["trees"] = np.mean([b.predict(told) for b in self.boosters], axis=0) * cap
        if self.networks:
            from gemel.lab.life.nets import ask

            windows = np.stack([view.windows(x)[-1] for x in seen])
            found["networks"] = np.mean([ask(net, windows) for net in self.networks], axis=0) * cap
        both = mixed(found.get("trees"), found.get("networks"), self.meaning.weight, cap)
        return {k: np.clip(v, 0.0, cap) for k, v in found.items()} | {"ensemble": both}

    def save(self, folder: str | Path, scores: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Write the artifact; returns its card."""
        from gemel.lab.life.export import write

        return write(self, Path(folder), scores or {})


def learn(fleet: Fleet, recipe: Recipe, say: Say = lambda text: None) -> Learned:
    """Learn from a fleet; raises `InputError` for one that is too small."""
    rows = np.array([len(x) for x in fleet.values])
    good = np.flatnonzero(rows >= LEAST_ROWS).astype(np.int32)
    if len(good) < LEAST_UNITS:
        raise InputError(
            f"{len(good)} units with {LEAST_ROWS} rows or more are too few to learn lives from",
            f"give {LEAST_UNITS} or more; better some dozens",
        )
    fleet = fleet.part(good)
    cap = recipe.cap or float(round(0.6 * np.median(fleet.lives)))
    fitted = usual(fleet.settings, fleet.values, fleet.channels, fleet.of)
    if not fitted.channels:
        raise InputError("no channel tells a new unit from a worn one", "give other channels, or whole lives")
    say(f"{len(fleet)} units, {len(fitted.centres)} conditions, channels {' '.join(fitted.channels)}")
    rows_of = _Rows(fleet, fitted, recipe, cap)
    rng = np.random.default_rng((recipe.seed, 1))
    fold = np.empty(len(fleet), np.int32)
    fold[rng.permutation(len(fleet))] = np.arange(len(fleet)) % recipe.folds
    if recipe.networks:
        from gemel.lab.life.nets import ask, fit
    boosters, networks = [], []
    held = {k: np.full(len(rows_of.goal), np.nan) for k in ("trees", "networks")}
    for k in range(recipe.folds):
        out = fold[rows_of.unit] == k
        kind = recipe.networks[k % len(recipe.networks)] if recipe.networks else ""
        if recipe.trees:
            booster = grow(rows_of.summary[~out], rows_of.goal[~out] / cap, recipe.trees, 1000 * recipe.seed + k)
            held["trees"][out] = np.clip(booster.predict(rows_of.summary[out]), 0, 1) * cap
            boosters.append(booster)
        if kind:
            use, sizes = ~out & rows_of.late, recipe.sizes.get(kind, {})
            net = fit(
                kind, sizes, rows_of.windows[use], rows_of.goal[use] / cap, 1000 * recipe.seed + k,
                recipe.steps, recipe.batch, recipe.rate, recipe.decay,
            )  # fmt: skip
            held["networks"][out] = np.clip(ask(net, rows_of.windows[out]), 0, 1) * cap
            networks.append(net)
        text = " ".join(f"{n} {_off(x[out], rows_of.goal[out]):.2f}" for n, x in held.items() if np.isfinite(x).any())
        say(f"fold {k + 1} of {recipe.folds} {kind}: RMSE of {text} rows, at all ages of units held back")
    weight = _weight(held, rows_of.goal, rows_of.late, cap)
    parts = {k: x if np.isfinite(x).any() else None for k, x in held.items()}
    answer = mixed(parts["trees"], parts["networks"], weight, cap)
    table = tabled(answer[rows_of.late], rows_of.truth[rows_of.late], cap, recipe.levels)
    meaning = Meaning(fitted, recipe.view, table, cap, weight, tuple(fleet.lives.tolist()))
    held = {k: x[rows_of.late] for k, x in (held | {"ensemble": answer, "truth": rows_of.truth}).items()}
    return Learned(recipe, meaning, tuple(boosters), tuple(networks), held, fleet.digest)


class _Rows:
    """All rows of all units as what is learned from."""

    def __init__(self, fleet: Fleet, fitted: Usual, recipe: Recipe, cap: float) -> None:
        seen = [fitted.deviations(s, v) for s, v in _chosen(fleet, fitted)]
        self.summary: Float32s = np.vstack([recipe.view.summary(x) for x in seen])
        self.windows: Float32s = (
            np.vstack([recipe.view.windows(x) for x in seen]) if recipe.networks else np.zeros((len(self.summary), 0))
        ).astype(np.float32)
        self.unit: Ints = np.repeat(np.arange(len(fleet), dtype=np.int32), [len(x) for x in seen])
        ages = [np.arange(1, len(x) + 1) for x in seen]
        self.truth: Floats = np.concatenate([t[-1] - t + left for t, left in zip(ages, fleet.left, strict=True)])
        self.goal: Floats = np.minimum(self.truth, cap)
        self.late: Bools = np.concatenate(ages) > recipe.skip


def _chosen(fleet: Fleet, fitted: Usual) -> list[tuple[Floats, Floats]]:
    """Settings and channels as they were fitted; raises `InputError` for names that are missing."""
    lacking = [n for n in fitted.channels if n not in fleet.channels] + [
        n for n in fitted.settings if n not in fleet.of
    ]
    if lacking:
        raise InputError(f"the fleet lacks {', '.join(lacking)}", "give data of the same kind")
    places = [fleet.channels.index(n) for n in fitted.channels]
    own = [fleet.of.index(n) for n in fitted.settings]
    return [(s[:, own], v[:, places]) for s, v in zip(fleet.settings, fleet.values, strict=True)]


def _off(answer: Floats, truth: Floats) -> float:
    return float(np.sqrt(np.mean((answer - truth) ** 2)))


def _weight(held: Mapping[str, Floats], goal: Floats, use: Bools, cap: float) -> float:
    """The weight of the trees that is least off on units held back."""
    if not np.isfinite(held["networks"]).any() or not np.isfinite(held["trees"]).any():
        return 1.0 if np.isfinite(held["trees"]).any() else 0.0
    tried = np.linspace(0.0, 1.0, 21)
    off = [_off(mixed(held["trees"][use], held["networks"][use], w, cap), goal[use]) for w in tried]
    return float(tried[int(np.argmin(off))])


def tabled(answer: Floats, truth: Floats, cap: float, levels: tuple[float, ...]) -> Table:
    """Quantiles of what units really had left, above the answer, for answers from 0 to the cap: of the rows whose
    answers are nearest."""
    points = np.linspace(0.0, cap, 26)
    order = np.argsort(answer, kind="stable")
    near = max(int(NEAR * len(answer)), min(50, len(answer)))
    above = []
    for point in points:
        middle = int(np.searchsorted(answer[order], point))
        some = order[max(0, min(middle - near // 2, len(order) - near)) :][:near]
        above.append(tuple(np.quantile(truth[some] - answer[some], levels).tolist()))
    return Table(tuple(levels), tuple(points.tolist()), tuple(above))


def recorded(recipe: Recipe) -> dict[str, Any]:
    """For the card."""
    return asdict(recipe)
