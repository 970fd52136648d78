"""A transformer with a controller of its own, and a twin that only watched it: what shadow mode, replay and standing
are tried on. Made once a process."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from gemel import Twin, load
from gemel.core.units import SECOND, duration, instant
from gemel.core.values import Ack, Batch, Command, Floats, Signals
from gemel.packs.energy.transformer import Fans, Plant, Row

HOUR = 3600 * SECOND
START = instant("2025-04-20")
DAYS, LEARNING = 7, 3


def thermostat(plant: Plant) -> float:
    """The controller that is there: eager, and it does not know what its fans cost."""
    return 2.0 if plant.tank.oil > 50 else 1.0 if plant.tank.oil > 42 else 0.0


def obey(plant: Plant, stage: float) -> None:
    plant.obey(Command(f"order-{plant.time}", "fan", stage, plant.time + HOUR))


def plant() -> Plant:
    return Plant(start="2025-04-20", history="", fan_fails="", sensor_drifts="", seed=3)


class Beside:
    """What the plant said while its own controller ran it."""

    def __init__(self, signals: Signals) -> None:
        self._fields = {part: place for held in signals.at("plant").values() for place, part in held}

    async def stream(self) -> AsyncIterator[Batch]:
        held, rows = plant(), list[Row]()
        while held.time < START + DAYS * 24 * HOUR:
            obey(held, thermostat(held))
            rows.append(held.tick())
        points = [(i, t, row[n]) for t, row in rows for n, i in self._fields.items() if n in row]
        signal, time, value = zip(*points, strict=True)
        yield Batch.of(signal, time, value)

    def confirm(self, batch: Batch) -> None:
        """Nothing to forget."""

    async def send(self, command: Command) -> Ack:
        raise AssertionError("a twin that observes sends nothing")


@cache
def watched() -> Path:
    """The twin file of a twin that has observed a week."""
    text = resources.files("gemel.packs.energy").joinpath("transformer.toml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^plan = .*$", "", text)
    text = text.replace('every = "5min"', 'every = "15min"', 1).replace('mode = "auto"', 'mode = "observe"')
    text = re.sub(r"\[\[detectors]](.|\n)*?\n\n", "", text)
    text = re.sub(r"forecaster = .*", FORECASTER, text)
    file = Path(tempfile.mkdtemp(prefix="gemel-")) / "transformer.toml"
    file.write_text(text, encoding="utf-8")
    twin = load(file)
    assert twin.policy
    twin.policy.every = duration("6h")
    twin.connectors = {"plant": Beside(twin.signals)}
    twin.run()
    return file


FORECASTER = """forecaster = { kind = "pool", every = "6h", step = "15min", context = "7d", report = ["oil", "load"], \
members = [{ kind = "seasonal_naive", season = "24h" }, { kind = "naive" }] }"""


def opened() -> Twin:
    return load(watched()).open()


def truth(times: list[int], plans: list[Floats], step: int) -> Floats:
    """What the emulator's own books say of each window: the cost under its controller and under a plan, [w, 2]."""
    held, found = plant(), []
    for time, plan in zip(times, plans, strict=True):
        while held.time < time:
            obey(held, thermostat(held))
            held.tick()

        def planned(one: Plant, plan: Floats = plan, time: int = time) -> float:
            return float(plan[min((one.time - time) // step, len(plan) - 1)])

        found.append([_cost(deepcopy(held), len(plan) * step, rule) for rule in (thermostat, planned)])
    return np.array(found)


def _cost(one: Plant, span: int, rule: Callable[[Plant], float]) -> float:
    """The objective of the twin file, minute by minute, from what only the emulator knows."""
    total, end, stage = 0.0, one.time + span, one.fans.stage
    while one.time < end:
        obey(one, rule(one))
        one.tick()
        power = Fans.POWER * one.fans.running * (1.09 - 0.003 * one._air)
        total += (0.15 * power + 3 * 2 ** ((one.tank.hot_spot - 98) / 6)) / 60 + 0.5 * abs(one.fans.stage - stage)
        stage = one.fans.stage
    return total
