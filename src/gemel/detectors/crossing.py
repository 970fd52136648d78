"""Remaining life: when a signal that shows wear will reach its limit, from quantile forecasts of it.

A unit fails when its degradation path crosses a threshold; paths are straight with a slope of their own (Lu and Meeker
1993, Technometrics 35), here with a random walk on top, so that the level now and the growth since it was new are all
there is to know of it. The slope is weighed with what earlier lives say. What the line leaves is forecast by any
forecaster, and its quantiles, widened by the doubt about the slope, are followed one by one: with probability p the
signal has come to the limit by the time at which its (1 - p) quantile has. What the first step ahead already spreads
is how the signal is measured and not how it grows, so it is taken off. Past the horizon each quantile goes on as
straight as in the second half of it. The limit is not known exactly either: it is the levels at which earlier ones
failed, less those that this one has survived.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.registry import build, declared
from gemel.core.setting import Setting
from gemel.core.units import duration, instant_id
from gemel.core.values import BAD, GOOD, LEVELS, Finding, Floats, Frame, Ints, Times
from gemel.loop.decide import Situation
from gemel.loop.forecast import Forecaster

HOUR = 3600 * 10**9
FAR = 20.0
"""Horizons after which a crossing is as good as never."""
FEWEST = 4
"""Rows of a step that must be usable for the step to count."""
SOON = 12
"""Steps of its past before which there is only the line, and no forecast of what it leaves."""
EDGE = 4
"""Steps that are averaged to say at which level a life begins, and where it is now."""
MANY = 5
"""Limits from which on their distribution is fitted."""
LAG = 8
"""Steps over which growth is compared."""
NORMAL = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
LIVES = (0.005, 0.01, 0.02, *LEVELS, 0.98, 0.99)
"""The levels of a life that are told: what a failure costs is decided in the lower tail."""
MEDIAN = LIVES.index(0.5)
WIDE = (0.005, *LEVELS, 0.995)
"""The levels of the paths that are followed; the outermost as far out as a normal distribution has them."""
GRID = np.linspace(0.0025, 0.9975, 200)
KEYS = ("limit", "below", "state", "life", "shape", "wear", "load", "factors")


@dataclass(frozen=True, slots=True)
class Watched:
    """One signal: `limits` it fails at, quantiles at GRID or a few; `sign` -1 where it falls to them; `life` (h) and
    `shape` of the Weibull distribution of lives."""

    name: str
    limits: tuple[float, ...]
    sign: float
    state: str
    life: float
    shape: float
    wear: tuple[tuple[float, float], ...] = ()
    load: str = ""
    factors: tuple[float, ...] = (1.0,)

    def read(self, values: Floats) -> Floats:
        """What is foreseen of values of the signal: their wear, where a table says it; straight on beyond its end."""
        if not self.wear:
            return values
        level, wear = np.array(self.wear).T
        found = np.interp(values, level, wear)
        slope = (wear[-1] - wear[-2]) / (level[-1] - level[-2])
        found = np.where(values > level[-1], wear[-1] + slope * (values - level[-1]), found)
        return np.asarray(np.where(np.isfinite(values), found, np.nan))


@declared
class Crossing:
    """Says how long each machine will last: hours until a signal reaches its limit, as quantiles.

    A finding stands open about each machine whose median life is below `within`; its evidence has `life 0.005`
    to `life 0.99` in hours, which the policy `maintenance` reads.

    - `signals`: signal -> `{ limit, wear, below, state, load, factors, life, shape }`. `limit`: a number, or a list of
      the levels at which earlier ones failed. `wear`: rows `[level, wear]` where the signal does not grow straight with
      wear; the limits are then wears, and it is the wear that is foreseen. `below`: it falls to the limit instead of
      rising. `state`: the machine's state signal. `load`, `factors`: a signal of codes 0, 1, ... and by how much the
      watched one is larger then. `life`, `shape`: of the Weibull distribution of lives, where they are known.
    - `forecaster`: one without a memory of its own, `{ kind = "foundation" }`, that is shown the signal since the
      machine was renewed; without one the twin's own forecasts are used, and of the signal's past nothing is.
    - `running`: the states in which the signal shows wear. `renewed`: state -> how long it must have lasted to mean
      that the machine is as good as new after it.
    - `settle`: how long after a change of load the signal is not used.
    - `step`, `context`, `horizon`: spacing, longest past and reach of the forecasts.
    """

    def __init__(
        self,
        signals: Mapping[str, Any],
        forecaster: Mapping[str, Any] | Forecaster | None = None,
        running: Sequence[int] = (1,),
        renewed: Mapping[str, str] | None = None,
        settle: str = "1h",
        step: str = "1h",
        context: str = "14d",
        horizon: str = "2d",
        within: str = "14d",
    ) -> None:
        problems: list[str] = []
        self._watched = [_watched(name, given, problems) for name, given in signals.items()]
        if not signals:
            problems.append("crossing: it needs a signal to watch")
        try:
            self._step, self._context, self._horizon = duration(step), duration(context), duration(horizon)
            self._within, self._settle = duration(within), duration(settle)
            self._renewed = {int(k): duration(v) for k, v in (renewed or {"6": "1min"}).items()}
            if min(self._horizon, self._context) < 4 * self._step:
                problems.append("crossing: horizon and context must be four steps or more")
        except InputError as error:
            problems.append(f"crossing: {error.message}")
        except ValueError:
            problems.append('crossing: renewed has the codes of states, { "6" = "1min" }')
        self._running = np.array(list(running), np.float64)
        if not (forecaster is None or isinstance(forecaster, Mapping) or hasattr(forecaster, "forecast")):
            problems.append(f'crossing: forecaster {forecaster!r} is no part: write {{ kind = "theta" }}')
        if problems:
            raise ConfigError(problems, 'signals = { mill_vibration = { limit = 2.0, state = "mill_state" } }')
        self._forecaster: Forecaster | None = (
            build("forecasters", forecaster) if isinstance(forecaster, Mapping) else forecaster
        )
        if hasattr(self._forecaster, "snapshot"):
            raise ConfigError(
                ["crossing: its forecaster must not learn from one signal for the next"], "use foundation"
            )
        self._setting: Setting | None = None
        self._subjects: dict[str, str] = {}
        self._open: dict[str, Finding] = {}
        self._asked = 0

    def bind(self, setting: Setting) -> None:
        """Checks the signals."""
        known = setting.signals.names
        named = [n for w in self._watched for n in (w.name, w.state, w.load) if n]
        unknown = [f"crossing: unknown signal '{n}'{nearest(n, known)}" for n in named if n not in known]
        if unknown:
            raise ConfigError(unknown, f"known: {', '.join(known)}")
        numbers = {s.name for s in setting.signals if s.type == "number"}
        blobs = {s.name for s in setting.signals if s.type == "blob"}
        unfit = [w.name for w in self._watched if w.name not in numbers] + [n for n in named if n in blobs]
        if unfit:
            raise ConfigError([f"crossing: '{n}' is no number" for n in dict.fromkeys(unfit)], "watch what shows wear")
        if self._step % setting.every:
            raise ConfigError(["crossing: step must be a whole number of the twin's turns"], "step = '1h'")
        self._setting = setting
        self._subjects = {w.name: setting.signals.named(w.name).asset or w.name for w in self._watched}

    def inspect(self, situation: Situation) -> list[Finding]:
        if situation.now // self._step == self._asked // self._step:  # once a step: each news is a decision
            return []
        self._asked = situation.now
        lives: dict[str, dict[str, Floats]] = {}
        for watched in self._watched:
            subject = self._subjects.get(watched.name, watched.name)
            held = lives.setdefault(subject, {})
            if (hours := self._life(watched, situation)) is not None:
                held[watched.name] = hours
        told = [self._told(subject, situation, held) for subject, held in lives.items()]
        return [finding for finding in told if finding is not None]

    def snapshot(self) -> Mapping[str, Any]:
        """The findings that stand, and when it spoke last."""
        return {"open": list(self._open.values()), "asked": self._asked}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them up again."""
        self._open, self._asked = {f.subject: f for f in state["open"]}, state["asked"]

    def _life(self, watched: Watched, situation: Situation) -> Floats | None:
        """Hours left at `LIVES`."""
        if self._forecaster is None:
            ahead = next((f for f in situation.forecasts if watched.name in f.signals and len(f) > 1), None)
            if ahead is None:
                return None
            hours = np.asarray((ahead.time - situation.now) / HOUR, np.float64)
            paths = steadied(np.array([ahead.quantile(watched.name, level) for level in LEVELS]).T)
            now = situation.latest.get(watched.name, math.nan)
            return crossing(watched, hours, paths, now if np.isfinite(now) else float(paths[0, 5]))
        time, values, age, known = self._past(watched, situation.now)
        count = int(np.isfinite(values).sum())
        if count < FEWEST:
            return lasting(watched, age) if watched.life and known else None
        ago = (time - situation.now) / HOUR
        slope, doubt, level = trend(watched, ago, values, age, known)
        if count < SOON:
            hours = np.arange(1.0, self._horizon // self._step + 1) * (self._step / HOUR)
            return crossing(watched, hours, level + hours[:, None] * (slope + doubt * NORMAL), level)
        flat = (values - slope * ago)[:, None]
        frame = Frame(time, flat, np.where(np.isfinite(flat), GOOD, BAD).astype(np.uint8), ("x",))
        ahead = self._forecaster.forecast(frame, self._horizon // self._step, levels=LEVELS)
        hours = np.asarray((ahead.time - situation.now) / HOUR, np.float64)
        rest = steadied(ahead.of("x").astype(np.float64))
        spread = np.sign(NORMAL) * np.hypot(rest - rest[:, 5:6], hours[:, None] * doubt * NORMAL)
        return crossing(watched, hours, rest[:, 5:6] + slope * hours[:, None] + spread, level)

    def _past(self, watched: Watched, now: int) -> tuple[Times, Floats, float, bool]:
        """The signal since the machine was renewed: times [t] and means of usable rows [t], a step each; its age in
        hours, and whether it was seen being renewed."""
        setting = self._setting
        if setting is None or setting.history is None:
            return np.empty(0, np.int64), np.empty(0), 0.0, False
        every, names = setting.every, [n for n in (watched.name, watched.state, watched.load) if n]
        end = now // every * every
        frame = setting.history(names, end - self._context + every, end, every=every)
        values, usable = frame.values[:, 0].astype(float), np.isfinite(frame.values[:, 0])
        if watched.state:
            state = frame.column(watched.state)
            usable &= np.isin(state, self._running)
            fresh = self._fresh(state, every)
            usable[:fresh] = False
        else:
            fresh = 0
        if watched.load:
            code = held(frame.column(watched.load))
            values = values / np.array(watched.factors)[np.clip(code, 0, len(watched.factors) - 1)]
            rows = np.arange(len(code))
            changed = np.maximum.accumulate(np.where(np.diff(code, prepend=code[:1]) != 0, rows, -len(rows)))
            usable &= rows - changed >= self._settle // every
        size = self._step // every
        back = len(values) // size * size  # whole steps, counted from now
        values, usable = values[len(values) - back :], usable[len(usable) - back :]
        blocks, there = values.reshape(-1, size), usable.reshape(-1, size)
        count = there.sum(axis=1)
        means = np.where(there, blocks, 0.0).sum(axis=1) / np.maximum(count, 1)
        means[count < min(FEWEST, size)] = np.nan
        time = end - self._step * np.arange(len(means) - 1, -1, -1, dtype=np.int64)
        means = watched.read(means)
        heard = np.flatnonzero(np.isfinite(means))
        first = heard[0] if len(heard) else len(means)
        return time[first:], means[first:], (len(frame) - fresh) * every / HOUR, fresh > 0

    def _fresh(self, state: Floats, every: int) -> int:
        """The row from which on the machine was as good as new, 0 when there is none."""
        newest = 0
        for code, least in self._renewed.items():
            edges = np.diff(np.concatenate([[False], state == code, [False]]).astype(np.int8))
            starts, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
            long = ends[(ends - starts) * every >= least]
            newest = max(newest, int(long[-1]) if len(long) else 0)
        return newest

    def _told(self, subject: str, situation: Situation, lives: Mapping[str, Floats]) -> Finding | None:
        held, now = self._open.get(subject), situation.now
        hours = first(list(lives.values())) if lives else None
        if hours is None or hours[MEDIAN] * HOUR > self._within:
            if held is None:
                return None
            del self._open[subject]
            return replace(held, time=now, open=False, text=f"{subject} will last")
        evidence = {f"life {level:g}": float(h) for level, h in zip(LIVES, hours, strict=True)}
        soon = {name: 1.0 / max(float(found[MEDIAN]), 1e-3) for name, found in lives.items()}
        evidence |= {name: share / sum(soon.values()) for name, share in soon.items()}
        name = f"life of {subject}"
        text = f"{subject} lasts {hours[MEDIAN]:.0f} h more, {hours[4]:.0f} to {hours[-4]:.0f} h in four of five cases"
        made = Finding(
            held.id if held else f"{name}-{instant_id(now)}".replace(" ", "-"), name, subject,
            held.start if held else now, now, float(0.5 ** (hours[MEDIAN] / 24)), 0.8, text,
            evidence=evidence, by="crossing",
        )  # fmt: skip
        self._open[subject] = made
        return made if held is None or replace(made, time=held.time) != held else None


def trend(watched: Watched, hours: Floats, values: Floats, age: float, known: bool) -> tuple[float, float, float]:
    """Growth an hour, its standard deviation, and the level now, from wear [t] at `hours` [t] (0 is now).

    Growth adds up by chance, so that its path is a random walk with a drift, and only its ends say what the drift is;
    how far they may mislead is read from steps of LAG. That is weighed with what lives in general say."""
    there = np.isfinite(values)
    x, y = hours[there], values[there]
    level = float(y[-EDGE:].mean())
    mean, sd = (float(np.mean(watched.limits)) / watched.life, 1.2 / watched.shape) if watched.life else (0.0, math.inf)
    sd *= mean if watched.life else 1.0
    born = known and bool(watched.wear)  # it began at wear 0
    span = age if born else float(x[-1] - x[0])
    apart = np.diff(values[len(values) % LAG :: LAG])
    apart = apart[np.isfinite(apart)]
    lag = LAG * float(np.median(np.diff(hours))) if len(hours) > 1 else 1.0
    if len(apart) < 2 or span <= lag:
        return mean, (sd if watched.life else abs(mean)), level
    seen = (level - (0.0 if born else float(y[:EDGE].mean()))) / span
    noise = math.sqrt(max(float(apart.var(ddof=1)), 1e-300) / lag / span)
    weight = 1.0 if math.isinf(sd) else sd * sd / (sd * sd + noise * noise)
    return weight * seen + (1 - weight) * mean, math.sqrt(weight) * noise, level


def held(values: Floats) -> Ints:
    """Codes [t], missing ones as the one before."""
    rows = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
    return np.nan_to_num(values[rows]).astype(np.int32)


def steadied(paths: Floats) -> Floats:
    """Quantile paths [h, q] without what the first step already spreads: how the signal is measured."""
    middle = paths[:, 5:6]
    apart = paths - middle
    return np.asarray(middle + np.sign(apart) * np.sqrt(np.maximum(apart**2 - apart[0] ** 2, 0.0)))


def crossing(watched: Watched, hours: Floats, paths: Floats, now: float) -> Floats:
    """Hours left at `LIVES`, from quantile paths [h, q] of `LEVELS` at `hours` [h] and the level it has now."""
    sign, limits = watched.sign, np.array(watched.limits)
    rising = paths if sign > 0 else -paths[:, ::-1]  # now all of it rises towards a limit
    middle = rising[:, 5:6]
    tail = NormalDist().inv_cdf(WIDE[0]) / NORMAL[0]
    rising = np.hstack([middle + tail * (rising[:, :1] - middle), rising, middle + tail * (rising[:, -1:] - middle)])
    grown = np.maximum.accumulate(rising, axis=0)
    alive = limits[limits > now * sign] if sign > 0 else -limits[limits < now]
    if not len(alive):  # it has passed all that the others failed at
        return np.asarray(hours[0] * np.array(LIVES))
    half = len(hours) // 2
    pace = (grown[-1] - grown[half]) / (hours[-1] - hours[half])
    far = FAR * hours[-1]
    times = np.empty((len(alive), len(WIDE)))
    for q in range(len(WIDE)):
        path = np.concatenate([[now * sign], grown[:, q]])
        when = np.concatenate([[0.0], hours])
        path = np.maximum.accumulate(path) + 1e-12 * when
        past = hours[-1] + np.maximum(alive - path[-1], 0.0) / max(pace[q], 1e-12)
        inside = np.interp(alive, path, when)
        times[:, q] = np.where(alive <= path[-1], inside, np.minimum(past, far))
    times = np.maximum(times[:, ::-1], 1e-3)  # the highest path is the first to be there
    pooled = np.array([np.interp(GRID, WIDE, row) for row in times])
    return np.asarray(np.quantile(pooled, LIVES))


def first(lives: Sequence[Floats]) -> Floats:
    """Hours left at `LIVES` until the first of several independent failures."""
    if len(lives) == 1:
        return lives[0]
    levels = np.array(LIVES)
    when = np.unique(np.concatenate([[0.0], *lives]))
    lasts = np.prod([1.0 - np.interp(when, np.concatenate([[0.0], one]), [0.0, *levels]) for one in lives], axis=0)
    failed = 1.0 - lasts + 1e-12 * np.arange(len(when))
    return np.asarray(np.maximum(np.interp(levels, failed, when), 1e-3))


def lasting(watched: Watched, age: float) -> Floats:
    """Hours left at `LIVES` by the age alone: Weibull, given that it has lasted until now."""
    gone = (age / watched.life) ** watched.shape
    left = watched.life * (gone - np.log1p(-np.array(LIVES))) ** (1 / watched.shape) - age
    return np.asarray(np.maximum(left, 1e-3))


def spread(limits: Sequence[float], sign: float = 1.0) -> tuple[float, ...]:
    """The distribution of the limit as quantiles at GRID, from limits that were seen: the law of the least (Gumbel),
    fitted by its L-moments (Hosking 1990, J. Royal Statistical Society B 52); a few are taken as they are."""
    if len(limits) < MANY:
        return tuple(sorted(limits))
    seen = np.sort(limits)
    half_gap = 2 * float(np.arange(len(seen)) @ seen) / (len(seen) * (len(seen) - 1)) - float(seen.mean())
    scale = half_gap / math.log(2)
    found = sign * seen.mean() + scale * (np.euler_gamma + np.log(-np.log1p(-GRID)))
    return tuple(np.sort(sign * found).tolist())


def _watched(name: str, given: Any, problems: list[str]) -> Watched:
    row = dict(given) if isinstance(given, Mapping) else {"limit": given}
    where = f"crossing: '{name}'"
    problems += [f"{where} has no key '{k}'{nearest(k, KEYS)}" for k in row if k not in KEYS]
    limit = row.get("limit", ())
    limits = [limit] if isinstance(limit, int | float) else list(limit)
    if not limits or not all(isinstance(x, int | float) and math.isfinite(x) for x in limits):
        problems.append(f"{where} needs a limit, a number or a list of them")
        limits = [0.0]
    life, shape = 0.0, float(row.get("shape", 4.0))
    try:
        life = duration(row["life"]) / HOUR if "life" in row else 0.0
    except InputError as error:
        problems.append(f"{where}: life: {error.message}")
    if shape <= 0:
        problems.append(f"{where}: shape must be above zero")
    sign = -1.0 if row.get("below") else 1.0
    rows = list(row.get("wear", ()))
    paired = all(isinstance(one, Sequence) and len(one) == 2 for one in rows)
    table = tuple((float(a), float(b)) for a, b in rows) if paired else ()
    if not paired or (table and (len(table) < 2 or (np.diff(np.array(table), axis=0) <= 0).any())):
        problems.append(f"{where}: wear has rows [level, wear], two or more, both rising")
        table = ()
    factors = tuple(float(x) for x in row.get("factors", (1.0,)))
    if not factors or min(factors) <= 0:
        problems.append(f"{where}: factors must be above zero")
    state, load = (str(row.get(key, "")) for key in ("state", "load"))
    return Watched(name, spread([float(x) for x in limits], sign), sign, state, life, shape, table, load, factors)
