"""Pictures through the doors: bytes of a message, base64 in an object, a path in a table."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from gemel.connectors.mqtt import Mqtt
from gemel.connectors.payload import Decoder, Message
from gemel.connectors.replay import Replay
from gemel.core import png
from gemel.core.blobs import Blobs
from gemel.core.clock import Data, Wall
from gemel.core.setting import Setting
from gemel.core.units import SECOND, instant
from gemel.core.values import BAD, GOOD, Batch, Signal, Signals
from servers import Mosquitto

NOW = instant("2024-05-01T12:00:00")
CAMERA = Signals([Signal("camera", type="blob", address="plant:cam"), Signal("size", address="plant:both#size")])
PICTURE = png.encode(np.arange(64, dtype=np.uint8).reshape(8, 8))
TEXT = base64.b64encode(PICTURE).decode()


def heard(payload: bytes | object, blobs: Blobs | None, address: str = "", largest: int = 1_000_000) -> Batch:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    table = {"cam": [(0, address)]} | ({"both": [(0, "shot"), (1, "size")]} if address else {})
    return Decoder(CAMERA, table, blobs=blobs, largest=largest).decode([Message("cam", raw, NOW)], NOW)


def test_the_bytes_of_a_message_are_kept_and_the_point_is_their_code() -> None:
    blobs = Blobs(None)
    batch = heard(PICTURE, blobs)
    assert (batch.time[0], batch.quality[0]) == (NOW, GOOD)
    assert blobs.get(float(batch.value[0])) == PICTURE


@pytest.mark.parametrize(
    "payload", [{"time": NOW // SECOND - 5, "value": TEXT}, {"ts": NOW // SECOND - 5, "shot": TEXT}]
)
def test_an_object_brings_its_time_and_base64(payload: dict[str, object]) -> None:
    blobs = Blobs(None)
    batch = heard(payload, blobs, "" if "value" in payload else "shot")
    assert batch.time[0] == NOW - 5 * SECOND
    assert blobs.get(float(batch.value[0])) == PICTURE


@pytest.mark.parametrize(
    ("payload", "said"),
    [({"value": "not base64!"}, "base64"), ({"value": 7}, "base64"), ({"value": ""}, "0 bytes")],
)
def test_what_is_no_blob_is_a_bad_point_and_an_event(payload: object, said: str) -> None:
    batch = heard(payload, Blobs(None))
    assert (batch.quality[0], bool(np.isnan(batch.value[0]))) == (BAD, True)
    assert said in batch.events[0].text


def test_too_large_is_said_by_the_connector_and_by_the_folder() -> None:
    refused = heard(PICTURE, Blobs(None), largest=20)
    assert not len(refused)
    assert "larger than max_payload = 20" in refused.events[0].text
    held = heard(PICTURE, Blobs(None, largest=20))
    assert held.quality[0] == BAD
    assert "too large" in held.events[0].text


def test_a_twin_without_a_folder_says_so() -> None:
    assert "keeps no blobs" in heard(PICTURE, None).events[0].text


def test_a_table_names_files(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(PICTURE)
    (tmp_path / "big.png").write_bytes(bytes(2000))
    (tmp_path / "a.csv").write_text(
        "time,cam\n2024-05-01 12:00:00,pictures/a.png\n2024-05-01 12:01:00,\n"
        "2024-05-01 12:02:00,gone.png\n2024-05-01 12:03:00,big.png\n2024-05-01 12:04:00,pictures/a.png\n"
    )
    blobs = Blobs(tmp_path / "t.gemel.blobs", largest=1000)
    source = Replay(path="a.csv")
    source.bind(Setting("t", "plant", Signals(CAMERA[:1]), Data(), SECOND, SECOND, 0, tmp_path, blobs=blobs))
    (batch,) = asyncio.run(_all(source))
    assert [bool(q) for q in batch.quality == BAD] == [False, True, True, False]
    assert batch.value[0] == batch.value[3]
    assert blobs.get(float(batch.value[0])) == PICTURE
    told = " ".join(e.text for e in batch.events)
    assert "'gone.png' cannot be read" in told
    assert "'big.png' has 2,000 bytes" in told
    assert blobs.kept().count == 1


async def _all(source: Replay) -> list[Batch]:
    return [batch async for batch in source.stream()]


@pytest.mark.server
def test_a_picture_through_a_real_broker(mosquitto: Mosquitto, tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "t.gemel.blobs")

    async def first(stream: AsyncIterator[Batch]) -> Batch:
        return await anext(stream)

    async def listened() -> Batch:
        mqtt = Mqtt(mosquitto.url)
        mqtt.bind(Setting("blob", "plant", Signals(CAMERA[:1]), Wall(), SECOND, SECOND, 0, tmp_path, blobs=blobs))
        stream = mqtt.stream()
        nothing = asyncio.create_task(first(stream))
        for _ in range(200):
            if mqtt._line and mqtt._line.up:
                break
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        await asyncio.to_thread(mosquitto.publish, "cam", PICTURE)
        async with asyncio.timeout(15):
            batch = await nothing
        mqtt.confirm(batch)
        await stream.aclose()  # type: ignore[attr-defined]
        return batch

    batch = asyncio.run(listened())
    assert blobs.get(float(batch.value[0])) == PICTURE
    assert len(list(tmp_path.rglob("*.png"))) == 1
