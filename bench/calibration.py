"""Ensemble filters on the published twin experiments, and the cost of one analysis step.

Lorenz-96 as in Sakov and Oke 2008 (Tellus 60A): 40 variables, all observed with unit variance every 0.05, F = 8.
Lorenz-63 as in Sakov, Oliver and Bertino 2012 (Mon. Wea. Rev. 140): all three observed with variance 2 every 0.25.
Mean of three seeds after a burn-in: 1 000 analyses each for Lorenz-96, 3 000 for Lorenz-63, whose filters now and then
lose the orbit for a while. The expected error is the published one; seeds scatter by 0.03. Takes minutes on one slow
core; `--quick` runs one seed of 300 analyses.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.harness import Bench
from gemel.core.values import Floats
from gemel.estimators import analysis
from gemel.estimators.particle import resample

Rng = np.random.Generator
Step = Callable[[Floats], Floats]
Analysis = Callable[[Floats, Floats, Floats, Floats, Rng], Floats]


@dataclass(frozen=True, slots=True)
class World:
    """A chaotic system, `step` carries states [k, m] from one analysis to the next."""

    name: str
    step: Step
    start: Floats  # [k]
    spread: float  # standard deviation of the first ensemble
    sd: float  # of each measurement
    burn: int  # analyses that do not count
    count: int  # analyses that do


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table. `expected` is the published error."""

    world: World
    name: str
    members: int
    inflation: float
    expected: float
    analysis: Analysis


def runge_kutta(f: Step, x: Floats, dt: float) -> Floats:
    """One classical fourth-order step."""
    a = f(x)
    b = f(x + dt / 2 * a)
    c = f(x + dt / 2 * b)
    return x + dt / 6 * (a + 2 * b + 2 * c + f(x + dt * c))


def _lorenz_96(x: Floats) -> Floats:
    return np.asarray((np.roll(x, -1, 0) - np.roll(x, 2, 0)) * np.roll(x, 1, 0) - x + 8.0)


def _lorenz_63(x: Floats) -> Floats:
    return np.stack([10.0 * (x[1] - x[0]), x[0] * (28.0 - x[2]) - x[1], x[0] * x[1] - 8.0 / 3.0 * x[2]])


def _quarter(x: Floats) -> Floats:
    for _ in range(25):
        x = runge_kutta(_lorenz_63, x, 0.01)
    return x


_ONE = np.zeros(40)
_ONE[0] = 1.0
L96 = World("Lorenz-96", lambda x: runge_kutta(_lorenz_96, x, 0.05), _ONE, 0.001**0.5, 1.0, 400, 1000)
L63 = World("Lorenz-63", _quarter, np.array([1.509, -1.531, 25.46]), 2.0**0.5, 2.0**0.5, 64, 3000)


def _plain(f: Callable[[Floats, Floats, Floats, Floats], Floats]) -> Analysis:
    return lambda e, o, y, sd, rng: f(e, o, y, sd)


def _circle(radius: float) -> Floats:
    apart = np.abs(np.subtract.outer(np.arange(40), np.arange(40)))
    return analysis.gaspari_cohn(np.minimum(apart, 40 - apart), radius)


_NEAR = _circle(4.0)
CASES = (
    Case(L96, "perturbed", 40, 1.06, 0.22, analysis.perturbed),
    Case(L96, "denkf", 40, 1.01, 0.18, _plain(analysis.denkf)),
    Case(L96, "perturbed", 28, 1.08, 0.24, analysis.perturbed),
    Case(L96, "etkf, rotation", 24, 1.013, 0.18, analysis.etkf),
    Case(L96, "enkf_n, rotation", 24, 1.0, 0.21, analysis.enkf_n),
    Case(L96, "enkf_n, rotation, certainty 2", 24, 1.0, 0.18, lambda *a: analysis.enkf_n(*a, certainty=2.0)),
    Case(L96, "letkf, radius 4", 7, 1.04, 0.22, lambda e, o, y, sd, rng: analysis.letkf(e, o, y, sd, _NEAR, rng)),
    Case(L63, "perturbed", 100, 1.01, 0.56, analysis.perturbed),
    Case(L63, "perturbed", 10, 1.04, 0.65, analysis.perturbed),
    Case(L63, "etkf, rotation", 10, 1.02, 0.60, analysis.etkf),
    Case(L63, "enkf_n", 3, 1.0, 0.60, _plain(analysis.enkf_n)),
    Case(L63, "enkf_n, rotation", 10, 1.0, 0.54, analysis.enkf_n),
    Case(L63, "particle", 800, 1.0, 0.28, resample),
)


