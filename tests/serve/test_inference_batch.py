"""Who waits together is answered together, nobody waits in vain, and nobody's trouble is another's."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from service import ask, ready

from gemel.core.errors import PartError
from gemel.serve.inference.app import Inference
from gemel.serve.inference.model import Work
from gemel.serve.inference.tensors import Array, Port


class Doubling:
    """Doubles `x`, may be held up, and fails when a -1 is among what it is asked."""

    platform = "test"
    inputs = (Port("x", "INT64", (-1,)),)
    outputs = (Port("x", "INT64", (-1,)),)

    def __init__(self, name: str = "doubling", version: str = "1", broken: str = "") -> None:
        self.name, self.version, self.broken = name, version, broken
        self.calls: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def load(self) -> None:
        if self.broken:
            raise PartError(self.broken)

    def read(self, inputs: Mapping[str, Array], parameters: Mapping[str, Any]) -> Work:
        return Work(parameters.get("key"), len(inputs["x"]), inputs["x"])

    def infer(self, works: Sequence[Work]) -> list[dict[str, Array]]:
        assert self.go.wait(10)
        x = np.concatenate([w.asked for w in works])
        if (x == -1).any():
            raise ZeroDivisionError("secret")
        self.calls.append([w.rows for w in works])
        return [{"x": part} for part in np.split(2 * x, np.cumsum([w.rows for w in works])[:-1])]


async def double(service: Inference, *x: int, key: str = "", model: str = "doubling") -> Any:
    inputs = [{"name": "x", "shape": [len(x)], "datatype": "INT64", "data": list(x)}]
    status, headers, said = await ask(
        service, f"/v2/models/{model}/infer", {"inputs": inputs, "parameters": {"key": key}}
    )
    return said["outputs"][0]["data"] if status == 200 else (status, headers, said["error"])


def on(model: Doubling, story: Callable[[Inference], Awaitable[None]], **more: Any) -> None:
    async def whole() -> None:
        service = await ready(Inference([model], **more))
        try:
            await story(service)
        finally:
            service.close()

    asyncio.run(whole())


def test_who_waits_together_shares_a_call() -> None:
    model = Doubling()

    async def story(service: Inference) -> None:
        model.go.clear()
        first = asyncio.create_task(double(service, 0))
        await asyncio.sleep(0.05)  # it is being answered, alone
        others = [asyncio.create_task(double(service, i, i, key="ab"[i % 2])) for i in range(6)]
        await asyncio.sleep(0.05)
        model.go.set()
        assert await first == [0]
        assert [await o for o in others] == [[2 * i, 2 * i] for i in range(6)]

    on(model, story, batch=5)
    assert model.calls == [[1], [2, 2], [2, 2], [2], [2]]


def test_one_that_is_larger_than_a_batch_goes_alone() -> None:
    model = Doubling()

    async def story(service: Inference) -> None:
        assert await asyncio.gather(double(service, *range(9)), double(service, 1)) == [list(range(0, 18, 2)), [2]]

    on(model, story, batch=4)
    assert model.calls == [[9], [1]]


def test_a_lone_caller_does_not_wait() -> None:
    async def story(service: Inference) -> None:
        began = time.perf_counter()
        for _ in range(10):
            await double(service, 1)
        assert time.perf_counter() - began < 5

    on(Doubling(), story, wait="5s")


def test_companions_are_waited_for_a_moment_only() -> None:
    model = Doubling()

    async def story(service: Inference) -> None:
        await asyncio.gather(*(double(service, i) for i in range(4)))
        model.calls.clear()
        late = [asyncio.create_task(double(service, i)) for i in range(3)]
        await asyncio.sleep(0.02)
        assert not model.calls  # four came last time
        await asyncio.gather(*late, double(service, 9))
        assert model.calls == [[1, 1, 1, 1]]
        await double(service, 1)  # the others do not come again
        assert model.calls[-1] == [1]

    on(model, story, wait="200ms")


def test_one_callers_trouble_is_not_the_others() -> None:
    async def story(service: Inference) -> None:
        good, bad, fine = await asyncio.gather(double(service, 1), double(service, -1), double(service, 3))
        assert (good, fine) == ([2], [6])
        assert bad[0] == 500
        assert "ZeroDivisionError" in bad[2]
        assert "secret" not in bad[2]
        assert await double(service, 4) == [8]

    on(Doubling(), story)


def test_a_full_queue_says_so() -> None:
    model = Doubling()

    async def story(service: Inference) -> None:
        model.go.clear()
        held = [asyncio.create_task(double(service, 1))]
        await asyncio.sleep(0.05)
        held += [asyncio.create_task(double(service, 1)) for _ in range(2)]
        await asyncio.sleep(0)
        status, headers, text = await double(service, 1)  # and the event loop is free to say it
        assert (status, headers["retry-after"]) == (503, "1")
        assert "2 requests are waiting" in text
        assert b"gemel_inference_waiting 2" in (await ask(service, "/v2/metrics"))[2]
        model.go.set()
        assert await asyncio.gather(*held) == [[2]] * 3

    on(model, story, queue=2)


def test_a_caller_who_goes_away_is_left_out() -> None:
    model = Doubling()

    async def story(service: Inference) -> None:
        model.go.clear()
        first = asyncio.create_task(double(service, 0))
        await asyncio.sleep(0.05)
        gone, stays = (asyncio.create_task(double(service, i)) for i in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        model.go.set()
        assert await asyncio.gather(first, stays) == [[0], [4]]
        with pytest.raises(asyncio.CancelledError):
            await gone

    on(model, story)
    assert model.calls == [[1], [1]]


def test_versions_and_models_that_cannot_be_loaded() -> None:
    async def story() -> None:
        models = [Doubling(version="1"), Doubling(version="2"), Doubling("ill", broken="the file was changed")]
        service = await ready(Inference(models))
        assert (await ask(service, "/v2/health/live"))[0] == 200
        assert (await ask(service, "/v2/health/ready"))[0] == 503
        assert (await ask(service, "/v2/models/doubling/ready"))[0] == 200
        assert (await ask(service, "/v2/models/doubling"))[2]["versions"] == ["1", "2"]
        assert await double(service, 1) == [2]
        assert await double(service, 1, model="doubling/versions/1") == [2]
        assert [len(m.calls) for m in models] == [1, 1, 0]
        status, _, text = await double(service, 1, model="ill")
        assert (status, "the file was changed" in text) == (503, True)
        assert (await double(service, 1, model="doubling/versions/3"))[0] == 404
        said = (await ask(service, "/v2/metrics"))[2].decode()
        assert 'gemel_inference_requests_total{model="doubling",status="200"} 2' in said
        assert 'gemel_inference_request_seconds_count{model="doubling"} 2' in said
        assert "versions/3" not in said
        service.close()

    asyncio.run(story())
