"""Model exchange: the FMU gives derivatives, CVODE of SUNDIALS (Hindmarsh et al. 2005, ACM TOMS 31) solves them.

Legend: x continuous states, z event indicators, t the FMU's own time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from ctypes import POINTER, byref, c_double, c_int, c_void_p
from typing import Any

import numpy as np
from fmpy import sundials
from fmpy.fmi1 import FMICallException

from gemel.core.values import Floats
from gemel.simulators.fmu.description import Saved, Wiring
from gemel.simulators.fmu.instance import CLOSE, DISCARD, Binding, Ended

EVENTS = 10_000
"""Events within one step; an FMU that has more keeps having them."""
ROUNDS = 1_000
"""Rounds of event iteration at one time."""
STEPS = 200_000
"""Steps of the solver from one event to the next."""
PARTS = 10
"""A step is solved in at least so many parts, so that an event that comes and goes is seen."""


class ModelExchange:
    """An FMU that leaves the solving to its caller."""

    def __init__(
        self, wiring: Wiring, functions: Any, say: Callable[[str], None], states: Floats, parameters: Floats,
        aloud: bool = False,
    ) -> None:  # fmt: skip
        self._fmu = Binding(wiring, functions, say, aloud)
        self._fixed = not all(wiring.fmu.elements[n][0].tunable for n in wiring.parameters)
        self._solver: Solver | None = None
        self.time, self._event, self._over = wiring.fmu.start, math.inf, False
        self._begin(wiring.fmu.start, parameters, np.full(len(wiring.inputs), math.nan))
        if not np.isnan(states).all():
            self.assign(states, np.full(len(parameters), math.nan))

    def feed(self, inputs: Floats) -> None:
        """What is new comes as an event, for it may jump."""
        new = ~np.isnan(inputs) & (inputs != self.fed)
        if not new.any():
            return
        np.copyto(self.fed, inputs, where=new)
        self._happen(lambda: self._fmu.inputs.set(inputs))

    def step(self, dt: float, tick: Callable[[float], None]) -> None:
        if self._over:
            raise Ended()
        end, fmu, events = self.time + dt, self._fmu, 0
        fine = CLOSE * dt
        solver = self._reset(dt)
        while end - self.time > fine and not self._over:
            target = min(end, self._event)
            crossed = False
            if target - self.time > fine:
                crossed, self.time = solver.go(target)
                tick(self.time)
                fmu.fmu.setTime(self.time)
            due = self._event - self.time <= fine
            stepped = fmu.wiring.fmu.completes and self._completed()
            if crossed or due or stepped:
                events += 1
                if events > EVENTS:
                    raise RuntimeError(f"it has more than {EVENTS} events within {dt:g} s")
                self._happen()
                self._reset(dt)
        self.time = end
        fmu.fmu.setTime(end)

    def outputs(self) -> Floats:
        return self._fmu.outputs.get()

    def states(self) -> Floats:
        x = np.empty(self._nx)
        if self._nx:
            self._fmu.fmu.getContinuousStates(_pointer(x), self._nx)
        return x

    def assign(self, states: Floats, parameters: Floats) -> None:
        """Parameters that are fixed need a new beginning, at the same time; other memory than states is then lost."""
        held, known = np.where(np.isnan(states), self.states(), states), self._fmu.parameters.get()
        wanted = np.where(np.isnan(parameters), known, parameters)
        if self._fixed and (wanted != known).any():
            self._fmu.free()
            self._fmu.instantiate()
            self._begin(self.time, wanted, self.fed)
        if self._nx:
            self._fmu.fmu.setContinuousStates(_pointer(held), self._nx)
        if self._fmu.wiring.fmu.completes:
            self._completed()
        self._happen(None if self._fixed else lambda: self._fmu.parameters.set(wanted))

    def save(self) -> Saved | None:
        written = self._fmu.written()
        return (
            None
            if written is None
            else Saved(written, self.time, self.time, 0.0, self._event, self._over, self.fed.copy())
        )

    def load(self, saved: Saved) -> None:
        self._fmu.read(saved.state)
        self._fmu.fmu.setTime(saved.time)  # some leave it out of their state
        self.time, self._event, self._over, self.fed = saved.time, saved.event, saved.over, saved.inputs.copy()

    def close(self) -> None:
        self._fmu.free()

    def _begin(self, time: float, parameters: Floats, inputs: Floats) -> None:
        fmu, self.time, self._event, self._over = self._fmu, time, math.inf, False
        first = fmu.initialise(time, [(fmu.parameters, parameters), (fmu.inputs, inputs)])
        if fmu.wiring.fmu.version == 1:
            self._said(first)
        else:
            self._update()
            fmu.fmu.enterContinuousTimeMode()
        self.fed, self._solver = fmu.inputs.get(), None
        self._nx, self._nz = self._sizes()
        if self._nx != len(fmu.wiring.states):
            raise RuntimeError(f"it has {self._nx} continuous states, its description says {len(fmu.wiring.states)}")

    def _sizes(self) -> tuple[int, int]:
        f, fmu = self._fmu.wiring, self._fmu.fmu
        if f.fmu.version == 3:
            return fmu.getNumberOfContinuousStates(), fmu.getNumberOfEventIndicators()
        return len(f.states), f.fmu.indicators

    def _reset(self, dt: float) -> Solver:
        if self._solver is None:
            self._solver = Solver(self._fmu, self._nx, self._nz, self.time)
        self._solver.begin(self.time, dt / PARTS)
        return self._solver

    def _happen(self, change: Callable[[], None] | None = None) -> None:
        """An event, at which values may change."""
        fmu, old = self._fmu.fmu, self._fmu.wiring.fmu.version == 1
        if not old:
            fmu.enterEventMode()
        if change is not None:
            change()
        self._update()
        if not old:
            fmu.enterContinuousTimeMode()

    def _update(self) -> None:
        """Event iteration."""
        fmu, version = self._fmu.fmu, self._fmu.wiring.fmu.version
        again = {1: "eventUpdate", 2: "newDiscreteStates", 3: "updateDiscreteStates"}[version]
        for _ in range(ROUNDS):
            if not self._said(getattr(fmu, again)()):
                return
        raise RuntimeError(f"its events do not settle within {ROUNDS} rounds")

    def _said(self, event: tuple[Any, ...]) -> bool:
        """Takes up what the FMU says of an event; whether it needs another round."""
        more, over = (not event[0], event[3]) if self._fmu.wiring.fmu.version == 1 else event[:2]
        self._over = self._over or bool(over)
        self._event = float(event[5]) if event[4] else math.inf
        return bool(more)

    def _completed(self) -> bool:
        """Says that a step is completed; whether the FMU wants an event then."""
        said = self._fmu.fmu.completedIntegratorStep(**self._fmu.onward)
        if self._fmu.wiring.fmu.version == 1:
            return bool(said)
        self._over = self._over or bool(said[1])
        return bool(said[0])


def _pointer(values: Floats) -> Any:
    return values.ctypes.data_as(POINTER(c_double))


CV_NORMAL, CV_STOP, CV_ROOT = 1, 1, 2
"""Constants of cvode.h: the task, and two of its answers."""
STOP = sundials.libraries.sundials_cvode.CVodeSetStopTime
STOP.argtypes, STOP.restype = [c_void_p, c_double], c_int


class Solver(sundials.CVodeSolver):  # type: ignore[misc]
    """CVODE around an FMU; what the FMU's functions raise comes out of `go`."""

    def __init__(self, binding: Binding, nx: int, nz: int, time: float) -> None:
        fmu, version = binding.fmu, binding.wiring.fmu.version
        super().__init__(
            nx=nx, nz=nz, get_x=fmu.getContinuousStates, set_x=fmu.setContinuousStates,
            get_dx=fmu.getContinuousStateDerivatives if version == 3 else fmu.getDerivatives,
            get_z=fmu.getEventIndicators, set_time=fmu.setTime, input=_Nothing(), startTime=time,
            get_nominals=fmu.getNominalContinuousStates if version == 1 else fmu.getNominalsOfContinuousStates,
            relativeTolerance=binding.wiring.rtol, maxNumSteps=STEPS,
        )  # fmt: skip
        self.raised: BaseException | None = None

    def begin(self, time: float, longest: float) -> None:
        """From the FMU's states at `time` on, as if there had been nothing before."""
        self.reset(time)
        wrong = ~(np.isfinite(self.npabstol) & (self.npabstol > 0))  # a nominal value of 0 is none
        self.npabstol[wrong] = self.reltol
        sundials.CVodeSVtolerances(self.cvode_mem, self.reltol, self.abstol)
        sundials.CVodeSetMaxStep(self.cvode_mem, longest)

    def go(self, until: float) -> tuple[bool, float]:
        """Whether an event indicator crossed zero, and the time it is then."""
        self.raised, self.error_info = None, None
        STOP(self.cvode_mem, until)
        reached = c_double(0.0)
        flag = sundials.CVode(self.cvode_mem, until, self.x, byref(reached), CV_NORMAL)
        if flag < 0:
            if self.raised is not None:
                raise self.raised
            raise RuntimeError(f"CVODE: {self.error_info[3] if self.error_info else f'code {flag}'}")
        if not self.discrete:
            self.set_x(self.px, self.nx)
        return flag == CV_ROOT, until if flag == CV_STOP else reached.value

    def f(self, t: float, y: Any, ydot: Any, user: Any) -> int:
        return self._kept(super().f, t, y, ydot, user)

    def g(self, t: float, y: Any, out: Any, user: Any) -> int:
        return self._kept(super().g, t, y, out, user)

    def _kept(self, call: Callable[..., int], *given: Any) -> int:
        """A C library cannot be raised through: 1 asks it for a smaller step, -1 stops it."""
        try:
            return call(*given)
        except FMICallException as error:
            self.raised = error
            return 1 if error.status == DISCARD else -1
        except BaseException as error:
            self.raised = error
            return -1


class _Nothing:
    """Inputs that do not change within a step."""

    def apply(self, time: float) -> None:
        """Nothing to do."""
