"""The forms of answers, for the OpenAPI document; values that are not here look as they do in `gemel.core.values`."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from gemel.core.life import Action
from gemel.core.values import Ack, Command, Decision, Finding


class Health(TypedDict):
    ok: bool


class Me(TypedDict):
    """`twins` empty: all of them."""

    name: str
    scopes: list[str]
    twins: list[str]


class Overview(TypedDict):
    twin: str
    mode: str
    running: bool
    every: str
    horizon: str
    trouble: str
    inputs: list[str]
    outputs: list[str]
    plan: bool
    currency: str


class Status(Overview):
    store: str
    points: dict[str, int]
    newest: int | None
    turn: int
    turns: int
    decisions: int
    latest: dict[str, float | None]
    belief: dict[str, float | None]
    findings: list[str]
    acks: dict[str, int]


class ForecastShape(TypedDict):
    """`values[signal][level][time]`"""

    id: str
    by: str
    issued: int
    signals: list[str]
    levels: list[float]
    time: list[int]
    values: list[list[list[float | None]]]
    because: list[str]


class Estimates(TypedDict):
    """`mean[signal][time]`"""

    signals: list[str]
    time: list[int]
    mean: list[list[float | None]]
    spread: list[list[float | None]]


class Compared(TypedDict):
    asis: ForecastShape
    whatif: ForecastShape


class Sent(TypedDict):
    command: Command
    ack: Ack | None


class Hand(TypedDict):
    """`hand` null: the twin has it; `setpoint`: the last that the plant took; `measured` at `time`."""

    signal: str
    hand: Action | None
    setpoint: float | None
    command: Command | None
    ack: Ack | None
    measured: float | None
    time: int | None


class Fitted(TypedDict):
    name: str
    version: str
    promoted: bool
    card: dict[str, Any]


class Asking(TypedDict):
    """`how` says what to do when nothing is configured."""

    configured: bool
    model: str
    how: str


class InUse(TypedDict):
    """The version that is in use now; empty: none."""

    promoted: str


class Series(TypedDict):
    """Columns. `raw`: they are the points themselves, each with count 1 (0 and bad 1 where it is unusable)."""

    signal: str
    raw: bool
    time: list[int]
    min: list[float | None]
    mean: list[float | None]
    max: list[float | None]
    count: list[int]
    bad: list[int]


class Rolled(TypedDict):
    """`every`: the width of a cell, which begins at its time."""

    start: int
    end: int
    every: int
    series: list[Series]


class Extent(TypedDict):
    signal: str
    start: int | None
    end: int | None
    points: int


class Newest(TypedDict):
    signals: list[str]
    time: list[int | None]
    value: list[float | None]
    quality: list[int]


class Believed(TypedDict):
    id: str
    time: int
    mean: dict[str, float | None]
    spread: dict[str, float | None]


class Grid(TypedDict):
    """`values[signal][time]`"""

    signals: list[str]
    time: list[int]
    values: list[list[float | None]]
    quality: list[list[int]]


class Then(TypedDict):
    """`after`: what was measured of the foreseen signals; `unknown`: what cannot be said of that time."""

    time: int
    newest: int
    latest: Newest
    belief: Believed | None
    forecasts: list[ForecastShape]
    findings: list[Finding]
    decision: Decision | None
    commands: list[Sent]
    after: Grid | None
    unknown: list[str]


class Issues(TypedDict):
    time: list[int]
    id: list[str]


class Changes(Issues):
    name: list[str]
    subject: list[str]
    open: list[bool]


class Moments(TypedDict):
    decisions: Issues
    forecasts: Issues
    findings: Changes


class Standpoint(TypedDict):
    """`network`: the card of the network in the forecaster; `versions`: all that was fitted to this twin. `shelf`: the
    folder they are in; `head`: the one the forecaster takes its promoted version from, empty: it takes none."""

    name: str
    network: dict[str, Any] | None
    head: str
    shelf: str
    versions: list[Fitted]


class Rank(TypedDict):
    """`baseline`: it costs nothing to make. `weight`: how much it counts in the pool now, where that is known."""

    forecaster: str
    windows: int
    mase: float | None
    crps: float | None
    coverage: float | None
    baseline: bool
    weight: float | None


class Covered(TypedDict):
    """The share of the truth in the band that should hold `nominal` of it, a value a period that begins at `time`;
    between `low` and `high` in nine of ten periods when the band is right."""

    nominal: float
    time: list[int]
    value: list[float | None]
    low: list[float]
    high: list[float]
    windows: list[int]


class Calibration(TypedDict):
    """`observed`: the share of truths at or below the quantile of each level. `histogram`: where the truth fell, over
    what it should be: below the lowest level, between neighbours, above the highest; all 1 is perfect."""

    levels: list[float]
    observed: list[float]
    histogram: list[float]


class Posteriors(TypedDict):
    """`mean[name][time]`, `spread[name][time]`"""

    time: list[int]
    names: list[str]
    mean: list[list[float | None]]
    spread: list[list[float | None]]


class Innovations(TypedDict):
    """`z[signal][time]`: the error of each update over what it should be; standard normal when all is well."""

    time: list[int]
    signals: list[str]
    z: list[list[float | None]]


class Drift(TypedDict):
    """The mean innovation `before` and `lately` (the last quarter), and the p-value of no change."""

    signal: str
    before: float | None
    lately: float | None
    p: float | None
    drifting: bool


class Standing(TypedDict):
    """Forecasts of `signal`, scored on `windows` of them issued from `start` to `end`."""

    signal: str | None
    signals: list[str]
    forecaster: Standpoint
    windows: int
    start: int | None
    end: int | None
    step: int | None
    steps: int
    leaderboard: list[Rank]
    coverage: Covered
    calibration: Calibration
    posteriors: Posteriors
    innovations: Innovations
    drift: list[Drift]


class Saving(TypedDict):
    """`low` and `high` hold it with probability `level`; `share` is of what the plant's own course cost."""

    total: float
    low: float
    high: float
    level: float
    per_day: float
    share: float | None


