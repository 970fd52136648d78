"""Commands and acks on the wire, as both sides read them: a connector that sends, a plant that obeys.

A command is `{"id", "signal", "value", "time", "expires"}`, an ack `{"id", "state", "text"}`; times are ISO 8601, UTC.
A plant acts on an id once, and not after `expires`.
"""

from __future__ import annotations

import msgspec
import numpy as np

from gemel.connectors.payload import epoch
from gemel.core.errors import InputError
from gemel.core.values import Ack, Command

ACK_STATES = ("done", "accepted", "refused", "failed")
_parse = msgspec.json.Decoder().decode


def write_command(command: Command, now: int) -> bytes:
    """A command on the wire: `{"id", "signal", "value", "time", "expires"}`, times in ISO 8601."""
    return msgspec.json.encode(
        {
            "id": command.id,
            "signal": command.signal,
            "value": command.value,
            "time": _iso(now),
            "expires": _iso(command.expires),
        }
    )


def read_command(payload: bytes | bytearray) -> Command:
    """The command in a payload, as a plant reads it; raises `InputError` when there is none."""
    try:
        said = _parse(payload)
        return Command(str(said["id"]), str(said.get("signal", "")), float(said["value"]), epoch(said["expires"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"not a command: {error}", 'a command is {"id", "signal", "value", "time", "expires"}'
        ) from None


def write_ack(ack: Ack) -> bytes:
    """What a plant answers: `{"id", "state", "text"}`."""
    return msgspec.json.encode({"id": ack.command, "state": ack.state, "text": ack.text})


def read_ack(payload: bytes | bytearray, now: int, id: str = "") -> Ack | None:
    """The ack in a payload; `id` is the message's correlation id, for a plant that does not repeat it inside."""
    try:
        said = _parse(payload)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        return Ack(id, "failed", now, "the answer cannot be read") if id else None
    id = str(said.get("id", id))
    state = said.get("state")
    text = str(said.get("text", ""))
    if state not in ACK_STATES:
        state, text = "failed", f"the answer has an unknown state '{state}' {text}".strip()
    return Ack(id, state, now, text) if id else None


def _iso(ns: int) -> str:
    return str(np.datetime64(ns, "ns").astype("datetime64[ms]")) + "Z"
