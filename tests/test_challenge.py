"""Structures that compete in a twin, and proposals judged against its history."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.plants.rooms import DAY, START, Building, telemetry
from typer.testing import CliRunner

from gemel import Signal, Twin, dump, load
from gemel.cli import app
from gemel.core.clock import Data
from gemel.core.errors import Conflict, InputError
from gemel.core.values import Batch, Belief, Frame
from gemel.desk.challenge import PRESENT, _beside
from gemel.detectors.champion import Champion
from gemel.estimators.compete import Compete
from gemel.estimators.enkf import Enkf
from gemel.loop.decide import Situation
from gemel.simulators.candidates import Candidates
from gemel.stores.memory import Memory
from gemel.testing.detector import check_detector

NAMES = ("heat", "outdoor", "wind", "T_room")
OPENED = 6  # the day on which the window is opened


class Log:
    """Telemetry as a source: a batch a row."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    async def stream(self) -> AsyncIterator[Batch]:
        for time, row in zip(self._frame.time.tolist(), self._frame.values, strict=True):
            yield Batch.of(np.arange(len(row)), [time] * len(row), row)

    def confirm(self, batch: Batch) -> None:
        """Nothing to forget."""


def twin_of(frame: Frame, simulator: Any = None, **parts: Any) -> Twin:
    signals = [Signal(n, address=f"log:{n}") for n in NAMES]
    simulator = simulator or Candidates({"two": Building(2), "window": Building(2, window=True)})
    parts.setdefault("store", Memory())
    parts.setdefault("estimator", Compete(Enkf({"T_room": 0.1}, members=32)))
    return Twin(
        name="room", signals=signals, every="1h", horizon="24h", connectors={"log": Log(frame)},
        simulator=simulator, clock=Data(), **parts,
    )  # fmt: skip


@pytest.fixture(scope="module")
def course() -> Frame:
    return telemetry(12, 1, lambda day: 0.03 * (day >= OPENED))


@pytest.fixture(scope="module")
def twin(course: Frame) -> Iterator[Twin]:
    with twin_of(course, detectors=[Champion()]) as held:
        held.run()
        yield held


def champion(twin: Twin, belief: Belief) -> str:
    return next(n for n in twin.simulator.candidates if belief.row(f"{n}.champion")[0])


def test_a_change_of_champion_is_a_finding_that_says_why(twin: Twin) -> None:
    (change,) = twin.findings(all=True)
    assert OPENED * DAY < change.start - START <= (OPENED + 2) * DAY
    assert "'window' foretells better than 'two'" in change.text
    assert change.evidence["lead"] >= 3.0
    assert not change.open  # it was news for a day
    assert champion(twin, twin.fork().origin.belief) == "window"


def test_a_fork_of_the_past_has_the_champion_and_the_belief_of_then(twin: Twin, course: Frame) -> None:
    (change,) = twin.findings(all=True)
    row = int(np.searchsorted(course.time, change.start)) + 9
    past = twin.fork(at=int(course.time[row]), members=None).origin.belief
    with twin_of(course.rows(0, row + 1)) as other:
        other.run()
        then = other.fork(members=None).origin.belief
    assert champion(twin, past) == "window"
    np.testing.assert_allclose(past.members, then.members, rtol=1e-9)


def test_a_twin_that_was_stopped_goes_on_as_if_it_had_not_been(twin: Twin, course: Frame) -> None:
    held = Memory()
    for rows in (6 * 24 + 20, len(course)):  # the first ends in the middle of a stretch, before the change
        with twin_of(course.rows(0, rows), store=held, detectors=[Champion()]) as other:
            other.run()
            found = other.fork(members=None).origin.belief, other.findings(all=True)
    np.testing.assert_array_equal(found[0].members, twin.fork(members=None).origin.belief.members)
    assert found[1] == twin.findings(all=True)


def test_what_if_and_fork_run_the_champion_alone(twin: Twin) -> None:
    asis, warm = twin.whatif("6h", heat=9.0)
    assert (warm.median("T_room")[1:] > asis.median("T_room")[1:] + 1.0).all()
    run = twin.fork(members=50).set("wind", 10.0).run("12h")
    cold = run.compare()["difference"].median("T_room")
    assert cold[-1] < -1.0  # the present champion knows of the wind


def test_the_detector_keeps_its_contract_and_names_who_is_out() -> None:
    simulator = Candidates({"one": Building(1), "two": Building(2)})
    whole, situations = simulator.filled(None, 1, 3), []
    for i in range(40):
        ledger = simulator.ledger(whole)
        ledger["one"] |= {"champion": float(i < 20), "out": float(20 <= i < 30), "score": -2.0}
        ledger["two"] |= {"champion": float(i >= 20), "score": 0.5}
        now = START + i * 3600 * 10**9
        belief = simulator.whole({n: simulator.part(whole, n) for n in simulator.candidates}, ledger)
        belief = Belief(belief.names, belief.members, now)
        situations.append(Situation(now, 3600 * 10**9, 1, None, {}, belief, simulator=simulator))  # type: ignore[arg-type]
    news = check_detector(lambda: Champion(keep="6h"), situations)
    assert [(f.name, f.open) for f in news[:2]] == [("another champion", True), ("one cannot be run", True)]
    assert [(f.name, f.open) for f in news[2:]] == [("another champion", False), ("one cannot be run", False)]
    assert "'two' takes over from 'one', which cannot be run" in news[0].text


