"""The field's measures of what was learned: remaining life, classes, alarms. NumPy alone.

Letters: n rows scored, q levels, k classes.
Sources: NASA score, Saxena et al. 2008 (PHM08); expected calibration error, Guo et al. 2017 (arXiv 1706.04599).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gemel.core.values import Bools, Floats


def rmse(answer: Floats, truth: Floats) -> float:
    """The root of the mean squared error."""
    return float(np.sqrt(np.mean((answer - truth) ** 2)))


def nasa(answer: Floats, truth: Floats) -> float:
    """Sum of exp(d / 10) - 1 where the answer is d too late, and exp(-d / 13) - 1 where it is too early."""
    d = answer - truth
    return float(np.expm1(np.minimum(np.where(d >= 0, d / 10, -d / 13), 600.0)).sum())


def life(levels: Sequence[float], quantiles: Floats, truth: Floats) -> dict[str, Any]:
    """RMSE, mean error and NASA score of the median, pinball loss of all levels [n, q], and how many of the truths the
    widest interval and the one in the middle hold."""
    at = np.asarray(levels)
    median = quantiles[:, int(np.argmin(abs(at - 0.5)))]
    off = truth[:, None] - quantiles
    found: dict[str, Any] = {
        "rows": len(truth),
        "RMSE": rmse(median, truth),
        "MAE": float(abs(median - truth).mean()),
        "bias": float((median - truth).mean()),
        "NASA": nasa(median, truth),
        "pinball": float(np.maximum(at * off, (at - 1) * off).mean()),
    }
    for low, high in ((0, -1), (2, -3)):
        if len(at) > 2 * abs(high):
            share = round(float(at[high] - at[low]), 4)
            inside = (truth >= quantiles[:, low]) & (truth <= quantiles[:, high])
            width = float((quantiles[:, high] - quantiles[:, low]).mean())
            found[f"coverage {share:g}"], found[f"width {share:g}"] = float(inside.mean()), width
    return found


def classes(probability: Floats, truth: Floats, names: Sequence[str], bins: int = 10) -> dict[str, Any]:
    """Accuracy, precision, recall and F1 of every class, confusion [truth, answer], calibration; probability [n, k]."""
    k, place = len(names), truth.astype(int)
    answer = probability.argmax(axis=1)
    confusion = np.zeros((k, k), int)
    np.add.at(confusion, (place, answer), 1)
    hit, said, true = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    precision, recall = hit / np.maximum(said, 1), hit / np.maximum(true, 1)
    f1 = 2 * hit / np.maximum(said + true, 1)
    sure = probability.max(axis=1)
    right = answer == place
    into = np.minimum((sure * bins).astype(int), bins - 1)
    reliability = [
        {"from": b / bins, "rows": int((into == b).sum()), "sure": float(sure[into == b].mean()),
         "right": float(right[into == b].mean())}
        for b in range(bins) if (into == b).any()
    ]  # fmt: skip
    chosen = np.clip(probability[np.arange(len(place)), place], 1e-12, 1.0)
    there = true > 0
    return {
        "rows": len(place),
        "accuracy": float(right.mean()),
        "F1": float(f1[there].mean()),
        "balanced accuracy": float(recall[there].mean()),
        "log loss": float(-np.log(chosen).mean()),
        "ECE": sum(r["rows"] / len(place) * abs(r["sure"] - r["right"]) for r in reliability),
        "classes": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "F1": float(f1[i]),
                "rows": int(true[i]),
            }
            for i, name in enumerate(names)
        },
        "confusion": confusion.tolist(),
        "reliability": reliability,
    }


def alarms(score: Floats, limit: float, truth: Bools) -> dict[str, Any]:
    """Of rows whose score [n] passes the limit: F1, the share of normal rows that do (false alarms), the share of
    abnormal ones that do not (missed); and how well scores rank whatever the limit (area under the ROC curve)."""
    said = score > limit
    hit, false, missed = int((said & truth).sum()), int((said & ~truth).sum()), int((~said & truth).sum())
    order = np.argsort(score, kind="stable")
    _, group, count = np.unique(score[order], return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[group]  # equal scores share their rank
    up, down = int(truth.sum()), int((~truth).sum())
    area = (rank[truth[order]].sum() - up * (up + 1) / 2) / max(up * down, 1)
    found = {
        "rows": len(truth),
        "abnormal": up,
        "F1": 2 * hit / max(2 * hit + false + missed, 1),
        "precision": hit / max(hit + false, 1),
        "false alarms": false / max(down, 1),
        "missed": missed / max(up, 1),
    }
    return found | ({"AUC": float(area)} if up and down else {})


def spread(found: Sequence[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over runs of every measure that is one number."""
    keys = [k for k, v in found[0].items() if isinstance(v, float) and all(k in one for one in found)]
    table = np.array([[one[k] for k in keys] for one in found], float)
    several = len(found) > 1
    return {
        k: (float(table[:, i].mean()), float(table[:, i].std(ddof=1)) if several else 0.0) for i, k in enumerate(keys)
    }
