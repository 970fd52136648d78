"""From a trained `Inspector` to files that ship: ONNX in float32 and int8, scored on parts it has not seen, and a card.

The graph takes `pictures` uint8 [b, 1, h, w] and gives `score` [b] and `cells` [b, h / 4, w / 4], logits both.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static

from gemel.core.artifact import digest
from gemel.core.errors import PartError
from gemel.core.onnx import session
from gemel.core.values import Bools, Codes, Floats
from gemel.lab.defects import CONTRASTS, DEFECTS, SIDE, part
from gemel.lab.inspect import CELL, Inspector, Run

OPSET = 17
CALIBRATION, SCORED = 10**9, 2 * 10**9
"""Seeds of the parts that set the threshold and of those that are scored: no seed of training is as high."""
KEPT = 1000
"""Scores of good parts on the card, evenly chosen quantiles."""

Judge = Callable[[Codes], tuple[Floats, Floats]]
"""Pictures [b, h, w] to scores [b] and maps [b, h / 4, w / 4]."""


def export(run: Run, folder: str | Path, good: int = 10_000, bad: int = 1000) -> dict[str, Any]:
    """Write `inspection.onnx`, `inspection.int8.onnx` and the card `inspection.json` into `folder`; returns the card.

    The card holds the scores of `good` good parts (the threshold of a twin that has seen none of its own) and how the
    network does on other parts, `good` good ones and `bad` of each defect. Raises `PartError` when the float32 graph
    does not answer as the network does.
    """
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    whole, small = out / "inspection.onnx", out / "inspection.int8.onnx"
    network = run.averaged.eval()
    write(network, whole)
    quantise(whole, small)
    same = pictures(CALIBRATION - 1, 50)
    with torch.no_grad():
        want = network(torch.from_numpy(same)[:, None])[0].numpy()
    off = float(np.abs(judge(whole)(same)[0] - want).max())
    if off > 1e-3 * max(float(np.abs(want).max()), 1.0):
        raise PartError(f"{whole.name} differs from the network by {off:.1e}", "report this")
    scores, usual = {}, {}
    for path in (whole, small):
        asked = judge(path)
        usual[path.name] = asked(pictures(CALIBRATION, good))[0]
        scores[path.name] = score(asked, usual[path.name], good, bad)
    levels = (np.arange(KEPT) + 0.5) / KEPT
    room = [Path(__file__).with_name(f"{name}.py") for name in ("defects", "inspect")]
    card = {
        "name": "inspection",
        "recipe": asdict(run.recipe),
        "minutes": round(run.seconds / 60, 1),
        "parameters": sum(p.numel() for p in network.parameters()),
        "side": SIDE,
        "cell": CELL,
        "code": hashlib.sha256(b"".join(f.read_bytes() for f in room)).hexdigest(),
        "torch": str(torch.__version__),
        "sha256": {path.name: digest(path) for path in (whole, small)},
        "bytes": {path.name: path.stat().st_size for path in (whole, small)},
        "usual": {name: [round(float(v), 3) for v in np.quantile(held, levels)] for name, held in usual.items()},
        "scores": scores,
    }
    rows = json.dumps(card["usual"])  # a thousand numbers, on one line
    text = json.dumps({**card, "usual": None}, indent=1).replace('"usual": null', f'"usual": {rows}')
    (out / "inspection.json").write_text(text, encoding="utf-8")
    return card


def write(network: Inspector, path: Path) -> None:
    """Any number of pictures of any size (sides a multiple of 4)."""
    axes = {0: "pictures", 2: "h", 3: "w"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that newer exporters exist
        torch.onnx.export(
            network.eval(), (torch.zeros((2, 1, SIDE, SIDE), dtype=torch.uint8),), str(path), dynamo=False,
            opset_version=OPSET, input_names=["pictures"], output_names=["score", "cells"],
            dynamic_axes={"pictures": axes, "score": {0: "pictures"},
                          "cells": {0: "pictures", 1: "rows", 2: "columns"}},
        )  # fmt: skip


def quantise(whole: Path, small: Path, count: int = 256) -> None:
    """The graph with int8 weights and activations in its convolutions; the first (one channel, which costs nothing) and
    the head stay float32. The ranges are those of `count` drawn parts, half of them with a defect."""
    graph = onnx.load(str(whole))
    onnx.helper.set_model_props(graph, {"onnx.quant.pre_process": "onnxruntime.quant"})  # else it asks for that
    convolutions = [n.name for n in graph.graph.node if n.op_type == "Conv"]
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):  # it talks
        onnx.save(graph, f"{scratch}/graph.onnx")
        quantize_static(
            f"{scratch}/graph.onnx", str(small), _Sample(count), activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["Conv", "Add", "Relu"],
            nodes_to_exclude=[convolutions[0], convolutions[-1]], calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": 99.99},
        )  # fmt: skip


class _Sample(CalibrationDataReader):
    """Parts as the quantiser wants them."""

    def __init__(self, count: int) -> None:
        half = (pictures(CALIBRATION + 1, count // 2), defective(CALIBRATION + 2, count // 8)[0])
        self._rest = iter(np.array_split(np.concatenate(half), max(count // 16, 1)))

    def get_next(self) -> dict[str, Any] | None:
        some = next(self._rest, None)
        return None if some is None else {"pictures": some[:, None]}


def judge(path: Path) -> Judge:
    """A graph on one core."""
    graph = session(path)

    def asked(seen: Codes) -> tuple[Floats, Floats]:
        parts = [graph.run(None, {"pictures": seen[i : i + 32, None]}) for i in range(0, len(seen), 32)]
        return np.concatenate([s for s, _ in parts]).astype(float), np.concatenate([c for _, c in parts]).astype(float)

    return asked


def pictures(seed: int, count: int) -> Codes:
    """Good parts, [count, h, w]."""
    rng = np.random.default_rng(seed)
    return np.stack([part(rng)[0] for _ in range(count)])


def defective(seed: int, each: int) -> tuple[Codes, Bools, list[str], Floats]:
    """`each` parts of every defect: pictures, masks, kinds, contrasts."""
    rng = np.random.default_rng(seed)
    kinds = [kind for kind in DEFECTS for _ in range(each)]
    contrasts = np.array([math.exp(rng.uniform(*np.log(CONTRASTS[kind]))) for kind in kinds])
    drawn = [part(rng, kind, contrast) for kind, contrast in zip(kinds, contrasts, strict=True)]
    return np.stack([p for p, _ in drawn]), np.stack([m for _, m in drawn]), kinds, contrasts


def threshold(usual: Floats, rejects: float) -> float:
    """The score above which a good part comes at most `rejects` of the time (split conformal)."""
    rank = math.ceil((1 - rejects) * (len(usual) + 1))
    return float(np.sort(usual)[rank - 1]) if rank <= len(usual) else math.inf


def pointed(cells: Floats, masks: Bools) -> Bools:
    """Whether the highest cell of each map [b, r, c] touches its mask [b, h, w]."""
    rows, columns = cells.shape[1:]
    touched = masks.reshape(len(masks), rows, CELL, columns, CELL).any((2, 4)).reshape(len(masks), -1)
    found: Bools = touched[np.arange(len(masks)), cells.reshape(len(cells), -1).argmax(1)]
    return found


def score(asked: Judge, usual: Floats, good: int, bad: int, rejects: float = 0.01) -> dict[str, Any]:
    """False rejects, detection and pointing on parts of seeds that nothing else uses."""
    limit = threshold(usual, rejects)
    seen, masks, kinds, _ = defective(SCORED, bad)
    found, cells = asked(seen)
    caught, place = found > limit, np.array(kinds)
    return {
        "rejects": rejects,
        "false rejects": round(float((asked(pictures(SCORED + 1, good))[0] > limit).mean()), 4),
        "detection": round(float(caught.mean()), 4),
        "pointing": round(float(pointed(cells, masks).mean()), 4),
        **{f"detection {kind}": round(float(caught[place == kind].mean()), 4) for kind in DEFECTS},
    }