def twin_experiment(case: Case, seed: int, count: int) -> tuple[float, float]:
    """Time-averaged error and spread of the analyses: roots of means over the states, averaged over time."""
    world, rng = case.world, np.random.default_rng(seed)
    k = len(world.start)
    start = world.start[:, None]
    truth = start + world.spread * rng.standard_normal((k, 1))
    ensemble = start + world.spread * rng.standard_normal((k, case.members))
    sd = np.full(k, world.sd)
    errors, spreads = [], []
    for i in range(world.burn + count):
        truth, ensemble = world.step(truth), world.step(ensemble)
        value = truth[:, 0] + world.sd * rng.standard_normal(k)
        ensemble = case.analysis(ensemble, ensemble, value, sd, rng)
        if i >= world.burn:
            errors.append(math.sqrt(np.mean((ensemble.mean(axis=1) - truth[:, 0]) ** 2)))
            spreads.append(math.sqrt(np.mean(ensemble.var(axis=1, ddof=1))))
        ensemble = analysis.inflate(ensemble, case.inflation)
    return float(np.mean(errors)), float(np.mean(spreads))


def table(bench: Bench, cases: Sequence[Case] = CASES, seeds: Sequence[int] = (1, 2, 3), count: int = 0) -> None:
    """Two figures a case: the error, to be within 0.03 of the published one, and the spread over it."""
    for case in cases:
        error, spread = np.mean([twin_experiment(case, seed, count or case.world.count) for seed in seeds], axis=0)
        title = f"{case.world.name} {case.name} N={case.members} inflation={case.inflation:g}"
        near = f"{case.expected - 0.03:.2f} to {case.expected + 0.03:.2f}"
        bench.figure(f"{title} rmse", error, "-", goal=near, peer=("published", case.expected))
        kalman = case.name != "particle"  # its kernels widen the cloud, on purpose
        bench.figure(f"{title} spread/rmse", spread / error, "-", goal="0.9 to 1.2" if kalman else "")


def step(bench: Bench) -> None:
    """One analysis of 100 members, 1 000 states and 100 measurements, beside the product it cannot do without."""
    rng = np.random.default_rng(0)
    e, y, sd = rng.standard_normal((1000, 100)), rng.standard_normal(100), np.ones(100)
    h = rng.standard_normal((100, 1000)) / 30
    o, square = h @ e, rng.standard_normal((100, 100))

    def dense() -> Floats:
        a = e - e.mean(axis=1, keepdims=True)
        p = a @ a.T / 99
        gain = p @ h.T @ np.linalg.inv(h @ p @ h.T + np.eye(100))
        return e + gain @ (y[:, None] + rng.standard_normal((100, 100)) - o)

    seconds = bench.rounds(
        30,
        {
            "product": lambda: e @ square,
            "dense": dense,
            "denkf": lambda: analysis.denkf(e, o, y, sd),
            "etkf": lambda: analysis.etkf(e, o, y, sd),
            "perturbed": lambda: analysis.perturbed(e, o, y, sd, rng),
        },
    )
    for name in ("denkf", "perturbed", "etkf"):
        bench.figure(
            f"step {name}", seconds[name] * 1e3, "ms", goal="<= 3x", peer=("product", seconds["product"] * 1e3)
        )
        bench.figure(f"step {name}", seconds[name] * 1e3, "ms", goal="<= 0.1x", peer=("dense", seconds["dense"] * 1e3))


if __name__ == "__main__":
    with Bench("calibration") as _bench:
        quick = "--quick" in sys.argv[1:]
        table(_bench, seeds=(1,) if quick else (1, 2, 3), count=300 if quick else 0)
        step(_bench)
