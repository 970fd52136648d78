"""Virtual metrology: error rates and coverage where the truth is known, answers, findings, memory, bad input."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel.core.clock import Virtual
from gemel.core.codec import decode, encode
from gemel.core.errors import ConfigError, InputError
from gemel.core.registry import build
from gemel.core.setting import Setting
from gemel.core.values import Floats, Frame, Signal, Signals
from gemel.detectors.metrology import Metrology
from gemel.detectors.statistics.gauge import ACCEPT, MEASURE, REJECT, Gauge
from gemel.loop.decide import Situation
from gemel.testing import check_detector

MINUTE, START = 60 * 10**9, 1_700_000_000 * 10**9
SIGNALS = Signals(
    [
        Signal("mill state", type="state", states=("idle", "busy"), asset="mill"),
        Signal("mill power", asset="mill"),
        Signal("grind heat", asset="grind"),
        Signal("size", unit="um", asset="line"),
    ]
)
SPEC = {"kind": "metrology", "of": "size", "lower": -8.0, "upper": 8.0, "escape": 0.02, "waste": 0.02, "bands": [5, 20]}


def line(rows: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Rows of the signals, size measured one in four, and the true size: power of the mill some rows ago (where it was
    busy) bent, and heat of the grinder now; both wander."""
    rng = np.random.default_rng(seed)
    walk = np.zeros((rows, 2))
    for t in range(1, rows):
        walk[t] = 0.98 * walk[t - 1] + 0.2 * rng.standard_normal(2)
    busy = rng.random(rows) < 0.7
    true = 4 * np.roll(walk[:, 0], 3) + walk[:, 0] ** 2 + 3 * walk[:, 1] + rng.standard_normal(rows)
    power = np.where(busy, 5 + walk[:, 0], 1.0) + 0.1 * rng.standard_normal(rows)
    measured = np.where(rng.random(rows) < 0.25, true, np.nan)
    return np.stack([busy, power, 40 + walk[:, 1] + 0.1 * rng.standard_normal(rows), measured], axis=1), true


def bound(**more: Any) -> Metrology:
    made: Metrology = build("detectors", {**SPEC, **more})
    made.bind(Setting("t", "", SIGNALS, Virtual(), MINUTE, MINUTE, 0, Path()))
    return made


def situations(x: Floats) -> list[Situation]:
    names = SIGNALS.names
    return [
        Situation(START + i * MINUTE, MINUTE, MINUTE, SIGNALS, dict(zip(names, row, strict=True)))
        for i, row in enumerate(x.tolist())
    ]


def frame(x: Floats) -> Frame:
    return Frame(START + np.arange(len(x)) * MINUTE, x, np.zeros(x.shape, np.uint8), SIGNALS.names)


def test_errors_stay_below_what_was_set_and_intervals_cover() -> None:
    escaped, wasted, covered, free = [], [], [], []
    for seed in range(3):
        x, true = line(2500, seed)
        said = bound().judge(frame(x))
        late = np.isfinite(said.low)
        bad = np.abs(true) > 8
        escaped.append((bad & (said.answer == ACCEPT))[late].mean())
        wasted.append((~bad & (said.answer == REJECT))[late].mean())
        covered.append(((said.low <= true) & (true <= said.high))[late].mean())
        free.append((said.answer != MEASURE)[late].mean())
    assert np.mean(escaped) <= 0.02
    assert np.mean(wasted) <= 0.02
    assert 0.87 <= np.mean(covered) <= 0.93
    assert np.mean(free) >= 0.5


def test_a_measurement_is_not_known_before_it_comes() -> None:
    x, _ = line(600, 1)
    other = x.copy()
    other[500, 3] = 1e3
    one, two = bound().judge(frame(x)), bound().judge(frame(other))
    np.testing.assert_array_equal(one.value[:501], two.value[:501])
    assert not np.array_equal(one.value[501:], two.value[501:])


def test_rows_may_come_in_any_portions() -> None:
    x, _ = line(700, 2)
    whole, parts = Gauge(-8, 8), Gauge(-8, 8)
    at_once = whole.take(x[:, :3], x[:, 3])
    cut = [0, 1, 130, 131, 400, 555, 700]
    pieces = [parts.take(x[a:b, :3], x[a:b, 3]) for a, b in pairwise(cut)]
    np.testing.assert_allclose(at_once.value, np.concatenate([p.value for p in pieces]), rtol=1e-8)
    np.testing.assert_array_equal(at_once.answer, np.concatenate([p.answer for p in pieces]))


def test_findings_say_reject_and_name_the_signal() -> None:
    x, _ = line(900, 3)
    x[750:830, 2:] += [2.5, 7.5]  # the grinder runs hot
    news = check_detector(bound, situations(x))
    hot = [f for f in news if f.name == "reject size" and f.start >= START + 750 * MINUTE]
    assert hot
    assert max((k for k in hot[0].evidence if k in SIGNALS.names), key=lambda k: hot[0].evidence[k]) == "grind heat"
    assert "allowed is -8 to 8" in hot[0].text
    assert hot[0].subject == "size"
    assert all(not f.open for f in [f for f in news if f.name == "reject size"][-1:])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"escape": 0}, "escape"),
        ({"lower": 2, "upper": 1}, "lower"),
        ({"bands": [30, 20]}, "bands"),
        ({"bands": [30.5, 60]}, "whole rows"),
        ({"bands": [30, 10**9]}, "choose a longer step"),
        ({"upper": float("nan")}, "must be numbers"),
        ({"signals": ["size"]}, "itself"),
    ],
)
def test_what_cannot_be_is_refused(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build("detectors", {**SPEC, **spec})


def test_memory_is_taken_up_exactly_and_stays_small() -> None:
    x, _ = line(1500, 5)
    first, second = Gauge(-8, 8), Gauge(-8, 8)
    first.take(x[:1100, :3], x[:1100, 3])
    memory = encode(first.snapshot())
    assert len(memory) < 100_000  # not the inverse of 300 x 300
    second.restore(decode(memory))
    for one, other in zip(*(gauge.take(x[1100:, :3], x[1100:, 3]) for gauge in (first, second)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert encode(first.snapshot()) == encode(second.snapshot())


def test_what_does_not_suit_the_twin_is_refused() -> None:
    for spec, said in (({"of": "sise"}, "did you mean 'size'"), ({"of": "mill state"}, "no number")):
        with pytest.raises(ConfigError, match=said):
            bound(**spec)
    pictures = Signals([*SIGNALS, Signal("camera", type="blob")])
    made = build("detectors", {**SPEC, "signals": ["camera"]})
    with pytest.raises(ConfigError, match="nothing to foretell 'size' from"):
        made.bind(Setting("t", "", pictures, Virtual(), MINUTE, MINUTE, 0, Path()))
    made = build("detectors", {"kind": "metrology", "of": "size"})
    with pytest.raises(ConfigError, match="what is good"):
        made.bind(Setting("t", "", SIGNALS, Virtual(), MINUTE, MINUTE, 0, Path()))
    with pytest.raises(InputError, match="does not hold 'size'"):
        bound().judge(frame(np.zeros((3, 4))).only(["mill power"]))


def test_a_quality_that_is_never_measured_is_never_foretold() -> None:
    x, _ = line(300, 4)
    x[:, 3] = np.nan
    said = bound().judge(frame(x))
    assert np.isnan(said.value).all()
    assert (said.answer == MEASURE).all()
    made = bound()
    assert not [f for s in situations(x) for f in made.inspect(s)]
