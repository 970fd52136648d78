from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from estimators.worlds import Line, Tank, grid, tank_telemetry
from gemel.core.errors import InputError
from gemel.core.values import BAD, Belief, Floats
from gemel.estimators.diagnostics import identifiability, innovations, rank, whiteness
from gemel.estimators.esmda import esmda
from gemel.estimators.history import History
from gemel.estimators.least_squares import least_squares

BOTH = pytest.mark.parametrize("method", [esmda, least_squares])
Method = Callable[..., Belief]


@BOTH
def test_a_linear_gaussian_history_is_the_exact_posterior(method: Method) -> None:
    rng = np.random.default_rng(2)
    t = np.arange(1, 31)
    seen = 0.7 + 0.1 * t + 0.5 * rng.standard_normal(30)
    design = np.stack([np.ones(30), t], axis=1)
    covariance = np.linalg.inv(np.eye(2) + design.T @ design / 0.25)
    mean = covariance @ design.T @ seen / 0.25
    last = np.array([[1.0, 30.0], [0.0, 1.0]])  # from the start of the frame to its end
    belief = method(Line(), grid(seen[:, None], ["y"]), {"y": 0.5}, members=50)
    assert belief.time == 10**18 + 30 * 15 * 60 * 10**9
    np.testing.assert_allclose(belief.members.mean(axis=1), last @ mean, rtol=1e-4)
    np.testing.assert_allclose(np.cov(belief.members), last @ covariance @ last.T, rtol=1e-3)


@BOTH
def test_a_bounded_parameter_is_found_with_gaps_and_wild_values(method: Method) -> None:
    frame = tank_telemetry(120, hole=0.8)
    values, quality = frame.values.copy(), frame.quality.copy()
    values[30:50, 1] = np.nan  # irregular and missing
    values[70, 1], quality[70, 1] = 500.0, BAD
    values[80, 0] = np.nan
    keep = np.r_[0:90, 95:120]
    holed = replace(frame, time=frame.time[keep], values=values[keep], quality=quality[keep])
    belief = method(Tank(), holed, {"level": 0.02}, members=60)
    assert belief.mean()["hole"] == pytest.approx(0.8, abs=0.01)
    assert 0 < belief.spread()["hole"] < 0.02
    assert ((belief.row("hole") > 0) & (belief.row("hole") < 2)).all()
    assert belief.mean()["level"] == pytest.approx(frame.values[-1, 1], abs=0.06)
    again = method(Tank(), holed, {"level": 0.02}, members=60)
    np.testing.assert_array_equal(again.members, belief.members)


@BOTH
def test_a_prior_that_is_given_counts_and_a_bound_is_kept(method: Method) -> None:
    frame = tank_telemetry(60, hole=0.05)
    held = method(Tank(), frame, {"level": 0.02}, {"hole": (1.0, 0.0)}, members=20)
    np.testing.assert_allclose(held.row("hole"), 1.0)
    near = method(Tank(), frame, {"level": 0.02}, {"hole": (0.3, 0.3)}, members=60)
    assert (near.row("hole") > 0).all()
    assert near.mean()["hole"] == pytest.approx(0.05, abs=0.02)


@BOTH
def test_posteriors_are_as_wide_as_they_should_be(method: Method) -> None:
    # a hole of the prior's own kind is within its 90 % interval nine times of ten
    inside, far, tank = [], [], Tank()
    for i in range(40):
        first = tank.init(None, 1000 + i, 1)
        frame = tank_telemetry(40, hole=float(first[1, 0]), noise=0.1, seed=i, level=float(first[0, 0]))
        hole = method(tank, frame, {"level": 0.1}, members=60, seed=i).row("hole")
        low, high = np.quantile(hole, [0.05, 0.95])
        inside.append(low < first[1, 0] < high)
        far.append((hole.mean() - first[1, 0]) / hole.std(ddof=1))
    assert 0.78 <= np.mean(inside) <= 1.0
    assert 0.7 < np.std(far) < 1.3


