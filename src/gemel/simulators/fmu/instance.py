"""One instance of an FMU, inside the child process: begun, fed, stepped, read, saved.

FMPy binds the C functions; the order in which they are called is that of the state machines of FMI 1.0, 2.0 and 3.0.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from typing import Any, Protocol

import numpy as np
from fmpy.fmi1 import FMICallException

from gemel.core.values import Floats
from gemel.simulators.fmu.description import Element, Saved, Variable, Wiring
from gemel.simulators.fmu.library import logger

OFTEN = 10_000
"""How often an FMU that stops short within a step is asked to go on."""
SHORTEST = 2.0**-20
"""The share of a step that one which is refused is cut down to."""
DISCARD, PENDING = 2, 5
"""fmi2Discard, fmi2Pending."""
DO_STEP, LAST_SUCCESSFUL, TERMINATED = 0, 2, 3
"""fmi2DoStepStatus, fmi2LastSuccessfulTime, fmi2Terminated."""
CLOSE = 1e-9
"""Times that differ by less than this share of a step are the same."""


class Ended(RuntimeError):
    """The FMU asked for the end of the simulation, and is to go on. The step in which it asks is a good one."""

    def __init__(self) -> None:
        super().__init__("it ended its simulation")


class Instance(Protocol):
    """An FMU that has begun, at `time` of its own, under the inputs `fed` [u]."""

    time: float
    fed: Floats

    def feed(self, inputs: Floats) -> None:
        """Inputs [u] from now on; where one is NaN the one before holds."""

    def step(self, dt: float, tick: Callable[[float], None]) -> None:
        """`dt` seconds on; `tick` is told its time, as a sign of life."""

    def outputs(self) -> Floats:
        """Outputs [y]."""

    def states(self) -> Floats:
        """Continuous states [n]."""

    def assign(self, states: Floats, parameters: Floats) -> None:
        """States [n] and parameters [p] from now on; NaN leaves one as it is."""

    def save(self) -> Saved | None:
        """Its state, where the FMU can give it."""

    def load(self, saved: Saved) -> None:
        """Be what was saved."""

    def close(self) -> None:
        """Give it back."""


class Values:
    """Numbers of an FMU by name, got and set in one call a type.

    Of an array the elements that are not named are kept as they were last seen, at first as the FMU's start values."""

    def __init__(self, fmu: Any, version: int, elements: Mapping[str, Element], names: Sequence[str]) -> None:
        self.names, self._fmu = tuple(names), fmu
        self._arrays, self._singly = version == 3, version == 1  # FMPy sets Booleans of FMI 1.0 one by one only
        self._kinds: dict[str, _Kind] = {}
        for row, name in enumerate(names):
            variable, place = elements[name]
            kind = variable.type
            if kind == "Enumeration":
                kind = "Integer" if version < 3 else "Int64"
            if kind not in self._kinds:
                self._kinds[kind] = _Kind(kind)
            self._kinds[kind].add(row, variable, place)
        for one in self._kinds.values():
            one.whole = np.nan_to_num(np.array(one.starts, np.float64))

    def get(self) -> Floats:
        """[n], in the order of the names."""
        out = np.empty(len(self.names))
        for name, kind in self._kinds.items():
            get = getattr(self._fmu, f"get{name}")
            found = get(kind.references, len(kind.whole)) if self._arrays else get(kind.references)
            kind.whole[:] = found
            out[kind.rows] = kind.whole[kind.places]
        return out

    def set(self, values: Floats) -> None:
        """[n]; NaN leaves one as it is."""
        for name, kind in self._kinds.items():
            wanted = values[kind.rows]
            known = ~np.isnan(wanted)
            if not known.any():
                continue
            kind.whole[np.array(kind.places, np.intp)[known]] = wanted[known]
            references, whole = kind.references, kind.whole
            if not known.all():
                some = {kind.owners[i] for i in np.flatnonzero(known)}
                references = [kind.references[i] for i in sorted(some)]
                whole = np.concatenate([kind.whole[kind.spans[i]] for i in sorted(some)])
            typed, set_ = kind.typed(whole), getattr(self._fmu, f"set{name}")
            if self._singly:
                for reference, value in zip(references, typed, strict=True):
                    set_([reference], [value])
            else:
                set_(references, typed)