def test_a_better_structure_is_admitted_and_a_worse_or_an_equal_one_is_not() -> None:
    frame = telemetry(24, 1, lambda day: 0.03)
    proposals = {"window": Building(2, window=True), "one": Building(1), "same": Building(2), "none": object()}
    with twin_of(frame, Building(2), estimator=Enkf({"T_room": 0.1}, members=32)) as twin:
        twin.open()
        store(twin, frame)
        found = twin.challenge(proposals, last="24d")
    rows = {row["name"]: row for row in found["candidates"]}
    assert list(rows) == [PRESENT, "window", "one", "same", "none"]
    assert [name for name, row in rows.items() if row["admitted"]] == ["window"]
    assert rows["window"]["low"] > 0.5
    assert rows["window"]["rmse"]["T_room"] < rows[PRESENT]["rmse"]["T_room"]
    assert rows["same"]["gain"] == 0.0
    assert rows["one"]["high"] < 0.0
    assert "cannot be" in rows["none"]["trouble"]


def store(twin: Twin, frame: Frame) -> None:
    n, s = frame.values.shape
    twin.store.append(Batch.of(np.tile(np.arange(s), n), np.repeat(frame.time, s), frame.values.ravel()))


def test_what_cannot_be_judged_is_refused(twin: Twin) -> None:
    with pytest.raises(InputError, match="nothing to judge"):
        twin.challenge()
    with pytest.raises(InputError, match="are too few"):
        twin.challenge(Building(1), last="3d")
    with pytest.raises(InputError, match="no parameter 'wnid'"):
        twin.challenge(terms={"wnid": 0.0})
    with pytest.raises(InputError, match="cannot be named 'present'"):
        twin.challenge({PRESENT: Building(1)})
    with twin_of(telemetry(1, 0), Building(2), estimator=None) as other, pytest.raises(Conflict, match="no estimator"):
        other.challenge(Building(1))


def test_a_proposal_that_foretells_nothing_does_not_keep_others_from_being_judged() -> None:
    class Sunny(Building):
        """Wants an input that nobody measures."""

        def __init__(self) -> None:
            super().__init__(2)
            self.inputs = (*self.inputs, "sun")

        def step(self, memory: Any, inputs: Any, dt: float) -> tuple[Any, Any]:
            moved, outputs = super().step(memory, inputs[:-1], dt)
            return moved, outputs + inputs[-1]

    frame = telemetry(20, 3)
    with twin_of(frame, Building(2), estimator=Enkf({"T_room": 0.1}, members=16)).open() as twin:
        store(twin, frame)
        found = twin.challenge({"one": Building(1), "sunny": Sunny()}, last="20d")
    rows = {row["name"]: row for row in found["candidates"]}
    assert np.isfinite(rows["one"]["score"])
    assert rows["sunny"]["trouble"] == "input 'sun' was never heard"
    assert not rows["sunny"]["admitted"]


def test_files_of_parts_are_found_beside_the_twin_file(tmp_path: Path) -> None:
    (tmp_path / "room.py").write_text("")
    spec = {"kind": "residual", "simulator": {"kind": "ode", "equations": "room.py:Room"}}
    assert _beside(spec, tmp_path)["simulator"]["equations"] == str(tmp_path / "room.py:Room")


ROOM = """
class Room:
    states = {"T_room": {"mean": 20, "sd": 2, "noise": 0.03}, "wall": {"mean": 17, "sd": 2}}
    inputs = {"heat": "", "outdoor": "", "wind": ""}
    outputs = {"T_room": ""}
    parameters = {
        "capacity": {"mean": 3, "sd": 1, "low": 0.3, "high": 30}, "heavy": {"mean": 15, "sd": 5, "low": 2, "high": 90},
        "inside": {"mean": 1, "sd": 0.3, "low": 0.1, "high": 5}, "outside": {"mean": 0.3, "sd": 0.1, "low": 0.01},
        "draught": {"mean": 0.03, "sd": 0.02, "low": 0, "high": 1},
    }

    def derivative(self, t, x, u, p):
        (air, wall), (heat, outdoor, wind), (capacity, heavy, inside, outside, draught) = x, u, p
        q = inside * (air - wall)
        away = (0.1 + draught * wind) * (air - outdoor)
        return [(heat - q - away) / capacity / 3600, (q - outside * (wall - outdoor)) / heavy / 3600]
"""
FILE = """
name = "room"
every = "1h"
simulator = { kind = "ode", equations = "room.py:Room", step = "30min", kernel = "numpy", priors = { draught = 0 } }
estimator = { kind = "enkf", noise = { T_room = 0.1 }, members = 24 }
signals = [
  { name = "heat" },
  { name = "outdoor" },
  { name = "wind" },
  { name = "T_room" },
]
"""


def test_the_command_judges_prints_and_writes_lines_that_load(tmp_path: Path) -> None:
    frame = telemetry(20, 1, lambda day: 0.03)
    (tmp_path / "room.py").write_text(ROOM)
    (tmp_path / "room.toml").write_text(FILE)
    file_of = str(tmp_path / "room.toml")
    with load(file_of) as twin:
        twin.open()
        store(twin, frame)
    words = [
        "challenge",
        file_of,
        "--term",
        "draught=0",
        "--equations",
        "room.py:Rom",
        "--last",
        "20d",
        "--ahead",
        "3h",
    ]
    told = CliRunner().invoke(app, words).stdout
    assert "did you mean 'Room'" in " ".join(told.split())
    assert re.search(r"with_draught .* admitted", told)
    lines = told.partition("put into the twin file:")[2].partition("next:")[0].splitlines()
    kept = [line for line in FILE.splitlines() if not line.startswith(("simulator", "estimator"))]
    again = load("\n".join([*kept, *lines]), tmp_path)
    assert tuple(again.simulator.candidates) == ("present", "with_draught")
    assert load(dump(again), tmp_path).simulator.states == again.simulator.states
