"""A pre-trained network that proposes states and parameters from a window of telemetry, in milliseconds.

It was trained on simulated runs of one simulator, drawn from its priors (neural posterior estimation: Papamakarios and
Murray 2016, NeurIPS 29), so it answers for that simulator only, and roughly. `esmda(..., start=)` makes its proposal
exact, or does without it.

Legend: T bins of a window, c numbers told of each, r directions and w coordinates as in
`posterior`, b windows, t rows, u inputs, y outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.artifact import Artifact, read
from gemel.core.errors import PartError
from gemel.core.values import Belief, Float32s, Floats, Frame
from gemel.estimators.history import History
from gemel.estimators.posterior import DRAWS, Coordinates
from gemel.estimators.scale import Scale
from gemel.loop.simulate import Assignable

SHIPPED = Path(__file__).parent / "weights"
"""Where the networks that come with Gemel lie."""
_EDGES = np.concatenate([np.linspace(0.0, 1.0 / 16, 5)[:-1], np.linspace(1.0 / 16, 1.0, 25)])
"""Of the bins, as parts of the window: narrow at first, where the first states show."""
BINS = len(_EDGES) - 1


@dataclass(frozen=True, slots=True)
class Telling:
    """How a window becomes numbers: which of the simulator's outputs are told (by place), centre and size of inputs [u]
    and outputs [y], and what noise [y] and how many hours are usual."""

    outputs: Sequence[int]
    input_centre: Sequence[float]
    input_size: Sequence[float]
    output_centre: Sequence[float]
    output_size: Sequence[float]
    noise: Sequence[float]
    hours: float

    @property
    def channels(self) -> int:
        """c: how many numbers a bin."""
        return len(self.input_size) + 3 * len(self.outputs) + 1

    def tell(self, part: Floats, inputs: Floats, outputs: Floats, noise: Floats, hours: float) -> Float32s:
        """[b, c, T] of windows with rows at `part` [t] of their length (0 to 1), inputs [t, u, b], outputs [t, y, b]
        with NaN where nothing usable was measured, noise [y, b]: means in bins, how full they are, noise, length."""
        bins = np.clip(np.searchsorted(_EDGES, part, side="right") - 1, 0, BINS - 1)
        into = (bins == np.arange(BINS)[:, None]).astype(np.float64)  # [T, t]
        many = np.maximum(into.sum(axis=1), 1.0)[:, None, None]

        def binned(x: Floats) -> Floats:
            return (into @ x.reshape(len(x), -1)).reshape(BINS, *x.shape[1:])

        centre, size = (np.array(v)[:, None] for v in (self.input_centre, self.input_size))
        driven = binned(np.nan_to_num((inputs - centre) / size)) / many
        centre, size = (np.array(v)[:, None] for v in (self.output_centre, self.output_size))
        seen = np.isfinite(outputs)
        full = binned(seen.astype(np.float64))
        measured = binned(np.where(seen, (outputs - centre) / size, 0.0)) / np.maximum(full, 1.0)
        b = outputs.shape[2]
        told = [driven, measured, full / many]
        usual = np.array(self.noise)[:, None]
        whole = np.concatenate([np.log(noise / usual), np.full((1, b), np.log(hours / self.hours))])
        told.append(np.broadcast_to(whole, (BINS, *whole.shape)))
        return np.concatenate(told, axis=1).transpose(2, 1, 0).astype(np.float32)


class Amortised:
    """The network in the folder `network`, for a simulator; the one shipped if empty.

    Raises `PartError` when it was trained for another simulator: other inputs, outputs, states or priors.
    """

    def __init__(self, simulator: Assignable, network: str | Path = "", name: str = "amortised") -> None:
        artifact = read(network, name) if network else _shipped(simulator)
        card = artifact.card
        problem = _unlike(simulator, card)
        if problem:
            raise PartError(
                f"the network {name} in {network} {problem}", "train one for this twin: gemel lab amortise TWIN.toml"
            )
        self.card = card
        self.telling = Telling(**card["telling"])
        self._simulator = simulator
        self._scale, self.coordinates = (
            Scale(simulator.states, getattr(simulator, "bounds", {})),
            coordinates(simulator),
        )
        self._session = _session(next(iter(artifact.files.values())))

    def propose(self, frame: Frame, noise: Mapping[str, float], members: int = 100, seed: int = 0) -> Belief:
        """States and parameters at the start of the frame, before any of its rows: a guess from all of them."""
        history = History(self._simulator, frame, noise, seed)
        w = self.draws(history, members, np.random.default_rng((seed, 3)))
        states = self._scale.back(self.coordinates.back(w))
        return Belief(tuple(self._simulator.states), states, int(history.time[0]))

    def draws(self, history: History, members: int, rng: np.random.Generator) -> Floats:
        """Draws [r, members] of the proposal, on the network's coordinates."""
        mean, low = self.normal(self.told(history))
        return np.asarray(mean[:, None] + low @ rng.standard_normal((len(mean), members)))

    def told(self, history: History) -> Float32s:
        """The frame of a history in the network's numbers, [1, c, T]."""
        noise, span = history.noise, history.time - history.time[0]
        names = [self._simulator.outputs[i] for i in self.telling.outputs]
        outputs = history.outputs([n if n in noise else "" for n in names])[:, :, None]
        sd = np.array([noise.get(n, usual) for n, usual in zip(names, self.telling.noise, strict=True)])[:, None]
        part = (span[1:] - 0.5 * span[1]) / span[-1]
        return self.telling.tell(part, history.inputs[:, :, None], outputs, sd, span[-1] / 3.6e12)

    def normal(self, told: Float32s) -> tuple[Floats, Floats]:
        """Mean [r] and a factor L [r, r] of the covariance LL' on the network's coordinates."""
        mean, root = (np.asarray(x[0], np.float64) for x in self._session.run(["mean", "root"], {"told": told}))
        return mean, np.asarray(np.linalg.inv(root), np.float64)  # root'root is the precision


