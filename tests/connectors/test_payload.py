"""What messages say, and what is said about those that say nothing."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.connectors.commands import read_ack, read_command, write_ack, write_command
from gemel.connectors.payload import Decoder, Message, epoch
from gemel.core.errors import InputError
from gemel.core.units import SECOND, instant
from gemel.core.values import BAD, GOOD, UNCERTAIN, Ack, Batch, Command, Signal, Signals

NOW = instant("2024-05-01T12:00:00")
SIGNALS = Signals(
    [
        Signal("supply"),
        Signal("burner"),
        Signal("valve", type="state", states=("closed", "open")),
        Signal("note", type="text"),
        Signal("tariff", role="known"),
    ]
)
ADDRESSES = {
    "row": [(0, "supply"), (1, "burner.power")],
    "supply": [(0, "")],
    "valve": [(2, "")],
    "note": [(3, "")],
    "tariff": [(4, "")],
}


def decoder(**more: Any) -> Decoder:
    return Decoder(SIGNALS, ADDRESSES, **more)


def heard(topic: str, payload: object, retained: bool = False, **more: Any) -> Batch:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return decoder(**more).decode([Message(topic, raw, NOW, retained)], NOW)


def point(batch: Batch) -> tuple[str, float, int, int]:
    assert len(batch) == 1
    name = SIGNALS.names[int(batch.signal[0])]
    return name, float(batch.value[0]), int(batch.time[0]) - NOW, int(batch.quality[0])


@pytest.mark.parametrize(
    ("topic", "payload", "name", "value"),
    [
        ("supply", 21.5, "supply", 21.5),
        ("supply", True, "supply", 1.0),
        ("supply", "21.5", "supply", 21.5),
        ("supply", b" 21.5 \n", "supply", 21.5),
        ("valve", "open", "valve", 1.0),
        ("valve", b"open", "valve", 1.0),
        ("valve", 0, "valve", 0.0),
        ("row", {"supply": 21}, "supply", 21.0),
        ("row", {"burner": {"power": 3}}, "burner", 3.0),
        ("supply", {"value": 21.5}, "supply", 21.5),
    ],
)
def test_a_value_is_understood(topic: str, payload: object, name: str, value: float) -> None:
    assert point(heard(topic, payload)) == (name, value, 0, GOOD)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("supply", None),
        ("supply", "warm"),
        ("supply", "1_0"),
        ("supply", [1, 2]),
        ("supply", {"value": None}),
        ("supply", {"temperature": 3}),
        ("supply", b"NaN"),
        ("supply", b"-Infinity"),
        ("supply", b"1e999"),
        ("supply", b"1" + b"0" * 400),
        ("row", {"supply": None}),
        ("row", {"supply": {"value": "x"}}),
        ("row", b'{"supply": NaN}'),
        ("valve", "ajar"),
        ("valve", 2),
        ("valve", 0.5),
    ],
)
def test_what_is_no_value_is_a_bad_point_without_one(topic: str, payload: object) -> None:
    _, value, _, quality = point(heard(topic, payload))
    assert math.isnan(value)
    assert quality == BAD


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("good", GOOD),
        ("UncertainLastUsableValue", UNCERTAIN),
        ("Bad", BAD),
        ("dubious", UNCERTAIN),
        (0, GOOD),
        (2, BAD),
        (0x40920000, UNCERTAIN),  # OPC UA UncertainSensorNotAccurate
        (0x80890000, BAD),  # OPC UA BadConfigurationError
    ],
)
def test_quality_by_name_and_by_number(said: object, code: int) -> None:
    assert point(heard("supply", {"value": 1, "quality": said}))[3] == code
    assert point(heard("row", {"supply": 1, "quality": said}))[3] == code
    assert point(heard("row", {"supply": {"value": 1, "quality": said}}))[3] == code


@pytest.mark.parametrize("key", ["time", "timestamp", "ts"])
@pytest.mark.parametrize(
    "said",
    [
        "2024-05-01T11:59:00Z",
        "2024-05-01 11:59",
        "2024-05-01T13:59:00+02:00",
        NOW // SECOND - 60,
        NOW / 1e9 - 60,
        NOW // 1_000_000 - 60_000,
        NOW // 1000 - 60_000_000,
        NOW - 60 * SECOND,
    ],
)
def test_times_are_told_apart_by_their_form(key: str, said: object) -> None:
    assert point(heard("row", {key: said, "supply": 1}))[2] == -60 * SECOND
    assert point(heard("row", {"supply": {"value": 1, key: said}}))[2] == -60 * SECOND
    assert point(heard("supply", {"value": 1, key: said}))[2] == -60 * SECOND


@given(st.integers(0, 4_000_000_000))
def test_a_time_is_the_same_in_every_unit(s: int) -> None:
    assert epoch(s) == s * SECOND
    if s > 10_000_000_000 // 86:  # large enough to be told apart
        assert epoch(s * 1000) == epoch(s * 1_000_000) == epoch(s * SECOND) == epoch(float(s)) == s * SECOND


def test_rows_come_as_lists_too() -> None:
    batch = heard("row", [{"ts": NOW // SECOND - i, "supply": i, "burner": {"power": 2 * i}} for i in range(3)])
    assert batch.value.tolist() == [0, 0, 1, 2, 2, 4]
    assert ((NOW - batch.time) // SECOND).tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"{'supply': 1}", "topic 'row': payload is not JSON: Expecting property name enclosed in double quotes"),
        (b"", "topic 'row': payload is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[" * 100_000, "topic 'row': payload is not JSON: maximum recursion depth exceeded"),
        (b'{"supply": "\xff"}', "topic 'row': payload is not valid UTF-8 (byte 12)"),
        (b"7" * 10_000_000, "topic 'row': payload of 10000000 bytes is larger than max_payload = 1000000"),
        (b"21.5", "topic 'row': payload is no object with the fields supply, burner"),
        (b'{"ts": "noon", "supply": 1}', "topic 'row': 'noon' is not a time"),
        (b'{"ts": true, "supply": 1}', "topic 'row': 'True' is not a time"),
        (b'{"ts": 1e300, "supply": 1}', "topic 'row': '1e+300' is not a time"),
        (
            b'{"ts": 12, "supply": 1}',
            "topic 'row': stamp 1970-01-01 00:00 is before 2000: the sender's clock is not set",
        ),
        (b'{"ts": "2025-05-01", "supply": 1}', "topic 'row': stamp 2025-05-01 00:00 is 8748h in the future"),
        (b'{"ts": "2024-05-01T13:00:01", "supply": 1}', "topic 'row': stamp 2024-05-01 13:00 is 3601s in the future"),
    ],
)
def test_trouble_is_an_event_and_nothing_else(payload: bytes, text: str) -> None:
    batch = heard("row", payload)
    assert len(batch) == 0
    (event,) = batch.events
    assert event.text.startswith(text)
    assert (event.kind, event.subject, event.time) == ("payload", "row", NOW)


def test_an_unknown_topic_and_unknown_fields_are_told() -> None:
    assert heard("attic", 1).events[0].text == "topic 'attic': no signal has this address"
    d = decoder()
    rows = [Message("row", b'{"supply": 1, "spam": 2}', NOW), Message("row", b'{"supply": 2, "eggs": 2}', NOW)]
    batch = d.decode(rows, NOW)
    assert batch.value.tolist() == [1, 2]
    assert [e.text for e in batch.events] == ["topic 'row': fields that no signal names are ignored: spam"]


def test_the_same_trouble_is_told_once_a_minute_and_counted() -> None:
    d = decoder()
    broken = [Message("row", b"{", NOW)]
    told = [e.text for second in range(150) for e in d.decode(broken, NOW + second * SECOND).events]
    assert len(told) == 3
    assert told[1].endswith("(59 more like it since)")
    assert d.decode([Message("supply", b"{", NOW)], NOW).events


def test_only_what_is_known_ahead_may_have_a_future_stamp() -> None:
    day = 86_400 * SECOND
    assert point(heard("tariff", {"value": 0.3, "time": (NOW + day) // SECOND}))[2] == day
    assert len(heard("supply", {"value": 0.3, "time": (NOW + day) // SECOND})) == 0
    assert len(heard("supply", {"value": 0.3, "time": (NOW + day) // SECOND}, ahead=2 * day)) == 1


def test_a_replay_on_the_data_clock_may_be_old_and_is_received_when_it_was_true() -> None:
    d = decoder(live=False)
    before_the_first = -(2**62)
    batch = d.decode([Message("row", b'{"ts": "2016-07-01", "supply": 1}', before_the_first)], NOW)
    assert batch.time.tolist() == batch.received.tolist() == [instant("2016-07-01")]
    batch = d.decode([Message("row", b'{"ts": "2025-07-01", "supply": 1}', instant("2016-07-01"))], NOW)
    assert "in the future" in batch.events[0].text
    batch = d.decode([Message("row", b'{"supply": 1}', before_the_first)], NOW)
    assert "payload has no time" in batch.events[0].text
    assert batch.events[0].time == NOW


def test_a_retained_value_without_a_time_is_uncertain() -> None:
    assert point(heard("supply", 21.5, retained=True))[3] == UNCERTAIN
    assert point(heard("supply", {"value": 21.5, "time": NOW // SECOND}, retained=True))[3] == GOOD


def test_text_is_an_event() -> None:
    for payload in ("pump swapped", b"pump swapped", {"value": "pump swapped"}):
        (event,) = heard("note", payload).events
        assert (event.kind, event.subject, event.text, event.time) == ("text", "note", "pump swapped", NOW)


@given(st.binary(max_size=60))
def test_no_payload_raises(payload: bytes) -> None:
    for topic in ADDRESSES:
        batch = heard(topic, payload)
        assert len(batch.signal) == len(batch.quality)


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["supply", "burner", "power", "value", "time", "ts", "quality"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=40)
@given(_json)
def test_no_json_raises_and_what_is_no_number_is_bad(said: object) -> None:
    for topic in ADDRESSES:
        batch = heard(topic, said)
        assert (batch.quality[~np.isfinite(batch.value)] == BAD).all()
        assert (batch.time <= NOW + 3600 * SECOND).all() or topic == "tariff"


def test_commands_and_acks_survive_the_wire() -> None:
    command = Command("c1", "burner", 12.5, NOW + 300 * SECOND)
    assert read_command(write_command(command, NOW)) == command
    assert json.loads(write_command(command, NOW))["expires"] == "2024-05-01T12:05:00.000Z"
    ack = Ack("c1", "refused", NOW, "the burner is locked")
    assert read_ack(write_ack(ack), NOW) == ack
    assert read_ack(b'{"state": "done"}', NOW, "c2") == Ack("c2", "done", NOW)
    assert read_ack(b"{", NOW) is None
    assert read_ack(b"{", NOW, "c2") == Ack("c2", "failed", NOW, "the answer cannot be read")
    unknown = read_ack(b'{"id": "c1", "state": "maybe"}', NOW)
    assert unknown == Ack("c1", "failed", NOW, "the answer has an unknown state 'maybe'")
    with pytest.raises(InputError, match="not a command"):
        read_command(b'{"id": 1}')
