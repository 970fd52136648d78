"""Calibration as an artifact: fitted, scored, promoted, taken back; it drifts, expires, and decides nothing outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from gemel import Signal, Twin
from gemel.core.artifact import Artifact, Shelf
from gemel.core.calibrated import NAME, REPORT, drawn, identity, posterior
from gemel.core.clock import Virtual, Wall
from gemel.core.errors import ConfigError, Conflict, InputError, NotFound
from gemel.core.setting import Setting
from gemel.core.units import duration, instant
from gemel.core.values import Ack, Batch, Belief, Command, Finding, Floats, Frame, Signals
from gemel.desk.calibration.card import Task
from gemel.desk.calibration.fit import calibrate, sensed, trained
from gemel.desk.calibration.hindcast import score
from gemel.desk.calibration.whitened import Whitened, memory, related
from gemel.detectors.validity import DRIFTS, EXPIRED, OUTSIDE, Validity
from gemel.estimators.enkf import Enkf
from gemel.forecasters.naive import Naive
from gemel.loop.decide import Situation
from gemel.policies.shooting import Shooting
from gemel.simulators.ode.simulator import Ode
from gemel.simulators.residual.simulator import Residual
from gemel.simulators.thermal import Thermal
from gemel.stores.memory import Memory
from gemel.testing import check_detector

EVERY = duration("15min")
DAY = 96  # rows
START = instant("2025-05-01")
TRUTH = {"oil_rise": 60.0, "hot_rise": 24.0, "tau_oil": 180.0}
NAMES = ("load", "ambient", "oil", "winding", "fan")
NOISE = {"oil": 0.3, "winding": 0.5}


def thermal(**priors: Any) -> Thermal:
    known = {n: {"sd": 0.0} for n in ("hot_offset", "fan_health")}
    lasting = {n: {"memory": "36500d"} for n in TRUTH}  # those of the plant do not drift
    given: dict[str, Any] = known | lasting | priors
    return Thermal(hot_spot="winding", rated=40.0, fan="fan", ambient="ambient", oil_noise=0.02, priors=given)


def told(days: int, seed: int = 0, warm: int = 10**6, **truth: float) -> Floats:
    """Telemetry [t, s] of a transformer whose parameters are known; from row `warm` on the air is 40 K warmer."""
    fixed = {n: {"mean": v, "sd": 0.0} for n, v in {**TRUTH, **truth}.items()}
    plant, rng, t = thermal(**fixed), np.random.default_rng(seed), np.arange(days * DAY)
    load = 28 + 9 * np.sin(t / 7.3) + 5 * np.sin(t / 31) + rng.standard_normal(len(t))
    ambient = 14 + 6 * np.sin(t / 15.3) + 2 * np.sin(t / 60) + 40.0 * (t >= warm)
    fan = (t // 24 % 3 == 0).astype(float)
    inputs = np.stack([load, fan, ambient], axis=1)
    out = plant.run(plant.quiet(plant.init(None, 0)), inputs[:, :, None], 900.0)[1][:, :, 0]
    noise = rng.standard_normal((len(t), 2)) * list(NOISE.values())
    return np.column_stack([load, ambient, out[:, :2] + noise, fan])


class Told:
    """The telemetry as a source: some days at once, the others at their times."""

    def __init__(self, values: Floats, clock: Virtual, before: int = 0) -> None:
        self.values, self.clock, self.before = values, clock, before
        self.sent: list[Command] = []

    def batch(self, first: int, last: int) -> Batch:
        rows = np.arange(first, last)
        signal, time = np.tile(np.arange(len(NAMES)), len(rows)), np.repeat(START + (rows + 1) * EVERY, len(NAMES))
        return Batch.of(signal, time, self.values[first:last].ravel())

    async def stream(self) -> AsyncIterator[Batch]:
        if self.before:
            yield self.batch(0, self.before)
        for row in range(self.before, len(self.values)):
            if not await self.clock.until(START + (row + 1) * EVERY, order=0):
                return
            yield self.batch(row, row + 1)

    def confirm(self, batch: Batch) -> None:
        """Nothing to forget."""

    async def send(self, command: Command) -> Ack:
        self.sent.append(command)
        return Ack(command.id, "done", self.clock.now())


def made(folder: Path, values: Floats, before: int = 0, **more: Any) -> Twin:
    clock = Virtual(START + before * EVERY)
    signals = [
        Signal(n, role="controlled" if n == "fan" else "measured", low=0, high=2, safe=1, address=f"plant:{n}")
        if n == "fan"
        else Signal(n, unit="degC", address=f"plant:{n}")
        for n in NAMES
    ]
    given: dict[str, Any] = {
        "simulator": thermal(),
        "estimator": Enkf(noise=NOISE, members=32),
        "connectors": {"plant": Told(values, clock, before)},
        "store": Memory(),
        "clock": clock,
        "horizon": "12h",
    }
    return Twin(name="tx", signals=signals, every="15min", folder=folder, **given | more)


def held(folder: Path, days: int = 10, **more: Any) -> Twin:
    """A twin whose store has so many days, and which has not run."""
    values = told(days)
    twin = made(folder, values, **more).open()
    twin.store.append(twin.connectors["plant"].batch(0, len(values)))
    return twin


@cache
def fitted() -> tuple[dict[str, bytes], dict[str, Any]]:
    """Files and card of a calibration from four days."""
    return calibrate(_task(told(4), NOISE, members=40))


def shelved(folder: Path, promote: bool = True, **more: Any) -> Artifact:
    """The same, on the shelf of the twin that is made in `folder`."""
    shelf = Shelf(folder / "tx.artifacts")
    one = shelf.add(NAME, fitted()[0], {**fitted()[1], **more})
    return shelf.promote(NAME, one.version) if promote else one


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    """A twin with ten days, and a calibration in use."""
    with held(tmp_path_factory.mktemp("kept")) as twin:
        twin.calibrate(members=100)
        yield twin


def test_the_posterior_covers_the_plant_and_beats_the_prior(kept: Twin) -> None:
    (one,) = kept.calibrations()
    card = one["card"]
    assert one["promoted"]
    assert one["fits"]
    assert card["passed"]
    assert set(TRUTH) <= set(card["parameters"])
    found = posterior(kept.artifacts.version(NAME, one["version"]))
    for name, value in TRUTH.items():
        low, high = np.quantile(found.row(name), (0.005, 0.995))
        assert low <= value <= high, name
    learned = {row["name"]: row["learned"] for row in card["posterior"]}
    assert learned["oil_rise"] > 0.8
    for output in NOISE:
        scores = card["scores"][output]
        assert scores["calibrated"]["crps"] < 0.7 * scores["uncalibrated"]["crps"]
        assert scores["calibrated"]["crps"] < 0.5 * min(scores[n]["crps"] for n in ("last value", "a day before"))
        assert scores["calibrated"]["coverage"] == pytest.approx(0.9, abs=0.08)


def test_a_trained_network_says_where_to_begin() -> None:
    """The shipped one, whose priors these are."""
    priors = {"oil_rise": {"sd": 6.0}, "hot_rise": {"sd": 3.0}, "tau_oil": {"sd": 30.0}, "hot_offset": {"sd": 0.0}}
    simulator = Thermal(hot_spot="winding", rated=40.0, fan="fan", ambient="ambient", oil_noise=0.0, priors=priors)
    asked = _task(told(4), NOISE, members=60)
    assert trained(asked, Whitened(asked.setting.simulator, {})) is None
    asked = replace(asked, setting=replace(asked.setting, simulator=simulator))
    assert trained(asked, Whitened(simulator, {})) is not None
    rows = {row["name"]: row["posterior"] for row in calibrate(asked)[1]["posterior"]}
    for name, value in TRUTH.items():
        mean, spread = rows[name]
        assert abs(mean - value) < 4 * spread < 0.2 * value, name


def test_the_card_says_what_it_is_from(kept: Twin) -> None:
    card = kept.calibrations()[0]["card"]
    assert card["rows"] == 10 * DAY
    assert card["trained"] == 8 * DAY
    assert card["expires"] == card["end"] + duration("90d")
    assert card["simulator"] == identity(thermal())
    assert set(card["region"]) == {"load", "ambient", "oil", "winding"}, "what the twin sets itself is not held to it"
    low, high = card["region"]["ambient"]
    values = told(10)[:, 1]
    assert low < values.min() < values.max() < high


def test_the_report_stands_alone(kept: Twin) -> None:
    made = kept.artifacts.version(NAME, kept.calibrations()[0]["version"])
    text = made.files[REPORT].read_text("utf-8")
    assert "<script" not in text
    assert "http" not in text
    for word in ("oil_rise", "prefers-color-scheme", "Where it holds", "uncalibrated", "last value", "Residuals"):
        assert word in text
    assert len(text) < 400_000


def test_least_squares_and_noise_from_the_telemetry(tmp_path: Path) -> None:
    with held(tmp_path, 5, estimator=None) as twin:
        made = twin.calibrate(method="least_squares", members=50, promote=False)
        assert made.card["noise"]["oil"] == pytest.approx(0.3, rel=0.5)
        assert made.card["passed"]
        assert [c["promoted"] for c in twin.calibrations()] == [False]


def test_promoted_while_it_runs_the_past_stays_as_it_was(tmp_path: Path) -> None:
    """Parameters are drawn again, states stay, and a fork of a past instant has the belief of then."""
    one = shelved(tmp_path, promote=False)
    twin = made(tmp_path, told(5)[: 4 * DAY + 60], before=4 * DAY, **decider(mode="observe"))
    course: dict[int, Belief] = {}
    pair: list[Belief] = []

    def watch(loop: Any) -> None:
        state = loop.state
        if len(course) == 40 and state.now not in course and not pair:
            pair.append(state.belief)
            twin.desk.use_calibration(one.version, "because")
            pair.append(state.belief)
        elif state.turns and state.now not in course:
            course[state.now] = state.belief

    asyncio.run(twin.live(watch=watch))
    with twin:
        before, after = pair
        draws = drawn(one, before.members.shape[1], twin.seed)
        for name in before.names:
            kept = name not in one.card["parameters"]
            np.testing.assert_array_equal(after.row(name), before.row(name) if kept else draws.row(name))
        (event,) = [e for e in twin.journal("event") if e.kind == NAME]
        assert (event.subject, event.text) == (one.version, f"calibration {one.version}: because")
        turns = sorted(course)
        for time, belief in [(before.time, before), *((t, course[t]) for t in (turns[20], turns[39], turns[44]))]:
            then = twin.fork(at=time, members=None).origin.belief
            assert then.time == time
            np.testing.assert_allclose(then.members, belief.members, rtol=1e-12)
        then = twin.fork(at=before.time + 60 * 10**9, members=None).origin.belief
        np.testing.assert_array_equal(then.members, after.members)
        run = twin.fork(at=before.time + 60 * 10**9, members=8).run("2h", truth=True)
        assert np.isfinite(run.of("oil")).all()


def test_a_stopped_twin_takes_it_up_when_it_runs_again(tmp_path: Path) -> None:
    twin = made(tmp_path, told(4), before=4 * DAY - 12)
    twin.run()
    with twin:
        one = twin.calibrate(members=30)
        belief = twin.desk._thinking().state.belief
        assert belief is not None
        draws = drawn(one, belief.members.shape[1], twin.seed)
        np.testing.assert_array_equal(belief.row("oil_rise"), draws.row("oil_rise"))
        held = {s.id: s.state for s in twin.store.read("snapshot")}["loop"]["belief"]
        np.testing.assert_array_equal(held.members, belief.members)


def test_one_after_the_other_and_back(tmp_path: Path) -> None:
    with held(tmp_path, 4) as twin:
        assert twin.use_calibration() == "", "there is none before"
        one = shelved(tmp_path)
        two = twin.calibrate("3d", members=30, promote=True)
        assert [c["promoted"] for c in twin.calibrations()] == [False, True]
        assert two.card["against"] == one.version
        assert "in use" in two.card["scores"]["oil"]
        assert twin.use_calibration() == one.version
        assert twin.use_calibration(two.version[:5]) == two.version
        with pytest.raises(NotFound, match="there is no calibration 'zz'"):
            twin.use_calibration("zz")


def test_a_calibration_of_another_simulator_is_refused_by_name(tmp_path: Path) -> None:
    with held(tmp_path, 1) as twin:
        one = shelved(tmp_path)
        twin.simulator = thermal(oil_rise={"mean": 50.0})
        with pytest.raises(Conflict, match=r"is of another simulator \(thermal-"):
            twin.use_calibration(one.version)
        assert [c["fits"] for c in twin.calibrations()] == [False]


def test_the_equations_are_a_part_of_a_simulators_name(tmp_path: Path) -> None:
    from gemel.simulators.ode.simulator import Ode

    file = tmp_path / "tank.py"
    text = """class Tank:
    states = {"level": {"mean": 1.0, "sd": 0.1}}
    inputs = {"flow": "m3/s"}
    outputs = {"level": ""}
    parameters = {"area": {"mean": 1.0, "sd": 0.1, "low": 0.1}}
    def derivative(self, t, x, u, p):
        return [u[0] / p[0] - 0.1 * x[0]]
