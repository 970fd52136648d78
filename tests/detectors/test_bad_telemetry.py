"""Bad telemetry, put to every detector there is: findings or silence, never an exception, and the message names it.

One line of two machines serves all: state, power, vibration, temperature and what the trained networks look at, a
product family, a size that is measured now and then, a camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleet import CHANNELS, TRAINED
from gemel.core.blobs import Blobs
from gemel.core.clock import Virtual
from gemel.core.codec import decode, encode
from gemel.core.registry import build, rows
from gemel.core.setting import Setting
from gemel.core.values import Batch, Belief, Finding, Floats, Signal, Signals
from gemel.detectors.drift import Drift
from gemel.loop.decide import Situation
from gemel.stores.memory import Memory

MINUTE, DAY = 60 * 10**9, 86_400 * 10**9
START = 1_700_000_000 * 10**9 // DAY * DAY
MACHINES = ("mill", "drill")
KINDS = ("state", "power", "vibration", "temperature", "flow", "hum")
SIGNALS = Signals(
    [
        Signal(f"{m}_{k}", "state" if k == "state" else "number", asset=m, states=("idle", "busy") * (k == "state"))
        for m in MACHINES
        for k in KINDS
    ]
    + [
        Signal("family", role="controlled", asset="line"),
        Signal("size", low=-20, high=20, asset="line"),
        Signal("camera", type="blob", asset="line"),
    ]
)
NAMES = SIGNALS.names
ROWS, LEARNED, TURN = 900, 420, 30
COMMON = {"step": "1min", "learn": "400min"}
OFF: dict[str, Mapping[str, Any]] = {"kind": "drift", "of": "residuals", "learn": "100min"}
SPECS: dict[str, Mapping[str, Any]] = {
    "autoencoder": {"model": "detect", "names": "{asset}_{channel}", "step": "1min", "learn": "200min"},
    "champion": {},
    "classifier": {"model": "classify", "names": "{asset}_{channel}", "step": "1min"},
    "committee": COMMON,
    "control": COMMON,
    "control of samples": {"kind": "control", "subgroup": 5, "spread": "range", **COMMON},
    "control ewma": {"kind": "control", "chart": "ewma", "related": True, "capable": 1.33, **COMMON},
    "control cusum": {"kind": "control", "chart": "cusum", **COMMON},
    "control nelson": {"kind": "control", "rules": "nelson", **COMMON},
    "crossing": {
        "signals": {"mill_vibration": {"limit": 6.0, "state": "mill_state"}},
        "forecaster": {"kind": "naive"}, "step": "30min", "horizon": "2h",
    },
    "diagnosis": {"step": "1min", "learn": "400min"},
    "drift": COMMON,
    "drift fixed": {"kind": "drift", "way": "fixed", **COMMON},
    "drift cusum": {"kind": "drift", "way": "cusum", **COMMON},
    "drift bayes": {"kind": "drift", "way": "bayes", **COMMON},
    "drift of residuals": OFF,
    "foundation": COMMON,
    "health": COMMON,
    "inspection": {"learn": 20},
    "matrix": {"window": 20, **COMMON},
    "matrix shape": {"kind": "matrix", "window": 20, "shape": True, **COMMON},
    "metrology": {"of": "size", "bands": [5, 20], **COMMON},
    "residual": {"warmup": "2h"},
    "spectrum": {"window": 64, **COMMON},
    "subspace": COMMON,
    "validity": {},
}  # fmt: skip
UNTRIED = {"life"}
"""Those that need an artifact of their own and are put to the same in their own tests."""


def test_no_detector_is_left_out() -> None:
    tried = {str(spec.get("kind", name)) for name, spec in SPECS.items()} | UNTRIED
    assert {kind for kind, row in rows("detectors").items() if row.startswith("gemel.")} <= tried


@lru_cache(maxsize=1)
def usual() -> Floats:
    """The line minute by minute, nothing wrong: [t, s]."""
    rng = np.random.default_rng(0)
    out = np.full((ROWS, len(NAMES)), np.nan)
    load = np.zeros(ROWS)
    for m in MACHINES:
        for t in range(1, ROWS):
            load[t] = 0.9 * load[t - 1] + 0.4 * rng.standard_normal()
        busy = np.repeat(rng.random(ROWS // 5) < 0.8, 5)
        fast = rng.standard_normal((ROWS, 5)) * [0.02, 0.05, 0.3, 0.2, 0.1]
        columns = [busy, 4 + 0.1 * load, 1 + 0.2 * busy, 40 + 0.2 * load, 30 + load, np.ones(ROWS)]
        for k, column in enumerate(columns):
            out[:, NAMES.index(f"{m}_{KINDS[k]}")] = column + (fast[:, k - 1] if k else 0.0)
    out[:, NAMES.index("family")] = np.arange(ROWS) // 200 % 2
    size = 5 * out[:, NAMES.index("mill_power")] - 20 + rng.standard_normal(ROWS)
    out[:, NAMES.index("size")] = np.where(np.arange(ROWS) % 4 == 0, size, np.nan)
    out[::7, NAMES.index("camera")] = rng.integers(1, 2**52, len(out[::7]))  # pictures that nobody has
    return out


class Model:
    """Stands where a simulator would: it foretells, and one of two is champion."""

    outputs = ("mill_power", "mill_temperature")
    states = ("wear",)
    inputs = ()
    candidates = ("one", "two")


def setting(values: Floats, spec: Mapping[str, Any]) -> Setting:
    store = Memory()
    store.open(SIGNALS)
    for place in range(len(NAMES)):
        there = np.flatnonzero(~np.isnan(values[:, place]))
        store.append(Batch.of(np.full(len(there), place), START + there * MINUTE, values[there, place]))
    virtual = spec["kind"] in ("champion", "residual", "validity") or "of" in spec
    folder = TRAINED if "model" in spec else Path()
    return Setting(
        "t", "", SIGNALS, Virtual(), TURN * MINUTE, DAY, 0, folder, Model() if virtual else None,
        history=store.window, blobs=Blobs(None),
    )  # fmt: skip


def situation(values: Floats, row: int, back: int = 0) -> Situation:
    """The turn after a row; `back` rows earlier than it says."""
    now = START + (row - back) * MINUTE
    seen = values[: row + 1]
    latest = {}
    for place, name in enumerate(NAMES):
        there = np.flatnonzero(np.isfinite(seen[:, place]))
        latest[name] = float(seen[there[-1], place]) if len(there) else float("nan")
    usual = {"mill_power": (1, 4.0, 0.1), "mill_temperature": (3, 40.0, 0.5)}
    off = {n: (float(values[row, i] - mean), sd) for n, (i, mean, sd) in usual.items()}
    names = ("wear", *(f"{c}.{r}" for c in Model.candidates for r in ("champion", "score", "lead", "out")))
    members = np.repeat([[0.1], *[[float(i % 8 == 0)] for i in range(8)]], 4, axis=1)
    belief = Belief(names, members, now, off)
    return Situation(now, TURN * MINUTE, DAY, SIGNALS, latest, belief)


def heard(name: str, values: Floats, backs: Mapping[int, int] | None = None) -> list[Finding]:
    """The news of a whole course, restarted in its middle; each finding is put to what a finding must be."""
    spec = {"kind": name, **SPECS[name]}
    where = setting(values, spec)
    detector = build("detectors", spec)
    if hasattr(detector, "bind"):
        detector.bind(where)
    news: list[Finding] = []
    every = TURN if spec.get("of") != "residuals" and spec["kind"] != "residual" else 2
    for row in range(LEARNED if every == TURN else 0, len(values), every):
        for found in detector.inspect(situation(values, row, (backs or {}).get(row, 0))):
            assert found.id
            assert found.subject
            assert found.text
            assert found.start <= found.time
            assert 0 <= found.severity <= 1
            assert 0 <= found.confidence <= 1
            assert all(np.isfinite(v) for v in found.evidence.values()), found.evidence
            news.append(found)
        if hasattr(detector, "snapshot"):
            encode(detector.snapshot())
    if hasattr(detector, "snapshot"):
        again = build("detectors", spec)
        again.bind(where) if hasattr(again, "bind") else None
        again.restore(decode(encode(detector.snapshot())))
    return news


def spoiled(what: str) -> tuple[Floats, dict[int, int]]:
    """The line with one trouble in its mill, and the turns at which time is said to be earlier than it is."""
    x, p = usual().copy(), NAMES.index("mill_power")
    mill = [i for i, n in enumerate(NAMES) if n.startswith("mill")]
    late = slice(600, None)
    if what == "a channel missing from the first":
        x[:, p] = np.nan
    elif what == "a channel missing from now on":
        x[late, p] = np.nan
    elif what == "a machine missing":
        x[late, mill] = np.nan
    elif what == "frozen":
        x[late, p] = x[600, p]
    elif what == "frozen from the first":
        x[:, p] = 4.0
    elif what == "another unit":
        x[late, p] *= 1000.0
    elif what == "another rate":
        x[np.arange(ROWS) % 7 > 0, p] = np.nan
    elif what == "nothing at all":
        x[:] = np.nan
    elif what == "absurd":
        x[650, p], x[700, p], x[750, mill[2]] = 1e300, -1e18, np.inf
    elif what == "absurd while it learns":
        x[100, p], x[200, mill[2]] = 1e300, -np.inf
    elif what == "a unit shorter than the window":
        x[:-5] = np.nan
    return x, {660: 120, 720: 1} if what == "time goes back" else {}


TROUBLES = (
    "a channel missing from the first", "a channel missing from now on", "a machine missing", "frozen",
    "frozen from the first", "another unit", "another rate", "nothing at all", "absurd", "absurd while it learns",
    "a unit shorter than the window", "time goes back",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("what", TROUBLES)
@pytest.mark.parametrize("name", SPECS)
def test_every_detector_bears_every_trouble(name: str, what: str) -> None:
    heard(name, *spoiled(what))


@pytest.mark.parametrize("name", SPECS)
def test_every_detector_bears_troubles_together(name: str) -> None:
    x = usual().copy()
    x[:, NAMES.index("drill_hum")] = np.nan
    x[np.arange(ROWS) % 7 > 0, NAMES.index("mill_temperature")] = np.nan
    x[500:, NAMES.index("drill_power")] = x[500, NAMES.index("drill_power")]
    x[600:, NAMES.index("mill_power")] *= 1000.0
    x[650, NAMES.index("mill_flow")], x[700, NAMES.index("drill_flow")] = 1e300, np.inf
    x[800:] = np.nan
    heard(name, x, {720: 120})


@pytest.mark.parametrize("name", ["committee", "control", "drift", "subspace", "health"])
def test_another_unit_is_found_and_named(name: str) -> None:
    news = heard(name, spoiled("another unit")[0])
    assert any("mill_power" in f.text or f.subject == "mill_power" for f in news), news


def test_channels_of_the_networks_are_there() -> None:
    assert set(CHANNELS) <= set(KINDS)
    assert isinstance(build("detectors", OFF), Drift)
