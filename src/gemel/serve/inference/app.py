"""The Open Inference Protocol over HTTP, as a plain ASGI application.

    service = Inference([ZeroShot()])        # mount it so that it sees /v2 and all below

It may be mounted under any root path, keeps no access control of its own, and needs no start-up: models load in the
worker thread when the first request comes, and are ready when they are.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import Future
from importlib.metadata import version as installed
from time import perf_counter
from typing import Any

from gemel.core.errors import GemelError, InputError, PartError, nearest
from gemel.core.units import SECOND, duration
from gemel.serve.inference.batch import Batcher
from gemel.serve.inference.metrics import Metrics
from gemel.serve.inference.model import Model
from gemel.serve.inference.tensors import Port
from gemel.serve.inference.wire import HEADER, Refused, read, unpacked, written

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Answer = tuple[int, dict[str, str], bytes]

_MODEL = re.compile(r"/models/(?P<model>[^/]+)(/versions/(?P<version>[^/]+))?(?P<verb>/ready|/infer)?")
LARGEST = 32 * 2**20
"""Bytes of a body."""
_HELD = 8
"""Bodies of the greatest size that may be in memory at once."""


class Inference:
    """Answers for `models`.

    batch: series answered by one call at most. wait: how long a request waits for companions at most. queue: requests
    that may wait; more are told to come again (503). body: bytes of a request at most, packed or unpacked. slowest: how
    long a body may take to come. sees: whether the caller of a request may hear of the model of that name.
    """

    def __init__(
        self,
        models: Sequence[Model],
        *,
        batch: int = 64,
        wait: str = "2ms",
        queue: int = 256,
        body: int = LARGEST,
        slowest: str = "1min",
        sees: Callable[[Scope, str], bool] = lambda *_: True,
    ) -> None:
        self.models = list(models)
        self.metrics = Metrics()
        self.body = body
        self._slowest_s, self._sees = duration(slowest) / SECOND, sees
        self._held = 0
        self._batcher = Batcher(batch, duration(wait) / SECOND, queue, self._called)
        self._loads: dict[Model, Future[None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise TypeError(f"no answer to {scope['type']}")
        began, labels = perf_counter(), {"model": ""}
        if not self._loads:
            self._loads = {m: self._batcher.submit(m.load) for m in self.models}
        try:
            status, headers, body = await self._answer(scope, receive, labels)
        except Exception as error:
            status, headers, body = _refusal(error)
        if labels["model"]:
            self.metrics.count("requests", {**labels, "status": str(status)})
            self.metrics.took(labels, perf_counter() - began)
        headers = {"content-length": str(len(body)), "x-content-type-options": "nosniff", **headers}
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def measured(self, seen: Callable[[str], bool] = lambda _: True) -> str:
        """Counts and times as Prometheus text, those of the models for which `seen(name)`."""
        return self.metrics.text(len(self._batcher), seen)

    def close(self) -> None:
        """No more answers; for the end of whatever this is mounted in."""
        self._batcher.close()

    # -- routes -------------------------------------------------------------------------------------------------

    async def _answer(self, scope: Scope, receive: Receive, labels: dict[str, str]) -> Answer:
        path: str = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        path = path.removeprefix("/v2").rstrip("/")
        plain = {
            "": lambda: _json(self._itself()),
            "/health/live": lambda: _json({"live": True}),
            "/health/ready": lambda: _health(all(self._problem(m) == "" for m in self.models)),
            "/metrics": lambda: _text(self.measured()),
        }
        if path in plain:
            _method(scope, "GET")
            return plain[path]()
        if path == "/repository/index":
            _method(scope, "POST")
            return _json([self._row(m) for m in self.models if self._sees(scope, m.name)])
        found = _MODEL.fullmatch(path)
        if found is None:
            raise Refused(404, f"there is no {path}")
        model = self._model(found["model"], found["version"] or "", scope)
        if found["verb"] == "/infer":
            _method(scope, "POST")
            labels["model"] = model.name
            return await self._infer(model, scope, receive)
        _method(scope, "GET")
        return _health(self._problem(model) == "") if found["verb"] else _json(self._described(model))

    async def _infer(self, model: Model, scope: Scope, receive: Receive) -> Answer:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if not self._loads[model].done():
            await _settled(asyncio.wrap_future(self._loads[model]))
        self._ready(model)
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(self._slowest_s):
                body = await self._read(receive, headers.get("content-length", ""), chunks)
            if encoding := headers.get("content-encoding", "").strip().lower():
                body = await asyncio.to_thread(unpacked, body, encoding, self.body)
                chunks.append(body)
                self._held += len(body)
            request = read(body, headers.get(HEADER, ""), model.inputs, model.outputs)
            version, work = model.version, model.read(request.inputs, request.parameters)
            del body
            outputs = await self._batcher.ask(model, work)
        finally:
            self._held -= sum(map(len, chunks))
        return 200, *written(model.name, version, request, outputs)

    async def _read(self, receive: Receive, announced: str, chunks: list[bytes]) -> bytes:
        """The body; what came of it so far is in `chunks`, and counted."""
        size, came = int(announced) if announced.isdigit() else 0, 0
        while True:
            if max(size, came) > self.body:
                raise Refused(413, f"the body has more than {self.body} bytes: send fewer series at once")
            if self._held > _HELD * self.body:
                raise Refused(503, "too many large requests at once: ask again later", {"retry-after": "1"})
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "the caller went away")
            chunks.append(message.get("body", b""))
            self._held += len(chunks[-1])
            came += len(chunks[-1])
            if not message.get("more_body", False):
                return b"".join(chunks)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    # -- models -------------------------------------------------------------------------------------------------

    def _model(self, name: str, version: str, scope: Scope) -> Model:
        """The model of that name and version; the last listed one of that name where no version is asked for."""
        seen = [m for m in self.models if self._sees(scope, m.name)]
        named = [m for m in seen if m.name == name]
        if not named:
            names = [m.name for m in seen]
            raise Refused(404, f"there is no model '{name}'{nearest(name, names)}")
        found = [m for m in named if version in ("", m.version)]
        if not found:
            raise Refused(404, f"model '{name}' has no version '{version}': it has {', '.join(_versions(named))}")
        return found[-1]

    def _problem(self, model: Model) -> str:
        """Why a model is not ready, "" when it is."""
        load = self._loads[model]
        if not load.done():
            return "it is being loaded"
        if load.cancelled():
            return "the service was closed"
        if error := load.exception():
            return str(error)
        return "" if model.version else "no version of it is promoted"

    def _ready(self, model: Model) -> None:
        if problem := self._problem(model):
            raise Refused(503, f"model '{model.name}' is not ready: {problem}", {"retry-after": "1"})

    def _itself(self) -> dict[str, Any]:
        return {"name": "gemel", "version": installed("gemel"), "extensions": ["binary_tensor_data"]}

    def _row(self, model: Model) -> dict[str, Any]:
        problem = self._problem(model)
        state = "UNAVAILABLE" if problem else "READY"
        return {"name": model.name, "version": model.version, "state": state, "reason": problem}

    def _described(self, model: Model) -> dict[str, Any]:
        self._ready(model)
        return {
            "name": model.name,
            "versions": _versions([m for m in self.models if m.name == model.name]),
            "platform": model.platform,
            "inputs": [_port(p) for p in model.inputs],
            "outputs": [_port(p) for p in model.outputs],
        }

    def _called(self, model: Model, callers: int, rows: int, seconds: float) -> None:
        labels = {"model": model.name}
        for name, by in (("calls", 1), ("callers", callers), ("rows", rows), ("call_seconds", seconds)):
            self.metrics.count(name, labels, by)


async def _settled(future: asyncio.Future[None]) -> None:
    """Wait for it, whatever comes of it."""
    await asyncio.wait([future])
    _ = future.cancelled() or future.exception()


def _refusal(error: Exception) -> Answer:
    """A status and the protocol's `{"error": ...}`."""
    headers: dict[str, str] = {}
    status, text = 500, "the server failed: see its log"
    if isinstance(error, Refused):
        status, headers, text = error.status, error.headers, error.message
    elif isinstance(error, InputError):
        status, text = 400, str(error)
    elif isinstance(error, TimeoutError):
        status, text = 400, "the body did not come: send it at once"
    elif isinstance(error, GemelError):
        text = str(error)
    if status == 500:
        log.error("a request failed", exc_info=None if isinstance(error, PartError) else error)
    _, more, body = _json({"error": text})
    return status, {**more, **headers}, body


def _method(scope: Scope, allowed: str) -> None:
    if scope["method"] != allowed and (scope["method"], allowed) != ("HEAD", "GET"):
        raise Refused(405, f"{scope['method']} is not for this path: use {allowed}", {"allow": allowed})


def _json(value: Any) -> Answer:
    return 200, {"content-type": "application/json"}, json.dumps(value).encode()


def _text(value: str) -> Answer:
    return 200, {"content-type": "text/plain; version=0.0.4; charset=utf-8"}, value.encode()


def _health(ready: bool) -> Answer:
    _, headers, body = _json({"ready": ready})
    return 200 if ready else 503, headers, body


def _versions(models: Sequence[Model]) -> list[str]:
    return [m.version for m in models if m.version]


def _port(port: Port) -> dict[str, Any]:
    row: dict[str, Any] = {"name": port.name, "datatype": port.datatype, "shape": list(port.shape)}
    more: dict[str, Any] = {"accepts": list(port.accepts)} if port.accepts else {}
    if port.optional:
        more["optional"] = True
    return {**row, "parameters": more} if more else row
