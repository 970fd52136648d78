from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from bench.calibration import CASES, Case, twin_experiment
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.core.values import Floats
from gemel.estimators import analysis

Square = Callable[[Floats, Floats, Floats, Floats], Floats]


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


EVERY: dict[str, Square] = {
    "perturbed": lambda e, o, y, sd: analysis.perturbed(e, o, y, sd, rng()),
    "denkf": analysis.denkf,
    "etkf": analysis.etkf,
    "etkf_turned": lambda e, o, y, sd: analysis.etkf(e, o, y, sd, rng()),
    "enkf_n": analysis.enkf_n,
    "letkf": lambda e, o, y, sd: analysis.letkf(e, o, y, sd, np.ones((len(e), len(y)))),
    "letkf_turned": lambda e, o, y, sd: analysis.letkf(e, o, y, sd, np.ones((len(e), len(y))), rng()),
}
EXACT = ("etkf", "etkf_turned", "letkf", "letkf_turned")


def problem(k: int, p: int, m: int, seed: int) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Ensemble, what it would measure, the values, their noise, and the linear map between."""
    draw = np.random.default_rng(seed)
    members = draw.standard_normal((k, k)) @ draw.standard_normal((k, m)) + 10.0
    h = draw.standard_normal((p, k))
    sd = draw.uniform(0.5, 2.0, p)
    return members, h @ members, h @ members.mean(axis=1) + draw.standard_normal(p), sd, h


def kalman(members: Floats, value: Floats, sd: Floats, h: Floats) -> tuple[Floats, Floats]:
    """The exact posterior of the ensemble's own mean and covariance."""
    mean, p = members.mean(axis=1), np.cov(members)
    gain = p @ h.T @ np.linalg.inv(h @ p @ h.T + np.diag(sd**2))
    return mean + gain @ (value - h @ mean), p - gain @ h @ p


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(("p", "m"), [(3, 9), (12, 7)])
def test_square_roots_are_the_kalman_filter(name: str, p: int, m: int) -> None:
    members, observed, value, sd, h = problem(5, p, m, 1)
    mean, covariance = kalman(members, value, sd, h)
    after = EVERY[name](members, observed, value, sd)
    np.testing.assert_allclose(after.mean(axis=1), mean, rtol=1e-9)
    np.testing.assert_allclose(np.cov(after), covariance, rtol=1e-7, atol=1e-8)


def test_random_ones_are_the_kalman_filter_with_many_members() -> None:
    draw = np.random.default_rng(3)
    members = draw.standard_normal((4, 1000)) * [[1.0], [2.0], [0.5], [3.0]] + 10.0
    h, sd = draw.standard_normal((2, 4)), np.array([1.0, 2.0])
    value = h @ members.mean(axis=1) + 0.5
    mean, covariance = kalman(members, value, sd, h)
    for name in ("perturbed", "enkf_n"):
        after = EVERY[name](members, h @ members, value, sd)
        np.testing.assert_allclose(after.mean(axis=1), mean, rtol=0.02)
        assert np.linalg.norm(np.cov(after) - covariance) < 0.05 * np.linalg.norm(covariance), name


def test_denkf_moves_the_mean_as_the_kalman_filter_and_keeps_a_little_more_spread() -> None:
    members, observed, value, sd, h = problem(5, 3, 9, 1)
    mean, covariance = kalman(members, value, sd, h)
    after = analysis.denkf(members, observed, value, sd)
    np.testing.assert_allclose(after.mean(axis=1), mean, rtol=1e-9)
    assert (np.linalg.eigvalsh(np.cov(after) - covariance) > -1e-8).all()


@given(st.integers(1, 6), st.integers(1, 8), st.integers(4, 12), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_properties(k: int, p: int, m: int, seed: int) -> None:
    members, observed, value, sd, _ = problem(k, p, m, seed)
    missing = np.full(p, np.nan)
    some = value.copy()
    some[::2] = np.nan
    order = np.random.default_rng(seed).permutation(m)
    for name, f in EVERY.items():
        np.testing.assert_array_equal(f(members, observed, missing, sd), members, err_msg=name)
        after = f(members, observed, value, sd)
        assert np.isfinite(after).all()
        if k == 1 or name in ("perturbed", "enkf_n"):
            continue
        assert (after.var(axis=1) <= members.var(axis=1) * (1 + 1e-9)).all(), name
        heard = np.isfinite(some)
        if heard.any():
            np.testing.assert_allclose(
                f(members, observed, some, sd), f(members, observed[heard], some[heard], sd[heard]), rtol=1e-7
            )
        if "turned" not in name:  # the members have no order
            mixed = f(members[:, order], observed[:, order], value, sd)
            np.testing.assert_allclose(mixed, after[:, order], rtol=1e-6, atol=1e-8, err_msg=name)


def test_the_finite_size_filter_widens_a_spread_that_is_too_small() -> None:
    draw = np.random.default_rng(0)
    members = 0.1 * draw.standard_normal((10, 12))
    sd, near, far = np.full(10, 0.1), np.zeros(10), np.full(10, 1.5)
    calm = analysis.enkf_n(members, members, near, sd).std()
    moved = analysis.enkf_n(members, members, far, sd)
    assert moved.mean() > analysis.etkf(members, members, far, sd).mean()
    assert moved.std() > 1.3 * calm


def test_a_taper_cuts_what_is_far() -> None:
    d = np.linspace(0.0, 10.0, 101)
    taper = analysis.gaspari_cohn(d, 2.0)
    assert taper[0] == 1.0
    assert (np.diff(taper) <= 0).all()
    assert (taper[d > 2 * 2.0 * np.sqrt(10 / 3)] == 0).all()
    assert np.abs(taper - np.exp(-(d**2) / 8.0)).max() < 0.05  # a bell curve of that width
    members, observed, value, sd, _ = problem(5, 3, 9, 2)
    weight = np.ones((5, 3))
    weight[4] = 0.0
    after = analysis.letkf(members, observed, value, sd, weight)
    np.testing.assert_allclose(after[4], members[4])
    np.testing.assert_allclose(after[:4], analysis.etkf(members, observed, value, sd)[:4])


def test_a_rotation_keeps_mean_and_covariance() -> None:
    turn = analysis.rotation(7, np.random.default_rng(0))
    np.testing.assert_allclose(turn @ turn.T, np.eye(7), atol=1e-12)
    np.testing.assert_allclose(turn.sum(axis=0), np.ones(7))
    np.testing.assert_allclose(turn.sum(axis=1), np.ones(7))


@pytest.mark.parametrize("case", [CASES[i] for i in (1, 3, 4, 6, 10)], ids=lambda c: f"{c.world.name} {c.name}")
def test_published_twin_experiments(case: Case) -> None:
    # one seed and a fifth of the published length: `bench calibration` has the whole table
    error, spread = twin_experiment(case, 1, 200)
    assert error == pytest.approx(case.expected, abs=0.08 if case.expected < 0.5 else 0.15)
    assert 0.8 < spread / error < 1.35
