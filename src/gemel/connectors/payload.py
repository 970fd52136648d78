"""What a message says: JSON payloads to points and events.

A payload is one of
- a scalar: `21.5`, `true`, `"open"` (the name of a state), `"21.5"`;
- `{"value": 21.5, "time": "2024-05-01T12:00:00Z", "quality": "good"}`;
- an object of many signals, `{"time": 1714564800, "supply": 71.2, "burner": {"power": 8}}`; `#burner.power` in a
  signal's address names a field, and a field may hold `{value, time, quality}` again;
- a list of such objects;
- for a blob signal the bytes themselves (a PNG), or an object with a stamp that holds them in base64:
  `{"time": 1714564800, "value": "iVBORw0..."}`, `{"time": ..., "picture": "..."}` for `#picture`.

`time` (or `timestamp`, `ts`) is ISO 8601 (without a zone: UTC) or a count since 1970 in s, ms, us or ns, told apart by
its size. Without one the point is true when it was heard. `quality` is `good`, `uncertain`, `bad`, one of our codes, or
an OPC UA status code (OPC 10000-4, 7.39: the class is in its two highest bits).

Nothing is invented: a value that cannot be read but whose signal and time are known is a `BAD` point without a value;
everything else that is wrong is an `Event` naming the topic and the reason, told at most once a minute.
"""

from __future__ import annotations

import binascii
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np

from gemel.core.blobs import Blobs
from gemel.core.errors import GemelError, InputError
from gemel.core.units import SECOND, instant, spell
from gemel.core.values import BAD, GOOD, UNCERTAIN, Batch, Event, Signal, Signals

TIMES = ("time", "timestamp", "ts")
EARLIEST = 946_684_800 * SECOND
"""The year 2000. A telemetry stamp before it comes from a clock that was never set."""

_AGAIN = 60 * SECOND  # the same trouble of the same topic is told once in this time
_STATUS = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}
_ABSENT = object()
_NUMBERS = frozenset((float, int))
_parse = msgspec.json.Decoder().decode


class Message(NamedTuple):
    """What was heard on a topic. `heard` is the clock's time; a `retained` one was said earlier, nobody knows when."""

    topic: str
    payload: bytes | bytearray
    heard: int
    retained: bool = False


class _Place(NamedTuple):
    """One signal of a topic: where its value stands in the payload, and what it is."""

    signal: int
    path: tuple[str, ...]  # () is the payload itself
    name: str
    type: str
    codes: Mapping[str, int]
    ahead: bool  # a stamp in the future is legal


class _Plan(NamedTuple):
    places: tuple[_Place, ...]
    known: frozenset[str]  # keys of a payload that mean something
    row: Callable[[dict[str, Any]], tuple[Any, ...]] | None  # all values at once, where all are top-level numbers
    numbers: tuple[int, ...]  # the signals of a row


@dataclass(slots=True)
class _Columns:
    signal: list[int] = field(default_factory=list)
    time: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


