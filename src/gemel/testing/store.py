"""A conformance check for stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from gemel.core.errors import InputError
from gemel.core.grid import HOLD, regular, union
from gemel.core.rollup import Indexed, Rolls, rolled
from gemel.core.units import SECOND
from gemel.core.values import BAD, GOOD, UNCERTAIN, Batch, Belief, Decision, Event, Frame, Signal, Signals, Snapshot
from gemel.loop.store import Journal, Store

MINUTE = 60 * SECOND
NAMES = ("flow", "level", "power")
SIGNALS = Signals([Signal(name) for name in NAMES])


class Kept(Store, Journal, Protocol):
    """A store and journal that can be opened and closed."""

    def open(self, signals: Signals) -> None: ...

    def close(self) -> None: ...


def check_store(make: Callable[[], Kept], rounds: int = 12) -> None:
    """Checks what `Store` and `Journal` promise; raises `AssertionError`.

    `make` gives a new, empty store that is not open yet.
    """
    for check in (_redelivery, _bad_points, _rolling, _journal, _index, _reopening, _unknown_names):
        store = make()
        store.open(SIGNALS)
        check(store)
        store.close()
    for seed in range(rounds):
        store = make()
        store.open(SIGNALS)
        _random(store, np.random.default_rng(seed))
        store.close()


# -- points ------------------------------------------------------------------------------------------------------------


class Oracle:
    """The rule in its plainest form: per (signal, time) the values in the order in which they first came."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, int], list[tuple[float, int]]] = {}

    def append(self, batch: Batch) -> int:
        """How many points are new."""
        new = 0
        for signal, time, value, quality in zip(
            batch.signal.tolist(), batch.time.tolist(), batch.value.tolist(), batch.quality.tolist(), strict=True
        ):
            known = self.held.setdefault((signal, time), [])
            if not any(value == v or (value != value and v != v) for v, _ in known):
                known.append((value, quality))
                new += 1
        return new

    def window(self, start: int, end: int, every: int | None) -> Frame:
        """What a window over all signals must be."""
        rows = [(s, t, *values[-1]) for (s, t), values in self.held.items()]
        if every is None:
            rows = [row for row in rows if start <= row[1] <= end]
        signal, time, value, quality = (np.array([row[i] for row in rows]) for i in range(4))
        columns = (signal.astype(np.int32), time.astype(np.int64), value.astype(np.float64), quality.astype(np.uint8))
        if every is None:
            return union(*columns, range(len(NAMES)), NAMES)
        first = -(-start // every) * every - HOLD * every
        frame = regular(*columns, range(len(NAMES)), NAMES, first, end, every)
        return frame.rows(HOLD, len(frame))

    def latest(self, signal: int, at: int) -> tuple[float, int]:
        """Value and time of the newest usable point; (NaN, -1) when there is none."""
        usable = [
            (t, values[-1][0])
            for (s, t), values in self.held.items()
            if s == signal and t <= at and values[-1][1] != BAD and np.isfinite(values[-1][0])
        ]
        time, value = max(usable, default=(-1, float("nan")))
        return value, time


def same(a: Frame, b: Frame) -> bool:
    """Whether two frames are equal, NaN equal to NaN."""
    return (
        a.signals == b.signals
        and np.array_equal(a.time, b.time)
        and np.array_equal(a.quality, b.quality)
        and np.allclose(a.values, b.values, rtol=1e-12, atol=0, equal_nan=True)
    )


def _random(store: Kept, rng: np.random.Generator) -> None:
    """Late, repeated, revised and bad points in random batches, against the oracle."""
    oracle = Oracle()
    for step in range(25):
        n = int(rng.integers(1, 30))
        around = step * 3 if rng.random() < 0.7 else 0  # mostly near the newest, sometimes anywhere
        batch = Batch.of(
            rng.integers(0, len(NAMES), n),
            (around + rng.integers(0, 40, n)) * MINUTE,
            rng.choice([0.0, -0.0, 1.5, 2.5, np.nan, np.inf], n),
            quality=rng.choice([GOOD, GOOD, UNCERTAIN, BAD], n),
        )
        assert store.append(batch) == oracle.append(batch), "append returns how many points were new"
        start, end = np.sort(rng.integers(0, 120, 2)) * MINUTE
        for every in (None, 5 * MINUTE):
            found, right = store.window(NAMES, int(start), int(end), every), oracle.window(int(start), int(end), every)
            assert same(found, right), (
                f"window({start}, {end}, {every}) after {step + 1} batches: {found} is not {right}"
            )
        swapped = store.window(NAMES[::-1], int(start), int(end), 5 * MINUTE)
        assert same(swapped.only(NAMES), right), "the order of the signals is the caller's"
        for at in (int(end), None):
            row = store.latest(NAMES, at)
            right_row = [oracle.latest(s, 2**62 if at is None else at) for s in range(len(NAMES))]
            np.testing.assert_array_equal(row.values[0], [value for value, _ in right_row], f"latest(at={at})")
            newest = max(time for _, time in right_row)
            assert newest < 0 or row.time[0] == newest, "the stamp of `latest` is the newest of its points"


def _redelivery(store: Kept) -> None:
    """What comes twice is kept once, and order does not matter."""
    rng = np.random.default_rng(1)
    n = 300
    batch = Batch.of(np.arange(n) % 3, np.arange(n) // 3 * MINUTE, rng.normal(size=n))
    order = rng.permutation(n)
    assert store.append(batch.take(order[:200])) == 200
    assert store.append(batch) == 100, "only what was not held is new"
    assert store.append(batch.take(order)) == 0, "all of it is held"
    frame = store.window(NAMES, 0, n * MINUTE)
    np.testing.assert_array_equal(frame.values, batch.value.reshape(-1, 3), "order of arrival does not matter")
    revised = Batch.of([1, 1], [0, 0], [5.0, 6.0])
    assert store.append(revised) == 2, "revisions are kept"
    assert store.append(revised) == 0, "a revision that comes again is a duplicate too"
    assert store.window(NAMES, 0, 0).column("level")[0] == 6.0, "the latest revision wins"
    assert store.append(Batch.of([], [], [])) == 0


def _bad_points(store: Kept) -> None:
    """Bad points are seen in a union, and are no value in a grid or as the latest."""
    times = np.array([0, 1, 2]) * MINUTE
    store.append(Batch.of([0, 0, 0], times, [1.0, np.nan, 99.0], quality=[GOOD, BAD, BAD]))
    frame = store.window(["flow"], 0, 2 * MINUTE)
    assert frame.quality[:, 0].tolist() == [GOOD, BAD, BAD], "bad points are read with their quality"
    assert frame.values[2, 0] == 99.0, "a bad value is still there to be looked at"
    assert np.isnan(store.window(["flow"], 2 * MINUTE, 2 * MINUTE, MINUTE).values).sum() == 0, "short gaps are held"
    assert store.latest(["flow"]).values[0, 0] == 1.0, "`latest` skips bad points"
    store.append(Batch.of([0], [0], [np.nan], quality=[BAD]))
    assert np.isnan(store.latest(["flow"]).values[0, 0]), "a value revised to bad is no value"


def _rolling(store: Kept) -> None:
    """A store that can roll up says the same as its windows rolled up here: `Rolls`."""
    if not isinstance(store, Rolls):
        return
    assert store.extent(NAMES) == [(0, 0, 0)] * 3
    rng = np.random.default_rng(3)
    for _ in range(6):  # late, repeated, revised and bad ones
        n = 200
        values = rng.choice([0.0, 1.5, 2.5, np.nan, np.inf], n)
        codes = rng.choice([GOOD, GOOD, UNCERTAIN, BAD], n)
        store.append(Batch.of(rng.integers(0, 2, n), rng.integers(0, 900, n) * MINUTE, values, quality=codes))
    start, width, cells = -MINUTE, 70 * MINUTE, 9
    for name, found in zip(NAMES, store.rollup(NAMES, start, width, cells), strict=True):
        frame = store.window([name], start, start + width * cells - 1)
        right = rolled(frame.time, frame.values[:, 0], frame.quality[:, 0], start, width, cells)
        for field in ("low", "high", "count", "bad"):
            np.testing.assert_array_equal(getattr(found, field), getattr(right, field), f"{field} of {name}")
        np.testing.assert_allclose(found.mean, right.mean, rtol=1e-9)
    held = store.window(NAMES, 0, 2**62)
    oldest, newest, count = store.extent(["flow"])[0]
    own = store.window(["flow"], 0, 2**62).time
    assert (oldest, newest) == (own[0], own[-1]), "how far a signal reaches"
    assert count >= len(own), "every revision is a point"
    store.append(Batch.of([0], [held.time[-1] + 1], [1.0]))
    assert store.extent(["flow"])[0] == (oldest, held.time[-1] + 1, count + 1), "and it grows"


# -- journal -----------------------------------------------------------------------------------------------------------


def _journal(store: Kept) -> None:
    def decisions(**bounds: int) -> list[tuple[str, str]]:
        return [(d.id, d.status) for d in store.read("decision", **bounds)]

    assert store.read("decision") == []
    for i in range(5):
        store.record(Decision(f"d{i}", i * MINUTE))
    store.record(Decision("d1", MINUTE, status="sent"), Decision("d2", 9 * MINUTE, status="sent"))
    first = [("d0", "proposed"), ("d1", "sent"), ("d3", "proposed"), ("d4", "proposed"), ("d2", "sent")]
    assert decisions() == first, "the newest of an id, oldest first"
    assert decisions(last=2) == first[3:]
    assert decisions(start=MINUTE, end=3 * MINUTE) == [("d1", "sent"), ("d2", "proposed"), ("d3", "proposed")], (
        "a read of the past sees what was known then"
    )
    event = Event(MINUTE, "lost", "plant", "connection lost")
    batch = Batch.of([0], [MINUTE], [1.0], events=(event, event))
    assert store.append(batch, [Decision("d9", MINUTE)]) == 1
    assert store.read("event") == [event, event], "events have no id: none supersedes another"
    assert decisions(last=9)[2][0] == "d9", "the batch's notes are kept with it"
    belief = Belief(("level",), np.random.default_rng(0).normal(size=(1, 50)), MINUTE, {"flow": (0.1, 0.2)}, "b")
    store.record(belief)
    (found,) = store.read("belief", last=1)
    np.testing.assert_array_equal(found.members, belief.members)
    assert (found.names, found.innovation["flow"], found.id) == (belief.names, (0.1, 0.2), "b")
    for i in range(3):
        store.record(*(Snapshot(part, i * MINUTE, {"seen": i, "mean": np.full(3, i)}) for part in ("pool", "hampel")))
    snapshots = store.read("snapshot")
    assert sorted((s.id, s.time, s.state["seen"]) for s in snapshots) == [
        ("hampel", 2 * MINUTE, 2),
        ("pool", 2 * MINUTE, 2),
    ], "only the newest snapshot of an id is kept"


def _index(store: Kept) -> None:
    """What a journal with an index says of itself: `Indexed`."""
    if not isinstance(store, Indexed):
        return
    for i in (0, 1, 2):
        store.record(Decision(f"d{i}", i * MINUTE))
    store.record(Decision("d1", MINUTE, status="sent"))
    assert store.index("decision") == [(0, "d0"), (MINUTE, "d1"), (2 * MINUTE, "d2")], "each once, oldest first"
    assert store.index("decision", MINUTE, MINUTE) == [(MINUTE, "d1")]
    picked = store.pick("decision", [2 * MINUTE, MINUTE, 7])
    assert [(d.id, d.status) for d in picked] == [("d1", "sent"), ("d2", "proposed")], "the newest of an id"
    assert store.pick("decision", []) == []


def _reopening(store: Kept) -> None:
    times = np.arange(30) * MINUTE
    store.append(Batch.of(np.arange(30) % 3, times, np.arange(30.0)), [Decision("d", 0), Snapshot("pool", 0, {"a": 1})])
    store.append(Batch.of([0], [0], [7.0]))
    before = store.window(NAMES, 0, times[-1]), store.latest(NAMES)
    store.close()
    store.open(Signals([Signal("wind"), *reversed(list(SIGNALS))]))
    after = store.window(NAMES, 0, times[-1]), store.latest(NAMES)
    assert all(map(same, before, after)), "what was kept is there when the store is opened again, by name"
    assert store.append(Batch.of([3, 3, 0], [0, 0, 0], [0.0, 7.0, 1.0])) == 1, "and is known when it comes again"
    assert np.isnan(store.latest(["wind"], -MINUTE).values[0, 0])
    assert [d.id for d in store.read("decision")] == ["d"]
    assert store.read("snapshot")[0].state == {"a": 1}


def _unknown_names(store: Kept) -> None:
    asks: list[Callable[[], Frame]] = [lambda: store.window(["levle"], 0, 1), lambda: store.latest(["levle"])]
    for ask in asks:
        said = ""
        try:
            ask()
        except InputError as error:
            said = str(error)
        assert "level" in said, "an unknown signal is refused, and the nearest known name is named"
