"""The protocol alone, with a model that gives back what it is sent."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from service import ask, ready

from gemel.serve.inference.app import Inference
from gemel.serve.inference.model import Work
from gemel.serve.inference.tensors import DTYPES, Array, Port, from_bytes, from_json, to_bytes, to_json
from gemel.serve.inference.wire import HEADER

KINDS = tuple(DTYPES)


class Echo:
    """Gives back `x`."""

    name, version, platform = "echo", "1", "test"
    inputs = (
        Port("x", "FP64", (-1, -1), accepts=KINDS),
        Port("y", "INT64", (1,), optional=True),
    )
    outputs = (Port("x", "FP64", (-1, -1)), Port("y", "INT64", (1,)))

    def load(self) -> None:
        pass

    def read(self, inputs: Mapping[str, Array], parameters: Mapping[str, Any]) -> Work:
        return Work(object(), 1, {"y": np.zeros(1, np.int64), **inputs})

    def infer(self, works: Sequence[Work]) -> list[dict[str, Array]]:
        return [dict(w.asked) for w in works]


def asked(body: bytes | Mapping[str, Any], path: str = "/v2/models/echo/infer", **more: Any) -> tuple[int, Any, Any]:
    async def whole() -> tuple[int, Any, Any]:
        return await ask(await ready(Inference([Echo()], body=4096)), path, body, **more)

    return asyncio.run(whole())


def elements(kind: str) -> st.SearchStrategy[Array]:
    if kind == "BYTES":
        return st.lists(st.binary(max_size=5), min_size=1, max_size=6).map(
            lambda held: np.array([*held, b"\0"], object)
        )
    return arrays(np.dtype(DTYPES[kind]), array_shapes(min_dims=2, max_dims=2, max_side=4))


@pytest.mark.parametrize("kind", KINDS)
@given(draw=st.data())
@settings(max_examples=20, deadline=None)
def test_bytes_there_and_back(kind: str, draw: st.DataObject) -> None:
    x = draw.draw(elements(kind))
    back = from_bytes(kind, x.shape, memoryview(to_bytes(x)), "x")
    assert back.dtype == x.dtype
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("FP16", "BYTES")])
@given(draw=st.data())
@settings(max_examples=20, deadline=None)
def test_json_there_and_back(kind: str, draw: st.DataObject) -> None:
    x = draw.draw(elements(kind))
    x = np.where(np.isfinite(x), x, np.nan).astype(x.dtype) if kind.startswith("FP") else x
    text = json.dumps([None if v != v else v for v in to_json(x)])
    np.testing.assert_array_equal(from_json(kind, x.shape, json.loads(text), "x"), x)


def test_bytes_are_those_of_the_standard() -> None:
    assert to_bytes(np.array([1.0], np.float32)) == b"\0\0\x80\x3f"
    assert to_bytes(np.array([1], ">i4")) == b"\1\0\0\0"
    assert to_bytes(np.array([True, False])) == b"\1\0"
    assert to_bytes(np.array([b"ab", b""], object)) == b"\2\0\0\0ab\0\0\0\0"
    assert from_bytes("BOOL", [2], memoryview(b"\2\0"), "x").tolist() == [True, False]


def tensor(**more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2], **more}]}


def test_json_in_and_out() -> None:
    status, headers, answer = asked({"id": "7", **tensor(data=[[1.5, None]])})
    assert (status, headers["content-type"]) == (200, "application/json")
    assert answer["outputs"][1] == {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1.5, None]}
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("7", "echo", "1")
    body = json.dumps(tensor(data=[1.5, float("nan")])).encode()  # no JSON, but clients write it
    assert asked(body)[2]["outputs"][1]["data"] == [1.5, None]


def test_bytes_follow_in_the_order_of_the_inputs() -> None:
    x, y = np.array([[3.0, np.nan]]), np.array([9])
    inputs = [
        {"name": "y", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}},
        {"name": "x", "shape": [1, 2], "datatype": "FP64", "parameters": {"binary_data_size": 16}},
    ]
    outputs = [{"name": "x", "parameters": {"binary_data": True}}, {"name": "y"}]
    head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    for chunk in (7, 2**16):
        status, headers, answer = asked(head + y.tobytes() + x.tobytes(), headers={HEADER: str(len(head))}, chunk=chunk)
        assert (status, headers["content-type"]) == (200, "application/octet-stream")
        said = json.loads(answer[: int(headers[HEADER])])
        assert [o["name"] for o in said["outputs"]] == ["x", "y"]
        assert said["outputs"][0]["parameters"] == {"binary_data_size": 16}
        assert said["outputs"][1]["data"] == [9]
        assert answer[int(headers[HEADER]) :] == x.tobytes()


def test_a_default_for_all_outputs() -> None:
    _, headers, answer = asked({**tensor(), "parameters": {"binary_data_output": True}})
    assert answer[int(headers[HEADER]) :] == b"\0" * 8 + np.array([1.0, 2.0]).tobytes()
    only = [{"name": "x", "parameters": {"binary_data": False}}]
    answer = asked({**tensor(), "parameters": {"binary_data_output": True}, "outputs": only})[2]
    assert answer["outputs"] == [{"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1.0, 2.0]}]


WRONG: dict[str, tuple[Any, str]] = {
    "no JSON": (b"{", "not JSON"),
    "deep": (b'{"inputs": [{"name": "x", "data": ' + b"[" * 3000, "the body is not JSON"),
    "a list": ([], "not as the protocol says"),
    "no inputs": ({}, "not as the protocol says"),
    "missing": ({"inputs": []}, "missing input: x"),
    "unknown input": ({"inputs": [{"name": "z", "shape": [], "datatype": "FP64"}]}, "unknown input 'z'"),
    "twice": ({"inputs": tensor()["inputs"] * 2}, "comes twice"),
    "datatype": (tensor(datatype="FLOAT"), "is FLOAT"),
    "no datatype": (tensor(datatype=""), "of no datatype"),
    "shape": (tensor(shape=[2]), r"has shape [2]"),
    "negative": (tensor(shape=[-1, -2]), "has shape [-1, -2]"),
    "endless": (tensor(shape=[2**70, 0]), "has shape"),
    "too few": (tensor(shape=[1, 3]), "2 elements for shape [1, 3]"),
    "text": (tensor(data=[1, "2"]), "str among elements of FP64"),
    "a float for an int": (tensor(datatype="INT32", data=[1, 2.5]), "float among elements of INT32"),
    "too large": (tensor(datatype="UINT8", data=[1, 256]), "out of the range of UINT8"),
    "uneven": (tensor(data=[[1], 2]), "unevenly"),
    "no data": (tensor(data=None), "data is no list"),
    "half in JSON": (tensor(datatype="FP16"), "FP16 has no JSON form"),
    "size without bytes": (tensor(data=None, parameters={"binary_data_size": 16}), "does not fit the body"),
    "size and data": (tensor(parameters={"binary_data_size": 0}), "does not fit the body"),
    "size is text": (tensor(data=None, parameters={"binary_data_size": "0"}), "does not fit the body"),
    "shared memory": (tensor(parameters={"shared_memory_region": "a"}), "no extension for shared_memory_region"),
    "unknown output": ({**tensor(), "outputs": [{"name": "z"}]}, "unknown output 'z'"),
    "flag": ({**tensor(), "parameters": {"binary_data_output": 1}}, "binary_data_output is 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case: str) -> None:
    body, text = WRONG[case]
    status, headers, answer = asked(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert status == 400
    assert headers["content-type"] == "application/json"
    assert text in answer["error"]


@pytest.mark.parametrize(
    ("header", "tail"), [("99999", b""), ("-1", b""), ("x", b""), ("9" * 5000, b""), ("", b"more")]
)
def test_lengths_that_do_not_fit(header: str, tail: bytes) -> None:
    head = json.dumps(tensor()).encode()
    assert asked(head + tail, headers={HEADER: header} if header else {})[0] == 400
    assert asked(head + b"more", headers={HEADER: str(len(head))})[2]["error"].startswith("4 bytes belong to no input")


@given(
    body=st.binary(max_size=200) | st.text(alphabet='{}[]":,1x' + "inputs").map(str.encode),
    length=st.text("0129", max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_no_body_breaks_it(body: bytes, length: str) -> None:
    async def whole() -> int:
        service = await ready(Inference([Echo()]))
        status, _, answer = await ask(service, "/v2/models/echo/infer", body, method="POST", headers={HEADER: length})
        assert answer["error"]
        service.close()
        return status

    assert asyncio.run(whole()) == 400


def test_packed_bodies() -> None:
    body = json.dumps(tensor()).encode()
    for name, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        assert asked(pack(body), headers={"content-encoding": name})[0] == 200
        bomb = asked(pack(b" " * 10**6), headers={"content-encoding": name})
        assert bomb[0] == 413
        assert "unpacks to more than 4096 bytes" in bomb[2]["error"]
        assert asked(pack(body)[:-5], headers={"content-encoding": name})[0] == 400
        assert asked(pack(body) + b"x", headers={"content-encoding": name})[0] == 400
        assert asked(body, headers={"content-encoding": name})[0] == 400
    assert asked(body, headers={"content-encoding": "br"})[0] == 415


def test_bodies_have_an_end() -> None:
    assert asked(b" " * 5000, chunk=100)[0] == 413
    assert asked(b"{}", headers={"content-length": "5000"})[0] == 413  # before it is read


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/v2", "GET", 200),
        ("/v2/", "GET", 200),
        ("/v2/health/live", "GET", 200),
        ("/v2/health/ready", "GET", 200),
        ("/v2/models/echo", "GET", 200),
        ("/v2/models/echo/ready", "GET", 200),
        ("/v2/models/echo/versions/1", "GET", 200),
        ("/v2/models/echo/versions/1/ready", "GET", 200),
        ("/v2/models/echo/versions/2", "GET", 404),
        ("/v2/models/ech", "GET", 404),
        ("/v2/nothing", "GET", 404),
        ("/v2/health/live", "POST", 405),
        ("/v2/models/echo/infer", "GET", 405),
        ("/v2/metrics", "GET", 200),
    ],
)
def test_paths(path: str, method: str, status: int) -> None:
    assert asked(b"", path, method=method)[0] == status
    assert asked(b"", path, method=method, root="/proxy")[0] == status


def test_what_it_says_of_itself() -> None:
    assert asked(b"", "/v2")[2]["extensions"] == ["binary_tensor_data"]
    said = asked(b"", "/v2/models/echo")[2]
    assert said["versions"] == ["1"]
    assert said["inputs"][1] == {"name": "y", "datatype": "INT64", "shape": [1], "parameters": {"optional": True}}
    assert "did you mean 'echo'?" in asked(b"", "/v2/models/ech")[2]["error"]
    assert asked(b"", "/v2/models/echo/infer", method="GET")[1]["allow"] == "POST"
