"""A pre-trained network that proposes states and parameters from a window of telemetry, in milliseconds.

It looks at a few runs of the simulator under the window's inputs: its prior's centre, and a step to either side in each
direction. What these say to first and second order about the posterior is what it is told, whatever the length, the
rhythm and the gaps of the window; it was trained on simulated runs, drawn from the prior, to tell from that where the
posterior really is (neural posterior estimation: Papamakarios and Murray 2016, NeurIPS 29). So it answers for one
simulator, and roughly. `esmda(..., start=)` makes its proposal exact, or does without it.

Legend: d what was measured less what the centre gives, over its noise [b, p]; w coordinates as in `posterior` [r, m];
b windows, f numbers told of each, p measurements, r directions, m members.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.artifact import Artifact, read
from gemel.core.errors import PartError
from gemel.core.onnx import session
from gemel.core.values import Belief, Float32s, Floats, Frame
from gemel.estimators.history import History
from gemel.estimators.importance import Normal
from gemel.estimators.posterior import DRAWS, Coordinates, Posterior
from gemel.estimators.scale import Scale
from gemel.loop.simulate import Assignable

SHIPPED = Path(__file__).parent / "weights"
"""Where the networks that come with Gemel lie."""
STEP = 0.7
"""How far from the centre the simulator is run to either side, in standard deviations of the prior."""
_FAR = 4.0
"""No number that the network is told is larger."""


def around(directions: int) -> Floats:
    """Where the simulator is run, [r, 1 + 2 r]: at the centre, then up and down each direction."""
    step = STEP * np.eye(directions)
    return np.concatenate([np.zeros((directions, 1)), step, -step], axis=1)


def told(value: Floats, runs: Floats, sd: Floats) -> Float32s:
    """What the network is told of windows [b, f], from values [b, p] (NaN where there is none), what the runs of
    `around` would have measured [b, p, 1 + 2 r], and the noise [b, p].

    It is the posterior to first order (its centre, and a root of its covariance), how curvature in each direction moves
    that, the centre to second order, and how much of the measurements is left unexplained.
    """
    r = runs.shape[2] // 2
    seen = np.isfinite(value)
    scaled = np.where(seen[:, :, None], runs / sd[:, :, None], 0.0)
    centre, up, down = scaled[:, :, :1], scaled[:, :, 1 : 1 + r], scaled[:, :, 1 + r :]
    d = np.where(seen, value / sd, 0.0)[:, :, None] - centre
    slopes, bends = (up - down) / (2 * STEP), (up + down - 2 * centre) / STEP**2
    turned = slopes.transpose(0, 2, 1)
    covariance = np.linalg.inv(np.eye(r) + turned @ slopes)
    first = covariance @ (turned @ d)  # [b, r, 1]
    bent = covariance @ (turned @ bends)  # [b, r, r]
    near = np.clip(first, -_FAR, _FAR)
    second = first - 0.5 * bent @ near**2
    root = np.linalg.cholesky(covariance)
    size = np.sqrt(np.einsum("bij,bij->bi", root, root))
    rows, columns = np.tril_indices(r, -1)
    left = np.mean((d - slopes @ first) ** 2, axis=(1, 2))
    parts = [
        near[:, :, 0],
        np.clip(second[:, :, 0], -_FAR, _FAR),
        np.log(size),
        (root / size[:, :, None])[:, rows, columns],
        np.clip(bent, -_FAR, _FAR).reshape(len(value), -1),
        0.1 * np.log(left + 1e-3)[:, None],
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def telling(directions: int) -> int:
    """f: how many numbers that is."""
    r = directions
    return 3 * r + r * (r - 1) // 2 + r * r + 1


class Amortised:
    """The network `name` in the folder `network`, for a simulator; the shipped one that suits it if empty.

    Raises `PartError` when it was trained for another simulator: other inputs, outputs, states or priors.
    """

    def __init__(self, simulator: Assignable, network: str | Path = "", name: str = "amortised") -> None:
        artifact = read(network, name) if network else _shipped(simulator)
        self.card = artifact.card
        if problem := _unlike(simulator, self.card):
            raise PartError(f"the network in {network} {problem}", "train one for it: gemel lab amortise TWIN.toml")
        self.coordinates = coordinates(simulator)
        self._simulator = simulator
        self._session = session(next(iter(artifact.files.values())), "train it again")

    def propose(self, frame: Frame, noise: Mapping[str, float], members: int = 100, seed: int = 0) -> Belief:
        """States and parameters at the start of the frame, before any of its rows: a guess from all of them."""
        history = History(self._simulator, frame, noise, seed)
        near = self.normal(history)
        w = near.mean + near.low @ np.random.default_rng((seed, 3)).standard_normal((len(near.mean), members))
        states = history.scale.back(self.coordinates.back(w))
        return Belief(tuple(self._simulator.states), states, int(history.time[0]))

    def normal(self, history: History) -> Normal:
        """The proposal on the network's coordinates: the prior where the simulator fails near its centre."""
        r = len(self.coordinates)
        observed = Posterior(history, coordinates=self.coordinates).run(around(r))[0]
        if not np.isfinite(observed).all():
            return Normal(np.zeros((r, 1)), np.eye(r))
        given = told(history.value[None], observed[None], history.sd[None])
        mean, root = (np.asarray(x[0], np.float64) for x in self._session.run(["mean", "root"], {"told": given}))
        return Normal(mean[:, None], np.asarray(np.linalg.inv(root), np.float64))  # root'root is the precision


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
