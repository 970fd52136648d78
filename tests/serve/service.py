"""A service asked without a socket, and one with."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gemel.serve.inference.app import Inference


async def ask(
    service: Inference,
    path: str,
    body: bytes | Mapping[str, Any] = b"",
    *,
    method: str = "",
    headers: Mapping[str, str] | None = None,
    root: str = "",
    chunk: int = 2**16,
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body (parsed where it is JSON) of an answer; the request's body comes in chunks."""
    whole = body if isinstance(body, bytes) else json.dumps(body).encode()
    parts = [whole[i : i + chunk] for i in range(0, len(whole), chunk)] or [b""]
    given = [(k.encode(), v.encode()) for k, v in (headers or {}).items()]
    scope = {"type": "http", "method": method or ("POST" if whole else "GET"), "path": root + path, "root_path": root}
    scope |= {"headers": given}
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        said.append(message)

    await service(scope, receive, send)
    start, end = said
    answered = {k.decode(): v.decode() for k, v in start["headers"]}
    assert int(answered["content-length"]) == len(end["body"])
    parsed = json.loads(end["body"]) if answered["content-type"] == "application/json" else end["body"]
    return start["status"], answered, parsed


async def ready(service: Inference) -> Inference:
    """The service, once every model is loaded or cannot be."""
    loading = True
    while loading:
        await asyncio.sleep(0.01)
        _, _, rows = await ask(service, "/v2/repository/index", method="POST")
        loading = any(row["reason"] == "it is being loaded" for row in rows)
    return service


@contextmanager
def serving(service: Inference) -> Iterator[str]:
    """`host:port` of the service on uvicorn, in a thread."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(service, port=0, log_level="error", timeout_keep_alive=60))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
