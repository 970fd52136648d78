"""The attribution, deletion and counterfactual parts of `bench explain`.

Attribution: what `attribution` says against exact Shapley values (all coalitions) on small problems of several kinds,
beside three explainers of the `shap` package, which take turns with it in the same process, on one thread; seconds are
those of the processor, as others may use it too. Every explainer runs with more and more evaluations; the time at which
it reaches an error (root mean square over players, as a part of that of the exact values) is read off between its runs,
in logarithms. It is compared twice: with what each explainer of shap does when it is only told the function and the
normal rows, and with the one of them that is first at an error, each at its best number of samples (its regression
without the selection of features, which would only cost it).

Deletion: players are put back to normal in the order of their shares, and what the detector then says of the window is
averaged over the way; a random order stands beside. The normal windows put in are others than those that the shares
were made with.

Counterfactuals: a transformer gets too hot under a stingy hand on its fans; the twin knows it through its own simulator
and an ensemble that it has calibrated, and says which fan stages or which load would have kept it below. The emulated
plant (another physics, other noise) is then run again under just these.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.detect import FIT, SECOND, Run, read
from bench.harness import Bench
from gemel.core.clock import Virtual
from gemel.core.explain import Past, Question, background
from gemel.core.setting import Setting
from gemel.core.values import Command, Finding, Floats, Frame, Signal, Signals
from gemel.detectors.committee import Committee
from gemel.detectors.statistics.judge import Judge
from gemel.detectors.subspace import Subspace
from gemel.estimators.enkf import Enkf
from gemel.explainers.attribution import Attribution
from gemel.explainers.counterfactual import Counterfactual
from gemel.packs.energy.transformer import Plant
from gemel.simulators.thermal import Thermal

NORMAL, CASES, ROUNDS = 32, 2, 2
LEVELS = (0.05, 0.02, 0.01)
ERRORS = (0.2, 0.05, 0.02, 0.01, 0.005, 0.002, 0.0005)
DEFAULT, LEAST = 0.01, 0.002
"""The error that is asked for when nothing is said; and errors smaller than this one count as this one."""
MINUTE = 60 * SECOND


def say(text: str) -> None:
    print(f"# {text}", file=sys.stderr, flush=True)


# -- attribution ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """A score of windows [b, t, p] whose players are the p signals, cases [n, t, p] and normal windows."""

    name: str
    score: Callable[[Floats], Floats]
    cases: Floats
    normal: Floats
    dear: bool = False

    def question(self, case: int) -> Question:
        values = self.cases[case]
        names = tuple(f"x{i}" for i in range(values.shape[1]))
        finding = Finding(f"{self.name} {case}", "", "", 0, 0, 0.0, 0.0)
        return Question(finding, np.arange(1, len(values) + 1) * SECOND, values, names, self.normal, self.score)

    def masked(self, case: int) -> Callable[[Floats], Floats]:
        """The game as a function of masks [n, p]: how windows are explained by shap."""

        def worth(masks: Floats) -> Floats:
            kept = np.asarray(masks) > 0.5
            out = np.empty(len(kept))
            for i in range(0, len(kept), 64):
                some = kept[i : i + 64]
                windows = np.where(some[:, None, None, :], self.cases[case], self.normal)
                out[i : i + 64] = self.score(windows.reshape(-1, *self.normal.shape[1:])).reshape(len(some), -1).mean(1)
            return out

        return worth


def problems(folder: Path, rng: np.random.Generator) -> list[Problem]:
    """Boosted trees, support vectors, two networks (one of them through ONNX), and the worst of several signals."""
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.svm import SVR

    found = []
    p = 12
    a, b, c = rng.normal(size=(p, 32)) * 1.5 / np.sqrt(p), rng.normal(size=(32, 32)) * 0.25, rng.normal(size=32)
    known, normal, cases = (s * rng.normal(size=(n, 1, p)) for s, n in ((1, 3000), (1, NORMAL), (2, CASES)))
    weight = np.abs(rng.normal(size=p))

    def network(w: Floats) -> Floats:
        return np.asarray(np.tanh(np.tanh(w[:, 0] @ a) @ b) @ c)

    target = network(known)
    trees = GradientBoostingRegressor(n_estimators=100, max_depth=4, random_state=0).fit(known[:, 0], target)
    vectors = SVR(C=10.0).fit(known[:300, 0], target[:300])
    found.append(Problem("trees", lambda w: trees.predict(w[:, 0]), cases, normal))
    found.append(Problem("support vectors", lambda w: vectors.predict(w[:, 0]), cases, normal))
    found.append(Problem("dense network", network, cases, normal))
    found.append(Problem("worst signal", lambda w: (np.abs(w[:, 0]) * weight).max(axis=1), cases, normal))
    found.append(convolution(folder, rng))
    return found


def convolution(folder: Path, rng: np.random.Generator) -> Problem:
    """A small convolutional network on windows of 64 rows and 12 signals, run by onnxruntime on one thread."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    p, t = 12, 64
    shapes = {"a": (32, p, 5), "b": (32, 32, 5), "c": (32, 1)}
    weights = [
        numpy_helper.from_array((rng.normal(size=s) * 1.6 / np.sqrt(np.prod(s[1:]))).astype(np.float32), n)
        for n, s in shapes.items()
    ]
    nodes = [
        helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["y", "a"], ["k"], pads=[2, 2]),
        helper.make_node("Relu", ["k"], ["l"]),
        helper.make_node("Conv", ["l", "b"], ["m"], pads=[2, 2], strides=[2]),
        helper.make_node("Relu", ["m"], ["n"]),
        helper.make_node("GlobalAveragePool", ["n"], ["o"]),
        helper.make_node("Flatten", ["o"], ["q"]),
        helper.make_node("MatMul", ["q", "c"], ["z"]),
    ]
    ends = [
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in (("x", ["b", t, p]), ("z", ["b", 1]))
    ]
    graph = helper.make_graph(nodes, "score", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "score.onnx"
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def score(windows: Floats) -> Floats:
        parts = np.array_split(windows.astype(np.float32), len(windows) // 512 + 1)
        return np.concatenate([session.run(None, {"x": x})[0][:, 0] for x in parts]).astype(float)

    wave = np.cumsum(rng.normal(size=(NORMAL + CASES, t, p)), axis=1) * 0.3
    return Problem("onnx network", score, 2.0 * wave[:CASES] + 1.0, wave[CASES:])


def guarded(folder: Path) -> Problem:
    """Windows of the water rig in which a valve was closed, judged by the committee fitted on the rows before."""
    run = read(folder / "valve1" / "1.csv")
    assert run is not None
    judge = fitted(run, Committee())
    first = int(np.flatnonzero(run.anomaly)[0])
    cases = np.stack([run.values[i - 20 : i + 40] for i in (first, first + 60)])
    return Problem("committee", judge.apart, cases, background(run.values[:FIT], 60, NORMAL), dear=True)


def fitted(run: Run, detector: Committee | Subspace) -> Judge:
    judge = Judge(*detector.statistics(), alarms_per_week=1.0, step=SECOND, wait=10)
    judge.fit(run.values[:FIT])
    return judge


Ladder = dict[float, Callable[[int, int], Floats]]
"""What is asked of an explainer (samples; of ours the error; 0: what it does when nothing is said) -> a call that
explains a case under a seed: shares [p]."""


def ladders(problem: Problem) -> dict[str, Ladder]:
    """The explainers, ours first, and what is asked of each."""
    import shap

    p = problem.normal.shape[2]
    flat = problem.normal.shape[1] == 1

    def ours(error: float) -> Callable[[int, int], Floats]:
        def call(case: int, seed: int) -> Floats:
            part = Attribution(segments=1, windows=NORMAL, error=error, evaluations=10**8)
            question = problem.question(case)
            question = replace(question, finding=replace(question.finding, id=f"{problem.name} {case} {seed}"))
            shares = part.explain(question).shares
            return np.array([shares[f"x{i}"] for i in range(p)])

        return call

    def asked(case: int) -> tuple[Callable[[Floats], Floats], Floats, Floats]:
        if flat:
            return lambda x: problem.score(np.asarray(x)[:, None]), problem.normal[:, 0], problem.cases[case, 0]
        return problem.masked(case), np.zeros((1, p)), np.ones(p)

    def kernel(samples: float) -> Callable[[int, int], Floats]:
        def call(case: int, seed: int) -> Floats:
            score, normal, x = asked(case)
            np.random.seed(seed)
            explainer = shap.KernelExplainer(score, normal)
            if not samples:
                return np.asarray(explainer.shap_values(x, silent=True))
            return np.asarray(explainer.shap_values(x, nsamples=int(samples), silent=True, l1_reg=0))

        return call

    def permutation(rounds: float) -> Callable[[int, int], Floats]:
        def call(case: int, seed: int) -> Floats:
            score, normal, x = asked(case)
            masker = shap.maskers.Independent(normal, max_samples=len(normal))
            if not rounds:
                return np.asarray(shap.Explainer(score, masker, seed=seed)(x[None], silent=True).values[0])
            explainer = shap.PermutationExplainer(score, masker, seed=seed)
            return np.asarray(explainer(x[None], max_evals=int(rounds) * (2 * p + 1), silent=True).values[0])

        return call

    def sampling(samples: float) -> Callable[[int, int], Floats]:
        def call(case: int, seed: int) -> Floats:
            score, normal, x = asked(case)
            np.random.seed(seed)
            explainer = shap.SamplingExplainer(score, normal)
            asked_for = {"nsamples": int(samples)} if samples else {}
            return np.asarray(explainer.shap_values(x[None], silent=True, **asked_for))[0]

        return call

    most = 2**p - 2
    kernels = [n for n in (4 * p, 10 * p, 25 * p, 60 * p, 150 * p) if n < most]
    rungs = {
        "gemel": {e: ours(e) for e in ERRORS},
        "shap kernel": {float(n): kernel(n) for n in [*kernels, min(most, 2048), 0]},
        "shap permutation": {float(n): permutation(n) for n in ((1, 4, 12, 0) if problem.dear else (1, 3, 10, 30, 0))},
    }
    if flat:
        rungs["shap sampling"] = {float(n): sampling(n) for n in (100 * p, 400 * p, 0)}
    return rungs


def measured(problem: Problem) -> tuple[dict[str, list[tuple[float, float]]], list[tuple[float, float]]]:
    """Explainer -> (error, seconds) of each run, in the order of what was asked; the rank correlations of ours (at its
    default error), and of the exact values, with shap's most careful run."""
    from scipy.stats import spearmanr

    cases, rounds = (1, 1) if problem.dear else (len(problem.cases), ROUNDS)
    exact = [every(problem, case) for case in range(cases)]
    rungs = ladders(problem)
    errors: dict[tuple[str, float], list[float]] = {}
    seconds: dict[tuple[str, float], list[float]] = {}
    said: dict[tuple[str, float, int], Floats] = {}
    for ladder in rungs.values():
        next(iter(ladder.values()))(0, 99)  # what is loaded or compiled at first is not timed
    for turn in range(rounds):
        for case in range(cases):
            for who, ladder in rungs.items():
                for asked, call in ladder.items():
                    began = time.process_time()
                    shares = call(case, turn)
                    seconds.setdefault((who, asked), []).append(time.process_time() - began)
                    off = np.sqrt(((shares - exact[case]) ** 2).mean() / (exact[case] ** 2).mean())
                    errors.setdefault((who, asked), []).append(float(off))
                    said[who, asked, case] = shares
    curves = {
        who: [(float(np.sqrt(np.mean(np.square(errors[who, a])))), float(np.median(seconds[who, a]))) for a in ladder]
        for who, ladder in rungs.items()
    }
    last = max(rungs["shap kernel"])
    agree = []
    for case in range(cases):
        careful = said["shap kernel", last, case]
        ours, own = (spearmanr(one, careful).statistic for one in (said["gemel", DEFAULT, case], exact[case]))
        agree.append((float(ours), float(own)))
    return curves, agree


def every(problem: Problem, case: int) -> Floats:
    """By all coalitions, [p]."""
    shares = Attribution(segments=1, windows=NORMAL, error=0.0).explain(problem.question(case)).shares
    return np.array([shares[f"x{i}"] for i in range(problem.normal.shape[2])])


def reached(curve: Sequence[tuple[float, float]], error: float) -> float:
    """The seconds at which a curve of (error, seconds) comes down to an error; infinite where it never does."""
    best = np.inf
    before: tuple[float, float] | None = None
    for off, spent in curve:
        if off <= error:
            if before is None or before[0] <= error:
                return min(best, spent)
            x = np.log(before[0] / error) / np.log(before[0] / max(off, 1e-4 * error))
            return float(before[1] * (spent / before[1]) ** min(x, 1.0)) if spent > before[1] else spent
        before = off, spent
    return best


def attribution(bench: Bench) -> None:
    """Agreement with shap, and cost at equal error."""
    warnings.filterwarnings("ignore")
    os.environ["TQDM_DISABLE"] = "1"
    agreements: list[tuple[float, float]] = []
    plain: dict[str, list[float]] = {}
    ratios: dict[float, list[float]] = {level: [] for level in LEVELS}
    with tempfile.TemporaryDirectory() as folder:
        asked = problems(Path(folder), np.random.default_rng(7))
        if "GEMEL_DATA" in os.environ:
            asked.append(guarded(Path(os.environ["GEMEL_DATA"]) / "skab"))
        for problem in asked:
            began = time.perf_counter()
            curves, agree = measured(problem)
            agreements += agree
            usual = {who: curve.pop() for who, curve in curves.items() if who != "gemel"}
            for who, (off, spent) in usual.items():
                ours = reached(curves["gemel"], max(off, LEAST))
                plain.setdefault(who, []).append(ours / spent)
                bench.figure(
                    f"{problem.name}: to the error of {off:.2%} that {who} has",
                    1e3 * ours,
                    "ms",
                    peer=(who, 1e3 * spent),
                )
            for level in LEVELS:
                ours = reached(curves["gemel"], level)
                peers = {who: reached(curve, level) for who, curve in curves.items() if who != "gemel"}
                best = min(peers, key=lambda w: peers[w])
                label = f"{problem.name}: to an error of {level:.0%}, the best of shap at its best setting"
                if np.isfinite(peers[best]):
                    ratios[level].append(ours / peers[best])
                    bench.figure(label, 1e3 * ours, "ms", peer=(best, 1e3 * peers[best]))
                else:
                    bench.figure(f"{label} does not get there", 1e3 * ours, "ms")
            say(f"{problem.name}: {time.perf_counter() - began:.0f} s")
            for who, curve in curves.items():
                say(f"  {who}: " + ", ".join(f"{off:.4f} at {1e3 * spent:.1f} ms" for off, spent in curve))
    ours, own = np.mean(agreements, axis=0).tolist()
    label = f"attribution: rank correlation with shap, mean of {len(agreements)} cases"
    bench.figure(label, ours, "", goal=">= 0.95", peer=("the exact values with shap", own))
    ours, own = np.min(agreements, axis=0).tolist()
    label = "attribution: rank correlation with shap, least"
    bench.figure(label, ours, "", peer=("the exact values with shap", own))
    for who, held in plain.items():
        bench.figure(f"attribution: time to the error of {who} as it comes ({len(held)} problems)", middle(held), "x")
    every = [one for held in plain.values() for one in held]
    label = f"attribution: time to the error of shap as it comes, all {len(every)} comparisons"
    bench.figure(label, middle(every), "x", goal="<= 0.2")
    for level, held in ratios.items():
        label = f"attribution: time to an error of {level:.0%} over the best of shap at its best setting"
        bench.figure(f"{label} ({len(held)})", middle(held), "x")


def middle(ratios: Sequence[float]) -> float:
    """The geometric mean."""
    return float(np.exp(np.mean(np.log(ratios))))


# -- deletion ---------------------------------------------------------------------------------------------------------


def deleted(score: Callable[[Floats], Floats], values: Floats, normal: Floats, order: Sequence[int]) -> float:
    """What is left of the score on average while columns are put back to normal in this order: 1 nothing helped, 0 the
    first column was all."""
    b = len(normal)
    windows = np.repeat(values[None], b, axis=0)
    usual, top = float(score(normal).mean()), float(score(values[None])[0])
    left = []
    for i in order:
        windows = windows.copy()
        windows[:, :, i] = normal[:, :, i]
        left.append((float(score(windows).mean()) - usual) / (top - usual))
    return float(np.mean(left[:-1]))  # after the last everything is normal


def alarms(run: Run, judge: Judge, rows: int, apart: int = 60) -> list[int]:
    """Rows at which alarms are raised, at least so many rows apart; the judge says when, no label is looked at."""
    strange = judge.score(run.values[FIT:])[0] < 1.0
    raised = FIT + np.flatnonzero(np.diff(strange.astype(int), prepend=0) == 1)
    found: list[int] = []
    for row in raised.tolist():
        if row >= FIT + rows and (not found or row - found[-1] >= apart):
            found.append(row)
    return found


def removal(
    score: Callable[[Floats], Floats], values: Floats, normal: Floats, name: str, rng: np.random.Generator
) -> tuple[float, float] | None:
    """What is left under the order of the shares, and under random orders; None where nothing is strange."""
    used, others = normal[::2], normal[1::2][:16]
    if float(score(values[None])[0]) <= float(score(normal).max()):
        return None  # by itself the window is no stranger than normal ones: there is nothing to delete
    names = tuple(str(i) for i in range(values.shape[1]))
    finding = Finding(name, "", "", 0, 0, 0.0, 0.0)
    question = Question(finding, np.arange(1, len(values) + 1) * SECOND, values, names, used, score)
    shares = Attribution(segments=1, windows=16, evaluations=4000).explain(question).shares
    ours = deleted(score, values, others, [int(n) for n in shares])
    chance = [deleted(score, values, others, rng.permutation(len(names)).tolist()) for _ in range(10)]
    return ours, float(np.mean(chance))


def deletion(bench: Bench) -> None:
    """The water rig, and the emulated line: shares against a random order."""
    rng = np.random.default_rng(3)
    found: dict[str, list[tuple[float, float]]] = {}
    if "GEMEL_DATA" in os.environ:
        folder = Path(os.environ["GEMEL_DATA"]) / "skab"
        runs = [
            r for f in ("valve1", "valve2") for p in sorted((folder / f).glob("*.csv")) if (r := read(p)) is not None
        ]
        for what, detector in (("rig, committee", Committee()), ("rig, subspace", Subspace())):
            for run in runs:
                judge = fitted(run, detector)
                rows, normal = 60, background(run.values[:FIT], 60, 48)
                raised = alarms(run, fitted(run, detector), rows)[:2]
                for row in raised:
                    window = run.values[row - rows + 20 : row + 20]
                    if len(window) == rows and (pair := removal(judge.apart, window, normal, f"{run.name} {row}", rng)):
                        found.setdefault(what, []).append(pair)
            say(f"deletion, {what}: {len(found.get(what, []))} windows")
    found |= line(rng)
    for what, pairs in found.items():
        ours, chance = np.mean(pairs, axis=0).tolist()
        wins = float(np.mean([o < c for o, c in pairs]))
        bench.figure(
            f"deletion, {what}: left of the score ({len(pairs)} windows)",
            ours,
            "",
            goal="<= 0.6x",
            peer=("random", chance),
        )
        bench.figure(f"deletion, {what}: windows in which it beats random", wins, "", goal=">= 0.9")


def line(rng: np.random.Generator) -> dict[str, list[tuple[float, float]]]:
    """Faults of the emulated line: the sensors of all machines, as means of ten minutes, judged by a committee."""
    from gemel.packs.manufacturing.line import COLUMNS, FAULTS, Fault
    from gemel.packs.manufacturing.line import Plant as Machining

    columns = [i for i, n in enumerate(COLUMNS) if n.endswith(("_power", "_vibration", "_temperature", "_kurtosis"))]

    def recorded(seed: int, faults: Sequence[Fault]) -> Floats:
        values = Machining(seed=seed, faults=faults, bearings=0.0).record("5d")[1][:, columns]
        return np.asarray(np.nanmean(values.reshape(-1, 10, len(columns)), axis=1))

    found = []
    for i, (kind, what) in enumerate(FAULTS.items()):
        seed = 700 + i
        machine = what.machines[i % len(what.machines)] if what.machines else ""
        ill = recorded(seed, [Fault(kind, machine, at="4d")])
        usual = ill[: 4 * 144]
        judge = Judge(*Committee().statistics(), step=10 * MINUTE, wait=3)
        judge.fit(usual)
        window = ill[4 * 144 - 36 : 4 * 144 + 36]  # from six hours before it came to six hours after
        if pair := removal(judge.apart, window, background(usual, 72, 48), f"line {kind}", rng):
            found.append(pair)
    say(f"deletion, line: {len(found)} of {len(FAULTS)} faults are strange to the committee")
    return {"line, committee": found} if found else {}


# -- counterfactuals --------------------------------------------------------------------------------------------------

SIGNALS = (
    Signal("load", low=0, high=80, unit="MVA"),
    Signal("ambient", unit="degC"),
    Signal("oil", unit="degC"),
    Signal("winding", unit="degC"),
    Signal("fan_power", unit="kW"),
    Signal("fan", role="controlled", low=0, high=2),
)
STEP, ROWS = 15, 24
"""Minutes of a step, and steps of a window: six hours."""


def twin(plant: Plant) -> tuple[Thermal, Enkf]:
    """What the twin knows of the transformer: the demo's simulator and estimator."""
    simulator = Thermal(
        rated=40.0, hot_spot="winding", ambient="ambient", fan="fan", fan_power="fan_power", fan_kw=3.0, oil_noise=0.3,
        priors={"oil_rise": {"mean": 58.0, "sd": 5.0}, "hot_offset": {"sd": 2.0}, "fan_health": {"sd": 0.2}},
    )  # fmt: skip
    estimator = Enkf(members=64, noise={"oil": 0.3, "winding": 0.3, "fan_power": 0.2})
    estimator.bind(
        Setting("t", "", Signals(SIGNALS), Virtual(plant.time), STEP * MINUTE, 24 * 60 * MINUTE, 1, Path(), simulator)
    )
    return simulator, estimator


def rows(plant: Plant, count: int, fan: Sequence[float], limit: Sequence[float] | None = None) -> Frame:
    """So many steps of the plant, under these fan stages and limits of the load, MVA; means of a step."""
    names = [s.name for s in SIGNALS]
    out = np.empty((count, len(names)))
    stamps = np.empty(count, np.int64)
    for i in range(count):
        orders = [("fan", round(fan[i]))] + ([] if limit is None else [("load_limit", limit[i])])
        for name, value in orders:
            plant.obey(Command(f"{name}-{plant.time}", name, float(value), plant.time + STEP * MINUTE + 1))
        heard = [plant.tick()[1] for _ in range(STEP)]
        out[i] = np.nanmean([[row.get(n, np.nan) for n in names] for row in heard], axis=0)
        stamps[i] = plant.time
    out[:, -1] = np.round(out[:, -1])
    return Frame(stamps, out, np.where(np.isfinite(out), 0, 2).astype(np.uint8), tuple(names))


def episode(seed: int) -> list[tuple[float, float, float] | None]:
    """A hot afternoon; of each control what was found: the peak of the winding, that on the plant changed so, limit."""
    rng = np.random.default_rng(seed)
    start = f"2025-{rng.integers(5, 9):02d}-{rng.integers(1, 28):02d}T{rng.integers(6, 16):02d}:00"
    plant = Plant(start=start, history="2d", fan_fails="", sensor_drifts="", dropouts=0.0, seed=seed)
    _ = plant.past
    simulator, estimator = twin(plant)
    before = rows(plant, 96, [1.0] * 96)
    belief = estimator.update(None, before)
    there = copy.deepcopy(plant)
    came = rows(plant, ROWS, [0.0] * ROWS)
    peak = float(came.column("winding").max())
    limit = peak - rng.uniform(2.0, 5.0)
    inputs = np.column_stack([came.column(n) for n in simulator.inputs])
    controls = (
        Signal("fan", type="state", role="controlled", states=("off", "one", "two")),
        Signal("load", role="controlled", low=0.0, high=60.0, slew=40.0 * 0.05 / 60),
    )
    found: list[tuple[float, float, float] | None] = []
    for control in controls:
        past = Past(simulator, belief, inputs, (control,), lambda named: limit - named["winding"].max(axis=0))
        question = Question(
            Finding(f"{seed} {control.name}", "too hot", "winding", 0, 0, 0.5, 0.9),
            came.time, came.values, came.signals, before.values[None, -ROWS:], lambda w: w[..., 3].max(axis=1), limit,
            past, {"load": "MVA"},
        )  # fmt: skip
        answer = Counterfactual().explain(question)
        if not answer.changes:
            found.append(None)
            continue
        path = answer.paths[control.name]
        fan = path if control.name == "fan" else np.zeros(ROWS)
        then = rows(copy.deepcopy(there), ROWS, fan.tolist(), path.tolist() if control.name == "load" else None)
        true = float(then.column("winding").max())
        found.append((peak, true, limit))
        say(f"{seed}: {peak:.1f} -> {true:.1f}, limit {limit:.1f}, {answer.fit:.0%} of members: {answer.say()}")
    return found


def counterfactuals(bench: Bench, count: int = 20) -> None:
    """How many are found, and how many of these hold on the plant."""
    every = [one for seed in range(100, 100 + count) for one in episode(seed)]
    found = np.array([one for one in every if one is not None])
    over = found[:, 1] - found[:, 2]
    bench.figure(f"counterfactuals: found and verified by simulation, of {len(every)} questions", len(found), "")
    bench.figure(
        "counterfactuals: hold on the emulated plant, to 0.5 K", float((over <= 0.5).mean()), "", goal=">= 0.8"
    )
    bench.figure("counterfactuals: hold on the emulated plant, to 1.5 K", float((over <= 1.5).mean()), "")
    done = (found[:, 0] - found[:, 1]) / (found[:, 0] - found[:, 2])
    bench.figure("counterfactuals: effect on the plant over what was needed, median", float(np.median(done)), "x")


def run(bench: Bench) -> None:
    """All of it."""
    attribution(bench)
    deletion(bench)
    counterfactuals(bench)


if __name__ == "__main__":
    with Bench("explain: attribution, deletion, counterfactuals") as bench:
        run(bench)
