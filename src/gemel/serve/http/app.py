"""The application: guard, stream, hot routes and control API over one host, and its description."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from gemel.serve.host import Host
from gemel.serve.http import errors, hot, socket
from gemel.serve.http.guard import Guard, Right
from gemel.serve.http.routes import ROUTERS
from gemel.trust.access import Keys
from gemel.trust.audit import Audit

DOCUMENT = "/v1/openapi.json"


def application(host: Host, audit: Audit, keys: Keys | None = None, names: Iterable[str] = ()) -> Guard:
    """All of it as one ASGI application. `names`: what the server may be called, beside addresses and localhost."""
    api = FastAPI(
        title="Gemel",
        version="1",
        openapi_url=DOCUMENT,
        docs_url=None,  # these pages would ask other hosts for their scripts
        redoc_url=None,
        generate_unique_id_function=lambda one: one.name,
    )
    api.state.host = host
    api.state.counts = counts = Counter[int]()
    errors.install(api)
    for router in ROUTERS:
        api.include_router(router)
    document = api.openapi()
    document["paths"] |= hot.paths(_trouble(document))
    app = socket.Stream(hot.Hot(api, host), host)
    return Guard(app, rights(), audit, keys, names, counts)


def rights() -> list[Right]:
    """What each route needs, the hottest first."""
    found = [Right.of("GET", path, "read") for path in hot.PATHS]
    found += [Right.of("WEBSOCKET", socket.PATH, "read"), Right.of("GET", DOCUMENT, "read")]
    for one in (route for router in ROUTERS for route in router.routes):
        assert isinstance(one, APIRoute)
        found += [Right.of(method, one.path, (one.openapi_extra or {})["x-scope"]) for method in one.methods or ()]
    return found


def _trouble(document: dict[str, Any]) -> dict[str, Any]:
    """The responses for trouble as the document has them."""
    listed = document["paths"]["/v1/twins"]["get"]["responses"]
    return {status: text for status, text in listed.items() if status != "200"}
