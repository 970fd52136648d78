"""The desk reads a history in pieces, and nobody can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gemel import Signal, Twin
from gemel.core.errors import Conflict, InputError, NotFound
from gemel.core.values import Batch, Frame
from gemel.stores.duckdb import Duckdb

MINUTE = 60 * 10**9
START = 1_700_000_040_000_000_000


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    store = Duckdb(str(tmp_path / "shed.gemel"), recent=500)  # most of it is on disk
    with Twin(name="shed", signals=[Signal("air"), Signal("oil")], store=store, mode="advise").open() as held:
        rng = np.random.default_rng(0)
        time = START + np.sort(rng.choice(20 * 1440, 4000, replace=False)) * MINUTE
        held.store.append(Batch.of(rng.integers(0, 2, 4000), time, rng.standard_normal(4000)))
        yield held


@pytest.mark.parametrize("every", [None, "7min", "1h"])
@pytest.mark.parametrize("start", [None, START + 12345, START + 5 * 1440 * MINUTE])
def test_pieces_make_the_whole(twin: Twin, every: str | None, start: int | None) -> None:
    desk = twin.desk
    found = desk.history(start=start, every=every)
    step = None if every is None else {"7min": 7, "1h": 60}[every] * MINUTE
    first = int(twin.store.window(["air", "oil"], 0, 2**62).time[0])
    begin = start or (first if every else 0)
    whole = twin.store.window(["air", "oil"], begin, int(twin.store.latest(["air", "oil"]).time[0]), every=step)
    _equal(found, whole)
    _equal(asyncio.run(desk.answer("history", {"start": start, "every": every})), whole)


def _equal(one: Frame, other: Frame) -> None:
    for field in ("time", "values", "quality"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_what_does_not_fit_says_what_kind_of_trouble_it_is(twin: Twin) -> None:
    with pytest.raises(InputError, match="cells is too large"):
        twin.history(every="1ms")
    with pytest.raises(Conflict, match="has no forecaster"):
        twin.forecast("1d")
    with pytest.raises(Conflict, match="is not running"):
        twin.propose("no reason", air=1.0)
    with pytest.raises(NotFound, match="no decision 'x'"):
        twin.desk._proposed("x")
    with pytest.raises(InputError, match="the journal has no 'finding5', did you mean 'finding'"):
        twin.journal("finding5")
