"""A fleet's lives: units from new to failure, or cut off before it, as arrays.

Letters: u units, t rows, s settings of operation, c channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gemel.core.artifact import digest
from gemel.core.errors import ConfigError, InputError, nearest
from gemel.core.values import Floats, Ints
from gemel.lab.tasks.labelled import Columns, read_table
from gemel.lab.tasks.turbofan import SENSORS, is_turbofan, turbofan


@dataclass(frozen=True)
class Fleet:
    """Units, a row a cycle; `left` is what each has left after its last row, 0 where it ran to failure."""

    names: tuple[str, ...]
    settings: tuple[Floats, ...]  # [u] of [t, s]
    values: tuple[Floats, ...]  # [u] of [t, c]
    left: Floats  # [u]
    of: tuple[str, ...]  # names of the settings
    channels: tuple[str, ...]
    digest: str = ""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def lives(self) -> Floats:
        """The whole life of each unit, in rows."""
        return np.array([len(x) for x in self.values]) + self.left

    def part(self, places: Ints) -> Fleet:
        """Some units."""
        pick = [int(i) for i in places]
        return Fleet(
            tuple(self.names[i] for i in pick), tuple(self.settings[i] for i in pick),
            tuple(self.values[i] for i in pick), self.left[places], self.of, self.channels, self.digest,
        )  # fmt: skip


def read_fleet(path: str | Path, settings: Sequence[str] = (), columns: Columns | None = None) -> Fleet:
    """A fleet from a C-MAPSS file, or from a CSV or Parquet file with a column `rul` of what is left at each row: in
    hours where times are stamps, else in the unit of the times. `settings` names the channels that say how a unit is
    operated.

    Raises `InputError` for a file that cannot be used, `ConfigError` for settings that are no channels.
    """
    place = Path(path)
    if is_turbofan(place):
        return _turbofan(place)
    table = read_table(place, "rul", columns or Columns())
    if unknown := [n for n in settings if n not in table.channels]:
        hint = f"there is: {', '.join(table.channels)}; what is constant or nearly empty says nothing: leave it out"
        raise ConfigError([f"no setting '{n}'{nearest(n, table.channels)}" for n in unknown], hint)
    own = [table.channels.index(n) for n in settings]
    rest = [i for i, n in enumerate(table.channels) if n not in settings]
    rows = [np.flatnonzero(table.unit == u) for u in range(len(table.units))]
    last = np.array([table.label[r[-1]] for r in rows]) * (3600.0 if table.stamped else 1.0) / table.step
    if not np.isfinite(last).all():
        name = table.units[int(np.flatnonzero(~np.isfinite(last))[0])]
        raise InputError(f"nobody says what unit {name} has left at its last row", "0 if it failed then")
    return Fleet(
        table.units, tuple(table.values[r][:, own] for r in rows), tuple(table.values[r][:, rest] for r in rows),
        last, tuple(settings), tuple(table.channels[i] for i in rest), table.digest,
    )  # fmt: skip


def _turbofan(path: Path) -> Fleet:
    engines = turbofan(path)
    rows = [np.flatnonzero(engines.unit == u) for u in range(len(engines.names))]
    return Fleet(
        engines.names, tuple(engines.settings[r] for r in rows), tuple(engines.sensors[r] for r in rows),
        np.array([engines.left[r[-1]] for r in rows]), tuple(f"setting{i}" for i in (1, 2, 3)), SENSORS, digest(path),
    )  # fmt: skip
