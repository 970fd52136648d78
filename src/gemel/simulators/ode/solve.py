"""Solving dx/dt = f for many members at once: fixed-step Runge-Kutta, and Dormand-Prince 5(4) with events.

Every member has its own steps and errors, so that one among many is solved as it would be alone.

Legend: f the derivative, t time [m], x states [k, m], h steps [m], b c stage weights and places, q interpolant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from gemel.core.errors import PartError
from gemel.core.units import stamp
from gemel.core.values import Floats

HUGE = 1e12
"""A state beyond this is taken as unstable."""
MOST = 20_000
"""Steps of a member within one call."""
OFTEN = 300
"""Events of a member within one call; one that keeps firing would never end."""

Rate = Callable[[Floats, Floats, Floats, Floats], Floats]
"""(t [m], x [k, m], u [u, m], p [p, m]) -> [rows, m]."""


@dataclass(frozen=True)
class Problem:
    """What is to be solved: `f` under inputs and parameters held over the call, states kept within low and high [k, 1].

    `spare` is how many members may fail: their states become NaN, and the others go on; one more is an error.
    With `events` and `reset`, a member is stopped where a row of `events` rises through zero, given the states that
    `reset(row, t, x, u, p)` says, and goes on."""

    f: Rate
    u: Floats
    p: Floats
    names: Sequence[str]
    low: Floats
    high: Floats
    events: Rate | None = None
    reset: Callable[[int, Floats, Floats, Floats, Floats], Floats] | None = None
    spare: int = 0

    def of(self, index: Any) -> Problem:
        """The same for some of the members."""
        return replace(self, u=self.u[:, index], p=self.p[:, index])

    def rate(self, t: Floats, x: Floats) -> Floats:
        return self.f(t, x, self.u, self.p)

    def within(self, x: Floats) -> Floats:
        """In place."""
        np.maximum(x, self.low, out=x)
        return np.minimum(x, self.high, out=x)


def rk4(problem: Problem, t: Floats, x: Floats, dt: float, steps: int) -> Floats:
    """The states `dt` seconds on, by `steps` steps of the classical method of order 4 (Kutta 1901)."""
    h = dt / steps
    with np.errstate(all="ignore"):
        for i in range(steps):
            now = t + i * h
            a = problem.rate(now, x)
            b = problem.rate(now + h / 2, x + h / 2 * a)
            c = problem.rate(now + h / 2, x + h / 2 * b)
            d = problem.rate(now + h, x + h * c)
            y = x + h / 6 * (a + 2 * (b + c) + d)
            ill = ~(np.abs(y) < HUGE).all(axis=0)
            if ill.any():
                lost = ill & ~np.isnan(x).any(axis=0)  # just now
                if lost.any() and ill.sum() > problem.spare:
                    stages = np.array([a, b, c, d])[:, :, lost]
                    _refuse(problem.of(lost), now[lost], x[:, lost], y[:, lost], stages, np.full(lost.sum(), h))
                y[:, ill] = np.nan
            x = problem.within(y)
    return x


# Dormand and Prince 1980, J. Comp. Appl. Math. 6; the last weights, of the continuous extension, after Hairer, Norsett
# and Wanner 1993, Solving Ordinary Differential Equations I, section II.6
_C = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_A = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = np.array([71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
_DENSE = np.array(
    [
        -12715105075 / 11282082432,
        0.0,
        87487479700 / 32700410799,
        -10690763975 / 1880347072,
        701980252875 / 199316789632,
        -1453857185 / 822651844,
        69997945 / 29380423,
    ]
)


def dopri5(
    problem: Problem, t: Floats, x: Floats, dt: float, h: Floats, rtol: float, atol: float
) -> tuple[Floats, Floats]:
    """The states `dt` seconds on, and the steps [m] to go on with; `h` is the first step of each member, 0 if unknown.

    Local error of a step: at most 1 in the root mean square of error / (atol + rtol |x|) over the states."""
    x, h, gone, fired = x.copy(), h.copy(), np.zeros(x.shape[1]), np.zeros(x.shape[1])
    fresh = np.flatnonzero(h <= 0)
    if len(fresh):
        h[fresh] = _first(problem.of(fresh), t[fresh], x[:, fresh], dt, rtol, atol)
    for _ in range(MOST):
        on = np.flatnonzero(gone < dt)
        if not len(on):
            return x, h
        if fired.max() > OFTEN:
            break
        some, left = problem.of(on), dt - gone[on]
        last = h[on] >= left * (1 - 1e-9)
        step = np.where(last, left, h[on])
        now, old = t[on] + gone[on], x[:, on]
        new, k = _try(some, now, old, step)
        scale = atol + rtol * np.maximum(np.abs(old), np.abs(new))
        with np.errstate(all="ignore"):
            error = np.sqrt(np.mean((step * np.tensordot(_ERROR, k, 1) / scale) ** 2, axis=0))
            good = (error <= 1) & (np.abs(new) < HUGE).all(axis=0)
            factor = np.where(np.isfinite(error), np.clip(0.9 * error**-0.2, 0.2, 5.0), 0.2)
        factor = np.where(good, factor, np.minimum(factor, 0.5))
        h[on] = np.where(last & good, np.maximum(h[on], step * factor), step * factor)
        lost = ~good & (np.isnan(k[0]).any(axis=0) | (step < 1e-12 * dt))
        if lost.any():
            x[:, on[lost]], gone[on[lost]], h[on[lost]] = np.nan, dt, 0.0
            if np.isnan(x).any(axis=0).sum() > problem.spare:
                _refuse(some.of(lost), now[lost], old[:, lost], new[:, lost], k[:, :, lost], step[lost])
        done = np.flatnonzero(good)
        took = np.where(last, left, step)
        if problem.events is not None:
            whole = took[done]
            new[:, done], took[done] = _events(
                some.of(done), now[done], old[:, done], new[:, done], k[:, :, done], whole
            )
            fired[on[done]] += took[done] < whole
        at = on[done]
        x[:, at] = problem.within(new[:, done])
        gone[at] = np.where(took[done] == left[done], dt, gone[at] + took[done])
    stuck = int(np.argmin(gone))
    raise PartError(
        f"ode: {dt:g} s from {_when(t[stuck])} take over {MOST} steps or {OFTEN} events; {gone[stuck]:g} s are done",
        "look for an event that fires for ever; if the equations are stiff, give a larger rtol",
    )


def interpolated(old: Floats, new: Floats, k: Floats, h: Floats, at: Floats) -> Floats:
    """The states [k, m] within a step of Dormand-Prince from `old` to `new` with stages k [7, k, m], at [m] of 0..1;
    accurate to order 4."""
    q = new - old
    bend = h * k[0] - q
    return old + at * (q + (1 - at) * (bend + at * (q - h * k[6] - bend + (1 - at) * h * np.tensordot(_DENSE, k, 1))))


def _try(problem: Problem, t: Floats, x: Floats, h: Floats) -> tuple[Floats, Floats]:
    """One step: the new states, and the stages [7, k, m]."""
    k = np.empty((7, *x.shape))
    y = x
    with np.errstate(all="ignore"):
        for i, (row, c) in enumerate(zip(_A, _C, strict=True)):
            y = x + h * np.tensordot(np.array(row), k[:i], 1) if i else x
            k[i] = problem.rate(t + c * h, y)
    return y, k


def _first(problem: Problem, t: Floats, x: Floats, dt: float, rtol: float, atol: float) -> Floats:
    """A first step for each member: a hundredth of the time in which the states change by their own scale."""
    scale = atol + rtol * np.abs(x)
    rate = problem.rate(t, x)
    with np.errstate(all="ignore"):
        size = np.sqrt(np.mean((x / scale) ** 2, axis=0))
        speed = np.sqrt(np.mean((rate / scale) ** 2, axis=0))
        h = 0.01 * size / speed
    return np.clip(np.where(np.isfinite(h) & (size > 1e-5), h, 1e-3 * dt), 1e-9 * dt, dt)


def _events(problem: Problem, t: Floats, old: Floats, new: Floats, k: Floats, h: Floats) -> tuple[Floats, Floats]:
    """The states after the first event within each member's step, and how long the step was until then."""
    assert problem.events is not None
    assert problem.reset is not None
    before = problem.events(t, old, problem.u, problem.p)
    after = problem.events(t + h, new, problem.u, problem.p)
    fires = (before <= 0) & (after > 0)
    some = np.flatnonzero(fires.any(axis=0))
    if not len(some):
        return new, h
    new, h = new.copy(), h.copy()
    low, high = np.zeros((len(before), len(some))), np.ones((len(before), len(some)))
    part = problem.of(some)
    inside = partial(interpolated, old[:, some], new[:, some], k[:, :, some], h[some])
    for row in np.flatnonzero(fires[:, some].any(axis=1)):
        for _ in range(48):  # halves the step down to the last digits of its length
            middle = (low[row] + high[row]) / 2
            x = inside(middle)
            risen = part.events(t[some] + middle * h[some], x, part.u, part.p)[row] > 0  # type: ignore[misc]
            high[row], low[row] = np.where(risen, middle, high[row]), np.where(risen, low[row], middle)
    place = np.where(fires[:, some], high, np.inf)
    which, at = np.argmin(place, axis=0), np.min(place, axis=0)
    there = inside(at)
    h[some] *= at
    for row in np.unique(which):
        mine = np.flatnonzero(which == row)
        those = problem.of(some[mine])
        moved = problem.reset(int(row), (t + h)[some[mine]], there[:, mine], those.u, those.p)
        new[:, some[mine]] = moved
    return new, h


def _refuse(problem: Problem, t: Floats, x: Floats, new: Floats, stages: Floats, h: Floats) -> None:
    """Raises what says which state of which member went wrong in a step, when, and from where; stages [stage, k, m]."""
    ill = np.argwhere(np.isnan(stages))
    if len(ill):
        _, row, member = ill[0]
        said = ", ".join(f"{n} {v:.6g}" for n, v in zip(problem.names, x[:, member], strict=True))
        raise PartError(
            f"ode: the derivative of '{problem.names[row]}' is nan at {_when(t[member])}, where {said}",
            "look for a division by zero or a root of a negative number, or bound the state or parameter",
        )
    huge = np.argwhere(~(np.abs(new) < HUGE))
    row, member = huge[0] if len(huge) else (0, int(np.argmin(h)))
    raise PartError(
        f"ode: '{problem.names[row]}' goes from {x[row, member]:.6g} to {new[row, member]:.6g} at {_when(t[member])} "
        f"with a step of {h[member]:.3g} s",
        "give a smaller step, or method = 'dopri5', which finds its own",
    )


def _when(seconds: float) -> str:
    return f"{stamp(int(seconds * 1e9), seconds=True)}.{int(seconds % 1 * 1000):03d}"
