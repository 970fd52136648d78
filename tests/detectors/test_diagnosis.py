"""Diagnosis: the machine that is ill and with what, from cases of another machine, rules of people, and neither."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel import Signal
from gemel.core.artifact import Shelf
from gemel.core.clock import Virtual
from gemel.core.codec import decode, encode
from gemel.core.errors import ConfigError, PartError
from gemel.core.explain import Scores
from gemel.core.registry import build
from gemel.core.setting import Setting
from gemel.core.values import Belief, Finding, Floats, Frame, Signals
from gemel.detectors.diagnosis.classifier import Case, Known, learn, load
from gemel.detectors.diagnosis.detector import Diagnosis
from gemel.detectors.diagnosis.features import FEATURES, Stretches
from gemel.detectors.diagnosis.normal import Normal
from gemel.detectors.diagnosis.rules import bound, plain, said
from gemel.detectors.diagnosis.sight import Eyes, all_slots
from gemel.detectors.diagnosis.view import relative, spread, view
from gemel.loop.decide import Situation
from gemel.testing import check_detector

MINUTE = 60 * 10**9
START = 1_700_000_040 * 10**9 // (60 * MINUTE) * 60 * MINUTE
MACHINES = ("mill", "drill", "saw")
SIGNALS = [
    Signal(f"{m}_{q}", "state" if q == "state" else "number", asset=m, states=("idle", "busy") if q == "state" else ())
    for m in MACHINES for q in ("state", "power", "vibration", "temperature")
] + [Signal("scrap", asset="line"), Signal("family", role="controlled", asset="line")]  # fmt: skip
NAMES = tuple(s.name for s in SIGNALS)
SPANS = Stretches(20, 60, 240)
LEARN = 400


def plant(seed: int, machine: str = "", what: str = "", rows: int = 700, at: int = 500) -> Floats:
    """Rows of three machines that work on and off; from `at` on one of them is ill."""
    rng = np.random.default_rng(seed)
    ill = np.arange(rows) >= at
    family = (np.arange(rows) // 90) % 2
    found: dict[str, Floats] = {"family": family.astype(float), "scrap": (rng.random(rows) < 0.02).astype(float)}
    for m in MACHINES:
        busy = np.repeat(rng.random(rows // 5 + 1) < 0.7, 5)[:rows].astype(float)
        own = ill * (m == machine)
        noise = rng.standard_normal((rows, 3))
        found[f"{m}_state"] = busy
        found[f"{m}_power"] = 1 + busy * (4 + family) + 0.1 * noise[:, 0] - 1.5 * busy * own * (what == "belt: slips")
        found[f"{m}_vibration"] = 0.2 + busy + 0.05 * noise[:, 1] + 0.6 * busy * own * (what == "bearing: damaged")
        found[f"{m}_temperature"] = 40 + 0.5 * noise[:, 2] + 4.0 * own * (what == "fan: clogged")
        if m == machine and what == "strange":
            found[f"{m}_vibration"] = np.where(ill, 4.0, found[f"{m}_vibration"])
            found[f"{m}_power"] = np.where(ill, 0.0, found[f"{m}_power"])
            found[f"{m}_temperature"] = np.where(ill, 10.0, found[f"{m}_temperature"])
    found["scrap"] += ill * (what == "camera: dirty") * (rng.random(rows) < 0.5)
    return np.stack([found[n] for n in NAMES], axis=1)


@pytest.fixture(scope="module")
def known() -> Known:
    """Cases of the mill and of the line alone."""
    cases = []
    for seed in range(8):
        for what in ("bearing: damaged", "fan: clogged", "belt: slips", "camera: dirty", ""):
            eyes = Eyes(view(SIGNALS), ("family",), all_slots(view(SIGNALS)), SPANS)
            values = plant(seed, "mill", what)[:, [NAMES.index(n) for n in eyes.signals]]
            eyes.fit(values[:LEARN])
            eyes.take(values[LEARN:490])
            cases.append(Case(eyes.seen(), -1, "", seed))
            for end in (530, 580, 640):
                eyes.take(values[490:end] if end == 530 else values[end - 50 : end])
                place = eyes.view.assets.index("line" if what == "camera: dirty" else "mill") if what else -1
                cases.append(Case(eyes.seen(), place, what, seed))
    return learn(cases, eyes.slots, ["camera: dirty"], SPANS, MINUTE)


def course(
    detector: Diagnosis, values: Floats, folder: Path = Path(), shelf: Any = None, others: Any = (), every: int = 10
) -> list[Situation]:
    """The detector bound to a recorded history, and the situations of its turns."""
    time = START + np.arange(len(values)) * MINUTE

    def history(names: Any, start: int, end: int, every: Any = None) -> Frame:
        a, b = np.searchsorted(time, start), np.searchsorted(time, end, side="right")
        held = values[a:b][:, [NAMES.index(n) for n in names]]
        return Frame(time[a:b], held, np.zeros(held.shape, np.uint8), tuple(names))

    signals = Signals(SIGNALS)
    detector.bind(Setting("shop", "", signals, Virtual(), every * MINUTE, 1, 0, folder, None, shelf, history))
    turns = range(int(time[LEARN]), int(time[-1]), every * MINUTE)
    return [
        Situation(now, every * MINUTE, 1, signals, {}, findings=tuple(f for f in others if f.start <= now))
        for now in turns
    ]


def told(detector: Diagnosis, values: Floats, **more: Any) -> list[Finding]:
    return [f for s in course(detector, values, **more) for f in detector.inspect(s)]


def made(folder: Path, known: Known, **more: Any) -> Diagnosis:
    (folder / "known.npz").write_bytes(known.save())
    return Diagnosis(**{"known": "known.npz", "learn": f"{LEARN}min", "raise_after": 2, **more})


def trouble(at: int = 520, subject: str = "saw") -> Finding:
    return Finding("other", "unusual saw", subject, START + at * MINUTE, START + at * MINUTE, 0.5, 0.9, "", by="drift")


# -- in a twin ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("what", ["bearing: damaged", "fan: clogged", "belt: slips"])
def test_what_was_learned_on_the_mill_is_found_on_any_machine(
    machine: str, what: str, known: Known, tmp_path: Path
) -> None:
    news = told(made(tmp_path, known), plant(100, machine, what), folder=tmp_path)
    assert news
    last = news[-1]
    assert (last.name, last.subject) == (f"{machine} {what}", machine)
    assert last.start >= START + 480 * MINUTE
    assert news[0].time <= START + 580 * MINUTE
    candidates = {k: v for k, v in last.evidence.items() if k.startswith("P(")}
    assert max(candidates, key=lambda k: candidates[k]) == f"P({machine} {what})"
    first = {"b": "vibration", "f": "temperature"}.get(what[0] if what != "belt: slips" else "", "power")
    assert f"{machine}_{first}" in last.evidence


def test_what_is_wrong_with_the_whole_is_said_of_the_whole(known: Known, tmp_path: Path) -> None:
    last = told(made(tmp_path, known), plant(100, "", "camera: dirty"), folder=tmp_path)[-1]
    assert (last.name, last.subject) == ("line camera: dirty", "line")


def test_it_keeps_the_contract_and_goes_on_after_a_restart(known: Known, tmp_path: Path) -> None:
    values = plant(7, "drill", "bearing: damaged")
    situations = course(made(tmp_path, known), values, tmp_path)

    def make() -> Diagnosis:
        detector = made(tmp_path, known)
        course(detector, values, tmp_path)
        return detector

    assert check_detector(make, situations)


def test_what_it_remembers_is_small_and_rows_are_read_again_to_the_last_bit(known: Known, tmp_path: Path) -> None:
    values = plant(7, "drill", "bearing: damaged", rows=1600)
    values[LEARN + 5, NAMES.index("mill_power")] = 1e9
    detector = made(tmp_path, known)
    rng = np.random.default_rng(0)
    for i, s in enumerate(course(detector, values, tmp_path)):
        belief = Belief(("x",), np.zeros((1, 2)), s.now, {"mill_temperature": (rng.standard_normal(), 1.0)})
        detector.inspect(replace(s, belief=belief))
        if i not in (5, 30, 100):
            continue
        kept = encode(detector.snapshot())
        assert len(kept) < 60_000
        again = made(tmp_path, known)
        course(again, values, tmp_path)
        again.restore(decode(kept))
        assert encode(again.snapshot()) == kept
        assert detector._eyes is not None
        assert again._eyes is not None
        np.testing.assert_array_equal(again._eyes.seen(), detector._eyes.seen())


def test_nothing_wrong_nothing_said(known: Known, tmp_path: Path) -> None:
    for seed in range(200, 203):
        assert told(made(tmp_path, known), plant(seed), folder=tmp_path) == []


def test_what_fits_nothing_is_unknown_and_of_the_machine_that_is_off(known: Known, tmp_path: Path) -> None:
    news = told(made(tmp_path, known), plant(9, "saw", "strange"), folder=tmp_path, others=[trouble()])
    assert news
    assert (news[-1].name, news[-1].subject) == ("unknown", "saw")
    assert news[-1].evidence["P(unknown)"] > 0.5


def test_another_detectors_finding_keeps_it_open_until_that_is_over(known: Known, tmp_path: Path) -> None:
    detector = made(tmp_path, known, clear_after=2)
    values = plant(11, "saw", "fan: clogged", rows=900)
    values[620:] = plant(12, rows=900)[620:]  # mended
    quiet = told(detector, values, folder=tmp_path)
    assert not quiet[-1].open
    detector = made(tmp_path, known, clear_after=2)
    assert told(detector, values, folder=tmp_path, others=[trouble()])[-1].open


# -- rules -------------------------------------------------------------------------------------------------------------


def test_rules_alone_find_and_name(tmp_path: Path) -> None:
    rules = [
        {
            "if": "{asset}_vibration high and {asset}_power normal",
            "component": "{asset}",
            "cause": "loose",
            "weight": 2,
        },
        {"if": "drill_temperature high", "component": "drill fan", "cause": "clogged", "weight": 3},
    ]
    more: dict[str, Any] = {"rules": rules, "learn": f"{LEARN}min"}
    last = told(Diagnosis(**more), plant(3, "saw", "bearing: damaged"))[-1]
    assert (last.name, last.subject) == ("saw: loose", "saw")
    assert last.confidence > 0.7
    last = told(Diagnosis(**more), plant(3, "drill", "fan: clogged"))[-1]
    assert (last.name, last.subject) == ("drill fan: clogged", "drill")
    assert told(Diagnosis(**more), plant(4)) == []


def test_a_rule_adds_to_what_is_known(known: Known, tmp_path: Path) -> None:
    rule = {"if": "saw_vibration high", "component": "saw bearing", "cause": "damaged", "weight": -8}
    news = told(made(tmp_path, known, rules=[rule]), plant(100, "saw", "bearing: damaged"), folder=tmp_path)
    assert "saw bearing: damaged" not in [f.name for f in news]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"if": "mill_vibration hihg", "component": "mill", "cause": "x"}, "'hihg' says nothing.*did you mean 'high'"),
        ({"if": "mill_vibraton high", "component": "mill", "cause": "x"}, "no signal.*did you mean 'mill_vibration'"),
        ({"if": "mill_vibration high", "component": "mil", "cause": "x"}, "of no asset, did you mean 'mill'"),
        ({"if": "mill_state bussy", "component": "mill", "cause": "x"}, "did you mean 'busy'"),
        ({"if": "mill_vibration high mill_power low", "component": "mill", "cause": "x"}, "one word too many"),
        ({"if": "mill_vibration high and", "component": "mill", "cause": "x"}, "a signal and a word are needed"),
        ({"if": "(mill_vibration high", "component": "mill", "cause": "x"}, "bracket"),
        ({"if": "(" * 5000 + "mill_vibration high", "component": "mill", "cause": "x"}, "200 is the most"),
        ({"if": "not " * 5000 + "mill_vibration high", "component": "mill", "cause": "x"}, "200 is the most"),
        ("mill_vibration high", "a rule is { if, component, cause, weight }"),
        ({"if": "mill_vibration high", "component": "mill"}, "needs cause"),
        ({"if": "mill_vibration high", "component": "mill", "cause": "x", "wieght": 1}, "did you mean 'weight'"),
        ({"if": "mill_vibration high", "component": "mill", "cause": "x", "weight": 99}, "weight 99"),
        ({"if": "{asset}_noise high", "component": "{asset}", "cause": "x"}, "fits no asset"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said(row: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        course(Diagnosis(rules=[row]), plant(0))


def test_conditions_are_true_by_degrees() -> None:
    states = {"a": (), "b": (), "s": ("on", "off")}
    truth = {("a", "high"): 0.8, ("b", "low"): 0.3, ("s", "on"): 1.0}

    def value(text: str) -> float:
        rules, problems = bound({"if": text, "component": "m", "cause": "x"}, ["m"], states)
        assert not problems
        return rules[0].truth(lambda signal, word: truth[signal, word])

    assert value("a high and b low") == 0.3
    assert value("a is high or b low and s on") == 0.8
    assert value("not (a high or b low)") == pytest.approx(0.2)
    assert plain({"if": "x", "component": "m", "cause": "c"}) == []
    assert said("mill", "bearing: damaged") == "mill bearing: damaged"
    assert said("mill", "loose") == "mill: loose"


# -- cases that people tell --------------------------------------------------------------------------------------------


def test_a_case_that_a_person_told_is_known_from_then_on_also_after_a_restart(known: Known, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    detector = made(tmp_path, known)
    news = told(detector, plant(9, "saw", "strange"), folder=tmp_path, shelf=shelf, others=[trouble()])
    assert news[-1].name == "unknown"
    assert detector.teach(replace(news[-1], time=START + 640 * MINUTE), "saw gear", "stripped")
    again = made(tmp_path, known)  # another machine, another day, another process
    last = told(again, plant(31, "drill", "strange"), folder=tmp_path, shelf=shelf)[-1]
    assert (last.name, last.subject) == ("drill gear: stripped", "drill")
    assert not detector.teach(news[-1], "nobody", "x")


def test_a_false_alarm_is_not_told_again(known: Known, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    detector = made(tmp_path, known)
    values = plant(5, "mill", "fan: clogged")
    news = told(detector, values, folder=tmp_path, shelf=shelf)
    assert detector.teach(replace(news[-1], time=START + 600 * MINUTE), "", "")
    after = told(made(tmp_path, known), values, folder=tmp_path, shelf=shelf)
    assert max((f.confidence for f in after), default=0.0) < news[-1].confidence or not after


# -- its parts ---------------------------------------------------------------------------------------------------------


def test_it_can_be_asked_about_windows(known: Known, tmp_path: Path) -> None:
    detector = made(tmp_path, known)
    values = plant(100, "drill", "bearing: damaged")
    finding = told(detector, values, folder=tmp_path)[-1]
    assert isinstance(detector, Scores)
    sight = detector.sight(finding)
    assert sight is not None
    windows = np.stack([values[600:660], values[420:480]])[:, :, [NAMES.index(n) for n in sight.signals]]
    ill, well = detector.scored(finding, windows)
    assert ill > sight.limit > well
    assert detector.sight(trouble()) is None


def test_the_virtual_model_stands_in_for_what_was_learned(known: Known, tmp_path: Path) -> None:
    """The model says that the mill's temperature is off, though the learned normal sees nothing."""
    detector = made(tmp_path, known)
    news, rng = [], np.random.default_rng(0)
    for s in course(detector, plant(50), tmp_path):
        off = rng.standard_normal() + 8.0 * (s.now >= START + 500 * MINUTE)
        belief = Belief(("x",), np.zeros((1, 2)), s.now, {"mill_temperature": (off, 1.0)})
        news += detector.inspect(replace(s, belief=belief))
    assert news[-1].name == "mill fan: clogged"


