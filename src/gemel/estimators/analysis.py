"""The analysis step of ensemble Kalman filters, as plain functions of arrays; no twin is needed to use them.

    members = etkf(members, observed, value, sd)

`members` [k, m] is the ensemble, `observed` [p, m] what each member says was measured, `value` [p] what was, `sd` [p]
the standard deviation of each measurement's noise, independent of the others'. A value that is NaN teaches nothing;
without any, the ensemble comes back as it was. All work is done in the space of the members, so the cost grows with
k m^2 and never with k^2.

Legend: A anomalies (members less their mean) [k, m], S those of `observed` over sd and sqrt(m - 1) [p, m], d the
innovation of the mean over sd [p], G gain in ensemble space [m, p], W weights of the members [m, m], k states,
p measurements, m members; s2 [r], V [m, r] eigenvalues and eigenvectors of S'S (the posterior's precision is I + S'S)
without those that are zero.
"""

from __future__ import annotations

import math

import numpy as np

from gemel.core.values import Floats

_CHUNK = 64  # states whose local analyses are solved together


def perturbed(members: Floats, observed: Floats, value: Floats, sd: Floats, rng: np.random.Generator) -> Floats:
    """Every member meets a measurement of its own, noise added (Burgers, van Leeuwen and Evensen 1998)."""
    s, d = _scaled(observed, value, sd)
    if not len(d):
        return members.copy()
    m = members.shape[1]
    noise = rng.standard_normal(s.shape)
    noise -= noise.mean(axis=1, keepdims=True)
    w = _gain(s) @ (d[:, None] + noise - s * math.sqrt(m - 1)) / math.sqrt(m - 1)
    w.flat[:: m + 1] += 1.0
    return _weighted(members, w)


def denkf(members: Floats, observed: Floats, value: Floats, sd: Floats) -> Floats:
    """The anomalies move by half the gain: no chance involved (Sakov and Oke 2008, Tellus 60A)."""
    s, d = _scaled(observed, value, sd)
    if not len(d):
        return members.copy()
    m = members.shape[1]
    g = _gain(s)
    w = -0.5 * (g @ s)
    w += (g @ d / math.sqrt(m - 1))[:, None]
    w.flat[:: m + 1] += 1.0
    return _weighted(members, w)


def etkf(
    members: Floats, observed: Floats, value: Floats, sd: Floats, rng: np.random.Generator | None = None
) -> Floats:
    """The symmetric square root: mean and covariance are exact in the linear case (Hunt, Kostelich and Szunyogh 2007).

    With `rng` the anomalies are also turned at random, which keeps a small ensemble from growing outliers.
    """
    s, d = _scaled(observed, value, sd)
    if not len(d):
        return members.copy()
    s2, v = _modes(s)
    return _transformed(members, s2, v, v.T @ (s.T @ d), 1.0, rng)


def enkf_n(
    members: Floats,
    observed: Floats,
    value: Floats,
    sd: Floats,
    rng: np.random.Generator | None = None,
    certainty: float = 1.0,
) -> Floats:
    """The finite-size filter: inflation is found anew at each step, from the ensemble's size and the innovation.

    Dual form of Bocquet 2011 (Nonlin. Processes Geophys. 18), the mode of its prior corrected as in Bocquet, Raanes
    and Hannart 2015; `certainty` above 1 trusts the ensemble more than a random sample of its size deserves.
    """
    s, d = _scaled(observed, value, sd)
    if not len(d):
        return members.copy()
    m = members.shape[1]
    s2, v = _modes(s)
    b = v.T @ (s.T @ d)
    misfit = b**2 / s2 / (m - 1)  # of the innovation, along each mode
    of_mean, of_log = (m + 1) / m, m / (m - 1)
    correction = math.sqrt((of_mean / of_log) ** (float((1.0 / (1.0 + s2)).sum() + m - len(s2)) / m))
    of_mean, of_log = certainty * of_mean / correction, certainty * of_log * correction
    low, high = -1.0, 5.0  # log of the inflation; three zooms on a grid cannot fall into a side valley
    for _ in range(4):
        grid = np.linspace(low, high, 49)
        l2 = np.exp(2.0 * grid)
        cost = (misfit / (1.0 + np.multiply.outer(l2, s2))).sum(axis=1) + of_mean / l2 + 2.0 * of_log * grid
        best, half = grid[int(cost.argmin())], (high - low) / 48
        low, high = best - half, best + half
    factor = math.exp(best)
    return _transformed(members, factor**2 * s2, v, factor * b, factor, rng)


