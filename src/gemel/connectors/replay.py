"""Telemetry from a file, as if it came from the plant."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from gemel.connectors.pace import Pace, speed_of
from gemel.connectors.stamps import NONE
from gemel.connectors.table import Block, Table, located, numbers
from gemel.core.blobs import Blobs
from gemel.core.clock import Virtual
from gemel.core.errors import ConfigError, GemelError, InputError, nearest
from gemel.core.setting import Setting
from gemel.core.values import BAD, GOOD, Batch, Bools, Event, Floats, Ints, Signal, Signals, Times

_POINTS = 50_000  # of a batch
_AT_ONCE = 4096  # of a batch that waits for its time


class Replay:
    """A CSV (also .csv.gz) or Parquet file as a source.

    Wide files have a column a signal: the signal's address is `connector:Column`. Long files have a row a point:
    the address is `connector:name`, as it stands in the column of names. Where no signal has an address here, those
    without any address are heard by their own name. An empty cell is no point; NaN, an infinity, and a text where
    a number should be are bad points, the text also an event. A state signal's cell is a code or one of its `states`. A
    blob signal's cell is the path of a picture (or another file), relative to the table; what cannot be read is a bad
    point and an event.

    Every run reads the file from its start and in its order; the store keeps a point once. Delivery: everything in
    the file, and always the same. `confirm` has nothing to do.

    - `path`: the file; relative to the twin file, `${NAME}` is an environment variable.
    - `speed`: "max", or times real time (600, "600x"). The virtual clock waits for each stamp whatever the speed.
    - `zone`: of naive stamps, an IANA name; see `connectors/stamps.py` for the hours that come twice or not at all.
    - `time`: the column of stamps, when its name is not one of time, timestamp, date, datetime, ds, ts.
    - `layout`: `wide` or `long`, when the names of the columns do not say it.
    - `columns`: column (or, in a long file, name) -> signal, beside what the addresses say.
    """

    def __init__(
        self,
        path: str,
        speed: str | float = "max",
        zone: str = "UTC",
        time: str = "",
        layout: str = "",
        columns: Mapping[str, str] | None = None,
    ) -> None:
        speed_of(speed)
        self.path, self.speed, self.zone, self.time, self.layout = path, speed, zone, time, layout
        self.columns = dict(columns or {})
        self._setting: Setting | None = None
        self._table: Table | None = None
        self._heard: dict[str, list[int]] = {}  # column or name -> places of signals

    def bind(self, setting: Setting) -> None:
        table = Table(located(self.path, setting.folder), self.time, self.layout, self.zone)
        self._heard = _addresses(setting, self.columns)
        if not self._heard:
            hint = f'address = "{setting.connector}:{(table.series or ["..."])[-1]}"'
            raise ConfigError([f"no signal is heard through connector '{setting.connector}'"], hint)
        if table.layout == "wide":
            problems = [
                f"{table.path.name} has no column '{name}'{nearest(name, table.series)}"
                for name in self._heard
                if name not in table.series
            ]
            if problems:
                raise ConfigError(problems, f"it has {', '.join(table.series)}")
        self._setting, self._table = setting, table

    async def stream(self) -> AsyncIterator[Batch]:
        if self._setting is None:
            raise ConfigError(["a replay must be bound to a twin before it streams"])
        clock, speed = self._setting.clock, speed_of(self.speed)
        pace = Pace(speed)
        sequence = 0
        for batch in self._batches():
            a = 0
            while a < max(len(batch), 1):
                b = len(batch)
                if b and isinstance(clock, Virtual):
                    if not await clock.until(int(batch.time[a])):
                        return
                    b = _reach(batch.time, a, int(batch.time[a]))
                elif b and speed:
                    await pace.clock.until(pace.due(int(batch.time[a])))
                    b = _reach(batch.time, a, pace.reached())
                sequence += 1
                piece = replace(_piece(batch, a, b), sequence=sequence)
                yield replace(piece, received=np.full(len(piece), clock.now())) if clock.live else piece
                a = max(b, 1)

    def confirm(self, batch: Batch) -> None:
        """A file forgets nothing."""

    def _batches(self) -> Iterator[Batch]:
        """The file in its order, up to 50 000 points at a time, received when they were true."""
        assert self._setting is not None
        assert self._table is not None
        table, signals, heard = self._table, self._setting.signals, self._heard
        wide = table.layout == "wide"
        columns = list(heard) if wide else [table.name, table.value]
        last, back = NONE, 0
        for block in table.blocks(columns):
            if len(block.time):
                steps = np.diff(block.time, prepend=block.time[0] if last == NONE else last)
                back += int(np.count_nonzero(steps < 0))
                last = int(block.time[-1])
            files = _Files(table.path.parent, self._setting.blobs)
            batch = _wide(block, signals, heard, columns, files) if wide else _long(block, signals, heard, files)
            told = [_event(table, t if t != NONE else last, c, said) for t, c, said in block.trouble]
            batch = replace(batch, events=(*told, *batch.events))
            if len(batch) or batch.events:
                for a, b in pairwise(_cuts(batch.time)):
                    yield _piece(batch, a, b)
        said = [f"{back} rows are older than the row before them"] if back else []
        said += ["there are no rows"] if last == NONE else []
        if said:
            events = [_event(table, last, "", text) for text in said]
            yield Batch.of([], [], [], events=events)


def _addresses(setting: Setting, columns: Mapping[str, str]) -> dict[str, list[int]]:
    """Column -> places of the signals that hear it."""
    signals = setting.signals
    heard: dict[str, list[int]] = {}
    for address, parts in signals.at(setting.connector).items():
        for place, field in parts:
            heard.setdefault(field or address, []).append(place)
    problems = []
    for column, name in columns.items():
        try:
            heard.setdefault(column, []).append(signals.place(name))
        except InputError as error:
            problems.append(f"columns: {error.message}")
    if problems:
        raise ConfigError(problems)
    return heard or {s.name: [i] for i, s in enumerate(signals) if not s.address and s.role != "controlled"}


class _Files:
    """Turns paths into the codes of blobs, each file kept once."""

    def __init__(self, folder: Path, blobs: Blobs | None) -> None:
        self._folder, self._blobs = folder, blobs

    def codes(self, said: list[str | None], signal: Signal, time: Times, events: list[Event]) -> Floats:
        """The codes [r]; NaN where there is no file, or none that can be kept."""
        found: dict[str, float] = {"": math.nan}
        for when, text in zip(time.tolist(), said, strict=True):
            if text and text not in found:
                try:
                    found[text] = self._kept(text)
                except GemelError as error:
                    found[text] = math.nan
                    events.append(Event(when, "file", signal.name, str(error), when))
        return np.array([found[text or ""] for text in said], np.float64)

    def _kept(self, text: str) -> float:
        if self._blobs is None:
            raise InputError(f"'{text}' is not kept: the twin keeps no blobs")
        path = self._folder / text
        try:
            if path.stat().st_size > self._blobs.largest:
                raise InputError(f"'{text}' has {path.stat().st_size:,} bytes", f"at most {self._blobs.largest:,}")
            return self._blobs.put(path.read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(f"'{text}' cannot be read: {getattr(error, 'strerror', error)}") from None


def _wide(block: Block, signals: Signals, heard: Mapping[str, list[int]], columns: list[str], files: _Files) -> Batch:
    """Row by row, and within a row in the order of `columns`."""
    places: list[int] = []
    values: list[Floats] = []
    there: list[Bools] = []
    events: list[Event] = []
    for column, cells in zip(columns, block.columns, strict=True):
        for place in heard[column]:
            value, here = _values(cells, signals[place], block.time, events, files)
            places.append(place)
            values.append(value)
            there.append(here)
    mask = np.column_stack(there)
    row, which = np.nonzero(mask)
    time = block.time[row]
    return _batch(np.array(places, np.int32)[which], time, np.column_stack(values)[mask], events)


def _long(block: Block, signals: Signals, heard: Mapping[str, list[int]], files: _Files) -> Batch:
    """Point by point; a name that no signal hears is passed over."""
    names, cells = block.columns
    coded = names.cast(pa.string()).dictionary_encode()
    index = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    events: list[Event] = []
    parts: list[tuple[Times, int, Floats]] = []
    for code, name in enumerate(coded.dictionary.to_pylist()):
        for place in heard.get(name, ()):
            rows = np.flatnonzero(index == code)
            value, here = _values(cells.take(pa.array(rows)), signals[place], block.time[rows], events, files)
            parts.append((rows[here], place, value[here]))
    if not parts:
        return Batch.of([], [], [], events=events)
    row = np.concatenate([rows for rows, _, _ in parts])
    order = np.argsort(row, kind="stable")
    signal = np.repeat(np.array([p for _, p, _ in parts], np.int32), [len(r) for r, _, _ in parts])
    value = np.concatenate([v for _, _, v in parts])
    return _batch(signal[order], block.time[row[order]], value[order], events)


def _values(cells: pa.Array, signal: Signal, time: Times, events: list[Event], files: _Files) -> tuple[Floats, Bools]:
    """One signal's values [r] and where there are any; texts and what is no value become events."""
    if signal.type in ("text", "event", "blob"):
        said = cells.cast(pa.string()).to_pylist()
        if signal.type == "blob":
            return files.codes(said, signal, time, events), np.array([bool(text) for text in said], bool)
        pairs = [(int(t), text) for t, text in zip(time, said, strict=True) if text]
        events += [Event(t, "text", signal.name, text, t) for t, text in pairs]
        return np.full(len(time), np.nan), np.zeros(len(time), bool)
    found = numbers(cells)
    value, odd = found.value, dict(found.odd)
    codes = {name: float(code) for code, name in enumerate(signal.states)}
    for row in [row for row, text in odd.items() if text in codes]:
        value[row] = codes[odd.pop(row)]
    if odd:
        row, text = next(iter(odd.items()))
        what = f"one of {', '.join(signal.states)}" if codes else "a number"
        more = f", nor are {len(odd) - 1} more" if len(odd) > 1 else ""
        when = int(time[row])
        events.append(Event(when, "file", signal.name, f"'{text[:40]}' is not {what}{more}", when))
    return value, found.here


