"""Small networks for windows of telemetry: convolutional, recurrent, attention, an autoencoder, a pre-trained encoder.

Letters: b windows, t rows of a window, c channels, o outputs, d width.

All take windows [b, t, c], centred and scaled a channel, with 0 where a value is missing, and answer [b, o]; the
autoencoder without outputs answers with the window itself, [b, t, c]. Only plain operators, so that each exports to
ONNX opset 17. `network("cnn", channels=14, length=30, outputs=11)` makes one; its sizes are the keywords of its class.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gemel.core.artifact import read
from gemel.core.errors import ConfigError, PartError, nearest
from gemel.core.foundation import SHIPPED
from gemel.lab.network import Block, Network, Shape, scaled


class Head(nn.Module):
    """From what a network saw at all rows, [b, t, d], to its answer: of their mean and of the last one."""

    def __init__(self, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.up, self.out = nn.Linear(2 * width, width), nn.Linear(width, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat((x.mean(1), x[:, -1]), dim=1)
        return self.out(self.dropout(F.silu(self.up(self.dropout(both)))))


class Convolutional(nn.Module):
    """Convolutions along time, the reach doubling with each layer, each added to what came in (a residual network)."""

    def __init__(
        self, channels: int, length: int, outputs: int,
        *, width: int = 48, layers: int = 3, kernel: int = 3, dropout: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embed = nn.Conv1d(channels, width, 1)
        self.first = nn.ModuleList(
            nn.Conv1d(width, width, kernel, padding=2**i * (kernel // 2), dilation=2**i) for i in range(layers)
        )
        self.second = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(layers))
        self.head = Head(width, outputs, dropout)
        for layer in self.second:  # a layer starts as "nothing to add"
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.transpose(1, 2))
        for first, second in zip(self.first, self.second, strict=True):
            x = x + second(F.silu(first(x)))
        return self.head(x.transpose(1, 2))


class Recurrent(nn.Module):
    """A recurrent network, `cell` "lstm" (Hochreiter and Schmidhuber 1997) or "gru" (arXiv 1406.1078)."""

    def __init__(
        self, channels: int, length: int, outputs: int,
        *, cell: str = "lstm", width: int = 48, layers: int = 2, dropout: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        if cell not in ("lstm", "gru"):
            raise ConfigError([f"unknown cell '{cell}'{nearest(cell, ('lstm', 'gru'))}"], "known: lstm, gru")
        make = nn.LSTM if cell == "lstm" else nn.GRU
        self.body = make(channels, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.head = Head(width, outputs, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0])


class Attention(nn.Module):
    """A transformer: every row looks at every other; what a place in the window means is learned."""

    def __init__(
        self, channels: int, length: int, outputs: int,
        *, width: int = 48, heads: int = 4, layers: int = 2, expand: int = 2, dropout: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        if width % heads:
            raise ConfigError([f"width {width} is no multiple of {heads} heads"], "heads = 4 goes with width = 48")
        self.width = width
        self.embed = nn.Linear(channels, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.ModuleList(Block(Shape(width, heads, layers, expand)) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.head = Head(width, outputs, dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.embed(x) + self.place)
        for block in self.blocks:
            x = block(x, None)
        return self.head(F.layer_norm(x, (self.width,)))  # a number: a shape that is traced cannot be exported


class Autoencoder(nn.Module):
    """Squeezes a window into `code` numbers and back. With `outputs` it answers from the code, [b, o]; without, it
    answers with the window made again, [b, t, c]: what it cannot make again is unlike what it was trained on."""

    def __init__(
        self, channels: int, length: int, outputs: int,
        *, width: int = 32, code: int = 8, kernel: int = 5, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.length, self.outputs, self.short = length, outputs, (length + 3) // 4
        self.width = width
        half = kernel // 2
        self.down = nn.ModuleList(
            [nn.Conv1d(channels, width, kernel, 2, half), nn.Conv1d(width, width, kernel, 2, half)]
        )
        self.squeeze = nn.Linear(width * self.short, code)
        self.spread = nn.Linear(code, width * self.short)
        self.up = nn.ModuleList([nn.Conv1d(width, width, kernel, padding=half) for _ in range(2)])
        self.out = nn.Conv1d(width, channels, 1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(nn.Linear(code, width), nn.SiLU(), nn.Linear(width, max(outputs, 1)))

    def code(self, x: Tensor) -> Tensor:
        """What is kept of a window, [b, code]."""
        x = x.transpose(1, 2)
        for layer in self.down:
            x = F.silu(layer(x))
        return self.squeeze(self.dropout(x.flatten(1)))

    def window(self, code: Tensor) -> Tensor:
        """The window of a code, [b, t, c]."""
        x = F.silu(self.spread(code)).unflatten(1, (self.width, self.short))
        for layer in self.up:
            x = F.silu(layer(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        return self.out(x)[:, :, : self.length].transpose(1, 2)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The answer [b, o] and the window made again: one code has to serve both."""
        code = self.code(x)
        return self.head(code), self.window(code)

    def forward(self, x: Tensor) -> Tensor:
        code = self.code(x)
        return self.head(code) if self.outputs else self.window(code)


