"""MQTT messages to series: a topic with a number is one, each field of a JSON object is one.

`connectors/payload.py` says how a twin reads the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gemel.connectors.listen import PASSWORD, Heard, Spot
from gemel.connectors.payload import TIMES, Message, epoch
from gemel.core.errors import InputError
from gemel.core.units import SECOND
from gemel.discover.series import Series, Source
from gemel.discover.words import clean

_BESIDE = frozenset((*TIMES, "quality", "unit", "units", "name", "id", "signal", "expires"))
"""Keys beside a `value` that are not signals."""

_DEEP = 4  # levels of objects in objects
_OLD = 3600 * SECOND


@dataclass(slots=True)
class _Column:
    time: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    texts: Counter[str] = field(default_factory=Counter)
    unit: str = ""


def gather(heard: Heard, where: Spot) -> Source:
    """The series of everything that was said. Raises `InputError` when nothing was."""
    columns: dict[tuple[str, tuple[str, ...]], _Column] = {}
    notes = Counter[str]()
    late = []
    for message in heard.messages:
        if "{" in message.topic:
            notes[f"topic '{message.topic}' has a brace, which no address may have"] += 1
            continue
        for when, path, said, unit in _said(message, notes):
            column = columns.setdefault((message.topic, path), _Column())
            number = _number(said)
            column.time.append(when)
            column.value.append(number)
            column.unit = unit or column.unit
            late.append(message.heard - when)
            if number != number and isinstance(said, str):
                column.texts[said] += 1
    if not columns:
        what = f"{len(heard.messages)} messages, but no values" if heard.messages else "nothing"
        raise InputError(f"{what} heard on '{where.filter}' of {where.broker}", "listen longer: --for 5m, or to: /#")
    spec = {"kind": "mqtt", "url": where.broker}
    if heard.version != "5":
        spec["version"] = heard.version
    if where.user:
        spec |= {"user": where.user, "password_env": PASSWORD}
    series = [_series(topic, path, column) for (topic, path), column in columns.items()]
    first = next((part for part in where.filter.split("/") if part and part not in "+#"), "")
    clock = "data" if abs(float(np.median(late))) > _OLD else "wall"
    return Source(
        clean(first) or "plant", "plant", spec, series, clock, tuple(text for text, _ in notes.most_common(3))
    )


def _series(topic: str, path: tuple[str, ...], column: _Column) -> Series:
    levels = tuple(part for part in topic.split("/") if part)
    label, levels = (path[-1], (*levels, *path[:-1])) if path else (levels[-1] if levels else topic, levels[:-1])
    address = f"plant:{topic}" + (f"#{'.'.join(path)}" if path else "")
    time = np.array(column.time, np.int64)
    order = np.argsort(time, kind="stable")
    return Series(label, address, time[order], np.array(column.value)[order], column.texts, column.unit, levels)


def _said(message: Message, notes: Counter[str]) -> Iterator[tuple[int, tuple[str, ...], Any, str]]:
    """(time, path, what, unit) of each value in a message."""
    try:
        text = bytes(message.payload).decode()
    except UnicodeDecodeError:
        notes[f"topic '{message.topic}' says what is not text"] += 1
        return
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = text.strip()
    for item in said if isinstance(said, list) and said and isinstance(said[0], dict) else [said]:
        yield from _leaves(item, (), message.heard, message.topic, notes)


def _leaves(
    said: Any, path: tuple[str, ...], when: int, topic: str, notes: Counter[str]
) -> Iterator[tuple[int, tuple[str, ...], Any, str]]:
    if isinstance(said, list):
        notes[f"{'.'.join((topic, *path))} is a list: not read"] += 1
    elif not isinstance(said, dict):
        if said is not None:
            yield when, path, said, ""
    elif len(path) < _DEEP:
        when = _time(said, when)
        single = "value" in said and not isinstance(said["value"], dict | list)
        if single and said["value"] is not None:
            yield when, path, said["value"], str(said.get("unit") or said.get("units") or "")
        for key, inner in said.items():
            if not key or "." in key or "{" in key:
                notes[f"field '{key}' of {topic} has a name that no address may have"] += 1
            elif key not in TIMES and not (single and (key in _BESIDE or key == "value")) and key != "quality":
                yield from _leaves(inner, (*path, key), when, topic, notes)


def _time(said: Mapping[str, Any], default: int) -> int:
    for key in TIMES:
        if key in said:
            try:
                return epoch(said[key])
            except InputError:
                return default
    return default


def _number(said: Any) -> float:
    try:
        return float(said) if isinstance(said, int | float | str) and "_" not in str(said) else float("nan")
    except (ValueError, OverflowError):
        return float("nan")
