"""Equal steps: of nanoseconds, of whole days on the clock of a time zone, or of calendar months.

Times are int64 nanoseconds, UTC. "Wall" is what a clock in the zone shows, counted as if it were UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from gemel.core.units import SECOND
from gemel.core.values import Times

DAY = 86_400 * SECOND
MONTH = round(365.25 / 12 * DAY)
_ROUND = [n * SECOND for n in (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800)]
_ROUND += [n * 3600 * SECOND for n in (1, 2, 3, 4, 6, 8, 12, 24, 168)]


@dataclass(frozen=True, slots=True)
class Steps:
    """`step` nanoseconds, or `months` calendar months where that is above 0. Whole days and months follow the clock of
    `zone` through summer time; an empty zone is UTC."""

    step: int
    months: int = 0
    zone: str = ""

    @property
    def spacing(self) -> int:
        """Nanoseconds between rows, on average."""
        return self.months * MONTH or self.step

    def place(self, times: Times, end: int) -> Times:
        """How many steps after `end` each time lies (negative before), to the nearest."""
        wall, last = self._shown(times), self._shown(np.array([end]))
        if self.months:
            return np.round((_month(wall) - _month(last)) / self.months).astype(np.int64)
        return np.round((wall - last) / self.step).astype(np.int64)

    def ahead(self, end: int, count: int) -> Times:
        """The next `count` times after `end`."""
        k = np.arange(1, count + 1, dtype=np.int64)
        last = self._shown(np.array([end]))
        return self._true(_add_months(last, k * self.months) if self.months else last + k * self.step)

    def _shown(self, times: Times) -> Times:
        return wall(times, self.zone) if self.months or self.step % DAY == 0 else times

    def _true(self, shown: Times) -> Times:
        return utc(shown, self.zone) if self.months or self.step % DAY == 0 else shown


def infer(times: Times, zone: str = "") -> Steps | None:
    """The steps of rising, distinct times by their median difference; None for fewer than two.

    Months where all are the same day of a month, or all its last; a rounder step within 5 % where they are uneven."""
    if len(times) < 2:
        return None
    gaps = np.diff(times)
    middle = int(np.median(gaps))
    if middle >= 27 * DAY and (months := _monthly(wall(times, zone))):
        return Steps(0, months, zone)
    if middle >= 23 * 3600 * SECOND:  # days, when summer time begins or ends
        gaps = np.diff(wall(times, zone))
        middle = int(np.median(gaps))
    near = min(_ROUND, key=lambda n: abs(n - middle))
    if (gaps != middle).any() and abs(near - middle) <= 0.05 * near:
        middle = near
    return Steps(max(middle, 1), 0, zone)


def wall(times: Times, zone: str) -> Times:
    """What a clock in `zone` shows."""
    if zone in ("", "UTC"):
        return times
    there = ZoneInfo(zone)
    return times + np.array([_offset(datetime.fromtimestamp(int(t) // SECOND, there)) for t in times], np.int64)


def utc(shown: Times, zone: str) -> Times:
    """Back from the clock in `zone`; an hour that comes twice is the first of the two."""
    if zone in ("", "UTC"):
        return shown
    there = ZoneInfo(zone)
    local = [datetime.fromtimestamp(int(t) // SECOND, UTC).replace(tzinfo=there) for t in shown]
    return shown - np.array([_offset(t) for t in local], np.int64)


def _offset(when: datetime) -> int:
    return (when.utcoffset() or timedelta()) // timedelta(microseconds=1) * 1000


def _month(shown: Times) -> Times:
    return shown.view("datetime64[ns]").astype("datetime64[M]").astype(np.int64)


def _day(shown: Times) -> Times:
    """Days since the first of the month."""
    days = shown.view("datetime64[ns]").astype("datetime64[D]")
    return (days - days.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)


def _length(months: Times) -> Times:
    """Days of a month counted from 1970."""
    first = months.astype("datetime64[M]")
    return ((first + 1).astype("datetime64[D]") - first.astype("datetime64[D]")).astype(np.int64)


def _monthly(shown: Times) -> int:
    day, month = _day(shown), _month(shown)
    if (day == day[0]).all() or (day == _length(month) - 1).all():
        return int(np.median(np.diff(month)))
    return 0


def _add_months(shown: Times, months: Times) -> Times:
    """One time, [1], moved on by each of `months`; the last day of a month stays a last day."""
    day, month = _day(shown), _month(shown) + months
    last = day == _length(_month(shown)) - 1
    moved = np.where(last, _length(month) - 1, np.minimum(day, _length(month) - 1))
    first = month.astype("datetime64[M]").astype("datetime64[ns]").astype(np.int64)
    return first + moved * DAY + shown % DAY