"""
    names = []
    for edited in (text, text.replace("0.1 * x", "0.2 * x")):
        file.write_text(edited)
        names.append(identity(Ode(f"{file}:Tank", kernel="numpy")))
    assert names[0] != names[1]


def test_an_estimator_without_a_belief_begins_with_what_is_in_use(tmp_path: Path) -> None:
    one = shelved(tmp_path)
    twin = made(tmp_path, told(1)[:8])
    twin.run()
    with twin:
        belief = twin.desk._thinking().state.belief
        assert belief is not None
        told_of = {row["name"]: row["posterior"] for row in one.card["posterior"]}
        mean, sd = told_of["oil_rise"]
        assert belief.row("oil_rise").mean() == pytest.approx(mean, abs=4 * sd)
        assert belief.row("oil_rise").std() < 2 * sd, "not the prior's 4 K"


def decider(**more: Any) -> dict[str, Any]:
    policy = Shooting("fan_power", ["winding < 120"], controls={"fan": [0, 1, 2]}, members=8, samples=4, iterations=1)
    return {"policy": policy, "forecaster": Naive(), "mode": "auto", **more}


def test_outside_its_region_it_decides_nothing(tmp_path: Path) -> None:
    """Through real turns, and nobody has put the detector into the twin file."""
    days, warm = 4, 3 * DAY + 12
    values = told(days, warm=warm)
    shelved(tmp_path)
    rule = Validity(again="")
    for detectors in ((), (rule,)):
        twin = made(tmp_path, values[: warm + 8], before=3 * DAY, **decider(detectors=detectors, store=Memory()))
        plant = twin.connectors["plant"]
        twin.run()
        with twin:
            decisions = twin.decisions(200)
            outside = [d for d in decisions if d.time > START + warm * EVERY]
            assert len(outside) >= 5
            for decision in outside if detectors else outside[:1]:  # left alone, it then calibrates again
                assert "ambient is" in decision.reason
                assert "outside" in decision.refused[0]
                assert [c.value for c in decision.commands] == [1.0], "the declared safe value"
            assert not any("outside" in line for d in decisions if d not in outside for line in d.refused)
            (finding,) = [f for f in twin.findings(all=True) if f.subject == "ambient"]
            assert finding.name == OUTSIDE
            assert finding.evidence["invalid"] == 1
            assert finding.id in outside[0].because
        assert plant.sent


def test_drift_calibrates_again(tmp_path: Path) -> None:
    """The plant's air turns warm for good: it is found, calibrated again once, and the journal says so."""
    old = shelved(tmp_path)
    values = told(5, warm=4 * DAY + 4)
    rule = Validity(again="2d", last="9d")
    small = Enkf(noise=NOISE, members=8)
    twin = made(tmp_path, values, before=4 * DAY, detectors=(rule,), store=Memory(), estimator=small)
    twin.run()
    with twin:
        events = [e for e in twin.journal("event") if e.kind == NAME]
        assert 1 <= len(events) <= 2
        assert "as ambient is" in events[0].text
        versions = twin.calibrations()
        assert len(versions) >= 2
        assert versions[0]["version"] == old.version
        if used := [v for v in versions[1:] if v["promoted"]]:
            assert used[0]["card"]["region"]["ambient"][1] > 45
            assert not [f for f in twin.findings() if f.name == OUTSIDE]
        assert used, [e.text for e in events]


