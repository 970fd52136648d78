"""One question to a twin: the model asks the verbs, the person hears what it says, and what it rests on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError

from gemel.core.errors import GemelError, InputError, NotFound
from gemel.core.units import duration, instant
from gemel.serve.ask import chat
from gemel.serve.ask.endpoint import Endpoint
from gemel.serve.ask.words import PICTURE, TEXTS, instructions, language_of
from gemel.serve.verbs import Verbs
from gemel.serve.verbs.plain import cited, clean, found, tidy
from gemel.serve.verbs.verb import Arguments, told
from gemel.trust.access import Caller

Tell = Callable[[str, Any], Awaitable[None]]
"""Called with the name of an event and what it says."""
DOOR = "ask"
ROUNDS = 8
"""Replies of the model to one question."""
CALLS = 6
"""Tools that one reply may call."""
LONGEST_S = 180.0


class Picture(Arguments):
    """What the model says of a chart."""

    signals: list[str] = Field(description="Names of signals.", min_length=1, max_length=6)
    last: str = Field(default="1d", description='How far back from the newest point: "6h".', max_length=40)
    start: str = Field(default="", description="Instead of last: from this time on, ISO 8601, UTC.", max_length=40)
    end: str = Field(default="", description="Up to this time. Default: the newest point.", max_length=40)
    forecast: bool = Field(default=False, description="Also what is foreseen.")


class Talk:
    """A question of `caller` about `twin`. The model may do what the caller may, and only with this twin; it never
    applies anything. Events go to `tell`."""

    def __init__(self, verbs: Verbs, endpoint: Endpoint, caller: Caller, twin: str, address: str, tell: Tell):
        self._verbs, self._endpoint = verbs, endpoint
        self._caller, self._twin, self._address = caller, twin, address
        self._tell = tell
        self._offered = [v for v in verbs.of(caller, twin) if "twin" in v.arguments.model_fields and not v.confirmed]
        self._cites: list[dict[str, str]] = []
        self._calls = 0

    async def answer(self, question: str, before: Sequence[Mapping[str, str]] = (), language: str = "") -> None:
        """From the question to `done`, or `error`. Ends at once when it is cancelled."""
        language = language_of(language, question)
        try:
            async with asyncio.timeout(LONGEST_S):
                rounds = await self._rounds(question, before, language)
        except TimeoutError:
            await self._tell("error", {"error": f"no answer in {LONGEST_S:g} s", "hint": "try again, or ask for less"})
        except GemelError as error:
            await self._tell("error", told(error))
        else:
            texts, ids = TEXTS[language], [c["id"] for c in self._cites]
            text = texts["used"].format(", ".join(ids)) if self._calls else texts["nothing"]
            await self._tell("cites", {"cites": self._cites, "text": text})
            await self._tell("done", {"rounds": rounds, "calls": self._calls})

    async def _rounds(self, question: str, before: Sequence[Mapping[str, str]], language: str) -> int:
        system = instructions(language, any(verb.changes for verb in self._offered))
        messages: list[Any] = [{"role": "system", "content": system}]
        messages += [{"role": line["role"], "content": line["text"]} for line in before]
        messages.append({"role": "user", "content": question})
        tools = [_tool(verb.name, verb.text, verb.schema(without="twin")) for verb in self._offered]
        tools.append(_tool("picture", PICTURE, Picture.model_json_schema()))
        for n in range(1, ROUNDS + 1):
            reply = await chat.reply(self._endpoint, messages, tools, self._said, free=n < ROUNDS)
            if not reply.calls or n == ROUNDS:
                break
            messages.append(reply.message())
            for i, call in enumerate(reply.calls):
                result = await self._called(call) if i < CALLS else {"error": "too many calls at once", "hint": ""}
                text = json.dumps(result, ensure_ascii=False)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": text})
        return n

    async def _said(self, text: str) -> None:
        await self._tell("text", {"text": text})

    async def _called(self, call: chat.Call) -> dict[str, Any]:
        """What the model reads of a call: the verb's answer, or what is wrong with it."""
        self._calls += 1
        n, name = self._calls, clean(call.name, 60)
        arguments = _arguments(call.arguments)
        await self._tell("call", {"n": n, "verb": name, "arguments": tidy(arguments or {})})
        try:
            if arguments is None:
                raise InputError("the arguments are not a JSON object", "see the schema of the tool")
            work = self._pictured if name == "picture" else self._asked
            answer = await work(name, arguments)
        except GemelError as error:
            wrong = told(error)
            await self._tell("result", {"n": n, "verb": name, "ok": False, "text": wrong["error"], "cites": []})
            return wrong
        cites = answer.get("cites", [])
        self._cites += [c for c in cites if c not in self._cites]
        text = ", ".join(c["id"] for c in cites)
        await self._tell("result", {"n": n, "verb": name, "ok": True, "text": clean(text), "cites": cites})
        return answer

    async def _asked(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        given = {**arguments, "twin": self._twin}
        return await self._verbs.call(name, given, self._caller, DOOR, self._address)

    async def _pictured(self, _: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            given = Picture.model_validate(arguments)
        except ValidationError as error:
            raise InputError(f"picture: {clean(error.errors(include_input=False)[0]['msg'])}") from None
        one = self._verbs.twins[self._twin]
        names = [found(said, one.twin.signals.names, "signal") for said in given.signals]
        stop = instant(given.end) if given.end else (await one.ask("status"))["newest"]
        if not stop:
            raise NotFound("the twin has no history yet", "wait for its telemetry")
        start = instant(given.start) if given.start else stop - duration(given.last)
        shown = {"signals": names, "start": start, "end": stop, "forecast": given.forecast}
        await self._tell("picture", shown)
        return {"shown": True, "cites": cited("signal", names)}


def _tool(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": text, "parameters": schema}}


def _arguments(text: str) -> dict[str, Any] | None:
    """What the model wrote as arguments; None when it is no JSON object."""
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return held if isinstance(held, dict) else None
