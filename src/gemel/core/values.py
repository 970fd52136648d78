"""The values that travel through the loop. All frozen; they carry views, no behaviour.

Letters in shapes: n points, t grid times, s signals, k states and parameters, m members, q levels, h horizon.
Times are int64 nanoseconds, UTC. Quality is one of `GOOD UNCERTAIN BAD IMPUTED`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.life import Life
from gemel.core.units import instant_id

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]
Times = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]
Codes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

GOOD, UNCERTAIN, BAD, IMPUTED = 0, 1, 2, 3
"""Quality codes after OPC UA's three classes, and `IMPUTED` for a value nobody measured."""

QUALITIES = ("good", "uncertain", "bad", "imputed")
DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Levels of the forecasts a twin keeps: the deciles, and the two a chance constraint looks at."""
TYPES = ("number", "state", "text", "event", "blob")
ROLES = ("measured", "controlled", "derived", "known")


@dataclass(frozen=True, slots=True)
class Asset:
    """A physical thing that signals belong to."""

    id: str
    kind: str = ""
    parent: str = ""
    relations: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signal:
    """One measured, controlled, derived or known quantity, with its limits.

    `low`/`high` bound what is physically possible (telemetry) and what may be sent (commands); `slew` is the
    largest change per second; `safe` is sent when a decision cannot be trusted; `every` is the usual spacing
    ("15min"); `address` is `connector:address#field`. `states` names the codes 0, 1, ... of a `state` signal.
    """

    name: str
    type: str = "number"
    unit: str = ""
    role: str = "measured"
    low: float | None = None
    high: float | None = None
    slew: float | None = None
    safe: float | None = None
    every: str = ""
    address: str = ""
    asset: str = ""
    states: Sequence[str] = ()

    def __post_init__(self) -> None:
        problems = []
        if not self.name:
            problems.append("a signal needs a name")
        if self.type not in TYPES:
            problems.append(f"signal '{self.name}': type '{self.type}' is not one of {', '.join(TYPES)}")
        if self.role not in ROLES:
            problems.append(f"signal '{self.name}': role '{self.role}' is not one of {', '.join(ROLES)}")
        if self.low is not None and self.high is not None and self.low > self.high:
            problems.append(f"signal '{self.name}': low {self.low} is above high {self.high}")
        if self.slew is not None and self.slew <= 0:
            problems.append(f"signal '{self.name}': slew {self.slew} must be above 0 (units per second)")
        if self.safe is not None and not self.within(self.safe):
            problems.append(f"signal '{self.name}': safe {self.safe} is outside its own limits")
        if problems:
            raise ConfigError(problems)

    def within(self, value: float) -> bool:
        """Whether `value` is inside [low, high]; NaN never is."""
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return bool(low <= value <= high)


class Signals:
    """The signals of a twin in a fixed order; a `Batch` names a signal by its place here."""

    def __init__(self, signals: Sequence[Signal]) -> None:
        self._all = tuple(signals)
        self.names = tuple(s.name for s in self._all)
        self._place = {name: i for i, name in enumerate(self.names)}
        if len(self._place) < len(self._all):
            twice = sorted({n for n in self.names if self.names.count(n) > 1})
            raise ConfigError([f"signal '{n}' is declared twice" for n in twice])

    def __getitem__(self, i: Any) -> Any:
        return self._all[i]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Signal]:
        return iter(self._all)

    def __contains__(self, name: object) -> bool:
        return name in self._place

    def place(self, name: str) -> int:
        """The index of a signal; raises `InputError` naming the nearest known one."""
        try:
            return self._place[name]
        except KeyError:
            raise InputError(
                f"unknown signal '{name}'{nearest(name, self.names)}", f"known: {', '.join(self.names)}"
            ) from None

    def named(self, name: str) -> Signal:
        """The signal of that name."""
        return self._all[self.place(name)]

    def at(self, connector: str) -> dict[str, list[tuple[int, str]]]:
        """Signals heard through `connector`: address -> [(place, field)], field "" when there is none."""
        found: dict[str, list[tuple[int, str]]] = {}
        for i, s in enumerate(self._all):
            head, _, rest = s.address.partition(":")
            if rest and head == connector:
                address, _, part = rest.partition("#")
                found.setdefault(address, []).append((i, part))
        return found


@dataclass(frozen=True, slots=True)
class Event:
    """Something said rather than measured: a text signal's value, trouble with a payload, a lost connection."""

    time: int
    kind: str
    subject: str
    text: str
    received: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Points in columns, as they came. `sequence` is the source's own mark, handed back by `Source.confirm`."""

    signal: Ints  # [n], places in `Signals`
    time: Times  # [n], when it was true
    received: Times  # [n], when we heard
    value: Floats  # [n]
    quality: Codes  # [n]
    sequence: int = 0
    events: tuple[Event, ...] = ()

    def __len__(self) -> int:
        return len(self.signal)

    @staticmethod
    def of(
        signal: npt.ArrayLike,
        time: npt.ArrayLike,
        value: npt.ArrayLike,
        *,
        received: npt.ArrayLike | None = None,
        quality: npt.ArrayLike | None = None,
        sequence: int = 0,
        events: Sequence[Event] = (),
    ) -> Batch:
        """A batch from anything array-like; `received` defaults to `time`, `quality` to good."""
        when = np.asarray(time, np.int64)
        return Batch(
            np.asarray(signal, np.int32),
            when,
            when if received is None else np.asarray(received, np.int64),
            np.asarray(value, np.float64),
            np.zeros(len(when), np.uint8) if quality is None else np.asarray(quality, np.uint8),
            sequence,
            tuple(events),
        )

    def take(self, index: npt.ArrayLike) -> Batch:
        """The points at `index` (a mask or places); sequence and events stay."""
        i = np.asarray(index)
        return Batch(
            self.signal[i], self.time[i], self.received[i], self.value[i], self.quality[i], self.sequence, self.events
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """Signals on common times. Missing is NaN with quality `BAD`; filled-in is `IMPUTED`."""

    time: Times  # [t]
    values: Floats  # [t, s]
    quality: Codes  # [t, s]
    signals: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.time)

    def column(self, name: str) -> Floats:
        """The values of one signal, [t]."""
        if name not in self.signals:
            raise InputError(
                f"unknown signal '{name}'{nearest(name, self.signals)}", f"known: {', '.join(self.signals)}"
            )
        return self.values[:, self.signals.index(name)]

    def only(self, names: Sequence[str]) -> Frame:
        """The same times with just these signals, in this order."""
        if tuple(names) == self.signals:
            return self
        i = [self.signals.index(n) for n in names]
        return Frame(self.time, self.values[:, i], self.quality[:, i], tuple(names))

    def usable(self, names: Sequence[str]) -> Floats:
        """The values of some signals, [t, s]; NaN where they are bad or missing, or the frame has no such signal."""
        found = np.full((len(self), len(names)), np.nan)
        places = {i: self.signals.index(name) for i, name in enumerate(names) if name in self.signals}
        for i, s in places.items():
            found[:, i] = np.where(self.quality[:, s] < BAD, self.values[:, s], np.nan)
        return found

    def last(self, n: int) -> Frame:
        """The last `n` rows."""
        return self.rows(max(len(self) - n, 0), len(self))

    def rows(self, start: int, stop: int) -> Frame:
        """Rows `start` up to `stop`."""
        return Frame(self.time[start:stop], self.values[start:stop], self.quality[start:stop], self.signals)

    def to_arrow(self) -> pa.Table:
        """A wide Arrow table: `time` and a column a signal."""
        import pyarrow as pa

        columns = {"time": pa.array(self.time.view("datetime64[ns]"), pa.timestamp("ns", "UTC"))}
        for i, name in enumerate(self.signals):
            columns[name] = pa.array(self.values[:, i], from_pandas=True)
        return pa.table(columns)