def test_on_the_wall_clock_turns_go_on_meanwhile(tmp_path: Path) -> None:
    """What comes out is put to use between two turns; what cannot be done is an event, and the twin lives on."""
    from gemel.desk.calibration.reopen import Again
    from gemel.loop.run import Loop

    finding = Finding("f", EXPIRED, NAME, START, START, 0.4, 0.9, "it is old", by="validity")

    async def again(twin: Twin, last: str, later: int) -> None:
        desk = twin.desk
        desk.loop = loop = Loop(twin.setting(), {}, twin.stages())
        loop.state.now = START + 4 * DAY * EVERY + later
        loop.state.findings = (finding,)
        work = Again(desk, loop, Validity("15min", last))
        assert list(work.due()) == [finding]
        assert not work.due(), "not again in the same turn"
        task = asyncio.get_running_loop().create_task(work.run([finding]))
        await asyncio.sleep(0)
        assert not loop.busy.locked()
        await task
        work.stop()
        desk.loop = None

    with held(tmp_path, 4, clock=Wall(), connectors={"plant": Told(told(4), Virtual())}) as twin:
        asyncio.run(again(twin, "1h", 0))
        asyncio.run(again(twin, "4d", EVERY))
        found = [e.text for e in twin.journal("event") if e.kind == NAME]
        assert found[0] == ("calibrated again, as it is old: a calibration needs 60 rows of telemetry, there are 4")
        assert "calibrated again, as it is old: kept" in found[1]
        assert [c["promoted"] for c in twin.calibrations()] == [True]


