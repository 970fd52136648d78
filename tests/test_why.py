"""Why a finding: its shares, ranked causes, raw signals and the like of it before; and what people say it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from gemel import Asset, Signal, Twin
from gemel.core.clock import Virtual
from gemel.core.errors import InputError, NotFound
from gemel.core.explain import Sight
from gemel.core.values import Batch, Finding, Floats, Signals
from gemel.desk.likeness import likeness, relative
from gemel.desk.why import ranked, shares
from gemel.loop.decide import Situation
from gemel.stores.memory import Memory

MINUTE = 60 * 10**9
START = 1_700_000_040 * 10**9 // (60 * MINUTE) * 60 * MINUTE
SIGNALS = [
    Signal("mill_power", asset="mill", unit="kW"),
    Signal("mill_vibration", asset="mill", unit="mm/s"),
    Signal("drill_vibration", asset="drill", unit="mm/s"),
]


def found(id: str, minute: int, subject: str = "mill", open: bool = True, **evidence: float) -> Finding:
    at = START + minute * MINUTE
    return Finding(id, f"{subject} bearing: damaged", subject, at, at, 0.7, 0.8, "", open, evidence or {}, "diagnosis")


class Mute:
    """A detector that has found what it has found."""

    def inspect(self, situation: Situation) -> list[Finding]:
        return []


class Judge(Mute):
    """One that can judge windows: the mean vibration of the mill."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def sight(self, finding: Finding) -> Sight | None:
        return Sight(("mill_power", "mill_vibration"), MINUTE, 20, 2.0)

    def scored(self, finding: Finding, windows: Floats) -> Floats:
        return np.asarray(np.nanmean(windows[:, :, 1], axis=1))

    def teach(self, finding: Finding, component: str, cause: str) -> bool:
        self.told.append((finding.id, component, cause))
        return True


def twin(detector: Any, *findings: Finding) -> Twin:
    """A twin whose mill shakes from minute 300 on, with these findings."""
    made = Twin(
        name="shop", signals=SIGNALS, assets=[Asset("mill"), Asset("drill")], every="1min", store=Memory(),
        detectors=[detector], clock=Virtual(START + 400 * MINUTE),
    )  # fmt: skip
    store = made.open().store
    rng = np.random.default_rng(0)
    minutes = np.arange(400)
    for place, values in enumerate((rng.normal(5, 0.1, 400), 1 + 3.0 * (minutes >= 300), rng.normal(1, 0.1, 400))):
        store.append(Batch.of(np.full(400, place), START + minutes * MINUTE, np.asarray(values, float)))
    store.record(*findings)
    return made


def test_a_detector_that_can_judge_windows_is_explained_by_attribution() -> None:
    with twin(Judge(), found("f", 320, mill_power=0.9)) as shop:
        answer = shop.explain("f")
        assert answer["scored"]
        assert answer["by"] == "attribution"
        first = answer["shares"][0]
        assert first["signal"] == "mill_vibration"
        assert first["share"] > 0.9 * sum(abs(row["share"]) for row in answer["shares"])
        assert "mill_vibration" in answer["sentence"]["en"]
        assert "mill_vibration" in answer["sentence"]["zh"]
        drawn = {row["signal"] for row in answer["series"]["series"]}
        assert {"mill_vibration", "mill_power"} <= drawn
        assert answer["series"]["start"] < found("f", 320).start < answer["series"]["end"]


def test_another_detector_is_explained_by_its_own_evidence_and_the_answer_says_so() -> None:
    with twin(Mute(), found("f", 320, mill_vibration=3.0, mill_power=1.0, score=9.0)) as shop:
        answer = shop.explain()
        assert not answer["scored"]
        assert answer["by"] == "evidence"
        assert [(row["signal"], row["share"]) for row in answer["shares"]] == [
            ("mill_vibration", 0.75), ("mill_power", 0.25),
        ]  # fmt: skip
        assert "own evidence" in answer["sentence"]["en"]


