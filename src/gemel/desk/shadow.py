"""Shadow mode: what the twin would have done beside the controller that was there, and what that was worth.

Each observed decision is judged by its own policy. Two rollouts start from the belief recorded with it, member by
member with the same draws and the same disturbances, those that really came: one under the setpoints the plant really
had, one under the twin's plan. Horizons do not overlap, so the differences add up.

Letters in shapes: w windows (decisions judged), t steps of a window, m members, u inputs, y outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gemel.core.errors import Conflict
from gemel.core.grid import held
from gemel.core.setting import Stage
from gemel.core.units import SECOND, duration
from gemel.core.values import BAD, Belief, Decision, Floats, Times
from gemel.desk.history import Reading, means
from gemel.loop.simulate import Simulator, rollout

DAY = 86_400 * SECOND
LEVEL = 0.9
"""Of the interval."""
DRAWS = 2000
MOST = 100
"""Decisions that are judged; of a longer time, evenly chosen ones."""
GAPS = 0.2
"""The share of a window's telemetry that may be missing."""
STILL = 0.02
"""The part of a control's range below which it has not moved."""
SEEN = 0.02
"""The share of the time a setpoint must have been in use for the plant to be known at it."""
HALF = 0.5
"""The share of the time a signal must have been inside the simulator's 90 % band for the simulator to know it."""


