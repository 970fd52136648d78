"""The serial line against closed forms: queues with one server, the two-machine line, Little's law, parts kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.core.errors import ConfigError
from gemel.core.registry import build
from gemel.core.values import Floats
from gemel.simulators.line.events import BLOCKED, STATES
from gemel.simulators.line.measures import bottleneck, oee
from gemel.simulators.line.simulator import Line
from gemel.testing.simulator import check_simulator

FACTORY: list[dict[str, Any]] = [
    {"name": "saw", "cycle": "50s", "cv": 0.2, "mtbf": "20h", "mttr": "30min", "setup": "5min", "service": "30min"},
    {"name": "mill", "cycle": {"mean": 58.0, "sd": 3.0}, "cv": 0.2, "wear": 0.002, "wear_cv": 0.5, "worn": 0.4,
     "hazard": 1.0, "mttr": "1h", "service": "30min", "scrap": 0.01, "scrap_worn": 0.1, "setups": {"0>1": "12min"}},
    {"name": "wash", "cycle": 40.0, "cv": 1.0, "operators": 1, "cycles": {"1": 1.2}},
]  # fmt: skip


def run(line: Line, steps: int, dt: float, members: int, **inputs: float) -> tuple[Any, dict[str, Floats]]:
    """The last memory, and outputs by name [t, m]."""
    given = {**line.defaults, **inputs}
    row = np.array([[given[n]] * members for n in line.inputs]).reshape(-1, members)
    memory, rows = line.init(None, 1, members), []
    for _ in range(steps):
        memory, out = line.step(memory, row, dt)
        rows.append(out)
    return memory, dict(zip(line.outputs, np.stack(rows, axis=1), strict=True))


def queue(cv: float, load: float, members: int) -> Floats:
    """Mean number in a queue with one server and random arrivals, over 6 h after 2 h, [m]."""
    line = Line([{"name": "desk", "cycle": 60.0, "cv": cv}], arrivals="poisson")
    _, out = run(line, 4, 2 * 3600.0, members, release=60 * load)
    return out["wip"][1:].mean(axis=0)


@pytest.mark.parametrize(("cv", "load"), [(1.0, 0.5), (0.0, 0.7), (0.5, 0.6)])
def test_number_in_a_queue_with_one_server(cv: float, load: float) -> None:
    # Pollaczek 1930, Khinchine 1932: L = rho + rho^2 (1 + cv^2) / (2 (1 - rho)); M/M/1 for cv 1, M/D/1 for cv 0
    found = queue(cv, load, 600)
    exact = load + load**2 * (1 + cv**2) / (2 * (1 - load))
    assert abs(found.mean() - exact) < 4 * found.std() / np.sqrt(len(found)) + 0.002
    assert found.std() / np.sqrt(len(found)) < 0.05 * exact


def buzacott(p: tuple[float, float], r: tuple[float, float], room: int) -> float:
    """Efficiency of two machines with equal cycles, geometric failures and repairs, and `room` places in all.

    Interior states have the product form C X^n Y1^a1 Y2^a2 (Buzacott 1967; Gershwin and Schick 1983); the boundary
    follows from the balance of the states next to it. n parts between, a1 and a2 whether the machines are up."""
    (p1, p2), (r1, r2) = p, r
    up = r1 + r2 - r1 * r2
    fall = p1 + p2 - p1 * p2
    y1 = (up - p2 * r1) / (fall - p1 * r2)
    y2 = (up - p1 * r2) / (fall - p2 * r1)
    x = y2 / y1
    low = {(1, 0, 0): x, (1, 0, 1): x * y2, (1, 1, 1): x / p2 * (up - p2 * r1) / (fall - p2 * r1)}
    low[0, 0, 1] = x * (up - p2 * r1) / (r1 * p2)
    top = x ** (room - 1)
    high = {
        (room - 1, 0, 0): top,
        (room - 1, 1, 0): top * y1,
        (room - 1, 1, 1): top / p1 * (up - p1 * r2) / (fall - p1 * r2),
        (room, 1, 0): top * (up - p1 * r2) / (p1 * r2),
    }
    inner = {(n, a1, a2): x**n * y1**a1 * y2**a2 for n in range(2, room - 1) for a1 in (0, 1) for a2 in (0, 1)}
    weight = {**low, **inner, **high}
    return sum(w for (n, _, a2), w in weight.items() if a2 and n) / sum(weight.values())


def chain(p: tuple[float, float], r: tuple[float, float], room: int) -> float:
    """The same from the Markov chain itself."""
    states = [(n, a, b) for n in range(room + 1) for a in (0, 1) for b in (0, 1)]
    place = {s: i for i, s in enumerate(states)}
    moves = np.zeros((len(states), len(states)))
    for n, a, b in states:
        for first in (0, 1):
            for second in (0, 1):
                works = (p[0] if a and n < room else 0.0) if a else r[0]
                one = (1 - works if first else works) if a else (works if first else 1 - works)
                falls = (p[1] if b and n else 0.0) if b else r[1]
                two = (1 - falls if second else falls) if b else (falls if second else 1 - falls)
                after = n + (first and n < room) - (second and n > 0)
                moves[place[n, a, b], place[after, first, second]] += one * two
    rest = np.linalg.matrix_power(moves, 1 << 16)[0]
    return sum(rest[place[n, a, b]] * ((1 - p[1]) if b else r[1]) for n, a, b in states if n)


@pytest.mark.parametrize(("p", "r", "capacity"), [((0.02, 0.03), (0.1, 0.15), 3), ((0.05, 0.02), (0.2, 0.2), 6)])
def test_the_two_machine_line(p: tuple[float, float], r: tuple[float, float], capacity: int) -> None:
    # a buffer of b holds b + 2 parts with those that machines hold after service and in work (blocking after service)
    exact = buzacott(p, r, capacity + 2)
    assert exact == pytest.approx(chain(p, r, capacity + 2), rel=1e-9)
    machines = [
        {"name": name, "cycle": 1.0, "failures": "cycle", "mtbf": 1 / fails, "mttr": 1 / back}
        for name, fails, back in zip("ab", p, r, strict=True)
    ]
    _, out = run(Line(machines, [capacity]), 5, 150.0, 800)
    found = out["good"][1:].mean(axis=0) / 150.0
    assert abs(found.mean() - exact) < 4 * found.std() / np.sqrt(len(found)) + 1e-4


def test_littles_law_on_every_run() -> None:
    # no assumption but that all who came have gone: mean number x time = sum of the times spent
    line = Line(FACTORY[1:], [5], arrivals="poisson", operators=1)
    memory, step, held = line.init(None, 3, 4), 60.0, np.zeros(4)
    came: list[list[float]] = [[] for _ in range(4)]
    gone: list[list[float]] = [[] for _ in range(4)]
    rows = np.array([[line.defaults[n]] * 4 for n in line.inputs])
    names = list(line.outputs)
    for i in range(300):
        rows[0] = 30.0 if i < 170 else 0.0
        before = memory.counts[-1].copy()
        memory, out = line.step(memory, rows, step)
        held += out[names.index("wip")] * step
        for j in range(4):
            came[j] += [i * step] * int(memory.counts[-1, j] - before[j])
            gone[j] += [i * step] * int(out[names.index("good"), j] + out[names.index("scrap"), j])
    for j in range(4):
        assert len(came[j]) == len(gone[j]) > 40
        spent = sum(gone[j]) - sum(came[j])  # each within a step
        assert abs(spent - held[j]) < step * len(came[j])


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(20, 90), min_size=2, max_size=4),
    st.lists(st.integers(0, 4), min_size=3, max_size=3),
    st.integers(0, 10**6),
    st.floats(0.0, 0.3),
)
def test_parts_are_kept(cycles: list[int], rooms: list[int], seed: int, scrap: float) -> None:
    machines = [
        {"name": f"m{i}", "cycle": float(c), "cv": 0.5, "mtbf": "1h", "mttr": "5min", "scrap": scrap}
        for i, c in enumerate(cycles)
    ]
    line = Line(machines, rooms[: len(cycles) - 1], arrivals="poisson", release=50)
    memory = line.init(None, seed, 3)
    row = np.array([[line.defaults[n]] * 3 for n in line.inputs])
    left, shares = np.zeros(3), []
    for _ in range(3):
        memory, out = line.step(memory, row, 1000.0)
        held = dict(zip(line.outputs, out, strict=True))
        left += held["good"] + held["scrap"]
        shares.append(sum(held[f"m0_{state}"] for state in STATES))
    states = dict(zip(line.states, line.extract(memory), strict=True))
    n = len(cycles)
    inside = ((memory.present[2 * n : 3 * n] > 0) | (memory.present[:n] == BLOCKED)).sum(axis=0)
    waiting = states["orders"] + sum(states[b.name] for b in line.buffers)
    np.testing.assert_array_equal(memory.counts[-1], left + inside + waiting)
    np.testing.assert_allclose(shares, 1.0)
    for buffer in line.buffers:
        assert (states[buffer.name] <= buffer.capacity).all()
        assert (states[buffer.name] >= 0).all()


def test_it_keeps_the_contract() -> None:
    line = Line(FACTORY, [4, 6], arrivals="even", release=50, operators=1)
    rows = np.array([[line.defaults[n] for n in line.inputs]] * 6)
    rows[2:, list(line.inputs).index("family")] = 1
    rows[3, list(line.inputs).index("mill_service")] = 1
    spec = {"kind": "line", "machines": FACTORY, "buffers": [4, 6], "arrivals": "even", "release": 50, "operators": 1}
    check_simulator(lambda: build("simulators", spec), rows, 600.0)


def test_a_service_renews_the_tool_and_happens_once() -> None:
    line = Line(FACTORY, [4, 6], operators=2)
    at = list(line.inputs).index("mill_service")
    row = np.array([[line.defaults[n]] * 3 for n in line.inputs])
    memory = line.init(None, 0, 3)
    names = list(line.outputs)
    row[at] = 1
    memory, out = line.step(memory, row, 3600.0)
    np.testing.assert_allclose(out[names.index("mill_service")], 0.5)
    assert (out[names.index("mill_wear")] < 0.2).all()
    memory, out = line.step(memory, row, 3600.0)
    np.testing.assert_allclose(out[names.index("mill_service")], 0.0)  # it is still asked, but was before
    row[at] = 0
    memory, _ = line.step(memory, row, 60.0)
    row[at] = 1
    _, out = line.step(memory, row, 3600.0)
    np.testing.assert_allclose(out[names.index("mill_service")], 0.5)


def test_what_limits_a_line_and_what_it_makes_of_its_time() -> None:
    machines = [{"name": n, "cycle": c, "cv": 0.3} for n, c in (("a", 40.0), ("b", 60.0), ("c", 45.0))]
    _, out = run(Line(machines, [5, 5]), 6, 3600.0, 20)
    shares = bottleneck(out, ["a", "b", "c"])
    assert max(shares, key=lambda n: shares[n].mean()) == "b"
    rates = oee(out, "b", cycle=60.0)
    assert rates["quality"].mean() == 1.0
    assert rates["availability"].mean() == 1.0
    assert 0.9 < rates["oee"].mean() < 1.0
    tight = run(Line(machines, [0, 0]), 6, 3600.0, 20)[1]
    assert tight["good"].sum() < 0.99 * out["good"].sum()


def test_forks_differ_by_what_was_set_and_not_by_luck() -> None:
    line = Line(FACTORY, [2, 2], operators=1)
    plain = run(line, 4, 3600.0, 30)[1]["good"].sum(axis=0)
    roomy = run(line, 4, 3600.0, 30, saw_mill_capacity=20)[1]["good"].sum(axis=0)
    assert (roomy - plain).mean() >= 0
    assert (roomy - plain).std() < 0.5 * plain.std() + 3


@pytest.mark.parametrize(
    ("machines", "said"),
    [
        ([], "a machine at least"),
        ([{"name": "a"}], "needs its cycle"),
        ([{"name": "a", "cycle": "1min", "mtfb": "3h"}], "no key 'mtfb', did you mean 'mtbf'?"),
        ([{"name": "a", "cycle": "1 minute long"}], "cycle"),
        ([{"name": "a", "cycle": 3.0, "setups": {"x": 3}}], "not of the form"),
        ([{"name": "a", "cycle": 3.0}, {"name": "a", "cycle": 3.0}], "stands twice"),
        ([{"name": "a", "cycle": 3.0, "operators": 1, "failures": "never"}], "not one of time, cycle"),
    ],
)
def test_what_is_wrong_is_said(machines: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Line(machines)
    assert said in str(caught.value)
