"""Small worlds for estimators: a cart whose Kalman filter is known, a tank with bounded parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gemel.core.values import BAD, GOOD, Belief, Floats, Frame

QUARTER = 15 * 60 * 10**9


def grid(values: Floats, names: Sequence[str], every: int = QUARTER, start: int = 10**18) -> Frame:
    times = start + every * np.arange(1, len(values) + 1, dtype=np.int64)
    codes = np.where(np.isfinite(values), GOOD, BAD).astype(np.uint8)
    return Frame(times, values, codes, tuple(names))


class Line:
    """y = a + b t with t in steps, seen exactly: linear in states and parameters, so the posterior is known."""

    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ("y",)
    states: Sequence[str] = ("y", "slope")

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Floats:
        if belief is not None:
            return belief.members.copy()
        draw = np.random.default_rng(seed).standard_normal((2, members))
        draw -= draw.mean(axis=1, keepdims=True)
        return np.asarray(np.linalg.solve(np.linalg.cholesky(np.cov(draw)), draw)) if members > 3 else draw

    def step(self, memory: Floats, inputs: Floats, dt: float) -> tuple[Floats, Floats]:
        moved = np.stack([memory[0] + memory[1] * dt / 900.0, memory[1]])
        return moved, moved[:1]

    def assign(self, memory: Floats, states: Floats, time: int) -> Floats:
        return states.copy()

    def extract(self, memory: Floats) -> Floats:
        return memory.copy()

    def observe(self, memory: Floats, inputs: Floats) -> Floats:
        return memory[:1]


class Tank(Line):
    """A tank filled by `flow` that leaks through a hole: level' = flow - hole sqrt(level). `echo` does nothing."""

    inputs: Sequence[str] = ("flow",)
    outputs: Sequence[str] = ("level",)
    states: Sequence[str] = ("level", "hole", "echo")
    bounds = {"level": (0.0, np.inf), "hole": (0.0, 2.0), "echo": (0.0, 1.0)}  # noqa: RUF012

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Floats:
        if belief is not None:
            return belief.members.copy()
        rng = np.random.default_rng(seed)
        return np.stack([rng.uniform(0.5, 3.0, members), rng.uniform(0.2, 1.8, members), rng.uniform(0, 1, members)])

    def step(self, memory: Floats, inputs: Floats, dt: float) -> tuple[Floats, Floats]:
        level, hole, echo = memory
        for _ in range(4):
            level = np.maximum(level + dt / 3600.0 * (inputs[0] - hole * np.sqrt(level)), 1e-9)
        moved = np.stack([level, hole, echo])
        return moved, moved[:1]


def tank_telemetry(rows: int, hole: float, noise: float = 0.02, seed: int = 0, level: float = 2.0) -> Frame:
    rng = np.random.default_rng(seed)
    flow = 1.0 + 0.6 * np.sign(np.sin(np.arange(rows) / 9.0))
    tank, memory = Tank(), np.array([[level], [hole], [0.5]])
    seen = np.empty(rows)
    for i in range(rows):
        memory, out = tank.step(memory, flow[i : i + 1, None], 900.0)
        seen[i] = out[0, 0] + noise * rng.standard_normal()
    return grid(np.stack([flow, seen], axis=1), ("flow", "level"))