def test_a_learned_correction_goes_with_its_calibration(tmp_path: Path) -> None:
    simulator = Residual(thermal(), horizon="6h", windows=20)
    with held(tmp_path, 4, simulator=simulator, horizon="6h") as twin:
        blank = simulator.dump()
        one = twin.calibrate(members=30, promote=True)
        assert "physics alone" in one.card["scores"]["oil"]
        learned = simulator.dump()
        assert learned == one.files["residual.bin"].read_bytes() != blank, "the live one has taken it up"
        assert twin.use_calibration() == ""
        assert simulator.dump() == blank
        twin.use_calibration(one.version)
    again = Residual(thermal(), horizon="6h", windows=20)
    made(tmp_path, told(1), simulator=again, horizon="6h").stages()
    assert again.dump() == learned, "and one that starts does"


# -- bad input --------------------------------------------------------------------------------------------------------


def test_what_cannot_be_calibrated_is_refused(tmp_path: Path) -> None:
    with held(tmp_path, 2) as twin:
        for asked, text in (
            ({"method": "guess"}, "method 'guess' is not one of esmda, least_squares"),
            ({"hold": "90%"}, "hold '90%' must be from 5% to 50%"),
            ({"members": 3}, "members 3 must be from 10"),
            ({"last": "3h"}, "needs 60 rows of telemetry, there are 12"),
        ):
            with pytest.raises(InputError, match=text):
                twin.calibrate(**asked)
        twin.simulator = twin.estimator = None
        with pytest.raises(Conflict, match="has no simulator to calibrate"):
            twin.calibrate()


