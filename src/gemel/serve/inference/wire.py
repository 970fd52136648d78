"""Requests and answers of the Open Inference Protocol: JSON, or JSON and then the bytes of tensors.

Source: Open Inference Protocol, version 2, and its binary tensor data extension.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gemel.core.errors import GemelError, InputError
from gemel.serve.inference.tensors import Array, Port, datatype, from_bytes, from_json, to_bytes, to_json

HEADER = "inference-header-content-length"
"""The HTTP header that says where the JSON ends and the bytes begin."""
_ELSEWHERE = ("shared_memory_region", "classification")
"""Parameters of extensions we do not have, and which change the meaning of a tensor."""


class Refused(GemelError):
    """An answer that is not 200: the status, and what else its headers say."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class _Tensor(msgspec.Struct):
    name: str
    datatype: str = ""
    shape: list[int] = []
    parameters: dict[str, Any] = {}
    data: Any = None


class _Request(msgspec.Struct):
    inputs: list[_Tensor]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[_Tensor] = []


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller asks: tensors by name, parameters, and for each output that is wanted whether as bytes."""

    inputs: Mapping[str, Array]
    parameters: Mapping[str, Any]
    id: str = ""
    outputs: Mapping[str, bool] = field(default_factory=dict)
    binary: bool = False
    """For all outputs, where `outputs` names none."""


def unpacked(body: bytes, encoding: str, most: int) -> bytes:
    """A body less its gzip or deflate, of at most `most` bytes; raises `Refused`."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise Refused(415, f"unknown Content-Encoding '{encoding}': send gzip, deflate or neither")
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: zlib or gzip, whichever it is
    try:
        out = stream.decompress(body, most + 1)
    except zlib.error:
        raise Refused(400, f"the body is not {encoding}") from None
    if len(out) > most:
        raise Refused(413, f"the body unpacks to more than {most} bytes: send fewer series at once")
    if not stream.eof or stream.unused_data:
        raise Refused(400, f"the body is cut short, or more than one {encoding} stream")
    return out


def read(body: bytes, header: str, ports: Sequence[Port], outputs: Sequence[Port]) -> Request:
    """The request in a body whose JSON part is `header` bytes long (all of it when empty); raises `InputError`."""
    end = int(header) if re.fullmatch(r"[0-9]{1,12}", header) else -1 if header else len(body)
    if not 0 <= end <= len(body):
        raise InputError(f"{HEADER} '{header}' is no length within the body", "count the bytes of the JSON part")
    held = _decoded(body[:end])
    inputs = _inputs(held.inputs, memoryview(body)[end:], {p.name: p for p in ports})
    binary = _flag(held.parameters, "binary_data_output", False)
    wanted: dict[str, bool] = {}
    for tensor in held.outputs:
        if tensor.name not in {p.name for p in outputs}:
            raise InputError(f"unknown output '{tensor.name}'", f"known: {', '.join(p.name for p in outputs)}")
        _ours(tensor)
        wanted[tensor.name] = _flag(tensor.parameters, "binary_data", binary)
    parameters = {k: v for k, v in held.parameters.items() if k != "binary_data_output"}
    return Request(inputs, parameters, held.id, wanted, binary)


def written(model: str, version: str, request: Request, outputs: Mapping[str, Array]) -> tuple[dict[str, str], bytes]:
    """Headers and body of the answer."""
    wanted = request.outputs or dict.fromkeys(outputs, request.binary)
    tensors, tail = [], []
    for name, binary in wanted.items():
        array = outputs[name]
        tensor: dict[str, Any] = {"name": name, "datatype": datatype(array), "shape": list(array.shape)}
        if binary:
            tail.append(to_bytes(array))
            tensor["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            tensor["data"] = to_json(array)
        tensors.append(tensor)
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": tensors}
    if request.id:
        answer["id"] = request.id
    head = msgspec.json.encode(answer)
    if not tail:
        return {"content-type": "application/json"}, head
    return {"content-type": "application/octet-stream", HEADER: str(len(head))}, b"".join((head, *tail))


def _decoded(text: bytes) -> _Request:
    try:
        return msgspec.json.decode(text, type=_Request)
    except msgspec.ValidationError as error:
        raise InputError(f"the request is not as the protocol says: {error}", "see docs/inference.md") from None
    except (msgspec.DecodeError, RecursionError):
        pass
    try:  # slower, but it also knows NaN and Infinity, which some clients write
        return msgspec.convert(json.loads(text), _Request)
    except msgspec.ValidationError as error:
        raise InputError(f"the request is not as the protocol says: {error}", "see docs/inference.md") from None
    except (ValueError, RecursionError) as error:
        hint = f"with binary data {HEADER} must say where the JSON ends"
        raise InputError(f"the body is not JSON: {error}", hint) from None


def _inputs(tensors: Sequence[_Tensor], tail: memoryview, ports: Mapping[str, Port]) -> dict[str, Array]:
    """Arrays by name; the bytes of binary ones follow each other in the order of the tensors."""
    found: dict[str, Array] = {}
    at = 0
    for tensor in tensors:
        where = f"input '{tensor.name}'"
        if tensor.name not in ports:
            raise InputError(f"unknown {where}", f"known: {', '.join(ports)}")
        if tensor.name in found:
            raise InputError(f"{where} comes twice", "send it once")
        ports[tensor.name].check(tensor.datatype, tensor.shape)
        _ours(tensor)
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            found[tensor.name] = from_json(tensor.datatype, tensor.shape, tensor.data, where)
        else:
            if type(size) is not int or not 0 <= size <= len(tail) - at or tensor.data is not None:
                raise InputError(f"{where}: binary_data_size {size!r} does not fit the body", "count its bytes")
            found[tensor.name] = from_bytes(tensor.datatype, tensor.shape, tail[at : at + size], where)
            at += size
    if at != len(tail):
        raise InputError(f"{len(tail) - at} bytes belong to no input", "give each its binary_data_size")
    missing = [p.name for p in ports.values() if not p.optional and p.name not in found]
    if missing:
        raise InputError(f"missing input: {', '.join(missing)}", f"known: {', '.join(ports)}")
    return found


def _ours(tensor: _Tensor) -> None:
    if others := [key for key in _ELSEWHERE if key in tensor.parameters]:
        raise InputError(f"'{tensor.name}': no extension for {', '.join(others)}", "send the tensor in the body")


def _flag(parameters: Mapping[str, Any], key: str, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise InputError(f"parameter {key} is {value!r}", "write true or false")
    return value