def _batch(signal: Ints, time: Times, value: Floats, events: list[Event]) -> Batch:
    finite = np.isfinite(value)
    quality = np.where(finite, GOOD, BAD)
    return Batch.of(signal, time, np.where(finite, value, np.nan), quality=quality, events=events)


def _event(table: Table, time: int, column: str, text: str) -> Event:
    when = max(time, 0)
    subject = f"{table.path.name}#{column}" if column else table.path.name
    return Event(when, "file", subject, f"{subject}: {text}", when)


def _cuts(time: Times) -> list[int]:
    """Where to cut so that a piece holds at most 50 000 points and, where possible, whole rows."""
    edges = np.flatnonzero(np.diff(time)) + 1
    cuts = [0]
    while cuts[-1] + _POINTS < len(time):
        full = cuts[-1] + _POINTS
        edge = int(edges[np.searchsorted(edges, full, side="right") - 1]) if len(edges) else 0
        cuts.append(edge if edge > cuts[-1] else full)
    return [*cuts, len(time)]


def _reach(time: Times, a: int, limit: int) -> int:
    """The end of the points from `a` on that are due with it: those up to `limit`, some thousands at most."""
    later = np.flatnonzero(time[a + 1 : a + _AT_ONCE] > limit)
    return a + 1 + int(later[0]) if len(later) else min(a + _AT_ONCE, len(time))


def _piece(batch: Batch, a: int, b: int) -> Batch:
    """Points `a` up to `b`; events go with the first piece."""
    if a == 0 and b == len(batch):
        return batch
    events = batch.events if a == 0 else ()
    time, received = batch.time[a:b], batch.received[a:b]
    return Batch(batch.signal[a:b], time, received, batch.value[a:b], batch.quality[a:b], batch.sequence, events)