def _task(values: Floats, noise: dict[str, float], members: int = 20) -> Task:
    signals = Signals([Signal(n, role="controlled" if n == "fan" else "measured") for n in NAMES])
    setting = Setting("tx", "", signals, Virtual(), EVERY, 12 * 4 * EVERY, 0, Path(), thermal())
    time = START + EVERY * np.arange(1, len(values) + 1)
    quality = np.where(np.isfinite(values), 0, 2).astype(np.uint8)
    return Task(setting, Frame(time, values, quality, NAMES), noise, members=members)


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    values = told(2)
    values[:, 2:4] = np.nan
    with pytest.raises(InputError, match="nothing usable was measured of oil, winding"):
        calibrate(_task(values, NOISE))
    with pytest.raises(InputError, match="nothing was measured that the simulator describes"):
        calibrate(_task(values, {}))
    half = told(2)
    half[:, 3] = np.nan
    _, card = calibrate(_task(half, NOISE))
    assert list(card["scores"]) == ["oil"], "a silent sensor is left out"


def test_an_input_that_was_never_heard_is_named() -> None:
    class Warmed:
        states = {"oil": {"mean": 40, "sd": 5}}  # noqa: RUF012
        inputs = {"load": "", "sun": ""}  # noqa: RUF012
        outputs = {"oil": ""}  # noqa: RUF012
        parameters = {"rise": {"mean": 50, "sd": 10}}  # noqa: RUF012

        def derivative(self, t: Any, x: Any, u: Any, p: Any) -> Any:
            return [(p[0] * u[0] + u[1] - x[0]) / 9000]

    task = _task(told(2), {"oil": 0.3})
    with pytest.raises(InputError, match="input 'sun' was never heard"):
        calibrate(replace(task, setting=replace(task.setting, simulator=Ode(Warmed, kernel="numpy"))))