class Decoder:
    """Turns messages into batches.

    `addresses` maps a topic to [(place in `signals`, field)]. On a clock that is not `live` a point counts as received
    when it was true, so that a replay leaves the same store at any speed. A stamp more than `ahead` ns after the time
    it was heard is refused, except for signals known ahead. A payload of more than `largest` bytes is not read.
    """

    def __init__(
        self,
        signals: Signals,
        addresses: Mapping[str, Sequence[tuple[int, str]]],
        *,
        live: bool = True,
        ahead: int = 3600 * SECOND,
        largest: int = 1_000_000,
        blobs: Blobs | None = None,
    ) -> None:
        self._plans = {
            topic: _plan(_place(signals[place], place, part) for place, part in heard)
            for topic, heard in addresses.items()
        }
        self._live = live
        self._ahead = ahead
        self._largest = largest
        self._blobs = blobs
        self._told: dict[tuple[str, str], tuple[int, int]] = {}  # (topic, trouble) -> (when told, times since)

    def points(self, topic: str) -> int:
        """How many signals a message on this topic can speak of."""
        plan = self._plans.get(topic)
        return len(plan.places) if plan else 0

    def decode(self, messages: Sequence[Message], wall: int, sequence: int = 0, events: Sequence[Event] = ()) -> Batch:
        """The batch of these messages, in their order. `wall` is the machine's time, the bound for stamps when the
        clock is not live. Never raises on what a message holds."""
        out = _Columns(events=list(events))
        for message in messages:
            plan = self._plans.get(message.topic)
            if plan is None:
                self._tell(out, message, wall, "unknown", "no signal has this address")
                continue
            said = self._read(message, plan, wall, out)
            for item in said if isinstance(said, list) and said and isinstance(said[0], dict) else (said,):
                if item is not _ABSENT:
                    self._points(item, message, plan, wall, out)
        value = np.array(out.value, np.float64)
        quality = np.array(out.quality, np.uint8)
        lost = ~np.isfinite(value)
        value[lost], quality[lost] = np.nan, BAD
        columns = np.array(out.signal, np.int32), np.array(out.time, np.int64), np.array(out.received, np.int64)
        return Batch(*columns, value, quality, sequence, tuple(out.events))

    def _read(self, message: Message, plan: _Plan, wall: int, out: _Columns) -> Any:
        """The payload as plain data, `_ABSENT` when it cannot be read."""
        payload = message.payload
        if len(payload) > self._largest:
            text = f"payload of {len(payload)} bytes is larger than max_payload = {self._largest}"
            self._tell(out, message, wall, "large", text)
            return _ABSENT
        if payload[:1] not in b"{[" and any(p.type == "blob" and not p.path for p in plan.places):
            return bytes(payload)
        try:
            return _parse(payload)
        except (ValueError, RecursionError):  # msgspec.DecodeError and UnicodeDecodeError are ValueErrors
            pass
        try:
            text = bytes(payload).decode()
        except UnicodeDecodeError as error:
            self._tell(out, message, wall, "utf8", f"payload is not valid UTF-8 (byte {error.start})")
            return _ABSENT
        try:
            return json.loads(text)  # knows NaN and Infinity, which JSON proper does not
        except (ValueError, RecursionError) as error:
            if all(p.type in ("state", "text", "event") and not p.path for p in plan.places):
                return text.strip()  # many devices send names without quotes
            self._tell(out, message, wall, "json", f"payload is not JSON: {error}")
            return _ABSENT

    def _points(self, said: Any, message: Message, plan: _Plan, wall: int, out: _Columns) -> None:
        """The points that one object or scalar holds, for all signals of its topic."""
        whole = isinstance(said, dict)
        time = self._time(said, message, wall, out) if whole else self._heard(message, wall, out)
        if time is None:
            return
        if plan.row and whole and not message.retained and self._whole_row(said, time, message, plan, wall, out):
            return
        base = GOOD
        if message.retained and not (whole and any(key in said for key in TIMES)):
            base = UNCERTAIN  # said some time ago
        if whole and "quality" in said:
            base = max(base, _quality(said["quality"]))
        for place in plan.places:
            value = _pick(said, place.path) if place.path else said
            if value is _ABSENT:
                continue
            when, quality = time, base
            if type(value) is dict and (place.type in ("number", "state", "blob") or "value" in value):
                if place.path:
                    inner = self._time(value, message, wall, out, time)
                    if inner is None:
                        continue
                    when, quality = inner, max(base, _quality(value.get("quality", GOOD)))
                value = value.get("value")
            if not place.ahead and not self._timely(when, message, wall, out):
                continue
            if place.type in ("text", "event"):
                out.events.append(Event(when, "text", place.name, _text(value), message.heard))
                continue
            if place.type == "blob":
                number = self._kept(value, message, wall, out)
            else:
                number = _state(value, place.codes) if place.type == "state" else _number(value)
            out.signal.append(place.signal)
            out.time.append(when)
            out.received.append(message.heard if self._live else when)
            out.value.append(number)
            out.quality.append(quality)
        if not whole and all(place.path for place in plan.places):
            self._tell(
                out,
                message,
                wall,
                "shape",
                f"payload is no object with the fields {_listed(p.path[0] for p in plan.places)}",
            )
        if whole and not said.keys() <= plan.known:
            self._strangers(said, message, plan, wall, out)

    def _kept(self, said: Any, message: Message, wall: int, out: _Columns) -> float:
        """The code of a blob, its bytes now on disk; NaN for what is none."""
        try:
            content = said if type(said) is bytes else binascii.a2b_base64(said, strict_mode=True)
            if self._blobs is None:
                raise InputError("the twin keeps no blobs")
            return self._blobs.put(content)
        except (binascii.Error, TypeError, ValueError) as error:
            self._tell(out, message, wall, "blob", f"a blob is bytes, or their base64 in an object: {error}")
        except GemelError as error:
            self._tell(out, message, wall, "blob", str(error))
        return math.nan

    def _whole_row(
        self, said: dict[str, Any], time: int, message: Message, plan: _Plan, wall: int, out: _Columns
    ) -> bool:
        """The usual case made quick (a third of the time a point): every signal of the topic is there, as a number."""
        if "quality" in said or not said.keys() <= plan.known:
            return False
        try:
            row = plan.row(said) if plan.row else ()
            if not _NUMBERS.issuperset(map(type, row)):
                return False
            numbers = list(map(float, row))
        except (KeyError, OverflowError):
            return False
        if self._timely(time, message, wall, out):
            count = len(row)
            out.signal += plan.numbers
            out.time += (time,) * count
            out.received += (message.heard if self._live else time,) * count
            out.value += numbers
            out.quality += (GOOD,) * count
        return True

    def _time(self, said: dict[str, Any], message: Message, wall: int, out: _Columns, default: int = 0) -> int | None:
        """The stamp an object carries; `default`, or when it was heard, when it carries none; None when unreadable."""
        for key in TIMES:
            if key in said:
                try:
                    return epoch(said[key])
                except InputError as error:
                    self._tell(out, message, wall, "time", error.message)
                    return None
        return default or self._heard(message, wall, out)

    def _heard(self, message: Message, wall: int, out: _Columns) -> int | None:
        if message.heard >= EARLIEST:
            return message.heard
        self._tell(
            out, message, wall, "untimed", "payload has no time, and the data clock has none before the first stamp"
        )
        return None

    def _timely(self, when: int, message: Message, wall: int, out: _Columns) -> bool:
        if when < EARLIEST:
            text = f"stamp {_stamp(when)} is before 2000: the sender's clock is not set"
            self._tell(out, message, wall, "early", text)
            return False
        bound = message.heard if self._live else wall
        if when > bound + self._ahead:
            text = f"stamp {_stamp(when)} is {spell(_round(when - bound))} in the future"
            self._tell(out, message, wall, "future", text)
            return False
        return True

    def _strangers(self, said: dict[str, Any], message: Message, plan: _Plan, wall: int, out: _Columns) -> None:
        if (message.topic, "fields") in self._told:  # told once and for all
            return
        strange = _listed(key for key in said if key not in plan.known)
        self._tell(out, message, wall, "fields", f"fields that no signal names are ignored: {strange}")

    def _tell(self, out: _Columns, message: Message, wall: int, trouble: str, text: str) -> None:
        """One event, unless the same was told in the last minute; then it is counted."""
        told, since = self._told.get((message.topic, trouble), (-_AGAIN, 0))
        if wall - told < _AGAIN:
            self._told[message.topic, trouble] = (told, since + 1)
            return
        self._told[message.topic, trouble] = (wall, 0)
        again = f" ({since} more like it since)" if since else ""
        when = message.heard if message.heard >= EARLIEST else wall
        out.events.append(Event(when, "payload", message.topic, f"topic '{message.topic}': {text}{again}", wall))


