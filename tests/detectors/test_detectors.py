"""The detectors in a twin: what they learn from, findings with subject, start and evidence, memory, bad telemetry."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel import Signal, Twin
from gemel.config import dump, load
from gemel.core.clock import Data, Virtual
from gemel.core.errors import ConfigError
from gemel.core.registry import build
from gemel.core.setting import Setting
from gemel.core.values import Asset, Batch, Belief, Finding, Floats, Signals
from gemel.loop.decide import Situation
from gemel.stores.memory import Memory
from gemel.testing import check_detector

MINUTE, DAY = 60 * 10**9, 86_400 * 10**9
START = 1_700_000_000 * 10**9 // DAY * DAY
SIGNALS = (
    Signal("flow", unit="l/min", asset="pump-1"),
    Signal("power", unit="kW", asset="pump-1"),
    Signal("hum", unit="m/s", asset="pump-1"),
    Signal("other flow", unit="l/min", asset="pump-2"),
    Signal("other power", unit="kW", asset="pump-2"),
)
SPECS: dict[str, Mapping[str, Any]] = {
    "committee": {},
    "drift": {},
    "cusum": {"kind": "drift", "way": "cusum"},
    "fixed": {"kind": "drift", "way": "fixed"},
    "bayes": {"kind": "drift", "way": "bayes"},
    "subspace": {"window": 5},
    "matrix": {"window": 12},
    "spectrum": {"window": 64, "bands": 4},
    "foundation": {},
    "health": {},
}


def pumps(rows: int, seed: int = 0) -> Floats:
    """Two pumps minute by minute: flow, power that follows it, hum; flow and power of the other."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((rows, 5))
    load, other = np.zeros(rows), np.zeros(rows)
    for t in range(1, rows):
        load[t] = 0.8 * load[t - 1] + 0.3 * noise[t, 0]
        other[t] = 0.8 * other[t - 1] + 0.3 * noise[t, 3]
    fast = rng.standard_normal((rows, 5)) * [0.2, 0.02, 0.1, 0.2, 0.02]
    return np.asarray(np.stack([30 + load, 4 + 0.1 * load, 1 + 0 * load, 30 + other, 4 + 0.1 * other], axis=1) + fast)


def history(values: Floats) -> Any:
    """`Store.window` over a table of one row a minute that begins at START."""
    store = Memory()
    store.open(Signals(SIGNALS))
    rows, columns = values.shape
    time = np.repeat(START + np.arange(rows) * MINUTE, columns)
    there = np.isfinite(values.ravel())
    signal = np.tile(np.arange(columns, dtype=np.int32), rows)
    store.append(Batch.of(signal[there], time[there], values.ravel()[there]))
    return store.window


def setting(values: Floats | None, every: int = MINUTE) -> Setting:
    past = None if values is None else history(values)
    return Setting("t", "", Signals(SIGNALS), Virtual(), every, DAY, 0, Path(), history=past)