def test_gaps_cost_nothing_but_their_rows() -> None:
    values = told(5)
    values[100:140, 2] = np.nan
    values[200:260, 0] = np.nan
    _, card = calibrate(_task(values, NOISE))
    assert card["passed"]


# -- figures ----------------------------------------------------------------------------------------------------------


def test_the_memory_of_residuals_is_that_of_a_first_order_process() -> None:
    rng = np.random.default_rng(0)
    assert memory(rng.standard_normal(20_000)) == pytest.approx(1.0, abs=0.2)
    x = np.zeros(50_000)
    for i, e in enumerate(rng.standard_normal(len(x) - 1), 1):
        x[i] = 0.8 * x[i - 1] + e
    assert memory(x) == pytest.approx((1 + 0.8) / (1 - 0.8), rel=0.15)
    assert related(x) == pytest.approx(0.8, abs=0.02)
    assert related(x + 2 * rng.standard_normal(len(x))) == pytest.approx(0.8, abs=0.05), (
        "the sensor's noise is not in it"
    )
    assert related(rng.standard_normal(len(x))) == 0


def test_scores_in_closed_form() -> None:
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((200, 10))
    found = score(rng.standard_normal((200, 10, 400)), truth)
    assert found["crps"] == pytest.approx(1 / np.sqrt(np.pi), rel=0.05)  # of a standard normal against its own draws
    assert found["coverage"] == pytest.approx(0.9, abs=0.03)
    point = score(np.repeat(truth[..., None] + 2.0, 5, axis=2), truth)
    assert point == pytest.approx({"rmse": 2.0, "mae": 2.0, "crps": 2.0, "coverage": 0.0})


def test_sensor_noise_is_read_off_the_telemetry() -> None:
    rng, t = np.random.default_rng(2), np.arange(3000)
    values = (10 * np.sin(t / 200) + 0.4 * rng.standard_normal(len(t)))[:, None]
    frame = Frame(START + EVERY * t, values, np.zeros(values.shape, np.uint8), ("oil",))
    assert sensed(frame, ("oil", "ageing"))["oil"] == pytest.approx(0.4, rel=0.08)


# -- the detector -----------------------------------------------------------------------------------------------------


def scene(bias: float = 0.0, size: float = 1.0, turns: int = 300) -> list[Situation]:
    """A course of turns: the air leaves its region for a while, innovations with a bias and a size."""
    rng = np.random.default_rng(0)
    signals = Signals([Signal(n) for n in NAMES])
    found = []
    for i in range(turns):
        now = START + 10 * DAY * EVERY + i * EVERY
        z = bias + size * rng.standard_normal()
        belief = Belief(("top_oil",), np.zeros((1, 3)), now, {"oil": (0.5 * z, 0.5)})
        latest = {"ambient": 80.0 if 50 <= i < 60 else 14.0, "load": 28.0}
        found.append(Situation(now, EVERY, 12 * 4 * EVERY, signals, latest, belief))
    return found


def validity(kept: Twin, **more: Any) -> Validity:
    one = Validity(**more)
    one.bind(kept.setting())
    return one


def test_conformance(kept: Twin) -> None:
    news = check_detector(lambda: validity(kept), scene())
    assert [(f.name, f.subject, f.open) for f in news] == [(OUTSIDE, "ambient", True), (OUTSIDE, "ambient", False)]
    start = START + 10 * DAY * EVERY
    assert news[0].time == start + 50 * EVERY, "at once"
    assert news[1].time == start + 62 * EVERY, "when it has been inside for half an hour"


