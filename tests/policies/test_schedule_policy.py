from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError, InputError
from gemel.core.registry import build
from gemel.core.setting import Setting
from gemel.core.units import duration, instant
from gemel.core.values import Finding, Forecast, Signal, Signals
from gemel.loop.decide import Situation
from gemel.policies.maintenance import Maintenance, Remaining, expected_cost, remaining
from gemel.policies.schedule.book import HOUR, Scale, closures, read, shifts
from gemel.policies.schedule.policy import Scheduler
from gemel.policies.schedule.verify import verify
from gemel.testing import check_policy

MONDAY = instant("2026-11-23T06:00:00Z")
SIGNALS = Signals(
    [
        Signal("saw_down"),
        Signal("saw_life", unit="h"),
        Signal("saw_next", role="controlled", low=0, high=999),
        Signal("mill_next", role="controlled", low=0, high=999),
        Signal("saw_service", role="controlled", low=0, high=1),
    ]
)
MACHINES: dict[str, Any] = {
    "saw": {
        "shifts": ["Mon-Fri 06:00-22:00"],
        "setups": {"red>blue": "20min", "blue>red": "20min"},
        "family": "red",
        "next": "saw_next",
        "down": "saw_down",
        "repair": "3h",
    },
    "mill": {"next": "mill_next"},
}
ORDERS: list[dict[str, Any]] = [
    {
        "name": "17",
        "due": "2026-11-23T09:00",
        "weight": 5,
        "operations": [{"machines": {"saw": "1h"}, "family": "blue"}, {"machines": {"mill": "30min"}}],
    },
    {
        "name": "18",
        "due": "2026-11-23T08:00",
        "weight": 1,
        "operations": [{"machines": {"saw": "1h"}, "family": "red"}],
    },
    {"name": "rush", "number": 99, "operations": [{"machines": {"saw": "3h", "mill": "2h"}, "family": "red"}]},
]


