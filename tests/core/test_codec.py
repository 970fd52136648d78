"""Values to bytes and back, and to JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gemel.core.codec import decode, encode, jsonable, kind
from gemel.core.errors import StoreError
from gemel.core.values import (
    BAD,
    GOOD,
    Ack,
    Asset,
    Batch,
    Belief,
    Command,
    Decision,
    Event,
    Finding,
    Forecast,
    Frame,
    Signal,
    Snapshot,
)

COMMAND = Command("c1", "burner", 12.5, 900, "oil < 95")
VALUES: list[Any] = [
    Ack("c1", "done", 5, "ok"),
    Asset("tx1", "transformer", attributes={"rated": 40.0}),
    Batch.of(
        [0, 1], [10, 20], [1.0, math.nan], quality=[GOOD, BAD], sequence=7, events=[Event(1, "lost", "mqtt", "x")]
    ),
    Belief(("oil", "fan_health"), np.arange(6.0).reshape(2, 3), 99, {"oil": (0.2, 0.3)}, "b1"),
    COMMAND,
    Decision("d1", 5, (COMMAND,), {"fan": (0.0, 1.0)}, {"cost": 3.5}, ("no",), ("b1",), "cooler", "sent"),
    Finding("f1", "fan failed", "fan", 1, 2, 0.5, 0.9, evidence={"score": 4.0}),
    Forecast(np.arange(2), (0.1, 0.9), np.ones((1, 2, 2), np.float32), ("oil",), 0, "naive"),
    Frame(np.arange(2), np.ones((2, 1)), np.zeros((2, 1), np.uint8), ("oil",)),
    Signal("oil", unit="degC", low=0.0, states=("a",)),
    Snapshot("pool", 5, {"weights": np.eye(2), "deep": {"list": (1, "x", None, True)}}),
]


def same(one: Any, other: Any) -> bool:
    if dataclasses.is_dataclass(one):
        return type(one) is type(other) and all(
            same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)
        )
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


@pytest.mark.parametrize("value", VALUES, ids=kind)
def test_every_value_comes_back(value: Any) -> None:
    assert same(value, decode(encode(value)))
    json.dumps(jsonable(value), allow_nan=False)


@given(hnp.arrays(st.sampled_from(["<f8", "<f4", "<i8", "<i4", "u1", "?"]), hnp.array_shapes(min_dims=0, max_dims=3)))
def test_arrays_come_back_with_dtype_and_shape(array: np.ndarray) -> None:
    back = decode(encode({"x": array}))["x"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()
    back[...] = 0  # ours to change


def test_a_slice_of_an_array_is_written_as_seen() -> None:
    array = np.arange(20.0).reshape(4, 5)[::2, 1:3]
    assert np.array_equal(decode(encode(array)), array)


def test_what_another_version_wrote_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match="kind 'oracle' is not one this version"):
        decode(encode({"!": "oracle", "x": 1}))
    with pytest.raises(StoreError, match="open the file with the version that wrote it"):
        decode(encode({"!": "ack", "unheard": 1}))


def test_only_plain_things_are_written() -> None:
    with pytest.raises(TypeError, match="cannot write a object"):
        encode({"x": object()})


def test_json_has_no_nan() -> None:
    assert jsonable({"x": np.array([1.0, math.inf]), "y": math.nan, 3: np.float32(2)}) == {
        "x": [1.0, None],
        "y": None,
        "3": 2.0,
    }
