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
from gemel.estimators import analysis
from gemel.estimators.cycle import Cycle, Row, Taught, gated, noise_problems


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
    - `least`: where a row would leave fewer than this part of the members alive, the cloud is widened until the row
      is no surprise and moved by a Kalman step instead: so one that has lost the plant finds it again.
    - `gate`: a measurement further off than this many predicted standard deviations is an outlier, as in `enkf`.
    """

    def __init__(
        self,
        noise: Mapping[str, float],
        members: int = 800,
        width: float = 0.5,
        least: float = 0.02,
        gate: float = 5.0,
    ) -> None:
        problems = noise_problems("particle", noise)
        if not noise:
            problems.append("particle: noise names no output: nothing would teach the members")
        if members < 20:
            problems.append(f"particle: members {members} must be 20 or more")
        if width <= 0 or gate < 0 or not 0 < least < 1:
            problems.append("particle: width must be above 0, gate 0 or more, least between 0 and 1")
        if problems:
            raise ConfigError(problems, "noise = { oil = 0.3 } gives an output's standard deviation")
        self.noise, self.members, self.gate = dict(noise), members, gate
        self.width, self.least = width, least

    def bind(self, setting: Setting) -> None:
        self._cycle = Cycle("particle", setting, self.noise, self.members, quiet=False)

    def update(self, belief: Belief | None, frame: Frame) -> Belief:
        return self._cycle.update(belief, frame, self._analyse)

    def _analyse(self, joint: Floats, row: Row) -> tuple[Floats, Taught]:
        observed = joint[-len(row.measured) :]
        mean, variance = observed.mean(axis=1).tolist(), observed.var(axis=1, ddof=1).tolist()
        taught: dict[str, tuple[float, float]] = {}
        noise = []
        for (name, value, sd), expected, own in zip(row.measured, mean, variance, strict=True):
            taught[name] = innovation, spread = value - expected, math.sqrt(own + sd * sd)
            noise.append(gated(innovation, spread, sd, row.last.get(name), self.gate))
        values = np.array([one.value for one in row.measured])
        rng = np.random.default_rng((self._cycle.seed, row.time % 2**63))
        return resample(joint[: -len(values)], observed, values, np.sqrt(noise), rng, self.width, self.least), taught


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
    Silverman's rule and the cloud's covariance. When fewer than `least` of the members would count (by Kong's effective
    number) the cloud is in the wrong place: it is widened as far as the innovation says, and moved by `analysis.etkf`.
    """
    heard = np.isfinite(value)
    if not heard.any():
        return members.copy()
    k, m = members.shape
    value, sd, observed = value[heard], sd[heard], observed[heard]
    miss = (value[:, None] - observed) / sd[:, None]
    fit = -0.5 * (miss * miss).sum(axis=0)
    weight = np.exp(fit - fit.max())
    weight /= weight.sum()
    if weight @ weight * least * m > 1.0:
        surprise, known = float(np.mean(miss.mean(axis=1) ** 2)) - 1.0, float(miss.var(axis=1, ddof=1).mean())
        wider = math.sqrt(max(surprise / max(known, 1e-12), 1.0))
        return analysis.etkf(analysis.inflate(members, wider), analysis.inflate(observed, wider), value, sd, rng)
    marks = (rng.random() + np.arange(m)) / m
    index = np.minimum(np.searchsorted(np.cumsum(weight), marks), m - 1)
    a = (members - (members @ weight)[:, None]) * np.sqrt(weight)
    u, s, _ = np.linalg.svd(a, full_matrices=False)  # a root of the covariance, also where it is singular
    size = width * (4.0 / ((k + 2.0) * m)) ** (1.0 / (k + 4.0))
    out = members[:, index]
    copies = np.flatnonzero(np.diff(index, prepend=-1) == 0)
    out[:, copies] += size * (u * s) @ rng.standard_normal((len(s), len(copies)))
    return out
