"""Oil temperature of a real transformer a day ahead (ETTm1, `GEMEL_DATA`): physics, physics and residual, forecasters.

    python3 dev.py bench transformer [--quick] [--json]

The months are split as published, 12 / 4 / 4; scores are those of the last 4, from a start every 6 hours (`--quick`:
every two days). Everything was chosen, fitted and calibrated on rows before them. Nobody measured the air around this
transformer: in the equations (IEC 60076-7) it is latent, and an ensemble filter that runs through finds it. All know
the rows up to the start and none after: loads to come are those of the day before ("hindcast": as they came).

- uncalibrated: the guide's constants, and the priors of `kind = "thermal"`. "as measured": the oil starts at the
  temperature it has. "filtered": the filter finds oil and weather, all parameters stay.
- enkf: the filter finds the parameters too, from those priors, over the 4 months before the test and on.
- least_squares, esmda: parameters calibrated on the last days before the test; the filter finds oil and weather.
- calibrated: how fast weather and day change, and all other parameters, are those whose 24 h error is least in months
  1 to 16 (prediction-error method, a random search outside of this file); the filter runs through from the first row.
- residual alone: the same regression on a simulator in which nothing happens.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.ett import ettm1
from bench.harness import Bench
from gemel.core.clock import Data
from gemel.core.setting import Setting
from gemel.core.values import Belief, Floats, Frame, Signal, Signals
from gemel.estimators.enkf import Enkf
from gemel.estimators.esmda import esmda
from gemel.estimators.least_squares import least_squares
from gemel.forecasters.conformal import Conformal
from gemel.forecasters.member import member
from gemel.forecasters.score import pinball
from gemel.loop.simulate import rollout
from gemel.simulators.residual.simulator import Residual
from gemel.simulators.thermal import Thermal

QUICK = "--quick" in sys.argv[1:]
DAY, MONTH = 96, 30 * 96  # rows
TRAIN, VALIDATION, TEST, END = 0, 12 * MONTH, 16 * MONTH, 20 * MONTH
EVERY = 2 * DAY if QUICK else DAY // 4
LEVELS = tuple(round(0.05 * i, 2) for i in range(1, 20))
LOADS, OIL = ("HUFL", "HULL"), "OT"
STEP = 900.0
MEMBERS, DRAWS = 40, 200  # of the filter, and of a forecast
KINDS = ("naive", "seasonal_naive", "theta", "linear", "foundation", "pool")
PLAIN = ("naive", "seasonal_naive", "theta", "linear")
"""Those without a pre-trained network."""

Priors = dict[str, dict[str, float | str]]
HELD = ("oil_rise", "hot_rise", "hot_offset", "tau_oil", "ambient_mean")
HELD += ("year_cos", "year_sin", "day_cos", "day_sin", "day2_cos", "day2_sin")
FITTED: Priors = {
    "oil_rise": {"mean": 0.01, "sd": 0.0, "low": 0.0},
    "tau_oil": {"mean": 170.0, "sd": 0.0},
    "hot_rise": {"sd": 0.0},
    "hot_offset": {"sd": 0.0},
    "ambient_mean": {"mean": 12.0, "sd": 6.0, "memory": "200d"},
    "year_cos": {"sd": 8.0},
    "year_sin": {"sd": 8.0},
    "day_cos": {"mean": -0.85, "sd": 0.52, "memory": "12.5d"},
    "day_sin": {"mean": -0.98, "sd": 0.52, "memory": "12.5d"},
    "day2_cos": {"mean": 0.30, "sd": 0.10, "memory": "9.4d"},
    "day2_sin": {"mean": 0.19, "sd": 0.10, "memory": "9.4d"},
    "weather": {"mean": 0.0, "sd": 3.1, "memory": "33h"},
}
OIL_NOISE, NOISE = 0.83, 0.05
"""What the equations miss on the oil, K per square root of an hour; the noise of its thermometer, K."""


class Still:
    """Nothing ever happens: what is corrected here is a forecaster without a simulator."""

    inputs, outputs, states = LOADS, (OIL,), (OIL,)

    def init(self, belief: Belief | None, seed: int, members: int = 1) -> Floats:
        return np.zeros((1, members)) if belief is None else belief.members

    def step(self, memory: Floats, inputs: Floats, dt: float) -> tuple[Floats, Floats]:
        return memory, memory

    def assign(self, memory: Floats, states: Floats, time: int) -> Floats:
        return states

    def extract(self, memory: Floats) -> Floats:
        return memory

    def observe(self, memory: Floats, inputs: Floats) -> Floats:
        return memory


@dataclass
class Scores:
    """Of forecasts from the same starts: truth [h] and quantiles [h, q] of each."""

    truth: list[Floats] = field(default_factory=list)
    quantiles: list[Floats] = field(default_factory=list)

    def add(self, truth: Floats, quantiles: Floats) -> None:
        self.truth.append(truth)
        self.quantiles.append(np.asarray(quantiles, np.float64))

    def row(self) -> tuple[float, float, float, float]:
        """RMSE, MAE, CRPS (twice the mean pinball loss) in K; the share inside of the 90 % band."""
        t, q = np.array(self.truth), np.array(self.quantiles)
        off = t - q[:, :, LEVELS.index(0.5)]
        inside = (t >= q[:, :, 0]) & (t <= q[:, :, -1])
        crps = 2.0 * pinball(t, q, LEVELS).mean()
        return float(np.sqrt((off**2).mean())), float(abs(off).mean()), float(crps), float(inside.mean())


def thermal(priors: Mapping[str, Mapping[str, float | str]], oil_noise: float = 0.1) -> Thermal:
    return Thermal(load=LOADS, rated=25.0, oil=OIL, oil_noise=oil_noise, priors=priors)


def held(at: Mapping[str, float], more: Priors | None = None) -> Priors:
    """Priors that hold parameters where they are."""
    return {name: {"mean": value, "sd": 0.0} for name, value in at.items()} | (more or {})


def starts(first: int = TEST, last: int = END) -> range:
    return range(first, last - DAY + 1, EVERY)


def filtered(simulator: Any, frame: Frame, first: int, last: int, every: int, noise: float = 0.3) -> Iterator[Belief]:
    """Beliefs of the row before each start from `first` on; the filter begins 30 days earlier."""
    enkf = Enkf({OIL: noise}, members=MEMBERS)
    clock = Data()
    enkf.bind(Setting("bench", "", Signals([Signal(OIL)]), clock, 900 * 10**9, DAY, 1, Path(), simulator))
    belief, seen = None, max(first - MONTH, 0)
    for row in range(first, last, every):
        belief = enkf.update(belief, frame.rows(seen, row))
        seen = row
        yield belief


def run(simulator: Any, belief: Belief, frame: Frame, row: int, hindcast: bool = False) -> Floats:
    """Quantiles of the oil [h, q] over the day that starts with `row`."""
    m = belief.members.shape[1]
    wide = Belief(belief.names, belief.members[:, np.arange(DRAWS) % m], belief.time, belief.innovation)
    back = 0 if hindcast else DAY
    loads = frame.only(simulator.inputs).values[row - back : row - back + DAY]
    outputs = rollout(simulator, simulator.init(wide, row), np.repeat(loads[:, :, None], DRAWS, axis=2), STEP)
    return np.quantile(outputs[:, list(simulator.outputs).index(OIL)], LEVELS, axis=1).T


def scored(simulators: Mapping[str, Any], beliefs: Iterator[Belief], frame: Frame) -> dict[str, Scores]:
    """Several simulators from the same beliefs; the first one's hindcast too."""
    out = {name: Scores() for name in simulators}
    y = frame.column(OIL)
    for row, belief in zip(starts(), beliefs, strict=True):
        for name, simulator in simulators.items():
            out[name].add(y[row : row + DAY], run(simulator, belief, frame, row, "hindcast" in name))
    return out


