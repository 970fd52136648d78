"""A month of an emulated line: when to service which machine, and what each way of deciding it costs.

    python3 dev.py bench line            five months of the plant, none of which anything was learned from
    python3 dev.py bench line --quick    one month

Cost: output that could have been sold and was not made, scrap, services and failures, at the plant's prices (EUR). All
ways decide at the beginning of a shift (8 h) and see the same plant: a seed fixes tools, orders and chance.

- run to failure: nobody services.
- fixed interval: a machine is serviced when its tool has run for a share of the usual life; the share is the best of
  SHARES on the earlier months. It knows the age of each tool from the first day. What the share that is best in the
  judged months would have cost, which nobody can know before, is told too.
- ours: the detector `crossing` (quantiles of remaining life from forecasts of the vibration) and the policy
  `maintenance`; the forecaster is the pre-trained network (`foundation`).
- without the network: the same with the forecaster `theta`, and with nothing but the line through the points.
- perfect knowledge: a copy of the plant is run a shift ahead, and what would fail is serviced before.

What ours knows beforehand (levels at failure, what wear looks like, lives, what a stop loses) is read from the earlier
months, in which machines ran to failure. The rate of alarms is judged on months without faults, of signals that do not
show wear.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import Bench
from gemel.core.clock import Virtual
from gemel.core.setting import Setting
from gemel.core.units import SECOND
from gemel.core.values import DECILES, GOOD, Floats, Forecast, Frame, Signal, Signals, Times
from gemel.detectors.committee import Committee
from gemel.detectors.crossing import Crossing, Watched
from gemel.loop.decide import Situation
from gemel.packs.manufacturing.line import COLUMNS, FAILURE_COST, MACHINES, SERVICE_COST, Plant
from gemel.policies.maintenance import Maintenance
from gemel.simulators.line.simulator import Line

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
SHIFT, DAYS = 8, 30
EARLIER = (101, 102, 103, 104)
JUDGED = (1, 2, 3, 4, 5)
SHARES = (0.4, 0.45, 0.5, 0.55, 0.6)
USUAL = {"saw": 110.0, "mill": 80.0, "drill": 95.0, "grind": 130.0, "wash": 320.0}  # hours, as the makers say
FACTORS = [1.0, 0.85, 1.12]  # the families' cutting force
RENEWED = {"6": "1min", "5": "100min"}  # a service, or a repair, which is longer than any other stop
SIGNALS = Signals([Signal(n, asset=n.split("_")[0] if n.split("_")[0] in MACHINES else "") for n in COLUMNS])
SHARES_OF_LIFE = 8
KNOCKING = 3.6  # a kurtosis above which a bearing is damaged; 3 is sound
ALARMS = 7.0  # a week, for all machines together
CALM = tuple(f"{m}_{what}" for m in MACHINES for what in ("kurtosis", "temperature"))

RENEWS = 0.5  # of the mean life: what a service is paid off over, so that it may come before the end; chosen elsewhere
BEST = 0.8  # of a tool's true life: what perfect knowledge services at; of 0.7, 0.8, 0.9 and 1 the cheapest elsewhere


class Flat:
    """Nothing but the line through the points: what it leaves stays as it is."""

    def forecast(
        self, context: Frame, horizon: int, *, known: Frame | None = None, levels: Sequence[float] = DECILES
    ) -> Forecast:
        level = np.nanmean(context.values[-24:], axis=0)
        step = int(context.time[-1] - context.time[-2])
        time = context.time[-1] + step * np.arange(1, horizon + 1)
        values = np.broadcast_to(level[:, None, None], (len(level), horizon, len(levels))).astype(np.float32)
        return Forecast(time, tuple(levels), values, context.signals, int(context.time[-1]))


FORECASTERS: dict[str, Any] = {
    "foundation": {"kind": "foundation", "way": "fast"},
    "theta": {"kind": "theta"},
    "line": Flat(),
}

Decide = Callable[["Month"], Mapping[str, float]]


@dataclass
class Month:
    """A plant with what has been recorded of it, and the ages of its tools in hours."""

    plant: Plant
    times: list[Times] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)
    ages: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ages = {m.name: m.age / 36.0 for m in self.plant._flow.machines}  # the log book
        self._told = 0

    @property
    def now(self) -> int:
        return self.plant.time

    def shift(self, commands: Mapping[str, float]) -> None:
        """A shift on under some commands."""
        self.plant.command(commands)
        times, values, _ = self.plant.record(f"{SHIFT}h")
        self.times.append(times)
        self.values.append(values)
        for machine in self.ages:
            self.ages[machine] += SHIFT
        for event in self.plant.happenings[self._told :]:
            if event.what == "renewed":
                self.ages[event.machine] = (self.now - event.time) / HOUR
        self._told = len(self.plant.happenings)

    def history(self, signals: Sequence[str], start: int, end: int, every: int | None = None) -> Frame:
        """What a store would give: a row a minute, missing where there is nothing."""
        wanted = np.arange(start, end + 1, MINUTE)
        columns = [COLUMNS.index(n) for n in signals]
        rows = np.full((len(wanted), len(columns)), np.nan)
        if self.times:
            first = self.times[0][0]
            recorded = sum(map(len, self.times))
            place = (wanted - first) // MINUTE
            there = (place >= 0) & (place < recorded)
            low = int(place[there][0]) if there.any() else 0
            per = SHIFT * 60
            held = np.concatenate(self.values[low // per :])
            rows[there] = held[place[there] - low // per * per][:, columns]
        if every and every > MINUTE:
            wanted, rows = wanted[:: every // MINUTE], rows[:: every // MINUTE]
        return Frame(wanted, rows, np.where(np.isfinite(rows), GOOD, 2).astype(np.uint8), tuple(signals))

    def setting(self) -> Setting:
        return Setting("line", "", SIGNALS, Virtual(), MINUTE, 2 * 24 * HOUR, 0, Path(), history=self.history)

    def situation(self, findings: Sequence[Any] = ()) -> Situation:
        return Situation(self.now, SHIFT * HOUR, 2 * 24 * HOUR, SIGNALS, {}, findings=tuple(findings), mode="auto")


def lived(seed: int, decide: Decide, days: int = DAYS) -> Month:
    """A month of the plant under a way to decide."""
    month = Month(Plant(seed=seed))
    for _ in range(days * 24 // SHIFT):
        month.shift(decide(month))
    return month


def never(month: Month) -> Mapping[str, float]:
    """Run to failure."""
    return {}


def interval(share: float) -> Decide:
    """Service at a share of the usual life."""
    return lambda month: {f"{m}_service": 1.0 for m, age in month.ages.items() if age >= share * USUAL[m]}


def perfect(share: float) -> Decide:
    """Service what will fail in this shift, also once what stood in its way is serviced, and what has used up `share`
    of the wear at which it will fail: worn tools make scrap."""

    def decide(month: Month) -> Mapping[str, float]:
        truth = month.plant.truth
        commands = {f"{m}_service": 1.0 for m in MACHINES if truth.wear[m] >= share * truth.limit[m]}
        while True:
            ahead = copy.deepcopy(month.plant)
            told = len(ahead.happenings)
            ahead.command(commands)
            ahead.record(f"{SHIFT + 1}h")  # a service waits for the end of a part
            fails = {f"{e.machine}_service": 1.0 for e in ahead.happenings[told:] if e.what == "failure"}
            if fails.keys() <= commands.keys():
                return commands
            commands |= fails

    return decide


@dataclass(frozen=True)
class Learned:
    """What the earlier months say, by machine: rows of `crossing`, what a failure and a service cost in all."""

    signals: Mapping[str, Mapping[str, Any]]
    failure: Mapping[str, float]
    service: Mapping[str, float]
    lives: Mapping[str, float]


def learn(months: Sequence[Month], lost: tuple[float, float]) -> Learned:
    """From months in which machines ran to failure; `lost`: what output a failure and a service cost, EUR."""
    signals: dict[str, dict[str, Any]] = {}
    lives, limits = {}, list[float]()
    for machine in MACHINES:
        runs = [run for month in months for run in _runs(month, machine) if run.knocks < KNOCKING]
        whole = [run for run in runs if run.whole]
        hours = [run.hours for run in whole] or [USUAL[machine]]
        lives[machine] = float(np.mean(hours))
        table = _table(whole)
        read = Watched("", (1.0,), 1.0, "", 0.0, 1.0, tuple((a, b) for a, b in table)).read
        limits += read(np.array([run.last for run in runs])).tolist()
        spread = max(float(np.std(hours)) / lives[machine], 0.2)
        signals[f"{machine}_vibration"] = {
            "limit": limits,  # in wear, so that machines can be put together
            "wear": table,
            "state": f"{machine}_state",
            "life": f"{lives[machine] / 0.9:.1f}h",
            "shape": 1.2 / spread,
            "load": "family",
            "factors": FACTORS,
        }
        signals[f"{machine}_kurtosis"] = {
            "limit": KNOCKING, "state": f"{machine}_state", "life": "9000h", "shape": 1.0,
        }  # fmt: skip
    failure = {m: FAILURE_COST[m] + lost[0] for m in MACHINES}
    service = {m: SERVICE_COST[m] + lost[1] for m in MACHINES}
    return Learned(signals, failure, service, lives)


@dataclass(frozen=True)
class _Run:
    share: Floats  # of its life, [t]
    level: Floats  # of the vibration, for family 0, [t]
    last: float  # over its last three hours
    knocks: float  # kurtosis then
    hours: float
    whole: bool  # whether it was seen from the beginning


def _runs(month: Month, machine: str) -> list[_Run]:
    """The lives of a machine that ended in a failure."""
    found, began, whole = [], month.times[0][0], False
    for event in month.plant.happenings:
        if event.machine != machine:
            continue
        if event.what == "failure":
            frame = month.history(
                [f"{machine}_{n}" for n in ("vibration", "state", "kurtosis")] + ["family"], began, event.time
            )
            level, state, knocks, family = frame.values.T
            level = level / np.array(FACTORS)[np.nan_to_num(family).astype(int)]
            known = (state == 1) & np.isfinite(level)
            share = np.linspace(0, 1, len(level))
            if known[-180:].any():
                hours = (event.time - began) / HOUR
                last = float(level[-180:][known[-180:]].mean())
                knock = float(np.nanmean(knocks[-180:][known[-180:]]))
                found.append(_Run(share[known], level[known], last, knock, hours, whole))
        elif event.what == "renewed":
            began, whole = event.time // MINUTE * MINUTE + MINUTE, True
    return found


def _table(runs: Sequence[_Run]) -> list[list[float]]:
    """Rows [level, wear]: the mean level at each share of a life."""
    if not runs:
        return []
    edges = np.linspace(0, 1, SHARES_OF_LIFE + 1)
    level = [
        np.mean([r.level[k].mean() for r in runs if (k := (r.share >= a) & (r.share < b)).any()])
        for a, b in pairwise(edges.tolist())
    ]
    rising = np.maximum.accumulate(level) + 1e-4 * np.arange(SHARES_OF_LIFE)
    return [[float(x), float(s)] for x, s in zip(rising, (edges[1:] + edges[:-1]) / 2, strict=True)]


class Ours:
    """The detector and the policy, asked at the beginning of each shift."""

    def __init__(self, learned: Learned, forecaster: str) -> None:
        self._learned, self._forecaster = learned, forecaster
        self._month: Month | None = None
        self.seconds = 0.0

    def __call__(self, month: Month) -> Mapping[str, float]:
        if month is not self._month:
            self._month = month
            self._detector = Crossing(
                self._learned.signals, FORECASTERS[self._forecaster], renewed=RENEWED, within="400d"
            )
            self._detector.bind(month.setting())
            self._policy = Maintenance(
                {
                    m: {
                        "duration": "45min",
                        "cost": self._learned.service[m],
                        "failure": self._learned.failure[m],
                        "renewed": f"{RENEWS * self._learned.lives[m]:.0f}h",
                        "life": f"life of {m}",
                        "signal": f"{m}_service",
                    }
                    for m in MACHINES
                },
                {m: {"resumable": True} for m in MACHINES},
                crew=2, ahead="5d", lead=f"{SHIFT // 2}h", tick="1h", seconds=1.0, workers=1,
            )  # fmt: skip
            self._findings: dict[str, Any] = {}
        began = time.perf_counter()
        for finding in self._detector.inspect(month.situation()):
            self._findings[finding.id] = finding
        held = [f for f in self._findings.values() if f.open]
        decision = self._policy.decide(month.situation(held))
        self.seconds += time.perf_counter() - began
        return {c.signal: c.value for c in decision.commands if c.value > 0}


def lost(failing: Sequence[Month], serviced: Sequence[Month]) -> tuple[float, float]:
    """What output a failure and a service cost in lost output, EUR, from months of both kinds."""
    bad = sum(m.plant.truth.costs["lost"] for m in failing) / max(sum(_count(m, "failures") for m in failing), 1)
    rest = sum(m.plant.truth.costs["lost"] - bad * _count(m, "failures") for m in serviced)
    return bad, max(rest / max(sum(_count(m, "services") for m in serviced), 1), 0.0)


def _total(month: Month) -> float:
    return month.plant.truth.costs["total"]


def _count(month: Month, what: str) -> float:
    return month.plant.truth.counts[what]


def alarms(seed: int) -> float:
    """Findings a week of the committee, on a month without faults after a week to learn from."""
    month = Month(Plant(seed=seed, bearings=0.0))
    detector = Committee(signals=CALM, alarms_per_week=ALARMS, learn="7d", step="10min")
    detector.bind(month.setting())
    opened, decide = set(), interval(0.5)
    for i in range(DAYS * 24 // SHIFT):
        month.shift(decide(month))
        if (i + 1) * SHIFT >= 7 * 24:
            opened |= {f.id for f in detector.inspect(month.situation()) if f.open}
    return len(opened) / ((DAYS - 7) / 7)


def forks() -> float:
    """Seconds for two hundred members of the simulator `line`, five machines, a day in steps of an hour."""
    machines = [
        {"name": m, "cycle": cycle, "cv": 0.1, "mtbf": "9h", "mttr": "10min", "wear": 0.0003, "wear_cv": 1.0,
         "hazard": 0.1, "scrap": 0.005, "service": "45min"}
        for m, cycle in zip(MACHINES, (66.0, 78.0, 72.0, 75.0, 58.0), strict=True)
    ]  # fmt: skip
    line = Line(machines, [8, 8, 6, 6], arrivals="even", release=36)
    memory = line.init(None, 0, 200)
    inputs = np.array([[line.defaults[name]] * 200 for name in line.inputs])
    began = time.perf_counter()
    for _ in range(24):
        memory, _ = line.step(memory, inputs, 3600.0)
    return time.perf_counter() - began


def gaps(bench: Bench, cost: Mapping[str, Sequence[float]], hindsight: float) -> None:
    """How much of what perfect knowledge would save each way saves; `hindsight`: what the best interval would cost."""
    mean = {name: statistics.mean(held) for name, held in cost.items()}
    simple, bound = min(("run to failure", "fixed interval"), key=lambda n: mean[n]), mean["perfect knowledge"]
    for name in list(cost)[3:]:
        closed = 100 * (mean[simple] - mean[name]) / (mean[simple] - bound)
        goal = ">= 60" if name == "ours" else ""
        bench.figure(f"gap from {simple} to perfect knowledge closed, {name}", closed, "%", goal=goal)
    months = zip(cost[simple], cost["ours"], cost["perfect knowledge"], strict=True)
    each = [100 * (a - b) / (a - c) for a, b, c in months]
    bench.figure("gap closed, ours, worst month", min(each), "%")
    bench.figure("gap closed, ours, best month", max(each), "%")
    bench.figure("cost of a month, the interval that is best in hindsight", hindsight, "EUR")
    over = 100 * (hindsight - mean["ours"]) / (hindsight - bound)
    bench.figure("gap closed, ours, from the interval that is best in hindsight", over, "%")


def main() -> None:
    seeds = JUDGED[:1] if "--quick" in sys.argv else JUDGED
    with Bench("line") as bench:
        began = time.perf_counter()

        def say(text: str) -> None:
            print(f"[{time.perf_counter() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

        ran = [lived(seed, never) for seed in EARLIER]
        tried = {share: [lived(seed, interval(share)) for seed in EARLIER] for share in SHARES}
        mean = {share: statistics.mean(map(_total, months)) for share, months in tried.items()}
        share = min(mean, key=lambda s: mean[s])
        say(f"earlier months: fixed interval { ({k: round(v) for k, v in mean.items()}) }, best {share}")
        learned = learn(ran, lost(ran, tried[share]))
        ways: dict[str, Decide] = {
            "run to failure": never,
            "fixed interval": interval(share),
            "perfect knowledge": perfect(BEST),
            "ours": Ours(learned, "foundation"),
            "without the network: theta": Ours(learned, "theta"),
            "without the network: a line": Ours(learned, "line"),
        }
        cost: dict[str, list[float]] = {}
        for name, way in ways.items():
            months = [lived(seed, way) for seed in seeds]
            cost[name] = [_total(m) for m in months]
            parts = {
                k: round(statistics.mean(m.plant.truth.costs[k] for m in months)) for k in months[0].plant.truth.costs
            }
            stops = [statistics.mean(_count(m, what) for m in months) for what in ("services", "failures")]
            say(f"{name}: {parts}, services {stops[0]:.1f}, failures {stops[1]:.1f}")
            bench.figure(f"cost of a month, {name}", statistics.mean(cost[name]), "EUR")
            bench.figure(f"services, {name}", stops[0], "a month")
            bench.figure(f"failures, {name}", stops[1], "a month")
        near = [other for other in SHARES if other != share and abs(other - share) < 0.06]
        known = [statistics.mean(_total(lived(s, interval(n))) for s in seeds) for n in near]
        gaps(bench, cost, min(statistics.mean(cost["fixed interval"]), *known))
        if isinstance(ours := ways["ours"], Ours):
            bench.figure("a decision", ours.seconds / len(seeds) / (DAYS * 24 / SHIFT), "s")
        rate = statistics.mean(alarms(seed) for seed in seeds)
        bench.figure(
            "alarms a week without a fault",
            rate,
            "",
            goal=f"{0.8 * ALARMS:.2f} to {1.2 * ALARMS:.2f}",
            peer=("set", ALARMS),
        )
        bench.figure("200 forks of a day, simulator `line`", forks(), "s")
        say("done")


if __name__ == "__main__":
    main()