def coordinates(simulator: Assignable) -> Coordinates:
    """Those in which a simulator's own prior is standard normal."""
    return Coordinates(prior(simulator, 0, DRAWS))


def prior(simulator: Assignable, seed: int, draws: int) -> Floats:
    """Draws [k, n] on the unbounded scale."""
    states = np.array(simulator.extract(simulator.init(None, seed, draws)), np.float64)
    return Scale(simulator.states, getattr(simulator, "bounds", {})).forward(states)


def shape(simulator: Assignable) -> dict[str, Any]:
    """What a network must have been trained for."""
    draws = prior(simulator, 0, DRAWS)
    return {
        "inputs": len(simulator.inputs),
        "outputs": len(simulator.outputs),
        "states": list(simulator.states),
        "centre": draws.mean(axis=1).tolist(),
        "spread": draws.std(axis=1).tolist(),
    }


def _unlike(simulator: Assignable, card: Mapping[str, Any]) -> str:
    """In what a simulator differs from the one a card is about; empty if in nothing."""
    mine, its = shape(simulator), card["simulator"]
    for key in ("inputs", "outputs", "states"):
        if mine[key] != its[key]:
            return f"was trained for other {key}: {its[key]}, not {mine[key]}"
    for key in ("centre", "spread"):
        far = np.abs(np.array(mine[key]) - np.array(its[key])) > 1e-3 * np.array(its["spread"]) + 1e-9
        if far.any():
            return f"was trained for another prior of '{mine['states'][int(np.argmax(far))]}'"
    return ""


def _shipped(simulator: Assignable) -> Artifact:
    """The shipped network that suits."""
    for card in sorted(SHIPPED.glob("*.json")):
        artifact = read(SHIPPED, card.stem)
        if not _unlike(simulator, artifact.card):
            return artifact
    raise PartError("no shipped network suits this simulator", "train one: gemel lab amortise TWIN.toml")


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common class for its errors
        raise PartError(f"{path} is no network that onnxruntime can load: {error}", "train it again") from None
