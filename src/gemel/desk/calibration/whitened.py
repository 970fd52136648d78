"""A simulator seen through a filter that leaves of each output what its last value does not foretell.

What a simulator misses now it mostly misses in the next row too. Taken at their word, a thousand residuals that are
alike make a fit sure of what it cannot know; taken for a few, they waste what quick changes tell. So both sides, what
was measured and what is simulated, lose `share` times the value before (Cochrane and Orcutt 1949, J. Am. Stat. Assoc.
44): what is left of the residuals is nearly white, and counts in full.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gemel.core.values import BAD, Belief, Floats, Frame
from gemel.loop.simulate import Assignable, Noisy

MOST = 0.98
"""The largest share: a level must still tell something of a level."""
LEAST = 0.1
"""A correlation with the row before below this is none."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The simulator's own memory, and its outputs before."""

    inner: Any
    last: Floats | None  # [y, m]


class Whitened:
    """Any simulator, each of its outputs less `shares[output]` times its value a row before."""

    def __init__(self, simulator: Assignable, shares: Mapping[str, float]) -> None:
        self._inner, self.bounds = simulator, getattr(simulator, "bounds", {})
        self.inputs, self.outputs, self.states = simulator.inputs, simulator.outputs, simulator.states
        self._share = np.array([[shares.get(n, 0.0)] for n in simulator.outputs])

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Memory:
        memory = self._inner.init(belief, seed, members)
        return Memory(self._inner.quiet(memory) if isinstance(self._inner, Noisy) else memory, None)

    def step(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        inner, outputs = self._inner.step(memory.inner, inputs, dt)
        return Memory(inner, outputs), self._less(outputs, memory.last)

    def run(self, memory: Memory, inputs: Floats, dt: float) -> tuple[Memory, Floats]:
        run = getattr(self._inner, "run", None)
        if run is None:
            found = np.empty((len(inputs), len(self.outputs), inputs.shape[2]))
            for i, row in enumerate(inputs):
                memory, found[i] = self.step(memory, row, dt)
            return memory, found
        inner, outputs = run(memory.inner, inputs, dt)
        found = outputs - self._share * np.concatenate([np.full_like(outputs[:1], math.nan), outputs[:-1]])
        found[0] = self._less(outputs[0], memory.last)
        return Memory(inner, outputs[-1]), found

    def assign(self, memory: Memory, states: Floats, time: int) -> Memory:
        return Memory(self._inner.assign(memory.inner, states, time), None)

    def extract(self, memory: Memory) -> Floats:
        return self._inner.extract(memory.inner)

    def observe(self, memory: Memory, inputs: Floats) -> Floats:
        return self._less(self._inner.observe(memory.inner, inputs), memory.last)

    def _less(self, outputs: Floats, last: Floats | None) -> Floats:
        """The first row has none before it; nothing is compared with it."""
        return outputs - self._share * (outputs if last is None else last)


def whitened(frame: Frame, shares: Mapping[str, float]) -> Frame:
    """The same of what was measured; a row without a usable one before it is bad."""
    values, quality = frame.values.copy(), frame.quality.copy()
    for name, share in shares.items():
        i = frame.signals.index(name)
        y = frame.usable([name])[:, 0]
        values[:, i] = y - share * np.concatenate([[math.nan], y[:-1]])
        quality[:, i] = np.where(np.isfinite(values[:, i]), frame.quality[:, i], BAD)
    return Frame(frame.time, values, quality, frame.signals)


def related(residual: Floats) -> float:
    """How much of a residual [t] lives on to the next row. The noise of a sensor, which does not, is not in it."""
    there = np.isfinite(residual)
    if there.sum() < 20:
        return 0.0
    x = np.where(there, residual - residual[there].mean(), 0.0)
    none, one, two = (float(x[k:] @ x[: len(x) - k]) for k in range(3))
    return min(max(two / one, 0.0), MOST) if one > LEAST * none else 0.0


def taught(residuals: Mapping[str, Floats], least: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """From the residuals [t] of a run: the share of each output, and the standard deviation with which a row should
    teach after it is taken; not below a hundredth of `least`."""
    shares, noise = {}, {}
    for name, r in residuals.items():
        shares[name] = share = related(r)
        left = r[1:] - share * r[:-1]
        left = left[np.isfinite(left)]
        size = float(np.sqrt(np.mean(left * left))) if len(left) else least[name]
        noise[name] = max(size, least[name] / 100) * math.sqrt(memory(left))
    return shares, noise


def memory(residual: Floats) -> float:
    """Over how many rows a residual [t] remembers itself: its integrated autocorrelation time, 1 where it does not."""
    there = np.isfinite(residual)
    if (n := len(residual)) < 20 or not there.any():
        return 1.0
    x = np.where(there, residual - residual[there].mean(), 0.0)
    if not (power := float(x @ x)):
        return 1.0
    spectrum = np.fft.rfft(x, 2 * n)
    r = np.fft.irfft(spectrum * np.conj(spectrum))[1 : n // 4] / power
    ends = np.flatnonzero(r < 0.05)
    return float(min(1.0 + 2.0 * r[: ends[0] if len(ends) else len(r)].sum(), n / 10))
