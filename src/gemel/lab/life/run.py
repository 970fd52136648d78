"""From a table of lives to an artifact with scores: what `gemel lab life` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.values import Floats
from gemel.detectors.life.ensemble import Ensemble
from gemel.lab.life.fleet import Fleet, read_fleet
from gemel.lab.life.learn import Learned, Recipe, learn
from gemel.lab.tasks import measures
from gemel.lab.tasks.labelled import Columns
from gemel.lab.tasks.turbofan import beside, is_turbofan

CAP = 125.0
"""Cycles of C-MAPSS beyond which an engine counts as new; its literature's."""


def begin(
    data: str | Path,
    folder: str | Path,
    recipe: Recipe,
    *,
    settings: Sequence[str] = (),
    columns: Columns | None = None,
    test: str | Path = "",
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Read, learn, score, write; returns the card. Scores are of units held back, at all ages, and of the last row of
    the units of `test` (of a C-MAPSS file the one beside it)."""
    place = Path(data)
    if is_turbofan(place) and not recipe.cap:
        recipe = replace(recipe, cap=CAP)
    other = Path(test) if test else beside(place) if is_turbofan(place) else None
    fleet = read_fleet(place, settings, columns)
    unseen = read_fleet(other, settings, columns) if other else None
    learned = learn(fleet, recipe, say)
    scores = {"held back": held_back(learned)}
    learned.save(folder)  # asked below as it is asked on site
    if unseen is not None:
        scores["test"] = on_site(Ensemble(folder), unseen)
    return learned.save(folder, scores)


def held_back(learned: Learned) -> dict[str, float]:
    """How the folds did on the units they never saw, at all ages."""
    meaning, held = learned.meaning, learned.held
    quantiles = meaning.table.quantiles(held["ensemble"])
    found = scored(meaning.table.levels, held["ensemble"], quantiles, held["truth"], meaning.cap)
    return found | {f"RMSE of {k}": measures.rmse(held[k], np.minimum(held["truth"], meaning.cap))
                    for k in ("trees", "networks") if np.isfinite(held[k]).all()}  # fmt: skip


def on_site(ensemble: Ensemble, fleet: Fleet) -> dict[str, float]:
    """What the files say of the last row of each unit, each by its own rows."""
    meaning = ensemble.meaning
    usual = meaning.usual
    places, own = [fleet.channels.index(n) for n in usual.channels], [fleet.of.index(n) for n in usual.settings]
    asked = [ensemble.ask([usual.deviations(s[:, own], v[:, places])])
             for s, v in zip(fleet.settings, fleet.values, strict=True)]  # fmt: skip
    answer, quantiles = (np.concatenate(x) for x in zip(*asked, strict=True))
    return scored(meaning.table.levels, answer, quantiles, fleet.left, meaning.cap)


def scored(levels: Sequence[float], answer: Floats, quantiles: Floats, truth: Floats, cap: float) -> dict[str, float]:
    """Of the answer with the truth capped; of the quantiles with the whole truth, and with both cut at the cap."""
    cut = np.minimum(truth, cap)
    low, high = quantiles[:, 0], quantiles[:, -1]
    share = f"{levels[-1] - levels[0]:.2g}"
    return {
        "units": float(len(truth)),
        "RMSE": measures.rmse(answer, cut),
        "NASA": measures.nasa(answer, cut),
        "RMSE, whole truth": measures.rmse(answer, truth),
        f"coverage {share}": float(((low <= truth) & (truth <= high)).mean()),
        f"coverage {share}, cut": float(((np.minimum(low, cap) <= cut) & (cut <= np.minimum(high, cap))).mean()),
        f"width {share}, cut": float((np.minimum(high, cap) - np.minimum(low, cap)).mean()),
    }


def words(card: Mapping[str, Any]) -> list[str]:
    """What a person reads of a card."""
    found = [f"{card['units']} units; channels {' '.join(card['answer']['usual']['channels'])}"]
    for name, scores in card["scores"].items():
        text = ", ".join(f"{k} {v:.4g}" for k, v in scores.items())
        found.append(f"{name}: {text}")
    return found
