"""Control charts: published run lengths, run lengths by simulation, limits, worked examples, findings in a twin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError, InputError
from gemel.core.registry import build
from gemel.core.setting import Setting
from gemel.core.values import Floats, Signal, Signals
from gemel.detectors.control import Control
from gemel.detectors.statistics import samples
from gemel.detectors.statistics.arl import (
    WESTERN,
    cusum_arl,
    cusum_height,
    ewma_arl,
    ewma_limit,
    rules_arl,
    shewhart_arl,
    shewhart_limit,
)
from gemel.detectors.statistics.capability import capability
from gemel.detectors.statistics.charts import Chart, Cusum, Ewma, Shewhart
from gemel.detectors.statistics.phase import learned
from gemel.loop.decide import Situation
from gemel.testing import check_detector

MINUTE, START = 60 * 10**9, 1_700_000_000 * 10**9
SIGNALS = Signals([Signal("size", unit="um", low=-60, high=60), Signal("power", unit="kW")])


def test_run_lengths_are_the_published_ones() -> None:
    assert shewhart_arl(3.0) == pytest.approx(370.4, abs=0.05)
    assert shewhart_arl(3.0, 1.0) == pytest.approx(43.9, abs=0.05)  # 1 / (Q(2) + Q(4))
    assert cusum_arl(0.5, 5.0) == pytest.approx(465, abs=0.5)  # Montgomery, table 9.3 and Hawkins 1993
    assert cusum_arl(0.5, 4.0) == pytest.approx(168, abs=0.5)
    assert cusum_arl(0.5, 5.0, 1.0) == pytest.approx(10.4, abs=0.05)
    assert cusum_arl(0.5, 5.0, 0.5) == pytest.approx(38.0, abs=0.1)
    assert ewma_arl(0.1, 2.814) == pytest.approx(500, abs=1)  # Lucas and Saccucci 1990, table 1
    assert ewma_arl(0.1, 2.814, 1.0) == pytest.approx(10.3, abs=0.05)
    assert ewma_arl(0.25, 2.998) == pytest.approx(500, abs=1)
    assert ewma_arl(0.05, 2.615, 0.5) == pytest.approx(28.4, abs=0.4)


@pytest.mark.parametrize(
    ("which", "arl"),
    [((0,), 370.40), ((0, 1), 225.44), ((0, 2), 166.05), ((0, 3), 152.73), ((0, 1, 2), 132.89), ((0, 1, 2, 3), 91.75)],
)
def test_run_rules_have_the_run_lengths_of_champ_and_woodall(which: tuple[int, ...], arl: float) -> None:
    assert rules_arl([WESTERN[i] for i in which]) == pytest.approx(arl, abs=0.005)


def test_limits_give_the_run_length_they_were_made_for() -> None:
    assert shewhart_limit(370.4) == pytest.approx(3.0, abs=1e-4)
    assert ewma_limit(0.1, 500.0) == pytest.approx(2.814, abs=1e-3)
    assert cusum_height(0.5, 465.4) == pytest.approx(5.0, abs=1e-3)
    assert cusum_height(0.25, 370.0) == pytest.approx(8.01, abs=0.02)  # Hawkins 1993


@pytest.mark.parametrize(
    ("make", "arl"),
    [
        (lambda: Shewhart(60.0), 60.0),
        (lambda: Ewma(60.0, 0.2), 60.0),
        (lambda: Cusum(60.0, 0.5), 60.0),
        (lambda: Shewhart(rules="western"), 91.75),
    ],
)
def test_run_lengths_by_simulation(make: Callable[[], Chart], arl: float) -> None:
    rng, runs = np.random.default_rng(1), 250
    lengths = []
    for _ in range(runs):
        chart, n = make(), 1
        while chart.take(rng.standard_normal()) is None:
            n += 1
        lengths.append(n)
    assert abs(np.mean(lengths) - arl) < 3.5 * np.std(lengths) / runs**0.5


@pytest.mark.parametrize(
    ("course", "rule"),
    [
        ([0, 3.5], "(Nelson 1)"),
        ([0.1, 0.4, 0.2, 0.8, 0.1, 0.7, 0.2, 0.4, 0.1], "(Nelson 2)"),
        ([-1, -0.5, -0.1, 0.1, 0.4, 0.9], "6 in a row rising (Nelson 3)"),
        ([0.5, -0.5] * 7, "alternating (Nelson 4)"),
        ([2.2, 0.1, 2.3], "2 of 3 beyond 2 sigma (Nelson 5)"),
        ([1.2, 1.3, 0.5, 1.3, 1.2], "4 of 5 beyond 1 sigma (Nelson 6)"),
        ([0.5, -0.2, -0.5, 0.1, 0.2, -0.3, -0.4, 0.5, 0.6, -0.1, -0.3, 0.2, 0.4, -0.6, -0.7], "(Nelson 7)"),
        ([1.1, -1.2, 1.3, 1.2, -1.1, -1.4, 1.5, -1.2], "on either side (Nelson 8)"),
    ],
)
def test_each_of_nelsons_rules_is_named(course: list[float], rule: str) -> None:
    chart = Shewhart(rules="nelson")
    said = [chart.take(z) for z in course]
    assert not any(said[:-1])
    assert said[-1] is not None
    assert rule in said[-1].rule


def test_constants_of_small_samples_are_those_of_the_tables() -> None:
    assert [samples.d2(n) for n in (2, 5, 10)] == pytest.approx([1.128, 2.326, 3.078], abs=5e-4)
    assert [samples.c4(n) for n in (2, 5, 10)] == pytest.approx([0.7979, 0.9400, 0.9727], abs=5e-5)
    assert samples.chi2_quantile(0.025, 19) == pytest.approx(8.907, abs=1e-3)
    assert samples.chi2_quantile(0.975, 19) == pytest.approx(32.852, abs=1e-3)
    assert samples.chi2_quantile(0.025, 201) == pytest.approx(163.6, abs=0.1)
    assert samples.range_quantile(0.95, 5) == pytest.approx(3.858, abs=1e-3)  # studentised range, infinite freedom


def test_phase_one_leaves_out_what_was_not_in_control() -> None:
    rng = np.random.default_rng(2)
    x = 10 + 2 * rng.standard_normal(400)
    x[[20, 21, 22, 300]] += [40, 60, 50, -80]
    phase = learned(x)
    assert phase.centre == pytest.approx(10, abs=0.3)
    assert phase.sigma == pytest.approx(2, rel=0.12)
    samples_of_five = learned(10 + 2 * rng.standard_normal(500), 5)
    assert samples_of_five.sigma == pytest.approx(2, rel=0.1)


def test_capability_as_in_the_textbook() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal(20)
    x = 50 + 1.75 * (x - x.mean()) / x.std(ddof=1)
    found = capability(x, 38, 62)  # Montgomery, example 8.4: Cp 2.29, 1.57 to 3.01
    assert found.pp == pytest.approx((2.29, 1.57, 3.01), abs=0.006)
    y = 50 + (x - 50) / 1.75  # 1.33 of 20 values, by hand: 1.33 -+ 1.96 sqrt(1 / 180 + 1.33**2 / 38)
    assert capability(y, 50 - 3.99, 80).ppk == pytest.approx((1.33, 0.88, 1.78), abs=0.006)
    assert np.isnan(capability(x, None, 62).cp[0])


def test_the_interval_of_ppk_covers_it() -> None:
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(400):
        _, low, high = capability(rng.standard_normal(60), -4.0, 3.6).ppk
        inside += low <= 1.2 <= high
    assert 0.92 <= inside / 400 <= 0.98


@pytest.mark.parametrize(("values", "lower", "upper"), [(5, None, 1.0), (50, None, None), (50, 2.0, 1.0)])
def test_capability_says_what_it_lacks(values: int, lower: float | None, upper: float | None) -> None:
    with pytest.raises(InputError):
        capability(np.arange(values, dtype=float), lower, upper)


def course(rows: int, seed: int = 0) -> Floats:
    """Size one row in three, power each row; the size is 2 sigma up from row 600 to 900."""
    rng = np.random.default_rng(seed)
    x = np.stack([10 * rng.standard_normal(rows), 4 + 0.3 * rng.standard_normal(rows)], axis=1)
    x[np.arange(rows) % 3 > 0, 0] = np.nan
    x[600:900, 0] += 20
    return x


def situations(x: Floats) -> list[Situation]:
    rows = enumerate(x.tolist())
    return [
        Situation(START + i * MINUTE, MINUTE, MINUTE, SIGNALS, dict(zip(SIGNALS.names, row, strict=True)))
        for i, row in rows
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"rules": "western"},
        {"chart": "ewma"},
        {"chart": "cusum", "related": True},
        {"subgroup": 4},
        {"subgroup": 4, "spread": "range"},
    ],
)
def test_a_shift_is_found_named_and_closed(spec: dict[str, Any]) -> None:
    def make() -> Control:
        control: Control = build("detectors", {"kind": "control", "learn": "300min", "arl": 2000, **spec})
        control.bind(Setting("t", "", SIGNALS, Virtual(), MINUTE, MINUTE, 0, Path()))
        return control

    news = check_detector(make, situations(course(1500)))
    mine = [f for f in news if f.subject == "size" and f.time > START + 600 * MINUTE]
    assert mine[0].open
    assert START + 560 * MINUTE <= mine[0].start <= START + 660 * MINUTE
    assert mine[0].evidence["side"] == 1
    assert "high side" in mine[0].text
    assert mine[0].evidence["size"] == 1
    assert any(not f.open for f in mine)


def test_a_process_that_is_surely_not_capable_is_told() -> None:
    spec = {"kind": "control", "learn": "300min", "capable": 1.33, "upper": {"size": 15}, "signals": ["size"]}
    control = build("detectors", spec)
    control.bind(Setting("t", "", SIGNALS, Virtual(), MINUTE, MINUTE, 0, Path()))
    news = [f for s in situations(course(600)) for f in control.inspect(s)]
    assert [f.name for f in news if "capable" in f.name] == ["not capable size"]
    assert control.capability("size").ppk[0] == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"chart": "ewmaa"}, "did you mean 'ewma'"),
        ({"arl": 1}, "arl"),
        ({"chart": "cusum", "rules": "nelson"}, "rules are for"),
        ({"lower": {"size": 3}, "upper": {"size": 2}}, "'size'"),
        ({"learn": "soon"}, "learn"),
        ({"lower": {"size": "a"}}, "lower of 'size' must be a number"),
    ],
)
def test_what_cannot_be_is_refused_by_name(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build("detectors", {"kind": "control", **spec})


def test_an_unknown_signal_is_refused_by_name() -> None:
    control = build("detectors", {"kind": "control", "lower": {"sise": 1}})
    with pytest.raises(ConfigError, match="size"):
        control.bind(Setting("t", "", SIGNALS, Virtual(), MINUTE, MINUTE, 0, Path()))
