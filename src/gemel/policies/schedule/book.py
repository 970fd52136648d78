"""An order book and machines as people write them, with clock times and durations, made a `Problem` of ticks."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from gemel.core.errors import InputError, nearest
from gemel.core.units import SECOND, duration
from gemel.policies.schedule.calendar import fit, merged
from gemel.policies.schedule.problem import Machine, Operation, Order, Task, Window

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOUR = 3600 * SECOND
CENT = 1000
"""Costs are counted in thousandths, so that a minute of a cheap order is not rounded away."""
_SHIFT = re.compile(r"(daily|[A-Z][a-z]{2}(?:[-,][A-Z][a-z]{2})*) (\d\d):(\d\d)-(\d\d):(\d\d)")
ORDER = {"name", "number", "release", "due", "deadline", "weight", "operations"}
OPERATION = {"machines", "family", "machine", "started", "ended"}


@dataclass(frozen=True, slots=True)
class Scale:
    """Ticks of the clock: `tick` ns each, from `origin` (ns UTC) on. Times without an offset are in `zone`."""

    origin: int
    tick: int
    zone: str = ""

    def after(self, ns: int) -> int:
        """The first tick at or after an instant."""
        return -((self.origin - ns) // self.tick)

    def before(self, ns: int) -> int:
        """The last tick at or before an instant."""
        return (ns - self.origin) // self.tick

    def work(self, text: Any) -> int:
        """Ticks of a duration, rounded up; zero is allowed."""
        return 0 if text in (0, "0") else -(-duration(text) // self.tick)

    def instant(self, text: str) -> int:
        """ns UTC of a clock time."""
        try:
            when = datetime.fromisoformat(text)
        except (TypeError, ValueError):
            raise InputError(f"{text!r} is not a time", 'write it as "2026-11-27T14:00"') from None
        when = when if when.tzinfo else when.replace(tzinfo=ZoneInfo(self.zone or "UTC"))
        return _utc(when)

    def price(self, an_hour: float) -> int:
        """What a tick costs, in thousandths."""
        return max(0, round(an_hour * self.tick / HOUR * CENT))


@dataclass(frozen=True, slots=True)
class Book:
    """Orders, what of them has begun, and the number by which a machine is told of each."""

    orders: tuple[Order, ...]
    begun: tuple[Task, ...]
    numbers: Mapping[str, int]


def shifts(texts: Sequence[str], scale: Scale, until: int) -> list[Window]:
    """Windows in ticks from the day before the origin to `until` (ns): `"Mon-Fri 06:00-22:00"`, `"daily 22:00-06:00"`,
    `"Sat,Sun 08:00-12:00"`; an end that is not after the start is on the next day."""
    zone = ZoneInfo(scale.zone or "UTC")
    first = datetime.fromtimestamp(scale.origin // SECOND, zone).date() - timedelta(days=1)
    days = (until - scale.origin) // (24 * HOUR) + 3
    found = []
    for text in texts:
        match = _SHIFT.fullmatch(text)
        if match is None or not (wanted := _weekdays(match[1])):
            raise InputError(f"'{text}' is not a shift", 'write it as "Mon-Fri 06:00-22:00" or "daily 22:00-06:00"')
        hours = [int(x) for x in match.groups()[1:]]
        if max(hours[0], hours[2]) > 24 or max(hours[1], hours[3]) > 59:
            raise InputError(f"'{text}' is not a shift: a day has 24 hours")
        start, end = (timedelta(hours=h, minutes=m) for h, m in (hours[:2], hours[2:]))
        end += timedelta(days=1) if end <= start else timedelta()
        for day in (first + timedelta(days=n) for n in range(days)):
            if day.weekday() in wanted:
                midnight = datetime(day.year, day.month, day.day, tzinfo=zone)  # what its clock shows, plus hours
                a, b = (_utc(midnight + x) for x in (start, end))
                found.append((scale.after(a), scale.before(b)))
    return merged(found)


def closures(open_: Sequence[Window], scale: Scale, until: int) -> list[Window]:
    """What lies between the shifts, from the origin to `until` (ns)."""
    ends = scale.after(until)
    edges = [0, *(x for a, b in open_ for x in (max(a, 0), max(b, 0))), ends]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


def machine(name: str, given: Mapping[str, Any], scale: Scale, until: int) -> Machine:
    """A machine of a twin file; the keys are those of the `machines` of the policy."""
    closed = closures(shifts(given["shifts"], scale, until), scale, until) if "shifts" in given else []
    closed += [(scale.before(scale.instant(a)), scale.after(scale.instant(b))) for a, b in given.get("closed", ())]
    setups = {}
    for pair, text in given.get("setups", {}).items():
        before, arrow, after = pair.partition(">")
        if not arrow:
            raise InputError(f"machine '{name}': '{pair}' is not a set-up", 'write it as "red>blue" = "20min"')
        setups[before.strip(), after.strip()] = scale.work(text)
    return Machine(name, tuple(merged(closed)), setups, given.get("family", ""), given.get("resumable", False))


def read(path: Path) -> list[dict[str, Any]]:
    """The orders of a JSON or CSV file, as the JSON has them; raises `InputError`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _from_csv(text) if path.suffix.lower() == ".csv" else json.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(f"the order book {path.name} cannot be read: {error}") from error
    rows = rows.get("orders") if isinstance(rows, dict) else rows
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(
            f"the order book {path.name} holds no list of orders", '{"orders": [{"name": ..., "operations": [...]}]}'
        )
    return rows