def test_the_normal_knows_states_settings_and_what_it_never_saw() -> None:
    seen = view(SIGNALS)
    assert (seen.parts, seen.whole) == (MACHINES, "line")
    values = plant(0, rows=800)
    columns = spread(seen, values, NAMES)
    family = values[:, [NAMES.index("family")]]
    normal = Normal(seen, ("family",))
    normal.fit(columns[:500], family[:500])
    off, memory = normal.residuals(columns[500:], family[500:])
    place = [c.signal for c in seen.columns].index("mill_power")
    assert abs(float(np.nanmean(off[:, place]))) < 0.2
    assert 0.7 < float(np.nanstd(off[:, place])) < 1.4
    first, held = normal.residuals(columns[500:650], family[500:650])
    rest, _ = normal.residuals(columns[650:], family[650:], held)
    np.testing.assert_allclose(np.vstack([first, rest]), off)
    unseen, _ = normal.residuals(columns[500:510], np.full((10, 1), 7.0))
    assert np.isnan(unseen[:, place]).all()
    assert memory.before.shape == (1, len(seen.columns))


def test_what_is_known_survives_its_file_and_says_when_it_is_none(known: Known, tmp_path: Path) -> None:
    again = load(known.save())
    seen = np.random.default_rng(0).standard_normal((4, len(known.slots), len(FEATURES)))
    np.testing.assert_allclose(again.log_odds(seen), known.log_odds(seen), atol=1e-3)
    assert np.isneginf(known.log_odds(seen)[-1]).sum() == 3
    (tmp_path / "bad.npz").write_bytes(b"no cases")
    with pytest.raises(PartError, match=r"bad\.npz"):
        load(tmp_path / "bad.npz")
    for damaged in (b"", b"PK", b"\x89PNG", b"time,value\n", known.save()[:-30], known.save()[:400]):
        (tmp_path / "bad.npz").write_bytes(damaged)
        with pytest.raises(PartError, match="no file of known cases"):
            load(tmp_path / "bad.npz")
    with pytest.raises(PartError, match="cannot be read"):
        load(tmp_path / "none.npz")


def test_names_are_relative_to_the_machine() -> None:
    assert relative("saw_mill", "mill", MACHINES) == "*_@"
    assert relative("saw_mill", "saw", MACHINES) == "@_*"
    slots = view([*SIGNALS, Signal("saw_mill", asset="line")]).slots("mill")
    assert {"@power", "~power", "^scrap", "*_@", "@state=busy"} <= set(slots)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"sure": 2}, "sure"), ({"learn": "soon"}, "learn"), ({"raise_after": 0}, "raise_after"),
        ({"signals": ["mil_power"]}, "mill_power"), ({"whole": "plant"}, "whole"),
    ],
)  # fmt: skip
def test_wrong_keys_are_said(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        course(build("detectors", {"kind": "diagnosis", **keys}), plant(0))


def test_missing_and_frozen_telemetry_breaks_nothing(known: Known, tmp_path: Path) -> None:
    values = plant(1)
    values[520:, NAMES.index("mill_power")] = np.nan
    values[540:, NAMES.index("drill_vibration")] = 1.0
    values[560:580] = np.nan
    for finding in told(made(tmp_path, known), values, folder=tmp_path):
        assert np.isfinite(list(finding.evidence.values())).all()