def at(latest: Mapping[str, float] | None = None, now: int = MONDAY, **more: Any) -> Situation:
    return Situation(now, HOUR // 6, 24 * HOUR, SIGNALS, latest or {}, **more)


def bound(policy: Any, folder: Path) -> Any:
    policy.bind(Setting("t", "", SIGNALS, Virtual(), HOUR // 6, 24 * HOUR, 7, folder))
    return policy


def kept(folder: Path, orders: Any = ORDERS) -> Path:
    (folder / "orders.json").write_text(json.dumps({"orders": orders}), encoding="utf-8")
    return folder


def scheduler(folder: Path, **more: Any) -> Scheduler:
    given: dict[str, Any] = {"machines": MACHINES, "book": "orders.json", "seconds": 0.2, "workers": 1}
    policy: Scheduler = bound(Scheduler(**(given | more)), folder)
    return policy


def test_each_machine_is_told_its_next_order(tmp_path: Path) -> None:
    kept(tmp_path)
    decision = scheduler(tmp_path).decide(at())
    sent = {c.signal: c.value for c in decision.commands}
    assert sent == {"saw_next": 18.0, "mill_next": 99.0}  # red first, then one set-up, and both are in time
    assert decision.plan == {"saw_next": (18.0, 17.0), "mill_next": (99.0, 17.0)}
    assert decision.expected["late orders"] == 0
    assert "saw: order 18 at once, then 17 from Mon 23 Nov 07:20 (set up 20min before)" in decision.reason.replace(
        "S", "s", 1
    )
    assert "no order is late" in decision.reason
    assert decision.expected["cost is at least"] <= decision.expected["cost"]


def test_the_policies_keep_their_contract(tmp_path: Path) -> None:
    kept(tmp_path)
    spec = {"kind": "schedule", "machines": MACHINES, "book": "orders.json", "seconds": 0.2}
    check_policy(lambda: bound(build("policies", spec), tmp_path), at({"saw_down": 1.0}))
    spec |= {"kind": "maintenance", "services": {"saw": CARE}, "stock": {"blade": 1}}
    check_policy(lambda: bound(build("policies", spec), tmp_path), at({"saw_life": 30.0}))


def test_a_machine_that_is_down_is_planned_around(tmp_path: Path) -> None:
    kept(tmp_path)
    decision = scheduler(tmp_path).decide(at({"saw_down": 1.0}))
    sent = {c.signal: c.value for c in decision.commands}
    assert sent["saw_next"] == 0.0  # nothing within the hour of lead
    assert decision.plan["saw_next"][0] == 17.0  # the dearer one first now
    assert "saw down" in decision.reason
    assert decision.expected["late orders"] == 2


def test_what_the_book_says_has_begun_has(tmp_path: Path) -> None:
    begun = [dict(ORDERS[0]), ORDERS[1], ORDERS[2]]
    begun[0]["operations"] = [
        {"machines": {"saw": "1h"}, "family": "blue", "machine": "saw", "started": "2026-11-23T05:30"},
        {"machines": {"mill": "30min"}},
    ]
    kept(tmp_path, begun)
    proposal = scheduler(tmp_path).propose(at())
    tasks = {(t.order, t.step): t for t in proposal.schedule.tasks}
    assert (tasks["17", 0].start, tasks["17", 0].machine) == (-30, "saw")
    assert tasks["17", 0].end == 30
    assert tasks["18", 0].start == 50  # after a set-up
    assert not verify(proposal.problem, proposal.schedule)


def test_a_book_that_says_two_things_run_on_one_machine_is_still_planned(tmp_path: Path) -> None:
    runs = {"machines": {"saw": "1h"}, "started": "2026-11-23T05:50"}
    kept(tmp_path, [{"name": n, "operations": [runs, {"machines": {"saw": "1h"}}]} for n in ("1", "2")])
    proposal = scheduler(tmp_path).propose(at())
    assert sorted(t.start for t in proposal.schedule.tasks) == [-10, -10, 50, 110]


def test_a_machine_that_stays_down_does_not_put_the_work_off_twice(tmp_path: Path) -> None:
    kept(tmp_path, ORDERS[1:2])
    policy = scheduler(tmp_path, progress="plan")
    policy.propose(at())
    for minutes in (30, 40, 50):
        later = policy.propose(at({"saw_down": 1.0}, now=MONDAY + minutes * 60 * 10**9))
    assert later.schedule.tasks[0].end <= 180 + 60


def test_a_plan_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    kept(tmp_path)
    policy = scheduler(tmp_path, progress="plan")
    first = policy.propose(at())
    again = scheduler(tmp_path, progress="plan")
    again.restore(json.loads(json.dumps(policy.snapshot())))
    for part in (policy, again):
        later = part.propose(at(now=MONDAY + 90 * 60 * 10**9))
        moved = [replace(t, start=t.start - 90, end=t.end - 90, setup=None) for t in first.schedule.tasks]
        assert sorted(map(str, moved)) == sorted(str(replace(t, setup=None)) for t in later.schedule.tasks)
        assert {t.order for t in later.problem.frozen} == {"17", "18", "rush"}


def test_a_book_that_cannot_be_kept_names_the_conflict_and_is_planned_all_the_same(tmp_path: Path) -> None:
    late = [ORDERS[0] | {"deadline": "2026-11-23T07:00"}, *ORDERS[1:]]
    kept(tmp_path, late)
    decision = scheduler(tmp_path).decide(at())
    assert "order '17' cannot be done by Mon 23 Nov 07:00: its work alone" in decision.refused[0]
    assert decision.plan["saw_next"][0] == 17.0
    assert len(decision.commands) == 2


def test_a_book_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    assert "orders.json cannot be read" in scheduler(tmp_path).decide(at()).reason
    kept(tmp_path, [{"name": "1", "operations": [{"machines": {"sow": "1h"}}], "du": "now"}])
    decision = scheduler(tmp_path).decide(at())
    assert decision.commands == ()
    assert "order '1': unknown key 'du', did you mean 'due'?" in decision.reason
    kept(tmp_path, [{"name": "1", "operations": [{"machines": {"sow": "1h"}}]}])
    assert "there is no machine 'sow', did you mean 'saw'?" in scheduler(tmp_path).decide(at()).reason


def test_a_table_of_operations_is_the_same_book(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(
        "order,step,machine,duration,family,due,weight,number\n"
        "17,1,saw,1h,blue,2026-11-23T09:00,5,\n17,2,mill,30min,,,,\n"
        "18,1,saw,1h,red,2026-11-23T08:00,1,\n"
        "rush,1,saw,3h,red,,,99\nrush,1,mill,2h,,,,\n",
        encoding="utf-8",
    )
    kept(tmp_path)
    assert len(read(tmp_path / "orders.csv")) == 3
    table, text = (scheduler(tmp_path, book=name).decide(at()) for name in ("orders.csv", "orders.json"))
    assert (table.plan, table.expected) == (text.plan, text.expected)


def test_shifts_are_on_the_clock_of_their_zone() -> None:
    scale = Scale(instant("2026-10-24T00:00:00Z"), 60 * 10**9, "Europe/Berlin")
    until = instant("2026-10-27T00:00:00Z")
    windows = shifts(["Sat,Sun 22:00-06:00"], scale, until)  # the clock goes back in the night to Sunday
    assert windows[0] == (20 * 60, 29 * 60)
    assert windows[1] == (45 * 60, 53 * 60)
    assert closures(windows, scale, until)[0] == (0, 20 * 60)
    with pytest.raises(InputError, match="'Mon-Fry 06:00-22:00' is not a shift"):
        shifts(["Mon-Fry 06:00-22:00"], scale, until)


def test_settings_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Scheduler({"saw": {"shift": ["daily 06:00-14:00"]}}, progress="hope", lead="soon", zone="Mars/Base")
    for words in ("unknown key 'shift', did you mean 'shifts'", "progress 'hope'", "lead: 'soon'", "time zone"):
        assert words in str(caught.value)
    with pytest.raises(ConfigError, match="no signal 'saw_nxt', did you mean 'saw_next'"):
        bound(Scheduler({"saw": {"next": "saw_nxt"}}), tmp_path)
    with pytest.raises(ConfigError) as caught:
        Maintenance({"sow": CARE | {"crew": 3, "failure": 1}}, {"saw": {}})
    for words in (
        "no such machine, did you mean 'saw'?",
        "needs 3 people",
        "no spare part 'blade'",
        "no reason for one",
    ):
        assert words in str(caught.value)


# -- maintenance -------------------------------------------------------------------------------------------------------

CARE: dict[str, Any] = {
    "duration": "2h",
    "cost": 500,
    "failure": 10_000,
    "renewed": "1000h",
    "life": "saw_life",
    "signal": "saw_service",
    "crew": 1,
    "parts": {"blade": 1},
}


def maintenance(folder: Path, **more: Any) -> Maintenance:
    given: dict[str, Any] = {"services": {"saw": CARE}, "machines": MACHINES, "stock": {"blade": 1}}
    given |= {"seconds": 0.3, "workers": 1, "tick": "10min", "ahead": "14d"}
    policy: Maintenance = bound(Maintenance(**(given | more)), folder)
    return policy


def test_the_cost_of_waiting_is_that_of_age_replacement() -> None:
    shape, scale = 3.0, 100.0  # a Weibull life, known by its quantiles
    levels = np.linspace(0.05, 0.95, 19)
    life = Remaining(tuple(levels), tuple(scale * (-np.log1p(-levels)) ** (1 / shape)))
    hours = np.linspace(0, 250, 51)
    failed = -np.expm1(-((hours / scale) ** shape))
    assert np.allclose(life.failed(hours), failed, atol=0.005)
    grid = np.linspace(0, 600, 60_001)
    alive = np.exp(-((grid / scale) ** shape))
    unused = np.array([np.trapezoid(alive[grid >= t], grid[grid >= t]) for t in hours])
    expected = 10 * (1 - failed) + 90 * failed + 10 * unused / 90
    cost = expected_cost(life, hours, 10, 90, 90)
    assert np.allclose(cost, expected, rtol=0.01)
    # cheapest where the hazard times the price of a failure is what life is worth: 80 h(t) = 10 / 90
    assert abs(hours[np.argmin(cost)] - scale * np.sqrt(10 / 90 / 80 * scale / shape)) <= 5


def test_quantiles_of_any_kind_make_a_distribution() -> None:
    hours = np.linspace(0, 500, 99)
    for levels, ends in (((0.1, 0.5, 0.9), (5.0, 5.0, 5.0)), ((0.5,), (60.0,)), ((0.5, 1.0), (0.0, 0.0))):
        failed = Remaining(levels, ends).failed(hours)
        assert np.all(np.diff(failed) >= 0)
        assert failed[0] >= 0
        assert failed[-1] <= 1


@pytest.mark.parametrize(("hours", "early", "late"), [(15.0, 0.0, 6.0), (60.0, 3.0, 40.0), (2000.0, np.inf, np.inf)])
def test_the_shorter_the_life_the_sooner_the_service(tmp_path: Path, hours: float, early: float, late: float) -> None:
    kept(tmp_path)
    decision = maintenance(tmp_path).decide(at({"saw_life": hours}))
    when = decision.expected.get("hours until service of saw", np.inf)
    assert early <= when <= late
    sent = {c.signal: c.value for c in decision.commands}
    assert sent["saw_service"] == float(when <= 1)
    assert ("needs no service yet" in decision.reason) == (when == np.inf)


def test_a_service_waits_for_its_window_and_for_the_part(tmp_path: Path) -> None:
    night = {"saw": CARE | {"windows": ["Mon-Fri 22:00-06:00"]}}
    kept(tmp_path)
    decision = maintenance(tmp_path, services=night).decide(at({"saw_life": 30.0}))
    assert 16 <= decision.expected["hours until service of saw"] <= 22
    blade = {"blade": [{"from": "2026-11-25T12:00", "count": 1}]}
    decision = maintenance(tmp_path, services=night, stock=blade).decide(at({"saw_life": 30.0}))
    assert decision.expected["hours until service of saw"] >= 64


def test_orders_and_service_share_the_machine(tmp_path: Path) -> None:
    kept(tmp_path)
    policy = maintenance(tmp_path, book="orders.json")
    decision = policy.decide(at({"saw_life": 9.0}))
    service, *orders = sorted(
        [tuple(row[2:4]) for row in policy.snapshot()["visits"]]
        + [tuple(row[3:5]) for row in policy.snapshot()["tasks"] if row[2] == "saw"]
    )
    assert all(a[1] <= b[0] for a, b in pairwise([service, *orders]))
    assert decision.expected["P(saw fails before)"] < 0.02
    assert "ervice saw" in decision.reason
    assert set(decision.plan) == {"saw_service", "saw_next", "mill_next"}


def test_remaining_life_comes_from_a_forecast_or_a_finding(tmp_path: Path) -> None:
    ahead = Forecast(
        np.array([MONDAY + HOUR]),
        (0.1, 0.5, 0.9),
        np.array([[[10, 20, 40]]], np.float32),
        ("saw_life",),
        MONDAY,
        id="f-1",
    )
    found = Finding("d-1", "wear", "saw", MONDAY, MONDAY, 0.5, 0.9, evidence={"life 0.5": 70.0, "life 0.1": 50.0})
    assert remaining(at(forecasts=(ahead,)), "saw_life", "saw") == Remaining((0.1, 0.5, 0.9), (10.0, 20.0, 40.0), "f-1")
    assert remaining(at(findings=(found,)), "", "saw") == Remaining((0.1, 0.5), (50.0, 70.0), "d-1")
    assert remaining(at(findings=(replace(found, open=False),)), "", "saw") is None
    kept(tmp_path)
    assert maintenance(tmp_path).decide(at(findings=(found,))).because == ("d-1",)
    assert "nothing is known of the remaining life" in maintenance(tmp_path).decide(at()).reason.lower()


def test_durations_are_rounded_the_safe_way() -> None:
    scale = Scale(0, duration("1h"))
    assert scale.work("90min") == 2
    assert (scale.after(HOUR + 1), scale.before(2 * HOUR - 1)) == (2, 1)
