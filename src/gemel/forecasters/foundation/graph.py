"""An exported network on onnxruntime: one thread, no spinning, its file checked against its card.

Letters in shapes: b windows, t patches, p points a patch, n wanted positions, q levels, d features.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.artifact import Artifact, digest, read
from gemel.core.errors import PartError
from gemel.core.values import Float32s, Times
from gemel.forecasters.foundation.ask import Reach

SHIPPED = Path(__file__).parent.parent / "weights"
"""Where the weights that come with Gemel lie."""


class Graph:
    """`graph(values, seen, at)`: the quantiles of the patch after each position in `at`.

    values and seen [b, 1, t, p] float32 (seen: 1 where there is a value), at [n] int64 -> levels [b, 1, n, p, q].
    """

    def __init__(self, path: str | Path, artifact: Artifact | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common class for its errors
            raise PartError(f"{path} is no network that onnxruntime can load: {error}", "export it again") from None
        self.artifact = artifact
        # of the float32 file: what is fitted to a network's features also suits its int8
        self.digest = str(artifact.card["sha256"]["foundation.onnx"]) if artifact else digest(path)
        mixture: Any = artifact.card["recipe"]["mixture"] if artifact else {"lengths": [64], "hidden": 24}
        patch = int(self._session.get_inputs()[0].shape[-1])
        self.reach = Reach(max(mixture["lengths"]), int(mixture["hidden"]), patch)

    def __call__(self, values: Float32s, seen: Float32s, at: Times) -> Float32s:
        given = {"values": _fours(values), "seen": _fours(seen), "at": at}
        levels: Float32s = self._session.run(["levels"], given)[0]
        return levels

    def features(self, values: Float32s, seen: Float32s, at: Times) -> tuple[Float32s, Float32s]:
        """Also what the network thinks before it answers: levels, and features [b, 1, n, d]."""
        levels, features = self._session.run(["levels", "features"], {"values": values, "seen": seen, "at": at})
        return levels, features


def _fours(x: Float32s) -> Float32s:
    """x [b, 1, t, p] with empty patches at the end, which a causal network does not look at, up to a multiple of four.

    The kernels multiply four rows at a time, and round the one to three that are left over differently: without this
    the last digit of a series' answer would depend on how many others are asked with it.
    """
    t = x.shape[2]
    if t % 4 == 0:
        return x
    out = np.zeros((*x.shape[:2], t + -t % 4, x.shape[3]), np.float32)
    out[:, :, :t] = x
    return out


@lru_cache(maxsize=4)  # a session is some ten megabytes and safe to share: twins of one process have one
def load(model: str = "", small: bool = False) -> Graph:
    """The network in the folder `model` (the shipped one if empty): float32, or int8 if `small`.

    Raises `PartError` when a file is missing, damaged, or not the one its card names.
    """
    artifact = read(model or SHIPPED, "foundation")
    return Graph(artifact.files["foundation.int8.onnx" if small else "foundation.onnx"], artifact)
