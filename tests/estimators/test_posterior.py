"""Coordinates of the prior, and draws of a posterior that is no normal distribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from estimators.worlds import Line, Tank, grid, tank_telemetry
from gemel.core.errors import InputError
from gemel.core.values import Floats
from gemel.estimators.esmda import esmda, passes
from gemel.estimators.history import History
from gemel.estimators.importance import Normal, linearised, sample
from gemel.estimators.posterior import Coordinates, Posterior
from gemel.simulators.thermal import Thermal


def draws(simulator: object, count: int, seed: int = 0) -> Floats:
    return History(simulator, tank_telemetry(5, 0.8), {"level": 0.1}, seed).prior(count)  # type: ignore[arg-type]


def test_a_bounded_or_skewed_prior_is_standard_normal_there_and_back() -> None:
    rng = np.random.default_rng(3)
    x = np.stack([rng.gamma(1.5, size=1000), rng.uniform(size=1000), rng.standard_normal(1000) * 7 + 3])
    coordinates = Coordinates(x)
    new = np.stack([rng.gamma(1.5, size=5000), rng.uniform(size=5000), rng.standard_normal(5000) * 7 + 3])
    w = coordinates.forward(new)
    for share, z in ((0.05, -1.645), (0.5, 0.0), (0.95, 1.645)):
        np.testing.assert_allclose(np.quantile(w, share, axis=1), z, atol=0.15)
    np.testing.assert_allclose(coordinates.back(w), new, rtol=1e-6, atol=1e-6)
    far = coordinates.back(np.full((3, 1), 6.0))
    assert (far > new.max(axis=1, keepdims=True) * 0.9).all()  # tails go on


def test_what_is_the_same_in_all_draws_or_follows_from_others_has_no_coordinate() -> None:
    thermal = Thermal(ambient="air", fan="fan", oil_noise=0.0, priors={"hot_rise": {"sd": 0.0}})
    x = thermal.extract(thermal.init(None, 0, 1000))
    coordinates = Coordinates(x)
    assert len(coordinates) == 8  # not stage, hot_rise, and one of the two parts of the rise
    np.testing.assert_allclose(coordinates.back(coordinates.forward(x)), x, atol=0.05)
    still = dict.fromkeys(Tank.states, (0.5, 0.0))
    with pytest.raises(InputError, match="no state or parameter is free"):
        esmda(Tank(), tank_telemetry(5, 0.8), {"level": 0.1}, still)


class Curved(Line):
    """y = b + a^2: the posterior of (a, b) is a bent ridge."""

    states: Sequence[str] = ("a", "b")

    def step(self, memory: Floats, inputs: Floats, dt: float) -> tuple[Floats, Floats]:
        return memory, memory[1:] + memory[:1] ** 2


def test_a_bent_posterior_is_drawn_from_as_it_is() -> None:
    value, sd = 1.5, 0.2
    frame = grid(np.full((2, 1), value), ["y"])
    noise = {"y": sd * 2**0.5}  # two measurements
    found = np.concatenate([esmda(Curved(), frame, noise, seed=i).members for i in range(8)], axis=1)
    a, b = np.meshgrid(np.linspace(-4, 4, 801), np.linspace(-4, 4, 801), indexing="ij")
    log = -0.5 * (a**2 + b**2 + ((b + a**2 - value) / sd) ** 2)
    weight = np.exp(log) / np.exp(log).sum()
    for row, x in zip(found, (a, b), strict=True):
        mean = (weight * x).sum()
        spread = np.sqrt((weight * (x - mean) ** 2).sum())
        assert row.mean() == pytest.approx(mean, abs=0.25 * spread)
        assert row.std() == pytest.approx(spread, rel=0.2)
    alone = [
        [*passes(Posterior(History(Curved(), frame, noise, i)), 100, np.random.default_rng(i))][-1] for i in range(8)
    ]
    assert abs(np.concatenate(alone, axis=1)[1].std() / found[1].std() - 1.0) > 0.4  # the smoother does not find it


def test_linear_once_is_exact_from_anywhere_and_uses_the_measurements_once() -> None:
    rng = np.random.default_rng(2)
    t = np.arange(1, 31)
    seen = 0.7 + 0.1 * t + 0.5 * rng.standard_normal(30)
    design = np.stack([np.ones(30), t], axis=1)
    covariance = np.linalg.inv(np.eye(2) + design.T @ design / 0.25)
    posterior = Posterior(History(Line(), grid(seen[:, None], ["y"]), {"y": 0.5}))
    for where, size in ((0.0, 1.0), (5.0, 0.1), (-20.0, 3.0)):
        w = where + size * rng.standard_normal((2, 12))
        near, _ = linearised(posterior, w, posterior.run(w)[0])
        np.testing.assert_allclose(near.mean[:, 0], covariance @ design.T @ seen / 0.25, atol=1e-3)
        np.testing.assert_allclose(near.low @ near.low.T, covariance, rtol=1e-3)


def test_a_sample_says_when_it_cannot_be_had() -> None:
    posterior = Posterior(History(Tank(), tank_telemetry(60, 0.8), {"level": 0.02}))
    nowhere = Normal(np.full((3, 1), 50.0), 1e-3 * np.eye(3))
    assert sample(posterior, nowhere, 50, np.random.default_rng(0), rounds=1) is None
