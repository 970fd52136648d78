"""One MQTT connection: a paho client whose socket the event loop serves.

A line is used once. Every attempt to connect makes a new one, so that nothing of an old connection leaks into the
next: no acknowledgement of a message id that means another message now, no command sent again after it was given up.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gemel.core.errors import ConnectorError

VERSIONS = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}
_AT_ONCE = 256  # packets read before other tasks get their turn
_FILTERS = 200  # of one SUBSCRIBE


class Line:
    """A connection to a broker. `heard` gets every message, `lost` the reason when the line breaks, `refused` the
    topics the broker will not let us hear; none of them is called after `close`."""

    def __init__(
        self,
        client: paho.Client,
        heard: Callable[[paho.MQTTMessage], None],
        lost: Callable[[str], None],
        refused: Callable[[str, str], None],
    ) -> None:
        self._client = client
        self._heard = heard
        self._lost = lost
        self._refused = refused
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[str] = self._loop.create_future()
        self._asked: dict[int | None, Sequence[str]] = {}  # SUBSCRIBE id -> its topics
        self._socket: paho.SocketLike | None = None  # while the event loop serves it
        self._tick: asyncio.TimerHandle | None = None
        self._count = 0
        self._reading = False
        self._let_in = False
        self._closed = False
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_want_write
        client.on_socket_unregister_write = self._on_wrote

    @property
    def up(self) -> bool:
        """The broker has let us in, and the connection stands as far as we know."""
        return self._let_in and not self._closed

    async def open(self, connect: Callable[[paho.Client], object], patience_s: float) -> None:
        """Connect and wait for the broker's answer; raises `ConnectorError` with its reason, or the network's."""
        try:
            await asyncio.to_thread(self._dial, connect)  # look-up, TCP and TLS block
        except OSError as error:
            raise ConnectorError(str(error) or type(error).__name__) from None
        sock = self._client.socket()
        if sock is None:
            raise ConnectorError("the connection broke before it was made")
        self._socket = sock
        self.read(True)
        self._loop.add_writer(sock, self._client.loop_write)
        self._keep()
        try:
            async with asyncio.timeout(patience_s):
                refusal = await self._answer
        except TimeoutError:
            refusal = f"no answer to CONNECT within {patience_s:g} s"
        if refusal:
            self.close()
            old = "CONNECT" in refusal or "protocol" in refusal.lower()
            raise ConnectorError(refusal, 'perhaps this broker needs version = "3.1.1"' if old else "")

    def subscribe(self, topics: Iterable[str], qos: int) -> None:
        """Ask for topics. Retained messages come with the first subscription of a session only, where MQTT 5 allows."""
        asked = list(topics)
        for i in range(0, len(asked), _FILTERS):
            some = asked[i : i + _FILTERS]
            if self._client.protocol == MQTTProtocolVersion.MQTTv5:
                wish = SubscribeOptions(qos=qos, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
                _, mid = self._client.subscribe([(topic, wish) for topic in some])
            else:
                _, mid = self._client.subscribe([(topic, qos) for topic in some])
            self._asked[mid] = some

    def unsubscribe(self, topic: str) -> None:
        """Ask not to hear a topic any more."""
        self._client.unsubscribe(topic)

    def publish(self, topic: str, payload: bytes, answer: str, id: str, left_s: int | None) -> None:
        """Send at QoS 1; with MQTT 5 also where to answer, with which id, and after how many seconds it
        is void."""
        properties = None
        if self._client.protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ResponseTopic = answer
            properties.CorrelationData = id.encode()
            if left_s is not None:
                properties.MessageExpiryInterval = left_s
        self._client.publish(topic, payload, qos=1, properties=properties)

    def acknowledge(self, ids: Iterable[int]) -> None:
        """The broker may forget these messages (QoS 1)."""
        for id in ids:
            self._client.ack(id, 1)

    def read(self, on: bool) -> None:
        """Listen to the socket, or let the broker wait."""
        if self._socket is None or on == self._reading:
            return
        self._reading = on
        if on:
            self._loop.add_reader(self._socket, self._on_readable)
            self._loop.call_soon(self._on_readable)  # TLS may hold what was read before
        else:
            self._loop.remove_reader(self._socket)

    def close(self) -> None:
        """Say goodbye; the broker keeps the session."""
        self._closed = True
        if self._tick:
            self._tick.cancel()
        self._client.on_disconnect = None
        self._client.disconnect()
        self._client.loop_write()  # sends DISCONNECT and closes the socket
        self._on_socket_close()

    def _dial(self, connect: Callable[[paho.Client], object]) -> None:
        """In a thread: asyncio cannot cancel it, so it may end after `close`."""
        connect(self._client)
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            # acknowledgements are many small packets: without this they wait for the broker's TCP
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._closed:
            self._client.disconnect()
            self._client.loop_write()

    def _keep(self) -> None:
        """Every second: keep-alive, and whether the broker still answers ours."""
        self._tick = self._loop.call_later(1.0, self._keep)
        self._client.loop_misc()

    def _on_readable(self) -> None:
        for _ in range(_AT_ONCE):
            count = self._count
            if not self._reading or self._client.loop_read() != paho.MQTT_ERR_SUCCESS:
                return
            # a TLS socket may hold what was read but not yet asked for, where select does not see it
            if self._count == count and not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
                return
        self._loop.call_soon(self._on_readable)

    def _on_want_write(self, client: paho.Client, userdata: object, sock: paho.SocketLike) -> None:
        if self._socket is not None:  # before that, `open` writes
            self._loop.add_writer(sock, client.loop_write)

    def _on_wrote(self, client: paho.Client, userdata: object, sock: paho.SocketLike) -> None:
        if self._socket is not None:
            self._loop.remove_writer(sock)

    def _on_socket_close(self, *_: object) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket, self._reading = None, False

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        self._count += 1
        if not self._closed:
            self._heard(message)

    def _on_connect(
        self, client: paho.Client, userdata: object, flags: paho.ConnectFlags, reason: ReasonCode, _: Properties | None
    ) -> None:
        if not self._answer.done():
            self._let_in = not reason.is_failure
            self._answer.set_result(str(reason) if reason.is_failure else "")

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _: Properties | None,
    ) -> None:
        if self._tick:
            self._tick.cancel()
        if not self._answer.done():
            self._answer.set_result(str(reason))
        elif self.up:
            self._closed = True
            self._lost(str(reason))

    def _on_subscribe(
        self, client: paho.Client, userdata: object, mid: int, reasons: list[ReasonCode], _: Properties | None
    ) -> None:
        with suppress(KeyError):
            for topic, reason in zip(self._asked.pop(mid), reasons, strict=False):
                if reason.is_failure and not self._closed:
                    self._refused(topic, str(reason))
