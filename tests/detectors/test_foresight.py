"""What the pre-trained network finds strange: a cycle that stops, which each reading by itself hides; any portions."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gemel.core.clock import Virtual
from gemel.core.codec import decode, encode
from gemel.core.errors import PartError
from gemel.core.foundation import SHIPPED
from gemel.core.registry import build
from gemel.core.setting import Setting
from gemel.core.values import Floats, Signal, Signals
from gemel.detectors.statistics.foresight import Foresight
from gemel.detectors.statistics.judge import Judge, delayed
from gemel.detectors.statistics.level import Level

pytestmark = pytest.mark.skipif(not (SHIPPED / "foundation.json").exists(), reason="no weights are shipped")
MINUTE = 60 * 10**9


def cycles(rows: int, seed: int = 0) -> Floats:
    """Two signals that go up and down every 24 rows, [t, 2]."""
    t, rng = np.arange(rows), np.random.default_rng(seed)
    saw = np.abs((t % 24) / 12.0 - 1.0)
    return np.stack([np.sin(t * 2 * np.pi / 24), 3 * saw], axis=1) + 0.05 * rng.standard_normal((rows, 2))


def test_a_cycle_that_stands_still_inside_its_range_is_found_where_levels_see_nothing() -> None:
    x = cycles(1200, 1)
    x[1000:1060, 0] = 0.4 + 0.05 * np.random.default_rng(1).standard_normal(60)
    first = {}
    for name, member in (("foresight", Foresight()), ("level", Level(10))):
        judge = Judge(member, alarms_per_week=0.5, step=MINUTE, wait=6)
        judge.fit(x[:700])
        strange, shares = judge.score(x[700:])
        alarm = np.flatnonzero(delayed(strange < 1.0, 10))
        first[name] = int(alarm[0]) + 700 if len(alarm) else 0
        if name == "foresight":
            assert shares[alarm[0]].argmax() == 0
    assert 1000 <= first["foresight"] < 1060
    assert not first["level"]


def test_it_sits_in_a_committee_with_the_same_rate() -> None:
    members = [{"kind": "subspace"}, {"kind": "foundation"}]
    judge = Judge(*build("detectors", {"kind": "committee", "members": members}).statistics(), step=MINUTE, wait=6)
    x = cycles(800, 4)
    x[700:740, 1] = 1.5
    judge.fit(x[:500])
    strange, shares = judge.score(x[500:])
    alarm = np.flatnonzero(strange < 1.0)
    assert 700 <= alarm[0] + 500 < 740
    assert shares[alarm[0]].argmax() == 1


def test_rows_may_come_in_any_portions_and_memory_survives() -> None:
    x = cycles(520, 2)
    x[300::9, 1] = np.nan
    whole = Foresight()
    whole.fit(x[:300])
    at_once = whole.score(x[300:])[0]
    parts = Foresight()
    parts.fit(x[:300])
    found = [parts.score(x[300:301])[0], parts.score(x[301:400])[0]]
    resumed = Foresight()
    resumed.restore(decode(encode(parts.snapshot())))
    found += [resumed.score(x[400:400])[0], resumed.score(x[400:])[0]]
    np.testing.assert_array_equal(at_once, np.concatenate(found))


def test_the_network_is_not_shown_what_it_would_get_used_to() -> None:
    x = cycles(700, 3)
    x[430:, 0] += 4.0
    one = Foresight()
    one.fit(x[:400])
    scores = one.score(x[400:])[0]
    assert np.median(scores[200:, 0]) > 4.0, "still strange after two hundred rows"
    assert np.median(scores[200:, 1]) < 2.0


def test_a_damaged_network_is_told_when_the_twin_starts(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "weights"))
    (folder / "foundation.int8.onnx").write_bytes(b"no network")
    where = Setting("t", "", Signals([Signal("a")]), Virtual(), MINUTE, MINUTE, 0, tmp_path)
    detector = build("detectors", {"kind": "committee", "members": [{"kind": "foundation", "model": "weights"}]})
    with pytest.raises(PartError, match="is not the file its card names"):
        detector.bind(where)
