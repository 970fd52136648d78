"""The chat-completions protocol of OpenAI, which most servers of language models speak, local and hosted ones.

Source: OpenAI API reference, "Chat", streaming and function calling.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from gemel.core.errors import GemelError
from gemel.serve.ask.endpoint import KEY, MODEL, URL, Endpoint
from gemel.serve.verbs.plain import clean

LONGEST = 24_000
"""Characters that one reply may have; what comes after is not waited for."""
MOST = 4 << 20
"""Bytes that one reply may take."""
PATIENCE = httpx.Timeout(60, connect=10)
Said = Callable[[str], Awaitable[None]]


class ChatError(GemelError):
    """The language model cannot be asked, or speaks nonsense."""


@dataclass(slots=True)
class Call:
    """A tool the model wants called; `arguments` is JSON as it wrote it."""

    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Reply:
    """What the model said in one go."""

    text: str = ""
    calls: list[Call] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.text) + sum(len(call.arguments) for call in self.calls)

    def message(self) -> dict[str, Any]:
        """As a line of the conversation."""
        calls = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in self.calls
        ]
        return {"role": "assistant", "content": self.text, "tool_calls": calls}


async def reply(
    endpoint: Endpoint, messages: Sequence[Any], tools: Sequence[Any], said: Said, *, free: bool = True
) -> Reply:
    """The model's next reply; `said` hears its text piece by piece. `free` False: it may not call a tool any more.
    Raises `ChatError`."""
    body: dict[str, Any] = {"model": endpoint.model, "messages": messages, "stream": True}
    if tools:
        body |= {"tools": tools, "tool_choice": "auto" if free else "none"}
    headers = {"authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    found = Reply()
    try:
        async with (
            httpx.AsyncClient(timeout=PATIENCE) as client,
            client.stream("POST", f"{endpoint.url}/chat/completions", json=body, headers=headers) as response,
        ):
            if response.status_code != 200:
                raise _refused(endpoint, response.status_code, await _start(response))
            async for text in _pieces(response):
                if piece := _joined(found, _chunk(text)):
                    await said(piece)
                if len(found) > LONGEST:
                    break
    except httpx.TimeoutException:
        raise ChatError("the language model took too long", "try again, or ask for less") from None
    except httpx.HTTPError as error:
        raise ChatError(f"the language model cannot be reached: {type(error).__name__}", f"see {URL}") from None
    if not (found.text or found.calls):
        raise ChatError("the language model said nothing", f"does {URL} speak the chat-completions protocol?")
    for i, call in enumerate(found.calls):
        call.id = call.id or f"call-{i}"
        call.arguments = call.arguments or "{}"
    return found


# -- what comes over the wire ------------------------------------------------------------------------------------------


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    error: Any = None


def _chunk(text: bytes) -> _Delta:
    try:
        found = msgspec.json.decode(text, type=_Chunk)
    except (msgspec.DecodeError, UnicodeDecodeError):
        hint = f"does {URL} speak the chat-completions protocol?"
        raise ChatError("the language model's answer cannot be read", hint) from None
    if found.error:
        raise ChatError("the language model broke off with an error", "try again")
    first = found.choices[0] if found.choices else _Choice()
    return first.delta or first.message or _Delta()


def _joined(found: Reply, delta: _Delta) -> str:
    """Add a piece to the reply; returns its text."""
    for piece in delta.tool_calls or ():
        function = piece.function or _Function()
        i = piece.index
        if i is None:  # some servers leave it out: a new id or name begins a new call
            i = len(found.calls) - (1 if found.calls and not (piece.id or function.name) else 0)
        if not 0 <= i <= len(found.calls):
            raise ChatError("the language model's tool calls cannot be read", "try again")
        if i == len(found.calls):
            found.calls.append(Call())
        call, more = found.calls[i], function.arguments or ""
        call.id = call.id or piece.id or ""
        call.name += function.name or ""
        call.arguments += more if isinstance(more, str) else json.dumps(more)
    text = delta.content or ""
    found.text += text
    return text


async def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    """The JSON texts of a stream of server-sent events, or of an answer that came in one piece all the same."""
    if "event-stream" not in response.headers.get("content-type", ""):
        yield await _start(response, MOST)
        return
    held, size = b"", 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MOST:
            raise ChatError("the language model's answer has no end", "try again")
        *lines, held = (held + part).split(b"\n")
        for line in lines:
            text = line.strip().removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
            if text == b"[DONE]":
                return
            if text:
                yield text


async def _start(response: httpx.Response, most: int = 4000) -> bytes:
    """The first bytes of a body."""
    held = b""
    async for part in response.aiter_bytes():
        held += part
        if len(held) >= most:
            break
    return held[:most]


def _refused(endpoint: Endpoint, status: int, body: bytes) -> ChatError:
    """What a status other than 200 means. What the endpoint says is shown in short, and never the key."""
    if status in (401, 403):
        return ChatError("the language model's server does not accept the key", f"see {KEY}")
    if status == 404:
        return ChatError("there is no such language model at that address", f"see {URL} and {MODEL}")
    if status == 429:
        return ChatError("the language model's server has too much to do, or the quota is used up", "try again later")
    if status >= 500:
        return ChatError(f"the language model's server failed ({status})", "try again")
    text = body.decode("utf-8", "replace")
    text = text.replace(endpoint.key, "...") if endpoint.key else text
    return ChatError(f"the language model's server refused ({status}): {clean(text)}", f"see {URL} and {MODEL}")
