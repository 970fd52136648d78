"""A server of our own that speaks the chat-completions protocol over real HTTP: it says what a test wants said."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Turn = Callable[["Answering"], None]


class Answering(BaseHTTPRequestHandler):
    """One request. `asked` is its body."""

    protocol_version = "HTTP/1.1"
    asked: dict[str, Any]

    def do_POST(self) -> None:
        held: Chatter = self.server.held  # type: ignore[attr-defined]
        self.asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        held.asked.append(self.asked)
        held.keys.append(self.headers.get("authorization", ""))
        held.paths.append(self.path)
        turn = held.turns[min(len(held.asked), len(held.turns)) - 1]
        try:
            turn(self)
        except (BrokenPipeError, ConnectionResetError):
            held.left.set()
        self.close_connection = True

    def stream(self, kind: str = "text/event-stream") -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("connection", "close")
        self.end_headers()

    def piece(self, delta: dict[str, Any], **more: Any) -> None:
        chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, **more}]}
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()

    def end(self) -> None:
        self.wfile.write(b"data: [DONE]\n\n")
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@dataclass
class Chatter:
    """The last of `turns` answers every request from then on."""

    turns: list[Turn]
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)

    def results(self) -> list[Any]:
        """What the tools returned, as the model read it last."""
        return [json.loads(m["content"]) for m in self.asked[-1]["messages"] if m["role"] == "tool"]


def says(*pieces: str) -> Turn:
    def turn(one: Answering) -> None:
        one.stream()
        for text in pieces:
            one.piece({"role": "assistant", "content": text})
        one.piece({}, finish_reason="stop")
        one.end()

    return turn


def calls(*wanted: tuple[str, Any], before: str = "", size: int = 7) -> Turn:
    """Tool calls whose arguments come in pieces of `size` characters, one call's between another's."""

    def turn(one: Answering) -> None:
        one.stream()
        if before:
            one.piece({"content": before})
        texts = [a if isinstance(a, str) else json.dumps(a) for _, a in wanted]
        for i, (name, _) in enumerate(wanted):
            head = {"index": i, "id": f"id-{i}", "type": "function", "function": {"name": name, "arguments": ""}}
            one.piece({"tool_calls": [head]})
        for start in range(0, max(map(len, texts)), size):
            for i, text in enumerate(texts):
                if part := text[start : start + size]:
                    one.piece({"tool_calls": [{"index": i, "function": {"arguments": part}}]})
        one.piece({}, finish_reason="tool_calls")
        one.end()

    return turn


def fails(status: int, text: str = '{"error": {"message": "no"}}') -> Turn:
    def turn(one: Answering) -> None:
        one.send_response(status)
        one.send_header("content-type", "application/json")
        one.send_header("content-length", str(len(text)))
        one.end_headers()
        one.wfile.write(text.encode())

    return turn


def raw(text: bytes, kind: str = "text/event-stream") -> Turn:
    def turn(one: Answering) -> None:
        one.stream(kind)
        one.wfile.write(text)

    return turn


def forever(size: int, pause_s: float) -> Turn:
    """Never stops talking."""

    def turn(one: Answering) -> None:
        one.stream()
        while True:
            one.piece({"content": "x" * size})
            threading.Event().wait(pause_s)

    return turn


@contextmanager
def chatter(turns: Sequence[Turn]) -> Iterator[Chatter]:
    held = Chatter(list(turns))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    server.held = held  # type: ignore[attr-defined]
    held.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield held
    finally:
        with suppress(OSError):
            server.shutdown()
        server.server_close()
        thread.join(10)
