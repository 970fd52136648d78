"""Ask a twin in plain words. A language model answers, with the caller's own rights; it needs an endpoint."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from gemel.core.errors import ConfigError, Conflict, GemelError
from gemel.serve.ask.endpoint import HOW, configured
from gemel.serve.http import schema
from gemel.serve.http.errors import DOCUMENTED
from gemel.serve.http.events import Events
from gemel.serve.http.routing import PREFIX, TEXT, Body, Name, caller, hosted, needs, reply

route = APIRouter(prefix=PREFIX)
MOST = 8
"""Questions answered at the same time."""
EVENTS = ["text", "call", "result", "picture", "cites", "done", "error"]
EVENT = {"type": "object", "properties": {"event": {"enum": EVENTS}, "data": TEXT}}


class Line(Body):
    role: Literal["user", "assistant"]
    text: str = Field(max_length=8000)


class Question(Body):
    question: str = Field(min_length=1, max_length=4000)
    before: list[Line] = Field(default=[], description="What was said before, oldest first.", max_length=20)
    language: Literal["", "en", "zh"] = Field(default="", description="Empty: the language of the question.")


@route.get("/ask", tags=["ask"], **needs("read", schema.Asking))
async def asking(request: Request) -> Response:
    """Whether there is a language model to ask, and how to add one."""
    model, how = "", HOW
    try:
        endpoint = configured()
        model = endpoint.model if endpoint else ""
    except ConfigError as error:
        how = str(error)
    return reply({"configured": bool(model), "model": model, "how": "" if model else how})


@route.post(
    "/twins/{twin}/ask", tags=["ask"], response_class=Response,
    **{**needs("read"), "responses": {**DOCUMENTED, 200: {"content": {"text/event-stream": {"schema": EVENT}}}}},
)  # fmt: skip
async def ask(request: Request, twin: Name, body: Question) -> Response:
    """Ask in English or Chinese. The model asks the twin what the caller may ask, proposes at most, and never applies.
    Told as server-sent events, each with a JSON object: `text` (`text`, a piece of the answer), `call` (`n`, `verb`,
    `arguments`), `result` (`n`, `verb`, `ok`, `text`, `cites`), `picture` (`signals`, `start`, `end`, `forecast`: a
    chart worth drawing), and at the end `cites` (`cites`: `kind` and `id` of all it rests on; `text`: that in a line)
    and `done` (`rounds`, `calls`), or `error` (`error`, `hint`)."""
    from gemel.serve.ask.talk import Talk  # with it comes the HTTP client, which only a question needs

    hosted(request, twin)
    endpoint = configured()
    if endpoint is None:
        raise Conflict("there is no language model to ask", HOW)
    state, who = request.app.state, caller(request)
    if state.talks >= MOST:
        raise GemelError(f"{MOST} questions are being answered already", "ask again in a moment")
    address = request.client.host if request.client else ""

    async def work(tell: Any) -> None:
        state.talks += 1
        try:
            talk = Talk(state.verbs, endpoint, who, twin, address, tell)
            await talk.answer(body.question, [line.model_dump() for line in body.before], body.language)
        finally:
            state.talks -= 1

    return Events(work)
