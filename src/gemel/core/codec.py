"""Values to bytes and back, for the journal and the local socket; and values to plain JSON for people.

Bytes are msgpack: a value is a map whose key "!" names its class, an array an extension with dtype and shape.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from gemel.core import explain, life, values
from gemel.core.errors import StoreError

_CLASSES: dict[str, type[Any]] = {
    cls.__name__.lower(): cls
    for cls in (
        explain.Change,
        explain.Explanation,
        explain.Rule,
        explain.Sentence,
        life.Action,
        life.Life,
        values.Ack,
        values.Asset,
        values.Batch,
        values.Belief,
        values.Command,
        values.Decision,
        values.Event,
        values.Finding,
        values.Forecast,
        values.Frame,
        values.Signal,
        values.Snapshot,
    )
}
_ARRAY = 1


def kind(value: object) -> str:
    """The journal's word for a value: `belief`, `forecast`, `finding`, ..."""
    return type(value).__name__.lower()


def encode(value: Any) -> bytes:
    """A value, or plain data with values and arrays in it, as bytes."""
    return msgspec.msgpack.encode(_plain(value), enc_hook=_pack)


def decode(data: bytes) -> Any:
    """What `encode` was given; lists come back as tuples."""
    return _value(msgspec.msgpack.decode(data, ext_hook=_unpack))


def _plain(thing: Any) -> Any:
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        held = {f.name: _plain(getattr(thing, f.name)) for f in dataclasses.fields(thing)}
        return {"!": kind(thing), **held}
    if isinstance(thing, Mapping):
        return {str(k): _plain(v) for k, v in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(v) for v in thing]
    return thing


def _value(thing: Any) -> Any:
    if isinstance(thing, dict):
        fields = {k: _value(v) for k, v in thing.items() if k != "!"}
        if "!" not in thing:
            return fields
        try:
            return _CLASSES[thing["!"]](**fields)
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"a journal entry of kind '{thing['!']}' is not one this version of Gemel reads",
                "open the file with the version that wrote it",
            ) from error
    if isinstance(thing, list):
        return tuple(_value(v) for v in thing)
    return thing


def _pack(thing: Any) -> Any:
    if isinstance(thing, np.ndarray):
        head = msgspec.msgpack.encode((thing.dtype.str, thing.shape))
        return msgspec.msgpack.Ext(_ARRAY, bytes([len(head)]) + head + np.ascontiguousarray(thing).tobytes())
    if isinstance(thing, np.generic):
        return thing.item()
    raise TypeError(f"cannot write a {type(thing).__name__} to the journal")


def _unpack(code: int, data: memoryview) -> Any:
    if code != _ARRAY:
        raise StoreError(f"unknown extension {code} in the journal")
    size = data[0]
    dtype, shape = msgspec.msgpack.decode(data[1 : 1 + size])
    return np.frombuffer(data[1 + size :], np.dtype(dtype)).reshape(shape).copy()


def jsonable(thing: Any) -> Any:
    """Plain JSON types: arrays as lists, NaN and infinities as null, values as objects."""
    if isinstance(thing, np.ndarray):
        return jsonable(thing.tolist())
    if isinstance(thing, np.generic):
        return jsonable(thing.item())
    if isinstance(thing, float):
        return thing if math.isfinite(thing) else None
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return {f.name: jsonable(getattr(thing, f.name)) for f in dataclasses.fields(thing)}
    if isinstance(thing, Mapping):
        return {str(k): jsonable(v) for k, v in thing.items()}
    if isinstance(thing, list | tuple):
        return [jsonable(v) for v in thing]
    return thing
