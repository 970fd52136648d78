"""What may drive a plant: random inputs within their ranges, as rich as plants see and richer.

Letters in shapes: t rows, u inputs, b windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gemel.core.errors import ConfigError
from gemel.core.values import Bools, Floats, Signals

Rng = np.random.Generator


def ranges(inputs: Sequence[str], signals: Signals) -> tuple[Floats, Bools]:
    """Lowest and highest value of each input [u, 2] as the twin's signals say, and which [u] go in whole steps."""
    found, whole, problems = np.zeros((len(inputs), 2)), np.zeros(len(inputs), bool), []
    for i, name in enumerate(inputs):
        signal = signals.named(name) if name in signals else None
        if signal is None or signal.low is None or signal.high is None:
            problems.append(f"input '{name}' has no range: nobody knows what to drive the simulator with")
            continue
        found[i], whole[i] = (signal.low, signal.high), signal.type == "state"
    if problems:
        raise ConfigError(problems, 'give its signal low and high: { name = "load", low = 0, high = 1.2 }')
    return found, whole


def excitation(rng: Rng, within: Floats, whole: Bools, hours: Floats, windows: int) -> Floats:
    """Inputs [t, u, b] at `hours` [t]: a level, and at random a day's wave, another wave, slow weather, and steps."""
    t, u, b = len(hours), len(within), windows
    shape, span, dt = (u, b), float(hours[-1] - hours[0]), float(hours[1] - hours[0])

    def some(often: float) -> Floats:
        return np.asarray((rng.random(shape) < often) * rng.random(shape))

    out = np.repeat(rng.random((1, *shape)), t, axis=0)
    for period in (np.full(shape, 24.0), span * np.exp(rng.uniform(-2.5, 0.7, shape))):
        turn = 2 * np.pi * (hours[:, None, None] / period + rng.random(shape))
        out += 0.5 * some(0.5) * np.sin(turn)
    out += 0.3 * some(0.6) * _slow(rng, t, np.exp(-dt / (span * np.exp(rng.uniform(-4, 0, shape)))))
    stepped = rng.random(shape) < 0.5
    stepped[whole] = True
    steps = _steps(rng, t, dt / (span * np.exp(rng.uniform(-4, 0, shape))))
    share = np.where(whole[:, None], 1.0, rng.random(shape)) * stepped
    out += share * (steps - out)
    out = within[:, :1] + np.clip(out, 0.0, 1.0) * (within[:, 1:] - within[:, :1])
    # a whole number is as likely as the next one, also the first and the last
    levels = within[:, :1] + np.floor(steps * (within[:, 1:] - within[:, :1] + 1.0))
    return np.where(whole[:, None], np.minimum(levels, within[:, 1:]), out)


def _slow(rng: Rng, t: int, keep: Floats) -> Floats:
    """First-order noise of unit variance [t, ...] that keeps `keep` of itself from row to row."""
    out = rng.standard_normal((t, *keep.shape))
    fresh = np.sqrt(1.0 - keep**2)
    for i in range(1, t):
        out[i] = keep * out[i - 1] + fresh * out[i]
    return out


def _steps(rng: Rng, t: int, often: Floats) -> Floats:
    """Levels between 0 and 1 [t, ...], a new one in a row with probability `often`."""
    levels = rng.random((t, *often.shape))
    change = rng.random(levels.shape) < often
    change[0] = True
    latest = np.maximum.accumulate(np.where(change, np.arange(t).reshape(-1, *[1] * often.ndim), 0), axis=0)
    return np.take_along_axis(levels, latest, axis=0)