def test_what_the_telemetry_cannot_tell_is_said() -> None:
    frame = tank_telemetry(100, hole=0.8)
    history = History(Tank(), frame, {"level": 0.02})
    untaught = history.belief(history.prior(100)).members
    told = {i.name: i for i in identifiability(Tank.states, untaught, esmda(Tank(), frame, {"level": 0.02}).members)}
    assert told["hole"].learned > 0.9
    assert told["echo"].learned < 0.3
    pair = np.random.default_rng(0).standard_normal((2, 50))
    alike = np.stack([pair[0], -pair[0] + 0.01 * pair[1], np.ones(50)])
    found = identifiability(["a", "b", "fixed"], alike, alike * 0.5)
    assert [i.name for i in found] == ["a", "b"]
    assert found[0].like == "b"
    assert found[0].correlation < -0.99


class Brittle(Tank):
    """Fails where the hole is wide."""

    limit = 1.6

    def step(self, memory: Floats, inputs: Floats, dt: float) -> tuple[Floats, Floats]:
        moved, out = super().step(memory, inputs, dt)
        out = np.where(memory[1] > self.limit, np.nan, out)
        return moved, out


def test_members_the_simulator_cannot_run_are_replaced_or_named() -> None:
    frame = tank_telemetry(60, hole=0.8)
    assert esmda(Brittle(), frame, {"level": 0.02}).mean()["hole"] == pytest.approx(0.8, abs=0.02)
    worse = Brittle()
    worse.limit = 0.3
    for method in (esmda, least_squares):
        with pytest.raises(InputError, match="the simulator fails"):
            method(worse, frame, {"level": 0.02})


@BOTH
def test_wrong_questions_are_named(method: Method) -> None:
    frame = tank_telemetry(10, hole=0.8)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"noise": {"levle": 0.1}}, "did you mean 'level'"),
        ({"noise": {"level": 0.1}, "priors": {"hol": (1.0, 0.1)}}, "did you mean 'hole'"),
        ({"noise": {"level": 0.1}, "frame": frame.rows(0, 1)}, "two rows"),
        ({"noise": {"level": 0.1}, "frame": replace(frame, quality=np.full_like(frame.quality, BAD))}, "usable"),
        ({"noise": {"level": 0.1}, "members": 1}, "members must be"),
    ]
    for given, said in wrong:
        with pytest.raises(InputError, match=said):
            method(Tank(), **{"frame": frame, **given})


def test_innovations_are_judged() -> None:
    z = np.random.default_rng(1).standard_normal(500)
    assert innovations(z).advice == ""
    assert innovations(z).coverage == pytest.approx(0.9, abs=0.04)
    assert innovations(z[:10]).advice.startswith("too few")
    assert innovations(z + 0.5).advice.startswith("biased")
    slow = np.convolve(z, [0.6, 0.5, 0.4, 0.3, 0.2], "valid")
    assert innovations(slow).advice.startswith("related")
    assert innovations(1.5 * z).advice.startswith("too sure")
    assert innovations(0.5 * z).advice.startswith("too unsure")
    z[::7] = np.nan
    assert innovations(z).count == np.isfinite(z).sum()


def test_whiteness_speaks_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    p = np.array([whiteness(rng.standard_normal(200)) for _ in range(400)])
    assert np.mean(p < 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(p < 0.5) == pytest.approx(0.5, abs=0.08)
    assert whiteness(np.ones(50)) == 1.0
    with pytest.raises(ValueError, match="even"):
        whiteness(p, 3)


def test_ranks_of_honest_ensembles_are_flat() -> None:
    draw = np.random.default_rng(0).standard_normal((3000, 10))
    counts = np.bincount(rank(draw[:, 0], draw[:, 1:]), minlength=10)
    assert ((counts > 230) & (counts < 370)).all()
