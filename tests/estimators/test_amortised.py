"""The shipped network on a transformer it has not seen, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from bench.plants import Plant, plants

from gemel.core.errors import PartError
from gemel.core.values import Floats
from gemel.estimators.amortised import Amortised, around, told
from gemel.estimators.esmda import esmda
from gemel.estimators.history import History
from gemel.estimators.importance import Normal
from gemel.simulators.thermal import Memory, Thermal

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def plant() -> Plant:
    return plants(rows=96)[0]


def spread(simulator: Thermal, names: Sequence[str]) -> Floats:
    rows = [simulator.states.index(n) for n in names]
    return simulator.extract(simulator.init(None, 0, 500))[rows].std(axis=1)


def test_the_proposal_is_nearer_than_the_prior_and_honest(plant: Plant) -> None:
    assert isinstance(plant.simulator, Thermal)
    network, names = Amortised(plant.simulator), list(plant.simulator.states)
    rows, sd = [names.index(n) for n in plant.parameters], spread(plant.simulator, plant.parameters)
    far, inside = [], []
    for seed in range(500, 520):
        frame, truth = plant.telemetry(seed)
        belief = network.propose(frame, plant.noise, seed=seed)
        assert belief.time == 2 * frame.time[0] - frame.time[1]
        low, high = np.quantile(belief.members[rows], [0.05, 0.95], axis=1)
        inside.append((low <= truth[rows]) & (truth[rows] <= high))
        far.append((belief.members[rows].mean(axis=1) - truth[rows]) / sd)
    assert np.sqrt(np.mean(np.square(far))) < 0.8  # the prior: 1
    assert np.mean(inside) > 0.75


KEYS = ("ambient", "fan", "oil_noise", "priors")


class Counted(Thermal):
    """Counts how often it is run."""

    runs = 0

    def run(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        self.runs += 1
        return super().run(memory, inputs, dt)


def counted(simulator: Thermal, **changed: object) -> Counted:
    return Counted(**{**{k: getattr(simulator, k) for k in KEYS}, **changed})


def test_a_start_changes_how_long_it_takes_and_not_what_comes_out(plant: Plant) -> None:
    assert isinstance(plant.simulator, Thermal)
    simulator = counted(plant.simulator)
    network = Amortised(simulator)
    rows = [simulator.states.index(n) for n in plant.parameters]
    runs = []
    for seed in (600, 601, 602):
        frame, _ = plant.telemetry(seed)
        simulator.runs = 0
        cold = esmda(simulator, frame, plant.noise, seed=seed)
        before, simulator.runs = simulator.runs, 0
        warm = esmda(simulator, frame, plant.noise, seed=seed, start=network)
        runs.append((before, simulator.runs))
        wide = cold.members[rows].std(axis=1)
        np.testing.assert_array_less(
            np.abs(warm.members[rows].mean(axis=1) - cold.members[rows].mean(axis=1)), 0.6 * wide
        )
        np.testing.assert_allclose(warm.members[rows].std(axis=1), wide, rtol=0.5)
    assert sum(after for _, after in runs) < sum(before for before, _ in runs)


class Lost(Amortised):
    """Sure of a place far away."""

    def normal(self, history: History) -> Normal:
        r = len(self.coordinates)
        return Normal(np.full((r, 1), 30.0), 0.01 * np.eye(r))


def test_other_priors_count_and_a_start_that_leads_nowhere_is_left_aside(plant: Plant) -> None:
    network = Amortised(plant.simulator)
    frame, truth = plant.telemetry(603)
    true = float(truth[list(plant.simulator.states).index("oil_rise")])
    held = esmda(plant.simulator, frame, plant.noise, {"oil_rise": (true, 0.01)}, seed=1, start=network)
    assert held.spread()["oil_rise"] < 0.02
    lost = esmda(plant.simulator, frame, plant.noise, seed=1, start=Lost(plant.simulator))
    cold = esmda(plant.simulator, frame, plant.noise, seed=1)
    assert lost.mean()["oil_rise"] == pytest.approx(cold.mean()["oil_rise"], abs=cold.spread()["oil_rise"])


def test_a_network_is_refused_for_another_simulator(plant: Plant) -> None:
    assert isinstance(plant.simulator, Thermal)
    with pytest.raises(PartError, match="no shipped network suits"):
        Amortised(counted(plant.simulator, priors={"oil_rise": {"sd": 1.0}}))
    with pytest.raises(PartError, match="no shipped network suits"):
        Amortised(Thermal())


def test_what_is_told_of_a_linear_plant_is_its_posterior() -> None:
    rng = np.random.default_rng(0)
    slopes, w, sd = rng.standard_normal((1, 30, 2)), rng.standard_normal((2, 1)), np.full((1, 30), 0.5)
    value = slopes[0] @ w[:, 0] + 0.5 * rng.standard_normal(30)
    value[::7] = np.nan
    found = told(value[None], slopes @ around(2), sd)[0]
    seen = np.isfinite(value)
    precision = np.eye(2) + slopes[0, seen].T @ slopes[0, seen] / 0.25
    np.testing.assert_allclose(found[:2], np.linalg.solve(precision, slopes[0, seen].T @ value[seen] / 0.25), rtol=1e-4)
    np.testing.assert_allclose(found[2:4], found[:2], rtol=1e-4)  # no curvature: second order is first order
    np.testing.assert_allclose(np.exp(found[4:6]), np.sqrt(np.diag(np.linalg.inv(precision))), rtol=1e-4)


class Failing(Counted):
    def run(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        memory, outputs = super().run(memory, inputs, dt)
        return memory, np.full_like(outputs, np.nan)


def test_where_the_simulator_fails_near_its_centre_the_proposal_is_the_prior(plant: Plant) -> None:
    assert isinstance(plant.simulator, Thermal)
    failing = Failing(**{k: getattr(plant.simulator, k) for k in KEYS})
    network = Amortised(failing)
    frame, _ = plant.telemetry(604)
    near = network.normal(History(failing, frame, plant.noise))
    np.testing.assert_array_equal(near.low, np.eye(len(network.coordinates)))
