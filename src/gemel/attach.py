"""The door beside the store: a running twin listens on a local socket, so that others attach to it.

One request a connection: a length, then `(method, arguments)` as bytes of `core.codec`; the answer likewise as
`(good, value)`. The socket file belongs to the user who runs the twin (mode 600) and is not reachable from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from gemel.core.attempt import told
from gemel.core.codec import decode, encode
from gemel.core.errors import GemelError, InputError

LONGEST = 256 << 20
"""Bytes a request or an answer may have."""
_NAME_LIMIT = 100  # a socket's path may have 108 bytes on Linux, 104 on macOS


@contextlib.asynccontextmanager
async def serve(
    path: Path | None, answer: Callable[[str, Mapping[str, Any], str], Awaitable[Any]]
) -> AsyncIterator[None]:
    """Listen at `path` while the context is open; `answer(method, arguments, user)` gives the value."""
    if path is None:
        yield
        return
    place = _place(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place)

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                size = int.from_bytes(await reader.readexactly(8), "big")
                if size > LONGEST:
                    raise InputError(f"a request of {size} bytes is too large")
                method, arguments = decode(await reader.readexactly(size))
                reply = encode((True, await answer(method, arguments, _user(writer.get_extra_info("socket")))))
            except Exception as error:
                hint = error.hint if isinstance(error, GemelError) else ""
                reply = encode((False, (told("the twin", error), hint, isinstance(error, InputError))))
            if len(reply) > LONGEST:
                text = f"the answer would have {len(reply):,} bytes"
                reply = encode((False, (text, "ask for less: a shorter time, fewer signals, a grid", True)))
            writer.write(len(reply).to_bytes(8, "big") + reply)
            await writer.drain()
        writer.close()

    door = socket.socket(socket.AF_UNIX)
    try:
        door.bind(place)
        os.chmod(place, 0o600)  # before anybody can connect; a umask would be that of the whole process
        server = await asyncio.start_unix_server(respond, sock=door)
    except BaseException:
        door.close()
        raise
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)


def listening(path: Path) -> bool:
    """Whether a twin listens there now."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(_place(path))
        except OSError:
            return False
    return True


def call(path: Path, method: str, arguments: Mapping[str, Any], patience: float = 60.0) -> Any:
    """Ask the twin that listens at `path`; raises what it raised, as `GemelError`."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(patience)
        try:
            link.connect(_place(path))
            request = encode((method, dict(arguments)))
            link.sendall(len(request).to_bytes(8, "big") + request)
            size = int.from_bytes(_exactly(link, 8), "big")
            good, value = decode(_exactly(link, size))
        except OSError as error:
            raise GemelError(f"the running twin at {path} does not answer: {error}", "is it busy? try again") from error
    if not good:
        message, hint, asked_wrong = value
        raise (InputError if asked_wrong else GemelError)(message, hint)
    return value


def _user(link: Any) -> str:
    """The name of the user at the other end. Where the system does not tell, it is our own: no other may open the
    socket."""
    import pwd  # not there on Windows, nor is this kind of socket

    uid = os.getuid()
    if hasattr(socket, "SO_PEERCRED"):
        _, uid, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _exactly(link: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        more = link.recv(min(size - len(parts), 1 << 20))
        if not more:
            raise OSError("the connection ended early")
        parts += more
    return bytes(parts)


def _place(path: Path) -> str:
    text = str(path.resolve())
    if len(text.encode()) <= _NAME_LIMIT:
        return text
    short = hashlib.sha256(text.encode()).hexdigest()[:24]
    return str(Path(tempfile.gettempdir()) / f"gemel-{os.getuid()}-{short}.sock")
