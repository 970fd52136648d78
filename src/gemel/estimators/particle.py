"""Particle filter: where what is believed has two humps or a hard edge, and no Gaussian filter can say so.

Legend: k states, p measurements, m members (particles).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.values import Belief, Floats, Frame
from gemel.estimators.cycle import Cycle, Row, Taught


@declared
class Particle:
    """Regularised particle filter over the twin's simulator (Gordon, Salmond and Smith 1993; Musso et al. 2001).

    Every row the simulator steps the members, with its own noise where it draws some; what was measured says how
    likely each is, and they are drawn anew in that proportion. Copies of one member are spread a little, so that
    parameters can still be searched, which makes narrow humps look wider than they are; bounded states never leave
    their bounds. It takes hundreds of members, and is for few states: with more than about five that are uncertain an
    `enkf` does better.

    - `noise`: `{output = standard deviation}` of the measurements; only these outputs teach.
    - `members`: how many.
    - `width`: how far copies spread, as a part of the width that is best for a Gaussian cloud.
    - `least`: a row that would leave fewer than this part of the members alive counts for less, an outlier for little.
    """

    def __init__(self, noise: Mapping[str, float], members: int = 800, width: float = 0.5, least: float = 0.02) -> None:
        problems = [f"particle: noise of '{n}' is {sd:g}, it must be above 0" for n, sd in noise.items() if sd <= 0]
        if not noise:
            problems.append("particle: noise names no output: nothing would teach the members")
        if members < 20:
            problems.append(f"particle: members {members} must be 20 or more")
        if width <= 0 or not 0 < least < 1:
            problems.append("particle: width must be above 0, least between 0 and 1")
        if problems:
            raise ConfigError(problems, "noise = { oil = 0.3 } gives an output's standard deviation")
        self.noise, self.members, self.width, self.least = dict(noise), members, width, least

    def bind(self, setting: Setting) -> None:
        self._cycle = Cycle("particle", setting, self.noise, self.members, quiet=False)

    def update(self, belief: Belief | None, frame: Frame) -> Belief:
        return self._cycle.update(belief, frame, self._analyse)

    def _analyse(self, joint: Floats, row: Row) -> tuple[Floats, Taught]:
        observed = joint[-len(row.measured) :]
        value, sd = np.array([[one.value, one.sd] for one in row.measured]).T
        spread = np.sqrt(observed.var(axis=1, ddof=1) + sd * sd)
        apart = value - observed.mean(axis=1)
        names = [one.name for one in row.measured]
        taught = {n: (float(d), float(s)) for n, d, s in zip(names, apart, spread, strict=True)}
        rng = np.random.default_rng((self._cycle.seed, row.time % 2**63))
        return resample(joint, observed, value, sd, rng, self.width, self.least), taught


def resample(
    members: Floats,
    observed: Floats,
    value: Floats,
    sd: Floats,
    rng: np.random.Generator,
    width: float = 0.5,
    least: float = 0.02,
) -> Floats:
    """Members [k, m] drawn again by how likely they make what was measured; arguments as in `analysis`.

    One systematic draw; of each member the first copy stays as it is, the others get a Gaussian kernel of `width` times
    Silverman's rule and the cloud's covariance. When fewer than `least` of the members would count, all weights are
    brought nearer to each other until that many do.
    """
    heard = np.isfinite(value)
    if not heard.any():
        return members.copy()
    k, m = members.shape
    miss = (value[heard, None] - observed[heard]) / sd[heard, None]
    weight = _tempered(-0.5 * (miss * miss).sum(axis=0), least * m)
    marks = (rng.random() + np.arange(m)) / m
    index = np.minimum(np.searchsorted(np.cumsum(weight), marks), m - 1)
    mean = members @ weight
    a = (members - mean[:, None]) * np.sqrt(weight)
    copies = np.flatnonzero(np.diff(index, prepend=-1) == 0)
    out = members[:, index]
    u, s, _ = np.linalg.svd(a, full_matrices=False)  # a root of the covariance, also where it is singular
    size = width * (4.0 / ((k + 2.0) * m)) ** (1.0 / (k + 4.0))
    out[:, copies] += size * (u * s) @ rng.standard_normal((len(s), len(copies)))
    return out


def _tempered(log_weight: Floats, least: float) -> Floats:
    """Weights [m] that sum to 1, flattened until as many as `least` of them count (Kong's effective number)."""

    def weights(power: float) -> Floats:
        w = np.exp(power * (log_weight - log_weight.max()))
        return w / w.sum()

    w = weights(1.0)
    if w @ w * least <= 1.0:
        return w
    low, high = 0.0, 1.0
    while high - low > 1e-3 * high:
        middle = math.sqrt(low * high) if low else high / 10.0
        w = weights(middle)
        low, high = (middle, high) if w @ w * least <= 1.0 else (low, middle)
    return weights(low)
