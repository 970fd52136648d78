"""Which component, and what is wrong with it, on faults of the emulated line; then attribution and counterfactuals.

    python3 dev.py bench explain               diagnosis with the shipped known cases, then `explain_attribution`
    python3 dev.py bench explain --diagnosis   diagnosis alone
    python3 dev.py bench explain --learn 24    learn the known cases anew first, 24 runs a kind from seed 0 on

Diagnosis: 16 kinds of faults, 20 runs each, of seeds that nothing was learned or chosen on (900 000 on); the shipped
cases are of seeds from 100 000 on. In each run one fault begins on the second of three days, of a size from 0.6 to 1.4
of the usual, on a machine, all drawn by the seed; tools wear and break by themselves meanwhile. The detector learns the
normal from the first day, is then given the rows hour by hour, and is judged by what it says when the fault goes away
(the machine was renewed, the sag is over), at most 18 hours after it began. A run in which it says nothing counts as
wrong. A component is a machine and its part ("mill bearing"); a cause is that and what is wrong with it.

Beside it: the machine whose signals are farthest off, which is what a person would look at first.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.harness import Bench
from gemel.core.clock import Virtual
from gemel.core.setting import Setting
from gemel.core.values import Finding, Frame, Signals
from gemel.desk.why import ranked
from gemel.detectors.diagnosis.detector import Diagnosis
from gemel.loop.decide import Situation
from gemel.packs.manufacturing import known as line
from gemel.packs.manufacturing.faults import FAULTS
from gemel.packs.manufacturing.line import COLUMNS

RUNS, FIRST, WELL = 20, 900_000, 950_000
HOUR = 3600 * 10**9
AHEAD = 18 * HOUR
"""How long after it began a fault is judged, if it is still there."""
CASES = Path(line.__file__).with_name("line.cases.npz")


@dataclass(frozen=True)
class Verdict:
    """What was said of one run: candidates, best first (none: nothing was said), and after how many hours."""

    truth: str
    said: tuple[str, ...]
    after: float
    farthest: str


def watch(one: line.Run, folder: Path, turns: list[int]) -> list[tuple[int, Finding, str]]:
    """The news of a fresh detector over a run, each with its time and the asset whose signals were farthest off."""
    signals = Signals(line.signals())
    place = {name: i for i, name in enumerate(COLUMNS)}

    def history(names: tuple[str, ...], start: int, end: int, every: int | None = None) -> Frame:
        a, b = np.searchsorted(one.time, start), np.searchsorted(one.time, end, side="right")
        held = one.values[a:b][:, [place[n] for n in names]]
        return Frame(one.time[a:b], held, np.zeros(held.shape, np.uint8), tuple(names))

    detector = Diagnosis(known="line.cases.npz")
    every = HOUR
    detector.bind(Setting("line", "", signals, Virtual(), every, 24 * HOUR, 0, folder, history=history))
    news = []
    for now in turns:
        for found in detector.inspect(Situation(now, every, 24 * HOUR, signals, {})):
            eyes = detector._eyes
            assert eyes is not None
            news.append((now, found, eyes.view.assets[int(np.argmax(eyes.odd()))]))
    return news


def ill(kind: str, seed: int, folder: Path) -> Verdict:
    """One run with a fault."""
    one = line.run(seed, kind, AHEAD / HOUR + 0.5)
    assert one.fault is not None
    first, end = int(one.time[line.LEARN]), min(one.over, one.began + AHEAD, int(one.time[-1]))
    turns = [*range(first, one.began, 4 * HOUR), *range(one.began, end, HOUR)]
    news = [(t, f, odd) for t, f, odd in watch(one, folder, turns) if t >= one.began and f.open]
    truth = f"{one.fault.asset} {line.cause(kind)}"
    if not news:
        return Verdict(truth, (), np.nan, "")
    last = news[-1]
    names = tuple(row["name"] for row in ranked(last[1]))
    return Verdict(truth, names, (news[0][0] - one.began) / HOUR, last[2])


def component(name: str) -> str:
    """Of "mill bearing: damaged"."""
    return name.partition(": ")[0]


def diagnosis(bench: Bench, folder: Path) -> None:
    """The figures of the diagnosis."""
    verdicts: dict[str, list[Verdict]] = {}
    for i, kind in enumerate(FAULTS):
        verdicts[kind] = [ill(kind, FIRST + i * RUNS + k, folder) for k in range(RUNS)]
        _row(kind, verdicts[kind])
    whole = [v for held in verdicts.values() for v in held]
    asset = [bool(v.said) and v.said[0].split()[0] == v.truth.split()[0] for v in whole]
    farthest = [v.farthest == v.truth.split()[0] for v in whole]
    part = [bool(v.said) and component(v.said[0]) == component(v.truth) for v in whole]
    peer = ("signals farthest off", 100 * float(np.mean(farthest)))
    bench.figure(
        f"component first, {len(whole)} runs of {len(verdicts)} kinds", 100 * float(np.mean(part)), "%", goal=">= 90"
    )
    bench.figure("its machine first", 100 * float(np.mean(asset)), "%", peer=peer)
    for most, goal in ((1, ""), (2, ">= 85")):
        good = [v.truth in v.said[:most] for v in whole]
        bench.figure(f"cause among the first {most}", 100 * float(np.mean(good)), "%", goal=goal)
    bench.figure("something said", 100 * float(np.mean([bool(v.said) for v in whole])), "%")
    bench.figure("hours until it is said, median", float(np.nanmedian([v.after for v in whole])), "h")
    confused = Counter((v.truth.split(" ", 1)[1], v.said[0].split(" ", 1)[-1] if v.said else "nothing") for v in whole)
    for (truth, said), count in sorted(confused.items(), key=lambda one: -one[1]):
        if truth != said:
            print(f"#   {count:2d} x {truth} taken for {said}", file=sys.stderr)
    well(bench, folder)


def well(bench: Bench, folder: Path) -> None:
    """Runs in which nothing is wrong but that tools wear and break."""
    found, days = [], 0.0
    for k in range(RUNS):
        one = line.run(WELL + k, hours=72.0)
        turns = list(range(int(one.time[line.LEARN]), int(one.time[-1]), HOUR))
        found += list({f.id: f for _, f, _ in watch(one, folder, turns)}.values())
        days += len(turns) / 24
    print(f"#   said of well runs: {Counter(f.name for f in found).most_common()}", file=sys.stderr)
    bench.figure(f"false findings, {days:.0f} days without a fault", 7 * len(found) / days, "a week")


def _row(kind: str, held: list[Verdict]) -> None:
    part = sum(bool(v.said) and component(v.said[0]) == component(v.truth) for v in held)
    first, second = (sum(v.truth in v.said[:n] for v in held) for n in (1, 2))
    after = np.median([v.after for v in held if v.said]) if any(v.said for v in held) else np.nan
    print(
        f"#   {kind:26s} component {part:2d}, cause {first:2d}, first or second {second:2d} of {len(held)}; "
        f"after {after:.1f} h",
        file=sys.stderr,
    )


def main() -> None:
    words = sys.argv[1:]
    with Bench("explain") as bench, TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if "--learn" in words:
            made = line.known(int(words[words.index("--learn") + 1]), 0).save()
        else:
            made = CASES.read_bytes()
        (folder / "line.cases.npz").write_bytes(made)
        diagnosis(bench, folder)
        if "--diagnosis" not in words:
            from bench import explain_attribution

            explain_attribution.run(bench)


if __name__ == "__main__":
    main()
