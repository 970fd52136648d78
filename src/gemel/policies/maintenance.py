"""Maintenance: when to service which machine, planned together with the orders.

What a service costs depends on when it starts. Let F be the distribution of the remaining life, in hours that the
machine is open. At age t the machine has failed with F(t), which costs `failure`; else the service costs `cost`; and
life that is thrown away is paid for too: `cost * E[(L - t)+] / renewed`, the price of the services that come earlier
for ever after (the renewal argument of age replacement, Barlow and Hunter 1960). Leaving it out costs what starting it
at the end of the plan would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, GemelError, InputError, nearest
from gemel.core.explain import listed
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import duration, instant_id
from gemel.core.values import Command, Decision, Floats
from gemel.loop.decide import Situation
from gemel.policies.schedule import book as books
from gemel.policies.schedule.book import CENT, HOUR, Scale
from gemel.policies.schedule.calendar import worked
from gemel.policies.schedule.policy import Proposal, Scheduler, Upkeep, unfit
from gemel.policies.schedule.problem import Machine, Service

SERVICE = {"duration", "cost", "failure", "renewed", "life", "signal", "windows", "crew", "parts"}
NEEDED = ("duration", "cost", "failure", "renewed")
FINE, COARSE = 0.005, 0.03  # moments are one whose costs differ less: a part of a service's, of what is above the least


@dataclass(frozen=True, slots=True)
class Remaining:
    """Quantiles of a machine's remaining life: rising `levels` and `hours` it will be open until then; `id` is where
    they are from."""

    levels: tuple[float, ...]
    hours: tuple[float, ...]
    id: str = ""

    def failed(self, hours: Floats) -> Floats:
        """The probability that it has failed by then: straight between the quantiles; before the first and after the
        last the Weibull distribution through the two that are nearest."""
        levels = np.clip(np.array(self.levels), 1e-6, 1 - 1e-6)
        ends = np.maximum.accumulate(np.maximum(np.array(self.hours), 1e-6))
        found = np.interp(hours, ends, levels)
        for outside, (i, j) in ((hours < ends[0], (0, 1)), (hours > ends[-1], (-1, -2))):
            if len(levels) == 1:
                shape = 1.0
            else:
                apart = max(abs(np.log(ends[j] / ends[i])), 1e-3)  # quantiles that are the same: nearly a step
                shape = abs(np.log(np.log1p(-levels[j]) / np.log1p(-levels[i]))) / apart
            with np.errstate(over="ignore"):
                tail = -np.expm1(np.log1p(-levels[i]) * np.power(np.maximum(hours, 0.0) / ends[i], min(shape, 50.0)))
            found = np.where(outside, tail, found)
        return np.asarray(found)


def expected_cost(life: Remaining, hours: Floats, cost: float, failure: float, renewed: float) -> Floats:
    """What a service after so many open hours costs, failures and life thrown away included."""
    last = life.hours[-1] * 6 + float(hours.max(initial=0.0)) + 1.0
    grid = np.unique(np.concatenate([np.linspace(0.0, last, 4000), hours]))
    alive = 1.0 - life.failed(grid)
    total = np.concatenate([[0.0], np.cumsum((alive[1:] + alive[:-1]) / 2 * np.diff(grid))])
    unused = np.interp(hours, grid, total[-1] - total)
    failed = life.failed(hours)
    return np.asarray(cost * (1.0 - failed) + failure * failed + cost * unused / renewed)


@declared
class Maintenance:
    """Chooses when to service which machine, from the quantiles of remaining life, together with the orders.

    `services`: machine -> `{ duration = "2h", cost = 800, failure = 12000, renewed = "2000h", life = "m1_life",
    signal = "m1_service", windows = ["Mon-Fri 22:00-06:00"], crew = 1, parts = { bearing = 1 } }`. `cost` is of a
    service, `failure` of a failure with all that follows, `renewed` the open hours a machine lasts after a service.
    `life` names where the remaining hours stand: a forecast of that signal, or an open finding of that name or about
    the machine whose evidence has `life 0.1`, `life 0.5`, `life 0.9` (any levels), or else the signal's newest value,
    taken as a median with a `scatter` of a third. `signal` is controlled: it is sent 1 when the service is due, else 0.
    Without `windows` any time will do, without `crew` and `parts` nobody and nothing is needed.
    `crew`: how many people there are. `stock`: spare part -> how many there are, or rows `{ from = "2026-12-01", count
    = 2 }`. `lost`: what an hour costs that a machine is serviced in open time, beside what it does to the orders.
    `scatter`: standard deviation of the logarithm of a life that is only a number.
    All other keys (`machines`, `book`, `progress`, `interrupted`, `makespan`, `tick`, `zone`, `lead`, `expires`,
    `ahead`, `seconds`, `workers`) are those of the policy `schedule`; without a `book` only services are
    planned.

    Raises `ConfigError` for settings that do not fit.
    """

    def __init__(
        self,
        services: Mapping[str, Any],
        machines: Mapping[str, Any],
        crew: int = 1,
        stock: Mapping[str, Any] | None = None,
        lost: float = 0.0,
        scatter: float = 0.33,
        book: str = "",
        progress: str = "book",
        interrupted: str = "resume",
        makespan: float = 0.1,
        tick: str = "1min",
        zone: str = "UTC",
        lead: str = "1h",
        expires: str = "1h",
        ahead: str = "28d",
        seconds: float = 5.0,
        workers: int = 0,
    ) -> None:
        problems = []
        if crew < 0 or lost < 0 or scatter <= 0:
            problems.append("crew and lost must not be below zero, scatter must be above")
        for name, given in services.items():
            problems += _wrong(name, given, machines, crew, stock or {})
        if problems:
            raise ConfigError(problems, where="policy maintenance")
        self._scheduler = Scheduler(
            machines,
            book,
            progress,
            interrupted,
            makespan,
            tick,
            zone,
            lead,
            expires,
            ahead,
            seconds,
            workers,
        )
        self.services = {name: dict(given) for name, given in services.items()}
        self.crew, self.stock, self.lost, self.scatter = crew, dict(stock or {}), lost, scatter
        self._ahead, self._expires, self._lead = duration(ahead), duration(expires), duration(lead)
        try:
            for name, given in services.items():
                books.shifts(given.get("windows", ()), Scale(0, HOUR, zone), HOUR)
                if min(duration(given["duration"]), duration(given["renewed"])) <= 0:
                    problems.append(f"service of '{name}': duration and renewed must be above zero")
            self._stock(Scale(0, HOUR, zone))
        except (InputError, TypeError, KeyError) as error:
            raise ConfigError([str(error)], where="policy maintenance") from error

    def bind(self, setting: Setting) -> None:
        """Checks the signals."""
        self._scheduler.bind(setting)
        wrong: list[str] = []
        for name, given in self.services.items():
            if "signal" in given:
                wrong += unfit(f"service of '{name}': signal", given["signal"], setting.signals, "controlled")
        if wrong:
            raise ConfigError(wrong, where="policy maintenance")

    def snapshot(self) -> Mapping[str, Any]:
        """The last schedule."""
        return self._scheduler.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up the last schedule."""
        self._scheduler.restore(state)

    def decide(self, situation: Situation) -> Decision:
        """Services and orders; when the book cannot be read nothing is commanded."""
        id = f"decision-{instant_id(situation.now)}"
        lives = {
            name: life
            for name, given in self.services.items()
            if (life := remaining(situation, given.get("life", ""), name, self.scatter)) is not None
        }
        try:
            proposal = self._scheduler.propose(situation, self._upkeep(situation, lives))
        except GemelError as error:
            return Decision(id, situation.now, refused=(str(error),), reason=f"Nothing is changed: {error.message}.")
        return self._decision(self._scheduler.decision(id, situation, proposal), situation, proposal, lives)

    def _upkeep(self, situation: Situation, lives: Mapping[str, Remaining]) -> Upkeep:
        scale = self._scheduler.scale(situation)
        until = scale.origin + self._ahead
        found = []
        for name, life in lives.items():
            given = self.services[name]
            machine = books.machine(name, self._scheduler.machines[name], scale, until)
            windows = tuple(books.shifts(given["windows"], scale, until)) if "windows" in given else ()
            length = scale.work(given["duration"])
            costs, skip = self._costs(machine, life, given, length, scale.before(until), scale)
            found.append(
                Service(
                    name, name, length, windows, costs, skip, int(given.get("crew", 0)), dict(given.get("parts", {}))
                )
            )
        return Upkeep(tuple(found), self.crew, self._stock(scale))

    def _costs(
        self, machine: Machine, life: Remaining, given: Mapping[str, Any], length: int, until: int, scale: Scale
    ) -> tuple[tuple[tuple[int, int], ...], int]:
        """Rows (from, cost) of starting then, and what leaving it out costs."""
        per_hour = HOUR / scale.tick
        times = np.unique(np.linspace(0, until, min(until, 2000) + 1).astype(np.int64))
        edges = {b for w in machine.closed for b in w} | {a - length for a, _ in machine.closed}
        times = np.union1d(times, [t for t in edges if 0 <= t <= until])
        hours = np.array([worked(machine.closed, 0, int(t)) for t in times]) / per_hour
        renewed = duration(given["renewed"]) / HOUR
        values = expected_cost(life, hours, float(given["cost"]), float(given["failure"]), renewed)
        skip = float(values[-1])
        busy = np.array([worked(machine.closed, int(t), int(t) + length) for t in times]) / per_hour
        values = values + self.lost * busy
        least = float(values.min())
        rows = [(0, round(float(values[0]) * CENT))]
        kept = float(values[0])
        for t, value in zip(times[1:].tolist(), values[1:].tolist(), strict=True):
            if abs(value - kept) >= max(FINE * float(given["cost"]), COARSE * (value - least), 1.0 / CENT):
                rows.append((int(t), round(value * CENT)))
                kept = value
        return tuple(rows), round(skip * CENT)

    def _stock(self, scale: Scale) -> dict[str, tuple[tuple[int, int], ...]]:
        found: dict[str, tuple[tuple[int, int], ...]] = {}
        for part, given in self.stock.items():
            if isinstance(given, int):
                found[part] = ((0, given),)
            else:
                rows = [(max(0, scale.after(scale.instant(row["from"]))), int(row["count"])) for row in given]
                found[part] = tuple(sorted(rows))
        return found

    def _decision(
        self, base: Decision, situation: Situation, proposal: Proposal, lives: Mapping[str, Remaining]
    ) -> Decision:
        commands, plan, expected = list(base.commands), dict(base.plan), dict(base.expected)
        said, unknown = list[str](), list[str]()
        starts = {v.service: v.start for v in proposal.schedule.visits}
        scale = proposal.scale
        for name, given in self.services.items():
            when = scale.origin + starts[name] * scale.tick if name in starts else None
            if name not in lives:
                unknown.append(name)
            elif when is None:
                said.append(f"{name} needs no service yet")
            else:
                at = "at once" if starts[name] <= 0 else f"from {proposal.problem.clock(starts[name])}"
                said.append(f"service {name} {at}")
                expected[f"hours until service of {name}"] = max(0.0, (when - situation.now) / HOUR)
                hours = worked(proposal.problem.machine(name).closed, 0, max(starts[name], 0)) * scale.tick / HOUR
                expected[f"P({name} fails before)"] = float(lives[name].failed(np.array([hours]))[0])
            if "signal" in given:
                due = when is not None and when <= situation.now + self._lead
                expires = max(when or 0, situation.now) + self._expires if due else situation.now + self._expires
                commands.append(Command(f"{base.id}-{given['signal']}", given["signal"], float(due), expires))
                plan[given["signal"]] = (float(due),)
        if unknown:
            said.append(f"nothing is known of the remaining life of {listed(unknown)}, so no service is planned")
        text = "; ".join(said)
        rest = "" if base.reason == "There is nothing to do." else " " + base.reason
        held = {f.id for f in situation.forecasts} | {f.id for f in situation.findings}
        because = tuple(dict.fromkeys(life.id for life in lives.values() if life.id in held))
        reason = text[0].upper() + text[1:] + "." + rest
        return Decision(base.id, base.time, tuple(commands), plan, expected, base.refused, because, reason)


