"""From what was learned of a fleet's lives to files that run on site, compared with what they were made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gemel.core.artifact import digest
from gemel.core.errors import PartError
from gemel.core.onnx import session
from gemel.detectors.life.ensemble import NAME, NETWORK, TREES, described
from gemel.lab.life.learn import Learned, recorded
from gemel.lab.life.trees import graph


def write(learned: Learned, folder: Path, scores: Mapping[str, Any]) -> dict[str, Any]:
    """The files and the card; raises `PartError` when a graph does not answer as what it was made from (1e-4)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (TREES, NETWORK):
        (folder / name).unlink(missing_ok=True)
    rng = np.random.default_rng(0)
    c = len(learned.meaning.usual.channels)
    view = learned.meaning.view
    x = rng.standard_normal((40, c)).cumsum(axis=0) / 5
    off: dict[str, float] = {}
    if learned.boosters:
        summary = view.summary(x)
        (folder / TREES).write_bytes(graph(learned.boosters, summary.shape[1]))
        want = np.mean([b.predict(summary) for b in learned.boosters], axis=0)
        off[TREES] = _compare(folder / TREES, {"summary": summary}, want)
    if learned.networks:
        from gemel.lab.life import nets

        windows = view.windows(x)
        want = nets.write(learned.networks, windows, folder / NETWORK)
        off[NETWORK] = _compare(folder / NETWORK, {"windows": windows}, want)
    if max(off.values()) > 1e-4:
        raise PartError(f"an exported graph differs from what it was made from: {off}", "report this")
    card = {
        "name": NAME,
        "answer": described(learned.meaning),
        "recipe": recorded(learned.recipe),
        "data": learned.digest,
        "units": len(learned.meaning.lives),
        "difference": off,
        "sha256": {name: digest(folder / name) for name in off},
        "scores": dict(scores),
    }
    (folder / f"{NAME}.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
    return card


def _compare(path: Path, given: Mapping[str, Any], want: Any) -> float:
    found = session(path).run(None, dict(given))[0].reshape(-1)
    return float(np.abs(found - want).max())
