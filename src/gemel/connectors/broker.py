"""A broker inside this process, so that a demo or a test needs nothing installed. MQTT 3.1.1, loopback, anyone may
connect, nothing is kept on disk: for a plant, use a real one."""

from __future__ import annotations

import logging
import socket
from types import TracebackType
from typing import Any

from gemel.core.errors import ConfigError, ConnectorError

_PLUGINS: dict[str, dict[str, Any]] = {
    "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
}


class Broker:
    """`async with Broker() as broker:` and connect to `broker.url`, with `version = "3.1.1"`.

    `port` 0 takes a free one. Needs the package amqtt (extra `demo`), imported when the broker starts.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._broker: Any = None

    @property
    def url(self) -> str:
        """Where it listens; with a port of 0 known once it has started."""
        return f"mqtt://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Broker:
        try:
            from amqtt.broker import Broker as Amqtt
            from amqtt.errors import BrokerError
        except ImportError as error:
            raise ConfigError(
                [f"the embedded broker needs the package {error.name or 'amqtt'}"], "pip install 'gemel[demo]'"
            ) from None
        for name in ("amqtt", "transitions"):  # it tells every packet
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.port = self.port or _free_port()
        bind = {"default": {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}}
        broker = Amqtt({"listeners": bind, "plugins": _PLUGINS})
        try:
            await broker.start()
        except BrokerError as error:
            raise ConnectorError(
                f"the embedded broker cannot listen on port {self.port}: {error}", "port = 0"
            ) from None
        self._broker = broker
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._broker is not None:
            await self._broker.shutdown()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