def remaining(situation: Situation, signal: str, machine: str, scatter: float = 0.33) -> Remaining | None:
    """The remaining life of a machine as the twin knows it: of a forecast, a finding, or a signal's newest value."""
    for forecast in situation.forecasts:
        if signal and signal in forecast.signals and len(forecast):
            hours = np.maximum(forecast.of(signal)[0].astype(np.float64), 0.0)
            return Remaining(forecast.levels, tuple(hours.tolist()), forecast.id)
    for finding in situation.findings:
        rows = sorted(
            (float(k.removeprefix("life ")), float(v)) for k, v in finding.evidence.items() if k.startswith("life ")
        )
        if (
            finding.open
            and rows
            and (finding.subject == machine or (signal and signal in (finding.name, finding.subject)))
        ):
            hours = np.maximum.accumulate(np.maximum([h for _, h in rows], 0.0))
            return Remaining(tuple(level for level, _ in rows), tuple(hours.tolist()), finding.id)
    value = situation.latest.get(signal, np.nan)
    if not np.isfinite(value):
        return None
    levels, normal = (0.1, 0.25, 0.5, 0.75, 0.9), np.array([-1.2816, -0.6745, 0.0, 0.6745, 1.2816])
    return Remaining(levels, tuple((max(value, 0.0) * np.exp(scatter * normal)).tolist()))


def _wrong(
    name: str, given: Mapping[str, Any], machines: Mapping[str, Any], crew: int, stock: Mapping[str, Any]
) -> Sequence[str]:
    where = f"service of '{name}'"
    found = [f"{where}: unknown key '{k}'{nearest(k, SERVICE)}" for k in given if k not in SERVICE]
    found += [f"{where} needs the key '{k}'" for k in NEEDED if k not in given]
    if name not in machines:
        found.append(f"{where}: there is no such machine{nearest(name, machines)}")
    if given.get("crew", 0) > crew:
        found.append(f"{where} needs {given['crew']} people, the crew is {crew}")
    found += [
        f"{where}: there is no spare part '{p}'{nearest(p, stock)} in stock"
        for p in given.get("parts", {})
        if p not in stock
    ]
    if "cost" in given and "failure" in given and given["failure"] < given["cost"]:
        found.append(f"{where}: a failure that costs less than a service is no reason for one")
    return found
