"""Detectors asked about windows by themselves: they remember nothing; what stands out by turns stands out so too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detectors.test_detectors import MINUTE, SPECS, made, setting, situations, trouble
from detectors.test_numerics import KINDS, rig
from gemel.core.codec import encode
from gemel.core.explain import Question, Scores, background
from gemel.core.values import Belief, Finding
from gemel.detectors.residual import Residual
from gemel.detectors.statistics.calibration import Calibration, cauchy, fisher, together
from gemel.detectors.statistics.judge import Apart, Judge
from gemel.explainers.attribution import Attribution
from gemel.loop.decide import Situation


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_detector_says_of_windows_how_strange_they_are(name: str) -> None:
    x = trouble(name)
    detector: Any = made(name)
    detector.bind(setting(x, 5 * MINUTE))
    assert isinstance(detector, Scores)
    stranger = Finding("x", "x", "pump-1", 0, 0, 0.5, 0.5, evidence={"hum": 1.0}, by="somebody")
    assert detector.sight(stranger) is None
    news = [f for s in situations(x, 420, 5 * MINUTE) for f in detector.inspect(s)]
    finding = next(f for f in news if f.subject in ("hum", "pump-1"))
    sight = detector.sight(finding)
    assert sight is not None
    assert "hum" in sight.signals
    assert sight.step == MINUTE
    columns = [("flow", "power", "hum", "other flow", "other power").index(n) for n in sight.signals]
    rows = max(sight.rows, 60)
    end = 900 if name == "health" else 700
    usual, strange = background(x[:420, columns], rows, 24), x[end - rows : end, columns]
    memory = encode(detector.snapshot())
    normal, top = detector.scored(finding, usual), detector.scored(finding, strange[None])
    assert encode(detector.snapshot()) == memory, "it remembers nothing"
    assert normal.shape == (len(usual),)
    assert top[0] > max(2 * np.median(normal), normal.max())
    if name != "bayes":  # it tells a change where it happens, and this window ends long after
        assert top[0] > sight.limit
    assert (normal < sight.limit).mean() > 0.9
    one_by_one = [detector.scored(finding, w[None])[0] for w in usual]
    np.testing.assert_allclose(normal, one_by_one, rtol=1e-6)
    holed = strange.copy()
    holed[::7] = np.nan
    assert np.isfinite(detector.scored(finding, holed[None])).all()


def test_a_finding_of_a_committee_is_put_down_to_its_signal() -> None:
    x = trouble("committee")
    detector: Any = made("committee")
    detector.bind(setting(x, 5 * MINUTE))
    news = [f for s in situations(x, 420, 5 * MINUTE) for f in detector.inspect(s)]
    finding = next(f for f in news if f.subject in ("hum", "pump-1"))
    sight = detector.sight(finding)
    usual, values = background(x[:420, :3], 60), x[620:680, :3]
    time = (1 + np.arange(60)) * MINUTE
    asked = Question(finding, time, values, sight.signals, usual, lambda w: detector.scored(finding, w), sight.limit)
    answer = Attribution(segments=3).explain(asked)
    assert next(iter(answer.shares)) == "hum"
    assert answer.shares["hum"] > 0.8 * (answer.score - answer.baseline)
    assert "hum accounts for" in answer.say()


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_by_itself_is_judged_as_in_passing(kind: str) -> None:
    x = rig(1)
    x[560:, 2] += 3.0 if kind != "waveform" else 3.0 * np.random.default_rng(2).standard_normal(140)
    one = KINDS[kind]()
    one.fit(x[:400])
    assert isinstance(one, Apart)
    windows = np.stack([x[420:560], x[500:640]])
    scores = one.apart(windows)
    assert scores.shape[:2] == (2, 140)
    if kind in ("components", "discord"):  # no memory but the window
        one.score(x[400:420])
        in_passing = one.score(x[420:560])[0]
        np.testing.assert_allclose(scores[0, one.need - 1 :], in_passing[one.need - 1 :], rtol=1e-6, atol=1e-8)
    usual, strange = (np.nanmax(s[:, 2::4] if s.shape[1] > 2 else s) for s in scores)
    assert strange > 2 * usual


def test_how_unlikely_has_no_end_and_agrees_with_p_values() -> None:
    held = Calibration()
    held.add(np.random.default_rng(0).exponential(size=2000))
    scores = np.array([0.1, 1.0, 5.0, 50.0, np.nan])
    np.testing.assert_allclose(held.surprise(scores), -np.log(held.p(scores)), rtol=1e-9, atol=1e-12)
    far = held.surprise(np.array([1e4, 2e4]))
    assert far[1] > 1.9 * far[0]
    p = np.array([[1e-5, 1e-3, 1e-8], [1e-4, 1e-2, 1e-9]])
    np.testing.assert_allclose(together(-np.log(p), "fisher"), -np.log(fisher(p)), rtol=1e-9)
    np.testing.assert_allclose(together(-np.log(p), "cauchy"), -np.log(cauchy(p)), rtol=0.02)


def test_the_bar_of_a_judge_is_where_its_alarms_begin() -> None:
    rng = np.random.default_rng(3)
    judge = Judge(KINDS["components"](), alarms_per_week=50.0, wait=3)
    judge.fit(rng.standard_normal((1500, 3)))
    windows = background(rng.standard_normal((4000, 3)), 30, 400)
    assert (judge.apart(windows) > judge.bar).mean() < 0.1
    windows[:, -5:] += 4.0
    assert (judge.apart(windows) > judge.bar).mean() > 0.9


def test_a_residual_is_judged_in_windows_of_residuals() -> None:
    detector = Residual(warmup="10min")
    rng = np.random.default_rng(4)
    detector.bind(setting(None))
    finding = Finding("f", "unexpected oil", "oil", 0, 0, 0.5, 0.9, by="residual")
    assert detector.sight(finding) is None, "nothing heard yet"
    for i in range(1, 300):
        known = {"oil": (float(rng.standard_normal()), 1.0), "winding": (float(rng.standard_normal()), 1.0)}
        belief = Belief(("k",), np.zeros((1, 2)), i * MINUTE, known)
        detector.inspect(Situation(i * MINUTE, MINUTE, MINUTE, setting(None).signals, {}, belief))
    sight = detector.sight(finding)
    assert sight is not None
    assert (sight.of, set(sight.signals), sight.limit) == ("residuals", {"oil", "winding"}, 1.0)
    windows = rng.standard_normal((8, 30, 2))
    usual = detector.scored(finding, windows)
    windows[:, 10:, list(sight.signals).index("oil")] += 3.0
    strange = detector.scored(finding, windows)
    assert (strange > 1.0).all()
    assert (strange > 2 * usual).all()
