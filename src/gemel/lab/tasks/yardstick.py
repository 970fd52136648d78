"""What a network has to beat: gradient boosting on a few features of each window, and one plain line.

Boosting is LightGBM (Ke et al. 2017, NeurIPS 30) on one thread; `windows.features` says what it is told.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gemel.core.values import Floats, Ints
from gemel.lab.tasks.task import Task
from gemel.lab.tasks.windows import Windows, features

MOST = 20_000
"""Windows that boosting learns from, at most."""
ROUNDS = 300
SETTINGS = {"learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 40, "feature_fraction": 0.7,
            "bagging_fraction": 0.7, "bagging_freq": 1, "num_threads": 1, "verbose": -1, "deterministic": True,
            "force_row_wise": True}  # fmt: skip


class Boosting:
    """Gradient boosting for one task; answers as the network does before it is calibrated."""

    def __init__(self, task: Task, windows: Windows, ends: Ints, target: Floats, kinds: int, seed: int) -> None:
        import lightgbm

        rng = np.random.default_rng((seed, 5))
        chosen = ends if len(ends) <= MOST else np.sort(rng.choice(ends, MOST, replace=False))
        goal: dict[str, Any] = {"objective": "regression"}
        if task.task != "rul":
            goal = {"objective": "multiclass", "num_class": kinds} if kinds > 2 else {"objective": "binary"}
        self.task, self._windows = task, windows
        table = lightgbm.Dataset(features(windows.at(chosen)), target[chosen])
        self._trees = lightgbm.train({**SETTINGS, **goal, "seed": seed}, table, ROUNDS)

    def out(self, windows: Windows, ends: Ints) -> Floats:
        """Rul: every level the same [w, q]; else logarithms of the odds of each class [w, k]."""
        found = np.asarray(self._trees.predict(_told(windows, ends), raw_score=self.task.task != "rul"))
        if self.task.task == "rul":
            return np.repeat(found[:, None], len(self.task.levels), axis=1)
        return found if found.ndim == 2 else np.stack([np.zeros(len(found)), found], axis=1)


def _told(windows: Windows, ends: Ints) -> Floats:
    parts = [features(windows.at(ends[i : i + 4096])) for i in range(0, len(ends), 4096)]
    return np.concatenate(parts).astype(float)


def plain(task: Task, windows: Windows, ends: Ints, target: Floats, kinds: int, asked: Ints) -> Floats:
    """The line without a network: every life is the usual one, every class the most frequent, and abnormal is what lies
    furthest from the usual in one channel."""
    if task.task == "detect":
        return np.stack([np.zeros(len(asked)), np.abs(windows.rows[asked]).max(axis=1).astype(float)], axis=1)
    if task.task == "rul":
        return np.repeat(np.quantile(target[ends], task.levels)[None], len(asked), axis=0)
    share = np.bincount(target[ends].astype(int), minlength=kinds) / len(ends)
    return np.repeat(np.log(np.maximum(share, 1e-9))[None], len(asked), axis=0)