class _Kind:
    """The named variables of one type, their elements one after the other in `whole`."""

    def __init__(self, name: str) -> None:
        self.references: list[int] = []
        self.spans: list[slice] = []
        self.starts: list[float] = []
        self.whole: Floats = np.empty(0)
        self.rows: list[int] = []  # of each name in the list of all names
        self.places: list[int] = []  # of each name in `whole`
        self.owners: list[int] = []  # of each name in `references`
        self._owner: dict[int, int] = {}  # place in `references`
        self._boolean, self._limits = name == "Boolean", None
        if "Int" in name:
            self._limits = np.iinfo("int32" if name == "Integer" else name.lower())

    def add(self, row: int, variable: Variable, place: int) -> None:
        if variable.reference not in self._owner:
            self._owner[variable.reference] = len(self.references)
            self.spans.append(slice(len(self.starts), len(self.starts) + variable.size))
            self.starts += variable.start
            self.references.append(variable.reference)
        owner = self._owner[variable.reference]
        self.rows.append(row)
        self.places.append(self.spans[owner].start + place)
        self.owners.append(owner)

    def typed(self, values: Floats) -> list[Any]:
        if self._boolean:
            return [bool(v >= 0.5) for v in values]
        if self._limits is not None:
            low, high = int(self._limits.min), int(self._limits.max)
            return [low if v <= low else high if v >= high else round(v) for v in values.tolist()]
        return values.tolist()


class Binding:
    """One instance's functions and the values asked of it: what both interfaces begin with."""

    def __init__(self, wiring: Wiring, functions: Any, say: Callable[[str], None], aloud: bool) -> None:
        f = wiring.fmu
        self.wiring, self.fmu = wiring, copy(functions)  # a component of its own, the functions are shared
        self._logged, self._aloud = logger(f.version, say), aloud
        self.instantiate()
        states = wiring.states if f.interface == "cs" else ()
        self.inputs, self.outputs, self.states, self.parameters, self._start = (
            Values(self.fmu, f.version, f.elements, names)
            for names in (wiring.inputs, wiring.outputs, states, wiring.parameters, tuple(wiring.start))
        )
        self._saves, self.onward = f.saves, {} if f.version == 1 else {"noSetFMUStatePriorToCurrentPoint": not f.saves}

    def instantiate(self) -> None:
        f = self.wiring.fmu
        key = {1: "functions", 2: "callbacks", 3: "logMessage"}[f.version]
        self.fmu.instantiate(loggingOn=self._aloud, **{key: self._logged})
        if not self.fmu.component:
            raise RuntimeError("it could not be instantiated")
        if f.categories and not self._aloud:  # what it says of errors, without all else that it could tell
            with suppress(FMICallException):
                self.fmu.setDebugLogging(True, f.categories)

    def free(self) -> None:
        f = self.wiring.fmu
        with suppress(FMICallException):  # some give back there what they hold of the world
            self.fmu.terminate()
        old = "fmi1FreeSlaveInstance" if f.interface == "cs" else "fmi1FreeModelInstance"
        getattr(self.fmu, old if f.version == 1 else f"fmi{f.version}FreeInstance")(self.fmu.component)

    def initialise(self, time: float, values: Sequence[tuple[Values, Floats]]) -> Any:
        """From instantiated to initialised; what an FMI 1.0 model says of its first event is handed back."""
        f, fmu = self.wiring.fmu, self.fmu
        for name, text in self.wiring.texts.items():
            fmu.setString([f.texts[name].reference], [text])
        if f.version == 1 and f.interface == "me":
            fmu.setTime(time)
        if f.version == 2:
            fmu.setupExperiment(tolerance=f.tolerance, startTime=time)
        self._start.set(np.array(list(self.wiring.start.values()), np.float64))
        for some, given in values:
            some.set(given)
        if f.version == 1:
            return fmu.initialize(time) if f.interface == "cs" else fmu.initialize()
        if f.version == 2:
            fmu.enterInitializationMode()
        else:
            fmu.enterInitializationMode(tolerance=f.tolerance, startTime=time)
        fmu.exitInitializationMode()
        return None

    def written(self) -> bytes | None:
        """The state as the FMU writes it; one that cannot after all is not asked again."""
        if not self._saves:
            return None
        try:
            state = self.fmu.getFMUState()
            try:
                return bytes(self.fmu.serializeFMUState(state))
            finally:
                self.fmu.freeFMUState(state)
        except FMICallException:
            self._saves = False
            return None

    def read(self, written: bytes) -> None:
        """Take up a state."""
        state = self.fmu.deserializeFMUState(written)
        self.fmu.setFMUState(state)
        self.fmu.freeFMUState(state)


