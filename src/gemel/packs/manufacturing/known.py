"""Known cases for the diagnosis of the line: what each fault of the emulator looks like, learned from runs of it.

    python -m gemel.packs.manufacturing.known FILE.npz RUNS FIRST_SEED [RUNS FIRST_SEED ...]

`line.cases.npz` beside this file was made so, with 80 runs a kind from seed 100 000 on and OMP_NUM_THREADS=1; made
so again on the same kind of processor it is the same file, byte by byte.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from multiprocessing import cpu_count, get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gemel.core.units import SECOND, duration
from gemel.core.values import Floats, Signal, Times
from gemel.detectors.diagnosis.classifier import Case, Known, learn
from gemel.detectors.diagnosis.features import Stretches
from gemel.detectors.diagnosis.sight import Eyes, all_slots
from gemel.detectors.diagnosis.view import view
from gemel.packs.manufacturing.faults import FAULTS, MACHINES, Fault
from gemel.packs.manufacturing.line import BUFFERS, COLUMNS, STATES, Plant

HOUR, MINUTE = 3600 * SECOND, 60 * SECOND
LEARN = 1440
"""Rows of the normal time at the beginning of a run."""
LOOKS = (1, 2, 3, 4.5, 6, 8, 10, 12, 15, 18, 22, 26)
"""Hours after it began at which a fault is looked at."""
SETTINGS = ("family", "release")


def signals() -> list[Signal]:
    """The line's signals, as the twin file has them."""
    return [_signal(name) for name in COLUMNS]


def _signal(name: str) -> Signal:
    machine, _, what = name.partition("_")
    asset = machine if machine in MACHINES and name not in BUFFERS else "line"
    role = "controlled" if name in SETTINGS or what == "service" else "measured"
    states = tuple(STATES) if what == "state" else ()
    return Signal(name, "state" if states else "number", role=role, asset=asset, states=states)


def cause(kind: str) -> str:
    """A kind of fault as a diagnosis calls it: "bearing: damaged"."""
    return f"{FAULTS[kind].component}: {FAULTS[kind].cause}"


def wide() -> list[str]:
    """The causes that are of the line as a whole."""
    return [cause(kind) for kind, one in FAULTS.items() if not one.machines]


class Run(NamedTuple):
    """A recorded run: times [t], values [t, s], the fault in it, from when (ns) until when it was there."""

    time: Times
    values: Floats
    fault: Fault | None
    began: int
    over: int


def run(seed: int, kind: str = "", hours: float = 27.0) -> Run:
    """A run of the plant with one fault on its second day, where, when and how large by the seed, recorded for so
    many `hours` after it began; "" for none, and all of these hours. Tools wear and break by themselves, bearings do
    not: that is a fault."""
    rng = np.random.default_rng((seed, 77))
    fault = None
    if kind:
        places = FAULTS[kind].machines
        machine = str(rng.choice(places)) if places else ""
        at = 1440 + int(rng.integers(60, 1200))
        fault = Fault(kind, machine, at=f"{at}min", size=float(rng.uniform(0.6, 1.4)))
        hours += at / 60
    plant = Plant(seed=seed, faults=[fault] if fault else [], upkeep=0.7 * (seed % 2), bearings=0.0)
    time, values, _ = plant.record(f"{round(hours * 60)}min")
    if fault is None:
        return Run(time, values, None, 0, 0)
    began = next(h.time for h in plant.happenings if h.what == "fault")
    lasts = fault.lasts or FAULTS[kind].lasts
    ends = [began + duration(lasts)] if lasts else []
    ends += [h.time for h in plant.happenings if h.what == "renewed" and h.machine == fault.machine and h.time > began]
    return Run(time, values, fault, began, min([*ends, int(time[-1]) + MINUTE]))


def cases(runs: int, first: int) -> Iterator[Case]:
    """What the assets saw in so many runs a kind, and in as many of eight days in which nothing was wrong."""
    kinds = (*FAULTS, "")
    with get_context("spawn").Pool(min(cpu_count(), 8)) as pool:
        for made in pool.imap(_made, [(first + i, kinds[i % len(kinds)]) for i in range(runs * len(kinds))]):
            yield from made


def _made(which: tuple[int, str]) -> list[Case]:
    return list(_cases(*which))


def _cases(seed: int, kind: str) -> Iterator[Case]:
    one = run(seed, kind) if kind else run(seed, hours=8 * 24.0)
    seen = eyes()
    values = one.values[:, [COLUMNS.index(name) for name in seen.signals]]
    usual = one.began or int(one.time[-1])
    looks = [(int(row), False) for row in range(LEARN + 60, int(np.searchsorted(one.time, usual)), 240)]
    for hours in LOOKS if kind else ():
        at = one.began + round(hours * HOUR)
        if at <= min(one.over, int(one.time[-1])):
            looks.append((int(np.searchsorted(one.time, at, side="right")), True))
    seen.fit(values[:LEARN])
    past = LEARN
    for row, ill in looks:
        seen.take(values[past:row])
        past = row
        if not ill:
            yield Case(seen.seen(), -1, "", seed)
        elif one.fault and not _standing(one, row):
            early = row - int(np.searchsorted(one.time, one.began)) < 180
            place = seen.view.assets.index(one.fault.asset)
            yield Case(seen.seen(), place, cause(kind), seed, 0.3 if early else 1.0)


def _standing(one: Run, row: int) -> bool:
    """Whether the machine that is ill was down or in service for most of the last hour: it shows nothing then."""
    if one.fault is None or not one.fault.machine:
        return False
    states = one.values[row - 60 : row, COLUMNS.index(f"{one.fault.machine}_state")]
    return bool(np.isin(states, [STATES.index("down"), STATES.index("service")]).mean() > 0.5)


def eyes() -> Eyes:
    """Fresh eyes for the line."""
    whole = view(signals())
    return Eyes(whole, SETTINGS, all_slots(whole), Stretches())


def known(*blocks: tuple[int, int]) -> Known:
    """What there is to know from so many runs a kind, from a first seed on, of each block."""
    found = [case for runs, first in blocks for case in cases(runs, first)]
    return learn(found, eyes().slots, wide(), Stretches(), MINUTE)


if __name__ == "__main__":
    path, *rest = sys.argv[1:]
    numbers = [int(x) for x in rest]
    Path(path).write_bytes(known(*zip(numbers[::2], numbers[1::2], strict=True)).save())
