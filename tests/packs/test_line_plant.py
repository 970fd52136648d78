"""The emulated line: its accounts balance, it obeys, and each of its faults is seen in the signals it says."""

from __future__ import annotations

import asyncio
import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel.core import png
from gemel.core.blobs import Blobs
from gemel.core.clock import Data
from gemel.core.errors import ConfigError, InputError
from gemel.core.setting import Setting
from gemel.core.units import duration
from gemel.core.values import Command, Floats, Signal, Signals
from gemel.packs.manufacturing.flow import ROOM
from gemel.packs.manufacturing.line import BUFFERS, COLUMNS, FAULTS, MACHINES, MINUTE, STATES, Fault, Plant
from gemel.packs.manufacturing.live import Line
from gemel.packs.manufacturing.machines import RELEASE
from gemel.testing.source import check_source

HOUR = duration("1h")
BUSY, SERVICE = STATES.index("busy"), STATES.index("service")


def healthy(**more: Any) -> Plant:
    return Plant(**({"bearings": 0.0, "dropouts": 0.0} | more))


def column(values: Floats, name: str) -> Floats:
    return values[:, COLUMNS.index(name)]


def test_one_seed_is_one_plant_however_it_is_stepped() -> None:
    _, whole, names = healthy(seed=4).record("8h")
    assert names == COLUMNS
    stepped = healthy(seed=4)
    parts = [stepped.record("1h")[1] for _ in range(8)]
    assert np.array_equal(whole, np.vstack(parts), equal_nan=True)
    twin = copy.deepcopy(stepped)
    assert np.array_equal(stepped.record("4h")[1], twin.record("4h")[1], equal_nan=True)
    assert not np.array_equal(whole, healthy(seed=5).record("8h")[1], equal_nan=True)


def test_parts_are_conserved_and_buffers_never_overflow() -> None:
    plant = healthy(seed=2)
    before = np.zeros(len(BUFFERS))
    for _ in range(12):
        _, values, _ = plant.record("6h")
        made = np.array([column(values, f"{m}_parts").sum() for m in MACHINES])
        counts = plant.truth.counts
        assert counts["entered"] == counts["good"] + counts["scrap"] + counts["inside"]
        for i, (name, room) in enumerate(zip(BUFFERS, ROOM, strict=True)):
            level = column(values, name)
            assert 0 <= level.min() <= level.max() <= room
            # what a machine made went into the buffer behind it, but for the one it holds or has just handed on
            assert abs((made[i] - made[i + 1]) - (level[-1] - before[i])) <= 3
            before[i] = level[-1]


@pytest.mark.slow
def test_littles_law_holds_without_faults() -> None:
    """Parts in the line are what comes out an hour, times the hours each spends in it."""
    plant = healthy(seed=6, upkeep=0.5)
    plant.record("1d")
    done, spent = plant.truth.counts["good"], plant.flow_s
    scrap = plant.truth.counts["scrap"]
    inside = []
    for _ in range(10 * 24 * 4):
        plant.record("15min")
        inside.append(plant.truth.counts["inside"])
    left = plant.truth.counts["good"] + plant.truth.counts["scrap"] - done - scrap
    through, stay = left / (10 * 24), (plant.flow_s - spent) / left / 3600
    assert np.mean(inside) == pytest.approx(through * stay, rel=0.03)
    assert through == pytest.approx(RELEASE, rel=0.04)


@pytest.mark.slow
def test_what_is_not_serviced_fails_and_costs() -> None:
    neglected, kept = healthy(seed=3), healthy(seed=3, upkeep=0.6)
    for plant in (neglected, kept):
        plant.record("10d")
    left, cared = neglected.truth, kept.truth
    assert left.counts["failures"] >= 4 > cared.counts["failures"]
    assert cared.counts["services"] >= 8
    assert left.costs["total"] > 2 * cared.costs["total"]
    assert left.costs["total"] == pytest.approx(sum(v for k, v in left.costs.items() if k != "total"))
    failures = [h for h in neglected.happenings if h.what == "failure"]
    assert len(failures) == left.counts["failures"]
    assert all(left.wear[m] < left.limit[m] for m in MACHINES)


@pytest.mark.slow
def test_the_life_that_is_true_is_about_the_life_that_follows() -> None:
    """What `truth.life` says, against the hours until the machine really fails."""
    off = []
    for seed in range(20, 26):
        plant = healthy(seed=seed)
        life = plant.truth.life["mill"]
        plant.record("8d")
        failed = next(h.time for h in plant.happenings if h.what == "failure" and h.machine == "mill")
        off.append((failed - plant.start) / HOUR / life)
    assert 0.8 < np.median(off) < 1.4