def book(rows: Iterable[Mapping[str, Any]], scale: Scale, machines: Mapping[str, Machine], overdue: int) -> Book:
    """Orders in ticks. What has started and not ended lasts as long as it should, and at least until the tick
    `overdue`."""
    orders: list[Order] = []
    begun: list[Task] = []
    numbers: dict[str, int] = {}
    wrong: list[str] = []
    for i, row in enumerate(rows):
        name = str(row.get("name", i + 1))
        try:
            _known(row, ORDER)
            order = _order(name, row, scale)
            begun += _begun(order, row, scale, machines, overdue)
            orders.append(order)
            numbers[name] = int(row.get("number", name if name.isdigit() else i + 1))
        except (InputError, TypeError, ValueError, AttributeError) as error:
            wrong.append(f"order '{name}': {error.message if isinstance(error, InputError) else error}")
    if wrong:
        raise InputError("; ".join(wrong))
    return Book(tuple(orders), tuple(begun), numbers)


def _order(name: str, row: Mapping[str, Any], scale: Scale) -> Order:
    operations = []
    for given in row.get("operations", ()):
        _known(given, OPERATION)
        works = {str(m): scale.work(text) for m, text in given.get("machines", {}).items()}
        operations.append(Operation(works, str(given.get("family", ""))))
    due, deadline = (
        None if row.get(k) in (None, "") else scale.before(scale.instant(row[k])) for k in ("due", "deadline")
    )
    release = scale.after(scale.instant(row["release"])) if row.get("release") else 0
    weight = float(row.get("weight") or 1.0)
    if not (math.isfinite(weight) and weight >= 0):
        raise InputError(f"weight {weight:g} must not be below zero: it is what an hour late costs")
    return Order(name, tuple(operations), release, due, scale.price(weight), deadline)


def _begun(
    order: Order, row: Mapping[str, Any], scale: Scale, machines: Mapping[str, Machine], overdue: int
) -> Iterable[Task]:
    """The operations of which the book says that they have `started`, and maybe `ended`."""
    for step, (operation, given) in enumerate(zip(order.operations, row["operations"], strict=True)):
        if not given.get("started"):
            return
        name = given.get("machine") or next(iter(operation.machines))
        if name not in machines:
            raise InputError(f"there is no machine '{name}'{nearest(name, machines)}")
        start = scale.before(scale.instant(given["started"]))
        if given.get("ended"):
            end = scale.after(scale.instant(given["ended"]))
        else:
            held = machines[name]
            end = max(fit(held.closed, start, operation.machines.get(name, 0), held.resumable)[1], overdue)
        yield Task(order.name, step, name, min(start, end), end)


def _from_csv(text: str) -> list[dict[str, Any]]:
    """A row an operation: order, machine, duration, and any of step family number release due deadline weight started
    ended. Rows of one order with the same step are machines to choose from; without steps each row is one."""
    orders: dict[str, dict[str, Any]] = {}
    steps: dict[tuple[str, str], dict[str, Any]] = {}
    for i, row in enumerate(csv.DictReader(text.splitlines())):
        if missing := [k for k in ("order", "machine", "duration") if not row.get(k)]:
            raise InputError(f"line {i + 2} of the order book lacks {' and '.join(missing)}")
        name = row["order"]
        order = orders.setdefault(name, {"name": name, "operations": []})
        order |= {k: row[k] for k in ("number", "release", "due", "deadline", "weight") if row.get(k)}
        key = (name, row.get("step") or f"line {i}")
        if key not in steps:
            steps[key] = {"machines": {}} | {k: row[k] for k in ("family",) if row.get(k)}
            order["operations"].append(steps[key])
        steps[key]["machines"][row["machine"]] = row["duration"]
        if row.get("started"):
            steps[key] |= {"machine": row["machine"], "started": row["started"], "ended": row.get("ended")}
    return list(orders.values())


def _known(row: Mapping[str, Any], keys: set[str]) -> None:
    for key in row:
        if key not in keys:
            raise InputError(f"unknown key '{key}'{nearest(key, keys)}", f"known: {', '.join(sorted(keys))}")


def _weekdays(text: str) -> set[int]:
    if text == "daily":
        return set(range(7))
    found: set[int] = set()
    for part in text.split(","):
        a, _, b = part.partition("-")
        if a not in DAYS or (b or a) not in DAYS:
            return set()
        first, last = DAYS.index(a), DAYS.index(b or a)
        found |= {n % 7 for n in range(first, last + (7 if last < first else 0) + 1)}
    return found


def _utc(shown: datetime) -> int:
    return (shown - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
