"""What a diagnosis looks at, at an instant: residuals of the rows so far, and what every asset sees in them.

Letters: t rows, s signals, u settings, c columns, a assets, k slots, f features, b windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from gemel.core.values import Bools, Float32s, Floats
from gemel.detectors.diagnosis.features import Stretches, base, features
from gemel.detectors.diagnosis.normal import Memory, Normal
from gemel.detectors.diagnosis.view import View, spread
from gemel.detectors.statistics.scale import plausible

MOST = 1e30
"""A reading larger than that is as large as any."""
OFF = ("down", "service", "repair", "maintenance", "off")
"""States in which a machine shows nothing of what ails it."""
STOOD = 20
"""Rows in such a state after which it may have been mended."""
RAMPS = {"high": (1.0, 3.0), "low": (1.0, 3.0), "rising": (0.5, 2.0), "falling": (0.5, 2.0), "unsteady": (1.4, 2.5)}
"""Word -> sizes, in standard deviations of a row, at which it is not true at all and wholly true."""


class Eyes:
    """The learned normal of a plant and the rows that it last saw, as each asset sees them in `slots`."""

    def __init__(self, view: View, settings: Sequence[str], slots: Sequence[str], spans: Stretches) -> None:
        self.view, self.spans, self.slots = view, spans, tuple(slots)
        self.normal = Normal(view, tuple(settings))
        self.signals = (*view.signals, *(s for s in settings if s not in view.signals))
        self.states = np.array([c.state >= 0 for c in view.columns])
        self._modelled = np.zeros(len(view.columns), bool)
        self._kin = view.kin()
        self._maps = np.stack([self._map(a) for a in view.assets])  # [a, k, c]
        self._settings = [self.signals.index(s) for s in settings]
        self._memory: Memory | None = None
        self._count = self._begun = 0  # rows seen, and those of the normal time that it began with
        self._marks: list[tuple[int, Memory | None]] = []  # (rows seen, memory then), from which rows can be seen again
        self._numbers = np.flatnonzero(~self.states)
        self._rows: Float32s = np.empty((0, len(self.signals)), np.float32)  # short, for they are kept at every turn
        self._off: Float32s = np.empty((0, len(self._numbers)), np.float32)

    @property
    def ready(self) -> bool:
        """Whether the normal is known."""
        return len(self.normal.centre) > 0

    def fit(self, values: Floats) -> None:
        """Learn the normal from rows [t, s], and see them."""
        held = plausible(values)
        self.normal.fit(self._spread(held), held[:, self._settings])
        self._memory, self._marks, self._count, self._begun = None, [], 0, len(values)
        self._rows, self._off = self._rows[:0], self._off[:0]
        self.take(held)

    def take(self, values: Floats, model: Mapping[str, Floats] | None = None) -> None:
        """Further rows [t, s]. `model`: what the virtual model was off by, [t] in its own spread, of some signals: it
        stands in for what was learned of them."""
        if not self._marks or self._count - self._marks[-1][0] >= self.spans.long:
            self._marks.append((self._count, self._memory))
        self._count += len(values)
        while len(self._marks) > 1 and self._marks[1][0] <= self._count - self.spans.rows:
            del self._marks[0]
        self._see(values, model or {})

    def _see(self, values: Floats, model: Mapping[str, Floats]) -> None:
        rows = np.clip(values, -MOST, MOST).astype(np.float32)
        columns, settings = self._spread(rows.astype(float)), rows[:, self._settings].astype(float)
        found, self._memory = self.normal.residuals(columns, settings, self._memory)
        for i, column in enumerate(self.view.columns):
            if column.signal in model and column.state < 0:
                found[:, i] = model[column.signal]
                self._modelled[i] = True
        most = self.spans.rows
        self._rows = np.vstack([self._rows, rows])[-most:]
        self._off = np.vstack([self._off, found[:, self._numbers].astype(np.float32)])[-most:]

    def _held(self) -> tuple[Floats, Floats]:
        """Columns and residuals of the last rows, [t, c]."""
        columns = self._spread(self._rows.astype(float))
        residuals = columns - self.normal.centre
        residuals[:, self._numbers] = self._off
        return columns, residuals

    def seen(self) -> Floats:
        """What the assets see now, [a, k, f]."""
        columns, residuals = self._held()
        aside = self.normal.aside(columns)
        since = self._mended(columns)
        found = features(
            residuals, columns, aside, len(columns), self.spans, self.states, self._kin, None, since, self._modelled
        )
        return np.asarray(np.einsum("akc,cf->akf", self._maps, found))

    def judged(self, windows: Floats) -> Floats:
        """What they would see at the end of windows [b, t, s], were the day before as it was (unless they hold
        it themselves): [b, a, k, f]."""
        columns = self._spread(windows)
        residuals, _ = self.normal.residuals(columns, windows[..., self._settings])
        held = self._held()[1]
        before = None if windows.shape[-2] >= self.spans.rows else base(held, len(held), self.spans)
        end, aside = windows.shape[-2], self.normal.aside(columns)
        since = self._mended(columns)
        found = features(residuals, columns, aside, end, self.spans, self.states, self._kin, before, since)
        return np.asarray(np.einsum("akc,bcf->bakf", self._maps, found))

    def truth(self, signal: str, word: str) -> float:
        """How true a word of a rule is of a signal now, 0 to 1."""
        places = [i for i, c in enumerate(self.view.columns) if c.signal == signal]
        columns, residuals = self._held()
        short = slice(max(len(columns) - self.spans.short, 0), None)
        own, values = residuals[short, places[0]], columns[short, places[0]]
        if word == "missing":
            return float(not np.isfinite(values).any()) if len(values) else 0.0
        if word == "stuck":
            held = values[np.isfinite(values)]
            return float(len(held) > 2 and np.ptp(held) == 0)
        if self.view.columns[places[0]].state >= 0:
            one = next(i for i in places if self.view.columns[i].quantity.endswith(f"={word}"))
            return float(np.clip(_middle(residuals[short, one]) / 0.3, 0, 1))
        if word == "normal":
            return 1.0 - max(self.truth(signal, "high"), self.truth(signal, "low"))
        if word == "unsteady":
            size = float(np.nanstd(own)) if np.isfinite(own).sum() > 3 else 1.0
        elif word in ("rising", "falling"):
            long = residuals[-self.spans.long :, places[0]]
            third = self.spans.long // 3
            size = _middle(long[-third:]) - _middle(long[:third])
        else:
            size = _middle(own)
        low, high = RAMPS[word]
        return float(np.clip(((-size if word in ("low", "falling") else size) - low) / (high - low), 0, 1))

    def standing(self) -> Bools:
        """Assets that were down, in service or off for most of the short stretch (states of these names), [a]."""
        columns = self._spread(self._rows.astype(float))
        shares = {a: off[-self.spans.short :].mean() for a, off in self._stood(columns).items() if len(off)}
        return np.array([shares.get(a, 0.0) > 0.5 for a in self.view.assets])

    def halted(self) -> bool:
        """Whether one stands, but has not for all of the long stretch: what the others show is its standstill."""
        columns = self._spread(self._rows.astype(float))
        stood = [off for off in self._stood(columns).values() if len(off)]
        short, long = self.spans.short, self.spans.long
        return any(off[-short:].mean() > 0.5 and not off[-long:].all() for off in stood)

    def _stood(self, columns: Floats) -> dict[str, Bools]:
        """Rows in which an asset was down, in service or off, [..., t]."""
        found: dict[str, Bools] = {}
        for i, column in enumerate(self.view.columns):
            if column.state >= 0 and column.quantity.rpartition("=")[2] in OFF:
                off = columns[..., i] > 0
                found[column.asset] = found[column.asset] | off if column.asset in found else off
        return found

    def _mended(self, columns: Floats) -> Bools:
        """Rows since a column's asset last stood for some while, [..., t, c]; all if it did not."""
        found = np.ones(columns.shape, bool)
        for asset, off in self._stood(columns).items():
            t = off.shape[-1]
            sums = np.cumsum(np.concatenate([np.zeros_like(off[..., :1], int), off], axis=-1), axis=-1)
            over = np.zeros(off.shape, bool)
            if t >= STOOD:
                over[..., STOOD - 1 :] = sums[..., STOOD:] - sums[..., :-STOOD] == STOOD
            last = np.where(over.any(axis=-1), t - 1 - over[..., ::-1].argmax(axis=-1), -1)
            own = [i for i, c in enumerate(self.view.columns) if c.asset == asset]
            found[..., own] = (np.arange(t) > last[..., None])[..., None]
        return found

    def odd(self) -> Floats:
        """How far each asset's own numbers are off of late, in standard deviations of a row, [a]."""
        short = self._held()[1][-self.spans.short :]
        off = np.array([abs(_middle(short[:, i])) for i in range(short.shape[1])])
        off[self.states] = 0.0
        return np.array([
            max((off[i] for i, c in enumerate(self.view.columns) if c.asset == a), default=0.0)
            for a in self.view.assets
        ])  # fmt: skip

    def names(self, asset: int) -> list[str]:
        """The signal that stands for each slot as an asset sees it, "" where there are several or none, [k]."""
        held = [np.flatnonzero(row) for row in self._maps[asset]]
        signals = [{self.view.columns[i].signal for i in places} for places in held]
        return [one.pop() if len(one) == 1 else "" for one in signals]

    @property
    def behind(self) -> int:
        """How many of the last rows `again` wants."""
        return self._count - self._marks[0][0] if self._marks else 0

    def snapshot(self, whole: bool = True) -> Mapping[str, Any]:
        """Its memory; unless it is `whole`, without the rows, which `again` must then be given."""
        own = np.ascontiguousarray(self._off[:, self._modelled[self._numbers]])  # no history holds these
        other = np.ones(len(own), bool)
        other[1:] = (own[1:].view(np.uint32) != own[:-1].view(np.uint32)).any(axis=1)
        places = np.flatnonzero(other)
        return {
            "normal": self.normal.snapshot() if self.ready else None, "counts": [self._count, self._begun],
            "marks": [[count, _plain(memory)] for count, memory in self._marks], "modelled": self._modelled,
            "model": [places.astype(np.int32), own[places], len(own)],
            "rows": [self._rows, self._off, _plain(self._memory)] if whole else None,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        if state["normal"] is not None:
            self.normal.restore(state["normal"])
        self._count, self._begun = state["counts"]
        self._marks = [(count, _memory(memory)) for count, memory in state["marks"]]
        self._modelled = np.array(state["modelled"], bool)
        places, values, count = state["model"]
        self._rows = np.empty((0, len(self.signals)), np.float32)
        self._off = np.full((count, len(self._numbers)), np.nan, np.float32)
        if count:
            self._off[:, self._modelled[self._numbers]] = np.repeat(values, np.diff(np.append(places, count)), axis=0)
        if state["rows"] is not None:
            rows, off, memory = state["rows"]
            self._rows, self._off, self._memory = np.asarray(rows), np.asarray(off), _memory(memory)

    def again(self, values: Floats) -> None:
        """After `restore`: the last `behind` rows, [t, s]; then all is as it was."""
        if not self._marks:
            return
        self._memory = self._marks[0][1]
        model, self._off = self._off, self._off[:0]
        if self._memory is None:  # the normal time among them
            values = np.vstack([plausible(values[: self._begun]), values[self._begun :]])
        self._see(values, {})
        own = np.flatnonzero(self._modelled[self._numbers])
        if len(model) == len(self._off):
            self._off[:, own] = model[:, own]

    def _spread(self, values: Floats) -> Floats:
        flat = spread(self.view, values.reshape(-1, values.shape[-1]), self.signals)
        return flat.reshape(*values.shape[:-1], -1)

    def _map(self, asset: str) -> Floats:
        found = np.zeros((len(self.slots), len(self.view.columns)))
        for slot, columns in self.view.slots(asset).items():
            if slot in self.slots:
                found[self.slots.index(slot), columns] = 1 / len(columns)
        return found


def all_slots(view: View) -> tuple[str, ...]:
    """Every slot that some asset of the view sees."""
    return tuple(sorted({slot for asset in view.assets for slot in view.slots(asset)}))


def _plain(memory: Memory | None) -> Mapping[str, Any] | None:
    return None if memory is None else asdict(memory)


def _memory(plain: Mapping[str, Any] | None) -> Memory | None:
    if plain is None:
        return None
    set_to = {k: np.asarray(v) for k, v in plain["set_to"].items()}
    return Memory(np.asarray(plain["slow"]), np.asarray(plain["before"]), set_to)


def _middle(values: Floats) -> float:
    held = values[np.isfinite(values)]
    return float(held.mean()) if len(held) else 0.0
