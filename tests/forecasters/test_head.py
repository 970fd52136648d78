"""A head fitted to one asset: better than zero-shot where there is something to learn, refused where there is not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from series import daily, frame, noise

from gemel.core import foundation as graph
from gemel.core.artifact import Shelf
from gemel.core.errors import InputError, PartError
from gemel.core.values import DECILES, Floats, Frame
from gemel.forecasters.foundation.adapt import adapt, fit
from gemel.forecasters.foundation.forecaster import Foundation
from gemel.forecasters.foundation.head import Head, averages
from gemel.forecasters.score import crps

pytestmark = pytest.mark.skipif(not (graph.SHIPPED / "foundation.json").exists(), reason="no weights are built in")
ROWS, HORIZON = 2600, 12


def pipeline(rows: int = ROWS, seed: int = 0) -> tuple[Floats, Floats]:
    """A flow nobody can foresee, and the same flow where it arrives twelve rows later."""
    flow = np.convolve(noise(rows + HORIZON, seed), np.ones(3) / 3, "same")
    return 10 + flow[HORIZON:], 50 + 5 * flow[:rows] + 0.3 * noise(rows, seed + 1)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Frame]:
    folder, history = tmp_path_factory.mktemp("plant.artifacts"), frame(*pipeline())
    made = adapt(Foundation(way="fast"), history, HORIZON, Shelf(folder))
    assert made.card["passed"], made.card["verdict"]
    return folder, history


def test_it_learns_what_one_signal_says_of_another(fitted: tuple[Path, Frame]) -> None:
    folder, _ = fitted
    new = frame(*pipeline(1400, seed=5))
    zero, head = Foundation(way="fast"), Foundation(way="fast", head=str(folder))
    truth, answers = [], ([], [])  # type: ignore[var-annotated]
    for end in range(700, 1388, 60):
        truth.append(new.values[end : end + HORIZON, 1])
        for forecaster, kept in zip((zero, head), answers, strict=True):
            kept.append(forecaster.forecast(new.rows(0, end), HORIZON).values[1])
    a, b = (crps(np.array(truth), np.array(kept, float), DECILES) for kept in answers)
    assert b < 0.6 * a
    inside = np.array(answers[1])
    hits = (np.array(truth) >= inside[..., 0]) & (np.array(truth) <= inside[..., -1])
    assert 0.6 < hits.mean() < 0.95


def test_the_card_tells_where_it_is_from(fitted: tuple[Path, Frame]) -> None:
    folder, history = fitted
    shelf = Shelf(folder)
    card = shelf.version("head", shelf.promoted("head")).card
    assert (card["rows"], card["horizon"], card["signals"]) == (ROWS, HORIZON, ["s0", "s1"])
    assert card["end"] == history.time[-1]
    assert card["scores"]["CRPS"]["s1"] < 0.6 * card["scores"]["CRPS zero-shot"]["s1"]
    assert card["verdict"].startswith("kept: CRPS")
    assert {"data", "code", "network", "sha256"} <= set(card)


def test_what_it_was_not_fitted_to_is_zero_shot(fitted: tuple[Path, Frame]) -> None:
    folder, history = fitted
    zero, head = Foundation(way="fast"), Foundation(way="fast", head=str(folder))
    context = history.last(900)

    def same(context: Frame, horizon: int = HORIZON) -> bool:
        return bool(np.array_equal(zero.forecast(context, horizon).values, head.forecast(context, horizon).values))

    assert not same(context)
    assert not same(context, 5)
    assert same(context, HORIZON + 1)
    assert same(context.only(["s1"]))
    assert same(replace(context, time=context.time * 2))
    assert same(context.last(200))
    more = frame(*context.values.T, noise(900))
    assert np.array_equal(head.forecast(more, HORIZON).values[2], zero.forecast(more, HORIZON).values[2])
    assert not same(more)
    best = [Foundation(head=h).forecast(context, 3).values for h in ("", str(folder))]
    assert not np.array_equal(*best)  # int8 and float32 are one network


def test_a_head_of_another_network_is_left_alone(
    fitted: tuple[Path, Frame], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, history = fitted
    held = Shelf(folder).version("head", Shelf(folder).promoted("head"))
    other = replace(Head.unpack(held.files["head.npz"].read_bytes()), network="0" * 64)
    shelf = Shelf(tmp_path)
    shelf.promote("head", shelf.add("head", {"head.npz": other.pack()}, held.card).version)
    head = Foundation(way="fast", head=str(tmp_path))
    for _ in range(2):
        found = head.forecast(history.last(900), HORIZON).values
    assert np.array_equal(found, Foundation(way="fast").forecast(history.last(900), HORIZON).values)
    assert [r.message.startswith("head") for r in caplog.records] == [True]  # said once


def test_gaps_and_silence_are_fine(fitted: tuple[Path, Frame]) -> None:
    folder, history = fitted
    head = Foundation(way="fast", head=str(folder))
    values = history.values[-900:].copy()
    values[::7, 0] = np.nan
    values[-40:, 1] = np.inf
    found = head.forecast(frame(*values.T), HORIZON).values
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=2) >= 0).all()
    values[:, 0] = np.nan
    silent = head.forecast(frame(*values.T), HORIZON).values
    assert np.isnan(silent[0]).all() or np.isfinite(silent[0]).all()
    assert np.isfinite(silent[1]).all()
    still = np.where(np.arange(2) == 0, 3.5, history.values[-900:])
    assert np.isfinite(head.forecast(frame(*still.T), HORIZON).values).all()


def test_a_new_head_is_taken_up_and_taken_back(fitted: tuple[Path, Frame]) -> None:
    folder, history = fitted
    shelf, context = Shelf(folder), history.last(900)
    head = Foundation(way="fast", head=str(folder))
    version, before = shelf.promoted("head"), head.forecast(context, HORIZON).values
    shelf.back("head")
    without = head.forecast(context, HORIZON).values
    assert np.array_equal(without, Foundation(way="fast").forecast(context, HORIZON).values)
    shelf.promote("head", version)
    assert np.array_equal(head.forecast(context, HORIZON).values, before)


def test_a_changed_head_is_refused(fitted: tuple[Path, Frame], tmp_path: Path) -> None:
    folder, history = fitted
    old = Shelf(folder)
    held = old.version("head", old.promoted("head"))
    shelf = Shelf(tmp_path)
    shelf.promote("head", shelf.add("head", {"head.npz": held.files["head.npz"].read_bytes()}, held.card).version)
    path = shelf.version("head", shelf.promoted("head")).files["head.npz"]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(PartError, match="SHA-256"):
        Foundation(way="fast", head=str(tmp_path)).forecast(history.last(900), HORIZON)
    with pytest.raises(PartError, match="not the file of a head"):
        Head.unpack(b"nothing")


def test_noise_is_refused_with_both_numbers(tmp_path: Path) -> None:
    history = frame(noise(ROWS, 1), noise(ROWS, 2))
    made = adapt(Foundation(way="fast"), history, HORIZON, Shelf(tmp_path))
    scores = made.card["scores"]
    if made.card["passed"]:  # the network at hand is worse than a straight line
        pytest.skip("zero-shot is not good enough on noise")
    assert Shelf(tmp_path).promoted("head") == ""
    assert made.card["verdict"].startswith("refused: CRPS ")
    for key in ("CRPS", "CRPS zero-shot"):
        assert f"{np.mean(list(scores[key].values())):.4f}" in made.card["verdict"]


def test_too_little_to_learn_from() -> None:
    network = Foundation(way="fast")
    cases = ((frame(daily(800)), HORIZON), (frame(np.ones(ROWS)), HORIZON), (frame(*pipeline()), 5000))
    for history, horizon in cases:
        with pytest.raises(InputError) as caught:
            fit(network, history, horizon)
        assert caught.value.hint


def test_lags_are_averaged_the_older_the_wider() -> None:
    weights = averages(96, 4, 10**9)
    assert np.allclose(weights.sum(axis=0), 1)
    assert (weights > 0).sum(axis=1).tolist() == [1] * 96  # every lag counts once
    width = (weights > 0).sum(axis=0)
    assert width[0] == 1
    assert (np.diff(width[:-1]) >= 0).all()


@pytest.mark.skipif("GEMEL_DATA" not in os.environ, reason="GEMEL_DATA is not set")
@pytest.mark.skipif("GEMEL_SLOW" not in os.environ, reason="takes minutes: set GEMEL_SLOW")
def test_a_transformer(tmp_path: Path) -> None:
    """Fitted to the first 60 % of two years, it beats zero-shot on the rest by 5 % at least, or was refused."""
    import gzip

    with gzip.open(Path(os.environ["GEMEL_DATA"]) / "ett" / "ETTm1.csv.gz", "rt") as file:
        values = np.loadtxt(file, delimiter=",", skiprows=1, usecols=range(1, 8))
    whole, cut, horizon = frame(*values.T), int(0.6 * len(values)), 96
    made = adapt(Foundation(), whole.rows(0, cut), horizon, Shelf(tmp_path))
    if not made.card["passed"]:
        assert made.card["verdict"].startswith("refused")
        return
    zero, head = Foundation(), Foundation(head=str(tmp_path))
    ends = np.random.default_rng(0).choice(np.arange(cut, len(values) - horizon), 60, replace=False)
    truth = np.array([values[e : e + horizon].T for e in ends])
    scores = []
    for forecaster in (zero, head):
        found = np.array([forecaster.forecast(whole.rows(e - 2688, e), horizon).values for e in ends], float)
        scores.append(np.mean([crps(truth[:, i], found[:, i], DECILES) for i in range(7)]))
    assert scores[1] < 0.95 * scores[0]