def situations(values: Floats, first: int, every: int = MINUTE) -> list[Situation]:
    names = [s.name for s in SIGNALS]
    turns = range(first, len(values), every // MINUTE)
    return [
        Situation(START + i * MINUTE, every, DAY, Signals(SIGNALS), dict(zip(names, values[i].tolist(), strict=True)))
        for i in turns
    ]


def made(name: str, **more: Any) -> Any:
    spec: dict[str, Any] = {"kind": name, "step": "1min", "learn": "400min", **SPECS[name], **more}
    return build("detectors", spec)


def trouble(name: str) -> Floats:
    x = pumps(900)
    if name == "spectrum":
        x[650:750, 2] += 0.8 * np.sin(np.arange(100) * 0.7)
    elif name == "health":
        x[600:, 2] += np.linspace(0, 2, 300)
    else:
        x[650:720, 2] += 2.0
    return x


@pytest.mark.parametrize("name", SPECS)
def test_every_detector_keeps_its_contract_and_names_the_asset_or_signal(name: str) -> None:
    x = trouble(name)
    where = setting(x, 5 * MINUTE)

    def make() -> Any:
        detector = made(name)
        detector.bind(where)
        return detector

    news = check_detector(make, situations(x, 420, 5 * MINUTE))
    about = [f for f in news if f.subject in ("hum", "pump-1")]
    assert about, news
    first = about[0]
    assert START + 590 * MINUTE <= first.start <= START + 720 * MINUTE
    assert max((k for k in first.evidence if k in where.signals.names), key=lambda k: first.evidence[k]) == "hum"
    assert first.by == SPECS[name].get("kind", name)
    if name not in ("health",):
        assert any(not f.open for f in about), "it is over when the trouble is"


def test_without_a_history_it_waits_for_its_normal_time() -> None:
    x = trouble("drift")
    detector = made("drift")
    detector.bind(setting(None))
    news = [f for s in situations(x, 0) for f in detector.inspect(s)]
    assert [f.subject for f in news if f.open][:1] == ["hum"]
    assert news[0].time > START + 650 * MINUTE


def test_rows_between_two_turns_are_all_seen() -> None:
    x = pumps(900)
    x[601:609, 2] += 4.0  # over before the next turn
    detector = made("drift", step="1min", window=3)
    detector.bind(setting(x, 30 * MINUTE))
    news = [f for s in situations(x, 420, 30 * MINUTE) for f in detector.inspect(s)]
    assert [f.open for f in news if f.subject == "hum"][:1] == [True]
    assert not [f for f in news if f.subject == "hum"][-1].open


def test_a_relation_that_breaks_is_found_where_every_signal_stays_in_its_range() -> None:
    x = pumps(900, seed=3)
    x[600:800, 4] = 8.0 - x[600:800, 4]  # power falls when flow rises
    detector = made("subspace")
    detector.bind(setting(x, 5 * MINUTE))
    news = [f for s in situations(x, 420, 5 * MINUTE) for f in detector.inspect(s)]
    assert {f.subject for f in news} <= {"pump-2", "other flow", "other power"}
    assert news


def test_bad_telemetry_is_no_exception_and_a_wrong_unit_is_found() -> None:
    x = pumps(900, seed=4)
    x[:, 4] = np.nan  # never heard
    x[500:, 3] = x[500, 3]  # frozen
    x[::3, 1] = np.nan  # another rate
    x[600:, 0] *= 60.0  # another unit
    for name in ("committee", "matrix", "spectrum", "health"):
        detector = made(name)
        detector.bind(setting(x, 30 * MINUTE))
        news = [f for s in situations(x, 420, 30 * MINUTE) for f in detector.inspect(s)]
        assert all(np.isfinite(v) for f in news for v in f.evidence.values())
        if name != "spectrum":
            assert any("flow" in f.evidence for f in news), name


def test_residuals_of_the_virtual_model() -> None:
    class Model:
        outputs = ("flow",)

    rng = np.random.default_rng(5)
    detector = build("detectors", {"kind": "drift", "of": "residuals", "learn": "300min"})
    where = Setting("t", "", Signals(SIGNALS), Virtual(), MINUTE, DAY, 0, Path(), Model())
    detector.bind(where)
    news: list[Finding] = []
    for i in range(500):
        now = START + i * MINUTE
        off = rng.standard_normal() + (4.0 if i >= 420 else 0.0)
        belief = Belief(("x",), np.zeros((1, 1)), now, {"flow": (0.5 * off, 0.5)})
        news += detector.inspect(Situation(now, MINUTE, DAY, Signals(SIGNALS), {}, belief))
    assert {f.subject for f in news} == {"flow"}
    assert news[0].open
    assert START + 418 * MINUTE <= news[0].start <= START + 428 * MINUTE


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"kind": "drift", "way": "levle"}, "did you mean 'level'"),
        ({"kind": "drift", "alarms_per_week": 0}, "alarms_per_week"),
        ({"kind": "subspace", "share": 1.5}, "share"),
        ({"kind": "spectrum", "window": 8}, "window"),
        ({"kind": "matrix", "window": 1}, "window"),
        ({"kind": "health", "limit": 0.5}, "limit"),
        ({"kind": "committee", "members": []}, "members"),
        ({"kind": "committee", "members": [{"kind": "residual"}]}, "cannot sit"),
        ({"kind": "committee", "members": [{"kind": "drift", "way": "up"}], "combine": "vote"}, "vote"),
        ({"kind": "drift", "learn": "soon"}, "learn"),
        ({"kind": "foundation", "window": 100}, "window"),
        ({"kind": "foundation", "way": "slow"}, "way"),
    ],
)
def test_what_cannot_be_is_refused_by_name(spec: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build("detectors", spec)


def test_unknown_signals_are_refused_by_name() -> None:
    detector = build("detectors", {"kind": "subspace", "signals": ["flwo"]})
    with pytest.raises(ConfigError, match="flwo"):
        detector.bind(setting(None))


def test_a_twin_learns_from_its_stored_past_and_survives_the_file() -> None:
    x = trouble("committee")
    names = [s.name for s in SIGNALS]

    class Past:
        async def stream(self) -> Any:
            time = START + np.arange(len(x)) * MINUTE
            for a in range(0, len(x), 50):
                part = x[a : a + 50]
                signal = np.tile(np.arange(len(names), dtype=np.int32), len(part))
                yield Batch.of(signal, np.repeat(time[a : a + 50], len(names)), part.ravel())

        def confirm(self, batch: Batch) -> None:
            pass

    twin = Twin(
        name="pumps", every="5min", signals=SIGNALS, assets=[Asset("pump-1"), Asset("pump-2")],
        connectors={"past": Past()}, store=Memory(), clock=Data(),
        detectors=[build("detectors", {"kind": "committee", "step": "1min", "learn": "400min"})],
    )  # fmt: skip
    twin.run()
    found = twin.findings(all=True)
    assert any(f.subject in ("hum", "pump-1") and START + 640 * MINUTE < f.start < START + 665 * MINUTE for f in found)
    assert not twin.findings()


@pytest.mark.slow
@pytest.mark.skipif("GEMEL_DATA" not in os.environ, reason="needs GEMEL_DATA")
def test_valves_that_close_are_found() -> None:
    detect = pytest.importorskip("bench.detect")
    runs = [detect.read(path) for path in sorted((Path(os.environ["GEMEL_DATA"]) / "skab" / "valve2").glob("*.csv"))]
    f1, false, _ = detect.outliers(runs, [detect.committee(run.values) for run in runs])
    assert f1 >= 0.80
    assert false <= 15


def test_the_twin_file_keeps_what_was_said() -> None:
    text = """
    name = "pumps"
    signals = [{ name = "flow" }, { name = "hum" }]
    detectors = [
      { kind = "committee", members = [{ kind = "drift", window = 20 }, { kind = "matrix" }], alarms_per_week = 0.5 },
      { kind = "drift", signals = ["hum"], way = "cusum" },
      { kind = "health", limit = 2 },
      { kind = "spectrum", step = "1ms", learn = "10s" },
    ]
    """
    once = dump(load(text))
    assert dump(load(once)) == once
    assert "alarms_per_week = 0.5" in once
