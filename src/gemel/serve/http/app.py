"""The application: guard, stream, hot routes and control API over one host, and its description."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from gemel.serve.host import Host
from gemel.serve.http import errors, hot, inference, mcp, socket
from gemel.serve.http.bodies import LARGEST
from gemel.serve.http.guard import Asgi, Guard, Right
from gemel.serve.http.routes import ROUTERS
from gemel.serve.new import Uploads
from gemel.serve.ui.window import RIGHTS as WINDOW
from gemel.serve.ui.window import Window
from gemel.serve.verbs import VERBS, Verbs
from gemel.trust.access import Keys
from gemel.trust.audit import Audit

DOCUMENT = "/v1/openapi.json"


def application(
    host: Host, audit: Audit, keys: Keys | None = None, names: Iterable[str] = (), window: bool = True
) -> Guard:
    """All of it as one ASGI application. `names`: what the server may be called, beside addresses and localhost.
    `window`: with pages for a browser."""
    service = inference.service(host)
    verbs = Verbs(host, audit, VERBS)
    door = mcp.Door(verbs)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        async with door.open():
            yield
        service.close()
        api.state.uploads.close()

    api = FastAPI(
        title="Gemel",
        version="1",
        openapi_url=DOCUMENT,
        docs_url=None,  # these pages would ask other hosts for their scripts
        redoc_url=None,
        lifespan=living,
        generate_unique_id_function=lambda one: one.name,
    )
    api.state.host, api.state.inference, api.state.verbs = host, service, verbs
    api.state.talks = 0  # questions that a language model is answering
    api.state.uploads, api.state.looking = Uploads(), asyncio.Lock()
    api.state.counts = counts = Counter[int]()
    errors.install(api)
    for router in ROUTERS:
        api.include_router(router)
    document = api.openapi()
    for room in (hot, inference):
        document["paths"] |= room.paths(_trouble(document))
    app: Asgi = Mounts({inference.PREFIX: service, mcp.PREFIX: door}, socket.Stream(hot.Hot(api, host), host))
    held = rights()
    if window:
        app, held = Window(app), [*held, *WINDOW]
    return Guard(app, held, audit, keys, names, counts)


def rights() -> list[Right]:
    """What each route needs, the hottest first."""
    found = [Right.of("GET", path, "read") for path in hot.PATHS]
    found += [Right.of("WEBSOCKET", socket.PATH, "read"), Right.of("GET", DOCUMENT, "read")]
    for one in (route for router in ROUTERS for route in router.routes):
        assert isinstance(one, APIRoute)
        said = one.openapi_extra or {}
        found += [
            replace(Right.of(method, one.path, said["x-scope"]), limit=said.get("x-limit", LARGEST))
            for method in one.methods or ()
        ]
    return [*found, *inference.RIGHTS, *mcp.RIGHTS]


class Mounts:
    """Hands a request on to the application whose prefix its path has, and any other to `app`."""

    def __init__(self, mounts: Mapping[str, Asgi], app: Asgi) -> None:
        self._mounts, self._app = dict(mounts), app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        for prefix, mounted in self._mounts.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                await mounted(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _trouble(document: dict[str, Any]) -> dict[str, Any]:
    """The responses for trouble as the document has them."""
    listed = document["paths"]["/v1/twins"]["get"]["responses"]
    return {status: text for status, text in listed.items() if status != "200"}