class Encoder(nn.Module):
    """A head on the forecasting network that ships: what that thinks at the end of each channel is turned into a few
    `features`, and these into the answer. The pre-trained weights stay as they are unless `tune`."""

    def __init__(
        self, channels: int, length: int, outputs: int,
        *, weights: str = "", features: int = 16, width: int = 64, dropout: float = 0.1, tune: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.body, self.tune = pretrained(weights), tune
        d, p = self.body.shape.width, self.body.shape.patch
        self.body.requires_grad_(tune)
        self.patch, self.front = p, -length % p  # the rows that are missing before the window
        self.each = nn.Linear(d, features)
        self.head = nn.Sequential(
            nn.Linear(channels * (features + 1), width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        b, c = x.shape[0], x.shape[2]
        whole = F.pad(x.transpose(1, 2), (self.front, 0))
        seen = F.pad(torch.ones_like(x.transpose(1, 2)), (self.front, 0))
        view = scaled(*(part.reshape(b * c, 1, -1, self.patch) for part in (whole, seen)))
        with torch.set_grad_enabled(self.tune and torch.is_grad_enabled()):
            last = self.body.hidden(view)[:, 0, -1]
        last = F.layer_norm(last, (self.body.shape.width,))
        level = view.mean[:, 0, -1:]  # the network itself forgets where a window lies
        return self.head(torch.cat((F.silu(self.each(last)), level), dim=1).reshape(b, -1))


NETWORKS: Mapping[str, type[nn.Module]] = {
    "cnn": Convolutional,
    "rnn": Recurrent,
    "transformer": Attention,
    "autoencoder": Autoencoder,
    "encoder": Encoder,
}


def network(kind: str, channels: int, length: int, outputs: int, **sizes: Any) -> nn.Module:
    """A network [b, length, channels] -> [b, outputs], its weights drawn by torch's own seed.

    Raises `ConfigError` for an unknown kind or size, each with the nearest known one.
    """
    if kind not in NETWORKS:
        raise ConfigError([f"unknown network '{kind}'{nearest(kind, NETWORKS)}"], f"known: {', '.join(NETWORKS)}")
    made = NETWORKS[kind]
    known = [p.name for p in inspect.signature(made).parameters.values() if p.kind is p.KEYWORD_ONLY]
    if wrong := [f"{kind} has no size '{key}'{nearest(key, known)}" for key in sizes if key not in known]:
        raise ConfigError(wrong, f"known: {', '.join(known)}")
    if not outputs and kind != "autoencoder":
        raise ConfigError([f"{kind} needs something to answer"], "only an autoencoder answers with the window itself")
    return made(channels, length, outputs, **sizes)


def pretrained(folder: str | Path = "") -> Network:
    """The forecasting network of an exported folder (the one that ships, if empty), read back from its ONNX file.

    The block across channels is not in the file: the network answers for one channel. Raises `PartError` when the file
    does not hold the weights that its card says.
    """
    import onnx

    artifact = read(folder or SHIPPED, "foundation")
    shape = Shape(**artifact.card["recipe"]["shape"])
    graph = onnx.load(str(artifact.files["foundation.onnx"])).graph
    held = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    found = {name.removeprefix("network."): x for name, x in held.items() if name.endswith(".bias")}
    for node in graph.node:  # a linear layer is a product with its weights turned round
        if node.op_type == "MatMul" and node.input[1] in held:
            found[node.name.strip("/").removesuffix("/MatMul").replace("/", ".") + ".weight"] = held[node.input[1]].T
        elif node.op_type == "Gemm" and node.input[1] in held:
            found[node.name.strip("/").removesuffix("/Gemm").replace("/", ".") + ".weight"] = held[node.input[1]]
    network = Network(shape)
    mine = {n: p for n, p in network.named_parameters() if not n.startswith("across")}
    found = {name.removeprefix("network."): x for name, x in found.items()}
    if missing := [n for n, p in mine.items() if n not in found or tuple(p.shape) != found[n].shape]:
        raise PartError(f"the ONNX file does not hold {', '.join(missing[:3])} as we know it", "export it again")
    with torch.no_grad():
        for name, weights in mine.items():
            weights.copy_(torch.from_numpy(np.array(found[name])))
    return network