def test_the_like_of_it_on_another_machine_is_told_with_what_people_said() -> None:
    earlier = found("old", 20, "drill", False, drill_vibration=0.8)
    other = found("odd", 30, "mill", False, mill_power=1.0)
    with twin(Mute(), earlier, other, found("f", 320, mill_vibration=0.9)) as shop:
        shop.verdict("old", "drill bearing: damaged", by="ann")
        answer = shop.explain("f")
        first = answer["similar"][0]
        assert first["finding"].id == "old"
        assert first["likeness"] > 0.85
        assert [a.note for a in first["verdicts"]] == ["drill bearing: damaged"]
        assert "odd" not in [case["finding"].id for case in answer["similar"]]


def test_a_verdict_teaches_and_says_what_it_cannot_read() -> None:
    judge = Judge()
    with twin(judge, found("f", 320, mill_vibration=0.9)) as shop:
        shop.verdict("f", "mill bearing: damaged", by="ann")
        shop.verdict("f", "false alarm")
        assert judge.told == [("f", "mill bearing", "damaged"), ("f", "", "")]
        assert [a.note for a in shop.explain("f")["verdicts"]] == ["mill bearing: damaged", "false alarm"]
        for was, said in (("mil: worn", "'mil'.*mill"), ("mill", "not a verdict"), (": worn", "''")):
            with pytest.raises(InputError, match=said):
                shop.verdict("f", was)
        with pytest.raises(NotFound, match="no finding 'g'"):
            shop.explain("g")
        with pytest.raises(InputError, match="attribution"):
            shop.explain("f", by="atribution")


def test_names_are_seen_from_the_machine() -> None:
    assert relative("mill_vibration", "mill", ["mill", "drill"]) == "@_vibration"
    assert relative("mill_drill", "drill", ["mill", "drill"]) == "*_@"
    assert likeness({"a": 1.0}, {"a": 2.0}) == pytest.approx(1.0)
    assert likeness({"a": 1.0}, {"b": 2.0}) == likeness({}, {}) == 0.0


def test_candidates_and_shares_are_read_from_evidence() -> None:
    one = Finding("f", "x", "mill", 0, 0, 0.5, 0.5, evidence={
        "P(mill bearing: damaged)": 0.6, "P(mill tool: broken)": 0.3, "P(unknown)": 0.1, "P(oil > 90)": 1.0,
        "score": 3.0,
        "mill_power": float("nan"), "mill_vibration": -2.0,
    })  # fmt: skip
    assert [row["name"] for row in ranked(one)] == ["mill bearing: damaged", "mill tool: broken", "unknown"]
    assert shares(one, Signals(SIGNALS).names) == {"mill_vibration": 1.0}


FILE = """
name = "shop"
every = "1min"
signals = [{ name = "mill_vibration", asset = "mill" }]
store = { kind = "duckdb", path = "shop.gemel" }
"""


def test_the_command_line_tells_why_and_takes_a_verdict(tmp_path: Path) -> None:
    from gemel.cli import app
    from gemel.config import load

    file = tmp_path / "shop.toml"
    file.write_text(FILE)
    with load(file) as shop:
        store = shop.open().store
        store.append(Batch.of(np.zeros(50), START + np.arange(50) * MINUTE, np.ones(50)))
        store.record(found("f", 20, mill_vibration=0.9, **{"P(mill bearing: damaged)": 0.8}))

    def said(*words: str) -> str:
        ran = CliRunner().invoke(app, [words[0], str(file), *words[1:]])
        assert ran.exit_code == 0, ran.output
        return ran.output

    text = said("why")
    assert "mill bearing: damaged" in text
    assert "80%" in text
    assert "█" in text
    assert "next: gemel verdict" in text
    assert "检测器" in said("why", "--language", "zh")
    assert "next: gemel why" in said("verdict", "f", "mill bearing: damaged")
    answer: Mapping[str, Any] = json.loads(said("why", "f", "--json"))
    assert answer["verdicts"][0]["note"] == "mill bearing: damaged"
