"""Low-rank adapters: they learn one asset, and what comes out is an ordinary network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from gemel.core.errors import InputError  # noqa: E402
from gemel.core.values import DECILES, Frame  # noqa: E402
from gemel.forecasters.foundation.adapt import Verdict  # noqa: E402
from gemel.forecasters.foundation.forecaster import Foundation  # noqa: E402
from gemel.lab.adapt import Fine, adapt, merged, opened, write  # noqa: E402
from gemel.lab.corpus import Mixture  # noqa: E402
from gemel.lab.network import Network, Shape  # noqa: E402
from gemel.lab.recipe import Recipe  # noqa: E402
from gemel.lab.train import Run  # noqa: E402

SHAPE = Shape(width=32, heads=2, layers=2, patch=8)
FINE = Fine(rank=4, steps=40, batch=8, patches=8, rate=1e-2)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def awake() -> Network:
    """A network whose blocks do something: fresh ones add nothing."""
    torch.manual_seed(0)
    network = Network(SHAPE).eval()
    for p in network.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.05)
    return network


def sawtooth(rows: int = 1200) -> Frame:
    """Seven rows up, one down, over and over, and its mirror."""
    y = (np.arange(rows) % 7) / 3 + 0.05 * np.random.default_rng(0).standard_normal(rows)
    values = np.stack((y, 5 - y), axis=1)
    return Frame(np.arange(rows) * 10**9, values, np.zeros(values.shape, np.uint8), ("up", "down"))


def test_only_adapters_are_trained_and_merging_changes_nothing():
    network, values = awake(), torch.randn(3, 1, 6, SHAPE.patch)
    with torch.no_grad():
        before = network(values, torch.ones_like(values))
        trained = opened(network, 4)
        assert torch.equal(network(values, torch.ones_like(values)), before)  # they start as nothing
        for p in trained:
            p.normal_(std=0.1)
        turned = network(values, torch.ones_like(values))
    assert sum(p.requires_grad for p in network.parameters()) == len(trained) == 2 * 4 * SHAPE.layers
    names = set(merged(network).state_dict())
    with torch.no_grad():
        assert torch.allclose(network(values, torch.ones_like(values)), turned, atol=1e-5)
    assert not torch.allclose(turned, before, atol=1e-3)
    assert names == set(awake().state_dict())


@pytest.fixture(scope="module")
def adapted():
    """A network adapted to the saw, the gate's verdict, and the loss of every step."""
    torch.set_num_threads(1)
    losses: list[float] = []
    return *adapt(awake(), sawtooth(), 8, FINE, lambda step, steps, loss: losses.append(loss)), losses


def test_it_learns_what_repeats(adapted):
    _, verdict, losses = adapted
    assert len(losses) == FINE.steps
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert verdict.passed
    assert verdict.signals == ("up", "down")


def test_the_export_answers_as_the_adapted_network(adapted, tmp_path: Path):
    pytest.importorskip("onnx")
    run = Run(Recipe(shape=SHAPE, mixture=Mixture(patch=8, lengths=(4, 12), hidden=4), steps=6), tmp_path / "run")
    run.network = awake()
    network, verdict, _ = adapted
    card = write(run, network, verdict, FINE, tmp_path / "out")
    assert card["difference"]["foundation.onnx"] < 1e-4  # measured against run.averaged(), which is the adapted one
    assert card["adapted"]["verdict"] == str(verdict)
    context = sawtooth(400)
    found = Foundation(model=str(tmp_path / "out")).forecast(context, 8, levels=DECILES)
    assert np.isfinite(found.values).all()
    with torch.no_grad():
        values = torch.randn(2, 1, 5, SHAPE.patch)
        assert torch.allclose(run.averaged()(values, torch.ones_like(values)), network(values, torch.ones_like(values)))


def test_too_short_a_history_is_refused():
    with pytest.raises(InputError, match="too few"):
        adapt(awake(), sawtooth(60), 8, FINE)


def test_the_gate_says_why():
    assert str(Verdict(("a",), (1.0,), (0.99,), 32)).startswith("refused: CRPS 0.9900")
    assert "1.0% better, and 5% is asked" in str(Verdict(("a",), (1.0,), (0.99,), 32))
