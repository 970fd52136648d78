"""The network for visual inspection: it learns, a run goes on where it stopped, what is written answers the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch")
pytest.importorskip("onnx", reason="the lab needs onnx")

from gemel.core.errors import ConfigError  # noqa: E402
from gemel.detectors.inspection import Inspection  # noqa: E402
from gemel.detectors.statistics.parts import Network  # noqa: E402
from gemel.lab.inspect import Inspector, Recipe, Run, lesson, loss_of, train  # noqa: E402
from gemel.lab.inspection import export, pictures, pointed, threshold  # noqa: E402

SMALL = Recipe(steps=4, again=2, batch=4, width=8, warm=1)


def test_a_network_learns_where_the_defect_is() -> None:
    torch.manual_seed(0)
    network, recipe = Inspector(8), Recipe(batch=8, width=8, good=0.2)
    seen, masks = lesson(recipe, 0)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        score, cells = network(seen)
        loss = loss_of(score, cells, masks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_brightness_and_contrast_of_the_picture_do_not_matter() -> None:
    network = Inspector(8).eval()
    seen = torch.from_numpy(pictures(3, 4))[:, None]
    with torch.no_grad():
        one, other = network(seen)[0], network(seen // 2 + 60)[0]
    assert torch.allclose(one, other, atol=0.1)


def test_a_run_goes_on_where_it_stopped_and_answers_as_if_it_never_had(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", SMALL)
    run = Run(tmp_path / "parts", SMALL)
    for _ in range(3):
        run.advance()
    run.keep()
    rest = train(tmp_path / "parts", SMALL)
    for one, other in zip(whole.network.parameters(), rest.network.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    with pytest.raises(ConfigError, match="another recipe"):
        Run(tmp_path / "parts", Recipe(steps=5))


def test_what_is_written_opens_on_site(tmp_path: Path) -> None:
    run = train(tmp_path, SMALL)
    card = export(run, tmp_path, good=60, bad=5)
    assert set(card["scores"]) == {"inspection.onnx", "inspection.int8.onnx"}
    assert len(card["usual"]["inspection.onnx"]) == 1000
    for exact in (True, False):
        network = Network(tmp_path, exact)
        found = network.judge(pictures(4, 1)[0])
        assert found.cells.shape == (16, 16)
    assert Inspection(network=str(tmp_path)).rejects == 0.01


def test_conformal_threshold_and_pointing() -> None:
    assert threshold(np.arange(99.0), 0.1) == 89.0
    assert threshold(np.arange(5.0), 0.1) == np.inf, "too few to say"
    cells, masks = np.zeros((2, 2, 2)), np.zeros((2, 8, 8), bool)
    cells[:, 0, 1] = 1.0
    masks[0, 3, 4] = masks[1, 7, 7] = True
    assert pointed(cells, masks).tolist() == [True, False]
