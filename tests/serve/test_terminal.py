"""A run from the terminal: how it ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel import Signal, Twin
from gemel.core.clock import Data
from gemel.core.values import Batch
from gemel.serve.terminal import run
from gemel.stores.duckdb import Duckdb


class Line:
    """Says ten values; then comes `after`, and then it stays on the line."""

    def __init__(self, after: Callable[[], Any]) -> None:
        self.after = after

    async def stream(self) -> AsyncIterator[Batch]:
        yield Batch.of(np.zeros(10), 10**18 + np.arange(10) * 10**9, np.arange(10.0))
        self.after()
        await asyncio.Event().wait()

    def confirm(self, batch: Batch) -> None:
        """Nothing to forget."""


def line(folder: Path, after: Callable[[], Any]) -> Twin:
    return Twin(
        name="line",
        signals=[Signal("x", address="line:x")],
        every="1s",
        connectors={"line": Line(after)},
        store=Duckdb(str(folder / "line.gemel")),
        clock=Data(),
    )


def test_a_limit_ends_a_run_well(tmp_path: Path):
    assert run(line(tmp_path, lambda: None), None, 0.5, quiet=True)["points"] == 10


def test_ctrl_c_ends_a_run_well(tmp_path: Path):
    found = run(line(tmp_path, lambda: signal.raise_signal(signal.SIGINT)), None, None, quiet=True)
    assert found["points"] == 10


@pytest.mark.parametrize("limit", [None, 30.0])
def test_a_source_that_times_out_is_no_success(tmp_path: Path, limit: float | None):
    def late() -> None:
        raise TimeoutError("the plant does not answer")

    with pytest.raises(TimeoutError, match="the plant does not answer"):
        run(line(tmp_path, late), None, limit, quiet=True)