def test_commands_are_obeyed() -> None:
    plant = healthy(seed=7)
    plant.record("3h")
    assert plant.truth.wear["mill"] > 0.05
    rows = plant.advance("2h", {"mill_service": 1})
    states = [row["mill_state"] for _, row in rows]
    assert SERVICE in states[:4]
    assert states.count(SERVICE) == pytest.approx(45, abs=20)
    assert states[-1] != SERVICE  # asked for once, done once
    assert plant.truth.wear["mill"] < 0.04
    assert plant.truth.counts["services"] == 1
    _, values, _ = plant.record("1d")
    plant.command({"release": 10})
    plant.record("12h")  # what waits is worked off
    slow = plant.record("1d")[1]
    assert column(slow, "saw_parts").sum() == pytest.approx(240, abs=8)
    assert column(values, "saw_parts").sum() > 700
    plant.command({"release": float("nan"), "family": 2})
    plant.record("1d")
    assert set(column(plant.record("1d")[1], "family")) == {2.0}
    with pytest.raises(InputError, match="mill_power takes no commands"):
        plant.command({"mill_power": 1})


def ill(kind: str, machine: str, seed: int = 13, hours: int = 8) -> tuple[Floats, Floats]:
    """The hours after a fault began at size 1, without it and with it: the same plant otherwise."""
    found = []
    for faults in ([], [Fault(kind, machine, at="1d")]):
        plant = healthy(seed=seed, faults=faults, upkeep=0.6)
        plant.record("1d")
        found.append(plant.record(f"{hours}h")[1])
    return found[0], found[1]


