"""Errors as answers: `{"error": what and which one, "hint": the next step}`, whatever went wrong."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gemel.core.errors import Conflict, GemelError, InputError, NotFound
from gemel.serve.shapes import encoded

log = logging.getLogger("gemel")


class Trouble(BaseModel):
    """What went wrong with which thing, and the next step."""

    error: str
    hint: str


MEANINGS = {
    400: "A value in the call does not fit.",
    401: "A key is needed, or the one shown is not known.",
    403: "The key is not good for this, or the page that asks is not ours.",
    404: "There is nothing of that name.",
    405: "This address is not asked in that way.",
    409: "Not as things stand now: decided already, no history yet, not running.",
    413: "The body is too large.",
    422: "The call does not have the form that is described.",
    429: "Too many wrong keys from this address; wait.",
    503: "The store or a part cannot answer now.",
}
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"model": Trouble, "description": text} for status, text in MEANINGS.items() if status != 405
}


def status_of(error: GemelError) -> int:
    """The status that says what kind of trouble it is."""
    kinds = ((NotFound, 404), (Conflict, 409), (InputError, 400))
    return next((status for kind, status in kinds if isinstance(error, kind)), 503)


def told(error: str, hint: str = "") -> bytes:
    """The body of an answer that went wrong."""
    return encoded({"error": error, "hint": hint})


def answer(status: int, error: str, hint: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """A whole answer that went wrong."""
    return Response(told(error, hint), status, headers, "application/json")


def unexpected(error: Exception) -> tuple[int, bytes]:
    """What to say of an error: ours in its own words, any other in none, with a traceback in the log."""
    if isinstance(error, GemelError):
        return status_of(error), told(error.message, error.hint)
    log.error("a request failed", exc_info=error)
    return 500, told("something went wrong inside Gemel", "the log has the details; please report it")


def install(app: FastAPI) -> None:
    """Let every error of the application leave in this form."""

    async def gemel(request: Request, error: Exception) -> Response:
        status, body = unexpected(error)
        return Response(body, status, media_type="application/json")

    async def form(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        return answer(422, f"{place or 'the body'}: {first['msg']}", "the form of every call is in /v1/openapi.json")

    async def plain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        hint = "the API is described in /v1/openapi.json" if error.status_code in (404, 405) else ""
        detail = {404: f"there is nothing at {request.url.path}"}.get(error.status_code, str(error.detail))
        return answer(error.status_code, detail, hint, error.headers)

    handlers: tuple[tuple[type[Exception], Callable[[Request, Exception], Awaitable[Response]]], ...] = (
        (GemelError, gemel),
        (RequestValidationError, form),
        (HTTPException, plain),
        (Exception, gemel),
    )
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)
