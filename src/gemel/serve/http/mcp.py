"""The Model Context Protocol at `/mcp`, behind the guard: who calls is whom the guard let in."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.responses import Response

from gemel.serve.http.errors import answer
from gemel.serve.http.guard import Asgi, Right
from gemel.serve.verbs import Verbs

log = logging.getLogger("gemel")
PREFIX = "/mcp"
RIGHTS = [Right.of("POST", path, "read") for path in (PREFIX, f"{PREFIX}/")]
"""What a tool needs beyond that is looked at when it is called."""


class Door:
    """Answers at `PREFIX` while `open` holds. The SDK is loaded with the first request: most servers never get one."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._wanted, self._ready = asyncio.Event(), asyncio.Event()
        self._app: Asgi | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._wanted.set()
        await self._ready.wait()
        await (self._app or _missing())(scope, receive, send)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Ready for requests, as long as it lasts."""
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(self._serve())
            try:
                yield
            finally:
                serving.cancel()

    async def _serve(self) -> None:
        await self._wanted.wait()
        try:
            made = await asyncio.to_thread(importlib.import_module, "gemel.serve.mcp")
            sessions = made.sessions(made.server(self._verbs, _caller, self._verbs.table.values()))
        except Exception as error:
            log.warning("no tools for language models: %s", error, exc_info=not isinstance(error, ModuleNotFoundError))
            self._ready.set()
            return
        async with sessions.run():
            self._app = sessions.handle_request
            self._ready.set()
            try:
                await asyncio.Event().wait()
            finally:
                self._app = None


def _caller(context: Any) -> Any:
    """Who the guard let in, and from where."""
    scope = context.request_context.request.scope
    return scope["gemel.caller"], (scope.get("client") or ("",))[0]


def _missing() -> Response:
    return answer(404, "this server has no tools for language models", "pip install 'gemel[mcp]'")
