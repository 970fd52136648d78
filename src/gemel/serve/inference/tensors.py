"""Tensors of the Open Inference Protocol, as JSON or as bytes, to and from NumPy.

Bytes are little-endian and row-major, BOOL takes one byte, and an element of BYTES follows its length in four bytes:
the binary tensor data extension. In JSON the elements stand in a list, nested or flat, and `null` (also `NaN`, which
some clients write) is a missing float.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from gemel.core.errors import InputError, nearest

Array = npt.NDArray[Any]

DTYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BYTES": "O",
}
"""The protocol's name of a type -> NumPy's. An array of BYTES holds `bytes`."""
_NAMES = {np.dtype(d).newbyteorder("=").str[1:]: name for name, d in DTYPES.items()}
_PLAIN: dict[str, set[type]] = {"b": {bool}, "u": {int}, "i": {int}, "f": {float, int, type(None)}, "O": {str}}
_DEEPEST = 16
_LONGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Port:
    """What a model takes or gives under a name; -1 in the shape is any length.

    `accepts` are further datatypes that are taken as well.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False
    accepts: tuple[str, ...] = ()

    def check(self, datatype: str, shape: Sequence[int]) -> None:
        """Raises `InputError` when such a tensor does not fit."""
        known = (self.datatype, *self.accepts)
        if datatype not in known:
            raise InputError(f"input '{self.name}' is {datatype or 'of no datatype'}", f"send {' or '.join(known)}")
        fits = len(self.shape) == len(shape) and all(w in (-1, n) for w, n in zip(self.shape, shape, strict=True))
        if not fits or not all(0 <= n <= _LONGEST for n in shape):
            raise InputError(f"input '{self.name}' has shape {list(shape)}, not {list(self.shape)}", "-1 is any length")


def datatype(array: Array) -> str:
    """The protocol's name for the type of an array."""
    return _NAMES[array.dtype.newbyteorder("=").str[1:]]


def dtype(name: str, where: str) -> np.dtype[Any]:
    """NumPy's type for the protocol's name; raises `InputError` for one there is not."""
    if name not in DTYPES:
        raise InputError(f"{where}: unknown datatype '{name}'{nearest(name, DTYPES)}", f"known: {', '.join(DTYPES)}")
    return np.dtype(DTYPES[name])


def from_bytes(name: str, shape: Sequence[int], raw: memoryview, where: str) -> Array:
    """An array of what the bytes say, without a copy where the type allows."""
    kind, count = dtype(name, where), math.prod(shape)
    if name == "BYTES":
        return _strings(raw, count, where).reshape(shape)
    if len(raw) != count * kind.itemsize:
        raise InputError(f"{where}: {len(raw)} bytes for {count} elements of {name}", f"send {count * kind.itemsize}")
    if name == "BOOL":  # any byte but zero is true
        return (np.frombuffer(raw, np.uint8) != 0).reshape(shape)
    return np.frombuffer(raw, kind).reshape(shape)


def from_json(name: str, shape: Sequence[int], elements: Any, where: str) -> Array:
    """An array of the elements of a list, nested or flat."""
    kind = dtype(name, where)
    if name == "FP16":
        raise InputError(f"{where}: FP16 has no JSON form", "send FP32, or FP16 as binary data")
    flat = _flat(elements, where)
    if len(flat) != math.prod(shape):
        raise InputError(f"{where}: {len(flat)} elements for shape {list(shape)}", f"send {math.prod(shape)}")
    if wrong := set(map(type, flat)) - _PLAIN[kind.kind]:
        names = ", ".join(sorted(t.__name__ for t in wrong))
        raise InputError(f"{where}: {names} among elements of {name}", "send what the datatype says")
    if name == "BYTES":
        return _objects([text.encode() for text in flat]).reshape(shape)
    try:
        return np.array(flat, kind).reshape(shape)
    except OverflowError:
        raise InputError(f"{where}: an element is out of the range of {name}", "choose a wider datatype") from None


def to_bytes(array: Array) -> bytes:
    """The elements as the protocol's bytes."""
    if array.dtype == object:
        return b"".join(struct.pack("<I", len(held)) + held for held in array.ravel())
    return np.ascontiguousarray(array, DTYPES[datatype(array)]).tobytes()


def to_json(array: Array) -> list[Any]:
    """The elements as a flat list; a missing float is `None`, and BYTES must be UTF-8."""
    if array.dtype == object:
        return [held.decode("utf-8", "replace") for held in array.ravel()]
    flat: list[Any] = array.ravel().tolist()
    return flat


def _flat(elements: Any, where: str) -> list[Any]:
    if not isinstance(elements, list):
        raise InputError(f"{where}: data is no list", "send the elements as a list, or as binary data")
    for _ in range(_DEEPEST):
        kinds = set(map(type, elements))
        if list not in kinds:
            return elements
        if kinds != {list}:
            break
        elements = list(chain.from_iterable(elements))
    raise InputError(f"{where}: data is nested unevenly or too deep", "send the elements as a flat list")


def _strings(raw: memoryview, count: int, where: str) -> Array:
    found: list[bytes] = []
    at = 0
    while at + 4 <= len(raw) and len(found) < count:
        (size,) = struct.unpack_from("<I", raw, at)
        found.append(bytes(raw[at + 4 : at + 4 + size]))
        at += 4 + size
    if at != len(raw) or len(found) != count:
        raise InputError(
            f"{where}: the bytes do not hold {count} elements of BYTES", "put each after its length in 4 bytes"
        )
    return _objects(found)


def _objects(held: Sequence[bytes]) -> Array:
    out = np.empty(len(held), object)
    out[:] = held
    return out
