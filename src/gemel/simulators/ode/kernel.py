"""Compiles a user's derivative and output: they are read once as arithmetic, written out flat, and run over members.

The user's methods are called with arrays of symbols. What comes back is a list of operations on single numbers, which
numba compiles inside a loop over members in blocks; members are the innermost loop over one flat buffer of a fixed
width, which is what lets the compiler use the machine's vectors. Whatever is not plain arithmetic (a branch on a value,
a table look-up) is left to NumPy, which is also what every kernel is compared with before it is used.

Legend: w the buffer, a row a quantity and `WIDTH` columns; x states, u inputs, p parameters, k rows, m members.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gemel.core.errors import GemelError
from gemel.core.values import Floats
from gemel.simulators.ode.equations import Equations, Quantity
from gemel.simulators.ode.solve import HUGE, Problem, rk4
from gemel.simulators.ode.symbols import Cell, Tape, Untraceable, symbols

KERNELS = ("auto", "compiled", "numpy")
WIDTH = 64
AGREE = 1e-9
"""Of a state's size: how far a kernel may be from NumPy."""


class Kernel:
    """Compiled `rk4` of one class of equations."""

    def __init__(self, advance: Any, rows: int, low: Floats, high: Floats, outputs: int) -> None:
        self._advance, self._rows, self._outputs = advance, rows, outputs
        self._low, self._high = low[:, 0].copy(), high[:, 0].copy()

    def run(
        self, start: float, x: Floats, u: Floats, p: Floats, dt: float, steps: int, shown: bool = True
    ) -> tuple[Floats, Floats] | None:
        """The last states [k, m], and the outputs [t, y, m] where `shown`, under inputs u [t, u, m] of `dt` seconds
        each, in `steps` steps; None when a number is not finite or too large, for NumPy to find out where."""
        x, u, p = np.array(x, np.float64, order="C"), _read(u), _read(p)
        out = np.empty((len(u) if shown else 0, self._outputs, x.shape[1]))
        w = np.empty(self._rows * WIDTH)
        fine = self._advance(start, x, u, p, dt, steps, self._low, self._high, out, w)
        return (x, out) if fine and bool((np.abs(x) < HUGE).all()) else None


def _read(values: Floats) -> Floats:
    """As one kind of array, contiguous and read-only: numba compiles anew for each kind it meets."""
    values = np.ascontiguousarray(values).view()
    values.flags.writeable = False
    return values


def compiled(equations: Equations, low: Floats, high: Floats) -> Kernel | str:
    """The kernel of some equations, or the reason why there is none."""
    if find_spec("numba") is None:
        return "numba is not installed (pip install gemel[fast])"
    try:
        text, rows = source(equations)
    except Untraceable as error:
        return str(error)
    except Exception as error:  # the user's code met a symbol where it wants a number
        return f"not plain arithmetic: {type(error).__name__}: {error}"
    kernel = Kernel(_advance(text), rows, low, high, len(equations.outputs))
    return kernel if _agrees(kernel, equations, low, high) else "its numbers differ from NumPy's"


@lru_cache(64)
def _advance(text: str) -> Any:
    """The compiled function of a kernel's text; the same equations in many twins are compiled once."""
    from gemel.simulators.ode.vector import functions

    module = _kept(text)
    vars(module).update(functions(keep=module.__file__ is not None))
    exec(compile(text, module.__file__ or "<equations>", "exec"), vars(module))
    return module.advance


def _kept(text: str) -> ModuleType:
    """The module of a kernel's text. Where the text can be written to a file, numba keeps what it compiles beside it,
    and finds it there at the next start; that takes a module that can be imported by its name."""
    from gemel.simulators.ode import vector

    key = hashlib.sha256(f"{vector.VERSION}\n{inspect.getsource(vector)}\n{text}".encode()).hexdigest()[:16]
    module = ModuleType(f"gemel_kernel_{key}")
    module.__file__ = None
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gemel" / f"{module.__name__}.py"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():  # numba knows a file by its time
            path.write_text(text, encoding="utf-8")
    except OSError:
        return module
    if not os.access(path.parent, os.W_OK):
        return module
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    return module


