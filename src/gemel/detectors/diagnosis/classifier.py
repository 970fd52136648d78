"""Known cases: how each cause looked on the asset that had it, and how everything else looked meanwhile.

One softmax over all pairs of asset and cause, and over "nothing": the evidence of a pair is linear in what that asset
sees (`view.py`, `features.py`) and every asset has the same weights, so a case of the mill teaches about the drill.
Features count for their size upwards and downwards apart. Whether anything that is known fits at all is judged by the
distance to the signature of the cause, in its own spread shrunk towards that of all causes.

Letters: n cases, a assets, k slots, f features, x inputs, c causes.
Sources: conditional logit, McFadden 1974; Adam, Kingma and Ba 2015; shrinkage of variances, Opgen-Rhein and Strimmer
2007.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.errors import PartError
from gemel.core.values import Floats
from gemel.detectors.diagnosis.features import FEATURES, Stretches

FORMAT = 2
HINT = "gemel.detectors.diagnosis.classifier.learn makes such a file; leave `known` out to begin with rules alone"
ARRAYS = ("weights", "bias", "scale", "middle", "spread", "reach")
LEAST_STEPS = 300  # of the fit, however few cases there are
SHRINK = 20.0  # cases' worth of the common spread in a signature
LOOSE = 1.3  # times the distance of the farthest hundredth of the known cases, beyond which nothing known fits

REACH, RARE = 7.0, -5.0
"""Log-odds that a told case gives to what looks just like it, and those of a cause of which it is the first case."""
ALIKE = (0.4, 0.85)
"""Cosines at which something does not look like a case at all, and wholly does."""


@dataclass(frozen=True, slots=True)
class Case:
    """What the assets saw, [a, k, f], and what it was: the place of the asset (-1: nothing was wrong) and the cause, as
    `part: what`. `group`: cases of one run, which are no independent witnesses; `weight`: how much it counts."""

    seen: Floats
    asset: int
    cause: str
    group: int = 0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Told:
    """A case that a person told, as its asset saw it, [k f] on the scale of what is known; cause "" for a false alarm.
    `wide`: the asset was the whole."""

    seen: Floats
    cause: str
    wide: bool


@dataclass
class Known:
    """What was learned from cases. `wide`: causes that are of the whole, the others of its parts."""

    slots: tuple[str, ...]
    causes: tuple[str, ...]
    wide: frozenset[str]
    spans: Stretches
    step: int  # ns
    weights: Floats = field(default_factory=lambda: np.empty((0, 0)))  # [x, c]
    bias: Floats = field(default_factory=lambda: np.empty(0))  # [c]
    scale: Floats = field(default_factory=lambda: np.empty(0))  # [k f]
    middle: Floats = field(default_factory=lambda: np.empty((0, 0)))  # signatures [c, k f]
    spread: Floats = field(default_factory=lambda: np.empty((0, 0)))  # [c, k f]
    reach: Floats = field(default_factory=lambda: np.empty(0))  # distance within which a case is of its cause, [c]
    cases: int = 0
    told: tuple[Told, ...] = ()

    def log_odds(self, seen: Floats) -> Floats:
        """Of every asset and cause against nothing, [..., a, c], from what the assets see, [..., a, k, f]; causes of
        the whole hold for the last asset only, and the others for the others (minus infinity)."""
        flat = self.scaled(seen)
        found = _inputs(flat) @ self.weights + self.bias
        for one in self.told:
            like = REACH * _alike(flat, one.seen)
            if one.cause:
                found[..., self.causes.index(one.cause)] += like
            else:
                found -= like[..., None]
        return np.asarray(np.where(_allowed(found.shape[-2], self.causes, self.wide), found, -np.inf))

    def fits(self, seen: Floats, asset: int, cause: int) -> float:
        """How far what the asset sees, [a, k, f], is from the cause's signature: up to 1 it is one of its cases."""
        flat = self.scaled(seen)[asset]
        told = [float(_alike(flat, one.seen)) for one in self.told if one.cause == self.causes[cause]]
        if max(told, default=0.0) > 0.5:
            return 0.0
        if cause >= len(self.middle):
            return np.inf
        off = ((flat - self.middle[cause]) / self.spread[cause])[flat != 0]  # what is not seen is not judged
        return float(np.sqrt((off**2).mean()) / (LOOSE * self.reach[cause])) if len(off) else np.inf

    def contributions(self, seen: Floats, asset: int, cause: int) -> Floats:
        """What each slot adds to the log-odds, [k]."""
        parts = _inputs(self.scaled(seen)[asset]) * self.weights[:, cause]
        half = len(parts) // 2
        return np.asarray((parts[:half] + parts[half:]).reshape(len(self.slots), len(FEATURES)).sum(axis=1))

    def with_told(self, told: Sequence[Told]) -> Known:
        """The same with cases of one's own, which may have causes of their own."""
        fresh = tuple(dict.fromkeys(one.cause for one in told if one.cause and one.cause not in self.causes))
        return replace(
            self, causes=(*self.causes, *fresh), told=tuple(told),
            wide=self.wide | {one.cause for one in told if one.wide and one.cause in fresh},
            weights=np.hstack([self.weights, np.zeros((len(self.weights), len(fresh)))]),
            bias=np.concatenate([self.bias, np.full(len(fresh), RARE)]),
        )  # fmt: skip

    def scaled(self, seen: Floats) -> Floats:
        """What assets see, [..., k, f], flat and in the usual size of each, [..., k f]."""
        flat = np.asarray(seen, float).reshape(*seen.shape[:-2], -1)
        return np.asarray(np.clip(flat / self.scale, -8.0, 8.0))

    def save(self) -> bytes:
        """As the bytes of an `.npz` file."""
        held = io.BytesIO()
        np.savez_compressed(
            held, format=FORMAT, slots=np.array(self.slots), causes=np.array(self.causes),
            wide=np.array(sorted(self.wide), dtype=str), step=np.int64(self.step),
            spans=np.array([self.spans.short, self.spans.long, self.spans.base]),
            weights=self.weights.astype(np.float32), bias=self.bias, scale=self.scale,
            middle=self.middle.astype(np.float32), spread=self.spread.astype(np.float32), reach=self.reach,
            cases=self.cases,
        )  # fmt: skip
        return held.getvalue()

    @property
    def version(self) -> str:
        """The first letters of the SHA-256 of what it knows."""
        return hashlib.sha256(self.weights.tobytes() + self.bias.tobytes()).hexdigest()[:12]