def letkf(
    members: Floats,
    observed: Floats,
    value: Floats,
    sd: Floats,
    taper: Floats,
    rng: np.random.Generator | None = None,
) -> Floats:
    """An ETKF for each state, in which far measurements count less (Hunt, Kostelich and Szunyogh 2007, Physica D 230).

    `taper` [k, p] is 1 where a measurement counts in full and 0 where not at all, such as `gaspari_cohn(...)`.
    """
    heard = np.isfinite(value)
    s, d = _scaled(observed, value, sd)
    if not len(d):
        return members.copy()
    k, m = members.shape
    mean = members.mean(axis=1, keepdims=True)
    a = members - mean
    turn = rotation(m, rng) if rng is not None else None
    out = np.empty_like(members)
    for start in range(0, k, _CHUNK):
        rows = slice(start, min(start + _CHUNK, k))
        weight = taper[rows][:, heard]  # [c, p]
        near = (weight > 0).any(axis=0)
        local = weight[:, near, None] * s[near]  # [c, p, m]
        s2, v = np.linalg.eigh(np.matmul(s[near].T, local))  # [c, m], [c, m, m]
        s2 = np.maximum(s2, 0.0)
        along = np.matmul(a[rows, None], v)[:, 0]  # [c, m]: the state's anomalies along the modes
        b = np.matmul((local * d[near, None]).sum(axis=1)[:, None], v)[:, 0]
        new = np.matmul((along / np.sqrt(1.0 + s2))[:, None], v.transpose(0, 2, 1))[:, 0]
        shift = (along * b / (1.0 + s2)).sum(axis=1) / math.sqrt(m - 1)
        out[rows] = mean[rows] + shift[:, None] + (new if turn is None else new @ turn)
    return out


def gaspari_cohn(distance: Floats, radius: float) -> Floats:
    """A taper from 1 to 0 over distances (Gaspari and Cohn 1999, eq. 4.10); it ends at 3.65 radii.

    It looks like a bell curve with standard deviation `radius`.
    """
    r = np.abs(np.asarray(distance, np.float64)) / (radius * math.sqrt(10.0 / 3.0))
    near = 1.0 + r * r * (-5.0 / 3.0 + r * (5.0 / 8.0 + r * (0.5 - 0.25 * r)))
    q = np.clip(r, 1.0, 2.0)  # only read there; keeps 1 / r finite
    far = 4.0 - 5.0 * q + q**2 * (5.0 / 3.0 + q * (5.0 / 8.0 + q * (-0.5 + q / 12.0))) - 2.0 / (3.0 * q)
    return np.where(r <= 1.0, near, np.where(r < 2.0, np.maximum(far, 0.0), 0.0))


def inflate(members: Floats, factor: float) -> Floats:
    """The same mean, anomalies times `factor`."""
    mean = members.mean(axis=1, keepdims=True)
    return mean + factor * (members - mean)


def rotation(m: int, rng: np.random.Generator) -> Floats:
    """A random rotation [m, m] of anomalies that leaves their sum, and so the mean, at zero."""
    q, r = np.linalg.qr(rng.standard_normal((m - 1, m - 1)))
    turn = np.zeros((m, m))
    turn[0, 0], turn[1:, 1:] = 1.0, q * np.sign(np.diagonal(r))  # signs make the draw uniform
    u = np.full(m, -1.0 / math.sqrt(m))  # the reflection that carries the first axis onto (1, ..., 1)
    u[0] += 1.0
    u /= np.linalg.norm(u)
    turn -= np.outer(2.0 * u, u @ turn)
    turn -= np.outer(turn @ u, 2.0 * u)
    return turn


def _scaled(observed: Floats, value: Floats, sd: Floats) -> tuple[Floats, Floats]:
    """S [p, m] and d [p] of the measurements that are there."""
    heard = np.isfinite(value)
    if not heard.all():
        observed, value, sd = observed[heard], value[heard], sd[heard]
    mean = observed.mean(axis=1)
    s = observed - mean[:, None]
    s /= (sd * math.sqrt(observed.shape[1] - 1))[:, None]
    return s, (value - mean) / sd


def _gain(s: Floats) -> Floats:
    """G = S' (I + S S')^-1 [m, p], by the smaller of the two systems."""
    p, m = s.shape
    if p <= m:
        c = s @ s.T
        c.flat[:: p + 1] += 1.0
        return np.asarray(np.linalg.solve(c, s).T, np.float64)
    c = s.T @ s
    c.flat[:: m + 1] += 1.0
    return np.asarray(np.linalg.solve(c, s.T), np.float64)


def _modes(s: Floats) -> tuple[Floats, Floats]:
    """s2 [r] and V [m, r], by the smaller of the two products."""
    p, m = s.shape
    s2, v = np.linalg.eigh(s @ s.T if p < m else s.T @ s)
    seen = s2 > 1e-10 * max(float(s2[-1]), 1e-300)
    s2, v = s2[seen], v[:, seen]
    return s2, s.T @ (v / np.sqrt(s2)) if p < m else v


def _transformed(
    members: Floats, s2: Floats, v: Floats, b: Floats, factor: float, rng: np.random.Generator | None
) -> Floats:
    """The square root's ensemble: anomalies times `factor` (that s2 and b hold already), shrunk along each mode."""
    m = members.shape[1]
    w = (v * (factor / np.sqrt(1.0 + s2) - factor)) @ v.T
    w.flat[:: m + 1] += factor
    if rng is not None:
        w = w @ rotation(m, rng)
    w += (v @ (b / (1.0 + s2)) * (factor / math.sqrt(m - 1)))[:, None]
    return _weighted(members, w)


def _weighted(members: Floats, w: Floats) -> Floats:
    """mean + A W, in place on `w`: taking the mean out of its columns instead of the members saves three passes."""
    w -= w.mean(axis=0)
    w += 1.0 / len(w)
    return members @ w
