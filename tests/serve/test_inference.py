"""The foundation forecaster behind the Open Inference Protocol, asked by Triton's own client: what it answers is to the
last bit what `Foundation.forecast` says in this process."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import served
from service import ask, ready, serving

from gemel.core.artifact import Shelf
from gemel.core.foundation import SHIPPED, load
from gemel.core.values import DECILES, GOOD, Floats, Frame
from gemel.forecasters.conformal import Conformal
from gemel.forecasters.foundation.forecaster import Foundation
from gemel.forecasters.foundation.head import Head, lags, regressors
from gemel.serve.inference.app import Inference
from gemel.serve.inference.foundation import ZeroShot, models
from gemel.trust.access import Keys

triton: Any = pytest.importorskip("tritonclient.http")
pytestmark = pytest.mark.skipif(not (SHIPPED / "foundation.json").exists(), reason="no weights are shipped")
HOUR = 3600 * 10**9
PATH = "/v2/models/foundation/infer"


def walks(b: int, t: int, seed: int = 0) -> Floats:
    """Series [b, t] with a day of 24 rows and gaps."""
    rng = np.random.default_rng(seed)
    y = np.cumsum(rng.normal(size=(b, t)), axis=1) + 5 * np.sin(np.arange(t) / 24 * 2 * np.pi)
    y[rng.random(y.shape) < 0.03] = np.nan
    return y


def here(y: Floats, horizon: int, way: str = "best", levels: tuple[float, ...] = DECILES) -> Any:
    time = HOUR * np.arange(y.shape[1], dtype=np.int64)
    frame = Frame(time, y.T, np.full(y.T.shape, GOOD, np.uint8), tuple(map(str, range(len(y)))))
    return Foundation(way).forecast(frame, horizon, levels=levels).values


def tensor(name: str, array: Any, binary: bool = True) -> Any:
    array = np.asarray(array)
    kind = {"f8": "FP64", "f4": "FP32", "i8": "INT64"}[array.dtype.str[1:]]
    return triton.InferInput(name, array.shape, kind).set_data_from_numpy(array, binary_data=binary)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with serving(Inference([ZeroShot()])) as address:
        client = triton.InferenceServerClient(address, concurrency=64)
        while not client.is_server_ready():
            assert client.is_server_live()
        yield client
        client.close()


@pytest.mark.server
@pytest.mark.parametrize("way", ["fast", "best"])
@pytest.mark.parametrize("binary", [True, False])
def test_answers_are_those_of_this_process(client: Any, way: str, binary: bool) -> None:
    y = walks(3, 300)
    output = triton.InferRequestedOutput("quantiles", binary_data=binary)
    for packed in (None, "gzip", "deflate"):
        answer = client.infer(
            "foundation",
            [tensor("history", y, binary), tensor("horizon", [70], binary)],
            outputs=[output],
            parameters={"way": way},
            request_compression_algorithm=packed,
        )
        found = answer.as_numpy("quantiles")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, here(y, 70, way))


@pytest.mark.server
def test_float32_levels_and_what_is_left_out(client: Any) -> None:
    y = walks(2, 100).astype(np.float32)
    answer = client.infer("foundation", [tensor("history", y), tensor("levels", [0.05, 0.5])])
    np.testing.assert_array_equal(answer.as_numpy("quantiles"), here(y.astype(np.float64), 64, "best", (0.05, 0.5)))


@pytest.mark.server
@pytest.mark.parametrize(("callers", "way"), [(64, "fast"), (16, "best")])
def test_callers_at_once(client: Any, callers: int, way: str) -> None:
    """Histories of many lengths, some constant or nearly empty: no answer depends on its neighbours."""
    from gevent.pool import Pool

    lengths = np.random.default_rng(1).integers(1, 700, callers)
    series = [walks(1, int(t), seed) for seed, t in enumerate(lengths)]
    series[0][:] = 7.0
    series[1][:, :-2] = np.nan
    series[2] = np.sin(np.arange(705) / 96 * 2 * np.pi)[None]  # a season of a slower rate, too short for that rate

    def infer(y: Floats) -> Any:
        inputs = [tensor("history", y), tensor("horizon", [33])]
        return client.infer("foundation", inputs, parameters={"way": way}).as_numpy("quantiles")

    before = calls(client)
    for y, found in zip(series, Pool(callers).map(infer, series), strict=True):
        np.testing.assert_array_equal(found, here(y, 33, way))
    assert calls(client) - before < callers / 2


def calls(client: Any) -> float:
    text = client._client_stub.get("/v2/metrics").read().decode()
    rows = [line for line in text.splitlines() if line.startswith("gemel_inference_calls_total")]
    return float(rows[0].split()[1]) if rows else 0.0


@pytest.mark.server
def test_what_it_says_of_itself(client: Any) -> None:
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    said = client.get_model_metadata("foundation")
    assert [i["name"] for i in said["inputs"]] == ["history", "horizon", "levels"]
    (version,) = said["versions"]
    graph = load()
    assert graph.artifact is not None
    assert version == graph.artifact.version
    assert client.is_model_ready("foundation", version)
    assert not client.is_model_ready("foundation", "1")
    assert client.get_model_repository_index()[0]["state"] == "READY"
    with pytest.raises(triton.InferenceServerException, match="did you mean 'foundation'"):
        client.infer("fundation", [])
    with pytest.raises(triton.InferenceServerException, match="missing input: history"):
        client.infer("foundation", [])


@pytest.mark.server
def test_the_server_of_twins_answers_the_same(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "gemel.keys")
    thinker, reader = (
        {"Authorization": f"Bearer {keys.new(scope, [scope], ['shed'])}"} for scope in ("simulate", "read")
    )
    y = walks(2, 200)
    with served(tmp_path, keys) as held:
        client = triton.InferenceServerClient(held.url.removeprefix("http://"))
        for binary in (True, False):  # the first waits for the network; the client writes into `headers`
            asked = [tensor("history", y, binary), tensor("horizon", [24], binary)]
            answer = client.infer("foundation", asked, parameters={"way": "fast"}, headers={**thinker})
            np.testing.assert_array_equal(answer.as_numpy("quantiles"), here(y, 24, "fast"))
        large = np.zeros((1, 500_000))  # 4 MB: more than other routes take
        client.infer("foundation", [tensor("history", large)], parameters={"way": "fast"}, headers={**thinker})
        assert client.is_server_ready()
        assert client.get_model_metadata("foundation", headers=reader)["name"] == "foundation"
        for headers in (reader, {}):
            with pytest.raises(triton.InferenceServerException, match=r"not good for that|a key is needed"):
                client.infer("foundation", asked, headers={**headers})
        client.close()
        with held.client(keys.new("eye")) as http:
            counts = [line for line in http.get("/v1/metrics").text.splitlines() if "inference_requests_total{" in line]
            assert counts == ['gemel_inference_requests_total{model="foundation",status="200"} 3']


@pytest.mark.parametrize(
    ("more", "shape", "text"),
    [
        ({"horizon": [0]}, [1, 20], "a horizon of 0 steps is not ahead"),
        ({"horizon": [5000]}, [1, 20], "at most 4096 steps"),
        ({"horizon": [1000]}, [40, 5], "send them as several requests"),
        ({"levels": [0.5, 0.1]}, [1, 20], "do not rise"),
        ({"levels": []}, [1, 20], "do not rise"),
        ({"way": "quick"}, [1, 20], 'write "best" or "fast"'),
        ({"wy": "fast"}, [1, 20], "did you mean 'way'?"),
        ({}, [1, 0], "no rows"),
        ({}, [0, 5], "no series"),
        ({}, [300, 2], "send them as several requests"),
    ],
)
def test_requests_that_make_no_sense(more: dict[str, Any], shape: list[int], text: str) -> None:
    kinds = {"horizon": "INT64", "levels": "FP64"}
    inputs = [{"name": "history", "shape": shape, "datatype": "FP32", "data": [1] * (shape[0] * shape[1])}]
    inputs += [{"name": k, "shape": [len(v)], "datatype": kinds[k], "data": v} for k, v in more.items() if k in kinds]
    parameters = {k: v for k, v in more.items() if k not in kinds}

    async def story() -> None:
        service = await ready(Inference([ZeroShot()]))
        status, _, answer = await ask(service, PATH, {"inputs": inputs, "parameters": parameters})
        service.close()
        assert (status, text in answer["error"]) == (400, True), answer

    asyncio.run(story())


def test_weights_that_were_changed_are_not_served(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "weights")
    with open(tmp_path / "weights" / "foundation.int8.onnx", "ab") as file:
        file.write(b"x")

    async def story() -> None:
        service = await ready(Inference([ZeroShot(), ZeroShot("mine", str(tmp_path / "weights"))]))
        assert (await ask(service, "/v2/health/ready"))[0] == 503
        assert (await ask(service, "/v2/models/foundation/ready"))[0] == 200
        status, _, answer = await ask(service, "/v2/models/mine")
        assert (status, "is not the file its card names" in answer["error"]) == (503, True)
        service.close()

    asyncio.run(story())


def head() -> Head:
    """A head of random weights for two signals, up to 12 hours ahead."""
    rng, graph, step, horizon = np.random.default_rng(0), load("", True), HOUR, 12
    x = np.zeros((lags(step), 2), np.float32)
    d = graph.features(*np.zeros((2, 1, 1, 1, 32), np.float32), np.array([0]))[1].shape[-1]
    given, _ = regressors(x, np.array([len(x)]), np.array([0]), step, np.zeros((1, 2, d), np.float32))
    own, all = (given[0].shape[2], given[0].shape[2] + given[1].shape[1])
    weights = [0.01 * rng.standard_normal((2, f, horizon), np.float32) for f in (own, all)]
    offsets = np.sort(rng.standard_normal((2, 4, 9)), axis=2)
    return Head(
        ("flow", "level"), step, horizon, graph.digest, np.ones(2), np.ones(2), *weights, np.full(2, 0.5),
        np.ones((2, horizon)), offsets,
    )  # fmt: skip


def test_a_promoted_head_is_a_model(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "pipe.artifacts")
    versions = [shelf.add("head", {"head.npz": head().pack()}, {"n": n}).version for n in range(2)]
    part = Foundation("fast", head="pipe.artifacts")
    twins = {"pipe": (Conformal(part), tmp_path)}
    assert [m.name for m in models(twins)] == ["foundation"]
    shelf.promote("head", versions[0])

    y = walks(2, 400).T
    end = 400_000 * HOUR
    frame = Frame(end + HOUR * np.arange(-399, 1), y, np.full(y.shape, GOOD, np.uint8), ("flow", "level"))
    mine = Foundation("fast", head=str(tmp_path / "pipe.artifacts")).forecast(frame, 12).values
    assert not np.array_equal(mine, Foundation("fast").forecast(frame, 12).values)
    inputs = [
        {"name": "history", "shape": [400, 2], "datatype": "FP64", "data": [None if v != v else v for v in y.ravel()]},
        {"name": "end", "shape": [1], "datatype": "INT64", "data": [end]},
    ]

    async def story() -> None:
        service = await ready(Inference(models(twins)))
        assert (await ask(service, "/v2/models/pipe.head"))[2]["inputs"][0]["shape"] == [-1, 2]
        status, _, answer = await ask(service, "/v2/models/pipe.head/infer", {"inputs": inputs})
        assert (status, answer["model_version"]) == (200, versions[0])
        np.testing.assert_array_equal(np.array(answer["outputs"][0]["data"], np.float32), mine.ravel())
        for wrong in ({"way": "best"}, {"x": 1}):
            assert (await ask(service, "/v2/models/pipe.head/infer", {"inputs": inputs, "parameters": wrong}))[0] == 400
        long = [*inputs, {"name": "horizon", "shape": [1], "datatype": "INT64", "data": [13]}]
        assert "reaches 12 steps" in (await ask(service, "/v2/models/pipe.head/infer", {"inputs": long}))[2]["error"]
        shelf.promote("head", versions[1])  # while it runs
        assert (await ask(service, "/v2/models/pipe.head/infer", {"inputs": inputs}))[2]["model_version"] == versions[1]
        other = shelf.add("head", {"head.npz": replace(head(), network="other").pack()}, {})
        shelf.promote("head", other.version)
        answer = (await ask(service, "/v2/models/pipe.head/infer", {"inputs": inputs}))[2]
        assert "was fitted to another network" in answer["error"]
        for _ in range(3):
            shelf.back("head")
        assert (await ask(service, "/v2/models/pipe.head/ready"))[0] == 503
        assert (await ask(service, "/v2/models/pipe.head/infer", {"inputs": inputs}))[0] == 503
        service.close()

    asyncio.run(story())