@pytest.mark.parametrize(("bias", "size", "found"), [(0.0, 1.0, False), (3.0, 1.0, True), (0.0, 5.0, True)])
def test_drift_is_a_bias_or_a_spread_beyond_chance(kept: Twin, bias: float, size: float, found: bool) -> None:
    one = validity(kept)
    news = [f for s in scene(bias, size, 140) for f in one.inspect(s)]
    assert any(f.name == DRIFTS and f.subject == "oil" for f in news) == found


def test_it_expires(kept: Twin) -> None:
    one = validity(kept)
    late = START + 101 * DAY * EVERY
    situation = Situation(late, EVERY, EVERY, Signals([]), {})
    (finding,) = one.inspect(situation)
    assert finding.name == EXPIRED
    assert "invalid" not in finding.evidence
    assert one.inspect(situation) == []


def test_a_sensor_nobody_trusts_says_nothing_about_where_the_plant_is(kept: Twin) -> None:
    one, now = validity(kept), START + 10 * DAY * EVERY
    outside = Situation(now, EVERY, EVERY, Signals([]), {"oil": 300.0})
    (finding,) = one.inspect(outside)
    assert finding.evidence["invalid"] == 1
    drifts = Finding("drift", "oil sensor drifts", "oil", now, now, 0.5, 0.9, "", evidence={"distrust": 1.0})
    (closed,) = one.inspect(replace(outside, findings=(drifts,)))
    assert (closed.id, closed.open) == (finding.id, False)
    assert one.inspect(replace(outside, findings=(drifts,))) == []
    assert one.inspect(outside)[0].open


def test_bad_settings() -> None:
    with pytest.raises(ConfigError, match="3 problems"):
        Validity(again="soon", window="", bias=0)


# -- the command ------------------------------------------------------------------------------------------------------


FILE = """
name = "tx"
every = "15min"
horizon = "6h"
clock = { kind = "virtual", start = "2025-06-01" }
signals = [
  { name = "load", unit = "MVA", address = "plant:load" },
  { name = "ambient", unit = "degC", address = "plant:ambient" },
  { name = "oil", unit = "degC", address = "plant:oil" },
  { name = "winding", unit = "degC", address = "plant:winding" },
  { name = "fan", role = "controlled", low = 0, high = 2, address = "plant:fan" },
]
connectors.plant = { kind = "transformer", start = "2025-06-01", history = "4d", fan_fails = "", sensor_drifts = "" }
simulator = { kind = "thermal", rated = 40.0, hot_spot = "winding", ambient = "ambient", fan = "fan" }
estimator = { kind = "enkf", noise = { oil = 0.3, winding = 0.3 }, members = 16 }
detectors = [{ kind = "validity", again = "" }]
"""


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gemel.cli import app, main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "tx.toml").write_text(FILE)
    run = CliRunner()
    assert run.invoke(app, ["run", "tx.toml", "--until", "2025-06-01T02:00", "--json"]).exit_code == 0
    first = run.invoke(app, ["calibrate", "tx.toml", "--members", "30", "--promote"])
    assert first.exit_code == 0, first.output
    (version,) = [p.name for p in (tmp_path / "tx.artifacts" / NAME).glob("*") if p.is_dir()]
    report = f"tx.artifacts/calibration/{version}/report.html"
    for word in ("oil_rise", "uncalibrated", f"{version} ", f"report: {report}", "next: gemel forecast tx.toml"):
        assert word in first.output.replace("\n", " ") or word in first.output
    assert (tmp_path / report).exists()
    asked = ["calibrate", "tx.toml", "--method", "least_squares", "--no-promote", "--json"]
    second = json.loads(run.invoke(app, asked).stdout)
    assert second["promoted"] == version
    assert second["against"] == version
    assert version in run.invoke(app, ["calibrate", "tx.toml", "--list"]).output
    used = json.loads(run.invoke(app, ["calibrate", "tx.toml", "--use", second["version"][:5], "--json"]).stdout)
    assert used == {"promoted": second["version"]}
    assert f"calibration {version} is in use" in run.invoke(app, ["calibrate", "tx.toml", "--back"]).output
    monkeypatch.setattr("sys.argv", ["gemel", "calibrate", "tx.toml", "--last", "2h"])
    with pytest.raises(SystemExit, match="2"):
        main()