def measured(simulator: Any, frame: Frame) -> Iterator[Belief]:
    """The simulator's prior with the oil as measured."""
    states = simulator.extract(simulator.init(None, 1, MEMBERS))
    for row in starts():
        now = states.copy()
        now[0] = frame.column(OIL)[row - 1]
        yield Belief(tuple(simulator.states), now, int(frame.time[row - 1]))


def forecaster(kind: str, frame: Frame) -> Scores:
    """A forecaster in its conformal wrapper, learning on line from all months (one with a network: from 2 months before
    the test on, which is all its wrapper can use)."""
    part, seen, out = Conformal(member({"kind": kind}, kind)), 0, Scores()
    only, y = frame.only([OIL]), frame.column(OIL)
    early = range(MONTH if kind in PLAIN else TEST - 2 * MONTH, TEST, DAY // 4)
    wanted = set(starts())
    for row in [*early, *range(TEST, END - DAY + 1, DAY // 4)]:
        part.learn(only.rows(seen, row))
        seen = row
        if row < TEST or row in wanted:
            made = part.forecast(only.rows(row - 4 * 7 * DAY, row), DAY, levels=LEVELS)
        if row in wanted:
            out.add(y[row : row + DAY], made.of(OIL))
    return out


def average(one: Scores, other: Scores) -> Scores:
    """Quantile by quantile."""
    pairs = zip(one.quantiles, other.quantiles, strict=True)
    return Scores(one.truth, [(a + b) / 2.0 for a, b in pairs])


def calibrations(frame: Frame) -> Iterator[tuple[str, Any, Iterator[Belief]]]:
    """Ways to calibrate on what was before the test: name, simulator, beliefs at the starts."""
    defaults = thermal({})
    means = dict(zip(defaults.states, defaults.extract(defaults.init(None, 0, 400)).mean(axis=1).tolist(), strict=True))
    still = thermal(held({n: means[n] for n in HELD}))
    yield "uncalibrated, as measured", defaults, measured(defaults, frame)
    yield "uncalibrated, filtered", still, filtered(still, frame, TEST, END - DAY + 1, EVERY)
    yield "enkf, 4 months and on", defaults, through(defaults, frame)
    hourly = Frame(frame.time[::4], frame.values[::4], frame.quality[::4], frame.signals)
    for name, method in (("least_squares", least_squares), ("esmda", esmda)):
        for days in (30, 90):
            recent = hourly.rows((TEST - days * DAY) // 4, TEST // 4)
            found = method(defaults, recent, {OIL: 3.0}).mean()
            one = thermal(held({n: found[n] for n in HELD}))
            yield f"{name}, {days} d", one, filtered(one, frame, TEST, END - DAY + 1, EVERY)


def through(simulator: Any, frame: Frame) -> Iterator[Belief]:
    """Of a filter that began with the validation months."""
    for row, belief in enumerate(filtered(simulator, frame, VALIDATION + MONTH, END - DAY + 1, EVERY)):
        if VALIDATION + MONTH + row * EVERY >= TEST:
            yield belief


def taught(physics: Any, frame: Frame, beliefs: Sequence[Belief]) -> tuple[Residual, Residual]:
    """Physics and residual, and the residual alone, of the first 16 months and the beliefs in them."""
    both = Residual(physics, windows=1000, unforeseen=LOADS)
    both.learn(frame.rows(0, TEST), beliefs)
    alone = Residual(Still(), windows=1000, unforeseen=LOADS)
    oil = dict(zip(frame.time.tolist(), frame.column(OIL).tolist(), strict=True))
    alone.learn(frame.rows(0, TEST), [Belief((OIL,), np.array([[oil[b.time]]]), b.time) for b in beliefs])
    return both, alone


def fitted(frame: Frame) -> dict[str, Scores]:
    """The calibrated simulator, whose filter runs through from the first row on, and what a residual adds."""
    physics = thermal(FITTED, OIL_NOISE)
    every = DAY // 4
    along = [*filtered(physics, frame, MONTH, END - DAY + 1, every, NOISE)]
    first = (TEST - MONTH) // every
    both, alone = taught(physics, frame, along[:first])
    many = {"calibrated": physics, "calibrated, hindcast": physics}
    many |= {"physics + residual": both, "physics + residual, hindcast": both}
    out = scored(many, iter(along[first :: EVERY // every]), frame)
    y = frame.column(OIL)
    last = (Belief((OIL,), y[[[r - 1]]], int(frame.time[r - 1])) for r in starts())
    return out | scored({"residual alone": alone}, last, frame)


def main() -> None:
    frame = ettm1()
    rows: dict[str, Scores] = {}
    with Bench("transformer") as bench:
        for name, simulator, beliefs in calibrations(frame):
            rows |= show(scored({name: simulator}, beliefs, frame))
        rows |= show(fitted(frame))
        for kind in KINDS:
            rows |= show({kind: forecaster(kind, frame)})
        rows |= show({"average with linear": average(rows["physics + residual"], rows["linear"])})
        report(bench, {name: scores.row() for name, scores in rows.items()})


def show(some: dict[str, Scores]) -> dict[str, Scores]:
    for name, scores in some.items():
        rmse, mae, crps, cover = scores.row()
        text = f"# {name:30} rmse {rmse:6.3f}  mae {mae:6.3f}  crps {crps:6.3f}  cover {cover:.3f} of 0.9"
        print(f"{text}  n {len(scores.truth)}", file=sys.stderr, flush=True)
    return some


def report(bench: Bench, rows: Mapping[str, Sequence[float]]) -> None:
    for name, (rmse, mae, crps, cover) in rows.items():
        bench.figure(f"rmse {name}", rmse, "K")
        bench.figure(f"mae {name}", mae, "K")
        bench.figure(f"crps {name}", crps, "K")
        bench.figure(f"cover {name}", cover, "of 0.9")
    least = {name: row[0] for name, row in rows.items()}
    peer = "uncalibrated, filtered"
    bench.figure("rmse calibrated", least["calibrated"], "K", goal="<= 0.7x", peer=(peer, least[peer]))
    ours = least["physics + residual"]
    for name in ("calibrated", "residual alone"):
        bench.figure("rmse physics + residual", ours, "K", goal="<= 1.0x", peer=(name, least[name]))
    for among in (PLAIN, KINDS):
        best = min(among, key=least.__getitem__)
        bench.figure("rmse physics + residual", ours, "K", goal="<= 1.0x", peer=(best, least[best]))
        bench.figure("rmse average with linear", least["average with linear"], "K", peer=(best, least[best]))


if __name__ == "__main__":
    main()
