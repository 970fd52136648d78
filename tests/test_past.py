"""A past instant again: what was known then, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import beside
from gemel import Signal, Twin
from gemel.core.codec import decode, encode, jsonable
from gemel.core.errors import Conflict, InputError
from gemel.core.values import Ack, Batch, Belief, Command, Decision, Finding, Forecast
from gemel.stores.duckdb import Duckdb
from gemel.stores.memory import Memory

MINUTE = 60 * 10**9
START = 1_700_000_040_000_000_000 // (10 * MINUTE) * 10 * MINUTE


def ahead(by: str, issued: int, steps: int = 6) -> Forecast:
    time = issued + 10 * MINUTE * np.arange(1, steps + 1)
    return Forecast(time, (0.1, 0.5, 0.9), np.ones((1, steps, 3), np.float32), ("oil",), issued).named(by)


@pytest.fixture(params=["duckdb", "memory"])
def twin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Twin]:
    store = Duckdb(str(tmp_path / "shed.gemel")) if request.param == "duckdb" else Memory()
    signals = [Signal("oil"), Signal("fan", role="controlled", low=0, high=2)]
    with Twin(name="shed", signals=signals, store=store).open() as held:
        minutes = np.arange(240)
        held.store.append(Batch.of(np.zeros(240), START + minutes * MINUTE, minutes))
        at = [START + m * MINUTE for m in (0, 60, 90, 120, 150)]
        sent = Decision("d60", at[1], (Command("c60", "fan", 2.0, at[3]),), status="sent")
        warm = Finding("f", "warm", "oil", at[1], at[1], 0.5, 0.9)
        held.store.record(Belief(("top",), np.array([[1.0, 3.0]]), at[1], id="b60"))
        held.store.record(ahead("pool", at[1]), ahead("physics", at[1]), sent, warm, Ack("c60", "done", at[1] + 5))
        held.store.record(ahead("pool", at[2]))
        held.store.record(Finding("f", "warm", "oil", at[1], at[3], 0.5, 0.9, open=False))
        held.store.record(Decision("d150", at[4], status="proposed"))
        yield held


def test_nothing_is_known_of_what_came_later(twin: Twin) -> None:
    now = START + 100 * MINUTE
    then = twin.at(now)
    assert then["latest"][0].values[0, 0] == 100.0
    assert np.isnan(then["latest"][1].values[0, 0])
    assert then["belief"].mean() == {"top": 2.0}
    assert [(f.by, f.issued) for f in then["forecasts"]] == [
        ("physics", START + 60 * MINUTE),
        ("pool", START + 90 * MINUTE),
    ]
    assert [f.id for f in then["findings"]] == ["f"], "it was closed later"
    assert then["decision"].id == "d60"
    ((command, ack),) = then["commands"]
    assert (command.value, ack.state) == (2.0, "done")
    assert "The belief is of 40min before: turns that only estimate are not recorded." in then["unknown"]


def test_what_came_of_it_lies_beside_the_forecast(twin: Twin) -> None:
    then = twin.at(START + 95 * MINUTE)
    after = then["after"]
    assert after.signals == ("oil",)
    pool = then["forecasts"][-1]
    rows = np.searchsorted(after.time, pool.time)
    assert after.time[rows].tolist() == pool.time.tolist()
    assert after.values[rows[1], 0] == pytest.approx(110 - 4.5), "the mean of the ten minutes up to 110"


def test_the_ends_of_time(twin: Twin) -> None:
    before = twin.at(START - MINUTE)
    assert (before["belief"], before["forecasts"], before["decision"], before["after"]) == (None, [], None, None)
    assert "No forecast was in force." in before["unknown"]
    end = twin.at(START + 239 * MINUTE)
    assert end["findings"] == []
    assert end["after"] is None
    assert "Nothing was measured after it yet." in end["unknown"]
    with Twin(name="new", signals=[Signal("oil")], store=Memory()).open() as new, pytest.raises(Conflict):
        new.at(START)


def test_moments_to_snap_to(twin: Twin) -> None:
    found = twin.moments()
    minutes = {kind: [(t - START) // MINUTE for t in found[kind]["time"]] for kind in found}
    assert minutes == {"decisions": [60, 150], "forecasts": [60, 60, 90], "findings": [60, 120]}
    assert found["findings"]["open"] == [True, False]
    assert found["decisions"]["id"] == ["d60", "d150"]
    part = twin.moments(START + 100 * MINUTE, START + 130 * MINUTE)
    assert part["findings"]["name"] == ["warm"]
    assert part["decisions"]["time"] == []
    with pytest.raises(InputError, match="start lies after end"):
        twin.moments(2, 1)


def test_a_week_of_a_real_run_is_there_again() -> None:
    with beside.opened() as twin:
        found: dict[str, Any] = twin.moments()
        now = found["decisions"]["time"][-6]
        then = twin.at(now)
        assert then["decision"].id == found["decisions"]["id"][-6]
        assert then["belief"].time == now
        assert then["forecasts"][0].by == "pool"
        assert set(then["after"].signals) >= {"oil", "load"}
        assert then["commands"] == [], "it was only observed"
        for answer in (then, found, twin.rollup(["oil"]), twin.extent(), twin.standing(), twin.shadow("4d")):
            assert jsonable(decode(encode(answer))) == jsonable(answer), "it survives the socket"
