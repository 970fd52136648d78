"""Networks that were trained with labels, on site: which pump has what since when, and bad telemetry."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleet import CHANNELS, MINUTE, START, TRAINED, pump
from gemel import Twin
from gemel.config import dump, load
from gemel.core.clock import Data, Virtual
from gemel.core.errors import ConfigError, PartError
from gemel.core.registry import build
from gemel.core.setting import Setting
from gemel.core.values import Asset, Batch, Finding, Floats, Signal, Signals
from gemel.detectors.trained import Meaning, Trained
from gemel.loop.decide import Situation
from gemel.stores.memory import Memory
from gemel.testing import check_detector

PUMPS = ("a", "b")
SIGNALS = [Signal(f"{p}_{c}", asset=p) for p in PUMPS for c in reversed(CHANNELS)]  # another order than the network's
FLEET = {"names": "{asset}_{channel}", "step": "1min"}
DAY = 86_400 * 10**9


def plant(fault: str = "leak", rows: int = 400, at: int = 250) -> dict[str, Floats]:
    """Signal -> rows, minute by minute: pump a has a fault from a row on, pump b has none."""
    tables = {"a": pump(rows, fault, at, 901), "b": pump(rows, "", 0, 902)}
    return {f"{p}_{c}": tables[p][:, i] for p in PUMPS for i, c in enumerate(CHANNELS)}


def setting(values: dict[str, Floats], every: int = 5 * MINUTE, signals: Sequence[Signal] = SIGNALS) -> Setting:
    store = Memory()
    store.open(Signals(signals))
    for place, signal in enumerate(signals):
        column = values[signal.name]
        there = np.flatnonzero(np.isfinite(column))
        store.append(Batch.of(np.full(len(there), place), START + there * MINUTE, column[there]))
    return Setting("t", "", Signals(signals), Virtual(), every, DAY, 0, TRAINED, history=store.window)


def course(where: Setting, rows: int = 400, first: int = 100) -> list[Situation]:
    turns = range(first, rows, where.every // MINUTE)
    return [Situation(START + i * MINUTE, where.every, DAY, where.signals, {}) for i in turns]


def made(kind: str, where: Setting, **more: Any) -> Any:
    model = "classify" if kind == "classifier" else "detect"
    detector = build("detectors", {"kind": kind, "model": model, **FLEET, **more})
    detector.bind(where)
    return detector


def news(detector: Any, where: Setting) -> list[Finding]:
    return [f for s in course(where) for f in detector.inspect(s)]


def test_a_classifier_names_the_fault_the_pump_and_the_time() -> None:
    where = setting(plant("leak"))
    found = check_detector(lambda: made("classifier", where), course(where))
    first = found[0]
    assert (first.name, first.subject, first.by) == ("leak", "a", "classifier")
    assert START + 245 * MINUTE <= first.start <= START + 265 * MINUTE
    assert first.evidence["probability leak"] > 0.8
    assert first.evidence["p leak"] > 0.01
    assert sum(first.evidence[f"probability {c}"] for c in ("normal", "leak", "bearing")) == pytest.approx(1.0)
    assert {f.subject for f in found} == {"a"}


def test_an_autoencoder_learns_each_pumps_own_level_and_names_what_it_cannot_make_again() -> None:
    where = setting(plant("bearing"))
    found = check_detector(lambda: made("autoencoder", where, learn="200min", assets=["a"]), course(where, first=220))
    about = [f for f in found if f.subject in ("a", "a_hum")]
    assert about
    assert {f.subject for f in found} <= {"a", "a_hum"}
    assert START + 240 * MINUTE <= about[0].start <= START + 275 * MINUTE
    evidence = {k: v for k, v in about[0].evidence.items() if k != "score"}
    assert max(evidence, key=lambda k: evidence[k]) == "a_hum"


@pytest.mark.parametrize(("kind", "fault"), [("classifier", "leak"), ("autoencoder", "bearing")])
def test_windows_can_be_judged_by_themselves_for_an_explanation(kind: str, fault: str) -> None:
    values = plant(fault)
    where = setting(values)
    detector = made(kind, where, **({"learn": "200min"} if kind == "autoencoder" else {}))
    finding = news(detector, where)[0]
    sight = detector.sight(finding)
    rows = np.stack([values[n] for n in sight.signals], axis=1)
    windows = np.stack([rows[200 : 200 + sight.rows], rows[300 : 300 + sight.rows]])
    usual, odd = detector.scored(finding, windows)
    assert usual < sight.limit < odd
    assert detector.sight(Finding("x", "x", "x", 0, 0, 0.5, 0.5)) is None


def test_the_wrong_unit_fits_no_class() -> None:
    values = plant("")
    values["a_power"] = values["a_power"] * 1000.0  # watts, not kilowatts
    where = setting(values)
    found = news(made("classifier", where, least=0.02), where)
    assert [(f.name, f.subject) for f in found if f.open][:1] == [("unlike anything known", "a")]
    assert next(f for f in found if f.open).confidence >= 0.9


def test_a_silent_channel_is_no_trouble_and_all_silent_says_nothing() -> None:
    values = plant("")
    values["a_power"][200:] = np.nan  # one of three: judged by the others
    for name in ("b_flow", "b_power"):
        values[name][200:] = np.nan
    where = setting(values)
    detector = made("classifier", where)
    assert not [f for f in news(detector, where) if f.subject == "b"]


def test_a_signal_that_is_missing_is_named_before_the_first_turn() -> None:
    fewer = [s for s in SIGNALS if s.name != "a_hum"]
    where = setting(plant(), signals=fewer)
    assert news(made("classifier", where), where) == []  # the pump without it is left out
    with pytest.raises(ConfigError, match="needs the signal 'a_hum'"):
        made("classifier", where, assets=["a"])
    with pytest.raises(ConfigError, match="needs the signal 'flow'"):
        made("classifier", where, names="{channel}")
    with pytest.raises(ConfigError, match="no asset has all"):
        made("autoencoder", setting(plant(), signals=[s for s in SIGNALS if s.name.endswith("flow")]))


def test_another_sampling_rate_is_refused() -> None:
    where = setting(plant())
    with pytest.raises(ConfigError, match="not the 1min that the network was trained with"):
        made("classifier", where, step="5min")
    bare = Setting("t", "", Signals(SIGNALS), Virtual(), 5 * MINUTE, DAY, 0, TRAINED)
    with pytest.raises(ConfigError, match="the twin turns every 5min"):
        made("classifier", bare)


def test_files_that_are_not_of_their_card_and_other_tasks(tmp_path: Path) -> None:
    where = setting(plant())
    with pytest.raises(ConfigError, match="trained for detect"):
        Trained(TRAINED / "detect", ("classify",), "classifier")
    with pytest.raises(ConfigError, match="gives no classes"):
        made("classifier", where, model="detect")
    with pytest.raises(ConfigError, match="no class 'nrmal', did you mean 'normal'"):
        made("classifier", where, usual=["nrmal"])
    with pytest.raises(ConfigError, match="trained for classify"):
        made("autoencoder", where, model="classify")
    with pytest.raises(PartError, match="there is no card"):
        made("classifier", where, model="nowhere")
    shutil.copytree(TRAINED / "classify", tmp_path / "x")
    (tmp_path / "x" / "trained.onnx").write_bytes(b"else")
    with pytest.raises(PartError, match="not the file its card names"):
        made("classifier", where, model=str(tmp_path / "x"))
    card = json.loads((tmp_path / "x" / "trained.json").read_text())
    del card["answer"]["centre"]
    shutil.copy(TRAINED / "classify" / "trained.onnx", tmp_path / "x" / "trained.onnx")
    (tmp_path / "x" / "trained.json").write_text(json.dumps(card))
    with pytest.raises(PartError, match="says nothing of what the network answers"):
        made("classifier", where, model=str(tmp_path / "x"))


@pytest.mark.parametrize("wrong", [{"sure": 1.5}, {"raise_after": 0}, {"learn": "soon"}, {"names": "flow"}])
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        build("detectors", {"kind": "classifier", "model": "x", **wrong})


def test_p_values_are_even_on_what_was_not_held_back() -> None:
    meaning = Trained(TRAINED / "classify", ("classify",), "test").meaning
    draw = np.random.default_rng(0).beta(1, 8, (2, 400))
    meaning = replace(meaning, scores=tuple(tuple(draw[0].tolist()) for _ in meaning.classes))
    p = meaning.p(1 - np.repeat(draw[1][:, None], len(meaning.classes), axis=1))
    for share in (0.05, 0.2, 0.5):
        assert np.quantile(p[:, 0], share) == pytest.approx(share, abs=0.08)


def test_each_condition_is_scaled_by_itself_and_one_never_seen_by_all() -> None:
    known = Meaning(
        "classify", False, ("flow",), 4, 60.0, True, ((10.0,), (20.0,), (15.0,)), ((1.0,), (2.0,), (5.0,)), ("a", "b")
    )
    rows = known.scaled(np.full((3, 1), 20.0), np.array([0, 1, -1], np.int32))
    assert rows[:, 0].tolist() == [10.0, 0.0, 1.0]
    far = known.scaled(np.array([[np.inf], [np.nan], [-1e300]]))
    assert far[:, 0].tolist() == [10.0, 0.0, -10.0]


def test_in_a_twin_the_fault_is_found_in_time() -> None:
    values = plant("bearing", rows=400, at=250)
    columns = [values[s.name] for s in SIGNALS]

    class Past:
        """The telemetry, an hour a batch."""

        async def stream(self) -> AsyncIterator[Batch]:
            for start in range(0, 400, 60):
                rows = np.arange(start, min(start + 60, 400))
                signal = np.tile(np.arange(len(SIGNALS)), len(rows))
                time = np.repeat(START + rows * MINUTE, len(SIGNALS))
                yield Batch.of(signal, time, np.stack([c[rows] for c in columns], axis=1).ravel())

        def confirm(self, batch: Batch) -> None:
            pass

    part = build("detectors", {"kind": "classifier", "model": str(TRAINED / "classify"), **FLEET})
    twin = Twin(
        name="pumps", every="5min", signals=SIGNALS, assets=[Asset("a"), Asset("b")], connectors={"past": Past()},
        store=Memory(), clock=Data(), detectors=[part],
    )  # fmt: skip
    twin.run()
    (found,) = twin.findings()
    assert (found.name, found.subject) == ("bearing", "a")
    assert START + 245 * MINUTE <= found.start <= START + 265 * MINUTE


def test_the_twin_file_keeps_the_part() -> None:
    text = f"""
name = "pumps"
every = "1min"
signals = [{{ name = "flow" }}, {{ name = "power" }}, {{ name = "hum" }}]
detectors = [{{ kind = "autoencoder", model = "{(TRAINED / "detect").as_posix()}", alarms_per_week = 0.5 }}]
"""
    assert load(dump(load(text))).detectors
    assert "alarms_per_week = 0.5" in dump(load(text))
