"""Gradient-boosted trees (LightGBM, Ke et al. 2017, NeurIPS 30) for remaining life, and as ONNX.

Letters: n rows, f features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gemel.core.values import Float32s, Floats

SETTINGS: dict[str, Any] = {
    "objective": "l2", "learning_rate": 0.03, "num_leaves": 31, "min_data_in_leaf": 100, "lambda_l2": 5.0,
    "bagging_fraction": 0.3, "bagging_freq": 1, "feature_fraction": 0.3, "max_bin": 63,
    "num_threads": 1, "verbose": -1, "deterministic": True, "force_row_wise": True,
}  # fmt: skip


def grow(features: Float32s, target: Floats, rounds: int, seed: int) -> Any:
    """A booster that answers features [n, f] with lives [n]."""
    import lightgbm

    least = max(5, min(SETTINGS["min_data_in_leaf"], len(target) // 50))
    settings = {**SETTINGS, "seed": seed, "min_data_in_leaf": least}
    return lightgbm.train(settings, lightgbm.Dataset(features, target), rounds)


def graph(boosters: Sequence[Any], features: int) -> bytes:
    """The mean of some boosters as one ONNX graph, `summary` [b, f] -> `life` [b, 1].

    A threshold becomes the largest float32 that is not above it, so float32 features go the way they went in training.
    """
    from onnx import TensorProto, helper

    nodes = _Nodes(len(boosters))
    tree = 0
    for booster in boosters:
        for one in booster.dump_model()["tree_info"]:
            nodes.add(tree, one["tree_structure"])
            tree += 1
    node = helper.make_node(
        "TreeEnsembleRegressor", ["summary"], ["life"], domain="ai.onnx.ml", n_targets=1, post_transform="NONE",
        aggregate_function="SUM", **nodes.columns,
    )  # fmt: skip
    graph = helper.make_graph(
        [node], "trees",
        [helper.make_tensor_value_info("summary", TensorProto.FLOAT, ["units", features])],
        [helper.make_tensor_value_info("life", TensorProto.FLOAT, ["units", 1])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


class _Nodes:
    """Columns of the operator, filled tree by tree."""

    def __init__(self, share: int) -> None:
        self._share = share
        each = ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
        leaf = ("treeids", "nodeids", "ids", "weights")
        self.columns: dict[str, list[Any]] = {f"nodes_{k}": [] for k in each} | {f"target_{k}": [] for k in leaf}

    def add(self, tree: int, root: dict[str, Any]) -> None:
        waiting, count = [(0, root)], 1
        while waiting:
            place, node = waiting.pop()
            if "leaf_value" in node:
                self._node(tree, place, 0, 0.0, "LEAF", 0, 0)
                for key, value in zip(("treeids", "nodeids", "ids", "weights"),
                                      (tree, place, 0, node["leaf_value"] / self._share), strict=True):  # fmt: skip
                    self.columns[f"target_{key}"].append(value)
                continue
            yes, no, count = count, count + 1, count + 2
            self._node(tree, place, node["split_feature"], _below(node["threshold"]), "BRANCH_LEQ", yes, no)
            waiting += [(yes, node["left_child"]), (no, node["right_child"])]

    def _node(self, *row: Any) -> None:
        tree, place, feature, value, mode, yes, no = row
        given = {"treeids": tree, "nodeids": place, "featureids": feature, "values": value, "modes": mode,
                 "truenodeids": yes, "falsenodeids": no}  # fmt: skip
        for key, one in given.items():
            self.columns[f"nodes_{key}"].append(one)


def _below(threshold: float) -> float:
    near = np.float32(threshold)
    return float(near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf)))
