"""From a training run to files that ship: ONNX in float32 and int8, compared with the network, and a card.

    gemel lab export --folder runs/foundation

The graph takes `values` and `seen` [b, 1, t, p] and `at` [n], the positions that are wanted, and gives `levels`
[b, 1, n, p, q] in the units of `values` and `features` [b, 1, n, d]. Windows come in centred and scaled.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tempfile
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static

from gemel.core.artifact import digest
from gemel.core.errors import PartError
from gemel.core.foundation import Graph
from gemel.lab.corpus import Corpus, Mixture
from gemel.lab.evaluate import Served, asked
from gemel.lab.network import Network
from gemel.lab.train import Run

OPSET = 17
NUMERICS = ("corpus", "network", "priors", "recipe", "train")
"""The files of the lab that make a run what it is; the card holds their hash."""


def export(run: Run, folder: str | Path, name: str = "foundation") -> dict[str, Any]:
    """Write `name.onnx`, `name.int8.onnx` and `name.json` into `folder`; returns the card, with no scores yet.

    Raises `PartError` when the float32 graph does not answer as the network does (relative difference above 1e-3).
    """
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    network = run.averaged().cpu()
    whole, small = out / f"{name}.onnx", out / f"{name}.int8.onnx"
    write(network, whole)
    quantise(whole, small, run.recipe.mixture)
    difference = {path.name: compare(network, path) for path in (whole, small)}
    if difference[whole.name] > 1e-3:
        raise PartError(f"{whole.name} differs from the network by {difference[whole.name]:.1e}", "report this")
    source = [Path(__file__).with_name(f"{room}.py") for room in NUMERICS]
    card = {
        "name": name,
        "recipe": asdict(run.repeat()),
        "parameters": sum(p.numel() for n, p in network.named_parameters() if not n.startswith("across")),
        "steps": run.state.step,
        "fall": run.state.fall,
        "hours": round(run.state.seconds / 3600, 3),
        "patches": run.state.step * run.recipe.mixture.tokens,
        "code": hashlib.sha256(b"".join(f.read_bytes() for f in source)).hexdigest(),
        "torch": str(torch.__version__),
        "loss": run.state.log[-1][1] if run.state.log else None,
        "difference": difference,
        "sha256": {path.name: digest(path) for path in (whole, small)},
        "bytes": {path.name: path.stat().st_size for path in (whole, small)},
        "scores": {},
    }
    (out / f"{name}.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
    return card


def write(network: Network, path: Path) -> None:
    """The univariate graph with any number of windows, patches and wanted positions."""
    p = network.shape.patch
    values = torch.randn(2, 1, 5, p)
    given = (values, torch.ones_like(values), torch.tensor([3, 4]))
    axes = {0: "windows", 2: "patches"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the way for one variate is traced, and that newer exporters exist
        torch.onnx.export(
            Served(network).eval(),
            given,
            str(path),
            dynamo=False,  # the newer exporter starts at opset 18
            opset_version=OPSET,
            input_names=["values", "seen", "at"],
            output_names=["levels", "features"],
            dynamic_axes={"values": axes, "seen": axes, "at": {0: "wanted"},
                          "levels": {0: "windows", 2: "wanted"}, "features": {0: "windows", 2: "wanted"}},
        )  # fmt: skip


def quantise(whole: Path, small: Path, mixture: Mixture) -> None:
    """The graph `whole` with int8 weights and activations in its blocks as the file `small`; the way in and the way out
    stay float32, which costs little and is where slow, short series lost up to 8 % of their CRPS.

    The ranges of the activations are those of some synthetic windows. Found anew for every call, as in dynamic
    quantisation, they would make the answer of one window depend on the others it is asked with.
    """
    graph = onnx.load(str(whole))
    del graph.graph.value_info[:]  # shapes found while exporting: the quantiser trips over them
    onnx.helper.set_model_props(graph, {"onnx.quant.pre_process": "onnxruntime.quant"})  # else it asks for that
    fixed = {i.name for i in graph.graph.initializer}
    fixed |= {n.output[0] for n in graph.graph.node if n.op_type == "Constant"}
    blocks = [n for n in graph.graph.node if not n.name.startswith(("/embed", "/head"))]
    weighing = [n.name for n in blocks if n.op_type == "MatMul" and n.input[1] in fixed]
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):  # it talks
        onnx.save(graph, f"{scratch}/graph.onnx")
        quantize_static(
            f"{scratch}/graph.onnx", str(small), Sample(mixture),
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True,
            nodes_to_quantize=weighing, op_types_to_quantize=["MatMul"],
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"], "CalibPercentile": 99.999},
        )  # fmt: skip


class Sample(CalibrationDataReader):
    """Synthetic windows of a mixture, as the quantiser wants them: all of one length."""

    def __init__(self, mixture: Mixture, steps: int = 24) -> None:
        length = -(-max(mixture.lengths) * 5 // 8)
        few = replace(mixture, lengths=(length,), tokens=24 * length, rows=min(mixture.rows, 208))
        corpus = Corpus(few)
        self.windows = (corpus.windows(step) for step in range(steps))

    def get_next(self) -> dict[str, Any] | None:
        for w in self.windows:
            seen = (w.seen * (1 - w.hidden))[:, :, :-1]
            at = np.arange(seen.shape[2])
            return {"values": (w.values[:, :, :-1] * seen).numpy(), "seen": seen.numpy(), "at": at}
        return None


def compare(network: Network, path: Path, seed: int = 0) -> float:
    """Largest mean difference between graph and network, relative to the spread of the answers, over several sizes."""
    ask, direct, worst = Graph(path), asked(network), 0.0
    draw = torch.Generator().manual_seed(seed)
    for windows, patches in ((1, 1), (3, 7), (5, 40)):
        values = torch.randn(windows, 1, patches, network.shape.patch, generator=draw).cumsum(-1) / 5
        seen = (torch.rand(values.shape, generator=draw) > 0.1).float()
        at = torch.arange(patches)[-2:]
        given = (values.numpy(), seen.numpy(), at.numpy())
        want, got = direct(*given), ask(*given)
        worst = max(worst, float(np.abs(got - want).mean() / (want.std() + 1e-6)))
    return worst
