"""From a training run with labels to the files that run on site: ONNX, compared with the network, and a card."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gemel.core.artifact import digest
from gemel.core.errors import PartError
from gemel.core.onnx import session
from gemel.detectors.trained import NAME
from gemel.lab.tasks import measures

if TYPE_CHECKING:
    from gemel.lab.tasks.supervised import Scored
    from gemel.lab.tasks.task import Task

OPSET = 17
NUMERICS = ("../network", "../networks", "labelled", "member", "muon", "supervised", "tables", "task", "windows")
"""The files of the lab that make a run what it is; the card holds their hash."""


def carry(folder: Path, task: Task, runs: Sequence[Scored], about: Mapping[str, Any]) -> dict[str, Any]:
    """Write the networks of the first seed as `trained.onnx`, and `trained.json`; returns the card.

    Raises `PartError` when the graph does not answer as the network does (relative difference above 1e-3).
    """
    first = runs[0]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NAME}.onnx"
    network = first.network.cpu().eval()
    shape = (task.window, len(first.meaning.channels))
    write(network, path, shape)
    difference = compare(network, path, shape)
    if difference > 1e-3:
        raise PartError(f"{path.name} differs from the network by {difference:.1e}", "report this")
    source = [(Path(__file__).parent / f"{room}.py").resolve() for room in NUMERICS]
    methods = list(first.scores)
    card = {
        "name": NAME,
        "recipe": asdict(task),
        "answer": asdict(first.meaning),
        **about,
        "parameters": sum(p.numel() for p in network.parameters()),
        "trained": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "seconds": {m: round(sum(r.seconds.get(m, 0.0) for r in runs), 1) for m in first.seconds},
        "code": hashlib.sha256(b"".join(f.read_bytes() for f in source)).hexdigest(),
        "torch": str(torch.__version__),
        "difference": difference,
        "bytes": path.stat().st_size,
        "log": [list(log) for log in first.logs],
        "scores": {m: first.scores[m] for m in methods},
        "known units": first.known,
        "seeds": {m: _spread([r.scores[m] for r in runs if m in r.scores]) for m in methods},
        "sha256": {path.name: digest(path)},
    }
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in card.items())
    (folder / f"{NAME}.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    return card


def write(network: nn.Module, path: Path, shape: tuple[int, int]) -> None:
    """The graph for any number of windows [b, t, c]."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that lengths are fixed while tracing, and that newer exporters exist
        torch.onnx.export(
            network, (torch.randn(2, *shape),), str(path), dynamo=False, opset_version=OPSET,
            input_names=["windows"], output_names=["answer"],
            dynamic_axes={"windows": {0: "windows"}, "answer": {0: "windows"}},
        )  # fmt: skip


def compare(network: nn.Module, path: Path, shape: tuple[int, int], seed: int = 0) -> float:
    """Largest difference between graph and network, relative to the spread of the answers, over several batches."""
    graph, worst = session(path), 0.0
    draw = torch.Generator().manual_seed(seed)
    for windows in (1, 3, 64):
        x = torch.randn(windows, *shape, generator=draw)
        with torch.no_grad():
            want = network(x).numpy()
        got = graph.run(None, {"windows": x.numpy()})[0]
        worst = max(worst, float(np.abs(got - want).max() / (want.std() + 1e-3)))
    return worst


def _spread(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over the seeds of each measure."""
    rows = [dict(one) for one in found]
    return {k: {"mean": mean, "sd": sd} for k, (mean, sd) in measures.spread(rows).items()}