SHOWS = {
    "tool wear": ("mill", {"mill_vibration": +1, "mill_power": +1}),
    "tool breakage": ("mill", {"mill_power": -1, "mill_kurtosis": +1, "scrap": +1}),
    "bearing damage": ("grind", {"grind_kurtosis": +1}),
    "unbalance": ("saw", {"saw_vibration": +1}),
    "coolant loss": ("mill", {"mill_temperature": +1}),
    "lubrication loss": ("wash", {"wash_temperature": +1, "wash_power": +1}),
    "fan clogged": ("drill", {"drill_temperature": +1}),
    "fixture loose": ("mill", {"mill_kurtosis": +1, "size": 0}),
    "belt slip": ("grind", {"grind_cycle": +1, "grind_power": -1}),
    "conveyor jam": ("mill", {"mill_parts": -1}),
    "vibration sensor drift": ("drill", {"drill_vibration": +1}),
    "temperature sensor stuck": ("wash", {"wash_temperature": 0}),
    "voltage sag": ("", {f"{m}_cycle": +1 for m in MACHINES}),
    "hard material": ("", {"saw_power": +1, "mill_power": +1}),
    "operator missing": ("", {}),
    "camera dirty": ("", {"scrap": +1}),
}
"""Kind -> where, and what it must show: +1 rises, -1 falls, 0 scatters otherwise."""


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_is_seen_where_it_says(kind: str) -> None:
    machine, shows = SHOWS[kind]
    well, sick = ill(kind, machine)
    for name, sign in shows.items():
        a, b = column(well, name), column(sick, name)
        owner = name.partition("_")[0]
        if owner in MACHINES and name.rpartition("_")[2] in ("power", "vibration", "kurtosis"):
            a, b = a[column(well, f"{owner}_state") == BUSY], b[column(sick, f"{owner}_state") == BUSY]
        a, b = a[np.isfinite(a)], b[np.isfinite(b)]
        if sign:
            apart = sign * (b[len(b) // 3 :].mean() - a[len(a) // 3 :].mean())
            assert apart > 3 * np.hypot(a.std() / len(a) ** 0.5, b.std() / len(b) ** 0.5), name
        elif kind == "temperature sensor stuck":
            assert np.ptp(b) == 0 < np.ptp(a)
        else:
            assert b.std() > 2 * a.std(), name
    if kind == "operator missing":
        setup = [(column(v, f"{m}_state") == STATES.index("setup")).sum() for v in (well, sick) for m in MACHINES]
        assert sum(setup[5:]) > 1.3 * sum(setup[:5])


def test_a_jam_blocks_although_there_is_room() -> None:
    _, sick = ill("conveyor jam", "mill")
    blocked = column(sick, "mill_state") == STATES.index("blocked")
    assert blocked.mean() > 0.5
    assert column(sick, "mill_drill")[blocked].mean() < 2


def test_a_service_ends_what_is_wrong_with_its_machine() -> None:
    faults = [Fault("unbalance", "mill", at="1h"), Fault("voltage sag", at="1h", lasts="4h")]
    plant = healthy(faults=faults)
    plant.record("2h")
    assert plant.truth.faults == tuple(faults)
    plant.advance("2h", {"mill_service": 1})
    assert plant.truth.faults == (faults[1],)
    plant.record("2h")
    assert plant.truth.faults == ()
    assert [h.what for h in plant.happenings] == ["fault", "fault", "service", "renewed"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fault("tool were", "mill"), "there is no fault 'tool were', did you mean 'tool wear'"),
        (lambda: Fault("coolant loss", "wash"), "at saw, mill, drill, grind, not at 'wash'"),
        (lambda: Fault("voltage sag", "mill"), "of the whole line, not at 'mill'"),
        (lambda: Fault("unbalance", "mill", at="soon"), "'soon' is not a duration"),
        (lambda: Plant(start="soon"), "'soon' is not a time"),
        (lambda: Plant(upkeep=-1), "upkeep must be 0 to 2"),
        (lambda: Line(camera="90s"), "camera '90s' must be whole minutes"),
        (lambda: Line(faults=[{"kind": "unbalance", "where": "mill"}]), "a fault has kind, machine, at, lasts, size"),
    ],
)
def test_settings_that_do_not_fit_are_named(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make()
    assert message in str(error.value)


SIGNALS = Signals(
    [
        Signal("power", address="p:line/row#mill_power"),
        Signal("state", type="state", states=STATES, address="p:mill_state"),
        Signal("service", role="controlled", address="p:line/row#mill_service"),
        Signal("camera", type="blob", address="p:line/camera"),
    ]
)


def bound(line: Line, signals: Signals = SIGNALS, blobs: Blobs | None = None) -> Line:
    setting = Setting("t", "p", signals, Data(), HOUR // 12, 24 * HOUR, 1, Path(), blobs=blobs)
    line.bind(setting)
    return line


def test_it_is_a_source() -> None:
    async def feed(points: int) -> None:
        """It speaks by itself."""

    asyncio.run(check_source(lambda: bound(Line(history="2h", camera=""), blobs=Blobs(None)), feed, signals=4))
    with pytest.raises(ConfigError, match="line has no 'mill_powr', did you mean 'mill_power'"):
        bound(Line(history=""), Signals([Signal("x", address="p:mill_powr")]))


def test_it_is_an_actuator() -> None:
    line = bound(Line(history="", upkeep=0.0))
    line.tick()
    assert asyncio.run(line.send(Command("c", "service", 1.0, line.time + HOUR))).state == "done"
    assert line.tick()[1]["mill_service"] == 1.0
    assert asyncio.run(line.send(Command("d", "power", 1.0, line.time + HOUR))).text == "mill_power takes no commands"


def order(name: str, value: float, hours: float = 4.0, id: str = "c1", line: Line | None = None) -> Command:
    return Command(id, name, value, (line.time if line else 0) + round(hours * HOUR))


def test_a_service_is_asked_for_once_however_often_it_is_sent() -> None:
    line = Line(history="", upkeep=0.0, camera="")
    states = []
    for i in range(300):
        if i % 5 == 0:
            assert line.obey(order("mill_service", 1, id=f"c{i}", line=line)).state == "done"
        states.append(line.tick()[1].get("mill_state"))
    assert line.plant.truth.counts["services"] == 1
    assert states.count(float(SERVICE)) > 20
    for command, text in (
        (order("mill_service", 0.5, id="x1", line=line), "0.5 is not one of 0 .. 1"),
        (order("release", 99, id="x2", line=line), "99 is not one of 0 .. 60"),
        (order("size", 1, id="x3", line=line), "size takes no commands"),
        (order("family", 1, hours=-1, id="x4", line=line), "expired"),
    ):
        ack = line.obey(command)
        assert (ack.state, ack.text) == ("refused", text)


def test_a_command_that_expired_gives_the_plant_back() -> None:
    line = Line(history="", upkeep=0.01, camera="")
    line.obey(order("release", 0, hours=5, line=line))
    line.obey(order("mill_service", 0, hours=5, id="c2", line=line))
    during = [line.tick()[1] for _ in range(290)]
    after = [line.tick()[1] for _ in range(290)]
    assert {row.get("release", 0.0) for row in during} == {0.0}
    assert after[-1]["release"] == RELEASE
    assert not any(row.get("mill_state") == SERVICE for row in during)  # its people leave it to the twin
    assert any(row.get("mill_state") == SERVICE for row in after)


def test_pictures_are_of_the_parts_and_a_dirty_lens_is_seen() -> None:
    line = Line(history="6h", faults=[{"kind": "camera dirty", "at": "1min"}], camera="5min")
    before = [row["camera"] for _, row in line.past if "camera" in row]
    rows = [line.tick()[1] for _ in range(120)]
    after = [row["camera"] for row in rows[40:] if "camera" in row]
    assert len(before) > 40
    clear, dim = ([png.decode(p) for p in held if isinstance(p, bytes)] for held in (before, after))
    assert clear[0].shape == (64, 64)
    assert np.mean([p.std() for p in dim]) < 0.6 * np.mean([p.std() for p in clear])
    blobs = Blobs(None)
    batch = bound(Line(history="", camera="5min"), blobs=blobs)._doors.batch([(0, {"camera": before[0]})])
    assert blobs.get(float(batch.value[0])) == before[0]


@pytest.mark.slow
def test_a_month_takes_seconds() -> None:
    begin = time.process_time()
    times, values, _ = Plant(seed=8, upkeep=0.6).record("30d")
    assert time.process_time() - begin < 8  # about two on a quiet core
    assert values.shape == (30 * 1440, len(COLUMNS))
    assert set(np.diff(times).tolist()) == {MINUTE}
