"""A transformer that lives in seconds: it has a simulator, a belief, a policy and a finding, for those who ask it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np

from gemel import Asset, Signal, Stage, Twin
from gemel.core.clock import Wall
from gemel.core.values import Ack, Batch, Command, Finding
from gemel.estimators.enkf import Enkf
from gemel.forecasters.naive import Naive
from gemel.loop.decide import Situation
from gemel.simulators.thermal import Thermal
from gemel.stores.duckdb import Duckdb
from serve.served import MINUTE, Line, Wind

NAMES = ("load", "ambient", "oil", "fan_power")


class Plant(Line):
    """Two hundred minutes of a hot afternoon, and then the present."""

    async def stream(self) -> AsyncIterator[Batch]:
        now = Wall().now() // MINUTE * MINUTE
        stamps = now - np.arange(200)[::-1] * MINUTE
        for i, value in enumerate((30.0, 25.0, 75.0, 3.0)):
            yield Batch.of(np.full(200, i), stamps, value + 0.1 * np.sin(np.arange(200)))
        await asyncio.Event().wait()

    async def send(self, command: Command) -> Ack:
        self.sent.append(command)
        return Ack(command.id, "done", command.expires)


class Hand:
    """Finds the oil too hot once, and for good. `text` is what it says of that."""

    def __init__(self, text: str) -> None:
        self._text, self._found = text, False

    def inspect(self, situation: Situation) -> list[Finding]:
        if self._found or not situation.latest["oil"] > 70:
            return []
        self._found = True
        start = situation.now - 30 * MINUTE
        found = Finding("hot-oil", "oil too hot", "oil", start, situation.now, 0.8, 0.95, self._text)
        return [replace(found, evidence={"load": 0.7, "score": 9.25}, by="hand")]


def cooler(
    folder: Path, plant: Line, name: str = "tx", text: str = "oil is 5 degC above expected", **named: str
) -> Twin:
    """`named`: other units, kinds and texts for things, by their usual name."""
    word = {"MVA": "MVA", "asset": "tx1", "kind": "transformer", **named}
    return Twin(
        name=name,
        assets=[Asset(word["asset"], word["kind"])],
        signals=[
            Signal("load", unit=word["MVA"], address="line:load", asset=word["asset"]),
            Signal("ambient", unit="degC", address="line:ambient"),
            Signal("oil", unit="degC", low=-20, high=120, address="line:oil", asset=word["asset"]),
            Signal("fan_power", unit="kW", low=0, high=20, address="line:fan_power"),
            Signal("fan", role="controlled", low=0, high=2, safe=2, address="line:fan"),
        ],
        every="1s",
        horizon="2min",
        connectors={"line": plant},
        store=Duckdb(str(folder / f"{name}.gemel")),
        simulator=Thermal(load="load", rated=40.0, ambient="ambient", fan="fan", fan_kw=1.5),
        estimator=Enkf(noise={"oil": 0.3, "fan_power": 0.2}, members=8),
        forecaster=Stage(Naive(), every=10 * 10**9, step=MINUTE, context=100 * MINUTE),
        detectors=[Hand(text)],
        policy=Stage(Wind(), every=5 * 10**9),
        mode="advise",
    )


def settled(api: httpx.Client, name: str = "tx") -> None:
    """Wait until it has found something and decided something."""
    for _ in range(400):
        if api.get(f"/v1/twins/{name}/findings").json() and api.get(f"/v1/twins/{name}/decisions").json():
            return
        time.sleep(0.05)
    raise AssertionError("the twin has not come to life")