def load(source: Path | bytes) -> Known:
    """Known cases from a file that `Known.save` wrote; raises `PartError` for one that is not."""
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as held:
            if int(held["format"]) != FORMAT:
                raise PartError(f"{_said(source)} has format {int(held['format'])}, not {FORMAT}", "learn it again")
            short, long, base = (int(x) for x in held["spans"])
            weights, bias, scale, middle, spread, reach = (np.asarray(held[k], float) for k in ARRAYS)
            return Known(
                tuple(str(s) for s in held["slots"]), tuple(str(c) for c in held["causes"]),
                frozenset(str(c) for c in held["wide"]), Stretches(short, long, base), int(held["step"]),
                weights, bias, scale, middle, spread, reach, int(held["cases"]),
            )  # fmt: skip
    except OSError as error:
        why = error.strerror or "it is damaged"
        raise PartError(f"known cases: {_said(source)} cannot be read: {why}", HINT) from None
    except (KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        raise PartError(f"known cases: {_said(source)} is damaged, or no file of known cases", HINT) from None


def learn(
    cases: Sequence[Case], slots: Sequence[str], wide: Sequence[str] = (), spans: Stretches | None = None,
    step: int = 60 * 10**9, ridge: float = 2e-3, rounds: int = 40, seed: int = 0,
) -> Known:  # fmt: skip
    """What there is to know from cases. `ridge` keeps the weights small; the same cases give the same answer."""
    causes = tuple(sorted({c.cause for c in cases if c.asset >= 0}))
    seen = np.stack([c.seen for c in cases]).astype(np.float32)  # [n, a, k, f]
    n, a = seen.shape[:2]
    flat = seen.reshape(n, a, -1)
    scale = np.maximum(np.sqrt((flat.astype(float) ** 2).mean(axis=(0, 1))), 1e-3)
    flat = np.clip(flat / scale.astype(np.float32), -8, 8)
    found = Known(tuple(slots), causes, frozenset(wide), spans or Stretches(), step, scale=scale, cases=n)
    truth = np.array([0 if c.asset < 0 else 1 + c.asset * len(causes) + causes.index(c.cause) for c in cases])
    weight = _balanced(cases)
    allowed = _allowed(a, causes, found.wide)
    found.weights, found.bias = _softmax(flat, truth, weight, allowed, ridge, rounds, np.random.default_rng(seed))
    _signatures(found, flat, cases)
    return found


def _balanced(cases: Sequence[Case]) -> Floats:
    """Weights of the cases, [n], such that every cause counts the same; those of nothing as they are."""
    held: dict[str, float] = {}
    for case in cases:
        held[case.cause] = held.get(case.cause, 0.0) + case.weight
    mean = sum(v for cause, v in held.items() if cause) / max(len([c for c in held if c]), 1)
    found = np.array([c.weight * (mean / held[c.cause] if c.cause else 1.0) for c in cases])
    return np.asarray(found / found.mean())


def _softmax(
    flat: Any, truth: Any, weight: Floats, allowed: Any, ridge: float, rounds: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Weights [x, c] and biases [c] by Adam on the weighted negative log-likelihood; its rate falls to nought."""
    n, a, k = flat.shape
    c = allowed.shape[1]
    w, b = np.zeros((2 * k, c), np.float32), np.full(c, -3.0, np.float32)
    mw, vw, mb, vb = np.zeros_like(w), np.zeros_like(w), np.zeros_like(b), np.zeros_like(b)
    size, step = min(256, n), 0
    rounds = max(rounds, -(-LEAST_STEPS // max(n // size, 1)))
    steps = rounds * max(n // size, 1)
    for _ in range(rounds):
        order = rng.permutation(n)
        for i in range(0, n - size + 1, size):
            rows = order[i : i + size]
            x = _inputs(flat[rows])  # [m, a, x]
            logits = np.where(allowed, x @ w + b, -np.inf).reshape(size, -1)
            full = np.concatenate([np.zeros((size, 1), np.float32), logits], axis=1)
            full -= full.max(axis=1, keepdims=True)
            p = np.exp(full)
            p /= p.sum(axis=1, keepdims=True)
            p[np.arange(size), truth[rows]] -= 1.0
            p *= (weight[rows] / size)[:, None]
            g = np.asarray(p[:, 1:], np.float32).reshape(size * a, c)
            gw = x.reshape(size * a, -1).T @ g + 2 * ridge * w
            gb = g.sum(axis=0)
            step += 1
            rate = 0.02 * 0.5 * (1 + np.cos(np.pi * step / steps))
            for held, m, v, grad in ((w, mw, vw, gw), (b, mb, vb, gb)):
                m += 0.1 * (grad - m)
                v += 0.01 * (grad**2 - v)
                held -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
    return w.astype(float), b.astype(float)


def _signatures(found: Known, flat: Any, cases: Sequence[Case]) -> None:
    """Middle and spread of every cause on the asset that had it, and how far its cases reach."""
    own = [(flat[i, c.asset].astype(float), found.causes.index(c.cause)) for i, c in enumerate(cases) if c.asset >= 0]
    rows, which = np.array([x for x, _ in own]), np.array([y for _, y in own])
    count = len(found.causes)
    middle = np.array([rows[which == c].mean(axis=0) for c in range(count)])
    common = ((rows - middle[which]) ** 2).mean(axis=0) + 0.05
    spread, reach = np.empty_like(middle), np.empty(count)
    for c in range(count):
        inside = (rows[which == c] - middle[c]) ** 2
        spread[c] = np.sqrt((inside.sum(axis=0) + SHRINK * common) / (len(inside) + SHRINK))
        seen = rows[which == c] != 0
        far = np.where(seen, inside / spread[c] ** 2, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
        reach[c] = np.quantile(np.sqrt(far), 0.99)
    found.middle, found.spread, found.reach = middle, spread, np.maximum(reach, 0.5)


def _alike(flat: Floats, other: Floats) -> Floats:
    """How much what assets see, [..., k f], looks like a case [k f], 0 to 1."""
    size = np.sqrt((flat**2).sum(axis=-1) * (other**2).sum(axis=-1))
    return np.asarray(np.clip(((flat @ other) / np.maximum(size, 1e-9) - ALIKE[0]) / (ALIKE[1] - ALIKE[0]), 0, 1))


def _inputs(flat: Any) -> Any:
    """What is high and what is low apart: [..., k f] -> [..., x]."""
    return np.concatenate([np.maximum(flat, 0), np.maximum(-flat, 0)], axis=-1)


def _allowed(assets: int, causes: Sequence[str], wide: frozenset[str]) -> Any:
    """Which causes an asset can have, [a, c]: those of the whole the last one, the others all others."""
    of_whole = np.array([c in wide for c in causes], bool)
    last = np.arange(assets) == assets - 1
    return last[:, None] == of_whole[None, :]


def _said(source: Path | bytes) -> str:
    return "what was given" if isinstance(source, bytes) else str(source)
