"""Are posteriors honest? Simulation-based calibration, and what an amortised start saves.

    python3 dev.py bench honest [--runs 500] [--write] [--json]
    python3 dev.py bench honest --amortised [--runs 100]

For each of three plants (`bench/plants`) states and parameters are drawn from the simulator's prior, telemetry is
simulated with noise and gaps, and `esmda` calibrates with its defaults. If posteriors are right, the rank of the truth
among 99 members is uniform on 0 to 99 (Talts et al. 2018, arXiv 1804.06788), and the central 90 of these hold it nine
times of ten. Two tests of that for each parameter: chi-square over 20 bins, and the largest excursion of the ranks'
distribution function (after Saeilynoja, Buerkner and Vehtari 2022, Statistics and Computing 32). Finished runs are kept
in runs/honest and not run again; `--write` puts the table and the picture into docs/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from bench.harness import Bench
from bench.plants import FOLDER, Plant, plants
from gemel.core.values import Floats
from gemel.estimators import analysis, esmda, history, importance, posterior
from gemel.estimators.amortised import Amortised
from gemel.lab.picture import STYLE, box, svg, text

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
RANKS, BINS = 100, 20
ROOT = Path(__file__).parent.parent
PICTURE, PAGE = ROOT / "docs/img/honest.svg", ROOT / "docs/honest.md"
MARK = "<!-- bench honest -->"


def ranks(plant: Plant, runs: int) -> Ints:
    """Where the truth stands among 99 members, [run, parameter], ties broken at random; what was done is kept."""
    made_by = hashlib.sha256(
        b"".join(Path(str(m.__file__)).read_bytes() for m in (analysis, esmda, history, importance, posterior))
    )
    path = ROOT / f"runs/honest/{plant.name}-{made_by.hexdigest()[:8]}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {}
    if path.exists():
        done = {row[0]: row[1:] for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    with path.open("a", encoding="utf-8") as file:
        for seed in range(runs):
            if seed not in done:
                done[seed] = rank(plant, seed)
                file.write(json.dumps([seed, *done[seed]]) + "\n")
                file.flush()
    return np.array([done[seed] for seed in range(runs)])


def rank(plant: Plant, seed: int) -> list[int]:
    """Of one run, a number a parameter."""
    frame, truth = plant.telemetry(seed)
    belief = esmda.esmda(plant.simulator, frame, plant.noise, seed=seed)
    names, rng = list(belief.names), np.random.default_rng((seed, 5))
    members = belief.members[:, rng.permutation(belief.members.shape[1])[: RANKS - 1]]
    found = []
    for name in plant.parameters:
        row, true = members[names.index(name)], truth[names.index(name)]
        found.append(int((row < true).sum() + rng.integers((row == true).sum() + 1)))
    return found


def covered(found: Ints) -> Floats:
    """How often the central 90 % hold the truth, a number a parameter."""
    edge = RANKS // 20
    return np.asarray(((found >= edge) & (found < RANKS - edge)).mean(axis=0))


def chi_square(found: Ints) -> float:
    """How likely ranks [run] are at least as uneven if they are uniform."""
    return float(stats.chisquare(np.bincount(found * BINS // RANKS, minlength=BINS)).pvalue)


def excursion(found: Ints, draws: int = 1000) -> float:
    """How likely their distribution function strays at least as far from a straight line somewhere."""
    share = np.arange(1, RANKS) / RANKS

    def least(ranks: Ints) -> float:
        below = np.searchsorted(np.sort(ranks), np.arange(1, RANKS))
        law = stats.binom(len(ranks), share)
        return float(np.minimum(law.cdf(below), law.sf(below - 1)).min())

    rng, mine = np.random.default_rng(0), least(found)
    return float(np.mean([least(rng.integers(0, RANKS, len(found))) <= mine for _ in range(draws)]))


Row = tuple[str, str, float, float, float]
"""Plant, parameter, coverage, and the two p-values."""


def table(found: Mapping[str, Ints], among: Sequence[Plant]) -> Iterator[Row]:
    for plant in among:
        ranked = found[plant.name]
        for i, name in enumerate(plant.parameters):
            yield plant.name, name, float(covered(ranked)[i]), chi_square(ranked[:, i]), excursion(ranked[:, i])


def picture(found: Mapping[str, Ints], among: Sequence[Plant]) -> str:
    """A row of histograms a plant; grey is where 99 of 100 bars of uniform ranks would end."""
    wide, high, body = 118, 64, []
    for j, plant in enumerate(among):
        top = j * 120
        body.append(text(0, top + 12, plant.name, "ink bold"))
        ranked = found[plant.name]
        low, up = stats.binom(len(ranked), 1 / BINS).interval(0.99)
        unit = high / (2.0 * len(ranked) / BINS)
        for i, name in enumerate(plant.parameters):
            left, foot = i * (wide + 14), top + 24 + high
            body.append(box(left, foot - up * unit, wide, (up - low) * unit, "other"))
            counts = np.bincount(ranked[:, i] * BINS // RANKS, minlength=BINS)
            for k, count in enumerate(counts.tolist()):
                size = min(count * unit, high)
                body.append(box(left + (k + 0.1) * wide / BINS, foot - size, 0.8 * wide / BINS, size, "bar"))
            body.append(text(left, foot + 16, name, "dim small"))
    width = max(len(p.parameters) for p in among) * (wide + 14)
    label = "Histograms of the rank of the true parameter among members of the posterior: nearly flat"
    return svg(width, 120 * len(among), body, STYLE, label)


def write(rows: Iterable[Row], drawn: str, runs: int) -> None:
    """The table between the marks of docs/honest.md, and the picture."""
    PICTURE.write_text(drawn + "\n", encoding="utf-8")
    lines = [
        "| plant | parameter | truth within 90 % | p, chi-square | p, distribution function |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {plant} | `{name}` | {c:.1%} | {p:.2f} | {q:.2f} |" for plant, name, c, p, q in rows]
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(MARK)
    tail = rest.partition(MARK)[2]
    body = "\n".join([MARK, f"{runs} runs a plant:", "", *lines, MARK])
    PAGE.write_text(head + body + tail, encoding="utf-8")


def honest(bench: Bench, runs: int, to_docs: bool) -> None:
    among = plants()
    found = {plant.name: ranks(plant, runs) for plant in among}
    rows = list(table(found, among))
    for plant, name, inside, chi, ecdf in rows:
        bench.figure(f"{plant} {name} within 90 %", inside, "-", goal="0.86 to 0.94")
        bench.figure(f"{plant} {name} p of even ranks", min(chi, ecdf), "-")
    for plant in among:
        bench.figure(
            f"{plant.name} all within 90 %", float(covered(found[plant.name]).mean()), "-", goal="0.86 to 0.94"
        )
    if to_docs:
        write(rows, picture(found, among), runs)


def amortised(bench: Bench, runs: int) -> None:
    """A calibration that a network starts beside a cold one, on draws that neither training nor anything else saw.

    Errors are those of the mean against the truth, in standard deviations of the prior, root mean square over
    parameters and runs. `then` is what the cold smoother had when the started calibration was ready."""
    for plant in plants():
        network = Amortised(plant.simulator, "" if plant.name == "transformer" else FOLDER, plant.name)
        told = [one for seed in range(runs) if (one := _race(plant, network, 10_000 + seed))]
        times, errors, inside, used = (np.array([t[i] for t in told]) for i in range(4))
        proposal, started, cold = np.median(times, axis=0) * 1e3
        network_error, warm, then, after = np.sqrt(np.mean(errors**2, axis=(0, 2)))
        bench.figure(f"{plant.name} proposal", proposal, "ms")
        bench.figure(f"{plant.name} proposal error", network_error, "sd", goal="<= 1x", peer=("prior", 1.0))
        bench.figure(f"{plant.name} started calibration", started, "ms", goal="<= 0.333x", peer=("cold", cold))
        bench.figure(f"{plant.name} started error", warm, "sd", goal="<= 1x", peer=("cold then", then))
        bench.figure(f"{plant.name} started error at the end", warm, "sd", goal="<= 1.05x", peer=("cold", after))
        bench.figure(f"{plant.name} started within 90 %", float(inside.mean()), "-", goal="0.86 to 0.94")
        bench.figure(f"{plant.name} start used", float(used.mean()), "of runs")


Raced = tuple[list[float], list[Floats], Floats, float]


def _race(plant: Plant, network: Amortised, seed: int) -> Raced:
    """Seconds of proposal, started and cold calibration; errors [parameter] of proposal, started, cold at that time,
    and cold at the end; whether the started intervals hold the truth; whether the start was used."""
    frame, truth = plant.telemetry(seed)
    given = (plant.simulator, frame, plant.noise)
    names = list(plant.simulator.states)
    rows = [names.index(n) for n in plant.parameters]
    spread = plant.simulator.extract(plant.simulator.init(None, 0, 1000)).std(axis=1)[rows]

    def error(members: Floats) -> Floats:
        return np.asarray((members[rows].mean(axis=1) - truth[rows]) / spread)

    began = time.perf_counter()
    proposal = network.propose(frame, plant.noise, seed=seed)
    proposed = time.perf_counter() - began
    began = time.perf_counter()
    warm = esmda.esmda(*given, seed=seed, start=network)
    started = time.perf_counter() - began
    began = time.perf_counter()
    cold = esmda.esmda(*given, seed=seed)
    whole = time.perf_counter() - began
    began = time.perf_counter()
    target = posterior.Posterior(history.History(*given, seed))
    cloud = target.prior(100)
    for later in esmda.passes(target, 100, np.random.default_rng((seed, 1))):
        if time.perf_counter() - began > started:
            break
        cloud = later
    low, high = np.quantile(warm.members[rows], [0.05, 0.95], axis=1)
    rng = np.random.default_rng((seed, 1))
    begun = posterior.Posterior(history.History(*given, seed), None, network.coordinates)
    used = esmda.started(begun, network, 100, rng) is not None
    errors = [error(x) for x in (proposal.members, warm.members, target.run(cloud)[1], cold.members)]
    return [proposed, started, whole], errors, (low <= truth[rows]) & (truth[rows] <= high), float(used)


def main() -> None:
    say = argparse.ArgumentParser()
    say.add_argument("--runs", type=int, default=0)
    say.add_argument("--amortised", action="store_true")
    say.add_argument("--write", action="store_true")
    say.add_argument("--json", action="store_true")
    given = say.parse_args()
    with Bench("honest") as bench:
        if given.amortised:
            amortised(bench, given.runs or 100)
        else:
            honest(bench, given.runs or 500, given.write)


if __name__ == "__main__":
    main()
