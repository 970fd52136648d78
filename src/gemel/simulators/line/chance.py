"""Random numbers that are found by their place instead of drawn in turn.

The n-th cycle of a machine takes the same time in every branch, whatever happened to the others in between: two
branches then differ by what was set and not by luck. A uniform number is a 64-bit mix (the finalizer of SplitMix64,
Steele, Lea and Flood 2014) of the member's key, the stream and the count.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gemel.core.values import Floats

Keys = npt.NDArray[np.uint64]
_STREAM, _COUNT = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def keys(seed: int, epoch: int, members: int) -> Keys:
    """A key for each member of an ensemble that began at `epoch`, [m]."""
    start = np.array([seed, epoch], np.int64).view(np.uint64)
    root = mixed(mixed(start[:1] + _STREAM) + start[1:] * _COUNT)
    return mixed(root + np.arange(1, members + 1, dtype=np.uint64) * _STREAM)


def mixed(x: Keys) -> Keys:
    """The finalizer."""
    x = (x ^ (x >> np.uint64(30))) * _A
    x = (x ^ (x >> np.uint64(27))) * _B
    return np.asarray(x ^ (x >> np.uint64(31)), np.uint64)


def uniform(key: Keys, stream: npt.ArrayLike, count: npt.ArrayLike) -> Floats:
    """Numbers between 0 and 1, both excluded; all arguments broadcast."""
    place = (np.atleast_1d(stream).astype(np.uint64) + np.uint64(1)) * _STREAM
    place = place + np.atleast_1d(count).astype(np.uint64) * _COUNT
    return np.asarray(((mixed(key + place) >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52)


def unit(cv: Floats, one: Floats, other: Floats) -> Floats:
    """Positive numbers of mean 1 and coefficient of variation `cv`, from two uniform ones: constant (0), exponential
    (1) or lognormal."""
    found = np.ones_like(one)
    if (plain := cv == 1.0).any():
        np.copyto(found, -np.log(one), where=plain)
    if (other_shape := (cv > 0.0) & ~plain).any():
        sigma2 = np.log1p(cv * cv)
        normal = np.sqrt(-2.0 * np.log(one)) * np.cos(2.0 * np.pi * other)
        np.copyto(found, np.exp(np.sqrt(sigma2) * normal - sigma2 / 2.0), where=other_shape)
    return found