@runtime_checkable
class Judges(Protocol):
    """A policy that can say what a plan comes to. `objective`: what its cost adds up, for people."""

    objective: str

    def course(self, decision: Decision) -> tuple[Times, Mapping[str, Floats]]:
        """The plan of a decision as setpoints [t], and the times at which their steps end: the whole horizon."""

    def cost(self, values: Mapping[str, Floats], step_s: float, moves: Mapping[str, Floats]) -> Floats:
        """The cost [m] of inputs and outputs [t, m]; `moves`: the setpoints of each control in order, for what moving
        it costs, first the one before."""

    def margins(self, values: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """By how much each constraint holds, [t, m], by its text; those whose names are all there."""


@dataclass(frozen=True, slots=True)
class Window:
    """One decision judged: costs [m] under the plant's own setpoints and under the plan, and what goes with them."""

    time: int
    end: int
    asis: Floats  # [m]
    plan: Floats  # [m]
    broken: Mapping[str, tuple[float | None, float, float]]  # rule -> share of steps: measured, simulated, plan
    errors: Mapping[str, tuple[Floats, Floats, Floats]]  # signal -> measured - mean [t], deviation [t], within [t]
    setpoints: Mapping[str, tuple[Floats, Floats]]  # control -> real [t], planned [t]


def shadow(desk: Reading, stage: Stage | None, simulator: Simulator | None, last: str) -> dict[str, Any]:
    """The page of a shadow run over the newest `last`. Raises `Conflict` where there is nothing to judge."""
    name = desk.twin.name
    if stage is None or simulator is None:
        raise Conflict(f"twin '{name}' has no {'policy' if stage is None else 'simulator'}", "shadow mode needs both")
    policy = stage.part
    if not isinstance(policy, Judges):
        raise Conflict(f"policy {type(policy).__name__} cannot say what a plan comes to", "shooting can")
    end = desk.newest()
    begin = end - duration(last)
    decisions: list[Decision] = desk.twin.store.read("decision", begin, end)
    skipped: dict[str, int] = {}
    apart = duration(last) // MOST
    windows = list(_windows(desk, policy, simulator, decisions, end, apart, skipped))
    if not windows:
        why = "; ".join(f"{n} {reason}" for reason, n in skipped.items()) or "none was made"
        hint = 'run it with mode = "observe" beside the controller for longer than its horizon'
        raise Conflict(f"twin '{name}' has no decision that can be judged yet: {why}", hint)
    return {
        "twin": name,
        "start": windows[0].time,
        "end": windows[-1].end,
        "decisions": len(decisions),
        "windows": len(windows),
        "skipped": skipped,
        "objective": policy.objective,
        **_worth(windows, desk.twin.setting().seed),
        "setpoints": {name: _setpoints(windows, name) for name in windows[0].setpoints},
        **_checked(windows, decisions, simulator),
    }


def _windows(
    desk: Reading,
    policy: Judges,
    simulator: Simulator,
    decisions: Sequence[Decision],
    end: int,
    apart: int,
    skipped: dict[str, int],
) -> Iterator[Window]:
    """Decisions whose horizon is over and begins after the one before has ended, and `apart` from it."""
    free, members = 0, ()  # the time from which on, and the shape of the first one judged
    for decision in decisions:
        times, plan = policy.course(decision)
        if decision.time < free:
            continue
        reason = _unfit(decision, plan, times, end, simulator)
        found = None if reason else _judged(desk, policy, simulator, decision, times, plan)
        if isinstance(found, Window) and found.asis.shape == (members or found.asis.shape):
            members, free = found.asis.shape, max(found.end, found.time + apart)
            yield found
        else:
            reason = reason or (found if isinstance(found, str) else "with another number of members")
            skipped[reason] = skipped.get(reason, 0) + 1


def _unfit(decision: Decision, plan: Mapping[str, Floats], times: Times, end: int, simulator: Simulator) -> str:
    if decision.status in ("sent", "approved"):
        return "sent to the plant"
    if not plan:
        return "without a plan"
    if not set(plan) <= set(simulator.inputs):
        return "that plan what the simulator does not know"
    return "whose horizon is not over" if times[-1] > end else ""


def _judged(
    desk: Reading, policy: Judges, simulator: Simulator, decision: Decision, times: Times, plan: Mapping[str, Floats]
) -> Window | str:
    """A decision judged, or why it cannot be."""
    store, known = desk.twin.store, desk.twin.signals
    belief: Belief | None = next(iter(store.read("belief", decision.time, decision.time, 1)), None)
    if belief is None:
        return "without a belief of that time"
    names = [n for n in dict.fromkeys((*simulator.inputs, *simulator.outputs)) if n in known]
    heard = means(store.window, names, decision.time, times)
    if heard is None:
        return "off the grid of the telemetry"
    thin = [n for n in simulator.inputs if np.isnan(heard.get(n, np.full(1, np.nan))).mean() > GAPS]
    if thin:
        return f"without telemetry of {', '.join(thin)}"
    members = belief.members.shape[1]
    inputs = np.stack([np.repeat(held(heard[n])[:, None], members, axis=1) for n in simulator.inputs], axis=1)
    changed = inputs.copy()
    for name, values in plan.items():
        changed[:, list(simulator.inputs).index(name)] = values[:, None]
    step_s = float(times[0] - decision.time) / SECOND
    both = [_run(simulator, belief, desk.twin.setting().seed, u, step_s) for u in (inputs, changed)]
    real = {n: _moves(store, n, decision.time, int(times[-1])) for n in plan}
    planned = {n: np.concatenate([real[n][:1], values]) for n, values in plan.items()}
    costs = [policy.cost(values, step_s, moves) for values, moves in zip(both, (real, planned), strict=True)]
    return Window(
        decision.time,
        int(times[-1]),
        costs[0],
        costs[1],
        _broken(policy, heard, both),
        {n: _error(heard[n], both[0][n]) for n in simulator.outputs if n in heard},
        {n: (heard[n], values) for n, values in plan.items()},
    )


def _run(simulator: Simulator, belief: Belief, seed: int, inputs: Floats, step_s: float) -> dict[str, Floats]:
    """Inputs and outputs [t, m] by name; the same seed draws the same."""
    outputs = rollout(simulator, simulator.init(belief, seed), inputs, step_s)
    named = {n: inputs[:, i] for i, n in enumerate(simulator.inputs)}
    return named | {n: outputs[:, i] for i, n in enumerate(simulator.outputs)}


def _moves(store: Any, name: str, start: int, end: int) -> Floats:
    """The setpoints that a control really had, in order, first where it stood; what is smaller than `STILL` of its
    range is the noise of a sensor, not a move."""
    before = store.latest([name], start)
    frame = store.window([name], start + 1, end)
    usable = np.isfinite(frame.values[:, 0]) & (frame.quality[:, 0] != BAD)
    values = np.concatenate([before.values[:, 0], frame.values[usable, 0]])
    values = values[np.isfinite(values)]
    least, held = STILL * float(np.ptp(values)), [float(values[0])]
    for value in values[np.flatnonzero(np.diff(values)) + 1].tolist():
        if abs(value - held[-1]) > least:
            held.append(value)
    return np.array(held)


def _broken(
    policy: Judges, heard: Mapping[str, Floats], both: Sequence[Mapping[str, Floats]]
) -> dict[str, tuple[float | None, float, float]]:
    """The share of steps in which each rule was broken: as measured, simulated, and simulated under the plan."""
    real = policy.margins({n: v[:, None] for n, v in heard.items()})
    asis, plan = (policy.margins(values) for values in both)

    def share(margin: Floats) -> float:
        there = np.isfinite(margin)
        return float((margin[there] < 0).mean()) if there.any() else 0.0

    return {r: (share(real[r]) if r in real else None, share(asis[r]), share(plan[r])) for r in asis}


def _error(measured: Floats, simulated: Floats) -> tuple[Floats, Floats, Floats]:
    """How far the measured was from the mean of the members, their deviation, and whether it was among them, [t]."""
    there = np.isfinite(measured)
    held = simulated[there]
    low, high = np.quantile(held, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=1) if len(held) else (held[:, 0],) * 2
    real = measured[there]
    return real - held.mean(axis=1), held.std(axis=1), ((real >= low) & (real <= high)).astype(np.float64)


def _worth(windows: Sequence[Window], seed: int) -> dict[str, Any]:
    """What the plans would have saved, with an interval: days are drawn with replacement (whole days, for neighbours
    resemble each other), and with each draw one member, the same in all windows, for its parameters are."""
    asis, plan = (np.stack([getattr(w, name) for w in windows]) for name in ("asis", "plan"))  # [w, m]
    saving = asis - plan
    days = np.array([w.time // DAY for w in windows])
    ends = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    so_far = [np.quantile(_totals(saving[:k], days[:k], seed), ends).tolist() for k in range(1, len(windows) + 1)]
    low, high = so_far[-1]
    span = sum(w.end - w.time for w in windows) / DAY
    total = float(saving.mean(axis=1).sum())
    single = np.quantile(saving, ends, axis=1)
    return {
        "days": span,
        "saving": {
            "total": total, "low": low, "high": high, "level": LEVEL, "per_day": total / span,
            "share": total / abs(base) if (base := float(asis.mean(axis=1).sum())) else None,
        },
        "cost": {"asis": base, "plan": base - total},
        "by_window": {
            "time": [w.time for w in windows],
            "end": [w.end for w in windows],
            "asis": asis.mean(axis=1).tolist(),
            "plan": plan.mean(axis=1).tolist(),
            "saving": saving.mean(axis=1).tolist(),
            "low": single[0].tolist(),
            "high": single[1].tolist(),
        },
        "cumulative": {
            "time": [w.end for w in windows],
            "saving": saving.mean(axis=1).cumsum().tolist(),
            "low": [ends[0] for ends in so_far],
            "high": [ends[1] for ends in so_far],
        },
    }  # fmt: skip


def _totals(saving: Floats, days: Times, seed: int) -> Floats:
    """Sums of savings [w, m] as they might have been, one a draw."""
    by_day = np.stack([saving[days == day].sum(axis=0) for day in np.unique(days)])  # [d, m]
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(by_day), (DRAWS, len(by_day)))
    totals: Floats = by_day[drawn, rng.integers(0, saving.shape[1], DRAWS)[:, None]].sum(axis=1)
    return totals


def _setpoints(windows: Sequence[Window], name: str) -> dict[str, list[Any]]:
    """What the plant had and what was planned, from the start of each step on; nothing between two windows."""
    columns: dict[str, list[Any]] = {"time": [], "real": [], "plan": []}
    for i, window in enumerate(windows):
        real, plan = window.setpoints[name]
        step = (window.end - window.time) // len(plan)
        columns["time"] += (window.time + step * np.arange(len(plan))).tolist()
        columns["real"] += real.tolist()
        columns["plan"] += plan.tolist()
        if i + 1 == len(windows) or windows[i + 1].time > window.end:
            columns["time"].append(window.end)
            columns["real"].append(math.nan)
            columns["plan"].append(math.nan)
    return columns


def _checked(windows: Sequence[Window], decisions: Sequence[Decision], simulator: Simulator) -> dict[str, Any]:
    """Constraints, how well the simulator repeats what was measured, and why the figure may not be trusted."""
    rules = {
        rule: {
            side: _mean([w.broken[rule][i] for w in windows])
            for i, side in enumerate(("measured", "simulated", "plan"))
        }
        for rule in windows[0].broken
    }  # fmt: skip
    check = []
    for name in windows[0].errors:
        error, spread, within = (np.concatenate([w.errors[name][i] for w in windows]) for i in range(3))
        if len(error):
            each = [float(w.errors[name][0].mean()) for w in windows if len(w.errors[name][0])]
            check.append({
                "signal": name, "bias": float(error.mean()), "rmse": float(np.sqrt((error**2).mean())),
                "spread": float(np.sqrt((spread**2).mean())), "inside": float(within.mean()),
                "worst": float(max(each, key=abs)),
            })  # fmt: skip
    ignored = sorted({c.signal for d in decisions for c in d.commands} - set(simulator.inputs))
    doubts = _doubts(windows, check, rules)
    return {"constraints": rules, "check": check, "ignored": ignored, "trusted": not doubts, "doubts": doubts}


def _mean(shares: Sequence[float | None]) -> float | None:
    held = [s for s in shares if s is not None]
    return float(np.mean(held)) if held else None


def _doubts(windows: Sequence[Window], check: Sequence[Mapping[str, Any]], rules: Mapping[str, Any]) -> list[str]:
    said = [
        f"The simulator is off by {row['bias']:+.3g} on {row['signal']} on average, more than twice its spread."
        for row in check
        if abs(row["bias"]) > 2 * row["spread"]
    ]
    said += [
        f"{row['signal']} was inside the simulator's 90 % band only {row['inside']:.0%} of the time."
        for row in check
        if row["inside"] < HALF
    ]
    for name in windows[0].setpoints:
        real, planned = (np.concatenate([w.setpoints[name][i] for w in windows]) for i in range(2))
        if (share := _unseen(real, planned)) > SEEN:
            said.append(f"In {share:.0%} of the steps {name} is planned where the plant was not seen: a guess.")
    for rule, row in rules.items():
        if row["measured"] is not None and abs(row["measured"] - row["simulated"]) > 0.05:
            said.append(
                f"{rule} was broken in {row['measured']:.0%} of the steps, in the simulator in {row['simulated']:.0%}."
            )
    if len(windows) < 5:
        said.append(f"Only {len(windows)} decisions could be judged: the interval knows few days.")
    return said


def _unseen(real: Floats, planned: Floats) -> float:
    """The share of planned setpoints further than a tenth of their range from any the plant was at for a while."""
    real = real[np.isfinite(real)]
    span = max(float(np.ptp(np.concatenate([real, planned]))), 1e-12)
    near = np.abs(planned[:, None] - real[None, :]) <= span / 10
    return float((near.mean(axis=1) < SEEN).mean())