@dataclass(frozen=True, slots=True)
class Belief:
    """What the twin holds to be true: an ensemble of states and parameters, members last.

    `innovation` is what the last update learned from: signal -> (measured minus expected, the standard deviation
    that difference should have).
    """

    names: tuple[str, ...]
    members: Floats  # [k, m]
    time: int
    innovation: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    id: str = ""

    def row(self, name: str) -> Floats:
        """The members of one state or parameter, [m]."""
        return self.members[self.names.index(name)]

    def mean(self) -> dict[str, float]:
        """The ensemble mean of every state and parameter."""
        return dict(zip(self.names, self.members.mean(axis=1).tolist(), strict=True))

    def spread(self) -> dict[str, float]:
        """The ensemble standard deviation of every state and parameter."""
        return dict(zip(self.names, self.members.std(axis=1, ddof=1).tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Forecast:
    """Quantiles ahead of `issued`. Values are float32: no forecast knows its eighth digit."""

    time: Times  # [h]
    levels: tuple[float, ...]  # [q]
    values: Float32s  # [s, h, q], never crossing
    signals: tuple[str, ...]
    issued: int
    by: str = ""
    samples: Float32s | None = None  # [m, s, h]
    because: tuple[str, ...] = ()
    id: str = ""

    def __len__(self) -> int:
        return len(self.time)

    def of(self, name: str) -> Float32s:
        """The quantiles of one signal, [h, q]."""
        if name not in self.signals:
            raise InputError(
                f"no forecast of '{name}'{nearest(name, self.signals)}",
                f"there is: {', '.join(self.signals)}",
            )
        return self.values[self.signals.index(name)]

    def quantile(self, name: str, level: float) -> Floats:
        """One level of one signal, [h], interpolated between the levels held."""
        held = self.of(name).astype(np.float64)
        return np.array([np.interp(level, self.levels, row) for row in held])

    def only(self, names: Sequence[str]) -> Forecast:
        """The same for just these signals, those of them that it has."""
        kept = [n for n in names if n in self.signals]
        rows = [self.signals.index(n) for n in kept]
        samples = None if self.samples is None else self.samples[:, rows]
        return replace(self, values=self.values[rows], signals=tuple(kept), samples=samples)

    def within(self, signals: Signals) -> Forecast:
        """The same with nothing outside what is physically possible: `low` and `high` of the signals."""
        ends = [(signals.named(n).low, signals.named(n).high) if n in signals else (None, None) for n in self.signals]
        low, high = (
            np.array([other if end is None else end for end in column], np.float32)[:, None, None]
            for column, other in zip(zip(*ends, strict=True), (-np.inf, np.inf), strict=True)
        )
        return replace(self, values=np.clip(self.values, low, high)) if ends else self

    def named(self, by: str) -> Forecast:
        """The same with a maker and an id of its own."""
        return replace(self, by=by, id=f"forecast-{by}-{instant_id(self.issued)}")

    def median(self, name: str) -> Floats:
        """The middle of one signal, [h]."""
        return self.quantile(name, 0.5)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong with `subject` (a signal or an asset) since `start`; `name` says what. `life` is not for
    detectors: the desk fills it in for whoever asks."""

    id: str
    name: str
    subject: str
    start: int
    time: int
    severity: float  # 0 .. 1
    confidence: float  # 0 .. 1
    text: str = ""
    open: bool = True
    evidence: Mapping[str, float] = field(default_factory=dict)
    by: str = ""
    life: Life | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """An absolute setpoint. It is void after `expires`; `precondition` is `signal op value` ("oil < 95") or ""."""

    id: str
    signal: str
    value: float
    expires: int
    precondition: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    """What came of a command: `state` is one of `done accepted refused failed silent`."""

    command: str
    state: str
    time: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do and why. `because` holds ids of the belief, forecasts and findings used; `refused` says what was
    not allowed, a line each; `status` is one of `proposed approved rejected sent observed expired`."""

    id: str
    time: int
    commands: tuple[Command, ...] = ()
    plan: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    expected: Mapping[str, float] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    because: tuple[str, ...] = ()
    reason: str = ""
    status: str = "proposed"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a stateful part, so that a restart goes on where it stopped. Only the newest of an id is kept."""

    id: str
    time: int
    state: Mapping[str, Any]
