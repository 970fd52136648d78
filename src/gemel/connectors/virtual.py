"""A simulator that plays the plant: telemetry out of it, commands into it."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np

from gemel.core.clock import Data
from gemel.core.errors import ConfigError, InputError, PartError, nearest
from gemel.core.registry import build, declared
from gemel.core.setting import Setting
from gemel.core.units import duration, instant
from gemel.core.values import Ack, Batch, Belief, Command, Floats
from gemel.loop.simulate import Simulator

log = logging.getLogger("gemel.virtual")
DAY = 86_400 * 10**9


@declared
class Virtual:
    """Any simulator as a plant, on the twin's clock; the same seed gives the same telemetry, commands apart.

    A signal's address is `connector:name` (or `connector:anything#name`), the name of an output or an input. Inputs
    follow their profile until they are commanded; a command holds until the next one, also when it has expired. A
    step of the simulator is one spacing long; a simulator that draws noise is a plant with noise.

    A plant whose simulator fails falls silent, with one line in the log, and refuses commands.

    Delivery: every reading once; a stream that is opened again starts over. `confirm` has nothing to do.

    - `simulator`: the plant, `{ kind = "thermal", ... }`.
    - `every`: spacing of the telemetry. `length`: how long it goes on; empty for ever.
    - `inputs`: input -> a number, or `{ base, daily, peak = "14h", noise }`: base, plus a daily cosine of that
      amplitude that peaks so long after midnight UTC, plus white noise. What is not named has the simulator's start
      value, or is 0.
    - `noise`: `{ name = standard deviation }` of the sensors.
    - `start`: when the plant begins, ISO 8601; empty for the clock's time. `seed`: added to the twin's.
    """

    def __init__(
        self,
        simulator: Mapping[str, Any],
        every: str = "1min",
        length: str = "",
        inputs: Mapping[str, Any] | None = None,
        noise: Mapping[str, float] | None = None,
        start: str = "",
        seed: int = 0,
    ) -> None:
        self._simulator: Simulator = build("simulators", simulator)
        names = (*self._simulator.inputs, *self._simulator.outputs)
        problems = [f"virtual: inputs names '{n}'{nearest(n, self._simulator.inputs)}" for n in inputs or {}
                    if n not in self._simulator.inputs]  # fmt: skip
        problems += [f"virtual: noise names '{n}'{nearest(n, names)}" for n in noise or {} if n not in names]
        try:
            self._every, self._length = duration(every), duration(length) if length else 0
            self._start = instant(start) if start else 0
            usual = {**getattr(self._simulator, "defaults", {}), **(inputs or {})}
            self._profiles = {n: _Profile(usual.get(n, 0.0)) for n in self._simulator.inputs}
        except (InputError, TypeError) as error:
            problems.append(f"virtual: {error}")
        if problems:
            raise ConfigError(problems, f"the simulator has {', '.join(names)}")
        self._noise, self._seed = dict(noise or {}), seed
        self._names: tuple[str, ...] = names
        self._setpoints: dict[str, float] = {}
        self._acks: dict[str, Ack] = {}
        self._running = False

    def bind(self, setting: Setting) -> None:
        self._setting = setting
        found = setting.signals.at(setting.connector)
        self._places = {p: part or address for address, held in found.items() for p, part in held}
        unknown = [n for n in self._places.values() if n not in self._names]
        if unknown:
            raise ConfigError(
                [f"the virtual plant has no '{n}'{nearest(n, self._names)}" for n in unknown],
                f"it has {', '.join(self._names)}",
            )

    async def stream(self) -> AsyncIterator[Batch]:
        clock, seed = self._setting.clock, self._setting.seed + self._seed
        start = time = self._start or (0 if isinstance(clock, Data) else clock.now())
        prior = self._simulator.init(None, seed)
        memory = self._simulator.init(_at(self._simulator, prior, start), seed)
        noise = np.array([self._noise.get(n, 0.0) for n in self._names])
        self._running = True
        try:
            while not self._length or time < start + self._length:
                time += self._every
                if not isinstance(clock, Data) and not await clock.until(time, order=0):
                    return
                rng = np.random.default_rng((seed, time))
                inputs = self._inputs(time, rng)
                try:
                    memory, outputs = self._simulator.step(memory, inputs, self._every / 1e9)
                except PartError as error:  # a plant that breaks falls silent, and its twin goes on
                    log.error("the virtual plant has stopped: %s", error)
                    return
                values = np.concatenate([inputs, outputs])[:, 0] + noise * rng.standard_normal(len(noise))
                heard = [values[self._names.index(name)] for name in self._places.values()]
                yield Batch.of(list(self._places), [time] * len(heard), heard, sequence=time)
        finally:
            self._running = False

    def confirm(self, batch: Batch) -> None:
        """Nothing is kept here."""

    async def send(self, command: Command) -> Ack:
        if command.id not in self._acks:
            now = self._setting.clock.now()
            place = self._setting.signals.names.index(command.signal) if command.signal in self._setting.signals else -1
            name, text = self._places.get(place, ""), ""
            if name not in self._simulator.inputs:
                text = f"the virtual plant has no input '{name or command.signal}'"
            elif command.expires <= now:
                text = "expired"
            state = "refused" if text else "done"
            if not text and not self._running:
                state, text = "failed", "the virtual plant is not running"
            if not text:
                self._setpoints[name] = command.value
            self._acks[command.id] = Ack(command.id, state, now, text)
        return self._acks[command.id]

    def _inputs(self, time: int, rng: np.random.Generator) -> Floats:
        """Inputs [u, 1] at `time`."""
        values = [p.value(time, rng) for p in self._profiles.values()]
        names = self._simulator.inputs
        known = [self._setpoints.get(n, v) for n, v in zip(names, values, strict=True)]
        return np.array(known, np.float64).reshape(len(names), 1)


class _Profile:
    """What an input is over the day."""

    def __init__(self, spec: Any) -> None:
        given = dict(spec) if isinstance(spec, Mapping) else {"base": spec}
        self.base, self.daily = float(given.pop("base", 0.0)), float(given.pop("daily", 0.0))
        self.peak, self.noise = duration(given.pop("peak", "14h")), float(given.pop("noise", 0.0))
        if given:
            known = ("base", "daily", "peak", "noise")
            raise InputError(f"an input has no key '{next(iter(given))}'{nearest(next(iter(given)), known)}")

    def value(self, time: int, rng: np.random.Generator) -> float:
        cycle = math.cos(2 * math.pi * ((time - self.peak) % DAY) / DAY)
        return self.base + self.daily * cycle + self.noise * float(rng.standard_normal())


def _at(simulator: Simulator, memory: Any, time: int) -> Belief | None:
    """The prior draw as a belief at `time`, for simulators that know the season; None for others."""
    extract = getattr(simulator, "extract", None)
    return None if extract is None else Belief(tuple(simulator.states), extract(memory), time)
