"""Arrays of symbols: NumPy arithmetic on them writes down what would be computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class Untraceable(Exception):
    """The arithmetic cannot be written down; the message says why."""


class Tape:
    """Operations in order, each once. `still` ones hold for all members alike: they depend on the time only."""

    def __init__(self) -> None:
        self._held: dict[str, Cell] = {}

    def cell(self, text: str, still: bool) -> Cell:
        """The result of an operation on named numbers."""
        if text not in self._held:
            self._held[text] = Cell(self, f"v{len(self._held)}", still)
        return self._held[text]

    def lines(self, still: bool = False) -> list[str]:
        """The operations as assignments."""
        return [f"{c.text} = {op}" for op, c in self._held.items() if c.still == still] or (["pass"] if still else [])


class Cell:
    """One number, not known yet."""

    __slots__ = ("still", "tape", "text")
    __array_ufunc__ = None

    def __init__(self, tape: Tape, text: str, still: bool = False) -> None:
        self.tape, self.text, self.still = tape, text, still

    def __bool__(self) -> bool:
        raise Untraceable("it branches on a value (write np.where)")

    def __float__(self) -> float:
        raise Untraceable("it turns a value into a plain number (return a list of rows, and use NumPy functions)")

    __int__ = __index__ = __float__


def symbols(tape: Tape, texts: Sequence[str]) -> Symbols:
    """Rows [k, 1] of symbols that stand for texts such as `w[64 + j]`."""
    held = np.empty((len(texts), 1), object)
    for i, text in enumerate(texts):
        held[i, 0] = Cell(tape, text, text == "t")
    return held.view(Symbols)


class Symbols(np.ndarray[Any, Any]):
    """An array whose elements are `Cell`s or plain numbers."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        write = _WRITE.get(ufunc.__name__)
        plain = [np.asarray(v, object) for v in inputs]
        out = named.pop("out", None)
        if write is None or method not in ("__call__", "reduce"):
            raise Untraceable(f"np.{ufunc.__name__} is not among what can be compiled")
        apply = np.frompyfunc(lambda *cells: _written(write, cells), ufunc.nin, 1)
        if method == "reduce":
            if named.get("keepdims"):
                raise Untraceable("keepdims is not among what can be compiled")
            axis = named.get("axis", 0)
            found = np.asarray(apply.reduce(plain[0].ravel() if axis is None else plain[0], axis=axis or 0), object)
        else:
            found = np.asarray(apply(*plain), object)
        if out is not None:
            np.asarray(out[0])[...] = found
            return out[0]
        return found.view(Symbols)

    def __array_function__(self, function: Any, types: Any, arguments: Any, named: Any) -> Any:
        if function is np.where and len(arguments) == 3:
            write = np.frompyfunc(lambda *cells: _written("({1} if {0} else {2})".format, cells), 3, 1)
            return np.asarray(write(*(np.asarray(a, object) for a in arguments)), object).view(Symbols)
        if function is np.clip and len(arguments) == 3 and not named:
            return np.minimum(np.maximum(arguments[0], arguments[1]), arguments[2])
        if function.__name__ not in _SHAPES:
            raise Untraceable(f"np.{function.__name__} is not among what can be compiled")
        return super().__array_function__(function, types, arguments, named)


_SHAPES = (
    "roll", "stack", "vstack", "concatenate", "sum", "zeros_like", "empty_like", "ones_like", "diff", "reshape",
    "ravel", "flip", "copyto", "squeeze", "atleast_2d", "broadcast_to", "full_like", "copy", "transpose", "prod",
)  # fmt: skip


def _written(write: Callable[..., str], cells: Sequence[Any]) -> Any:
    """The cell of one operation; of plain numbers alone, only what NumPy itself has not computed already."""
    tape = next((c.tape for c in cells if isinstance(c, Cell)), None)
    if tape is None:
        return eval(write(*(f"({float(c)!r})" for c in cells)), _PLAIN)
    texts = [c.text if isinstance(c, Cell) else f"({float(c)!r})" for c in cells]
    return tape.cell(write(*texts), all(c.still for c in cells if isinstance(c, Cell)))


def _power(base: str, exponent: str) -> str:
    """Small whole powers are products."""
    try:
        n = float(exponent.strip("()"))
    except ValueError:
        return f"pow({base}, {exponent})"
    if n in (1.0, 2.0, 3.0, 4.0):
        return " * ".join([base] * int(n))
    return f"sqrt({base})" if n == 0.5 else f"pow({base}, {exponent})"


_WRITE: dict[str, Callable[..., str]] = {
    **{
        name: f"({{0}} {sign} {{1}})".format
        for name, sign in {
            "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "remainder": "%", "less": "<",
            "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=",
        }.items()
    },
    **{
        name: f"{short}({{0}})".format
        for name, short in {
            "exp": "exp", "log": "log", "log10": "log10", "sqrt": "sqrt", "sin": "sin", "cos": "cos", "tan": "tan",
            "tanh": "tanh", "sinh": "sinh", "cosh": "cosh", "arctan": "atan", "arcsin": "asin", "arccos": "acos",
            "absolute": "abs", "fabs": "abs", "floor": "floor", "ceil": "ceil",
        }.items()
    },
    "negative": "(-{0})".format,
    "positive": "{0}".format,
    "square": "({0} * {0})".format,
    "reciprocal": "(1.0 / {0})".format,
    "power": _power,
    "float_power": _power,
    "maximum": "({0} if {0} > {1} or {0} != {0} else {1})".format,
    "minimum": "({0} if {0} < {1} or {0} != {0} else {1})".format,
    "sign": "(1.0 if {0} > 0.0 else -1.0 if {0} < 0.0 else 0.0)".format,
    "logical_and": "({0} and {1})".format,
    "logical_or": "({0} or {1})".format,
    "logical_not": "(not {0})".format,
    "bitwise_and": "({0} and {1})".format,
    "bitwise_or": "({0} or {1})".format,
}  # fmt: skip
_PLAIN: dict[str, Any] = {
    **{n: getattr(np, n) for n in ("exp", "log", "log10", "sqrt", "sin", "cos", "tan", "tanh", "sinh", "cosh")},
    "atan": np.arctan, "asin": np.arcsin, "acos": np.arccos, "abs": abs, "floor": np.floor, "ceil": np.ceil, "pow": pow,
}  # fmt: skip