class CoSimulation:
    """An FMU that brings its own solver."""

    def __init__(
        self, wiring: Wiring, functions: Any, say: Callable[[str], None], states: Floats, parameters: Floats,
        aloud: bool = False,
    ) -> None:  # fmt: skip
        self._fmu = Binding(wiring, functions, say, aloud)
        self.fed = np.full(len(wiring.inputs), math.nan)
        self.time = self._target = wiring.fmu.start
        self._step, self._known, self._over = wiring.step, parameters, False
        self._begin(wiring.fmu.start, states, parameters)

    def feed(self, inputs: Floats) -> None:
        self._fmu.inputs.set(inputs)
        np.copyto(self.fed, inputs, where=~np.isnan(inputs))

    def step(self, dt: float, tick: Callable[[float], None]) -> None:
        if self._over:
            raise Ended()
        fmu, self._target = self._fmu.wiring.fmu, self._target + dt
        if fmu.any_step:
            count = max(math.ceil(dt / self._step - CLOSE), 1) if self._step else 1
            for left in range(count, 0, -1):
                self._go((self._target - self.time) / left, tick)
                tick(self.time)
                if self._over:
                    return
            return
        self._step = self._step or dt  # the first step is then the only length it is ever asked for
        while self.time + self._step <= self._target + CLOSE * self._step and not self._over:
            self._go(self._step, tick)
            tick(self.time)

    def outputs(self) -> Floats:
        return self._fmu.outputs.get()

    def states(self) -> Floats:
        return self._fmu.states.get()

    def assign(self, states: Floats, parameters: Floats) -> None:
        """Begins anew from the states, at the same time."""
        held = np.where(np.isnan(states), self.states(), states)
        known = np.where(np.isnan(parameters), self._known, parameters)
        time, target = self.time, self._target
        self._fmu.free()
        self._fmu.instantiate()
        self._begin(time, held, known)
        self._target = target

    def save(self) -> Saved | None:
        written = self._fmu.written()
        if written is None:
            return None
        return Saved(written, self.time, self._target, self._step, math.inf, self._over, self.fed.copy())

    def load(self, saved: Saved) -> None:
        self._fmu.read(saved.state)
        self.time, self._target, self._step = saved.time, saved.target, saved.step
        self._over, self.fed = saved.over, saved.inputs.copy()

    def close(self) -> None:
        self._fmu.free()

    def _begin(self, time: float, states: Floats, parameters: Floats) -> None:
        fmu = self._fmu
        fmu.initialise(time, [(fmu.parameters, parameters), (fmu.states, states), (fmu.inputs, self.fed)])
        self.time = self._target = time
        self.fed = fmu.inputs.get()
        self._known, self._over = parameters, False

    def _go(self, h: float, tick: Callable[[float], None]) -> None:
        """One communication step. Where the FMU stops short of its end, it is asked for the rest; where it refuses a
        step, for half of it."""
        end, part = self.time + h, h
        for _ in range(OFTEN):
            reached = self._asked(part)
            if end - reached <= CLOSE * h or self._over:
                self.time = end
                return
            if reached > self.time:
                self.time, part = reached, min(part, end - reached)
                tick(self.time)
            elif self._fmu.wiring.fmu.any_step and part > SHORTEST * h:
                part /= 2
            else:
                break
        raise RuntimeError(f"it does not get through a step of {h:g} s")

    def _asked(self, h: float) -> float:
        """The time that a step of `h` seconds reaches."""
        fmu, version = self._fmu.fmu, self._fmu.wiring.fmu.version
        try:
            said = fmu.doStep(self.time, h, **self._fmu.onward)
        except FMICallException as error:
            status = error.status
            while status == PENDING and version == 2:  # it computes in a thread of its own
                threading.Event().wait(0.0005)
                status = fmu.getStatus(DO_STEP)
            if status not in (0, 1, DISCARD):
                raise
            return self.time + h if status != DISCARD else self._stopped()
        if version == 3:
            _, over, early, last = said
            self._over = bool(over)
            return float(last) if early else self.time + h
        return self.time + h

    def _stopped(self) -> float:
        """The time to which a step came that is discarded; where the FMU does not say, the one it began at."""
        fmu, last = self._fmu.fmu, math.nan
        if self._fmu.wiring.fmu.version == 2:
            with suppress(FMICallException):
                self._over = bool(fmu.getBooleanStatus(TERMINATED))
            with suppress(FMICallException):
                last = float(fmu.getRealStatus(LAST_SUCCESSFUL))
        return last if last > self.time else self.time