def epoch(said: Any) -> int:
    """Nanoseconds UTC of ISO 8601 text or of a count since 1970 in s, ms, us or ns; raises `InputError`."""
    ns = None
    if type(said) is str:
        ns = instant(said)
    elif type(said) is int or (type(said) is float and math.isfinite(said)):
        size = abs(said)
        if size < 1e11:  # seconds until the year 5138; a float of them is good to a microsecond
            ns = said * SECOND if type(said) is int else round(said * 1e6) * 1000
        else:
            ns = round(said * (1_000_000 if size < 1e14 else 1000 if size < 1e17 else 1))
    if ns is None or not -(2**63) <= ns < 2**63:
        raise InputError(f"'{said}' is not a time", "ISO 8601 or a count since 1970 in s, ms, us or ns")
    return ns


def _place(signal: Signal, place: int, part: str) -> _Place:
    codes = {name: code for code, name in enumerate(signal.states)}
    return _Place(
        place, tuple(part.split(".")) if part else (), signal.name, signal.type, codes, signal.role == "known"
    )


def _plan(places: Iterable[_Place]) -> _Plan:
    held = tuple(places)
    known = frozenset(p.path[0] if p.path else "value" for p in held) | {*TIMES, "quality"}
    plain = len(held) > 1 and all(p.type == "number" and len(p.path) == 1 and not p.ahead for p in held)
    row = itemgetter(*(p.path[0] for p in held)) if plain else None
    return _Plan(held, known, row, tuple(p.signal for p in held))


def _listed(words: Iterable[str]) -> str:
    """The first five of them."""
    known = list(dict.fromkeys(words))
    return ", ".join(known[:5]) + (f" and {len(known) - 5} more" if len(known) > 5 else "")


def _pick(said: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(said, dict) or key not in said:
            return _ABSENT
        said = said[key]
    return said


def _number(said: Any) -> float:
    """NaN for what is no number."""
    if type(said) is float:
        return said
    if type(said) is int or type(said) is bool or (type(said) is str and "_" not in said):
        try:
            return float(said)
        except (ValueError, OverflowError):
            return math.nan
    return math.nan


def _state(said: Any, codes: Mapping[str, int]) -> float:
    """The code of a state given by name or by code; NaN for an unknown one."""
    if type(said) is str and said in codes:
        return float(codes[said])
    code = _number(said)
    known = code >= 0 and code.is_integer() and (code < len(codes) or not codes)
    return code if known else math.nan


def _quality(said: Any) -> int:
    """`UNCERTAIN` for a quality we do not understand."""
    if type(said) is int and said >= 0:
        return min(said >> 30, BAD) if said > 3 else said
    if type(said) is str:
        return next((code for word, code in _STATUS.items() if said.lower().startswith(word)), UNCERTAIN)
    return UNCERTAIN


def _text(said: Any) -> str:
    return said if isinstance(said, str) else json.dumps(said)


def _stamp(ns: int) -> str:
    return str(np.datetime64(ns, "ns").astype("datetime64[m]")).replace("T", " ")


def _round(ns: int) -> int:
    """For people: a long duration to the hour, a short one to the second."""
    unit = 3600 * SECOND if ns > 48 * 3600 * SECOND else SECOND
    return max(ns // unit, 1) * unit