def source(equations: Equations) -> tuple[str, int]:
    """The kernel as Python for numba, and how many rows its buffer has."""
    nx, nu, n_p = len(equations.states), len(equations.inputs), len(equations.parameters)
    sizes = {"x": nx, "y": nx, "s": nx, "u": nu, "p": n_p, "bad": 1}
    row = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))

    def at(group: str, i: int) -> str:
        return f"w[{(row[group] + i) * WIDTH} + j]"

    def traced(method: str, x: str) -> tuple[Tape, list[str]]:
        tape = Tape()
        groups = [symbols(tape, [at(g, i) for i in range(n)]) for g, n in ((x, nx), ("u", nu), ("p", n_p))]
        found = equations.raw(method)(symbols(tape, ["t"])[0], *groups)
        cells = [np.ravel(np.asarray(r, object))[0] for r in found]
        return tape, [c.text if isinstance(c, Cell) else repr(float(c)) for c in cells]

    tape, rates = traced("derivative", "y")
    shown, outputs = (
        traced("output", "x")
        if equations.raw("output")
        else (Tape(), [at("x", [s.name for s in equations.states].index(o.name)) for o in equations.outputs])
    )
    load = [f"{at('x', i)} = {at('y', i)} = x[{i}, a + j]" for i in range(nx)]
    load += [f"{at('s', i)} = 0.0" for i in range(nx)]
    load += [f"{at('p', i)} = p[{i}, a + j]" for i in range(n_p)]
    stage = [*tape.lines(), *(f"d{i} = {r}" for i, r in enumerate(rates))]
    for i in range(nx):
        stage.append(f"{at('s', i)} = weight * d{i} + keep * {at('s', i)}")
        stage.append(f"{at('y', i)} = {at('x', i)} + far * d{i}")
    close = []
    for i in range(nx):
        close += [f"z = {at('x', i)} + h / 6.0 * {at('s', i)}", f"{at('bad', 0)} += 0.0 * z"]
        close += [f"z = low[{i}] if z < low[{i}] else z", f"z = high[{i}] if z > high[{i}] else z"]
        close += [f"{at('x', i)} = z", f"{at('y', i)} = z"]
    blocks = {
        "LOAD": [*load, f"{at('bad', 0)} = 0.0"],
        "FEED": [f"{at('u', i)} = u[r, {i}, a + j]" for i in range(nu)] or ["pass"],
        "STAGE": stage,
        "CLOSE": close,
        "SHOW": [*shown.lines(), *(f"out[r, {i}, a + j] = {o}" for i, o in enumerate(outputs))],
        "STORE": [f"x[{i}, a + j] = {at('x', i)}" for i in range(nx)] + [f"ill += 0.0 * {at('bad', 0)}"],
        "STILL_STAGE": tape.lines(still=True),
        "STILL_SHOW": shown.lines(still=True),
    }
    return _filled(blocks), int(sum(sizes.values()))


_FRAME = """
@njit
def advance(start, x, u, p, dt, steps, low, high, out, w):
    m, h, ill = x.shape[1], dt / steps, 0.0
    for a in range(0, m, 64):
        n = min(64, m - a)
        for j in range(n):
            LOAD
        for r in range(u.shape[0]):
            for j in range(n):
                FEED
            begin = start + r * dt
            for i in range(steps):
                for stage in range(4):
                    weight = 1.0 if stage == 0 or stage == 3 else 2.0
                    far = h if stage == 2 else h / 2.0
                    keep = 0.0 if stage == 0 else 1.0
                    t = begin + i * h + (0.0 if stage == 0 else h if stage == 3 else h / 2.0)
                    STILL_STAGE
                    for j in range(n):
                        STAGE
                for j in range(n):
                    CLOSE
            if out.shape[0] > 0:
                t = begin + dt
                STILL_SHOW
                for j in range(n):
                    SHOW
        for j in range(n):
            STORE
    return ill == 0.0
"""


def _filled(blocks: dict[str, list[str]]) -> str:
    out = []
    for line in _FRAME.splitlines():
        word = line.strip()
        out += [line.replace(word, held) for held in blocks[word]] if word in blocks else [line]
    return "\n".join(out) + "\n"


def _agrees(kernel: Kernel, e: Equations, low: Floats, high: Floats) -> bool:
    """Whether kernel and NumPy give the same numbers from a few random places, both derivative and output."""
    rng = np.random.default_rng(0)

    def some(held: tuple[Quantity, ...]) -> Floats:
        drawn = [
            np.clip(
                np.nan_to_num(q.mean) + (q.sd + 0.01 * abs(np.nan_to_num(q.mean)) + 1e-3) * rng.standard_normal(70),
                q.low,
                q.high,
            )
            for q in held
        ]
        return np.array(drawn).reshape(-1, 70)

    x, u, p = some(e.states), some(e.inputs), some(e.parameters)
    for start in (0.0, 1.7e9 + 12_345.6):
        t = np.full(70, start)
        with np.errstate(all="ignore"):
            rate = np.abs(e.derivative(t, x, u, p)) / (np.abs(x) + 1.0)
        dt = min(0.1 / max(float(np.nanmax(rate, initial=0.0)), 1e-9), 60.0)
        found = kernel.run(start, x, u[None], p, dt, 2)
        try:
            exact = rk4(Problem(e.derivative, u, p, ["x"] * len(x), low, high), t, x, dt, 2)
            shown = e.output(t + dt, exact, u, p)
        except GemelError:
            return found is None
        if found is None:
            return False
        for mine, theirs in ((found[0], exact), (found[1][0], shown)):
            size = (
                AGREE * np.max(np.abs(theirs), axis=1, keepdims=True, initial=0.0, where=np.isfinite(theirs)) + 1e-300
            )
            if not np.isclose(mine, theirs, rtol=0.0, atol=size, equal_nan=True).all():
                return False
    return True
