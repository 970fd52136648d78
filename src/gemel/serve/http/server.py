"""The server: twins and doors in one process and one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from gemel.core.errors import ConfigError
from gemel.serve.host import Host
from gemel.serve.http.app import application
from gemel.trust.access import Keys, check_address
from gemel.trust.audit import Audit

HOST, PORT = "127.0.0.1", 8420


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. `tls`: files of a certificate and its key; `proxy`: the address of one in front that ends TLS,
    and is believed when it says who calls; `names`: what the server is called, beside addresses and localhost."""

    host: str = HOST
    port: int = PORT
    tls: tuple[Path, Path] | None = None
    proxy: str = ""
    names: tuple[str, ...] = ()

    def url(self, port: int) -> str:
        """How it is reached."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{port}"


async def serve(
    host: Host,
    address: Address,
    audit: Path,
    keys: Keys | None = None,
    ready: Callable[[str], None] = lambda _: None,
    window: bool = True,
) -> None:
    """Until it is cancelled, or the process is told to stop: then every twin records its memory. `ready` is called with
    the address once it listens. Raises `ConfigError` for an address that is taken or may not be listened on."""
    check_address(address.host, bool(keys and keys.all()), bool(address.tls), address.proxy, address.names)
    with _listening(address) as door, contextlib.closing(Audit(audit)) as book:
        logging.getLogger("uvicorn.error").addFilter(_telling)
        server = _Server(_config(address, application(host, book, keys, address.names, window)))
        host.audited(book)
        host.open()
        async with asyncio.TaskGroup() as tasks:
            living = tasks.create_task(host.run())
            answering = tasks.create_task(server.serve(sockets=[door]))
            stop = asyncio.Event()
            with _told(stop):
                try:
                    ready(address.url(door.getsockname()[1]))
                    stopped = tasks.create_task(stop.wait())
                    await asyncio.wait({stopped, answering, living}, return_when=asyncio.FIRST_COMPLETED)
                    stopped.cancel()
                finally:
                    server.should_exit = True
                    await asyncio.wait({answering})
                    living.cancel()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # whoever runs the twins listens for signals


def _telling(record: logging.LogRecord) -> bool:
    """uvicorn takes a WebSocket that was refused with an answer for one that was forgotten."""
    return "without completing handshake" not in record.msg


def _config(address: Address, app: object) -> uvicorn.Config:
    certificate, key = address.tls or (None, None)
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="none",
        lifespan="on",
        log_config=None,
        log_level="warning",  # below it are the headers of WebSockets, and with them keys
        access_log=False,
        server_header=False,
        proxy_headers=bool(address.proxy),
        forwarded_allow_ips=address.proxy,
        ws_max_size=1 << 16,
        ws_per_message_deflate=False,  # a packer for each reader costs more than it saves on such short messages
        timeout_keep_alive=75,  # longer than clients and proxies keep a connection, so that they end it, not we
        timeout_graceful_shutdown=5,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )


def _listening(address: Address) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        door = socket.create_server((address.host, address.port), family=family, backlog=1024)
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else an answer waits 40 ms for its second packet
        return door
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(
            [f"cannot listen on {address.host}:{address.port}: {why}"],
            "choose another: --port 8421, or stop the other one",
        ) from None


@contextlib.contextmanager
def _told(stop: asyncio.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM set `stop`, where the process has a main thread that hears them."""
    loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
    heard = []
    for number in numbers:
        with contextlib.suppress(RuntimeError, ValueError, NotImplementedError):
            loop.add_signal_handler(number, stop.set)
            heard.append(number)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
