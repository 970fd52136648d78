"""Hands the window's files to browsers; what they show they ask of the API themselves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from gemel.serve.http.guard import Right

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
PAGES = re.compile(r"/(?:new|twins/[^/]+(?:/[a-z]+)?)?")
"""Addresses a person sees; each is the same document, which draws what its address says."""
FILES = re.compile(r"/ui/(?P<file>[\w./-]+)")
RIGHTS = [Right("GET", PAGES, ""), Right("GET", FILES, "")]
"""The files are the same for everybody and say nothing of a twin: no key is asked for them."""


class Window:
    """Answers the pages and files, and hands everything else on to `app`."""

    def __init__(self, app: Asgi) -> None:
        self._app = app
        self._files = dict(_files())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        name = "index.html" if PAGES.fullmatch(path) else (found := FILES.fullmatch(path)) and found["file"]
        if not name:
            await self._app(scope, receive, send)
            return
        body, kind, tag = self._files.get(name, (b"there is no such file", "text/plain", b""))
        status = 200 if tag else 404
        if tag and (b"if-none-match", tag) in scope["headers"]:
            status, body = 304, b""
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        if tag:
            headers += [(b"etag", tag), (b"cache-control", b"no-cache")]  # asked again each time, sent when it changed
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _files() -> Any:
    """(name, (body, type, tag)) of everything that is handed out."""
    stack = [("", resources.files(__package__))]
    while stack:
        before, folder = stack.pop()
        for item in folder.iterdir():
            name = before + item.name
            if item.is_dir():
                stack.append((f"{name}/", item))
            elif kind := TYPES.get(item.name.rpartition(".")[2]):
                body = item.read_bytes()
                yield name, (body, kind, f'"{hashlib.sha256(body).hexdigest()[:16]}"'.encode())
