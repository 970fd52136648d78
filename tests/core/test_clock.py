"""The three clocks. Times here are small whole numbers: the clocks do not care that they are nanoseconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.core.clock import Data, Virtual, Wall

# -- wall -----------------------------------------------------------------------------------------------------------


def test_wall_waits_and_a_finished_one_says_never() -> None:
    async def scene() -> None:
        clock = Wall()
        begun = clock.now()
        assert clock.live
        assert abs(begun - time.time_ns()) < 10**9
        assert await clock.until(begun + 20_000_000)
        assert clock.now() >= begun + 20_000_000
        waiting = asyncio.create_task(clock.until(clock.now() + 10**12))
        await asyncio.sleep(0)
        clock.finish()
        assert not await asyncio.wait_for(waiting, 1)

    asyncio.run(scene())


# -- virtual --------------------------------------------------------------------------------------------------------


def test_virtual_jumps_to_the_next_waiter_and_sources_go_before_turns() -> None:
    seen: list[tuple[int, str]] = []

    async def walk(clock: Virtual, name: str, every: int, order: int) -> None:
        with clock.task():
            for when in range(every, 13, every):
                await clock.until(when, order)
                seen.append((clock.now(), name))

    async def scene() -> None:
        clock = Virtual()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(walk(clock, "turn", 6, 1))
            tasks.create_task(walk(clock, "plant", 3, 0))
            tasks.create_task(walk(clock, "weather", 4, 0))

    asyncio.run(scene())
    assert seen == [
        (3, "plant"),
        (4, "weather"),
        (6, "plant"),
        (6, "turn"),
        (8, "weather"),
        (9, "plant"),
        (12, "weather"),
        (12, "plant"),
        (12, "turn"),
    ]


def test_virtual_does_not_run_ahead_of_a_task_that_works() -> None:
    async def scene() -> None:
        clock = Virtual()
        with clock.task():  # this one never waits
            waiting = asyncio.create_task(clock.until(5))
            with clock.task():
                for _ in range(5):
                    await asyncio.sleep(0)
                assert clock.now() == 0
        assert await asyncio.wait_for(waiting, 1)  # nobody works any more
        assert clock.now() == 5

    asyncio.run(scene())


def test_virtual_starts_where_it_is_told_and_a_year_costs_no_time() -> None:
    async def scene() -> int:
        clock = Virtual("2024-01-01")
        start = clock.now()
        with clock.task():
            for day in range(1, 366):
                assert await clock.until(start + day * 86_400_000_000_000)
        return clock.now() - start

    begun = time.perf_counter()
    assert asyncio.run(scene()) == 365 * 86_400_000_000_000
    assert time.perf_counter() - begun < 5


# -- data -----------------------------------------------------------------------------------------------------------


def data_clock(signals: int, lateness: int = 100, timeout: int = 1000, awaited: Sequence[bool] = ()) -> Data:
    clock = Data()
    clock.lateness, clock.timeout = lateness, timeout
    clock.expect(awaited or [True] * signals)
    return clock


async def tell(clock: Data, *points: tuple[int, int]) -> None:
    signal, when = (np.array(column) for column in zip(*points, strict=True))
    await clock.heard(signal.astype(np.int32), when.astype(np.int64))


def turns_of(clock: Data, batches: Sequence[Sequence[tuple[int, int]]], every: int = 10) -> list[tuple[int, int]]:
    """(turn, batches told by then) of a twin whose turns are multiples of `every` and start at the first stamp."""
    seen: list[tuple[int, int]] = []
    told = 0

    async def intake() -> None:
        nonlocal told
        for batch in batches:
            told += 1
            await tell(clock, *batch)
        clock.finish()

    async def turns() -> None:
        when = -(-await clock.begin() // every) * every
        while await clock.until(when, 1):
            seen.append((when, told))
            when += every

    async def scene() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(turns())
            tasks.create_task(intake())

    asyncio.run(asyncio.wait_for(scene(), 5))
    return seen


def test_a_turn_waits_until_every_signal_has_passed() -> None:
    batches = [[(0, 10)], [(0, 20)], [(1, 10)], [(0, 30)], [(1, 20), (1, 30)]]
    assert turns_of(data_clock(2), batches) == [(10, 3), (20, 5), (30, 5)]


def test_a_signal_nobody_waits_for_holds_nothing_up() -> None:
    batches = [[(0, 10)], [(1, 10)], [(0, 20)], [(0, 30)]]
    assert turns_of(data_clock(2, awaited=[True, False]), batches) == [(10, 1), (20, 3), (30, 4)]


def test_a_late_signal_is_waited_for_only_so_long() -> None:
    batches = [[(0, 10), (1, 10)], [(0, 20)], [(0, 30)], [(0, 40)], [(0, 50)]]
    seen = turns_of(data_clock(2, lateness=20), batches)
    assert seen == [(10, 1), (20, 4), (30, 5), (40, 5), (50, 5)]  # 40 and 50 when the input ends


def test_a_silent_signal_leaves_the_quorum_and_comes_back() -> None:
    batches = [[(0, 10), (1, 10)], *([[(0, t)] for t in range(20, 61, 10)]), [(1, 60)], [(0, 70)], [(1, 70)]]
    seen = dict(turns_of(data_clock(2, timeout=30), batches))
    assert seen[20] == 4  # at 40 the other has been silent for 30
    assert seen[60] == 6
    assert seen[70] == 9  # back in the quorum: waited for again


def test_end_of_input_is_the_last_watermark() -> None:
    async def scene() -> None:
        clock = data_clock(2)
        waiting = asyncio.create_task(clock.until(20, 1))
        await asyncio.sleep(0)
        await tell(clock, (0, 10))
        await tell(clock, (0, 25))
        clock.finish()
        assert await waiting
        assert clock.now() == 25
        assert not await clock.until(30, 1)

    asyncio.run(asyncio.wait_for(scene(), 5))


def test_input_without_any_point_ends() -> None:
    assert turns_of(data_clock(3), []) == []
    assert turns_of(data_clock(0), []) == []


def test_telemetry_waits_for_the_turns_it_made_due() -> None:
    """Back-pressure: at most one batch is told while a turn is being taken."""

    async def scene() -> None:
        clock = data_clock(1)
        waiting = asyncio.create_task(clock.until(10, 1))
        await asyncio.sleep(0)
        telling = asyncio.create_task(tell(clock, (0, 10)))
        assert await waiting
        for _ in range(5):
            await asyncio.sleep(0)
        assert not telling.done()  # the turn at 10 is being taken
        waiting = asyncio.create_task(clock.until(20, 1))
        await asyncio.wait_for(telling, 1)
        clock.finish()
        assert not await waiting

    asyncio.run(scene())


@settings(max_examples=60, deadline=None)
@given(
    paces=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=20),
    seed=st.integers(0, 2**31),
)
def test_turns_see_the_same_telemetry_however_it_is_batched(paces: list[int], cuts: list[int], seed: int) -> None:
    """Signals of different pace, each in its own order, mixed and cut at random: the turn at T comes when, and only
    when, all that was measured up to T is there, and the turns are the same."""
    rng = np.random.default_rng(seed)
    points = [(s, t) for s, pace in enumerate(paces) for t in range(0, 101, pace)]
    places = rng.permutation([s for s, _ in points])
    rest = {s: iter([t for q, t in points if q == s]) for s in range(len(paces))}
    mixed = [(int(s), next(rest[int(s)])) for s in places]
    batches, at = [], 0
    while at < len(mixed):
        size = cuts[len(batches) % len(cuts)]
        batches.append(mixed[at : at + size])
        at += size
    seen = turns_of(data_clock(len(paces), lateness=10**6, timeout=10**6), batches)
    newest = max(t for _, t in points)
    assert [when for when, _ in seen] == list(range(0, newest + 1, 10))
    for when, told in seen:
        heard = {p for batch in batches[:told] for p in batch}
        due = {(s, t) for s, t in points if t <= when}
        assert due <= heard


def test_durations_of_the_data_clock_are_texts() -> None:
    assert Data(lateness="90s").lateness == 90 * 10**9
    with pytest.raises(Exception, match="not a duration"):
        Data(timeout="soon")