class Costs(TypedDict):
    asis: float
    plan: float


class ByWindow(TypedDict):
    time: list[int]
    end: list[int]
    asis: list[float]
    plan: list[float]
    saving: list[float]
    low: list[float]
    high: list[float]


class Cumulative(TypedDict):
    """What was saved up to `time`, and its interval."""

    time: list[int]
    saving: list[float]
    low: list[float]
    high: list[float]


class Courses(TypedDict):
    """A setpoint as the plant had it and as planned, from each `time` on; null: no decision is judged there."""

    time: list[int]
    real: list[float | None]
    plan: list[float | None]


class Broken(TypedDict):
    """The share of steps in which a constraint was broken: as measured, in the simulator, and there with the plans."""

    measured: float | None
    simulated: float | None
    plan: float | None


class Repeated(TypedDict):
    """Measured less simulated: `bias`, `rmse`, `worst` (the mean of one window), the members' `spread`, and the share
    of the measured that lay `inside` their band."""

    signal: str
    bias: float
    rmse: float
    spread: float
    inside: float
    worst: float


class Shadow(TypedDict):
    """`windows` of the `decisions` judged; `skipped`: why others were not, with how many. `ignored`: commands that are
    not in the figure."""

    twin: str
    start: int
    end: int
    decisions: int
    windows: int
    skipped: dict[str, int]
    objective: str
    days: float
    saving: Saving
    cost: Costs
    by_window: ByWindow
    cumulative: Cumulative
    setpoints: dict[str, Courses]
    constraints: dict[str, Broken]
    check: list[Repeated]
    ignored: list[str]
    trusted: bool
    doubts: list[str]


Entry = dict[str, Any]
"""A line of the journal: what it holds depends on its kind."""
